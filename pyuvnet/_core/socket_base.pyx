"""SocketBase: joins a stream handle with both halves; the per-chunk path is here and below.

Owns: the handle (maybe none yet, maybe a new one later), the idle timeout, the socket options, the
Connector of a connect() under way.  What is known of the connection is in its handle.  Imports
everything below.  What a program calls is in socket_methods; how a connection is made is in
connecting and in pyuvnet/_client/connecting.py.

Writes: inside a libuv callback they are collected and leave in one writev when the callback and
its ticks are over (at COLLECT_BYTES or COLLECT_CHUNKS at the latest); anywhere else they leave at
once.  Whatever could show the difference (a length, a write callback's tick, cork, end, destroy)
sends them first, so a program sees what Node's immediate write would show.  What the kernel does
not take becomes one request, which holds a reference and never a copy.
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport uint32_t
from libc.string cimport memmove, memset

from .._base.validation import arg_value_error

from . cimport uv
from .address cimport PeerName, peer_tuple
from .blocklist cimport BlockList
from .capi cimport Py_TYPE, PyBytes_AS_STRING, PyTypeObject, hold_collector, list_of, \
    pyuvnet_call_one, pyuvnet_cut_large, pyuvnet_drop_usual, pyuvnet_has_own, \
    pyuvnet_is_awaitable, pyuvnet_new_chunk, pyuvnet_raised, pyuvnet_refill, release_collector, \
    take_item
from .deadlines cimport DUE_DEADLINE, DUE_END, DUE_RETIREMENT, DUE_WRITE, IDLE_GRACE, Limits, \
    arm, clear_deadline, counts_anew, deadline_error, has_deadline, set_deadline, stop_deadlines, \
    write_waits
from .debug cimport UVNET_DEBUG
from .debugging cimport call_watched
from .duplex cimport Duplex
from .emitter cimport EMITTER_EMIT_OVERRIDDEN, ON_CLOSE, ON_CONNECT, ON_END, ON_FINISH, \
    ON_TIMEOUT, drop_internal, explain_chunk, has_internal, intern_event, new_internal, \
    only_listener
from .errors cimport never_reached, os_error, over_budget, queue_full, seal, socket_closed, \
    state_error
from .layer cimport Layer, add_layer, bytes_moved, finish, finish_now, give_away, offer, \
    read_start, read_stop, remove_layer, send, take, unsent_bytes, write_failure
from .limits cimport IN_LOOP, IN_SERVER, Budget, Quota, new_budget, new_quota
from .loop cimport READ_BUFFER_SIZE, Loop
from .owner cimport Acceptor, HandleCalls, Links, fact_call, lost_call, raised_call, read_call, \
    room_call, status_call, take_call
from .pipe cimport Pipe, new_pipe
from .piping cimport PIPING_FILLED, PIPING_OVER, PIPING_TO_SOCKET, PIPING_UNFIT, Piping
from .proxy_header cimport ENDS_OWN, ProxyHeader
from .read_buffer cimport b_take_all
from .readable cimport *
from .splice cimport pyuvnet_send_room, pyuvnet_splice_in, pyuvnet_splice_out, \
    pyuvnet_splice_unfit, pyuvnet_take_back, pyuvnet_tube_close
from .stream cimport *
from .stream_handle cimport BORN_SHIFT, ReadTarget, StreamHandle, budget_in_kib, new_read_target, \
    point_at, pump_budget
from .tcp cimport KEEP_ALIVE_COUNT, KEEP_ALIVE_INTERVAL, TCP, new_tcp
from .timer cimport Timer
from .upcalls cimport later
from .writable cimport *
from .write_queue cimport bytes_at, is_exact_bytes, q_accept, q_begin, q_chunks, q_collect, \
    q_drop_flight, q_drop_waiting, q_enqueue, q_join_collected, q_landed_in_part, q_launch, \
    q_launch_all, q_part, q_recent

cdef extern from "sockopt.h":
    int pyuvnet_tcp_info(const uv.uv_handle_t* handle, char* info, int room) noexcept
    int pyuvnet_unsent(const uv.uv_handle_t* handle) noexcept

cdef object _DATA = intern_event("data")
cdef object _READABLE = intern_event("readable")
cdef object _SHUTDOWN = intern_event("shutdown")

cdef extern from "sockopt.h":
    bint pyuvnet_has_unread(int fd) noexcept

# The states of a socket, apart from those of its stream's two sides, and what takes it from one to
# another. Whatever is not in the table leaves it as it is.
STATES = {
    "new": "there is no handle",
    "bound": "the handle is a BoundSocket's, and not connected",
    "connecting": "a Connector is at work, from connect() to 'connect' or failure",
    "connected": "the handle has a connection",
    "closing": "destroyed; the handle, if there was one, is being closed",
    "closed": "'close' was emitted",
}
TRANSITIONS = {
    ("new", "connect()"): "connecting",
    ("new", "destroy()"): "closing",
    ("bound", "connect()"): "connecting",
    ("bound", "destroy()"): "closing",
    ("connecting", "the connection stands"): "connected",
    ("connecting", "the last attempt fails"): "closing",
    ("connecting", "destroy()"): "closing",
    ("connected", "both sides are over"): "closing",
    ("connected", "the peer resets"): "closing",
    ("connected", "destroy()"): "closing",
    ("closing", "the handle is closed"): "closed",
    ("closing", "connect()"): "connecting",
    ("closed", "connect()"): "connecting",
}


def state_of(SocketBase socket not None):
    """Return what a socket is in: a key of STATES."""
    if socket._state & DESTROYED:
        return "closed" if socket._state & CLOSE_EMITTED else "closing"
    if socket._socket_flags & SOCKET_CONNECTING:
        return "connecting"
    if socket._handle is None:
        return "new"
    return "bound" if socket._socket_flags & SOCKET_BOUND else "connected"


# The class whose write() was last found to be our own, so that asking again is a comparison: its
# version changes with every attribute of it or its bases, and is 0 if it has none. No reference: no
# two classes ever have one version. Each thread has its own where there is no GIL.
cdef extern from *:
    """
    #include "shared.h"
    static PYUVNET_PER_THREAD PyObject* pyuvnet_plain_class = NULL;
    static PYUVNET_PER_THREAD unsigned int pyuvnet_plain_version = 0;
    """
    PyObject* _plain_class "pyuvnet_plain_class"
    unsigned int _plain_version "pyuvnet_plain_version"


cdef void _remember_plain(object cls) noexcept:
    global _plain_class, _plain_version
    _plain_class = <PyObject*>cls
    _plain_version = (<PyTypeObject*><PyObject*>cls).tp_version_tag


def on_end_of_socket():
    """The 'end' listener that every socket shows, as in Node; write() does its work.

    Without it a write after 'end' and the automatic end() is like any other write after end().
    """


cdef tuple _end_listener = (ON_END, on_end_of_socket)


@cython.no_gc_clear    # each call needs the socket
cdef class Connector:
    """One connect() of one socket, from its beginning to 'connect' or the error.

    The socket holds it meanwhile, and its methods here are all that the core calls on it. The steps
    are in ConnectSteps, their order in the classes of _client/connecting.py, which override three
    of them.
    """

    def __cinit__(self, SocketBase socket not None, *args):
        self.socket = socket

    cdef void cancel_lookup(self) noexcept:
        """The result of the lookup in flight is not awaited any more."""
        if self.lookup is not None:
            self.lookup.cancel()
            self.lookup = None

    def resolved(self, error, list addresses):
        """The lookup came to an error, or to addresses, as (address, family) with family 4 or 6."""

    def connected(self, int status):
        """The attempt under way came to a libuv status; UV_ECANCELED: destroy() interrupted it."""

    def stop(self):
        """The socket is being destroyed: end what would go on, such as timers and tasks."""


@cython.final
cdef class EarlyDeadline(Timer):
    """The deadline of a socket that has no connection yet."""

    cdef int fire(self) except -1:
        self.socket._also().deadline = None
        return self.socket._deadline_passed()

    cdef object whose(self):
        return self.socket


cdef class SocketExtra(StreamExtra):
    """The rare state of a socket; see socket_base.pxd."""


cdef PeerName _NO_PEER
memset(&_NO_PEER, 0, sizeof(_NO_PEER))
cdef SocketExtra _NOTHING = SocketExtra.__new__(SocketExtra)
_NOTHING.shared = True


cdef class SocketBase(Duplex):
    """A Duplex over a stream handle: reading, writing, connecting, destruction."""

    def __cinit__(self):
        self._rare = _NOTHING

    cdef StreamExtra _new_extra(self):
        cdef int held = hold_collector()
        try:
            return SocketExtra.__new__(SocketExtra)
        finally:
            release_collector(held)

    @property
    def _connector(self):
        """The connect() under way, or one that was interrupted; None without."""
        return self._also().connector

    @property
    def _host(self):
        """The host that the last connect() was given; None without, or with a path."""
        return self._also().host

    cdef int _setup(self, StreamHandle handle, unsigned int state, Py_ssize_t read_mark,
                    Py_ssize_t write_mark) except -1:
        self._init_stream(state | AUTO_DESTROY | R_PUSHED_SOURCE, read_mark, write_mark)
        self._handle = handle
        self._socket_flags |= SOCKET_READY
        self._coroutines |= W_HAS_SINK
        return 0

    cdef int _adopt_accepted(self, Acceptor server, StreamHandle handle, unsigned int state,
                             Py_ssize_t mark, bint paused) except -1:
        """A connection that a server accepted: reading starts before anybody hears of it."""
        if handle.watchable() < 0:
            # It is no socket's, and nothing has changed: the server closes it.
            raise MemoryError
        self._loop = handle.loop
        self._setup(handle, state | HAS_READABLE | HAS_WRITABLE, mark, mark)
        self._server = server
        handle.counts_for(server)
        if self._loop.budget is not None:
            self._join(self._loop.budget)
        handle.stands()
        self._own(handle)
        if paused:
            self._flowing = FLOWING_NO
            self._paused = 1
        else:
            r_kick(self)
        return 0

    cdef void _give_back(self) noexcept:
        """The server could not take the connection after all, and no listener has seen it."""
        self._state |= DESTROYED | CLOSED | CLOSE_EMITTED
        if self._handle is not None:
            self._handle.left_server()
            stop_deadlines(self._handle)
        if self._also().address is not None:
            self._also().address.gone()
            self._also().address = None
        self._handle = None
        self._server = None
        if self._coroutines & W_LIMITED:
            self._leave_budgets()

    cdef int _named_by(self, ProxyHeader header) except -1:
        """A PROXY header says who the ends are; raises before anything has changed."""
        cdef SocketExtra rare = self._own_also()
        _before, rare.proxy = rare.proxy, header.name_ends()
        if header.fields.ends != ENDS_OWN:
            rare.renamed, rare.here = True, header.fields.destination
        return 0

    def _refuse_second_init(self):
        """A socket that is made once cannot be made again: it may own a connection."""
        if self._socket_flags & SOCKET_READY:
            raise state_error("ERR_CONSTRUCTED_TWICE",
                              "Socket.__init__() was called twice on the same object")

    def _init_socket(self, allow_half_open, bint readable, bint writable,
                     Py_ssize_t read_mark, Py_ssize_t write_mark, bint no_delay, keep_alive):
        """Make the state of an unconnected socket; called once, by Socket.__init__."""
        cdef unsigned int state = 0
        self._refuse_second_init()
        if allow_half_open is not None:
            self._coroutines |= HALF_OPEN_SET
            if allow_half_open:
                state |= ALLOW_HALF_OPEN
        if readable:
            state |= HAS_READABLE
        if writable:
            state |= HAS_WRITABLE
        if no_delay:
            self._socket_flags |= SOCKET_NO_DELAY
        if keep_alive is not None:
            self.set_keep_alive_flag(keep_alive)
        self._setup(None, state, read_mark if read_mark >= 0 else default_mark(),
                    write_mark if write_mark >= 0 else default_mark())

    def _open_descriptor(self, int fd, str kind not None):
        """Take over a connected descriptor of kind 'TCP' or 'PIPE', and begin to read it."""
        cdef TCP tcp
        cdef Pipe pipe
        cdef StreamHandle handle
        cdef int status
        self._ready()
        # The bounds first: they need memory, and once libuv has the descriptor nothing may fail.
        if kind == "TCP":
            handle = tcp = new_tcp(self._loop)
            self._bound_handle(handle)
            status = tcp.open(fd)
        else:
            handle = pipe = new_pipe(self._loop, self._also().passes)
            self._bound_handle(handle)
            status = pipe.open(fd)
        if status < 0:
            handle.close()
            raise os_error(status, "open")
        self._handle = handle
        handle.stands()
        self._own(handle)
        self._peer()
        self._apply_options()
        if self._state & HAS_READABLE:
            r_kick(self)

    def _adopt_bound(self, StreamHandle handle not None):
        """Take over a bound handle, from which connect() is to start."""
        self._ready()
        self._socket_flags |= SOCKET_BOUND
        self._take_handle(handle)

    def _set_dress(self, function):
        """Call function(handle) when the connection stands, before 'connect', to add layers."""
        self._own_also().dress = function

    @property
    def _is_upgraded(self):
        """Whether another socket has, or waits for, this one's connection."""
        return self._also().successor is not None

    @property
    def _can_be_taken(self):
        """Whether the handle can go to another socket: connected, without layers."""
        return self._handle is not None and not self._handle.layered \
            and not self._socket_flags & (SOCKET_CONNECTING | SOCKET_BOUND)

    cdef bytes _stop_reading(self):
        """Let nothing more come, whatever listens; returns what is there."""
        cdef bytes data = b_take_all(self)
        self._flowing = FLOWING_NO
        self._paused = 1
        if self._handle is not None:
            self._read_stop()
        return data

    cdef StreamHandle _give_away(self, StreamHandle known):
        """Own the connection no more, whose handle another owner takes; nothing here fails.

        Args:
            known: has, from now on, what this socket knows about the connection that it had.
        """
        cdef StreamHandle handle = self._handle
        give_away(handle)
        known.continues(handle)
        self._handle, self._connection = None, known
        if self._coroutines & W_LIMITED:
            self._also().quota.leave_all()
        return handle

    cdef bytes _take_over(self, SocketBase other):
        """Take the connection of another socket, whose writes have all left.

        That one reads and writes no more. Returns the bytes that it had and did not hand out.
        """
        cdef StreamHandle handle, known = StreamHandle.__new__(StreamHandle)
        cdef SocketExtra mine, its
        cdef Quota quota
        cdef bytes data
        self._ready()
        other._ready()
        mine, its = self._own_also(), other._own_also()
        other._flush()
        handle = other._handle
        if handle is None or handle.layered or other._state & W_WRITING \
                or self._handle is not None or self._state & DESTROYED:
            raise socket_closed()
        quota = its.quota
        if quota is not None:
            # Of its server, unless this one has bounds of its own.
            if quota.most >= 0 and (mine.quota is None or mine.quota.most < 0):
                self._bound_queue(quota.most, quota.refuses)
            if quota.in_server is not None:
                self._join(quota.in_server)
        # Nothing may fail once the other one has given it away: it would count for ever.
        if self._loop.budget is not None:
            self._join(self._loop.budget)
        data = b_take_all(other)
        if mine.deadline is None:
            _error, mine.deadline_error = mine.deadline_error, its.deadline_error
        other._give_away(known)
        # This one begins to count.
        counts_anew(handle)
        handle.bytes_in = handle.bytes_out = 0
        _target, its.onread_target = its.onread_target, None
        self._server = other._server
        mine.address, its.address = its.address, None
        mine.renamed, mine.here = its.renamed, its.here
        if mine.read_budget:
            handle.read_budget = mine.read_budget
        self._handle = handle
        self._own(handle)
        # Of nothing before, since this one is new.
        mine.proxy = its.proxy
        return data

    cdef SocketBase _present(self):
        """The socket that its server counts now: this one, or the one that has its connection."""
        cdef SocketBase successor = self._also().successor
        if successor is not None and successor._counted() and not self._counted():
            return successor
        return self

    cdef int _take_handle(self, StreamHandle handle) except -1:
        self._bound_handle(handle)
        self._handle = handle
        self._own(handle)
        return 0

    cdef int _bound_handle(self, StreamHandle handle) except -1:
        """A handle is about to be this socket's: let the bounds of both apply.

        Closes it where there is no memory for that: nothing else would.
        """
        if self._loop.budget is not None:
            try:
                self._join(self._loop.budget)
            except MemoryError:
                handle.owner = None
                handle.close()
                raise
        if self._also().read_budget:
            handle.read_budget = self._also().read_budget
        return 0

    cdef void _own(self, StreamHandle handle) noexcept:
        """Let the callbacks of a handle come here."""
        self._connection = handle
        take(handle, self, &ONREAD_CALLS if self._has_onread() else &SOCKET_CALLS)

    def _bound_kind(self):
        """'TCP' or 'PIPE' while a bound handle waits for connect(), else None."""
        if self._handle is None or not self._socket_flags & SOCKET_BOUND:
            return None
        return "TCP" if isinstance(self._handle, TCP) else "PIPE"

    def _set_onread(self, callback, buffer):
        """Give each read to a callback, in a buffer of the program's."""
        cdef SocketExtra rare = self._own_also()
        _callback, rare.onread = rare.onread, callback
        _buffer, rare.onread_buffer = rare.onread_buffer, buffer

    def _set_block_list(self, BlockList block_list):
        """Remember the list that every address to connect to is checked against."""
        if block_list is not None:
            self._own_also().block_list = block_list

    def _set_limits(self, limits):
        """Remember the limits that count once it is connected."""
        if limits is not None or not self._rare.shared:
            self._own_also().limits = limits

    def _set_undo_signal(self, undo):
        """Remember how to take our listener off an abort signal, for when it is all over."""
        self._own_also().undo_signal = undo

    cdef void set_no_delay_flag(self, bint enabled) noexcept:
        """The server has set TCP_NODELAY on the handle already."""
        if enabled:
            self._socket_flags |= SOCKET_NO_DELAY

    cdef void set_keep_alive_flag(self, unsigned int delay) noexcept:
        """Set SO_KEEPALIVE when connected; a server has set it on the handle already."""
        self._socket_flags |= SOCKET_KEEP_ALIVE
        self._keep_idle = delay

    cdef int _send_keep_alive(self, TCP tcp, bint enable) noexcept:
        """Tell the kernel of the timings; returns a libuv status."""
        if self._socket_flags & SOCKET_KEEP_TIMINGS:
            return tcp.keepalive(enable, self._keep_idle, self._also().keep_interval,
                                 self._also().keep_count)
        return tcp.keepalive(enable, self._keep_idle, KEEP_ALIVE_INTERVAL, KEEP_ALIVE_COUNT)

    cdef int _ready(self) except -1:
        """Refuse a socket whose __init__ never ran, another thread, and a fork's child."""
        if self._loop is not None:
            # First, since another thread may not even look.
            self._loop.check()
        if not self._socket_flags & SOCKET_READY:
            raise state_error("ERR_NOT_CONSTRUCTED",
                              "Socket.__init__() was not called; call super().__init__()")
        return 0

    cdef int _check_framing(self) except -1:
        if self._has_onread():
            raise arg_value_error("framing", None, "cannot be used on a socket with onread")
        return 0

    # ---- Layers, and what they or the handle do ------------------------------------------------

    cdef int _add_layer(self, Layer layer, bint lowest) except -1:
        """Put a layer between the handle and this stream: below all others, or above them.

        What was written before goes past it, and completes through it.
        """
        cdef int status
        self._flush()
        if self._handle is None or self._socket_flags & (SOCKET_CONNECTING | SOCKET_BOUND):
            raise socket_closed()
        status = add_layer(self._handle, layer, lowest)
        if status < 0:
            self._fail(os_error(status, "read"))
        return 0

    cdef int _remove_layer(self, Layer layer) except -1:
        """Take a layer away; it may do that itself, as the last thing in a call."""
        cdef Layer kept = layer
        if kept.handle is None or kept.handle.owner is not self:
            raise ValueError("this layer is not on this socket")
        self._flush()
        remove_layer(kept)
        return 0

    cdef void _read_stop(self) noexcept:
        read_stop(self._handle)

    # ---- Reading -------------------------------------------------------------------------------

    cdef int _ask_source(self) except -1:
        cdef StreamHandle handle
        if self._handle is None or self._socket_flags & SOCKET_CONNECTING:
            self._socket_flags |= SOCKET_READ_AT_CONNECT
        elif self._also().successor is None:
            # Otherwise what comes is the other one's.
            handle = self._handle
            if self._has_onread() and self._also().onread_target is None:
                self._next_target()
                if self._handle is not handle:
                    # The program's function for a buffer destroyed it.
                    return 0
            status = read_start(handle)
            if status < 0:
                self._fail(os_error(status, "read"))
        return 0

    cdef void _settle_chunk(self, object result, object chunk) noexcept:
        try:
            self._settle(result, _DATA, (chunk,))
        except BaseException as exc:
            _read_raised(self, None, exc)

    cdef void _listener_raised(self) noexcept:
        """A call by hand left an exception."""
        try:
            pyuvnet_raised()
        except BaseException as exc:
            _read_raised(self, None, exc)

    cdef int _next_target(self) except -1:
        buffer = self._also().onread_buffer
        if callable(buffer):
            buffer = buffer()
        target = new_read_target(buffer)
        # The program's function may have destroyed the socket.
        if self._handle is not None:
            _before, self._also().onread_target = self._also().onread_target, target
        return 0

    cdef SocketBase _native_dest(self):
        """The one socket that this one is piped into, if bytes may go there without a chunk object.

        None where the ordinary path has to do it, since the program listens, decodes, overrides, or
        something is queued. All of that is checked anew for each read, so that nothing has to
        follow its changes.
        """
        cdef Piping piping
        cdef SocketBase dest
        if type(self.r_pipes) is not Piping:
            return None
        piping = <Piping>self.r_pipes
        if not piping.flags & PIPING_TO_SOCKET:
            if not isinstance(piping.dest, SocketBase):
                return None
            piping.flags |= PIPING_TO_SOCKET
        dest = <SocketBase>piping.dest
        # First, since it may ask a metaclass of the program's.
        if dest._writes_overridden():
            return None
        if self._flowing != FLOWING_YES or self.r_length | self.r_transforms \
                or self._state & (R_ENDED | DESTROYED) \
                or self._emitter_flags & EMITTER_EMIT_OVERRIDDEN:
            return None
        if piping.seen_alone != self._changes and not self._looks_alone(piping):
            return None
        if dest._loop is not self._loop or dest._handle is None \
                or dest.w_corked | dest._handle.layered \
                or dest._socket_flags & SOCKET_ESTABLISHING or dest._coroutines & W_LIMITED \
                or dest._state & (W_ENDING | DESTROYED | ERRORED | W_WRITING | W_COLLECTING):
            return None
        if self._idle is not None:
            self._idle.touch()
        if dest._idle is not None:
            dest._idle.touch()
        return dest

    cdef bint _looks_alone(self, Piping piping) noexcept:
        """Whether a pipe is the only 'data' listener, which is remembered."""
        cdef bint alone = False
        try:
            alone = self._find(_DATA) is piping
        except BaseException:
            # A comparison of names failed; it will for the ordinary path too.
            pass
        if alone:
            piping.seen_alone = self._changes
        return alone

    cdef bint _relay(self, const char* base, Py_ssize_t size) noexcept:
        """Move bytes straight to the one socket that this one is piped into, if that stays unseen.

        What the kernel does not take becomes a write of dest, and the pipe waits for its 'drain'.
        """
        cdef SocketBase dest = self._native_dest()
        cdef uv.uv_buf_t buf
        cdef Py_ssize_t taken
        if dest is None:
            return False
        buf.base = <char*>base
        buf.len = size
        taken = dest._handle.try_write(&buf, 1)
        self._state = (self._state & ~R_READING) | R_DID_READ
        self._received(size)
        if taken == size and size < READ_BUFFER_SIZE:
            dest._dispatched(size)
            (<Piping>self.r_pipes).flags &= ~PIPING_FILLED
            return True
        try:
            self._relayed(dest, &buf, taken)
        except BaseException as exc:
            _read_raised(self, None, exc)
        return True

    cdef int _relayed(self, SocketBase dest, uv.uv_buf_t* buf, Py_ssize_t taken) except -1:
        """Account for a chunk that filled the buffer, or was not taken whole."""
        cdef Piping piping = <Piping>self.r_pipes
        cdef Py_ssize_t size = buf.len
        if taken == size:
            dest._dispatched(size)
            if not piping.flags & PIPING_FILLED:
                piping.flags |= PIPING_FILLED
            elif not piping.flags & PIPING_UNFIT and self._handle is not None \
                    and not self._handle.layered and not self._handle.pump_start():
                piping.flags |= PIPING_UNFIT
        elif taken >= 0 or taken == uv.UV_EAGAIN:
            taken = max(taken, 0)
            dest._dispatched(taken)
            self._write_rest(dest, PyBytes_FromStringAndSize(buf.base + taken, size - taken))
        else:
            # The kernel reports an error once: it is that of a write() of these bytes.
            q_begin(dest, None, size)
            dest._account(buf, 1, taken, None, True)
        return 0

    cdef int _write_rest(self, SocketBase dest, bytes rest) except -1:
        """Let dest write what the kernel did not take, and wait for its 'drain' without reading."""
        cdef Piping piping = <Piping>self.r_pipes
        cdef uv.uv_buf_t buf
        point_at(&buf, rest)
        q_begin(dest, rest, buf.len)
        dest._state |= W_NEED_DRAIN
        dest._account(&buf, 1, uv.UV_EAGAIN, None, True)
        if piping.flags & PIPING_OVER:
            return 0
        piping.wait()
        # A paused stream reads on until its buffer is full; these bytes may as well stay there.
        if self._flowing == FLOWING_NO and not self.r_length and self._handle is not None:
            self._read_stop()
        return 0

    cdef bint _writes_overridden(self) noexcept:
        """True if a subclass, or this object alone, has a write() of its own."""
        if <PyObject*>Py_TYPE(<PyObject*>self) != _plain_class or not _plain_version \
                or Py_TYPE(<PyObject*>self).tp_version_tag != _plain_version:
            if not self._inherits_write():
                return True
            _remember_plain(type(self))
        return pyuvnet_has_own(self, "write")

    cdef bint _inherits_write(self) noexcept:
        """True if the class has the compiled write(), which a later layer brings."""
        return True

    # ---- Writing -------------------------------------------------------------------------------
    #
    # No code of the program runs here while fields do not agree: chunks that are done with go to
    # Loop.release(), lists are made with the collector held off, and an error, which Python makes,
    # is made last, by w_failed().

    cdef int _begin_write(self, Write* write, bint has_callback) except -1:
        """Collect a write, whose parts are not taken apart, or send it at once.

        Raises before anything has changed.
        """
        cdef bint kept
        if self._handle is None or self._socket_flags & SOCKET_ESTABLISHING:
            return self._write_unconnected(write)
        if write.count == 1:
            if not self._loop.in_callback and not self._state & W_COLLECTING \
                    and not has_callback and not self._handle.layered:
                return self._write_now(&write.parts[0])
            kept = self._collect(<object>write.parts[0].chunk, write.size, self._loop.in_callback)
        else:
            if self._state & W_COLLECTING and self.w_in_flight + write.count > COLLECT_CHUNKS:
                self._flush()
                if self._state & (DESTROYED | ERRORED | W_WRITING):
                    # By what its completion ran, or the kernel is full.
                    return q_enqueue(self, write)
            kept = self._state & W_COLLECTING != 0
            q_collect(self, write)
            if not kept:
                self._state |= W_COLLECTING
                kept = self._loop.in_callback and self._loop.collect(self)
        if has_callback:
            # The callback's tick has its place now; it sends what is collected by then.
            self._loop.tick(self, TICK_AFTER_WRITE, self.w_accepted)
        if not kept or self.w_size >= COLLECT_BYTES or self.w_size >= self.w_mark \
                or self.w_in_flight >= COLLECT_CHUNKS:
            self._flush()
        return 0

    cdef int _write_unconnected(self, Write* write) except -1:
        """Let a write wait for 'connect', or fail if there will be no connection."""
        cdef object chunks = q_chunks(write)
        q_accept(self, write.size, write.count)
        q_launch(self, chunks, write.size, write.count)
        self._state |= W_WRITING
        if self._socket_flags & SOCKET_ESTABLISHING:
            return self._wait_for_connect()
        return w_failed(self, FAILED_CLOSED, True)

    cdef int _write_now(self, Part* part) except -1:
        """Send one chunk that is written outside of callbacks, with nothing before it.

        No state says that it is in flight, so nothing may run before the kernel has taken it: the
        tick of a callback, say, may collect garbage, and a finaliser may write.
        """
        cdef uv.uv_buf_t buf
        cdef Py_ssize_t taken = 0
        q_begin(self, <object>part.chunk, part.size)
        if self._idle is not None:
            self._idle.touch()
        buf.base = part.base
        buf.len = part.size
        if part.size:
            taken = self._handle.try_write(&buf, 1)
        return self._account(&buf, 1, taken, None, True)

    cdef bint _flush_one(self) noexcept:
        """_flush() of a single chunk that the kernel takes whole."""
        # Borrowed, as on every path that each chunk takes.
        cdef void* handle = <void*>self._handle
        cdef uv.uv_buf_t buf
        cdef Py_ssize_t taken
        if self._state & (W_COLLECTING | W_NEED_DRAIN) != W_COLLECTING \
                or self.w_queue is not None or not self.w_size or (<StreamHandle>handle).layered:
            return not self._state & W_COLLECTING
        if self._idle is not None:
            self._idle.touch()
        if is_exact_bytes(<PyObject*>self.w_chunk):
            # What point_at() does, without counting a reference.
            buf.base = bytes_at(<PyObject*>self.w_chunk)
            buf.len = self.w_size
        else:
            point_at(&buf, self.w_chunk)
        taken = (<StreamHandle>handle).try_write(&buf, 1)
        self._state &= ~W_COLLECTING
        if taken == self.w_size:
            (<StreamHandle>handle).dispatched(taken)
            q_landed(self)
        else:
            try:
                self._account(&buf, 1, taken, None, True)
            except BaseException as exc:
                self._loop.report(exc)
        return True

    cdef int _flush(self) except -1:
        """Send what was collected: all chunks with one call, if the kernel takes them."""
        cdef uv.uv_buf_t bufs[COLLECT_CHUNKS]
        cdef unsigned int count = 1
        if not self._state & W_COLLECTING:
            return 0
        self._state &= ~W_COLLECTING
        point_at(&bufs[0], self.w_chunk)
        if self.w_queue is not None:
            for chunk in self.w_queue:
                if count == COLLECT_CHUNKS:
                    break
                point_at(&bufs[count], chunk)
                count += 1
        if UVNET_DEBUG:
            assert count == self.w_in_flight
        if self._handle.layered:
            return self._flush_through(bufs, count)
        return self._account(bufs, count, self._offer(bufs, count), None, True)

    cdef int _flush_through(self, uv.uv_buf_t* bufs, unsigned int count) except -1:
        """_flush() through layers, which may run signal handlers of the program.

        For them this is a write in flight: what they write waits behind it.
        """
        cdef object together = None
        try:
            together = q_join_collected(self)
        except MemoryError:
            pass
        if together is None:
            return w_failed(self, uv.UV_ENOMEM, True)
        self._state |= W_WRITING
        return self._account(bufs, count, self._offer(bufs, count), together, True)

    cdef Py_ssize_t _offer(self, uv.uv_buf_t* bufs, unsigned int count) noexcept:
        """Offer the chunks in flight to what is below; returns how many bytes it took, or why not.
        """
        if self._idle is not None:
            self._idle.touch()
        if not self.w_size:
            return 0
        return offer(self._handle, self.w_chunk, bufs, count)

    cdef int _account(self, uv.uv_buf_t* bufs, unsigned int count, Py_ssize_t taken,
                      object together, bint in_call) except -1:
        """Account for an offer of the chunks in flight: all of it was taken, or a part, or nothing.

        together: the chunk, or a list of them, if they are one write; None: they were collected,
            each is its own.
        """
        cdef unsigned int index = 0
        cdef Py_ssize_t whole = 0, size
        if taken == self.w_size:
            if together is not None:
                self._dispatched(taken)
                return w_completed(self, None, in_call)
            self._all_taken()
            q_drop_waiting(self)
            if self._state & W_NEED_DRAIN:
                self._loop.tick(self, TICK_AFTER_WRITE, self.w_done)
            return 0
        if taken < 0 and taken != uv.UV_EAGAIN:
            if together is None:
                # The first one failed, and the others will with it.
                q_landed_in_part(self, 0, 0, bufs[0].len)
            if self._connection is not None:
                self._dispatched(self.w_size)
            return w_failed(self, <int>taken, in_call)
        taken = max(taken, 0)
        while index + 1 < count and taken >= <Py_ssize_t>bufs[index].len:
            taken -= bufs[index].len
            whole += bufs[index].len
            index += 1
        size = bufs[index].len
        bufs[index].base += taken
        bufs[index].len -= taken
        if together is not None:
            self._dispatched(self.w_size)
            return self._submit(together, &bufs[index], count - index)
        # Chunks that left whole are done; the one that did not goes out by a request, and the
        # rest waits behind it, as chunks written while another is in flight.
        self._dispatched(whole)
        q_landed_in_part(self, index, whole, size)
        if self._coroutines & W_LIMITED:
            self._queue_changed()
        if not self._loop.reserve_ticks(1) or not q_part(self, index, count):
            return w_failed(self, uv.UV_ENOMEM, True)
        self._state |= W_WRITING
        self._dispatched(size)
        if index and (self._rare.w_waiting is not None or self._state & W_NEED_DRAIN):
            self._loop.tick(self, TICK_AFTER_WRITE, self.w_done)
        return self._submit(self.w_chunk, &bufs[index], 1)

    cdef int _submit(self, object chunks, uv.uv_buf_t* bufs, unsigned int count) except -1:
        """Hand a write over that was not taken at once."""
        cdef int status
        cdef list held = None, _before = None
        cdef StreamHandle handle = self._handle
        if self._socket_flags & SOCKET_COUNTS_WRITES:
            # So that destroy() can drop it, and need not wait for libuv.
            try:
                held = list_of(chunks)
            except MemoryError:
                pass
            if held is None:
                return w_failed(self, uv.UV_ENOMEM, True)
            _before, self._also().in_flight = self._also().in_flight, held
            chunks = held
        status = send(handle, chunks, bufs, count)
        if status < 0:
            return w_failed(self, status, True)
        write_waits(handle)
        if self._idle is not None:
            # All of it, as Node: what the kernel has taken at once is progress, too.
            self._idle.queue_size = self.w_size
        return 0

    cdef object _failed_write(self, int status):
        return Duplex._failed_write(self, status) if self._handle is None \
            else write_failure(self._handle, status)

    # ---- Bounds --------------------------------------------------------------------------------
    #
    # What bounds a queue is in a Quota. A socket without one has neither W_LIMITED nor anything
    # else to do. What is queued is charged wherever w_length has changed and nothing is collected.
    # Where SOCKET_COUNTS_WRITES is not set, a write in a callback may be collected without coming
    # here, since so little exceeds no bound.

    cdef Quota _own_quota(self):
        cdef SocketExtra rare = self._own_also()
        if rare.quota is None:
            rare.quota = new_quota(<void*>self)
            self._coroutines = (self._coroutines | W_LIMITED) & ~W_HAS_SINK
        return rare.quota

    cdef void _count_writes(self) noexcept:
        self._socket_flags |= SOCKET_COUNTS_WRITES

    def _set_read_budget(self, Py_ssize_t size):
        """Read so many bytes at most in one turn of the loop; below 0: the default."""
        if size >= 0:
            self._own_also().read_budget = budget_in_kib(size)
            if self._handle is not None:
                self._handle.read_budget = self._also().read_budget

    def _set_passes(self):
        """Let a connection over a path pass descriptors along with the bytes."""
        self._own_also().passes = True

    def _passes(self):
        """Whether a connection over a path is to pass descriptors."""
        return self._also().passes

    def _set_bound(self, Py_ssize_t most, bint refuses):
        """Let the queue have so many bytes at most; -1: no bound."""
        if most >= 0:
            self._bound_queue(most, refuses)

    cdef int _bound_queue(self, Py_ssize_t most, bint refuses) except -1:
        """Let the queue have so many bytes at most; beyond it a write is refused, or destroys."""
        cdef Quota quota = self._own_quota()
        quota.most, quota.refuses = most, refuses
        if most < COLLECT_BYTES:
            self._count_writes()
        return 0

    cdef int _join(self, Budget budget) except -1:
        """Count for a budget, of the server or of the loop, from now on."""
        cdef Quota quota = self._own_quota()
        self._flush()
        if self._state & DESTROYED:
            # By what a write that failed has run: nothing of it counts any more.
            return 0
        quota.charge(self.w_length, self.w_done)
        if (quota.in_server if budget.place == IN_SERVER else quota.in_loop) is not budget:
            quota.join(budget)
        self._count_writes()
        return 0

    cdef void _leave_budgets(self) noexcept:
        """Destroyed: drop at once what is queued, which libuv would hold until it has closed."""
        cdef SocketExtra rare = self._also()
        cdef list chunks
        rare.quota.leave_all()
        if rare.in_flight is not None:
            # libuv looks no more at what it was to write, once its handle is closed.
            chunks, rare.in_flight = rare.in_flight, None
            if isinstance(self.w_chunk, list):
                _release_each(self._loop, self.w_chunk)
            q_drop_flight(self)
            _release_each(self._loop, chunks)
            if self.w_queue is not None:
                _release_each(self._loop, self.w_queue)
            q_drop_waiting(self)

    cdef Py_ssize_t _most_queued(self) noexcept:
        return self._also().quota.most

    cdef void _queue_changed(self) noexcept:
        cdef SocketExtra rare = self._also()
        cdef list _over = None
        if not self._state & W_WRITING:
            _over, rare.in_flight = rare.in_flight, None
        if not self._state & DESTROYED:
            # What was in flight is done, but has not been counted yet.
            rare.quota.charge(self.w_length, self.w_done if self.w_size
                              else self.w_done + self.w_in_flight)

    cdef bint _may_queue(self, Py_ssize_t size) except -1:
        cdef Quota quota = self._also().quota
        if not quota.refuses or self.w_length + size <= quota.most:
            return True
        self._flush()
        return self.w_length + size <= quota.most or not self.w_length

    cdef void _note_write(self, Quota quota, Write* write) noexcept:
        """Let the budgets know the largest part of the write just accepted, if it still waits.

        Of a frame that is the payload; the others do not matter.
        """
        cdef unsigned int index, largest = 0
        cdef object chunk
        for index in range(1, write.count):
            if write.parts[index].size > write.parts[largest].size:
                largest = index
        chunk = q_recent(self, write.count - 1 - largest)
        if write.parts[largest].size and <PyObject*>chunk is write.parts[largest].chunk:
            quota.note(self.w_accepted, write.parts[largest].base, write.parts[largest].size)

    cdef int _has_queued(self, Write* write) except -1:
        cdef Quota quota = self._also().quota
        cdef Py_ssize_t size = write.size
        cdef Py_ssize_t of_server = 0, of_loop = 0
        if self._state & DESTROYED:
            return 0
        if quota.in_server is not None:
            of_server = quota.in_server.queued
        if quota.in_loop is not None:
            of_loop = quota.in_loop.queued
        if self.w_done != self.w_accepted \
                and (quota.in_server is not None or quota.in_loop is not None):
            self._note_write(quota, write)
        if self._state & W_COLLECTING and quota.most >= 0 and self.w_length > quota.most:
            self._flush()
        if self._state & W_COLLECTING and quota.collect(size):
            send_collected(self._loop)
            quota.sent()
        if self._state & DESTROYED:
            return 0
        if not self._state & W_COLLECTING:
            quota.charge(self.w_length, self.w_done)
            # One that is all there is in the queue may be as large as it likes.
            if quota.most >= 0 and self.w_length > quota.most and 0 < size < self.w_length:
                self._destroy_with(queue_full(quota.most))
        if quota.in_server is not None \
                and self._exceeds(quota.in_server, size, of_server):
            self._destroy_longest(quota.in_server)
        if quota.in_loop is not None and self._exceeds(quota.in_loop, size, of_loop):
            self._destroy_longest(quota.in_loop)
        return 0

    cdef bint _exceeds(self, Budget budget, Py_ssize_t size, Py_ssize_t before) noexcept:
        """Whether a write of so many bytes is what makes a budget exceed its limit.

        Not if it is all there is, or if nothing of it waits: what exceeds the budget was let in.
        """
        return budget.exceeded() and (budget.queued > size or budget.repeats > budget.limit) \
            and (budget.queued > before or size and self.w_length)

    cdef int _destroy_longest(self, Budget budget) except -1:
        """Destroy the sockets with the longest queues until the others fit the budget."""
        cdef SocketBase longest
        cdef Acceptor server
        while budget.exceeded() and budget.count:
            longest = <SocketBase>(<Quota>budget.heap[0]).socket
            if longest._state & DESTROYED:
                # It left when it was destroyed. If it did not, this must not spin.
                (<Quota>budget.heap[0]).leave_all()
                continue
            server = longest._handle.server if longest._counted() else None
            try:
                error = over_budget(budget.limit, budget.place == IN_LOOP)
            except MemoryError:
                error = None
            if longest._state & DESTROYED or not budget.count \
                    or (<Quota>budget.heap[0]).socket is not <void*>longest:
                # Making the error has run code of the program.
                continue
            longest._destroy_with(error)
            if server is not None:
                server.overloaded(budget.place == IN_LOOP)
        return 0

    cdef int _wait_for_connect(self) except -1:
        """Keep what is in flight until 'connect', at its place among the listeners."""
        try:
            self._own_also().bytes_pending = self.w_size
            self._add(ON_CONNECT, new_internal(self, TICK_WRITE_AT_CONNECT), False, True)
            self._add(ON_CLOSE, new_internal(self, TICK_FAIL_AT_CLOSE), False, True)
            return 0
        except MemoryError:
            pass
        return w_failed(self, uv.UV_ENOMEM, True)

    cdef int _begin_queue(self) except -1:
        """Send the whole queue as one vectored write."""
        # w_chunk holds them until w_completed() or w_failed() releases them.
        cdef list chunks = q_launch_all(self)
        self._state |= W_WRITING
        if self._socket_flags & SOCKET_ESTABLISHING:
            return self._wait_for_connect()
        if self._handle is None:
            return w_failed(self, FAILED_CLOSED, True)
        return self._write_vector(chunks, True)

    cdef int _write_vector(self, list chunks, bint in_call) except -1:
        """Write the chunks in flight together; what the kernel does not take waits."""
        cdef unsigned int count = len(chunks), index
        cdef uv.uv_buf_t* bufs = <uv.uv_buf_t*>PyMem_Malloc(count * sizeof(uv.uv_buf_t))
        if bufs is NULL:
            return w_failed(self, uv.UV_ENOMEM, in_call)
        try:
            for index in range(count):
                point_at(&bufs[index], chunks[index])
            return self._account(bufs, count, self._offer(bufs, count), chunks, in_call)
        finally:
            PyMem_Free(bufs)

    cdef int _begin_final(self) except -1:
        cdef int status
        cdef StreamHandle handle = self._handle
        if self._socket_flags & SOCKET_ESTABLISHING:
            self._add(ON_CONNECT, new_internal(self, TICK_FINAL_AT_CONNECT), False, True)
            return 0
        if self._also().successor is not None:
            # The end of the connection is the other one's.
            self._also().successor.end()
            return w_final_done(self, None)
        if handle is None:
            return w_final_done(self, None)
        status = finish(handle)
        if status == 0 and handle.layered \
                and has_internal(self, ON_FINISH, TICK_DESTROY_AT_FINISH):
            status = finish_now(handle)
        if status == 0:
            return 0
        return w_final_done(
            self, None if status == uv.UV_ENOTCONN else os_error(status, "shutdown"))

    cdef int _end_now(self) noexcept:
        """Let the end that destroy_soon() waits for wait for no peer; returns a libuv status."""
        return 0 if self._handle is None else finish_now(self._handle)

    # ---- Connecting ----------------------------------------------------------------------------

    cdef int _connect_failed(self, object exc) except -1:
        """Connecting failed in our own code, such as without memory: it must not wait for ever.

        Raises: exc, if it is the program's.
        """
        self._ready()
        if self._state & DESTROYED or not never_reached(exc):
            raise exc
        return self._destroy_with(os_error(uv.UV_ENOMEM, "connect"))

    # ---- Names and options ---------------------------------------------------------------------

    @property
    def _proxy(self):
        """What the PROXY header says, see ProxyHeader.name_ends(); None without one."""
        return self._also().proxy

    def _check(self):
        """Refuse a half-built socket, another thread, and a fork's child."""
        self._ready()

    cdef const PeerName* _peer(self) noexcept:
        """The peer's name, of family 0 where it is not known."""
        cdef StreamHandle handle = self._handle
        if isinstance(handle, TCP) and not handle.peer.family \
                and not self._socket_flags & SOCKET_CONNECTING and not self._also().renamed:
            # What fails is left: the peer is gone, and its name with it. A PROXY header may have
            # named a path, which has no address.
            (<TCP>handle).read_peer(&handle.peer)
        return &_NO_PEER if self._connection is None else &self._connection.peer

    def _local_name(self):
        """(address, port, family) of the local end, or None."""
        if self._handle is None and self._socket_flags & SOCKET_DRESSING \
                and self._also().predecessor is not None:
            return self._also().predecessor._local_name()
        if self._handle is not None and self._also().renamed:
            return peer_tuple(&(<SocketExtra>self._rare).here)
        if self._handle is None or not isinstance(self._handle, TCP):
            return None
        try:
            return (<TCP>self._handle).sockname()
        except OSError:
            pass
        return None

    def _kernel_info(self):
        """(age in ms, what TCP_INFO gave, bytes the kernel holds) of a connection.

        Each is None where it is not known.
        """
        cdef char[512] info
        cdef int size = -1, unsent = -1
        cdef unsigned int now = <unsigned int>(uv.uv_now(&self._loop._uv) >> BORN_SHIFT)
        self._ready()
        if self._handle is None or self._socket_flags & (SOCKET_CONNECTING | SOCKET_BOUND):
            return None, None, None
        if isinstance(self._handle, TCP):
            size = pyuvnet_tcp_info(self._handle._uv, info, sizeof(info))
        unsent = pyuvnet_unsent(self._handle._uv)
        return (<long long>(now - self._handle.born) << BORN_SHIFT,
                PyBytes_FromStringAndSize(info, size) if size >= 0 else None,
                unsent if unsent >= 0 else None)

    cdef int _apply_options(self) except -1:
        cdef TCP tcp
        cdef int status
        if not isinstance(self._handle, TCP):
            return 0
        tcp = <TCP>self._handle
        if self._socket_flags & SOCKET_NO_DELAY:
            tcp.nodelay(True)
        if self._socket_flags & SOCKET_KEEP_ALIVE:
            self._send_keep_alive(tcp, True)
        if self._socket_flags & SOCKET_TOS:
            status = tcp.set_type_of_service(self._also().type_of_service)
            if status < 0 and status != uv.UV_EBADF and not uv.WINDOWS:
                return self._destroy_with(os_error(status, "setTypeOfService"))
        return 0

    def _set_type_of_service(self, unsigned char value):
        """Set it, or remember it until connected; returns a libuv status."""
        cdef SocketExtra rare = self._own_also()
        cdef int status = 0
        if isinstance(self._handle, TCP) and not self._socket_flags & SOCKET_CONNECTING:
            status = (<TCP>self._handle).set_type_of_service(value)
        if status == 0 or uv.WINDOWS:
            rare.type_of_service = value
            self._socket_flags |= SOCKET_TOS
            return 0
        return status

    def _get_type_of_service(self):
        """The kernel's value when connected, else what was asked for; or a libuv status."""
        cdef int value = uv.UV_ENOTCONN
        if isinstance(self._handle, TCP) and not self._socket_flags & SOCKET_CONNECTING:
            value = (<TCP>self._handle).type_of_service()
            if value < 0 and not uv.WINDOWS:
                return value
        return value if value >= 0 else self._also().type_of_service

    # ---- Destruction ---------------------------------------------------------------------------

    cdef int _do_destroy(self, BaseException error) except -1:
        """Give back what the socket holds: what cannot fail first, then what may run Python."""
        cdef StreamHandle handle = self._handle
        cdef SocketExtra rare = self._also()
        cdef Acceptor server = None
        # Of this connection: an observer that hears of it below may begin another.
        cdef Connector connector = rare.connector
        cdef SocketBase other
        cdef bint succeeded
        undo = rare.undo_signal
        if undo is not None:
            rare.undo_signal = None
        succeeded = rare.successor is not None
        other = rare.successor if succeeded else rare.predecessor
        if other is not None:
            rare.predecessor = rare.successor = None
        if handle is None and connector is not None:
            # No callback of one will come.
            rare.connector = None
        self._socket_flags &= ~SOCKET_ESTABLISHING
        if error is not None:
            self._socket_flags |= SOCKET_HAD_ERROR
        if handle is None:
            self._socket_flags |= SOCKET_CLOSE_BY_TICK
        else:
            self._socket_flags &= ~SOCKET_CLOSE_BY_TICK
            server = handle.server
            handle.left_server()
        if self._idle is not None:
            self._idle.cancel()
        if rare is not None and rare.address is not None:
            rare.address.gone()
            rare.address = None
        if rare.deadline is not None:
            self._clear_deadline()
        if handle is not None:
            stop_deadlines(handle)
            if self._coroutines & W_LINGERS and error is not None and handle.bytes_out \
                    and (unacknowledged_by_peer(handle) or not isinstance(handle, TCP)):
                self._coroutines |= W_UNCONFIRMED
            if self._socket_flags & (SOCKET_GRACEFUL | SOCKET_RESET) == SOCKET_GRACEFUL \
                    and error is None and self._state & (W_FINISHED | R_ENDED) == W_FINISHED:
                later.see_off(self)
            self._socket_flags &= ~SOCKET_GRACEFUL
            self._handle = None
            handle._reading = False
            if not (self._socket_flags & SOCKET_RESET and isinstance(handle, TCP)
                    and (<TCP>handle).close_reset() == 0):
                handle.close()
            self._loop.touched()
        if self._coroutines & W_LIMITED:
            self._leave_budgets()
        if connector is not None:
            connector.cancel_lookup()
        try:
            self._destroy_done(error)
        except BaseException as exc:
            # Out of memory for the tick that emits 'error'. 'close' comes with the handle's end.
            self._loop.report(exc)
        if server is not None:
            server.connection_gone(error)
        try:
            if connector is not None:
                connector.stop()
        except BaseException as exc:
            self._loop.report(exc)
        try:
            if undo is not None:
                undo()
        except BaseException as exc:
            self._loop.report(exc)
        try:
            if other is not None:
                # The successor is the one that the program listens to.
                other._destroy_with(error if succeeded else None)
        except BaseException as exc:
            self._loop.report(exc)
        return 0

    cdef int _emit_close(self) except -1:
        # With a handle, 'close' comes from its callback, in the closing phase.
        if self._socket_flags & SOCKET_CLOSE_BY_TICK:
            self._state |= CLOSE_EMITTED
            self._emit_close_now()
        return 0

    cdef int _emit_close_now(self) except -1:
        try:
            self._emit1(ON_CLOSE, bool(self._socket_flags & SOCKET_HAD_ERROR))
        finally:
            self._wake_readers()
        return 0

    cdef int _refuse_writes_of_peer(self) except -1:
        # What the built-in 'end' listener would have done at 'end' on a socket without an owner.
        if self.listener_count(ON_END, on_end_of_socket):
            self._socket_flags |= SOCKET_REFUSES_WRITES
        return 0

    @property
    def _close_due(self):
        """Whether 'close' is still to come once the socket is destroyed."""
        return not self._state & CLOSE_EMITTED

    cdef int _on_tick(self, int what, object argument) except -1:
        if what == TICK_WRITE_AT_CONNECT:
            drop_internal(self, ON_CLOSE, TICK_FAIL_AT_CLOSE)
            self._also().bytes_pending = 0
            if self._handle is None:
                # An earlier 'connect' listener destroyed the socket.
                return w_failed(self, FAILED_CLOSED, False)
            return self._write_vector(self.w_chunk, False)
        if what == TICK_CALL:
            try:
                argument()
            except (MemoryError, RecursionError) as exc:
                if not self._socket_flags & SOCKET_CONNECTING:
                    raise
                self._connect_failed(exc)
            return 0
        if what == TICK_FAIL_AT_CLOSE:
            drop_internal(self, ON_CONNECT, TICK_WRITE_AT_CONNECT)
            return w_failed(self, FAILED_BEFORE_CONNECTION, False)
        if what == TICK_FINAL_AT_CONNECT:
            if not self._state & DESTROYED:
                return self._begin_final()
            return 0
        if what == TICK_RESET_AT_CONNECT:
            return self._reset()
        if what == TICK_DESTROY_AT_FINISH:
            self._socket_flags |= SOCKET_GRACEFUL
            return self._destroy_with(None)
        if what == TICK_END and not self._state & (R_END_EMITTED | ALLOW_HALF_OPEN) \
                and self.listener_count(ON_END, on_end_of_socket):
            # What the built-in 'end' listener does, whatever becomes of it then.
            self._socket_flags |= SOCKET_REFUSES_WRITES
        elif what == TICK_FINISH and not self._state & HAS_READABLE:
            # Which destroys it, and it has never read.
            self._socket_flags |= SOCKET_GRACEFUL
        elif what == TICK_FINISH and self._socket_flags & SOCKET_FINISH_IS_OLD:
            # The connection that is being made can still be ended; Node's cannot.
            self._socket_flags &= ~SOCKET_FINISH_IS_OLD
            w_emit_finish(self)
            if self._state & DESTROYED:
                # By destroy_soon(): there is no such connection any more.
                self._state |= W_FINISHED
            return 0
        return Duplex._on_tick(self, what, argument)

    cdef int _reset(self) except -1:
        """Close with RST, which the peer reads as ECONNRESET."""
        if not self._state & DESTROYED:
            self._socket_flags |= SOCKET_RESET
            self._destroy_with(None)
        return 0

    cdef tuple _builtin(self):
        return None if self._socket_flags & SOCKET_END_LISTENER_GONE else _end_listener

    cdef int _builtin_gone(self) except -1:
        self._socket_flags |= SOCKET_END_LISTENER_GONE
        return 0

    # ---- Deadlines -----------------------------------------------------------------------------

    cdef int _set_deadline(self, uint32_t delay, object error) except -1:
        """Destroy the socket after so many ms, with an error, or None for the usual one."""
        cdef SocketExtra rare
        if error is not None or not self._rare.shared:
            _before, self._own_also().deadline_error = self._also().deadline_error, error
        if self._handle is not None \
                and not self._socket_flags & (SOCKET_CONNECTING | SOCKET_BOUND):
            return set_deadline(self._handle, delay)
        rare = self._own_also()
        if rare.deadline is None:
            deadline = EarlyDeadline.__new__(EarlyDeadline)
            (<EarlyDeadline>deadline).loop = self._loop
            (<EarlyDeadline>deadline).socket = self
            rare.deadline = deadline
        rare.deadline.start(delay)
        if self._state & DESTROYED:
            # Making the timer has run a finaliser.
            self._clear_deadline()
        return 0

    cdef bint _has_deadline(self) noexcept:
        return self._also().deadline is not None \
            or self._handle is not None and has_deadline(self._handle)

    cdef void _clear_deadline(self) noexcept:
        cdef EarlyDeadline deadline = self._also().deadline
        if deadline is not None:
            self._also().deadline = None
            deadline.cancel()
        if self._handle is not None:
            clear_deadline(self._handle)

    cdef int _deadline_stays(self) except -1:
        """There is a connection: a deadline that was set before is its deadline now."""
        cdef EarlyDeadline deadline = self._also().deadline
        cdef uint64_t now = uv.uv_now(&self._loop._uv)
        if deadline is not None:
            set_deadline(self._handle, <uint32_t>(deadline.due - now if deadline.due > now else 0))
            self._also().deadline = None
            deadline.cancel()
        return 0

    cdef int _deadline_passed(self) except -1:
        cdef object error = None
        if not self._rare.shared:
            error, self._also().deadline_error = self._also().deadline_error, None
        return self._destroy_with(deadline_error(DUE_DEADLINE) if error is None else error)

    def _start_limits(self, Limits limits not None):
        """Let limits count from now on, if neither a server nor connect() has made the socket."""
        self._ready()
        uv.uv_update_time(&self._loop._uv)
        if self._handle is not None:
            arm(self._handle, limits)

    # ---- A graceful end ------------------------------------------------------------------------

    cdef uint64_t _activity(self) noexcept:
        """A number that changes with each byte that is read, or that the kernel takes."""
        return 0 if self._handle is None else bytes_moved(self._handle)

    def _unsent_bytes(self):
        """_unsent(), for Python."""
        return self._unsent()

    cdef size_t _unsent(self) noexcept:
        """How many of the bytes that were handed over wait for the kernel, or for a layer."""
        return 0 if self._handle is None else unsent_bytes(self._handle)

    cdef int _begin_to_end(self) except -1:
        """Emit 'shutdown'; the socket is to be ended as soon as it is idle."""
        cdef SocketExtra rare = self._own_also()
        if self._state & DESTROYED or self._socket_flags & SOCKET_TO_END:
            return 0
        self._socket_flags |= SOCKET_TO_END
        rare.activity = self._activity()
        rare.active_at = uv.uv_now(&self._loop._uv)
        self._emit0(_SHUTDOWN)
        return 0

    cdef bint _end_if_idle(self, uint64_t now, uint64_t grace, uint64_t* due) except -1:
        """End it if it is idle. Returns whether to look again, at `due` at the latest."""
        cdef SocketExtra rare = self._also()
        cdef uint64_t activity = self._activity()
        if not self._socket_flags & SOCKET_TO_END or self._state & DESTROYED:
            return False
        if self._state & W_ENDING:
            if self._state & W_FINISHED and self._flowing != FLOWING_YES and not self._owners \
                    and self.r_reader is None and not self._state & R_LISTENING:
                # Nothing reads, as behind a pipe that 'finish' has taken away: the peer's end must
                # be seen even then.
                self.resume()
            due[0] = min(due[0], now + grace)
            return True
        if self._socket_flags & SOCKET_NOT_BUSY:
            self._end_here()
            due[0] = min(due[0], now + grace)
            return True
        if activity != rare.activity or self._socket_flags & SOCKET_BUSY or self.w_length \
                or self.r_length \
                or self._handle is not None and pyuvnet_has_unread(self._handle.fileno()):
            # Even a grace of 0 does not end what is at work.
            rare.activity = activity
            rare.active_at = now
        elif rare.active_at + grace <= now:
            self._end_here()
            due[0] = min(due[0], now + grace)
            return True
        due[0] = min(due[0], rare.active_at + grace)
        return True

    cdef int _end_here(self) except -1:
        """end(), after which the program's writes are refused without an error."""
        self._socket_flags |= SOCKET_ENDED_HERE
        self.end()
        return 0

    cdef int _let_arrive(self) except -1:
        """Before a socket is destroyed that has not ended: see off what the kernel has taken.

        What still waits for the kernel is lost, so the peer had better see a reset.
        """
        self._flush()
        if self._handle is not None and not self.w_length and not self._unsent() \
                and not self._state & (R_ENDED | DESTROYED) \
                and not self._socket_flags & (SOCKET_ESTABLISHING | SOCKET_BOUND):
            later.see_off(self)
        return 0

    # ---- Idle timeout --------------------------------------------------------------------------

    cdef int _touch(self) except -1:
        if self._idle is not None and not self._state & DESTROYED:
            self._idle.touch()
        return 0


