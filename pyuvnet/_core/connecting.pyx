"""ConnectSteps: what a connect() does with its socket and its handle, a step at a time.

Owns: the lookup in flight.  Takes and drops the handle that the socket owns.  Which step comes
next is Python's, in _client/connecting.py: which address is tried, for how long, with which
events.
Below it stand the socket's own parts of connect(), as functions on SocketBase: begin_anew(), which
makes a socket that was closed a fresh one, and serve(), which puts a connection to use.
Imports socket_base and below.
"""

from _functools import partial

from libc.string cimport memcmp

from . cimport uv
from .address cimport peer_tuple, sockaddr_bytes, sockaddr_from_text
from .blocklist cimport BlockList
from .capi cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from .deadlines cimport Limits, arm
from .dns cimport Lookup, resolved_call, start_lookup
from .emitter cimport ON_CLOSE, ON_CONNECT, ON_FINISH, ON_READY, drop_internal
from .errors cimport closed_before_connection, ip_blocked, lookup_error, os_error, socket_closed
from .layer cimport read_again
from .passing cimport add_passing
from .pipe cimport Pipe, new_pipe
from .proxy_header cimport send_header
from .read_buffer cimport b_begin_anew
from .readable cimport r_kick
from .socket_base cimport *
from .stream cimport *
from .stream_handle cimport StreamHandle, set_option
from .tcp cimport TCP, name_blocked, new_tcp, new_tcp_socket
from .writable cimport w_begin_anew, w_leave_failed
from .write_queue cimport q_begin_anew


# The unspecified addresses: `0.0.0.0` (4 bytes) and `::`, and `::ffff:0.0.0.0`.
cdef const char* _ANY = b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
cdef const char* _ANY_MAPPED = b"\0\0\0\0\0\0\0\0\0\0\xff\xff\0\0\0\0"


cdef bint _make_loopback(uv.sockaddr* address) noexcept:
    """Make the unspecified address what a connection to it reaches; False: it is another one."""
    cdef const unsigned char* found = NULL
    cdef int family = sockaddr_bytes(address, &found)
    cdef unsigned char* bytes = <unsigned char*>found
    if family == 6 and memcmp(bytes, _ANY, 16) == 0:
        bytes[15] = 1
        return True
    if family == 6 and memcmp(bytes, _ANY_MAPPED, 16) == 0:
        bytes += 12
    elif family != 4 or memcmp(bytes, _ANY, 4) != 0:
        return False
    bytes[0], bytes[3] = 127, 1
    return True


def _throw(error):
    raise error


