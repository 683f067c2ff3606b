"""Layer: a step that bytes take between a stream handle and its owner; see layer.pyx."""

from . cimport uv
from .owner cimport HandleCalls
from .stream_handle cimport StreamHandle

cdef class Layer:
    cdef StreamHandle handle           # None while the layer is on none
    cdef Layer below                   # None: the handle
    cdef Layer above                   # None: the handle's owner
    cdef Layer top                     # of the lowest layer only
    cdef const HandleCalls* calls      # of the owner; of the lowest layer only

    # Up, from what is below. The defaults pass everything on.
    cdef int read(self, const char* base, Py_ssize_t size) except -1      # bytes
    cdef int read_ended(self, int status) except -1       # UV_EOF, or what the read failed with
    cdef int written(self, int status) except -1          # write() completed
    cdef int shut_down(self, int status) except -1        # shutdown() completed
    cdef void closed(self) noexcept                       # the handle is; the last call

    # Down, from what is above, as StreamHandle has them. The defaults pass everything on.
    cdef Py_ssize_t try_write(self, const uv.uv_buf_t* bufs, unsigned int count) noexcept
    cdef int write(self, object chunks, const uv.uv_buf_t* bufs, unsigned int count) noexcept
    cdef int shutdown(self) noexcept
    cdef int end_now(self) noexcept       # shutdown() waits for no peer: destroy_soon() was called
    cdef int read_start(self) noexcept                    # more bytes may come
    cdef void read_stop(self) noexcept                    # no more, for now
    cdef size_t waiting(self) noexcept    # bytes of write() that the handle has not got yet
    cdef object failure(self, int status)    # the exception of a write that failed with a status

cdef int add_layer(StreamHandle handle, Layer layer, bint lowest) except? 1
cdef const HandleCalls* owner_calls(StreamHandle handle) noexcept
cdef int remove_layer(Layer layer) except -1

cdef inline Layer top_layer(StreamHandle handle):
    """The layer that the owner of a handle calls. There has to be one."""
    return (<Layer>handle.layer).top
