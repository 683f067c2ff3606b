"""What pyuvnet is to reach, and whether a run shows that it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from bench.figures import median, paired_ratios
from bench.peers import OURS
from bench.runs import Results


@dataclass(frozen=True)
class Outcome:
    """A target and what was measured."""

    what: str
    target: str
    stretch: str
    measured: str
    met: bool
    stretched: bool = False


def _of_cases(results: Results) -> list[Outcome]:
    found = []
    for key, case in results.cases.items():
        summary = results.summary(key, OURS)
        if case["target"] is None or summary is None:
            continue
        value = summary.value if case["absolute"] else summary.ratio
        if value is None:
            continue
        show: Callable[[float], str] = "{:.0f}".format if case["absolute"] else "{:.2f}".format
        unit = "× C's CPU" if case["metric"] == "cpu_us" else "× C's"
        unit = case["unit"] if case["absolute"] else unit
        found.append(
            Outcome(
                f"{case['title']}, {unit}",
                f"≤ {show(case['target'])}",
                show(case["stretch"]),
                show(value),
                value <= case["target"],
                value <= case["stretch"],
            )
        )
    return found


# (what, cases, keys of other peers, figure, at least so many times the other's). A rate is to be
# larger; of CPU time the other's is divided by ours.
OTHERS = (
    ("Node's rate", ("echo-*-10", "echo-*-100", "echo-*-1000"), ("node*",), "rate", 2.0),
    ("uvloop Protocol's rate", ("echo-*-10", "echo-*-100"), ("uvloop-protocol",), "rate", 1.3),
    ("rloop's speed (CPU)", ("*",), ("rloop",), "cpu_us", 1.0),
    ("uvloop's rate", ("writes-16",), ("uvloop-*",), "rate", 5.0),
    ("Node's rate", ("broadcast",), ("node*",), "rate", 3.0),
    ("uvloop's readline (CPU)", ("read-lines",), ("uvloop-streams",), "cpu_us", 6.0),
    ("Node's readline (CPU)", ("read-lines",), ("node*",), "cpu_us", 4.0),
)


def _beside_others(results: Results) -> list[Outcome]:
    found = []
    for what, cases, peers, figure, least in OTHERS:
        lowest: tuple[float, str, str] | None = None
        seen = 0
        for key in results.cases:
            if not any(fnmatchcase(key, pattern) for pattern in cases):
                continue
            ours = results.by_round(key, OURS, figure)
            for peer in results.peers:
                if not any(fnmatchcase(peer, pattern) for pattern in peers):
                    continue
                theirs = results.by_round(key, peer, figure)
                pairs = (ours, theirs) if figure == "rate" else (theirs, ours)
                ratios = paired_ratios(*pairs)
                if not ratios:
                    continue
                seen += 1
                candidate = (median(ratios), key, peer)
                lowest = candidate if lowest is None else min(lowest, candidate)
        if lowest is None:
            continue
        value, key, peer = lowest
        title, label = results.cases[key]["title"], results.peers[peer]["label"]
        where = f"{title}, {label}" if seen == 1 else f"least of {seen}: {title}, {label}"
        found.append(
            Outcome(what, f"≥ {least:.1f} ×", "", f"{value:.2f} ({where})", value >= least)
        )
    return found


# (case, peer, other, at most so many times the other's CPU time).
COROUTINES = (
    ("ways", "pyuvnet-attached", OURS, 1.4),
    ("ways", "pyuvnet-attached-uvloop", OURS, 1.4),
    ("ways", "pyuvnet-async", "uvloop-streams", 0.55),
    ("ways", "pyuvnet-async-uvloop", "uvloop-streams", 0.55),
    ("ways", "pyuvnet-async", "pyuvnet-attached", 1.25),
    ("ways", "pyuvnet-async-uvloop", "pyuvnet-attached-uvloop", 1.25),
    ("await-lines-16", "pyuvnet-async", "uvloop-streams", 0.5),
    ("await-lines-16", "pyuvnet-async-uvloop", "uvloop-streams", 0.5),
    *(
        (case, peer, "uvloop-streams", 0.6)
        for case in ("churn-coroutines-64b", "churn-coroutines-1k")
        for peer in (
            "pyuvnet-async",
            "pyuvnet-async-uvloop",
            "pyuvnet-with",
            "pyuvnet-with-uvloop",
        )
    ),
)
# (peer, at most so many bytes), for a connection whose coroutine waits.
WAITING = tuple(
    (peer, 2500)
    for peer in ("pyuvnet-async", "pyuvnet-async-uvloop", "pyuvnet-with", "pyuvnet-with-uvloop")
)


def _of_coroutines(results: Results) -> list[Outcome]:
    found = []
    for case, peer, other, most in COROUTINES:
        ratios = results.ratios(case, peer, other) if case in results.cases else []
        if ratios:
            value = median(ratios)
            what = f"{results.peers[peer]['label']}, × CPU of {results.peers[other]['label']}"
            if case != "ways":
                what = f"{results.cases[case]['title']}: {what}"
            found.append(Outcome(what, f"≤ {most:.2f}", "", f"{value:.2f}", value <= most))
    for peer, limit in WAITING:
        values = results.values("idle-waiting", peer) if "idle-waiting" in results.cases else []
        if values:
            size = median(values)
            facts = results.cases["idle-waiting"]
            what = f"{facts['title']}: {results.peers[peer]['label']}, {facts['unit']}"
            found.append(Outcome(what, f"≤ {limit}", "", f"{size:.0f}", size <= limit))
    return found


# (case, at most so many times the CPU time of pyuvnet's echo of the same bytes without framing).
RAW = (("frames-1k", 1.15),)


def _beside_raw(results: Results) -> list[Outcome]:
    found = []
    for key, most in RAW:
        if key not in results.cases:
            continue
        framed, raw = (results.by_round(key, OURS, name) for name in ("cpu_us", "raw_us"))
        if ratios := paired_ratios(framed, raw):
            what = f"{results.cases[key]['title']}, × CPU of the echo without framing"
            value = median(ratios)
            found.append(Outcome(what, f"≤ {most:.2f}", "", f"{value:.2f}", value <= most))
    return found


def outcomes(results: Results) -> list[Outcome]:
    """Every target that the run has figures for."""
    found = _of_cases(results) + _beside_others(results) + _of_coroutines(results)
    return found + _beside_raw(results)
