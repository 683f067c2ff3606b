"""From the start of the process to a server that listens, and its memory then.

One start before is not counted: it compiles modules and brings files into memory.
"""

from bench.figures import median
from bench.peers import Peer
from bench.runner import Runner
from bench.scenarios import Case, Metric, Sample


def measure(runner: Runner, peer: Peer) -> Sample:
    runner.start(peer)
    several = [runner.start(peer) for _ in range(max(5 // runner.scale, 1))]
    sample: Sample = {name: median([each[name] for each in several]) for name in several[0]}
    sample["rss_mb"] = sample["rss_bytes"] / 1e6
    return sample


CASES = [
    Case(
        "start",
        "start to listening",
        measure,
        Metric("start_ms", "ms"),
        quick=True,
        target=30,
        stretch=15,
        absolute=True,
    ),
]
