"""Layer: a step that bytes take between a stream handle and the object that owns it.

A layer is an owner to what is below it and a handle to what is above: bytes and their end come up,
bytes and their end go down, and whether more may come is said downwards. So framing, a cipher, a
header that comes first, or a budget is a class that overrides what concerns it, and neither the
stream machine nor another layer has to know. An owner calls the functions of layer.pxd, which are
the only place that asks whether there are layers. Without them the handle calls its owner directly,
and the owner the handle.

Rules:

* A layer passes on, in order, everything that it does not use up: by the inherited method.
* read() gets memory that is valid during the call only, and a size of 0 for a read of nothing. What
  a layer keeps, it copies.
* A layer that has done its work may remove itself, as the last thing that it does in a call: it
  passes on what is left before.
* try_write() takes as many bytes as it can account for, or returns UV_EAGAIN; write() takes all,
  and written() goes up once they have left. The bufs belong to the caller, the chunks to the layer
  that called write() last.
* Each call up may run code of the program, which may destroy the socket: `handle.closing` says so.

Imports: stream_handle and below.
"""

from . cimport uv
from .capi cimport hold_collector, release_collector
from .emitter cimport EventEmitter
from .errors cimport os_error, seal
from .owner cimport HandleCalls, raised_call, read_call, status_call
from .stream_handle cimport StreamHandle


cdef class Layer:
    # A layer that is removed meanwhile may lose its last reference: the locals hold what is called.

    cdef int read(self, const char* base, Py_ssize_t size) except -1:
        cdef Layer above = self.above
        cdef StreamHandle handle = self.handle
        if above is not None:
            return above.read(base, size)
        # What a listener has destroyed hears no more, even if it has another connection by now.
        if handle is None or handle.closing or handle.owner is None:
            return 0
        # Where a listener is to be named that is slow, it is called as any other: by read().
        if size > 0 and not handle.loop.measuring \
                and (owner_calls(handle).take_read(handle.owner, base, size)
                     or handle.closing or handle.owner is None):
            return 0
        return owner_calls(handle).read(handle.owner, handle, base, size)

    cdef int read_ended(self, int status) except -1:
        cdef Layer above = self.above
        cdef StreamHandle handle = self.handle
        if above is not None:
            return above.read_ended(status)
        if handle is None or handle.closing or handle.owner is None:
            return 0
        handle.has_ended()
        return owner_calls(handle).read_ended(handle.owner, handle, status)

    cdef int written(self, int status) except -1:
        cdef Layer above = self.above
        cdef StreamHandle handle = self.handle
        if above is not None:
            return above.written(status)
        return 0 if handle is None or handle.owner is None \
            else owner_calls(handle).written(handle.owner, handle, status)

    cdef int shut_down(self, int status) except -1:
        cdef Layer above = self.above
        cdef StreamHandle handle = self.handle
        if above is not None:
            return above.shut_down(status)
        return 0 if handle is None or handle.owner is None \
            else owner_calls(handle).shut_down(handle.owner, handle, status)

    cdef void closed(self) noexcept:
        pass

    cdef Py_ssize_t try_write(self, const uv.uv_buf_t* bufs, unsigned int count) noexcept:
        if self.below is not None:
            return self.below.try_write(bufs, count)
        return self.handle.try_write(bufs, count)

    cdef int write(self, object chunks, const uv.uv_buf_t* bufs, unsigned int count) noexcept:
        if self.below is not None:
            return self.below.write(chunks, bufs, count)
        return self.handle.write(chunks, bufs, count)

    cdef int shutdown(self) noexcept:
        if self.below is not None:
            return self.below.shutdown()
        return self.handle.shutdown()

    cdef int end_now(self) noexcept:
        return 0 if self.below is None else self.below.end_now()

    cdef int read_start(self) noexcept:
        if self.below is not None:
            return self.below.read_start()
        return self.handle.read_start()

    cdef void read_stop(self) noexcept:
        if self.below is not None:
            self.below.read_stop()
        else:
            self.handle.read_stop()

    cdef size_t waiting(self) noexcept:
        return 0 if self.below is None else self.below.waiting()

    cdef object failure(self, int status):
        return os_error(status, "write") if self.below is None else self.below.failure(status)


cdef Py_ssize_t offer_to_layers(StreamHandle handle, object chunks, const uv.uv_buf_t* bufs,
                                unsigned int count) noexcept:
    """offer() through layers: UV_ECANCELED if a signal handler has taken the handle away."""
    cdef object _kept = chunks, _owner = handle.owner
    cdef int held = hold_collector()
    cdef Py_ssize_t taken = top_layer(handle).try_write(bufs, count)
    release_collector(held)
    return uv.UV_ECANCELED if handle.closing or handle.owner is not _owner else taken


