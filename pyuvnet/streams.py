"""Node's stream module as far as bytes go: the classes, finished() and pipeline().

Node: stream
"""

from __future__ import annotations

import sys
from _thread import _local
from _weakref import ref

from ._aio.tasks import running_loop
from ._base import TYPE_CHECKING, cast, partial
from ._base import validation as check
from ._base.hints import absent
from ._base.names import to_node
from ._base.option_table import option_set
from ._core.descriptors import inherit_anext
from ._core.duplex import Duplex
from ._core.iteration import ChunkIterator, ChunkReader, close_at_finish
from ._core.lingering import linger
from ._core.loop_registry import current_loop
from ._core.names import add_node_names
from ._core.readable import Readable
from ._core.socket_base import SocketBase
from ._core.stream import (
    Stream,
    get_default_high_water_mark,
    set_default_high_water_mark,
)
from ._core.waiter import Waiter
from ._core.writable import Writable
from .abort import AbortSignal, abort_error, on_abort
from .errors import AbortError, ClosedError, StateError

if TYPE_CHECKING:
    import asyncio
    import weakref
    from collections.abc import AsyncIterable, Callable, Iterable, Mapping
    from typing import Any


CO_ASYNC_GENERATOR = 0x200  # inspect's, which takes its time to import


def premature_close() -> ClosedError:
    """The error of a stream that closed before it was done."""
    return ClosedError("Premature close", "ERR_STREAM_PREMATURE_CLOSE")


# ---- Transform -----------------------------------------------------------------------------------

_TRANSFORM_OPTIONS = option_set("Transform", "Readable", "Writable", "Duplex")


class Transform(Duplex):
    """A stream whose readable side is made of what is written; implement `_transform`.

    `_transform(chunk, encoding, callback)` calls push() any number of times, then
    `callback(error, data)`, both optional; data is pushed. `_flush(callback)`, if there is one, is
    called in the same way when everything was transformed, before 'end'.

    Args:
        options: a mapping of the options below; keywords win over it.
        transform: callable(chunk, encoding, callback): the method `_transform`.
        flush: callable(callback): the method `_flush`.
        others: those of Duplex. A high_water_mark or readable_high_water_mark of 0 makes
            writable_high_water_mark 0 too, unless that is given.

    Events: those of Duplex.
    Raises: as Duplex; ArgTypeError (ERR_INVALID_ARG_TYPE).

    Node: stream.Transform
    """

    _go_on_writing: Callable[..., object] | None = None

    def __init__(self, options: Mapping[str, Any] | None = None, **keywords: Any) -> None:
        given = _TRANSFORM_OPTIONS.read(options, keywords)
        for name in ("transform", "flush"):
            if given.get(name) is not None:
                check.validate_function(given[name], f"options.{name}")
        mark = given.get("high_water_mark")
        if mark is None:
            mark = given.get("readable_high_water_mark")
        if mark == 0:
            # What waits to be transformed would be buffered twice.
            given["high_water_mark"] = None
            given["readable_high_water_mark"] = mark
            given["writable_high_water_mark"] = given.get("writable_high_water_mark") or 0
        super().__init__(given)
        self._push_at_once()
        if given.get("transform") is not None:
            self.__dict__["_transform"] = given["transform"]
        if given.get("flush") is not None:
            self._flush = given["flush"]
        final = given.get("final")
        if final is None and type(self)._final is not Transform._final:
            final = self._final
        if final is not None:
            # The program's own comes first, and does not replace what is flushed.
            self._set_method("_final", partial(self._final_of_program, final))

    def _transform(self, chunk: Any, encoding: str, callback: Callable[..., object]) -> None:
        raise StateError("The _transform() method is not implemented", "ERR_METHOD_NOT_IMPLEMENTED")

    _flush: Callable[[Callable[..., object]], object] | None = None

    def _write(self, chunk: Any, encoding: str, callback: Callable[..., object]) -> None:
        before = self.readable_length

        def transformed(error: BaseException | None = None, data: Any = None) -> None:
            if error is not None:
                callback(error)
                return
            if data is not None:
                self.push(data)
            if self._end_known:
                # push(None) was called: what that leads to comes first.
                current_loop().next_tick(callback)
            elif (
                self.writable_ended
                or self.readable_length == before
                or self.readable_length < self.readable_high_water_mark
            ):
                callback()
            else:
                self._go_on_writing = callback

        self._transform(chunk, encoding, transformed)

    def _read(self, size: int) -> None:
        callback, self._go_on_writing = self._go_on_writing, None
        if callback is not None:
            callback()

    def _final(self, callback: Callable[..., object]) -> None:
        if self._flush is None or self.destroyed:
            self.push(None)
            callback()
            return

        def flushed(error: BaseException | None = None, data: Any = None) -> None:
            if error is not None:
                callback(error)
                return
            if data is not None:
                self.push(data)
            self.push(None)
            callback()

        self._flush(flushed)

    def _final_of_program(
        self, final: Callable[..., object], callback: Callable[..., object]
    ) -> None:
        def done(error: BaseException | None = None) -> None:
            if error is None and not self.destroyed:
                # As at Node's 'prefinish': 'finish' does not wait for it.
                Transform._final(self, lambda error=None: error and self.destroy(error))
            callback(error)

        final(done)


