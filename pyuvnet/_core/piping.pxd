"""pipe() and unpipe(); see piping.pyx."""

from .stream cimport Stream

cdef object pipe_to(Stream source, object dest, bint end)
cdef int unpipe_from(Stream source, object dest) except -1
