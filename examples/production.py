"""A line server as it goes into production: limits, deadlines, metrics, a graceful stop.

    python examples/production.py --metrics 9464
    printf 'hello\\n' | nc 127.0.0.1 8124

Each line is answered in capitals. Under systemd it takes the socket of its unit, and says when it
is ready; behind a balancer, `--proxy 10.0.0.0/8` reads PROXY headers. SIGTERM and Ctrl-C let every
request that has come be answered. What each limit is for: docs/guide/operations.md.
"""

import argparse
import logging
import sys

import pyuvnet
from pyuvnet import framing, loop, metrics, net, run

LOG = logging.getLogger("production")
LINES = framing.Lines(limit=4096)


def connected(socket: net.Socket) -> None:
    @socket.on("data")
    def data(line: bytes) -> None:
        if not socket.write_frame(line.upper()):
            # Its answers are not read: no more questions until they are.
            socket.pause()

    socket.on("drain", socket.resume)
    socket.on("error", lambda error: LOG.info("%s: %s", socket.remote_address, error))


def make_server(trusted: list[str]) -> net.Server:
    server = net.create_server(
        connected,
        **net.GUARDED,  # idle peers, slow ones, ones that do not read, descriptors
        name="lines",  # in the metrics
        framing=LINES,
        max_lifetime=3_600_000,  # so that a balancer spreads clients anew
        max_per_address=1000,
        overflow="wait",  # above max_connections clients wait in the kernel's queue,
        on_exhausted="wait",  # and so they do while there is no descriptor
        write_budget=256 << 20,  # bytes that all peers together have not read
        no_delay=True,
    )
    if trusted:
        server.proxy_protocol = {"trusted": trusted}
    server.on("error", lambda error: sys.exit(f"production: {error}"))
    server.on("overload", lambda info: LOG.warning("destroyed %d slow readers", info.destroyed))
    return server


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8124)
    parser.add_argument("--metrics", type=int, help="port for a scraper, on 127.0.0.1")
    parser.add_argument("--proxy", action="append", default=[], help="a balancer's address")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    loop.on_slow(100)
    server = make_server(options.proxy)

    @server.on("listening")
    def listening() -> None:
        print(f"listening on {server.address().address}:{server.address().port}", flush=True)
        pyuvnet.notify("READY=1")

    server.on("shutdown", lambda: pyuvnet.notify("STOPPING=1"))
    # Five seconds for the balancer to notice, 20 for the requests that are under way.
    server.shutdown_on("SIGTERM", "SIGINT", timeout=25_000, lame_duck=5_000 if options.proxy else 0)
    if options.metrics is not None:
        metrics.serve(options.metrics)
    found = net.listen_fds()
    if found:
        server.listen(fd=next(iter(found.values()))[0])
    else:
        server.listen(options.port, options.host)
    run()


if __name__ == "__main__":
    main()
