"""Handle and Request: the lifetime rules that every libuv object follows; see handle.pyx."""

cimport cython

from . cimport uv
from .emitter cimport EventEmitter
from .loop cimport Loop
from .owner cimport HandleCalls


# Said here as well, since the modules of subclasses read this declaration only.
@cython.no_gc
cdef class Handle:
    cdef uv.uv_handle_t* _uv           # the leaf's embedded struct; NULL before init, after close
    cdef readonly Loop loop
    cdef EventEmitter owner            # whom callbacks go up to; None when there is none
    cdef const HandleCalls* calls      # how; valid while there is an owner
    cdef unsigned char closing
    cdef unsigned char requests        # kinds of the requests in flight, REQUEST_...
    # Of a stream handle, which has room for them here.
    cdef unsigned char _reading
    cdef unsigned char paused          # a listener that is not polled for a while
    cdef unsigned char pumps           # the owner takes the bytes out of the descriptor itself
    cdef unsigned char spent           # it has read its budget in this turn: SPENT...
    cdef unsigned char layered         # it calls a Layer, StreamHandle.lowest, and not its owner
    cdef unsigned char failed_accepts  # of a listener, in a row, up to 255

    cdef inline void own(self, EventEmitter owner, const HandleCalls* calls) noexcept:
        """Let callbacks go up to an owner from now on."""
        self.calls = calls
        self.owner = owner

    cdef void opened(self, uv.uv_handle_t* handle, Loop loop) noexcept
    cdef void note_origin(self) noexcept
    cdef void close(self) noexcept
    cdef void closed(self) noexcept

cdef enum:
    REQUEST_CONNECT = 1
    REQUEST_WRITE = 2                  # one at a time
    REQUEST_SHUTDOWN = 4

cdef class Request:
    cdef int kind                      # one of REQUEST_..., 0 for a lookup
    cdef uv.uv_req_t* _uv              # the leaf's embedded struct
    cdef Handle handle                 # kept alive while in flight; None for a lookup

    cdef inline void completed(self) noexcept:
        """The callback begins: its handle may have another request of this kind from now on."""
        self.handle.requests &= ~self.kind

    cdef void submitted(self) noexcept
    cdef void done(self) noexcept

cdef void handle_closed(uv.uv_handle_t* handle) noexcept nogil
