"""Runs the cases: peers in turn, round after round, disturbed samples again."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from bench.peers import Peer
from bench.runner import PeerError, Runner, disturbance, disturbed
from bench.runs import Results
from bench.scenarios import Case


class Progress(Protocol):
    """What shows how far the run is."""

    def step(self, what: str) -> None:
        """The next sample is about to be taken."""

    def note(self, what: str) -> None:
        """Something that should stay readable."""


def take(
    case: Case, runner: Runner, peer: Peer, pause: Callable[[float], None], retries: int
) -> dict[str, Any]:
    """A sample: the first that nothing disturbs, or the least disturbed of all tried."""
    best: dict[str, Any] | None = None
    for attempt in range(retries + 1):
        if attempt:
            pause(0.2 * attempt)
        sample = case.measure(runner, peer)
        if best is None or disturbance(sample) < disturbance(best):
            best = sample
        if not disturbed(sample):
            break
    assert best is not None
    return {**best, "attempts": attempt + 1, "disturbed": disturbed(best)}


def takers(case: Case, peers: Sequence[Peer]) -> list[Peer]:
    """The peers that have a case."""
    return [
        peer
        for peer in peers
        if (case.peers is None or peer.key in case.peers)
        and (peer.cases is None or case.key in peer.cases)
    ]


def run(
    cases: Sequence[Case],
    peers: Sequence[Peer],
    rounds: int,
    runner: Runner,
    results: Results,
    progress: Progress,
    budget: float | None = None,
    pause: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Take all samples into the results.

    Each round asks every peer, beginning with another one, so that a machine which becomes slower
    or faster does so for all; figures are compared within a round. A peer that fails is
    reported, and left out of the rest of that case.

    Args:
        budget: seconds; as long as the run is behind it, disturbed samples are not taken again, and
            one round has to do.
    """

    def late() -> bool:
        return budget is not None and clock() - begun > budget * done / total

    begun, done = clock(), 0
    noted: set[tuple[str, str]] = set()
    total = rounds * sum(len(takers(case, peers)) for case in cases)
    for case in cases:
        taking = takers(case, peers)
        for number in range(rounds):
            if number and late():
                done += (rounds - number) * len(taking)
                break
            first = number % len(taking) if taking else 0
            for peer in taking[first:] + taking[:first]:
                progress.step(f"{case.title}: {peer.label}")
                retries = 0 if late() else runner.retries
                done += 1
                if peer.key in results.cases[case.key]["failed"]:
                    continue
                try:
                    sample = take(case, runner, peer, pause, retries)
                except (PeerError, ValueError) as error:
                    results.fail(case.key, peer.key, str(error))
                    # Once is enough for what a peer has not at all.
                    if (peer.key, str(error)) not in noted:
                        progress.note(f"{case.title}: {peer.label}: {error}")
                    noted.add((peer.key, str(error)))
                    continue
                results.add(case.key, peer.key, {"round": number, **sample})


class Plain:
    """Progress in lines, one for each case."""

    def __init__(self) -> None:
        self.case = ""

    def step(self, what: str) -> None:
        case = what.partition(":")[0]
        if case != self.case:
            self.case = case
            print(case, flush=True)

    def note(self, what: str) -> None:
        print(f"  {what}", flush=True)


@contextlib.contextmanager
def shown(total: int) -> Iterator[Progress]:
    """Progress by rich where it is installed and somebody looks, else in lines."""
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar
    except ImportError:
        yield Plain()
        return
    console = Console()
    if not console.is_terminal:
        yield Plain()
        return
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}", markup=False),
    )
    # Drawn between samples only: a thread that draws meanwhile would disturb them.
    with Bar(*columns, console=console, auto_refresh=False) as bar:
        task = bar.add_task("", total=total)

        class Shown:
            def __init__(self) -> None:
                self.begun = 0

            def step(self, what: str) -> None:
                bar.update(task, completed=self.begun, description=what, refresh=True)
                self.begun += 1

            def note(self, what: str) -> None:
                console.print(what, markup=False, highlight=False)

        yield Shown()
        bar.update(task, completed=total, description="", refresh=True)
