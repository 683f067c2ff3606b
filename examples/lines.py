"""A line protocol: a store of keys and values that answers one line for each line.

Shows how lines come out of chunks: a chunk holds parts of lines, or many. What is left after the
last line end is carried over to the next chunk. A client may send many lines before it reads the
answers; while it does not read them, the server does not read from it either.

    python examples/lines.py --port 8124
    printf 'SET colour green\nGET colour\n' | nc -N 127.0.0.1 8124
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections import deque

from pyuvnet import Socket, net, next_tick, run

LONGEST_LINE = 65536  # bytes
MOST_KEYS = 1000
store: dict[bytes, bytes] = {}
sockets: set[Socket] = set()


def answer(line: bytes) -> bytes:
    """What to answer to one line."""
    match line.split(maxsplit=2):
        case [b"SET", key, value]:
            if key not in store and len(store) >= MOST_KEYS:
                return b"ERROR the store is full"
            store[key] = value
            return b"OK"
        case [b"GET", key]:
            return b"VALUE " + store[key] if key in store else b"NONE"
        case [b"DEL", key]:
            return b"OK" if store.pop(key, None) is not None else b"NONE"
    return b"ERROR expected SET key value, GET key or DEL key"


def connected(socket: Socket) -> None:
    carried = b""
    lines: deque[bytes] = deque()
    sockets.add(socket)

    def go_on() -> None:
        # One by one, since a short line may ask for a long answer.
        while lines and not socket.writable_need_drain:
            socket.write(answer(lines.popleft()) + b"\n")
        if lines:
            socket.pause()
        else:
            socket.resume()

    @socket.on("data")
    def received(chunk: bytes) -> None:
        nonlocal carried
        *complete, carried = (carried + chunk).split(b"\n")
        lines.extend(complete)
        go_on()
        if len(carried) > LONGEST_LINE:
            lines.clear()
            socket.write(b"ERROR line too long\n")
            socket.destroy_soon()  # once that is written

    @socket.on("end")
    def ended() -> None:
        # Our side is still open here, and is ended when the listeners of 'end' are done.
        if carried:
            socket.write(b"ERROR the last line has no end\n")

    socket.on("drain", go_on)
    socket.on("error", lambda error: print(f"{socket.remote_address}: {error}", flush=True))
    socket.on("close", lambda had_error: sockets.discard(socket))


def main() -> None:
    parser = argparse.ArgumentParser(description="Keep values for keys, by lines.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, default=8124, help="TCP port, 0 for a free one (8124)")
    options = parser.parse_args()

    server = net.create_server(connected, no_delay=True)
    server.on("error", lambda error: sys.exit(f"lines: {error}"))

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
    server.listen(options.port, options.host)
    run()


if __name__ == "__main__":
    main()
