"""A client that stays connected: timeouts, and reconnecting with growing delays.

Shows the life cycle of a client: a timeout for connecting and for idle time, 'close' as the one
place that schedules the next attempt, and one Socket for all connections, since it keeps its
listeners. Each delay is twice the previous one, less a random part, so that many clients that lost
the same server do not all return at once. It prints what it receives.

    python examples/echo.py & python examples/reconnect.py --timeout 2000
"""

from __future__ import annotations

import argparse
import random
import signal
import sys

from pyuvnet import Socket, clear_timeout, next_tick, run, set_timeout


class Client:
    """Keeps a connection to one server."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.failures = 0  # in a row
        self.stopped = False
        self.retry = set_timeout(self.connect, 0)
        self.socket = Socket(no_delay=True, keep_alive=True, keep_alive_initial_delay=60_000)
        self.socket.on("connect", self.connected)
        self.socket.on("data", self.heard)
        self.socket.on("timeout", self.silent)
        self.socket.on("error", self.failed)
        self.socket.on("close", self.closed)

    def connect(self) -> None:
        self.socket.set_timeout(self.options.timeout)  # connecting counts as idle time
        self.socket.connect(self.options.port, self.options.host)

    def connected(self) -> None:
        print(f"connected to {self.options.host}:{self.options.port}", flush=True)
        self.socket.write("ping\n")

    def heard(self, data: bytes) -> None:
        # Not in connected(): a server that accepts and closes at once has not recovered.
        self.failures = 0
        print(f"heard {data.decode(errors='replace').rstrip()}", flush=True)

    def silent(self) -> None:
        # 'timeout' is only a notification: the program has to close the socket.
        waiting = "connecting" if self.socket.connecting else "silent"
        self.socket.destroy(TimeoutError(f"{waiting} for {self.options.timeout} ms"))

    def failed(self, error: Exception) -> None:
        print(f"lost: {error}", flush=True)

    def closed(self, had_error: bool) -> None:
        if self.stopped:
            return
        self.failures += 1
        if self.failures > self.options.tries:
            sys.exit(f"reconnect: gave up after {self.failures} failures in a row")
        longest = min(self.options.delay * 2 ** (self.failures - 1), self.options.max_delay)
        delay = longest * random.uniform(0.5, 1)
        print(f"failure {self.failures}, next try in {delay:.0f} ms", flush=True)
        self.retry = set_timeout(self.connect, delay)

    def stop(self) -> None:
        self.stopped = True
        clear_timeout(self.retry)
        self.socket.end()
        # Do not wait for the server longer than a second.
        set_timeout(self.socket.destroy, 1000).unref()


def main() -> None:
    parser = argparse.ArgumentParser(description="Stay connected and print what is received.")
    parser.add_argument("--host", default="127.0.0.1", help="the server's name (127.0.0.1)")
    parser.add_argument("--port", type=int, default=8124, help="its TCP port (8124)")
    parser.add_argument("--timeout", type=int, default=10_000, help="idle timeout in ms (10000)")
    parser.add_argument("--delay", type=int, default=500, help="ms before the first retry (500)")
    parser.add_argument("--max-delay", type=int, default=30_000, help="ms at most (30000)")
    parser.add_argument("--tries", type=int, default=10, help="failures in a row allowed (10)")
    client = Client(parser.parse_args())

    # In a tick, because Python runs signal handlers at any point, even inside a listener.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: next_tick(client.stop))
    run()


if __name__ == "__main__":
    main()
