"""What bench.regress counts: one small server for each figure, and a second port that controls it.

    python servers.py NAME PORT TYPES     PORT: of the server behind a proxy; TYPES: made at first

Prints both ports. A message on the control connection calls getloadavg(), where callgrind writes
down what it has counted since the call before, and is answered with what the allocators hold.
"""

# The cost of the import is counted, so nothing that has one of its own stands above it.
from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

name = sys.argv[1]
# A type gets its number at the first look for an attribute of an instance.
for _ in range(int(sys.argv[3])):
    hasattr(type("Type", (), {})(), "attribute")
if name == "start":
    os.getloadavg()

from pyuvnet import Server, Socket, framing, net, run  # noqa: E402

if name == "start":
    os.getloadavg()

clients: set[Socket] = set()
LINES, FRAMES = framing.Lines(), framing.LengthPrefix(4)


def listener(socket: Socket) -> None:
    socket.on("data", lambda data: socket.write(data))


def method(socket: Socket) -> None:
    socket.on("data", socket.write)


def pipe(socket: Socket) -> None:
    socket.pipe(socket)


async def coroutine(socket: Socket) -> None:
    async for data in socket:
        socket.write(data)


async def coroutine_with(socket: Socket) -> None:
    async with socket:
        async for data in socket:
            socket.write(data)


def lines(socket: Socket) -> None:
    socket.set_framing(LINES)
    socket.on("data", lambda line: line == b"last" and socket.write(line))


def frames(socket: Socket) -> None:
    socket.set_framing(FRAMES)
    socket.on("data", lambda frame: frame == b"last" and socket.write(frame))


def writes(socket: Socket) -> None:
    def answer(data: bytes) -> None:
        for at in range(0, 1024, 64):
            socket.write(data[at : at + 64])

    socket.on("data", answer)


def to_all(data: bytes) -> None:
    for client in clients:
        client.write(data)


def broadcast(socket: Socket) -> None:
    clients.add(socket)
    socket.on("data", to_all)


def broadcast_text(socket: Socket) -> None:
    broadcast(socket.set_encoding("utf8"))


def proxy(socket: Socket) -> None:
    behind = net.connect(int(sys.argv[2]), "127.0.0.1")
    socket.pipe(behind)
    behind.pipe(socket)


def proxy_timeouts(socket: Socket) -> None:
    behind = net.connect(int(sys.argv[2]), "127.0.0.1")
    for one in (socket, behind):
        one.set_timeout(600_000, one.destroy)
    socket.pipe(behind)
    behind.pipe(socket)


SERVERS: dict[str, Any] = {
    each.__name__: each
    for each in (
        *(listener, method, pipe, coroutine, coroutine_with, lines, frames, writes),
        *(broadcast, broadcast_text, proxy, proxy_timeouts),
    )
}


def held() -> int:
    """Bytes that malloc() and Python's own allocator hold for the program.

    That is exactly what was asked for, rounded up as they do it; resident memory would depend on
    the kernel's pages too.
    """
    import ctypes
    import gc
    import re
    import tempfile

    class Info(ctypes.Structure):
        _fields_ = [
            (each, ctypes.c_size_t)
            for each in (
                *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
                *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
            )
        ]

    for _ in range(3):
        gc.collect()
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = Info
    info = mallinfo()
    with tempfile.TemporaryFile() as file:
        stderr = os.dup(2)
        os.dup2(file.fileno(), 2)
        sys._debugmallocstats()
        os.dup2(stderr, 2)
        os.close(stderr)
        file.seek(0)
        text = file.read().decode()
    blocks = re.findall(r"# bytes in allocated blocks += +([\d,]+)", text)
    return int(info.uordblks + info.hblkhd) + int(blocks[0].replace(",", ""))


def control(socket: Socket) -> None:
    def mark(data: bytes) -> None:
        os.getloadavg()
        socket.write(f"{held() if data == b'memory' else 0}\n")

    socket.on("data", mark)
    # Nothing is taken down: whatever that costs is no figure here.
    socket.on("end", lambda: os._exit(0))


if name == "tls":
    from pyuvnet import tls

    # In the folder of this file.
    folder = os.path.dirname(__file__)
    with open(f"{folder}/key.pem", "rb") as key, open(f"{folder}/cert.pem", "rb") as cert:
        pair = {"key": key.read(), "cert": cert.read()}
    server: Server = tls.create_server({"no_delay": True, **pair}, listener)
else:
    server = net.create_server({"no_delay": True}, SERVERS.get(name, listener))
controller: Server = net.create_server({"no_delay": True}, control)


def listening() -> None:
    if name == "start":
        os.getloadavg()
        print(0, 0, flush=True)
        os._exit(0)
    print(server.address().port, controller.address().port, flush=True)


def listen() -> None:
    if name == "start":
        server.listen(0, "127.0.0.1", listening)
        return
    import gc

    # Otherwise an occasional full collection would go through all that was imported, which is much
    # in a short count, and when it comes is chance.
    gc.collect()
    gc.freeze()
    controller.listen(0, "127.0.0.1", lambda: server.listen(0, "127.0.0.1", listening))


async def main() -> None:
    import asyncio

    listen()
    await asyncio.get_running_loop().create_future()


if name.startswith("coroutine"):
    run(main())
else:
    listen()
    run()
