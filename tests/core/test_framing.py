"""pyuvnet/_core/framing.pyx: what framings are, and how they cut bytes, without a network."""

from __future__ import annotations

import copy
import itertools
import pickle
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from pyuvnet import Duplex, FrameError, Loop, Readable, current_loop, errors, framing, run
from pyuvnet._core.framing import Cutter
from tests.support.frames import DESCRIBED, FORMS, Model, every, first_byte

Framing = framing.Framing


by_form = pytest.mark.parametrize("form", FORMS, ids=repr)


@pytest.fixture(autouse=True)
def _done(loop: Loop) -> Iterator[None]:
    """Run what a test has begun."""
    yield
    run()


class Source(Readable):
    """Gets what a test pushes, and notes what it hands out."""

    def __init__(self, form: Framing | None = None, listen: bool = True, **options: Any) -> None:
        super().__init__(framing=form, **options)
        self.said: list[Any] = []
        self.on("error", lambda error: self.said.append(("error", getattr(error, "code", error))))
        self.on("end", lambda: self.said.append("end"))
        self.on("oversize", lambda size: self.said.append(("oversize", size)))
        if listen:
            self.on("data", self.said.append)
            run()

    def _read(self, size: int) -> None:
        pass

    def pushed(self, *chunks: bytes) -> list[Any]:
        for chunk in chunks:
            if not self.destroyed:
                self.push(chunk)
        run()
        return self.said

    def ended(self, *chunks: bytes) -> list[Any]:
        self.pushed(*chunks)
        if not self.destroyed:
            self.push(None)
        run()
        return self.said


def all_cuts(data: bytes) -> Iterable[list[bytes]]:
    for size in range(len(data)):
        for cuts in itertools.combinations(range(1, len(data)), size):
            yield [data[a:b] for a, b in itertools.pairwise([0, *cuts, len(data)])]


def modelled(form: Any, data: bytes, ended: bool = True) -> list[Any]:
    model = Model(form, data)
    while not model.dead:
        item = model.next()
        if item is not None:
            model.said.append(item)
        elif model.ended or not ended:
            model.said += ["end"] * model.ended
            break
        else:
            model.ended = True
    return model.said


# ---- What a framing is -------------------------------------------------------------------------


@by_form
def test_a_framing_shows_compares_copies_and_pickles_as_what_made_it(form: Framing) -> None:
    if "first_byte" not in repr(form):
        assert eval(repr(form), vars(framing)) == form
    assert pickle.loads(pickle.dumps(form)) == form
    assert copy.copy(form) is form is copy.deepcopy(form)
    assert hash(pickle.loads(pickle.dumps(form))) == hash(form)
    assert isinstance(form, Framing)
    assert [other for other in FORMS if other == form] == [form]
    assert form != repr(form)


@by_form
def test_a_framing_cannot_be_changed_nor_made_again(form: Framing) -> None:
    before = repr(form)
    for name in [name for name in dir(form) if not name.startswith("_")]:
        with pytest.raises(AttributeError):
            setattr(form, name, 1)
    with pytest.raises(AttributeError):
        form.anything = 1  # type: ignore[attr-defined]
    form.__init__()  # type: ignore[misc]
    assert repr(form) == before


def test_the_defaults_are_those_of_the_documentation() -> None:
    lines, prefix = framing.Lines(), framing.LengthPrefix()
    assert (lines.delimiter, lines.limit, lines.keep_delimiter, lines.strip_cr, lines.oversize) == (
        b"\n", 65536, False, True, "error")  # fmt: skip
    assert (prefix.size, prefix.byteorder, prefix.limit, prefix.includes_itself) == (
        4, "big", 16 * 1024 * 1024, False)  # fmt: skip
    assert framing.VarintPrefix().limit == framing.Header(1, len).limit == 16 * 1024 * 1024
    assert framing.Fixed(3).size == 3
    header = framing.Header(4, len)
    assert (header.size, header.length) == (4, len)
    assert framing.Lines(keepDelimiter=True).keepDelimiter is True  # type: ignore[call-arg, attr-defined]


def test_only_the_framings_can_be_made() -> None:
    with pytest.raises(errors.ArgTypeError) as caught:
        Framing()
    assert caught.value.code == "ERR_ILLEGAL_CONSTRUCTOR"
    for kind in (Framing, framing.Lines, framing.Header, Cutter):
        with pytest.raises(TypeError):
            type("Own", (kind,), {})


