from collections.abc import Callable
from typing import Any

FUNCTIONS: dict[str, str]
METHODS: dict[str, str]

def provide(**functions: Callable[..., Any]) -> None: ...
def missing() -> list[str]: ...
