"""Deadlines of connections; see deadlines.pyx."""

from libc.stdint cimport uint32_t

from cpython.object cimport PyObject

from .loop cimport Loop, LoopPart
from .stream_handle cimport StreamHandle
from .timer cimport Timer

# What HandleCalls.due() is called with. All but two are to end the connection with an error, which
# deadline_error() makes.
cdef enum Due:
    DUE_NOTHING
    DUE_DEADLINE
    DUE_FIRST_BYTE
    DUE_IDLE
    DUE_WRITE                          # best with RST
    DUE_RETIREMENT                     # Its lifetime is over: the owner begins to end it,
    DUE_END                            # and is called from time to time until it has done so.
    DUE_LIFETIME
    DUE_RATE

cdef enum:
    IDLE_GRACE = 1000                  # ms, of a connection whose lifetime is over

cdef class Limits:
    # In ms, except the first of the rate; 0: none.
    cdef readonly uint32_t idle, first_byte, write, lifetime, rate_bytes, rate_ms

cdef class DeadlineTimer(Timer):
    cdef DeadlineQueue queue

cdef class DeadlineQueue(LoopPart):
    cdef Loop loop
    cdef DeadlineTimer timer
    cdef PyObject** heap               # the armed handles, referenced
    cdef Py_ssize_t count, size

    cdef uint32_t now(self) noexcept
    cdef void place(self, Py_ssize_t index, PyObject* handle) noexcept
    cdef void sift_up(self, Py_ssize_t index) noexcept
    cdef void sift_down(self, Py_ssize_t index) noexcept
    cdef int add(self, StreamHandle handle) except -1
    cdef void remove(self, StreamHandle handle) noexcept
    cdef int schedule(self) except -1
    cdef int fire(self) except -1

cdef int arm(StreamHandle handle, Limits limits) except -1
cdef int set_deadline(StreamHandle handle, uint32_t delay) except -1
cdef void clear_deadline(StreamHandle handle) noexcept
cdef bint has_deadline(StreamHandle handle) noexcept
cdef void stop_deadlines(StreamHandle handle) noexcept
cdef void counts_anew(StreamHandle handle) noexcept
cdef void write_waits(StreamHandle handle) noexcept
cdef object deadline_error(int due)
