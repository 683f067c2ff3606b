from typing_extensions import disjoint_base

from .handle import Request

AI_ADDRCONFIG: int
AI_V4MAPPED: int
AI_ALL: int

@disjoint_base
class Lookup(Request):
    @property
    def hostname(self) -> str: ...
