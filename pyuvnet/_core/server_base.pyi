# mypy: disable-error-code="assignment,override,overload-cannot-match,overload-overlap"
# pyright: reportInvalidTypeVarUse=false
from collections.abc import Callable
from typing import Any, Literal, Self, TypeVarTuple, Unpack, overload

from .._typing import listeners as _listeners
from .._typing.listeners import EventOfServer
from ..errors import SystemCallError
from ..socket import Socket
from ..tls import TLSSocket
from ..typing import DropInfo, Event, OverloadInfo
from .shutdown import EndingServer

_Ts = TypeVarTuple("_Ts")

class ServerBase(EndingServer):
    # Events, by tools/stubs.py
    @overload
    def on(
        self, event: Literal["close", "listening", "shutdown"], listener: None = None
    ) -> Callable[[_listeners.OfNothing], _listeners.OfNothing]: ...
    @overload
    def on(
        self, event: Literal["connection"], listener: None = None
    ) -> Callable[[_listeners.OfSocket], _listeners.OfSocket]: ...
    @overload
    def on(
        self, event: Literal["drop"], listener: None = None
    ) -> Callable[[_listeners.OfInfo], _listeners.OfInfo]: ...
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
        self, event: Literal["overload"], listener: None = None
    ) -> Callable[[_listeners.OfOverload], _listeners.OfOverload]: ...
    @overload
    def on(
        self, event: Literal["secureConnection"], listener: None = None
    ) -> Callable[[_listeners.OfSecured], _listeners.OfSecured]: ...
    @overload
    def on(
        self, event: Literal["tlsClientError"], listener: None = None
    ) -> Callable[[_listeners.OfFailureSecured], _listeners.OfFailureSecured]: ...
    @overload
    def on(
        self, event: Event[Unpack[_Ts]], listener: None = None
    ) -> Callable[[Callable[[Unpack[_Ts]], object]], Callable[[Unpack[_Ts]], object]]: ...
    @overload
    def on(
        self, event: EventOfServer, listener: None = None
    ) -> Callable[[_listeners.Same], _listeners.Same]: ...
    @overload
    def on(self, event: Event[Unpack[_Ts]], listener: Callable[[Unpack[_Ts]], object]) -> Self: ...
    @overload
    def on(
        self,
        event: EventOfServer,
        listener: _listeners.ServerListener[EventOfServer] | _listeners.Misfit,
    ) -> Self: ...
    @overload
    def on(
        self, event: Literal["close", "listening", "shutdown"], listener: Callable[[], object]
    ) -> Self: ...
    @overload
    def on(self, event: Literal["connection"], listener: Callable[[Socket], object]) -> Self: ...
    @overload
    def on(self, event: Literal["drop"], listener: Callable[[DropInfo | Any], object]) -> Self: ...
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
        self, event: Literal["overload"], listener: Callable[[OverloadInfo], object]
    ) -> Self: ...
    @overload
    def on(
        self, event: Literal["secureConnection"], listener: Callable[[TLSSocket], object]
    ) -> Self: ...
    @overload
    def on(
        self, event: Literal["tlsClientError"], listener: Callable[[Exception, TLSSocket], object]
    ) -> Self: ...
    @overload
    def on(self, event: Event[Unpack[_Ts]], listener: Callable[[Unpack[_Ts]], object]) -> Self: ...
    add_listener = on
    once = on
    prepend_listener = on
    prepend_once_listener = on
    def off(
        self,
        event: _listeners.ServerBaseEvent | Event[Unpack[tuple[Any, ...]]],
        listener: Callable[..., object],
    ) -> Self: ...
    remove_listener = off
    @overload
    def emit(self, event: Literal["close", "listening", "shutdown"], /) -> bool: ...
    @overload
    def emit(self, event: Literal["connection"], socket: Socket, /) -> bool: ...
    @overload
    def emit(self, event: Literal["drop"], info: DropInfo | Any, /) -> bool: ...
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
    def emit(self, event: Literal["overload"], overload: OverloadInfo, /) -> bool: ...
    @overload
    def emit(self, event: Literal["secureConnection"], secured: TLSSocket, /) -> bool: ...
    @overload
    def emit(
        self, event: Literal["tlsClientError"], failure: Exception, secured: TLSSocket, /
    ) -> bool: ...
    @overload
    def emit(self, event: Event[Unpack[_Ts]], *arguments: Unpack[_Ts]) -> bool: ...
    # Events end
    def _dress(self, handle: Any) -> None: ...
    def _secure(self, socket: Any, layer: Any) -> None: ...
    def _is_down(self) -> None: ...
    def _end_logs(self) -> None: ...
    def _check_transfer(self) -> None: ...
