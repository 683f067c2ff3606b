"""TCP: only what differs from a pipe: addresses, binding, connecting, socket options, reset.

Imports: stream_handle and below.
"""

cimport cython

from . cimport uv
from .address cimport PeerName, keep_name, peer_tuple
from .blocklist cimport BlockList
from .errors cimport os_error, seal
from .handle cimport REQUEST_CONNECT, handle_closed
from .loop cimport Loop
from .stream_handle cimport StreamHandle, StreamRequest, on_connected


cdef extern from "sockopt.h":
    int pyuvnet_set_tos(const uv.uv_tcp_t* tcp, int value) noexcept
    int pyuvnet_get_tos(const uv.uv_tcp_t* tcp) noexcept


cdef TCP new_tcp(Loop loop):
    """An open TCP handle of a loop, without an owner yet."""
    cdef TCP tcp = TCP.__new__(TCP)
    cdef int status = uv.uv_tcp_init(&loop._uv, &tcp._tcp)
    if status < 0:
        raise os_error(status, "uv_tcp_init")
    tcp.opened(<uv.uv_handle_t*>&tcp._tcp, loop)
    return tcp


cdef TCP new_tcp_socket(Loop loop, int family):
    """The same with a socket of the system's already, for addresses of family 4 or 6."""
    cdef TCP tcp = TCP.__new__(TCP)
    cdef int status = uv.uv_tcp_init_ex(
        &loop._uv, &tcp._tcp, <unsigned int>(uv.AF_INET if family == 4 else uv.AF_INET6))
    if status < 0:
        raise os_error(status, "socket")
    tcp.opened(<uv.uv_handle_t*>&tcp._tcp, loop)
    return tcp


cdef bint name_blocked(const PeerName* name, BlockList block_list) noexcept:
    """Whether a block list keeps a peer out; an unknown peer counts as blocked."""
    return not name.family or block_list.blocks_bytes(name.family, name.address)


@cython.no_gc    # as Handle
cdef class TCP(StreamHandle):
    cdef int _open(self, int fd) noexcept:
        return uv.uv_tcp_open(&self._tcp, fd)

    cdef int bind(self, const uv.sockaddr* address, unsigned int flags) noexcept:
        return uv.uv_tcp_bind(&self._tcp, address, flags)

    cdef int connect(self, const uv.sockaddr* address) except? 1:
        cdef StreamRequest request = self.new_request(REQUEST_CONNECT)
        cdef int status = self.watchable()
        if request is None:
            raise MemoryError
        if status == 0:
            status = uv.uv_tcp_connect(&request._req.connect, &self._tcp, address, on_connected)
        return self.submitted(request, status)

    cdef int nodelay(self, bint enable) noexcept:
        return uv.uv_tcp_nodelay(&self._tcp, enable)

    cdef int keepalive(self, bint enable, unsigned int idle, unsigned int interval,
                       unsigned int count) noexcept:
        return uv.uv_tcp_keepalive_ex(&self._tcp, enable, idle, interval, count)

    cdef int set_type_of_service(self, int value) noexcept:
        return pyuvnet_set_tos(&self._tcp, value)

    cdef int type_of_service(self) noexcept:
        """The type of service, or a libuv status below 0."""
        return pyuvnet_get_tos(&self._tcp)

    cdef int close_reset(self) noexcept:
        """Close with RST; refused (EINVAL) while a shutdown is in flight."""
        cdef int status
        if self.closing:
            return 0
        status = uv.uv_tcp_close_reset(&self._tcp, handle_closed)
        if status == 0:
            self.closing = True
        return status

    cdef int bind_status(self) noexcept:
        """What the bind came to; libuv keeps a taken port to itself until listen()."""
        cdef PeerName name
        return self.read_here(&name)

    cdef tuple sockname(self):
        return self._named(False, "getsockname")

    cdef tuple peername(self):
        return self._named(True, "getpeername")

    cdef tuple _named(self, bint peer, str syscall):
        cdef PeerName name
        cdef int status = self._read_name(peer, &name)
        if status < 0:
            raise os_error(status, syscall)
        return peer_tuple(&name)

    cdef int read_here(self, PeerName* name) noexcept:
        """Keep the name of the local end; returns a libuv status."""
        return self._read_name(False, name)

    cdef int read_peer(self, PeerName* name) noexcept:
        """Keep the peer's name; returns a libuv status."""
        return self._read_name(True, name)

    cdef int _read_name(self, bint peer, PeerName* name) noexcept:
        cdef uv.sockaddr_storage storage
        cdef int size = sizeof(storage), status
        name.family = 0
        if peer:
            status = uv.uv_tcp_getpeername(&self._tcp, <uv.sockaddr*>&storage, &size)
        else:
            status = uv.uv_tcp_getsockname(&self._tcp, <uv.sockaddr*>&storage, &size)
        if status == 0:
            keep_name(<uv.sockaddr*>&storage, name)
        return status


seal(TCP)
