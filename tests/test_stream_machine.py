"""A Duplex over a fake handle, driven at random and checked step by step against a plain model.

The handle takes chunks at once, in a tick, later, in pieces, or fails; its source answers likewise.
The model knows rules, not an implementation: bytes are conserved and in order on both sides; every
callback is called once, in write order, never inside the call; 'data' comes before 'end', 'error'
at most once, 'close' once and last; nothing comes after destroy(); lengths are what is left; and
when nothing is under way any more, what is due has come.

On CI 5,000 examples, the same each time; elsewhere some hundreds, other ones each time. A long run:

    python -m tests.test_stream_machine --steps 200000
"""

from __future__ import annotations

import argparse
import os
import random
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from pyuvnet import Duplex, current_loop, next_tick, run, set_exception_handler

CI = os.environ.get("CI", "") not in ("", "0", "false")
PATTERN = random.Random(1).randbytes(1 << 16)
STEPS = 30
# Events that a destroyed stream does not emit.
LIVE = ("data", "readable", "end", "drain", "finish")


class BoomError(Exception):
    """What fails on purpose."""


def same(value: Any) -> bytes:
    """A chunk as bytes: text is latin1, one character for each byte."""
    return value.encode("latin1") if isinstance(value, str) else bytes(value)


class Model:
    """What is expected of one stream; the fake handle and the listeners report to it."""

    def __init__(self, mark: int) -> None:
        self.stream: Any = None
        self.mark = mark
        # The writable side.
        self.accepted = bytearray()
        self.wire = bytearray()
        self.acknowledged = 0
        self.given = 0
        self.under_way: list[Any] | None = None
        self.tick_answers = 0
        self.waiting: list[tuple[int, bytes, bool]] = []
        self.unanswered: list[int] = []
        self.rejected: set[int] = set()
        self.calls = 0
        self.calling = False
        self.end_callbacks: list[int] = []
        self.corked = 0
        self.need_drain = False
        self.ended = self.final_called = self.final_done = self.has_final = False
        # The readable side.
        self.left = bytearray()
        self.asked = self.eof = self.may_drop = self.resumed = False
        self.listens = False
        self.supply = 6
        # Both.
        self.events: list[str] = []
        self.error: Any = None
        self.failing = self.failed_late = self.auto_end_due = False
        self.destroy_due: Callable[..., None] | None = None
        self.emit_close = True
        self.modes = {"write": "later", "read": "later", "final": "sync", "destroy": "sync"}
        self.plans: dict[str, Callable[[], None]] = {}
        self.fired = 0
        self.raised = False  # a listener failed, which may stop the flow until more data come

    @property
    def dead(self) -> bool:
        """Destroyed, or failed and about to be."""
        return self.stream.destroyed or self.failing or self.stream.errored is not None

    def notice_end(self) -> None:
        """The stream may have ended its writable side by itself, after 'end'."""
        if self.auto_end_due:
            self.ended |= self.stream.writable_ended
            self.corked = min(self.corked, self.stream.writable_corked)

    # ---- Reported by the handle ----------------------------------------------------------------

    def take(self, chunks: list[Any], callback: Callable[..., None]) -> None:
        """_write or _writev."""
        self.notice_end()
        assert self.under_way is None, "a second write while one is under way"
        assert self.corked == 0, "a write while corked"
        assert not self.stream.destroyed, "a write after destroy"
        data = b"".join(map(bytes, chunks))
        here = self.given
        assert data == self.accepted[here : here + len(data)], "other bytes than were written"
        self.given += len(data)
        self.under_way = [data, callback]
        mode = self.modes["write"]
        if mode == "sync":
            self.answer()
        elif mode == "tick":
            self.tick_answers += 1
            next_tick(self.answer_in_tick, self.under_way)
        elif mode == "fail":
            self.answer(error=BoomError("write"))
        elif mode == "raise":
            self.modes["write"] = "later"
            self.answer(error=BoomError("write"))

    def answer_in_tick(self, which: list[Any]) -> None:
        self.tick_answers -= 1
        if self.under_way is which:
            self.answer()

    def answer(self, size: int | None = None, error: Any = None) -> None:
        """The handle takes so many of the bytes under way; with the last it calls back."""
        assert self.under_way is not None
        data, callback = self.under_way
        size = len(data) if size is None else size
        if error is None or size < len(data):
            self.wire += data[:size]
        if error is None and size < len(data):
            self.under_way[0] = data[size:]
            return
        self.under_way = None
        if error is None:
            self.acknowledged = self.given
        else:
            self.fail()
        callback(error)

    def fail(self) -> None:
        # The first failure is `errored`. As in Node, 'error' is of what destroys the stream, if
        # that is an error: another one, when it comes before the stream itself acts on the first.
        self.failed_late |= self.failing or self.stream.destroyed
        self.failing = True

    def final(self, callback: Callable[..., None]) -> None:
        self.notice_end()
        assert self.ended, "_final before end()"
        assert not self.final_called, "_final twice"
        assert self.wire == self.accepted, "_final before everything was taken"
        self.final_called = True
        mode = self.modes["final"]

        def done(error: Any = None) -> None:
            self.final_done = error is None
            if error is not None:
                self.fail()
            callback(error)

        if mode == "sync":
            done()
        elif mode == "tick":
            next_tick(done)
        else:
            done(BoomError("final"))

    def destroying(self, error: Any, callback: Callable[..., None]) -> None:
        mode = self.modes["destroy"]
        if mode == "fail":
            error = error or BoomError("destroy")
        if mode == "tick":
            next_tick(callback, error)
        elif mode == "later":
            self.destroy_due = lambda: callback(error)
        else:
            callback(error)

    def read(self) -> None:
        """_read."""
        assert not self.asked, "asked twice without an answer"
        assert not self.eof, "asked after EOF"
        assert not self.stream.destroyed, "asked after destroy"
        self.notice_flow()
        self.asked = True
        mode = self.modes["read"]
        if mode in ("sync", "tick"):
            # A source that never dries up would flow for ever.
            self.supply -= 1
            if self.supply < 0:
                return
        if mode == "sync":
            self.push(5)
        elif mode == "tick":
            next_tick(self.push_if_asked)
        elif mode == "eof":
            self.push(0)
        elif mode == "fail":
            self.modes["read"] = "later"
            self.fail()
            raise BoomError("read")

    def push_if_asked(self) -> None:
        if self.asked and not self.eof:
            self.push(5)

    def push(self, size: int) -> None:
        """The source gives so many bytes; 0 is its end."""
        self.notice_flow()
        self.asked = False
        if self.stream.destroyed or self.stream.errored is not None:
            assert self.eof or self.stream.push(b"x") is False
        elif size == 0:
            self.eof = True
            assert self.stream.push(None) is False
        else:
            start = (len(self.left) * 7 + size) % 60000
            data = PATTERN[start : start + size]
            self.left += data
            self.stream.push(data)

    def notice_flow(self) -> None:
        """Flowing without a listener, data may be lost by right.

        After resume() the flow may begin within the ticks, when a 'readable' listener has left.
        """
        if not self.listens and (self.resumed or self.stream.readable_flowing is True):
            self.may_drop = True

    # ---- Reported by listeners and callbacks ---------------------------------------------------

    def delivered(self, chunk: Any) -> None:
        data = same(chunk)
        assert data, "an empty chunk"
        if self.may_drop and not self.left.startswith(data):
            self.left[:] = self.left[self.left.find(data) :]
        assert self.left.startswith(data), "other bytes than came, or in another order"
        del self.left[: len(data)]

    def on_data(self, chunk: Any) -> None:
        self.delivered(chunk)
        self.event("data")

    def event(self, name: str, *arguments: Any) -> None:
        stream = self.stream
        self.notice_end()
        assert "close" not in self.events, f"{name!r} after 'close'"
        if name in LIVE:
            assert not stream.destroyed, f"{name!r} after destroy()"
        if name in ("end", "finish", "error", "close"):
            assert name not in self.events, f"a second {name!r}"
        if name in ("data", "end"):
            assert "end" not in self.events, f"{name!r} after 'end'"
        if name == "end":
            assert self.eof, "'end' before EOF"
            assert self.may_drop or not self.left, "'end' before the last data"
            self.left.clear()
            self.auto_end_due = not stream.allow_half_open
        elif name == "drain":
            assert self.need_drain, "'drain' without need"
            assert stream.writable_length == 0, "'drain' while something waits"
            assert not self.ended, "'drain' after end()"
            self.need_drain = False
        elif name == "finish":
            assert self.ended, "'finish' before end()"
            assert self.wire == self.accepted, "'finish' before everything was taken"
            assert self.final_done or not self.has_final, "'finish' before _final was done"
            assert not self.unanswered, "'finish' before a write callback"
            assert not self.end_callbacks, "'finish' before a callback of end()"
        elif name == "error":
            assert stream.destroyed, "'error' of a stream that lives"
            if not self.failed_late:
                assert stream.errored is arguments[0], "another error than errored tells"
        elif name == "close":
            assert stream.destroyed
            assert stream.closed
            assert self.emit_close, "'close' in spite of emit_close=False"
            if stream.errored is not None and not self.failed_late:
                assert "error" in self.events, "'close' before 'error'"
        self.events.append(name)
        self.fire(name)

    def fire(self, name: str) -> None:
        """Do what was planned for the next of these."""
        plan = self.plans.pop(name, None)
        if plan is not None:
            self.fired += 1
            plan()

    def write_callback(self, number: int) -> Callable[..., None]:
        def called(error: Any = None) -> None:
            self.notice_end()
            assert not self.calling, "a callback inside write() or end()"
            self.calls -= 1
            if number in self.rejected:
                self.rejected.remove(number)
                assert error is not None, "a refused write succeeded"
                return
            assert self.unanswered, "a callback too many"
            assert self.unanswered[0] == number, "callbacks out of order, or one twice"
            self.unanswered.pop(0)
            if error is None:
                stop = next(end for n, end in self.ends if n == number)
                assert self.acknowledged >= stop, "success before the bytes were taken"
                due = self.need_drain and self.stream.writable_length == 0
                assert not due or self.ended or self.dead, "a callback before 'drain'"
            else:
                assert self.dead, "an error for a write of a stream that lives"
            self.fire("callback")

        return called

    def end_callback(self, number: int, accepted: bool) -> Callable[..., None]:
        def called(error: Any = None) -> None:
            assert not self.calling, "a callback inside end()"
            self.calls -= 1
            if accepted:
                assert self.end_callbacks[:1] == [number], "end callbacks out of order, or twice"
                self.end_callbacks.pop(0)
                if error is None:
                    assert not self.unanswered, "an end callback before a write callback"
                    assert self.wire == self.accepted
                else:
                    assert self.dead
            elif error is None:
                assert "finish" in self.events

        return called

    # ---- What is seen from outside -------------------------------------------------------------

    def check(self) -> None:
        """What holds between any two steps."""
        stream = self.stream
        self.notice_end()
        assert self.accepted.startswith(self.wire)
        assert stream.writable_corked == self.corked
        if not self.dead:
            assert stream.writable_ended == self.ended
            assert stream.writable_length == len(self.accepted) - self.acknowledged
            assert stream.writable_need_drain == (self.need_drain and not self.ended)
            length = stream.readable_length
            if length != len(self.left):
                assert self.may_drop, "data were lost"
                assert length < len(self.left)
                del self.left[: len(self.left) - length]
            assert stream.readable_ended == ("end" in self.events)
            assert stream.writable_finished == ("finish" in self.events)
            assert stream.errored is None
            assert "error" not in self.events
            assert stream.writable == (not self.ended)
            assert stream.readable == ("end" not in self.events)
        self.may_drop = False
        self.notice_flow()

    def check_quiet(self) -> None:
        """What must have come when no tick is left and the handle has answered."""
        stream = self.stream
        waits = self.under_way is not None
        if self.dead:
            assert stream.destroyed
            if self.destroy_due is None:
                assert stream.closed
                assert self.events[-1:] == (["close"] if self.emit_close else self.events[-1:])
                if not self.failed_late:
                    assert (stream.errored is not None) == ("error" in self.events)
                assert ("close" in self.events) == self.emit_close
            if not waits:
                assert self.calls == 0, "a callback was never called"
            return
        if waits:
            return
        if not self.corked:
            assert self.given == len(self.accepted), "a queue was forgotten"
            assert self.wire == self.accepted
            assert not self.unanswered, "a write callback was forgotten"
            assert not self.need_drain or self.ended, "'drain' was forgotten"
            assert not self.ended or "finish" in self.events, "'finish' was forgotten"
        if stream.readable_flowing is True and not self.raised:
            assert not self.left, "the flow stopped"
            assert not self.eof or "end" in self.events, "'end' was forgotten"
            assert self.asked or self.eof, "nobody asked the source"
        if "end" in self.events:
            if not stream.allow_half_open:
                assert self.ended, "the automatic end() was forgotten"
            assert "finish" not in self.events, "a stream that is done was not destroyed"


