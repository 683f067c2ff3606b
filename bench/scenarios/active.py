"""1,000 connections that echo 1 KiB among 10,000 that do nothing."""

from bench.peers import Peer
from bench.runner import Runner
from bench.scenarios import CPU_REQUEST, Case, Sample, with_rates


def measure(runner: Runner, peer: Peer) -> Sample:
    idle = min(10_000, runner.descriptors - 1_500)
    with runner.serve(peer, "echo") as server:
        sample = with_rates(runner.load("echo", server, size=1024, connections=1000, idle=idle))
    return {**sample, "idle": idle}


CASES = [
    Case("active", "1,000 active of 11,000", measure, CPU_REQUEST, "requests/s"),
]
