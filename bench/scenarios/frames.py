"""Frames with their length in four bytes in front, each answered by a frame of its own.

pyuvnet has a framing for that, and read_exactly() for coroutines; streams have readexactly();
Protocols and Node cut chunks by hand.
"""

from bench.peers import OURS, Peer
from bench.runner import Runner
from bench.scenarios import CPU_REQUEST, Case, Sample, requests
from bench.scenarios.lines import COROUTINES, NODES

WHOLE = 4 + 1024
PEERS = (OURS, *COROUTINES, "rloop", "uvloop-protocol", "asyncio-protocol", *NODES)


def measure_1k(runner: Runner, peer: Peer) -> Sample:
    """One frame at a time; for pyuvnet also `raw_us`, of the same bytes echoed without framing."""

    def measure(mode: str) -> Sample:
        return requests(mode, size=WHOLE, connections=100, frame=WHOLE)(runner, peer)

    sample = measure("frames")
    return {**sample, "raw_us": measure("echo")["cpu_us"]} if peer.key == OURS else sample


CASES = [
    Case(
        "frames-16",
        "16 frames of 64 B × 10",
        requests("frames", size=1024, connections=10, frame=64),
        CPU_REQUEST,
        "requests/s",
        quick=True,
        peers=PEERS,
    ),
    Case(
        "frames-1k",
        "a frame of 1 KiB × 100",
        measure_1k,
        CPU_REQUEST,
        "requests/s",
        quick=True,
        peers=PEERS,
    ),
]
