"""Calls that go up, to later layers and to the Python facade; see upcalls.pyx."""

from . cimport uv

# The Python functions, in the order of FUNCTIONS in upcalls.pyx, which says when each is called.
cdef enum Upcall:
    LOOP_UNDRIVEN
    RUN_LISTENER
    ENTER_STREAM
    EXIT_STREAM
    ITERATE_STREAM
    STREAM_FROM_ITERABLE
    STANDARD_STREAM
    WAIT_FOR_DRAIN
    UPCALLS

cdef object upcall(Upcall which)

# The C functions of later layers that an earlier one calls. The module named sets each when it
# loads, so none is ever NULL once the core is there. Loops are passed as objects, since this module
# comes before them.
ctypedef int (*user_write_call)(object stream, object chunk, Py_ssize_t size) except -1
ctypedef int (*user_call)(object stream) except -1

cdef struct LaterCalls:
    void (*close_handle)(uv.uv_handle_t*) noexcept    # handle: close any handle of a closing loop
    object (*set_immediate)(object, object, tuple)    # immediate: Loop.set_immediate()
    int (*warn_unclosed)(object) except -1            # alive: a loop in debug mode is closing
    # writable: the program's _write(), _writev() and _final() of a stream that has no C methods
    user_write_call user_write
    user_call user_queue, user_final

cdef LaterCalls later