class PassThrough(Transform):
    """A Transform that passes on what is written.

    Args: as for Transform.
    Events: those of Duplex.

    Node: stream.PassThrough
    """

    def _transform(self, chunk: Any, encoding: str, callback: Callable[..., object]) -> None:
        callback(None, chunk)


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
        self._read_due = readable and stream._has_readable and not stream.readable_ended
        self._write_due = writable and stream._has_writable and not stream.writable_finished
        # A stream that will emit 'close' is done with that, if both sides are waited for.
        self._close_due = (
            stream._will_emit_close
            and (readable or not stream._has_readable)
            and (writable or not stream._has_writable)
        )
        self._listeners: list[tuple[str, Callable[..., object]]] = [
            ("end", self._ended),
            ("finish", self._finished),
            ("close", self._closed),
        ]
        if error:
            self._listeners.append(("error", self._failed))
        for event, listener in self._listeners:
            stream.on(event, listener)
        if stream.closed:
            current_loop().next_tick(self._closed)
        elif not (self._read_due or self._write_due or self._close_due):
            current_loop().next_tick(self._call_back, None)

    def _ended(self) -> None:
        self._read_due = False
        self._perhaps()

    def _finished(self) -> None:
        self._write_due = False
        self._perhaps()

    def _perhaps(self) -> None:
        if not (self._read_due or self._write_due or self._close_due):
            self._call_back(None)

    def _failed(self, error: BaseException) -> None:
        self._call_back(error)

    def _closed(self, *_: Any) -> None:
        stream = self._stream
        if stream.errored is not None:
            self._call_back(stream.errored)
        elif (self._read_due and not stream._read_out) or (
            self._write_due and not (stream.writable_ended and not stream.writable_length)
        ):
            self._call_back(premature_close())
        else:
            self._call_back(None)

    def _call_back(self, error: BaseException | None) -> None:
        callback, self._callback = self._callback, None
        if callback is not None:
            callback(error)

    @property
    def waiting(self) -> bool:
        return self._callback is not None

    def stop(self) -> None:
        """Take the listeners away; the callback is not called any more."""
        self._callback = None
        for event, listener in self._listeners:
            self._stream.off(event, listener)
        self._listeners = []


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
    if callback is not None:
        check.validate_function(callback, "callback")
        return _watch(stream, callback, readable, writable, error, signal)
    done: Waiter[None] = Waiter(lambda: stop())
    stop = _watch(stream, partial(_answer, done), readable, writable, error, signal)
    return done


def _watch(
    stream: Any,
    callback: Callable[[BaseException | None], object],
    readable: bool,
    writable: bool,
    error: bool,
    signal: AbortSignal | None,
) -> Callable[[], None]:
    undo: Callable[[], None] = lambda: None  # noqa: E731

    def call_back(failure: BaseException | None) -> None:
        undo()
        callback(failure)

    watch = _Finished(stream, call_back, readable, writable, error)

    def aborted() -> None:
        assert signal is not None
        if watch.waiting:
            watch.stop()
            callback(abort_error(signal))

    def stop() -> None:
        undo()
        watch.stop()

    if signal is not None:
        if signal.aborted:
            current_loop().next_tick(aborted)
        else:
            undo = on_abort(signal, aborted)
    return stop


