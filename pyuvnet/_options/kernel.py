"""Options of the kernel by name: which they are, checked, and as setsockopt() takes them."""

from __future__ import annotations

import _socket
import sys

from .._base import TYPE_CHECKING
from .._base import validation as check
from ..errors import ArgTypeError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

# Name of the option: its level and its name in the socket module, and the largest value; a text has
# no largest. The least is 1 where 0 would mean nothing.
_OPTIONS: dict[str, tuple[str, str, int | None]] = {
    "user_timeout": ("IPPROTO_TCP", "TCP_USER_TIMEOUT", 2**31 - 1),
    "not_sent_low_water": ("IPPROTO_TCP", "TCP_NOTSENT_LOWAT", 2**31 - 1),
    "receive_buffer": ("SOL_SOCKET", "SO_RCVBUF", 2**31 - 1),
    "send_buffer": ("SOL_SOCKET", "SO_SNDBUF", 2**31 - 1),
    "defer_accept": ("IPPROTO_TCP", "TCP_DEFER_ACCEPT", 2**31 - 1),
    "congestion": ("IPPROTO_TCP", "TCP_CONGESTION", None),
    "mark": ("SOL_SOCKET", "SO_MARK", 2**32 - 1),
    "linger": ("SOL_SOCKET", "SO_LINGER", 65535),
}
_LEAST = {"receive_buffer": 1, "send_buffer": 1}
LONGEST_NAME = 15  # of a congestion control
WINDOWS = sys.platform == "win32"


def feature_unavailable(name: str) -> ArgTypeError:
    """Make the error of what this system lacks. Node: ERR_FEATURE_UNAVAILABLE_ON_PLATFORM."""
    return ArgTypeError(
        f"The feature {name} is unavailable on the current platform",
        "ERR_FEATURE_UNAVAILABLE_ON_PLATFORM",
    )


def kernel_options(options: Mapping[str, Any], tcp: bool = True) -> list[tuple[int, int, Any]]:
    """Check the options of the kernel among others; returns (level, name, value) of each.

    Args:
        options: of connect() or listen().
        tcp: False for a path: a unix socket has no options of TCP.

    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE, ERR_FEATURE_UNAVAILABLE_ON_PLATFORM), ArgValueError
        (ERR_INVALID_ARG_VALUE), RangeError (ERR_OUT_OF_RANGE).
    """
    found: list[tuple[int, int, Any]] = []
    for option, (level, name, most) in _OPTIONS.items():
        value = options.get(option)
        if value is None:
            continue
        shown = f"options.{option}"
        if most is None:
            text = check.validate_string(value, shown)
            if not (text.isascii() and 0 < len(text) <= LONGEST_NAME and text.isprintable()):
                raise check.arg_value_error(
                    shown, value, "must be the name of a congestion control algorithm"
                )
            value = text.encode()
        else:
            value = check.validate_integer(value, shown, _LEAST.get(option, 0), most)
        if not tcp and level != "SOL_SOCKET":
            raise check.arg_value_error(shown, value, "has no effect with a path")
        if not hasattr(_socket, name):
            raise feature_unavailable(option)
        if option == "linger":
            import struct

            value = struct.pack("hh" if WINDOWS else "ii", 1, value)
        found.append((getattr(_socket, level), getattr(_socket, name), value))
    return found
