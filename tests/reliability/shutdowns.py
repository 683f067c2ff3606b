"""Shut down a server under load, many times: no request that was sent goes unanswered, no RST.

    python -m tests.reliability.shutdowns [--times N] [--connections N]

A process of its own has busy clients: each sends 1 KiB, waits for the answer of 1 KiB, and sends
again, until the server ends the connection. In the middle of it the server shuts down.  A request
counts as unanswered if it was sent before 'shutdown' and an end comes in place of its answer.
Answers after 'shutdown' say goodbye, and a well-behaved client that has read one sends no further
request.  One that was silent for idle_grace, as on a busy machine, may send one too late.
"""

from __future__ import annotations

import argparse
import selectors
import socket as posix
import subprocess
import sys
import time
from typing import Any

import pyuvnet
from pyuvnet import net

SIZE = 1024
SELF = (sys.executable, "-m", "tests.reliability.shutdowns")


def clients(port: int, count: int) -> None:
    """The busy clients, in a process of their own; prints what they saw."""
    ready = selectors.DefaultSelector()
    answered = resets = failed = 0
    unanswered: list[float] = []
    for _ in range(count):
        fresh = posix.create_connection(("127.0.0.1", port))
        fresh.settimeout(30)
        fresh.sendall(b"q" * SIZE)
        # Bytes of the answer so far, and when the request was sent that is not answered.
        ready.register(fresh, selectors.EVENT_READ, [0, time.monotonic()])
    print("connected", flush=True)
    while ready.get_map():
        found = ready.select(20)
        if not found:
            failed = len(ready.get_map())
            break
        for key, _ in found:
            peer: Any = key.fileobj
            try:
                chunk = peer.recv(65536)
                if chunk:
                    key.data[0] += len(chunk)
                    if key.data[0] >= SIZE:
                        answered += 1
                        key.data[0] -= SIZE
                        if b"x" in chunk:
                            # The goodbye: no more requests.
                            key.data[1] = None
                            continue
                        key.data[1] = time.monotonic()
                        peer.sendall(b"q" * SIZE)
                    continue
                if key.data[1] is not None:
                    unanswered.append(key.data[1])
            except OSError:
                resets += 1
            ready.unregister(peer)
            peer.close()
    print(answered, resets, failed, *unanswered)


class Seen:
    """What came of one shutdown."""

    def __init__(self, result: net.ShutdownResult, began: float, said: list[str]) -> None:
        self.result = result
        self.answered, self.resets, self.left = map(int, said[:3])
        sent = [float(each) for each in said[3:]]
        self.unanswered = sum(each < began for each in sent)
        self.late = len(sent) - self.unanswered


def once(count: int, idle_grace: int) -> Seen:
    """One server, `count` busy clients, and a shutdown in the middle."""
    began = 0.0
    results: list[Any] = []

    def connection(socket: net.Socket) -> None:
        pending = 0

        @socket.on("data")
        def data(chunk: bytes) -> None:
            nonlocal pending
            pending += len(chunk)
            while pending >= SIZE:
                pending -= SIZE
                # The last answer says goodbye.
                socket.write((b"x" if server.shutting_down else b"a") * SIZE)

        socket.on("error", lambda error: errors.append(error))

    errors: list[BaseException] = []
    server = net.create_server(connection)
    server.listen(0, "127.0.0.1", backlog=4096)
    child: Any = None

    @server.on("listening")
    def listening() -> None:
        nonlocal child
        port = server.address()["port"]
        child = subprocess.Popen(
            (*SELF, "--clients", str(port), "--connections", str(count)),
            stdout=subprocess.PIPE,
            text=True,
        )

    def begin() -> None:
        nonlocal began
        began = time.monotonic()
        server.shutdown(idle_grace=idle_grace, callback=results.append)

    answers = 0

    def counted() -> None:
        nonlocal answers
        answers = sum(socket.bytes_written for socket in server.sockets) // SIZE
        if answers >= 5 * count:
            begin()
        else:
            pyuvnet.set_timeout(counted, 5)

    counted()
    pyuvnet.run()
    out, _ = child.communicate(timeout=30)
    assert errors == [], errors[:3]
    return Seen(results[0], began, out.split()[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--connections", type=int, default=200)
    parser.add_argument("--idle-grace", type=int, default=300)
    parser.add_argument("--clients", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.clients:
        clients(options.clients, options.connections)
        return
    seen = [once(options.connections, options.idle_grace) for _ in range(options.times)]
    print(
        f"{options.times} shutdowns, {options.connections} connections: "
        f"{sum(each.answered for each in seen)} answers, "
        f"{sum(each.unanswered for each in seen)} unanswered, "
        f"{sum(each.late for each in seen)} sent after 'shutdown' by clients that had no goodbye "
        f"within {options.idle_grace} ms, {sum(each.resets for each in seen)} resets, "
        f"{sum(each.left for each in seen)} left, "
        f"{sum(each.result.destroyed + each.result.unaccepted for each in seen)} destroyed"
    )


if __name__ == "__main__":
    main()
