from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Self, TypeAlias, Unpack, final, overload, type_check_only

from typing_extensions import Buffer

from .._keywords import StreamOptions
from .stream import Stream

STATES: dict[str, str]
TRANSITIONS: dict[tuple[str, str], str]

def state_of(stream: Stream) -> str | None: ...

_Callback: TypeAlias = Callable[[BaseException | None], object]

@final
class WriteCallback:
    def __call__(self, error: BaseException | None = None) -> None: ...

@final
class FailedWrite:
    def __call__(self, error: object) -> None: ...

# What Writable and Duplex, which is a Readable, have in common.
@type_check_only
class WritableSide(Stream):
    @overload
    def write(self, chunk: str | Buffer, encoding: _Callback) -> bool: ...
    @overload
    def write(
        self,
        chunk: str | Buffer,
        encoding: str | None = None,
        callback: _Callback | None = None,
    ) -> bool: ...
    @overload
    def end(self, chunk: _Callback) -> Self: ...
    @overload
    def end(self, chunk: str | Buffer, encoding: _Callback) -> Self: ...
    @overload
    def end(
        self,
        chunk: str | Buffer | None = None,
        encoding: str | None = None,
        callback: _Callback | None = None,
    ) -> Self: ...
    def cork(self) -> None: ...
    def uncork(self) -> None: ...
    def set_default_encoding(self, encoding: str | None = None) -> Self: ...
    @property
    def writable(self) -> bool: ...
    @property
    def writable_length(self) -> int: ...
    @property
    def writable_high_water_mark(self) -> int: ...
    @property
    def writable_need_drain(self) -> bool: ...
    def drained(self) -> Coroutine[Any, Any, None]: ...
    @property
    def writable_ended(self) -> bool: ...
    @property
    def writable_finished(self) -> bool: ...
    @property
    def writable_corked(self) -> int: ...
    @property
    def writable_object_mode(self) -> bool: ...
    @property
    def writable_aborted(self) -> bool: ...

    # Node's spellings, by tools/stubs.py
    setDefaultEncoding = set_default_encoding
    writableLength = writable_length
    writableHighWaterMark = writable_high_water_mark
    writableNeedDrain = writable_need_drain
    writableEnded = writable_ended
    writableFinished = writable_finished
    writableCorked = writable_corked
    writableObjectMode = writable_object_mode
    writableAborted = writable_aborted
    # Node's spellings end

class Writable(WritableSide):
    def __init__(
        self, options: Mapping[str, Any] | None = None, **keywords: Unpack[StreamOptions]
    ) -> None: ...
