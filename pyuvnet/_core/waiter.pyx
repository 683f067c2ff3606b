"""Waiter: a future whose waiting task goes on inside the callback of ours that settled it.

An asyncio.Future wakes its task in asyncio's next round, which is after the rest of our loop's
turn: after 'close', where Node resumes before it (a promise's continuation follows the tick queue
of the same callback).  asyncio lets any object with `_asyncio_future_blocking` be a future, so this
one calls the task's wakeup from our loop instead, when its ticks are done.

Imports: the loop, for its ticks.  asyncio is imported with the first Waiter.
"""

cimport cython
from cpython.contextvars cimport PyContext_Enter, PyContext_Exit

from .capi cimport PyObject_CallNoArgs, PyObject_CallOneArg
from .loop cimport Loop, loop_of_thread

cdef object _running_loop = None       # asyncio.get_running_loop


@cython.freelist(8)
cdef class Waiter:
    """Something to await, settled by set_result() or set_exception().

    Args:
        leave: called once when it is settled or cancelled, before anybody who waits is woken.

    Raises: RuntimeError if no asyncio loop runs in this thread.
    """

    def __init__(self, leave=None):
        _prepare(self, loop_of_thread())
        self._leave = leave

    def get_loop(self):
        """The asyncio loop whose tasks may wait."""
        return self._loop

    def done(self):
        """True once settled or cancelled."""
        return self._done

    def cancelled(self):
        """True once cancelled."""
        return self._cancelled

    def set_result(self, result):
        """Settle it; settled already: no effect."""
        if not self._done:
            self._result = result
            self.settle()

    def set_exception(self, error):
        """Settle it with what who waits gets raised; settled already: no effect."""
        if not self._done:
            self._exception = error
            self.settle()

    cdef int settle(self) except -1:
        self._finish()
        if self._callback is not None:
            # When the ticks of this callback are done. Outside of one a turn of our loop is due,
            # which detach() may call off: asyncio wakes in that case.
            if not self._ours.in_callback or self._ours.waker is None:
                self._loop.call_soon(self)
            self._ours.continue_after_ticks(self)
        return 0

    def cancel(self, msg=None):
        """Give it up, as a task that waits does when it is cancelled."""
        if self._done:
            return False
        self._cancelled = True
        self._cancel_message = msg
        self._finish()
        self._loop.call_soon(self)
        return True

    def _finish(self):
        self._done = True
        leave, self._leave = self._leave, None
        if leave is not None:
            leave()

    def __call__(self):
        """Wake who waits, once."""
        cdef object callback = self._callback, context = self._context
        cdef list others = self._others
        self._callback = self._context = self._others = None
        if callback is not None:
            _wake(self, callback, context)
        if others is not None:
            for callback, context in others:
                _wake(self, callback, context)

    def add_done_callback(self, callback, *, context=None):
        """Call callback(self) once it is settled."""
        if self._callback is None:
            self._callback, self._context = callback, context
        elif self._others is None:
            self._others = [(callback, context)]
        else:
            self._others.append((callback, context))
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
        if not self._done:
            self._asyncio_future_blocking = True
            yield self
        return self.result()

    def __iter__(self):
        return self.__await__()


cdef int _prepare(Waiter waiter, Loop ours) except -1:
    global _running_loop
    if _running_loop is None:
        from asyncio import get_running_loop
        _running_loop = get_running_loop
    waiter._loop = PyObject_CallNoArgs(_running_loop)
    waiter._ours = ours
    return 0


cdef Waiter new_waiter(Loop ours):
    """A waiter for a loop that is known to be this thread's."""
    cdef Waiter waiter = Waiter.__new__(Waiter)
    _prepare(waiter, ours)
    return waiter


cdef int _wake(Waiter waiter, object callback, object context) except -1:
    if context is None:
        PyObject_CallOneArg(callback, waiter)
        return 0
    PyContext_Enter(context)
    try:
        PyObject_CallOneArg(callback, waiter)
    finally:
        PyContext_Exit(context)
    return 0
