"""A script played on pyuvnet leaves the trace on every object that it leaves on Node.

The scripts are in scenarios/, a file for each subject, in the language of scripts.py, and what
Node does with them is recorded in traces/. Where ours is to differ, the script says so by
`deviation`, and both traces are checked.
"""

from __future__ import annotations

import functools
import sys
from typing import Any

import pytest

from tests.support import play

from . import recorded
from .recorded import RECORDED, SHOWS, SUBJECTS

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="descriptors are given to the children"
)

CASES = [(subject, name) for subject, scenarios in SUBJECTS.items() for name in scenarios]


@functools.cache
def node_traces(subject: str) -> dict[str, play.Traces]:
    return recorded.read(subject)


@functools.cache
def our_traces(subject: str) -> dict[str, play.Traces]:
    """What pyuvnet does with the scenarios of a subject, all in one process."""
    scripts = {name: s for name, s in SUBJECTS[subject].items() if play.plays_here(s)}
    return dict(zip(scripts, play.play_on_pyuvnet(list(scripts.values())), strict=True))


def same(theirs: str, ours: str) -> bool:
    # A socket without handle gets no argument from Node; ours always hears had_error.
    return ours == theirs or (theirs == "close" and ours.startswith("close "))


def as_ours(theirs: play.Traces, ours: play.Traces) -> play.Traces:
    """Their traces, with ours for those that say the same."""
    return {
        thing: ours[thing]
        if len(ours.get(thing, [])) == len(trace) and all(map(same, trace, ours[thing]))
        else trace
        for thing, trace in theirs.items()
    }


def case(subject: str, name: str) -> Any:
    """A scenario as a case, which names what it shows."""
    shown = SHOWS[subject].get(name)
    marks = [pytest.mark.spec(*shown.split())] if shown else []
    return pytest.param(subject, name, id=f"{subject}: {name}", marks=marks)


@pytest.mark.parametrize(("subject", "name"), [case(*each) for each in CASES])
def test_every_object_sees_what_it_sees_on_node(subject: str, name: str) -> None:
    script: dict[str, Any] = SUBJECTS[subject][name]
    if not play.plays_here(script):
        pytest.skip("needs what only Linux has")
    assert name in node_traces(subject), f"record it: python -m {recorded.__name__} {subject}"
    theirs, ours = node_traces(subject)[name], our_traces(subject)[name]
    assert theirs, "the scenario did nothing on Node"
    assert "timed out" not in theirs.get("-", [])
    expected = as_ours(theirs, ours)
    if "deviation" in script:
        _, differs = script["deviation"]
        for thing, instead in differs.items():
            if isinstance(instead, dict):
                instead = [instead.get(entry, entry) for entry in theirs[thing]]
            assert expected.get(thing) != instead, "the deviation is none"
            expected[thing] = instead
    assert ours == {thing: trace for thing, trace in expected.items() if trace}


@pytest.mark.parametrize("subject", SUBJECTS)
def test_only_scenarios_are_recorded(subject: str) -> None:
    assert node_traces(subject).keys() <= SUBJECTS[subject].keys()
    assert SHOWS[subject].keys() <= SUBJECTS[subject].keys()


@pytest.mark.slow
@pytest.mark.skipif(play.NODE is None, reason="Node is not installed")
@pytest.mark.parametrize("subject", SUBJECTS)
def test_node_does_what_is_recorded(subject: str) -> None:
    # A Node that is older than the recorded one need not have all that is new in that one.
    scripts = {
        name: script
        for name, script in SUBJECTS[subject].items()
        if script.get("since", 0) <= play.node_version() and play.plays_here(script)
    }
    theirs = dict(zip(scripts, play.play_on_node(list(scripts.values())), strict=True))
    then = {name: node_traces(subject)[name] for name in scripts}
    if play.node_version() < RECORDED:
        then = {name: as_ours(traces, theirs[name]) for name, traces in then.items()}
    assert theirs == then, f"if Node is right, record it: python -m {recorded.__name__}"


def test_there_are_many_scenarios() -> None:
    assert len(CASES) >= 680
