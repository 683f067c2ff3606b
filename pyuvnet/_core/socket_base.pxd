"""SocketBase: a Duplex over a stream handle; see socket_base.pyx."""

from cpython.object cimport PyObject
from libc.stdint cimport uint32_t, uint64_t

from . cimport uv
from .address cimport PeerName
from .blocklist cimport BlockList
from .dns cimport Lookup
from .duplex cimport Duplex
from .layer cimport Layer
from .limits cimport AddressCount, Budget, Quota
from .loop cimport Loop
from .owner cimport Acceptor
from .piping cimport Piping
from .proxy_header cimport ProxyHeader
from .stream cimport STREAM_TICKS, Part, StreamExtra, W_COLLECTING, Write
from .stream_handle cimport ReadTarget, StreamHandle
from .tcp cimport TCP
from .timer cimport IdleTimeout, Timer
from .write_queue cimport q_append, q_collected, q_first, q_landed

cdef enum:
    COLLECT_BYTES = 65536        # collected writes leave at this many bytes,
    PUMP_BYTES = 2 << 20         # one turn of the loop moves about so many inside the kernel,
    PUMP_LEAST = 16384           # and so many at a time at the least
    COLLECT_CHUNKS = 64          # or chunks, at the latest at the end of the callback

cdef enum:
    # Steps of the library at a place in the order of a socket's listeners.
    TICK_WRITE_AT_CONNECT = STREAM_TICKS
    TICK_FAIL_AT_CLOSE
    TICK_FINAL_AT_CONNECT
    TICK_RESET_AT_CONNECT
    TICK_DESTROY_AT_FINISH
    TICK_CALL                    # of a Connector

# The state of a socket, apart from its stream's, in the order of a life; see the table of
# socket_base.pyx.
cdef enum:
    SOCKET_READY = 1 << 0        # Constructed.
    # What the program asked for, before there is a handle or since.
    SOCKET_NO_DELAY = 1 << 1     # set_no_delay().
    SOCKET_KEEP_ALIVE = 1 << 2   # set_keep_alive(), with the three timings.
    SOCKET_TOS = 1 << 3          # A type of service.
    SOCKET_KEEP_TIMINGS = 1 << 15        # The last two timings of SOCKET_KEEP_ALIVE are its own.
    SOCKET_UNREF = 1 << 4        # unref().
    # From a handle to a connection.
    SOCKET_BOUND = 1 << 5        # The handle is a BoundSocket's, and not connected.
    SOCKET_CONNECTING = 1 << 6   # From connect() to 'connect' or failure.
    SOCKET_READ_AT_CONNECT = 1 << 7      # Reading is due then.
    SOCKET_FINISH_IS_OLD = 1 << 8        # 'finish' is due for an end() before connect().
    # How it ends.
    SOCKET_END_LISTENER_GONE = 1 << 10   # The built-in 'end' listener was removed.
    SOCKET_REFUSES_WRITES = 1 << 11      # The peer has ended first: write() fails with EPIPE.
    SOCKET_RESET = 1 << 12       # To be closed with RST.
    SOCKET_HAD_ERROR = 1 << 13   # Destroyed with an error: the argument of 'close'.
    SOCKET_CLOSE_BY_TICK = 1 << 14       # Destroyed without a handle, whose callback emits 'close'.
    # Of a graceful end.
    SOCKET_BUSY = 1 << 16        # The program said that it is,
    SOCKET_NOT_BUSY = 1 << 17    # or that it is not.
    SOCKET_TO_END = 1 << 18      # 'shutdown' was emitted: end it when it is idle.
    SOCKET_ENDED_HERE = 1 << 19  # That was done: write() refuses without an error.
    # Each write is to be counted: it has a budget, or a bound below what may be collected.
    SOCKET_COUNTS_WRITES = 1 << 20
    # The connection stands, but its handle has no layers yet. A signal handler may write before.
    SOCKET_DRESSING = 1 << 21
    # It destroys itself, or destroy_soon() does: what it has written is to arrive.
    SOCKET_GRACEFUL = 1 << 22
    # Writes, end() and resets wait for 'connect'.
    SOCKET_ESTABLISHING = SOCKET_CONNECTING | SOCKET_DRESSING

cdef class SocketBase(Duplex)

