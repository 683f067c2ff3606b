"""Framings written down from their description: slow, and plain enough to be seen right.

A framing that is added gets a Description here, and nothing else in the tests has to name it: the
tests of cutting, writing, limits and leaks, the fuzzers and the random machine read DESCRIBED.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pyuvnet import errors, framing

NO_LENGTH = "The frame's prefix is not a valid length"
INVALID, TOO_LONG = "ERR_FRAME_INVALID", "ERR_FRAME_TOO_LONG"

# The frame that some data begin with: where what is delivered begins and ends, and where the frame
# does. None if that is not known yet, or the code of an error.
Cut = tuple[int, int, int] | str | None


@dataclass
class Description:
    """A framing from outside: how to make one, and what it does with some bytes.

    forms: a few of it, all different.
    draw: one with a limit, from a function that returns one of its arguments.
    wire: a frame with a payload.
    cut: what the data begin with; ended: no more will come.
    streams: (form, data) whose every cut is tried.
    written: (form, payload, wire).
    refused: (form, payload, class, code): what write_frame() raises.
    too_long: (form, data), where the last byte is the one that shows it.
    invalid: the same, with the message.
    incomplete: (form, data): a frame without its end.
    promise: (form with a limit of 16 MiB, the first bytes of a frame of that size).
    """

    forms: list[framing.Framing]
    draw: Callable[[Callable[..., Any], int], Any]
    wire: Callable[[Any, bytes], bytes]
    cut: Callable[[Any, bytes, bool], Cut]
    streams: list[tuple[framing.Framing, bytes]]
    written: list[tuple[framing.Framing, bytes, bytes]]
    refused: list[tuple[framing.Framing, Any, type[Exception], str]]
    too_long: list[tuple[framing.Framing, bytes]]
    invalid: list[tuple[framing.Framing, bytes, str]]
    incomplete: list[tuple[framing.Framing, bytes]]
    promise: tuple[framing.Framing, bytes]


RANGE = errors.RangeError, "ERR_OUT_OF_RANGE"
VALUE = errors.ArgValueError, "ERR_INVALID_ARG_VALUE"
MOST = 16 * 1024 * 1024


def first_byte(header: bytes) -> int:
    return header[0]


def seventh(header: bytes) -> int:
    return header[0] % 7


def counted(form: Any, data: bytes, start: int, length: int, after: bytes = b"") -> Cut:
    """A frame whose length is known."""
    if length > form.limit:
        return TOO_LONG
    end = start + length
    if len(data) < end + len(after):
        return None
    return (start, end, end + len(after)) if data[end:].startswith(after) else INVALID


# ---- Lines ---------------------------------------------------------------------------------------


def line(form: Any, data: bytes, ended: bool) -> Cut:
    text, mark, _ = data.partition(form.delimiter)
    if not mark and not (ended and text):
        # Over the limit for certain, whatever comes: all but what may begin the delimiter.
        ends = [form.delimiter[:size] for size in range(len(form.delimiter))]
        ends += [b"\r"] * (form.delimiter == b"\n" and form.strip_cr)
        held = max(len(end) for end in ends if text.endswith(end))
        return TOO_LONG if len(text) - held > form.limit and form.oversize == "error" else None
    payload = text.removesuffix(b"\r") if mark == b"\n" and form.strip_cr else text
    total = len(text + mark)
    if len(payload) > form.limit:
        # A line that is skipped delivers nothing: where its payload would end is before it.
        return TOO_LONG if form.oversize == "error" else (0, -1, total)
    return 0, total if form.keep_delimiter else len(payload), total


LINES = Description(
    forms=[
        framing.Lines(),
        framing.Lines(b"\r\n", limit=10, keep_delimiter=True, strip_cr=False, oversize="discard"),
    ],
    draw=lambda pick, limit: framing.Lines(
        pick(b"\n", b"\n", b"\r\n", b"\0", b"aa", b"aba", b"abcabcabd", b"aaaaaaaaaaaaaaab"),
        limit=limit,
        keep_delimiter=pick(False, True),
        strip_cr=pick(True, False),
        oversize=pick("error", "discard"),
    ),
    wire=lambda form, payload: payload + form.delimiter,
    cut=line,
    streams=[
        (framing.Lines(), b"ab\r\n\n\r\nc"),
        (framing.Lines(keep_delimiter=True), b"ab\r\n\n\r\nc"),
        (framing.Lines(strip_cr=False), b"ab\r\n\n\r\nc\r"),
        (framing.Lines(b"\r\n"), b"a\r\r\n\n\r\n\r"),
        (framing.Lines(b"aab"), b"aaabaabxa"),
        (framing.Lines(b"aa", limit=2), b"xxaaxaaab"),
        (framing.Lines(limit=3), b"abc\nabc\r\nabcd\n"),
        (framing.Lines(limit=2), b"ab\nabc"),
        (framing.Lines(limit=2, oversize="discard"), b"ab\nabcde\nf\n"),
        (framing.Lines(limit=1, oversize="discard"), b"abcd\na\nbc"),
        (framing.Lines(b"xyx", limit=1, oversize="discard"), b"abcxyxyxyxd"),
    ],
    written=[
        (framing.Lines(), b"ab", b"ab\n"),
        (framing.Lines(), b"", b"\n"),
        (framing.Lines(b"\r\n"), b"ab\n", b"ab\n\r\n"),
    ],
    refused=[
        (framing.Lines(), b"a\nb", *VALUE),
        (framing.Lines(b"aa"), b"xa", *VALUE),
        (framing.Lines(b"aba"), b"xab", *VALUE),
        (framing.Lines(), "a\n", *VALUE),
    ],
    too_long=[
        (framing.Lines(limit=3), b"abcd"),
        (framing.Lines(limit=3), b"abc\rx"),
        (framing.Lines(b"--", limit=3), b"abc-x"),
    ],
    invalid=[],
    incomplete=[],
    promise=(framing.Lines(limit=MOST), b"x"),
)

# ---- A length before the payload -----------------------------------------------------------------


def prefixed(form: Any, data: bytes, ended: bool) -> Cut:
    if len(data) < form.size:
        return None
    length = int.from_bytes(data[: form.size], form.byteorder)
    if form.includes_itself:
        length -= form.size
    return counted(form, data, form.size, length) if length >= 0 else INVALID


LENGTH_PREFIX = Description(
    forms=[
        framing.LengthPrefix(),
        framing.LengthPrefix(2, byteorder="little", limit=9, includes_itself=True),
    ],
    draw=lambda pick, limit: framing.LengthPrefix(
        pick(1, 2, 3, 4, 8), byteorder=pick("big", "little"), limit=limit
    ),
    wire=lambda form, payload: (
        (len(payload) + form.includes_itself * form.size).to_bytes(form.size, form.byteorder)
        + payload
    ),
    cut=prefixed,
    streams=[
        (framing.LengthPrefix(1), b"\2ab\0\1x"),
        (framing.LengthPrefix(2), b"\0\2ab\0\0\0\1"),
        (framing.LengthPrefix(3, byteorder="little"), b"\3\0\0abc\0\0\0"),
        (framing.LengthPrefix(2, includes_itself=True), b"\0\4ab\0\2\0\1"),
        (framing.LengthPrefix(4, limit=2), b"\0\0\0\2ab\0\0\0\3"),
        (framing.LengthPrefix(8), b"\0\0\0\0\0\0\0\2ab"),
    ],
    written=[
        (framing.LengthPrefix(), b"ab", b"\0\0\0\2ab"),
        (framing.LengthPrefix(1), b"", b"\0"),
        (framing.LengthPrefix(1), b"x" * 255, b"\xff" + b"x" * 255),
        (framing.LengthPrefix(2, byteorder="little"), b"x" * 258, b"\2\1" + b"x" * 258),
        (framing.LengthPrefix(3), b"x" * 65536, b"\1\0\0" + b"x" * 65536),
        (framing.LengthPrefix(8), b"ab", b"\0\0\0\0\0\0\0\2ab"),
        (framing.LengthPrefix(2, includes_itself=True), b"ab", b"\0\4ab"),
        (framing.LengthPrefix(limit=2), b"ab", b"\0\0\0\2ab"),
    ],
    refused=[
        (framing.LengthPrefix(1), b"x" * 256, *RANGE),
        (framing.LengthPrefix(1, includes_itself=True), b"x" * 255, *RANGE),
        (framing.LengthPrefix(limit=2), b"abc", *RANGE),
    ],
    too_long=[
        (framing.LengthPrefix(4, limit=3), b"\0\0\0\4"),
        (framing.LengthPrefix(8), b"\xff" * 8),
        (framing.LengthPrefix(8, byteorder="little"), b"\0\0\0\0\0\0\0\x80"),
    ],
    invalid=[(framing.LengthPrefix(2, includes_itself=True), b"\0\1", NO_LENGTH)],
    incomplete=[
        (framing.LengthPrefix(4), b"\0\0"),
        (framing.LengthPrefix(4), b"\0\0\0\1"),
        (framing.LengthPrefix(1), b"\2a"),
    ],
    promise=(framing.LengthPrefix(limit=MOST), MOST.to_bytes(4, "big")),
)


def varint(number: int) -> bytes:
    groups = [number >> shift & 127 for shift in range(0, max(number.bit_length(), 1), 7)]
    return bytes([group | 128 for group in groups[:-1]] + groups[-1:])


def varint_prefixed(form: Any, data: bytes, ended: bool) -> Cut:
    for index, byte in enumerate(data):
        value = sum((data[at] & 127) << 7 * at for at in range(index + 1))
        if index == 9 and byte > 127:
            return INVALID
        if byte < 128 or value > form.limit:
            return counted(form, data, index + 1, value)
    return None


VARINT_PREFIX = Description(
    forms=[framing.VarintPrefix(limit=300)],
    draw=lambda pick, limit: framing.VarintPrefix(limit=limit),
    wire=lambda form, payload: varint(len(payload)) + payload,
    cut=varint_prefixed,
    streams=[
        (framing.VarintPrefix(), b"\2ab\x80\0\x82\0cd"),
        (framing.VarintPrefix(limit=200), b"\1a\xc8\1"),
        (framing.VarintPrefix(limit=200), b"\1a\xc9\1"),
        (framing.VarintPrefix(), b"\1a" + b"\x80" * 9),
    ],
    written=[
        (framing.VarintPrefix(limit=2), b"ab", b"\2ab"),
        (framing.VarintPrefix(), b"x" * 127, b"\x7f" + b"x" * 127),
        (framing.VarintPrefix(), b"x" * 128, b"\x80\1" + b"x" * 128),
        (framing.VarintPrefix(), b"x" * 16384, b"\x80\x80\1" + b"x" * 16384),
    ],
    refused=[(framing.VarintPrefix(limit=2), b"abc", *RANGE)],
    too_long=[
        (framing.VarintPrefix(limit=3), b"\4"),
        (framing.VarintPrefix(limit=300), b"\xad\2"),
        (framing.VarintPrefix(), b"\xff\xff\xff\xff"),
    ],
    invalid=[(framing.VarintPrefix(), b"\x80" * 10, NO_LENGTH)],
    incomplete=[(framing.VarintPrefix(), b"\x80"), (framing.VarintPrefix(), b"\2a")],
    promise=(framing.VarintPrefix(limit=MOST), b"\x80\x80\x80\x08"),
)


def netstring(form: Any, data: bytes, ended: bool) -> Cut:
    digits, colon, _ = data.partition(b":")
    good = re.match(rb"0|[1-9][0-9]*", digits)
    sound = good[0] if good else b""
    if sound and int(sound) > form.limit:
        return TOO_LONG
    if sound != digits or (colon and not digits):
        return INVALID
    return counted(form, data, len(digits) + 1, int(digits), b",") if colon else None


NETSTRINGS = Description(
    forms=[framing.Netstrings(limit=300)],
    draw=lambda pick, limit: framing.Netstrings(limit=limit),
    wire=lambda form, payload: b"%d:%b," % (len(payload), payload),
    cut=netstring,
    streams=[
        (framing.Netstrings(), b"2:ab,0:,1:,,"),
        (framing.Netstrings(limit=2), b"2:ab,3:abc,"),
        (framing.Netstrings(), b"1:a,10:01234"),
        (framing.Netstrings(), b"1:ab"),
    ],
    written=[
        (framing.Netstrings(), b"hello", b"5:hello,"),
        (framing.Netstrings(), b"", b"0:,"),
        (framing.Netstrings(limit=2), b"ab", b"2:ab,"),
        (framing.Netstrings(), b",:1", b"3:,:1,"),
        (framing.Netstrings(), b"x" * 1000, b"1000:" + b"x" * 1000 + b","),
    ],
    refused=[(framing.Netstrings(limit=2), b"abc", *RANGE)],
    too_long=[
        (framing.Netstrings(limit=3), b"4"),
        (framing.Netstrings(limit=99), b"100"),
        (framing.Netstrings(limit=2**53 - 1), b"9007199254740992"),
    ],
    invalid=[
        (framing.Netstrings(), b":", NO_LENGTH),
        (framing.Netstrings(), b",", NO_LENGTH),
        (framing.Netstrings(), b"00", NO_LENGTH),
        (framing.Netstrings(), b"01", NO_LENGTH),
        (framing.Netstrings(), b"-", NO_LENGTH),
        (framing.Netstrings(), b"1 ", NO_LENGTH),
        (framing.Netstrings(), b"1\xb2", NO_LENGTH),
        (framing.Netstrings(), b"0:\n", "The frame does not end with a comma"),
        (framing.Netstrings(), b"2:abc", "The frame does not end with a comma"),
    ],
    incomplete=[
        (framing.Netstrings(), b"1"),
        (framing.Netstrings(), b"0:"),
        (framing.Netstrings(), b"2:a"),
        (framing.Netstrings(), b"2:ab"),
    ],
    promise=(framing.Netstrings(limit=MOST), b"16777216:"),
)

# ---- Frames of a known size ----------------------------------------------------------------------


def fixed(form: Any, data: bytes, ended: bool) -> Cut:
    return None if len(data) < form.size else (0, form.size, form.size)


FIXED = Description(
    forms=[framing.Fixed(7)],
    draw=lambda pick, limit: framing.Fixed(pick(1, 2, 5, 9, 17)),
    wire=lambda form, payload: payload,
    cut=fixed,
    streams=[(framing.Fixed(3), b"abcdefgh"), (framing.Fixed(1), b"abc")],
    written=[(framing.Fixed(2), b"ab", b"ab")],
    refused=[(framing.Fixed(2), b"abc", *RANGE), (framing.Fixed(2), b"", *RANGE)],
    too_long=[],
    invalid=[],
    incomplete=[(framing.Fixed(3), b"ab")],
    promise=(framing.Fixed(MOST), b"x"),
)


def headed(form: Any, data: bytes, ended: bool) -> Cut:
    if len(data) < form.size:
        return None
    total = form.size + form.length(data[: form.size])
    return counted(form, data, 0, total)


HEADER = Description(
    forms=[framing.Header(2, first_byte, limit=99)],
    draw=lambda pick, limit: framing.Header(pick(1, 3), seventh, limit=max(limit, 3)),
    wire=lambda form, payload: payload,
    cut=headed,
    streams=[
        (framing.Header(2, first_byte), b"\2xab\0yz"),
        (framing.Header(1, first_byte, limit=3), b"\2ab\3abc"),
    ],
    written=[(framing.Header(1, first_byte), b"\1a", b"\1a")],
    refused=[],
    too_long=[
        (framing.Header(1, first_byte, limit=3), b"\3"),
        (framing.Header(1, lambda header: 10**30), b"x"),
    ],
    invalid=[],
    incomplete=[(framing.Header(3, first_byte), b"ab"), (framing.Header(1, first_byte), b"\2a")],
    promise=(framing.Header(1, lambda header: MOST - 1, limit=MOST), b"x"),
)

DESCRIBED: dict[type[framing.Framing], Description] = {
    framing.Lines: LINES,
    framing.LengthPrefix: LENGTH_PREFIX,
    framing.VarintPrefix: VARINT_PREFIX,
    framing.Netstrings: NETSTRINGS,
    framing.Fixed: FIXED,
    framing.Header: HEADER,
}
FORMS = [form for each in DESCRIBED.values() for form in each.forms]


def every(rows: str) -> list[Any]:
    """The rows of a table of all framings."""
    return [row for each in DESCRIBED.values() for row in getattr(each, rows)]


def draw(pick: Callable[..., Any], limit: int) -> Any:
    """Any framing; Lines, which have the most options, as often as all others together."""
    kinds = list(DESCRIBED.values())
    return pick(*kinds, *[LINES] * (len(kinds) - 2)).draw(pick, limit)


# ---- The model -----------------------------------------------------------------------------------


@dataclass
class Model:
    """What a flowing stream hands out of the bytes that it is given, all at once.

    said: bytes for a frame, ("oversize", size), or ("error", code).
    """

    framing: Any
    data: bytes = b""
    ended: bool = False
    dead: bool = False
    said: list[Any] = field(default_factory=list)

    def next(self) -> Any:
        """Take the next frame, or what comes in its place, off the data; None: nothing yet."""
        form, data = self.framing, self.data
        if form is None:
            self.data = b""
            return data or None
        if not data:
            return None
        found = DESCRIBED[type(form)].cut(form, data, self.ended)
        if found is None and self.ended:
            found = "ERR_FRAME_INCOMPLETE"
        if found is None:
            return None
        if isinstance(found, str):
            self.dead = True
            return "error", found
        begin, end, total = found
        self.data = data[total:]
        return data[begin:end] if end >= 0 else ("oversize", total)
