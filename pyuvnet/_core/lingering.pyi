from typing import final

from .socket_base import SocketBase
from .timer import Timer
from .waiter import Waiter

def linger(socket: SocketBase) -> Waiter[None]: ...

@final
class Lingering(Timer):
    def __call__(self, *_: object) -> None: ...
    def leave(self) -> None: ...
