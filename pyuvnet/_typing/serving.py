"""The keyword options of promises.listen(), for type checkers; nothing imports this at run time.

They are apart from the others because the type of `connection_listener` names Socket, whose module
imports those.
"""

from __future__ import annotations

from collections.abc import Callable

from ..socket import Socket
from .keywords import ListenOptions, ServerOptions


class ServeOptions(ServerOptions, ListenOptions, total=False):
    """Of promises.listen()."""

    connection_listener: Callable[[Socket], object] | None
