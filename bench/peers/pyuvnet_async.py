"""Peer: pyuvnet on asyncio's loop or uvloop's: a coroutine for each connection, or listeners.

python pyuvnet_async.py WAY LOOP MODE [PATH] [N]     WAY: iterate, block, listener; LOOP: asyncio,
                                                     uvloop; MODE: echo, or in the way iterate also
                                                     read_line, frames
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


async def read_line(socket: Socket) -> None:
    try:
        while (line := await socket.read_line()) or not socket.at_end:
            socket.write(line + b"\n")
            await socket.drained()
    except ConnectionError:
        pass


async def frames(socket: Socket) -> None:
    try:
        while True:
            size = int.from_bytes(await socket.read_exactly(4), "big")
            payload = await socket.read_exactly(size)
            socket.write(len(payload).to_bytes(4, "big") + payload)
            await socket.drained()
    except (ConnectionError, EOFError):
        pass


def listener(socket: Socket) -> None:
    socket.on("error", lambda error: None)
    socket.on("data", lambda data: socket.write(data))


WAYS: dict[tuple[str, str], Callable[[Socket], Any]] = {
    ("iterate", "echo"): iterate,
    ("iterate", "read_line"): read_line,
    ("iterate", "frames"): frames,
    ("block", "echo"): block,
    ("listener", "echo"): listener,
}


async def main() -> None:
    server: Server = net.create_server({"no_delay": True}, WAYS[way, mode])

    def listening() -> None:
        address = server.address()
        print(0 if address is None or isinstance(address, str) else address.port, flush=True)

    if path:
        server.listen({"path": path, "backlog": BACKLOG}, listening)
    else:
        server.listen(0, "127.0.0.1", BACKLOG, listening)
    await server.serve_forever()


if (way, mode) not in WAYS:
    print(f"unsupported: {way} has no {mode}", flush=True)
    raise SystemExit(3)
factory: Callable[[], asyncio.AbstractEventLoop] | None = None
if loop_name != "asyncio":
    factory = importlib.import_module(loop_name).new_event_loop
with asyncio.Runner(loop_factory=factory) as runner:
    runner.run(main())
