"""What the server's memory grows by for each of 10,000 connections that have done nothing."""

from bench.peers import CEILING, Peer
from bench.runner import PeerError, Runner
from bench.scenarios import Case, Metric, Sample


def measure(runner: Runner, peer: Peer) -> Sample:
    connections = min(10_000 // runner.scale, runner.descriptors - 500)
    if connections < 500:
        raise PeerError(f"{runner.descriptors} descriptors are too few")
    with runner.serve(peer, "echo") as server:
        sample = runner.load("idle", server, connections=connections)
    # Whether others ran does not change memory.
    return {"each_bytes": sample["each_bytes"], "connections": connections}


CASES = [
    Case(
        "idle",
        "10,000 idle connections",
        measure,
        Metric("each_bytes", "bytes per connection"),
        quick=True,
        relative=CEILING,
        target=850,
        stretch=600,
        absolute=True,
    )
]
