"""What the tests of races share: what can be done to a socket, and letting things come to rest."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from typing import Any

from pyuvnet import current_loop
from pyuvnet.net import Server, Socket

KINDS = ["tcp", *(["unix"] if sys.platform != "win32" else [])]

SOCKET_ACTIONS: dict[str, Callable[[Socket], Any]] = {
    "destroy": lambda sock: sock.destroy(),
    "destroy with an error": lambda sock: sock.destroy(RuntimeError("E")),
    "destroy and collect": lambda sock: (sock.destroy(), gc.collect(1)),
    "end": lambda sock: sock.end(b"last"),
    "end and destroy": lambda sock: sock.end().destroy(),
    "destroy soon": lambda sock: sock.destroy_soon(),
    "reset": lambda sock: sock.reset_and_destroy(),
    "reset twice": lambda sock: sock.reset_and_destroy().reset_and_destroy(),
    "pause": lambda sock: sock.pause(),
    "pause and resume": lambda sock: sock.pause().resume(),
    "write": lambda sock: sock.write(b"x" * 100_000),
    "write and end": lambda sock: (sock.write(b"x"), sock.end()),
    "read": lambda sock: sock.read(),
    "remove all listeners": lambda sock: sock.remove_all_listeners(),
    "remove and destroy": lambda sock: sock.remove_all_listeners().destroy(),
    "raise": lambda sock: 1 // 0,
    "unref": lambda sock: sock.unref(),
    "connect": lambda sock: sock.connect(1, "127.0.0.1"),
    "timeout": lambda sock: sock.set_timeout(1).set_timeout(0),
    "encoding": lambda sock: sock.set_encoding("utf8"),
    "unpipe": lambda sock: sock.unpipe(),
    "cork": lambda sock: sock.cork(),
}
# After these the socket says 'close' without anybody's help.
ENDING = {"destroy", "destroy with an error", "destroy and collect", "end and destroy"}
RESETTING = {"reset", "reset twice"}
ENDING |= RESETTING | {"remove and destroy"}
# After these nobody listens, not even to 'error'.
DEAF = {"remove all listeners", "remove and destroy"}
# What reconnects begins a life of its own, with events of its own.
RECONNECTING = {"connect"}
RAISING = {"raise"}


def settle(progress: Callable[[], int], quiet: int = 10) -> None:
    """Turn the loop until there was no progress in several turns; nothing is waited for."""
    last, still = progress(), 0
    for _ in range(100_000):
        current_loop().turn()
        now = progress()
        still = still + 1 if now == last else 0
        last = now
        if still == quiet:
            return
    raise AssertionError("it does not come to rest")


def reach(sock: Socket, server: Server, *listener: Callable[[], Any]) -> Socket:
    """Connect to a server that listens; without a name, since a resolver may take its time."""
    where = server.address()
    if isinstance(where, str):
        return sock.connect(where, *listener)
    return sock.connect(where.port, "127.0.0.1", *listener)
