"""User-space instructions per echo, counted by callgrind: the same whatever else the machine does.

    python -m bench.instructions [--variant listener] [--size 1024] [--connections 10]

An echo server runs under callgrind twice, with few and with many
messages; the difference, divided by the messages between, is the cost of one echo without
start-up. Needs valgrind, and pyuvnet installed for the Python that runs this.

The variants "lines" and "frames" count what one of 16 messages of 64 bytes in a chunk costs from
the poll to the listener, without what the listener spends. That share is taken from the profile,
which needs a Python with symbols.
"""

from __future__ import annotations

import argparse
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

SERVER = """
import pyuvnet
from pyuvnet import framing, net, run

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


FRAMES = 16  # in a chunk
LAST = b"last"
# How a frame is cut -> (the framing, what turns a payload into a frame).
FRAMED: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "lines": ("framing.Lines()", lambda payload: payload + b"\n"),
    "frames": (
        "framing.LengthPrefix(4)",
        lambda payload: len(payload).to_bytes(4, "big") + payload,
    ),
}


def program(variant: str) -> str:
    """The server program of a variant."""
    if variant in FRAMED:
        # The driver needs an answer, to send one chunk at a time.
        listen = f"lambda frame: frame == {LAST!r} and socket.write_frame(frame)"
        body = f'socket.set_framing({FRAMED[variant][0]}); socket.on("data", {listen})'
        return SERVER.format(connected=body, listener="connected", start=PLAIN)
    body, start = VARIANTS[variant]
    if variant == "async for":
        return ASYNC + SERVER.format(connected=body, listener="echo", start=start)
    return SERVER.format(connected=body, listener="connected", start=start)


def messages_of(variant: str, size: int) -> tuple[bytes, bytes]:
    """What is sent again and again, and the answer to it."""
    # ASCII, since a variant decodes it.
    text = bytes(range(32, 96)) * (size // 64 + 1)
    if variant not in FRAMED:
        return text[:size], text[:size]
    frame = FRAMED[variant][1]
    payload = text[: size - len(frame(b""))]
    return frame(payload) * (FRAMES - 1) + frame(LAST), frame(LAST)


def drive(port: int, connections: int, message: bytes, expected: bytes, messages: int) -> None:
    """Send each message and wait for its whole answer, round robin over the connections."""
    size = len(expected)
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
            if answer != expected:
                raise SystemExit("the server answered with other bytes than it should")
    for peer in peers:
        peer.close()


def in_listeners(profile: Path) -> int:
    """Instructions spent in Python functions that pyuvnet called, from callgrind's file."""
    names: dict[tuple[str, str], str] = {}
    where: dict[str, str] = {}
    spent = 0
    lines = iter(profile.read_text("utf-8", "replace").splitlines())
    for line in lines:
        if found := re.match(r"(c?)(ob|fn)=\((\d+)\)(?: (.*))?", line):
            called, kind, number, name = found.groups()
            # A name is written once, and only its number from then on.
            where[called + kind] = names.setdefault((kind, number), name)
        elif line.startswith("calls="):
            cost = int(next(lines).split()[-1])
            if "_native" in where["ob"] and where["cfn"].startswith("_PyFunction_Vectorcall"):
                spent += cost
    return spent


def count(variant: str, connections: int, size: int, messages: int, profile: str | None) -> int:
    """Instructions of one whole server process that gets so many messages."""
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
        drive(int(line), connections, *messages_of(variant, size), messages)
        text = server.communicate(timeout=120)[1]
        found = re.search(r"Collected : (\d+)", text)
        if found is None:
            raise SystemExit(text)
        listeners = in_listeners(Path(out)) if variant in FRAMED else 0
    return int(found.group(1)) - listeners


def main() -> None:
    """Print the instructions per echo."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--variant", choices=[*VARIANTS, *FRAMED, "all"], default="listener")
    parser.add_argument("--size", type=int, help="bytes in a message (1024), or in a frame (64)")
    parser.add_argument("--connections", type=int, default=10)
    parser.add_argument("--messages", type=int, default=20000, help="of the longer run (20000)")
    parser.add_argument("--profile", help="keep callgrind's file of the longer run here")
    options = parser.parse_args()
    if shutil.which("valgrind") is None:
        raise SystemExit("valgrind is needed (Debian: apt-get install valgrind)")
    few = options.messages // 10
    everything = [*VARIANTS, *FRAMED]
    for variant in everything if options.variant == "all" else [options.variant]:
        framed = variant in FRAMED
        size = options.size or (64 if framed else 1024)
        short = count(variant, options.connections, size, few, None)
        long = count(variant, options.connections, size, options.messages, options.profile)
        each = (long - short) / (options.messages - few) / (FRAMES if framed else 1)
        what = f"frame, {FRAMES} of {size} bytes in a chunk" if framed else f"{size}-byte echo"
        print(
            f"{each:6.0f} user-space instructions per {what}: {variant} "
            f"({options.connections} connections, CPython {sys.version.split()[0]})",
            flush=True,
        )


if __name__ == "__main__":
    main()
