"""Compares two runs, such as of two commits: what became cheaper or dearer, and how surely."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from bench import figures, runs
from bench.peers import CEILING, OURS
from bench.report import table
from bench.runs import Results

# Differences below this are said to be none, however sure they are.
LEAST = 0.02


@dataclass(frozen=True)
class Change:
    """Of one case; factors are after by before."""

    title: str
    before: float
    after: float
    factor: float
    low: float
    high: float
    normalised: bool

    @property
    def verdict(self) -> str:
        """'better', 'worse', or empty where the runs do not tell them apart."""
        if self.high < 1 and self.factor < 1 - LEAST:
            return "better"
        return "worse" if self.low > 1 and self.factor > 1 + LEAST else ""


def changes(before: Results, after: Results, peer: str = OURS) -> list[Change]:
    """Of every case that both runs have.

    What is compared is the ratio to the C server of the same round where both runs have it, so
    that a machine which was faster on one day does not count; else the plain figure.
    """
    found = []
    for key, case in after.cases.items():
        if key not in before.cases or case["metric"] != before.cases[key]["metric"]:
            continue
        new, old = after.ratios(key, peer), before.ratios(key, peer)
        normalised = case["relative"] == CEILING != peer and not case["absolute"]
        if not (normalised and new and old):
            new, old, normalised = after.values(key, peer), before.values(key, peer), False
        if not new or not old:
            continue
        first, second = figures.median(old), figures.median(new)
        if not first:
            continue
        low, high = figures.ratio_interval(new, old)
        found.append(Change(case["title"], first, second, second / first, low, high, normalised))
    return found


def main(arguments: Sequence[str]) -> int:
    """Print how two runs differ; exit code 1 if anything became worse and --check was given."""
    parser = argparse.ArgumentParser(
        prog="python -m bench compare",
        description="Compare two runs: folders, results.json files, or commits.",
    )
    parser.add_argument("before")
    parser.add_argument("after")
    parser.add_argument("--peer", default=OURS, help="whose figures (pyuvnet)")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a case became worse")
    options = parser.parse_args(arguments)
    try:
        before, after = (Results.read(runs.find(name)) for name in (options.before, options.after))
    except FileNotFoundError as error:
        raise SystemExit(str(error)) from None
    for name, run in (("before", before), ("after", after)):
        data = run.data
        print(f"{name}: {data['date'][:16]}, commit {data['commit']}, {data['python']}")
    if before.data["machine"] != after.data["machine"]:
        print("the runs are of different machines")
    told = changes(before, after, options.peer)
    if not told:
        raise SystemExit(f"the runs have no case of {options.peer} in common")
    print()
    print(
        table(
            ["CPU ÷ C; * the figure itself", "before", "after", "change", "95 % between", ""],
            (
                [
                    each.title + ("" if each.normalised else " *"),
                    f"{each.before:,.3g}" if each.before < 1000 else f"{each.before:,.0f}",
                    f"{each.after:,.3g}" if each.after < 1000 else f"{each.after:,.0f}",
                    f"{each.factor - 1:+.1%}",
                    f"{each.low - 1:+.1%} and {each.high - 1:+.1%}",
                    each.verdict,
                ]
                for each in told
            ),
        )
    )
    mean = figures.geometric_mean([each.factor for each in told])
    print(f"\ngeometric mean of all {len(told)}: {mean - 1:+.1%}")
    return int(options.check and any(each.verdict == "worse" for each in told))
