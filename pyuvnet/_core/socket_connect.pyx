"""SocketConnect: a socket on its way to a connection: lookup, an attempt at a time, 'connect'.

Adds no state: it takes and drops the handle that SocketBase owns, and makes a socket that was
closed a fresh one.  Which address is tried, and for how long, is Python's, in _attempts.py.
Imports socket_base and below.
"""

from libc.string cimport memcmp

from . cimport uv
from .address cimport sockaddr_bytes, sockaddr_from_text
from .blocklist cimport BlockList
from .dns cimport resolved_call, start_lookup
from .emitter cimport drop_internal, intern_event
from .errors cimport closed_before_connection, ip_blocked, lookup_error, never_reached, \
    os_error
from .pipe cimport Pipe, new_pipe
from .readable cimport r_kick
from .socket_base import on_end_of_socket
from .socket_base cimport *
from .stream cimport *
from .stream_handle cimport StreamHandle
from .tcp cimport TCP, name_blocked, new_tcp, peer_tuple
from .writable cimport w_begin_anew, w_drop_chunk, w_drop_queue, w_emit_finish, w_leave_failed

cdef object _CLOSE = intern_event("close")
cdef object _CONNECT = intern_event("connect")
cdef object _END = intern_event("end")
cdef object _READY = intern_event("ready")
cdef object _FINISH = intern_event("finish")

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


cdef int _resolved(SocketConnect self, int status, list addresses) except -1:
    return self._on_resolved(status, addresses)


