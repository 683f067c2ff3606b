"""Deadlines: sockets that are destroyed when something has not happened in time.

Owns: the heap of armed sockets, of which the first is due at the time of one timer, and what a
socket's limits are.  Imports socket_base and below.

An armed socket has a block of 32 bytes and a place in the heap, no more; what the sockets of a
server have in common is one Limits object. Nothing is done for each chunk: a socket has counters
anyway, and is looked at from time to time, an eighth of a limit apart, to see whether they have
changed. So silence is noticed between the limit and an eighth more. Times are the low 32 bits of
the loop's own, whose differences survive.

A socket has a block exactly while it is in the heap, which keeps it alive.
"""

cimport cython
from cpython.mem cimport PyMem_RawFree, PyMem_RawRealloc, PyObject_Free, PyObject_Malloc
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from libc.stdint cimport int32_t, uint32_t, uint64_t, uintptr_t
from libc.string cimport memset

from .._base.errors import DeadlineError

from . cimport uv
from .capi cimport hold_collector, release_collector
from .errors cimport seal
from .loop cimport Loop
from .socket_base cimport DEADLINE_READ_STOPPED, SOCKET_CONNECTING, SOCKET_RESET, Deadlines, \
    SocketBase, SocketExtra
from .stream cimport DESTROYED, R_ENDED
from .tcp cimport TCP
from .timer cimport Timer
from .upcalls cimport later

cdef extern from "sockopt.h":
    bint pyuvnet_has_unread(int fd) noexcept

cdef enum:
    NOWHERE = 0xFFFFFF                 # the place in the heap of who is not in it
    MOST_SOCKETS = 0xFFFFFF
    FAR = 1 << 30                      # ms, after which a socket is looked at in any case
    PARTS = 8                          # looks in one limit
    IDLE_GRACE = 1000                  # ms, of a socket whose lifetime is over

# Flags of a block, next to DEADLINE_READ_STOPPED = 1.
cdef enum:
    HAS_DEADLINE = 1 << 1              # `at` counts.
    HEARD = 1 << 2                     # Something was received.
    RETIRING = 1 << 3                  # Its lifetime is over, since `born`.

cdef enum Due:
    DUE_NOTHING
    DUE_DEADLINE
    DUE_FIRST_BYTE
    DUE_IDLE
    DUE_WRITE
    DUE_RETIREMENT
    DUE_END
    DUE_LIFETIME
    DUE_RATE


@cython.final
cdef class Limits:
    """The limits of a server's sockets, or of one client."""

    def __init__(self, idle=0, first_byte=0, write=0, lifetime=0, rate_bytes=0, rate_ms=0):
        self.idle, self.first_byte, self.write, self.lifetime = idle, first_byte, write, lifetime
        self.rate_bytes, self.rate_ms = rate_bytes, rate_ms


cdef inline int32_t _left(uint32_t due, uint32_t now) noexcept:
    return <int32_t>(due - now)


cdef inline uint32_t _due_of(PyObject* socket) noexcept:
    return (<SocketBase>socket)._deadlines.due


cdef class DeadlineTimer(Timer):
    cdef int fire(self) except -1:
        return self.queue.fire()


