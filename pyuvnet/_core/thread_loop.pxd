"""Which loop a thread has; see thread_loop.pyx."""

from .loop cimport Loop

cdef Loop loop_of_thread()