# ---- What the handle calls -----------------------------------------------------------------------

cdef bint _is_late(SocketBase self, object handle) noexcept:
    """Whether a callback is of an earlier connection: after a reconnect it has no one to reach."""
    return self._handle is not None and self._handle is not handle


cdef bint _take_read(SocketBase self, const char* base, Py_ssize_t size) noexcept:
    """_read() for a flowing socket with an empty buffer and one plain 'data' listener."""
    cdef PyObject* listener
    cdef PyObject* result
    cdef PyObject* chunk
    if self._flowing != FLOWING_YES or self.r_length \
            or self._state & (R_ENDED | DESTROYED | R_SYNC) \
            or self.r_transforms or self.r_pipes is not None:
        if self.r_pipes is not None:
            return self._relay(base, size)
        return self.r_reader is not None and _deliver(self, base, size)
    listener = only_listener(self, <PyObject*>_DATA)
    if listener is NULL:
        return False
    # A program that echoes or parses drops each chunk before the next one comes: then the
    # loop holds the only reference, and the object serves again.
    if size >= READ_BUFFER_SIZE and base == self._loop.gate.large:
        # It has landed in an object that can be handed out.
        chunk = <PyObject*>self._loop.large_chunk
        pyuvnet_cut_large(chunk, size)
    else:
        if not pyuvnet_refill(<void*>self._loop.last_chunk, base, size):
            chunk = pyuvnet_new_chunk(base, size)
            if chunk is NULL:
                return False
            self._loop.last_chunk = <bytes>chunk
            Py_DECREF(<object>chunk)
        chunk = <PyObject*>self._loop.last_chunk
    self._received(size)
    if self._idle is not None:
        self._idle.touch()
    self._state = (self._state & ~R_READING) | R_DID_READ
    # The listener may remove itself, and the loop another chunk.
    Py_INCREF(<object>listener)
    Py_INCREF(<object>chunk)
    result = pyuvnet_call_one(listener, chunk)
    self._loop.release(listener)
    if result is NULL:
        explain_chunk(_DATA, listener, <object>chunk)
        self._listener_raised()
    elif not pyuvnet_drop_usual(result):
        if pyuvnet_is_awaitable(<object>result):
            self._settle_chunk(<object>result, <object>chunk)
        self._loop.release(result)
    Py_DECREF(<object>chunk)
    if size >= READ_BUFFER_SIZE and base == self._loop.gate.read_buffer \
            and self._handle is not None:
        self._handle.read_large(True)
    if self._state & (R_ENDED | DESTROYED) \
            or self.r_length and self.r_length >= self.r_mark:
        if self._handle is not None:
            self._read_stop()
    return True


