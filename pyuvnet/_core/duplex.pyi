# mypy: disable-error-code="assignment,override,overload-cannot-match,overload-overlap"
# pyright: reportInvalidTypeVarUse=false
from collections.abc import Callable, Mapping
from typing import Any, Literal, Self, TypeVarTuple, Unpack, overload

from .._typing import listeners as _listeners
from .._typing.keywords import StreamOptions
from .._typing.listeners import EventOfDuplex
from ..errors import SystemCallError
from ..typing import Event, TextDuplex
from .readable import Readable
from .writable import WritableSide

_Ts = TypeVarTuple("_Ts")

class Duplex(Readable, WritableSide):
    def __init__(
        self, options: Mapping[str, Any] | None = None, **keywords: Unpack[StreamOptions]
    ) -> None: ...
    # Events, by tools/stubs.py
    @overload
    def on(
        self,
        event: Literal["close", "drain", "end", "finish", "pause", "readable", "resume"],
        listener: None = None,
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
        self, event: Literal["oversize"], listener: None = None
    ) -> Callable[[_listeners.OfSize], _listeners.OfSize]: ...
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
        self, event: EventOfDuplex, listener: None = None
    ) -> Callable[[_listeners.Same], _listeners.Same]: ...
    @overload
    def on(self, event: Event[Unpack[_Ts]], listener: Callable[[Unpack[_Ts]], object]) -> Self: ...
    @overload
    def on(
        self,
        event: EventOfDuplex,
        listener: _listeners.DuplexListener[EventOfDuplex] | _listeners.Misfit,
    ) -> Self: ...
    @overload
    def on(
        self,
        event: Literal["close", "drain", "end", "finish", "pause", "readable", "resume"],
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
    def on(self, event: Literal["oversize"], listener: Callable[[int], object]) -> Self: ...
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
        event: _listeners.DuplexEvent | Event[Unpack[tuple[Any, ...]]],
        listener: Callable[..., object],
    ) -> Self: ...
    remove_listener = off
    @overload
    def emit(
        self, event: Literal["close", "drain", "end", "finish", "pause", "readable", "resume"], /
    ) -> bool: ...
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
    def emit(self, event: Literal["oversize"], size: int, /) -> bool: ...
    @overload
    def emit(self, event: Literal["pipe", "unpipe"], source: Readable, /) -> bool: ...
    @overload
    def emit(self, event: Event[Unpack[_Ts]], *arguments: Unpack[_Ts]) -> bool: ...
    # Events end
    def set_encoding(self, encoding: str | None = None) -> TextDuplex: ...
    @property
    def allow_half_open(self) -> bool: ...
    @allow_half_open.setter
    def allow_half_open(self, value: bool) -> None: ...
