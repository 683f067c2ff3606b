"""pyuvnet demo: an echo server and its clients in one loop, every byte verified."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from .. import net, run, set_timeout, stop
from .arguments import positive, seconds

if TYPE_CHECKING:
    import argparse

    from ..socket import Socket


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = (
        "Start an echo server on a free port, drive it with clients for some seconds, verify "
        "every byte, and print the rates."
    )
    parser.add_argument("--clients", type=positive, default=50, help="connections (default: 50)")
    parser.add_argument("--seconds", type=seconds, default=3.0, help="seconds to run (default: 3)")
    parser.add_argument(
        "--size", type=positive, default=1024, help="bytes in a message (default: 1024)"
    )


def main(options: argparse.Namespace) -> int:
    """Run it."""
    return Demo(options.clients, options.seconds, options.size).run()


class _Client:
    """Sends one message at a time and compares what comes back."""

    def __init__(self, demo: Demo, port: int) -> None:
        self.demo = demo
        # A message of its own for each client, so that mixed-up connections would show.
        self.message = os.urandom(demo.size)
        self.offset = 0
        self.messages = 0
        self.socket = net.create_connection(port, "127.0.0.1", self._send)
        self.socket.set_no_delay(True)
        self.socket.on("data", self._received)
        self.socket.on("error", self._failed)
        self.socket.on("close", lambda had_error: demo.client_closed())

    def _send(self) -> None:
        self.socket.write(self.message)

    def _received(self, data: bytes) -> None:
        end = self.offset + len(data)
        if data != self.message[self.offset : end]:
            self.demo.fail(
                f"a client received different bytes than it sent, after {self.messages} messages"
            )
            return
        self.offset = end
        if end == len(self.message):
            self.offset = 0
            self.messages += 1
            if self.demo.over:
                self.socket.end()
            else:
                self.socket.write(self.message)

    def _failed(self, error: BaseException) -> None:
        self.demo.fail(f"a client failed: {getattr(error, 'message', error)}")


class Demo:
    """Drives an echo server with clients for a while.

    Args:
        clients: how many connections.
        seconds: how long.
        size: bytes in a message.
    """

    def __init__(self, clients: int, seconds: float, size: int) -> None:
        self.count = clients
        self.seconds = seconds
        self.size = size
        self.over = False
        self.reason: str | None = None
        self.clients: list[_Client] = []
        self.open = 0
        self.echoed = 0
        self.server = net.create_server(self._connected)

    def run(self) -> int:
        """Run it and print the figures; returns 0, or 1 if anything was lost."""
        self.server.on("error", lambda error: self.fail(f"the server failed: {error.message}"))
        self.server.listen(0, "127.0.0.1", self._listening)
        run()
        if self.reason is None:
            self._verify()
        if self.reason is not None:
            print(f"pyuvnet demo: {self.reason}", file=sys.stderr)
            return 1
        return 0

    def _connected(self, socket: Socket) -> None:
        socket.set_no_delay(True)

        def echo(data: bytes) -> None:
            self.echoed += len(data)
            socket.write(data)

        socket.on("data", echo)
        socket.on("error", lambda error: self.fail(f"a connection failed: {error.message}"))

    def _listening(self) -> None:
        address = self.server.address()
        assert address is not None
        port = address.port
        print(
            f"echo server on 127.0.0.1:{port}, {self.count} clients, messages of {self.size} "
            f"bytes, {self.seconds:g} seconds ...",
            flush=True,
        )
        self.open = self.count
        self.started = time.perf_counter()
        self.clients = [_Client(self, port) for _ in range(self.count)]
        set_timeout(self._time_is_over, self.seconds * 1000)
        # If the last answers do not come, say so instead of waiting for ever.
        self.watchdog = set_timeout(self._stuck, self.seconds * 1000 + 10_000)

    def _time_is_over(self) -> None:
        self.over = True

    def _stuck(self) -> None:
        self.fail(f"{self.open} clients are still waiting for their last answer after 10 seconds")

    def client_closed(self) -> None:
        """One connection is over; after the last one the server closes."""
        self.open -= 1
        if self.open == 0:
            self.elapsed = time.perf_counter() - self.started
            self.watchdog.close()
            self.server.close()

    def fail(self, reason: str) -> None:
        """Note why the demo failed and end it."""
        if self.reason is None:
            self.reason = reason
            stop()

    def _verify(self) -> None:
        messages = sum(client.messages for client in self.clients)
        sent = sum(client.socket.bytes_written for client in self.clients)
        received = sum(client.socket.bytes_read for client in self.clients)
        if not messages:
            self.reason = "no message came back"
        elif not sent == received == self.echoed == messages * self.size:
            self.reason = (
                f"bytes were lost: {sent} sent, {self.echoed} echoed, {received} received, "
                f"{messages * self.size} verified"
            )
        else:
            rate = messages / self.elapsed
            print(
                f"{rate:,.0f} messages/s, {2 * received / self.elapsed / 1e6:,.1f} MB/s both ways"
            )
            print(f"{messages:,} messages, {received:,} bytes each way, every byte verified")
