"""A server on all cores: a primary, and workers that share its port.

Shows cluster: workers that die are replaced, after growing delays; SIGHUP replaces all workers, one
after another, without refusing a client; Ctrl-C and SIGTERM let each worker finish its connections.
`python -m pyuvnet serve` does all of this for you.

    python examples/many_cores.py --workers 4 --port 8124
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from typing import Any

from pyuvnet import Socket, cluster, net, run, set_timeout

PATIENCE = 10_000  # ms that a worker has to finish
FIRST_DELAY, LONGEST_DELAY = 100, 30_000  # ms before a worker that died is replaced


def work(host: str, port: int) -> None:
    """Run a worker: send everything back, preceded by the process id."""

    def connected(socket: Socket) -> None:
        socket.on("error", lambda error: None)  # the client has disconnected
        socket.on("data", lambda data: socket.write(b"%d: %s" % (os.getpid(), data)))

    server = net.create_server(connected)
    server.on("error", lambda error: sys.exit(f"many_cores: {error}"))
    server.listen(port, host)
    # Ctrl-C in a terminal reaches all processes; the primary tells the workers when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    worker = cluster.worker
    assert worker is not None
    worker.on("message", lambda message, handle: server.shutdown(timeout=PATIENCE))


class Primary:
    """Keeps a number of workers alive."""

    def __init__(self, count: int) -> None:
        self.delay = FIRST_DELAY
        self.stopping = False
        self.replacing: list[Any] = []
        cluster.on("listening", self.listening)
        cluster.on("exit", self.exited)
        for _ in range(count):
            cluster.fork()

    def listening(self, worker: cluster.Worker, address: Any) -> None:
        print(f"worker {worker.id} listening on {address.address}:{address.port}", flush=True)
        self.delay = FIRST_DELAY
        if self.replacing:
            # The new worker is ready, so an old one can stop.
            self.retire(self.replacing.pop())
            if self.replacing:
                cluster.fork()

    def exited(self, worker: cluster.Worker, code: int | None, signal: str | None) -> None:
        print(f"worker {worker.id} ended: {signal or code}", flush=True)
        if not self.stopping and not worker.exited_after_disconnect:
            set_timeout(self.again, self.delay).unref()
            self.delay = min(self.delay * 2, LONGEST_DELAY)

    def again(self) -> None:
        if not self.stopping:
            cluster.fork()

    def retire(self, worker: cluster.Worker) -> None:
        """Let a worker finish its connections and exit."""
        if worker.is_connected():
            worker.send("shut down")
            worker.disconnect()
            set_timeout(worker.kill, PATIENCE + 1000, "SIGKILL").unref()

    def replace(self) -> None:
        """Replace all workers, one after another."""
        if not self.replacing and not self.stopping:
            self.replacing = list((cluster.workers or {}).values())
            cluster.fork()

    def stop(self) -> None:
        self.stopping = True
        for worker in list((cluster.workers or {}).values()):
            self.retire(worker)


def main() -> None:
    parser = argparse.ArgumentParser(description="Run an echo server on all cores.")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8124)
    options = parser.parse_args()
    if cluster.is_worker:
        work(options.host, options.port)
    else:
        primary = Primary(options.workers)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: primary.stop())
        if hasattr(signal, "SIGHUP"):
            signal.signal(signal.SIGHUP, lambda *_: primary.replace())
    run()


if __name__ == "__main__":
    main()
