"""What a stream has read and not handed out; see read_buffer.pyx."""

from .encoding cimport Decoder
from .framing cimport Cutter
from .stream cimport FLOWING_YES, R_ENDED, Stream

cdef int b_add(Stream s, object item, Py_ssize_t size) except -1
cdef int b_add_bytes(Stream s, const char* base, Py_ssize_t size) except -1
cdef int b_put_back(Stream s, object item) except -1
cdef object b_take(Stream s, bint frames, Py_ssize_t size)
cdef bytes b_take_all(Stream s)
cdef int b_decode(Stream s, Decoder decoder) except -1
cdef Cutter b_cutter(Stream s)
cdef int b_keep_bytes(Stream s) except -1
cdef int b_keep_items(Stream s) except -1
cdef int b_begin_frames(Stream s) except -1
cdef int b_end_frames(Stream s) except -1
cdef void b_begin_anew(Stream s) noexcept

cdef inline Py_ssize_t b_size(Stream s, Py_ssize_t wanted) noexcept:
    """How much read() hands out of a buffer of items; wanted is -1 for whatever there is."""
    if wanted == 0 or (s.r_length == 0 and s._state & R_ENDED):
        return 0
    if wanted < 0:
        if s._flowing == FLOWING_YES and s.r_length:
            return len(s._rare.r_chunks[s._rare.r_head]) - s._rare.r_skip
        return s.r_length
    if wanted <= s.r_length:
        return wanted
    return s.r_length if s._state & R_ENDED else 0
