"""Loop: a libuv loop, and the order in which user code runs in it.

Owns: uv_loop_t, its own helper handles, the tick queue, the read buffer, the gate to the GIL, and
what happens to exceptions of user code.  Above 800 lines, since leaving a callback takes ticks,
collected writes, releases and exceptions in turn, and all of them may begin anew what the others
have finished.  What only some loops need is a LoopPart in a module of its own.
Imports: declarations, emitter, owner, and the parts hidden_calls, debugging and signals.

Invariants:

* After every libuv callback that may have entered user code, and before the next one, the tick
  queue is emptied (first in, first out, ticks added meanwhile included); then the writes which
  were collected during the callback leave, one writev for each socket.
* Code of the program also runs where no call shows it: when the last reference to one of its
  objects is dropped, when Python evaluates anything (signal handlers; the collector, from 3.12 on),
  and, on 3.11, when a tracked object is made. So every operation of the core first brings all
  fields to their final state; a reference that it drops meanwhile goes to release(), which keeps it
  until the callback is over, or, outside of callbacks, until the next operation begins.
* The driver of this loop is woken with uv_async_send(), or when the turn is over, never by a call
  of Python's in the middle of an operation.
* The GIL is held while callbacks run.  It is given away only between prepare and the first
  callback after the poll (or check), so a callback costs no GIL traffic of its own.
* Only the thread that made a loop may use it; call_soon_threadsafe() is the one exception.
* An exception of user code stops the loop and comes out of run(), unless the handler takes it.
"""

import sys
from _collections import deque
from time import thread_time

cimport cython
from cpython.exc cimport PyErr_CheckSignals, PyErr_SetObject
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc, PyMem_RawRealloc
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_XDECREF, Py_XINCREF
from libc.stdint cimport uint64_t

from .._base.errors import StateError
from .._base.hints import without_our_frames
from .._base.validation import arg_type_error, validate_integer

from . cimport uv
from .capi cimport PyBytes_AS_STRING, PyErr_WriteUnraisable, PyObject_CallNoArgs, \
    PyThread_get_thread_ident, PyTypeObject, gate_close, gate_open, pyuvnet_new_large, \
    pyuvnet_sole, traverseproc, visitproc
from .debug cimport UVNET_DEBUG
from .debugging cimport TIME_BUCKETS, DebugMode, new_debug_mode
from .emitter cimport EventEmitter
from .errors cimport os_error, seal, state_error
from .hidden_calls cimport ENTRY, LEAVE, RELEASE, hidden_call
from .names import add_node_names
from .owner cimport Acceptor, Collector
from .shared cimport load, lock, made, make, store, unlock
from .signals cimport new_signal_watch
from .splice cimport pyuvnet_tube_close
from .upcalls cimport LOOP_UNDRIVEN, later, upcall

cdef extern from "backend.h":
    void pyuvnet_backend_wait(uv.uv_loop_t* loop) noexcept nogil

# What a closed loop has.
cdef object _no_calls = deque()

# The thread that imports this module.
cdef unsigned long _importing_thread = PyThread_get_thread_ident()

# asyncio's function, once asyncio is imported.
cdef PyObject* _get_running_loop = NULL

# Where the open loops are, for a fork, which concerns those of all threads. No references.
cdef set _open_loops = set()


cdef list open_loops():
    """All loops of the process that are not closed, those of a parent process included."""
    cdef list found = []
    for address in _open_loops:
        found.append(<Loop><PyObject*><size_t>address)
    return found


cdef Loop loop_from_uv(uv.uv_loop_t* loop):
    return <Loop>(<pyuvnet_gate*>loop.data).loop


def running_asyncio():
    """Return the asyncio loop that runs in this thread, or None, without importing asyncio."""
    cdef PyObject* function = made(&_get_running_loop)
    if function is NULL:
        # Of the package, since asyncio.events gets its final one late in its import.
        found = getattr(sys.modules.get("asyncio"), "_get_running_loop", None)
        if found is None:
            return None
        function = make(&_get_running_loop, found)
    return PyObject_CallNoArgs(<object>function)


cpdef bint in_main_thread():
    """Whether this is the main thread, as threading has it, without importing threading."""
    # Until it is imported: it takes the thread that imports it for the main one, so does this.
    threading = sys.modules.get("threading")
    if threading is None:
        return PyThread_get_thread_ident() == _importing_thread
    return threading.current_thread() is threading.main_thread()


cdef object _queue_full(Py_ssize_t most):
    return state_error("ERR_QUEUE_FULL", f"{most} calls from other threads are already waiting, "
                       "the limit of set_max_threadsafe_calls()")


cdef class Continuation:
    """What continue_with() takes without a call of Python's."""

    cdef int go_on(self) except -1:
        return 0


cdef class LoopPart:
    """What a module above keeps in a loop that uses it, made when it is first needed."""

    cdef void run(self, Loop loop) noexcept:
        """The check phase."""

    cdef void forget(self) noexcept:
        """The loop is closing: drop what waits, without needing memory."""


cdef void _finish_up(Loop self) noexcept:
    # A finaliser that ran between two callbacks may have left work, which nothing else would do
    # before the poll ends.
    if self.failure is None and not self.stopping:
        self.enter()
        self.leave()


