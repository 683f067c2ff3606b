# mypy: disable-error-code="assignment,override,overload-cannot-match,overload-overlap"
# pyright: reportInvalidTypeVarUse=false
from collections.abc import AsyncIterator, Callable
from typing import Any, Generic, Literal, Self, TypeVarTuple, Unpack, overload

from ._base.info import Info
from ._core.duplex import Duplex
from ._core.immediate import Immediate
from ._core.readable import Readable
from ._core.timer import Timeout
from ._typing import listeners as _listeners
from ._typing.infos import AddressInfo, DropInfo, OverloadInfo, ProxyInfo
from ._typing.listeners import EventOfTextDuplex, EventOfTextReadable, EventOfTextSocket
from .errors import SystemCallError
from .server import Server
from .socket import Socket

__all__ = [
    "AddressInfo",
    "DropInfo",
    "Event",
    "Immediate",
    "Info",
    "OverloadInfo",
    "ProxyInfo",
    "TextDuplex",
    "TextReadable",
    "TextSocket",
    "Timeout",
]

_Ts = TypeVarTuple("_Ts")

class Event(str, Generic[Unpack[_Ts]]):
    def __new__(cls, name: str) -> Self: ...

# What set_encoding() returns: the same object, which gives str from then on.
class TextReadable(Readable):
    # Events, by tools/stubs.py
    @overload
    def on(
        self, event: Literal["close", "end", "pause", "readable", "resume"], listener: None = None
    ) -> Callable[[_listeners.OfNothing], _listeners.OfNothing]: ...
    @overload
    def on(
        self, event: Literal["data"], listener: None = None
    ) -> Callable[[_listeners.OfText], _listeners.OfText]: ...
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
        self, event: Event[Unpack[_Ts]], listener: None = None
    ) -> Callable[[Callable[[Unpack[_Ts]], object]], Callable[[Unpack[_Ts]], object]]: ...
    @overload
    def on(
        self, event: EventOfTextReadable, listener: None = None
    ) -> Callable[[_listeners.Same], _listeners.Same]: ...
    @overload
    def on(self, event: Event[Unpack[_Ts]], listener: Callable[[Unpack[_Ts]], object]) -> Self: ...
    @overload
    def on(
        self,
        event: EventOfTextReadable,
        listener: _listeners.TextReadableListener[EventOfTextReadable] | _listeners.Misfit,
    ) -> Self: ...
    @overload
    def on(
        self,
        event: Literal["close", "end", "pause", "readable", "resume"],
        listener: Callable[[], object],
    ) -> Self: ...
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
    def on(self, event: Event[Unpack[_Ts]], listener: Callable[[Unpack[_Ts]], object]) -> Self: ...
    add_listener = on
    once = on
    prepend_listener = on
    prepend_once_listener = on
    def off(
        self,
        event: _listeners.TextReadableEvent | Event[Unpack[tuple[Any, ...]]],
        listener: Callable[..., object],
    ) -> Self: ...
    remove_listener = off
    @overload
    def emit(self, event: Literal["close", "end", "pause", "readable", "resume"], /) -> bool: ...
    @overload
    def emit(self, event: Literal["data"], text: str, /) -> bool: ...
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
    def emit(self, event: Event[Unpack[_Ts]], *arguments: Unpack[_Ts]) -> bool: ...
    # Events end
    def set_encoding(self, encoding: str | None = None) -> Self: ...
    def __aiter__(self) -> AsyncIterator[str]: ...
    def iterator(self, destroy_on_return: bool = True) -> AsyncIterator[str]: ...

class TextDuplex(Duplex):
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
    ) -> Callable[[_listeners.OfText], _listeners.OfText]: ...
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
        self, event: EventOfTextDuplex, listener: None = None
    ) -> Callable[[_listeners.Same], _listeners.Same]: ...
    @overload
    def on(self, event: Event[Unpack[_Ts]], listener: Callable[[Unpack[_Ts]], object]) -> Self: ...
    @overload
    def on(
        self,
        event: EventOfTextDuplex,
        listener: _listeners.TextDuplexListener[EventOfTextDuplex] | _listeners.Misfit,
    ) -> Self: ...
    @overload
    def on(
        self,
        event: Literal["close", "drain", "end", "finish", "pause", "readable", "resume"],
        listener: Callable[[], object],
    ) -> Self: ...
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
        event: _listeners.TextDuplexEvent | Event[Unpack[tuple[Any, ...]]],
        listener: Callable[..., object],
    ) -> Self: ...
    remove_listener = off
    @overload
    def emit(
        self, event: Literal["close", "drain", "end", "finish", "pause", "readable", "resume"], /
    ) -> bool: ...
    @overload
    def emit(self, event: Literal["data"], text: str, /) -> bool: ...
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
    def set_encoding(self, encoding: str | None = None) -> Self: ...
    def __aiter__(self) -> AsyncIterator[str]: ...
    def iterator(self, destroy_on_return: bool = True) -> AsyncIterator[str]: ...

