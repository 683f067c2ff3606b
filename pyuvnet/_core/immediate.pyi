from typing import Self, final

from .loop import LoopPart

def clear_immediate(immediate: Immediate | None) -> None: ...

@final
class ImmediateQueue(LoopPart): ...

@final
class Immediate:
    def ref(self) -> Self: ...
    def unref(self) -> Self: ...
    def has_ref(self) -> bool: ...
    def close(self) -> None: ...

    # Node's spellings, by tools/stubs.py
    hasRef = has_ref
    # Node's spellings end

# Node's spellings, by tools/stubs.py
clearImmediate = clear_immediate
# Node's spellings end
