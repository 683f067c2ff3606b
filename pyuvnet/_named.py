"""The servers that have a name, which pyuvnet.metrics shows."""

from __future__ import annotations

from _weakrefset import WeakSet

from ._base import TYPE_CHECKING

if TYPE_CHECKING:
    from .server import Server

named: WeakSet[Server] = WeakSet()
