"""AcceptingServer: from the listening handle to the program; see acceptor.pyx."""

from libc.stdint cimport uint64_t

from .address cimport PeerName
from .admission cimport AdmittingServer
from .blocklist cimport BlockList
from .deadlines cimport Limits
from .framing cimport Framing
from .limits cimport Budget
from .proxy_header cimport ProxyHeader
from .socket_base cimport SocketBase
from .stream_handle cimport StreamHandle

cdef class AcceptingServer(AdmittingServer):
    cdef object _socket_class
    cdef object _secure_class          # of a TLS server: of connections without a plain socket
    cdef object _receiver              # of descriptors, in place of sockets; or None
    cdef object _received              # called after it, or None
    cdef int _backlog                  # of the present handle
    cdef public object drop_max_connection              # read in a worker of a cluster
    # Of the sockets that it accepts from now on.
    cdef public bint pause_on_connect, no_delay, keep_alive
    cdef signed char _allow_half_open  # -1: not said
    cdef unsigned int _keep_alive_initial_delay         # seconds
    cdef Py_ssize_t _high_water_mark                    # bytes
    cdef Limits _limits                # or None
    cdef Framing _framing              # or None
    cdef bint _passes                  # descriptors, with bytes, over paths
    cdef unsigned int _read_budget     # as a handle keeps it
    cdef Py_ssize_t _max_write_buffer  # bytes; -1: no bound
    cdef bint _refuses_writes          # beyond it; else a socket is destroyed
    cdef Budget _budget                # what they queue together, or None
    # PROXY headers: which peers send them (None: none do), and what a header may take.
    cdef BlockList _proxies
    cdef bint _proxy_required
    cdef Py_ssize_t _proxy_limit       # bytes
    cdef unsigned long long _proxy_timeout              # ms
    cdef ProxyHeader _headers          # the last connection that waits for one
    # What it has accepted.
    cdef uint64_t _accepted            # sockets so far
    cdef Py_ssize_t _peak              # most connections at a time
    cdef dict _failures                # code of an error: sockets it destroyed; None without
    cdef Py_ssize_t _overloads[2]      # destroyed since 'overload': for its budget, for the loop's
    cdef bint _overload_queued         # 'overload' comes in a tick
    cdef bint _close_queued            # and so does 'close'
    # In a shutdown: -1 while the kernel's queue is accepted; then 0; 1 once the open sockets have
    # had 'shutdown', and 1 more for each since.
    cdef Py_ssize_t _shown_out

    cdef int _own(self, StreamHandle handle) except -1
    cdef int _accept(self, StreamHandle listener) except -1
    cdef int _accept_again(self, StreamHandle listener, Py_ssize_t again) except -1
    cdef int _accept_left(self, StreamHandle listener) except -1
    cdef int _hand_over(self, StreamHandle listener) except -1
    cdef int _pass_on(self, int fd) except -1
    cdef int _take_arrival(self, bint tcp, int fd, const PeerName* peer,
                           StreamHandle listener=*) except -1
    cdef bint _wanted(self, StreamHandle listener) noexcept
    cdef int _admit(self, StreamHandle listener, StreamHandle client,
                    const PeerName* peer) except -1
    cdef SocketBase _new_socket(self, StreamHandle client)
    cdef int _adopt(self, SocketBase socket, StreamHandle client, const PeerName* peer) except -1
    cdef int _limit_socket(self, SocketBase socket) except -1
    cdef bint _await_header(self, StreamHandle client, const PeerName* peer) except -1
    cdef int _header_over(self, ProxyHeader header, StreamHandle client, const char* rest,
                          Py_ssize_t size) except -1
    cdef void _forget_header(self, ProxyHeader header) noexcept
    cdef void _end_headers(self) noexcept
    cdef int _give(self, SocketBase socket) except -1
    cdef int _give_plain(self, SocketBase socket) except -1
    cdef int _secure_socket(self, SocketBase socket) except -1
    cdef int _show_out(self, SocketBase socket) except -1
    cdef void _destroy_unused(self, SocketBase socket) noexcept
    cdef int _emit_overload(self) except -1
    cdef void _count_failure(self, BaseException error) noexcept
    cdef list _open_sockets(self)
    cdef bint _expects_more(self) noexcept
    cdef void connections_left(self) noexcept
    cdef int _queue_close(self) except -1
