from typing import final

from typing_extensions import disjoint_base

from .emitter import EventEmitter
from .loop import Loop
from .socket_base import SocketBase
from .timer import Timer
from .waiter import Waiter

def seen_off(loop: Loop) -> int: ...
def linger(socket: SocketBase) -> Waiter[None]: ...

@disjoint_base
class Patience(Timer): ...

@final
class Lingering(Patience):
    def __call__(self, *_: object) -> None: ...
    def leave(self) -> None: ...

@final
class Watch(Patience): ...

@final
class Remains(EventEmitter): ...
