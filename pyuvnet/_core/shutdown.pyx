"""Shutting down: the kernel's queue is accepted, and sockets are ended, or destroyed at last.

The steps, their timers and the signals are Python's, in pyuvnet/_server/shutdown.py; each step
walks the sockets here.  Imports: listener and below.
"""

from cpython.mem cimport PyMem_RawFree
from libc.stdint cimport UINT64_MAX, uint64_t
from libc.string cimport memset

from .._base.validation import arg_type_error

from . cimport uv
from .accepting cimport Arrivals, accept_all, listener_closed
from .address cimport PeerName
from .emitter cimport intern_event
from .listener cimport ListeningServer
from .names import add_node_names
from .socket_base cimport SocketBase
from .stream cimport DESTROYED, SERVER_DESTROYED
from .stream_handle cimport StreamHandle
from .tcp cimport TCP

cdef object _SHUTDOWN = intern_event("shutdown")


cdef class EndingServer(ListeningServer):
    """The part of a server that shuts down."""

    def _announce_shutdown(self):
        """Emit 'shutdown'; what a listener raises is reported like any exception of a listener."""
        self._ready()
        try:
            self._emit0(_SHUTDOWN)
        except BaseException as exc:
            self._loop.report_of(exc, self)

    def _accept_rest(self, bint accepts=True):
        """Accept the connections that wait in the kernel's queue, and close the listener.

        From now on the server waits for its connections to end, and emits 'shutdown' on each that
        comes late.

        Args:
            accepts: False to leave the queue alone, which another process accepts from.

        Returns how many connections could not be accepted.
        """
        cdef StreamHandle listener
        cdef Arrivals arrivals
        cdef PeerName here
        cdef Py_ssize_t index, lost = 0
        cdef int why
        cdef bint tcp
        self._ready()
        if self._moving is not NULL and accepts:
            # Clients also wait at a listener that is on its way to this loop.
            try:
                (<object>self._moving).land(self)
            except BaseException as exc:
                self._loop.report(exc)
        self._give_up_moving()
        self._ending = True
        self._shown_out = 0
        listener = self._handle
        if listener is None:
            return 0
        tcp = isinstance(listener, TCP)
        memset(&here, 0, sizeof(here))
        # The queue is emptied before any code of the program runs, so that the listener closes as
        # early as possible.
        self._handle = None
        if accepts:
            why = accept_all(listener, &arrivals)
        else:
            memset(&arrivals, 0, sizeof(arrivals))
            why = 0
            listener.close()
        listener.owner = None
        self._shown_out = -1
        try:
            listener_closed(listener)
            self._loop.touched()
            for index in range(arrivals.count):
                try:
                    if arrivals.items[index].fd < 0:
                        lost += 1
                        self._count_drop(why)
                        self._emit_drop(why, &here, &arrivals.items[index].peer)
                    else:
                        self._take_arrival(tcp, arrivals.items[index].fd,
                                           &arrivals.items[index].peer)
                except BaseException as exc:
                    self._loop.report(exc)
        finally:
            self._shown_out = 0
            PyMem_RawFree(arrivals.items)
        return lost

    def _begin_to_end(self):
        """Emit 'shutdown' on every open socket; returns how many there were."""
        cdef SocketBase socket
        cdef list sockets
        self._ready()
        sockets = self._open_sockets()
        uv.uv_update_time(&self._loop._uv)
        for socket in sockets:
            if not socket._state & DESTROYED:
                self._show_out(socket)
        self._shown_out = 1
        return len(sockets)

    def _came_late(self):
        """How many sockets have had 'shutdown' after the others."""
        return self._shown_out - 1 if self._ending and self._shown_out > 0 else 0

    def _end_idle(self, uint64_t grace):
        """End the idle sockets; returns in how many ms to look again, or -1 for never."""
        cdef SocketBase socket
        cdef uint64_t now, due = UINT64_MAX
        cdef bint again = self._awaiting > 0
        self._ready()
        now = uv.uv_now(&self._loop._uv)
        if again:
            due = now + grace
        for socket in self._open_sockets():
            try:
                if socket._end_if_idle(now, grace, &due):
                    again = True
            except BaseException as exc:
                self._loop.report(exc)
        if not again:
            return -1
        return due - now if due > now else 0

    def _cut_off(self):
        """Destroy everything that is left; returns how many sockets that was."""
        self._ready()
        self._end_headers()
        count = self._destroy_sockets(None, True)
        self.connections_left()
        return count

    def _close_if_down(self):
        """Have 'close' emitted in a tick if the shutdown has nothing left to wait for."""
        self._ready()
        self.connections_left()

    def _close_if_drained(self):
        """Have 'close' emitted in a tick if there is neither a handle nor a connection."""
        self._ready()
        if self._handle is None and not self._connections and not self._expects_more():
            self._queue_close()

    def destroy_sockets(self, error=None):
        """Destroy all open sockets of this server, which continues to listen.

        Args:
            error: an exception, or None: what destroy() of each socket gets.

        Returns the server. Events of each socket: 'error' (error) if one is given, 'close'.
        Raises: ArgTypeError (ERR_INVALID_ARG_TYPE).

        Node: none
        """
        self._ready()
        if error is not None and not isinstance(error, BaseException):
            raise arg_type_error("error", "Error", error)
        self._destroy_sockets(error)
        return self

    def _destroy_sockets(self, error=None, bint let_arrive=False):
        """Destroy the open sockets; returns how many.

        Args:
            let_arrive: True if writes that the kernel has taken are still to reach the peers.
        """
        cdef SocketBase socket
        cdef Py_ssize_t count = 0
        self._ready()
        for socket in self._open_sockets():
            # Destroying one runs code, such as listeners of an abort signal, that may destroy
            # another.
            if not socket._state & DESTROYED:
                count += 1
                socket._coroutines |= SERVER_DESTROYED
                try:
                    if let_arrive:
                        socket._let_arrive()
                    socket._destroy_with(error)
                except BaseException as exc:
                    self._loop.report(exc)
        return count


add_node_names(EndingServer)
