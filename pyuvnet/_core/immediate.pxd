"""Immediates: callbacks that run once, after a turn's input and output; see immediate.pyx."""

from . cimport uv
from .loop cimport Loop, LoopPart

cdef class Immediate:
    cdef Loop _loop
    cdef object _callback
    cdef tuple _arguments
    cdef bint _ref, _due

cdef class ImmediateQueue(LoopPart):
    cdef uv.uv_idle_t _idle            # active while an immediate waits: the poll must not block
    cdef list _waiting                 # in the order of setting; None: the loop is closing
    cdef Py_ssize_t _ref_count         # how many of them keep the loop alive

cdef list waiting_immediates(Loop loop)
