"""Fuzzers of framings and readers: (framing, bytes, cuts), against the model of support/frames."""

from __future__ import annotations

from typing import Any

from pyuvnet import Duplex, Readable, current_loop, framing
from tests.support.frames import DESCRIBED, Model, draw

from .fuzz import Input, fuzzer

ONE_READ = 65536


class Source(Readable):
    """Notes what it hands out, and checks what it keeps."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.said: list[Any] = []
        self.on("error", lambda error: self.said.append(("error", error.code)))
        self.on("oversize", lambda size: self.said.append(("oversize", size)))
        self.on("end", lambda: self.said.append("end"))

    def _read(self, size: int) -> None:
        pass

    def give(self, chunk: bytes) -> None:
        if self.destroyed:
            return
        self.push(chunk)
        held, memory = self.readable_length, self._buffer_memory  # type: ignore[attr-defined]
        assert memory <= 2 * held + ONE_READ, f"{memory} bytes for {held}"

    def read_all(self) -> None:
        while (frame := self.read()) is not None:
            self.said.append(frame)


def form_of(made: Input) -> Any:
    return draw(made.pick, made.pick(1, 2, 3, 8, 100, 70_000))


def payload_of(made: Input) -> bytes:
    size = made.pick(0, 1, 2, 3, 5, 9, 12, 100 if made.chance(0.1) else 4)
    return bytes([made.pick(*b"ab\r\nc\0") for _ in range(size)])


def data_of(made: Input, form: Any) -> bytes:
    """Bytes that are mostly frames of a framing."""
    parts: list[bytes] = []
    for _ in range(made.below(8)):
        payload = payload_of(made)
        if made.chance(0.1):
            parts.append(made.data(8))
        else:
            # Long enough for a length of two groups or three digits, and short enough for one byte.
            payload = (payload * made.pick(1, 1, 1, 30))[:200]
            frame = DESCRIBED[type(form)].wire(form, payload)
            parts.append(frame if made.chance(0.9) else frame[: len(frame) - made.below(3)])
    return b"".join(parts)


def modelled(form: Any, data: bytes) -> list[Any]:
    model = Model(form, data)
    while not model.dead:
        item = model.next()
        if item is not None:
            model.said.append(item)
        elif model.ended:
            model.said.append("end")
            break
        else:
            model.ended = True
    return model.said


def limit_of(form: Any) -> int:
    if isinstance(form, framing.Lines):
        return form.limit + form.keep_delimiter * (len(form.delimiter) + 1)
    return getattr(form, "limit", 0) or form.size


@fuzzer(weight=12)
def frames(made: Input) -> None:
    """The same frames for any cut and any way to read, none over the limit."""
    form = form_of(made)
    data = data_of(made, form)
    made.show(form, data)
    source = Source(framing=form, high_water_mark=made.pick(0, 1, 4, 65536))
    loop = current_loop()
    way = made.below(3)
    if way == 0:
        source.on("data", source.said.append)
    elif way == 1:
        source.on("readable", source.read_all)
    else:

        def hesitate(frame: bytes) -> None:
            source.said.append(frame)
            if made.chance(0.3):
                source.pause()
                loop.next_tick(source.resume)

        source.on("data", hesitate)
    position, turning = 0, made.chance(0.5)
    while position < len(data):
        size = made.pick(1, 1, 2, 3, 7, 1000)
        made.show(size)
        source.give(data[position : position + size])
        position += size
        if turning and made.chance(0.5):
            loop.turn()
    if not source.destroyed:
        source.push(None)
    for _ in range(100):
        loop.turn()
        if source.closed:
            break
    assert source.said == modelled(form, data), f"{source.said}, not {modelled(form, data)}"
    longest = max((len(frame) for frame in source.said if isinstance(frame, bytes)), default=0)
    assert longest <= limit_of(form)


class Echo(Duplex):
    """Writes go to a list."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.wire: list[bytes] = []

    def _read(self, size: int) -> None:
        pass

    def _writev(self, chunks: list[Any], callback: Any) -> None:
        self.wire += chunks
        callback()


@fuzzer("ERR_INVALID_ARG_VALUE", "ERR_OUT_OF_RANGE", weight=4)
def written_frames(made: Input) -> None:
    """What write_frame() takes comes back as it was."""
    form = form_of(made)
    stream = Echo(framing=form)
    sent: list[bytes] = []
    for _ in range(made.below(5)):
        payload = payload_of(made)
        made.show(form, payload)
        if not made.raised(made.attempt(stream.write_frame, payload)):
            sent.append(payload)
    if isinstance(form, framing.Header):
        return
    expected: list[Any] = []
    for payload in sent:
        frame = payload
        if isinstance(form, framing.Lines):
            if form.delimiter == b"\n" and form.strip_cr and not form.keep_delimiter:
                frame = payload.removesuffix(b"\r")
            if len(payload.removesuffix(b"\r")) > form.limit:
                return
            if form.keep_delimiter:
                frame += form.delimiter
            if len(frame) > form.limit:
                return
        expected.append(frame)
    got: list[bytes] = []
    stream.on("data", got.append)
    for chunk in stream.wire:
        stream.push(chunk)
    current_loop().turn()
    assert got == expected, f"{got}, not {expected}"
