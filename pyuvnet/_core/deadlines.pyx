"""Deadlines: connections whose owners are called when something has not happened in time.

Owns: the heap of armed handles, of which the first is due at the time of one timer, and what the
limits of a connection are.  It calls due() of the handle's owner.  Imports layer and below.

An armed handle has a block of 32 bytes and a place in the heap, no more; what the connections of a
server have in common is one Limits object. Nothing is done for each chunk: a handle has counters
anyway, and is looked at from time to time, an eighth of a limit apart, to see whether they have
changed. So silence is noticed between the limit and an eighth more. Times are the low 32 bits of
the loop's own, whose differences survive.

A handle has a block exactly while it is in the heap, which keeps it alive. Its owner calls
stop_deadlines() before it closes it; one that was closed without is found by its next look.
"""

cimport cython
from cpython.mem cimport PyMem_RawFree, PyMem_RawRealloc, PyObject_Free, PyObject_Malloc, \
    PyObject_Realloc
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from libc.stdint cimport int32_t, uint32_t, uintptr_t
from libc.string cimport memset

from .._base.errors import DeadlineError

from . cimport uv
from .emitter cimport EventEmitter
from .errors cimport seal
from .layer cimport bytes_moved, owner_calls, unsent_bytes
from .loop cimport Loop
from .stream_handle cimport DEADLINE_ENDED, DEADLINE_READ_STOPPED, Deadlines, StreamHandle
from .timer cimport Timer

cdef extern from "sockopt.h":
    bint pyuvnet_has_unread(int fd) noexcept

cdef enum:
    NOWHERE = 0xFFFFFF                 # the place in the heap of who is not in it
    MOST_HANDLES = 0xFFFFFF
    FAR = 1 << 30                      # ms, after which a handle is looked at in any case
    PARTS = 8                          # looks in one limit

# Flags of a block, next to those of stream_handle.pxd.
cdef enum:
    HAS_DEADLINE = 1 << 2              # `at` counts.
    HEARD = 1 << 3                     # Something was received.
    RETIRING = 1 << 4                  # Its lifetime is over, since `born`.
    LONG = 1 << 5                      # It is a LongDeadlines.
    WRITE_WAITS = 1 << 6               # There was a queue at the last look: since `write_at`.

# What a queue or a rate needs besides.
cdef struct LongDeadlines:
    Deadlines block
    uint32_t write_at, write_taken     # when the kernel last took some of a queue
    uint32_t rate_at, rate_bytes       # the window of a rate


@cython.final
cdef class Limits:
    """The limits of a server's connections, or of one client."""

    def __init__(self, idle=0, first_byte=0, write=0, lifetime=0, rate_bytes=0, rate_ms=0):
        self.idle, self.first_byte, self.write, self.lifetime = idle, first_byte, write, lifetime
        self.rate_bytes, self.rate_ms = rate_bytes, rate_ms


cdef inline int32_t _left(uint32_t due, uint32_t now) noexcept:
    return <int32_t>(due - now)


cdef inline uint32_t _due_of(PyObject* handle) noexcept:
    return (<StreamHandle>handle).deadlines.due


cdef class DeadlineTimer(Timer):
    cdef int fire(self) except -1:
        return self.queue.fire()


