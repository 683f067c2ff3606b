from typing import Any, TypeVar

_T = TypeVar("_T", type, dict[str, Any])

def add_node_names(target: _T) -> _T: ...
