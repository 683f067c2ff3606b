from collections.abc import Callable
from typing import Literal, final

from typing_extensions import Buffer

from .framing import Framing

@final
class Lines(Framing):
    def __init__(
        self,
        delimiter: Buffer = b"\n",
        *,
        limit: int | None = None,
        keep_delimiter: bool | None = None,
        strip_cr: bool | None = None,
        oversize: Literal["error", "discard"] | None = None,
    ) -> None: ...
    @property
    def delimiter(self) -> bytes: ...
    @property
    def limit(self) -> int: ...
    @property
    def keep_delimiter(self) -> bool: ...
    @property
    def strip_cr(self) -> bool: ...
    @property
    def oversize(self) -> Literal["error", "discard"]: ...

@final
class LengthPrefix(Framing):
    def __init__(
        self,
        size: Literal[1, 2, 3, 4, 8] = 4,
        *,
        byteorder: Literal["big", "little"] | None = None,
        limit: int | None = None,
        includes_itself: bool | None = None,
    ) -> None: ...
    @property
    def size(self) -> int: ...
    @property
    def byteorder(self) -> Literal["big", "little"]: ...
    @property
    def limit(self) -> int: ...
    @property
    def includes_itself(self) -> bool: ...

@final
class VarintPrefix(Framing):
    def __init__(self, *, limit: int | None = None) -> None: ...
    @property
    def limit(self) -> int: ...

@final
class Netstrings(Framing):
    def __init__(self, *, limit: int | None = None) -> None: ...
    @property
    def limit(self) -> int: ...

@final
class Fixed(Framing):
    def __init__(self, size: int) -> None: ...
    @property
    def size(self) -> int: ...

@final
class Header(Framing):
    def __init__(
        self, size: int, length: Callable[[bytes], int], *, limit: int | None = None
    ) -> None: ...
    @property
    def size(self) -> int: ...
    @property
    def length(self) -> Callable[[bytes], int]: ...
    @property
    def limit(self) -> int: ...
