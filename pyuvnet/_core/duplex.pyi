from collections.abc import Mapping
from typing import Any, Unpack

from .._keywords import StreamOptions
from .readable import Readable
from .writable import WritableSide

class Duplex(Readable, WritableSide):
    def __init__(
        self, options: Mapping[str, Any] | None = None, **keywords: Unpack[StreamOptions]
    ) -> None: ...
    @property
    def allow_half_open(self) -> bool: ...
    @allow_half_open.setter
    def allow_half_open(self, value: bool) -> None: ...

    # Node's spellings, by tools/stubs.py
    allowHalfOpen = allow_half_open
    # Node's spellings end