cdef class DeadlineQueue(LoopPart):
    def __dealloc__(self):
        PyMem_RawFree(self.heap)

    cdef void forget(self) noexcept:
        """The loop is closing: nothing is armed any more."""
        cdef PyObject* socket
        while self.count:
            self.count -= 1
            socket = self.heap[self.count]
            _free((<SocketBase>socket))
            self.loop.release(socket)
        self.timer.cancel()

    cdef uint32_t now(self) noexcept:
        return <uint32_t>uv.uv_now(&self.loop._uv)

    cdef void place(self, Py_ssize_t index, PyObject* socket) noexcept:
        cdef Deadlines* block = (<SocketBase>socket)._deadlines
        self.heap[index] = socket
        block.place = <uint32_t>index << 8 | block.place & 0xFF

    cdef void sift_up(self, Py_ssize_t index) noexcept:
        cdef PyObject* moving = self.heap[index]
        cdef Py_ssize_t parent
        while index:
            parent = (index - 1) >> 1
            if _left(_due_of(moving), _due_of(self.heap[parent])) >= 0:
                break
            self.place(index, self.heap[parent])
            index = parent
        self.place(index, moving)

    cdef void sift_down(self, Py_ssize_t index) noexcept:
        cdef PyObject* moving = self.heap[index]
        cdef Py_ssize_t child
        while True:
            child = 2 * index + 1
            if child >= self.count:
                break
            if child + 1 < self.count \
                    and _left(_due_of(self.heap[child + 1]), _due_of(self.heap[child])) < 0:
                child += 1
            if _left(_due_of(self.heap[child]), _due_of(moving)) >= 0:
                break
            self.place(index, self.heap[child])
            index = child
        self.place(index, moving)

    cdef int add(self, SocketBase socket) except -1:
        """Take a socket in, which has a block; raises before anything has changed."""
        cdef PyObject** grown
        cdef Py_ssize_t size
        if self.count == self.size:
            # By an eighth: a place costs 9 bytes at the most.
            size = self.size + (self.size >> 3) + 16
            grown = NULL
            if size < MOST_SOCKETS:
                grown = <PyObject**>PyMem_RawRealloc(self.heap, size * sizeof(PyObject*))
            if grown is NULL:
                raise MemoryError
            self.heap, self.size = grown, size
        Py_INCREF(socket)
        self.count += 1
        self.place(self.count - 1, <PyObject*>socket)
        self.sift_up(self.count - 1)
        return 0

    cdef void remove(self, SocketBase socket) noexcept:
        cdef Py_ssize_t index = socket._deadlines.place >> 8
        self.count -= 1
        if index != self.count:
            self.place(index, self.heap[self.count])
            self.sift_up(index)
            self.sift_down((<SocketBase>self.heap[index])._deadlines.place >> 8)
        # The timer may fire too early now, and is set anew then.
        self.loop.release(<PyObject*>socket)

    cdef int schedule(self) except -1:
        """Let the timer fire when the first socket is due, or before."""
        cdef int32_t left
        if not self.count:
            return 0
        left = max(_left(_due_of(self.heap[0]), self.now()), 0)
        if self.timer.index < 0 or self.timer.due > uv.uv_now(&self.loop._uv) + left:
            self.timer.start(left)
        return 0

    cdef int fire(self) except -1:
        """Look at who is due, and do what is due for the first that has something due."""
        cdef SocketBase socket
        cdef uint32_t now
        cdef Due due
        while self.count:
            socket = <SocketBase>self.heap[0]
            now = self.now()
            if _left(socket._deadlines.due, now) > 0:
                break
            due = _look(socket, now)
            self.sift_down(0)
            if due != DUE_NOTHING:
                try:
                    # The others do not have to wait for what the program does now.
                    self.schedule()
                except BaseException as exc:
                    self.loop.report(exc)
                try:
                    _act(socket, due)
                except BaseException as exc:
                    self.loop.blame(exc, socket)
                    raise
                return 0
        return self.schedule()


cdef DeadlineQueue _queue_of(Loop loop):
    cdef DeadlineQueue queue
    cdef DeadlineTimer timer
    if loop.deadlines is None:
        queue = DeadlineQueue.__new__(DeadlineQueue)
        timer = DeadlineTimer.__new__(DeadlineTimer)
        # Making them may have run a finaliser, which armed a socket.
        if loop.deadlines is None:
            queue.loop = timer.loop = loop
            queue.timer = timer
            timer.queue = queue
            loop.deadlines = queue
    return <DeadlineQueue>loop.deadlines