WRONG: list[tuple[Callable[[], object], type, str]] = [
    (lambda: framing.Lines("\n"), errors.ArgTypeError, "ERR_INVALID_ARG_TYPE"),  # type: ignore[arg-type]
    (lambda: framing.Lines(5), errors.ArgTypeError, "ERR_INVALID_ARG_TYPE"),  # type: ignore[arg-type]
    (lambda: framing.Lines(b""), errors.ArgValueError, "ERR_INVALID_ARG_VALUE"),
    (lambda: framing.Lines(b"x" * 17), errors.ArgValueError, "ERR_INVALID_ARG_VALUE"),
    (lambda: framing.Lines(limit=0), errors.RangeError, "ERR_OUT_OF_RANGE"),
    (lambda: framing.Lines(limit=1.5), errors.RangeError, "ERR_OUT_OF_RANGE"),  # type: ignore[arg-type]
    (lambda: framing.Lines(limit=2**60), errors.RangeError, "ERR_OUT_OF_RANGE"),
    (lambda: framing.Lines(limit="9"), errors.ArgTypeError, "ERR_INVALID_ARG_TYPE"),  # type: ignore[arg-type]
    (lambda: framing.Lines(strip_cr=1), errors.ArgTypeError, "ERR_INVALID_ARG_TYPE"),  # type: ignore[arg-type]
    (lambda: framing.Lines(keep_delimiter="x"), errors.ArgTypeError, "ERR_INVALID_ARG_TYPE"),  # type: ignore[arg-type]
    (lambda: framing.Lines(oversize="skip"), errors.ArgValueError, "ERR_INVALID_ARG_VALUE"),  # type: ignore[arg-type]
    (lambda: framing.Lines(max=3), errors.ArgTypeError, "ERR_UNKNOWN_OPTION"),  # type: ignore[call-arg]
    (lambda: framing.LengthPrefix(5), errors.RangeError, "ERR_OUT_OF_RANGE"),  # type: ignore[arg-type]
    (lambda: framing.LengthPrefix("4"), errors.ArgTypeError, "ERR_INVALID_ARG_TYPE"),  # type: ignore[arg-type]
    (lambda: framing.LengthPrefix(byteorder="be"), errors.ArgValueError, "ERR_INVALID_ARG_VALUE"),  # type: ignore[arg-type]
    (lambda: framing.LengthPrefix(limit=-1), errors.RangeError, "ERR_OUT_OF_RANGE"),
    (lambda: framing.VarintPrefix(limit=0), errors.RangeError, "ERR_OUT_OF_RANGE"),
    (lambda: framing.Fixed(0), errors.RangeError, "ERR_OUT_OF_RANGE"),
    (lambda: framing.Fixed(None), errors.ArgTypeError, "ERR_INVALID_ARG_TYPE"),  # type: ignore[arg-type]
    (lambda: framing.Header(0, len), errors.RangeError, "ERR_OUT_OF_RANGE"),
    (lambda: framing.Header(5, len, limit=4), errors.RangeError, "ERR_OUT_OF_RANGE"),
    (lambda: framing.Header(4, 4), errors.ArgTypeError, "ERR_INVALID_ARG_TYPE"),  # type: ignore[arg-type]
    (lambda: Readable(framing=b"\n"), errors.ArgTypeError, "ERR_INVALID_ARG_TYPE"),  # type: ignore[arg-type]
    (lambda: Duplex(framing=framing.Lines), errors.ArgTypeError, "ERR_INVALID_ARG_TYPE"),  # type: ignore[arg-type]
    (lambda: Source().set_framing("lines"), errors.ArgTypeError, "ERR_INVALID_ARG_TYPE"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("call", "kind", "code"), WRONG)
def test_a_wrong_argument_has_nodes_code(call: Callable[[], object], kind: type, code: str) -> None:
    with pytest.raises(kind) as caught:
        call()
    assert caught.value.code == code  # type: ignore[attr-defined]


def test_any_buffer_is_a_delimiter_and_is_copied() -> None:
    mark = bytearray(b"ab")
    form = framing.Lines(mark)
    mark[0] = 0
    assert form.delimiter == b"ab"


# ---- The result does not depend on the cuts ----------------------------------------------------


@pytest.mark.spec("D90")
@pytest.mark.parametrize(("form", "data"), every("streams"), ids=repr)
def test_the_frames_are_the_same_for_every_cut(form: Framing, data: bytes) -> None:
    expected = modelled(form, data)
    for chunks in all_cuts(data):
        assert Source(form).ended(*chunks) == expected, chunks


@pytest.mark.parametrize(("form", "data"), every("streams"), ids=repr)
def test_read_gives_what_data_gives(form: Framing, data: bytes) -> None:
    for chunks in ([data], [data[n : n + 1] for n in range(len(data))]):
        flowing = Source(form).ended(*chunks)
        source = Source(form, listen=False)

        def read(source: Source = source) -> None:
            while (frame := source.read()) is not None:
                source.said.append(frame)

        source.on("readable", read)
        assert source.ended(*chunks) == flowing


def test_the_examples_by_hand() -> None:
    assert Source(framing.Lines()).ended(b"one\r\ntwo\n\nthree") == [
        b"one", b"two", b"", b"three", "end"]  # fmt: skip
    assert Source(framing.Lines(b"\0", keep_delimiter=True)).ended(b"a\0b\0") == [
        b"a\0", b"b\0", "end"]  # fmt: skip
    assert Source(framing.LengthPrefix(2)).ended(b"\0\3abc\0\0") == [b"abc", b"", "end"]
    assert Source(framing.VarintPrefix()).ended(b"\xac\2" + b"x" * 300) == [b"x" * 300, "end"]
    assert Source(framing.Fixed(2)).ended(b"abcd") == [b"ab", b"cd", "end"]
    assert Source(framing.Header(1, first_byte)).ended(b"\1a\0") == [b"\1a", b"\0", "end"]


# ---- Switching -----------------------------------------------------------------------------------


def head_and_body(source: Source, chunks: list[bytes]) -> list[Any]:
    """Lines up to an empty one, then a raw body of four bytes, then lines again."""
    body = b""

    def got(chunk: bytes) -> None:
        nonlocal body
        if source.framing is not None:
            source.said.append(chunk)
            if not chunk:
                source.set_framing(None)
            return
        body += chunk
        if len(body) >= 4:
            source.said.append(("body", body[:4]))
            source.set_framing(framing.Lines())
            source.unshift(body[4:])
            body = b""

    source.on("data", got)
    return source.pushed(*chunks)


def test_a_switch_in_a_listener_takes_effect_behind_the_frame_just_given() -> None:
    data = b"a\n\n\nbc\nd\n"
    for chunks in all_cuts(data):
        source = Source(framing.Lines(), listen=False)
        assert head_and_body(source, chunks) == [b"a", b"", ("body", b"\nbc\n"), b"d"], chunks


def test_every_framing_can_follow_every_other_in_one_chunk() -> None:
    forms = [framing.Lines(), framing.LengthPrefix(1), framing.VarintPrefix(), framing.Fixed(2),
             framing.Header(1, first_byte), framing.Lines(b"--")]  # fmt: skip
    data = b"a\n\1b\1cde\1f" + b"g--h\n"
    for chunks in all_cuts(data[:-2]):
        source = Source(forms[0], listen=False)
        following = iter([*forms[1:], framing.Lines()])

        def got(frame: bytes, source: Source = source, following: Any = following) -> None:
            source.said.append(frame)
            source.set_framing(next(following))

        source.on("data", got)
        assert source.pushed(*chunks) == [b"a", b"b", b"c", b"de", b"\1f", b"g"], chunks


@pytest.mark.parametrize("paused", [True, False])
def test_what_is_buffered_is_cut_anew(paused: bool) -> None:
    source = Source(framing.LengthPrefix(4), listen=False)
    source.push(b"ab\ncd\nef")
    if paused:
        source.pause()
    assert source.set_framing(framing.Lines()) is source
    assert source.read() == b"ab"
    source.set_framing(None)
    assert source.read() == b"cd\nef"
    source.push(b"g\nh\n")
    source.set_framing(framing.Fixed(1)).set_framing(framing.Lines())
    source.on("data", source.said.append)
    source.resume()
    run()
    assert source.said[-2:] == [b"g", b"h"]


def test_a_switch_while_data_flow_hands_out_what_is_a_frame_now() -> None:
    source = Source(framing.Lines())
    assert source.pushed(b"a\nbcd") == [b"a"]
    source.set_framing(framing.Fixed(2))
    run()
    assert source.said == [b"a", b"bc"]
    source.set_framing(None)
    run()
    assert source.said == [b"a", b"bc", b"d"]
    source.set_framing(None)
    assert source.pushed(b"x") == [b"a", b"bc", b"d", b"x"]


def test_the_frames_of_a_framing_that_was_left_do_no_harm() -> None:
    source = Source(framing.Lines(limit=3))

    def got(frame: bytes) -> None:
        source.set_framing(framing.LengthPrefix(1))

    source.once("data", got)
    assert source.pushed(b"go\n\7long...") == [b"go", b"long..."]


def test_a_limit_that_a_paused_stream_has_not_met_can_still_be_changed() -> None:
    source = Source(framing.Lines(limit=2), listen=False)
    source.pause()
    source.push(b"long\nx\n")
    source.set_framing(framing.Lines(limit=9))
    source.on("data", source.said.append).resume()
    run()
    assert source.said == [b"long", b"x"]


# ---- Encodings ---------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [True, False])
def test_each_frame_is_decoded_on_its_own(first: bool) -> None:
    data = "ä€\n".encode() + b"\xe2\x82\n\xac\n"
    for chunks in all_cuts(data):
        source = Source()
        if first:
            source.set_encoding("utf8")
        source.set_framing(framing.Lines())
        if not first:
            source.set_encoding("utf8")
        assert source.ended(*chunks) == ["ä€", "�", "�", "end"], chunks


def test_every_encoding_decodes_frames() -> None:
    for name, expected in [
        ("utf8", ["a", "é"]), ("latin1", ["a", "Ã©"]), ("hex", ["61", "c3a9"]),
        ("base64", ["YQ==", "w6k="]), ("ascii", ["a", "C)"]), ("base64url", ["YQ", "w6k"]),
    ]:  # fmt: skip
        source = Source(framing.Lines(), encoding=name)
        assert source.ended("a\né\n".encode()) == [*expected, "end"]
        assert source.readable_encoding == name


def test_half_a_character_of_utf16_gives_a_replacement_and_goes_no_further() -> None:
    source = Source(framing.LengthPrefix(1), encoding="utf16le")
    whole = "a😀".encode("utf-16-le")
    chunk = b"\3a\0b" + b"\2=\xd8" + b"\2a\0" + bytes([len(whole)]) + whole
    assert source.ended(chunk) == ["a�", "�", "a", "a😀", "end"]


def test_text_that_was_decoded_before_becomes_bytes_again() -> None:
    source = Source(listen=False, encoding="utf8")
    source.push("ä\n€".encode() + b"\xe2\x82")
    assert source.readable_length == 3
    source.set_framing(framing.Lines())
    assert source.readable_length == len("ä\n€".encode()) + 2
    source.push(b"\xac\nx")
    assert [source.read(), source.read(), source.read()] == ["ä", "€€", None]
    source.set_framing(None)
    assert source.read() == "x"
    source.push("ä".encode()[:1])
    source.push("ä".encode()[1:])
    assert source.read() == "ä"


def test_set_encoding_between_frames_holds_for_the_next() -> None:
    source = Source(framing.Lines(), listen=False)

    def got(frame: Any) -> None:
        source.said.append(frame)
        source.set_encoding("hex")

    source.on("data", got)
    assert source.pushed(b"a\nb\n") == [b"a", "62"]


# ---- Obeyed before the next frame --------------------------------------------------------------


def test_pause_in_a_listener_holds_the_next_frame_of_the_same_chunk() -> None:
    source = Source(framing.Lines(), listen=False)
    source.on("data", lambda frame: (source.said.append(frame), source.pause()))
    assert source.pushed(b"a\nb\nc\n") == [b"a"]
    assert source.readable_length == 4
    source.resume()
    run()
    assert source.said == [b"a", b"b"]
    source.resume()
    run()
    assert source.said == [b"a", b"b", b"c"]


def test_destroy_in_a_listener_is_the_end_of_frames() -> None:
    source = Source(framing.Lines(), listen=False)
    source.on("data", lambda frame: (source.said.append(frame), source.destroy()))
    assert source.pushed(b"a\nb\nc\n") == [b"a"]


def test_a_listener_that_removes_itself_gets_no_more_and_nothing_is_lost() -> None:
    source = Source(framing.Lines(), listen=False)

    def first(frame: bytes) -> None:
        source.said.append(("first", frame))
        source.remove_listener("data", first)
        current_loop().next_tick(source.on, "data", source.said.append)

    source.on("data", first)
    assert source.pushed(b"a\nb\nc\n") == [("first", b"a"), b"b", b"c"]


def test_a_listener_is_added_and_replaced_between_frames() -> None:
    source = Source(framing.Lines(), listen=False)

    def first(frame: bytes) -> None:
        source.off("data", first)
        source.on("data", source.said.append)

    source.on("data", first)
    assert source.pushed(b"a\nb\n") == [b"b"]
    source.prepend_listener("data", lambda frame: source.said.append("before"))
    assert source.pushed(b"c\n") == [b"b", "before", b"c"]


def test_a_listener_that_raises_costs_no_frame() -> None:
    source = Source(framing.Lines(), listen=False)

    def got(frame: bytes) -> None:
        source.said.append(frame)
        raise ValueError(frame)

    source.on("data", got)
    run()
    current_loop().next_tick(source.push, b"a\nb\n")
    for frame in (b"a", b"b"):
        with pytest.raises(ValueError, match=repr(frame)):
            run()
    run()
    assert source.said == [b"a", b"b"]


def test_with_frames_left_data_flow_to_nobody_as_of_any_stream() -> None:
    source = Source(framing.Lines(), listen=False)
    source.resume()
    assert source.ended(b"a\nb\n") == ["end"]


def test_the_buffer_is_as_it_seems_within_a_listener() -> None:
    source = Source(framing.Lines(), listen=False)
    lengths: list[Any] = []

    def got(frame: bytes) -> None:
        source.said.append(frame)
        lengths.append(source.readable_length)
        if frame == b"a":
            source.unshift(b"u\nv")
            source.push(b"p\n")
        elif frame == b"vb":
            # Emitted too, while this listener runs.
            assert source.read() == b"c"

    source.on("data", got)
    assert source.pushed(b"a\nb\nc\n") == [b"a", b"u", b"vb", b"c", b"p"]
    assert lengths == [4, 7, 4, 2, 0]


def test_end_within_a_listener_comes_behind_all_frames() -> None:
    source = Source(framing.Lines(), listen=False)

    def got(frame: bytes) -> None:
        source.said.append(frame)
        if frame == b"a":
            source.push(None)

    source.on("data", got)
    assert source.pushed(b"a\nb\nc") == [b"a", b"b", b"c", "end"]


# ---- read() and unshift() ------------------------------------------------------------------------


def test_read_gives_one_whole_frame() -> None:
    source = Source(framing.Lines(), listen=False)
    assert source.read() is None
    source.push(b"a\n\nb")
    assert [source.read(), source.read(), source.read()] == [b"a", b"", None]
    source.push(b"c\n")
    assert [source.read(), source.read()] == [b"bc", None]


@pytest.mark.parametrize("size", [1, 5, 2.5, "x", True])
def test_read_takes_no_size(size: Any) -> None:
    source = Source(framing.Lines(), listen=False)
    source.push(b"ab\n")
    with pytest.raises(errors.StateError) as caught:
        source.read(size)
    assert caught.value.code == "ERR_METHOD_NOT_APPLICABLE"
    assert source.read(0) is None
    assert source.read() == b"ab"


def test_unshift_puts_raw_bytes_in_front_to_be_cut() -> None:
    source = Source(framing.Lines(), listen=False)
    source.push(b"c\nd")
    assert source.unshift(b"a\nb")
    source.unshift("ä")
    assert [source.read(), source.read(), source.read()] == ["ä".encode() + b"a", b"bc", None]
    source.unshift(b"x\n")
    assert [source.read(), source.read()] == [b"x", None]
    source.on("data", source.said.append)
    run()
    source.unshift(b"y\nz")
    assert source.said == [b"y"]
    assert source.ended() == [b"y", b"zd", "end"]


@pytest.mark.parametrize("sent", ["at once", "before it flows", "by unshift"])
def test_a_body_between_lines_needs_no_stack(sent: str) -> None:
    """Each listener's call takes a line or a body, and gives back what is behind it."""
    depth = deepest = 0
    got = []
    count = 3000
    source = Source(framing.Lines(), listen=False)

    def on_data(chunk: bytes) -> None:
        nonlocal depth, deepest
        depth += 1
        deepest = max(deepest, depth)
        if source.framing is not None:
            got.append(chunk)
            source.set_framing(None)
        else:
            got.append(chunk[:1])
            source.set_framing(framing.Lines())
            source.unshift(chunk[1:])
        depth -= 1

    if sent == "before it flows":
        source.push(b"\nX" * count)
    source.on("data", on_data)
    run()
    if sent == "at once":
        source.push(b"\nX" * count)
    elif sent == "by unshift":
        source.unshift(b"\nX" * count)
    run()
    assert got == [b"", b"X"] * count
    assert deepest <= 2


def test_what_a_listener_unshifts_is_there_though_it_raises() -> None:
    source = Source(framing.Lines(), listen=False)
    got: list[bytes] = []

    def on_data(chunk: bytes) -> None:
        got.append(chunk)
        if source.framing is None:
            source.set_framing(framing.Lines())
            source.unshift(chunk[1:])
            raise Odd
        if chunk == b"a":
            source.set_framing(None)

    source.on("data", on_data)
    run()
    with pytest.raises(Odd):
        source.push(b"a\nXb\nc\n")
    run()
    assert got == [b"a", b"Xb\nc\n", b"b", b"c"]


def test_readable_comes_when_there_is_a_frame() -> None:
    source = Source(framing.Lines(), listen=False)
    source.on("readable", lambda: source.said.append(source.read()))
    run()
    assert source.pushed(b"a", b"b") == []
    assert source.pushed(b"\n") == [b"ab"]
    assert source.pushed(b"c\n") == [b"ab", b"c"]
    assert source.ended(b"d") == [b"ab", b"c", b"d", "end"]


# ---- Back pressure -------------------------------------------------------------------------------


def test_bytes_that_are_not_handed_out_count() -> None:
    source = Source(framing.Lines(), listen=False, high_water_mark=10)
    assert source.push(b"abc\nde")
    assert source.readable_length == 6
    assert not source.push(b"fg\nh\n")
    assert source.readable_length == 11
    source.read()
    assert source.readable_length == 7


def test_a_frame_over_the_mark_is_read_on() -> None:
    source = Source(framing.LengthPrefix(1), high_water_mark=4)
    assert source.push(b"\x20" + b"a" * 10)
    assert source.push(b"a" * 21)
    assert source.push(b"a")
    assert source.said == [b"a" * 32]
    source.pause()
    assert not source.push(b"\x20" + b"a" * 10)


class Counted(Readable):
    """Has so many bytes to give, one chunk for each `_read`."""

    def __init__(self, data: bytes, step: int, **options: Any) -> None:
        super().__init__(**options)
        self.data, self.step, self.asked = data, step, 0

    def _read(self, size: int) -> None:
        self.asked += 1
        chunk, self.data = self.data[: self.step], self.data[self.step :]
        self.push(chunk or None)


@pytest.mark.parametrize("way", ["data", "readable", "polled"])
@pytest.mark.parametrize("mark", [0, 1, 3, 100])
def test_a_source_is_asked_until_the_frame_is_whole(way: str, mark: int) -> None:
    frames = [b"a" * 20, b"", b"b", b"c" * 9]
    data = b"".join(bytes([len(frame)]) + frame for frame in frames)
    source = Counted(data, 2, framing=framing.LengthPrefix(1), high_water_mark=mark)
    got: list[Any] = []
    source.on("end", lambda: got.append("end"))

    def read() -> None:
        while (frame := source.read()) is not None:
            got.append(frame)

    if way == "data":
        source.on("data", got.append)
    elif way == "readable":
        source.on("readable", read)
    else:
        source.pause()
        for _ in range(200):
            read()
            current_loop().turn()
    run()
    assert got == [*frames, "end"]


def test_a_paused_stream_reads_up_to_the_mark() -> None:
    source = Counted(b"x" * 1000, 10, framing=framing.Lines(), high_water_mark=35)
    source.pause()
    source.read(0)
    run()
    assert source.readable_length == 40


# ---- Limits --------------------------------------------------------------------------------------


def failed(source: Source) -> list[Any]:
    run()
    assert source.destroyed
    assert isinstance(source.errored, FrameError)
    assert isinstance(source.errored, errors.StateError)
    return source.said


TOO_LONG = ("error", "ERR_FRAME_TOO_LONG")


def test_a_frame_of_the_limit_passes() -> None:
    source = Source(framing.Lines(limit=3))
    assert source.pushed(b"abc\r\nabc\nabc\r") == [b"abc", b"abc"]
    assert source.pushed(b"\n") == [b"abc", b"abc", b"abc"]
    source.destroy()
    assert Source(framing.LengthPrefix(1, limit=3)).ended(b"\3abc") == [b"abc", "end"]
    assert Source(framing.VarintPrefix(limit=3)).ended(b"\3abc") == [b"abc", "end"]
    assert Source(framing.Header(1, first_byte, limit=3)).ended(b"\2ab") == [b"\2ab", "end"]


@pytest.mark.parametrize(("form", "data"), every("too_long"), ids=repr)
def test_a_frame_over_the_limit_is_known_at_the_first_byte_that_says_so(
    form: Framing, data: bytes
) -> None:
    source = Source(form)
    assert source.pushed(*[data[n : n + 1] for n in range(len(data) - 1)]) == []
    source.pushed(data[-1:])
    assert failed(source) == [TOO_LONG]
    assert "limit of" in str(source.errored)
    source = Source(form)
    source.pushed(data)
    assert failed(source) == [TOO_LONG]


def test_frames_before_one_that_is_too_long_are_handed_out() -> None:
    source = Source(framing.Lines(limit=3))
    source.pushed(b"a\nb\nlong\nc\n")
    assert failed(source) == [b"a", b"b", TOO_LONG]
    source = Source(framing.Lines(limit=3), listen=False)
    source.on("readable", lambda: source.said.append(source.read()))
    source.pushed(b"a\nb\nlong\n")
    source.read()
    source.read()
    assert failed(source)[-1] == TOO_LONG


@pytest.mark.parametrize(("form", "data", "text"), every("invalid"), ids=repr)
def test_what_can_be_no_frame_is_known_at_the_first_byte_that_says_so(
    form: Framing, data: bytes, text: str
) -> None:
    good = DESCRIBED[type(form)].wire(form, b"abc")
    for chunks in all_cuts(data):
        source = Source(form)
        assert source.pushed(good, *chunks[:-1], chunks[-1][:-1]) == [b"abc"], chunks
        source.pushed(chunks[-1][-1:])
        assert failed(source) == [b"abc", ("error", "ERR_FRAME_INVALID")]
        assert str(source.errored) == text
        assert Source(form).ended(good + data + b"abc") == source.said


def test_a_long_line_is_skipped_and_announced() -> None:
    form = framing.Lines(limit=3, oversize="discard")
    assert Source(form).ended(b"a\nlong\r\nb\n") == [b"a", ("oversize", 6), b"b", "end"]
    assert Source(form).ended(b"long") == [("oversize", 4), "end"]
    assert Source(form).ended(b"abc\r") == [("oversize", 4), "end"]
    source = Source(form)
    for _ in range(1000):
        assert source.push(b"x" * 1000)
        assert source.readable_length <= 1
    assert source.ended(b"\nok") == [("oversize", 1_000_001), b"ok", "end"]


def test_a_skipped_line_keeps_its_place_in_a_paused_stream() -> None:
    source = Source(framing.Lines(limit=2, oversize="discard"), listen=False)
    source.on("data", lambda frame: (source.said.append(frame), source.pause()))
    assert source.pushed(b"a\nlong\nb\n") == [b"a"]
    source.resume()
    run()
    assert source.said == [b"a", ("oversize", 5), b"b"]


def test_what_an_oversize_listener_does_is_obeyed() -> None:
    source = Source(framing.Lines(limit=2, oversize="discard"))
    source.once("oversize", lambda size: source.set_framing(framing.Fixed(1)))
    assert source.pushed(b"long\nab") == [("oversize", 5), b"a", b"b"]
    source.set_framing(framing.Lines(limit=1, oversize="discard"))
    source.on("oversize", lambda size: source.destroy())
    assert source.pushed(b"long\nc\n")[3:] == [("oversize", 5)]


# ---- The end -------------------------------------------------------------------------------------

INCOMPLETE = ("error", "ERR_FRAME_INCOMPLETE")


def test_the_end_makes_the_rest_a_line() -> None:
    assert Source(framing.Lines()).ended(b"a\nb") == [b"a", b"b", "end"]
    assert Source(framing.Lines(keep_delimiter=True)).ended(b"a\r") == [b"a\r", "end"]
    assert Source(framing.Lines()).ended(b"a\n") == [b"a", "end"]
    assert Source(framing.Lines()).ended() == ["end"]
    # A carriage return ends no line by itself.
    assert Source(framing.Lines(limit=1)).ended(b"a\r") == [TOO_LONG]


@pytest.mark.parametrize(("form", "data"), every("incomplete"), ids=repr)
def test_the_end_within_a_frame_is_an_error_and_no_end(form: Framing, data: bytes) -> None:
    source = Source(form)
    source.ended(data)
    assert failed(source) == [INCOMPLETE]
    source = Source(form, auto_destroy=False)
    source.ended(data)
    assert failed(source) == [INCOMPLETE]
    # Who has paused hears of it when it is their turn.
    source = Source(form, listen=False)
    source.pause()
    source.ended(data)
    assert source.said == []
    assert not source.destroyed
    source.resume()
    assert failed(source) == [INCOMPLETE]


# ---- Header.length is the program's ------------------------------------------------------------


class Odd(BaseException):
    pass


@pytest.mark.parametrize(
    ("length", "code"),
    [
        (lambda header: None, "ERR_INVALID_RETURN_VALUE"),
        (lambda header: 1.0, "ERR_INVALID_RETURN_VALUE"),
        (lambda header: True, "ERR_INVALID_RETURN_VALUE"),
        (lambda header: -1, "ERR_OUT_OF_RANGE"),
        (lambda header: -(10**30), "ERR_OUT_OF_RANGE"),
    ],
)
def test_a_length_that_is_no_int_from_zero_destroys(length: Any, code: str) -> None:
    source = Source(framing.Header(2, length))
    assert source.pushed(b"abcd") == [("error", code)]
    assert source.destroyed


def test_what_length_raises_destroys_the_stream() -> None:
    problem = ValueError("no length")

    def length(header: bytes) -> int:
        raise problem

    source = Source(framing.Header(2, length))
    assert source.pushed(b"a", b"b") == [("error", problem)]
    assert source.errored is problem


def test_length_gets_the_header_once() -> None:
    headers: list[bytes] = []

    def length(header: bytes) -> int:
        headers.append(header)
        return 2

    source = Source(framing.Header(2, length))
    chunks = [bytes([byte]) for byte in b"h1abh2cd"]
    assert source.pushed(*chunks) == [b"h1ab", b"h2cd"]
    assert headers == [b"h1", b"h2"]


ACTS: dict[str, Callable[[Source], object]] = {
    "pause": lambda source: source.pause(),
    "destroy": lambda source: source.destroy(),
    "raw": lambda source: source.set_framing(None),
    "lines": lambda source: source.set_framing(framing.Lines()),
    "push": lambda source: source.push(b"\n"),
    "read": lambda source: source.read(),
    "unlisten": lambda source: source.remove_all_listeners("data"),
    "encoding": lambda source: source.set_encoding("latin1"),
    "end": lambda source: source.push(None),
}


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("cut", [1, 3, 8])
def test_length_may_do_anything(act: str, cut: int) -> None:
    source: Source
    acted: list[bytes] = []

    def length(header: bytes) -> int:
        if not acted:
            acted.append(header)
            ACTS[act](source)
        return 1

    source = Source(framing.Header(1, length))
    data = b"1a2b\n3c\n"
    source.pushed(*[data[n : n + cut] for n in range(0, len(data), cut)])
    expected = {
        "pause": [],
        "destroy": [],
        "raw": [data],
        "lines": [b"1a2b", b"3c"],
        "read": [b"1a", b"2b", b"\n3", b"c\n"],
        "unlisten": [],
        "encoding": ["1a", "2b", "\n3", "c\n"],
    }
    if act == "raw":
        assert b"".join(source.said) == data
    elif act == "push":
        assert sorted(b"".join(source.said) + source.set_framing(None).read()) == sorted(
            data + b"\n"
        )
    elif act != "end":
        assert source.said == expected[act]


@pytest.mark.parametrize("act", ["destroy", "raw", "push", "pause", None])
def test_what_is_no_error_comes_out_once_and_destroys_the_stream(act: str | None) -> None:
    asked: list[bytes] = []

    def length(header: bytes) -> int:
        asked.append(header)
        if len(asked) == 1:
            return 1
        if act is not None:
            ACTS[act](source)
        raise Odd

    source = Source(framing.Header(1, length))
    source.on("close", lambda: source.said.append("close"))
    with pytest.raises(Odd):
        source.push(b"1a2b3c")
    run()
    assert source.destroyed
    assert source.errored is None
    assert asked == [b"1", b"2"]
    # No 'error', where it would end unseen.
    assert source.said == [b"1a", "close"]
