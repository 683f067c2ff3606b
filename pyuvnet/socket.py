"""Socket: the forms of its constructor and of connect(), and the choice of an address.

What happens once per connection is here; the per-chunk path is compiled, in SocketBase.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from . import _validate as check
from ._core import address as _address
from ._core import dns as _dns
from ._core.errors import make_os_error
from ._core.names import add_node_names
from ._core.socket_base import SocketBase
from ._mapping import Info
from ._options import OptionSet
from .errors import AggregateError, ArgTypeError, ConnectTimeoutError, RangeError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SOCKET_OPTIONS = OptionSet(
    "Socket",
    [
        "allow_half_open",
        "readable",
        "writable",
        "high_water_mark",
        "readable_high_water_mark",
        "writable_high_water_mark",
        "no_delay",
        "keep_alive",
        "keep_alive_initial_delay",
        "encoding",
        "default_encoding",
        "capture_rejections",
    ],
)
CONNECT_OPTIONS = OptionSet(
    "connect",
    [
        "port",
        "host",
        "path",
        "family",
        "hints",
        "lookup",
        "local_address",
        "local_port",
        "auto_select_family",
        "auto_select_family_attempt_timeout",
    ],
)