cdef bint _deliver(SocketBase self, const char* base, Py_ssize_t size) noexcept:
    """_take_read() for a socket with an empty buffer that only a task waits for."""
    cdef Loop loop = self._loop
    cdef Reader reader = self.r_reader
    cdef PyObject* chunk
    cdef bint taken = False
    if not reader.waiting or self.r_length or self.r_transforms \
            or self.r_pipes is not None or loop.tick_count \
            or self._state & (R_ENDED | DESTROYED | ERRORED | R_SYNC) \
            or self._find(_DATA) is not None or self._find(_READABLE) is not None:
        return False
    if not pyuvnet_refill(<void*>loop.last_chunk, base, size):
        chunk = pyuvnet_new_chunk(base, size)
        if chunk is NULL:
            return False
        loop.last_chunk = <bytes>chunk
        Py_DECREF(<object>chunk)
    self._received(size)
    if self._idle is not None:
        self._idle.touch()
    self._state = (self._state & ~(R_READING | R_EMITTED_READABLE | R_END_UNSEEN)) | R_DID_READ
    taken = reader.deliver(loop.last_chunk)
    if not taken:
        # It is read again, the usual way.
        self._received(-size)
    elif self._handle is not None and (self._state & (R_ENDED | DESTROYED)
                                       or self.r_length and self.r_length >= self.r_mark):
        self._read_stop()
    return taken


