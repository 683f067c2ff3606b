from typing import Any, TypeAlias

from .loop import Loop

_Name: TypeAlias = tuple[str, int, str] | None

def describe(
    loop: Loop,
) -> list[tuple[str, Any, bool, bool, bool, tuple[str, ...], _Name, _Name]]: ...