cdef class Connector:
    cdef readonly SocketBase socket    # never None
    cdef Lookup lookup                 # in flight; None otherwise

    cdef void cancel_lookup(self) noexcept
    # And resolved(), connected() and stop(), which classes in Python override.

cdef class EarlyDeadline(Timer):
    cdef SocketBase socket

cdef class SocketExtra(StreamExtra):
    # The connect() under way, or one that was interrupted, until its handle is closed.
    cdef Connector connector
    cdef unsigned int keep_interval, keep_count  # of keep-alive probes: SOCKET_KEEP_TIMINGS
    cdef unsigned char type_of_service      # SOCKET_TOS
    cdef uint64_t bytes_pending        # of the write that waits, or waited, for 'connect'
    cdef BlockList block_list          # of a client
    cdef object onread                 # gets each read instead of 'data'; None: not in use
    cdef object onread_buffer          # where it lands: a writable buffer, or what returns one
    cdef ReadTarget onread_target      # that buffer while it is in use
    cdef object undo_signal            # takes the listener off the signal option's signal
    # Of a socket that is to end when it is idle.
    cdef uint64_t active_at            # loop time of the last activity that was noticed
    cdef uint64_t activity             # what _activity() was then
    # Of deadlines.
    cdef object limits                 # of a client, from connect() on
    cdef EarlyDeadline deadline        # of set_deadline() before there is a connection
    cdef object deadline_error         # of set_deadline(); None: the usual one
    cdef tuple proxy                   # what the PROXY header says; None without
    cdef bint renamed                  # both ends are the header's: the handle's peer, and this
    cdef PeerName here
    cdef unsigned int read_budget      # as a handle keeps it
    cdef Quota quota                   # what bounds its queue; None: nothing does
    cdef list in_flight                # the chunk that libuv has, of a socket with a budget
    cdef AddressCount address          # where its server counts it, by its address
    cdef object host                   # that the last connect() was given; None: a path
    cdef object dress                  # of a client: puts layers on a handle, before 'connect'
    # After an upgrade, such as STARTTLS: the socket that has, or waits for, this one's connection,
    # and the one whose connection this was. Each destroys the other with itself.
    cdef SocketBase successor, predecessor
    cdef bint passes                   # descriptors, with bytes, over a path

