"""Duplex: both halves in one stream; see duplex.pyx."""

from .readable cimport Readable
from .stream cimport Stream

cdef class Duplex(Readable):
    pass

cdef class Answer:
    cdef Stream _stream
    cdef int _what
    cdef bint _given
