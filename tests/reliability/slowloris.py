"""Slowloris: peers that send a byte from time to time, against deadlines; what that costs.

    python -m tests.reliability.slowloris [--connections N] [--every MS] [--limit MS]

Half of the peers say nothing at all, for first_byte_timeout; the others send a byte every so often,
for min_read_rate.  Prints when the last was gone, and how much of a processor the server used.
"""

from __future__ import annotations

import argparse
import collections
import socket as posix
import subprocess
import sys
import time
from typing import Any

import pyuvnet
from pyuvnet import net


def peers(port: int, count: int, every: float) -> None:
    """The slow peers, in a process of their own, until all are gone."""
    alive = []
    for index in range(count):
        peer = posix.create_connection(("127.0.0.1", port))
        peer.setblocking(False)
        alive.append((index % 2 == 0, peer))
    print("connected", flush=True)
    while alive:
        time.sleep(every)
        left = []
        for drips, peer in alive:
            try:
                if drips:
                    peer.send(b"x")
                if peer.recv(10) == b"":
                    raise ConnectionResetError
            except BlockingIOError:
                left.append((drips, peer))
            except OSError:
                peer.close()
        alive = left


def measure(count: int, every: int, limit: int) -> dict[str, Any]:
    """Serve slow peers until they are gone."""
    codes: collections.Counter[str] = collections.Counter()
    times: list[float] = []

    def connection(socket: net.Socket) -> None:
        began = time.monotonic()

        def failed(error: Any) -> None:
            codes[error.code] += 1
            times.append(time.monotonic() - began)
            if sum(codes.values()) == count:
                server.close()

        socket.on("error", failed).resume()

    server = net.create_server(
        connection, first_byte_timeout=limit, min_read_rate=(100, limit), idle_timeout=120_000
    )
    server.listen(0, "127.0.0.1", backlog=4096)
    child: Any = None

    @server.on("listening")
    def listening() -> None:
        nonlocal child
        port = str(server.address()["port"])
        command = (sys.executable, "-m", "tests.reliability.slowloris", "--peers", port)
        child = subprocess.Popen(
            (*command, "--connections", str(count), "--every", str(every)),
            stdout=subprocess.DEVNULL,
        )

    turns = pyuvnet.loop.stats().turns
    wall, busy = time.monotonic(), time.process_time()
    pyuvnet.run()
    wall, busy = time.monotonic() - wall, time.process_time() - busy
    child.wait(60)
    return {
        "codes": dict(codes),
        "gone": (min(times), max(times)),
        "turns": pyuvnet.loop.stats().turns - turns,
        "cpu": busy,
        "seconds": wall,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--connections", type=int, default=2000)
    parser.add_argument("--every", type=int, default=500, help="ms between two bytes")
    parser.add_argument("--limit", type=int, default=2000, help="ms")
    parser.add_argument("--peers", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peers:
        peers(options.peers, options.connections, options.every / 1000)
        return
    seen = measure(options.connections, options.every, options.limit)
    first, last = seen["gone"]
    print(
        f"{seen['codes']}, gone {first:.2f} to {last:.2f} s after 'connection'; "
        f"{seen['cpu']:.2f} s of processor time in {seen['seconds']:.1f} s"
    )


if __name__ == "__main__":
    main()
