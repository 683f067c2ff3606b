"""Listeners whose accepts may fail; see accepting.pyx."""

from .address cimport PeerName
from .stream_handle cimport StreamHandle
from .tcp cimport TCP

cdef int listener_opened(StreamHandle handle) except -1
cdef int listener_closed(StreamHandle handle) except -1
cdef void accepted_peer(TCP client, PeerName* name) noexcept
cdef bint drop_waiting(StreamHandle listener, PeerName* name) noexcept
