# mypy: disable-error-code="assignment,override,overload-cannot-match,overload-overlap"
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping
from typing import Any, Final, Literal, Self, TypeVar, TypeVarTuple, Unpack, overload

from typing_extensions import Buffer

from .. import _listeners
from .._keywords import StreamOptions
from ..errors import SystemCallError
from ..typing import Event, TextReadable
from .stream import Stream

STATES: dict[str, str]
TRANSITIONS: dict[tuple[str, str], str]

def state_of(stream: Stream) -> str | None: ...

_Dest = TypeVar("_Dest")
_Ts = TypeVarTuple("_Ts")

MAX_MARK: Final = 1073741824

class Readable(Stream):
    def __init__(
        self, options: Mapping[str, Any] | None = None, **keywords: Unpack[StreamOptions]
    ) -> None: ...
    # Events, by tools/stubs.py
    @overload
    def on(
        self, event: Literal["close", "end", "pause", "readable", "resume"], listener: None = None
    ) -> Callable[[_listeners.OfNothing], _listeners.OfNothing]: ...
    @overload
    def on(
        self, event: Literal["data"], listener: None = None
    ) -> Callable[[_listeners.OfChunk], _listeners.OfChunk]: ...
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
        self, event: Event[Unpack[_Ts]], listener: None = None
    ) -> Callable[[Callable[[Unpack[_Ts]], object]], Callable[[Unpack[_Ts]], object]]: ...
    @overload
    def on(
        self,
        event: Literal["close", "end", "pause", "readable", "resume"],
        listener: Callable[[], object],
    ) -> Self: ...
    @overload
    def on(self, event: Literal["data"], listener: Callable[[bytes], object]) -> Self: ...
    @overload
    def on(self, event: Literal["data"], listener: Callable[[str], object]) -> Self: ...
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
    def on(self, event: Event[Unpack[_Ts]], listener: Callable[[Unpack[_Ts]], object]) -> Self: ...
    add_listener = on
    once = on
    prepend_listener = on
    prepend_once_listener = on
    def off(
        self,
        event: _listeners.ReadableEvent | Event[Unpack[tuple[Any, ...]]],
        listener: Callable[..., object],
    ) -> Self: ...
    remove_listener = off
    @overload
    def emit(self, event: Literal["close", "end", "pause", "readable", "resume"], /) -> bool: ...
    @overload
    def emit(self, event: Literal["data"], chunk: bytes | str, /) -> bool: ...
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
    def emit(self, event: Event[Unpack[_Ts]], *arguments: Unpack[_Ts]) -> bool: ...
    # Events end
    def pause(self) -> Self: ...
    def resume(self) -> Self: ...
    def is_paused(self) -> bool: ...
    # bytes, or str once an encoding is set: a union would have every caller test for both.
    def read(self, size: int | None = None) -> Any: ...
    def set_encoding(self, encoding: str | None = None) -> TextReadable: ...
    def unshift(self, chunk: str | Buffer, encoding: str | None = None) -> bool: ...
    def pipe(
        self, dest: _Dest, options: Mapping[str, Any] | None = None, *, end: bool = True
    ) -> _Dest: ...
    def unpipe(self, dest: object = None) -> Self: ...
    @staticmethod
    def from_iterable(iterable: Iterable[Any] | AsyncIterable[Any], **options: Any) -> Readable: ...
    def __aiter__(self) -> AsyncIterator[bytes]: ...
    def iterator(self, destroy_on_return: bool = True) -> AsyncIterator[bytes]: ...
    @property
    def readable(self) -> bool: ...
    @property
    def readable_flowing(self) -> bool | None: ...
    @property
    def readable_length(self) -> int: ...
    @property
    def readable_high_water_mark(self) -> int: ...
    @property
    def readable_encoding(self) -> str | None: ...
    @property
    def readable_ended(self) -> bool: ...
    @property
    def readable_did_read(self) -> bool: ...
    @property
    def readable_aborted(self) -> bool: ...
    @property
    def readable_object_mode(self) -> bool: ...
    def push(self, chunk: str | Buffer | None, encoding: str | None = None) -> bool: ...
