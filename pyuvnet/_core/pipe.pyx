"""Pipe: only what differs from TCP: unix domain sockets and named pipes, by path.

Imports: stream_handle and below.  Paths are never truncated; a leading NUL names an abstract
socket of Linux.
"""

from . cimport uv
from .errors cimport os_error
from .loop cimport Loop
from .owner cimport Owner
from .stream_handle cimport ConnectRequest, StreamHandle, new_connect_request, on_connected


cdef Pipe new_pipe(Loop loop, Owner owner):
    """An open pipe handle of a loop, owned by a socket or server."""
    cdef Pipe pipe = Pipe.__new__(Pipe)
    cdef int status = uv.uv_pipe_init(&loop._uv, &pipe._pipe, 0)
    if status < 0:
        raise os_error(status, "uv_pipe_init")
    pipe._uv = <uv.uv_handle_t*>&pipe._pipe
    pipe.loop = loop
    pipe.owner = owner
    pipe.opened()
    return pipe


cdef class Pipe(StreamHandle):
    cdef int open(self, int fd) noexcept:
        """Take a descriptor over, which is this handle's from then on; returns a libuv status.

        One that another handle of the loop reads or accepts from is refused with UV_EEXIST.
        """
        return uv.uv_pipe_open(&self._pipe, fd)

    cdef int bind(self, bytes path) noexcept:
        return uv.uv_pipe_bind2(&self._pipe, path, len(path), uv.UV_PIPE_NO_TRUNCATE)

    cdef int connect(self, bytes path) except? 1:
        cdef ConnectRequest request = new_connect_request(self)
        cdef int status = uv.uv_pipe_connect2(
            &request._connect, &self._pipe, path, len(path), uv.UV_PIPE_NO_TRUNCATE, on_connected)
        if status == 0:
            request.submitted()
            self.loop.touched()
        return status