def _answer(waiter: Waiter[None], error: BaseException | None) -> None:
    """The error-first callback that settles a waiter."""
    if error is None:
        waiter.set_result(None)
    else:
        waiter.set_exception(error)


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
        self._stops: list[Callable[[], None]] = []
        last = len(streams) - 1
        for index, stream in enumerate(streams):
            read, written = index < last, index > 0 and (end or index < last)
            self._stops.append(_watch(stream, self._done, read, written, True, None))
        if signal is not None:
            wanted = signal
            if signal.aborted:
                current_loop().next_tick(lambda: self.fail(abort_error(wanted)))
            else:
                self._undo = on_abort(signal, lambda: self.fail(abort_error(wanted)))
        for index in range(last):
            if not streams[index].destroyed:
                streams[index].pipe(streams[index + 1], end=end or index + 1 < last)

    def _done(self, error: BaseException | None) -> None:
        self._left -= 1
        if error is not None:
            self.fail(error)
        if self._left == 0:
            self._undo()
            # In a tick: after the 'close' that the last error brings.
            current_loop().next_tick(self._call_back)

    def _call_back(self) -> None:
        for stop in self._stops:
            stop()
        self._callback(self._error)

    def fail(self, error: BaseException) -> None:
        """Remember the first real error and destroy every stream with it."""
        if self._left == 0:
            return
        if self._error is None or (
            getattr(self._error, "code", None) == "ERR_STREAM_PREMATURE_CLOSE"
            and getattr(error, "code", None) != "ERR_STREAM_PREMATURE_CLOSE"
        ):
            self._error = error
        for stream in self._streams:
            if not stream.destroyed:
                stream.destroy(error)


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

    def leave() -> None:
        if done.cancelled():
            running.fail(AbortError())

    done: Waiter[None] = Waiter(leave)
    running = _Pipeline(parts, partial(_answer, done), signal, end)
    return done


# ---- Iterables in and out ------------------------------------------------------------------------


def _checked(item: Any) -> Any:
    """An item of the iterable; None would be taken for the end."""
    if item is None:
        raise check.null_values_error()
    return item


class _FromIterable(Readable):
    """A Readable over an iterable."""

    def __init__(self, iterable: Iterable[Any], **options: Any) -> None:
        super().__init__(**options)
        self._items = iter(iterable)

    def _read(self, size: int) -> None:
        try:
            for item in self._items:
                self.push(_checked(item))
                # An empty one does not make the stream ask again.
                if len(item) or self.destroyed:
                    return
        except Exception as error:
            # In a tick, so that the item before it is delivered.
            current_loop().next_tick(self.destroy, error)
        else:
            self.push(None)

    def _destroy(
        self, error: BaseException | None, callback: Callable[[BaseException | None], object]
    ) -> None:
        close = getattr(self._items, "close", None)
        # A generator that destroys the stream from inside ends by itself.
        if close is not None and not getattr(self._items, "gi_running", False):
            close()
        callback(error)


class _FromAsyncIterable(Readable):
    """A Readable over an async iterable; needs asyncio to drive the loop."""

    def __init__(self, iterable: AsyncIterable[Any], **options: Any) -> None:
        super().__init__(**options)
        self._items = aiter(iterable)
        self._task: asyncio.Task[None] | None = None

    def _read(self, size: int) -> None:
        if self._task is None:
            theirs = running_loop(None, "The iterable is asynchronous")
            self._task = theirs.create_task(self._fill())

    async def _fill(self) -> None:
        try:
            async for item in self._items:
                if self.destroyed:
                    break
                if not self.push(_checked(item)):
                    return
            else:
                self.push(None)
        except Exception as error:
            self.destroy(error)
        finally:
            self._task = None
            if self.destroyed:
                await self._close_items()

    async def _close_items(self) -> None:
        close = getattr(self._items, "aclose", None)
        if close is not None:
            await close()

    def _destroy(
        self, error: BaseException | None, callback: Callable[[BaseException | None], object]
    ) -> None:
        import asyncio

        try:
            task = asyncio.current_task()
            if self._task is None:
                closing = asyncio.get_running_loop().create_task(self._close_items())
                _closing.add(closing)
                closing.add_done_callback(_closing.discard)
            elif self._task is not task:
                # It closes the iterable on its way out.
                self._task.cancel()
        except RuntimeError:
            # No asyncio loop runs any more that could close it.
            pass
        callback(error)


