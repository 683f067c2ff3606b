"""What is expected of a stream, whatever is done to it, and the stream whose handle it is.

Used by tests/test_stream_machine.py, which drives both at random.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from pyuvnet import Duplex, next_tick
from tests.support.errors import BoomError

PATTERN = random.Random(1).randbytes(1 << 16)
# Events that a destroyed stream does not emit.
LIVE = ("data", "readable", "end", "drain", "finish")


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
        # A `_final` that was done before lets 'finish' come.
        if name in LIVE and not (name == "finish" and self.has_final and self.final_done):
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
