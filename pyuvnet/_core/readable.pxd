"""The readable half: functions on Stream's r_ fields; see readable.pyx."""

from .framing cimport Framing
from .stream cimport Reader, Stream

cdef int r_push(Stream s, bytes chunk) except -1
cdef int r_push_framed(Stream s, const char* base, Py_ssize_t size) except -1
cdef int r_push_eof(Stream s) except -1
cdef object r_read(Stream s, object size)
cdef int r_constructed(Stream s) except -1
cdef int r_kick(Stream s) except -1
cdef int r_pause(Stream s) except -1
cdef int r_resume(Stream s) except -1
cdef int r_tick(Stream s, int what, object argument) except -1
cdef int r_listener_added(Stream s, object event) except -1
cdef int r_listener_removed(Stream s, object event) except -1
cdef int r_begin_reader(Stream s, Reader reader) except -1
cdef int r_end_reader(Stream s, Reader reader) except -1
cdef bint r_reads_over(Stream s) noexcept
cdef bint r_readable(Stream s) noexcept
cdef int r_set_encoding(Stream s, object name) except -1
cdef int r_set_framing(Stream s, Framing framing) except -1
cdef int r_taken(Stream s) except -1
cdef int r_ask(Stream s) except -1
cdef bint r_goes_on(Stream s) noexcept
cdef bint r_in_turn(Stream s) except -1
cdef int r_lost(Stream s, object exc) except -1
cdef int r_unshift(Stream s, object chunk, object encoding) except -1

cdef class Readable(Stream):
    pass
