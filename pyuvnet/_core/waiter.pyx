"""Waiter: a future whose waiting task goes on inside the callback of ours that settled it.

An asyncio.Future wakes its task in asyncio's next round, which is after the rest of our loop's
turn: after 'close', where Node resumes before it (a promise's continuation follows the tick queue
of the same callback).  asyncio lets any object with `_asyncio_future_blocking` be a future, so this
one calls the task's wakeup from our loop instead, when its ticks are done.

Stepper: the coroutine of a task that we start, for a coroutine listener.  Most of what one does is
to wait for the same Waiter again, for the next chunk.  As long as that is all, asyncio is not
involved: the task goes on waiting for its Waiter, and the Stepper sends the coroutine on in the
task's context, as the current task.  Whatever else the coroutine does (waits for anything else,
ends, raises, was cancelled) is held for the task, which is woken in the ordinary way and takes it.

Imports: the loop, for its ticks.  asyncio is imported with the first Waiter.
"""

import sys

cimport cython
from cpython.contextvars cimport PyContext_Enter, PyContext_Exit
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF, Py_XDECREF
from libc.stdint cimport uint64_t

from . cimport uv
from .capi cimport PYGEN_NEXT, PYGEN_RETURN, PyErr_SetObject, PyIter_Send, PyObject_CallNoArgs, \
    PyObject_CallOneArg, pyuvnet_raised
from .debugging cimport note_slow
from .descriptors cimport set_iternext
from .errors cimport seal, state_error
from .loop cimport Continuation, Loop
from .loop_registry cimport loop_of_thread
from .shared cimport lock, made, make, pyuvnet_mutex, unlock

cdef PyObject* _running_loop = NULL    # asyncio.get_running_loop
cdef pyuvnet_mutex _door               # of the five below, which are set together, once
cdef object _enter_task = None         # asyncio's, for those who step tasks themselves
cdef object _leave_task = None
cdef object _current_task = None
cdef object _Task = None
cdef Waiter _over = None               # settled, for tasks that are woken to take what is held
cdef bint _EAGER = sys.version_info >= (3, 12)     # tasks may begin within another's step

cdef enum:
    NOTHING = 0
    YIELDED
    RETURNED
    RAISED