cdef int _read(SocketBase self, object handle, const char* base, Py_ssize_t size) except -1:
    cdef Loop loop = self._loop
    cdef int go_on
    if self.r_pipes is not None and size and (<StreamHandle>handle).layered \
            and self._relay(base, size):
        return 0
    if self._idle is not None:
        self._idle.touch()
    if not size:
        return 0
    self._received(size)
    if size >= READ_BUFFER_SIZE and self._handle is not None:
        # It may be buffered, which the mark is to bound.
        self._handle.read_large(False)
    if self.r_transforms & (R_FRAMES | R_READERS):
        go_on = r_push_framed(self, base, size) if self.r_transforms & R_FRAMES \
            else _read_for_reader(self, base, size)
        if not go_on and self._handle is not None:
            self._read_stop()
        return 0
    if not pyuvnet_refill(<void*>loop.last_chunk, base, size):
        loop.last_chunk = PyBytes_FromStringAndSize(base, size)
    if not r_push(self, loop.last_chunk) and self._handle is not None:
        self._read_stop()
    return 0


cdef int _pump(SocketBase self, object handle, int status) except -1:
    """Move what has arrived to the socket that this one is piped into, inside the kernel.

    Back to reading as usual if the flow is slow by now, or if the program could notice: libuv reads
    the rest in the next turn of the loop.
    """
    cdef SocketBase dest = self._native_dest()
    cdef Loop loop = self._loop
    # Not the socket's own: the question above may have destroyed that.
    cdef StreamHandle source = <StreamHandle>handle
    cdef Py_ssize_t want = 0, got = 0, moved = 0, most
    cdef size_t left = 0
    cdef int failure = 0
    cdef bytes rest
    cdef uv.uv_buf_t buf
    if dest is None or source.layered or not loop.tube.size:
        source.pump_stop()
        return 0
    most = min(max(pump_budget(source), READ_BUFFER_SIZE), PUMP_BYTES)
    while moved < most:
        want = pyuvnet_send_room(dest._handle.fileno())
        if want < 0:
            got = uv.UV_EINVAL
            break
        # Without any room a few bytes are taken anyway: their write tells when there is.
        want = min(max(want, PUMP_LEAST), min(<Py_ssize_t>loop.tube.size, most - moved))
        got = pyuvnet_splice_in(&loop.tube, source.fileno(), want)
        if got <= 0:
            break
        moved += got
        left = pyuvnet_splice_out(&loop.tube, dest._handle.fileno(), got, &failure)
        if left or got < want:
            break
    self._received(moved)
    dest._dispatched(moved - left)
    if moved:
        self._state = (self._state & ~R_READING) | R_DID_READ
    if moved < READ_BUFFER_SIZE and not left or got < 0 and got != uv.UV_EAGAIN:
        source.pump_stop()
        (<Piping>self.r_pipes).flags &= ~PIPING_FILLED
    if left:
        buf.len = left
        if pyuvnet_splice_unfit(failure):
            source.pump_stop()
            (<Piping>self.r_pipes).flags |= PIPING_UNFIT
        elif failure:
            # As in _relay().
            pyuvnet_tube_close(&loop.tube)
            q_begin(dest, None, left)
            return dest._account(&buf, 1, failure, None, True)
        rest = None
        try:
            rest = PyBytes_FromStringAndSize(NULL, left)
        finally:
            if rest is None or not pyuvnet_take_back(&loop.tube, PyBytes_AS_STRING(rest), left):
                # They are lost, and the stream with them: see _read_raised().
                pyuvnet_tube_close(&loop.tube)
                rest = None
        if rest is None:
            raise MemoryError
        return self._write_rest(dest, rest)
    if got < 0 and got != uv.UV_EAGAIN:
        if pyuvnet_splice_unfit(got):
            (<Piping>self.r_pipes).flags |= PIPING_UNFIT
            return 0
        self._read_stop()
        return _read_ended(self, handle, <int>got)
    return 0


