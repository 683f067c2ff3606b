"""ServerBase: a listening handle and its connection count; see server_base.pyx."""

from cpython.object cimport PyObject
from libc.stdint cimport uint64_t

from .address cimport PeerName
from .blocklist cimport BlockList
from .deadlines cimport Limits
from .dns cimport Lookup
from .framing cimport Framing
from .limits cimport AddressCounts, Budget
from .loop cimport Loop
from .owner cimport Acceptor
from .proxy_header cimport ProxyHeader
from .socket_base cimport SocketBase
from .stream_handle cimport StreamHandle

cdef enum:
    DROP_KINDS = 16

cdef struct DropCount:
    int why                            # one of DROP_..., or a libuv status; 0: not used yet
    Py_ssize_t count

cdef class ServerBase(Acceptor):
    cdef Loop _loop
    cdef StreamHandle _handle          # None while not listening
    # What brings its handle to this loop, see transfer; no reference. NULL: nothing, or not any
    # more, since the program has closed the server, or listens anew.
    cdef PyObject* _moving
    cdef readonly Py_ssize_t _connections
    cdef object _socket_class
    cdef object _secure_class          # of a TLS server: of connections that nobody sees before
    cdef public bint pause_on_connect, no_delay, keep_alive
    cdef signed char _allow_half_open  # of accepted sockets; -1: not said
    cdef unsigned int _keep_alive_initial_delay         # seconds
    cdef Py_ssize_t _high_water_mark                    # bytes
    cdef BlockList _block_list         # peers it matches are closed silently
    cdef Limits _limits                # of later connections, or None
    cdef Framing _framing              # of later connections, or None
    # PROXY headers: from whom they are read (None: from nobody), and what a header may take.
    cdef BlockList _proxies
    cdef bint _proxy_required
    cdef Py_ssize_t _proxy_limit       # bytes
    cdef unsigned long long _proxy_timeout              # ms
    cdef ProxyHeader _headers          # the last connection that waits for one
    cdef readonly Py_ssize_t _awaiting                 # how many there are
    cdef object _max_connections       # None: no limit
    cdef Py_ssize_t _limit             # the same as a count; -1: no limit
    cdef public object drop_max_connection              # stored for programs of Node's cluster
    cdef int _backlog                  # of the present handle
    cdef Lookup _lookup                # of listen()'s host
    cdef object _looked_up             # what its result goes to
    cdef bint _unref
    cdef bint _ready_flag
    cdef bint _close_queued            # 'close' comes in a tick

    cdef bint _ending                  # it shuts down, and the listener is closed
    cdef Py_ssize_t _shown_out         # -1: they come; 1: they had 'shutdown', and those since
    # Of the sockets that it accepts.
    cdef Py_ssize_t _max_write_buffer  # bytes; -1: no bound
    cdef bint _refuses_writes          # beyond it; else a socket is destroyed
    cdef Budget _budget                # what they queue together, or None
    cdef AddressCounts _addresses      # by address, or None: nobody counts
    # When it accepts nothing, see "Pausing"; nothing of it is allocated.
    cdef unsigned char _rests          # REST_...
    cdef bint _overflow_waits          # at max_connections; else connections are dropped
    cdef bint _exhausted_waits         # without descriptors; else they are
    cdef unsigned int _read_budget     # of its sockets, as a handle keeps it
    cdef int _reserve                  # descriptors that it leaves to the program
    cdef bint _passes                  # descriptors, with bytes, over paths
    cdef object _receiver              # of descriptors, in place of sockets; or None
    cdef object _received              # called after it, or None
    cdef Py_ssize_t _overloads[2]      # destroyed since 'overload': for its budget, for the loop's
    cdef bint _overload_queued         # 'overload' comes in a tick

    cdef DropCount _drops[DROP_KINDS]
    cdef uint64_t _accepted            # sockets so far
    cdef Py_ssize_t _peak              # most connections at a time
    cdef dict _failures                # code of an error: sockets it destroyed; None without
    cdef Py_ssize_t _waiting_accepts   # connections left for the next accept, see accepting

    cdef int _ready(self) except -1
    cdef list _open_sockets(self)
    cdef int _queue_close(self) except -1
    cdef int _give_up_moving(self) except -1
    cdef int _keep_handle(self, StreamHandle fresh, int status) except? -1
    cdef void _rest(self, unsigned int why) noexcept
    cdef void _go_on(self, unsigned int why) noexcept
    cdef void _take_waiting(self) noexcept
    cdef void _room_changed(self) noexcept
    cdef int _emit_overload(self) except -1
    cdef int _note_manner(self, StreamHandle handle) except -1
    cdef int _limit_socket(self, SocketBase socket) except -1
    cdef bint _full(self) noexcept
    cdef int _address_full(self, const PeerName* peer) noexcept
    cdef int _accept(self, StreamHandle listener) except -1
    cdef int _hand_over(self, StreamHandle listener) except -1
    cdef int _pass_on(self, int fd) except -1
    cdef int _admit(self, StreamHandle listener, StreamHandle client,
                    const PeerName* peer) except -1
    cdef bint _wanted(self, StreamHandle listener) noexcept
    cdef int _take_arrival(self, bint tcp, int fd, const PeerName* peer,
                           StreamHandle listener=*) except -1
    cdef int _show_out(self, SocketBase socket) except -1
    cdef int _adopt(self, SocketBase socket, StreamHandle client, const PeerName* peer) except -1
    cdef bint _expects_more(self) noexcept
    cdef int _give(self, SocketBase socket) except -1
    cdef int _give_plain(self, SocketBase socket) except -1
    cdef void _end_headers(self) noexcept
    cdef void connections_left(self) noexcept
    cdef bint _await_header(self, StreamHandle client, const PeerName* peer) except -1
    cdef int _header_over(self, ProxyHeader header, StreamHandle client, const char* rest,
                          Py_ssize_t size) except -1
    cdef void _forget_header(self, ProxyHeader header) noexcept
    cdef int _drop_header(self, int why, StreamHandle client, const PeerName* peer) except -1
    cdef int _secure_socket(self, SocketBase socket) except -1
    cdef SocketBase _new_socket(self, StreamHandle client)
    cdef void _destroy_unused(self, SocketBase socket) noexcept
    cdef int _drop_client(self, int why, StreamHandle client, const PeerName* peer) except -1
    cdef int _emit_drop(self, int why, const PeerName* here, const PeerName* there,
                        str detail=*) except -1
    cdef void _count_drop(self, int why) noexcept
    cdef void _count_failure(self, BaseException error) noexcept
