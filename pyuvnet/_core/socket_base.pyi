# mypy: disable-error-code="assignment,override,overload-cannot-match,overload-overlap"
# pyright: reportInvalidTypeVarUse=false
from collections.abc import Callable
from typing import Any, Literal, Self, TypeVarTuple, Unpack, final, overload

from typing_extensions import disjoint_base

from .._typing import listeners as _listeners
from .._typing.listeners import EventOfSocket
from ..errors import SystemCallError
from ..server import Server
from ..socket import Socket
from ..typing import Event, TextSocket
from .blocklist import BlockList
from .deadlines import Limits
from .duplex import Duplex
from .loop import Loop
from .readable import Readable
from .stream import StreamExtra
from .stream_handle import StreamHandle
from .timer import Timer

STATES: dict[str, str]
TRANSITIONS: dict[tuple[str, str], str]

_Ts = TypeVarTuple("_Ts")

def state_of(socket: SocketBase) -> str: ...
def on_end_of_socket() -> None: ...

@final
class EarlyDeadline(Timer): ...

@final
class SocketExtra(StreamExtra): ...

@disjoint_base
class Connector:
    def __init__(self, socket: SocketBase, *args: Any) -> None: ...
    @property
    def socket(self) -> Any: ...
    def resolved(self, error: BaseException | None, addresses: list[tuple[str, int]]) -> None: ...
    def connected(self, status: int) -> None: ...
    def stop(self) -> None: ...

@disjoint_base
class SocketBase(Duplex):
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
    ) -> Callable[[_listeners.OfChunk], _listeners.OfChunk]: ...
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
        self, event: EventOfSocket, listener: None = None
    ) -> Callable[[_listeners.Same], _listeners.Same]: ...
    @overload
    def on(self, event: Event[Unpack[_Ts]], listener: Callable[[Unpack[_Ts]], object]) -> Self: ...
    @overload
    def on(
        self,
        event: EventOfSocket,
        listener: _listeners.SocketListener[EventOfSocket] | _listeners.Misfit,
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
        event: _listeners.SocketBaseEvent | Event[Unpack[tuple[Any, ...]]],
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
    def emit(self, event: Literal["data"], chunk: bytes | str, /) -> bool: ...
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
    def set_encoding(self, encoding: str | None = None) -> TextSocket: ...
    @property
    def _connector(self) -> Any: ...
    @property
    def _host(self) -> str | None: ...
    @property
    def _is_upgraded(self) -> bool: ...
    def _unsent_bytes(self) -> int: ...
    def _refuse_second_init(self) -> None: ...
    def _init_socket(
        self,
        allow_half_open: object,
        readable: bool,
        writable: bool,
        read_mark: int,
        write_mark: int,
        no_delay: bool,
        keep_alive: int | None,
    ) -> None: ...
    def _open_descriptor(self, fd: int, kind: str) -> None: ...
    def _adopt_bound(self, handle: StreamHandle) -> None: ...
    def _set_dress(self, function: Callable[[Any], object] | None) -> None: ...
    @property
    def _can_be_taken(self) -> bool: ...
    def _bound_kind(self) -> Literal["TCP", "PIPE"] | None: ...
    def _set_onread(self, callback: Callable[..., object], buffer: object) -> None: ...
    def _set_block_list(self, block_list: BlockList | None) -> None: ...
    def _set_read_budget(self, size: int) -> None: ...
    def _set_bound(self, most: int, refuses: bool) -> None: ...
    def _set_passes(self) -> None: ...
    def _passes(self) -> bool: ...
    def _set_limits(self, limits: Limits | None) -> None: ...
    def _start_limits(self, limits: Limits) -> None: ...
    def _set_undo_signal(self, undo: Callable[[], object]) -> None: ...
    def _set_type_of_service(self, value: int) -> int: ...
    def _get_type_of_service(self) -> int: ...
    def _check(self) -> None: ...
    @property
    def _proxy(self) -> tuple[Any, ...] | None: ...
    def _kernel_info(self) -> tuple[int | None, bytes | None, int | None]: ...
    def _local_name(self) -> tuple[str, int, str] | None: ...

def queued_bytes(loop: Loop) -> int: ...
def set_write_budget(loop: Loop, limit: int | None) -> None: ...
def write_budget(loop: Loop) -> tuple[int, int] | None: ...
