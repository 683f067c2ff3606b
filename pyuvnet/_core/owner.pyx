"""Owner: the calls that go up, from a handle or request to the object that owns it.

Lower layers know only this class; a socket or server overrides what concerns it.  Each method is
called with the GIL held, inside a libuv callback, and may run user code.  Imports: emitter.
"""

from .emitter cimport EventEmitter


cdef class Owner(EventEmitter):
    cdef bint _concerns(self, object handle) noexcept:
        return True

    cdef int _flush(self) except -1:
        return 0

    cdef bint _take_read(self, const char* base, Py_ssize_t size) noexcept:
        return False

    cdef bint _flush_one(self) noexcept:
        return False

    cdef int _on_read(self, const char* base, Py_ssize_t size) except -1:
        return 0

    cdef int _on_read_target(self, Py_ssize_t size) except -1:
        return 0

    cdef int _on_read_error(self, int status) except -1:
        return 0

    cdef int _on_read_idle(self) except -1:
        return 0

    cdef void _on_read_raised(self, object exc) noexcept:
        pass

    cdef int _on_written(self, int status) except -1:
        return 0

    cdef int _on_shutdown(self, int status) except -1:
        return 0

    cdef int _on_connected(self, int status) except -1:
        return 0

    cdef int _on_connection(self, int status) except -1:
        return 0

    cdef int _on_accept_failed(self, int status, const void* here, const void* there) except -1:
        return 0

    cdef int _on_resolved(self, int status, list addresses) except -1:
        return 0

    cdef int _on_handle_closed(self) except -1:
        return 0

    cdef void connection_gone(self) noexcept:
        pass

    cdef int _on_idle_timeout(self) except -1:
        return 0
