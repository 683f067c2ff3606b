"""What is a path, among the things that a first argument may be, and its bytes."""

from __future__ import annotations

import os

from .._base import TYPE_CHECKING
from .._base import validation as check
from .._base.hints import hint, place_of_call
from .._base.notation import notation
from .._core.address import is_ip

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
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


def check_place(function: str, args: Sequence[object], port: object) -> None:
    """Refuse a path together with a port, and warn of a path that looks like a host.

    People write the host first, as in other libraries.

    Args:
        function: listen or connect.
        args: its positional arguments, of which the first is a path.
        port: the keyword.

    Raises: ArgValueError (ERR_INVALID_ARG_VALUE).
    """
    path = args[0]
    second = args[1] if len(args) > 1 else None
    if port is not None:
        shown, beside = port, True
    else:
        shown = second
        beside = _is_number(second) and not (
            # A path with a backlog. A name without a separator is more likely to be a host.
            function == "listen" and (not isinstance(path, str) or _has_separator(path))
        )
    if beside:
        error = check.arg_value_error("path", path, "cannot be used with a port")
        if isinstance(path, str) and not _has_separator(path):
            number = notation(shown)
            hint(error, f"The port comes first: {function}({number}, {path!r}).")
            if function == "listen" and port is None:
                hint(error, f"For a unix socket with a backlog: listen('./{path}', {number}).")
        raise error
    _warn_of_host(function, path)


def check_one_place(options: Mapping[str, Any]) -> None:
    """Refuse the keywords path and port together. Raises: ArgValueError (ERR_INVALID_ARG_VALUE)."""
    path = options.get("path")
    if path is not None and options.get("port") is not None:
        raise check.arg_value_error("options.path", path, "cannot be used with a port")


def _is_number(value: object) -> bool:
    """Whether a value is a number or the text of one."""
    return check.as_number(value) is not None or (isinstance(value, str) and value.isdigit())


def _has_separator(path: str) -> bool:
    # An abstract name begins with a zero.
    return os.sep in path or "/" in path or path[:1] == "\0"


def _warn_of_host(function: str, path: object) -> None:
    """Warn of a path that looks like a host."""
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
        host, port = place, "port"
    elif not (port.isdigit() and (is_ip(host) or host == "localhost" or "." in host)):
        return
    import warnings

    warnings.warn_explicit(
        f"{function}({path!r}, ...) refers to a unix socket of that name; for TCP the port comes "
        f"first: {function}({port}, {host!r})",
        RuntimeWarning,
        *place_of_call(),
    )
