"""reset_and_destroy() and destroy_soon(): the two other ways to be done with a socket."""

from __future__ import annotations

import socket as posix
from typing import Any

import pytest

import pyuvnet
from pyuvnet import net

NAMES = ("connectionAttempt", "connect", "ready", "data", "end", "finish", "error", "close")


def watch(s: net.Socket, trace: Any, who: str) -> net.Socket:
    for name in NAMES:
        s.on(
            name,
            lambda *args, name=name: trace(
                who,
                name,
                *(getattr(each, "code", each) for each in args if name != "connectionAttempt"),
            ),
        )
    return s


def only(trace: Any, who: str) -> list[Any]:
    found = [each[1:] for each in trace if each[0] == who]
    return [each[0] if len(each) == 1 else each for each in found]


def pair(trace: Any, client: Any, accepted: Any = None) -> None:
    """Run a client against one accepted socket, both watched."""
    server = net.create_server()

    def connection(s: net.Socket) -> None:
        server.close()
        watch(s, trace, "s")
        if accepted is not None:
            accepted(s)

    server.on("connection", connection).listen(0, "127.0.0.1")
    server.on("listening", lambda: client(server.address()["port"]))
    pyuvnet.run()


# ---- reset_and_destroy ---------------------------------------------------------------------------


@pytest.mark.spec("N073")
def test_it_is_a_real_reset_on_the_wire() -> None:
    with posix.create_server(("127.0.0.1", 0)) as listener:
        c = net.create_connection(listener.getsockname()[1], "127.0.0.1")
        c.on("connect", c.reset_and_destroy)
        pyuvnet.run()
        peer, _ = listener.accept()
        with peer, pytest.raises(ConnectionResetError):
            peer.recv(1)


def test_a_reset_that_was_wanted_is_forgotten_with_the_connection(trace: Any) -> None:
    with posix.create_server(("127.0.0.1", 0)) as listener:
        c = net.create_connection(listener.getsockname()[1], "127.0.0.1")
        c.reset_and_destroy().destroy()
        pyuvnet.run()
        c.connect(listener.getsockname()[1], "127.0.0.1")
        c.on("ready", lambda: trace(c.destroyed))
        c.on("ready", c.destroy)
        pyuvnet.run()
    assert trace == [False]


@pytest.mark.spec("D31", "D32")
def test_with_a_shutdown_in_flight_it_closes_plainly(trace: Any) -> None:
    def client(port: int) -> None:
        c = watch(net.create_connection(port, "127.0.0.1"), trace, "c")

        def connected() -> None:
            c.end(lambda error: trace("c", "end cb", error.code))
            c.reset_and_destroy()

        c.on("connect", connected)

    pair(trace, client, lambda s: s.on("error", lambda error: None).resume())
    assert only(trace, "c") == [
        "connectionAttempt", "connect", "ready", ("end cb", "ERR_STREAM_DESTROYED"),
        ("close", False),
    ]  # fmt: skip


# ---- destroy_soon --------------------------------------------------------------------------------


def test_destroy_soon_calls_an_end_of_the_programs_own() -> None:
    class Counted(net.Socket):
        ends = 0

        def end(self, *args: Any) -> Any:
            self.ends += 1
            return super().end(*args)

    c = Counted()
    c.destroy_soon()
    assert c.ends == 1
    pyuvnet.run()
    assert c.destroyed
