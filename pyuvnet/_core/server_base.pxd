"""ServerBase: a listening handle and its connection count; see server_base.pyx."""

from .blocklist cimport BlockList
from .dns cimport Lookup
from .loop cimport Loop
from .owner cimport Owner
from .stream_handle cimport StreamHandle

cdef class ServerBase(Owner):
    cdef Loop _loop
    cdef StreamHandle _handle          # None while not listening
    cdef readonly Py_ssize_t _connections
    cdef object _socket_class
    cdef public bint allow_half_open, pause_on_connect, no_delay, keep_alive
    cdef unsigned int _keep_alive_initial_delay         # seconds
    cdef Py_ssize_t _high_water_mark                    # bytes
    cdef BlockList _block_list         # peers it matches are closed silently
    cdef object _max_connections       # None: no limit
    cdef public object drop_max_connection              # stored for programs of Node's cluster
    cdef int _backlog                  # of the present handle
    cdef Lookup _lookup                # of listen()'s host
    cdef object _answered
    cdef bint _unref
    cdef bint _ready_flag

    cdef readonly dict _dropped                # reason: how often; None while nothing was

    cdef int _ready(self) except -1
    cdef bint _is_full(self) except -1
    cdef int _count_drop(self, str reason) except -1
