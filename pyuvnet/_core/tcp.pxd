"""TCP: the uv_tcp_t handle; see tcp.pyx."""

from . cimport uv
from .address cimport PeerName
from .blocklist cimport BlockList
from .loop cimport Loop
from .stream_handle cimport StreamHandle

cdef enum:
    # Of keep-alive probes, as in Node: seconds between two, and how many may go unanswered.
    KEEP_ALIVE_INTERVAL = 1
    KEEP_ALIVE_COUNT = 10

cdef bint name_blocked(const PeerName* name, BlockList block_list) noexcept

cdef class TCP(StreamHandle):
    cdef uv.uv_tcp_t _tcp

    cdef int bind(self, const uv.sockaddr* address, unsigned int flags) noexcept
    cdef int connect(self, const uv.sockaddr* address) except? 1
    cdef int nodelay(self, bint enable) noexcept
    cdef int keepalive(self, bint enable, unsigned int idle, unsigned int interval,
                       unsigned int count) noexcept
    cdef int set_type_of_service(self, int value) noexcept
    cdef int type_of_service(self) noexcept
    cdef int close_reset(self) noexcept
    cdef int bind_status(self) noexcept
    cdef tuple sockname(self)
    cdef tuple peername(self)
    cdef int read_here(self, PeerName* name) noexcept
    cdef int read_peer(self, PeerName* name) noexcept
    cdef tuple _named(self, bint peer, str syscall)
    cdef int _read_name(self, bint peer, PeerName* name) noexcept

cdef TCP new_tcp(Loop loop)
cdef TCP new_tcp_socket(Loop loop, int family)
