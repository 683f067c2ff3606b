from collections.abc import Mapping
from typing import Any, Literal, Self

from typing_extensions import disjoint_base

from .._base.info import Info

@disjoint_base
class SocketAddress:
    def __new__(
        cls,
        options: Mapping[str, Any] | None = None,
        *,
        address: str | None = None,
        family: str | None = None,
        port: int | str | None = None,
        flowlabel: int | None = None,
    ) -> Self: ...
    @property
    def address(self) -> str: ...
    @property
    def family(self) -> Literal["ipv4", "ipv6"]: ...
    @property
    def port(self) -> int: ...
    @property
    def flowlabel(self) -> int: ...
    def to_json(self) -> Info: ...
    @staticmethod
    def is_socket_address(value: object = None) -> bool: ...
    @staticmethod
    def parse(input: str) -> SocketAddress | None: ...
    def __eq__(self, value: object, /) -> bool: ...
    def __hash__(self) -> int: ...

    # Node's spellings, by tools/stubs.py
    toJSON = to_json
    isSocketAddress = is_socket_address
    # Node's spellings end
