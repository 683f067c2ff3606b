from collections.abc import Callable, Mapping
from typing import Any, Unpack

from . import promises
from ._core.address import is_ip, is_ipv4, is_ipv6
from ._options.deadlines import GUARDED
from ._server.shutdown import ShutdownResult
from ._server.systemd import listen_fds
from ._typing.keywords import ServerOptions
from .blocklist import BlockList
from .boundsocket import BoundSocket
from .server import Server
from .socket import Socket, create_connection
from .socketaddress import SocketAddress

__all__ = [
    "GUARDED",
    "BlockList",
    "BoundSocket",
    "Server",
    "ShutdownResult",
    "Socket",
    "SocketAddress",
    "Stream",
    "connect",
    "create_connection",
    "create_server",
    "get_default_auto_select_family",
    "get_default_auto_select_family_attempt_timeout",
    "is_ip",
    "is_ipv4",
    "is_ipv6",
    "listen_fds",
    "promises",
    "set_default_auto_select_family",
    "set_default_auto_select_family_attempt_timeout",
]

Stream = Socket

def create_server(
    options: Mapping[str, Any] | Callable[[Socket], object] | None = None,
    connection_listener: Callable[[Socket], object] | None = None,
    **keywords: Unpack[ServerOptions],
) -> Server: ...

connect = create_connection

def get_default_auto_select_family() -> bool: ...
def set_default_auto_select_family(value: bool | None = None) -> None: ...
def get_default_auto_select_family_attempt_timeout() -> int: ...
def set_default_auto_select_family_attempt_timeout(value: int | None = None) -> None: ...
