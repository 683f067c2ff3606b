"""The same script on Node's net and on pyuvnet must leave the same trace on every object.

The scripts are in scenarios/, a file for each subject, in the language of scripts.py. Where ours
is to differ, the script says so by `deviation`, and both traces are checked.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import play

pytestmark = [
    pytest.mark.skipif(play.NODE is None, reason="Node is not installed"),
    pytest.mark.skipif(sys.platform == "win32", reason="descriptors are given to the children"),
]


def _scenarios(file: Path) -> dict[str, dict[str, Any]]:
    spec = importlib.util.spec_from_file_location(f"scenarios_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.SCENARIOS


FILES = sorted((Path(__file__).resolve().parent / "scenarios").glob("*.py"))
SUBJECTS = {file.stem: _scenarios(file) for file in FILES}
CASES = [(subject, name) for subject, scenarios in SUBJECTS.items() for name in scenarios]


@functools.cache
def node_version() -> int:
    return play.node_version()


@functools.cache
def traces(subject: str) -> dict[str, tuple[play.Traces, play.Traces]]:
    """What Node and pyuvnet do with the scenarios of a subject, all in one process of either."""
    scripts = {
        name: script
        for name, script in SUBJECTS[subject].items()
        if script.get("since", 0) <= node_version() and play.plays_here(script)
    }
    theirs = play.play_on_node(list(scripts.values()))
    ours = play.play_on_pyuvnet(list(scripts.values()))
    return dict(zip(scripts, zip(theirs, ours, strict=True), strict=True))


def same(theirs: str, ours: str) -> bool:
    # A socket without handle gets no argument from Node; ours always hears had_error.
    return ours == theirs or (theirs == "close" and ours.startswith("close "))


@pytest.mark.parametrize(("subject", "name"), CASES, ids=[f"{s}: {n}" for s, n in CASES])
def test_every_object_sees_what_it_sees_on_node(subject: str, name: str) -> None:
    if node_version() < SUBJECTS[subject][name].get("since", 0):
        pytest.skip("this Node is older than the behaviour")
    if not play.plays_here(SUBJECTS[subject][name]):
        pytest.skip("needs what only Linux has")
    theirs, ours = traces(subject)[name]
    assert theirs, "the scenario did nothing on Node"
    assert "timed out" not in theirs.get("-", [])
    expected = dict(theirs)
    for thing, trace in ours.items():
        was = theirs.get(thing, [])
        if len(was) == len(trace) and all(map(same, was, trace)):
            expected[thing] = trace
    if "deviation" in SUBJECTS[subject][name]:
        _, differs = SUBJECTS[subject][name]["deviation"]
        for thing, instead in differs.items():
            if isinstance(instead, dict):
                instead = [instead.get(entry, entry) for entry in theirs[thing]]
            assert expected[thing] != instead, "the deviation is none"
            expected[thing] = instead
    assert ours == {thing: trace for thing, trace in expected.items() if trace}


def test_there_are_many_scenarios() -> None:
    assert len(CASES) >= 60
