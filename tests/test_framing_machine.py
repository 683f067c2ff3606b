"""Random frames, cuts, switches of framing, pauses and ends, against the model of support/frames.

The listener follows a plan, made in advance: what it does at its n-th frame. The model does the
same, given all bytes at once.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from pyuvnet import Readable, framing, run
from tests.support.frames import Model, draw
from tests.support.machines import machine_settings


@st.composite
def forms(given: Any) -> Any:
    limit = given(st.sampled_from([1, 2, 5, 20, 1000]))
    return draw(lambda *choices: given(st.sampled_from(choices)), limit)


FORMS = forms()
PIECES = st.one_of(
    st.sampled_from(
        [
            b"\n",
            b"\r\n",
            b"aa",
            b"aba",
            b"\0",
            b"\0\1x",
            b"\2ab",
            b"\0\0\0\3xyz",
            b"\x80",
            b"1:a,",
            b"2:b",
        ]
    ),
    st.text("ab\r\n\0\1", max_size=6).map(str.encode),
)
BYTES = st.lists(PIECES, max_size=8).map(b"".join)
ACTS = st.one_of(
    st.tuples(st.just("framing"), FORMS),
    st.tuples(st.just("unshift"), PIECES),
    st.just(("pause", None)),
    st.just(("destroy", None)),
    st.just(("raw", None)),
)


class Source(Readable):
    def _read(self, size: int) -> None:
        pass


class Frames(RuleBasedStateMachine):
    """A stream, and the model of it."""

    @initialize(
        form=FORMS,
        plan=st.dictionaries(st.integers(1, 12), ACTS, max_size=4),
        way=st.sampled_from(["data", "readable"]),
        encoding=st.sampled_from([None, None, "latin1"]),
        mark=st.sampled_from([1, 8, 65536]),
    )
    def begin(self, form: Any, plan: Any, way: str, encoding: str | None, mark: int) -> None:
        self.plan, self.way, self.encoding = plan, way, encoding
        self.model = Model(form)
        self.flowing, self.given = True, 0
        self.said: list[Any] = []
        self.frames = 0
        self.source = Source(framing=form, encoding=encoding, high_water_mark=mark)
        self.source.on("error", lambda error: self.said.append(("error", error.code)))
        self.source.on("oversize", lambda size: self.said.append(("oversize", size)))
        self.source.on("end", lambda: self.said.append("end"))
        if way == "data":
            self.source.on("data", self.got)
        else:
            self.source.on("readable", self.readable)
        run()

    # ---- The stream ------------------------------------------------------------------------------

    def readable(self) -> None:
        while (frame := self.source.read()) is not None:
            self.got(frame)

    def got(self, frame: Any) -> None:
        if isinstance(frame, str):
            frame = frame.encode("latin1")
        if self.source.framing is None:
            self.said.append(("raw", frame))
            return
        self.said.append(frame)
        self.frames += 1
        act, argument = self.plan.get(self.frames, (None, None))
        if act == "framing":
            self.source.set_framing(argument)
        elif act == "raw":
            self.source.set_framing(None)
        elif act == "unshift":
            self.source.unshift(argument)
        elif act == "destroy":
            self.source.destroy()
        elif act == "pause" and self.way == "data":
            self.source.pause()

    # ---- The model -------------------------------------------------------------------------------

    def flow(self) -> None:
        model = self.model
        while self.flowing and not model.dead and "end" not in model.said:
            item = model.next()
            if item is None:
                if model.ended and not model.data:
                    model.said.append("end")
                return
            if model.framing is None:
                item = ("raw", item)
            model.said.append(item)
            if isinstance(item, tuple):
                continue
            self.given += 1
            act, argument = self.plan.get(self.given, (None, None))
            if act == "framing":
                model.framing = argument
            elif act == "raw":
                model.framing = None
            elif act == "unshift":
                model.data = argument + model.data
            elif act == "destroy":
                model.dead = True
            elif act == "pause" and self.way == "data":
                self.flowing = False

    def compare(self) -> None:
        run()
        self.flow()
        assert merged(self.said) == merged(self.model.said)
        if not self.model.dead and "end" not in self.model.said:
            assert self.source.framing is self.model.framing

    # ---- The rules -------------------------------------------------------------------------------

    @precondition(lambda self: not self.model.ended and not self.model.dead)
    @rule(data=BYTES, cuts=st.lists(st.integers(1, 4), max_size=6), turns=st.booleans())
    def push(self, data: bytes, cuts: list[int], turns: bool) -> None:
        self.model.data += data
        for size in [*cuts, len(data)]:
            chunk, data = data[:size], data[size:]
            if not self.source.destroyed:
                self.source.push(chunk)
            if turns:
                run()
        self.compare()

    @precondition(lambda self: not self.model.dead)
    @rule(form=st.one_of(FORMS, st.none()))
    def switch(self, form: Any) -> None:
        if self.skipping():
            # What has been dropped of the line by now depends on when it came.
            return
        self.source.set_framing(form)
        self.model.framing = form
        self.compare()

    def skipping(self) -> bool:
        form, data = self.model.framing, self.model.data
        return (
            isinstance(form, framing.Lines)
            and form.oversize == "discard"
            and form.delimiter not in data
            and len(data) > form.limit
        )

    @precondition(lambda self: self.way == "data" and not self.model.dead)
    @rule()
    def pause(self) -> None:
        self.source.pause()
        self.flowing = False
        self.compare()

    @precondition(lambda self: self.way == "data" and not self.model.dead)
    @rule()
    def resume(self) -> None:
        self.source.resume()
        self.flowing = True
        self.compare()

    @rule()
    def nothing(self) -> None:
        self.compare()

    @precondition(lambda self: not self.model.ended and not self.model.dead)
    @rule()
    def end(self) -> None:
        if not self.source.destroyed:
            self.source.push(None)
        self.model.ended = True
        self.compare()


def merged(said: list[Any]) -> list[Any]:
    """How raw bytes were cut does not count."""
    found: list[Any] = []
    for item in said:
        if found and item[:1] == found[-1][:1] == ("raw",):
            found[-1] = ("raw", found[-1][1] + item[1])
        else:
            found.append(item)
    return found


TestFrames = Frames.TestCase
TestFrames.settings = machine_settings(120, 25)
TestFrames = pytest.mark.timeout(120)(TestFrames)
