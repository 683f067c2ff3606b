"""BlockList.check() with many random subnets, next to Node's; see `bench.blocklist`."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable

from bench import blocklist
from bench.peers import OURS, Peer
from bench.runner import Runner, ask
from bench.scenarios import Case, Metric, Sample

QUERIES = 2000


def _measure(rules: int) -> Callable[[Runner, Peer], Sample]:
    def measure(runner: Runner, peer: Peer) -> Sample:
        subnets, queries = runner.folder / f"{rules}.txt", runner.folder / f"{rules}.json"
        if not queries.exists():
            chance = random.Random(1)
            nets = blocklist.subnets(chance, blocklist.IPV4, rules)
            blocklist.write_rules(subnets, blocklist.IPV4, nets)
            blocklist.write_queries(queries, chance, blocklist.IPV4, nets, QUERIES)
        own = [sys.executable, "-m", "bench.blocklist"]
        command = [peer.node, "-e", blocklist.NODE] if peer.node else own
        arguments = [*command, "check", blocklist.IPV4, str(subnets), str(queries)]
        told = ask(runner.pinned(runner.server_cpu, *arguments))
        return {**told, "mean_ns": (told["hit"] + told["miss"]) / 2}

    return measure


CASES = [
    Case(
        f"blocklist-{rules}",
        f"BlockList.check(), {rules:,} rules",
        _measure(rules),
        Metric("mean_ns", "ns per check"),
        quick=rules == 1000,
        relative=OURS,
        peers=(OURS, "node", "node-newest"),
    )
    for rules in (10, 1000, 100_000)
]
