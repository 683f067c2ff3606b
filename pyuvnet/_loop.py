"""The functions of this thread's loop, and the two ways to share the thread with asyncio.

A plain program calls run(). A program with coroutines calls run(main()), which lets a fresh
asyncio loop drive ours; one that runs asyncio (or uvloop) already calls attach(). Either way
asyncio waits, on libuv's backend descriptor and timeout, and ours is turned without waiting.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, TypeVar, overload

from ._core.emitter import set_awaitable_hook
from ._core.loop import Loop, current_loop
from .errors import StateError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Coroutine, Hashable

    from ._core.emitter import EventEmitter
    from ._core.loop import Immediate

T = TypeVar("T")


@overload
def run(main: None = None) -> None: ...
@overload
def run(main: Coroutine[Any, Any, T]) -> T: ...
def run(main: Coroutine[Any, Any, T] | None = None) -> T | None:
    """Turn this thread's loop until nothing keeps it alive, stop() was called, or code raised.

    Args:
        main: a coroutine; then asyncio runs it, drives our loop meanwhile, and its result is
            returned as soon as it is done.

    Python's signal handlers run at once, also in the middle of a listener: let them call
    next_tick(server.close), say, rather than close things under its feet.

    Raises: what a listener, a callback or the coroutine raised; KeyboardInterrupt on Ctrl-C;
        StateError (ERR_LOOP_RUNNING) if the loop runs already. It can be called again.

    Node: none (the process runs its loop)
    """
    if main is None:
        ours = current_loop()
        _drop_if_over(ours)
        ours.run()
        return None
    import asyncio

    async def attached() -> T:
        attach()
        try:
            return await main
        finally:
            detach()

    wrapped = attached()
    try:
        return asyncio.run(wrapped)
    finally:
        # Where it never began, nothing else tells Python that this was seen.
        wrapped.close()
        if inspect.iscoroutine(main):
            main.close()


def stop() -> None:
    """Let run() return after the current callback and its ticks; outside run(): no effect.

    Node: none (process.exit() is the nearest)
    """
    current_loop().stop()


def next_tick(callback: Callable[..., object], *args: Any) -> None:
    """Run callback(*args) after the current callback, before the loop goes on.

    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE).

    Node: process.nextTick()
    """
    current_loop().next_tick(callback, *args)


def set_immediate(callback: Callable[..., object], *args: Any) -> Immediate:
    """Run callback(*args) after this turn's I/O.

    Returns: Immediate, with ref(), unref(), has_ref(), close().
    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE).

    Node: setImmediate()
    """
    return current_loop().set_immediate(callback, *args)


def set_exception_handler(handler: Callable[[Exception], object] | None) -> None:
    """Give uncaught exceptions of listeners and callbacks to handler(exc); None: raise them.

    KeyboardInterrupt and SystemExit always come out of run().

    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE).

    Node: process.on('uncaughtException')
    """
    current_loop().set_exception_handler(handler)


# ---- asyncio -------------------------------------------------------------------------------------


class _Driver:
    """Lets one asyncio loop turn one of ours; made by attach()."""

    def __init__(self, ours: Loop, theirs: asyncio.AbstractEventLoop) -> None:
        self.ours = ours
        self.theirs = theirs
        self._fd = ours.backend_fd()
        self._timer: asyncio.TimerHandle | None = None
        self._turn_due = False
        self.over = False
        self.ours.set_waker(self.wake)
        if self._fd < 0:
            self.ours.set_waker(None)
            raise StateError(
                "attach() needs a descriptor to watch, which this system does not have",
                "ERR_NOT_SUPPORTED",
            )
        theirs.add_reader(self._fd, self.turn)
        self.wake()

    def wake(self) -> None:
        """Ask for a turn, once, soon: something changed outside our callbacks."""
        if self.theirs.is_closed():
            _drop_if_over(self.ours)
        elif not self._turn_due:
            self._turn_due = True
            self.theirs.call_soon(self.turn)

    def turn(self) -> None:
        """Turn our loop without waiting, then plan the next timer."""
        self._turn_due = False
        if self.over or self.ours.running:
            return
        if self.ours.closed:
            self.stop()
            return
        try:
            self.ours.turn()
        except Exception as error:
            self.theirs.call_exception_handler(
                {"message": "Unhandled exception in a pyuvnet listener", "exception": error}
            )
        finally:
            self._plan()

    def _plan(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        # A listener may have called detach().
        timeout = -1 if self.over else self.ours.backend_timeout()
        if timeout == 0:
            self.wake()
        elif timeout > 0:
            self._timer = self.theirs.call_later(timeout / 1000, self.turn)

    def stop(self) -> None:
        """Leave both loops to themselves."""
        self.over = True
        if _drivers.get(self.ours) is self:
            del _drivers[self.ours]
        if self._timer is not None:
            self._timer.cancel()
        if not self.theirs.is_closed():
            self.theirs.remove_reader(self._fd)
        if not self.ours.closed:
            self.ours.set_waker(None)


_drivers: dict[Loop, _Driver] = {}
_tasks: set[Any] = set()


def _drop_if_over(ours: Loop) -> None:
    """Forget an asyncio loop that ended without detach()."""
    driver = _drivers.get(ours)
    if driver is not None and driver.theirs.is_closed():
        driver.stop()


def attach() -> None:
    """Let the asyncio (or uvloop) loop that runs in this thread drive ours. Idempotent.

    Exceptions of listeners go to that loop's exception handler, unless set_exception_handler()
    takes them.

    Raises: RuntimeError if no asyncio loop runs here; StateError (ERR_LOOP_RUNNING) if ours runs
        by itself, or another asyncio loop drives it.

    Node: none
    """
    import asyncio

    theirs = asyncio.get_running_loop()
    ours = current_loop()
    _drop_if_over(ours)
    driver = _drivers.get(ours)
    if driver is not None:
        if driver.theirs is not theirs:
            raise StateError("Another asyncio loop drives this thread's loop", "ERR_LOOP_RUNNING")
        return
    if ours.running:
        raise StateError("The loop is running by itself already", "ERR_LOOP_RUNNING")
    _drivers[ours] = _Driver(ours, theirs)
    set_awaitable_hook(_run_listener)


def detach() -> None:
    """Undo attach(); without it: no effect. Node: none"""
    driver = _drivers.get(current_loop())
    if driver is not None:
        driver.stop()


def start_task(
    awaitable: Awaitable[Any],
    what: str,
    done: Callable[[BaseException | None, Any], object],
) -> asyncio.Task[Any]:
    """Run an awaitable as a task of asyncio's, kept alive until it is done.

    Args:
        awaitable: what a coroutine function returned.
        what: names that function, for the error.
        done: gets (error, None) or (None, result) in a tick of our loop; nothing if cancelled.

    Raises: StateError (ERR_NO_ASYNC_LOOP).
    """
    import asyncio

    async def waiter() -> Any:
        return await awaitable

    try:
        theirs = asyncio.get_running_loop()
    except RuntimeError:
        if inspect.iscoroutine(awaitable):
            awaitable.close()
        raise StateError(
            f"{what} is a coroutine function, and no asyncio loop runs now", "ERR_NO_ASYNC_LOOP"
        ) from None
    task = theirs.create_task(waiter())
    _tasks.add(task)

    def finish(finished: asyncio.Task[Any]) -> None:
        _tasks.discard(finished)
        if finished.cancelled():
            return
        error = finished.exception()
        result = None if error is not None else finished.result()
        ours = current_loop()
        if ours in _drivers:
            # In a later tick, from where the loop's own exception path takes over.
            ours.next_tick(done, error, result)
        else:
            done(error, result)

    task.add_done_callback(finish)
    return task


def _run_listener(
    awaitable: Awaitable[Any],
    emitter: EventEmitter,
    event: Hashable,
    arguments: tuple[Any, ...],
    captured: bool,
) -> None:
    """Run what a coroutine listener returned."""

    def done(error: BaseException | None, _: Any) -> None:
        if error is not None:
            emitter._listener_failed(error, event, arguments, captured)

    start_task(awaitable, f"The listener of {event!r}", done)
