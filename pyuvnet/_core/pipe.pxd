"""Pipe: the uv_pipe_t handle; see pipe.pyx."""

from . cimport uv
from .loop cimport Loop
from .stream_handle cimport StreamHandle

cdef extern from "socket_file.h" nogil:
    ctypedef struct pyuvnet_file:
        pass
    const size_t PYUVNET_PATH_SIZE
    int pyuvnet_bind_with_rights(uv.uv_pipe_t*, const char*, size_t, int)
    int pyuvnet_bind_with_mode(uv.uv_pipe_t*, const char*, size_t, int, long)
    int pyuvnet_remove_stale(const char*, size_t)
    int pyuvnet_give_rights(uv.uv_pipe_t*, int)
    void pyuvnet_own_file(uv.uv_pipe_t*, pyuvnet_file*, const char*)
    void pyuvnet_remove_file(const pyuvnet_file*, const char*)

cdef class Pipe(StreamHandle):
    cdef uv.uv_pipe_t _pipe
    cdef bytes _path                   # of the file that bind() made; None without one
    cdef pyuvnet_file _file            # which file that is

    cdef int bind(self, bytes path, int rights=*) noexcept
    cdef int bind_mode(self, bytes path, int mode, long group) noexcept
    cdef int _bound(self, bytes path, int status) noexcept
    cdef int give_rights(self, int rights) noexcept
    cdef int connect(self, bytes path) except? 1

cdef Pipe new_pipe(Loop loop, bint passes=*)
