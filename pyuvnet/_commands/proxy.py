"""pyuvnet proxy: connections go on to another server, and their bytes are counted."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .. import net, run, stop
from ..streams import pipeline
from .arguments import address, fail, shown, text_of

if TYPE_CHECKING:
    import argparse
    from typing import Any

    from ..socket import Socket

# How long connections may go on after Ctrl-C, in ms.
GRACE = 1000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = (
        "Accept connections on LISTEN and forward each to TARGET, until Ctrl-C. Prints the bytes "
        "in each direction when a connection ends, and the totals at the end. LISTEN and TARGET "
        "are PORT (on 127.0.0.1), HOST:PORT, [IPv6]:PORT, or the path of a unix socket or named "
        "pipe."
    )
    parser.add_argument(
        "listen", type=address, metavar="LISTEN", help="where to listen; port 0 picks a free port"
    )
    parser.add_argument("target", type=address, metavar="TARGET", help="the server to forward to")


def main(options: argparse.Namespace) -> int:
    """Run it."""
    return Proxy(options.listen, options.target).run()


class Proxy:
    """Forwards connections.

    Args:
        listen: keywords of listen(), where clients connect.
        target: keywords of connect(), of the server behind.
    """

    def __init__(self, listen: dict[str, Any], target: dict[str, Any]) -> None:
        self.listen = listen
        self.target = target
        self.failure: BaseException | None = None
        self.connections = self.there = self.back = 0
        # Half open, so that each direction ends by itself, as it would without a proxy.
        self.server = net.create_server(self.connected, allow_half_open=True)

    def run(self) -> int:
        """Forward until Ctrl-C; returns the exit code."""
        self.server.on("error", self.failed)
        self.server.on("listening", self.listening)
        self.server.shutdown_on("SIGINT", "SIGTERM", timeout=GRACE)
        self.server.listen(**self.listen)
        run()
        if self.failure is not None:
            return fail("proxy", self.failure)
        print(f"connections: {self.connections}, {_counts(self.there, self.back)}")
        return 0

    def failed(self, error: BaseException) -> None:
        """'error' of the server."""
        self.failure = error
        stop()

    def listening(self) -> None:
        """Say where."""
        print(
            f"proxy listening on {shown(self.server.address())}, forwarding to "
            f"{shown(self.target)}; Ctrl-C ends it",
            flush=True,
        )

    def connected(self, client: Socket) -> None:
        """Forward one connection, and print its line when both directions are over."""
        self.connections += 1
        name = f"#{self.connections}"
        if client.remote_address is not None:
            where = {"host": client.remote_address, "port": client.remote_port}
            name = f"{name} {shown(where)}"
        started = time.monotonic()
        target = net.connect(**self.target, allow_half_open=True)
        failures: list[BaseException] = []
        running = 2
        connected = False

        def is_connected() -> None:
            nonlocal connected
            connected = True

        def done(error: BaseException | None) -> None:
            nonlocal running
            running -= 1
            if error is not None:
                failures.append(error)
            if running:
                return
            # The peer has not been sent what is still queued.
            there = (target.bytes_written - target.writable_length) if connected else 0
            back = client.bytes_written - client.writable_length
            self.there += there
            self.back += back
            line = f"{name}: {_counts(there, back)}, {time.monotonic() - started:.1f} s"
            if failures:
                # Not that a socket was closed because of the other one's failure.
                late = "ERR_STREAM_PREMATURE_CLOSE"
                real = [each for each in failures if getattr(each, "code", None) != late]
                if self.server.shutting_down and not real:
                    line += ", cut off"
                else:
                    line += f", failed: {text_of((real or failures)[0])}"
            print(line, flush=True)

        # Before pipeline() destroys them, which would end the other connection as if all were well.
        target.on("connect", is_connected)
        client.on("error", lambda error: _reset(target))
        target.on("error", lambda error: _reset(client))
        pipeline(client, target, callback=done)
        pipeline(target, client, callback=done)


def _reset(socket: Socket) -> None:
    """Break a connection off, as the other one has been; a unix socket is closed."""
    if socket.remote_port is None or socket.destroyed:
        socket.destroy()
    else:
        socket.reset_and_destroy()


def _counts(there: int, back: int) -> str:
    return f"{there:,} bytes to the target, {back:,} bytes back"
