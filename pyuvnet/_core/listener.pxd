"""ListeningServer: the listening handle, from bind to close; see listener.pyx."""

from cpython.object cimport PyObject

from .acceptor cimport AcceptingServer
from .dns cimport Lookup
from .stream_handle cimport StreamHandle

cdef class ListeningServer(AcceptingServer):
    # What brings its handle to this loop, see transfer; no reference. NULL: nothing, or not any
    # more, since the program has closed the server, or listens anew.
    cdef PyObject* _moving
    cdef Lookup _lookup                # of listen()'s host
    cdef object _looked_up             # what its result goes to
    cdef bint _unref

    cdef int _keep_handle(self, StreamHandle fresh, int status) except? -1
    cdef int _give_up_moving(self) except -1
