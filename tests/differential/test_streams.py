"""Streams that a program makes, on Node and on pyuvnet: the same steps leave the same trace.

A script is the class, its options, what its steps do (BEHAVIOURS of both players), and the calls.
streams.js plays it on Node; what that does is recorded in traces/streams.txt.
"""

from __future__ import annotations

import functools
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pyuvnet import run, streams
from tests.support import play

from . import recorded


def play_here(
    kind: str, options: dict[str, Any], steps: dict[str, str], calls: list[Any], hear: list[str]
) -> list[str]:
    """The same here."""
    from pyuvnet import set_immediate

    trace: list[str] = []

    def shown(what: Any) -> str:
        if isinstance(what, BaseException):
            return f"{getattr(what, 'code', None) or 'Error'}: {what}"
        if isinstance(what, list):
            return "+".join(map(shown, what))
        return bytes(what).decode() if isinstance(what, (bytes, memoryview)) else str(what)

    def note(*what: Any) -> None:
        trace.append(" ".join(map(shown, what)))

    def twice(c: Any, e: str, cb: Any) -> None:
        s.push(c)
        s.push(c)
        cb()

    def end(c: Any, e: str, cb: Any) -> None:
        s.push(c)
        s.push(None)
        cb()

    def fail(*_: Any) -> None:
        raise RuntimeError("raised")

    behaviours: dict[str, Any] = {
        "upper": lambda c, e, cb: cb(None, bytes(c).upper()),
        "twice": twice,
        "later": lambda c, e, cb: set_immediate(cb, None, c),
        "end": end,
        "fail": lambda c, e, cb: cb(RuntimeError("transform")),
        "raise": fail,
        "again": lambda *a: (a[-1](), a[-1]()),
        "note": lambda *a: (note("step", *(w for w in a[:-1] if not isinstance(w, str))), a[-1]()),
        "tail": lambda cb: (note("tail"), cb(None, "tail")),
        "broken": lambda *a: (note("broken"), a[-1](RuntimeError("broken"))),
        "slow": lambda *a: (note("slow"), set_immediate(a[-1], None)),
        "abc": lambda size: (note("read"), s.push("abc"), s.push(None)),
    }
    s: Any = getattr(streams, kind)(
        options | {name: behaviours[what] for name, what in steps.items()}
    )
    for event in hear:
        s.on(event, lambda *args, event=event: note(event, *args))

    def go_on(left: list[Any]) -> None:
        while left:
            (method, *args), *left = left
            if method == "turn":
                set_immediate(set_immediate, go_on, left)
                return
            real = [
                (lambda error: note("cb", error)) if each == "CB"
                else RuntimeError("given") if each == "ERROR" else each
                for each in args
            ]  # fmt: skip
            try:
                value = getattr(s, method)(*real)
            except Exception as error:
                note("raises", getattr(error, "code", "Error"))
            else:
                if value is not s and (value is not None or method == "read"):
                    note(method, value)

    go_on(calls)
    run()
    note(
        str(s.destroyed).lower(),
        getattr(s, "readable_length", 0),
        getattr(s, "writable_length", 0),
    )
    return trace


