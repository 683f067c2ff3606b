"""Listeners whose accepts may fail; see accepting.pyx."""

from .stream_handle cimport StreamHandle

cdef int listener_opened(StreamHandle handle) except -1
cdef int listener_closed(StreamHandle handle) except -1
