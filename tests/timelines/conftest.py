"""The recorder of the timelines: what each object saw, in its order.

Entries are Node's event names; with arguments, tuples such as ("close", False). Errors stand as
their codes, callbacks as ("cb NAME", error code or None). Consecutive 'data' are joined, since
where the kernel cuts is nobody's promise.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import pyuvnet
from pyuvnet import net

EVENTS = [
    "connectionAttempt",
    "connectionAttemptFailed",
    "connectionAttemptTimeout",
    "connect",
    "ready",
    "data",
    "resume",
    "pause",
    "end",
    "finish",
    "drain",
    "timeout",
    "error",
    "close",
    "listening",
    "connection",
    "drop",
]


def shown(value: Any) -> Any:
    if isinstance(value, BaseException):
        return getattr(value, "code", str(value))
    return "socket" if isinstance(value, net.Socket) else value


class Timeline(dict[str, list[Any]]):
    """timeline["c"] is what object c saw; timeline.all is everything, as (name, entry)."""

    def __init__(self) -> None:
        self.all: list[tuple[str, Any]] = []

    def __missing__(self, name: str) -> list[Any]:
        return self.setdefault(name, [])

    def note(self, name: str, *entry: Any) -> None:
        last = self[name][-1] if self[name] else None
        if entry[0] == "data" and isinstance(last, tuple) and last[0] == "data":
            entry = ("data", self[name].pop()[1] + entry[1])
        item = entry[0] if len(entry) == 1 else entry
        self[name].append(item)
        self.all.append((name, item))

    def cb(self, name: str, label: str) -> Callable[..., None]:
        """A completion callback, noted on the object."""
        return lambda error=None: self.note(name, f"cb {label}", shown(error))

    def watch(self, name: str, thing: Any, *, without: tuple[str, ...] = ()) -> Any:
        """Note the events of an object; a 'data' listener makes a socket flow."""

        def heard(event: str) -> Callable[..., None]:
            def listener(*args: Any) -> None:
                if event in ("connectionAttempt", "connectionAttemptTimeout"):
                    args = args[2:]
                elif event == "connectionAttemptFailed":
                    args = args[3:]
                self.note(name, event, *map(shown, args))

            return listener

        for event in EVENTS:
            if event not in ("data", "resume", "pause", *without):
                thing.on(event, heard(event))
        if isinstance(thing, net.Socket):
            for event in ("data", "resume", "pause"):
                if event not in without:
                    thing.on(event, heard(event))
        return thing

    def server(
        self,
        accepted: Callable[[net.Socket], object] | None = None,
        *,
        without: tuple[str, ...] = (),
        close: bool = True,
        **options: Any,
    ) -> net.Server:
        """A watched server 'S' on loopback; it watches 's' and closes after that connection."""
        server = net.create_server(**options)

        def connection(socket: net.Socket) -> None:
            self.watch("s", socket, without=without)
            if close:
                server.close()
            if accepted is not None:
                accepted(socket)

        self.watch("S", server)
        server.on("connection", connection)
        return server.listen(0)

    def client(
        self, server: net.Server, *, without: tuple[str, ...] = (), **options: Any
    ) -> net.Socket:
        """A watched client 'c', connecting."""
        socket = net.Socket(**options)
        self.watch("c", socket, without=without)
        socket.connect(server.address()["port"], "127.0.0.1")
        return socket


@pytest.fixture
def timeline() -> Timeline:
    return Timeline()


@pytest.fixture
def run() -> Callable[[], None]:
    return pyuvnet.run


@pytest.fixture
def raw() -> Iterator[Callable[[int], socket.socket]]:
    """raw(port) connects a socket of the standard library."""
    opened: list[socket.socket] = []

    def connect(port: int) -> socket.socket:
        opened.append(socket.create_connection(("127.0.0.1", port)))
        return opened[-1]

    yield connect
    for each in opened:
        each.close()


@pytest.fixture
def reset() -> Callable[[socket.socket], None]:
    """reset(peer) closes a raw socket with RST."""

    def close(peer: socket.socket) -> None:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()

    return close
