from typing import Literal

from typing_extensions import disjoint_base

from .handle import Handle, Request

def handle_kind(
    fd: int,
) -> Literal["TCP", "PIPE", "TTY", "UDP", "FILE", "UNKNOWN", "INVALID"]: ...
def check_read_target(buffer: object) -> None: ...

@disjoint_base
class ReadTarget: ...

@disjoint_base
class StreamHandle(Handle):
    @property
    def reading(self) -> bool: ...

@disjoint_base
class WriteRequest(Request): ...

@disjoint_base
class ShutdownRequest(Request): ...

@disjoint_base
class ConnectRequest(Request): ...
