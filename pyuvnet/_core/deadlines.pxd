"""Deadlines of sockets; see deadlines.pyx."""

from libc.stdint cimport uint32_t

from cpython.object cimport PyObject

from .loop cimport Loop, LoopPart
from .socket_base cimport Deadlines, SocketBase
from .timer cimport Timer

cdef class Limits:
    # In ms, except the first of the rate; 0: none.
    cdef readonly uint32_t idle, first_byte, write, lifetime, rate_bytes, rate_ms

cdef class DeadlineTimer(Timer):
    cdef DeadlineQueue queue

cdef class DeadlineQueue(LoopPart):
    cdef Loop loop
    cdef DeadlineTimer timer
    cdef PyObject** heap               # the armed sockets, referenced
    cdef Py_ssize_t count, size

    cdef uint32_t now(self) noexcept
    cdef void place(self, Py_ssize_t index, PyObject* socket) noexcept
    cdef void sift_up(self, Py_ssize_t index) noexcept
    cdef void sift_down(self, Py_ssize_t index) noexcept
    cdef int add(self, SocketBase socket) except -1
    cdef void remove(self, SocketBase socket) noexcept
    cdef int schedule(self) except -1
    cdef int fire(self) except -1

cdef int arm(SocketBase socket, Limits limits) except -1
cdef int move_deadlines(SocketBase source, SocketBase target) except -1
cdef int set_deadline(SocketBase socket, uint32_t delay, object error) except -1
cdef void clear_deadline(SocketBase socket) noexcept
cdef bint has_deadline(SocketBase socket) noexcept
