"""Peer of `bench cluster`: asyncio's protocols in processes with a SO_REUSEPORT socket for each.

python prefork.py LOOP MODE WORKERS     LOOP: asyncio or uvloop; MODE as of cluster_pyuvnet.py

The first process binds the port, forks, and replaces workers that die, as servers of this kind do.
Prints the port once all workers listen.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import socket
import sys
import time
from typing import NoReturn

BACKLOG = 4096
BLOCKED = 2.5  # s

loop_name, mode, count = sys.argv[1], sys.argv[2], int(sys.argv[3])


class Echo(asyncio.Protocol):
    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class Who(Echo):
    def data_received(self, data: bytes) -> None:
        self.transport.write(f"{os.getpid()}\n".encode())
        self.transport.close()
        if data[:1] == b"b":
            # In the turn after the one that closes the connection.
            loop = asyncio.get_running_loop()
            loop.call_soon(loop.call_soon, time.sleep, BLOCKED)


def bound(port: int) -> socket.socket:
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    one.bind(("127.0.0.1", port))
    return one


async def serve(port: int, ready: int) -> None:
    kind = Who if mode == "who" else Echo
    loop = asyncio.get_running_loop()
    server = await loop.create_server(kind, sock=bound(port), backlog=BACKLOG)
    os.write(ready, b".")
    await server.serve_forever()


def work(port: int, ready: int) -> NoReturn:
    factory = None
    if loop_name != "asyncio":
        factory = importlib.import_module(loop_name).new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(serve(port, ready))
    os._exit(0)


def start(port: int, ready: int) -> int:
    pid = os.fork()
    if not pid:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        work(port, ready)
    return pid


def main() -> None:
    with bound(0) as first:
        port = first.getsockname()[1]
        reads, writes = os.pipe()
        for _ in range(count):
            start(port, writes)
        listens = 0
        while listens < count:
            listens += len(os.read(reads, count))
        print(port, flush=True)
        while True:
            os.wait()
            start(port, writes)


main()
