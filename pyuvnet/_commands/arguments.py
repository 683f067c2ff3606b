"""What the commands share: types of arguments, addresses, and how they report errors."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentTypeError
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

LOCAL = "127.0.0.1"


def port_number(text: str) -> int:
    """The type of an argument that is a TCP port."""
    # int() raises for a text of thousands of digits.
    too_long = len(text.lstrip("0")) > 5
    if not text.isdecimal() or not text.isascii() or too_long or int(text) > 65535:
        raise ArgumentTypeError(f"{text!r} is not a port: use a number from 0 to 65535")
    return int(text)


def some_path(text: str) -> str:
    """The type of an argument that is a path."""
    if not text:
        raise ArgumentTypeError("the path is empty")
    return text


def positive(text: str) -> int:
    """The type of an argument that counts something."""
    if not text.isdecimal() or not text.isascii() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def seconds(text: str) -> float:
    """The type of an argument that is a duration."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 < number <= 3600:
        raise ArgumentTypeError(f"{text!r} is not a number of seconds up to 3600")
    return number


def is_path(text: str) -> bool:
    """Whether an argument names a unix socket or a named pipe: it has a slash, or it exists."""
    return not text.isdecimal() and (os.sep in text or "/" in text or os.path.exists(text))


def address(text: str) -> dict[str, Any]:
    """The type of an argument that is PORT, HOST:PORT or PATH; returns keywords of connect().

    A host without brackets is separated from a port at the last colon. PORT alone is on 127.0.0.1.
    """
    if is_path(text):
        return {"path": text}
    host, colon, port = text.rpartition(":")
    if not colon:
        host = LOCAL
        if not port.isdecimal():
            raise ArgumentTypeError(
                f"{text!r} has no port: use PORT, HOST:PORT or a path with a slash, ./{text}"
            )
    elif host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ArgumentTypeError(f"{text!r} is ambiguous: use [{host}]:{port} for an IPv6 address")
    if not host:
        raise ArgumentTypeError(f"{text!r} has no host: use {LOCAL}:{port}, or {port} alone")
    return {"host": host, "port": port_number(port)}


def shown(place: Mapping[str, Any] | str | None) -> str:
    """What address() returned, or what server.address() returns, as text."""
    if not isinstance(place, str):
        place = place or {}
        if "path" in place:
            return str(place["path"])
        host = place.get("address") or place.get("host")
        return f"[{host}]:{place['port']}" if ":" in str(host) else f"{host}:{place['port']}"
    return place


def text_of(error: BaseException) -> str:
    """The text of an error on one line; an AggregateError has only that of its errors."""
    return str(getattr(error, "message", "") or error or repr(error))


def fail(command: str, error: BaseException | str) -> int:
    """Print why a command failed, and what may help; returns the exit code."""
    text = error if isinstance(error, str) else text_of(error)
    print(f"pyuvnet {command}: {text}", file=sys.stderr)
    # Other errors have notes about the arguments of functions, which the user did not call.
    for note in getattr(error, "__notes__", ()) if isinstance(error, OSError) else ():
        print(f"  {note}", file=sys.stderr)
    return 1