# Tasks that nothing else keeps alive.
_closing: set[Any] = set()


def from_iterable(iterable: Iterable[Any] | AsyncIterable[Any], **options: Any) -> Readable:
    """Create a Readable from an iterable or async iterable of bytes-like or str.

    Args:
        iterable: what to read; bytes or str itself is one chunk.
        options: those of Readable; high_water_mark is 1 by default, so that nothing is taken
            from the iterable before it is wanted.

    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE).
    Events: 'error': what the iterable raised; ERR_STREAM_NULL_VALUES for an item None.

    Node: stream.Readable.from()
    """
    if "high_water_mark" not in options and "highWaterMark" not in options:
        options["high_water_mark"] = 1
    if isinstance(iterable, (str, bytes, bytearray, memoryview)):
        return _FromIterable([iterable], **options)
    if hasattr(iterable, "__aiter__"):
        return _FromAsyncIterable(cast("AsyncIterable[Any]", iterable), **options)
    if hasattr(iterable, "__iter__"):
        return _FromIterable(iterable, **options)
    raise check.arg_type_error("iterable", "Iterable", iterable)


@inherit_anext
class _Chunks(ChunkIterator):
    """The async iterator over a stream's chunks; dropped by break, it leaves the stream too."""

    __slots__ = ("__weakref__",)

    def __init__(self, stream: Any, destroy_on_return: bool) -> None:
        super().__init__(ChunkReader(stream, destroy_on_return))

    async def aclose(self) -> None:
        """Leave the loop early: the stream is destroyed, unless asked otherwise."""
        self.reader.abandon()

    def __del__(self) -> None:
        if self.reader is None:
            return
        try:
            self.reader.abandon()
        except StateError as error:
            # Collected in another thread, or the loop is closed, or a fork's parent has it.
            if error.code == "ERR_WRONG_THREAD":
                try:  # noqa: SIM105 - contextlib takes its time to import
                    self.reader.abandon_from_elsewhere()
                except StateError:
                    pass


# ---- drained() -----------------------------------------------------------------------------------


async def _drained(stream: Any) -> None:
    """Wait for 'drain', or for what comes in its place."""
    if stream.destroyed:
        stream._heard()
        raise stream.errored or ClosedError(
            "Cannot call drained after a stream was destroyed", "ERR_STREAM_DESTROYED"
        )
    if not stream.writable_need_drain:
        return

    def go_on(*_: Any) -> None:
        done.set_result(None)

    def failed(error: BaseException) -> None:
        stream._heard()
        done.set_exception(error)

    def closed(*_: Any) -> None:
        failed(stream.errored or premature_close())

    def leave() -> None:
        stream.off("drain", go_on)
        # end() takes what is due away: 'finish' says that all has left.
        stream.off("finish", go_on)
        stream.off("error", failed)
        stream.off("close", closed)

    done: Waiter[None] = Waiter(leave)
    # In front: a listener of the program's that raises keeps those behind it from being called.
    stream.prepend_listener("drain", go_on)
    stream.prepend_listener("finish", go_on)
    stream.prepend_listener("error", failed)
    stream.prepend_listener("close", closed)
    await done


# ---- async with ----------------------------------------------------------------------------------


async def _enter(stream: Any) -> Any:
    stream._become_owner()
    return stream


def cannot_wait(failure: BaseException | None) -> bool:
    """Whether the block that the caller leaves is in a coroutine that is being closed.

    Such a one must not wait; an asynchronous generator that is closed may.
    """
    if not isinstance(failure, GeneratorExit):
        return False
    # The caller is __aexit__, and what awaits that has the block.
    frame = sys._getframe(2)
    return not frame.f_code.co_flags & CO_ASYNC_GENERATOR


