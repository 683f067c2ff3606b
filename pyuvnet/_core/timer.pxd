"""Timers: user timers and the sockets' idle timeouts; see timer.pyx."""

from libc.stdint cimport uint64_t
from cpython.object cimport PyObject

from . cimport uv
from .emitter cimport EventEmitter
from .handle cimport Handle
from .loop cimport Loop

ctypedef int (*idle_call)(EventEmitter owner) except -1

cdef class Timer:
    cdef Loop loop
    cdef uint64_t due, order           # loop time in ms; insertion order among equals
    cdef Py_ssize_t index              # place in the heap, -1 when not waiting
    cdef bint counted                  # keeps the loop alive while it waits

    cdef int start(self, uint64_t delay) except -1
    cdef void cancel(self) noexcept
    cdef int fire(self) except -1
    cdef object whose(self)            # the callback, or the owner
    cdef void hold(self) noexcept      # while it waits
    cdef void release(self) noexcept
    cdef int set_counted(self, bint counted) except -1

cdef class IdleTimeout(Timer):
    cdef PyObject* _owner              # borrowed, but referenced while it waits
    cdef idle_call _on_idle            # called on the owner
    cdef readonly object requested     # what the user asked for, as given
    cdef uint64_t delay
    cdef uint64_t last                 # loop time of the last activity
    cdef size_t queue_size             # of the owner's write in flight, when last looked at
    cdef bint fired                    # once for each idle period

    cdef inline void touch(self) noexcept:
        self.last = uv.uv_now(&self.loop._uv)
        if self.fired:
            self.rearm()

    cdef void rearm(self) noexcept

cdef class TimerQueue(Handle):
    cdef uv.uv_timer_t _timer
    cdef PyObject** _heap              # waiting timers, referenced
    cdef Py_ssize_t _count, _size
    cdef Py_ssize_t _counted           # how many of them keep the loop alive
    cdef uint64_t _order

    cdef int add(self, Timer timer) except -1
    cdef void remove(self, Timer timer) noexcept
    cdef void schedule(self) noexcept
    cdef void place(self, Py_ssize_t index, PyObject* timer) noexcept
    cdef void sift_up(self, Py_ssize_t index) noexcept
    cdef void sift_down(self, Py_ssize_t index) noexcept

cdef IdleTimeout new_idle_timeout(EventEmitter owner, idle_call on_idle, Loop loop)