cdef class Waiter(Continuation):
    """Something to await, settled by set_result() or set_exception().

    Args:
        leave: called once when it is settled or cancelled, before anybody who waits is woken.

    Raises: RuntimeError if no asyncio loop runs in this thread.
    """

    def __init__(self, leave=None):
        if self._ours is not None:
            raise state_error("ERR_CONSTRUCTED_TWICE",
                              "Waiter.__init__() was called twice on the same object")
        _prepare(self, loop_of_thread())
        self._leave = leave

    cdef int _ready(self) except -1:
        if self._ours is None:
            raise state_error("ERR_NOT_CONSTRUCTED",
                              "Waiter.__init__() was not called; call super().__init__()")
        return 0

    def get_loop(self):
        """The asyncio loop whose tasks may wait."""
        self._ready()
        return self._loop

    def done(self):
        """True once settled or cancelled."""
        return self._done

    def cancelled(self):
        """True once cancelled."""
        return self._cancelled

    def set_result(self, result):
        """Settle it; settled already: no effect."""
        self._ready()
        if not self._done:
            self._result = result
            self.settle()

    def set_exception(self, error):
        """Settle it with what who waits gets raised; settled already: no effect."""
        self._ready()
        if not self._done:
            self._exception = error
            self.settle()

    cdef int settle(self) except -1:
        self._finish()
        if self._callback is not None or self._others is not None:
            # When the ticks of this callback are done. Outside of one a turn of our loop is due,
            # which detach() may call off: asyncio wakes in that case.
            if not self._ours.in_callback or not self._ours.driven:
                self._loop.call_soon(self)
            self._ours.check()
            self._ours.continue_with(self)
        return 0

    cdef bint may_step(self) noexcept:
        """Whether step_now() may settle it: one task waits, which goes on without asyncio."""
        return self._stepper is not None and self._callback is not None and self._others is None \
            and not self._done and not self._cancel_late

    cdef int step_now(self) except -1:
        """Settle it and let its task go on at once: at the end of a callback without ticks."""
        cdef Stepper stepper = self._stepper
        self._done = True
        self._stepper = None
        return stepper.resume(self)

    def cancel(self, msg=None):
        """Give it up, as a task that waits does when it is cancelled."""
        self._ready()
        if self._done or self._stepping:
            self._cancel_late = True
            self._cancel_message = msg
            return False
        self._cancelled = True
        self._cancel_message = msg
        self._finish()
        self._loop.call_soon(self)
        return True

    def _finish(self):
        self._ready()
        self._done = True
        leave, self._leave = self._leave, None
        if leave is not None:
            leave()

    def __call__(self):
        """Wake who waits, once."""
        self.go_on()

    cdef int go_on(self) except -1:
        cdef object callback = self._callback, context = self._context
        cdef list others = self._others
        cdef Stepper stepper = self._stepper
        if not self._done:
            # A task waits again already, for the next one.
            return 0
        self._stepper = None
        if stepper is not None and callback is not None and others is None \
                and not self._cancelled and not self._cancel_late:
            return stepper.resume(self)
        self._callback = self._context = self._others = None
        if callback is not None:
            _wake(self, callback, context, self._loop)
        if others is not None:
            for callback, context in others:
                _wake(self, callback, context, self._loop)
        return 0

    def add_done_callback(self, callback, *, context=None):
        """Call callback(self) once it is settled."""
        # Made first: on 3.11 that may run a finaliser, which adds another.
        cdef tuple entry = (callback, context)
        cdef list others = [entry]
        self._ready()
        if self._callback is None:
            self._callback, self._context = callback, context
        elif self._others is None:
            self._others = others
        else:
            self._others.append(entry)
        if self._done:
            self._loop.call_soon(self)

    def remove_done_callback(self, callback):
        """Take a callback away; returns how often it was there."""
        cdef list entries = [] if self._callback is None else [(self._callback, self._context)]
        entries += self._others or []
        kept = [entry for entry in entries if entry[0] != callback]
        self._callback, self._context = kept[0] if kept else (None, None)
        self._others = kept[1:] or None
        return len(entries) - len(kept)

    def _make_cancelled_error(self):
        from asyncio import CancelledError
        if self._cancel_message is None:
            return CancelledError()
        return CancelledError(self._cancel_message)

    def exception(self):
        """The exception it was settled with, or None.

        Raises: CancelledError, asyncio.InvalidStateError.
        """
        if self._cancelled:
            raise self._make_cancelled_error()
        if not self._done:
            from asyncio import InvalidStateError
            raise InvalidStateError("not settled yet")
        return self._exception

    def result(self):
        """The result. Raises: what it was settled with, CancelledError, InvalidStateError."""
        if self._exception is not None or self._cancelled or not self._done:
            raise self.exception()
        return self._result

    def __await__(self):
        cdef Waiting waiting
        self._ready()
        waiting = Waiting.__new__(Waiting)
        waiting._waiter = self
        return waiting

    def __iter__(self):
        return self.__await__()


cdef int raise_thrown(object kind, object value, object traceback) except -1:
    """Raise what a coroutine's throw() was given, in either of its forms."""
    if not isinstance(kind, type):
        raise kind
    if not isinstance(value, BaseException):
        value = kind() if value is None else kind(value)
    raise value.with_traceback(traceback)


@cython.final
@cython.freelist(8)
cdef class Waiting:
    """What awaiting a Waiter goes through: the waiter, unless it is settled, then its result.

    No generator: each of Cython's leaves a reference to their type behind.
    """

    def __iter__(self):
        return self

    def __next__(self):
        cdef Waiter waiter = self._waiter
        if waiter is None:
            raise StopIteration
        if not (self._handed_out or waiter._done):
            self._handed_out = True
            waiter._asyncio_future_blocking = True
            return waiter
        self._waiter = None
        raise StopIteration(waiter.result())

    def send(self, value):
        """Go on, as a coroutine."""
        return self.__next__()

    def throw(self, kind, value=None, traceback=None):
        """End the waiting with an exception, as a coroutine: the task was cancelled."""
        self._waiter = None
        raise_thrown(kind, value, traceback)

    def close(self):
        """End the waiting."""
        self._waiter = None


cdef int _prepare(Waiter waiter, Loop ours) except -1:
    cdef PyObject* function = made(&_running_loop)
    if function is NULL:
        from asyncio import get_running_loop
        function = make(&_running_loop, get_running_loop)
    waiter._loop = PyObject_CallNoArgs(<object>function)
    if waiter._loop is not ours.theirs:
        ours.used()
    waiter._ours = ours
    return 0


cdef Waiter new_waiter(Loop ours):
    """A waiter for a loop that is known to be this thread's."""
    cdef Waiter waiter = Waiter.__new__(Waiter)
    _prepare(waiter, ours)
    return waiter


cdef Waiter renewed(Waiter waiter, Loop ours):
    """A waiter to wait for once more: the same one, if its task goes on just now."""
    if waiter is None or not waiter._stepping or waiter._others is not None:
        return new_waiter(ours)
    if _EAGER and _current_task(waiter._loop) is not waiter._task:
        # A task that begins within another's step is another waiter.
        return new_waiter(ours)
    waiter._done = False
    waiter._result = waiter._exception = None
    return waiter