cdef class DeadlineQueue(LoopPart):
    def __dealloc__(self):
        PyMem_RawFree(self.heap)

    cdef void forget(self) noexcept:
        """The loop is closing: nothing is armed any more."""
        cdef PyObject* handle
        while self.count:
            self.count -= 1
            handle = self.heap[self.count]
            _free(<StreamHandle>handle)
            self.loop.release(handle)
        self.timer.cancel()

    cdef uint32_t now(self) noexcept:
        return <uint32_t>uv.uv_now(&self.loop._uv)

    cdef void place(self, Py_ssize_t index, PyObject* handle) noexcept:
        cdef Deadlines* block = (<StreamHandle>handle).deadlines
        self.heap[index] = handle
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

    cdef int add(self, StreamHandle handle) except -1:
        """Take a handle in, which has a block; raises before anything has changed."""
        cdef PyObject** grown
        cdef Py_ssize_t size
        if self.count == self.size:
            # By an eighth: a place costs 9 bytes at the most.
            size = self.size + (self.size >> 3) + 16
            grown = NULL
            if size < MOST_HANDLES:
                grown = <PyObject**>PyMem_RawRealloc(self.heap, size * sizeof(PyObject*))
            if grown is NULL:
                raise MemoryError
            self.heap, self.size = grown, size
        Py_INCREF(handle)
        self.count += 1
        self.place(self.count - 1, <PyObject*>handle)
        self.sift_up(self.count - 1)
        return 0

    cdef void remove(self, StreamHandle handle) noexcept:
        cdef Py_ssize_t index = handle.deadlines.place >> 8
        self.count -= 1
        if index != self.count:
            self.place(index, self.heap[self.count])
            self.sift_up(index)
            self.sift_down((<StreamHandle>self.heap[index]).deadlines.place >> 8)
        # The timer may fire too early now, and is set anew then.
        self.loop.release(<PyObject*>handle)

    cdef int schedule(self) except -1:
        """Let the timer fire when the first handle is due, or before."""
        cdef int32_t left
        if not self.count:
            return 0
        left = max(_left(_due_of(self.heap[0]), self.now()), 0)
        if self.timer.index < 0 or self.timer.due > uv.uv_now(&self.loop._uv) + left:
            self.timer.start(left)
        return 0

    cdef int fire(self) except -1:
        """Look at who is due, and do what is due for the first that has something due."""
        cdef StreamHandle handle
        cdef EventEmitter owner
        cdef uint32_t now
        cdef Due due
        while self.count:
            handle = <StreamHandle>self.heap[0]
            now = self.now()
            if _left(handle.deadlines.due, now) > 0:
                break
            owner = handle.owner
            if owner is None or handle.closing:
                stop_deadlines(handle)
                continue
            due = _look(handle, now)
            self.sift_down(0)
            if due != DUE_NOTHING:
                try:
                    # The others do not have to wait for what the program does now.
                    self.schedule()
                except BaseException as exc:
                    self.loop.report(exc)
                try:
                    owner_calls(handle).due(owner, handle, due)
                except BaseException as exc:
                    self.loop.blame(exc, owner)
                    raise
                return 0
        return self.schedule()


cdef DeadlineQueue _queue_of(Loop loop):
    cdef DeadlineQueue queue
    cdef DeadlineTimer timer
    if loop.deadlines is None:
        queue = DeadlineQueue.__new__(DeadlineQueue)
        timer = DeadlineTimer.__new__(DeadlineTimer)
        # Making them may have run a finaliser, which armed a handle.
        if loop.deadlines is None:
            queue.loop = timer.loop = loop
            queue.timer = timer
            timer.queue = queue
            loop.deadlines = queue
    return <DeadlineQueue>loop.deadlines


cdef void _free(StreamHandle handle) noexcept:
    cdef Deadlines* block = handle.deadlines
    handle.deadlines = NULL
    Py_XDECREF(block.limits)
    PyObject_Free(block)


cdef int _block_of(StreamHandle handle) except -1:
    """Make the block of a handle that has none, and put it into the heap."""
    cdef DeadlineQueue queue = _queue_of(handle.loop)
    cdef Deadlines* block
    if handle.deadlines is not NULL:
        return 0
    block = <Deadlines*>PyObject_Malloc(sizeof(Deadlines))
    if block is NULL:
        raise MemoryError
    memset(block, 0, sizeof(Deadlines))
    uv.uv_update_time(&handle.loop._uv)
    block.born = block.active_at = queue.now()
    block.due = block.born + FAR
    block.place = <uint32_t>NOWHERE << 8
    block.activity = <uint32_t>bytes_moved(handle)
    handle.deadlines = block
    try:
        queue.add(handle)
    except BaseException:
        _free(handle)
        raise
    return 0


