"""Peer: pyuvnet on asyncio's loop or uvloop's: a coroutine for each connection, or listeners.

python pyuvnet_async.py WAY LOOP MODE [PATH] [N]     WAY: iterate, block, listener; LOOP: asyncio,
                                                     uvloop; MODE: echo
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Callable
from typing import Any

from pyuvnet import Server, Socket, net

BACKLOG = 4096

way, loop_name, mode, path = (*sys.argv[1:], "")[:4]


async def iterate(socket: Socket) -> None:
    try:
        async for data in socket:
            socket.write(data)
    except ConnectionError:
        pass


async def block(socket: Socket) -> None:
    try:
        async with socket:
            async for data in socket:
                socket.write(data)
    except ConnectionError:
        pass


def listener(socket: Socket) -> None:
    socket.on("error", lambda error: None)
    socket.on("data", lambda data: socket.write(data))


WAYS: dict[str, Callable[[Socket], Any]] = {
    "iterate": iterate,
    "block": block,
    "listener": listener,
}


async def main() -> None:
    server: Server = net.create_server({"no_delay": True}, WAYS[way])

    def listening() -> None:
        address = server.address()
        print(0 if address is None or isinstance(address, str) else address.port, flush=True)

    if path:
        server.listen({"path": path, "backlog": BACKLOG}, listening)
    else:
        server.listen(0, "127.0.0.1", BACKLOG, listening)
    await server.serve_forever()


if mode != "echo":
    print(f"unsupported: pyuvnet beside asyncio is measured by echo, not {mode}", flush=True)
    raise SystemExit(3)
factory: Callable[[], asyncio.AbstractEventLoop] | None = None
if loop_name != "asyncio":
    factory = importlib.import_module(loop_name).new_event_loop
with asyncio.Runner(loop_factory=factory) as runner:
    runner.run(main())