cdef int _wake(Waiter waiter, object callback, object context, object loop) except -1:
    cdef uint64_t began
    if waiter._ours is not None and waiter._ours.measuring:
        began = uv.uv_hrtime()
        try:
            return _wake_now(waiter, callback, context, loop)
        finally:
            # The task, if it is one.
            note_slow(getattr(callback, "__self__", callback), uv.uv_hrtime() - began)
    return _wake_now(waiter, callback, context, loop)


cdef int _wake_now(Waiter waiter, object callback, object context, object loop) except -1:
    try:
        if context is None:
            PyObject_CallOneArg(callback, waiter)
            return 0
        PyContext_Enter(context)
        try:
            PyObject_CallOneArg(callback, waiter)
        finally:
            PyContext_Exit(context)
    except RuntimeError:
        # No task can be stepped within the step of another one, which turns our loop by hand, nor
        # in a context that is entered already. One that still waits was not.
        if getattr(getattr(callback, "__self__", None), "_fut_waiter", None) is None:
            raise
        loop.call_soon(callback, waiter, context=context)
    return 0


cdef int _learn_asyncio() except -1:
    """Set what steps need, with the first Stepper."""
    global _enter_task, _leave_task, _current_task, _Task, _over
    cdef bint known
    lock(&_door)
    known = _Task is not None
    unlock(&_door)
    if known:
        return 0
    from asyncio.tasks import Task, _enter_task as enter, _leave_task as leave
    from asyncio.tasks import current_task
    cdef Waiter over = Waiter.__new__(Waiter)
    over._done = True
    lock(&_door)
    if _Task is None:
        _enter_task, _leave_task, _current_task, _over = enter, leave, current_task, over
        _Task = Task
    unlock(&_door)
    return 0