class Fake(Duplex):
    """The stream under test; its handle is the model's."""

    model: Model

    def _read(self, size: int) -> None:
        self.model.read()

    def _write(self, chunk: Any, encoding: str, callback: Callable[..., None]) -> None:
        self.model.take([chunk], callback)


def _writev(self: Any, chunks: list[Any], callback: Callable[..., None]) -> None:
    assert len(chunks) > 1, "one chunk is _write's"
    self.model.take(chunks, callback)


def _final(self: Any, callback: Callable[..., None]) -> None:
    self.model.final(callback)


def _destroy(self: Any, error: Any, callback: Callable[..., None]) -> None:
    self.model.destroying(error, callback)


FAKES = {
    (writev, final, destroy): type(
        "Fake",
        (Fake,),
        {
            **({"_writev": _writev} if writev else {}),
            **({"_final": _final} if final else {}),
            **({"_destroy": _destroy} if destroy else {}),
        },
    )
    for writev in (False, True)
    for final in (False, True)
    for destroy in (False, True)
}
SIZES = st.sampled_from([0, 1, 2, 3, 5, 8, 20])
MARKS = st.sampled_from([0, 1, 4, 16, 64])
FLAG = st.booleans()
MODES = {
    "write": ["sync", "sync", "tick", "tick", "later", "later", "later", "fail"],
    "read": ["sync", "sync", "tick", "tick", "later", "later", "later", "eof", "fail"],
    "final": ["sync", "tick", "fail"],
    "destroy": ["sync", "tick", "later", "fail"],
}
ACTIONS = ["write", "write", "end", "destroy", "fail", "pause", "resume", "read", "unshift"]
ACTIONS += ["cork", "uncork", "raise"]


