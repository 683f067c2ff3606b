# mypy: disable-error-code="misc"
# That is: overloads of on() know by `self` whose events they are; mypy reports them, but uses them.

from collections.abc import Callable, Hashable
from typing import Any, ClassVar, Literal, Self, TypeAlias, TypeVar, final, overload

from typing_extensions import disjoint_base

from ..socket import Socket
from .duplex import Duplex
from .readable import Readable
from .server_base import ServerBase
from .socket_base import SocketBase
from .writable import Writable

_Listener: TypeAlias = Callable[..., object]
_F = TypeVar("_F", bound=_Listener)
_SocketT = TypeVar("_SocketT", bound=SocketBase)
_ServerT = TypeVar("_ServerT", bound=ServerBase)
_ReadableT = TypeVar("_ReadableT", bound=Readable)
_WritableT = TypeVar("_WritableT", bound=Writable | Duplex)
_StreamT = TypeVar("_StreamT", bound=Readable | Writable)

class _ErrorMonitor: ...

@final
class EmitterExtra: ...

@final
class InternalListener:
    def __call__(self, *arguments: Any) -> Any: ...

@final
class OnceListener:
    @property
    def listener(self) -> _Listener: ...
    def __call__(self, *arguments: Any) -> Any: ...

@disjoint_base
class EventEmitter:
    error_monitor: ClassVar[_ErrorMonitor]
    default_max_listeners: ClassVar[float]
    capture_rejections: ClassVar[bool]
    def __init__(self, *, capture_rejections: bool | None = None) -> None: ...
    def _init_emitter(self, capture_rejections: bool | None = None) -> None: ...
    def _listener_failed(
        self, error: BaseException, event: Hashable, arguments: tuple[Any, ...], captured: bool
    ) -> None: ...
    def emit(self, event: Hashable, *arguments: Any) -> bool: ...
    # Events, by tools/stubs.py
    @overload
    def on(
        self: _SocketT, event: Literal["close"], listener: Callable[[bool], object]
    ) -> _SocketT: ...
    @overload
    def on(
        self: _SocketT,
        event: Literal["connect", "ready", "timeout"],
        listener: Callable[[], object],
    ) -> _SocketT: ...
    @overload
    def on(
        self: _SocketT,
        event: Literal["connectionAttempt"],
        listener: Callable[[Any, Any, Any], object],
    ) -> _SocketT: ...
    @overload
    def on(
        self: _SocketT,
        event: Literal["connectionAttemptFailed"],
        listener: Callable[[Any, Any, Any, BaseException], object],
    ) -> _SocketT: ...
    @overload
    def on(
        self: _SocketT,
        event: Literal["connectionAttemptTimeout"],
        listener: Callable[[str, int, int], object],
    ) -> _SocketT: ...
    @overload
    def on(
        self: _SocketT,
        event: Literal["lookup"],
        listener: Callable[[BaseException | None, str | None, int | None, str], object],
    ) -> _SocketT: ...
    @overload
    def on(
        self: _ServerT, event: Literal["close", "listening"], listener: Callable[[], object]
    ) -> _ServerT: ...
    @overload
    def on(
        self: _ServerT, event: Literal["connection"], listener: Callable[[Socket], object]
    ) -> _ServerT: ...
    @overload
    def on(
        self: _ServerT, event: Literal["drop"], listener: Callable[[Any], object]
    ) -> _ServerT: ...
    @overload
    def on(
        self: _ServerT, event: Literal["error"], listener: Callable[[BaseException], object]
    ) -> _ServerT: ...
    @overload
    def on(
        self: _ReadableT, event: Literal["data"], listener: Callable[[bytes], object]
    ) -> _ReadableT: ...
    @overload
    def on(
        self: _ReadableT,
        event: Literal["end", "pause", "readable", "resume"],
        listener: Callable[[], object],
    ) -> _ReadableT: ...
    @overload
    def on(
        self: _WritableT, event: Literal["drain", "finish"], listener: Callable[[], object]
    ) -> _WritableT: ...
    @overload
    def on(
        self: _WritableT, event: Literal["pipe", "unpipe"], listener: Callable[[Readable], object]
    ) -> _WritableT: ...
    @overload
    def on(self: _StreamT, event: Literal["close"], listener: Callable[[], object]) -> _StreamT: ...
    @overload
    def on(
        self: _StreamT, event: Literal["error"], listener: Callable[[BaseException], object]
    ) -> _StreamT: ...
    @overload
    def on(self, event: Hashable, listener: None = None) -> Callable[[_F], _F]: ...
    @overload
    def on(self, event: Hashable, listener: _Listener) -> Self: ...
    add_listener = on
    @overload
    def once(
        self: _SocketT, event: Literal["close"], listener: Callable[[bool], object]
    ) -> _SocketT: ...
    @overload
    def once(
        self: _SocketT,
        event: Literal["connect", "ready", "timeout"],
        listener: Callable[[], object],
    ) -> _SocketT: ...
    @overload
    def once(
        self: _SocketT,
        event: Literal["connectionAttempt"],
        listener: Callable[[Any, Any, Any], object],
    ) -> _SocketT: ...
    @overload
    def once(
        self: _SocketT,
        event: Literal["connectionAttemptFailed"],
        listener: Callable[[Any, Any, Any, BaseException], object],
    ) -> _SocketT: ...
    @overload
    def once(
        self: _SocketT,
        event: Literal["connectionAttemptTimeout"],
        listener: Callable[[str, int, int], object],
    ) -> _SocketT: ...
    @overload
    def once(
        self: _SocketT,
        event: Literal["lookup"],
        listener: Callable[[BaseException | None, str | None, int | None, str], object],
    ) -> _SocketT: ...
    @overload
    def once(
        self: _ServerT, event: Literal["close", "listening"], listener: Callable[[], object]
    ) -> _ServerT: ...
    @overload
    def once(
        self: _ServerT, event: Literal["connection"], listener: Callable[[Socket], object]
    ) -> _ServerT: ...
    @overload
    def once(
        self: _ServerT, event: Literal["drop"], listener: Callable[[Any], object]
    ) -> _ServerT: ...
    @overload
    def once(
        self: _ServerT, event: Literal["error"], listener: Callable[[BaseException], object]
    ) -> _ServerT: ...
    @overload
    def once(
        self: _ReadableT, event: Literal["data"], listener: Callable[[bytes], object]
    ) -> _ReadableT: ...
    @overload
    def once(
        self: _ReadableT,
        event: Literal["end", "pause", "readable", "resume"],
        listener: Callable[[], object],
    ) -> _ReadableT: ...
    @overload
    def once(
        self: _WritableT, event: Literal["drain", "finish"], listener: Callable[[], object]
    ) -> _WritableT: ...
    @overload
    def once(
        self: _WritableT, event: Literal["pipe", "unpipe"], listener: Callable[[Readable], object]
    ) -> _WritableT: ...
    @overload
    def once(
        self: _StreamT, event: Literal["close"], listener: Callable[[], object]
    ) -> _StreamT: ...
    @overload
    def once(
        self: _StreamT, event: Literal["error"], listener: Callable[[BaseException], object]
    ) -> _StreamT: ...
    @overload
    def once(self, event: Hashable, listener: None = None) -> Callable[[_F], _F]: ...
    @overload
    def once(self, event: Hashable, listener: _Listener) -> Self: ...
    @overload
    def prepend_listener(
        self: _SocketT, event: Literal["close"], listener: Callable[[bool], object]
    ) -> _SocketT: ...
    @overload
    def prepend_listener(
        self: _SocketT,
        event: Literal["connect", "ready", "timeout"],
        listener: Callable[[], object],
    ) -> _SocketT: ...
    @overload
    def prepend_listener(
        self: _SocketT,
        event: Literal["connectionAttempt"],
        listener: Callable[[Any, Any, Any], object],
    ) -> _SocketT: ...
    @overload
    def prepend_listener(
        self: _SocketT,
        event: Literal["connectionAttemptFailed"],
        listener: Callable[[Any, Any, Any, BaseException], object],
    ) -> _SocketT: ...
    @overload
    def prepend_listener(
        self: _SocketT,
        event: Literal["connectionAttemptTimeout"],
        listener: Callable[[str, int, int], object],
    ) -> _SocketT: ...
    @overload
    def prepend_listener(
        self: _SocketT,
        event: Literal["lookup"],
        listener: Callable[[BaseException | None, str | None, int | None, str], object],
    ) -> _SocketT: ...
    @overload
    def prepend_listener(
        self: _ServerT, event: Literal["close", "listening"], listener: Callable[[], object]
    ) -> _ServerT: ...
    @overload
    def prepend_listener(
        self: _ServerT, event: Literal["connection"], listener: Callable[[Socket], object]
    ) -> _ServerT: ...
    @overload
    def prepend_listener(
        self: _ServerT, event: Literal["drop"], listener: Callable[[Any], object]
    ) -> _ServerT: ...
    @overload
    def prepend_listener(
        self: _ServerT, event: Literal["error"], listener: Callable[[BaseException], object]
    ) -> _ServerT: ...
    @overload
    def prepend_listener(
        self: _ReadableT, event: Literal["data"], listener: Callable[[bytes], object]
    ) -> _ReadableT: ...
    @overload
    def prepend_listener(
        self: _ReadableT,
        event: Literal["end", "pause", "readable", "resume"],
        listener: Callable[[], object],
    ) -> _ReadableT: ...
    @overload
    def prepend_listener(
        self: _WritableT, event: Literal["drain", "finish"], listener: Callable[[], object]
    ) -> _WritableT: ...
    @overload
    def prepend_listener(
        self: _WritableT, event: Literal["pipe", "unpipe"], listener: Callable[[Readable], object]
    ) -> _WritableT: ...
    @overload
    def prepend_listener(
        self: _StreamT, event: Literal["close"], listener: Callable[[], object]
    ) -> _StreamT: ...
    @overload
    def prepend_listener(
        self: _StreamT, event: Literal["error"], listener: Callable[[BaseException], object]
    ) -> _StreamT: ...
    @overload
    def prepend_listener(self, event: Hashable, listener: None = None) -> Callable[[_F], _F]: ...
    @overload
    def prepend_listener(self, event: Hashable, listener: _Listener) -> Self: ...
    @overload
    def prepend_once_listener(
        self: _SocketT, event: Literal["close"], listener: Callable[[bool], object]
    ) -> _SocketT: ...
    @overload
    def prepend_once_listener(
        self: _SocketT,
        event: Literal["connect", "ready", "timeout"],
        listener: Callable[[], object],
    ) -> _SocketT: ...
    @overload
    def prepend_once_listener(
        self: _SocketT,
        event: Literal["connectionAttempt"],
        listener: Callable[[Any, Any, Any], object],
    ) -> _SocketT: ...
    @overload
    def prepend_once_listener(
        self: _SocketT,
        event: Literal["connectionAttemptFailed"],
        listener: Callable[[Any, Any, Any, BaseException], object],
    ) -> _SocketT: ...
    @overload
    def prepend_once_listener(
        self: _SocketT,
        event: Literal["connectionAttemptTimeout"],
        listener: Callable[[str, int, int], object],
    ) -> _SocketT: ...
    @overload
    def prepend_once_listener(
        self: _SocketT,
        event: Literal["lookup"],
        listener: Callable[[BaseException | None, str | None, int | None, str], object],
    ) -> _SocketT: ...
    @overload
    def prepend_once_listener(
        self: _ServerT, event: Literal["close", "listening"], listener: Callable[[], object]
    ) -> _ServerT: ...
    @overload
    def prepend_once_listener(
        self: _ServerT, event: Literal["connection"], listener: Callable[[Socket], object]
    ) -> _ServerT: ...
    @overload
    def prepend_once_listener(
        self: _ServerT, event: Literal["drop"], listener: Callable[[Any], object]
    ) -> _ServerT: ...
    @overload
    def prepend_once_listener(
        self: _ServerT, event: Literal["error"], listener: Callable[[BaseException], object]
    ) -> _ServerT: ...
    @overload
    def prepend_once_listener(
        self: _ReadableT, event: Literal["data"], listener: Callable[[bytes], object]
    ) -> _ReadableT: ...
    @overload
    def prepend_once_listener(
        self: _ReadableT,
        event: Literal["end", "pause", "readable", "resume"],
        listener: Callable[[], object],
    ) -> _ReadableT: ...
    @overload
    def prepend_once_listener(
        self: _WritableT, event: Literal["drain", "finish"], listener: Callable[[], object]
    ) -> _WritableT: ...
    @overload
    def prepend_once_listener(
        self: _WritableT, event: Literal["pipe", "unpipe"], listener: Callable[[Readable], object]
    ) -> _WritableT: ...
    @overload
    def prepend_once_listener(
        self: _StreamT, event: Literal["close"], listener: Callable[[], object]
    ) -> _StreamT: ...
    @overload
    def prepend_once_listener(
        self: _StreamT, event: Literal["error"], listener: Callable[[BaseException], object]
    ) -> _StreamT: ...
    @overload
    def prepend_once_listener(
        self, event: Hashable, listener: None = None
    ) -> Callable[[_F], _F]: ...
    @overload
    def prepend_once_listener(self, event: Hashable, listener: _Listener) -> Self: ...
    # Events end
    def off(self, event: Hashable, listener: _Listener) -> Self: ...
    remove_listener = off
    def remove_all_listeners(self, event: Hashable | None = None) -> Self: ...
    def listener_count(self, event: Hashable, listener: _Listener | None = None) -> int: ...
    def listeners(self, event: Hashable) -> list[_Listener]: ...
    def raw_listeners(self, event: Hashable) -> list[_Listener]: ...
    def event_names(self) -> list[Hashable]: ...
    def set_max_listeners(self, n: float) -> Self: ...
    def get_max_listeners(self) -> float: ...

    # Node's spellings, by tools/stubs.py
    errorMonitor = error_monitor
    defaultMaxListeners = default_max_listeners
    captureRejections = capture_rejections
    addListener = add_listener
    prependListener = prepend_listener
    prependOnceListener = prepend_once_listener
    removeListener = remove_listener
    removeAllListeners = remove_all_listeners
    listenerCount = listener_count
    rawListeners = raw_listeners
    eventNames = event_names
    setMaxListeners = set_max_listeners
    getMaxListeners = get_max_listeners
    # Node's spellings end