async def _exit(stream: Any, failure: BaseException | None) -> None:
    """Close the stream that a block has owned, and wait for 'close'."""
    unsent = None
    lingered = False
    try:
        if failure is None and not stream.destroyed and stream._has_writable:
            try:
                if not _never_begun(stream):
                    if not stream.writable_ended:
                        stream.end()
                    if stream.destroyed:
                        pass
                    elif isinstance(stream, SocketBase):
                        lingered = True
                        await linger(stream)
                    elif not stream.writable_finished:
                        await close_at_finish(stream)
            except GeneratorExit:
                stream.destroy()
                raise
            except BaseException:
                await _destroyed(stream)
                raise
        if cannot_wait(failure):
            stream.destroy()
        elif stream._close_due or not stream.destroyed:
            await _destroyed(stream)
        if failure is None:
            # After an exception of the body, that one goes on alone.
            unsent = stream._unsent_error()
            if lingered:
                # The alert may come before the acknowledgement, and says more.
                unsent = _refused(stream) or unsent
        stream._heard()
    except StateError as error:
        # A closed loop has closed the stream.
        if error.code != "ERR_LOOP_CLOSED":
            raise
    finally:
        stream._stop_owning()
    if unsent is not None:
        raise unsent


def _refused(stream: Any) -> BaseException | None:
    """What TLS failed with after everything had left: the peer has not accepted it.

    A TLS 1.3 server says only then that it refuses the client's certificate.
    """
    # An error of ssl's, and not that the peer has left without close_notify.
    refused = getattr(stream.errored, "library", None) is not None
    return stream.errored if refused else None


def _never_begun(stream: Any) -> bool:
    """Whether this is a socket without a connection, for which nothing waits to be sent."""
    if not getattr(stream, "pending", False):
        return False
    return not (stream.connecting and (stream.writable_length or stream.writable_ended))


async def _destroyed(stream: Any) -> None:
    """Destroy the stream, and wait for 'close'."""
    stream.destroy()
    if stream._close_due:
        # No 'finish' comes any more.
        await close_at_finish(stream)


# ---- Standard streams ----------------------------------------------------------------------------


class _StandardStream(Writable):
    """What pipe(sys.stdout) writes to: at once, as Node does for files and terminals."""

    def __init__(self, file: Any) -> None:
        super().__init__()
        self._file = ref(file)

    def _write(
        self, chunk: Any, encoding: str, callback: Callable[[BaseException | None], object]
    ) -> None:
        file: Any = self._file()
        try:
            if hasattr(file, "buffer"):
                file.flush()
                file = file.buffer
            file.write(chunk)
            file.flush()
        except (OSError, ValueError) as error:
            callback(error)
        else:
            callback(None)


class _Standard(_local):
    """The streams of a thread, since each belongs to its loop, by their files; None without."""

    streams: weakref.WeakKeyDictionary[Any, _StandardStream] | None = None


_here = _Standard()


def _standard(dest: Any) -> _StandardStream | None:
    """The stream for sys.stdout or sys.stderr, or their buffers; None for anything else."""
    for file in (sys.stdout, sys.stderr):
        if dest is file or dest is getattr(file, "buffer", file):
            if _here.streams is None:
                from weakref import WeakKeyDictionary

                _here.streams = WeakKeyDictionary()
            made = _here.streams.get(dest)
            if made is None or made.destroyed:
                made = _here.streams[dest] = _StandardStream(dest)
            return made
    return None


# ---- What Node has and this module has not -------------------------------------------------------

_IS = "Use the property {} of the stream."
_MISSING = {
    "add_abort_signal": "Pass signal= to pipeline() or finished(), or destroy() the stream when it "
    "aborts.",
    "consumers": "Join what `async for` yields: b''.join([chunk async for chunk in stream]).",
    "compose": "Pass the streams to pipeline(), or pipe() each into the next.",
    "destroy": "Call the method destroy() of the stream.",
    "duplex_pair": "pyuvnet.testing.pair() makes two connected sockets.",
    "is_destroyed": _IS.format("destroyed"),
    "is_disturbed": _IS.format("readable_did_read"),
    "is_errored": _IS.format("errored"),
    "is_readable": _IS.format("readable"),
    "is_writable": _IS.format("writable"),
    "from_": "Call from_iterable().",
    "promises": "finished() and pipeline() return awaitables if they get no callback.",
    "web": "from_iterable() makes a stream of what another library yields.",
}
_MISSING |= {to_node(name): text for name, text in _MISSING.items()}


def __getattr__(name: str) -> Any:
    raise absent(__name__, name, _MISSING.get(name))


__all__ = [
    "Duplex",
    "PassThrough",
    "Readable",
    "Transform",
    "Writable",
    "finished",
    "from_iterable",
    "get_default_high_water_mark",
    "pipeline",
    "set_default_high_water_mark",
]
add_node_names(globals())