cdef class SocketConnect(SocketBase):
    """The steps of connect()."""

    def _start_connecting(self):
        """connect() began: a destroyed or ended socket becomes a fresh one."""
        # What the earlier life leaves is dropped when this is done.
        cdef BaseException _errored
        cdef list _chunks
        self._ready()
        _errored, _chunks = self._errored, self.r_chunks
        if self._state & DESTROYED:
            error = None
            if drop_internal(self, _CLOSE, TICK_FAIL_AT_CLOSE):
                drop_internal(self, _CONNECT, TICK_WRITE_AT_CONNECT)
                error = closed_before_connection()
            w_begin_anew(self, error)
        if self._state & DESTROYED:
            self._state &= (HAS_READABLE | HAS_WRITABLE | ALLOW_HALF_OPEN | AUTO_DESTROY
                            | EMIT_CLOSE | R_PUSHED_SOURCE | R_LISTENING | R_DID_READ)
            self._errored = None
            self.r_chunks = None
            self.r_length = 0
            w_drop_chunk(self)
            w_drop_queue(self)
            self.w_length = self.w_size = 0
            self.w_in_flight = 0
            self._peer.family = 0
            # Of what the earlier connection did not live to see.
            drop_internal(self, _CONNECT, TICK_FINAL_AT_CONNECT)
            drop_internal(self, _CONNECT, TICK_RESET_AT_CONNECT)
            drop_internal(self, _FINISH, TICK_DESTROY_AT_FINISH)
        elif self._handle is None:
            # Never connected: what a write() or end() in vain has begun goes on, but a write is
            # possible again.
            if self._state & W_FINAL_CALLED and not self._state & W_FINISHED:
                self._socket_flags |= SOCKET_FINISH_IS_OLD
            if self._state & W_FAILED:
                w_leave_failed(self)
            self._state &= ~(ERRORED | R_READING | W_ENDING | W_FINISHED | W_FINAL_CALLED)
            self._errored = None
        self._bytes_read = self._bytes_dispatched = 0
        if self._rare is not None:
            self._rare.bytes_pending = 0
        self._socket_flags &= ~(SOCKET_HAD_ERROR | SOCKET_RESET | SOCKET_REFUSES_WRITES)
        self._socket_flags |= SOCKET_CONNECTING

    cdef int _on_tick(self, int what, object argument) except -1:
        if what == TICK_END and not self._state & (R_END_EMITTED | ALLOW_HALF_OPEN) \
                and self.listener_count(_END, on_end_of_socket):
            # What the built-in 'end' listener does, whatever becomes of it then.
            self._socket_flags |= SOCKET_REFUSES_WRITES
        elif what == TICK_FINISH and self._socket_flags & SOCKET_FINISH_IS_OLD:
            # The connection that is being made can still be ended; Node's cannot.
            self._socket_flags &= ~SOCKET_FINISH_IS_OLD
            w_emit_finish(self)
            if self._state & DESTROYED:
                # By destroy_soon(): there is no such connection any more.
                self._state |= W_FINISHED
            return 0
        return SocketBase._on_tick(self, what, argument)

    def _open_tcp(self):
        """Take a fresh TCP handle, or the bound one; that of an earlier attempt is dropped.

        Returns False, and takes none, if a finaliser has destroyed the socket meanwhile.
        """
        return self._open_handle(True)

    def _open_pipe(self):
        """Take a fresh pipe handle, or the bound one; False: destroyed meanwhile."""
        return self._open_handle(False)

    cdef bint _open_handle(self, bint tcp) except -1:
        cdef StreamHandle fresh
        self._ready()
        if not self._socket_flags & SOCKET_CONNECTING:
            return False
        if self._socket_flags & SOCKET_BOUND:
            self._socket_flags &= ~SOCKET_BOUND
            if self._handle is not None:
                return True
        if tcp:
            fresh = new_tcp(self._loop)
        else:
            fresh = new_pipe(self._loop)
        self._own(fresh)
        # Making it may have run a finaliser.
        if not self._socket_flags & SOCKET_CONNECTING:
            fresh.owner = None
            fresh.close()
            return False
        self._abandon_handle()
        self._handle = fresh
        return True

    cdef int _abandon_handle(self) except -1:
        cdef StreamHandle handle = self._handle
        if handle is not None:
            # Its callbacks concern nobody: the next attempt has a handle of its own.
            self._handle = None
            handle.owner = None
            handle.close()
        return 0

    def _close_attempt(self):
        """Give the handle of a failed or late attempt up."""
        self._ready()
        self._abandon_handle()

    def _bind_tcp(self, str address not None, int port):
        """Bind the local end; returns a libuv status."""
        cdef uv.sockaddr_storage storage
        cdef TCP tcp
        cdef int status
        if self._handle is None:
            return uv.UV_ECANCELED
        tcp = <TCP?>self._handle
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

    def _set_block_list(self, BlockList block_list):
        """Remember the list that every address to connect to is checked against."""
        if block_list is not None:
            self._extra_state().block_list = block_list

    def _is_blocked(self, str address not None, int port):
        """True if the block list matches a literal address, or where that leads."""
        cdef uv.sockaddr_storage storage
        if self._rare is None or self._rare.block_list is None:
            return False
        # What is no address is connected to neither.
        return not sockaddr_from_text(address, port, &storage) \
            or self._rare.block_list.blocks(<uv.sockaddr*>&storage) \
            or _make_loopback(<uv.sockaddr*>&storage) \
            and self._rare.block_list.blocks(<uv.sockaddr*>&storage)

    def _connect_tcp(self, str address not None, int port):
        """Begin connecting to a literal address; returns a libuv status."""
        cdef uv.sockaddr_storage storage
        if self._handle is None:
            # A finaliser has destroyed the socket since the last look.
            return uv.UV_ECANCELED
        if not sockaddr_from_text(address, port, &storage):
            return uv.UV_EINVAL
        return (<TCP?>self._handle).connect(<uv.sockaddr*>&storage)

    def _connect_pipe(self, bytes path not None):
        """Begin connecting to a path; returns a libuv status."""
        if self._handle is None:
            return uv.UV_ECANCELED
        return (<Pipe?>self._handle).connect(path)

    def _resolve(self, str hostname not None, int family, int hints):
        """Begin a system lookup; its answer comes to _after_resolve(error, addresses)."""
        cdef SocketExtra rare
        self._ready()
        rare = self._extra_state()
        try:
            rare.lookup = start_lookup(
                self._loop, self, <resolved_call><void*>_resolved, hostname, family, hints)
        except OSError as error:
            # Such as a name that is too long: like any other answer, not out of connect().
            self._loop.tick_call(self._attempts.resolved_now, (error,))

    cdef int _on_resolved(self, int status, list addresses) except -1:
        hostname = self._rare.lookup.hostname
        self._rare.lookup = None
        self._touch()
        if self._state & DESTROYED or not self._socket_flags & SOCKET_CONNECTING:
            return 0
        try:
            error = lookup_error(status, hostname) if status < 0 else None
            self._after_resolve(error, addresses)
        except (MemoryError, RecursionError) as exc:
            self._give_up(exc)
        return 0

    def _give_up(self, exc):
        """Connecting failed in our own code, such as for want of memory: it must not wait for ever.

        Raises: exc, if it is the program's.
        """
        self._ready()
        if self._state & DESTROYED or not never_reached(exc):
            raise exc
        self._destroy_with(os_error(uv.UV_ENOMEM, "connect"))

    cdef int _on_connected(self, int status) except -1:
        # The Python side knows whether another address is to be tried.
        try:
            self._after_connect(status)
        except (MemoryError, RecursionError) as exc:
            self._give_up(exc)
        return 0

    cdef bint _reached_blocked(self) noexcept:
        """Whether the block list matches the peer that the connection has led to."""
        if self._rare is None or self._rare.block_list is None \
                or not isinstance(self._handle, TCP):
            return False
        self._peer.family = 0
        (<TCP>self._handle).read_peer(&self._peer)
        return name_blocked(&self._peer, self._rare.block_list)

    def _succeed(self, str address=None):
        """The connection stands: options, 'connect', 'ready', then reading.

        Args:
            address: which one was asked for, over TCP.
        """
        self._ready()
        self._socket_flags &= ~SOCKET_CONNECTING
        if self._reached_blocked():
            # The address was checked before, but the list may have changed since, and the kernel
            # or a filter of it may have led the connection elsewhere.
            self._destroy_with(ip_blocked(
                peer_tuple(&self._peer)[0] if self._peer.family else address))
            return
        self._touch()
        if self._socket_flags & SOCKET_UNREF:
            self._handle.unref()
        self._read_peer()
        self._apply_options()
        if self._state & DESTROYED:
            return
        try:
            self._emit0(_CONNECT)
            self._emit0(_READY)
        finally:
            # A listener's exception must not leave a connection that nobody serves.
            self._serve_at_connect()

    cdef int _serve_at_connect(self) except -1:
        if drop_internal(self, _CONNECT, TICK_WRITE_AT_CONNECT):
            self._on_tick(TICK_WRITE_AT_CONNECT, None)
        if drop_internal(self, _CONNECT, TICK_FINAL_AT_CONNECT):
            self._on_tick(TICK_FINAL_AT_CONNECT, None)
        if drop_internal(self, _CONNECT, TICK_RESET_AT_CONNECT):
            self._on_tick(TICK_RESET_AT_CONNECT, None)
        if self._state & DESTROYED or self._handle is None:
            return 0
        # A 'readable' listener of an earlier connection goes on reading; Node's would not.
        if self._socket_flags & SOCKET_READ_AT_CONNECT or not self.is_paused() \
                or (self._state & R_LISTENING and self._paused != 1):
            asked = self._socket_flags & SOCKET_READ_AT_CONNECT
            self._socket_flags &= ~SOCKET_READ_AT_CONNECT
            if self._state & HAS_READABLE:
                self._state &= ~R_READING
                if asked:
                    # What is buffered is no reason not to: it was asked before.
                    self._state |= R_READING
                    self._ask_source()
                    if self.is_paused() or self._state & DESTROYED:
                        return 0
                r_kick(self)
        return 0
