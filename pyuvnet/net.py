"""Node's net module: servers and clients over TCP and IPC.

    from pyuvnet import net
    server = net.create_server(lambda socket: socket.on("data", socket.write))

Node: net
"""

from __future__ import annotations

from . import promises
from ._base import TYPE_CHECKING
from ._base import validation as check
from ._client.connecting import defaults
from ._core.address import is_ip, is_ipv4, is_ipv6
from ._core.names import add_node_names
from ._options.deadlines import GUARDED
from ._server.shutdown import ShutdownResult
from ._server.systemd import listen_fds
from .blocklist import BlockList
from .boundsocket import BoundSocket
from .server import Server
from .socket import Socket, create_connection
from .socketaddress import SocketAddress

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Unpack

    from ._typing.keywords import ServerOptions

Stream = Socket


def create_server(
    options: Mapping[str, Any] | Callable[[Socket], object] | None = None,
    connection_listener: Callable[[Socket], object] | None = None,
    **keywords: Unpack[ServerOptions],
) -> Server:
    """Create a server; same as Server(...).

    Args:
        options: a mapping of Server's options, or the connection listener.
        connection_listener: callable(socket), added to 'connection'.

    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE, ERR_UNKNOWN_OPTION).

    Node: net.createServer()
    """
    return Server(options, connection_listener, **keywords)


connect = create_connection


def get_default_auto_select_family() -> bool:
    """Return the default of connect()'s auto_select_family (True unless set).

    Node: net.getDefaultAutoSelectFamily()
    """
    return bool(defaults["auto_select_family"])


def set_default_auto_select_family(value: bool | None = None) -> None:
    """Set the default of connect()'s auto_select_family for this process.

    Args:
        value: bool.

    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE).

    Node: net.setDefaultAutoSelectFamily()
    """
    defaults["auto_select_family"] = check.validate_boolean(value, "value")


def get_default_auto_select_family_attempt_timeout() -> int:
    """Return the default time limit of an attempt, in ms (500 unless set).

    Node: net.getDefaultAutoSelectFamilyAttemptTimeout()
    """
    return int(defaults["attempt_timeout"])


def set_default_auto_select_family_attempt_timeout(value: int | None = None) -> None:
    """Set the default time limit of an attempt.

    Args:
        value: int, ms; 1 to 9 are stored as 10.

    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE), RangeError (ERR_OUT_OF_RANGE).

    Node: net.setDefaultAutoSelectFamilyAttemptTimeout()
    """
    defaults["attempt_timeout"] = max(check.validate_int32(value, "value", 1), 10)


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
add_node_names(globals())
