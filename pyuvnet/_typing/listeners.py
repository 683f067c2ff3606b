"""What the stubs of emitters have in common; nothing imports this at run time.

tools/stubs.py writes it, from its table of events.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, Never, Protocol, TypeAlias, TypeVar, overload

from .._core.emitter import _ErrorMonitor
from .._core.readable import Readable
from ..errors import SystemCallError
from ..server import Server
from ..socket import Socket
from ..tls import TLSSocket
from ..typing import DropInfo, OverloadInfo

ErrorMonitor: TypeAlias = _ErrorMonitor

# mypy explains a call that no overload accepts with the first overload whose parameters resemble
# the arguments. The comparison ignores literals and type arguments: a name resembles
# Sequence[Never], and any listener resembles Misfit. Neither accepts anything, and mypy leaves a
# type variable without a value out of what it prints.
_Text_co = TypeVar("_Text_co", covariant=True)


class _Unfit(Protocol[_Text_co]):
    def __str__(self) -> _Text_co: ...  # type: ignore[override]


Misfit = TypeVar("Misfit", bound=_Unfit[Never])
_Event_contra = TypeVar("_Event_contra", contravariant=True)
Same = TypeVar("Same")


# Has no other use than to choose the signature of a listener by its event. Each object has the
# method, so that mypy does not list it as missing.
class Of(Protocol[_Event_contra]):
    def __eq__(self, other: _Event_contra, /) -> bool: ...  # type: ignore[override]


StreamEvent: TypeAlias = (
    Literal[
        "close",
        "error",
        "newListener",
        "removeListener",
    ]
    | ErrorMonitor
)
ReadableEvent: TypeAlias = (
    Literal[
        "close",
        "data",
        "end",
        "error",
        "newListener",
        "oversize",
        "pause",
        "readable",
        "removeListener",
        "resume",
    ]
    | ErrorMonitor
)
WritableEvent: TypeAlias = (
    Literal[
        "close",
        "drain",
        "error",
        "finish",
        "newListener",
        "pipe",
        "removeListener",
        "unpipe",
    ]
    | ErrorMonitor
)
DuplexEvent: TypeAlias = (
    Literal[
        "close",
        "data",
        "drain",
        "end",
        "error",
        "finish",
        "newListener",
        "oversize",
        "pause",
        "pipe",
        "readable",
        "removeListener",
        "resume",
        "unpipe",
    ]
    | ErrorMonitor
)
SocketBaseEvent: TypeAlias = (
    Literal[
        "close",
        "connect",
        "connectionAttempt",
        "connectionAttemptFailed",
        "connectionAttemptTimeout",
        "data",
        "drain",
        "end",
        "error",
        "finish",
        "handle",
        "lookup",
        "newListener",
        "oversize",
        "pause",
        "pipe",
        "readable",
        "ready",
        "removeListener",
        "resume",
        "secure",
        "secureConnect",
        "session",
        "shutdown",
        "timeout",
        "unpipe",
    ]
    | ErrorMonitor
)
ServerBaseEvent: TypeAlias = (
    Literal[
        "close",
        "connection",
        "drop",
        "error",
        "listening",
        "newListener",
        "overload",
        "removeListener",
        "secureConnection",
        "shutdown",
        "tlsClientError",
    ]
    | ErrorMonitor
)
TextReadableEvent: TypeAlias = (
    Literal[
        "close",
        "data",
        "end",
        "error",
        "newListener",
        "oversize",
        "pause",
        "readable",
        "removeListener",
        "resume",
    ]
    | ErrorMonitor
)
TextDuplexEvent: TypeAlias = (
    Literal[
        "close",
        "data",
        "drain",
        "end",
        "error",
        "finish",
        "newListener",
        "oversize",
        "pause",
        "pipe",
        "readable",
        "removeListener",
        "resume",
        "unpipe",
    ]
    | ErrorMonitor
)
TextSocketEvent: TypeAlias = (
    Literal[
        "close",
        "connect",
        "connectionAttempt",
        "connectionAttemptFailed",
        "connectionAttemptTimeout",
        "data",
        "drain",
        "end",
        "error",
        "finish",
        "handle",
        "lookup",
        "newListener",
        "oversize",
        "pause",
        "pipe",
        "readable",
        "ready",
        "removeListener",
        "resume",
        "secure",
        "secureConnect",
        "session",
        "shutdown",
        "timeout",
        "unpipe",
    ]
    | ErrorMonitor
)
OfNothing = TypeVar("OfNothing", bound="Callable[[], object]")
OfError = TypeVar("OfError", bound="Callable[[SystemCallError], object]")
OfNameListener = TypeVar("OfNameListener", bound="Callable[[Any, Callable[..., Any]], object]")
OfChunk = TypeVar("OfChunk", bound="Callable[[bytes], object] | Callable[[str], object]")
OfSize = TypeVar("OfSize", bound="Callable[[int], object]")
OfSource = TypeVar("OfSource", bound="Callable[[Readable], object]")
OfHadError = TypeVar("OfHadError", bound="Callable[[bool], object]")
OfAddressPortFamily = TypeVar(
    "OfAddressPortFamily",
    bound="Callable[[str, int | Any, int | Any], object]",
)
OfAddressPortFamilyError = TypeVar(
    "OfAddressPortFamilyError",
    bound="Callable[[str, int | Any, int | Any, SystemCallError], object]",
)
OfIpPortFamily = TypeVar("OfIpPortFamily", bound="Callable[[str, int, int], object]")
OfHandleData = TypeVar("OfHandleData", bound="Callable[[Socket | Server, bytes], object]")
OfErrorAddressFamilyHost = TypeVar(
    "OfErrorAddressFamilyHost",
    bound="Callable[[SystemCallError | None, str | None, int | None, str], object]",
)
OfSession = TypeVar("OfSession", bound="Callable[[Any], object]")
OfSocket = TypeVar("OfSocket", bound="Callable[[Socket], object]")
OfInfo = TypeVar("OfInfo", bound="Callable[[DropInfo | Any], object]")
OfOverload = TypeVar("OfOverload", bound="Callable[[OverloadInfo], object]")
OfSecured = TypeVar("OfSecured", bound="Callable[[TLSSocket], object]")
OfFailureSecured = TypeVar("OfFailureSecured", bound="Callable[[Exception, TLSSocket], object]")
OfText = TypeVar("OfText", bound="Callable[[str], object]")
EventOfStream = TypeVar("EventOfStream", bound="StreamEvent | Sequence[Never]")
EventOfReadable = TypeVar("EventOfReadable", bound="ReadableEvent | Sequence[Never]")
EventOfWritable = TypeVar("EventOfWritable", bound="WritableEvent | Sequence[Never]")
EventOfDuplex = TypeVar("EventOfDuplex", bound="DuplexEvent | Sequence[Never]")
EventOfSocket = TypeVar("EventOfSocket", bound="SocketBaseEvent | Sequence[Never]")
EventOfServer = TypeVar("EventOfServer", bound="ServerBaseEvent | Sequence[Never]")
EventOfTextReadable = TypeVar("EventOfTextReadable", bound="TextReadableEvent | Sequence[Never]")
EventOfTextDuplex = TypeVar("EventOfTextDuplex", bound="TextDuplexEvent | Sequence[Never]")
EventOfTextSocket = TypeVar("EventOfTextSocket", bound="TextSocketEvent | Sequence[Never]")


class ReadableListener(Of[_Event_contra], Protocol[_Event_contra]):
    @overload
    def __call__(
        self: Of[Literal["close", "end", "pause", "readable", "resume"]], **_: Never
    ) -> object: ...
    @overload
    def __call__(self: Of[Literal["data"]], chunk: bytes, **_: Never) -> object: ...
    @overload
    def __call__(self: Of[Literal["error"]], error: SystemCallError, **_: Never) -> object: ...
    @overload
    def __call__(
        self: Of[Literal["newListener", "removeListener"]],
        name: Any,
        listener: Callable[..., Any],
        **_: Never,
    ) -> object: ...
    @overload
    def __call__(self: Of[Literal["oversize"]], size: int, **_: Never) -> object: ...


class WritableListener(Of[_Event_contra], Protocol[_Event_contra]):
    @overload
    def __call__(self: Of[Literal["close", "drain", "finish"]], **_: Never) -> object: ...
    @overload
    def __call__(self: Of[Literal["error"]], error: SystemCallError, **_: Never) -> object: ...
    @overload
    def __call__(
        self: Of[Literal["newListener", "removeListener"]],
        name: Any,
        listener: Callable[..., Any],
        **_: Never,
    ) -> object: ...
    @overload
    def __call__(self: Of[Literal["pipe", "unpipe"]], source: Readable, **_: Never) -> object: ...


class DuplexListener(Of[_Event_contra], Protocol[_Event_contra]):
    @overload
    def __call__(
        self: Of[Literal["close", "drain", "end", "finish", "pause", "readable", "resume"]],
        **_: Never,
    ) -> object: ...
    @overload
    def __call__(self: Of[Literal["data"]], chunk: bytes, **_: Never) -> object: ...
    @overload
    def __call__(self: Of[Literal["error"]], error: SystemCallError, **_: Never) -> object: ...
    @overload
    def __call__(
        self: Of[Literal["newListener", "removeListener"]],
        name: Any,
        listener: Callable[..., Any],
        **_: Never,
    ) -> object: ...
    @overload
    def __call__(self: Of[Literal["oversize"]], size: int, **_: Never) -> object: ...
    @overload
    def __call__(self: Of[Literal["pipe", "unpipe"]], source: Readable, **_: Never) -> object: ...


class SocketListener(Of[_Event_contra], Protocol[_Event_contra]):
    @overload
    def __call__(self: Of[Literal["close"]], had_error: bool, **_: Never) -> object: ...
    @overload
    def __call__(
        self: Of[
            Literal[
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
            ]
        ],
        **_: Never,
    ) -> object: ...
    @overload
    def __call__(
        self: Of[Literal["connectionAttempt"]],
        address: str,
        port: int | Any,
        family: int | Any,
        **_: Never,
    ) -> object: ...
    @overload
    def __call__(
        self: Of[Literal["connectionAttemptFailed"]],
        address: str,
        port: int | Any,
        family: int | Any,
        error: SystemCallError,
        **_: Never,
    ) -> object: ...
    @overload
    def __call__(
        self: Of[Literal["connectionAttemptTimeout"]], ip: str, port: int, family: int, **_: Never
    ) -> object: ...
    @overload
    def __call__(self: Of[Literal["data"]], chunk: bytes, **_: Never) -> object: ...
    @overload
    def __call__(self: Of[Literal["error"]], error: SystemCallError, **_: Never) -> object: ...
    @overload
    def __call__(
        self: Of[Literal["handle"]], handle: Socket | Server, data: bytes, **_: Never
    ) -> object: ...
    @overload
    def __call__(
        self: Of[Literal["lookup"]],
        error: SystemCallError | None,
        address: str | None,
        family: int | None,
        host: str,
        **_: Never,
    ) -> object: ...
    @overload
    def __call__(
        self: Of[Literal["newListener", "removeListener"]],
        name: Any,
        listener: Callable[..., Any],
        **_: Never,
    ) -> object: ...
    @overload
    def __call__(self: Of[Literal["oversize"]], size: int, **_: Never) -> object: ...
    @overload
    def __call__(self: Of[Literal["pipe", "unpipe"]], source: Readable, **_: Never) -> object: ...
    @overload
    def __call__(self: Of[Literal["session"]], session: Any, **_: Never) -> object: ...


class ServerListener(Of[_Event_contra], Protocol[_Event_contra]):
    @overload
    def __call__(self: Of[Literal["close", "listening", "shutdown"]], **_: Never) -> object: ...
    @overload
    def __call__(self: Of[Literal["connection"]], socket: Socket, **_: Never) -> object: ...
    @overload
    def __call__(self: Of[Literal["drop"]], info: DropInfo | Any, **_: Never) -> object: ...
    @overload
    def __call__(self: Of[Literal["error"]], error: SystemCallError, **_: Never) -> object: ...
    @overload
    def __call__(
        self: Of[Literal["newListener", "removeListener"]],
        name: Any,
        listener: Callable[..., Any],
        **_: Never,
    ) -> object: ...
    @overload
    def __call__(self: Of[Literal["overload"]], overload: OverloadInfo, **_: Never) -> object: ...
    @overload
    def __call__(
        self: Of[Literal["secureConnection"]], secured: TLSSocket, **_: Never
    ) -> object: ...
    @overload
    def __call__(
        self: Of[Literal["tlsClientError"]], failure: Exception, secured: TLSSocket, **_: Never
    ) -> object: ...


class TextReadableListener(Of[_Event_contra], Protocol[_Event_contra]):
    @overload
    def __call__(
        self: Of[Literal["close", "end", "pause", "readable", "resume"]], **_: Never
    ) -> object: ...
    @overload
    def __call__(self: Of[Literal["data"]], text: str, **_: Never) -> object: ...
    @overload
    def __call__(self: Of[Literal["error"]], error: SystemCallError, **_: Never) -> object: ...
    @overload
    def __call__(
        self: Of[Literal["newListener", "removeListener"]],
        name: Any,
        listener: Callable[..., Any],
        **_: Never,
    ) -> object: ...
    @overload
    def __call__(self: Of[Literal["oversize"]], size: int, **_: Never) -> object: ...


class TextDuplexListener(Of[_Event_contra], Protocol[_Event_contra]):
    @overload
    def __call__(
        self: Of[Literal["close", "drain", "end", "finish", "pause", "readable", "resume"]],
        **_: Never,
    ) -> object: ...
    @overload
    def __call__(self: Of[Literal["data"]], text: str, **_: Never) -> object: ...
    @overload
    def __call__(self: Of[Literal["error"]], error: SystemCallError, **_: Never) -> object: ...
    @overload
    def __call__(
        self: Of[Literal["newListener", "removeListener"]],
        name: Any,
        listener: Callable[..., Any],
        **_: Never,
    ) -> object: ...
    @overload
    def __call__(self: Of[Literal["oversize"]], size: int, **_: Never) -> object: ...
    @overload
    def __call__(self: Of[Literal["pipe", "unpipe"]], source: Readable, **_: Never) -> object: ...


class TextSocketListener(Of[_Event_contra], Protocol[_Event_contra]):
    @overload
    def __call__(self: Of[Literal["close"]], had_error: bool, **_: Never) -> object: ...
    @overload
    def __call__(
        self: Of[
            Literal[
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
            ]
        ],
        **_: Never,
    ) -> object: ...
    @overload
    def __call__(
        self: Of[Literal["connectionAttempt"]],
        address: str,
        port: int | Any,
        family: int | Any,
        **_: Never,
    ) -> object: ...
    @overload
    def __call__(
        self: Of[Literal["connectionAttemptFailed"]],
        address: str,
        port: int | Any,
        family: int | Any,
        error: SystemCallError,
        **_: Never,
    ) -> object: ...
    @overload
    def __call__(
        self: Of[Literal["connectionAttemptTimeout"]], ip: str, port: int, family: int, **_: Never
    ) -> object: ...
    @overload
    def __call__(self: Of[Literal["data"]], text: str, **_: Never) -> object: ...
    @overload
    def __call__(self: Of[Literal["error"]], error: SystemCallError, **_: Never) -> object: ...
    @overload
    def __call__(
        self: Of[Literal["handle"]], handle: Socket | Server, data: bytes, **_: Never
    ) -> object: ...
    @overload
    def __call__(
        self: Of[Literal["lookup"]],
        error: SystemCallError | None,
        address: str | None,
        family: int | None,
        host: str,
        **_: Never,
    ) -> object: ...
    @overload
    def __call__(
        self: Of[Literal["newListener", "removeListener"]],
        name: Any,
        listener: Callable[..., Any],
        **_: Never,
    ) -> object: ...
    @overload
    def __call__(self: Of[Literal["oversize"]], size: int, **_: Never) -> object: ...
    @overload
    def __call__(self: Of[Literal["pipe", "unpipe"]], source: Readable, **_: Never) -> object: ...
    @overload
    def __call__(self: Of[Literal["session"]], session: Any, **_: Never) -> object: ...
