"""Signals: what wakes a loop when one arrives; see signals.pyx."""

from . cimport uv

cdef class SignalWatch:
    cdef uv.uv_poll_t _poll            # readable when a signal arrived while run() polls
    cdef tuple _ends                   # of the pipe that Python writes to; None: closed

    cdef object start(self, uv.uv_poll_cb arrived)
    cdef int stop(self, object restore) except -1
    cdef int run_handlers(self) except -1
    cdef int close(self) except -1

cdef SignalWatch new_signal_watch(uv.uv_loop_t* loop)
