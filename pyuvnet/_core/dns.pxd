"""Name lookup in libuv's thread pool; see dns.pyx."""

from . cimport uv
from .emitter cimport EventEmitter
from .handle cimport Request
from .loop cimport Loop

# The owner is called with a libuv status and [(address, family), ...].
ctypedef int (*resolved_call)(EventEmitter owner, int status, list addresses) except -1

cdef class Lookup(Request):
    cdef uv.uv_getaddrinfo_t _getaddrinfo
    cdef Loop loop
    cdef EventEmitter owner            # None once the result is not awaited any more
    cdef resolved_call _resolved       # called on the owner
    cdef readonly str hostname

    cdef void cancel(self) noexcept

cdef Lookup start_lookup(Loop loop, EventEmitter owner, resolved_call resolved, str hostname,
                         int family, int hints)
