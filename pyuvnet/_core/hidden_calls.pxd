"""Where code of a program may run without a visible call; see hidden_calls.pyx."""

cdef enum:
    ENTRY
    LEAVE
    RELEASE

cdef void hidden_call(int place) noexcept
