"""The tail of latencies at a load that each server can bear, and while connections come in a burst.

A request is due at its time, whether or not those before it were answered, and its latency counts
from there: a server that stops for a moment is late for all that was due meanwhile. The rate is a
share of what the same server did just before, as fast as it could, in a second of its CPU time.

In the burst 5,000 connections come on top of 100 busy ones, as fast as they can, each with one
request; latencies are those of the busy ones until the last of the others has its answer.
"""

from collections.abc import Callable

from bench.peers import Peer
from bench.runner import Runner
from bench.scenarios import Case, Metric, Sample, with_rates

CONNECTIONS = 100
LOAD, BESIDE = 0.7, 0.35
BURST = 5000
LEAST = 0.3  # seconds


def at_a_rate(share: float, mode: str, **more: object) -> Callable[[Runner, Peer], Sample]:
    """A measure: requests at a share of the server's own capacity."""

    def measure(runner: Runner, peer: Peer) -> Sample:
        options: dict[str, object] = {"size": 1024, "connections": CONNECTIONS}
        # Less says nothing of a server's capacity, nor of one request in a hundred.
        options["seconds"] = max(runner.seconds, LEAST)
        with runner.serve(peer, "echo") as server:
            fastest = with_rates(runner.load("echo", server, **options))
            if not fastest["cpu_us"]:
                raise ValueError("no CPU time was measured")
            # A quick run shows that the case works, on a busy machine too.
            rate = share / runner.scale * 1e6 / fastest["cpu_us"]
            server.warmup = 0.05
            sample = with_rates(runner.load(mode, server, rate=f"{rate:.1f}", **options, **more))
        # At a rate that differs from peer to peer CPU time is nothing to compare.
        del sample["cpu_us"]
        return {**sample, "wanted_rate": rate}

    return measure


def burst(runner: Runner, peer: Peer) -> Sample:
    connections = min(BURST // runner.scale, runner.descriptors - 500)
    return at_a_rate(BESIDE, "burst", burst=connections)(runner, peer)


P99 = Metric("p99_us", "µs, p99")

CASES = [
    Case(
        "p99",
        "p99 at 70 % load, 1 KiB × 100",
        at_a_rate(LOAD, "paced"),
        P99,
        quick=True,
        target=1.1,
        stretch=1.0,
    ),
    Case(
        "burst",
        "p99 of 100 while 5,000 connect",
        burst,
        P99,
    ),
]
