"""Lookup: getaddrinfo as a request; its result goes to a C function with its owner.

Imports: handle (for Request), address, errors.  The addresses come in the
system's order, each once, as (address, family) with family 4 or 6.
"""

from libc.string cimport memset

from . cimport uv
from .address cimport ip_text, sockaddr_bytes
from .capi cimport gate_close, pyuvnet_gate
from .errors cimport lookup_error, seal
from .handle cimport Request
from .loop cimport Loop
from .emitter cimport EventEmitter

AI_ADDRCONFIG = uv.AI_ADDRCONFIG
AI_V4MAPPED = uv.AI_V4MAPPED
AI_ALL = uv.AI_ALL


cdef void _on_resolved_gil(uv.uv_getaddrinfo_t* request, int status,
                           uv.addrinfo* found) noexcept:
    cdef Lookup self = <Lookup>request.data
    cdef Loop loop = self.loop
    cdef EventEmitter owner = self.owner
    cdef uv.addrinfo* each = found
    cdef const unsigned char* address = NULL
    cdef int family
    cdef list addresses
    loop.lookups.discard(self)
    loop.enter_for(owner)
    if owner is not None and not loop.silent:
        try:
            addresses = []
            while each is not NULL:
                family = sockaddr_bytes(each.ai_addr, &address)
                if family:
                    # As in Node, without the zone that getaddrinfo() may have found.
                    entry = (ip_text(family, address), family)
                    if entry not in addresses:
                        addresses.append(entry)
                each = each.ai_next
        except MemoryError:
            # The program that waits must not wait for ever.
            status = uv.UV_ENOMEM
            addresses = None
        try:
            self._resolved(owner, status, addresses)
        except BaseException as exc:
            loop.report_of(exc, owner)
    uv.uv_freeaddrinfo(found)
    self.owner = None
    self.done()
    loop.leave()


cdef void _on_resolved(uv.uv_getaddrinfo_t* request, int status,
                       uv.addrinfo* found) noexcept nogil:
    gate_close(<pyuvnet_gate*>request.loop.data)
    (<uv.uv_getaddrinfo_cb><void*>_on_resolved_gil)(request, status, found)


cdef class Lookup(Request):
    cdef void cancel(self) noexcept:
        """The result is not awaited any more. A lookup that has not begun is withdrawn."""
        if self.owner is not None:
            self.owner = None
            uv.uv_cancel(self._uv)


cdef Lookup start_lookup(Loop loop, EventEmitter owner, resolved_call resolved, str hostname,
                         int family, int hints):
    """Begin a lookup; family 4, 6 or 0 for both."""
    cdef Lookup lookup = Lookup.__new__(Lookup)
    cdef uv.addrinfo wanted
    cdef bytes name
    cdef int status
    memset(&wanted, 0, sizeof(wanted))
    wanted.ai_family = uv.AF_INET if family == 4 else uv.AF_INET6 if family == 6 else uv.AF_UNSPEC
    wanted.ai_socktype = uv.SOCK_STREAM
    wanted.ai_flags = hints
    try:
        name = hostname.encode("idna") if not hostname.isascii() else hostname.encode("ascii")
    except UnicodeError:
        name = hostname.encode("utf-8", "surrogatepass")
    lookup._uv = <uv.uv_req_t*>&lookup._getaddrinfo
    lookup.loop = loop
    lookup.owner = owner
    lookup._resolved = resolved
    lookup.hostname = hostname
    if loop.lookups is None:
        found = set()
        # Making it may have run a finaliser, which began a lookup.
        if loop.lookups is None:
            loop.lookups = found
    loop.lookups.add(lookup)
    status = uv.uv_getaddrinfo(&loop._uv, &lookup._getaddrinfo, _on_resolved, name, NULL, &wanted)
    if status < 0:
        loop.lookups.discard(lookup)
        # Such as a name that is too long.
        raise lookup_error(status, hostname)
    lookup.submitted()
    loop.touched()
    return lookup


seal(Lookup)
