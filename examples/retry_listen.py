"""Listen on a port that is still in use, retrying until it is free.

Shows how to handle EADDRINUSE, for example if a new version of a service starts before the old one
has exited. A server whose listen() failed can listen() again.

    python examples/retry_listen.py --port 8124     start it twice, then stop the first
"""

from __future__ import annotations

import argparse
import sys

from pyuvnet import Socket, net, run, set_timeout

GOODBYE = 3000  # ms that a client has to read the greeting and disconnect


def main() -> None:
    parser = argparse.ArgumentParser(description="Greet clients as soon as the port is free.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, default=8124, help="TCP port (8124)")
    parser.add_argument("--delay", type=int, default=1000, help="ms between attempts (1000)")
    parser.add_argument("--tries", type=int, default=60, help="maximum number of attempts (60)")
    options = parser.parse_args()
    tries = 0

    def connected(socket: Socket) -> None:
        socket.on("error", lambda error: print(f"{socket.remote_address}: {error}", flush=True))
        socket.end("hello\n")
        socket.resume()  # discard what it sends: without reading, we would not notice its end
        set_timeout(socket.destroy, GOODBYE).unref()  # it may never end

    def listen() -> None:
        nonlocal tries
        tries += 1
        server.listen(options.port, options.host)

    server = net.create_server(connected)
    set_timeout(listen, 0)

    @server.on("error")
    def failed(error: OSError) -> None:
        if getattr(error, "code", None) != "EADDRINUSE" or tries >= options.tries:
            sys.exit(f"retry_listen: {error} (after {tries} tries)")
        print(f"port {options.port} is in use, next try in {options.delay} ms", flush=True)
        set_timeout(listen, options.delay)

    @server.on("listening")
    def listening() -> None:
        print(f"listening on {server.address().address}:{server.address().port}", flush=True)

    server.shutdown_on("SIGINT", "SIGTERM", timeout=2_000)
    run()


if __name__ == "__main__":
    main()
