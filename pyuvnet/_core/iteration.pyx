"""async for over a stream: what happens for each chunk; the rest is Python's, in streams.py.

A chunk that is buffered is handed out without a future and without leaving the task.  Where there
is none, the task waits for a Waiter, which the 'readable' listener settles, and goes on inside the
callback in which the chunk arrived.  No listener is added or removed for a chunk.

Imports: stream, readable, waiter.
"""

cimport cython
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF

from .readable import Readable

from .capi cimport PyErr_SetObject, pyuvnet_has_own
from .descriptors cimport set_iternext
from .errors cimport seal, state_error
from .stream cimport DESTROYED, Stream
from .waiter cimport Waiter, raise_thrown, renewed

# read() of each class of ours; _read_chunk() does the same.
plain_reads = {Readable.read}


cdef class ChunkReader:
    """Takes chunks out of a stream, for one task at a time.

    A subclass has begin(), which adds the listeners, and finish(), which leaves them and raises
    what ends the iteration.
    """

    def __init__(self, Stream stream not None):
        stream._ready()
        self.stream = stream
        self._plain = type(stream).read in plain_reads and not pyuvnet_has_own(stream, "read")

    def arrived(self):
        """The 'readable' listener: there may be a chunk, or the stream is done."""
        if self._waiter is not None and not self._waiter._done:
            self._waiter.settle()

    cdef object take(self):
        """The next chunk; None: there is none yet. Raises what ends the iteration."""
        cdef Stream stream = self.stream
        if self.over:
            raise StopAsyncIteration
        if not self.begun:
            self.begun = True
            self.begin()
        if not stream._state & DESTROYED:
            chunk = stream._read_chunk() if self._plain else (<object>stream).read()
            if chunk is not None:
                return chunk
        if self.done:
            self.finish()
        return None


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
        """The next chunk; or, with _waiting, what asyncio has to wait for."""
        cdef ChunkReader reader = self._reader
        cdef Waiter waiter
        if reader is None or reader.stream is None:
            raise state_error("ERR_NOT_CONSTRUCTED", "The iterator's __init__() was not called")
        if self._waiting:
            self.forget()
        elif reader._waiter is not None:
            raise RuntimeError("the stream is being read by another task already")
        chunk = reader.take()
        if chunk is not None:
            return chunk
        waiter = reader._waiter = reader._last = renewed(reader._last, reader.stream._loop)
        waiter._asyncio_future_blocking = True
        self._waiting = True
        return waiter

    cdef int forget(self) except -1:
        if self._waiting:
            self._waiting = False
            self._reader._waiter = None
        return 0


cdef PyObject* _next_chunk(PyObject* step) except NULL:
    """NextChunk.__next__ without the traceback that raising StopIteration would cost."""
    cdef object chunk = (<NextChunk>step).step()
    if not (<NextChunk>step)._waiting:
        # These, a read() of the program's may return them, would be taken for its arguments.
        if isinstance(chunk, (tuple, BaseException)):
            chunk = StopIteration(chunk)
        PyErr_SetObject(StopIteration, chunk)
        return NULL
    Py_INCREF(chunk)
    return <PyObject*>chunk


set_iternext(NextChunk, <void*>_next_chunk)


seal(NextChunk)
