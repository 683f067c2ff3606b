"""What is measured of a loop: its callbacks, and where handles were opened; see debugging.pyx."""

from libc.stdint cimport uint64_t

cdef enum:
    TIME_BUCKETS = 24                  # the last one holds what takes 4 s or longer

cdef class DebugMode:
    cdef uint64_t slow                 # ns, from which on a callback is logged
    cdef uint64_t began                # when the callback under way began, or was last measured
    cdef object whose                  # whose callback it is; None: not known
    cdef dict origins                  # id of a handle: where it was opened; None: switched off
    # Statistics of callbacks, since measure() of the module loop switched them on.
    cdef bint counting
    cdef uint64_t since                # when that was, ns
    cdef uint64_t busy                 # in callbacks since then, ns
    cdef uint64_t longest              # ns
    cdef uint64_t times[TIME_BUCKETS]  # callbacks that took less than 1, 2, 4... microseconds
    cdef uint64_t idle_before          # what libuv had waited by then, ns
    # Functions of on_slow(): pairs of nanoseconds and function, None for the log; None without.
    cdef list watchers
    cdef bint names                    # it is one of those for which listeners are watched
    cdef object log                    # a SlowLog of _server/log.py, made with the first line

    cdef int switch(self, bint on) except -1
    cdef void _changed(self, bint before) noexcept
    cdef bint needed(self) noexcept
    cdef void end(self) noexcept
    cdef int count(self, bint on, uint64_t idle) except -1
    cdef void begin(self, object whose) noexcept
    cdef int measure(self, object loop, object whose) except -1
    cdef int set_slow_ms(self, object value) except -1
    cdef int note_origin(self, object handle) except -1
    cdef void forget_origin(self, object handle) noexcept

cdef DebugMode new_debug_mode()
cdef object call_watched(object event, object listener, tuple arguments)
cdef void note_slow(object what, uint64_t took) noexcept
