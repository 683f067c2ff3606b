"""Node's events module: EventEmitter, and waiting for events.

Node: events
"""

from __future__ import annotations

from ._base import TYPE_CHECKING, deque
from ._base import validation as check
from ._base.errors import StateError
from ._core.emitter import EventEmitter
from ._core.loop_registry import current_loop, loop_if_any
from ._core.names import add_node_names
from ._core.waiter import Waiter
from .abort import AbortSignal, abort_error, on_abort

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Hashable, Iterable
    from typing import Any

    from ._core.loop import Loop

error_monitor = EventEmitter.error_monitor


def _checked(emitter: Any, signal: Any) -> None:
    if not isinstance(emitter, EventEmitter):
        raise check.arg_type_error("emitter", "EventEmitter", emitter)
    if signal is not None:
        check.validate_abort_signal(signal, "options.signal")


def once(
    emitter: EventEmitter, event: Hashable, *, signal: AbortSignal | None = None
) -> Waiter[list[Any]]:
    """Wait for an event from now on; the awaitable gives the list of its arguments.

    Args:
        emitter: an EventEmitter.
        event: its name.
        signal: AbortSignal that ends the waiting.

    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE); from the awaitable the error, if 'error' is
        emitted meanwhile (unless that is the event waited for), and AbortError (ABORT_ERR). No
        listener is left.

    Node: events.once()
    """
    _checked(emitter, signal)

    def leave() -> None:
        emitter.off(event, arrived)
        if event != "error":
            emitter.off("error", failed)
        if undo is not None:
            undo()

    def arrived(*arguments: Any) -> None:
        answer.set_result(list(arguments))

    def failed(error: Any) -> None:
        answer.set_exception(_exception(error))

    def aborted() -> None:
        assert signal is not None
        answer.set_exception(abort_error(signal))

    undo: Callable[[], None] | None = None
    answer: Waiter[list[Any]] = Waiter(leave)
    if signal is not None and signal.aborted:
        aborted()
        return answer
    emitter.once(event, arrived)
    if event != "error":
        emitter.once("error", failed)
    if signal is not None:
        undo = on_abort(signal, aborted)
    return answer


def _exception(error: Any) -> BaseException:
    """An 'error' argument as something that can be raised."""
    if isinstance(error, BaseException):
        return error
    failure = StateError(f"Unhandled error. ({error!r})", "ERR_UNHANDLED_ERROR")
    failure.context = error  # type: ignore[attr-defined]
    return failure


class Arrivals:
    """What arrived and who waits for it; the emitter knows this object, and only this one."""

    def __init__(
        self,
        emitter: EventEmitter,
        event: Hashable,
        close: Iterable[Hashable],
        signal: AbortSignal | None = None,
        high_water_mark: float = float("inf"),
        low_water_mark: float = 1,
    ) -> None:
        self._emitter = emitter
        self._signal = signal
        self._high, self._low = high_water_mark, low_water_mark
        self._items: deque[list[Any]] = deque()
        self._waiting: deque[Waiter[list[Any] | None]] = deque()
        self._error: BaseException | None = None
        self._paused = False
        self._finished = False
        self._undo: Callable[[], None] | None = None
        self._listeners: list[tuple[Hashable, Callable[..., None]]] = [(event, self._arrived)]
        if event != "error":
            self._listeners.append(("error", self._failed))
        self._listeners += [(name, self._closed) for name in close]
        for name, listener in self._listeners:
            emitter.on(name, listener)
        if signal is not None:
            self._undo = on_abort(signal, self._aborted)

    def _arrived(self, *arguments: Any) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(list(arguments))
                return
        self._items.append(list(arguments))
        if not self._paused and len(self._items) > self._high:
            self._paused = True
            self._emitter.pause()  # type: ignore[attr-defined]

    def _failed(self, error: Any) -> None:
        self.stop(_exception(error))

    def _aborted(self) -> None:
        assert self._signal is not None
        self.stop(abort_error(self._signal))

    def _closed(self, *_: Any) -> None:
        self.stop(None)

    def stop(self, error: BaseException | None) -> None:
        """No further events; those in the queue are still handed out."""
        if self._finished:
            return
        self._finished = True
        for name, listener in self._listeners:
            self._emitter.off(name, listener)
        if self._undo is not None:
            self._undo()
        self._error = error
        waiting = [waiter for waiter in self._waiting if not waiter.done()]
        self._waiting.clear()
        for waiter in waiting:
            if self._error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(self._error)
                self._error = None

    def clear(self) -> None:
        """Forget what will not be read."""
        self._items.clear()
        self._error = None

    def first(self) -> list[Any] | None:
        """What comes next; None: nothing has arrived."""
        return self._items[0] if self._items else None

    def drop_first(self) -> None:
        """Forget what comes next."""
        self._items.popleft()

    def finish(self, loop: Loop | None, last: Callable[[Arrivals], None]) -> None:
        """Call last(self), which stops it, in the thread of its loop: a finaliser runs in any."""
        try:
            last(self)
        except StateError as error:
            if error.code != "ERR_WRONG_THREAD" or loop is None:
                raise
            self._finished = False
            try:  # noqa: SIM105 - contextlib takes its time to import
                loop._push_call(last, (self,))
            except StateError:
                # Closed meanwhile, and all of this with it.
                pass

    async def next(self) -> list[Any] | None:
        """The next arguments; None at the end."""
        if self._items:
            item = self._items.popleft()
            if self._paused and len(self._items) < self._low:
                self._paused = False
                self._emitter.resume()  # type: ignore[attr-defined]
            return item
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        if self._finished:
            return None
        waiter: Waiter[list[Any] | None] = Waiter()
        self._waiting.append(waiter)
        try:
            return await waiter
        except BaseException:
            if not waiter.done():
                # The coroutine is closed: what arrives is not for this one.
                self._waiting.remove(waiter)
            elif not waiter.cancelled() and waiter.exception() is None:
                # Arrived and cancelled in the same turn: the next one to ask gets it.
                missed = waiter.result()
                if missed is not None:
                    self._items.appendleft(missed)
            raise


