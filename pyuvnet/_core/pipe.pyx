"""Pipe: only what differs from TCP: unix domain sockets and named pipes, by path.

Imports: stream_handle and below.  Paths are never truncated; a leading NUL names an abstract
socket of Linux.  The file that bind() made goes with the handle, unless another has its place.
"""

cimport cython

from . cimport uv
from .errors cimport os_error, seal
from .handle cimport REQUEST_CONNECT
from .loop cimport Loop
from .stream_handle cimport StreamHandle, StreamRequest, on_connected


cdef Pipe new_pipe(Loop loop, bint passes=False):
    """An open pipe handle of a loop, without an owner yet.

    passes: it passes descriptors along with the bytes (a Passing has to take those that come).
    """
    cdef Pipe pipe = Pipe.__new__(Pipe)
    cdef int status = uv.uv_pipe_init(&loop._uv, &pipe._pipe, passes)
    if status < 0:
        raise os_error(status, "uv_pipe_init")
    pipe.opened(<uv.uv_handle_t*>&pipe._pipe, loop)
    return pipe


def remove_stale(bytes path not None):
    """Remove the file of a unix socket that is not accepted from; returns whether it did."""
    return bool(pyuvnet_remove_stale(path, len(path)))


cdef bint _too_long(bytes path) noexcept:
    # One byte more would fit without the NUL at its end, and no call could name such a file.
    return len(path) > 0 and path[0] != 0 and <size_t>len(path) > PYUVNET_PATH_SIZE


@cython.no_gc    # as Handle
cdef class Pipe(StreamHandle):
    cdef int _open(self, int fd) noexcept:
        return uv.uv_pipe_open(&self._pipe, fd)

    cdef int bind(self, bytes path, int rights=0) noexcept:
        """Bind to a path; returns a libuv status.

        rights: UV_READABLE, UV_WRITABLE or both let everybody read or write, whatever the umask
        says; 0 leaves that to the umask.
        """
        cdef int status
        if _too_long(path):
            return uv.UV_EINVAL
        if rights:
            status = pyuvnet_bind_with_rights(&self._pipe, path, len(path), rights)
        else:
            status = uv.uv_pipe_bind2(&self._pipe, path, len(path), uv.UV_PIPE_NO_TRUNCATE)
        return self._bound(path, status)

    cdef int bind_mode(self, bytes path, int mode, long group) noexcept:
        """Bind to a path whose file has exactly this mode (-1: by the umask) and group (-1: any).

        Returns a libuv status.
        """
        if _too_long(path):
            return uv.UV_EINVAL
        return self._bound(
            path, pyuvnet_bind_with_mode(&self._pipe, path, len(path), mode, group))

    cdef int _bound(self, bytes path, int status) noexcept:
        """A bind came to a status, which this returns."""
        if status == 0 and len(path) and path[0] != 0:
            pyuvnet_own_file(&self._pipe, &self._file, path)
            self._path = path
        return status

    cdef int give_rights(self, int rights) noexcept:
        """What bind() could not do of its `rights`: only on Windows."""
        return pyuvnet_give_rights(&self._pipe, rights)

    cdef void close(self) noexcept:
        # Before the descriptor is closed: until then no other file can have the inode's number.
        if self._path is not None and not self.closing:
            pyuvnet_remove_file(&self._file, self._path)
        self._path = None
        StreamHandle.close(self)

    cdef int connect(self, bytes path) except? 1:
        cdef StreamRequest request = self.new_request(REQUEST_CONNECT)
        cdef int status
        if request is None:
            raise MemoryError
        if _too_long(path):
            return uv.UV_EINVAL
        status = self.watchable()
        if status == 0:
            status = uv.uv_pipe_connect2(&request._req.connect, &self._pipe, path, len(path),
                                         uv.UV_PIPE_NO_TRUNCATE, on_connected)
        return self.submitted(request, status)


seal(Pipe)