class StreamMachine(RuleBasedStateMachine):
    """The steps; each does one thing to the stream and tells the model."""

    steps = 0

    def __init__(self) -> None:
        super().__init__()
        self.written = 0
        self.raised: list[Exception] = []
        set_exception_handler(self.uncaught)

    def uncaught(self, error: Exception) -> None:
        # What the model says goes on; what was raised on purpose is expected.
        self.raised.append(error)

    @initialize(
        kind=st.tuples(FLAG, FLAG, FLAG),
        half=FLAG,
        read_mark=MARKS,
        write_mark=MARKS,
        emit_close=st.sampled_from([True, True, True, False]),
        text=st.sampled_from([False, False, False, True]),
    )
    def make(
        self,
        kind: tuple[bool, bool, bool],
        half: bool,
        read_mark: int,
        write_mark: int,
        emit_close: bool,
        text: bool,
    ) -> None:
        self.model = model = Model(write_mark)
        model.ends: list[tuple[int, int]] = []
        model.has_final = kind[1]
        model.emit_close = emit_close
        self.stream = model.stream = stream = FAKES[kind](
            allow_half_open=half,
            readable_high_water_mark=read_mark,
            writable_high_water_mark=write_mark,
            emit_close=emit_close,
        )
        stream.model = model
        if text:
            stream.set_encoding("latin1")
        for event in ("end", "drain", "finish", "error", "close"):
            stream.on(event, lambda *args, event=event: model.event(event, *args))
        self.readable_listener = lambda: self.model.event("readable")

    # ---- Writing -------------------------------------------------------------------------------

    @rule(size=SIZES, callback=FLAG)
    def write(self, size: int, callback: bool) -> None:
        model, stream = self.model, self.stream
        start = len(model.accepted) % 60000
        data = PATTERN[start : start + size]
        self.written += 1
        number = self.written
        model.notice_end()
        refused = stream.destroyed or model.ended
        answer = None
        if callback:
            answer = model.write_callback(number)
            model.calls += 1
            if refused:
                model.rejected.add(number)
            else:
                model.unanswered.append(number)
                model.ends.append((number, len(model.accepted) + size))
        if not refused:
            model.accepted += data
        elif not stream.destroyed:
            model.fail()
        model.calling = True
        go_on = stream.write(data, answer)
        model.calling = False
        if refused:
            assert go_on is False
        elif model.dead:
            assert go_on is False or not stream.destroyed
        else:
            left = len(model.accepted) - model.acknowledged
            assert go_on is (left < model.mark or left == 0), "write() said another thing"
            if not go_on:
                model.need_drain = True

    @rule(sizes=st.lists(SIZES, min_size=2, max_size=5))
    def burst(self, sizes: list[int]) -> None:
        for size in sizes:
            self.write(size, True)

    @rule(size=SIZES, callback=FLAG)
    def end(self, size: int, callback: bool) -> None:
        model, stream = self.model, self.stream
        model.notice_end()
        refused = stream.destroyed or model.ended
        dead = model.dead
        self.written += 1
        answer = None
        if callback:
            accepted = not dead and "finish" not in model.events and not (size and refused)
            answer = model.end_callback(self.written, accepted)
            model.calls += 1
            if accepted:
                model.end_callbacks.append(self.written)
        data = None
        if size:
            start = len(model.accepted) % 60000
            data = PATTERN[start : start + size]
            if not refused:
                model.accepted += data
            elif not stream.destroyed:
                model.fail()
        model.corked = 0
        if not dead:
            model.ended = True
        model.calling = True
        assert stream.end(data, None, answer) is stream
        model.calling = False

    @rule()
    def cork(self) -> None:
        self.model.corked += 1
        self.stream.cork()

    @rule()
    def uncork(self) -> None:
        self.model.corked = max(self.model.corked - 1, 0)
        self.stream.uncork()

    @rule(times=st.integers(1, 3))
    def handle_takes(self, times: int) -> None:
        for _ in range(times):
            self.handle_answers(100)

    @rule(size=st.sampled_from([0, 1, 3, 100]))
    def handle_answers(self, size: int) -> None:
        """A short write, or all the rest."""
        if self.model.under_way is not None and not self.model.tick_answers:
            self.model.answer(min(size, len(self.model.under_way[0])))

    def handle_fails(self) -> None:
        if self.model.under_way is not None and not self.model.tick_answers:
            self.model.answer(0, BoomError("write"))

    # ---- Reading -------------------------------------------------------------------------------

    @rule(size=SIZES)
    def push(self, size: int) -> None:
        if not self.model.eof:
            with suppress(BoomError):  # of a listener, by plan
                self.model.push(size)

    @rule()
    def push_again(self) -> None:
        self.push(8)

    @rule()
    def pause(self) -> None:
        self.model.resumed = False
        assert self.stream.pause() is self.stream
        if not self.stream.destroyed:
            assert self.stream.is_paused()
            assert self.stream.readable_flowing is False

    @rule()
    def resume(self) -> None:
        self.model.resumed = True
        assert self.stream.resume() is self.stream
        self.model.notice_flow()
        if not self.stream.destroyed and not self.stream.listener_count("readable"):
            assert not self.stream.is_paused() or self.stream.readable_flowing is False

    @rule()
    def listen(self) -> None:
        if not self.model.listens:
            self.model.notice_flow()
            self.model.listens = True
            self.stream.on("data", self.model.on_data)

    @rule()
    def stop_listening(self) -> None:
        if self.model.listens:
            self.model.listens = False
            self.stream.off("data", self.model.on_data)
            self.model.notice_flow()

    @rule()
    def listen_readable(self) -> None:
        if self.stream.listener_count("readable") < 2:
            self.stream.on("readable", self.readable_listener)

    @rule()
    def stop_readable(self) -> None:
        self.stream.off("readable", self.readable_listener)

    @rule(size=st.sampled_from([None, None, 0, 1, 2, 5, 30]))
    def read(self, size: int | None) -> None:
        model, stream = self.model, self.stream
        model.notice_flow()
        before, flowing = stream.readable_length, stream.readable_flowing is True
        listened, fired, dead = model.listens, model.fired, model.dead
        try:
            chunk = stream.read(size)
        except BoomError:
            assert model.fired != fired
            return
        if chunk is not None and not listened:
            model.delivered(chunk)
        if dead or model.fired != fired or model.dead:
            return
        if size == 0:
            assert chunk is None
        elif chunk is None:
            after = stream.readable_length
            assert after == 0 or (size is not None and after < size and not model.eof)
        elif size is not None:
            assert len(chunk) == size or (model.eof and len(chunk) < size)
        elif not flowing:
            assert len(chunk) >= before

    @rule(size=SIZES)
    def unshift(self, size: int) -> None:
        model, stream = self.model, self.stream
        if stream.destroyed or (stream.errored is not None and "end" not in model.events):
            assert stream.unshift(b"x") is False
            return
        if "end" in model.events:
            if size:
                model.fail()
        else:
            model.notice_flow()
            model.left[:0] = PATTERN[:size]
        with suppress(BoomError):
            stream.unshift(PATTERN[:size])

    # ---- Both ----------------------------------------------------------------------------------

    def destroy(self) -> None:
        # In a callback that tells of a failure, before the stream itself acts on it.
        self.model.failed_late |= self.model.failing and not self.stream.destroyed
        assert self.stream.destroy() is self.stream
        assert self.stream.destroyed

    @rule(how=st.sampled_from(["destroy", "fail", "handle", *["not"] * 6]))
    def kill(self, how: str) -> None:
        """Seldom, since nothing happens in what is dead."""
        if how == "destroy":
            self.destroy()
        elif how == "fail":
            self.destroy_with_error()
        elif how == "handle":
            self.handle_fails()

    def destroy_with_error(self) -> None:
        self.model.failed_late |= self.model.failing and not self.stream.destroyed
        first = not self.stream.destroyed and self.stream.errored is None
        error = BoomError("destroy")
        self.stream.destroy(error)
        assert not first or self.stream.errored is error

    @rule()
    def destruction_is_done(self) -> None:
        if self.model.destroy_due is not None:
            due, self.model.destroy_due = self.model.destroy_due, None
            due()

    @rule(which=st.sampled_from([(what, mode) for what in MODES for mode in MODES[what]]))
    def change_mode(self, which: tuple[str, str]) -> None:
        self.model.modes[which[0]] = which[1]
        self.model.supply = 6

    @rule(
        event=st.sampled_from(["data", "drain", "end", "finish", "error", "callback"]),
        action=st.sampled_from(ACTIONS),
    )
    def plan(self, event: str, action: str) -> None:
        """Do something inside the next listener or callback."""
        if action == "raise":

            def act() -> None:
                self.model.raised = True
                raise BoomError("planned")
        else:
            steps: dict[str, Callable[[], None]] = {
                "write": lambda: self.write(5, True),
                "end": lambda: self.end(0, True),
                "destroy": self.destroy,
                "fail": self.destroy_with_error,
                "pause": self.pause,
                "resume": self.resume,
                "read": lambda: self.read(2),
                "unshift": lambda: self.unshift(2),
                "cork": self.cork,
                "uncork": self.uncork,
            }
            act = steps[action]
        self.model.plans[event] = act

    @rule()
    def ticks(self) -> None:
        """Let the loop run until nothing is left to do."""
        run()
        self.raise_findings()
        self.model.check()
        self.model.check_quiet()

    @rule()
    def more_ticks(self) -> None:
        self.ticks()

    def raise_findings(self) -> None:
        raised, self.raised = self.raised, []
        for error in raised:
            if not isinstance(error, BoomError):
                raise error

    @invariant()
    def holds(self) -> None:
        StreamMachine.steps += 1
        self.raise_findings()
        self.model.check()

    def teardown(self) -> None:
        if not hasattr(self, "model"):
            return
        model = self.model
        try:
            run()
            self.raise_findings()
            model.plans.clear()
            self.stream.destroy()
            if model.under_way is not None and not model.tick_answers:
                model.answer()
            self.destruction_is_done()
            run()
            self.raise_findings()
            model.check()
            model.check_quiet()
            assert model.calls == 0
            assert not model.unanswered
            assert not model.end_callbacks
        finally:
            set_exception_handler(None)


def machine_settings(examples: int, **options: Any) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=STEPS,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
        **options,
    )


@pytest.mark.timeout(280)
def test_random_programs_keep_the_rules() -> None:
    examples = 5000 if CI else 300
    reproducible = {"derandomize": True, "database": None} if CI else {}
    run_state_machine_as_test(StreamMachine, settings=machine_settings(examples, **reproducible))


def main() -> None:
    """One long run; a failure is shrunk and printed as a program."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--steps", type=int, default=200_000)
    wanted = parser.parse_args().steps
    examples = 0
    start = time.perf_counter()
    while StreamMachine.steps < wanted:
        run_state_machine_as_test(StreamMachine, settings=machine_settings(500, database=None))
        examples += 500
    spent = time.perf_counter() - start
    print(f"{StreamMachine.steps} steps, {examples} examples, {spent:.0f} s")
    current_loop().close()


if __name__ == "__main__":
    main()
