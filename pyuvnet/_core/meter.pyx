"""Meter: a layer that counts what passes through it, and can hold the flow.

The smallest layer there is, and the model of how to write one; the tests of layer.pyx use it.  No
program is given it.  Imports: socket_base and below.
"""

from libc.stdint cimport uint64_t

from . cimport uv
from .errors cimport seal
from .layer cimport Layer
from .socket_base cimport SocketBase


cdef class Meter(Layer):
    """What add_meter() returns; each number is of its own time.

    bytes_up, bytes_down: int, what was read, and what was handed over to be written.
    ended_up, ended_down: bool, whether each end has passed.
    """

    cdef readonly uint64_t bytes_up, bytes_down
    cdef readonly bint ended_up, ended_down
    cdef bint held, wanted             # held by hold(); wanted from above
    cdef uint64_t since                # loop time of the first byte up, ms

    cdef int read(self, const char* base, Py_ssize_t size) except -1:
        if not self.bytes_up:
            self.since = uv.uv_now(&self.handle.loop._uv)
        self.bytes_up += size
        return Layer.read(self, base, size)

    cdef int read_ended(self, int status) except -1:
        self.ended_up = True
        return Layer.read_ended(self, status)

    cdef Py_ssize_t try_write(self, const uv.uv_buf_t* bufs, unsigned int count) noexcept:
        cdef Py_ssize_t taken = Layer.try_write(self, bufs, count)
        if taken > 0:
            self.bytes_down += taken
        return taken

    cdef int write(self, object chunks, const uv.uv_buf_t* bufs, unsigned int count) noexcept:
        cdef int status = Layer.write(self, chunks, bufs, count)
        cdef unsigned int index
        if status == 0:
            for index in range(count):
                self.bytes_down += bufs[index].len
        return status

    cdef int shutdown(self) noexcept:
        self.ended_down = True
        return Layer.shutdown(self)

    cdef int read_start(self) noexcept:
        self.wanted = True
        return 0 if self.held else Layer.read_start(self)

    cdef void read_stop(self) noexcept:
        self.wanted = False
        Layer.read_stop(self)

    def hold(self):
        """Let nothing more come up until resume()."""
        self._check()
        if not self.held:
            self.held = True
            Layer.read_stop(self)

    def resume(self):
        """Undo hold()."""
        self._check()
        if self.held:
            self.held = False
            if self.wanted:
                Layer.read_start(self)

    def rate_up(self):
        """Return the bytes per second that came up since the first of them, in loop time."""
        self._check()
        cdef uint64_t passed = uv.uv_now(&self.handle.loop._uv) - self.since
        return self.bytes_up * 1000.0 / passed if passed else 0.0

    def remove(self, SocketBase socket not None):
        """Take it off its socket, which goes on without it, and is held by it no more."""
        self.resume()
        socket._remove_layer(self)

    cdef int _check(self) except -1:
        if self.handle is None:
            raise ValueError("this meter is on no connection")
        return self.handle.loop.check()


def add_meter(SocketBase socket not None, bint lowest=False):
    """Put a meter on a connected socket: above the layers that are there, or below them.

    Raises: StateError (ERR_SOCKET_CLOSED) without a connection.
    """
    cdef Meter meter
    socket._ready()
    meter = Meter.__new__(Meter)
    socket._add_layer(meter, lowest)
    # What is wanted from above so far: another meter knows, which may hold the handle.
    neighbour = meter.below if meter.below is not None else meter.above
    meter.wanted = (<Meter>neighbour).wanted if isinstance(neighbour, Meter) \
        else meter.handle.reading
    return meter


seal(Meter)
