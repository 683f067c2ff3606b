"""Passing: a layer on an IPC pipe that sends descriptors along with the bytes, and takes others.

Owns: a duplicate of each descriptor that is to be sent, until the kernel has it; and those of the
last read that have not been handed out.  They go up through the upcall `handles_arrived`, as
numbers that belong to their receiver, in the order in which they came: after the bytes before them
have been handed out, and while data are read (r_in_turn()).  Until then the layer reads no
more, so that a program that does not read holds the descriptors of one read, at most 64.

A descriptor belongs to the byte at an offset: the bytes before it leave first, and it goes with the
call that sends that byte. The writes above do not know of it, and stay in order whichever way they
take.  Imports: socket_base and below.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE

from . cimport uv
from .errors cimport os_error, seal, state_error
from .layer cimport Layer
from .loop cimport Continuation
from .pipe cimport Pipe, new_pipe
from .readable cimport r_in_turn, r_lost
from .socket_base cimport SocketBase
from .stream cimport R_READING
from .stream_handle cimport StreamHandle, close_descriptor, duplicate
from .upcalls cimport HANDLES_ARRIVED, upcall
from .writable cimport w_flush


cdef class Carried:
    """A descriptor on its way."""


cdef class Passing(Layer):
    # ---- Down ----------------------------------------------------------------------------------

    cdef unsigned int _before(self, const uv.uv_buf_t* bufs, unsigned int count) noexcept:
        """How many of these leave before the descriptor that is due."""
        cdef unsigned int index = 0
        cdef uint64_t size = 0
        while index < count and self.taken + size + bufs[index].len <= self.due.offset:
            size += bufs[index].len
            index += 1
        return index

    cdef Py_ssize_t try_write(self, const uv.uv_buf_t* bufs, unsigned int count) noexcept:
        cdef Carried carried = self.due
        cdef Py_ssize_t taken
        cdef unsigned int before = count if carried is None else self._before(bufs, count)
        if before:
            taken = Layer.try_write(self, bufs, before)
        else:
            # The layers below are those that pass on everything, in libuv's own queue.
            taken = uv.uv_try_write2(self.handle.stream(), bufs, 1, carried.pipe.stream())
            if taken > 0:
                self.due = carried.after
                self._forget(carried)
        if taken > 0:
            self.taken += taken
        return taken

    cdef int write(self, object chunks, const uv.uv_buf_t* bufs, unsigned int count) noexcept:
        cdef Carried carried
        cdef unsigned int size, index
        cdef uint64_t parts = self.parts
        cdef int status = 0
        while count and status == 0:
            carried = self.due
            size = count if carried is None else self._before(bufs, count)
            if size:
                status = Layer.write(self, chunks, bufs, size)
            else:
                size = 1
                status = self.handle.write_with(chunks, bufs, 1, carried.pipe.stream())
                if status == 0:
                    carried.part = self.parts + 1
                    self.due = carried.after
            if status == 0:
                self.parts += 1
                for index in range(size):
                    self.taken += bufs[index].len
                bufs += size
                count -= size
        if status < 0 and self.parts > parts:
            # A part of it is in flight, whose completion says so.
            self.failed = self.failed or status
            status = 0
        return status

    cdef int written(self, int status) except -1:
        cdef int failed
        if self.over < self.parts:
            self.over += 1
            self._drop_sent()
            if status < 0 and not self.failed:
                self.failed = status
            if self.over < self.parts:
                return 0
            failed, self.failed = self.failed, 0
            return Layer.written(self, failed)
        # Of a write that was made before this layer was there.
        return Layer.written(self, status)

    cdef void _drop_sent(self) noexcept:
        """Close what the requests that are over have sent."""
        while self.first is not None and self.first.part and self.first.part <= self.over:
            self._forget(self.first)

    cdef void _forget(self, Carried which) noexcept:
        """Close a descriptor, and take it out."""
        cdef Carried before = self.first
        which.pipe.close()
        if before is which:
            self.first = which.after
        else:
            while before is not None and before.after is not which:
                before = before.after
            if before is not None:
                before.after = which.after
        if self.last is which:
            self.last = None if before is which else before
        if self.due is which:
            self.due = which.after

    cdef void closed(self) noexcept:
        self.due = None
        while self.first is not None:
            self._forget(self.first)
        self._drop_held()

    # ---- Up ------------------------------------------------------------------------------------

    cdef int read(self, const char* base, Py_ssize_t size) except -1:
        if not uv.uv_pipe_pending_count(&(<Pipe>self.handle)._pipe):
            return Layer.read(self, base, size)
        self._take_pending(base, size)
        try:
            return self._hand_out()
        finally:
            if self.held is not None:
                self._read_or_wait()

    cdef int read_start(self) noexcept:
        cdef int status = 0
        self.wanted = True
        if self.held is None:
            return Layer.read_start(self)
        try:
            # Not now: the caller may still have something to hand out.
            self._plan()
        except BaseException:
            status = uv.UV_ENOMEM
        return status

    cdef void read_stop(self) noexcept:
        self.wanted = False
        Layer.read_stop(self)

    cdef int _take_pending(self, const char* base, Py_ssize_t size) except -1:
        """Hold the bytes of a read and its descriptors, which are duplicates of libuv's."""
        cdef StreamHandle handle = self.handle
        cdef list found = []
        cdef Pipe pipe
        cdef int fd, status
        try:
            while uv.uv_pipe_pending_count(&(<Pipe>handle)._pipe):
                # Whatever kind it is: this is only to get at the number.
                pipe = new_pipe(handle.loop)
                status = handle.accept(pipe)
                fd = duplicate(pipe) if status == 0 else status
                pipe.close()
                if fd >= 0:
                    found.append(fd)
            self.held_data = PyBytes_FromStringAndSize(base, size)
            self.held = found
        except BaseException:
            for one in found:
                close_descriptor(one)
            raise
        return 0

    cdef int _hand_out(self) except -1:
        """Give the owner what is held, as long as it is its turn: a listener may pause it."""
        cdef StreamHandle handle = self.handle
        cdef SocketBase socket
        cdef bytes data
        while self.held:
            if handle.closing or handle.owner is None:
                self._drop_held()
                return 0
            socket = <SocketBase?>handle.owner
            if not r_in_turn(socket):
                return 0
            data, self.held_data = self.held_data, b""
            try:
                used = upcall(HANDLES_ARRIVED)(socket, self.held, data)
            except BaseException:
                # The others of the same read go with it.
                self._drop_held()
                raise
            if not used:
                self.held_data = data
            elif socket._handle is handle:
                socket._received(PyBytes_GET_SIZE(data))
                socket._touch()
        data, self.held, self.held_data = self.held_data, None, None
        if data:
            return Layer.read(self, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        return 0

    cdef int _go_on(self) except -1:
        cdef StreamHandle handle = self.handle
        cdef SocketBase socket
        self.planned = False
        if self.held is None or handle is None or handle.owner is None:
            return 0
        socket = <SocketBase?>handle.owner
        try:
            self._hand_out()
        except (MemoryError, RecursionError) as exc:
            r_lost(socket, exc)
        finally:
            if not handle.closing and handle.owner is not None:
                self._read_or_wait()
        return 0

    cdef int _read_or_wait(self) except -1:
        """Read on; or read no more until what is held was handed out, and look when more is wanted.
        """
        cdef SocketBase socket = <SocketBase>self.handle.owner
        cdef int status
        if self.handle.closing or socket is None:
            return 0
        if self.held is None:
            if self.wanted:
                status = Layer.read_start(self)
                if status < 0:
                    socket._fail(os_error(status, "read"))
            return 0
        Layer.read_stop(self)
        # So that the stream calls read_start() again.
        socket._state &= ~R_READING
        return 0

    cdef int _plan(self) except -1:
        """Hand out what is held, once the callbacks and continuations that are due are over."""
        cdef Delivery delivery
        if not self.planned:
            self.planned = True
            try:
                delivery = Delivery.__new__(Delivery)
                delivery.layer = self
                self.handle.loop.continue_with(delivery)
            except BaseException:
                self.planned = False
                raise
        return 0

    cdef void _drop_held(self) noexcept:
        cdef list held = self.held
        self.held = self.held_data = None
        if held is not None:
            for fd in held:
                close_descriptor(fd)


cdef class Delivery(Continuation):
    """Hands out what was held, outside of what asked for more."""

    cdef int go_on(self) except -1:
        return self.layer._go_on()


cdef Passing passing_of(SocketBase socket):
    """The layer of a socket; None without one."""
    cdef Layer layer = None
    if socket._handle is not None:
        layer = socket._handle.lowest
    while layer is not None and not isinstance(layer, Passing):
        layer = layer.above
    return layer


cdef int add_passing(SocketBase socket) except -1:
    """Let a connection whose pipe passes descriptors send and take them."""
    cdef Passing layer = Passing.__new__(Passing)
    layer.wanted = socket._handle is not None and socket._handle.reading
    return socket._add_layer(layer, True)


def pass_handles(SocketBase socket not None):
    """Let a socket over a descriptor pass others, which was made for it."""
    socket._ready()
    if isinstance(socket._handle, Pipe):
        add_passing(socket)


def check_passing(SocketBase socket not None):
    """Raise unless a socket can send descriptors. Raises: StateError (ERR_INVALID_STATE)."""
    socket._ready()
    if passing_of(socket) is None:
        raise state_error(
            "ERR_INVALID_STATE",
            "send_handle() needs a connection over a path that was made with handles=True")


def send_descriptor(SocketBase socket not None, int fd, bytes data not None, callback):
    """Write data, the first byte of which a descriptor goes with; it is taken over in any case.

    Returns what write() does.
    Raises: what write() does; StateError (ERR_INVALID_STATE), OSError (syscall 'open').
    """
    cdef Passing layer = None
    cdef Carried carried
    cdef Pipe pipe = None
    cdef int status
    try:
        socket._ready()
        # What was collected comes first, and may end the connection.
        w_flush(socket)
        layer = passing_of(socket)
        check_passing(socket)
        pipe = new_pipe(socket._loop)
        status = pipe.open(fd)
        if status < 0:
            pipe.close()
            pipe = None
            raise os_error(status, "open")
    finally:
        if pipe is None:
            close_descriptor(fd)
    try:
        carried = Carried.__new__(Carried)
        carried.offset = socket.bytes_written
    except BaseException:
        pipe.close()
        raise
    carried.pipe = pipe
    if layer.last is None:
        layer.first = carried
    else:
        layer.last.after = carried
    layer.last = carried
    if layer.due is None:
        layer.due = carried
    try:
        return socket.write(data, callback)
    finally:
        if layer.due is carried and socket.bytes_written == carried.offset:
            # The write was not taken: the descriptor must not go with the next one.
            layer._forget(carried)


seal(Carried)
seal(Delivery)
seal(Passing)
