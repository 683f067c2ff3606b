"""The server receives as fast as it can, counts the bytes, and tells their number at the end."""

from bench.peers import Peer
from bench.runner import Runner
from bench.scenarios import CPU_MB, Case, Sample, with_rates


def measure(runner: Runner, peer: Peer) -> Sample:
    with runner.serve(peer, "receive") as server:
        return with_rates(runner.load("send", server, connections=4), 1e6)


CASES = [
    Case(
        "receive", "bulk receive × 4", measure, CPU_MB, "MB/s", quick=True, target=1.0, stretch=0.8
    )
]
