"""Two processes of one program that talk over a unix socket, or a named pipe on Windows.

Shows IPC: the parent listens on a path, starts a worker, gives it one task after another and prints
the results, all as lines of JSON. Only the path differs between systems.

    python examples/ipc.py
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyuvnet import Socket, clear_timeout, net, run, set_timeout

PATIENCE = 10_000  # ms that a worker has to connect, and for each result


def on_messages(socket: Socket, received: Callable[[Any], object]) -> None:
    """Call received(value) for every line of JSON."""
    unfinished = b""  # a line whose end has not arrived yet

    @socket.on("data")
    def data(chunk: bytes) -> None:
        nonlocal unfinished
        *lines, unfinished = (unfinished + chunk).split(b"\n")
        for line in lines:
            received(json.loads(line))


def send(socket: Socket, value: Any) -> None:
    socket.write(json.dumps(value).encode() + b"\n")


def work(path: str) -> None:
    """Run the worker: send results until the parent ends the connection."""

    def task(number: int) -> None:
        divisors = [n for n in range(1, number + 1) if number % n == 0]
        send(socket, {"number": number, "divisors": divisors, "pid": os.getpid()})

    socket = net.create_connection(path)
    socket.on("error", lambda error: sys.exit(f"ipc worker: {error}"))
    on_messages(socket, task)
    run()


def manage(path: str, numbers: list[int]) -> None:
    """Run the parent: start a worker and give it tasks."""
    left = iter(numbers)

    def connected(socket: Socket) -> None:
        clear_timeout(late)
        server.close()  # one worker is enough; this removes the socket's file too

        def next_task() -> None:
            try:
                send(socket, next(left))
            except StopIteration:
                socket.end()

        def answered(answer: dict[str, Any]) -> None:
            print(
                f"{answer['number']}: {answer['divisors']} from process {answer['pid']}", flush=True
            )
            next_task()

        on_messages(socket, answered)
        socket.set_timeout(PATIENCE, lambda: socket.destroy(TimeoutError("no result")))
        socket.on("error", lambda error: sys.exit(f"ipc: the worker failed: {error}"))
        socket.on("end", lambda: next(left, None) and sys.exit("ipc: the worker ended too early"))
        next_task()

    server = net.create_server(connected)
    server.on("error", lambda error: sys.exit(f"ipc: {error}"))
    worker: list[subprocess.Popen[bytes]] = []

    @server.on("listening")
    def listening() -> None:
        print(f"process {os.getpid()} listening on {server.address()}", flush=True)
        worker.append(subprocess.Popen([sys.executable, __file__, "--worker", path]))

    late = set_timeout(lambda: sys.exit("ipc: the worker did not connect"), PATIENCE)
    server.listen(path)
    try:
        run()
    except BaseException:
        for process in worker:
            process.terminate()
        raise
    finally:
        # It exits by itself when the connection ends.
        for process in worker:
            process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="Let a second process find divisors.")
    parser.add_argument("--worker", metavar="PATH", help="run as the worker; used by the parent")
    parser.add_argument("numbers", nargs="*", type=int, default=[12, 97, 360], help="12 97 360")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(1))
    if options.worker:
        work(options.worker)
    elif sys.platform == "win32":
        manage(rf"\\.\pipe\pyuvnet-ipc-{os.getpid()}", options.numbers)
    else:
        # A private folder, because anyone who can open the path can connect.
        with tempfile.TemporaryDirectory() as folder:
            manage(str(Path(folder) / "socket"), options.numbers)


if __name__ == "__main__":
    main()
