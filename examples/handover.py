"""Accept now, serve later: connections wait, unread, until one of a few workers is free.

Shows pause_on_connect: not one byte is read from such a socket before resume(). So it can be handed
to whoever shall have it, at any time, and the listeners added there miss nothing; what the peer
sends meanwhile stays in the kernel, which slows the peer down in the end. That is also why a peer
that leaves while it waits is seen only once it is its turn.

    python examples/handover.py --workers 1
    printf 'one\ntwo\n' | nc -N 127.0.0.1 8124     from several terminals
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections import deque

from pyuvnet import Socket, net, next_tick, run

waiting: deque[Socket] = deque()


class Worker:
    """Serves one connection at a time: counts its lines."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.socket: Socket | None = None
        self.lines = 0

    def take(self, socket: Socket) -> None:
        self.socket, self.lines = socket, 0
        print(f"worker {self.number} takes port {socket.remote_port}", flush=True)
        socket.on("data", self.received)
        socket.on("end", self.ended)
        socket.on("error", lambda error: print(f"worker {self.number}: {error}", flush=True))
        socket.on("close", self.closed)
        socket.resume()

    def received(self, chunk: bytes) -> None:
        self.lines += chunk.count(b"\n")

    def ended(self) -> None:
        # Our side is still open here, and is ended when the listeners of 'end' are done.
        if self.socket is not None:
            self.socket.write(f"worker {self.number} counted {self.lines} lines\n")

    def closed(self, had_error: bool) -> None:
        self.socket = None
        if waiting:
            self.take(waiting.popleft())


def main() -> None:
    parser = argparse.ArgumentParser(description="Count lines, for a few peers at a time.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, default=8124, help="TCP port, 0 for a free one (8124)")
    parser.add_argument("--workers", type=int, default=2, help="connections served at once (2)")
    options = parser.parse_args()
    workers = [Worker(number) for number in range(1, options.workers + 1)]

    def connected(socket: Socket) -> None:
        free = next((worker for worker in workers if worker.socket is None), None)
        if free is not None:
            free.take(socket)
        else:
            waiting.append(socket)
            print(f"port {socket.remote_port} waits, {len(waiting)} in the queue", flush=True)

    server = net.create_server(connected, pause_on_connect=True)
    server.on("error", lambda error: sys.exit(f"handover: {error}"))

    @server.on("listening")
    def listening() -> None:
        print(f"listening on {server.address().address}:{server.address().port}", flush=True)

    def shut_down() -> None:
        server.close()
        while waiting:
            waiting.popleft().destroy()
        for worker in workers:
            if worker.socket is not None:
                worker.socket.destroy()

    # In a tick: Python runs a signal's handler at any point, also in the middle of a listener.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: next_tick(shut_down))
    server.listen(options.port, options.host)
    run()


if __name__ == "__main__":
    main()
