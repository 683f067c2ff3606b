"""async for over a stream, and async with.

A chunk that is buffered is handed out without a future and without leaving the task.  Where there
is none, the task waits for a Waiter, which the stream settles, and goes on inside the callback in
which the chunk arrived.  A reader is no listener, and costs a stream one reference.

What `async with` waits for at its end is one awaitable as well.  It listens to 'finish', at which
it destroys the stream, as Node's destroySoon() does, and to 'close', at which its task goes on.

Imports: emitter, stream, readable, waiter.
"""

cimport cython
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF

from .._base.errors import AbortError

from .readable import Readable

from .capi cimport PyErr_SetObject, pyuvnet_has_own
from .descriptors cimport set_iternext
from .emitter cimport ON_CLOSE, ON_FINISH, new_hidden
from .emitter cimport ON_CLOSE, ON_FINISH, new_hidden
from .errors cimport premature_close, seal, state_error
from .readable cimport r_begin_reader, r_end_reader, r_reads_over
from .stream cimport *
from .waiter cimport Waiter, new_waiter, raise_thrown, renewed

# read() of each class of ours; _read_chunk() does the same.
plain_reads = {Readable.read}


cdef enum:
    NOT_BEGUN = 0
    SENDING                            # 'finish' is due, at which the stream is destroyed
    CLOSING                            # 'close' is due
    FAILING                            # the same, and then `_error` is raised
    OVER


cdef int refuse_second_reader(Stream stream) except -1:
    """Refuse to wait for a stream that a task waits for already."""
    cdef Reader reader = stream.r_reader
    while reader is not None:
        if reader.waiting:
            raise state_error("ERR_ALREADY_READING",
                              "another task is already reading the stream")
        reader = reader._earlier
    return 0


cdef class ChunkReader(Reader):
    """Takes chunks out of a stream, for one task at a time.

    Args:
        stream: what to read.
        destroy_on_return: bool: leaving early destroys the stream, unless a coroutine listener or
            an `async with` block owns it.
    """

    def __init__(self, Stream stream not None, bint destroy_on_return=True):
        stream._ready()
        self.stream = stream
        self._destroy_on_return = destroy_on_return
        self._plain = type(stream).read in plain_reads and not pyuvnet_has_own(stream, "read")

    cdef int arrived(self) except -1:
        if self._waiter is not None and not self._waiter._done:
            self._waiter.settle()
        return 0

    cdef bint deliver(self, bytes chunk) noexcept:
        # As arrived(), the task's step, and take() in it, with nothing in between.
        cdef Waiter waiter = self._waiter
        if waiter is None or not self._plain or not waiter.may_step():
            return False
        self._offered = chunk
        try:
            waiter.step_now()
        except BaseException as exc:
            self.stream._loop.report(exc)
        taken = self._offered is None
        self._offered = None
        return taken

    cdef bint hungry(self) noexcept:
        return self.waiting and self._waiter is not None and not self._waiter._done

    cdef object take(self):
        """The next chunk; None: there is none yet, or, with `over`, the iteration is done."""
        cdef Stream stream = self.stream
        cdef object offered = self._offered
        if offered is not None:
            self._offered = None
            return offered
        if self.over:
            return None
        if not self._begun:
            r_begin_reader(stream, self)
            self._begun = True
        if not stream._state & DESTROYED:
            chunk = stream._read_chunk() if self._plain else (<object>stream).read()
            if chunk is not None:
                return chunk
        if r_reads_over(stream):
            self._finish()
        return None

    cdef int _leave(self) except -1:
        self.over = True
        if self._begun:
            r_end_reader(self.stream, self)
        return 0

    cdef int _finish(self) except -1:
        """The stream is done, and all its chunks are taken: leave it. Raises: its error."""
        cdef Stream stream = self.stream
        cdef unsigned int state = stream._state
        cdef bint half_open = state & ALLOW_HALF_OPEN and not stream._coroutines & HALF_OPEN_LENT
        cdef object error = None
        if not state & R_END_EMITTED or not state & HAS_WRITABLE:
            error = stream._errored
            if error is None and not (state & R_ENDED and stream.r_length == 0):
                error = premature_close()
        if error is not None:
            stream._coroutines |= ERROR_HEARD
        self._leave()
        if error is not None:
            raise error
        if not state & DESTROYED and not stream._owners and stream.r_reader is None:
            # What is queued leaves first, by the end() that is made because the peer has ended.
            stream._flush()
            if not stream.w_length and not (half_open and not state & W_ENDING):
                stream._destroy_with(None)
        return 0

    def abandon(self):
        """Leave early: the stream is destroyed, unless it is owned or the iterator spares it."""
        cdef Stream stream = self.stream
        if self.over or stream is None:
            return
        stream._ready()
        self._leave()
        self.arrived()
        if not self._begun or not self._destroy_on_return or stream._owners \
                or stream._state & DESTROYED:
            return
        # Node destroys with an AbortError; without anybody to listen it would be unhandled.
        if not stream._state & R_END_EMITTED and stream.listener_count("error"):
            stream._destroy_with(AbortError())
        else:
            stream._destroy_with(None)

    def abandon_from_elsewhere(self):
        """abandon(), from a thread that the stream does not belong to."""
        if self.stream is not None and not self.over:
            self.stream._loop.call_soon_threadsafe(self.abandon)


