"""The same arguments give the same results, and the same errors, on Node's net and on pyuvnet."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.cases import cases

HERE = Path(__file__).resolve().parent
NODE = os.environ.get("PYUVNET_NODE") or shutil.which("node")

pytestmark = pytest.mark.skipif(NODE is None, reason="Node is not installed")

NAN, INFINITY, UNDEFINED, CALLBACK = (
    {"$": name} for name in ("nan", "infinity", "undefined", "callback")
)

PLACES: list[list[Any]] = [
    [], [UNDEFINED], [CALLBACK], [0], ["0"], [" 0x0 "], [0, CALLBACK], [0, 5], [0, UNDEFINED, 5],
    [0, "127.0.0.1"], [0, "::1", 5, CALLBACK], [0, "localhost"], [UNDEFINED, "127.0.0.1"],
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
    [{"fd": 9999, "port": -1}], [{"handle": {"fd": 9999}}], [{"port": -1, "signal": 5}],
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

CASES = [("listen", args) for args in PLACES + WRONG_PLACES]
NEWER_CASES = [("listen", args) for args in NEWER_PLACES]
NEWER_CASES += [("server", args) for args in SERVERS]
BOUND_CASES = [("bound", args) for args in BOUND]
# The first Node that they are compared with.
SINCE = {24: NEWER_CASES, 26: BOUND_CASES}


@functools.cache
def node_version() -> int:
    out = subprocess.run([str(NODE), "--version"], capture_output=True, text=True, check=True)
    return int(out.stdout.removeprefix("v").split(".")[0])


def results(command: list[str], cases: list[Any], folder: Path) -> list[Any]:
    folder.mkdir()
    environment = dict(os.environ, PYTHONPATH=str(HERE.parent.parent))
    done = subprocess.run(
        command,
        input=json.dumps(cases),
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return list(json.loads(done.stdout))


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Any, Any]]:
    """What came of each case on Node and on pyuvnet; all in one process each."""
    folder = tmp_path_factory.mktemp("arguments")
    cases = CASES + [
        case for since, newer in SINCE.items() if node_version() >= since for case in newer
    ]
    theirs = results([str(NODE), str(HERE / "arguments.js")], cases, folder / "node")
    ours = results([sys.executable, str(HERE / "arguments.py")], cases, folder / "pyuvnet")
    pairs = zip(theirs, ours, strict=True)
    return {json.dumps(case): pair for case, pair in zip(cases, pairs, strict=True)}


@cases("case", CASES)
def test_same_results_and_errors(case: Any, both: dict[str, tuple[Any, Any]]) -> None:
    theirs, ours = both[json.dumps(case)]
    assert ours == theirs


@pytest.mark.parametrize("since", SINCE)
def test_same_results_and_errors_of_what_is_newer(
    since: int, both: dict[str, tuple[Any, Any]]
) -> None:
    if node_version() < since:
        pytest.skip("this Node is older than the behaviour")
    pairs = {json.dumps(case): both[json.dumps(case)] for case in SINCE[since]}
    assert {case: pair for case, pair in pairs.items() if pair[0] != pair[1]} == {}
