"""ServerBase: the parts of a server in one class, and what each of them does in a tick.

From the bottom up, these are admission, acceptor, listener and shutdown: a chain of base classes.
Imports: shutdown and below.
"""

from .admission cimport TICK_LISTENING, TICK_LITERAL_RESOLVED, TICK_LOG_DROPS, TICK_OVERLOAD, \
    TICK_SERVER_CLOSE, TICK_SERVER_ERROR, TICK_TAKE_WAITING
from .emitter cimport ON_CLOSE, ON_ERROR, ON_LISTENING
from .shutdown cimport EndingServer


cdef class ServerBase(EndingServer):
    """The compiled part of Server."""

    cdef int _on_tick(self, int what, object argument) except -1:
        if what == TICK_LISTENING:
            # close() may have come first, in the same turn.
            if self._handle is not None:
                self._emit0(ON_LISTENING)
        elif what == TICK_SERVER_CLOSE:
            self._close_queued = False
            try:
                self._emit0(ON_CLOSE)
            finally:
                self._is_down()
        elif what == TICK_SERVER_ERROR:
            self._emit1(ON_ERROR, argument)
        elif what == TICK_LOG_DROPS:
            self._log_drops()
        elif what == TICK_LITERAL_RESOLVED:
            looked_up, address, family = argument
            if looked_up is self._looked_up:
                self._looked_up = None
                looked_up(None, [(address, family)])
        elif what == TICK_OVERLOAD:
            self._emit_overload()
        elif what == TICK_TAKE_WAITING:
            if self._handle is not None and not self._rests:
                self._accept_left(self._handle)
        return 0

    # ---- What Server and tls.Server override ---------------------------------------------------

    def _dress(self, handle):
        """Put TLS on the handle of a connection."""

    def _secure(self, socket, layer):
        """Begin the handshake of a connection.

        Args:
            layer: what _dress() added; None for a plain socket.
        """

    def _log_drops(self):
        """Log that a connection was dropped."""

    def _log_overload(self, count, scope, limit):
        """Log how many sockets a write budget has cost."""

    def _log_exhausted(self):
        """Log that clients wait because no descriptor is left."""

    def _is_down(self):
        """Called after 'close'."""

    def _end_logs(self):
        """Log what is still to be logged, and end the timers for it."""

    def _check_transfer(self):
        """Raise if the server cannot be transferred."""
