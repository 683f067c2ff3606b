from typing import final

@final
class Limits:
    idle: int
    first_byte: int
    write: int
    lifetime: int
    rate_bytes: int
    rate_ms: int
    def __init__(
        self,
        idle: int = 0,
        first_byte: int = 0,
        write: int = 0,
        lifetime: int = 0,
        rate_bytes: int = 0,
        rate_ms: int = 0,
    ) -> None: ...
