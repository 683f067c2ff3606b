"""An echo server: it sends everything back to the client.

Shows the shape of every server: a listener for connections, 'error' handled on both the server and
its sockets, and a shutdown on Ctrl-C or SIGTERM that includes the open connections.

    python examples/echo.py --port 8124
    nc 127.0.0.1 8124
"""

from __future__ import annotations

import argparse
import sys

from pyuvnet import Socket, net, run


def connected(socket: Socket) -> None:
    peer = f"{socket.remote_address}:{socket.remote_port}"
    print(f"{peer} connected", flush=True)
    # Unlike on("data", socket.write), a pipe stops reading while the peer does not read either.
    socket.pipe(socket)
    socket.on("error", lambda error: print(f"{peer} failed: {error}", flush=True))

    @socket.on("close")
    def closed(had_error: bool) -> None:
        print(f"{peer} left after {socket.bytes_read} bytes", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Echo everything back to each client.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, default=8124, help="TCP port, 0 for a free one (8124)")
    options = parser.parse_args()

    server = net.create_server(connected)
    server.on("error", lambda error: sys.exit(f"echo: {error}"))

    @server.on("listening")
    def listening() -> None:
        print(f"listening on {server.address().address}:{server.address().port}", flush=True)

    server.shutdown_on("SIGINT", "SIGTERM", timeout=2_000)
    server.listen(options.port, options.host)
    run()


if __name__ == "__main__":
    main()
