"""Waiter: a future that our loop wakes; see waiter.pyx."""

from .loop cimport Loop

cdef class Waiter:
    cdef public bint _asyncio_future_blocking   # asyncio's mark of a future that was yielded
    cdef object _loop                  # asyncio's
    cdef Loop _ours
    cdef object _leave
    cdef object _callback, _context    # the first who waits, nearly always the only one
    cdef list _others
    cdef bint _done, _cancelled
    cdef object _result, _cancel_message
    cdef BaseException _exception

    cdef int settle(self) except -1

cdef Waiter new_waiter(Loop ours)
