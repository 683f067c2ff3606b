"""Peer: asyncio streams, on the loop of asyncio, uvloop or zuvloop, and over aiofastnet on each.

python streams.py LOOP MODE [PATH] [N]     MODE: echo, writes, lines, read_lines, read_line, frames,
                                           pipe, proxy, send, receive, broadcast,
                                           broadcast_text; N as in pyuvnet_net.py
LOOP: asyncio, uvloop, zuvloop; aiofastnet:asyncio and aiofastnet:uvloop put aiofastnet on a loop
"""

from __future__ import annotations

import asyncio
import codecs
import importlib
import sys
from collections.abc import Callable

BACKLOG = 4096
CHUNK = bytes((i * 31 + (i >> 8)) & 255 for i in range(65536))
SIZE = 65536

loop_name, mode, path, count = (*sys.argv[1:], "", "")[:4]
pieces = int(count or 1)
clients: set[asyncio.StreamWriter] = set()


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(SIZE):
        writer.write(data)
        await writer.drain()


async def writes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(SIZE):
        length = -(-len(data) // pieces)
        for at in range(0, len(data), length):
            writer.write(data[at : at + length])
        await writer.drain()


async def lines(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        writer.write((line.decode().rstrip("\n") + "\n").encode())
        await writer.drain()


async def read_line(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        writer.write(line)
        await writer.drain()


async def frames(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            size = int.from_bytes(await reader.readexactly(4), "big")
            payload = await reader.readexactly(size)
            writer.write(len(payload).to_bytes(4, "big") + payload)
            await writer.drain()
    except asyncio.IncompleteReadError:
        pass


async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    behind_reader, behind_writer = await asyncio.open_connection("127.0.0.1", pieces)

    async def there() -> None:
        await copy(reader, behind_writer)
        behind_writer.write_eof()

    task = asyncio.create_task(there())
    await copy(behind_reader, writer)
    await task
    behind_writer.close()


async def send(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(CHUNK)
        await writer.drain()


async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    received = 0
    while data := await reader.read(SIZE):
        received += len(data)
    writer.write(b"%d\n" % received)


async def broadcast(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    clients.add(writer)
    while data := await reader.read(SIZE):
        for client in clients:
            client.write(data)
    clients.discard(writer)


async def broadcast_text(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    clients.add(writer)
    while data := await reader.read(SIZE):
        encoded = decode(data).encode()
        for client in clients:
            client.write(encoded)
    clients.discard(writer)


MODES = {
    "echo": copy,
    "pipe": copy,
    "read_lines": lines,
    **{
        each.__name__: each
        for each in (
            *(writes, lines, read_line, frames, proxy),
            *(send, receive, broadcast, broadcast_text),
        )
    },
}


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        await MODES[mode](reader, writer)
    except ConnectionError:
        pass
    finally:
        writer.close()


async def main() -> None:
    if path:
        server = await asyncio.start_unix_server(serve, path, backlog=BACKLOG)
    else:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=BACKLOG)
    print(0 if path else server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().create_future()


# glibc maps a block above 128 KiB anew each time until one has been freed, as one has in any longer
# program. asyncio reads into 256 KiB.
bytes(1 << 20)

factory: Callable[[], asyncio.AbstractEventLoop] | None = None
layer, _, base = loop_name.rpartition(":")
if base != "asyncio":
    factory = importlib.import_module(base).new_event_loop
if layer:
    factory = importlib.import_module(layer).loop_factory(factory)
with asyncio.Runner(loop_factory=factory) as runner:
    runner.run(main())
