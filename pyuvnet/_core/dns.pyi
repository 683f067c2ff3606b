from typing import final

from .handle import Request

AI_ADDRCONFIG: int
AI_V4MAPPED: int
AI_ALL: int

@final
class Lookup(Request):
    @property
    def hostname(self) -> str: ...
