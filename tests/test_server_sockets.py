"""Server.sockets and destroy_sockets(): who is connected."""

from __future__ import annotations

import asyncio
import gc
import random
import socket as posix
import weakref
from typing import Any

import pytest

import pyuvnet
from pyuvnet import net
from pyuvnet.errors import ArgTypeError, ClosedError
from tests.support.errors import BoomError
from tests.support.loops import turn_until


def connected(server: net.Server, count: int) -> list[posix.socket]:
    """Peers that the server has accepted, in their order; turns the loop until then."""
    address = ("127.0.0.1", server.address()["port"])
    before = len(server.sockets)
    peers: list[posix.socket] = []
    for _ in range(count):
        peers.append(posix.create_connection(address))
        turn_until(lambda: len(server.sockets) >= before + len(peers))
    return peers


def kept(socket: net.Socket) -> None:
    """A 'connection' listener: sockets without listeners would be destroyed."""
    socket.on("error", lambda error: None)


def close_all(server: net.Server, peers: list[posix.socket]) -> None:
    server.close()
    server.destroy_sockets()
    pyuvnet.run()
    for peer in peers:
        peer.close()


@pytest.mark.spec("D111", "P2-01")
def test_sockets_are_those_that_are_open_with_the_oldest_first() -> None:
    accepted: list[net.Socket] = []
    server = net.create_server(lambda s: (kept(s), accepted.append(s))).listen(0)
    assert server.sockets == []
    peers = connected(server, 6)
    assert server.sockets == accepted
    for index in (2, 0, 3):
        accepted.pop(index).destroy()
        assert server.sockets == accepted
    peers += connected(server, 2)
    assert server.sockets == accepted
    assert len(accepted) == 5
    close_all(server, peers)
    assert server.sockets == []


@pytest.mark.spec("P2-02")
def test_the_list_costs_16_bytes_for_each_connection() -> None:
    """Two pointers in the socket itself; that entering and leaving needs no memory follows."""
    from pyuvnet._core.socket_base import _links_size

    assert _links_size() <= 16


@pytest.mark.spec("P2-01")
def test_the_list_is_a_snapshot() -> None:
    server = net.create_server(kept).listen(0)
    peers = connected(server, 3)
    snapshot = server.sockets
    server.sockets.clear()
    for socket in snapshot:
        socket.destroy()
    assert len(snapshot) == 3
    assert server.sockets == []
    close_all(server, peers)


def test_a_socket_is_listed_in_its_connection_listener_and_not_in_its_close_listener() -> None:
    seen: list[tuple[str, int]] = []

    def connection(socket: net.Socket) -> None:
        seen.append(("connection", server.sockets.count(socket)))
        socket.on("close", lambda _: seen.append(("close", server.sockets.count(socket))))

    server = net.create_server(connection).listen(0)
    peers = connected(server, 1)
    close_all(server, peers)
    assert seen == [("connection", 1), ("close", 0)]


def test_sockets_of_two_servers_are_kept_apart() -> None:
    first, second = (net.create_server(kept).listen(0) for _ in range(2))
    peers = connected(first, 2) + connected(second, 3) + connected(first, 1)
    assert [socket.server for socket in first.sockets] == [first] * 3
    assert [socket.server for socket in second.sockets] == [second] * 3
    first.close()
    first.destroy_sockets()
    assert first.sockets == []
    assert len(second.sockets) == 3
    close_all(second, peers)


def test_a_closed_server_still_lists_its_connections() -> None:
    server = net.create_server(kept).listen(0)
    peers = connected(server, 2)
    server.close()
    assert len(server.sockets) == 2
    close_all(server, peers)


def test_an_accepted_socket_that_connects_again_is_no_connection_of_the_server() -> None:
    server = net.create_server(kept).listen(0)
    peers = connected(server, 2)
    socket = server.sockets[0]
    port = server.address()["port"]
    socket.destroy()
    socket.connect(port, "127.0.0.1")
    turn_until(lambda: len(server.sockets) >= 2)
    assert socket not in server.sockets
    socket.destroy()
    close_all(server, peers)