cdef int _read_for_reader(SocketBase self, const char* base, Py_ssize_t size) except -1:
    """r_push() where the buffer is for readers: a task that waits goes on at once, if it can."""
    cdef Reader reader = self.r_reader
    cdef bint steps = reader is not None and reader.waiting and not self._loop.tick_count \
        and reader is self._rare.r_cutter.reader
    self._rare.r_cutter.delivering = steps
    try:
        r_push_framed(self, base, size)
    finally:
        self._rare.r_cutter.delivering = False
    if steps and not reader.deliver(None):
        reader.arrived()
    return r_goes_on(self)


cdef void _room(SocketBase self, uv.uv_buf_t* buf) noexcept:
    cdef ReadTarget target = self._also().onread_target
    buf.base = <char*>target.view.buf
    buf.len = target.view.len


cdef bint _take_nothing(SocketBase self, const char* base, Py_ssize_t size) noexcept:
    return False


cdef int _read_to_program(SocketBase self, StreamHandle handle, const char* base,
                          Py_ssize_t size) except -1:
    """_read() of a socket with onread, whose handle reads into the program's buffer."""
    cdef SocketExtra rare = self._also()
    cdef Py_buffer* view
    cdef Py_ssize_t count
    if self._idle is not None:
        self._idle.touch()
    self._received(size)
    while size and self._handle is handle:
        view = &rare.onread_target.view
        count = min(size, view.len)
        if base != view.buf:
            # A layer has them, or it is the rest of what a layer has.
            memmove(view.buf, base, count)
        base += count
        size -= count
        if self._loop.measuring:
            result = call_watched(None, rare.onread, (count, rare.onread_target.buffer))
        else:
            result = rare.onread(count, rare.onread_target.buffer)
        if result is False and self._handle is handle:
            self._read_stop()
        if self._handle is handle and callable(rare.onread_buffer):
            self._next_target()
    return 0