cdef class ConnectSteps(Connector):
    """The steps of one connect(), each without effect once that is over."""

    cdef bint _current(self) noexcept:
        return self.socket._also().connector is self \
            and self.socket._socket_flags & SOCKET_CONNECTING != 0

    def is_current(self):
        """True until the connection stands, the socket is destroyed or connects anew."""
        return self._current()

    # ---- The handle of an attempt --------------------------------------------------------------

    def _begin(self, bint tcp, object host=None):
        """Become the socket's connect(), and take the first handle; False: destroyed meanwhile."""
        self._tcp = tcp
        begin_anew(self.socket, self)
        _before, self.socket._own_also().host = self.socket._own_also().host, host
        return self._open()

    def _open(self, int family=0, int fd=-1):
        """Take a fresh handle, or the bound one; that of an earlier attempt is dropped.

        Args:
            family: 4 or 6: over TCP, with a socket of the system's already.
            fd: one for a path, which is the handle's if this returns True.

        Returns False, and takes none, if this connect() is over.
        Raises: OSError (syscall 'socket').
        """
        cdef SocketBase socket = self.socket
        cdef StreamHandle fresh
        cdef int status
        socket._ready()
        if not self._current():
            return False
        if socket._socket_flags & SOCKET_BOUND:
            socket._socket_flags &= ~SOCKET_BOUND
            if socket._handle is not None:
                return True
        if self._tcp:
            fresh = new_tcp_socket(socket._loop, family) if family else new_tcp(socket._loop)
        else:
            fresh = new_pipe(socket._loop, socket._also().passes)
            status = fresh.open(fd) if fd >= 0 else 0
            if status < 0:
                fresh.close()
                raise os_error(status, "socket")
        socket._bound_handle(fresh)
        # Making it may have run a finaliser.
        if not self._current():
            fresh.close()
            return False
        abandon_handle(socket)
        socket._own(fresh)
        socket._handle = fresh
        return True

    def _abandon(self):
        """Close the handle of an attempt that has failed or takes too long."""
        self.socket._ready()
        abandon_handle(self.socket)

    cdef StreamHandle _handle(self):
        """The handle of the attempt; None if a finaliser has destroyed the socket meanwhile."""
        return self.socket._handle if self._current() else None

    def _set_options(self, list options not None):
        """Set options of the handle's socket, (level, name, value) each; returns a libuv status."""
        cdef StreamHandle handle = self._handle()
        cdef int status
        for level, name, value in options:
            status = set_option(handle, level, name, value)
            if status < 0:
                return status
        return 0

    def _bind(self, str address not None, int port):
        """Bind the local end; returns a libuv status."""
        cdef uv.sockaddr_storage storage
        cdef StreamHandle handle = self._handle()
        cdef TCP tcp
        cdef int status
        if handle is None:
            return uv.UV_ECANCELED
        tcp = <TCP?>handle
        sockaddr_from_text(address, port, &storage)
        status = tcp.bind(<uv.sockaddr*>&storage, 0)
        if status == 0 and port:
            # libuv reports a taken port late; another port than the asked one says it now.
            try:
                if tcp.sockname()[1] != port:
                    status = uv.UV_EADDRINUSE
            except OSError:
                status = uv.UV_EADDRINUSE
        return status

    def _connect_tcp(self, str address not None, int port):
        """Begin connecting to a literal address; returns a libuv status."""
        cdef uv.sockaddr_storage storage
        cdef StreamHandle handle = self._handle()
        if handle is None:
            return uv.UV_ECANCELED
        if not sockaddr_from_text(address, port, &storage):
            return uv.UV_EINVAL
        return (<TCP?>handle).connect(<uv.sockaddr*>&storage)

    def _connect_pipe(self, bytes path not None):
        """Begin connecting to a path; returns a libuv status."""
        cdef StreamHandle handle = self._handle()
        if handle is None:
            return uv.UV_ECANCELED
        return (<Pipe?>handle).connect(path)

    # ---- The block list ------------------------------------------------------------------------

    cdef BlockList _block_list(self):
        return self.socket._also().block_list

    def _is_blocked(self, str address not None, int port):
        """True if the block list matches a literal address, or where that leads."""
        cdef uv.sockaddr_storage storage
        cdef BlockList block_list = self._block_list()
        if block_list is None:
            return False
        # What is no address is connected to neither.
        return not sockaddr_from_text(address, port, &storage) \
            or block_list.blocks(<uv.sockaddr*>&storage) \
            or _make_loopback(<uv.sockaddr*>&storage) \
            and block_list.blocks(<uv.sockaddr*>&storage)

    cdef bint _reached_blocked(self) noexcept:
        """Whether the block list matches the peer that the connection has led to."""
        cdef StreamHandle handle = self.socket._handle
        cdef BlockList block_list = self._block_list()
        if block_list is None or not isinstance(handle, TCP):
            return False
        (<TCP>handle).read_peer(&handle.peer)
        return name_blocked(&handle.peer, block_list)

    # ---- The lookup ----------------------------------------------------------------------------

    def _look_up(self, str hostname not None, int family, int hints):
        """Begin a system lookup; its result comes to resolved(error, addresses)."""
        cdef SocketBase socket = self.socket
        socket._ready()
        try:
            self.lookup = start_lookup(
                socket._loop, socket, <resolved_call><void*>_looked_up, hostname, family, hints)
        except OSError as error:
            # Such as a name that is too long: like any other result, not out of connect().
            socket._loop.tick_call(self._lookup_failed, (error,))

    def _lookup_failed(self, error):
        if self._current():
            self.resolved(error, [])

    # ---- What the program sees -----------------------------------------------------------------

    def _announce(self, str event not None, *arguments):
        """Emit a step of connecting: a listener that fails must not leave the socket half way.

        What it raised comes in the next tick, as that of any listener which the loop called.
        """
        try:
            self.socket.emit(event, *arguments)
        except Exception as error:
            self._next_tick(partial(_throw, error))

    def _next_tick(self, callback):
        """Queue a callback on the socket's loop; without memory for it, connecting fails."""
        self.socket._ready()
        self.socket._loop.tick(self.socket, TICK_CALL, callback)

    def _activity(self):
        """Something happened: the idle timeout begins anew."""
        self.socket._touch()

    def _out_of_memory(self, exc):
        """Connecting failed in our own code: the socket must not wait for ever.

        Raises: exc, if it is the program's.
        """
        self.socket._ready()
        if not self._current():
            raise exc
        self.socket._connect_failed(exc)

    def _succeed(self, str address=None, make_header=None):
        """The connection stands: options, 'connect', 'ready', then reading.

        Args:
            address: which one was asked for, over TCP.
            make_header: called with the ends, each (address, port, family) or None, for the PROXY
                header that goes first.
        """
        cdef bytes header
        cdef int status
        cdef SocketBase socket = self.socket
        socket._ready()
        connection_stands(socket)
        if self._reached_blocked():
            # The address was checked before, but the list may have changed since, and the kernel
            # or a filter of it may have led the connection elsewhere.
            socket._destroy_with(ip_blocked(
                peer_tuple(socket._peer())[0] if socket._peer().family else address))
            return
        if socket._also().passes and isinstance(socket._handle, Pipe):
            add_passing(socket)
            if socket._state & DESTROYED:
                return
        if make_header is not None:
            header = make_header(socket._local_name(), peer_tuple(socket._peer()))
            if socket._state & DESTROYED:
                # By a signal handler, for example.
                return
            status = send_header(socket._handle, header)
            if status < 0:
                socket._destroy_with(os_error(status, "write"))
                return
        if socket._also().limits is not None:
            arm(socket._handle, <Limits>socket._also().limits)
        socket._deadline_stays()
        if socket._state & DESTROYED:
            return
        serve(socket)


