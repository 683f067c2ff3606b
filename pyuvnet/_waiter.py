"""Waiter: a future whose waiting task goes on inside the callback of ours that settled it.

An asyncio.Future wakes its task in asyncio's next round, which is after the rest of our loop's
turn: after 'close', where Node resumes before it (a promise's continuation follows the tick queue
of the same callback).  asyncio lets any object with `_asyncio_future_blocking` be a future, so this
one calls the task's wakeup from our loop instead, when its ticks are done.

Imports: the loop, for its ticks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ._core.loop import current_loop

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Generator
    from contextvars import Context

T = TypeVar("T")


def in_coroutine() -> bool:
    """Whether a coroutine of this thread's asyncio loop runs, which could await something."""
    import asyncio

    try:
        return asyncio.current_task() is not None
    except RuntimeError:
        return False


class Waiter(Generic[T]):
    """Something to await, settled by set_result() or set_exception().

    Args:
        leave: called once when it is settled or cancelled, before anybody who waits is woken.

    Raises: RuntimeError if no asyncio loop runs in this thread.
    """

    # asyncio's mark of a future, and its flag between `yield` and the task that takes it.
    _asyncio_future_blocking = False

    def __init__(self, leave: Callable[[], object] | None = None) -> None:
        import asyncio

        self._loop = asyncio.get_running_loop()
        self._ours = current_loop()
        self._leave = leave
        self._callbacks: list[tuple[Callable[[Any], object], Context | None]] = []
        self._done = self._cancelled = False
        self._result: T | None = None
        self._exception: BaseException | None = None
        self._cancel_message: object = None

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The asyncio loop whose tasks may wait."""
        return self._loop

    def done(self) -> bool:
        """True once settled or cancelled."""
        return self._done

    def cancelled(self) -> bool:
        """True once cancelled."""
        return self._cancelled

    def set_result(self, result: T) -> None:
        """Settle it; settled already: no effect."""
        if not self._done:
            self._result = result
            self._settle()
            self._wake_soon()

    def set_exception(self, error: BaseException) -> None:
        """Settle it with what who waits gets raised; settled already: no effect."""
        if not self._done:
            self._exception = error
            self._settle()
            self._wake_soon()

    def cancel(self, msg: object = None) -> bool:
        """Give it up, as a task that waits does when it is cancelled."""
        if self._done:
            return False
        self._cancelled = True
        self._cancel_message = msg
        self._settle()
        self._loop.call_soon(self._wake)
        return True

    def _settle(self) -> None:
        self._done = True
        leave, self._leave = self._leave, None
        if leave is not None:
            leave()

    def _wake_soon(self) -> None:
        # After all ticks of this callback. If our loop is not turned any more, asyncio does it.
        if self._callbacks:
            self._ours.continue_after_ticks(self._wake)
            self._loop.call_soon(self._wake)

    def _wake(self) -> None:
        callbacks, self._callbacks = self._callbacks, []
        for callback, context in callbacks:
            if context is None:
                callback(self)
            else:
                context.run(callback, self)

    def add_done_callback(
        self, callback: Callable[[Any], object], *, context: Context | None = None
    ) -> None:
        """Call callback(self) once it is settled."""
        self._callbacks.append((callback, context))
        if self._done:
            self._loop.call_soon(self._wake)

    def remove_done_callback(self, callback: Callable[[Any], object]) -> int:
        """Take a callback away; returns how often it was there."""
        kept = [entry for entry in self._callbacks if entry[0] != callback]
        removed = len(self._callbacks) - len(kept)
        self._callbacks = kept
        return removed

    def _make_cancelled_error(self) -> asyncio.CancelledError:
        import asyncio

        if self._cancel_message is None:
            return asyncio.CancelledError()
        return asyncio.CancelledError(self._cancel_message)

    def exception(self) -> BaseException | None:
        """The exception it was settled with, or None.

        Raises: CancelledError, asyncio.InvalidStateError.
        """
        import asyncio

        if self._cancelled:
            raise self._make_cancelled_error()
        if not self._done:
            raise asyncio.InvalidStateError("not settled yet")
        return self._exception

    def result(self) -> T:
        """The result. Raises: what it was settled with, CancelledError, InvalidStateError."""
        error = self.exception()
        if error is not None:
            raise error.with_traceback(error.__traceback__)
        return self._result  # type: ignore[return-value]

    def __await__(self) -> Generator[Any, None, T]:
        if not self._done:
            self._asyncio_future_blocking = True
            yield self
        return self.result()

    __iter__ = __await__
