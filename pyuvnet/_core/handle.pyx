"""Handle and Request: who keeps what alive while libuv knows it.

Imports: declarations, debug, loop, owner.  The rule, for every handle:

* The leaf class embeds its uv struct; `_uv` points at it.  A successful uv_x_init is followed at
  once by opened(), which takes one reference on the object (the pin); the close callback drops
  it.  Nothing else does.  An open handle so keeps its owner alive, as in Node.
* Init failed: no pin, the object is dead.  __dealloc__ never calls libuv.
* close() is idempotent and the only way out.  After it no call on the handle but is_closing.
* In the close callback: forget the owner, call it, and drop the pin, last.

And for every request: pinned from a successful submit to its callback; meanwhile it holds its
handle and its buffers.  UV_ECANCELED is delivered like any status, never lost.
"""

cimport cython
from cpython.ref cimport Py_DECREF, Py_INCREF

from . cimport uv
from .capi cimport gate_close, pyuvnet_gate
from .debug cimport UVNET_DEBUG
from .errors cimport seal
from .loop cimport Loop
from .emitter cimport EventEmitter
from .shared cimport add, load
from .upcalls cimport later

# Live handles and requests in flight; counted in the debug build only.
cdef Py_ssize_t _handles = 0
cdef Py_ssize_t _requests = 0


def live_counts():
    """Return (handles, requests) that libuv knows of; always zeros unless built for debugging."""
    return load(&_handles), load(&_requests)


# An open handle is pinned, and so are all that it refers to; a closed one refers to its loop alone.
# There is nothing for the collector in either.
@cython.no_gc
cdef class Handle:
    cdef void opened(self, uv.uv_handle_t* handle, Loop loop) noexcept:
        """uv_x_init succeeded: take the pin."""
        self._uv = handle
        self.loop = loop
        self._uv.data = <void*>self
        Py_INCREF(self)
        loop.open_handles[<int>handle.type] += 1
        if UVNET_DEBUG:
            add(&_handles, 1)
        if self.loop.measuring:
            self.note_origin()

    cdef void note_origin(self) noexcept:
        # No caller could undo what made the handle, so a lack of memory costs the note only.
        try:
            self.loop.debugging.note_origin(self)
        except Exception:
            pass
        except BaseException as exc:
            self.loop.report(exc)

    cdef void close(self) noexcept:
        if self._uv is not NULL and not self.closing:
            self.closing = True
            uv.uv_close(self._uv, handle_closed)

    cdef void closed(self) noexcept:
        cdef EventEmitter owner = self.owner
        cdef Loop loop = self.loop
        cdef Py_ssize_t left
        loop.open_handles[<int>self._uv.type] -= 1
        self._uv = NULL
        self.owner = None
        if loop.measuring:
            loop.debugging.forget_origin(self)
        if UVNET_DEBUG:
            left = add(&_handles, -1)
            assert left >= 0
        if owner is not None and not loop.silent:
            try:
                self.calls.closed(owner, self, 0)
            except BaseException as exc:
                loop.report_of(exc, owner)
        # Before the callback ends, since what its finalisers queue has to run.
        owner = None
        Py_DECREF(self)

    def ref(self):
        """Let the handle keep the loop alive (the default)."""
        if self._uv is not NULL and not self.closing:
            uv.uv_ref(self._uv)

    def unref(self):
        """Do not let the handle keep the loop alive."""
        if self._uv is not NULL and not self.closing:
            uv.uv_unref(self._uv)


cdef void _handle_closed_gil(uv.uv_handle_t* handle) noexcept:
    cdef Handle self = <Handle>handle.data
    cdef Loop loop = self.loop
    loop.enter()
    self.closed()
    loop.leave()


cdef void handle_closed(uv.uv_handle_t* handle) noexcept nogil:
    gate_close(<pyuvnet_gate*>handle.loop.data)
    (<uv.uv_close_cb><void*>_handle_closed_gil)(handle)


cdef void _close_any(uv.uv_handle_t* handle) noexcept:
    # The loop's own helpers carry the gate instead of an object, and need no callback.
    if handle.data == handle.loop.data:
        uv.uv_close(handle, NULL)
    else:
        (<Handle>handle.data).close()


later.close_handle = _close_any


cdef class Request:
    cdef void submitted(self) noexcept:
        """libuv took the request: pin it until its callback."""
        self._uv.data = <void*>self
        if self.handle is not None:
            self.handle.requests |= self.kind
        Py_INCREF(self)
        if UVNET_DEBUG:
            add(&_requests, 1)

    cdef void done(self) noexcept:
        """The callback came: drop the pin, last."""
        cdef Py_ssize_t left
        if UVNET_DEBUG:
            left = add(&_requests, -1)
            assert left >= 0
        self.handle = None
        Py_DECREF(self)


seal(Handle)
seal(Request)
