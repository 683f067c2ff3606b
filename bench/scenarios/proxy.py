"""A proxy by pipe(): each connection is joined with one of its own to an echo server behind.

The echo server (C, on epoll itself) runs on the load's CPU; only the proxy's time is counted.
"""

from bench import compiling
from bench.peers import Peer
from bench.runner import Runner
from bench.scenarios import CPU_REQUEST, Case, Sample, with_rates


def measure(runner: Runner, peer: Peer) -> Sample:
    echo = Peer("behind", "echo server", "", (str(compiling.program("epoll")),), "")
    with runner.serve(echo, "echo", cpu=runner.load_cpu) as behind:
        port = int(str(behind.address["port"]))
        with runner.serve(peer, "proxy", number=port) as server:
            options = {"size": 1024, "connections": 50, "other": behind.pid}
            return with_rates(runner.load("echo", server, **options))


CASES = [
    Case(
        "proxy",
        "proxy by pipe, 1 KiB × 50",
        measure,
        CPU_REQUEST,
        "requests/s",
        quick=True,
        target=1.0,
        stretch=0.85,
    )
]
