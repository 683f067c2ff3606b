from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping
from typing import Any, Final, Self, TypeVar

from typing_extensions import Buffer

from .stream import Stream

_Dest = TypeVar("_Dest")

MAX_MARK: Final = 1073741824

def set_stream_hooks(
    iterator: Callable[[Readable, bool], AsyncIterator[Any]],
    from_iterable: Callable[..., Readable],
    standard: Callable[[object], Any],
) -> None: ...

class Readable(Stream):
    def __init__(
        self,
        options: Mapping[str, Any] | None = None,
        *,
        encoding: str | None = None,
        auto_destroy: bool = True,
        emit_close: bool = True,
        capture_rejections: bool | None = None,
        high_water_mark: int | None = None,
        readable_high_water_mark: int | None = None,
        **keywords: Any,
    ) -> None: ...
    def pause(self) -> Self: ...
    def resume(self) -> Self: ...
    def is_paused(self) -> bool: ...
    # bytes, or str once an encoding is set: a union would have every caller test for both.
    def read(self, size: int | None = None) -> Any: ...
    def set_encoding(self, encoding: str | None = None) -> Self: ...
    def unshift(self, chunk: str | Buffer, encoding: str | None = None) -> bool: ...
    def pipe(
        self, dest: _Dest, options: Mapping[str, Any] | None = None, *, end: bool = True
    ) -> _Dest: ...
    def unpipe(self, dest: object = None) -> Self: ...
    @staticmethod
    def from_iterable(iterable: Iterable[Any] | AsyncIterable[Any], **options: Any) -> Readable: ...
    def __aiter__(self) -> AsyncIterator[Any]: ...
    def iterator(self, destroy_on_return: bool = True) -> AsyncIterator[Any]: ...
    @property
    def readable(self) -> bool: ...
    @property
    def readable_flowing(self) -> bool | None: ...
    @property
    def readable_length(self) -> int: ...
    @property
    def readable_high_water_mark(self) -> int: ...
    @property
    def readable_encoding(self) -> str | None: ...
    @property
    def readable_ended(self) -> bool: ...
    @property
    def readable_did_read(self) -> bool: ...
    @property
    def readable_aborted(self) -> bool: ...
    @property
    def readable_object_mode(self) -> bool: ...
    def push(self, chunk: str | Buffer | None, encoding: str | None = None) -> bool: ...

    # Node's spellings, by tools/stubs.py
    isPaused = is_paused
    setEncoding = set_encoding
    fromIterable = from_iterable
    readableFlowing = readable_flowing
    readableLength = readable_length
    readableHighWaterMark = readable_high_water_mark
    readableEncoding = readable_encoding
    readableEnded = readable_ended
    readableDidRead = readable_did_read
    readableAborted = readable_aborted
    readableObjectMode = readable_object_mode
    # Node's spellings end
