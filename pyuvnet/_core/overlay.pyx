"""Overlay: the lowest layer of a socket whose bytes are those of another stream.

Owns: what is on its way to that stream.  The socket has a handle as any other, but that is never
opened, and nothing reaches it: this layer, which is below all others, turns what would go to the
kernel into calls of a Duplex.  So TLS runs over any stream, and no descriptor is used.

The stream's methods are the program's.  They are called in ticks, since a layer is called while the
socket above is at work, and not at all once the handle is closed.

Imports: connecting and below.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.string cimport memcpy

from . cimport uv
from .capi cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from .connecting cimport begin_anew, serve_taken
from .errors cimport seal, state_error
from .layer cimport Layer, add_layer, read_again
from .pipe cimport new_pipe
from .socket_base cimport SOCKET_CONNECTING, SOCKET_DRESSING, SOCKET_ESTABLISHING, Connector, \
    SocketBase
from .stream cimport ALLOW_HALF_OPEN, HALF_OPEN_SET, Stream
from .stream_handle cimport StreamHandle


cdef class Overlay(Layer):
    cdef object stream                 # the Duplex
    cdef list queue                    # of bytes, which a tick writes
    cdef bint tick_due
    cdef bint end_due                  # shutdown() was called
    cdef bint wanted                   # reading is wanted from above
    cdef list early                    # what came before the layers stand; None: they do
    cdef bint early_end                # the end came then, too

    # ---- Down ----------------------------------------------------------------------------------

    cdef Py_ssize_t try_write(self, const uv.uv_buf_t* bufs, unsigned int count) noexcept:
        return uv.UV_EAGAIN

    cdef int write(self, object chunks, const uv.uv_buf_t* bufs, unsigned int count) noexcept:
        cdef int status = uv.UV_ENOMEM
        cdef Py_ssize_t size = 0
        cdef unsigned int index
        cdef bytes joined
        cdef char* at
        for index in range(count):
            size += bufs[index].len
        try:
            joined = PyBytes_FromStringAndSize(NULL, size)
            at = PyBytes_AS_STRING(joined)
            for index in range(count):
                memcpy(at, bufs[index].base, bufs[index].len)
                at += bufs[index].len
            self.queue.append(joined)
            self._later()
            status = 0
        except MemoryError:
            pass
        return status

    cdef int shutdown(self) noexcept:
        self.end_due = True
        return self._ask()

    cdef int read_start(self) noexcept:
        self.wanted = True
        return self._ask()

    cdef void read_stop(self) noexcept:
        self.wanted = False
        self._ask()

    cdef size_t waiting(self) noexcept:
        cdef size_t size = 0
        for each in self.queue:
            size += PyBytes_GET_SIZE(each)
        return size

    cdef int _ask(self) noexcept:
        """Let a tick pass on what is due; returns a libuv status."""
        cdef int status = uv.UV_ENOMEM
        try:
            self._later()
            status = 0
        except MemoryError:
            pass
        return status

    cdef int _later(self) except -1:
        if not self.tick_due and not self._gone():
            self.handle.loop.tick_call(self.go_on, ())
            self.tick_due = True
        return 0

    cdef bint _gone(self) noexcept:
        return self.handle is None or self.handle.closing or self.handle.owner is None

    def go_on(self):
        """Pass on to the stream what is due."""
        cdef list queue
        self.tick_due = False
        if self._gone():
            return
        stream = self.stream
        queue, self.queue = self.queue, []
        for data in queue:
            if stream.writable:
                stream.write(data, self.wrote)
            else:
                Layer.written(self, uv.UV_EPIPE)
            if self._gone():
                return
        if self.end_due:
            self.end_due = False
            if stream.writable:
                stream.end(callback=self.ended)
            else:
                Layer.shut_down(self, 0)
        if self._gone():
            return
        if self.wanted:
            if stream.readable_flowing is not True:
                stream.resume()
        elif stream.readable_flowing:
            stream.pause()

    def wrote(self, error=None):
        """The stream has taken a write, or has failed, which its 'error' reports as well."""
        if not self._gone():
            Layer.written(self, uv.UV_ECANCELED if error is not None else 0)

    def ended(self, error=None):
        """The stream's writable side is finished."""
        if not self._gone():
            Layer.shut_down(self, 0)

    # ---- Up ------------------------------------------------------------------------------------

    def came(self, chunk):
        """A listener of 'data'."""
        cdef bytes data
        if self._gone():
            return
        if type(chunk) is str:
            self.stream.destroy(state_error("ERR_STREAM_WRAP", "Stream has StringDecoder set"))
            return
        data = chunk if type(chunk) is bytes else bytes(chunk)
        if self.early is not None:
            # Above is nothing that would decrypt it: it must not come up as it is.
            self.early.append(data)
            return
        read_again(self.handle, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))

    def came_end(self):
        """A listener of 'end'."""
        cdef StreamHandle handle = self.handle
        if self.early is not None:
            self.early_end = True
        elif not self._gone():
            handle.calls.read_ended(handle.owner, handle, uv.UV_EOF)

    cdef int stand(self) except -1:
        """The layers above are there: hand them what came before, in order."""
        cdef bytes data
        while self.early and not self._gone():
            data = self.early.pop(0)
            read_again(self.handle, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        self.early = None
        if self.early_end:
            self.came_end()
        return 0


cdef class Overlaid(Connector):
    """The connect() of a socket whose connection is another stream."""

    cdef Overlay layer

    def __cinit__(self, SocketBase socket not None, Stream stream not None):
        self.layer = Overlay.__new__(Overlay)
        self.layer.stream, self.layer.queue, self.layer.early = stream, [], []

    def __init__(self, SocketBase socket, Stream stream):
        cdef StreamHandle handle
        socket._ready()
        begin_anew(socket, self)
        socket._state = (socket._state & ~ALLOW_HALF_OPEN) | (stream._state & ALLOW_HALF_OPEN)
        socket._coroutines = (socket._coroutines & ~HALF_OPEN_SET) \
            | (stream._coroutines & HALF_OPEN_SET)
        handle = new_pipe(socket._loop)
        socket._take_handle(handle)
        add_layer(handle, self.layer, True)
        socket._socket_flags = (socket._socket_flags & ~SOCKET_CONNECTING) | SOCKET_DRESSING
        # Nothing is read before the layers stand, unless somebody else's resume() comes between.
        stream.pause()
        stream.on("data", self.layer.came)
        stream.on("end", self.layer.came_end)

    def finish(self):
        """Put the connection to use."""
        cdef SocketBase s = self.socket
        s._ready()
        if s._also().connector is not self or not s._socket_flags & SOCKET_ESTABLISHING:
            return
        serve_taken(s, False)
        self.layer.stand()


seal(Overlay)
