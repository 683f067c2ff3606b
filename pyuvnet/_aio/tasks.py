"""Coroutines that the package starts as asyncio tasks: coroutine listeners, mostly."""

from __future__ import annotations

from types import CoroutineType

from .._base import TYPE_CHECKING
from .._core.loop import running_asyncio
from .._core.loop_registry import current_loop
from .._core.server_base import ServerBase
from .._core.socket_base import SocketBase
from .._core.waiter import Stepper
from ..errors import ClosedError, StateError
from . import driver

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Hashable
    from typing import Any

    from .._core.emitter import EventEmitter

# The tasks under way, which asyncio itself holds weakly.
_tasks: set[asyncio.Task[Any]] = set()
# What comes out of asyncio's loop at once: reported here, it would come out a second time.
_RAISED_BY_ASYNCIO = (KeyboardInterrupt, SystemExit)


def running_loop(awaitable: Any, what: str) -> asyncio.AbstractEventLoop:
    """Return asyncio's loop that runs here.

    Args:
        awaitable: what cannot run without it, and is closed then.
        what: why it needs one, for the error, such as "The lookup is a coroutine function".

    Raises: StateError (ERR_NO_ASYNC_LOOP).
    """
    theirs = running_asyncio()
    if theirs is None:
        if hasattr(awaitable, "close"):
            awaitable.close()
        raise StateError(
            f"{what}, but no asyncio loop is running in this thread; start the program with "
            "pyuvnet.run(main()) or asyncio.run(main())",
            "ERR_NO_ASYNC_LOOP",
        )
    return theirs


def start_task(
    awaitable: Awaitable[Any],
    what: str,
    done: Callable[[BaseException | None, Any], object],
    cancelled: Callable[[], object],
) -> asyncio.Task[Any]:
    """Run an awaitable of the program's as a task of asyncio's, kept alive until it is done.

    Every coroutine of the program starts here, or in run_listener() if a listener returned it.

    Args:
        awaitable: what a coroutine function returned.
        what: as in running_loop().
        done: gets (error, None) or (None, result) in a tick of our loop.
        cancelled: called instead of it, with nothing, if there will be no result.

    Raises: StateError (ERR_NO_ASYNC_LOOP).
    """
    theirs = running_loop(awaitable, what)

    def finish(finished: asyncio.Task[Any]) -> None:
        _tasks.discard(finished)
        error = None if finished.cancelled() else finished.exception()
        if finished.cancelled() or isinstance(error, _RAISED_BY_ASYNCIO):
            _in_a_tick(cancelled)
            return
        _in_a_tick(done, error, None if error is not None else finished.result())

    return _begin(theirs, awaitable, finish)


def _begin(
    theirs: asyncio.AbstractEventLoop,
    awaitable: Awaitable[Any],
    finish: Callable[[asyncio.Task[Any]], object],
    listening: _Listening | None = None,
) -> asyncio.Task[Any]:
    """Make the task; `finish` gets it as its done callback, and takes it out of `_tasks`.

    Args:
        listening: its returned() is called as soon as the coroutine has returned.
    """
    task: asyncio.Task[Any] | None = None
    try:
        if type(awaitable) is CoroutineType:
            stepper = Stepper(awaitable, listening)
            task = theirs.create_task(stepper)
            stepper.started(task)
        else:
            task = theirs.create_task(_wait(awaitable))
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


async def _wait(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def _in_a_tick(function: Callable[..., object], *arguments: Any) -> None:
    """Call in a later tick, from where the loop's own exception path takes over."""
    ours = current_loop()
    if ours in driver.drivers:
        ours.next_tick(function, *arguments)
    else:
        function(*arguments)


class _Listening:
    """A coroutine listener under way, and its task's done callback: one object for each call."""

    __slots__ = ("arguments", "captured", "emitter", "event")
    emitter: EventEmitter
    event: Hashable
    arguments: tuple[Any, ...]
    captured: bool

    def __init__(
        self, emitter: EventEmitter, event: Hashable, arguments: tuple[Any, ...], captured: bool
    ) -> None:
        self.emitter = emitter
        self.event = event
        self.arguments = arguments
        self.captured = captured

    def returned(self) -> None:
        """Its coroutine has returned: called by the Stepper, before the task hears of it."""

    def reports(self, error: BaseException) -> bool:
        """Whether an exception goes where those of listeners go; called before ended()."""
        return not isinstance(error, _RAISED_BY_ASYNCIO)

    def ended(self, failed: bool) -> None:
        """Called when the task has ended; failed: by an exception or cancellation."""

    def __call__(self, task: asyncio.Task[Any]) -> None:
        _tasks.discard(task)
        error, reports = None, False
        if task.cancelled():
            self.ended(True)
        else:
            error = task.exception()
            reports = error is not None and self.reports(error)
            # Where failures are captured the emitter destroys the socket with this one.
            self.ended(error is not None and not self.captured)
        if reports:
            _in_a_tick(
                self.emitter._listener_failed, error, self.event, self.arguments, self.captured
            )


class _Serving(_Listening):
    """The same for a listener that is given a connection, and owns it while it runs."""

    __slots__ = ("owns",)
    owns: bool

    def returned(self) -> None:
        """Stop owning, within the callback that the coroutine returned in."""
        if self.owns:
            self.owns = False
            try:  # noqa: SIM105 - contextlib.suppress() costs an object
                self.arguments[0]._stop_owning()
            except StateError:
                pass  # Its loop is closed, and so it is too.

    def reports(self, error: BaseException) -> bool:
        socket = self.arguments[0]
        if error is socket.errored:
            socket._heard()
        # That its server has destroyed the socket is no mistake of the coroutine.
        if socket._destroyed_by_server and (
            isinstance(error, ClosedError) or error is socket.errored
        ):
            return False
        return super().reports(error)

    def ended(self, failed: bool) -> None:
        """Destroy the socket if it failed: nothing else has it, and its peer would wait forever."""
        if failed and isinstance(self.emitter, ServerBase):
            try:  # noqa: SIM105
                self.arguments[0].destroy()
            except StateError:
                pass
        self.returned()


class GoesOn:
    """An awaitable of something that goes on by itself: a listener may return it unawaited."""


def run_listener(
    awaitable: Awaitable[Any],
    emitter: EventEmitter,
    event: Hashable,
    arguments: tuple[Any, ...],
    captured: bool,
) -> None:
    """Run what a coroutine listener returned."""
    if isinstance(awaitable, GoesOn):
        return
    theirs = running_loop(awaitable, f"The listener for {event!r} is a coroutine function")
    given = event in ("connection", "secureConnection") and bool(arguments)
    if not given or not isinstance(arguments[0], SocketBase):
        _begin(theirs, awaitable, _Listening(emitter, event, arguments, captured))
        return
    serving = _Serving(emitter, event, arguments, captured)
    arguments[0]._become_owner()
    serving.owns = True
    try:
        _begin(theirs, awaitable, serving, serving)
    except BaseException:
        serving.returned()
        raise
