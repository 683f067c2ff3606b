"""ConnectSteps: what a connect() does with its socket and its handle; see connecting.pyx."""

from .blocklist cimport BlockList
from .socket_base cimport Connector, SocketBase
from .stream_handle cimport StreamHandle

cdef int begin_anew(SocketBase s, Connector connector) except -1
cdef int serve_taken(SocketBase s, bint announce) except -1

cdef class ConnectSteps(Connector):
    cdef bint _tcp                     # else over a pipe

    cdef bint _current(self) noexcept
    cdef StreamHandle _handle(self)
    cdef BlockList _block_list(self)
    cdef bint _reached_blocked(self) noexcept
