"""A script leaves the same traces in every process on our cluster as on Node's.

What Node does is recorded in traces/cluster.txt.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.support import play
from tests.support.processes import gone

from . import recorded
from .clusters.scripts import SCRIPTS

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="workers are started on unix systems"
)

RUNNERS = Path(__file__).resolve().parent / "clusters"
Traces = dict[str, dict[str, list[str]]]


def played(program: list[str], script: dict[str, Any], folder: Path) -> Traces:
    """What each process noted of each thing, and how the primary ended."""
    folder.mkdir()
    (folder / "script.json").write_text(json.dumps(script), "utf-8")
    environment = dict(os.environ, CLUSTER_FOLDER=str(folder), PYTHONPATH=str(ROOT))
    environment.pop("NODE_OPTIONS", None)
    process = subprocess.Popen(
        program,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        process.communicate(timeout=20)
    finally:
        left_behind = not gone(process.pid)
        process.kill()
        process.communicate()
    assert not left_behind, "a process was left behind"
    found: Traces = {}
    for file in sorted(folder.iterdir()):
        if file.name in ("script.json", "port", "same", "sock"):
            continue
        things = found.setdefault(file.name, {})
        for line in file.read_text("utf-8").split("\n")[:-1]:
            thing, entry = json.loads(line)
            things.setdefault(thing, []).append(entry)
    found = {process: things for process, things in found.items() if things or process == "P"}
    found["P"].setdefault("-", []).append(f"exit code {process.returncode}")
    return found


def in_order(traces: Traces) -> Traces:
    """The traces with 'disconnect' of a worker before its 'exit', which Node leaves open."""

    for thing, entries in traces["P"].items():
        at = [entry.split(" ")[0] for entry in entries]
        if thing.startswith("W") and {"exit", "disconnect"} <= {*at}:
            first, end = at.index("exit"), at.index("disconnect")
            if first < end:
                entries[first:] = entries[end:] + entries[first:end]
    return traces


def node_traces(name: str, folder: Path) -> play.Traces:
    ours = ("deviation", "chance")
    script = {key: value for key, value in SCRIPTS[name].items() if key not in ours}
    program = [str(play.NODE), str(RUNNERS / "runner.js")]
    return flat(in_order(played(program, script, folder)))


def flat(traces: Traces) -> play.Traces:
    """The traces by process and thing, as they are recorded."""
    return {
        f"{process} {thing}": entries
        for process, things in traces.items()
        for thing, entries in things.items()
    }


@functools.cache
def recorded_traces() -> dict[str, play.Traces]:
    return recorded.read("cluster")


@pytest.mark.spec("N118", "N188", "N189", "N190", "N191", "N192", "N193", "N194", "N195")
@pytest.mark.spec("D210", "D211", "D212", "D213", "D214")
@pytest.mark.parametrize("name", SCRIPTS)
def test_every_process_sees_what_it_sees_on_node(name: str, tmp_path: Path) -> None:
    script = dict(SCRIPTS[name])
    _, deviation = script.pop("deviation", ("", {}))
    assert name in recorded_traces(), f"record it: python -m {__name__}"
    theirs = dict(recorded_traces()[name])
    ours = flat(played([sys.executable, str(RUNNERS / "runner.py")], script, tmp_path / "ours"))
    assert "timed out" not in json.dumps([theirs, ours])
    for thing, instead in flat(deviation).items():
        assert sorted(ours.pop(thing)) == sorted(instead)
        assert theirs.pop(thing, None) != instead, "the deviation is none"
    assert ours == theirs


@pytest.mark.skipif(play.NODE is None, reason="Node is not installed")
@pytest.mark.parametrize("name", SCRIPTS)
def test_node_does_what_is_recorded(name: str, tmp_path: Path) -> None:
    theirs, then = node_traces(name, tmp_path / "node"), dict(recorded_traces()[name])
    for thing in SCRIPTS[name].get("chance", ()):
        # In no order that can be relied on.
        theirs[thing], then[thing] = sorted(theirs[thing]), sorted(then[thing])
    assert theirs == then


def test_there_are_many_scripts() -> None:
    assert len(SCRIPTS) >= 40


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        traces = {name: node_traces(name, Path(made, str(n))) for n, name in enumerate(SCRIPTS)}
    recorded.write("cluster", traces, play.node_release())
