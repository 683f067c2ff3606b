from typing import Literal, final

from typing_extensions import disjoint_base

from .handle import Handle, Request

def handle_kind(
    fd: int,
) -> Literal["TCP", "PIPE", "TTY", "UDP", "FILE", "UNKNOWN", "INVALID"]: ...
def check_read_target(buffer: object) -> None: ...

@final
class ReadTarget: ...

@disjoint_base
class StreamHandle(Handle):
    @property
    def reading(self) -> bool: ...

@final
class StreamRequest(Request): ...
