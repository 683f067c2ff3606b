"""Lingering: the graceful end of a connection; see lingering.pyx."""

from libc.stdint cimport uint64_t

from .emitter cimport EventEmitter
from .socket_base cimport SocketBase
from .stream_handle cimport StreamHandle
from .timer cimport Timer
from .waiter cimport Waiter

cdef class Patience(Timer):
    # In loop time; 0: not yet.
    cdef uint64_t _began
    cdef uint64_t _moved               # when bytes last came, or were acknowledged
    cdef uint64_t _settled             # when the peer had acknowledged everything
    cdef uint64_t _read                # how many bytes had come then,
    cdef Py_ssize_t _unacknowledged    # and how many were not acknowledged
    cdef unsigned int _delay           # of the next look, in ms

    cdef bint is_over(self, StreamHandle handle, uint64_t read, bint ended) noexcept

cdef class Lingering(Patience):
    cdef SocketBase _socket
    cdef Waiter _waiter
    cdef object _listener              # None once it has left

    cdef int look(self) except -1
    cdef int _discard(self) except -1

cdef class Watch(Patience):
    cdef StreamHandle _handle          # None once it is closed
    cdef uint64_t _got

cdef class Remains(EventEmitter):
    cdef Watch _watch
