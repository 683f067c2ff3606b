"""Timers in milliseconds: one uv_timer_t for each loop, and a heap of what waits on it.

Owns: the order in which timers fire: by due time, then by when they were set.  Imports: loop,
loop_registry, handle, owner.  A timer costs no libuv handle of its own, so setting and clearing one
is cheap, and a fired one is ordinary garbage.  Idle timeouts of sockets only note the loop time of
each activity; the heap is touched when they expire, not for each chunk.
"""


from cpython.mem cimport PyMem_RawFree, PyMem_RawRealloc
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF

from .._base.errors import TimeoutOverflowWarning
from .._base.notation import notation
from .._base.validation import arg_type_error

from . cimport uv
from .capi cimport gate_close, pyuvnet_gate
from .errors cimport os_error, seal
from .handle cimport Handle
from .loop cimport Loop
from .names import add_node_names
from .emitter cimport EventEmitter
from .loop_registry cimport loop_for_new

MAX_TIMEOUT = 2147483647


cdef TimerQueue _queue_of(Loop loop):
    cdef TimerQueue queue
    if loop.timers is None:
        queue = TimerQueue.__new__(TimerQueue)
        # Making it may have run a finaliser, which set a timer.
        if loop.timers is None:
            status = uv.uv_timer_init(&loop._uv, &queue._timer)
            if status < 0:
                raise os_error(status, "uv_timer_init")
            loop.timers = queue
            uv.uv_unref(<uv.uv_handle_t*>&queue._timer)
            queue.opened(<uv.uv_handle_t*>&queue._timer, loop)
    return <TimerQueue>loop.timers


cdef inline bint _before(PyObject* a, PyObject* b) noexcept:
    cdef Timer left = <Timer>a
    cdef Timer right = <Timer>b
    return left.due < right.due or (left.due == right.due and left.order < right.order)


cdef void _on_timer_gil(uv.uv_timer_t* handle) noexcept:
    cdef TimerQueue queue = <TimerQueue>handle.data
    cdef Loop loop = queue.loop
    cdef uint64_t now = uv.uv_now(&loop._uv)
    cdef Timer timer
    # Timers set by these callbacks get a later order and are due after `now`, so this ends.
    while queue._count and loop.failure is None and not loop.stopping and not loop.silent:
        timer = <Timer>queue._heap[0]
        if timer.due > now:
            break
        loop.enter()
        if loop.measuring:
            loop.debugging.whose = timer.whose()
        timer.hold()
        queue.remove(timer)
        try:
            timer.fire()
        except BaseException as exc:
            loop.report_of(exc, timer.whose())
        # Its callback, or its owner, goes while the ticks of this callback are still to come.
        timer.release()
        timer = None
        loop.leave()
    queue.schedule()


cdef void _on_timer(uv.uv_timer_t* handle) noexcept nogil:
    gate_close(<pyuvnet_gate*>(<uv.uv_handle_t*>handle).loop.data)
    (<uv.uv_timer_cb><void*>_on_timer_gil)(handle)


