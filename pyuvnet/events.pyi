# mypy: disable-error-code="overload-overlap"
# pyright: reportInvalidTypeVarUse=false
from collections.abc import AsyncIterator, Callable, Hashable, Iterable
from typing import Any, Literal, Protocol, Self, TypeVarTuple, Unpack, overload, type_check_only

from ._core.duplex import Duplex
from ._core.emitter import EventEmitter
from ._core.loop import Loop
from ._core.readable import Readable
from ._core.waiter import Waiter
from ._core.writable import Writable
from ._typing.listeners import (
    EventOfDuplex,
    EventOfReadable,
    EventOfServer,
    EventOfSocket,
    EventOfTextDuplex,
    EventOfTextReadable,
    EventOfTextSocket,
    EventOfWritable,
)
from .abort import AbortSignal
from .errors import SystemCallError
from .server import Server
from .socket import Socket
from .tls import TLSSocket
from .typing import DropInfo, Event, OverloadInfo, TextDuplex, TextReadable, TextSocket

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

_Ts = TypeVarTuple("_Ts")

error_monitor = EventEmitter.error_monitor

# An emitter that takes any event, unlike those whose events are known.
@type_check_only
class _Open(Protocol):
    def on(self, event: Hashable, listener: Callable[..., object]) -> object: ...

# Waiting, by tools/stubs.py
@overload
def once(
    emitter: TextSocket,
    event: Literal["data"],
    *,
    signal: AbortSignal | None = None,
) -> Waiter[list[str]]: ...
@overload
def once(
    emitter: TextDuplex,
    event: Literal["data"],
    *,
    signal: AbortSignal | None = None,
) -> Waiter[list[str]]: ...
@overload
def once(
    emitter: TextReadable,
    event: Literal["data"],
    *,
    signal: AbortSignal | None = None,
) -> Waiter[list[str]]: ...
@overload
def once(
    emitter: Server,
    event: Literal[
        "close",
        "listening",
        "newListener",
        "removeListener",
        "shutdown",
        "tlsClientError",
    ],
    *,
    signal: AbortSignal | None = None,
) -> Waiter[list[Any]]: ...
@overload
def once(
    emitter: Server,
    event: Literal["connection"],
    *,
    signal: AbortSignal | None = None,
) -> Waiter[list[Socket]]: ...
@overload
def once(
    emitter: Server,
    event: Literal["drop"],
    *,
    signal: AbortSignal | None = None,
) -> Waiter[list[DropInfo | Any]]: ...
@overload
def once(
    emitter: Server,
    event: Literal["error"],
    *,
    signal: AbortSignal | None = None,
) -> Waiter[list[SystemCallError]]: ...
@overload
def once(
    emitter: Server,
    event: Literal["overload"],
    *,
    signal: AbortSignal | None = None,
) -> Waiter[list[OverloadInfo]]: ...
@overload
def once(
    emitter: Server,
    event: Literal["secureConnection"],
    *,
    signal: AbortSignal | None = None,
) -> Waiter[list[TLSSocket]]: ...
@overload
def once(
    emitter: Socket,
    event: Literal["close"],
    *,
    signal: AbortSignal | None = None,
) -> Waiter[list[bool]]: ...
@overload
def once(
    emitter: Socket,
    event: Literal[
        "connect",
        "connectionAttempt",
        "connectionAttemptFailed",
        "connectionAttemptTimeout",
        "handle",
        "lookup",
        "ready",
        "secure",
        "secureConnect",
        "session",
        "shutdown",
        "timeout",
    ],
    *,
    signal: AbortSignal | None = None,
) -> Waiter[list[Any]]: ...
@overload
def once(
    emitter: Writable | Duplex,
    event: Literal["drain", "finish"],
    *,
    signal: AbortSignal | None = None,
) -> Waiter[list[Any]]: ...
@overload
def once(
    emitter: Writable | Duplex,
    event: Literal["pipe", "unpipe"],
    *,
    signal: AbortSignal | None = None,
) -> Waiter[list[Readable]]: ...
@overload
def once(
    emitter: Readable,
    event: Literal["data"],
    *,
    signal: AbortSignal | None = None,
) -> Waiter[list[bytes]]: ...
@overload
def once(
    emitter: Readable,
    event: Literal["end", "pause", "readable", "resume"],
    *,
    signal: AbortSignal | None = None,
) -> Waiter[list[Any]]: ...
@overload
def once(
    emitter: Readable,
    event: Literal["oversize"],
    *,
    signal: AbortSignal | None = None,
) -> Waiter[list[int]]: ...
@overload
def once(
    emitter: Readable | Writable,
    event: Literal["close", "newListener", "removeListener"],
    *,
    signal: AbortSignal | None = None,
) -> Waiter[list[Any]]: ...
@overload
def once(
    emitter: Readable | Writable,
    event: Literal["error"],
    *,
    signal: AbortSignal | None = None,
) -> Waiter[list[SystemCallError]]: ...
@overload
def once(
    emitter: TextSocket,
    event: EventOfTextSocket,
    *,
    signal: AbortSignal | None = None,
) -> Waiter[list[Any]]: ...
@overload
def once(
    emitter: TextDuplex,
    event: EventOfTextDuplex,
    *,
    signal: AbortSignal | None = None,
) -> Waiter[list[Any]]: ...
@overload
def once(
    emitter: TextReadable,
    event: EventOfTextReadable,
    *,
    signal: AbortSignal | None = None,
) -> Waiter[list[Any]]: ...
@overload
def once(
    emitter: Server,
    event: EventOfServer,
    *,
    signal: AbortSignal | None = None,
) -> Waiter[list[Any]]: ...
@overload
def once(
    emitter: Socket,
    event: EventOfSocket,
    *,
    signal: AbortSignal | None = None,
) -> Waiter[list[Any]]: ...
@overload
def once(
    emitter: Duplex,
    event: EventOfDuplex,
    *,
    signal: AbortSignal | None = None,
) -> Waiter[list[Any]]: ...
@overload
def once(
    emitter: Writable,
    event: EventOfWritable,
    *,
    signal: AbortSignal | None = None,
) -> Waiter[list[Any]]: ...
@overload
def once(
    emitter: Readable,
    event: EventOfReadable,
    *,
    signal: AbortSignal | None = None,
) -> Waiter[list[Any]]: ...

