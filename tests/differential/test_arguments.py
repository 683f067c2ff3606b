"""The same arguments give the same results, and the same errors, on Node's net and on pyuvnet.

What Node makes of each is recorded in traces/calls.txt.
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

from tests.support import play
from tests.support.cases import cases

from . import recorded

HERE = Path(__file__).resolve().parent

NAN, INFINITY, UNDEFINED, CALLBACK = (
    {"$": name} for name in ("nan", "infinity", "undefined", "callback")
)

PLACES: list[list[Any]] = [
    [], [UNDEFINED], [CALLBACK], [0], ["0"], [" 0x0 "], [0, CALLBACK], [0, 5], [0, UNDEFINED, 5],
    [0, "127.0.0.1"], [0, "::1", 5, CALLBACK], [UNDEFINED, "127.0.0.1"],
    [{"port": 0}], [{"port": UNDEFINED}], [{"port": "0", "host": "127.0.0.1"}],
    [{"port": 0, "host": ""}], [{"port": 0, "host": "::", "ipv6Only": True}],
    [{"port": 0, "path": "not this"}], [{"port": 0, "backlog": 5, "exclusive": True}],
    [{"port": UNDEFINED, "path": ""}], [{"fd": UNDEFINED, "port": 0}],
    ["sock"], ["sock", CALLBACK], ["./sock", 5], [{"path": "sock"}], [{"path": "-1"}], ["-1x"],
    [{"path": "sock", "readableAll": True}], [{"path": "sock", "writableAll": 1}],
    ["no/such/sock"], ["\0pyuvnet-arguments"],
]  # fmt: skip
WRONG_PLACES: list[list[Any]] = [
    [-1], [65536], [1.5], ["1e-1"], [""], [" "], ["99999999"], [NAN], [True], [False], [[]],
    [{}], [{"exclusive": True}], [{"host": "127.0.0.1"}], [{"port": -1}], [{"port": 65536}],
    [{"port": 1.5}], [{"port": NAN}], [{"port": INFINITY}], [{"port": "x"}], [{"port": ""}],
    [{"port": " "}], [{"port": "0x"}], [{"port": True}], [{"port": False}], [{"port": []}],
    [{"port": {}}], [{"port": -1, "path": "sock"}],
    [{"path": 5}], [{"path": -1}], [{"path": ""}], [{"path": True}], [{"path": []}],
    [{"path": {"path": "sock"}}], [{"port": 0, "host": 5}],
    [{"fd": -1}], [{"fd": "1"}], [{"fd": True}], [{"fd": NAN}], [{"fd": 1.5}], [{"fd": 9999}],
    [{"fd": 9999, "port": -1}], [{"fd": 9999, "signal": "x"}], [{"handle": {"fd": 9999}}],
    [{"port": -1, "signal": 5}],
    [{"port": 0, "signal": 5}], [{"port": 0, "signal": {}}], [{"port": 0, "signal": "x"}],
    [{"path": "\0x", "readableAll": True}],
]  # fmt: skip
# Node 20 cuts long paths, knows no block list of servers, and has other marks.
NEWER_PLACES: list[list[Any]] = [
    ["x" * 200], [{"path": "y" * 5000}], [{"port": 0, "host": "a\0b"}],
    [{"port": False, "path": "sock"}],
]  # fmt: skip
SERVERS: list[list[Any]] = [
    [], [{}], [UNDEFINED], [CALLBACK], [{}, CALLBACK], [UNDEFINED, CALLBACK],
    [{"noDelay": 1, "keepAlive": "x", "keepAliveInitialDelay": 1999, "somebody": "else's"}],
    [{"keepAliveInitialDelay": -5}], [{"allowHalfOpen": True, "pauseOnConnect": True}],
    [{"highWaterMark": 5}], [{"highWaterMark": -1}], [{"highWaterMark": "x"}],
    [{"highWaterMark": True}], [{"keepAliveInitialDelay": "x"}], [{"blockList": 5}],
    [{"blockList": {}}], [5], ["x"], [True],
]  # fmt: skip
BOUND: list[list[Any]] = [
    [], [{}], [UNDEFINED], [{"port": 0}], [{"port": "0"}], [{"host": "127.0.0.1"}],
    [{"host": "::1"}], [{"host": "::ffff:127.0.0.1"}], [{"ipv6Only": True}],
    [{"ipv6Only": True, "host": "127.0.0.1"}], [{"reusePort": True}], [{"reusePort": False}],
    [{"path": "sock"}], [{"path": "\0pyuvnet-bound"}], [{"path": UNDEFINED, "port": 0}],
    [5], ["x"], [[]], [{"host": 5}], [{"host": ""}], [{"host": "localhost"}], [{"host": "1.2.3"}],
    [{"port": -1}], [{"port": 65536}], [{"port": True}], [{"port": "x"}], [{"port": NAN}],
    [{"ipv6Only": 1}], [{"ipv6Only": "x"}], [{"reusePort": 1}], [{"path": 5}], [{"path": []}],
    [{"path": "sock", "port": 0}], [{"path": "sock", "host": "::"}],
    [{"path": "sock", "ipv6Only": False}], [{"path": "sock", "reusePort": True}],
    [{"path": "no/such/sock"}], [{"path": "x" * 200}], [{"path": "a\0b"}],
    [{"host": "192.0.2.1"}], [{"host": "192.0.2.1", "port": 9}], [{"port": 5, "host": "x"}],
]  # fmt: skip

# The first Node that each is compared with.
SINCE = {("listen", json.dumps(args)): 20 for args in PLACES + WRONG_PLACES}
SINCE |= {("listen", json.dumps(args)): 24 for args in NEWER_PLACES}
SINCE |= {("server", json.dumps(args)): 24 for args in SERVERS}
SINCE |= {("bound", json.dumps(args)): 26 for args in BOUND}
CASES = list(SINCE)


def results(command: list[str], calls: list[tuple[str, str]], folder: Path) -> play.Traces:
    """What came of each call, all in one process."""
    folder.mkdir()
    done = subprocess.run(
        command,
        input=json.dumps([[function, json.loads(args)] for function, args in calls]),
        cwd=folder,
        env=dict(os.environ, PYTHONPATH=str(HERE.parent.parent)),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    found = map(json.dumps, json.loads(done.stdout))
    return {f"{name}{args}": [each] for (name, args), each in zip(calls, found, strict=True)}


def node_results(folder: Path) -> play.Traces:
    calls = [call for call, since in SINCE.items() if since <= play.node_version()]
    return results([str(play.NODE), str(HERE / "arguments.js")], calls, folder / "node")


@functools.cache
def recorded_results() -> play.Traces:
    return recorded.read("calls")["results"]


@pytest.fixture(scope="module")
def our_results(tmp_path_factory: pytest.TempPathFactory) -> play.Traces:
    folder = tmp_path_factory.mktemp("arguments")
    return results([sys.executable, str(HERE / "arguments.py")], CASES, folder / "pyuvnet")


@cases("call", CASES)
def test_same_results_and_errors(call: tuple[str, str], our_results: play.Traces) -> None:
    key = "".join(call)
    assert key in recorded_results(), f"record it: python -m {__name__}"
    assert our_results[key] == recorded_results()[key]


@pytest.mark.slow
@pytest.mark.skipif(play.NODE is None, reason="Node is not installed")
def test_node_makes_of_arguments_what_is_recorded(tmp_path: Path) -> None:
    theirs = node_results(tmp_path)
    assert theirs == {key: recorded_results()[key] for key in theirs}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        recorded.write("calls", {"results": node_results(Path(made))}, play.node_release())
