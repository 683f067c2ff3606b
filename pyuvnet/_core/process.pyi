from collections.abc import Callable
from typing import final

from .handle import Handle

@final
class DescriptorWatch(Handle):
    def cancel(self) -> None: ...

def watch_descriptor(fd: int, callback: Callable[[], object]) -> DescriptorWatch: ...
