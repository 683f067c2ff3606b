"""Listeners whose accepts may fail; see accepting.pyx."""

from .address cimport PeerName
from .stream_handle cimport StreamHandle
from .tcp cimport TCP

cdef struct Arrival:
    int fd                             # -1: it could not be accepted
    PeerName peer                      # of family 0 where it is not known

cdef struct Arrivals:
    Arrival* items                     # to be freed with PyMem_RawFree()
    Py_ssize_t count, size

cdef int accept_all(StreamHandle listener, Arrivals* arrivals) noexcept
cdef int listener_opened(StreamHandle handle) except -1
cdef int listener_closed(StreamHandle handle) except -1
cdef void accepted_peer(TCP client, PeerName* name) noexcept
cdef bint drop_waiting(StreamHandle listener, PeerName* name) noexcept
cdef int take_waiting(StreamHandle listener) noexcept
cdef int listener_manner(StreamHandle handle, bint rests, bint waits, int reserve) except -1
cdef void listener_rests(StreamHandle handle, bint rests, bint waits, int reserve) noexcept
cdef void retry_listener(StreamHandle handle) noexcept
