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
    HANDLES_ARRIVED
    SLOW_LOG
    UPCALLS

cdef object upcall(Upcall which)

# The C functions of later layers that an earlier one calls. The module named sets each when it
# loads, so none is ever NULL once the core is there. Loops are passed as objects, since this module
# comes before them.
cdef struct LaterCalls:
    void (*close_handle)(uv.uv_handle_t*) noexcept    # handle: close any handle of a closing loop
    object (*set_immediate)(object, object, tuple)    # immediate: Loop.set_immediate()
    int (*warn_unclosed)(object) except -1            # alive: a loop in debug mode is closing
    int (*set_framing)(object, object) except -1      # writable: Stream.set_framing()
    object (*start_read)(object, int, object, object)    # reading: read_exactly(), for one
    int (*user_write)(object, void*) except -1        # writable: a Write, for `_write`
    int (*user_queue)(object) except -1               # writable: the queue for `_write`, `_writev`
    int (*user_final)(object) except -1               # writable: the last step, `_final`
    void (*see_off)(object) noexcept                  # lingering: a socket ends by itself

cdef LaterCalls later