cdef void _free(SocketBase socket) noexcept:
    cdef Deadlines* block = socket._deadlines
    socket._deadlines = NULL
    Py_XDECREF(block.limits)
    PyObject_Free(block)


cdef int _block_of(SocketBase socket) except -1:
    """Make the block of a socket that has none, and put it into the heap."""
    cdef DeadlineQueue queue = _queue_of(socket._loop)
    cdef Deadlines* block
    if socket._deadlines is not NULL:
        return 0
    block = <Deadlines*>PyObject_Malloc(sizeof(Deadlines))
    if block is NULL:
        raise MemoryError
    memset(block, 0, sizeof(Deadlines))
    uv.uv_update_time(&socket._loop._uv)
    block.born = block.active_at = queue.now()
    block.due = block.born + FAR
    block.place = <uint32_t>NOWHERE << 8
    block.activity = <uint32_t>socket._activity()
    socket._deadlines = block
    try:
        queue.add(socket)
    except BaseException:
        _free(socket)
        raise
    return 0


cdef int _bring_forward(SocketBase socket) except -1:
    """Look at a socket when the present callback is over, and then when it says."""
    cdef DeadlineQueue queue = <DeadlineQueue>socket._loop.deadlines
    socket._deadlines.due = queue.now()
    queue.sift_up(socket._deadlines.place >> 8)
    return queue.schedule()


cdef int arm(SocketBase socket, Limits limits) except -1:
    """Let limits count for a socket from now on; raises before anything has changed."""
    if limits.rate_ms:
        socket._own_also()
    if socket._state & DESTROYED:
        return 0
    _block_of(socket)
    Py_INCREF(limits)
    Py_XDECREF(socket._deadlines.limits)
    socket._deadlines.limits = <PyObject*>limits
    socket._deadlines.born = socket._deadlines.active_at = <uint32_t>uv.uv_now(&socket._loop._uv)
    # The first look begins the window of a rate.
    socket._deadlines.place |= DEADLINE_READ_STOPPED
    try:
        return _bring_forward(socket)
    except BaseException:
        _stop(socket)
        raise


def start_limits(SocketBase socket not None, Limits limits not None):
    """Let limits count from now on for a socket that neither a server nor connect() has made."""
    socket._ready()
    uv.uv_update_time(&socket._loop._uv)
    arm(socket, limits)


cdef int set_deadline(SocketBase socket, uint32_t delay, object error) except -1:
    """Destroy a socket after so many ms, with an error, or None for the usual one."""
    if error is not None or not socket._rare.shared:
        socket._own_also().deadline_error = error
    _block_of(socket)
    uv.uv_update_time(&socket._loop._uv)
    socket._deadlines.at = <uint32_t>uv.uv_now(&socket._loop._uv) + delay
    socket._deadlines.place |= HAS_DEADLINE
    return _bring_forward(socket)


cdef bint has_deadline(SocketBase socket) noexcept:
    return socket._deadlines is not NULL and socket._deadlines.place & HAS_DEADLINE != 0


cdef void clear_deadline(SocketBase socket) noexcept:
    if socket._deadlines is not NULL:
        socket._deadlines.place &= ~HAS_DEADLINE
        if socket._deadlines.limits is NULL:
            _stop(socket)


cdef void _stop(object of) noexcept:
    """Nothing is due for a socket any more."""
    cdef SocketBase socket = <SocketBase>of
    if socket._deadlines is not NULL:
        (<DeadlineQueue>socket._loop.deadlines).remove(socket)
        _free(socket)


