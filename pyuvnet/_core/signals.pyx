"""Signals: a loop that runs in the main thread is woken by them, so that Ctrl-C ends it at once.

Owns: a pipe that Python's C signal handler writes to (signal.set_wakeup_fd()), and the uv_poll_t
that watches it.  Imports: declarations, errors, watchers.  The loop makes one when it first runs in
the main thread, gives it the callback, and closes it last.
"""

import _signal
import os
import sys

cimport cython
from cpython.exc cimport PyErr_CheckSignals

from . cimport uv
from .errors cimport os_error, seal
from .watchers cimport watch_room


cdef SignalWatch new_signal_watch(uv.uv_loop_t* loop):
    cdef SignalWatch made = SignalWatch.__new__(SignalWatch)
    cdef int status
    if sys.platform == "win32":
        # Only sockets can be polled there, and they are no descriptors: the objects stay.
        import socket
        ends = socket.socketpair()
        ends[1].setblocking(False)
        status = uv.uv_poll_init_socket(loop, &made._poll, ends[0].fileno())
    else:
        ends = os.pipe()
        os.set_blocking(ends[0], False)
        os.set_blocking(ends[1], False)
        status = watch_room(loop, ends[0]) or uv.uv_poll_init(loop, &made._poll, ends[0])
    made._ends = ends
    if status < 0:
        made.close()
        raise os_error(status, "uv_poll_init")
    # One of the loop's own helpers, which carry what the loop does.
    made._poll.data = loop.data
    return made


@cython.no_gc_clear    # a loop that is collected still has to close the ends
cdef class SignalWatch:
    cdef object start(self, uv.uv_poll_cb arrived):
        """Wake the poll on signals; returns what stop() has to restore, None: nothing."""
        uv.uv_poll_start(&self._poll, uv.UV_READABLE, arrived)
        uv.uv_unref(<uv.uv_handle_t*>&self._poll)
        try:
            end = self._ends[1]
            return _signal.set_wakeup_fd(
                end if isinstance(end, int) else end.fileno(), warn_on_full_buffer=False)
        except ValueError:
            # A subinterpreter, or no main thread of its own: signals are not ours then.
            pass
        return None

    cdef int stop(self, object restore) except -1:
        uv.uv_poll_stop(&self._poll)
        if restore is not None:
            _signal.set_wakeup_fd(restore)
        return 0

    cdef int run_handlers(self) except -1:
        """Run Python's signal handlers, KeyboardInterrupt's among them."""
        end = self._ends[0]
        try:
            if isinstance(end, int):
                os.read(end, 4096)
            else:
                end.recv(4096)
        except BlockingIOError:
            pass
        return PyErr_CheckSignals()

    cdef int close(self) except -1:
        """Close the pipe; the loop has closed the handle."""
        ends, self._ends = self._ends, None
        if ends is not None:
            for end in ends:
                if isinstance(end, int):
                    os.close(end)
                else:
                    end.close()
        return 0


seal(SignalWatch)