cdef int _looked_up(SocketBase socket, int status, list addresses) except -1:
    """The socket's lookup is over."""
    cdef Connector connector = socket._also().connector
    cdef Lookup lookup = None if connector is None else connector.lookup
    if lookup is None:
        return 0
    connector.lookup = None
    socket._touch()
    if (<ConnectSteps?>connector)._current():
        try:
            connector.resolved(
                lookup_error(status, lookup.hostname) if status < 0 else None, addresses)
        except (MemoryError, RecursionError) as exc:
            socket._connect_failed(exc)
    return 0


# ---- The socket's parts of connect() -----------------------------------------------------------

cdef int begin_anew(SocketBase s, Connector connector) except -1:
    """connect() began: a destroyed or ended socket becomes a fresh one."""
    # What the earlier life leaves is dropped when this is done.
    cdef BaseException _errored
    cdef Connector earlier
    cdef list _chunks
    cdef SocketExtra rare
    s._ready()
    rare = s._own_also()
    _target, rare.onread_target = rare.onread_target, None
    _errored, _chunks = s._errored, s._rare.r_chunks
    if s._state & DESTROYED:
        error = None
        if drop_internal(s, ON_CLOSE, TICK_FAIL_AT_CLOSE):
            drop_internal(s, ON_CONNECT, TICK_WRITE_AT_CONNECT)
            error = closed_before_connection()
        w_begin_anew(s, error)
    if s._state & DESTROYED:
        s._state &= (HAS_READABLE | HAS_WRITABLE | ALLOW_HALF_OPEN | AUTO_DESTROY
                     | EMIT_CLOSE | R_PUSHED_SOURCE | R_LISTENING | R_DID_READ)
        s._coroutines &= ~(ERROR_UNHEARD | ERROR_HEARD | WRITE_REFUSED | SERVER_DESTROYED
                           | W_LINGERS | W_UNCONFIRMED)
        s._errored = None
        b_begin_anew(s)
        q_begin_anew(s)
        if s._coroutines & W_LIMITED:
            s._queue_changed()
        # Of what the earlier connection did not live to see.
        drop_internal(s, ON_CONNECT, TICK_FINAL_AT_CONNECT)
        drop_internal(s, ON_CONNECT, TICK_RESET_AT_CONNECT)
        drop_internal(s, ON_FINISH, TICK_DESTROY_AT_FINISH)
    elif s._handle is None:
        # Never connected: what a write() or end() without effect has begun goes on, but a write
        # is possible again.
        if s._state & W_FINAL_CALLED and not s._state & W_FINISHED:
            s._socket_flags |= SOCKET_FINISH_IS_OLD
        if s._state & W_FAILED:
            w_leave_failed(s)
        s._state &= ~(ERRORED | R_READING | W_ENDING | W_FINISHED | W_FINAL_CALLED)
        s._errored = None
    # A bound handle, or none yet.
    s._connection = s._handle
    rare.bytes_pending = 0
    _proxy, rare.proxy = rare.proxy, None
    rare.renamed = False
    s._socket_flags &= ~(SOCKET_HAD_ERROR | SOCKET_RESET | SOCKET_REFUSES_WRITES | SOCKET_BUSY
                         | SOCKET_NOT_BUSY | SOCKET_TO_END | SOCKET_ENDED_HERE)
    s._socket_flags |= SOCKET_CONNECTING
    earlier, rare.connector = rare.connector, connector
    if earlier is not None:
        earlier.cancel_lookup()
    return 0


