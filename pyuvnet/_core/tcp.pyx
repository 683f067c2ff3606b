"""TCP: only what differs from a pipe: addresses, binding, connecting, socket options, reset.

Imports: stream_handle and below.
"""

from libc.string cimport memcpy, memset

from . cimport uv
from .address cimport address_tuple
from .blocklist cimport BlockList
from .errors cimport os_error, seal
from .handle cimport REQUEST_CONNECT, handle_closed
from .loop cimport Loop
from .stream_handle cimport StreamHandle, StreamRequest, on_connected
from .watchers cimport watch_room


cdef extern from "sockopt.h":
    int pyuvnet_set_tos(const uv.uv_tcp_t* tcp, int value) noexcept
    int pyuvnet_get_tos(const uv.uv_tcp_t* tcp) noexcept


cdef TCP new_tcp(Loop loop):
    """An open TCP handle of a loop, which nobody owns yet."""
    cdef TCP tcp = TCP.__new__(TCP)
    cdef int status = uv.uv_tcp_init(&loop._uv, &tcp._tcp)
    if status < 0:
        raise os_error(status, "uv_tcp_init")
    tcp._uv = <uv.uv_handle_t*>&tcp._tcp
    tcp.loop = loop
    tcp.opened()
    return tcp


cdef void keep_name(const uv.sockaddr* address, PeerName* name) noexcept:
    """Keep the address of a peer; of any but IPv4 and IPv6 nothing."""
    if address.sa_family == uv.AF_INET:
        name.port = (<uv.sockaddr_in*>address).sin_port
        memcpy(name.address, &(<uv.sockaddr_in*>address).sin_addr, 4)
    elif address.sa_family == uv.AF_INET6:
        name.port = (<uv.sockaddr_in6*>address).sin6_port
        memcpy(name.address, &(<uv.sockaddr_in6*>address).sin6_addr, 16)
        name.scope = (<uv.sockaddr_in6*>address).sin6_scope_id
    else:
        return
    name.family = address.sa_family


cdef bint name_blocked(const PeerName* name, BlockList block_list) noexcept:
    """Whether a block list keeps a peer out; it does so where nobody knows who that is."""
    if name.family == uv.AF_INET:
        return block_list.blocks_bytes(4, name.address)
    if name.family == uv.AF_INET6:
        return block_list.blocks_bytes(6, name.address)
    return True


cdef tuple peer_tuple(const PeerName* name):
    """As address_tuple(), of a kept name."""
    cdef uv.sockaddr_storage storage
    memset(&storage, 0, sizeof(storage))
    (<uv.sockaddr*>&storage).sa_family = name.family
    if name.family == uv.AF_INET:
        (<uv.sockaddr_in*>&storage).sin_port = name.port
        memcpy(&(<uv.sockaddr_in*>&storage).sin_addr, name.address, 4)
    else:
        (<uv.sockaddr_in6*>&storage).sin6_port = name.port
        memcpy(&(<uv.sockaddr_in6*>&storage).sin6_addr, name.address, 16)
        (<uv.sockaddr_in6*>&storage).sin6_scope_id = name.scope
    return address_tuple(<uv.sockaddr*>&storage)


cdef class TCP(StreamHandle):
    cdef int open(self, int fd) noexcept:
        """Take a descriptor over, which is this handle's from then on; returns a libuv status.

        One that another handle of the loop reads or accepts from is refused with UV_EEXIST.
        """
        cdef int status = watch_room(&self.loop._uv, fd)
        if status < 0:
            return status
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
        """What the bind came to; libuv keeps a taken port to itself until it is asked."""
        cdef uv.sockaddr_storage storage
        cdef int size = sizeof(storage)
        return uv.uv_tcp_getsockname(&self._tcp, <uv.sockaddr*>&storage, &size)

    cdef tuple sockname(self):
        cdef uv.sockaddr_storage storage
        cdef int size = sizeof(storage)
        cdef int status = uv.uv_tcp_getsockname(&self._tcp, <uv.sockaddr*>&storage, &size)
        if status < 0:
            raise os_error(status, "getsockname")
        return address_tuple(<uv.sockaddr*>&storage)

    cdef tuple peername(self):
        cdef uv.sockaddr_storage storage
        cdef int size = sizeof(storage)
        cdef int status = uv.uv_tcp_getpeername(&self._tcp, <uv.sockaddr*>&storage, &size)
        if status < 0:
            raise os_error(status, "getpeername")
        return address_tuple(<uv.sockaddr*>&storage)

    cdef int read_here(self, PeerName* name) noexcept:
        """Keep the name of the local end; returns a libuv status."""
        cdef uv.sockaddr_storage storage
        cdef int size = sizeof(storage)
        cdef int status = uv.uv_tcp_getsockname(&self._tcp, <uv.sockaddr*>&storage, &size)
        if status == 0:
            keep_name(<uv.sockaddr*>&storage, name)
        return status

    cdef int read_peer(self, PeerName* name) noexcept:
        """Keep the peer's name; returns a libuv status."""
        cdef uv.sockaddr_storage storage
        cdef int size = sizeof(storage)
        cdef int status = uv.uv_tcp_getpeername(&self._tcp, <uv.sockaddr*>&storage, &size)
        if status == 0:
            keep_name(<uv.sockaddr*>&storage, name)
        return status


seal(TCP)
