"""A TCP proxy: it forwards each connection to another server.

Shows pipeline(): it pipes with back pressure, and if one of the two connections fails or closes
early, it destroys the other, which pipe() alone does not do. Both sockets allow half-open
connections, so that each direction ends separately, as it would without a proxy.

    python examples/echo.py --port 8124 &
    python examples/proxy.py --port 8125 --to 127.0.0.1:8124
"""

from __future__ import annotations

import argparse
import sys

from pyuvnet import Socket, net, run
from pyuvnet.streams import pipeline


def main() -> None:
    parser = argparse.ArgumentParser(description="Forward connections to another server.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, default=8125, help="TCP port, 0 for a free one (8125)")
    parser.add_argument("--to", required=True, metavar="HOST:PORT", help="the server to forward to")
    options = parser.parse_args()
    target, _, target_port = options.to.rpartition(":")
    if not target or not target_port.isdecimal():
        parser.error(f"--to needs a host and a port, not {options.to!r}")

    def connected(client: Socket) -> None:
        name = f"{client.remote_address}:{client.remote_port}"
        upstream = net.create_connection(int(target_port), target, allow_half_open=True)
        failures: list[BaseException] = []
        open_directions = 2

        def done(error: BaseException | None) -> None:
            nonlocal open_directions
            open_directions -= 1
            if error is not None:
                failures.append(error)
            if open_directions:
                return
            if failures:
                print(f"{name} failed: {failures[0]}", flush=True)
            else:
                there, back = upstream.bytes_written, client.bytes_written
                print(f"{name} done: {there} bytes there, {back} back", flush=True)

        pipeline(client, upstream, callback=done)
        pipeline(upstream, client, callback=done)

    server = net.create_server(connected, allow_half_open=True)
    server.on("error", lambda error: sys.exit(f"proxy: {error}"))

    @server.on("listening")
    def listening() -> None:
        print(f"listening on {server.address().address}:{server.address().port}", flush=True)

    server.shutdown_on("SIGINT", "SIGTERM", timeout=2_000)
    server.listen(options.port, options.host)
    run()


if __name__ == "__main__":
    main()
