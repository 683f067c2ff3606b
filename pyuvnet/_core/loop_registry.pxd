"""Which loop a thread has; see loop_registry.pyx."""

from .loop cimport Loop
from .owner cimport Links

cdef struct Passage:
    Links links                        # among those that are on their way to another thread; first
    int fd                             # -1: none

cdef Loop loop_of_thread()
cdef Loop loop_for_new()
cdef void enter_passage(Passage* passage, int fd) noexcept
cdef void leave_passage(Passage* passage) noexcept
