"""The echo servers of `pyuvnet bench`, each in a process of its own.

    python -m pyuvnet._commands.bench_server NAME

Prints its port, and its CPU time in seconds for each line on stdin, at whose end it exits.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from ..socket import Socket

HOST = "127.0.0.1"


def pyuvnet_listeners() -> None:
    """Listeners on sockets of pyuvnet."""
    from .. import net, run

    def connected(socket: Socket) -> None:
        socket.on("data", socket.write)
        socket.on("error", lambda error: None)

    server = net.create_server(connected)
    server.listen(0, HOST, callback=lambda: ready(server.address().port))
    run()


def pyuvnet_coroutines() -> None:
    """A coroutine for each socket of pyuvnet, under asyncio."""
    from .. import net, run

    async def connected(socket: Socket) -> None:
        with contextlib.suppress(ConnectionError):
            async for chunk in socket:
                socket.write(chunk)

    async def main() -> None:
        server = net.create_server(connected)
        server.listen(0, HOST, callback=lambda: ready(server.address().port))
        await server.wait_closed()

    run(main())


def asyncio_protocols(loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None) -> None:
    """Protocols of asyncio."""
    import asyncio

    class Echo(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            # uvloop's is none by its class.
            self.transport = cast("asyncio.Transport", transport)

        def data_received(self, data: bytes) -> None:
            self.transport.write(data)

    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(Echo, HOST, 0)
        ready(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())


def asyncio_streams(loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None) -> None:
    """Streams of asyncio."""
    import asyncio

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(connected, HOST, 0)
        ready(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())


def uvloop_protocols() -> None:
    """Protocols on uvloop."""
    import uvloop

    asyncio_protocols(uvloop.new_event_loop)


def uvloop_streams() -> None:
    """Streams on uvloop."""
    import uvloop

    asyncio_streams(uvloop.new_event_loop)


def ready(port: int) -> None:
    """Print the port, and answer from now on."""
    print(port, flush=True)
    threading.Thread(target=answer, daemon=True).start()


def answer() -> None:
    """Print the CPU time for each line of stdin, and exit at its end; this runs in a thread."""
    for _ in sys.stdin:
        print(time.process_time(), flush=True)
    os._exit(0)


SERVERS: dict[str, Callable[[], None]] = {
    "pyuvnet, listeners": pyuvnet_listeners,
    "pyuvnet, coroutines": pyuvnet_coroutines,
    "asyncio, protocols": asyncio_protocols,
    "asyncio, streams": asyncio_streams,
    "uvloop, protocols": uvloop_protocols,
    "uvloop, streams": uvloop_streams,
}

# The same for `node -e`.
NODE = """
const net = require('net');
const server = net.createServer((socket) => {
  socket.on('data', (data) => socket.write(data));
  socket.on('error', () => {});
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
process.stdin.on('data', () => {
  const { user, system } = process.cpuUsage();
  console.log((user + system) / 1e6);
});
process.stdin.on('end', () => process.exit());
"""

if __name__ == "__main__":
    SERVERS[sys.argv[1]]()
