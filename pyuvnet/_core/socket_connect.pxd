"""SocketConnect: a socket on its way to a connection; see socket_connect.pyx."""

from .socket_base cimport SocketBase

cdef class SocketConnect(SocketBase):
    cdef bint _open_handle(self, bint tcp) except -1
    cdef int _on_resolved(self, int status, list addresses) except -1
    cdef int _abandon_handle(self) except -1
    cdef bint _reached_blocked(self) noexcept
    cdef int _serve_at_connect(self) except -1
