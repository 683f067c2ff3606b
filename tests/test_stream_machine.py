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
import time
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from pyuvnet import current_loop, run, set_exception_handler
from tests.support.errors import BoomError
from tests.support.machines import machine_settings
from tests.support.stream_model import FAKES, PATTERN, Model

CI = os.environ.get("CI", "") not in ("", "0", "false")
STEPS = 30
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
        # In a callback that reports a failure, before the stream itself acts on it.
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


@pytest.mark.timeout(280)
def test_random_programs_keep_the_rules() -> None:
    examples = 5000 if CI else 300
    reproducible = {"derandomize": True, "database": None} if CI else {}
    run_state_machine_as_test(
        StreamMachine, settings=machine_settings(examples, STEPS, **reproducible)
    )


def main() -> None:
    """One long run; a failure is shrunk and printed as a program."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--steps", type=int, default=200_000)
    wanted = parser.parse_args().steps
    examples = 0
    start = time.perf_counter()
    while StreamMachine.steps < wanted:
        run_state_machine_as_test(
            StreamMachine, settings=machine_settings(500, STEPS, database=None)
        )
        examples += 500
    spent = time.perf_counter() - start
    print(f"{StreamMachine.steps} steps, {examples} examples, {spent:.0f} s")
    current_loop().close()


if __name__ == "__main__":
    main()
