# mypy: disable-error-code="assignment,override,overload-cannot-match,overload-overlap"
# pyright: reportInvalidTypeVarUse=false
from collections.abc import Callable, Coroutine, Mapping
from typing import (
    Any,
    Literal,
    Self,
    TypeAlias,
    TypeVarTuple,
    Unpack,
    final,
    overload,
    type_check_only,
)

from typing_extensions import Buffer

from .._typing import listeners as _listeners
from .._typing.keywords import StreamOptions
from .._typing.listeners import EventOfWritable
from ..errors import SystemCallError
from ..typing import Event
from .readable import Readable
from .stream import Stream

STATES: dict[str, str]
TRANSITIONS: dict[tuple[str, str], str]

def state_of(stream: Stream) -> str | None: ...

_Ts = TypeVarTuple("_Ts")
_Callback: TypeAlias = Callable[[BaseException | None], object]

@final
class WriteCallback:
    def __call__(self, error: BaseException | None = None) -> None: ...

@final
class FailedWrite:
    def __call__(self, error: object) -> None: ...

# What Writable and Duplex, which is a Readable, have in common.
@type_check_only
class WritableSide(Stream):
    @overload
    def write(self, chunk: str | Buffer, encoding: _Callback) -> bool: ...
    @overload
    def write(
        self,
        chunk: str | Buffer,
        encoding: str | None = None,
        callback: _Callback | None = None,
    ) -> bool: ...
    def write_frame(self, payload: str | Buffer, callback: _Callback | None = None) -> bool: ...
    @overload
    def end(self, chunk: _Callback) -> Self: ...
    @overload
    def end(self, chunk: str | Buffer, encoding: _Callback) -> Self: ...
    @overload
    def end(
        self,
        chunk: str | Buffer | None = None,
        encoding: str | None = None,
        callback: _Callback | None = None,
    ) -> Self: ...
    def cork(self) -> None: ...
    def uncork(self) -> None: ...
    def set_default_encoding(self, encoding: str | None = None) -> Self: ...
    @property
    def writable(self) -> bool: ...
    @property
    def writable_length(self) -> int: ...
    @property
    def writable_high_water_mark(self) -> int: ...
    @property
    def writable_need_drain(self) -> bool: ...
    def drained(self) -> Coroutine[Any, Any, None]: ...
    @property
    def writable_ended(self) -> bool: ...
    @property
    def writable_finished(self) -> bool: ...
    @property
    def writable_corked(self) -> int: ...
    @property
    def writable_object_mode(self) -> bool: ...
    @property
    def writable_aborted(self) -> bool: ...

class Writable(WritableSide):
    def __init__(
        self, options: Mapping[str, Any] | None = None, **keywords: Unpack[StreamOptions]
    ) -> None: ...
    # Events, by tools/stubs.py
    @overload
    def on(
        self, event: Literal["close", "drain", "finish"], listener: None = None
    ) -> Callable[[_listeners.OfNothing], _listeners.OfNothing]: ...
    @overload
    def on(
        self, event: Literal["error"] | _listeners.ErrorMonitor, listener: None = None
    ) -> Callable[[_listeners.OfError], _listeners.OfError]: ...
    @overload
    def on(
        self, event: Literal["newListener", "removeListener"], listener: None = None
    ) -> Callable[[_listeners.OfNameListener], _listeners.OfNameListener]: ...
    @overload
    def on(
        self, event: Literal["pipe", "unpipe"], listener: None = None
    ) -> Callable[[_listeners.OfSource], _listeners.OfSource]: ...
    @overload
    def on(
        self, event: Event[Unpack[_Ts]], listener: None = None
    ) -> Callable[[Callable[[Unpack[_Ts]], object]], Callable[[Unpack[_Ts]], object]]: ...
    @overload
    def on(
        self, event: EventOfWritable, listener: None = None
    ) -> Callable[[_listeners.Same], _listeners.Same]: ...
    @overload
    def on(self, event: Event[Unpack[_Ts]], listener: Callable[[Unpack[_Ts]], object]) -> Self: ...
    @overload
    def on(
        self,
        event: EventOfWritable,
        listener: _listeners.WritableListener[EventOfWritable] | _listeners.Misfit,
    ) -> Self: ...
    @overload
    def on(
        self, event: Literal["close", "drain", "finish"], listener: Callable[[], object]
    ) -> Self: ...
    @overload
    def on(
        self,
        event: Literal["error"] | _listeners.ErrorMonitor,
        listener: Callable[[SystemCallError], object],
    ) -> Self: ...
    @overload
    def on(
        self,
        event: Literal["newListener", "removeListener"],
        listener: Callable[[Any, Callable[..., Any]], object],
    ) -> Self: ...
    @overload
    def on(
        self, event: Literal["pipe", "unpipe"], listener: Callable[[Readable], object]
    ) -> Self: ...
    @overload
    def on(self, event: Event[Unpack[_Ts]], listener: Callable[[Unpack[_Ts]], object]) -> Self: ...
    add_listener = on
    once = on
    prepend_listener = on
    prepend_once_listener = on
    def off(
        self,
        event: _listeners.WritableEvent | Event[Unpack[tuple[Any, ...]]],
        listener: Callable[..., object],
    ) -> Self: ...
    remove_listener = off
    @overload
    def emit(self, event: Literal["close", "drain", "finish"], /) -> bool: ...
    @overload
    def emit(
        self, event: Literal["error"] | _listeners.ErrorMonitor, error: BaseException, /
    ) -> bool: ...
    @overload
    def emit(
        self,
        event: Literal["newListener", "removeListener"],
        name: Any,
        listener: Callable[..., Any],
        /,
    ) -> bool: ...
    @overload
    def emit(self, event: Literal["pipe", "unpipe"], source: Readable, /) -> bool: ...
    @overload
    def emit(self, event: Event[Unpack[_Ts]], *arguments: Unpack[_Ts]) -> bool: ...
    # Events end
