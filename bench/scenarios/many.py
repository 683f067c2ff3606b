"""The server's whole memory with 100,000 connections that have done nothing.

Both processes need as many descriptors. Where fewer are allowed there are fewer connections, and
what one of them takes is multiplied: the sample says how many there were.
"""

from bench.peers import Peer
from bench.runner import PeerError, Runner
from bench.scenarios import Case, Metric, Sample

WANTED = 100_000


def measure(runner: Runner, peer: Peer) -> Sample:
    connections = min(WANTED // runner.scale, runner.descriptors - 500)
    if connections < 500:
        raise PeerError(f"{runner.descriptors} descriptors are too few")
    with runner.serve(peer, "echo") as server:
        sample = runner.load("idle", server, connections=connections)
    missing = (WANTED - connections) * sample["each_bytes"]
    return {
        "total_mib": (sample["rss_bytes"] + missing) / 2**20,
        "each_bytes": sample["each_bytes"],
        "connections": connections,
        "wanted": WANTED,
    }


CASES = [
    Case(
        "many",
        "100,000 idle connections",
        measure,
        Metric("total_mib", "MiB"),
        target=120,
        stretch=90,
        absolute=True,
    )
]
