"""Owner: the calls that go up, from the loop, a handle or a socket to the object that owns it.

The lower layers know these interfaces and nothing else of what is above them. Whatever collects
writes derives from Collector, whatever accepts sockets from Acceptor, and whatever owns a handle
gives it a table of HandleCalls, since an object has one base and the stream machine knows no
handles. Each call may run code of the program, except for room().  Imports: emitter.
"""

from .emitter cimport EventEmitter


cdef class Collector(EventEmitter):
    """What collects writes in a callback, for the loop to have them sent when that is over."""

    cdef int _flush(self) except -1:
        return 0

    cdef bint _flush_one(self) noexcept:
        return False


cdef class Acceptor(EventEmitter):
    """What accepts sockets and counts them."""

    cdef void connection_gone(self, BaseException error) noexcept:
        pass

    cdef void header_over(self, object header, int status, const char* rest,
                          Py_ssize_t size) noexcept:
        pass

    cdef void overloaded(self, bint of_loop) noexcept:
        pass
