"""Duplex: both halves in one stream; see duplex.pyx."""

from .readable cimport Readable

cdef class Duplex(Readable):
    pass
