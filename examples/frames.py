"""A length-prefixed protocol: calls and answers as JSON, each behind its length in four bytes.

Shows the readable mode: nothing is handed out until it is asked for, and read(n) gives n bytes or
None, so that no chunk has to be put together by hand. Server and client use the same class. Frames
have a limit, and so has what a call may cost.

    python examples/frames.py --port 8124
    python examples/frames.py --port 8124 --call add 1 2 3
"""

from __future__ import annotations

import argparse
import json
import math
import signal
import sys
from collections.abc import Callable
from typing import Any

from pyuvnet import Socket, net, next_tick, run

LARGEST = 1 << 20  # bytes in a frame
MOST = 1000  # numbers in a calculation
sockets: set[Socket] = set()


def numbers(values: tuple[Any, ...]) -> tuple[float, ...]:
    """Refuse what would take all memory, as "a" * 1000000000 does, or all time."""
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


class Frames:
    """Calls received(value) for every frame of a socket."""

    def __init__(self, socket: Socket, received: Callable[[Any], object]) -> None:
        self.socket, self.received = socket, received
        self.size: int | None = None  # of the body, once its length was read
        socket.on("readable", self.readable)
        socket.on("drain", self.readable)

    def readable(self) -> None:
        # Nothing is read from a peer that does not read its answers.
        while not self.socket.destroyed and not self.socket.writable_need_drain:
            wanted = 4 if self.size is None else self.size
            # read(0) would ask for nothing, and always gives None.
            data = self.socket.read(wanted) if wanted else b""
            if data is None:
                return
            if len(data) < wanted:
                # read(n) gives less only at the end of the stream: what is left.
                self.fail("the stream ends inside a frame")
            elif self.size is not None:
                self.size = None
                self.parse(data)
            elif (size := int.from_bytes(data, "big")) <= LARGEST:
                self.size = size
            else:
                self.fail(f"a frame of {size} bytes is too large")

    def parse(self, body: bytes) -> None:
        try:
            value = json.loads(body)
        except (ValueError, RecursionError) as error:
            self.fail(f"a frame is no JSON: {error}")
        else:
            self.received(value)

    def fail(self, reason: str) -> None:
        self.socket.destroy(ValueError(reason))

    def send(self, value: Any) -> None:
        body = json.dumps(value).encode()
        self.socket.write(len(body).to_bytes(4, "big") + body)


def connected(socket: Socket) -> None:
    def called(call: Any) -> None:
        try:
            frames.send({"result": METHODS[call["method"]](*call["params"])})
        except (KeyError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
            # Also of a result that cannot be sent, such as a number of 5000 digits.
            frames.send({"error": repr(error)[:200]})

    frames = Frames(socket, called)
    sockets.add(socket)
    socket.on("error", lambda error: print(f"{socket.remote_address}: {error}", flush=True))
    socket.on("close", lambda had_error: sockets.discard(socket))


def serve(host: str, port: int) -> None:
    server = net.create_server(connected, no_delay=True)
    server.on("error", lambda error: sys.exit(f"frames: {error}"))

    @server.on("listening")
    def listening() -> None:
        print(f"listening on {server.address().address}:{server.address().port}", flush=True)

    def shut_down() -> None:
        server.close()
        for socket in sockets:
            socket.destroy()

    # In a tick: Python runs a signal's handler at any point, also in the middle of a listener.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: next_tick(shut_down))
    server.listen(port, host)
    run()


def call(host: str, port: int, method: str, params: list[Any]) -> None:
    def answered(answer: Any) -> None:
        print(json.dumps(answer))
        socket.end()

    socket = net.create_connection(port, host)
    socket.on("error", lambda error: sys.exit(f"frames: {error}"))
    Frames(socket, answered).send({"method": method, "params": params})
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