def test_the_list_holds_at_random_order_of_leaving() -> None:
    dice = random.Random(5)
    accepted: list[net.Socket] = []
    server = net.create_server(lambda s: (kept(s), accepted.append(s))).listen(0)
    peers = connected(server, 30)
    while accepted:
        accepted.pop(dice.randrange(len(accepted))).destroy()
        assert server.sockets == accepted
    close_all(server, peers)


@pytest.mark.spec("P2-03")
def test_destroy_sockets_destroys_all_of_them_and_the_server_goes_on() -> None:
    closed: list[bool] = []
    server = net.create_server(lambda s: s.on("close", closed.append)).listen(0)
    peers = connected(server, 3)
    assert server.destroy_sockets() is server
    assert server.sockets == []
    peers += connected(server, 1)
    assert server.listening
    close_all(server, peers)
    assert closed == [False] * 4


@pytest.mark.spec("P2-03")
def test_destroy_sockets_gives_its_error_to_each() -> None:
    errors: list[BaseException] = []
    server = net.create_server(lambda s: s.on("error", errors.append)).listen(0)
    peers = connected(server, 3)
    error = BoomError("x")
    server.destroy_sockets(error)
    close_all(server, peers)
    assert errors == [error] * 3


@pytest.mark.parametrize("wrong", ["boom", 1, ValueError])
def test_a_wrong_error_changes_nothing(wrong: Any) -> None:
    server = net.create_server(kept).listen(0)
    peers = connected(server, 1)
    with pytest.raises(ArgTypeError) as caught:
        server.destroy_sockets(wrong)
    assert caught.value.code == "ERR_INVALID_ARG_TYPE"
    assert len(server.sockets) == 1
    close_all(server, peers)


def test_a_socket_that_destroys_the_others_is_no_obstacle() -> None:
    """An abort signal's listener runs within destroy()."""
    server = net.create_server(lambda s: s.on("close", lambda _: server.destroy_sockets()))
    server.listen(0)
    peers = connected(server, 4)
    server.sockets[1].destroy()
    pyuvnet.set_timeout(server.close, 1)
    pyuvnet.run()
    assert server.sockets == []
    for peer in peers:
        peer.close()


def test_a_coroutine_is_not_to_blame_that_its_server_destroyed_its_socket() -> None:
    async def serve(socket: net.Socket) -> None:
        try:
            await socket.read_exactly(1)
        except BaseException as error:
            seen.append(error)
            raise

    async def main(error: BaseException | None) -> None:
        server = net.create_server(serve).listen(0)
        client = net.connect(server.address()["port"], "127.0.0.1")
        client.on("error", lambda error: None)
        while not server.sockets:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        server.destroy_sockets(error)
        server.close()
        await server.wait_closed()

    seen: list[BaseException] = []
    boom = BoomError("x")
    for error in (None, boom):
        pyuvnet.run(main(error))
    assert isinstance(seen[0], ClosedError)
    assert seen[1] is boom


def test_sockets_of_a_closed_loop_are_collected() -> None:
    server = net.create_server(kept).listen(0)
    peers = connected(server, 3)
    sockets = [weakref.ref(socket) for socket in server.sockets]
    watched = weakref.ref(server)
    pyuvnet.current_loop().close()
    del server
    gc.collect()
    assert [socket() for socket in sockets] == [None] * 3
    assert watched() is None
    for peer in peers:
        peer.close()


@pytest.mark.parametrize("gone", [[0], [1], [2], [0, 1], [0, 2], [1, 2], [0, 1, 2]])
def test_sockets_that_outlive_their_neighbours_in_a_closed_loop(gone: list[int]) -> None:
    """Whichever is freed first: no neighbour points at it any more."""
    server: Any = net.create_server(kept).listen(0)
    peers = connected(server, 3)
    sockets = server.sockets
    pyuvnet.current_loop().close()
    for index in gone:
        sockets[index] = None
    if len(gone) > 1:
        del server
    gc.collect()
    del sockets
    gc.collect()
    for peer in peers:
        peer.close()
