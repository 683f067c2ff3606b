# pyright: strict
"""The forms of listen() and connect(), and their options: what type checkers take and refuse."""

from __future__ import annotations

import asyncio
import socket as system
from pathlib import Path
from typing import Any, assert_type

from pyuvnet import AbortSignal, BoundSocket, Server, Socket, net
from pyuvnet.net import BlockList


def listens(server: Server, other: Socket, signal: AbortSignal) -> None:
    def ready() -> None:
        pass

    assert_type(server.listen(), Server)
    server.listen(ready)
    server.listen(8124).listen("8124").listen(None)
    server.listen(8124, ready)
    server.listen(8124, 511)
    server.listen(8124, 511, ready)
    server.listen(8124, "127.0.0.1")
    server.listen(8124, None, ready)
    server.listen(8124, "127.0.0.1", ready)
    server.listen(8124, "127.0.0.1", 511)
    server.listen(8124, "127.0.0.1", 511, ready)
    server.listen("/tmp/socket", ready).listen(Path("socket"), 5, ready).listen(b"\0abstract")
    server.listen(BoundSocket(host="::1", ipv6_only=True), ready).listen(other).listen(server, 5)
    server.listen({"port": 0, "host": "::1"}, ready).listen({"path": "x"})
    server.listen(8124, reuse_port=True, callback=ready)
    server.listen(port=0, host="::", ipv6_only=True, signal=signal, readable_all=None)
    server.listen(path="x", writable_all=True).listen(fd=3).listen(handle=other)
    server.listen(8124, hots="x")  # type: ignore[call-overload]
    server.listen(8124, backlog="many")  # type: ignore[call-overload]
    server.listen(8124, "127.0.0.1", lambda error: None)  # type: ignore[arg-type,misc]
    server.listen(3.5)  # type: ignore[call-overload]


def connects(socket: Socket, blocked: BlockList) -> None:
    def ready() -> None:
        pass

    assert_type(socket.connect(8124), Socket)
    assert_type(net.connect(8124, "localhost", ready), Socket)
    socket.connect(8124, ready)
    socket.connect("/tmp/socket", ready).connect(Path("x")).connect(path=b"\0abstract")
    socket.connect({"port": 8124}, ready).connect(port=8124, host="::1", listener=ready)
    net.connect(8124, family=4, hints=system.AI_ADDRCONFIG, local_address="::1", local_port=0)
    net.create_connection(8124, no_delay=True, block_list=blocked, timeout=1000)
    net.create_connection(
        port=8124, auto_select_family=False, auto_select_family_attempt_timeout=50
    )
    net.connect(8124, onread={"buffer": bytearray(10), "callback": print})
    net.connect(8124, nodelay=True)  # type: ignore[call-overload]
    net.connect(8124, timeout="soon")  # type: ignore[call-overload]
    net.connect(8124, family=5)  # type: ignore[call-overload]
    net.connect([8124])  # type: ignore[call-overload]


def makes() -> None:
    assert_type(net.create_server(no_delay=True, keep_alive=True), Server)
    net.create_server({"no_delay": True}, lambda socket: socket.end())
    net.create_server(lambda socket: assert_type(socket, Socket))
    Server(pause_on_connect=True, high_water_mark=1024, block_list=None)
    Socket(3).connect(1)
    Socket(fd=3, readable=False, encoding="utf8", allow_half_open=True)
    BoundSocket({"port": 0}, reuse_port=True)
    net.create_server(allow_halfopen=True)  # type: ignore[call-arg]
    Socket(no_delay="yes")  # type: ignore[arg-type]
    BoundSocket(signal=None)  # type: ignore[call-arg]


async def waits(signal: AbortSignal) -> None:
    async def serve(socket: Socket) -> None:
        async for chunk in socket:
            socket.write(chunk)

    server = await net.promises.listen(0, "::1", connection_listener=serve, no_delay=True)
    assert_type(server, Server)
    await net.promises.listen({"port": 0})
    assert_type(await net.promises.connect(8124, "::1", signal=signal, keep_alive=True), Socket)
    await asyncio.wait_for(net.promises.connect(path="x"), 1)
    await net.promises.connect(8124, listener=print)  # type: ignore[call-overload]
    await net.promises.listen(prot=1)  # type: ignore[call-overload]


def given(options: dict[str, Any]) -> None:
    """What a program collected by itself passes as a mapping, or as keywords."""
    net.create_server(options).listen(options)
    net.connect(options)
    Socket(options, **options)
    net.create_server().listen(**options)
    net.connect(**options)