cdef class TimerQueue(Handle):
    def __dealloc__(self):
        cdef Py_ssize_t index
        # None of them waits any more before the first finaliser runs, which may cancel another.
        for index in range(self._count):
            (<Timer>self._heap[index]).index = -1
        for index in range(self._count):
            (<Timer>self._heap[index]).release()
        PyMem_RawFree(self._heap)

    cdef void closed(self) noexcept:
        self.loop.timers = None
        Handle.closed(self)

    cdef void place(self, Py_ssize_t index, PyObject* timer) noexcept:
        self._heap[index] = timer
        (<Timer>timer).index = index

    cdef void sift_up(self, Py_ssize_t index) noexcept:
        cdef PyObject* moving = self._heap[index]
        cdef Py_ssize_t parent
        while index:
            parent = (index - 1) >> 1
            if not _before(moving, self._heap[parent]):
                break
            self.place(index, self._heap[parent])
            index = parent
        self.place(index, moving)

    cdef void sift_down(self, Py_ssize_t index) noexcept:
        cdef PyObject* moving = self._heap[index]
        cdef Py_ssize_t child
        while True:
            child = 2 * index + 1
            if child >= self._count:
                break
            if child + 1 < self._count and _before(self._heap[child + 1], self._heap[child]):
                child += 1
            if not _before(self._heap[child], moving):
                break
            self.place(index, self._heap[child])
            index = child
        self.place(index, moving)

    cdef int add(self, Timer timer) except -1:
        cdef PyObject** grown
        if self._count == self._size:
            grown = <PyObject**>PyMem_RawRealloc(
                self._heap, (2 * self._size or 16) * sizeof(PyObject*))
            if grown is NULL:
                raise MemoryError
            self._heap = grown
            self._size = 2 * self._size or 16
        self._order += 1
        timer.order = self._order
        timer.hold()
        self._count += 1
        self.place(self._count - 1, <PyObject*>timer)
        self.sift_up(self._count - 1)
        if timer.counted:
            self._counted += 1
            if self._counted == 1:
                uv.uv_ref(self._uv)
        if timer.index == 0:
            self.schedule()
        return 0

    cdef void remove(self, Timer timer) noexcept:
        """Take a waiting timer out; the caller holds its own reference."""
        cdef Py_ssize_t index = timer.index
        timer.index = -1
        self._count -= 1
        if index != self._count:
            self.place(index, self._heap[self._count])
            self.sift_up(index)
            self.sift_down(index)
        if timer.counted:
            self._counted -= 1
            if not self._counted and not self.closing:
                uv.uv_unref(self._uv)
        timer.release()

    cdef void schedule(self) noexcept:
        """Let the libuv timer wait for the first of the heap."""
        cdef uint64_t now, due
        if self.closing:
            return
        if not self._count:
            uv.uv_timer_stop(&self._timer)
            return
        now = uv.uv_now(&self.loop._uv)
        due = (<Timer>self._heap[0]).due
        uv.uv_timer_start(&self._timer, _on_timer, due - now if due > now else 0, 0)
        self.loop.touched()


cdef class Timer:
    """Something in the heap that waits for its time. Node: none"""

    def __cinit__(self, *args, **kwargs):
        self.index = -1

    cdef int start(self, uint64_t delay) except -1:
        """Wait (again) for delay ms from now."""
        cdef TimerQueue queue = _queue_of(self.loop)
        if self.index >= 0:
            queue.remove(self)
        # uv_now is cached: outside the loop, or after long work, it may be far behind.
        uv.uv_update_time(&self.loop._uv)
        self.due = uv.uv_now(&self.loop._uv) + delay
        return queue.add(self)

    cdef void cancel(self) noexcept:
        if self.index >= 0:
            (<TimerQueue>self.loop.timers).remove(self)

    cdef int fire(self) except -1:
        return 0

    cdef object whose(self):
        return None

    cdef void hold(self) noexcept:
        Py_INCREF(self)

    cdef void release(self) noexcept:
        self.loop.release(<PyObject*>self)

    cdef int set_counted(self, bint counted) except -1:
        cdef TimerQueue queue
        if self.counted == counted:
            return 0
        if self.index >= 0:
            queue = <TimerQueue>self.loop.timers
            queue._counted += 1 if counted else -1
            if counted and queue._counted == 1:
                uv.uv_ref(queue._uv)
            elif not queue._counted:
                uv.uv_unref(queue._uv)
        self.counted = counted
        return 0


cdef class Timeout(Timer):
    """What set_timeout() and set_interval() return.

    Node: timers.Timeout
    """

    cdef object _callback
    cdef tuple _arguments
    cdef uint64_t _delay
    cdef bint _repeat, _cleared

    cdef object whose(self):
        return self._callback

    cdef int fire(self) except -1:
        callback, arguments = self._callback, self._arguments
        try:
            callback(*arguments)
        finally:
            # An interval goes on after its callback, also when that raised.
            if self._repeat and not self._cleared and self.index < 0:
                self.start(self._delay)
        return 0

    def ref(self):
        """Keep the loop alive while it waits (the default). Node: timeout.ref()"""
        self.loop.check()
        self.set_counted(True)
        return self

    def unref(self):
        """Do not keep the loop alive. Node: timeout.unref()"""
        self.loop.check()
        self.set_counted(False)
        return self

    def has_ref(self):
        """Return True if it keeps the loop alive while it waits. Node: timeout.hasRef()"""
        return bool(self.counted)

    def refresh(self):
        """Start the wait anew, also when it has fired; a cleared one stays so.

        Node: timeout.refresh()
        """
        self.loop.check()
        if not self._cleared:
            self.start(self._delay)
        return self

    def close(self):
        """Cancel it; already fired or cancelled: no effect. Node: timeout.close()"""
        self.loop.check()
        self._cleared = True
        self.cancel()
        return self

    def __repr__(self):
        kind = "Interval" if self._repeat else "Timeout"
        state = "waiting" if self.index >= 0 else "idle"
        return f"<{kind} {self._delay} ms {state}>"