cdef void read_again(StreamHandle handle, const char* base, Py_ssize_t size) noexcept:
    """Let bytes come up that were read before the handle had this owner, or these layers."""
    cdef EventEmitter owner = handle.owner
    try:
        handle.calls.read(owner, handle, base, size)
    except BaseException as exc:
        handle.calls.read_raised(owner, handle, exc)


# ---- What the handle calls -----------------------------------------------------------------------

cdef const HandleCalls* owner_calls(StreamHandle handle) noexcept:
    """The owner's own table."""
    return handle.calls if handle.lowest is None else (<Layer>handle.lowest).calls


cdef bint _take_read(EventEmitter owner, const char* base, Py_ssize_t size) noexcept:
    return False


cdef int _read(EventEmitter owner, StreamHandle handle, const char* base,
               Py_ssize_t size) except -1:
    cdef Layer lowest = handle.lowest
    return lowest.read(base, size)


cdef int _read_ended(EventEmitter owner, StreamHandle handle, int status) except -1:
    cdef Layer lowest = handle.lowest
    return lowest.read_ended(status)


cdef void _read_raised(EventEmitter owner, StreamHandle handle, object exc) noexcept:
    # A listener that raised may have removed the last layer before.
    owner_calls(handle).read_raised(owner, handle, exc)


cdef int _connected(EventEmitter owner, StreamHandle handle, int status) except -1:
    return owner_calls(handle).connected(owner, handle, status)


cdef int _written(EventEmitter owner, StreamHandle handle, int status) except -1:
    cdef Layer lowest = handle.lowest
    return lowest.written(status)


cdef int _shut_down(EventEmitter owner, StreamHandle handle, int status) except -1:
    cdef Layer lowest = handle.lowest
    return lowest.shut_down(status)


cdef int _closed(EventEmitter owner, StreamHandle handle, int status) except -1:
    cdef Layer lowest = <Layer>handle.lowest
    cdef const HandleCalls* calls = lowest.calls
    cdef Layer layer = lowest
    # Once more: a layer may have a write that never got to the handle.
    (<StreamHandle>handle).owner = owner
    while layer is not None:
        layer.closed()
        layer.handle = None
        layer = layer.above
    (<StreamHandle>handle).owner = None
    try:
        return calls.closed(owner, handle, status)
    finally:
        # They refer to one another.
        layer = lowest
        while layer is not None:
            lowest, layer = layer, layer.above
            lowest.below = lowest.above = lowest.top = None
        handle.lowest, handle.layered = None, False


cdef HandleCalls _CALLS


cdef int add_layer(StreamHandle handle, Layer layer, bint lowest) except? 1:
    """Put a layer on a handle that has an owner: below all others, or above them.

    Returns a libuv status, of starting to read anew.
    """
    cdef Layer bottom = handle.lowest
    cdef bint restart = handle._reading and handle.has_room()
    if bottom is None:
        layer.calls = handle.calls
        layer.top = layer
        handle.lowest, handle.layered = layer, True
        handle.calls = &_CALLS
    elif lowest:
        layer.above, bottom.below = bottom, layer
        layer.calls, layer.top = bottom.calls, bottom.top
        bottom.top = None
        handle.lowest = layer
    else:
        layer.below, bottom.top.above = bottom.top, layer
        bottom.top = layer
    layer.handle = handle
    handle.read_large(False)
    if restart:
        # From now on into the loop's buffer, which layers may look at.
        handle.read_stop()
        return handle.read_start()
    return 0


cdef int remove_layer(Layer layer) except -1:
    """Take a layer off its handle; what is above and below it meets."""
    cdef Layer kept = layer            # the chain may hold the only other reference
    cdef StreamHandle handle = layer.handle
    cdef Layer above = layer.above, below = layer.below
    cdef Layer bottom
    if handle is None:
        return 0
    bottom = handle.lowest
    if above is not None:
        above.below = below
    if below is not None:
        below.above = above
    if bottom is not layer:
        if above is None:
            bottom.top = below
    elif above is not None:
        above.calls, above.top = layer.calls, layer.top
        handle.lowest = above
    else:
        handle.lowest, handle.layered = None, False
        handle.calls = layer.calls
    kept.handle = kept.above = kept.below = kept.top = None
    return 0


cdef int undress(StreamHandle handle) except -1:
    """Take off all layers of a handle that gets no owner: they refer to each other."""
    while handle.layered:
        remove_layer(<Layer>handle.lowest)
    return 0


_CALLS.take_read = _take_read
_CALLS.read = <read_call><void*>_read
_CALLS.read_ended = <status_call><void*>_read_ended
_CALLS.read_raised = <raised_call><void*>_read_raised
_CALLS.connected = <status_call><void*>_connected
_CALLS.written = <status_call><void*>_written
_CALLS.shut_down = <status_call><void*>_shut_down
_CALLS.closed = <status_call><void*>_closed

seal(Layer)
