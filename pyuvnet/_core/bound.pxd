"""BoundBase: a handle that is bound and has no owner yet; see bound.pyx."""

from .loop cimport Loop
from .stream_handle cimport StreamHandle

cdef class BoundBase:
    cdef Loop _loop
    cdef StreamHandle _handle          # None once adopted or closed, and before it is bound
    cdef readonly bint _pipe

    cdef int _ready(self) except -1
    cdef StreamHandle _open(self)
