"""The servers that have a name, which pyuvnet.metrics shows."""

from __future__ import annotations

import weakref

from ._base import TYPE_CHECKING

if TYPE_CHECKING:
    from .server import Server

named: weakref.WeakSet[Server] = weakref.WeakSet()
