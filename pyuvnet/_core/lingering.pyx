"""Lingering: the graceful end of a connection, at which nothing that was written is lost.

When a socket is closed while something in it is unread, or when more arrives afterwards, the kernel
sends RST: it discards what has not left, and what the peer has not read may be lost with it. A TLS
client has such bytes nearly always, since the session tickets of TLS 1.3 follow the handshake. So
a graceful end is: send, shut down, read on and discard, and close when the peer has acknowledged
everything and has ended as well.

A peer need not end. The wait for it is over

* after SILENCE without a byte from it or an acknowledgement, as after our close_notify;
* MANNERS after it has acknowledged everything, if it goes on sending regardless;
* after MOST in any case.

What is unacknowledged then may be lost: W_UNCONFIRMED says so, and `async with` raises it. The same
goes for a connection that fails meanwhile. The kernel tells neither of an acknowledgement, nor
whether the peer's program has read what its kernel has acknowledged; so this looks from time to
time. A unix socket has no such count: what is written is in the peer's queue at once, and is lost
only if that is closed, which is ECONNRESET here.

While this waits, W_LINGERS keeps the socket from destroying itself. destroy() does, at once.

Imports: socket_base and below, waiter, timer.
"""

cimport cython
from libc.stdint cimport uint64_t

from . cimport uv
from .emitter cimport ON_CLOSE, ON_END, ON_FINISH, new_hidden
from .errors cimport seal
from .readable cimport r_read
from .socket_base cimport *
from .stream cimport *
from .waiter cimport new_waiter

cdef extern from "sockopt.h":
    bint pyuvnet_has_unread(int fd) noexcept

cdef enum:
    # All in ms.
    SILENCE = 1000
    MANNERS = 5000
    MOST = 30000
    FIRST_LOOK = 5
    ACKNOWLEDGED_WITHIN = 100          # a look at least so often at what is not acknowledged,
    ENDED_WITHIN = 250                 # and so often at whether the peer is silent


@cython.final
cdef class Lingering(Timer):
    """Ends the life of a socket that is ended, or is about to be, and settles a waiter at 'close'.
    """

    def __call__(self, *_):
        """'finish', 'end' or 'close' was emitted."""
        if self._waiter._done:
            return
        if self._socket._state & DESTROYED:
            if not (<object>self._socket)._close_due:
                self._waiter.set_result(None)
        elif self._socket._state & W_FINISHED:
            self.look()

    cdef int fire(self) except -1:
        if self._socket._coroutines & W_LINGERS:
            self.look()
        return 0

    cdef object whose(self):
        return self._socket

    cdef int look(self) except -1:
        """Destroy the socket if it is over; else look again later."""
        cdef SocketBase socket = self._socket
        cdef bint over = True
        try:
            # Which may run code of the program.
            self._discard()
            over = socket._state & DESTROYED or self._is_over(uv.uv_now(&socket._loop._uv))
            if not over:
                self.start(self._delay)
        finally:
            # Without memory it ends, since nothing would look again.
            if over and not socket._state & DESTROYED:
                if self._unacknowledged:
                    socket._coroutines |= W_UNCONFIRMED
                (<object>socket).destroy()
        return 0

    cdef int _discard(self) except -1:
        """Let what comes be read, where the program does not."""
        cdef SocketBase socket = self._socket
        if socket._state & (DESTROYED | R_END_EMITTED):
            return 0
        if socket._state & R_LISTENING:
            if socket.r_length:
                r_read(socket, None)
        elif socket._flowing != FLOWING_YES and socket.r_reader is None and socket.r_pipes is None:
            (<object>socket).resume()
        return 0

    cdef bint _is_over(self, uint64_t now) noexcept:
        """Whether the peer has everything and has ended, or has had its time."""
        cdef SocketBase socket = self._socket
        cdef Py_ssize_t unacknowledged = socket._unacknowledged()
        if not self._began:
            if not socket._bytes_dispatched:
                # There is nothing to lose.
                self._unacknowledged = 0
                return True
            self._began = self._moved = now
        if unacknowledged != self._unacknowledged or socket._bytes_read != self._read:
            self._moved = now
        self._unacknowledged, self._read = unacknowledged, socket._bytes_read
        if unacknowledged:
            self._settled = 0
            self._delay = min(self._delay * 2, <unsigned int>ACKNOWLEDGED_WITHIN) \
                if self._delay else FIRST_LOOK
        else:
            if socket._state & R_END_EMITTED:
                return True
            if not self._settled:
                self._settled = now
            self._delay = ENDED_WITHIN
        if now - self._began >= MOST or self._settled and now - self._settled >= MANNERS:
            return True
        if now - self._moved < SILENCE:
            return False
        if socket._handle._reading and pyuvnet_has_unread(socket._handle.fileno()):
            # The loop was busy, or stopped: what has come meanwhile is read next.
            self._moved = now
            return False
        return True

    def leave(self):
        """Listen no more."""
        cdef SocketBase socket = self._socket
        listener, self._listener = self._listener, None
        self.cancel()
        if listener is not None:
            socket._coroutines &= ~W_LINGERS
            socket._remove(ON_FINISH, listener)
            socket._remove(ON_END, listener)
            socket._remove(ON_CLOSE, listener)


def linger(SocketBase socket not None):
    """Destroy a socket that is ended when its peer has everything and has ended, or had its time.

    Returns: what to await until its 'close'.
    """
    cdef Lingering lingering = Lingering.__new__(Lingering)
    cdef Waiter waiter
    socket._ready()
    waiter = new_waiter(socket._loop)
    lingering.loop = socket._loop
    # A handle that has read its peer's end would not.
    lingering.counted = True
    lingering._socket = socket
    lingering._waiter = waiter
    lingering._listener = new_hidden(lingering)
    waiter._leave = lingering.leave
    socket._coroutines |= W_LINGERS
    # In front of the program's, one of which may raise; but that of 'end' behind them, as what
    # destroys a socket whose both sides are over.
    socket._add(ON_FINISH, lingering._listener, True, False)
    socket._add(ON_END, lingering._listener, False, False)
    socket._add(ON_CLOSE, lingering._listener, True, False)
    if socket._state & W_FINISHED:
        lingering.look()
    return waiter


seal(Lingering)
