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
    cdef bint _stepping                # what waited goes on just now, and asyncio knows nothing
    cdef object _task                  # whose step that is
    cdef bint _cancel_asked            # cancel() came too late
    cdef object _result, _cancel_message
    cdef BaseException _exception

    cdef int _ready(self) except -1
    cdef int settle(self) except -1

cdef class Stepper:
    cdef readonly object coroutine
    cdef object _loop                  # asyncio's
    cdef object _task                  # None: unknown, done, or not asyncio's own
    cdef int _held                     # what a step brought that the task has not seen
    cdef object _value
    cdef object _owed                  # a cancellation, due when what is waited for is over

    cdef object note(self, object yielded)
    cdef int take(self) except -1
    cdef int hand_over(self, Waiter waiter) except -1
    cdef int resume(self, Waiter waiter) except -1

cdef class Waiting:
    cdef Waiter _waiter                # None once it is over
    cdef bint _asked                   # asyncio has the waiter

cdef Waiter new_waiter(Loop ours)
cdef Waiter renewed(Waiter waiter, Loop ours)
cdef int raise_thrown(object kind, object value, object traceback) except -1
