"""An echo server: what a peer sends comes back to it.

Shows the shape that every server has: a listener for connections, 'error' handled on both the
server and its sockets, and an end at Ctrl-C or SIGTERM that takes the open connections along.

    python examples/echo.py --port 8124
    nc 127.0.0.1 8124
"""

from __future__ import annotations

import argparse
import signal
import sys

from pyuvnet import Socket, net, next_tick, run

sockets: set[Socket] = set()


def connected(socket: Socket) -> None:
    peer = f"{socket.remote_address}:{socket.remote_port}"
    print(f"{peer} connected", flush=True)
    sockets.add(socket)
    # Unlike on("data", socket.write), a pipe stops reading while the peer does not read either.
    socket.pipe(socket)
    socket.on("error", lambda error: print(f"{peer} failed: {error}", flush=True))

    @socket.on("close")
    def closed(had_error: bool) -> None:
        sockets.discard(socket)
        print(f"{peer} left after {socket.bytes_read} bytes", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Send everything back to whoever connects.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, default=8124, help="TCP port, 0 for a free one (8124)")
    options = parser.parse_args()

    server = net.create_server(connected)
    server.on("error", lambda error: sys.exit(f"echo: {error}"))

    @server.on("listening")
    def listening() -> None:
        print(f"listening on {server.address().address}:{server.address().port}", flush=True)

    def shut_down() -> None:
        server.close()
        for socket in sockets:
            socket.destroy()

    # In a tick: Python runs a signal's handler at any point, also in the middle of connected().
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: next_tick(shut_down))
    server.listen(options.port, options.host)
    run()


if __name__ == "__main__":
    main()
