"""Which loop a thread has; see loop_registry.pyx."""

from .loop cimport Loop

cdef Loop loop_of_thread()
cdef Loop loop_for_new()
