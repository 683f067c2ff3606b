"""What the stubs of emitters have in common; nothing imports this at run time.

tools/stubs.py writes it, from its table of events.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias, TypeVar

from .._core.emitter import _ErrorMonitor
from .._core.readable import Readable
from ..errors import SystemCallError
from ..server import Server
from ..socket import Socket
from ..tls import TLSSocket
from ..typing import DropInfo, OverloadInfo

ErrorMonitor: TypeAlias = _ErrorMonitor
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