cdef int move_deadlines(SocketBase source, SocketBase target) except -1:
    """Let what counts for a socket count for the one that has taken its connection."""
    cdef Deadlines* block = source._deadlines
    cdef Deadlines* its
    if block is NULL or target._state & DESTROYED:
        return 0
    if block.limits is not NULL and (<Limits>block.limits).rate_ms:
        target._own_also()
    _block_of(target)
    # Making it may have run a finaliser that destroyed either.
    block, its = source._deadlines, target._deadlines
    if block is NULL or its is NULL:
        return 0
    if its.limits is NULL and block.limits is not NULL:
        Py_INCREF(<object>block.limits)
        its.limits = block.limits
        its.born = block.born
        its.place |= block.place & (HEARD | RETIRING)
    if block.place & HAS_DEADLINE and not its.place & HAS_DEADLINE:
        its.at = block.at
        its.place |= HAS_DEADLINE
        target._own_also().deadline_error = source._also().deadline_error
    its.place |= DEADLINE_READ_STOPPED
    _stop(source)
    return _bring_forward(target)


cdef void _write_waits(object of) noexcept:
    """The kernel has not taken a write whole: look soon enough, from now on."""
    cdef SocketBase socket = <SocketBase>of
    cdef PyObject* limits = socket._deadlines.limits
    if limits is NULL or not (<Limits>limits).write:
        return
    try:
        _bring_forward(socket)
    except BaseException as exc:
        socket._loop.report(exc)


cdef bint _has_unread(SocketBase socket) noexcept:
    return socket._handle is not None and socket._handle._reading \
        and pyuvnet_has_unread(socket._handle.fileno())


cdef SocketExtra _extra(SocketBase socket):
    """Its SocketExtra, None without memory. Nothing of the program's runs."""
    cdef int held
    cdef SocketExtra rare = socket._also()
    if rare.shared:
        rare = None
        held = hold_collector()
        try:
            rare = socket._own_also()
        except MemoryError:
            pass
        finally:
            release_collector(held)
    return rare


