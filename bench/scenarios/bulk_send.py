"""The server sends chunks of 64 KiB without end, and stops while they are not taken."""

from bench.peers import Peer
from bench.runner import Runner
from bench.scenarios import CPU_MB, Case, Sample, with_rates


def measure(runner: Runner, peer: Peer) -> Sample:
    with runner.serve(peer, "send") as server:
        return with_rates(runner.load("receive", server, connections=4), 1e6)


CASES = [
    Case("send", "bulk send × 4", measure, CPU_MB, "MB/s", quick=True, target=1.0, stretch=0.9)
]