cdef class SocketBase(Duplex):
    cdef StreamHandle _handle          # None before connect and after destroy
    # The same, or what knows about the connection that there was: its bytes and its peer.
    cdef StreamHandle _connection
    cdef unsigned int _socket_flags
    cdef unsigned int _keep_idle       # of keep-alive probes
    cdef IdleTimeout _idle
    cdef Acceptor _server              # the server that accepted it

    cdef int _setup(self, StreamHandle handle, unsigned int state, Py_ssize_t read_mark,
                    Py_ssize_t write_mark) except -1
    cdef int _adopt_accepted(self, Acceptor server, StreamHandle handle, unsigned int state,
                             Py_ssize_t mark, bint paused) except -1
    cdef void _give_back(self) noexcept
    cdef int _named_by(self, ProxyHeader header) except -1
    cdef StreamHandle _give_away(self, StreamHandle known)
    cdef int _emit_close_now(self) except -1
    cdef int _apply_options(self) except -1
    cdef int _wait_for_connect(self) except -1
    cdef int _write_vector(self, list chunks, bint in_call) except -1
    cdef void _settle_chunk(self, object result, object chunk) noexcept
    cdef void _listener_raised(self) noexcept
    cdef int _flush_through(self, uv.uv_buf_t* bufs, unsigned int count) except -1
    cdef Py_ssize_t _offer(self, uv.uv_buf_t* bufs, unsigned int count) noexcept
    cdef int _account(self, uv.uv_buf_t* bufs, unsigned int count, Py_ssize_t taken,
                      object together, bint in_call) except -1
    cdef int _write_unconnected(self, Write* write) except -1
    cdef int _write_now(self, Part* part) except -1
    cdef int _add_layer(self, Layer layer, bint lowest) except -1
    cdef int _remove_layer(self, Layer layer) except -1
    cdef void _read_stop(self) noexcept
    cdef int _next_target(self) except -1
    # The extra of a socket, to read, and to write into.
    cdef inline SocketExtra _also(self):
        return <SocketExtra>self._rare

    cdef inline SocketExtra _own_also(self):
        return <SocketExtra>self.own_extra()

    # There is a connection, or there was one: a call may have destroyed the socket.
    cdef inline void _received(self, Py_ssize_t size) noexcept:
        self._connection.received(size)

    cdef inline void _dispatched(self, Py_ssize_t size) noexcept:
        self._connection.dispatched(size)

    cdef inline uint64_t _bytes_in(self) noexcept:
        return 0 if self._connection is None else self._connection.bytes_in

    cdef inline uint64_t _bytes_out(self) noexcept:
        return 0 if self._connection is None else self._connection.bytes_out

    cdef inline bint _counted(self) noexcept:
        """Whether it is among its server's open connections."""
        return self._handle is not None and self._handle.counted()

    cdef inline bint _collect(self, object chunk, Py_ssize_t size, bint in_callback) except -1:
        """Take one more chunk to those that leave together; raises before anything has changed.

        Returns whether the loop has them sent when the callback is over. Nothing of the program's
        runs.
        """
        cdef bint kept = True
        if self._state & W_COLLECTING:
            q_append(self, chunk)
        else:
            kept = in_callback and self._loop.collect(self)
            self._state |= W_COLLECTING
            q_first(self, chunk)
        q_collected(self, size)
        return kept

    cdef inline void _all_taken(self) noexcept:
        """All that was collected is taken."""
        self._dispatched(self.w_size)
        q_landed(self)

    cdef inline bint _has_onread(self) noexcept:
        return (<SocketExtra>self._rare).onread is not None

    cdef uint64_t _activity(self) noexcept
    cdef size_t _unsent(self) noexcept
    cdef int _set_deadline(self, uint32_t delay, object error) except -1
    cdef bint _has_deadline(self) noexcept
    cdef void _clear_deadline(self) noexcept
    cdef int _deadline_stays(self) except -1
    cdef int _deadline_passed(self) except -1
    cdef int _begin_to_end(self) except -1
    cdef bint _end_if_idle(self, uint64_t now, uint64_t grace, uint64_t* due) except -1
    cdef int _end_here(self) except -1
    cdef int _let_arrive(self) except -1
    cdef SocketBase _present(self)
    cdef bytes _stop_reading(self)
    cdef bytes _take_over(self, SocketBase other)
    cdef int _take_handle(self, StreamHandle handle) except -1
    cdef int _bound_handle(self, StreamHandle handle) except -1
    cdef void _own(self, StreamHandle handle) noexcept
    cdef int _end_now(self) noexcept
    cdef int _connect_failed(self, object exc) except -1
    cdef int _reset(self) except -1
    cdef int _ready(self) except -1
    cdef int _submit(self, object chunks, uv.uv_buf_t* bufs, unsigned int count) except -1
    cdef Quota _own_quota(self)
    cdef void _count_writes(self) noexcept
    cdef int _bound_queue(self, Py_ssize_t most, bint refuses) except -1
    cdef int _join(self, Budget budget) except -1
    cdef void _note_write(self, Quota quota, Write* write) noexcept
    cdef bint _exceeds(self, Budget budget, Py_ssize_t size, Py_ssize_t before) noexcept
    cdef int _destroy_longest(self, Budget budget) except -1
    cdef void _leave_budgets(self) noexcept
    cdef int _touch(self) except -1
    cdef const PeerName* _peer(self) noexcept
    cdef void set_no_delay_flag(self, bint enabled) noexcept
    cdef void set_keep_alive_flag(self, unsigned int delay) noexcept
    cdef int _send_keep_alive(self, TCP tcp, bint enable) noexcept
    cdef SocketBase _native_dest(self)
    cdef bint _looks_alone(self, Piping piping) noexcept
    cdef bint _relay(self, const char* base, Py_ssize_t size) noexcept
    cdef int _relayed(self, SocketBase dest, uv.uv_buf_t* buf, Py_ssize_t taken) except -1
    cdef int _write_rest(self, SocketBase dest, bytes rest) except -1
    cdef bint _writes_overridden(self) noexcept
    cdef bint _inherits_write(self) noexcept

cdef void send_collected(Loop loop) noexcept
cdef Py_ssize_t unacknowledged_by_peer(StreamHandle handle) noexcept
cdef int on_idle_timeout(SocketBase self) except -1
