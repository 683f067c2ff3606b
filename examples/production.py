"""A line server as it goes into production: limits, deadlines, metrics, a graceful stop, upgrades.

    python examples/production.py --metrics 9464
    printf 'hello\n' | nc 127.0.0.1 8124

It sends each line back in capitals. Under systemd it uses the socket of its unit; behind a
balancer, `--proxy 10.0.0.0/8` makes it read PROXY headers. On SIGTERM and Ctrl-C it replies to
every request that has arrived, then stops; on SIGUSR2 a new version takes over.
docs/guide/limits.md explains each limit.
"""

import argparse
import logging
import signal
import sys

import pyuvnet
from pyuvnet import errors, framing, handover, loop, metrics, net, run

LOG = logging.getLogger("production")


def connected(socket: net.Socket) -> None:
    if server.shutting_down and socket.proxy and socket.proxy.command == "LOCAL":
        # Fail the health check, so that the balancer sends no more clients.
        socket.destroy()
        return

    @socket.on("data")
    def data(line: bytes) -> None:
        if not socket.write_frame(line.upper()):
            # The peer does not read its replies: read no more lines for now.
            socket.pause()

    socket.on("drain", socket.resume)
    socket.on("error", lambda error: LOG.debug("%s: %s", socket.remote_address, error))


def upgrade() -> None:
    try:
        handover.spawn(sys.orig_argv, {"lines": server}, callback=upgraded)
    except (errors.StateError, OSError) as error:
        upgraded(error, None)


def upgraded(error: Exception | None, pid: int | None) -> None:
    if error is not None:
        LOG.error("not upgraded: %s", error)


def listening() -> None:
    print(f"listening on {server.address().address}:{server.address().port}", flush=True)
    pyuvnet.notify("READY=1")
    handover.ready()


parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
parser.add_argument("--host", default="127.0.0.1")
parser.add_argument("--port", type=int, default=8124)
parser.add_argument("--metrics", type=int, help="port for Prometheus, on 127.0.0.1")
parser.add_argument("--proxy", action="append", default=[], help="a balancer's address")
options = parser.parse_args()
logging.basicConfig(level=logging.INFO)
loop.on_slow(100)
server = net.create_server(
    connected,
    **net.GUARDED,  # bounds idle, slow and unread connections, and descriptors
    name="lines",  # in the metrics
    framing=framing.Lines(limit=4096),
    max_lifetime=3_600_000,  # so that a balancer can redistribute clients
    max_per_address=1000,
    overflow="wait",  # above max_connections, clients wait in the kernel's queue,
    on_exhausted="wait",  # and also when descriptors run out
    write_budget=256 << 20,  # unread bytes of all peers together
    no_delay=True,
    proxy_protocol={"trusted": options.proxy} if options.proxy else None,
)
server.on("listening", listening)
server.on("error", lambda error: sys.exit(f"production: {error}"))
server.on("shutdown", lambda: pyuvnet.notify("STOPPING=1"))
if hasattr(signal, "SIGUSR2"):  # not on Windows
    signal.signal(signal.SIGUSR2, lambda *_: pyuvnet.next_tick(upgrade))
# Five seconds for the balancer to notice, 20 for the requests in progress.
server.shutdown_on("SIGTERM", "SIGINT", timeout=25_000, lame_duck=5_000 if options.proxy else 0)
if options.metrics is not None:
    metrics.serve(options.metrics)
found = net.listen_fds()
if found:
    server.listen(fd=next(iter(found.values()))[0])
else:
    server.listen(options.port, options.host)
run()
