"""Node's stream module as far as bytes go: the classes, finished() and pipeline().

Node: stream
"""

from __future__ import annotations

import contextlib
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from . import _validate as check
from ._core.duplex import Duplex
from ._core.loop import current_loop
from ._core.names import add_node_names
from ._core.readable import Readable, set_stream_hooks
from ._core.stream import (
    Stream,
    get_default_high_water_mark,
    set_default_high_water_mark,
)
from ._core.writable import Writable
from .abort import AbortSignal, abort_error, on_abort
from .errors import AbortError, StateError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterable, Callable, Iterable


def premature_close() -> StateError:
    """The error of a stream that closed before it was done."""
    return StateError("Premature close", "ERR_STREAM_PREMATURE_CLOSE")


# ---- finished() ----------------------------------------------------------------------------------


class _Finished:
    """Watches one stream until it is done, and calls back once."""

    def __init__(
        self,
        stream: Any,
        callback: Callable[[BaseException | None], object],
        readable: bool,
        writable: bool,
        error: bool,
    ) -> None:
        self._stream = stream
        self._callback: Callable[[BaseException | None], object] | None = callback
        # A side that the stream does not have need not be waited for.
        self._read_due = readable and isinstance(stream, Readable) and not stream.readable_ended
        self._write_due = (
            writable
            and isinstance(stream, (Writable, Duplex))
            and (stream.writable or stream.writable_ended)
            and not stream.writable_finished
        )
        if isinstance(stream, Duplex) and not stream.readable and not stream.destroyed:
            self._read_due = False
        self._listeners: list[tuple[str, Callable[..., object]]] = [
            ("end", self._ended),
            ("finish", self._finished),
            ("close", self._closed),
        ]
        if error:
            self._listeners.append(("error", self._failed))
        for event, listener in self._listeners:
            stream.on(event, listener)
        if stream.closed or (stream.destroyed and not self._emits_close()):
            current_loop().next_tick(self._closed)
        elif not self._read_due and not self._write_due and not self._emits_close():
            current_loop().next_tick(self._tell, None)

    def _emits_close(self) -> bool:
        """True if 'close' is still to come, so that being done can wait for it."""
        return not isinstance(self._stream, _socket_class()) and not self._stream.closed

    def _ended(self) -> None:
        self._read_due = False
        self._perhaps()

    def _finished(self) -> None:
        self._write_due = False
        self._perhaps()

    def _perhaps(self) -> None:
        if not self._read_due and not self._write_due and not self._emits_close():
            self._tell(None)

    def _failed(self, error: BaseException) -> None:
        self._tell(error)

    def _closed(self, *_: Any) -> None:
        errored = self._stream.errored
        if errored is not None:
            self._tell(errored)
        elif self._read_due or self._write_due:
            self._tell(premature_close())
        else:
            self._tell(None)

    def _tell(self, error: BaseException | None) -> None:
        callback, self._callback = self._callback, None
        if callback is not None:
            callback(error)

    def stop(self) -> None:
        """Take the listeners away; the callback is not called any more."""
        self._callback = None
        for event, listener in self._listeners:
            self._stream.off(event, listener)
        self._listeners = []


def _socket_class() -> type:
    from ._core.socket_base import SocketBase

    return SocketBase


def finished(
    stream: Any,
    callback: Callable[[BaseException | None], object] | None = None,
    *,
    readable: bool = True,
    writable: bool = True,
    error: bool = True,
    signal: AbortSignal | None = None,
) -> Any:
    """Call back once a stream is done: ended, finished, failed or closed before that.

    Args:
        stream: a Readable, Writable, Duplex or Socket.
        callback: callable(error or None). Without it an awaitable is returned, which raises
            the error.
        readable, writable: bool, default True: False does not wait for that side.
        error: bool, default True: listen to 'error'.
        signal: AbortSignal that ends the waiting with an AbortError; the stream is left alone.

    Returns: a function that stops watching, or the awaitable.
    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE). The error is ERR_STREAM_PREMATURE_CLOSE if the
        stream closed before it was done.

    Node: stream.finished(), stream/promises finished()
    """
    if not isinstance(stream, Stream):
        raise check.arg_type_error("stream", ["ReadableStream", "WritableStream", "Stream"], stream)
    if signal is not None:
        check.validate_abort_signal(signal, "options.signal")
    if callback is None:
        return _finished_awaitable(stream, readable, writable, error, signal)
    check.validate_function(callback, "callback")
    answer = callback
    undo: Callable[[], None] = lambda: None  # noqa: E731

    def tell(failure: BaseException | None) -> None:
        undo()
        answer(failure)

    watch = _Finished(stream, tell, readable, writable, error)
    if signal is not None:
        wanted = signal

        def aborted() -> None:
            watch.stop()
            current_loop().next_tick(answer, abort_error(wanted))

        undo = on_abort(signal, aborted)

    def stop() -> None:
        undo()
        watch.stop()

    return stop


