"""StreamHandle: what TCP and pipe handles share; see stream_handle.pyx."""

cimport cython
from cpython.bytes cimport PyBytes_Check
from cpython.object cimport PyObject
from libc.stdint cimport uint32_t, uint64_t

from . cimport uv
from .address cimport PeerName
from .capi cimport PyBytes_AS_STRING, PyBytes_GET_SIZE, PyMemoryView_GET_BUFFER
from .handle cimport Handle, Request
from .owner cimport Acceptor, Links, enter_ring, leave_ring

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


cdef enum:
    BORN_SHIFT = 4               # a unit of 16 ms lasts for two years

# What an armed handle has; see deadlines.pyx.
cdef struct Deadlines:
    PyObject* limits                   # a Limits, referenced; NULL: only `at` counts
    uint32_t due                       # when it is looked at
    uint32_t born                      # when the limits began to count
    uint32_t at                        # of set_deadline()
    uint32_t active_at, activity       # when bytes_moved() last changed
    uint32_t place                     # in the heap, and flags in its low 8 bits

cdef enum:
    DEADLINE_READ_STOPPED = 1 << 0     # Reading was stopped since the handle was last looked at.
    DEADLINE_ENDED = 1 << 1            # The peer has ended.


@cython.no_gc
cdef class StreamHandle(Handle):
    cdef object lowest                 # the Layer that it calls; None: it calls its owner
    # What is known of the connection, which any owner may use. It stays when the connection is
    # closed, except for the server.
    cdef unsigned int read_budget      # in KiB; 0: the default
    cdef unsigned int born             # when it stood, in loop time: BORN_SHIFT
    cdef PeerName peer                 # read once; family 0: not yet, or there is none
    cdef uint64_t bytes_in             # that its owner has received,
    cdef uint64_t bytes_out            # and that it has handed to the kernel or to libuv
    cdef Acceptor server               # that counts it as open, or the loop's no_server
    cdef Links links                   # in that server's ring
    cdef Deadlines* deadlines          # NULL while it is not armed

    cdef inline uv.uv_stream_t* stream(self) noexcept:
        return <uv.uv_stream_t*>self._uv

    cdef inline Py_ssize_t try_write(self, const uv.uv_buf_t* bufs, unsigned int count) noexcept:
        """Write what the kernel takes at once; returns how many bytes, or a libuv status."""
        return uv.uv_try_write(self.stream(), bufs, count)

    # What a server's connections count, the server counts too, whose figures outlive them.
    cdef inline void received(self, Py_ssize_t size) noexcept:
        self.bytes_in += size
        self.server.bytes_read += size

    cdef inline void dispatched(self, Py_ssize_t size) noexcept:
        """Bytes went to the kernel, or to libuv."""
        self.bytes_out += size
        self.server.bytes_written += size

    cdef inline void stands(self) noexcept:
        """The connection is there: it begins to age."""
        self.born = <unsigned int>(uv.uv_now(&self.loop._uv) >> BORN_SHIFT)

    cdef inline void was_active(self) noexcept:
        """Bytes came that the owner does not get."""
        if self.deadlines is not NULL:
            self.deadlines.active_at = <uint32_t>uv.uv_now(&self.loop._uv)

    cdef inline void has_ended(self) noexcept:
        """The owner is about to hear of the peer's end."""
        if self.deadlines is not NULL:
            self.deadlines.place |= DEADLINE_ENDED

    cdef inline void counts_for(self, Acceptor server) noexcept:
        """Enter the ring of the server that has accepted the connection."""
        self.server = server
        enter_ring(&server._sockets, &self.links)

    cdef inline bint counted(self) noexcept:
        """Whether a server counts it."""
        return self.links.after is not NULL

    cdef inline void left_server(self) noexcept:
        """Leave that ring; the caller calls connection_gone(). In none: no effect."""
        leave_ring(&self.links)
        self.server = self.loop.no_server

    cdef inline void continues(self, StreamHandle before) noexcept:
        """Take over what is known of a connection that had another handle."""
        self.read_budget, self.born, self.peer = before.read_budget, before.born, before.peer
        self.bytes_in, self.bytes_out = before.bytes_in, before.bytes_out
        if self.server is None:
            self.server = before.loop.no_server

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

cdef inline PyObject* handle_of(Links* links) noexcept:
    """The handle whose links these are, borrowed."""
    return <PyObject*>(<char*>links - <size_t>&(<StreamHandle><void*>NULL).links)

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
