"""Handle and Request: the lifetime rules that every libuv object follows; see handle.pyx."""

from . cimport uv
from .loop cimport Loop
from .owner cimport Owner

cdef class Handle:
    cdef uv.uv_handle_t* _uv           # the leaf's embedded struct; NULL before init, after close
    cdef readonly Loop loop
    cdef Owner owner                   # whom callbacks go up to; None when nobody cares
    cdef bint closing

    cdef int opened(self) except -1
    cdef void close(self) noexcept
    cdef void closed(self) noexcept

cdef class Request:
    cdef uv.uv_req_t* _uv              # the leaf's embedded struct
    cdef Handle handle                 # kept alive while in flight; None for a lookup

    cdef int submitted(self) except -1
    cdef void done(self) noexcept

cdef void handle_closed(uv.uv_handle_t* handle) noexcept nogil