class TextSocket(Socket):
    def read(self, size: int | None = None) -> str | None: ...
    # Events, by tools/stubs.py
    @overload
    def on(
        self, event: Literal["close"], listener: None = None
    ) -> Callable[[_listeners.OfHadError], _listeners.OfHadError]: ...
    @overload
    def on(
        self,
        event: Literal[
            "connect",
            "drain",
            "end",
            "finish",
            "pause",
            "readable",
            "ready",
            "resume",
            "secure",
            "secureConnect",
            "shutdown",
            "timeout",
        ],
        listener: None = None,
    ) -> Callable[[_listeners.OfNothing], _listeners.OfNothing]: ...
    @overload
    def on(
        self, event: Literal["connectionAttempt"], listener: None = None
    ) -> Callable[[_listeners.OfAddressPortFamily], _listeners.OfAddressPortFamily]: ...
    @overload
    def on(
        self, event: Literal["connectionAttemptFailed"], listener: None = None
    ) -> Callable[[_listeners.OfAddressPortFamilyError], _listeners.OfAddressPortFamilyError]: ...
    @overload
    def on(
        self, event: Literal["connectionAttemptTimeout"], listener: None = None
    ) -> Callable[[_listeners.OfIpPortFamily], _listeners.OfIpPortFamily]: ...
    @overload
    def on(
        self, event: Literal["data"], listener: None = None
    ) -> Callable[[_listeners.OfText], _listeners.OfText]: ...
    @overload
    def on(
        self, event: Literal["error"] | _listeners.ErrorMonitor, listener: None = None
    ) -> Callable[[_listeners.OfError], _listeners.OfError]: ...
    @overload
    def on(
        self, event: Literal["handle"], listener: None = None
    ) -> Callable[[_listeners.OfHandleData], _listeners.OfHandleData]: ...
    @overload
    def on(
        self, event: Literal["lookup"], listener: None = None
    ) -> Callable[[_listeners.OfErrorAddressFamilyHost], _listeners.OfErrorAddressFamilyHost]: ...
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
        self, event: Literal["session"], listener: None = None
    ) -> Callable[[_listeners.OfSession], _listeners.OfSession]: ...
    @overload
    def on(
        self, event: Event[Unpack[_Ts]], listener: None = None
    ) -> Callable[[Callable[[Unpack[_Ts]], object]], Callable[[Unpack[_Ts]], object]]: ...
    @overload
    def on(
        self, event: EventOfTextSocket, listener: None = None
    ) -> Callable[[_listeners.Same], _listeners.Same]: ...
    @overload
    def on(self, event: Event[Unpack[_Ts]], listener: Callable[[Unpack[_Ts]], object]) -> Self: ...
    @overload
    def on(
        self,
        event: EventOfTextSocket,
        listener: _listeners.TextSocketListener[EventOfTextSocket] | _listeners.Misfit,
    ) -> Self: ...
    @overload
    def on(self, event: Literal["close"], listener: Callable[[bool], object]) -> Self: ...
    @overload
    def on(
        self,
        event: Literal[
            "connect",
            "drain",
            "end",
            "finish",
            "pause",
            "readable",
            "ready",
            "resume",
            "secure",
            "secureConnect",
            "shutdown",
            "timeout",
        ],
        listener: Callable[[], object],
    ) -> Self: ...
    @overload
    def on(
        self,
        event: Literal["connectionAttempt"],
        listener: Callable[[str, int | Any, int | Any], object],
    ) -> Self: ...
    @overload
    def on(
        self,
        event: Literal["connectionAttemptFailed"],
        listener: Callable[[str, int | Any, int | Any, SystemCallError], object],
    ) -> Self: ...
    @overload
    def on(
        self,
        event: Literal["connectionAttemptTimeout"],
        listener: Callable[[str, int, int], object],
    ) -> Self: ...
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
        self, event: Literal["handle"], listener: Callable[[Socket | Server, bytes], object]
    ) -> Self: ...
    @overload
    def on(
        self,
        event: Literal["lookup"],
        listener: Callable[[SystemCallError | None, str | None, int | None, str], object],
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
    def on(self, event: Literal["session"], listener: Callable[[Any], object]) -> Self: ...
    @overload
    def on(self, event: Event[Unpack[_Ts]], listener: Callable[[Unpack[_Ts]], object]) -> Self: ...
    add_listener = on
    once = on
    prepend_listener = on
    prepend_once_listener = on
    def off(
        self,
        event: _listeners.TextSocketEvent | Event[Unpack[tuple[Any, ...]]],
        listener: Callable[..., object],
    ) -> Self: ...
    remove_listener = off
    @overload
    def emit(self, event: Literal["close"], had_error: bool, /) -> bool: ...
    @overload
    def emit(
        self,
        event: Literal[
            "connect",
            "drain",
            "end",
            "finish",
            "pause",
            "readable",
            "ready",
            "resume",
            "secure",
            "secureConnect",
            "shutdown",
            "timeout",
        ],
        /,
    ) -> bool: ...
    @overload
    def emit(
        self,
        event: Literal["connectionAttempt"],
        address: str,
        port: int | Any,
        family: int | Any,
        /,
    ) -> bool: ...
    @overload
    def emit(
        self,
        event: Literal["connectionAttemptFailed"],
        address: str,
        port: int | Any,
        family: int | Any,
        error: BaseException,
        /,
    ) -> bool: ...
    @overload
    def emit(
        self, event: Literal["connectionAttemptTimeout"], ip: str, port: int, family: int, /
    ) -> bool: ...
    @overload
    def emit(self, event: Literal["data"], text: str, /) -> bool: ...
    @overload
    def emit(
        self, event: Literal["error"] | _listeners.ErrorMonitor, error: BaseException, /
    ) -> bool: ...
    @overload
    def emit(self, event: Literal["handle"], handle: Socket | Server, data: bytes, /) -> bool: ...
    @overload
    def emit(
        self,
        event: Literal["lookup"],
        error: BaseException | None,
        address: str | None,
        family: int | None,
        host: str,
        /,
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
    def emit(self, event: Literal["session"], session: Any, /) -> bool: ...
    @overload
    def emit(self, event: Event[Unpack[_Ts]], *arguments: Unpack[_Ts]) -> bool: ...
    # Events end
    def set_encoding(self, encoding: str | None = None) -> Self: ...
    def __aiter__(self) -> AsyncIterator[str]: ...
    def iterator(self, destroy_on_return: bool = True) -> AsyncIterator[str]: ...