cdef int abandon_handle(SocketBase s) except -1:
    """Close the handle of an attempt: the next one has a handle of its own."""
    cdef StreamHandle handle = s._handle
    if handle is not None:
        # Its callbacks have no one left to reach.
        s._handle = None
        handle.owner = None
        handle.close()
    return 0


cdef void connection_stands(SocketBase s) noexcept:
    """Its connect() is over; a connection that is to have layers is still of no use."""
    s._socket_flags &= ~SOCKET_CONNECTING
    if s._also().dress is not None:
        s._socket_flags |= SOCKET_DRESSING
    _over, s._also().connector = s._also().connector, None


cdef int serve(SocketBase s) except -1:
    """Put a connection to use: options, 'connect', 'ready', then what waited for it."""
    s._touch()
    s._handle.stands()
    if s._socket_flags & SOCKET_UNREF:
        s._handle.unref()
    s._peer()
    s._apply_options()
    _dress(s)
    if s._state & DESTROYED:
        return 0
    try:
        s._emit0(ON_CONNECT)
        s._emit0(ON_READY)
    finally:
        # A listener's exception must not leave a connection unserved.
        _go_on(s)
    return 0


cdef class Upgrade(Connector):
    """The connect() of a socket that takes the connection of a plain one.

    What the plain socket has written leaves first. Meanwhile each destroys the other with itself,
    and it stays like that. What destroys the plain socket is an error of the new one, which the
    program knows: so the error goes with it.
    """

    cdef SocketBase plain
    cdef bytes data                    # what the plain socket had read and did not hand out

    def __cinit__(self, SocketBase socket not None, SocketBase plain not None):
        self.plain, self.data = plain, b""

    def __init__(self, SocketBase socket, SocketBase plain):
        socket._ready()
        plain._ready()
        begin_anew(socket, self)
        # A connection is half open, or it is not, whatever is put on it.
        socket._state = (socket._state & ~ALLOW_HALF_OPEN) | (plain._state & ALLOW_HALF_OPEN)
        socket._coroutines = (socket._coroutines & ~HALF_OPEN_SET) \
            | (plain._coroutines & HALF_OPEN_SET)
        socket._own_also().predecessor, plain._own_also().successor = plain, socket

    def stop_reading(self):
        """Let the plain socket read no more, whatever listens."""
        self.plain._ready()
        self.data += self.plain._stop_reading()

    def stand(self):
        """The connection stands: the new socket is open, and has its ends, before it is served."""
        cdef SocketBase s = self.socket, plain = self.plain
        s._ready()
        s._socket_flags = (s._socket_flags & ~SOCKET_CONNECTING) | SOCKET_DRESSING
        plain._peer()
        s._connection = plain._connection

    def finish(self, bint announce):
        """Take the connection, whose writes have left, and put it to use.

        Args:
            announce: emit 'connect'; 'ready' is the plain socket's alone, as in Node.
        """
        cdef SocketBase s = self.socket, plain = self.plain
        cdef bytes data = None
        cdef object failure = None
        s._ready()
        if s._also().connector is not self or not s._socket_flags & SOCKET_ESTABLISHING:
            return
        try:
            data = self.data + s._take_over(plain)
        except Exception as exc:
            failure = exc
        if failure is not None:
            # Nothing else would end it.
            s._destroy_with(failure)
            return
        connection_stands(s)
        s._touch()
        s._apply_options()
        s._deadline_stays()
        _dress(s)
        if data and not s._state & DESTROYED:
            read_again(s._handle, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        if s._state & DESTROYED:
            return
        try:
            if plain._socket_flags & SOCKET_TO_END:
                # A shutdown, or the end of its lifetime, waits for the connection to be idle.
                s._begin_to_end()
            if announce:
                s._emit0(ON_CONNECT)
        finally:
            _go_on(s)


cdef int serve_taken(SocketBase s, bint announce) except -1:
    """Put to use what has a handle and layers already."""
    connection_stands(s)
    s._touch()
    _dress(s)
    if s._state & DESTROYED:
        return 0
    s._handle.stands()
    try:
        if announce:
            s._emit0(ON_CONNECT)
    finally:
        _go_on(s)
    return 0


cdef int _dress(SocketBase s) except -1:
    """Let the layers of a connection be added.

    Without them it must not stay, since what is written would leave without them.
    """
    cdef StreamHandle handle = s._handle
    cdef object failure = None
    if not s._socket_flags & SOCKET_DRESSING or s._state & DESTROYED:
        return 0
    try:
        s._also().dress(handle)
    except BaseException as exc:
        failure = exc
    s._socket_flags &= ~SOCKET_DRESSING
    if failure is None and not handle.layered and not s._state & DESTROYED:
        failure = socket_closed()
    if failure is None:
        return 0
    if isinstance(failure, Exception):
        return s._destroy_with(failure)
    # An interrupt of the program.
    s._destroy_with(None)
    raise failure


cdef int _writes_go_on(SocketBase s) except -1:
    """What was asked for before the connection could be used: writes, end(), a reset."""
    if drop_internal(s, ON_CONNECT, TICK_WRITE_AT_CONNECT):
        s._on_tick(TICK_WRITE_AT_CONNECT, None)
    if drop_internal(s, ON_CONNECT, TICK_FINAL_AT_CONNECT):
        s._on_tick(TICK_FINAL_AT_CONNECT, None)
    if drop_internal(s, ON_CONNECT, TICK_RESET_AT_CONNECT):
        s._on_tick(TICK_RESET_AT_CONNECT, None)
    return 0


cdef int _go_on(SocketBase s) except -1:
    """_writes_go_on(), and reading."""
    _writes_go_on(s)
    if s._state & DESTROYED or s._handle is None:
        return 0
    # A 'readable' listener of an earlier connection goes on reading; Node's would not.
    if s._socket_flags & SOCKET_READ_AT_CONNECT or not s.is_paused() \
            or (s._state & R_LISTENING and s._paused != 1):
        asked = s._socket_flags & SOCKET_READ_AT_CONNECT
        s._socket_flags &= ~SOCKET_READ_AT_CONNECT
        if s._state & HAS_READABLE:
            s._state &= ~R_READING
            if asked:
                # What is buffered is no reason not to: it was asked before.
                s._state |= R_READING
                s._ask_source()
                if s.is_paused() or s._state & DESTROYED:
                    return 0
            r_kick(s)
    return 0