cdef void _on_prepare_gil(uv.uv_prepare_t* handle) noexcept:
    # Borrowed, since this runs for each poll.
    cdef PyObject* loop = (<pyuvnet_gate*>handle.data).loop
    if (<Loop>loop).tick_count or (<Loop>loop).collected_count or (<Loop>loop).released_count:
        _finish_up(<Loop>loop)


cdef void _on_prepare(uv.uv_prepare_t* handle) noexcept nogil:
    (<uv.uv_prepare_cb><void*>_on_prepare_gil)(handle)
    if not (<pyuvnet_gate*>handle.data).keep:
        gate_open(<pyuvnet_gate*>handle.data)


cdef void _on_check_gil(uv.uv_check_t* handle) noexcept:
    cdef Loop self = loop_from_uv(handle.loop)
    # After stop() or an exception immediates wait for the next run().
    if self.immediates is not None and self.failure is None and not self.stopping:
        self.immediates.run(self)


cdef void _on_check(uv.uv_check_t* handle) noexcept nogil:
    gate_close(<pyuvnet_gate*>handle.data)
    (<uv.uv_check_cb><void*>_on_check_gil)(handle)


cdef enum:
    CALLS_PER_TURN = 1024              # from other threads: a millisecond, if they do little


cdef void _on_wake_gil(uv.uv_async_t* handle) noexcept:
    cdef Loop self = loop_from_uv(handle.loop)
    self.enter()
    _take_threadsafe_calls(self)
    self.leave()


cdef void _on_wake(uv.uv_async_t* handle) noexcept nogil:
    gate_close(<pyuvnet_gate*>handle.data)
    (<uv.uv_async_cb><void*>_on_wake_gil)(handle)


cdef void _take_threadsafe_calls(Loop self) noexcept:
    """Move what other threads asked for into the tick queue, up to a bound; the rest has to wait.

    Sockets and timers have their turn in between, however many calls the threads make.
    """
    cdef Py_ssize_t count = min(len(self.threadsafe_calls), CALLS_PER_TURN)
    cdef bint rest
    try:
        # One of them may have closed the loop, by a finaliser.
        while count and self.threadsafe_calls:
            if not self.reserve_ticks(1):
                raise MemoryError
            callback, arguments = self.threadsafe_calls.popleft()
            self.tick_call(callback, arguments)
            count -= 1
    except BaseException as exc:
        self.report(exc)
    if self.silent:
        return
    rest = bool(self.threadsafe_calls)
    if rest:
        uv.uv_async_send(&self._wake)
    if not self.driven:
        # The poll does not wait then. A thread that gets the GIL keeps it for some milliseconds, in
        # which the queue would grow.
        self.gate.keep = rest


cdef void _on_signal_gil(uv.uv_poll_t* handle, int status, int events) noexcept:
    cdef Loop self = loop_from_uv(handle.loop)
    self.enter()
    try:
        self.signals.run_handlers()
    except BaseException as exc:
        self.report(exc)
    self.leave()


cdef void _on_signal(uv.uv_poll_t* handle, int status, int events) noexcept nogil:
    gate_close(<pyuvnet_gate*>handle.data)
    (<uv.uv_poll_cb><void*>_on_signal_gil)(handle, status, events)


cdef void _close_on_walk(uv.uv_handle_t* handle, void* argument) noexcept:
    # Handle objects close themselves through the pin rule.
    if not uv.uv_is_closing(handle):
        later.close_handle(handle)


cdef void _count_on_walk(uv.uv_handle_t* handle, void* argument) noexcept:
    if handle.data != handle.loop.data:
        (<Py_ssize_t*>argument)[0] += 1


