"""ServerBase: accepting and counting."""

from __future__ import annotations

import gc
import socket as posix
import weakref
from typing import Any

import pytest

import pyuvnet
from pyuvnet import net


def peers_of(server: net.Server, count: int) -> list[posix.socket]:
    port = server.address()["port"]
    return [posix.create_connection(("127.0.0.1", port)) for _ in range(count)]


def test_a_server_closed_by_its_first_connection_accepts_no_other() -> None:
    accepted: list[net.Socket] = []

    def connection(s: net.Socket) -> None:
        accepted.append(s)
        server.close()
        s.destroy()

    server = net.create_server(connection).listen(0)
    peers = peers_of(server, 3)
    pyuvnet.run()
    for peer in peers:
        peer.close()
    assert len(accepted) == 1


def test_a_socket_destroyed_twice_is_counted_down_once() -> None:
    counts: list[int] = []

    def connection(s: net.Socket) -> None:
        for _ in range(3):
            s.destroy()
        server.get_connections(lambda error, count: counts.append(count))
        server.close()

    server = net.create_server(connection).listen(0)
    peers = peers_of(server, 1)
    pyuvnet.run()
    peers[0].close()
    assert counts == [0]


def test_a_failing_drop_listener_still_closes_the_peer() -> None:
    server = net.create_server().listen(0)
    server.max_connections = 0

    @server.on("drop")
    def drop(info: Any) -> None:
        server.close()
        raise ValueError("X")

    peers = peers_of(server, 1)
    with pytest.raises(ValueError, match="X"):
        pyuvnet.run()
    pyuvnet.run()
    assert peers[0].recv(1) == b""
    peers[0].close()


def test_an_error_listener_may_listen_again() -> None:
    holder = net.create_server().listen(0)
    port = holder.address()["port"]
    server = net.create_server().on("listening", lambda: (server.close(), holder.close()))
    server.once("error", lambda error: server.listen(0))
    server.listen(port)
    pyuvnet.run()
    assert not server.listening


@pytest.mark.parametrize("state", ["new", "closed", "failed"])
def test_a_server_that_is_over_is_collected(state: str) -> None:
    server: Any = net.create_server()
    server.mine = server
    server.on("connection", server.close)
    if state == "closed":
        server.listen(0).close()
    elif state == "failed":
        server.on("error", lambda error: None).listen(0, "192.0.2.1")
    pyuvnet.run()
    reference = weakref.ref(server)
    del server
    gc.collect()
    assert reference() is None


def test_an_open_server_that_nobody_holds_goes_on_accepting() -> None:
    def begin() -> int:
        def connection(s: net.Socket) -> None:
            server.close()
            s.end(b"here")

        server = net.create_server(connection).listen(0)
        return int(server.address()["port"])

    got: list[bytes] = []
    port = begin()
    gc.collect()
    c = net.create_connection(port, "127.0.0.1")
    c.on("data", got.append)
    pyuvnet.run()
    assert got == [b"here"]
