"""Coroutines that the package starts as asyncio tasks: coroutine listeners, mostly."""

from __future__ import annotations

import contextlib
from types import CoroutineType

from . import _driver
from ._base import TYPE_CHECKING
from ._core.loop import running_asyncio
from ._core.loop_registry import current_loop
from ._core.server_base import ServerBase
from ._core.socket_base import SocketBase
from ._core.waiter import Stepper
from .errors import StateError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Hashable
    from typing import Any

    from ._core.emitter import EventEmitter

# The tasks under way, which asyncio itself holds weakly.
_tasks: set[asyncio.Task[Any]] = set()


def start_task(
    awaitable: Awaitable[Any],
    what: str,
    done: Callable[[BaseException | None, Any], object],
    ended: Callable[[BaseException | None, bool], object] | None = None,
) -> asyncio.Task[Any]:
    """Run an awaitable as a task of asyncio's, kept alive until it is done.

    Args:
        awaitable: what a coroutine function returned.
        what: names that function, for the error.
        done: gets (error, None) or (None, result) in a tick of our loop; nothing if cancelled.
        ended: gets (error, cancelled) at once, as soon as asyncio reports the end of the task.

    Raises: StateError (ERR_NO_ASYNC_LOOP).
    """
    import asyncio

    async def waiter() -> Any:
        return await awaitable

    try:
        theirs = asyncio.get_running_loop()
    except RuntimeError:
        if isinstance(awaitable, CoroutineType):
            awaitable.close()
        raise StateError(
            f"{what} is a coroutine function, and no asyncio loop runs now", "ERR_NO_ASYNC_LOOP"
        ) from None
    task: asyncio.Task[Any] | None = None

    def finish(finished: asyncio.Task[Any]) -> None:
        _tasks.discard(finished)
        cancelled = finished.cancelled()
        error = None if cancelled else finished.exception()
        if ended is not None:
            ended(error, cancelled)
        if cancelled:
            return
        result = None if error is not None else finished.result()
        ours = current_loop()
        if ours in _driver.drivers:
            # In a later tick, from where the loop's own exception path takes over.
            ours.next_tick(done, error, result)
        else:
            done(error, result)

    try:
        if type(awaitable) is CoroutineType:
            stepper = Stepper(awaitable)
            task = theirs.create_task(stepper)
            stepper.started(task)
        else:
            task = theirs.create_task(waiter())
        task.add_done_callback(finish)
        _tasks.add(task)
    except MemoryError:
        # It has not begun, and must not: the caller hears that it failed.
        if task is not None:
            task.cancel()
        elif isinstance(awaitable, CoroutineType):
            awaitable.close()
        raise
    return task


def run_listener(
    awaitable: Awaitable[Any],
    emitter: EventEmitter,
    event: Hashable,
    arguments: tuple[Any, ...],
    captured: bool,
) -> None:
    """Run what a coroutine listener returned."""
    if running_asyncio() is None:
        if hasattr(awaitable, "close"):
            awaitable.close()
        raise StateError(
            f"The listener of {event!r} is a coroutine function, and no asyncio loop runs in this "
            "thread: start the program by pyuvnet.run(main()) or asyncio.run(main())",
            "ERR_NO_ASYNC_LOOP",
        )

    def done(error: BaseException | None, _: Any) -> None:
        if error is not None:
            emitter._listener_failed(error, event, arguments, captured)

    what = f"The listener of {event!r}"
    if event != "connection" or not arguments or not isinstance(arguments[0], SocketBase):
        start_task(awaitable, what, done)
        return
    socket = arguments[0]

    def ended(error: BaseException | None, cancelled: bool) -> None:
        with contextlib.suppress(StateError):  # Its loop is closed, and so it is too.
            # Nobody else has the connection now, and its peer would wait for ever. Where failures
            # are captured the socket is destroyed with this one, in its place.
            if isinstance(emitter, ServerBase) and (cancelled or (error and not captured)):
                socket.destroy()
            socket._stop_owning()

    socket._become_owner()
    try:
        start_task(awaitable, what, done, ended)
    except BaseException:
        socket._stop_owning()
        raise
