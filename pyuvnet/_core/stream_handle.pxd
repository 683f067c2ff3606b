"""StreamHandle: what TCP and pipe handles share; see stream_handle.pyx."""

cimport cython
from cpython.bytes cimport PyBytes_Check

from . cimport uv
from .capi cimport PyBytes_AS_STRING, PyBytes_GET_SIZE, PyMemoryView_GET_BUFFER
from .handle cimport Handle, Request

cdef class ReadTarget:
    cdef Py_buffer view
    cdef object buffer                 # the object whose memory it is
    cdef bint locked                   # the view is to be released

cdef ReadTarget new_read_target(object buffer)

cdef union AnyStreamRequest:
    uv.uv_connect_t connect
    uv.uv_write_t write
    uv.uv_shutdown_t shutdown

cdef class StreamRequest(Request):
    cdef AnyStreamRequest _req         # which of them, kind says
    cdef object _chunks                # what the bufs of a write point into, until libuv is done


@cython.no_gc
cdef class StreamHandle(Handle):
    cdef object lowest                 # the Layer that it calls; None: it calls its owner
    cdef unsigned int read_budget      # of a connection, in KiB; 0: the default
    cdef unsigned int failed_accepts   # of a listener, in a row

    cdef inline uv.uv_stream_t* stream(self) noexcept:
        return <uv.uv_stream_t*>self._uv

    cdef inline Py_ssize_t try_write(self, const uv.uv_buf_t* bufs, unsigned int count) noexcept:
        """Write what the kernel takes at once; returns how many bytes, or a libuv status."""
        return uv.uv_try_write(self.stream(), bufs, count)

    cdef inline bint has_room(self) noexcept:
        """Whether reads land where the owner says, and not in the loop's buffer."""
        return self.owner is not None and self.calls.room is not NULL

    cdef int open(self, int fd) noexcept
    cdef int _open(self, int fd) noexcept
    cdef int read_start(self) noexcept
    cdef void unspent(self) noexcept
    cdef void read_stop(self) noexcept
    cdef bint pump_start(self) noexcept
    cdef void pump_stop(self) noexcept
    cdef void read_large(self, bint large) noexcept
    cdef int write(self, object chunks, const uv.uv_buf_t* bufs, unsigned int count) noexcept
    cdef int write_with(self, object chunks, const uv.uv_buf_t* bufs, unsigned int count,
                        uv.uv_stream_t* carried) noexcept
    cdef int shutdown(self) noexcept
    cdef int watchable(self) noexcept
    cdef int listen(self, int backlog) noexcept
    cdef int fileno(self) noexcept
    cdef int accept(self, StreamHandle client) noexcept
    cdef StreamRequest new_request(self, int kind)
    cdef int submitted(self, StreamRequest request, int status) noexcept

cpdef str handle_kind(object fd)
cdef unsigned int budget_in_kib(Py_ssize_t size) noexcept
cdef Py_ssize_t pump_budget(StreamHandle handle) noexcept
cdef int set_option(StreamHandle handle, object level, object name, object value) except? 1
cdef int change_option(StreamHandle handle, object level, object name, object value) except -1
cdef object get_option(StreamHandle handle, object level, object name, object size)
cdef int duplicate(StreamHandle handle) noexcept
cdef void close_descriptor(int fd) noexcept
cdef void on_connected(uv.uv_connect_t* request, int status) noexcept nogil

cdef inline void point_at(uv.uv_buf_t* buf, object chunk) noexcept:
    """Let a buf point at the bytes of a chunk (bytes, or our memoryview of a user's buffer)."""
    if PyBytes_Check(chunk):
        buf.base = PyBytes_AS_STRING(chunk)
        buf.len = PyBytes_GET_SIZE(chunk)
    else:
        buf.base = <char*>PyMemoryView_GET_BUFFER(chunk).buf
        buf.len = PyMemoryView_GET_BUFFER(chunk).len
