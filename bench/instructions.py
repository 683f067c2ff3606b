"""User-space instructions per echo, counted by callgrind: the same whatever else the machine does.

    python -m bench.instructions [--variant listener] [--size 1024] [--connections 10]

An echo server runs under callgrind twice, with few and with many
messages; the difference, divided by the messages between, is the cost of one echo without
start-up. Needs valgrind, and pyuvnet installed for the Python that runs this.
"""

from __future__ import annotations

import argparse
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

SERVER = """
import pyuvnet
from pyuvnet import net, run

def connected(socket):
    {connected}

server = net.create_server({listener})

def listening():
    print(server.address().port, flush=True)

def close(socket):
    socket.on("end", lambda: server.close())

server.on("connection", close)
{start}
"""

PLAIN = 'server.listen(0, "127.0.0.1", listening)\nrun()'
ATTACHED = """
async def main():
    server.listen(0, "127.0.0.1", listening)
    await pyuvnet.events.once(server, "close")

run(main())
"""
# How the echo is written -> (the listener's body, how the program runs).
VARIANTS = {
    "listener": ('socket.on("data", lambda data: socket.write(data))', PLAIN),
    "method": ('socket.on("data", socket.write)', PLAIN),
    "three listeners": (
        (
            'socket.on("data", lambda data: socket.write(data)); '
            'socket.on("data", lambda data: None); socket.on("data", lambda data: None)'
        ),
        PLAIN,
    ),
    "utf8": (
        'socket.set_encoding("utf8"); socket.on("data", lambda text: socket.write(text))',
        PLAIN,
    ),
    "pipe": ("socket.pipe(socket)", PLAIN),
    "attached": ('socket.on("data", lambda data: socket.write(data))', ATTACHED),
    "async for": ("pass", ATTACHED),
}
ASYNC = """
async def echo(socket):
    async for data in socket:
        socket.write(data)
"""


def program(variant: str) -> str:
    """The server program of a variant."""
    body, start = VARIANTS[variant]
    if variant == "async for":
        return ASYNC + SERVER.format(connected=body, listener="echo", start=start)
    return SERVER.format(connected=body, listener="connected", start=start)


def drive(port: int, connections: int, size: int, messages: int) -> None:
    """Send each message and wait for it whole, round robin over the connections."""
    # ASCII, since a variant decodes it.
    message = (bytes(range(32, 96)) * (size // 64 + 1))[:size]
    peers = [socket.create_connection(("127.0.0.1", port)) for _ in range(connections)]
    for peer in peers:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for _ in range(messages // connections):
        for peer in peers:
            peer.sendall(message)
        for peer in peers:
            answer = bytearray()
            while len(answer) < size:
                part = peer.recv(size - len(answer))
                if not part:
                    raise SystemExit("the server closed a connection")
                answer += part
            if answer != message:
                raise SystemExit("the server echoed other bytes than were sent")
    for peer in peers:
        peer.close()


def count(variant: str, connections: int, size: int, messages: int, profile: str | None) -> int:
    """Instructions of one whole server process that echoes so many messages."""
    with tempfile.TemporaryDirectory() as folder:
        out = profile or str(Path(folder) / "callgrind.out")
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"]
        server = subprocess.Popen(
            [*command, sys.executable, "-c", program(variant)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert server.stdout is not None
        line = server.stdout.readline()
        if not line.strip():
            raise SystemExit(server.communicate()[1])
        drive(int(line), connections, size, messages)
        text = server.communicate(timeout=120)[1]
    found = re.search(r"Collected : (\d+)", text)
    if found is None:
        raise SystemExit(text)
    return int(found.group(1))


def main() -> None:
    """Print the instructions per echo."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--variant", choices=[*VARIANTS, "all"], default="listener")
    parser.add_argument("--size", type=int, default=1024, help="bytes in a message (1024)")
    parser.add_argument("--connections", type=int, default=10)
    parser.add_argument("--messages", type=int, default=20000, help="of the longer run (20000)")
    parser.add_argument("--profile", help="keep callgrind's file of the longer run here")
    options = parser.parse_args()
    if shutil.which("valgrind") is None:
        raise SystemExit("valgrind is needed (Debian: apt-get install valgrind)")
    few = options.messages // 10
    for variant in VARIANTS if options.variant == "all" else [options.variant]:
        short = count(variant, options.connections, options.size, few, None)
        long = count(variant, options.connections, options.size, options.messages, options.profile)
        each = (long - short) / (options.messages - few)
        print(
            f"{each:6.0f} user-space instructions per {options.size}-byte echo: {variant} "
            f"({options.connections} connections, CPython {sys.version.split()[0]})",
            flush=True,
        )


if __name__ == "__main__":
    main()