class _Events:
    """The iterator that on() returns; dropped without aclose(), it stops listening anyway."""

    _queue: Arrivals | None = None

    def __init__(self, queue: Arrivals) -> None:
        self._loop = loop_if_any()
        self._queue = queue

    def __aiter__(self) -> _Events:
        return self

    async def __anext__(self) -> list[Any]:
        assert self._queue is not None
        item = await self._queue.next()
        if item is None:
            raise StopAsyncIteration
        return item

    async def aclose(self) -> None:
        """Stop listening and drop what is queued."""
        assert self._queue is not None
        self._queue.stop(None)
        self._queue.clear()

    def __del__(self) -> None:
        if self._queue is not None:
            self._queue.finish(self._loop, _stop)


def _stop(queue: Arrivals) -> None:
    queue.stop(None)


def on(
    emitter: EventEmitter,
    event: Hashable,
    *,
    signal: AbortSignal | None = None,
    close: Iterable[Hashable] = (),
    high_water_mark: float = float("inf"),
    low_water_mark: float = 1,
) -> AsyncIterator[list[Any]]:
    """Iterate over the emissions of an event: `async for arguments in on(socket, 'data')`.

    Args:
        emitter: an EventEmitter.
        event: its name.
        signal: AbortSignal that ends the iteration with an AbortError.
        close: event names that end the iteration.
        high_water_mark: above so many queued events emitter.pause() is called, default never;
        low_water_mark: below so many, emitter.resume(); default 1.

    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE), RangeError (ERR_OUT_OF_RANGE); from the
        iteration the error of 'error', after what was queued, and AbortError (ABORT_ERR).

    Node: events.on()
    """
    _checked(emitter, signal)
    high = high_water_mark
    if high != float("inf"):
        high = check.validate_integer(high, "options.highWaterMark", 1)
    low = check.validate_integer(low_water_mark, "options.lowWaterMark", 1)
    if signal is not None and signal.aborted:
        raise abort_error(signal)
    return _Events(Arrivals(emitter, event, close, signal, high, low))


def get_event_listeners(emitter: EventEmitter, event: Hashable) -> list[Callable[..., Any]]:
    """Return the listeners of an event.

    Args:
        emitter: EventEmitter or AbortSignal.
        event: its name.

    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE).

    Node: events.getEventListeners()
    """
    _checked(emitter, None)
    return list(emitter.listeners(event))


def get_max_listeners(emitter: EventEmitter) -> float:
    """Return the number of listeners above which a warning is given.

    Args:
        emitter: EventEmitter or AbortSignal.

    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE).

    Node: events.getMaxListeners()
    """
    _checked(emitter, None)
    return emitter.get_max_listeners()


def listener_count(emitter: EventEmitter, event: Hashable) -> int:
    """Return how many listeners an event has.

    Args:
        emitter: EventEmitter or AbortSignal.
        event: its name.

    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE).

    Node: events.listenerCount()
    """
    _checked(emitter, None)
    return emitter.listener_count(event)


def set_max_listeners(n: float = 10, *emitters: EventEmitter) -> None:
    """Set when several emitters warn; without emitters, the default of all.

    Args:
        n: int or float >= 0, default 10; 0 or inf: never.
        emitters: EventEmitter or AbortSignal, any number.

    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE), RangeError (ERR_OUT_OF_RANGE).

    Node: events.setMaxListeners()
    """
    check.validate_number(n, "setMaxListeners", 0)
    for emitter in emitters:
        _checked(emitter, None)
    for emitter in emitters:
        emitter.set_max_listeners(n)
    if not emitters:
        EventEmitter.default_max_listeners = n


class _Disposable:
    """What add_abort_listener() returns: close() or leaving `with` removes the listener."""

    def __init__(self, undo: Callable[[], None]) -> None:
        self._undo = undo

    def close(self) -> None:
        """Remove the listener; removed already: no effect."""
        self._undo()

    def __enter__(self) -> _Disposable:
        return self

    def __exit__(self, *_: object) -> None:
        self._undo()


def add_abort_listener(signal: AbortSignal, listener: Callable[..., object]) -> _Disposable:
    """Call listener(signal) once the signal is aborted; in the next tick if it already is.

    Returns an object whose close() removes it; it is a context manager too.
    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE).

    Node: events.addAbortListener()
    """
    if signal is None:
        raise check.arg_type_error("signal", "AbortSignal", signal)
    check.validate_abort_signal(signal, "signal")
    check.validate_function(listener, "listener")
    if signal.aborted:
        current_loop().next_tick(listener, signal)
        return _Disposable(lambda: None)
    return _Disposable(on_abort(signal, lambda: listener(signal)))


__all__ = [
    "EventEmitter",
    "add_abort_listener",
    "error_monitor",
    "get_event_listeners",
    "get_max_listeners",
    "listener_count",
    "on",
    "once",
    "set_max_listeners",
]
add_node_names(globals())
