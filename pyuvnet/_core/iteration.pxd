"""async for over a stream; see iteration.pyx."""

from .stream cimport Stream
from .waiter cimport Waiter

cdef class ChunkReader:
    """The part of an async iterator that the stream knows."""
    cdef readonly Stream stream
    cdef Waiter _waiter                # of the task that waits for a chunk
    cdef Waiter _last                  # the one before, which may serve again
    cdef bint _plain                   # the stream's class has no read() of its own
    cdef readonly bint begun           # the listeners are there
    cdef public bint done              # the stream is: what is buffered is all there will be
    cdef public bint over              # the iteration is

    cdef object take(self)

cdef class ChunkIterator:
    cdef readonly ChunkReader reader

cdef class NextChunk:
    cdef ChunkReader _reader
    cdef ChunkIterator _iterator       # alive so long: dropped, it leaves the stream
    cdef bint _waiting

    cdef object step(self)
    cdef int forget(self) except -1