async def _finished_awaitable(
    stream: Any, readable: bool, writable: bool, error: bool, signal: AbortSignal | None
) -> None:
    import asyncio

    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def answered(failure: BaseException | None) -> None:
        if done.done():
            return
        if failure is None:
            done.set_result(None)
        else:
            done.set_exception(failure)

    stop = finished(
        stream, answered, readable=readable, writable=writable, error=error, signal=signal
    )
    try:
        await done
    finally:
        stop()


# ---- pipeline() ----------------------------------------------------------------------------------


class _Pipeline:
    """Streams piped one into the next, torn down together."""

    def __init__(
        self,
        streams: list[Any],
        callback: Callable[[BaseException | None], object],
        signal: AbortSignal | None,
        end: bool,
    ) -> None:
        self._streams = streams
        self._callback = callback
        self._left = len(streams)
        self._error: BaseException | None = None
        self._undo: Callable[[], None] = lambda: None
        last = len(streams) - 1
        for index, stream in enumerate(streams):
            finished(
                stream,
                partial(self._done, index),
                readable=index < last,
                writable=index > 0 and (end or index < last),
            )
            # The teardown reports the errors; without a listener they would be unhandled too.
            stream.on("error", _ignore)
        if signal is not None:
            wanted = signal
            self._undo = on_abort(signal, lambda: self._fail(abort_error(wanted)))
        for index in range(last):
            if not streams[index].destroyed:
                streams[index].pipe(streams[index + 1], end=end or index + 1 < last)

    def _done(self, index: int, error: BaseException | None) -> None:
        self._left -= 1
        if error is not None:
            self._fail(error)
        if self._left == 0:
            self._undo()
            for stream in self._streams:
                stream.off("error", _ignore)
            self._callback(self._error)

    def _fail(self, error: BaseException) -> None:
        """Remember the first real error and destroy every stream with it."""
        if self._error is None or (
            getattr(self._error, "code", None) == "ERR_STREAM_PREMATURE_CLOSE"
            and getattr(error, "code", None) != "ERR_STREAM_PREMATURE_CLOSE"
        ):
            self._error = error
        for stream in self._streams:
            if not stream.destroyed:
                stream.destroy(error)


def _ignore(error: BaseException) -> None:
    pass


def pipeline(
    *streams: Any,
    callback: Callable[[BaseException | None], object] | None = None,
    signal: AbortSignal | None = None,
    end: bool = True,
) -> Any:
    """Pipe streams one into the next; if any fails or closes early, destroy them all.

    Args:
        streams: a source (a Readable, or an iterable of bytes or str), any number of Duplex
            streams, and a destination; the last argument may be the callback.
        callback: callable(error or None), when all are done. Without it an awaitable is
            returned, which raises the error.
        signal: AbortSignal that destroys them all with an AbortError.
        end: bool, default True: end the destination at the source's end.

    Returns: the destination, or the awaitable.
    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE, ERR_MISSING_ARGS).

    Node: stream.pipeline(), stream/promises pipeline()
    """
    parts = list(streams)
    if parts and callback is None and callable(parts[-1]) and not isinstance(parts[-1], Stream):
        callback = parts.pop()
    if len(parts) < 2:
        raise check.missing_args_error("streams")
    if signal is not None:
        check.validate_abort_signal(signal, "options.signal")
    if callback is not None:
        check.validate_function(callback, "callback")
    if not isinstance(parts[0], Stream):
        parts[0] = from_iterable(parts[0])
    for index, part in enumerate(parts):
        if index and not isinstance(part, (Writable, Duplex)):
            raise check.arg_type_error(f"streams[{index}]", ["WritableStream", "Stream"], part)
        if index < len(parts) - 1 and not isinstance(part, Readable):
            raise check.arg_type_error(f"streams[{index}]", ["ReadableStream", "Stream"], part)
    if callback is not None:
        _Pipeline(parts, callback, signal, end)
        return parts[-1]
    return _pipeline_awaitable(parts, signal, end)


