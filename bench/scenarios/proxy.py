"""A proxy by pipe(): each connection is joined with one of its own to a server behind.

The server behind (C) runs on the load's CPU; only the proxy's time is counted. It echoes, or sends
without end. In the second case both sockets of a pair have an idle timeout of a minute, which
never comes: what counts is that each chunk puts it off.
"""

from collections.abc import Callable

from bench import compiling
from bench.peers import CEILING, OURS, Peer
from bench.runner import Runner
from bench.scenarios import CPU_MB, CPU_REQUEST, Case, Sample, with_rates

# Who has idle timeouts, or what takes their place.
TIMED = (
    *(CEILING, OURS, "rloop", "uvloop-protocol", "asyncio-protocol"),
    *("node", "node-newest"),
)


def requests(mode: str) -> Callable[[Runner, Peer], Sample]:
    """A measure: requests through the proxy, in a mode of the peer."""

    def measure(runner: Runner, peer: Peer) -> Sample:
        echo = Peer("behind", "echo server", "", (str(compiling.program("epoll")),), "")
        with runner.serve(echo, "echo", cpu=runner.load_cpu) as behind:
            port = int(str(behind.address["port"]))
            with runner.serve(peer, mode, number=port) as server:
                options = {"size": 1024, "connections": 50, "other": behind.pid}
                return with_rates(runner.load("echo", server, **options))

    return measure


def bulk(runner: Runner, peer: Peer) -> Sample:
    sender = Peer("behind", "sender", "", (str(compiling.program("libuv")),), "")
    with runner.serve(sender, "send", cpu=runner.load_cpu) as behind:
        port = int(str(behind.address["port"]))
        with runner.serve(peer, "proxy", number=port) as server:
            options = {"connections": 4, "other": behind.pid}
            return with_rates(runner.load("receive", server, **options), 1e6)


CASES = [
    Case(
        "proxy",
        "proxy by pipe, 1 KiB × 50",
        requests("proxy"),
        CPU_REQUEST,
        "requests/s",
        quick=True,
        target=1.05,
        stretch=0.85,
    ),
    Case(
        "proxy-timeouts",
        "proxy with idle timeouts, 1 KiB × 50",
        requests("timed_proxy"),
        CPU_REQUEST,
        "requests/s",
        quick=True,
        target=1.08,
        stretch=0.9,
        peers=TIMED,
    ),
    Case("proxy-bulk", "proxy of bulk flows × 4", bulk, CPU_MB, "MB/s", target=0.6, stretch=0.5),
]
