"""Name lookup in libuv's thread pool; see dns.pyx."""

from . cimport uv
from .handle cimport Request
from .loop cimport Loop
from .owner cimport Owner

cdef class Lookup(Request):
    cdef uv.uv_getaddrinfo_t _getaddrinfo
    cdef Loop loop
    cdef Owner owner                   # None once nobody waits for the answer
    cdef readonly str hostname

    cdef void cancel(self) noexcept

cdef Lookup start_lookup(Loop loop, Owner owner, str hostname, int family, int hints)
