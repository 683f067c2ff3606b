"""Layer: a step that bytes take between a stream handle and its owner; see layer.pyx."""

from libc.stdint cimport uint64_t

from . cimport uv
from .emitter cimport EventEmitter
from .errors cimport os_error
from .owner cimport HandleCalls
from .stream_handle cimport DEADLINE_READ_STOPPED, StreamHandle

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
cdef int undress(StreamHandle handle) except -1

# ---- What an owner calls on its handle -----------------------------------------------------------
#
# Each function is the same with layers and without. Where an owner takes a short cut that layers
# would notice, it looks at handle.layered first.

cdef Py_ssize_t offer_to_layers(StreamHandle handle, object chunks, const uv.uv_buf_t* bufs,
                                unsigned int count) noexcept

cdef void read_again(StreamHandle handle, const char* base, Py_ssize_t size) noexcept

cdef inline void take(StreamHandle handle, EventEmitter owner, const HandleCalls* calls) noexcept:
    """Begin to own a handle, with whatever layers it has."""
    if handle.layered:
        (<Layer>handle.lowest).calls = calls
        handle.owner = owner
    else:
        handle.own(owner, calls)

cdef inline void give_away(StreamHandle handle) noexcept:
    """Own a handle no more: nothing comes up until another owner takes it.

    What belongs to the connection stays on the handle: its layers, counters, deadlines, its place
    in its server's ring.
    """
    read_stop(handle)
    handle.owner = None

cdef inline Layer top_layer(StreamHandle handle):
    """The layer that the owner calls. There has to be one."""
    return (<Layer>handle.lowest).top

cdef inline Py_ssize_t offer(StreamHandle handle, object chunks, const uv.uv_buf_t* bufs,
                             unsigned int count) noexcept:
    """Write what is taken at once: the number of bytes, or a libuv status.

    A layer may run signal handlers, so chunks, which the bufs point into, are kept meanwhile.
    """
    if handle.layered:
        return offer_to_layers(handle, chunks, bufs, count)
    return handle.try_write(bufs, count)

cdef inline int send(StreamHandle handle, object chunks, const uv.uv_buf_t* bufs,
                     unsigned int count) noexcept:
    """Write what was not taken; HandleCalls.written follows, unless a libuv status says why not."""
    if handle.layered:
        return top_layer(handle).write(chunks, bufs, count)
    return handle.write(chunks, bufs, count)

cdef inline int finish(StreamHandle handle) noexcept:
    """End this side once everything has left; HandleCalls.shut_down follows, or a libuv status."""
    return top_layer(handle).shutdown() if handle.layered else handle.shutdown()

cdef inline int finish_now(StreamHandle handle) noexcept:
    """After finish(): wait for nothing that the peer has to do first. Returns a libuv status."""
    return top_layer(handle).end_now() if handle.layered else 0

cdef inline int read_start(StreamHandle handle) noexcept:
    return top_layer(handle).read_start() if handle.layered else handle.read_start()

cdef inline void read_stop(StreamHandle handle) noexcept:
    if handle.deadlines is not NULL:
        handle.deadlines.place |= DEADLINE_READ_STOPPED
    if handle.layered:
        top_layer(handle).read_stop()
    else:
        handle.read_stop()

cdef inline size_t unsent_bytes(StreamHandle handle) noexcept:
    """How many of the bytes that were sent wait for the kernel, or in a layer."""
    cdef size_t size = handle.stream().write_queue_size
    return size + top_layer(handle).waiting() if handle.layered else size

cdef inline uint64_t bytes_moved(StreamHandle handle) noexcept:
    """A number that changes with each byte that the owner gets, or that the kernel takes."""
    return handle.bytes_in + handle.bytes_out - unsent_bytes(handle)

cdef inline object write_failure(StreamHandle handle, int status):
    """The exception of a write that failed with a status."""
    return top_layer(handle).failure(status) if handle.layered else os_error(status, "write")
