"""DescriptorWatch: calls back once, when a descriptor is readable, such as that of a process.

Owns: the descriptor, which is closed with the handle.  It keeps the loop alive until it has called,
or is closed.  Imports: handle and below.
"""

cimport cython

from . cimport uv
from .capi cimport gate_close, pyuvnet_gate
from .errors cimport os_error, seal
from .handle cimport Handle
from .loop cimport Loop
from .loop_registry cimport loop_for_new
from .watchers cimport watch_room


cdef extern from "sockopt.h":
    void pyuvnet_close_descriptor(int fd) noexcept


cdef void _on_readable_gil(uv.uv_poll_t* handle, int status, int events) noexcept:
    cdef DescriptorWatch self = <DescriptorWatch>handle.data
    cdef Loop loop = self.loop
    if self.closing or loop.silent:
        return
    callback, self._callback = self._callback, None
    self.close()
    loop.enter()
    try:
        if callback is not None:
            callback()
    except BaseException as exc:
        loop.report(exc)
    callback = None
    loop.leave()


cdef void _on_readable(uv.uv_poll_t* handle, int status, int events) noexcept nogil:
    gate_close(<pyuvnet_gate*>handle.loop.data)
    (<uv.uv_poll_cb><void*>_on_readable_gil)(handle, status, events)


@cython.no_gc_clear    # a loop that is collected still has to close the descriptor
cdef class DescriptorWatch(Handle):
    cdef uv.uv_poll_t _poll
    cdef int _fd
    cdef object _callback

    cdef void closed(self) noexcept:
        pyuvnet_close_descriptor(self._fd)
        self._fd = -1
        Handle.closed(self)

    def cancel(self):
        """Do not call back."""
        self.loop.check()
        _callback, self._callback = self._callback, None
        self.close()
        self.loop.touched()


def watch_descriptor(int fd, callback):
    """Call back once, when a descriptor is readable; it is taken over, unless this raises.

    Raises: OSError (syscall 'uv_poll_init').
    """
    cdef Loop loop = loop_for_new()
    cdef DescriptorWatch made = DescriptorWatch.__new__(DescriptorWatch)
    cdef int status = watch_room(&loop._uv, fd) or uv.uv_poll_init(&loop._uv, &made._poll, fd)
    if status < 0:
        raise os_error(status, "uv_poll_init")
    made._fd = fd
    made._callback = callback
    made.opened(<uv.uv_handle_t*>&made._poll, loop)
    uv.uv_poll_start(&made._poll, uv.UV_READABLE, _on_readable)
    loop.touched()
    return made


seal(DescriptorWatch)
