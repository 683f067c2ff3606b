"""What is a path, among the things that a first argument may be, and its bytes."""

from __future__ import annotations

import os

from . import _validate as check
from ._typed import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any


def is_path(value: object) -> bool:
    """Whether a first positional argument is a path rather than a port."""
    if isinstance(value, (bytes, os.PathLike)):
        return True
    if isinstance(value, str):
        number = check.js_number(value)
        return number is None or not number >= 0
    return False


def path_bytes(path: Any, name: str) -> bytes:
    """The bytes of an IPC path; `name` is the option's, for the error."""
    try:
        return os.fsencode(path)
    except UnicodeEncodeError:
        raise check.arg_value_error(name, path, "has a character that no path can have") from None