@cython.no_gc_clear    # __dealloc__ still needs the fields
cdef class Loop:
    """The event loop of one thread.

    Get it with pyuvnet.current_loop(); a program seldom needs it, since run(), stop() and the timer
    functions of the package act on it. Its attributes `running` and `closed` are bool.

    Node: none (Node's loop has no object)
    """

    def __cinit__(self):
        self.thread_id = PyThread_get_thread_ident()
        self.thread = this_thread()
        self.generation = fork_generation()
        self.closed = True
        self.at_entry = True
        self.gate.read_buffer = <char*>PyMem_RawMalloc(READ_BUFFER_SIZE)
        self.gate.read_size = READ_BUFFER_SIZE
        self.tick_size = 64
        self.ticks = <Tick*>PyMem_RawMalloc(self.tick_size * sizeof(Tick))
        if self.gate.read_buffer is NULL or self.ticks is NULL:
            raise MemoryError
        self.threadsafe_calls = deque()
        self.most_calls = -1
        self.no_server = Acceptor.__new__(Acceptor)
        self.made_at, self.cpu_before = uv.uv_hrtime(), thread_time()
        # All that may fail comes before there is something to close.
        _open_loops.add(<size_t><PyObject*>self)
        if sys.flags.dev_mode:
            self._set_debug(True)
        cdef int status = uv.uv_loop_init(&self._uv)
        if status < 0:
            raise os_error(status, "uv_loop_init")
        self.gate.loop = <PyObject*>self
        self._uv.data = &self.gate
        self._prepare.data = self._check.data = self._wake.data = &self.gate
        uv.uv_prepare_init(&self._uv, &self._prepare)
        uv.uv_check_init(&self._uv, &self._check)
        status = uv.uv_async_init(&self._uv, &self._wake, _on_wake)
        if status < 0:
            raise os_error(status, "uv_async_init")
        uv.uv_prepare_start(&self._prepare, _on_prepare)
        uv.uv_check_start(&self._check, _on_check)
        uv.uv_unref(<uv.uv_handle_t*>&self._prepare)
        uv.uv_unref(<uv.uv_handle_t*>&self._check)
        uv.uv_unref(<uv.uv_handle_t*>&self._wake)
        self.closed = False

    def __init__(self):
        """Without this Python would take, and ignore, any arguments."""

    def __dealloc__(self):
        # Open handles hold the loop, so only the loop's own helpers can be open here.  A stale
        # copy in a forked child is left alone: its descriptors belong to the parent.
        if not self.closed and self.generation == fork_generation():
            self._shut()
        _open_loops.discard(<size_t><PyObject*>self)
        self._forget_ticks()
        PyMem_RawFree(self.ticks)
        PyMem_RawFree(self.collected)
        PyMem_RawFree(self.released)
        PyMem_RawFree(self.gate.read_buffer)

    cdef bint renew_large(self) noexcept:
        """Have an unshared object for the next large read; False: there is none."""
        cdef PyObject* fresh
        if not pyuvnet_sole(<void*>self.large_chunk):
            self.gate.large = NULL
            self.large_chunk = None
            fresh = pyuvnet_new_large(LARGE_READ_SIZE)
            if fresh is NULL:
                return False
            self.large_chunk = <bytes>fresh
            Py_DECREF(<object>fresh)
            self.gate.large = PyBytes_AS_STRING(self.large_chunk)
            self.gate.large_size = LARGE_READ_SIZE
        return True

    cdef int _forget_ticks(self) noexcept:
        """Drop what the C arrays refer to, at the end or to break a cycle."""
        cdef Tick due
        cdef PyObject* owner
        while self.tick_count:
            due = self.ticks[self.tick_head]
            self.tick_head = (self.tick_head + 1) & (self.tick_size - 1)
            self.tick_count -= 1
            Py_XDECREF(due.target)
            Py_XDECREF(due.argument)
        while self.collected_count:
            self.collected_count -= 1
            owner = self.collected[self.collected_count]
            Py_DECREF(<object>owner)
        self.release_all()
        return 0

    cdef int admit(self) except -1:
        """check(), where it takes longer: refuse the caller, or do what has to come first."""
        if this_thread() != self.thread or self.generation != fork_generation() \
                or self.closed:
            return self.refuse()
        if self.in_callback:
            # What was dropped before is released when the callback is over, and the loop is turned.
            self.at_entry = False
            return 0
        if UVNET_DEBUG:
            hidden_call(ENTRY)
        self.release_all()
        if not self.running and not self.driven:
            self._check_undriven()
        self.at_entry = not (self.running or self.driven)
        # A finaliser, or the hook, may have closed the loop.
        if self.closed:
            return self.refuse()
        return 0

    cdef int refuse(self) except -1:
        if self.generation != fork_generation():
            raise StateError(
                "This object was created before os.fork() and belongs to the parent process; "
                "create a new one in the child", "ERR_FORKED")
        if self.closed or self.silent:
            raise StateError("The loop is closed", "ERR_LOOP_CLOSED")
        import threading
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        here = PyThread_get_thread_ident()
        raise StateError(
            f"This object belongs to the loop of thread {names.get(self.thread_id, 'ended')!r} "
            f"({self.thread_id}) and was used in thread {names.get(here, '?')!r} ({here}). Save "
            "loop = pyuvnet.current_loop() in its own thread, and call "
            "loop.call_soon_threadsafe(callback, *args) from others", "ERR_WRONG_THREAD")

    # ---- Ticks ---------------------------------------------------------------------------------

    cdef bint reserve_ticks(self, Py_ssize_t count) noexcept:
        """Make room, so that the next `count` ticks cannot fail; False: out of memory."""
        cdef Tick* grown
        cdef Py_ssize_t index
        while self.tick_count + count > self.tick_size:
            grown = <Tick*>PyMem_RawMalloc(2 * self.tick_size * sizeof(Tick))
            if grown is NULL:
                return False
            for index in range(self.tick_count):
                grown[index] = self.ticks[(self.tick_head + index) & (self.tick_size - 1)]
            PyMem_RawFree(self.ticks)
            self.ticks = grown
            self.tick_size *= 2
            self.tick_head = 0
        return True

    cdef int push_tick(self, PyObject* target, PyObject* argument, int what) except -1:
        cdef Tick* slot
        if self.tick_count == self.tick_size and not self.reserve_ticks(1):
            raise MemoryError
        slot = &self.ticks[(self.tick_head + self.tick_count) & (self.tick_size - 1)]
        Py_XINCREF(target)
        Py_XINCREF(argument)
        slot.target, slot.argument, slot.what = target, argument, what
        self.tick_count += 1
        if not self.in_callback:
            self.touched()
        return 0

    cdef int tick(self, EventEmitter target, int what, object argument) except -1:
        """Queue target._on_tick(what, argument)."""
        return self.push_tick(<PyObject*>target, <PyObject*>argument, what)

    cdef int tick_call(self, object callback, tuple arguments) except -1:
        """Queue callback(*arguments)."""
        return self.push_tick(<PyObject*>callback, <PyObject*>arguments, -1)

    def continue_after_ticks(self, callback):
        """Run callback() when the tick queue is empty: the continuation of an awaitable.

        Node: a promise's reaction (queueMicrotask())
        """
        self.check()
        self.continue_with(callback)

    cdef int continue_with(self, object continuation) except -1:
        """continue_after_ticks(), of a callable or a Continuation."""
        cdef list fresh
        if self.continuations is None:
            if not self.reserve_ticks(1):
                raise MemoryError
            fresh = []
            # Making the list may have run a finaliser.
            if self.continuations is None:
                self.push_tick(<PyObject*>self, NULL, -2)
                self.continuations = fresh
        self.continuations.append(continuation)
        return 0

    cdef int _continue(self) except -1:
        cdef list due
        if self.tick_count:
            # Behind the ticks that came meanwhile.
            return self.push_tick(<PyObject*>self, NULL, -2)
        due, self.continuations = self.continuations, None
        for continuation in due:
            try:
                if isinstance(continuation, Continuation):
                    (<Continuation>continuation).go_on()
                else:
                    continuation()
            except BaseException as exc:
                self.report(exc)
        return 0

    cdef list ticks_of(self, EventEmitter target):
        """The ticks that wait for an emitter, as (what, argument)."""
        cdef list found = []
        cdef Tick* due
        cdef Py_ssize_t index
        for index in range(self.tick_count):
            due = &self.ticks[(self.tick_head + index) & (self.tick_size - 1)]
            if due.what >= 0 and due.target == <PyObject*>target:
                found.append((due.what, <object>due.argument if due.argument is not NULL else None))
        return found

    cdef void forget(self, EventEmitter target, Collector stand_in) noexcept:
        """What goes to another loop leaves nothing here: no tick, no place among the collected.

        The caller has a reference to it. `stand_in` takes its place.
        """
        cdef Tick due
        cdef Py_ssize_t index, kept = 0
        for index in range(self.tick_count):
            due = self.ticks[(self.tick_head + index) & (self.tick_size - 1)]
            if due.what >= 0 and due.target == <PyObject*>target:
                self.release(due.argument)
                self.release(due.target)
            else:
                self.ticks[(self.tick_head + kept) & (self.tick_size - 1)] = due
                kept += 1
        self.tick_count = kept
        for index in range(self.collected_count):
            if self.collected[index] == <PyObject*>target:
                Py_INCREF(stand_in)
                self.collected[index] = <PyObject*>stand_in
                self.release(<PyObject*>target)

    # ---- What waits for the end of a callback --------------------------------------------------

    cdef bint grow_collected(self) noexcept:
        cdef PyObject** grown
        cdef Py_ssize_t size = 2 * self.collected_size or 64
        grown = <PyObject**>PyMem_RawRealloc(self.collected, size * sizeof(PyObject*))
        if grown is NULL:
            return False
        self.collected = grown
        self.collected_size = size
        return True

    cdef void push_released(self, PyObject* last) noexcept:
        """Keep a last reference until release_all()."""
        cdef PyObject** grown
        cdef Py_ssize_t size
        if self.released_head + self.released_count == self.released_size:
            size = 2 * self.released_size or 64
            grown = <PyObject**>PyMem_RawRealloc(self.released, size * sizeof(PyObject*))
            if grown is NULL:
                # An object that stays for ever is better than a finaliser in the middle of things.
                return
            self.released = grown
            self.released_size = size
        self.released[self.released_head + self.released_count] = last
        self.released_count += 1
        if not self.in_callback:
            self.at_entry = True
            self.touched()

    cdef void release_all(self) noexcept:
        """Drop the references that operations released. Code of the program may run."""
        cdef PyObject* last
        while self.released_count:
            last = self.released[self.released_head]
            self.released_head += 1
            self.released_count -= 1
            if not self.released_count:
                self.released_head = 0
            if UVNET_DEBUG:
                hidden_call(RELEASE)
            Py_DECREF(<object>last)

    cdef void drain(self) noexcept:
        """Run queued ticks until none is left, or one of them fails for good."""
        cdef Tick due
        if self.measuring:
            self.note_time(None)
        while self.tick_count and self.failure is None:
            if self.released_count:
                # After a tick the program may use a buffer again.
                self.release_all()
                continue
            due = self.ticks[self.tick_head]
            self.tick_head = (self.tick_head + 1) & (self.tick_size - 1)
            self.tick_count -= 1
            if not self.silent:
                try:
                    if due.what >= 0:
                        (<EventEmitter>due.target)._on_tick(
                            due.what, <object>due.argument if due.argument is not NULL else None)
                    elif due.what == -2:
                        self._continue()
                    elif due.argument is NULL:
                        (<object>due.target)()
                    else:
                        (<object>due.target)(*<tuple>due.argument)
                except BaseException as exc:
                    self.report_of(exc, <object>due.target if due.what >= 0 else None)
            if self.measuring:
                self.note_time(<object>due.target)
            Py_XDECREF(due.target)
            Py_XDECREF(due.argument)

    cdef bint flush_only_one(self) noexcept:
        """after_callback() where one socket wrote and the kernel took all; False: not so."""
        cdef PyObject* owner = self.collected[0]
        cdef Py_ssize_t index
        if not (<Collector>owner)._flush_one():
            return False
        # The error of a write that failed may have run code that collected another socket's.
        self.collected_count -= 1
        for index in range(self.collected_count):
            self.collected[index] = self.collected[index + 1]
        self.release(owner)
        return not self.tick_count and not self.collected_count

    cdef void after_callback(self) noexcept:
        cdef Py_ssize_t index
        if UVNET_DEBUG:
            hidden_call(LEAVE)
        while True:
            self.drain()
            index = 0
            # A write that fails reports, and so may run code that collects again.
            while index < self.collected_count:
                try:
                    if not (<Collector>self.collected[index])._flush_one():
                        (<Collector>self.collected[index])._flush()
                except BaseException as exc:
                    self.report(exc)
                index += 1
            while self.collected_count:
                self.collected_count -= 1
                self.release(self.collected[self.collected_count])
            self.release_all()
            if not self.collected_count and (not self.tick_count or self.failure is not None):
                break

    cdef void blame(self, object exc, object whose) noexcept:
        """Remember which stream or server an exception came from, until it is reported.

        The first call counts, which is the nearest to the listener that raised.
        """
        if self.containment is not None and self.blamed_for is not exc:
            self.blamed, self.blamed_for = whose, exc

    cdef void report_of(self, object exc, object whose) noexcept:
        """Report what a listener or callback of a stream or server has raised."""
        self.blame(exc, whose)
        self.report(exc)

    cdef void report(self, object exc) noexcept:
        """The one path of exceptions out of user code: the handler, or out of run()."""
        cdef object handler = self.exception_handler
        cdef object containment = self.containment
        cdef object whose = self.blamed
        cdef object about = self.blamed_for
        if self.silent:
            if self.running:
                # A callback forked, and this is the child: what it raises ends its run().
                self.failure = exc
            return
        self.blamed = self.blamed_for = None
        if isinstance(exc, TypeError):
            try:
                without_our_frames(exc)
            except BaseException:
                # They say too much, which is no reason for another failure.
                pass
        if isinstance(exc, Exception) and (handler is not None or containment is not None):
            try:
                if handler is not None:
                    handler(exc)
                else:
                    containment(exc, whose if about is exc else None)
                exc = None
            except BaseException as again:
                exc = again
            if exc is None:
                return
        if self.failure is None:
            self.failure = exc
            uv.uv_stop(&self._uv)
        else:
            # One exception can come out of run(); a later one of the same batch is printed.
            PyErr_SetObject(type(exc), exc)
            PyErr_WriteUnraisable(self)

    # ---- Running -------------------------------------------------------------------------------

    cdef int _check_undriven(self) except -1:
        """An operation begins in a loop that does not run: asyncio may have to drive it."""
        cdef object theirs = running_asyncio()
        if theirs is not None:
            upcall(LOOP_UNDRIVEN)(self, theirs)
        elif not self._undriven_noted:
            upcall(LOOP_UNDRIVEN)(self, None)
            self._undriven_noted = True
        return 0

    cdef int used(self) except -1:
        """Something is made in this loop: if asyncio runs, it has to be the loop that drives."""
        cdef object theirs
        if self.running or self.driven and self.theirs is None:
            return 0
        theirs = running_asyncio()
        if theirs is not None and theirs is not self.theirs:
            upcall(LOOP_UNDRIVEN)(self, theirs)
            if self.closed:
                # With the asyncio loop that drove it before.
                return self.refuse()
        return 0

    cdef int look_after_driver(self) except -1:
        """See whether asyncio's loop that drives this one has closed, which may close this one too.
        """
        if not self.running and self.theirs is not None and running_asyncio() is not self.theirs \
                and self.theirs.is_closed():
            self.driver.ended()
        return 0

    cdef int _turn(self, uv.uv_run_mode mode) except -1:
        """One uv_run(), between ticks that were queued outside and those left over."""
        self._turned = True
        self.enter()
        _take_threadsafe_calls(self)
        self.after_callback()
        self.in_callback = False
        if self.failure is None and not self.stopping:
            uv.uv_run(&self._uv, mode)
            gate_close(&self.gate)
        return 0

    def run(self):
        """Run the loop until nothing keeps it alive, stop() is called, or user code raises.

        Raises: what a listener or callback raised; KeyboardInterrupt on Ctrl-C; StateError if
        the loop is already running, belongs to another thread, or is closed. It can be run again.

        Node: none (the process runs its loop)
        """
        self.check()
        if self.running:
            raise state_error("ERR_LOOP_RUNNING", "The loop is already running")
        self.look_after_driver()
        if self.closed:
            return
        if self.driven and self.driver.gone():
            # asyncio does not report that it stops.
            self.driver.stop()
        if self.driven:
            raise state_error(
                "ERR_LOOP_RUNNING",
                "asyncio drives this loop: await instead of calling run()")
        self.running = True
        self.stopping = False
        restore = None
        try:
            if in_main_thread():
                if self.signals is None:
                    self.signals = new_signal_watch(&self._uv)
                restore = self.signals.start(_on_signal)
            # A signal that came before it was watched wakes no poll.
            PyErr_CheckSignals()
            while True:
                self._turn(uv.UV_RUN_DEFAULT if self._clock is None else uv.UV_RUN_NOWAIT)
                if self.failure is not None or self.stopping:
                    break
                if not self.tick_count and not self.threadsafe_calls \
                        and not uv.uv_loop_alive(&self._uv):
                    break
                if self._clock is not None:
                    self._clock.wait()
        finally:
            self.running = False
            self.stopping = False
            self.at_entry = True
            if self.signals is not None:
                self.signals.stop(restore)
        if self.failure is not None:
            raise self._take_failure()

    def turn(self, planned=False):
        """Turn the loop once without waiting; for a loop that drives this one.

        Args:
            planned: bool, default False; True: the caller reads backend_timeout() afterwards.

        Raises: what user code raised.

        Node: none
        """
        self.check()
        if self.running:
            return
        self.running = True
        self.wake_due = False
        # The poll does not wait, so other threads need the GIL no more than at other times.
        self.gate.keep = True
        try:
            self._turn(uv.UV_RUN_NOWAIT)
        finally:
            self.gate.keep = False
            self.running = False
            self.stopping = False
            self.at_entry = True
            if self.wake_due and not planned and not self.closed:
                # The driver knows nothing of this turn.
                uv.uv_async_send(&self._wake)
        if self.failure is not None:
            raise self._take_failure()

    cdef object _take_failure(self):
        failure, self.failure = self.failure, None
        return failure

    def stop(self):
        """Make run() return after the current callback and its ticks; no effect outside of run().

        Node: none (process.exit() is the nearest)
        """
        self.check()
        if self.running:
            self.stopping = True
            uv.uv_stop(&self._uv)

    def set_driver(self, driver, theirs=None):
        """Let another loop drive this one, which then needs its turns. None ends that.

        The driver watches backend_fd(), which becomes readable when a turn is due, and asks
        backend_timeout() after each turn.

        Args:
            driver: its gone() says whether the other loop needs it no more; its stop(), called
                when this one closes, gives None here.
            theirs: the other loop, if it is asyncio's; default None.

        Node: none
        """
        self.check()
        # The driver decides when it ends: unref'd handles and timers work meanwhile.
        if driver is not None:
            uv.uv_ref(<uv.uv_handle_t*>&self._wake)
        else:
            uv.uv_unref(<uv.uv_handle_t*>&self._wake)
        self.driven = driver is not None
        self.wake_due = False
        self.at_entry = True
        self.driver, self.theirs = driver, theirs

    def _set_clock(self, clock):
        """Begin virtual time: run() calls clock.wait() after each turn, and never waits itself.

        The time is set by the module clock. None: end virtual time.
        """
        self.check()
        self._clock = clock

    def backend_fd(self):
        """Return the descriptor to watch for readability, -1 where there is none (Windows).

        Node: none
        """
        self.check()
        return uv.uv_backend_fd(&self._uv)

    def wait_for_io(self):
        """Wait until the loop has something to do, timers aside; from any thread, without the GIL.

        For a helper thread of the driver, which may turn the loop meanwhile. interrupt_wait() ends
        it; no thread may wait while the loop is closed.

        Node: none
        """
        with nogil:
            pyuvnet_backend_wait(&self._uv)

    def interrupt_wait(self):
        """End wait_for_io() in another thread. Node: none"""
        lock(&self.door)
        # As libuv closes the loop, its descriptor goes before the loop counts as closed.
        if not self.silent and not self.closed:
            uv.uv_async_send(&self._wake)
        unlock(&self.door)
        if self.closed:
            self.refuse()

    def backend_timeout(self):
        """Return the milliseconds until a timer is due; 0: turn now; -1: never. Node: none"""
        self.check()
        if self.wake_due or self.tick_count or self.collected_count or self.released_count \
                or self.threadsafe_calls:
            return 0
        return uv.uv_backend_timeout(&self._uv)

    def alive(self):
        """Return True while something keeps run() from returning. Node: none"""
        cdef bint alive
        if self.closed:
            return False
        if self.driven:
            uv.uv_unref(<uv.uv_handle_t*>&self._wake)
        alive = self.tick_count or self.threadsafe_calls or uv.uv_loop_alive(&self._uv)
        if self.driven:
            uv.uv_ref(<uv.uv_handle_t*>&self._wake)
        return alive

    def handle_count(self):
        """Return how many handles are open, closing ones included.

        The loop's own helpers and the one that all timers share do not count.

        Node: none
        """
        cdef Py_ssize_t count = 0
        if not self.closed and self.generation == fork_generation():
            self.check()
            uv.uv_walk(&self._uv, <uv.uv_walk_cb><void*>_count_on_walk, &count)
            if self.timers is not None:
                count -= 1
        return count

    # ---- For users -----------------------------------------------------------------------------

    def call_soon_threadsafe(self, callback, *args):
        """Run callback(*args) in this loop's thread, from any thread.

        Args:
            callback: a callable.

        Raises: ArgTypeError (ERR_INVALID_ARG_TYPE); StateError if the loop is closed or stale, or
            (ERR_QUEUE_FULL) if as many calls wait as set_max_threadsafe_calls() allows.

        Node: none (worker messages are the nearest)
        """
        if not callable(callback):
            raise arg_type_error("callback", "function", callback)
        cdef Py_ssize_t most = load(&self.most_calls)
        if not self._push((callback, args), most):
            raise _queue_full(most)

    cdef int check_door(self) except -1:
        """Raise if a call from another thread would be refused now."""
        cdef bint refused, full
        cdef Py_ssize_t most = load(&self.most_calls)
        lock(&self.door)
        refused = self.closed or self.silent or self.generation != fork_generation()
        full = not refused and 0 <= most <= len(self.threadsafe_calls)
        unlock(&self.door)
        if refused:
            return self.refuse()
        if full:
            raise _queue_full(most)
        return 0

    def set_max_threadsafe_calls(self, count):
        """Limit how many calls of call_soon_threadsafe() may wait; any thread may call this.

        Args:
            count: int >= 1, or None: no bound, the default.

        Raises: ArgTypeError (ERR_INVALID_ARG_TYPE), RangeError (ERR_OUT_OF_RANGE).

        Node: none
        """
        store(&self.most_calls, -1 if count is None else validate_integer(count, "count", 1))

    def _push_call(self, callback, args):
        """call_soon_threadsafe() of the library's own, without a bound."""
        self._push((callback, args), -1)

    cdef bint _push(self, tuple call, Py_ssize_t most) except -1:
        """Queue a call from any thread; False: as many as `most` wait already."""
        # The call was made before the check: that may start a collection, which may close the loop.
        cdef bint refused = False
        lock(&self.door)
        try:
            # Closing gives the GIL away while it waits for a lookup: the call would never run.
            refused = self.closed or self.silent or self.generation != fork_generation()
            if not refused:
                if most >= 0 and len(self.threadsafe_calls) >= most:
                    return False
                self.threadsafe_calls.append(call)
                uv.uv_async_send(&self._wake)
        finally:
            unlock(&self.door)
        if refused:
            self.refuse()
        return True

    def next_tick(self, callback, *args):
        """Run callback(*args) before the loop continues.

        Raises: ArgTypeError (ERR_INVALID_ARG_TYPE).

        Node: process.nextTick()
        """
        self.check()
        self.used()
        if not callable(callback):
            raise arg_type_error("callback", "function", callback)
        self.tick_call(callback, args)

    def set_immediate(self, callback, *args):
        """Run callback(*args) after this turn's I/O.

        Returns: Immediate.
        Raises: ArgTypeError (ERR_INVALID_ARG_TYPE).

        Node: setImmediate()
        """
        self.check()
        self.used()
        if not callable(callback):
            raise arg_type_error("callback", "function", callback)
        return later.set_immediate(self, callback, args)

    def set_exception_handler(self, handler):
        """Pass uncaught exceptions of listeners and callbacks to handler(exc); None: raise them.

        KeyboardInterrupt and SystemExit always propagate out of run().

        Raises: ArgTypeError (ERR_INVALID_ARG_TYPE).

        Node: process.on('uncaughtException')
        """
        self.check()
        if handler is not None and not callable(handler):
            raise arg_type_error("handler", "function", handler)
        self.exception_handler = handler

    def _contain(self, containment):
        """Pass what the handler would get, without one, to containment(exc, whose); None: to none.

        `whose`: the stream or server whose listener or callback raised; anything else: of neither.
        """
        self.check()
        self.containment = containment

    # ---- Debugging -----------------------------------------------------------------------------

    @property
    def debug(self):
        """True in debug mode, the default under `python -X dev`.

        It logs callbacks that take slow_callback_ms or longer ('pyuvnet' logger, WARNING), and
        warns (ResourceWarning) of sockets and servers that were never closed, with where they were
        opened, when the loop closes and when the interpreter ends. The TypeError of a listener that
        does not take what its event passes says where the listener was registered. Assigning
        affects what happens from then on.

        Node: none
        """
        return self.debugging is not None and self.debugging.origins is not None

    @debug.setter
    def debug(self, value):
        self.check()
        self._set_debug(bool(value))

    cdef DebugMode _debug_mode(self):
        if self.debugging is None:
            self.debugging = new_debug_mode()
        return self.debugging

    cdef int _set_debug(self, bint debug) except -1:
        self._debug_mode().switch(debug)
        self.measuring = self.debugging.needed()
        return 0

    def _measure(self, bint on):
        """Begin statistics of callbacks anew, or end them."""
        self.check()
        if on:
            # libuv has no way to undo it; it reads the clock twice for each poll.
            uv.uv_loop_configure(&self._uv, uv.UV_METRICS_IDLE_TIME)
        self._debug_mode().count(on, uv.uv_metrics_idle_time(&self._uv))
        self.measuring = self.debugging.needed()

    def _on_slow(self, double ms, function):
        """Let function(name, ms) be called for callbacks that took so long, or with None the log.

        ms: below 0: there are no more calls.
        """
        self.check()
        cdef DebugMode debugging = self._debug_mode()
        cdef list _before = debugging.watchers, watchers = None
        if ms >= 0:
            watchers = list(_before or ())
            watchers.append((int(ms * 1e6), function))
        debugging.watchers = watchers
        _log, debugging.log = debugging.log, None
        debugging.begin(None)
        self.measuring = debugging.needed()

    def _stats(self):
        """What stats() of the module loop shows: a dict by PEP 8 names."""
        cdef uv.uv_metrics_t metrics
        cdef DebugMode debugging = self.debugging
        cdef uint64_t passed, idle
        cdef int index
        self.check()
        uv.uv_metrics_info(&self._uv, &metrics)
        passed = uv.uv_hrtime() - self.made_at
        found = {
            "age_ms": passed / 1e6, "cpu_ms": (thread_time() - self.cpu_before) * 1e3,
            "turns": metrics.loop_count, "events": metrics.events,
            "events_waiting": metrics.events_waiting, "ticks": self.tick_count,
            "calls": len(self.threadsafe_calls), "lookups": len(self.lookups or ()),
            "tcp": self.open_handles[<int>uv.UV_TCP],
            "pipe": self.open_handles[<int>uv.UV_NAMED_PIPE],
            "measured_ms": None,
        }
        if debugging is not None and debugging.counting:
            passed = uv.uv_hrtime() - debugging.since
            idle = uv.uv_metrics_idle_time(&self._uv) - debugging.idle_before
            times = []
            for index in range(TIME_BUCKETS):
                times.append(debugging.times[index])
            found.update(
                measured_ms=passed / 1e6, idle_ms=idle / 1e6, busy_ms=debugging.busy / 1e6,
                longest_callback_ms=debugging.longest / 1e6, callback_times=times)
        return found

    @property
    def slow_callback_ms(self):
        """How long a callback may take before debug mode logs it, in ms, default 100.

        Takes an int or float from 0 to 2147483647.
        Raises: ArgTypeError (ERR_INVALID_ARG_TYPE), RangeError (ERR_OUT_OF_RANGE).

        Node: none
        """
        return self._debug_mode().slow / 1e6

    @slow_callback_ms.setter
    def slow_callback_ms(self, value):
        self.check()
        self._debug_mode().set_slow_ms(value)

    cdef void note_time(self, object whose) noexcept:
        """Measure what has run since the callback began, or since the last call."""
        if not self.silent:
            try:
                self.debugging.measure(self, whose)
            except BaseException as exc:
                self.report(exc)

    # ---- The end -------------------------------------------------------------------------------

    cdef int _shut(self) except -1:
        """Close every handle without calling user code, run dry, and close the loop."""
        try:
            if self.driver is not None:
                self.driver.stop()
            if self.measuring:
                later.warn_unclosed(self)
        finally:
            self._end()
        return 0

    cdef int _end(self) except -1:
        # The calls before this one, and each finaliser below, may close the loop too.
        if self.closed or self.silent:
            return 0
        cdef object _calls = self.threadsafe_calls      # released below
        # From here on no other thread adds one, or wakes this loop.
        lock(&self.door)
        self.silent = True
        # There may be no memory for a new one.
        self.threadsafe_calls = _no_calls
        unlock(&self.door)
        _calls = None
        self.measuring = False
        if self.debugging is not None:
            self.debugging.end()
        self.driven = False
        self.at_entry = True
        if self.immediates is not None:
            self.immediates.forget()
        if self.accepting is not None:
            self.accepting.forget()
        if self.deadlines is not None:
            self.deadlines.forget()
        self.exception_handler = self.failure = self.driver = self.theirs = None
        self.containment = self.blamed = self.blamed_for = None
        self.after_callback()
        while True:
            # What a finaliser opened meanwhile is closed as well.
            uv.uv_walk(&self._uv, <uv.uv_walk_cb><void*>_close_on_walk, NULL)
            if uv.uv_loop_close(&self._uv) != uv.UV_EBUSY:
                break
            # With the GIL, since libuv unlinks handles here: a thread that forks meanwhile would
            # take them, half unlinked, into the child, which walks them.
            uv.uv_run(&self._uv, uv.UV_RUN_NOWAIT)
            self.after_callback()
            if uv.uv_backend_timeout(&self._uv) != 0:
                # What is left are lookups, which the thread pool cannot break off: wait for them,
                # and let others run.
                with nogil:
                    pyuvnet_backend_wait(&self._uv)
        pyuvnet_tube_close(&self.tube)
        self.in_callback = False
        self.closed = True
        # What finalisers added meanwhile.
        _no_calls.clear()
        if self.signals is not None:
            self.signals.close()
        _open_loops.discard(<size_t><PyObject*>self)
        return 0

    def close(self):
        """Close every handle at once, calling no listener, and free the loop.

        Raises: StateError while it runs.

        Node: none
        """
        if self.closed or self.silent and self.generation == fork_generation():
            return
        self.check()
        if self.running:
            raise state_error("ERR_LOOP_RUNNING",
                              "A running loop cannot be closed; stop() it first")
        self._shut()

    def __repr__(self):
        state = "closed" if self.closed else "running" if self.running else "idle"
        if PyThread_get_thread_ident() == self.thread_id:
            state += f" handles={0 if self.closed else self.handle_count()}"
        return f"<Loop {state} thread={self.thread_id}>"


