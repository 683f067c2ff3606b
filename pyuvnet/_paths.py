"""What is a path, among the things that a first argument may be, and its bytes."""

from __future__ import annotations

import os

from ._base import TYPE_CHECKING
from ._base import validation as check
from ._base.hints import place_of_call
from ._core.address import is_ip

if TYPE_CHECKING:
    from collections.abc import Sequence
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
        raise check.arg_value_error(
            name, path, "has a character that paths cannot contain"
        ) from None


def warn_of_host(function: str, args: Sequence[object]) -> None:
    """Warn of a path that looks like a host: people write the host first, as in other libraries."""
    path = args[0]
    if not isinstance(path, str):
        return
    place = path
    scheme, separator, rest = path.partition("://")
    if separator and scheme.isalpha():
        place = rest.partition("/")[0]
    elif os.sep in path:
        return
    host, _, port = place.rpartition(":")
    if is_ip(place) or place == "localhost" or (separator and not port.isdigit()):
        second = args[1] if len(args) > 1 else None
        # A number beyond any port may be too long to be shown.
        host, port = place, str(second) if type(second) is int and 0 <= second < 65536 else "port"
    elif not (port.isdigit() and (is_ip(host) or host == "localhost" or "." in host)):
        return
    import warnings

    warnings.warn_explicit(
        f"{function}({path!r}, ...) refers to a unix socket of that name; for TCP the port comes "
        f"first: {function}({port}, {host!r})",
        RuntimeWarning,
        *place_of_call(),
    )
