"""Accept now, serve later: connections wait unread until one of a few workers is free.

Shows pause_on_connect: nothing is read from such a socket before resume(), so it can be handed to
any worker at any time, and listeners added there miss nothing. Meanwhile the peer's data stays in
the kernel, which eventually slows the peer down. It also means that a peer that disconnects while
it waits goes unnoticed, so the waiting time, the idle time and the number of peers are limited.

    python examples/handover.py --workers 1
    printf 'one\ntwo\n' | nc -N 127.0.0.1 8124     from several terminals
"""

from __future__ import annotations

import argparse
import sys

from pyuvnet import Socket, net, run

waiting: dict[Socket, None] = {}  # in the order in which they connected


class Worker:
    """Serves one connection at a time: counts its lines."""

    def __init__(self, number: int, idle: int) -> None:
        self.number, self.idle = number, idle
        self.socket: Socket | None = None
        self.lines = 0

    def take(self, socket: Socket) -> None:
        self.socket, self.lines = socket, 0
        print(f"worker {self.number} takes port {socket.remote_port}", flush=True)
        socket.on("data", self.received)
        socket.on("end", self.ended)
        socket.on("close", self.closed)
        socket.set_timeout(self.idle)
        socket.resume()

    def received(self, chunk: bytes) -> None:
        self.lines += chunk.count(b"\n")

    def ended(self) -> None:
        # Our side is still open here; it ends when the listeners of 'end' have run.
        if self.socket is not None:
            self.socket.write(f"worker {self.number} counted {self.lines} lines\n")

    def closed(self, had_error: bool) -> None:
        self.socket = None
        if waiting:
            socket = next(iter(waiting))
            del waiting[socket]
            self.take(socket)


def main() -> None:
    parser = argparse.ArgumentParser(description="Count lines, for a few peers at a time.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, default=8124, help="TCP port, 0 for a free one (8124)")
    parser.add_argument("--workers", type=int, default=2, help="connections served at a time (2)")
    parser.add_argument("--most", type=int, default=100, help="maximum number of connections (100)")
    parser.add_argument("--idle", type=int, default=10_000, help="idle timeout in ms (10000)")
    parser.add_argument("--patience", type=int, default=60_000, help="longest wait in ms (60000)")
    options = parser.parse_args()
    workers = [Worker(number, options.idle) for number in range(1, options.workers + 1)]

    def connected(socket: Socket) -> None:
        name = f"port {socket.remote_port}"

        def too_long() -> None:
            how = "waited" if socket in waiting else "been silent"
            print(f"{name} has {how} too long", flush=True)
            waiting.pop(socket, None)
            socket.destroy()

        socket.on("error", lambda error: print(f"{name}: {error}", flush=True))
        socket.on("timeout", too_long)
        free = next((worker for worker in workers if worker.socket is None), None)
        if free is not None:
            free.take(socket)
        else:
            waiting[socket] = None
            socket.set_timeout(options.patience)
            print(f"{name} waits, {len(waiting)} in the queue", flush=True)

    server = net.create_server(connected, pause_on_connect=True)
    server.max_connections = options.most
    server.on("error", lambda error: sys.exit(f"handover: {error}"))

    @server.on("listening")
    def listening() -> None:
        print(f"listening on {server.address().address}:{server.address().port}", flush=True)

    @server.on("shutdown")
    def shutdown() -> None:
        # They would wait for a worker until the timeout.
        for socket in waiting:
            socket.destroy()
        waiting.clear()

    server.shutdown_on("SIGINT", "SIGTERM", timeout=2_000)
    server.listen(options.port, options.host)
    run()


if __name__ == "__main__":
    main()
