"""The writable half: functions on Stream's w_ fields; see writable.pyx."""

from .stream cimport Stream

cdef enum:
    # What w_failed() takes where libuv has no status for it.
    FAILED_CLOSED = 1                  # there is no connection
    FAILED_BEFORE_CONNECTION = 2       # nor will there be one

cdef bint w_write(Stream s, object chunk, object encoding, object callback) except -1
cdef bint w_write_frame(Stream s, object payload, object callback) except -1
cdef int w_flush(Stream s) except -1
cdef int w_end(Stream s, object chunk, object encoding, object callback) except -1
cdef int w_cork(Stream s) except -1
cdef int w_uncork(Stream s) except -1
cdef int w_completed(Stream s, BaseException error, bint in_call) except -1
cdef int w_failed(Stream s, int status, bint in_call) except -1
cdef int w_final_done(Stream s, BaseException error) except -1
cdef int w_finish_maybe(Stream s, bint in_call) except -1
cdef int w_emit_finish(Stream s) except -1
cdef int w_leave_failed(Stream s) except -1
cdef int w_begin_anew(Stream s, object error) except -1
cdef int w_fail_writes(Stream s) except -1
cdef int w_after_write(Stream s, unsigned long number) except -1
cdef int w_tick(Stream s, int what, object argument) except -1
cdef bint w_writable(Stream s) noexcept
cdef int w_constructed(Stream s) except -1
cdef int w_set_default_encoding(Stream s, object name) except -1

cdef class Writable(Stream):
    pass