cdef uint32_t _lifetime(Deadlines* block, Limits limits) noexcept:
    """The lifetime, with a jitter of a tenth: connections that came together go one by one."""
    cdef uint32_t mix = (<uint32_t>(<uintptr_t>block >> 5) ^ block.born) * <uint32_t>2654435761
    cdef int32_t thousandth = <int32_t>((mix >> 16) % 201) - 100
    return limits.lifetime + <uint32_t>(<long long>limits.lifetime * thousandth // 1000)


cdef inline uint32_t _sooner(uint32_t wait, int32_t left, uint32_t limit) noexcept:
    """When to look again: when `left` is over, and an eighth of the limit from now."""
    return min(wait, max(min(<uint32_t>left, limit // PARTS), <uint32_t>1))


cdef Due _look(SocketBase socket, uint32_t now) noexcept:
    """Say what is due for a socket now, and when it is to be looked at again.

    Nothing of the program's runs.
    """
    cdef Deadlines* block = socket._deadlines
    cdef Limits limits
    cdef SocketExtra rare
    cdef uint32_t wait = FAR, activity, taken
    cdef int32_t left
    cdef size_t queued
    if block.place & HAS_DEADLINE:
        left = _left(block.at, now)
        if left <= 0:
            block.place &= ~HAS_DEADLINE
            block.due = now + FAR
            return DUE_DEADLINE
        wait = left
    block.due = now + wait
    if block.limits is NULL or socket._handle is None \
            or socket._socket_flags & SOCKET_CONNECTING:
        return DUE_NOTHING
    limits = <Limits>block.limits
    if limits.first_byte and not block.place & (HEARD | RETIRING):
        left = _left(block.born + limits.first_byte, now)
        if socket._bytes_in() or not socket._handle.layered \
                and pyuvnet_has_unread(socket._handle.fileno()):
            block.place |= HEARD
        elif left <= 0 and pyuvnet_has_unread(socket._handle.fileno()):
            # A layer will say what these are: a handshake, or bytes.
            wait = min(wait, max(limits.first_byte // PARTS, <uint32_t>1))
        elif left <= 0:
            return DUE_FIRST_BYTE
        else:
            wait = min(wait, <uint32_t>left)
    if limits.idle:
        activity = <uint32_t>socket._activity()
        left = _left(block.active_at + limits.idle, now)
        if activity != block.activity or left <= 0 and _has_unread(socket):
            block.activity = activity
            block.active_at = now
            left = limits.idle
        if left <= 0:
            return DUE_IDLE
        wait = _sooner(wait, left, limits.idle)
    queued = socket._unsent()
    if limits.write and queued:
        rare = _extra(socket)
        if rare is not None:
            taken = <uint32_t>(socket._bytes_out() - queued)
            if not rare.write_waits or rare.write_taken != taken:
                rare.write_waits = True
                rare.write_taken = taken
                rare.write_at = now
            left = _left(rare.write_at + limits.write, now)
            if left <= 0:
                return DUE_WRITE
            wait = _sooner(wait, left, limits.write)
    elif not socket._rare.shared:
        socket._also().write_waits = False
    if limits.lifetime:
        if not block.place & RETIRING:
            left = _left(block.born + _lifetime(block, limits), now)
            if left <= 0:
                block.place |= RETIRING
                block.born = now
                block.due = now + 1
                return DUE_RETIREMENT
            wait = min(wait, <uint32_t>left)
        else:
            if _left(block.born + 2 * IDLE_GRACE, now) <= 0:
                return DUE_LIFETIME
            block.due = now + min(wait, <uint32_t>(IDLE_GRACE // PARTS))
            return DUE_END
    if limits.rate_ms and not socket._rare.shared and not socket._state & R_ENDED:
        rare = socket._also()
        if block.place & DEADLINE_READ_STOPPED or not socket._handle._reading:
            # A window begins anew when reading does.
            if socket._handle._reading:
                block.place &= ~DEADLINE_READ_STOPPED
            rare.rate_at = now
            rare.rate_bytes = <uint32_t>socket._bytes_in()
        left = _left(rare.rate_at + limits.rate_ms, now)
        if left <= 0:
            if <uint32_t>socket._bytes_in() - rare.rate_bytes < limits.rate_bytes \
                    and not _has_unread(socket):
                return DUE_RATE
            rare.rate_at = now
            rare.rate_bytes = <uint32_t>socket._bytes_in()
            left = limits.rate_ms
        wait = min(wait, <uint32_t>left)
    block.due = now + wait
    return DUE_NOTHING


cdef int _act(SocketBase socket, Due due) except -1:
    """Do what is due for a socket, which may run anything: the last thing in a callback."""
    cdef uint64_t again = 0
    error = None
    if due == DUE_RETIREMENT:
        return socket._begin_to_end()
    if due == DUE_END:
        socket._end_if_idle(uv.uv_now(&socket._loop._uv), IDLE_GRACE, &again)
        return 0
    if due == DUE_DEADLINE:
        if not socket._rare.shared:
            error, socket._also().deadline_error = socket._also().deadline_error, None
        if error is None:
            error = DeadlineError("The deadline of the socket has passed", "ERR_DEADLINE")
    elif due == DUE_FIRST_BYTE:
        error = DeadlineError("No data was received in time", "ERR_FIRST_BYTE_TIMEOUT")
    elif due == DUE_IDLE:
        error = DeadlineError("The socket was idle for too long", "ERR_SOCKET_IDLE")
    elif due == DUE_WRITE:
        error = DeadlineError("The peer did not read what was written in time", "ERR_WRITE_TIMEOUT")
        if isinstance(socket._handle, TCP):
            socket._socket_flags |= SOCKET_RESET
    elif due == DUE_LIFETIME:
        error = DeadlineError("The socket has reached its maximum lifetime", "ERR_MAX_LIFETIME")
    else:
        error = DeadlineError("The peer is sending too slowly", "ERR_TOO_SLOW")
    socket._destroy_with(error)
    return 0


later.stop_deadlines = _stop
later.write_waits = _write_waits
seal(DeadlineTimer)
seal(DeadlineQueue)