cdef int _read_ended(SocketBase self, object handle, int status) except -1:
    if self._idle is not None:
        self._idle.touch()
    if self._state & DESTROYED:
        return 0
    if status != uv.UV_EOF:
        return self._destroy_with(os_error(status, "read"))
    r_push_eof(self)
    # Without data no read is needed for 'end' to come.
    r_kick(self)
    return 0


cdef void _read_raised(SocketBase self, object handle, object exc) noexcept:
    # A listener's exception is the program's affair. But bytes that no listener got, since
    # there was no memory for that, are lost, and a stream must not go on with a gap.
    try:
        r_lost(self, exc)
    except BaseException as again:
        self._loop.report_of(again, self)


cdef int _written(SocketBase self, object handle, int status) except -1:
    if _is_late(self, handle):
        return 0
    if self._idle is not None:
        self._idle.queue_size = 0
        self._touch()
    if status < 0:
        return w_failed(self, status, False)
    return w_completed(self, None, False)


cdef int _shut_down(SocketBase self, object handle, int status) except -1:
    if self._state & DESTROYED or _is_late(self, handle):
        return 0
    # What mkfifo() or pipe() made has no half to close: closing is its end.
    if status >= 0 or status == uv.UV_ENOTCONN \
            or status == uv.UV_ENOTSOCK and isinstance(self._handle, Pipe):
        return w_final_done(self, None)
    return w_final_done(self, os_error(status, "shutdown"))


