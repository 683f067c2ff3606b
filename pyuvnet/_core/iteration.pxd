"""async for over a stream; see iteration.pyx."""

from .stream cimport Reader, Stream
from .waiter cimport Waiter

cdef class ChunkReader(Reader):
    """The part of an async iterator that the stream knows."""
    cdef readonly Stream stream
    cdef Waiter _waiter                # of the task that waits for a chunk
    cdef Waiter _last                  # the one before, which may serve again
    cdef bytes _offered                # a chunk that deliver() hands to the task just now
    cdef bint _plain                   # the stream's class has no read() of its own
    cdef bint _destroy_on_return       # leaving early destroys a stream without an owner
    cdef bint _begun                   # the stream knows it
    cdef readonly bint over            # the iteration is

    cdef object take(self)
    cdef int _leave(self) except -1
    cdef int _finish(self) except -1

cdef class ChunkIterator:
    cdef readonly ChunkReader reader

cdef class NextChunk:
    cdef ChunkReader _reader
    cdef ChunkIterator _iterator       # alive so long: dropped, it leaves the stream
    cdef bint _waiting

    cdef object step(self)
    cdef int forget(self) except -1

cdef class Closing:
    cdef Stream _stream
    cdef Waiter _waiter
    cdef object _listener              # None once it has left

cdef int refuse_second_reader(Stream stream) except -1
