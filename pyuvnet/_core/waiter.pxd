"""Waiter: a future that our loop wakes; see waiter.pyx."""

from .loop cimport Continuation, Loop

cdef class Waiter(Continuation):
    cdef public bint _asyncio_future_blocking   # asyncio's mark of a future that was yielded
    cdef object _loop                  # asyncio's
    cdef Loop _ours
    cdef object _leave
    cdef object _callback, _context    # the first who waits, nearly always the only one
    cdef list _others
    cdef Stepper _stepper              # of the first who waits, if it can go on without asyncio
    cdef bint _done, _cancelled
    cdef bint _stepping                # its task goes on just now, past asyncio
    cdef object _task                  # whose step that is
    cdef bint _cancel_late             # cancel() came after it was settled, or within a step
    cdef object _result, _cancel_message
    cdef BaseException _exception

    cdef int _ready(self) except -1
    cdef int settle(self) except -1
    cdef bint may_step(self) noexcept
    cdef int step_now(self) except -1

cdef class Stepper:
    cdef readonly object coroutine
    cdef object _loop                  # asyncio's
    cdef object _task                  # None: unknown, done, or not asyncio's own
    cdef int _held                     # kind of a step's outcome that the task has not seen
    cdef object _value
    cdef object _cancel_error          # a cancellation, raised when the present wait is over
    cdef object _listening             # what has to know when the coroutine has returned

    cdef int returned(self) except -1
    cdef object note(self, object yielded)
    cdef int take(self) except -1
    cdef int hand_over(self, Waiter waiter) except -1
    cdef int resume(self, Waiter waiter) except -1

cdef class Waiting:
    cdef Waiter _waiter                # None once it is over
    cdef bint _handed_out              # asyncio has the waiter

cdef Waiter new_waiter(Loop ours)
cdef Waiter renewed(Waiter waiter, Loop ours)
cdef int raise_thrown(object kind, object value, object traceback) except -1