cdef class ChunkIterator:
    """An async iterator over a reader's chunks."""

    def __init__(self, ChunkReader reader not None):
        self.reader = reader

    def __aiter__(self):
        return self

    def __anext__(self):
        cdef NextChunk step = NextChunk.__new__(NextChunk)
        step._reader = self.reader
        step._iterator = self
        return step


@cython.final
@cython.freelist(8)
cdef class NextChunk:
    """What `__anext__` returns: awaiting it gives the next chunk."""

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        chunk = self.step()
        if self._waiting:
            return chunk
        if chunk is None:
            raise StopAsyncIteration
        raise StopIteration(chunk)

    def send(self, value):
        """Go on, as a coroutine."""
        return self.__next__()

    def throw(self, kind, value=None, traceback=None):
        """End the waiting with an exception, as a coroutine: the task was cancelled."""
        self.forget()
        raise_thrown(kind, value, traceback)

    def close(self):
        """End the waiting."""
        self.forget()

    cdef object step(self):
        """The next chunk, None at the end; or, with _waiting, what asyncio has to wait for."""
        cdef ChunkReader reader = self._reader
        cdef Waiter waiter
        if reader is None or reader.stream is None:
            raise state_error("ERR_NOT_CONSTRUCTED", "The iterator's __init__() was not called")
        if self._waiting:
            self.forget()
        else:
            refuse_second_reader(reader.stream)
        chunk = reader.take()
        if chunk is not None or reader.over:
            return chunk
        waiter = reader._waiter = reader._last = renewed(reader._last, reader.stream._loop)
        waiter._asyncio_future_blocking = True
        self._waiting = reader.waiting = True
        return waiter

    cdef int forget(self) except -1:
        if self._waiting:
            self._waiting = self._reader.waiting = False
            self._reader._waiter = None
        return 0


cdef PyObject* _next_chunk(PyObject* step) except NULL:
    """NextChunk.__next__ without the tracebacks that raising would cost."""
    cdef object chunk = (<NextChunk>step).step()
    if not (<NextChunk>step)._waiting:
        if chunk is None:
            PyErr_SetObject(StopAsyncIteration, None)
            return NULL
        # These, a read() of the program's may return them, would be taken for its arguments.
        if isinstance(chunk, (tuple, BaseException)):
            chunk = StopIteration(chunk)
        PyErr_SetObject(StopIteration, chunk)
        return NULL
    Py_INCREF(chunk)
    return <PyObject*>chunk


set_iternext(NextChunk, <void*>_next_chunk)


@cython.final
@cython.freelist(8)
cdef class Closing:
    """Destroys a stream at 'finish', and settles a waiter at 'close'."""

    def __call__(self, *_):
        cdef Stream stream = self._stream
        if self._waiter._done:
            return
        try:
            if not stream._state & DESTROYED:
                (<object>stream).destroy()
        except BaseException as exc:
            self._waiter.set_exception(exc)
        else:
            if not (<object>stream)._close_due:
                self._waiter.set_result(None)

    def leave(self):
        """Listen no more."""
        listener, self._listener = self._listener, None
        if listener is not None:
            self._stream._remove(ON_FINISH, listener)
            self._stream._remove(ON_CLOSE, listener)


def close_at_finish(Stream stream not None):
    """Destroy a stream at 'finish'. Returns: what to await until its 'close'."""
    cdef Closing closing = Closing.__new__(Closing)
    cdef Waiter waiter
    stream._ready()
    waiter = new_waiter(stream._loop)
    closing._stream = stream
    closing._waiter = waiter
    closing._listener = new_hidden(closing)
    waiter._leave = closing.leave
    # In front of the program's, one of which may raise.
    stream._add(ON_FINISH, closing._listener, True, False)
    stream._add(ON_CLOSE, closing._listener, True, False)
    return waiter


seal(Closing)
seal(NextChunk)