cdef LongDeadlines* _long(StreamHandle handle) noexcept:
    """The block of a handle with room for all; NULL without memory."""
    cdef void* grown
    if not handle.deadlines.place & LONG:
        grown = PyObject_Realloc(handle.deadlines, sizeof(LongDeadlines))
        if grown is NULL:
            return NULL
        handle.deadlines = <Deadlines*>grown
        handle.deadlines.place |= LONG
    return <LongDeadlines*>handle.deadlines


cdef int _bring_forward(StreamHandle handle) except -1:
    """Look at a handle when the present callback is over, and then when it says."""
    cdef DeadlineQueue queue = <DeadlineQueue>handle.loop.deadlines
    handle.deadlines.due = queue.now()
    queue.sift_up(handle.deadlines.place >> 8)
    return queue.schedule()


cdef int arm(StreamHandle handle, Limits limits) except -1:
    """Let limits count for a connection from now on; what fails leaves it without limits."""
    cdef bint fresh = handle.deadlines is NULL
    if handle.closing:
        return 0
    _block_of(handle)
    if limits.rate_ms and _long(handle) is NULL:
        if fresh:
            stop_deadlines(handle)
        raise MemoryError
    Py_INCREF(limits)
    Py_XDECREF(handle.deadlines.limits)
    handle.deadlines.limits = <PyObject*>limits
    handle.deadlines.born = handle.deadlines.active_at = <uint32_t>uv.uv_now(&handle.loop._uv)
    # The first look begins the window of a rate.
    handle.deadlines.place |= DEADLINE_READ_STOPPED
    try:
        return _bring_forward(handle)
    except BaseException:
        stop_deadlines(handle)
        raise


cdef int set_deadline(StreamHandle handle, uint32_t delay) except -1:
    """Let a deadline pass after so many ms, whatever comes or goes."""
    _block_of(handle)
    uv.uv_update_time(&handle.loop._uv)
    handle.deadlines.at = <uint32_t>uv.uv_now(&handle.loop._uv) + delay
    handle.deadlines.place |= HAS_DEADLINE
    return _bring_forward(handle)


cdef void counts_anew(StreamHandle handle) noexcept:
    """The bytes of a connection are about to be counted from 0 again, by another owner."""
    if handle.deadlines is not NULL and handle.bytes_in:
        handle.deadlines.place |= HEARD


cdef bint has_deadline(StreamHandle handle) noexcept:
    return handle.deadlines is not NULL and handle.deadlines.place & HAS_DEADLINE != 0


cdef void clear_deadline(StreamHandle handle) noexcept:
    if handle.deadlines is not NULL:
        handle.deadlines.place &= ~HAS_DEADLINE
        if handle.deadlines.limits is NULL:
            stop_deadlines(handle)


cdef void stop_deadlines(StreamHandle handle) noexcept:
    """Nothing is due for a handle any more."""
    if handle.deadlines is not NULL:
        (<DeadlineQueue>handle.loop.deadlines).remove(handle)
        _free(handle)


cdef void write_waits(StreamHandle handle) noexcept:
    """The kernel has not taken a write whole: look soon enough, from now on."""
    cdef Deadlines* block = handle.deadlines
    if block is NULL or block.limits is NULL or not (<Limits>block.limits).write:
        return
    try:
        _bring_forward(handle)
    except BaseException as exc:
        handle.loop.report(exc)


cdef bint _has_unread(StreamHandle handle) noexcept:
    return handle._reading and pyuvnet_has_unread(handle.fileno())


