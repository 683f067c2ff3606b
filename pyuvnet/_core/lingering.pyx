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

A socket that destroys itself outside of such a block, as by destroy_soon(), is seen off: it closes
with the events of Node, and the connection stays with a Remains, which waits by the same rules.

Imports: socket_base and below, waiter, timer.
"""

cimport cython
from libc.stdint cimport uint64_t

from . cimport uv
from .emitter cimport ON_CLOSE, ON_END, ON_FINISH, EventEmitter, new_hidden
from .errors cimport seal
from .loop cimport Loop
from .owner cimport HandleCalls, raised_call, read_call, status_call, take_call
from .pipe cimport new_pipe
from .readable cimport r_read
from .socket_base cimport *
from .stream cimport *
from .stream_handle cimport StreamHandle, close_descriptor, duplicate
from .tcp cimport TCP, new_tcp
from .upcalls cimport later
from .waiter cimport new_waiter

cdef extern from "sockopt.h":
    bint pyuvnet_has_unread(int fd) noexcept

ctypedef void (*see_off_call)(object) noexcept

cdef enum:
    MOST_SEEN_OFF = 256                # at a time in a loop: they keep descriptors
    # All in ms.
    SILENCE = 1000
    MANNERS = 5000
    MOST = 30000
    FIRST_LOOK = 5
    ACKNOWLEDGED_WITHIN = 100          # a look at least so often at what is not acknowledged,
    ENDED_WITHIN = 250                 # and so often at whether the peer is silent


cdef class Patience(Timer):
    """How long a peer is waited for."""

    cdef bint is_over(self, StreamHandle handle, uint64_t read, bint ended) noexcept:
        """Whether the peer has everything and has ended, or has had its time.

        Else `_delay` says when to look again.

        read: how many bytes have come from it so far.
        """
        cdef uint64_t now = uv.uv_now(&handle.loop._uv)
        cdef Py_ssize_t unacknowledged = unacknowledged_by_peer(handle)
        if not self._began:
            self._began = self._moved = now
        if unacknowledged != self._unacknowledged or read != self._read:
            self._moved = now
        self._unacknowledged, self._read = unacknowledged, read
        if unacknowledged:
            self._settled = 0
            self._delay = min(self._delay * 2, <unsigned int>ACKNOWLEDGED_WITHIN) \
                if self._delay else FIRST_LOOK
        else:
            if ended:
                return True
            if not self._settled:
                self._settled = now
            self._delay = ENDED_WITHIN
        if now - self._began >= MOST or self._settled and now - self._settled >= MANNERS:
            return True
        if now - self._moved < SILENCE:
            return False
        if handle._reading and pyuvnet_has_unread(handle.fileno()):
            # The loop was busy, or stopped: what has come meanwhile is read next.
            self._moved = now
            return False
        return True


@cython.final
cdef class Lingering(Patience):
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
            if socket._handle is None and not socket._state & DESTROYED:
                # Another socket has its connection, and ends it.
                over = False
                return 0
            # Where nothing was written, there is nothing to lose.
            over = socket._state & DESTROYED or not socket._bytes_out() \
                or self.is_over(socket._handle, socket._bytes_in(),
                                socket._state & R_END_EMITTED != 0)
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


# ---- Without the socket --------------------------------------------------------------------------

@cython.final
cdef class Watch(Patience):
    """Closes the handle of a Remains when it is over."""

    cdef int fire(self) except -1:
        if self._handle is not None:
            if self.is_over(self._handle, self._got, False):
                self._handle.close()
            else:
                self.start(self._delay)
        return 0

    cdef object whose(self):
        return None if self._handle is None else self._handle.owner


@cython.final
cdef class Remains(EventEmitter):
    """The connection of a socket that is destroyed: reads and discards."""

    def __repr__(self):
        return "<the end of a connection>"


cdef bint _take_read(Remains self, const char* base, Py_ssize_t size) noexcept:
    self._watch._got += size
    return True


cdef int _read(Remains self, object handle, const char* base, Py_ssize_t size) except -1:
    self._watch._got += size
    return 0


cdef int _shut_down(Remains self, object handle, int status) except -1:
    return 0


cdef int _read_ended(Remains self, StreamHandle handle, int status) except -1:
    # Nothing more comes, and what has not left yet does so without us.
    handle.close()
    return 0


cdef void _read_raised(Remains self, object handle, object exc) noexcept:
    pass


cdef int _closed(Remains self, StreamHandle handle, int status) except -1:
    handle.loop.seen_off -= 1
    self._watch.cancel()
    self._watch._handle = None
    return 0


cdef HandleCalls REMAINS_CALLS
REMAINS_CALLS.take_read = <take_call><void*>_take_read
REMAINS_CALLS.read = <read_call><void*>_read
REMAINS_CALLS.pump = <status_call><void*>_read_ended
REMAINS_CALLS.read_ended = <status_call><void*>_read_ended
REMAINS_CALLS.read_raised = <raised_call><void*>_read_raised
REMAINS_CALLS.shut_down = <status_call><void*>_shut_down
REMAINS_CALLS.closed = <status_call><void*>_closed


cdef void _see_off(SocketBase socket) noexcept:
    """A socket is about to be closed: let what it has written arrive, and its end.

    Its events are Node's, its handle is closed, and the connection stays with a handle of its own
    on the same descriptor. Where that fails, the connection is closed as Node closes it.
    """
    cdef StreamHandle handle = socket._handle, kept = None
    cdef Loop loop = handle.loop
    cdef int fd
    if loop.seen_off >= MOST_SEEN_OFF or loop.silent or not pyuvnet_has_unread(handle.fileno()) \
            and not unacknowledged_by_peer(handle):
        return
    try:
        remains = Remains.__new__(Remains)
        watch = Watch.__new__(Watch)
        (<Watch>watch).loop = loop
        kept = new_tcp(loop) if isinstance(handle, TCP) else new_pipe(loop)
        fd = duplicate(handle)
        if fd < 0 or kept.open(fd) < 0:
            if fd >= 0:
                close_descriptor(fd)
            kept.close()
            return
        (<Remains>remains)._watch = watch
        (<Watch>watch)._handle = kept
        loop.seen_off += 1
        kept.own(<Remains>remains, &REMAINS_CALLS)
        if not uv.uv_has_ref(handle._uv):
            uv.uv_unref(kept._uv)
        if not socket._state & W_FINISHED and kept.shutdown() < 0 or kept.read_start() < 0:
            kept.close()
            return
        (<Watch>watch).start(FIRST_LOOK)
    except BaseException as exc:
        if kept is not None:
            kept.close()
        if not isinstance(exc, (MemoryError, OSError)):
            loop.report(exc)


def seen_off(Loop loop not None):
    """How many connections a loop still sees off, whose sockets are closed."""
    return loop.seen_off


later.see_off = <see_off_call><void*>_see_off

seal(Patience)
seal(Lingering)
seal(Watch)
seal(Remains)
