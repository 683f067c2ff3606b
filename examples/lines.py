"""A line protocol: a key-value store that replies to each line with one line.

Shows a framing: each 'data' event is one line, however the network splits the bytes, and
write_frame() writes one. A line that exceeds the limit is skipped without being stored. A client
may send many lines before it reads the replies; while too many are unread, the server stops reading
from it.

    python examples/lines.py --port 8124
    printf 'SET colour green\nGET colour\n' | nc -N 127.0.0.1 8124
"""

from __future__ import annotations

import argparse
import sys

from pyuvnet import Socket, framing, net, run

LINES = framing.Lines(limit=65536, oversize="discard")
MOST_KEYS = 1000
store: dict[bytes, bytes] = {}


def answer(line: bytes) -> bytes:
    """Return the reply to one line."""
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

    def say(text: bytes) -> None:
        # Stop reading from a client that does not read its replies.
        if not socket.write_frame(text):
            socket.pause()

    socket.on("data", lambda line: say(answer(line)))
    socket.on("oversize", lambda skipped: say(b"ERROR line too long"))
    socket.on("drain", socket.resume)
    socket.on("error", lambda error: print(f"{socket.remote_address}: {error}", flush=True))


def main() -> None:
    parser = argparse.ArgumentParser(description="Run a line-based key-value store.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, default=8124, help="TCP port, 0 for a free one (8124)")
    options = parser.parse_args()

    server = net.create_server(connected, no_delay=True, framing=LINES)
    server.on("error", lambda error: sys.exit(f"lines: {error}"))

    @server.on("listening")
    def listening() -> None:
        print(f"listening on {server.address().address}:{server.address().port}", flush=True)

    server.shutdown_on("SIGINT", "SIGTERM", timeout=2_000)
    server.listen(options.port, options.host)
    run()


if __name__ == "__main__":
    main()
