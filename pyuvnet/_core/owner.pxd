"""Owner: what libuv's side may call on the object that owns a handle; see owner.pyx."""

from .emitter cimport EventEmitter

cdef class Owner(EventEmitter):
    cdef bint _concerns(self, object handle) noexcept     # False: of a handle given up meanwhile
    cdef int _flush(self) except -1                       # send the collected writes
    # The usual case of the next one, and of _flush(), without an exception's price; False: not it.
    cdef bint _take_read(self, const char* base, Py_ssize_t size) noexcept
    cdef bint _flush_one(self) noexcept
    cdef int _on_read(self, const char* base, Py_ssize_t size) except -1        # bytes arrived
    cdef int _on_read_target(self, Py_ssize_t size) except -1   # bytes arrived in the target
    cdef int _on_read_error(self, int status) except -1   # a failed read, or UV_EOF
    cdef int _on_read_idle(self) except -1                # a read of nothing: activity only
    cdef void _on_read_raised(self, object exc) noexcept  # one of these four raised
    cdef int _on_written(self, int status) except -1      # the asynchronous write completed
    cdef int _on_shutdown(self, int status) except -1     # the FIN was sent, or failed
    cdef int _on_connected(self, int status) except -1    # the connect request completed
    cdef int _on_connection(self, int status) except -1   # a peer waits to be accepted
    # An accept failed; both ends are socket addresses, of family 0 where they are not known.
    cdef int _on_accept_failed(self, int status, const void* here, const void* there) except -1
    cdef int _on_resolved(self, int status, list addresses) except -1   # a lookup completed
    cdef int _on_handle_closed(self) except -1            # closing phase, last call of a handle
    cdef void connection_gone(self) noexcept              # an accepted socket was destroyed
    cdef int _on_idle_timeout(self) except -1             # nothing happened for the set time