@cython.final
cdef class Stepper:
    """A coroutine for asyncio's create_task(), which does what the given one does.

    Call started() with the task: before that, every step is asyncio's.

    Args:
        coroutine: what it goes through.
        listening: its returned() is called as soon as the coroutine has returned, before the task
            learns of it.
    """

    def __init__(self, coroutine, listening=None):
        # It may be running: then this would be the last reference to it.
        if self.coroutine is not None:
            raise state_error("ERR_CONSTRUCTED_TWICE",
                              "Stepper.__init__() was called twice on the same object")
        self.coroutine = coroutine
        self._listening = listening

    def started(self, task):
        """Know the task, if it is asyncio's own; others are not ours to be stepped past."""
        _learn_asyncio()
        # A task factory may have put this into a task of its own, within the one it returns.
        if type(task) is _Task and task.get_coro() is self and not task.done():
            self._task, self._loop = task, task.get_loop()

    # ---- For asyncio -------------------------------------------------------------------------

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        return _stepped(self)

    def send(self, value):
        """The next step, by the task."""
        if self._cancel_error is not None or self._held or value is None:
            return _stepped(self)
        return self.note(self.coroutine.send(value))

    def throw(self, kind, value=None, traceback=None):
        """End what is waited for with an exception, by the task: it was cancelled, or that failed.

        If a step's outcome is held, it is cancelled as a task would cancel it.
        """
        cdef int held = self._held
        outcome, self._value = self._value, None
        self._held = NOTHING
        if self._cancel_error is not None:
            kind, value, traceback = self._cancel_error, None, None
            self._cancel_error = None
        if held == YIELDED:
            # None is asyncio's own, of sleep(0): there is nothing to cancel.
            if outcome is not None:
                if getattr(outcome, "_asyncio_future_blocking", None) is None \
                        or not outcome.cancel(*getattr(kind, "args", ())):
                    # It goes on to wait for that, and is cancelled afterwards.
                    self._cancel_error = kind if value is None else value
                return self.note(outcome)
        elif held:
            self._task = None
            if held == RAISED:
                raise outcome
            raise kind if value is None else value
        if value is None and traceback is None:
            return self.note(self.coroutine.throw(kind))
        return self.note(self.coroutine.throw(kind, value, traceback))

    def close(self):
        """End it."""
        self._held = NOTHING
        self._task = self._value = None
        self.coroutine.close()

    @property
    def __name__(self):
        return self.coroutine.__name__

    @property
    def __qualname__(self):
        return self.coroutine.__qualname__

    @property
    def cr_code(self):
        """The coroutine's, for tools that show tasks."""
        return self.coroutine.cr_code

    @property
    def cr_frame(self):
        """The coroutine's."""
        return self.coroutine.cr_frame

    @property
    def cr_running(self):
        """The coroutine's."""
        return self.coroutine.cr_running

    @property
    def cr_await(self):
        """The coroutine's."""
        return self.coroutine.cr_await

    # ---- Past asyncio ------------------------------------------------------------------------

    cdef object note(self, object yielded):
        """What the task is to wait for; a Waiter then knows which task to wake."""
        if self._task is not None and type(yielded) is Waiter:
            (<Waiter>yielded)._stepper = self
        return yielded

    cdef int resume(self, Waiter waiter) except -1:
        """The waiter is settled: take the next step, past asyncio if possible."""
        cdef object task = self._task, context = waiter._context, coroutine = self.coroutine
        cdef PyObject* outcome = NULL
        cdef int kind
        cdef uint64_t took = 0
        if task is None or context is None:
            return self.hand_over(waiter)
        try:
            _enter_task(self._loop, task)
            try:
                PyContext_Enter(context)
            except RuntimeError:
                # It is entered already, by what turns our loop.
                _leave_task(self._loop, task)
                raise
        except RuntimeError:
            # Or another task's step turns our loop by hand.
            task = None
        if task is None:
            return self.hand_over(waiter)
        waiter._stepping = True
        waiter._task = task
        if waiter._ours.measuring:
            took = uv.uv_hrtime()
            kind = PyIter_Send(coroutine, None, &outcome)
            took = uv.uv_hrtime() - took
        else:
            kind = PyIter_Send(coroutine, None, &outcome)
        if kind == PYGEN_NEXT:
            self._held, self._value = YIELDED, <object>outcome
        elif kind == PYGEN_RETURN:
            self._held, self._value = RETURNED, <object>outcome
        else:
            try:
                pyuvnet_raised()
            except BaseException as exc:
                self._held, self._value = RAISED, exc
        Py_XDECREF(outcome)
        PyContext_Exit(context)
        _leave_task(self._loop, task)
        if took:
            note_slow(task, took)
        waiter._stepping = False
        waiter._task = None
        if self._held != YIELDED or self._value is not waiter or waiter._done:
            return self.hand_over(waiter)
        self._held, self._value = NOTHING, None
        waiter._asyncio_future_blocking = False
        waiter._stepper = self
        if waiter._cancel_late:
            # As a task does that was cancelled while it ran, and waits again, unless it was taken
            # back by uncancel().
            waiter._cancel_late = False
            if task._must_cancel:
                waiter.cancel(waiter._cancel_message)
        return 0

    cdef int hand_over(self, Waiter waiter) except -1:
        """Let the task take what is held, and go on from there."""
        callback, context = waiter._callback, waiter._context
        waiter._callback = waiter._context = None
        waiter._cancel_late = False
        return _wake(_over, callback, context, self._loop)

    cdef int returned(self) except -1:
        listening, self._listening = self._listening, None
        if listening is not None:
            listening.returned()
        return 0

    cdef int take(self) except -1:
        """Raise what is held, unless it is something to wait for."""
        cdef int held = self._held
        if held == YIELDED:
            return 0
        outcome, self._value = self._value, None
        self._held = NOTHING
        self._task = None
        # No traceback is made for where this raises.
        if held == RETURNED:
            self.returned()
            outcome = StopIteration(outcome)
        PyErr_SetObject(type(outcome), outcome)
        return -1


cdef object _stepped(Stepper self):
    cdef PyObject* yielded = _next_step(<PyObject*>self)
    result = <object>yielded
    Py_DECREF(result)
    return result


cdef PyObject* _next_step(PyObject* stepper) except NULL:
    """Stepper.__next__, without a StopIteration for asyncio."""
    cdef Stepper self = <Stepper>stepper
    cdef object coroutine = self.coroutine
    cdef PyObject* outcome = NULL
    cdef int kind
    if self._cancel_error is not None:
        yielded = self.throw(None)
        Py_INCREF(yielded)
        return <PyObject*>yielded
    if self._held:
        self.take()
        self._held = NOTHING
        yielded, self._value = self._value, None
    else:
        kind = PyIter_Send(coroutine, None, &outcome)
        if kind == PYGEN_RETURN:
            self._task = None
            over = StopIteration(<object>outcome)
            Py_XDECREF(outcome)
            self.returned()
            PyErr_SetObject(StopIteration, over)
            return NULL
        if kind != PYGEN_NEXT:
            return NULL
        yielded = <object>outcome
        Py_XDECREF(outcome)
    self.note(yielded)
    Py_INCREF(yielded)
    return <PyObject*>yielded


set_iternext(Stepper, <void*>_next_step)


seal(Waiting)
