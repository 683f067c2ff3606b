"""The same script on Node's net and on pyuvnet must leave the same trace on every object.

A scenario is data, which runner.js and runner.py play alike. `start` runs at once; `on` names
what to do at an event ("c.connect", "s1.data#2" for the second one; s1 is the first accepted
socket). `since` is the first Node that behaves so. Traces are compared per object, since the order
between two ends is the kernel's. Consecutive 'data' are joined: where the kernel cuts is nobody's
promise.
"""

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

HERE = Path(__file__).resolve().parent
NODE = os.environ.get("PYUVNET_NODE") or shutil.which("node")

pytestmark = pytest.mark.skipif(NODE is None, reason="Node is not installed")


def cb(name: str, *then: Any) -> dict[str, Any]:
    return {"cb": name, "then": list(then)}


def repeat(byte: str, count: int) -> dict[str, Any]:
    return {"repeat": [byte, count]}


def call(thing: str, method: str, *args: Any) -> list[Any]:
    return ["call", thing, method, *args]


def probe(thing: str, *names: str) -> list[Any]:
    return ["probe", thing, *names]


CLOSE = call("S", "close", cb("server closed"))
ERROR = {"error": "E1"}
BIG = repeat("z", 9_000_000)


def pair(
    on: dict[str, list[Any]],
    server: dict[str, Any] | None = None,
    client: dict[str, Any] | None = None,
    before: list[Any] | None = None,
    after: list[Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """A server S and a client c that connects as soon as S listens."""
    listening = [*(before or []), ["connect", "c", "S"], *(after or [])]
    on.setdefault("s1.close", [CLOSE])
    return {
        "start": [["server", "S", server or {}], ["socket", "c", client or {}], ["listen", "S"]],
        "on": {"S.listening": listening, **on},
        **more,
    }


SCENARIOS: dict[str, dict[str, Any]] = {
    "echo, client ends": pair(
        {
            "c.connect": [
                probe("c", "connecting", "ready_state"),
                call("c", "write", "hi", cb("w")),
            ],
            "s1.data": [call("s1", "write", "echo", cb("w"))],
            "c.data#1": [call("c", "end", cb("end"))],
            "s1.end": [probe("s1", "ready_state", "writable")],
        }
    ),
    "server ends first": pair({"s1.accepted": [call("s1", "end", "bye", cb("end"))]}),
    "no data, nobody reads, peer ends": pair(
        {"s1.accepted": [call("s1", "end")]}, silent={"c": ["data"], "s1": ["data"]}
    ),
    "ticks and immediates of the accepting turn": pair(
        {
            "s1.accepted": [
                ["tick", "t", [["tick", "t2"], ["immediate", "i2"]]],
                ["immediate", "i"],
                call("s1", "destroy"),
            ],
            "c.connect": [["tick", "t"]],
        }
    ),
    "server closed with open connections": pair(
        {
            "s1.accepted": [
                CLOSE,
                probe("S", "listening"),
                call("S", "get_connections", cb("count")),
                ["immediate", "later", [call("s1", "destroy")]],
            ],
            "s1.close": [],
        }
    ),
    "server.close() before and after listening": {
        "start": [
            ["server", "S"],
            call("S", "close", cb("never")),
            ["tick", "t", [["listen", "S"], call("S", "close", cb("too early"))]],
            ["timer", 20, "again", [call("S", "close", cb("again"))]],
        ]
    },
    "two close() in one turn": {
        "start": [["server", "S"], ["listen", "S"]],
        "on": {
            "S.listening": [call("S", "close", cb("a")), call("S", "close", cb("b"))],
        },
    },
    "closed and listening again in one turn": {
        "start": [
            ["server", "S"],
            ["listen", "S"],
            call("S", "close", cb("first")),
            ["listen", "S"],
            ["tick", "after"],
        ],
        "on": {"S.listening": [CLOSE]},
    },
    "a port that is taken, then free": {
        "start": [["server", "S"], ["server", "T"], ["listen", "S"]],
        "on": {
            "S.listening": [["listen", "T", "S"], probe("T", "listening")],
            "T.error": [probe("T", "listening"), call("S", "close", cb("free"))],
            "S.close": [["listen", "T", "S"]],
            "T.listening": [call("T", "close", cb("over"))],
        },
    },
    "listening twice while it resolves, and when it listens": {
        "start": [["server", "S"], ["listen", "S"], ["listen", "S"], ["tick", "one"]],
        "on": {"S.listening": [call("S", "listen", 0), CLOSE]},
    },
    "aborted when it listens": {
        "start": [["server", "S"], ["listen", "S", None, "controller"]],
        "on": {"S.listening": [["abort"], probe("S", "listening"), ["tick", "after"]]},
    },
    "aborted in the same turn": {
        "start": [
            ["server", "S"],
            ["listen", "S", None, "controller"],
            ["abort"],
            probe("S", "listening"),
            ["tick", "after"],
        ],
    },
    "aborted before": {
        "start": [
            ["server", "S"],
            ["listen", "S", None, "aborted"],
            probe("S", "listening"),
            ["tick", "after"],
        ],
    },
    "aborted with a connection open": pair(
        {
            "s1.accepted": [["abort"], probe("S", "listening"), call("s1", "end", "bye")],
            "s1.close": [],
        },
        before=[],
    )
    | {"start": [["server", "S"], ["listen", "S", None, "controller"], ["socket", "c"]]},
    "the second connection is one too many": {
        "start": [
            ["server", "S"],
            ["set", "S", "max_connections", 1],
            ["listen", "S"],
            ["socket", "c"],
            ["socket", "d"],
        ],
        "on": {
            "S.listening": [["connect", "c", "S"]],
            "c.ready": [["connect", "d", "S"]],
            "d.close": [call("c", "end"), CLOSE],
            "d.ready": [call("d", "resume")],
            "s1.accepted": [call("s1", "resume")],
        },
    },
    "all connections are too many": {
        "since": 24,  # 0 was no limit before
        "start": [
            ["server", "S"],
            ["set", "S", "max_connections", 0],
            ["listen", "S"],
            ["socket", "c"],
        ],
        "on": {
            "S.listening": [["connect", "c", "S"]],
            "S.drop": [["tick", "drop"], CLOSE],
            "c.ready": [call("c", "resume")],
        },
    },
    "half open: the server answers after the end": pair(
        {
            "c.ready": [call("c", "end", "question", cb("end"))],
            "s1.end": [
                probe("s1", "writable", "ready_state"),
                ["immediate", "i", [call("s1", "write", "answer", cb("w")), call("s1", "end")]],
            ],
        },
        server={"allow_half_open": True},
    ),
    "writing in and after 'end' without half open": pair(
        {
            "c.ready": [call("c", "end")],
            "s1.end": [
                call("s1", "write", "in end", cb("in end")),
                ["tick", "t", [call("s1", "write", "in tick", cb("in tick"))]],
                ["immediate", "i", [call("s1", "write", "late", cb("late"))]],
            ],
        }
    ),
    "end() before connect": pair(
        {"c.connect": [probe("c", "ready_state")]},
        after=[call("c", "end", "data1", cb("end")), probe("c", "writable_ended", "ready_state")],
    ),
    "write() before connect": pair(
        {"c.ready": [["immediate", "i", [call("c", "end")]]]},
        after=[
            call("c", "write", "one", cb("w1")),
            call("c", "write", "two", cb("w2")),
            probe("c", "bytes_written", "writable_length"),
            call("c", "write", "three", cb("w3")),
        ],
    ),
    "cork, write and uncork before connect": pair(
        {"c.ready": [["immediate", "i", [call("c", "end")]]]},
        after=[
            call("c", "cork"),
            call("c", "write", "one", cb("w1")),
            call("c", "write", "two", cb("w2")),
            call("c", "uncork"),
            call("c", "write", "three", cb("w3")),
            probe("c", "writable_length"),  # Node's bytesWritten is NaN here
        ],
    ),
    "destroyed by a 'connect' listener with a write waiting": pair(
        {"c.connect": [call("c", "destroy")]},
        after=[call("c", "write", "one", cb("w1")), call("c", "write", "two", cb("w2"))],
    ),
    "destroy() while connecting": {
        "start": [["server", "S"], ["socket", "c"], ["listen", "S"]],
        "on": {
            "S.listening": [
                ["connect", "c", "S"],
                call("c", "write", "one", cb("w1")),
                call("c", "write", "two", cb("w2")),
                call("c", "end", cb("end")),
                call("c", "destroy"),
                probe("c", "destroyed", "closed", "connecting", "ready_state"),
            ],
            "c.close": [CLOSE],
        },
    },
    "destroy(error) while connecting": {
        "start": [["server", "S"], ["socket", "c"], ["listen", "S"]],
        "on": {
            "S.listening": [
                ["connect", "c", "S"],
                call("c", "write", "one", cb("w1")),
                call("c", "write", "two", cb("w2")),
                call("c", "end", cb("end")),
                call("c", "destroy", ERROR),
            ],
            "c.close": [CLOSE],
        },
    },
    "destroy(error) in 'connect'": pair({"c.connect": [call("c", "destroy", ERROR)]}),
    "destroy() after writing": pair(
        {
            "c.ready": [
                call("c", "write", "one", cb("w1")),
                call("c", "destroy"),
                call("c", "write", "two", cb("w2")),
            ]
        }
    ),
    "destroy() with a write in flight": pair(
        {
            "c.ready": [
                call("c", "write", BIG, cb("w1")),
                call("c", "write", "two", cb("w2")),
                call("c", "end", cb("end")),
                ["immediate", "i", [call("c", "destroy"), probe("c", "writable_length")]],
            ],
        },
        server={"pause_on_connect": True},
        silent={"s1": ["data", "end", "error", "close", "resume", "finish"]},
        end=300,
        since=24,
    ),
    "destroy(error) with a write in flight": pair(
        {
            "c.ready": [
                call("c", "write", BIG, cb("w1")),
                call("c", "write", "two", cb("w2")),
                call("c", "end", cb("end")),
                ["immediate", "i", [call("c", "destroy", ERROR)]],
            ],
        },
        server={"pause_on_connect": True},
        silent={"s1": ["data", "end", "error", "close", "resume", "finish"]},
        end=300,
        since=24,
    ),
    "refused": {
        "start": [
            ["socket", "c"],
            ["refuse", "c"],
            call("c", "write", "one", cb("w1")),
            call("c", "end", cb("end")),
        ],
        "on": {"c.error": [probe("c", "destroyed", "connecting")]},
    },
    "write after end": pair(
        {
            "c.connect": [
                call("c", "end", cb("end")),
                call("c", "write", "late", cb("late")),
                probe("c", "destroyed"),
            ]
        }
    ),
    "end(data) after end()": pair(
        {"c.ready": [call("c", "end", cb("end 1")), call("c", "end", "more", cb("end 2"))]}
    ),
    "end() three times, and once more when finished": pair(
        {
            "c.ready": [call("c", "end", cb(f"end {n}")) for n in range(3)],
            "c.finish": [call("c", "end", cb("finished"))],
        }
    ),
    "never connected: end(), write()": {
        "start": [
            ["socket", "a"],
            call("a", "end", cb("end")),
            ["socket", "b"],
            call("b", "write", "x", cb("w")),
            ["immediate", "i", [probe("a", "destroyed", "ready_state")]],
        ],
        "since": 24,
    },
    "idle timeout": pair(
        {
            "c.ready": [call("c", "set_timeout", 30, cb("idle"))],
            "c.timeout#1": [call("c", "write", "awake")],
            "c.timeout#2": [call("c", "end")],
        }
    ),
    "destroyed by the timeout while connecting": {
        "start": [["server", "S"], ["socket", "c"], ["listen", "S"]],
        "on": {
            "S.listening": [call("c", "set_timeout", 10)],
            "c.timeout": [probe("c", "connecting"), call("c", "destroy"), CLOSE],
        },
    },
    "paused late, read ahead": pair(
        {
            "s1.accepted": [
                call("s1", "pause"),
                [
                    "timer",
                    60,
                    "look",
                    [
                        probe("s1", "readable_length", "bytes_read", "ready_state"),
                        call("s1", "resume"),
                    ],
                ],
            ],
            "c.ready": [call("c", "end", "payload")],
        }
    ),
    "drain": pair(
        {
            "c.connect": [
                call("c", "write", BIG, cb("w1")),
                call("c", "write", "two", cb("w2")),
                probe("c", "writable_need_drain"),
            ],
            "c.drain": [probe("c", "writable_length"), call("c", "end", cb("end"))],
        }
    ),
    "a small write is taken at once whatever the mark": pair(
        {
            "c.connect": [
                call("c", "write", repeat("y", 20000), cb("w1")),
                probe("c", "writable_length", "writable_need_drain", "bytes_written"),
                call("c", "end"),
            ]
        },
        client={"high_water_mark": 10},
    ),
    "writes and cork in one callback": pair(
        {
            "c.ready": [
                call("c", "write", "1", cb("w1")),
                call("c", "cork"),
                call("c", "write", "2", cb("w2")),
                call("c", "write", "3", cb("w3")),
                probe("c", "writable_length", "writable_corked", "bytes_written"),
                ["tick", "t", [call("c", "uncork"), call("c", "end", "4", cb("end"))]],
            ]
        }
    ),
    "destroyed by a 'drain' listener": pair(
        {"c.drain": [call("c", "destroy", ERROR)]},
        client={"high_water_mark": 1000},
        after=[call("c", "write", "q"), call("c", "write", repeat("y", 5000), cb("w2"))],
    ),
    "the write callback destroys with another error": pair(
        {
            "s1.end": [
                [
                    "immediate",
                    "i",
                    [call("s1", "write", "x", cb("w", call("s1", "destroy", ERROR)))],
                ]
            ],
            "c.ready": [call("c", "end")],
        }
    ),
    "reconnect in 'close'": pair(
        {
            "c.connect": [probe("c", "bytes_read", "destroyed"), call("c", "end", "x")],
            "c.close#1": [["connect", "c", "S"], probe("c", "ready_state", "destroyed")],
            "c.close#2": [CLOSE],
            "s1.close": [],
        },
    ),
    "a 'connection' listener fails": pair(
        {"S.connection": [["throw", "X"]], "c.ready": [call("c", "end", "still read")]},
        end=200,
    ),
    "a 'data' listener fails": pair(
        {
            "s1.data#1": [["immediate", "i", [call("c", "end", "more")]], ["throw", "X"]],
            "c.ready": [call("c", "write", "first")],
        }
    ),
    "a 'ready' listener fails": pair(
        {"c.ready": [["throw", "X"]], "s1.accepted": [call("s1", "end", "still read")]}
    ),
    "write callbacks fail": pair(
        {
            "c.ready": [
                call("c", "write", "a", cb("w1", ["throw", "X"])),
                call("c", "write", "b", cb("w2")),
                call("c", "end", cb("end")),
            ]
        }
    ),
}


@functools.cache
def node_version() -> int:
    assert NODE is not None
    text = subprocess.run([NODE, "--version"], capture_output=True, text=True, check=True).stdout
    return int(text.lstrip("v").split(".")[0])


def play(command: list[str], scenario: dict[str, Any]) -> dict[str, list[str]]:
    child = subprocess.run(
        command, input=json.dumps(scenario), capture_output=True, text=True, timeout=25
    )
    assert (child.returncode, child.stderr) == (0, "")
    traces: dict[str, list[str]] = {}
    for name, entry in json.loads(child.stdout):
        trace = traces.setdefault(name, [])
        if entry.startswith("data ") and trace and trace[-1].startswith("data "):
            trace[-1] += entry.removeprefix("data ")
        else:
            trace.append(entry)
    return {
        name: [entry if len(entry) < 200 else f"{entry[:20]}... {len(entry)}" for entry in trace]
        for name, trace in traces.items()
    }


def same(expected: str, seen: str) -> bool:
    # A socket without handle gets no argument from Node; ours always hears had_error.
    return seen == expected or (expected == "close" and seen.startswith("close "))


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_object_sees_what_it_sees_on_node(name: str) -> None:
    assert NODE is not None
    scenario = dict(SCENARIOS[name])
    if node_version() < scenario.pop("since", 0):
        pytest.skip("this Node is older than the behaviour")
    expected = play([NODE, str(HERE / "runner.js")], scenario)
    assert expected, "the scenario did nothing on Node"
    seen = play([sys.executable, str(HERE / "runner.py")], scenario)
    for thing, trace in seen.items():
        theirs = expected.get(thing, [])
        if len(theirs) == len(trace) and all(map(same, theirs, trace)):
            expected[thing] = trace
    assert seen == expected