cdef uint32_t _lifetime(StreamHandle handle, Limits limits) noexcept:
    """The lifetime, with a jitter of a tenth: connections that came together go one by one."""
    cdef uint32_t mix = (<uint32_t>(<uintptr_t><PyObject*>handle >> 5) ^ handle.deadlines.born) \
        * <uint32_t>2654435761
    cdef int32_t thousandth = <int32_t>((mix >> 16) % 201) - 100
    return limits.lifetime + <uint32_t>(<long long>limits.lifetime * thousandth // 1000)


cdef inline uint32_t _sooner(uint32_t wait, int32_t left, uint32_t limit) noexcept:
    """When to look again: when `left` is over, and an eighth of the limit from now."""
    return min(wait, max(min(<uint32_t>left, limit // PARTS), <uint32_t>1))


cdef Due _look(StreamHandle handle, uint32_t now) noexcept:
    """Say what is due for a handle now, and when it is to be looked at again.

    Nothing of the program's runs.
    """
    cdef Deadlines* block = handle.deadlines
    cdef LongDeadlines* more
    cdef Limits limits
    cdef uint32_t wait = FAR, seen, taken
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
    if block.limits is NULL:
        return DUE_NOTHING
    limits = <Limits>block.limits
    if limits.first_byte and not block.place & (HEARD | RETIRING):
        left = _left(block.born + limits.first_byte, now)
        if handle.bytes_in or not handle.layered and pyuvnet_has_unread(handle.fileno()):
            block.place |= HEARD
        elif left <= 0 and pyuvnet_has_unread(handle.fileno()):
            # A layer will say what these are: a handshake, or bytes.
            wait = min(wait, max(limits.first_byte // PARTS, <uint32_t>1))
        elif left <= 0:
            return DUE_FIRST_BYTE
        else:
            wait = min(wait, <uint32_t>left)
    if limits.idle:
        seen = <uint32_t>bytes_moved(handle)
        left = _left(block.active_at + limits.idle, now)
        if seen != block.activity or left <= 0 and _has_unread(handle):
            block.activity = seen
            block.active_at = now
            left = limits.idle
        if left <= 0:
            return DUE_IDLE
        wait = _sooner(wait, left, limits.idle)
    queued = unsent_bytes(handle)
    if limits.write and queued:
        more = _long(handle)
        if more is not NULL:
            block = &more.block
            taken = <uint32_t>(handle.bytes_out - queued)
            if not block.place & WRITE_WAITS or more.write_taken != taken:
                block.place |= WRITE_WAITS
                more.write_taken = taken
                more.write_at = now
            left = _left(more.write_at + limits.write, now)
            if left <= 0:
                return DUE_WRITE
            wait = _sooner(wait, left, limits.write)
    else:
        block.place &= ~WRITE_WAITS
    if limits.lifetime:
        if not block.place & RETIRING:
            left = _left(block.born + _lifetime(handle, limits), now)
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
    if limits.rate_ms and not block.place & DEADLINE_ENDED:
        more = <LongDeadlines*>block
        if block.place & DEADLINE_READ_STOPPED or not handle._reading:
            # A window begins anew when reading does.
            if handle._reading:
                block.place &= ~DEADLINE_READ_STOPPED
            more.rate_at = now
            more.rate_bytes = <uint32_t>handle.bytes_in
        left = _left(more.rate_at + limits.rate_ms, now)
        if left <= 0:
            if <uint32_t>handle.bytes_in - more.rate_bytes < limits.rate_bytes \
                    and not _has_unread(handle):
                return DUE_RATE
            more.rate_at = now
            more.rate_bytes = <uint32_t>handle.bytes_in
            left = limits.rate_ms
        wait = min(wait, <uint32_t>left)
    block.due = now + wait
    return DUE_NOTHING


cdef object deadline_error(int due):
    """The error that ends a connection for which something is due."""
    if due == DUE_DEADLINE:
        return DeadlineError("The deadline of the socket has passed", "ERR_DEADLINE")
    if due == DUE_FIRST_BYTE:
        return DeadlineError("No data was received in time", "ERR_FIRST_BYTE_TIMEOUT")
    if due == DUE_IDLE:
        return DeadlineError("The socket was idle for too long", "ERR_SOCKET_IDLE")
    if due == DUE_WRITE:
        return DeadlineError("The peer did not read what was written in time", "ERR_WRITE_TIMEOUT")
    if due == DUE_RATE:
        return DeadlineError("The peer is sending too slowly", "ERR_TOO_SLOW")
    return DeadlineError("The socket has reached its maximum lifetime", "ERR_MAX_LIFETIME")


seal(DeadlineTimer)
seal(DeadlineQueue)
