"""What is measured: a file for each scenario, and in it its cases."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.peers import CEILING, OURS, Peer
from bench.runner import Runner

Sample = dict[str, Any]


@dataclass(frozen=True)
class Metric:
    """A figure of each sample; the less the better.

    Args:
        name: its key in a sample.
        unit: in tables.
    """

    name: str
    unit: str


@dataclass(frozen=True)
class Case:
    """One thing that is measured.

    Args:
        key: its name in results and on the command line.
        title: in tables and plots.
        measure: takes one sample of a peer.
        metric: what peers are compared by.
        rate: the unit of its rate; none if there is no rate.
        quick: part of a quick run.
        relative: by this peer's figures others are divided.
        target, stretch: for pyuvnet; in the metric's unit if absolute, else relative.
        absolute: the target is no ratio.
        peers: keys of those that have it; all by default.
    """

    key: str
    title: str
    measure: Callable[[Runner, Peer], Sample]
    metric: Metric
    rate: str | None = None
    quick: bool = False
    relative: str = CEILING
    target: float | None = None
    stretch: float | None = None
    absolute: bool = False
    peers: tuple[str, ...] | None = None


CPU_REQUEST = Metric("cpu_us", "µs CPU per request")
CPU_MB = Metric("cpu_us", "µs CPU per MB")
CPU_CONNECTION = Metric("cpu_us", "µs CPU per connection")

# Listeners and coroutines: who takes the cases of coroutines.
LISTENERS = (OURS, "pyuvnet-attached", "pyuvnet-attached-uvloop")
COROUTINES = (
    "pyuvnet-async",
    "pyuvnet-async-uvloop",
    "pyuvnet-with",
    "pyuvnet-with-uvloop",
    "uvloop-streams",
    "asyncio-streams",
    "aiofastnet-streams",
    "aiofastnet-streams-uvloop",
    "zuvloop-streams",
)


def with_rates(sample: Sample, units: float = 1.0) -> Sample:
    """Add `rate` (a second) and `cpu_us` (for each unit), where a unit is so many counted ones."""
    number = sample["units"] / units
    if not number:
        raise ValueError("nothing was finished in the measured time")
    sample["rate"] = number / sample["seconds"]
    sample["cpu_us"] = sample["cpu_seconds"] * 1e6 / number
    return sample


def requests(
    server_mode: str = "echo",
    load_mode: str = "echo",
    pieces: int = 1,
    unix: bool = False,
    **load: object,
) -> Callable[[Runner, Peer], Sample]:
    """A measure: requests, each answered with the same bytes."""

    def measure(runner: Runner, peer: Peer) -> Sample:
        path = runner.folder / f"{peer.key}.sock" if unix else None
        if path is not None:
            path.unlink(missing_ok=True)
        with runner.serve(peer, server_mode, str(path or ""), pieces) as server:
            return with_rates(runner.load(load_mode, server, **load))

    return measure


# In the order of tables and plots.
FILES = (
    "echo",
    "ways",
    "pipelined",
    "writes",
    "lines",
    "frames",
    "pipe",
    "proxy",
    "unix",
    "churn",
    "churn_coroutines",
    "bulk_send",
    "bulk_receive",
    "broadcast",
    "active",
    "tail",
    "idle",
    "many",
    "idle_waiting",
    "startup",
    "blocklist",
)


def all_cases() -> dict[str, Case]:
    """Every case by its key."""
    modules = [importlib.import_module(f"bench.scenarios.{name}") for name in FILES]
    return {case.key: case for module in modules for case in module.CASES}