cdef Timeout _new_timeout(object callback, object ms, tuple arguments, bint repeat):
    cdef Timeout timeout
    cdef Loop loop = loop_for_new()
    loop.check()
    if not callable(callback):
        raise arg_type_error("callback", "function", callback)
    timeout = Timeout.__new__(Timeout)
    timeout.loop = loop
    timeout.counted = True
    timeout._callback = callback
    timeout._arguments = arguments
    timeout._repeat = repeat
    timeout._delay = _milliseconds(ms)
    timeout.start(timeout._delay)
    return timeout


cdef uint64_t _milliseconds(object ms) except? 0:
    """Node's rule: below 1, above 2**31 - 1, or no number at all is 1."""
    # Written so that NaN fails; an int may be larger than any float, and than Python prints.
    if isinstance(ms, bool) or not isinstance(ms, (int, float)) or not ms >= 1:
        return 1
    if ms > MAX_TIMEOUT:
        import warnings
        warnings.warn(
            f"{notation(ms)} does not fit into a 32-bit signed integer. Timeout duration was set "
            "to 1.", TimeoutOverflowWarning, stacklevel=1)
        return 1
    return int(ms)


def set_timeout(callback, ms=1, *args):
    """Call callback(*args) once, after ms milliseconds.

    Args:
        callback: a callable.
        ms: int or float, milliseconds, default 1; below 1, above 2147483647 (with a
            TimeoutOverflowWarning) or no number: 1.

    Returns: Timeout, with ref(), unref(), has_ref(), refresh(), close().
    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE).

    Node: setTimeout()
    """
    return _new_timeout(callback, ms, args, False)


def set_interval(callback, ms=1, *args):
    """Call callback(*args) every ms milliseconds; arguments as for set_timeout().

    Node: setInterval()
    """
    return _new_timeout(callback, ms, args, True)


def clear_timeout(timeout):
    """Cancel a timeout; no effect for None or for one that has fired.

    Args:
        timeout: Timeout; anything else is ignored.

    Node: clearTimeout()
    """
    if isinstance(timeout, Timeout):
        timeout.close()


def clear_interval(interval):
    """Cancel an interval; no effect for None or for a cancelled one.

    Args:
        interval: Timeout; anything else is ignored.

    Node: clearInterval()
    """
    clear_timeout(interval)


cdef IdleTimeout new_idle_timeout(EventEmitter owner, idle_call on_idle, Loop loop):
    cdef IdleTimeout timeout = IdleTimeout.__new__(IdleTimeout)
    timeout._owner = <PyObject*>owner
    timeout._on_idle = on_idle
    timeout.loop = loop
    return timeout


cdef class IdleTimeout(Timer):
    """Calls its owner when nothing happened for a while; never keeps the loop alive.

    Its owner holds it.  The other way round the reference is borrowed, or nothing but the cycle
    collector would free a socket; but while it waits, it keeps its owner alive, as in Node.
    """

    cdef void hold(self) noexcept:
        Py_INCREF(self)
        Py_INCREF(<object>self._owner)

    cdef void release(self) noexcept:
        cdef Loop loop = self.loop
        cdef PyObject* owner = self._owner
        # This object first, since the owner's last reference may be what holds it.
        loop.release(<PyObject*>self)
        loop.release(owner)

    cdef object whose(self):
        return <object>self._owner

    cdef int fire(self) except -1:
        cdef uint64_t now = uv.uv_now(&self.loop._uv)
        cdef EventEmitter owner = <EventEmitter>self._owner
        if self.last + self.delay > now:
            # There was activity since: wait for the rest.
            self.due = self.last + self.delay
            _queue_of(self.loop).add(self)
            return 0
        self.fired = True
        return self._on_idle(owner)

    cdef void rearm(self) noexcept:
        self.fired = False
        try:
            self.start(self.delay)
        except BaseException:
            # Out of memory in the middle of a read or write: the next activity tries again.
            self.fired = True


seal(TimerQueue)
seal(Timer)
seal(Timeout)
seal(IdleTimeout)
add_node_names(Timeout)
add_node_names(globals())