async def _pipeline_awaitable(streams: list[Any], signal: AbortSignal | None, end: bool) -> None:
    import asyncio

    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def answered(error: BaseException | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    running = _Pipeline(streams, answered, signal, end)
    try:
        await done
    except asyncio.CancelledError:
        running._fail(AbortError())
        raise


# ---- Iterables in and out ------------------------------------------------------------------------


class _FromIterable(Readable):
    """A Readable over an iterable."""

    def __init__(self, iterable: Iterable[Any], **options: Any) -> None:
        super().__init__(**options)
        self._items = iter(iterable)

    def _read(self, size: int) -> None:
        for item in self._items:
            if not self.push(_as_bytes(item)):
                return
        self.push(None)

    def _destroy(
        self, error: BaseException | None, callback: Callable[[BaseException | None], object]
    ) -> None:
        close = getattr(self._items, "close", None)
        if close is not None:
            close()
        callback(error)


class _FromAsyncIterable(Readable):
    """A Readable over an async iterable; needs asyncio to drive the loop."""

    def __init__(self, iterable: AsyncIterable[Any], **options: Any) -> None:
        super().__init__(**options)
        self._items = aiter(iterable)
        self._task: asyncio.Task[None] | None = None

    def _read(self, size: int) -> None:
        if self._task is None or self._task.done():
            import asyncio

            self._task = asyncio.get_running_loop().create_task(self._fill())

    async def _fill(self) -> None:
        try:
            async for item in self._items:
                if self.destroyed:
                    return
                if not self.push(_as_bytes(item)):
                    return
            if not self.destroyed:
                self.push(None)
        except Exception as error:
            self.destroy(error)

    def _destroy(
        self, error: BaseException | None, callback: Callable[[BaseException | None], object]
    ) -> None:
        close = getattr(self._items, "aclose", None)
        if close is not None and (self._task is None or self._task.done()):
            import asyncio

            try:
                closing = asyncio.get_running_loop().create_task(close())
            except RuntimeError:
                pass
            else:
                _closing.add(closing)
                closing.add_done_callback(_closing.discard)
        callback(error)


_closing: set[Any] = set()


def _as_bytes(item: Any) -> Any:
    return item.encode("utf-8") if isinstance(item, str) else item


def from_iterable(iterable: Iterable[Any] | AsyncIterable[Any], **options: Any) -> Readable:
    """Make a Readable out of an iterable or async iterable of bytes-like or str.

    Args:
        iterable: what to read; bytes or str itself is one chunk.
        options: those of Readable.

    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE).

    Node: stream.Readable.from()
    """
    if isinstance(iterable, (str, bytes, bytearray, memoryview)):
        return _FromIterable([iterable], **options)
    if hasattr(iterable, "__aiter__"):
        return _FromAsyncIterable(cast("AsyncIterable[Any]", iterable), **options)
    if hasattr(iterable, "__iter__"):
        return _FromIterable(iterable, **options)
    raise check.arg_type_error("iterable", "Iterable", iterable)


class _Chunks:
    """The async iterator over a stream's chunks."""

    def __init__(self, stream: Any, destroy_on_return: bool) -> None:
        self._stream = stream
        self._destroy_on_return = destroy_on_return
        self._waiter: asyncio.Future[None] | None = None
        self._over = False
        self._done = False
        self._error: BaseException | None = None
        # The stream holds the iterator only weakly: a loop left by `break` drops it, and then
        # __del__ can free the stream.
        itself = weakref.ref(self)

        def wake() -> None:
            iterator = itself()
            if iterator is not None:
                iterator._wake()

        def ended(error: BaseException | None) -> None:
            iterator = itself()
            if iterator is not None:
                iterator._ended(error)

        self._on_readable = wake
        stream.on("readable", wake)
        self._stop: Callable[[], None] = finished(stream, ended, writable=False)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _ended(self, error: BaseException | None) -> None:
        self._done = True
        self._error = error
        self._wake()

    def __aiter__(self) -> _Chunks:
        return self

    async def __anext__(self) -> Any:
        import asyncio

        while not self._over:
            chunk = None if self._stream.destroyed else self._stream.read()
            if chunk is not None:
                return chunk
            if self._done:
                error = self._error
                self._leave()
                if error is not None:
                    raise error
                half_open = getattr(self._stream, "allow_half_open", False)
                if not (half_open and self._stream.writable):
                    self._stream.destroy()
                break
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        raise StopAsyncIteration

    def _leave(self) -> None:
        if not self._over:
            self._over = True
            self._stop()
            self._stream.off("readable", self._on_readable)

    async def aclose(self) -> None:
        """Leave the loop early: the stream is destroyed, unless asked otherwise."""
        self._abandon()

    def _abandon(self) -> None:
        if self._over:
            return
        self._leave()
        if not self._destroy_on_return or self._stream.destroyed:
            return
        # Node destroys with an AbortError; without anybody to listen it would be unhandled.
        if not self._stream.readable_ended and self._stream.listener_count("error"):
            self._stream.destroy(AbortError())
        else:
            self._stream.destroy()

    def __del__(self) -> None:
        # A loop left by break, without aclosing(): the last chance to free the stream.
        if not getattr(self, "_over", True):
            # Collected in another thread, or at exit: then the loop is not ours to touch.
            with contextlib.suppress(StateError):
                self._abandon()


set_stream_hooks(_Chunks, from_iterable)

__all__ = [
    "Duplex",
    "Readable",
    "Writable",
    "finished",
    "from_iterable",
    "get_default_high_water_mark",
    "pipeline",
    "set_default_high_water_mark",
]
add_node_names(globals())

# Node's spellings, by tools/stubs.py
if TYPE_CHECKING:
    fromIterable = from_iterable
    getDefaultHighWaterMark = get_default_high_water_mark
    setDefaultHighWaterMark = set_default_high_water_mark
# Node's spellings end
