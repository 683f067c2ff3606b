from collections.abc import Callable
from typing import Any, Final, Self, final

from typing_extensions import disjoint_base

from .handle import Handle

MAX_TIMEOUT: Final = 2147483647

def set_timeout(callback: Callable[..., object], ms: float = 1, *args: Any) -> Timeout: ...
def set_interval(callback: Callable[..., object], ms: float = 1, *args: Any) -> Timeout: ...
def clear_timeout(timeout: Timeout | None) -> None: ...
def clear_interval(interval: Timeout | None) -> None: ...

@final
class TimerQueue(Handle): ...

@disjoint_base
class Timer: ...

@final
class IdleTimeout(Timer):
    @property
    def requested(self) -> float: ...

@final
class Timeout(Timer):
    def ref(self) -> Self: ...
    def unref(self) -> Self: ...
    def has_ref(self) -> bool: ...
    def refresh(self) -> Self: ...
    def close(self) -> Self: ...

    # Node's spellings, by tools/stubs.py
    hasRef = has_ref
    # Node's spellings end

# Node's spellings, by tools/stubs.py
setTimeout = set_timeout
setInterval = set_interval
clearTimeout = clear_timeout
clearInterval = clear_interval
# Node's spellings end