ALL = ["data", "end", "finish", "drain", "error", "close"]
QUIET = ["end", "finish", "drain", "error", "close"]
WRITES = [["write", "ab", "CB"], ["write", "c", "CB"], ["end", "d", "CB"]]
SMALL = {"high_water_mark": 2}
# fmt: off
SCRIPTS: dict[str, list[Any]] = {
    "passes through": ["PassThrough", {}, {}, WRITES, ALL],
    "nobody reads": ["PassThrough", {}, {}, WRITES, QUIET],
    "nobody reads, small": ["PassThrough", SMALL, {}, [*WRITES, ["turn"], ["read", 2],
                            ["turn"], ["read", 1], ["turn"], ["read", 1]], QUIET],
    "readable_high_water_mark 0": ["PassThrough", {"readable_high_water_mark": 0}, {},
                                   [*WRITES, ["turn"], ["resume"]], QUIET],
    "paused": ["PassThrough", SMALL, {}, [["pause"], *WRITES, ["turn"], ["resume"]], ALL],
    "destroyed": ["PassThrough", {}, {}, [["write", "ab", "CB"], ["destroy"]], ALL],
    "destroyed with an error": ["PassThrough", {}, {}, [["write", "ab"], ["destroy", "ERROR"]],
                                ALL],
    "written after its end": ["PassThrough", {}, {}, [["end"], ["write", "x", "CB"]], ALL],
    "upper": ["Transform", {}, {"transform": "upper", "flush": "tail"}, WRITES, ALL],
    "twice": ["Transform", SMALL, {"transform": "twice"}, WRITES, ALL],
    "later": ["Transform", {}, {"transform": "later", "flush": "tail"}, WRITES, ALL],
    "ends by itself": ["Transform", {}, {"transform": "end"}, [["write", "ab", "CB"]], ALL],
    "fails": ["Transform", {}, {"transform": "fail"}, WRITES, ALL],
    "raises": ["Transform", {}, {"transform": "raise"}, [["write", "ab", "CB"], ["turn"]], ALL],
    "has no transform": ["Transform", {}, {}, [["write", "ab"]], ALL],
    "flush fails": ["Transform", {}, {"transform": "upper", "flush": "broken"}, WRITES, ALL],
    "flush is slow": ["Transform", {}, {"transform": "upper", "flush": "slow"}, WRITES, ALL],
    "flush and final": ["Transform", {}, {"transform": "upper", "flush": "tail", "final": "note"},
                        WRITES, ALL],
    "final fails": ["Transform", {}, {"transform": "upper", "flush": "tail", "final": "broken"},
                    WRITES, ALL],
    "write twice called back": ["Writable", {}, {"write": "again"}, [["write", "a", "CB"]], QUIET],
    "a sink": ["Writable", {}, {"write": "note", "final": "note", "destroy": "note"}, WRITES,
               QUIET],
    "a slow sink": ["Writable", SMALL, {"write": "slow"}, WRITES, QUIET],
    "a sink of several": ["Writable", {}, {"writev": "note"}, [["cork"], *WRITES], QUIET],
    "both kinds": ["Writable", {}, {"write": "slow", "writev": "note"}, WRITES, QUIET],
    "a source": ["Readable", {}, {"read": "abc"}, [["resume"]], ALL],
    "construct": ["Writable", {}, {"construct": "slow", "write": "note", "final": "note"}, WRITES,
                  QUIET],
    "construct at once": ["Writable", {}, {"construct": "note", "write": "note"}, WRITES, QUIET],
    "construct several": ["Writable", {}, {"construct": "slow", "write": "note", "writev": "note"},
                          WRITES, QUIET],
    "construct fails": ["Writable", {}, {"construct": "broken", "write": "note"}, WRITES, QUIET],
    "construct raises": ["Writable", {}, {"construct": "raise", "write": "note"}, WRITES, QUIET],
    "construct twice": ["Writable", {}, {"construct": "again", "write": "note"}, WRITES, QUIET],
    "construct, destroyed": ["Writable", {}, {"construct": "slow", "write": "note",
                             "destroy": "note"}, [["write", "a", "CB"], ["destroy"]], QUIET],
    "construct of a source": ["Readable", {}, {"construct": "slow", "read": "abc"}, [["resume"]],
                              ALL],
    "construct of a source nobody reads": ["Readable", {}, {"construct": "slow", "read": "abc"},
                                           [["turn"], ["turn"], ["read"]], QUIET],
    "construct of both": ["Duplex", {}, {"construct": "slow", "read": "abc", "write": "note"},
                          WRITES, ALL],
    "construct of a transform": ["Transform", {}, {"construct": "slow", "transform": "upper"},
                                 WRITES, ALL],
}
# fmt: on


def node_traces() -> play.Traces:
    done = subprocess.run(
        [str(play.NODE), str(Path(__file__).with_name("streams.js"))],
        input=json.dumps(list(SCRIPTS.values())),
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    return dict(zip(SCRIPTS, json.loads(done.stdout), strict=True))


@functools.cache
def recorded_traces() -> play.Traces:
    return recorded.read("streams")["scripts"]


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_stream_of_the_programs_does_as_nodes(name: str) -> None:
    assert name in recorded_traces(), f"record it: python -m {__name__}"
    assert play_here(*SCRIPTS[name]) == recorded_traces()[name]


@pytest.mark.slow
@pytest.mark.skipif(play.NODE is None, reason="Node is not installed")
def test_nodes_streams_do_what_is_recorded() -> None:
    assert node_traces() == recorded_traces()


if __name__ == "__main__":
    recorded.write("streams", {"scripts": node_traces()}, play.node_release())