cdef int _connected(SocketBase self, object handle, int status) except -1:
    cdef Connector connector = self._also().connector
    if connector is None or _is_late(self, handle):
        return 0
    if self._state & DESTROYED:
        # It was interrupted, and this is the last call that it gets.
        self._also().connector = None
    try:
        connector.connected(status)
    except (MemoryError, RecursionError) as exc:
        self._connect_failed(exc)
    return 0


cdef int _handle_closed(SocketBase self, object handle, int status) except -1:
    if self._state & DESTROYED:
        if self._socket_flags & SOCKET_HAD_ERROR and not self._state & ERROR_EMITTED \
                and self._errored is not None:
            # An exception has stopped the loop before its tick, or there was no memory for one.
            try:
                self._emit_error(self._errored)
            except BaseException as exc:
                self._loop.report_of(exc, self)
        self._state |= CLOSE_EMITTED
        _over = self._also().connector
        if _over is not None:
            self._also().connector = None
        _target = self._also().onread_target
        if _target is not None:
            self._also().onread_target = None
    return self._emit_close_now()


cdef Py_ssize_t unacknowledged_by_peer(StreamHandle handle) noexcept:
    """How many of the bytes written the peer's kernel has not acknowledged, also after a reset.

    0 where that is not known, or where the peer has them at once: in a unix socket.
    """
    if handle is None or not isinstance(handle, TCP):
        return 0
    return max(pyuvnet_unsent(handle._uv), 0)


