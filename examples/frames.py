"""A length-prefixed protocol: calls and replies as JSON, each preceded by a four-byte length.

Shows a framing: each 'data' event is one frame without its length, and write_frame() prepends the
length. Server and client use the same framing. The size of a frame and the cost of a call are
limited.

    python examples/frames.py --port 8124
    python examples/frames.py --port 8124 --call add 1 2 3
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable
from typing import Any

from pyuvnet import Socket, framing, net, run

FRAMES = framing.LengthPrefix(4, limit=1 << 20)
MOST = 1000  # numbers per call


def numbers(values: tuple[Any, ...]) -> tuple[float, ...]:
    """Refuse parameters that would take too much memory or time, as "a" * 1000000000 would."""
    if len(values) > MOST:
        raise ValueError(f"more than {MOST} numbers")
    if not all(isinstance(value, (int, float)) and abs(value) <= 1e15 for value in values):
        raise TypeError("expected numbers up to 1e15")
    return values


METHODS: dict[str, Callable[..., Any]] = {
    "add": lambda *values: sum(numbers(values)),
    "multiply": lambda *values: math.prod(numbers(values)),
    "echo": lambda *values: list(values),
}


def send(socket: Socket, value: Any) -> None:
    # Stop reading from a peer that does not read its replies.
    if not socket.write_frame(json.dumps(value)):
        socket.pause()


def receive(socket: Socket, received: Callable[[Any], object]) -> None:
    """Call received(value) for every frame."""

    @socket.on("data")
    def data(frame: bytes) -> None:
        try:
            value = json.loads(frame)
        except (ValueError, RecursionError) as error:
            socket.destroy(ValueError(f"a frame is not JSON: {error}"))
        else:
            received(value)

    socket.on("drain", socket.resume)


def connected(socket: Socket) -> None:
    def called(call: Any) -> None:
        try:
            send(socket, {"result": METHODS[call["method"]](*call["params"])})
        except (KeyError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
            # Also for a result that cannot be sent, such as a number with 5000 digits.
            send(socket, {"error": repr(error)[:200]})

    receive(socket, called)
    socket.on("error", lambda error: print(f"{socket.remote_address}: {error}", flush=True))


def serve(host: str, port: int) -> None:
    server = net.create_server(connected, no_delay=True, framing=FRAMES)
    server.on("error", lambda error: sys.exit(f"frames: {error}"))

    @server.on("listening")
    def listening() -> None:
        print(f"listening on {server.address().address}:{server.address().port}", flush=True)

    server.shutdown_on("SIGINT", "SIGTERM", timeout=2_000)
    server.listen(port, host)
    run()


def call(host: str, port: int, method: str, params: list[Any]) -> None:
    def answered(answer: Any) -> None:
        print(json.dumps(answer))
        socket.end()

    socket = net.connect(port, host, framing=FRAMES)
    socket.on("error", lambda error: sys.exit(f"frames: {error}"))
    receive(socket, answered)
    send(socket, {"method": method, "params": params})
    run()


def main() -> None:
    parser = argparse.ArgumentParser(description="Answer calls, or make one.")
    parser.add_argument("--host", default="127.0.0.1", help="address of the server (127.0.0.1)")
    parser.add_argument("--port", type=int, default=8124, help="TCP port, 0 for a free one (8124)")
    parser.add_argument("--call", metavar="METHOD", help=f"call one of {', '.join(METHODS)}")
    parser.add_argument("params", nargs="*", type=json.loads, help="its parameters, as JSON")
    options = parser.parse_args()
    if options.call:
        call(options.host, options.port, options.call, options.params)
    else:
        serve(options.host, options.port)


if __name__ == "__main__":
    main()
