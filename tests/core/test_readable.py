"""The readable half: modes, marks, read(n), unshift, encodings, 'readable' and 'end'.

The source is a fake: the test pushes, or `_read` does. tests/differential/test_streams.py compares
most of it with Node's streams; here is what a script there cannot say, and where Node differs.
"""

from __future__ import annotations

import pytest

from pyuvnet import Readable, StateError, run, set_exception_handler
from tests.support.errors import BoomError


class Source(Readable):
    """Pushes what it was given, a chunk for each _read; then its end, unless it stays open."""

    def __init__(self, *chunks, stays_open=False, **options):
        super().__init__(**options)
        self.chunks = list(chunks)
        self.asked = []
        self.stays_open = stays_open

    def _read(self, size):
        self.asked.append(size)
        if self.chunks:
            self.push(self.chunks.pop(0))
        elif not self.stays_open:
            self.push(None)


# ---- Flowing -------------------------------------------------------------------------------------


def test_a_failing_data_listener_costs_only_its_chunk(trace):
    source = Source(b"a", b"b", b"c")
    source.on("data", lambda chunk: (trace(chunk), 1 / (chunk != b"b")))
    source.on("end", trace.note("end"))
    set_exception_handler(lambda error: trace(type(error)))
    run()
    assert trace == [b"a", b"b", ZeroDivisionError, b"c", "end"]


# ---- The mark ------------------------------------------------------------------------------------


@pytest.mark.spec("S2-06")
def test_a_read_above_one_gigabyte_is_out_of_range():
    source = Source()
    with pytest.raises(ValueError, match="out of range") as caught:
        source.read(2**30 + 1)
    assert caught.value.code == "ERR_OUT_OF_RANGE"
    source.destroy()
    run()


# ---- read() --------------------------------------------------------------------------------------


def filled(*chunks, **options):
    source = Source(stays_open=True, **options)
    for chunk in chunks:
        source.push(chunk)
    return source


def finish(stream):
    stream.destroy()
    run()


@pytest.mark.spec("S3.2-07")
def test_read_takes_everything():
    source = filled(b"ab", b"c", b"def")
    assert source.read() == b"abcdef"
    assert source.read() is None
    assert source.readable_length == 0
    finish(source)


@pytest.mark.spec("S3.2-09", "S3.2-10")
def test_read_of_more_than_there_is_gives_nothing_until_the_end():
    source = filled(b"abc")
    assert source.read(5) is None
    assert source.readable_length == 3
    source.push(None)
    assert source.read(5) == b"abc"
    finish(source)


@pytest.mark.spec("R6-01", "D14")
@pytest.mark.parametrize("size", [True, "3", b"3"])
def test_read_size_must_be_a_number(size):
    source = filled(b"abc")
    with pytest.raises(TypeError) as caught:
        source.read(size)
    assert caught.value.code == "ERR_INVALID_ARG_TYPE"
    finish(source)


def test_a_single_chunk_is_handed_on_not_copied():
    chunk = bytes(range(200))
    source = filled(chunk)
    assert source.read() is chunk
    finish(source)


def test_any_buffer_or_text_may_be_pushed_but_nothing_else():
    source = filled(bytearray(b"a"), memoryview(b"b"), "c€")
    assert source.push("6465", "hex") is True
    assert source.read() == "abc€de".encode()
    with pytest.raises(TypeError) as caught:
        source.push(3)
    assert caught.value.code == "ERR_INVALID_ARG_TYPE"
    finish(source)


# ---- 'readable' ----------------------------------------------------------------------------------


@pytest.mark.spec("S3.3-01", "S3.3-03", "S3.3-04")
def test_readable_comes_in_a_tick_and_at_the_end(trace):
    source = Source(b"a", b"b")

    @source.on("readable")
    def readable():
        trace("readable")
        while (chunk := source.read()) is not None:
            trace(chunk)

    source.on("end", trace.note("end"))
    run()
    assert trace == ["readable", b"ab", "readable", "readable", "end"]


def test_without_data_listener_removing_it_leaves_the_mode_open():
    source = Source(stays_open=True)
    source.once("readable", lambda: None)
    assert source.readable_flowing is False
    source.remove_all_listeners("readable")
    run()
    assert source.readable_flowing is None
    finish(source)


# ---- unshift -------------------------------------------------------------------------------------


@pytest.mark.spec("S3.2-21", "S3.2-22")
def test_unshift_puts_back_in_front():
    source = filled(b"cd")
    assert source.unshift(b"ab") is True
    assert source.unshift("0", "utf8") is True
    assert source.unshift(b"") is True
    assert source.read() == b"0abcd"
    finish(source)


@pytest.mark.parametrize("method", [Readable.push, Readable.unshift])
def test_none_ends_the_stream(trace, method):
    source = Source(stays_open=True)
    source.push(b"a")
    assert method(source, None) is False
    source.on("data", trace).on("end", trace.note("end")).on("close", trace.note("close"))
    run()
    assert trace == [b"a", "end", "close"]


@pytest.mark.spec("D273")
def test_read_takes_all_there_is():
    source = Source(stays_open=True)
    for chunk in (b"abc", b"def", b"g"):
        source.push(chunk)
    assert source.read(2) == b"ab"
    assert source.read() == b"cdefg"
    finish(source)


# ---- Encodings -----------------------------------------------------------------------------------


@pytest.mark.spec("D42")
@pytest.mark.parametrize(
    ("encoding", "text"),
    [("base64", "YWLigg=="), ("base64url", "YWLigg"), ("utf8", "ab\ufffd"), ("hex", "6162e282")],
)
def test_bytes_that_are_put_back_are_decoded_on_their_own(encoding, text):
    source = filled(b"ccc")
    source.set_encoding(encoding)
    behind = source.read()
    source.unshift(behind, encoding)
    source.unshift(b"ab\xe2\x82")
    assert source.read() == text + behind
    finish(source)


# ---- The end -------------------------------------------------------------------------------------


def test_a_failing_end_listener_does_not_stop_the_destruction(trace):
    source = Source().resume()

    @source.on("end")
    def bad():
        raise BoomError

    source.on("close", trace.note("close"))
    with pytest.raises(BoomError):
        run()
    run()
    assert trace == ["close"]


# ---- Destruction ---------------------------------------------------------------------------------


@pytest.mark.spec("S5-06", "S5-07", "S2-10", "S3.3-08")
def test_nothing_comes_after_destroy(trace):
    source = filled(b"a", b"b")
    source.push(None)
    source.on("data", lambda chunk: (trace(chunk), source.destroy()))
    source.on("end", trace.note("end")).on("close", trace.note("close"))
    run()
    assert trace == [b"a", "close"]
    assert source.read() is None
    assert source.readable_aborted


def test_an_unhandled_error_comes_out_of_run_and_close_still_follows(trace):
    source = Source().on("close", trace.note("close"))
    source.destroy(BoomError())
    with pytest.raises(BoomError):
        run()
    assert trace == ["close"]


# ---- Reentrancy and misuse -----------------------------------------------------------------------


def test_subclass_that_forgets_super_init_is_told_so():
    class Careless(Readable):
        def __init__(self):
            pass

    stream = Careless()
    for use in (
        stream.resume,
        stream.read,
        stream.pause,
        stream.destroy,
        lambda: stream.push(b"x"),
        lambda: stream.on("readable", print),
    ):
        with pytest.raises(StateError) as caught:
            use()
        assert caught.value.code == "ERR_NOT_CONSTRUCTED"