cdef void send_collected(Loop loop) noexcept:
    """Send what sockets with a budget have collected, before the callback is over."""
    cdef Py_ssize_t index = 0
    cdef PyObject* owner
    # What fails does so in a tick; but making its error may run code that writes.
    while index < loop.collected_count:
        owner = loop.collected[index]
        index += 1
        if not isinstance(<object>owner, SocketBase) \
                or not (<SocketBase>owner)._socket_flags & SOCKET_COUNTS_WRITES:
            continue
        Py_INCREF(<object>owner)
        try:
            (<SocketBase>owner)._flush()
        except BaseException as exc:
            loop.report(exc)
        loop.release(owner)


cdef void _release_each(Loop loop, list chunks) noexcept:
    """Release what is in a list at once, and not only when the callback is over."""
    cdef Py_ssize_t index
    for index in range(len(chunks)):
        loop.release(take_item(chunks, index))


cdef void _find_sockets(uv.uv_handle_t* handle, void* found) noexcept:
    if uv.uv_is_closing(handle) or handle.type not in (uv.UV_TCP, uv.UV_NAMED_PIPE):
        return
    owner = (<StreamHandle>handle.data).owner
    if isinstance(owner, SocketBase):
        (<list>found).append(owner)


def set_write_budget(Loop loop not None, limit):
    """Bound what the sockets of a loop queue together, in bytes; None: no bound."""
    cdef Budget budget
    cdef SocketBase socket
    cdef list found = []
    loop.check()
    uv.uv_walk(&loop._uv, <uv.uv_walk_cb><void*>_find_sockets, <void*>found)
    if limit is None:
        loop.budget = None
        for socket in found:
            if socket._coroutines & W_LIMITED:
                socket._also().quota.leave(IN_LOOP)
        return
    budget = new_budget(limit, IN_LOOP)
    # No later socket is missed, whatever runs meanwhile.
    loop.budget = budget
    for socket in found:
        if not socket._state & DESTROYED:
            socket._join(budget)
    if budget.exceeded():
        (<SocketBase>found[0])._destroy_longest(budget)


cdef void _add_queued(uv.uv_handle_t* handle, void* sum) noexcept:
    if not uv.uv_is_closing(handle) and handle.type in (uv.UV_TCP, uv.UV_NAMED_PIPE):
        owner = (<StreamHandle>handle.data).owner
        if isinstance(owner, SocketBase):
            (<Py_ssize_t*>sum)[0] += (<SocketBase>owner).w_length


def _links_size():
    """What being in the ring of its server costs a connection, in bytes; for tests."""
    return sizeof(Links)


def queued_bytes(Loop loop not None):
    """What the sockets of a loop have written and the kernel has not taken."""
    cdef Budget budget = loop.budget
    cdef Py_ssize_t found = 0
    loop.check()
    if budget is not None:
        send_collected(loop)
        return budget.unsent
    uv.uv_walk(&loop._uv, <uv.uv_walk_cb><void*>_add_queued, &found)
    return found


def write_budget(Loop loop not None):
    """(limit, queued) of a loop's sockets, None without a budget."""
    cdef Budget budget = loop.budget
    loop.check()
    if budget is None:
        return None
    send_collected(loop)
    return (budget.limit, budget.queued)


cdef int on_idle_timeout(SocketBase self) except -1:
    cdef size_t left
    cdef uint64_t activity
    if self._idle.queue_size and self._handle is not None:
        # A write that makes progress is activity, although nothing completed; what a layer keeps of
        # it counts, too.
        left = self._unsent()
        if left != self._idle.queue_size:
            self._idle.queue_size = left
            self._idle.touch()
            return 0
    if self._also().successor is not None:
        # What the connection does is seen where its bytes are, and here when the time is over.
        activity = self._also().successor._activity()
        if activity != self._also().activity:
            self._own_also().activity = activity
            self._idle.touch()
            return 0
    self._emit0(ON_TIMEOUT)
    return 0


cdef int _due(SocketBase self, object handle, int due) except -1:
    cdef uint64_t again = 0
    if due == DUE_RETIREMENT:
        return self._begin_to_end()
    if due == DUE_END:
        self._end_if_idle(uv.uv_now(&self._loop._uv), IDLE_GRACE, &again)
        return 0
    if due == DUE_DEADLINE:
        return self._deadline_passed()
    error = deadline_error(due)
    if due == DUE_WRITE and isinstance(self._handle, TCP):
        self._socket_flags |= SOCKET_RESET
    return self._destroy_with(error)


cdef bint _half_open(SocketBase self) noexcept:
    return self._state & ALLOW_HALF_OPEN != 0


cdef int _lost(SocketBase self, object handle, BaseException error) except -1:
    if error is None:
        self._socket_flags |= SOCKET_GRACEFUL
    return self._destroy_with(error)


cdef HandleCalls SOCKET_CALLS
SOCKET_CALLS.take_read = <take_call><void*>_take_read
SOCKET_CALLS.read = <read_call><void*>_read
SOCKET_CALLS.pump = <status_call><void*>_pump
SOCKET_CALLS.read_ended = <status_call><void*>_read_ended
SOCKET_CALLS.read_raised = <raised_call><void*>_read_raised
SOCKET_CALLS.written = <status_call><void*>_written
SOCKET_CALLS.shut_down = <status_call><void*>_shut_down
SOCKET_CALLS.connected = <status_call><void*>_connected
SOCKET_CALLS.due = <status_call><void*>_due
SOCKET_CALLS.half_open = <fact_call><void*>_half_open
SOCKET_CALLS.lost = <lost_call><void*>_lost
SOCKET_CALLS.closed = <status_call><void*>_handle_closed

# Of a socket with onread, whose handle reads into the program's buffer.
cdef HandleCalls ONREAD_CALLS = SOCKET_CALLS
ONREAD_CALLS.room = <room_call><void*>_room
ONREAD_CALLS.take_read = <take_call><void*>_take_nothing
ONREAD_CALLS.read = <read_call><void*>_read_to_program


seal(EarlyDeadline)
seal(SocketExtra)
