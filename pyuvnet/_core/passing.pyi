from collections.abc import Callable
from typing import final

from .layer import Layer
from .loop import Continuation
from .socket_base import SocketBase

@final
class Carried: ...

@final
class Passing(Layer): ...

@final
class Delivery(Continuation): ...

def pass_handles(socket: SocketBase) -> None: ...
def check_passing(socket: SocketBase) -> None: ...
def send_descriptor(
    socket: SocketBase,
    fd: int,
    data: bytes,
    callback: Callable[[BaseException | None], object] | None,
) -> bool: ...
