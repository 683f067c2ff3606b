"""Streams that a program makes, on Node and on pyuvnet: the same steps leave the same trace.

A script is the class, its options, what its steps do (BEHAVIOURS of both players), the calls, the
events that it hears, and calls in their listeners. A step "push:a,b" pushes a chunk in each call
of it, and then the end; "push:a," stays open. Besides methods, calls are "turn" (of the loop),
"note", "tick" (a note in the next tick), "look" (at properties), and "answer" (call what the step
"hold" was given, with an error if there is an argument).
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
    kind: str,
    options: dict[str, Any],
    steps: dict[str, str],
    calls: list[Any],
    hear: list[str],
    on: dict[str, list[Any]] | None = None,
) -> list[str]:
    """The same here."""
    from pyuvnet import next_tick, set_immediate

    trace: list[str] = []
    pending: list[Any] = []

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
        "late": lambda *a: set_immediate(a[-1], RuntimeError("late")),
        "wait": lambda *a: set_immediate(a[-1], a[0]),
        "hold": lambda *a: (
            note("step", *(w for w in a[:-1] if not isinstance(w, str))),
            pending.append(a[-1]),
        ),
        "slow": lambda *a: (note("slow"), set_immediate(a[-1], None)),
        "abc": lambda size: (note("read"), s.push("abc"), s.push(None)),
    }

    def source(what: str) -> Any:
        chunks = what.removeprefix("push:").split(",")

        def read(size: int) -> None:
            note("read", size)
            if not chunks:
                s.push(None)
            elif chunks[0]:
                s.push(chunks.pop(0))

        return read

    s: Any = getattr(streams, kind)(
        options | {name: behaviours.get(what) or source(what) for name, what in steps.items()}
    )
    counts = dict.fromkeys(hear, 0)
    on = on or {}

    def heard(event: str, *args: Any) -> None:
        note(event, *args)
        counts[event] += 1
        for each in on.get(event) or on.get(f"{event}#{counts[event]}") or ():
            act(*each)

    for event in hear:
        s.on(event, lambda *args, event=event: heard(event, *args))

    def act(method: str, *args: Any) -> None:
        if method == "note":
            note(*args)
        elif method == "tick":
            next_tick(note, *args)
        elif method == "look":
            note(*(getattr(s, name) for name in args))
        elif method == "answer":
            pending.pop(0)(RuntimeError("given") if args else None)
        else:
            call(method, *args)

    def call(method: str, *args: Any) -> None:
        real = [
            (lambda error=None: note("cb", error)) if each == "CB"
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

    def go_on(left: list[Any]) -> None:
        while left:
            (method, *args), *left = left
            if method == "turn":
                set_immediate(set_immediate, go_on, left)
                return
            act(method, *args)

    go_on(calls)
    run()
    note(
        s.destroyed,
        getattr(s, "readable_length", 0),
        getattr(s, "writable_length", 0),
    )
    return trace


ALL = ["data", "end", "finish", "drain", "error", "close"]
QUIET = ["end", "finish", "drain", "error", "close"]
FULL = ["data", "end", "error", "close", "pause", "resume"]
LEFT = ["end", "error", "close", "pause", "resume"]
DESTROY = ["destroy"]
LENGTH = ["look", "readable_length"]
PUSHED = [["push", "ab"], ["push", "c"], ["push", "def"]]
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
    # ---- Reading: modes ----
    "data, then the end": ["Readable", {}, {"read": "push:a,bc"}, [], FULL],
    "the flow begins in a tick": ["Readable", {}, {"read": "push:a"}, [
        ["look", "readable_flowing"], ["tick", "tick"], ["note", "sync"]], ALL],
    "nobody asks": ["Readable", {}, {"read": "push:a"}, [
        ["look", "readable_flowing", "readable"], ["is_paused"], ["turn"], DESTROY], QUIET],
    "resume() without a listener": ["Readable", {}, {"read": "push:a,b"}, [
        ["resume"], ["turn"], ["look", "readable_did_read"]], LEFT],
    "paused by each chunk": ["Readable", {}, {"read": "push:a,b,c"}, [
        ["turn"], ["is_paused"], ["look", "readable_flowing", "readable_length"], ["resume"],
        ["turn"], DESTROY], FULL, {"data": [["pause"]]}],
    "paused twice": ["Readable", {}, {"read": "push:"}, [["pause"], ["pause"], DESTROY], LEFT],
    "a listener comes to a paused stream": ["Readable", {}, {"read": "push:a"}, [
        ["pause"], ["on", "data", "CB"], ["turn"], ["resume"], ["turn"]], LEFT],
    "the last listener goes": ["Readable", {}, {"read": "push:a,b"}, [
        ["once", "data", "CB"]], LEFT],
    "pushed while it flows": ["Readable", {}, {"read": "push:"}, [
        ["turn"], ["push", "now"], ["note", "sync"], DESTROY], ALL],
    "pushed before anything was read": ["Readable", {}, {"read": "push:"}, [
        ["push", "first"], ["note", "sync"], ["turn"], DESTROY], ALL],
    "a listener pushes, pauses, reads and resumes": ["Readable", {}, {"read": "push:abcdef,"}, [
        ["turn"], DESTROY], ALL,
        {"data#1": [["push", "inside"], ["pause"], ["read", 3], ["resume"]]}],
    # ---- The mark ----
    "push() and the mark": ["Readable", {"high_water_mark": 4}, {"read": "push:"}, [
        ["push", "123"], ["push", "4"], ["push", "5"],
        ["look", "readable_length", "readable_high_water_mark"], DESTROY, ["push", "6"]], QUIET],
    "read ahead": ["Readable", {"high_water_mark": 6}, {"read": "push:xx,xx,xx,xx,xx,xx"}, [
        ["read", 0], ["turn"], LENGTH, ["read", 2], ["turn"], LENGTH, DESTROY], QUIET],
    "a mark of 0": ["Readable", {"high_water_mark": 0}, {"read": "push:a,b"}, [], ALL],
    "read(n) raises the mark": ["Readable", {"high_water_mark": 4}, {"read": "push:"}, [
        *[each for n in (5, 8, 9, 1000)
          for each in (["read", n], ["look", "readable_high_water_mark"])], DESTROY], QUIET],
    # ---- read() ----
    "read(n) cuts and joins": ["Readable", {}, {"read": "push:"}, [
        *PUSHED, ["read", 1], ["read", 3], ["read", 2], DESTROY], QUIET],
    "read(0) takes nothing": ["Readable", {}, {"read": "push:"}, [
        ["push", "abc"], ["read", 0], LENGTH, DESTROY], QUIET],
    "read() emits 'data'": ["Readable", {}, {"read": "push:"}, [
        ["push", "abc"], ["pause"], ["on", "data", "CB"], ["read", 2], DESTROY], QUIET],
    # ---- 'readable' ----
    "'readable' rules the mode": ["Readable", {}, {"read": "push:abc,"}, [
        ["look", "readable_flowing"], ["resume"], ["turn"], ["read", 1], DESTROY],
        ["data", "readable"]],
    "'readable' goes, 'data' stays": ["Readable", {}, {"read": "push:"}, [
        ["push", "abc"], ["on", "readable", "CB"], ["on", "data", "CB"],
        ["remove_all_listeners", "readable"], ["turn"], ["look", "readable_flowing"], DESTROY],
        QUIET],
    "'readable' after the end": ["Readable", {"auto_destroy": False}, {"read": "push:"}, [
        ["push", None], ["read"], ["turn"], ["on", "readable", "CB"], ["on", "data", "CB"],
        ["look", "readable_flowing"], ["turn"], DESTROY], LEFT],
    "an end that nobody waited for": ["Readable", {"auto_destroy": False}, {"read": "push:"}, [
        ["push", None], ["turn"], ["on", "readable", "CB"], ["turn"], DESTROY], LEFT],
    "an end that was read": ["Readable", {"auto_destroy": False}, {"read": "push:"}, [
        ["push", None], ["read"], ["on", "readable", "CB"], ["turn"], DESTROY], LEFT],
    "data and an end that wait": ["Readable", {"auto_destroy": False}, {"read": "push:"}, [
        ["push", "abc"], ["push", None], ["on", "readable", "CB"], ["turn"], LENGTH, DESTROY],
        LEFT],
    "'resume' comes before what waits": ["Readable", {}, {"read": "push:"}, [
        ["push", "abc"], ["push", None], ["on", "data", "CB"]], LEFT],
    "unshift() while it is asked": ["Readable", {}, {"read": "push:"}, [
        ["read", 0], ["unshift", "x"], ["on", "readable", "CB"], ["push", "y"], ["turn"], DESTROY],
        LEFT],
    # ---- unshift() and encodings ----
    "unshift() by a listener": ["Readable", {}, {"read": "push:head"}, [], ALL,
                                {"data#1": [["unshift", "body"]]}],
    "unshift() and the mark": ["Readable", {"high_water_mark": 3}, {"read": "push:"}, [
        ["unshift", "ab"], ["unshift", "c"], DESTROY, ["unshift", "d"]], QUIET],
    "unshift() before 'end'": ["Readable", {}, {"read": "push:"}, [
        ["push", "a"], ["push", None], ["unshift", "0"]], ALL],
    "unshift() after 'end'": ["Readable", {"auto_destroy": False}, {"read": "push:"}, [
        ["push", None], ["resume"], ["turn"], ["unshift", "x"], ["turn"], DESTROY], LEFT],
    "characters are split": ["Readable", {}, {"read": "push:"}, [
        ["set_encoding"], ["look", "readable_encoding"], ["push", "61e2", "hex"],
        ["push", "82", "hex"], ["push", "ac62", "hex"], ["push", None]], ALL],
    "half a character at the end": ["Readable", {"encoding": "utf8"}, {"read": "push:"}, [
        ["push", "e282", "hex"], ["push", None]], ALL],
    "what is buffered is decoded": ["Readable", {}, {"read": "push:"}, [
        ["push", "c3a9e2", "hex"], ["push", "82ac", "hex"], LENGTH, ["set_encoding", "utf8"],
        LENGTH, ["read", 1], ["unshift", "x"], ["read"], DESTROY], QUIET],
    "an encoding that there is not": ["Readable", {}, {"read": "push:"}, [
        ["set_encoding", "klingon"], ["look", "readable_encoding"], DESTROY], QUIET],
    # ---- The end of reading ----
    "no 'end' before the data are taken": ["Readable", {}, {"read": "push:"}, [
        ["push", "x"], ["push", None], ["turn"], ["read"], ["turn"]], LEFT],
    "'end' comes once": ["Readable", {"auto_destroy": False}, {"read": "push:"}, [
        ["push", "x"], ["push", None], ["turn"], ["read"], ["resume"], ["push", None], ["turn"],
        ["look", "readable_ended", "readable"], DESTROY], ALL],
    "push() after the end": ["Readable", {}, {"read": "push:"}, [
        ["push", None], ["push", "late"], ["turn"]], LEFT],
    "destroyed twice": ["Readable", {}, {"read": "push:a"}, [
        ["destroy", "ERROR"], DESTROY, ["look", "destroyed", "errored"]], FULL],
    "read raises": ["Readable", {}, {"read": "raise"}, [["resume"]], LEFT],
    "there is no read": ["Readable", {}, {}, [["resume"]], LEFT],
    "destroy waits": ["Readable", {}, {"read": "push:", "destroy": "wait"}, [
        ["destroy", "ERROR"], ["look", "destroyed", "closed"], ["turn"], ["look", "closed"]], LEFT],
    "emit_close is False": ["Readable", {"emit_close": False}, {"read": "push:"}, [
        DESTROY, ["turn"], ["look", "closed"]], LEFT],
    "nothing is taken after a failed write": ["Duplex", {}, {"read": "push:", "write": "broken"}, [
        ["push", "before"], ["write", ""], ["push", "after"], ["unshift", "after"]], FULL],
    "no 'readable' after a failed write": ["Duplex", {}, {"read": "push:", "write": "broken"}, [
        ["push", "before"], ["on", "readable", "CB"], ["write", ""]], ["error"]],
    # ---- Writing ----
    "one write is in flight": ["Writable", {}, {"write": "hold"}, [
        ["write", "a"], ["write", "b"], ["write", "c"], ["look", "writable_length"], ["answer"],
        ["answer"], ["answer"], ["look", "writable_length"], DESTROY], QUIET],
    "what waits goes together": ["Writable", {}, {"write": "hold", "writev": "hold"}, [
        ["write", "a"], ["write", "b"], ["write", "c"], ["answer"], ["write", "d"], ["answer"],
        ["answer"], DESTROY], QUIET],
    **{f"callbacks of writes, {how}": ["Writable", {}, {"write": how}, [
        ["write", "a", "CB"], ["write", "b", "utf8", "CB"], ["write", "", "CB"], ["note", "sync"],
        ["turn"], ["turn"], DESTROY], QUIET] for how in ("note", "slow")},
    "corks are counted": ["Writable", {}, {"write": "hold", "writev": "hold"}, [
        ["cork"], ["cork"], ["write", "a"], ["write", "b"],
        ["look", "writable_corked", "writable_length"], ["uncork"], ["look", "writable_corked"],
        ["uncork"], ["uncork"], ["look", "writable_corked"], DESTROY], QUIET],
    "end() uncorks": ["Writable", {}, {"write": "note"}, [
        ["cork"], ["cork"], ["write", "a"], ["end", "b"], ["look", "writable_corked"]], QUIET],
    "the mark, then 'drain'": ["Writable", {"high_water_mark": 3}, {"write": "hold"}, [
        ["write", "ab", "CB"], ["write", "c", "CB"], ["look", "writable_need_drain"], ["answer"],
        ["answer"], ["look", "writable_need_drain"], DESTROY], QUIET],
    "no 'drain' while it ends": ["Writable", {"high_water_mark": 1}, {"write": "hold"}, [
        ["write", "x"], ["end"], ["look", "writable_need_drain"], ["answer"], ["turn"]], QUIET],
    "no 'drain' once destroyed": ["Writable", {"high_water_mark": 1}, {"write": "hold"}, [
        ["write", "x"], DESTROY, ["answer"], ["turn"]], QUIET],
    "'finish' waits for the tick of 'drain'": ["Writable", {"high_water_mark": 1},
        {"write": "note"}, [["cork"], ["end", "xx", "CB"], ["tick", "tick"]], QUIET],
    # ---- The end of writing ----
    "the order at the end": ["Writable", {}, {"write": "slow", "final": "slow"}, [
        ["write", "a", "CB"], ["end", "b", "CB"], ["end", "CB"],
        ["look", "writable_ended", "writable", "writable_finished"]], QUIET,
        {"finish": [["look", "writable_finished"]]}],
    "'finish' comes in a tick": ["Writable", {}, {"write": "note"}, [
        ["write", "x", "CB"], ["end", "CB"], ["tick", "tick"]], QUIET],
    "end() once finished": ["Writable", {}, {"write": "note"}, [
        ["end"], ["turn"], ["end", "CB"]], QUIET],
    "finished without auto_destroy": ["Writable", {"auto_destroy": False}, {"write": "note"}, [
        ["end"], ["turn"], ["look", "destroyed"], DESTROY], QUIET],
    "a write after end()": ["Writable", {}, {"write": "hold"}, [
        ["end", "CB"], ["write", "x", "CB"]], QUIET],
    "a write after destroy()": ["Writable", {}, {"write": "hold"}, [
        DESTROY, ["write", "x", "CB"]], QUIET],
    "a write fails later": ["Writable", {}, {"write": "hold"}, [
        ["cork"], ["write", "a", "CB"], ["write", "b", "CB"], ["uncork"], ["end", "CB"],
        ["answer", "ERROR"], ["turn"], ["look", "errored", "writable_aborted"]], QUIET],
    "write raises": ["Writable", {}, {"write": "raise"}, [["write", "x"], DESTROY], QUIET],
    "destroyed with writes that wait": ["Writable", {}, {"write": "hold"}, [
        ["write", "a", "CB"], ["write", "b", "CB"], ["destroy", "ERROR"],
        ["look", "writable_need_drain"], ["turn"], ["answer"]], QUIET],
    "destroyed after writes that were taken": ["Writable", {}, {"write": "note"}, [
        ["write", "a", "CB"], ["write", "b", "CB"], ["destroy", "ERROR"]], QUIET],
    **{f"final, {how}": ["Writable", {}, {"write": "note", "final": how}, [["end", "CB"]], QUIET]
       for how in ("broken", "late", "raise")},
}
# fmt: on

# The rules that a script shows.
SHOWS = {
    "data, then the end": "S1-04 S3.2-05 N043",
    "the flow begins in a tick": "S3.1-04 S3.1-07 S2-02",
    "nobody asks": "S3.1-01 S2-02",
    "resume() without a listener": "S3.1-05 S2-09",
    "paused by each chunk": "S3.2-01 S3.2-03 S3.2-06",
    "paused twice": "S3.2-01 S3.2-02",
    "a listener comes to a paused stream": "S3.1-04",
    "the last listener goes": "S3.1-11",
    "pushed while it flows": "S3.1-13",
    "push() and the mark": "S2-03 S2-04",
    "read ahead": "S3.1-03 S3.2-11",
    "read(n) raises the mark": "S2-05",
    "read(0) takes nothing": "S3.2-11",
    "read() emits 'data'": "S3.2-12",
    "'readable' rules the mode": "S3.1-08 S3.1-09",
    "'readable' goes, 'data' stays": "S3.1-12",
    "unshift() and the mark": "S3.2-24",
    "unshift() after 'end'": "S3.2-23",
    "characters are split": "S3.2-13 S3.2-14 S3.2-19",
    "half a character at the end": "S3.2-16",
    "what is buffered is decoded": "S3.2-15 S2-03",
    "an encoding that there is not": "S3.2-20 S2-07",
    "no 'end' before the data are taken": "S3.3-05",
    "'end' comes once": "S3.3-07 S2-01 S2-08",
    "destroyed twice": "S5-01 S5-02 S5-04 S5-05",
    "destroy waits": "S5-03",
    "one write is in flight": "S4.2-09 S4.1-02",
    "what waits goes together": "S4.2-21",
    "callbacks of writes, note": "S4.2-17 S4.2-18 S4.2-19 S4.2-20",
    "corks are counted": "S4.3-01 S4.3-02 S4.3-04 S4.1-07 S4.2-10",
    "end() uncorks": "S4.3-03",
    "the mark, then 'drain'": "S4.1-03 S4.1-04 S4.2-14 S4.4-01 S4.4-03",
    "no 'drain' while it ends": "S4.4-02 S4.1-04",
    "the order at the end": "S4.5-01 S4.5-03 S4.1-05 S4.1-06",
    "a write after end()": "S4.2-05 S4.2-07 S4.2-08",
    "a write after destroy()": "S4.2-06 S4.2-07 S4.2-15",
    "a write fails later": "S4.6-01 S4.6-02 S4.1-09",
    "destroyed with writes that wait": "S5-08 S5-05",
}


# What Node does only since a version after 20.
NEWER = {
    *("an end that nobody waited for", "an end that was read", "data and an end that wait"),
    *("'resume' comes before what waits", "unshift() while it is asked"),
}


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


def case(name: str) -> Any:
    marks = [pytest.mark.spec(*SHOWS[name].split())] if name in SHOWS else []
    return pytest.param(name, id=name, marks=marks)


@pytest.mark.parametrize("name", [case(name) for name in SCRIPTS])
def test_a_stream_of_the_programs_does_as_nodes(name: str) -> None:
    assert name in recorded_traces(), f"record it: python -m {__name__}"
    assert play_here(*SCRIPTS[name]) == recorded_traces()[name]


def test_only_scripts_are_recorded() -> None:
    assert recorded_traces().keys() == SCRIPTS.keys()
    assert SHOWS.keys() <= SCRIPTS.keys()


@pytest.mark.slow
@pytest.mark.skipif(play.NODE is None, reason="Node is not installed")
def test_nodes_streams_do_what_is_recorded() -> None:
    theirs, then = node_traces(), recorded_traces()
    if play.node_version() < recorded.RECORDED:
        # Where the default mark was another one, and these were different.
        theirs = {
            name: ["read 65536" if entry == "read 16384" else entry for entry in trace]
            for name, trace in theirs.items()
            if name not in NEWER
        }
        then = {name: then[name] for name in theirs}
    assert theirs == then


if __name__ == "__main__":
    recorded.write("streams", {"scripts": node_traces()}, play.node_release())
