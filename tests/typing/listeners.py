# pyright: strict
"""What a type checker knows of listeners: what they return, and what can be awaited."""

from __future__ import annotations

from typing import assert_type

import pyuvnet
from pyuvnet import Duplex, EventEmitter, Readable, Server, Socket, Writable, net


def echo(socket: Socket) -> None:
    # Each returns its own class, for any event.
    assert_type(socket.on("connect", print), Socket)
    assert_type(socket.on("data", socket.write), Socket)
    assert_type(socket.off("end", print), Socket)

    @socket.on("data")
    def text(chunk: str) -> str:
        return chunk

    assert_type(text(""), str)


def serve(server: Server) -> None:
    assert_type(server.on("connection", echo), Server)


class MySocket(Socket):
    """A subclass has events of its own, and its methods return it."""


def streams(mine: MySocket, readable: Readable, writable: Writable, duplex: Duplex) -> None:
    assert_type(mine.on("data", mine.write), MySocket)
    assert_type(readable.on("data", print), Readable)
    assert_type(duplex.on("finish", print).on("end", print), Duplex)
    assert_type(EventEmitter().on("data", print), EventEmitter)


async def awaiting(server: Server, socket: Socket) -> None:
    async for connection in server:
        assert_type(connection, Socket)
    async with socket as same, server as same_server:
        assert_type(same, Socket)
        assert_type(same_server, Server)
    assert_type(await socket.drained(), None)
    assert_type(await net.promises.connect(80), Socket)
    assert_type(await net.promises.listen(port=0), Server)
    assert_type(await server.get_connections(), int)
    assert_type(await pyuvnet.events.once(socket, "pipe"), list[Readable])
    with pyuvnet.attach() as loop:
        assert_type(loop, pyuvnet.Loop)


async def main() -> int:
    return 1


assert_type(pyuvnet.run(main()), int)
assert_type(pyuvnet.run(main(), debug=True), int)
pyuvnet.run()
assert_type(pyuvnet.loop.handles(), list[pyuvnet.loop.HandleInfo])
assert_type(pyuvnet.loop.handles()[0].requests, tuple[str, ...])
