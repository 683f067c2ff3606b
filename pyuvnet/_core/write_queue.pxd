"""The queue of a stream's writes, from a part that is accepted to the last that has left.

write_queue.pyx explains the fields.  What a write in the usual case needs is inline here.
"""

from cpython.object cimport PyObject

from .capi cimport list_of
from .stream cimport Stream, Write

cdef extern from "Python.h":
    # With a pointer, so that looking at a chunk counts no reference.
    bint is_exact_bytes "PyBytes_CheckExact" (PyObject* chunk) noexcept
    char* bytes_at "PyBytes_AS_STRING" (PyObject* chunk) noexcept

cdef int q_enqueue(Stream s, Write* write) except -1
cdef int q_collect(Stream s, Write* write) except -1
cdef object q_join_collected(Stream s)
cdef list q_launch_all(Stream s)
cdef PyObject* q_take_first(Stream s) except NULL
cdef bint q_part(Stream s, unsigned int index, unsigned int count) noexcept
cdef list q_chunks(Write* write)
cdef object q_recent(Stream s, Py_ssize_t back)
cdef void q_drop_flight(Stream s) noexcept
cdef void q_drop_waiting(Stream s) noexcept
cdef void q_discard(Stream s) noexcept
cdef void q_begin_anew(Stream s) noexcept
cdef Py_ssize_t q_compact(list items, Py_ssize_t head) except -1

cdef inline void _set_flight(Stream s, Py_ssize_t size, unsigned int count) noexcept:
    """Say how many bytes and parts are in flight; nothing else does."""
    s.w_size = size
    s.w_in_flight = count

cdef inline void q_accept(Stream s, Py_ssize_t size, unsigned int count) noexcept:
    """Count parts that were taken from the program."""
    s.w_length += size
    s.w_accepted += count

cdef inline void q_launch(Stream s, object chunk, Py_ssize_t size, unsigned int count) noexcept:
    """Put what was accepted in flight: a chunk, or a list of them.  Nothing is in flight yet."""
    s.w_chunk = chunk
    _set_flight(s, size, count)

cdef inline void q_begin(Stream s, object chunk, Py_ssize_t size) noexcept:
    """Accept one part that is in flight at once.  Nothing is in flight yet."""
    s.w_length += size
    s.w_accepted += 1
    s.w_chunk = chunk
    _set_flight(s, size, 1)

cdef inline void q_first(Stream s, object chunk) noexcept:
    """Collect the first chunk; q_collected() follows."""
    s.w_chunk = chunk

cdef inline int q_append(Stream s, object chunk) except -1:
    """Collect a chunk behind others; q_collected() follows.  Raises before anything changes."""
    if s.w_queue is None:
        s.w_queue = list_of(chunk)
    else:
        s.w_queue.append(chunk)
    return 0

cdef inline void q_collected(Stream s, Py_ssize_t size) noexcept:
    """Accept the chunk that was just collected."""
    _set_flight(s, s.w_size + size, s.w_in_flight + 1)
    q_accept(s, size, 1)

cdef inline void q_landed(Stream s) noexcept:
    """All that is in flight was taken."""
    s.w_length -= s.w_size
    s.w_done += s.w_in_flight
    _set_flight(s, 0, 0)
    if is_exact_bytes(<PyObject*>s.w_chunk):
        # The usual case of q_drop_flight(), without the call.
        s.w_chunk = None
    else:
        q_drop_flight(s)

cdef inline void q_landed_in_part(Stream s, unsigned int count, Py_ssize_t size,
                                  Py_ssize_t rest) noexcept:
    """Of the parts collected, some were taken; the next, of `rest` bytes, is in flight alone.

    The caller then calls q_part(), unless that one has failed too.
    """
    s.w_length -= size
    s.w_done += count
    _set_flight(s, rest, 1)

cdef inline void q_failed(Stream s) noexcept:
    """What is in flight will not arrive; its numbers stay open until q_forget_failed()."""
    s.w_length -= s.w_size
    _set_flight(s, 0, s.w_in_flight)
    q_drop_flight(s)

cdef inline unsigned long q_forget_failed(Stream s) noexcept:
    """Return the last number of the write that failed, which is not done, and never will be."""
    cdef unsigned long number = s.w_done + s.w_in_flight
    _set_flight(s, 0, 0)
    return number

cdef inline void q_settle(Stream s, unsigned long number) noexcept:
    """Count the writes up to a number as done, although they may have failed."""
    s.w_done = number
