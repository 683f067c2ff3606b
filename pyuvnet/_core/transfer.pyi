from collections.abc import Callable
from typing import TypeVar

from .loop import Loop
from .server_base import ServerBase
from .socket_base import SocketBase

_Socket = TypeVar("_Socket", bound=SocketBase)
_Server = TypeVar("_Server", bound=ServerBase)

def check_socket(socket: SocketBase) -> None: ...
def transfer_socket(
    socket: _Socket, loop: Loop, callback: Callable[[_Socket], object] | None
) -> None: ...
def check_server(server: ServerBase) -> None: ...
def transfer_server(
    server: _Server, loop: Loop, callback: Callable[[_Server], object] | None
) -> None: ...
