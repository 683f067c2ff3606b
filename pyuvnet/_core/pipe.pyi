from typing import final

from .stream_handle import StreamHandle

def remove_stale(path: bytes) -> bool: ...

@final
class Pipe(StreamHandle): ...
