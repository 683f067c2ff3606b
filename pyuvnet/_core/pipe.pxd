"""Pipe: the uv_pipe_t handle; see pipe.pyx."""

from . cimport uv
from .loop cimport Loop
from .owner cimport Owner
from .stream_handle cimport StreamHandle

cdef class Pipe(StreamHandle):
    cdef uv.uv_pipe_t _pipe

    cdef int open(self, int fd) noexcept
    cdef int bind(self, bytes path) noexcept
    cdef int connect(self, bytes path) except? 1

cdef Pipe new_pipe(Loop loop, Owner owner)