# ---- Garbage -------------------------------------------------------------------------------------

# Cython's, which knows the fields that are objects; the C arrays hold references too.
cdef traverseproc _visit_fields = (<PyTypeObject*><PyObject*>Loop).tp_traverse


cdef int _visit(PyObject* loop, visitproc visit, void* argument) noexcept:
    cdef Tick* tick
    cdef Py_ssize_t index
    cdef int stop = _visit_fields(loop, visit, argument)
    for index in range((<Loop>loop).tick_count):
        tick = &(<Loop>loop).ticks[((<Loop>loop).tick_head + index) & ((<Loop>loop).tick_size - 1)]
        if not stop and tick.target is not NULL:
            stop = visit(tick.target, argument)
        if not stop and tick.argument is not NULL:
            stop = visit(tick.argument, argument)
    for index in range((<Loop>loop).collected_count):
        if not stop:
            stop = visit((<Loop>loop).collected[index], argument)
    for index in range((<Loop>loop).released_count):
        if not stop:
            stop = visit((<Loop>loop).released[(<Loop>loop).released_head + index], argument)
    return stop


cdef int _clear(PyObject* loop) noexcept:
    # Breaks the cycles that go through ticks alone. The fields stay, since __dealloc__ needs them.
    return (<Loop>loop)._forget_ticks()


(<PyTypeObject*><PyObject*>Loop).tp_traverse = _visit
(<PyTypeObject*><PyObject*>Loop).tp_clear = _clear

seal(LoopPart)
add_node_names(Loop)
