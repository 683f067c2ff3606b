"""read_exactly(), read_until() and read_line(); see reading.pyx."""

from .stream cimport Reader, Stream
from .waiter cimport Waiter

cdef class ByteReader(Reader):
    # A stream has one, made with its first read, which knows the stream while a task waits.
    cdef Stream _stream
    cdef ByteRead _read                # that waits
    cdef Waiter _waiter
    cdef Waiter _last                  # the one before, which may serve again

    cdef bint _ready_to_go(self) noexcept

cdef class ByteRead:
    cdef Stream _stream                # None once it is over
    cdef int _kind
    cdef Py_ssize_t _wanted            # bytes, or the limit
    cdef bytes _delimiter
    cdef bint _waiting

    cdef object step(self)
    cdef object _wait(self, Stream stream)
    cdef int _raise_gone(self) except -1
    cdef int _check(self) except -1
    cdef int _look(self, Py_ssize_t* total, Py_ssize_t* length) noexcept
    cdef object _take(self, Py_ssize_t total, Py_ssize_t length)
    cdef object _at_end(self)
    cdef int forget(self) except -1