# Waiting end
@overload
def once(
    emitter: EventEmitter, event: Event[Unpack[_Ts]], *, signal: AbortSignal | None = None
) -> Waiter[list[Any]]: ...
@overload
def once(
    emitter: _Open, event: Hashable, *, signal: AbortSignal | None = None
) -> Waiter[list[Any]]: ...
def on(
    emitter: EventEmitter,
    event: Hashable,
    *,
    signal: AbortSignal | None = None,
    close: Iterable[Hashable] = (),
    high_water_mark: float = ...,
    low_water_mark: float = 1,
) -> AsyncIterator[list[Any]]: ...
def get_event_listeners(emitter: EventEmitter, event: Hashable) -> list[Callable[..., Any]]: ...
def get_max_listeners(emitter: EventEmitter) -> float: ...
def listener_count(emitter: EventEmitter, event: Hashable) -> int: ...
def set_max_listeners(n: float = 10, *emitters: EventEmitter) -> None: ...

class _Disposable:
    def __init__(self, undo: Callable[[], None]) -> None: ...
    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...

def add_abort_listener(signal: AbortSignal, listener: Callable[..., object]) -> _Disposable: ...

class Arrivals:
    def __init__(
        self,
        emitter: EventEmitter,
        event: Hashable,
        close: Iterable[Hashable],
        signal: AbortSignal | None = None,
        high_water_mark: float = ...,
        low_water_mark: float = 1,
    ) -> None: ...
    def stop(self, error: BaseException | None) -> None: ...
    def clear(self) -> None: ...
    def first(self) -> list[Any] | None: ...
    def drop_first(self) -> None: ...
    def finish(self, loop: Loop | None, last: Callable[[Arrivals], None]) -> None: ...
    async def next(self) -> list[Any] | None: ...
