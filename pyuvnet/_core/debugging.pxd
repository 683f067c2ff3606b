"""Debug mode of a loop: slow callbacks, and where handles were opened; see debugging.pyx."""

from libc.stdint cimport uint64_t

cdef class DebugMode:
    cdef uint64_t slow                 # ns, from which on a callback is logged
    cdef uint64_t began                # when the callback under way began, or was last measured
    cdef object whose                  # whose callback it is; None: nobody said
    cdef dict origins                  # id of a handle: where it was opened; None: switched off

    cdef int switch(self, bint on) except -1
    cdef void begin(self, object whose) noexcept
    cdef int measure(self, object whose) except -1
    cdef int set_slow_ms(self, object value) except -1
    cdef int note_origin(self, object handle) except -1
    cdef void forget_origin(self, object handle) noexcept

cdef DebugMode new_debug_mode()
