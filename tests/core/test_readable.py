"""The readable half: modes, marks, read(n), unshift, encodings, 'readable' and 'end'.

The source is a fake: the test pushes, or `_read` does. What is expected was compared with Node's
stream module doing the same.
"""

from __future__ import annotations

import pytest

from pyuvnet import (
    Duplex,
    Readable,
    StateError,
    next_tick,
    run,
    set_exception_handler,
    set_immediate,
)
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


def watched(stream, trace):
    for event in ("end", "close", "pause", "resume", "error"):
        stream.on(event, trace.note(event))
    return stream


# ---- Flowing -------------------------------------------------------------------------------------


@pytest.mark.spec("S1-04", "S3.2-05", "N043")
def test_data_end_close_in_order(trace):
    source = watched(Source(b"a", b"bc"), trace)
    source.on("data", trace.note("data"))
    assert trace == []
    run()
    assert trace == ["resume", ("data", b"a"), ("data", b"bc"), "end", "close"]


@pytest.mark.spec("S3.1-04", "S3.1-07", "S2-02")
def test_flowing_begins_in_the_next_tick(trace):
    source = Source(b"a")
    source.on("data", trace.note("data"))
    assert source.readable_flowing is True
    next_tick(trace, "tick")
    trace("sync")
    run()
    assert trace == ["sync", ("data", b"a"), "tick"]


@pytest.mark.spec("S3.1-01", "S2-02")
def test_initially_nobody_has_asked_and_nothing_is_read():
    source = Source(b"a")
    assert source.readable_flowing is None
    assert not source.is_paused()
    assert source.readable
    run()
    assert source.asked == []
    source.destroy()
    run()


@pytest.mark.spec("S3.1-05", "S2-09")
def test_resume_without_listener_drops_the_data(trace):
    source = watched(Source(b"a", b"b"), trace)
    assert source.resume() is source
    run()
    assert trace == ["resume", "end", "close"]
    assert source.readable_did_read


@pytest.mark.spec("S3.2-01", "S3.2-03", "S3.2-06")
def test_pause_in_a_data_listener_keeps_the_rest(trace):
    source = watched(Source(b"a", b"b", b"c"), trace)
    source.on("data", lambda chunk: (trace(chunk), source.pause()))
    run()
    assert trace == ["resume", b"a", "pause"]
    assert source.is_paused()
    assert source.readable_flowing is False
    # What is read ahead stays in the buffer, up to the mark.
    assert source.readable_length == 2
    source.resume()
    run()
    assert trace[3:] == ["resume", b"b", "pause"]
    source.destroy()
    run()


@pytest.mark.spec("S3.2-01", "S3.2-02")
def test_pause_is_told_once():
    source, told = Source(), []
    source.on("pause", lambda: told.append(1))
    assert source.pause() is source
    source.pause()
    assert told == [1]
    source.destroy()
    run()


@pytest.mark.spec("S3.1-04")
def test_data_listener_does_not_start_a_stream_that_was_paused(trace):
    source = Source(b"a").pause()
    source.on("data", trace)
    run()
    assert trace == []
    source.resume()
    run()
    assert trace == [b"a"]


@pytest.mark.spec("S3.1-11")
def test_removing_the_last_data_listener_does_not_stop_the_flow(trace):
    source = Source(b"a", b"b")
    source.once("data", trace)
    source.on("end", trace.note("end"))
    run()
    assert trace == [b"a", "end"]


@pytest.mark.spec("S3.1-13")
def test_a_chunk_pushed_while_flowing_is_delivered_inside_push(trace):
    source = Source(stays_open=True)
    source.on("data", trace)
    run()
    source.push(b"now")
    assert trace == [b"now"]
    source.destroy()
    run()


def test_a_chunk_pushed_before_anything_was_read_is_buffered(trace):
    source = Source(stays_open=True)
    source.on("data", trace)
    source.push(b"first")
    assert trace == []
    run()
    assert trace == [b"first"]
    source.destroy()
    run()


def test_a_failing_data_listener_costs_only_its_chunk(trace):
    source = Source(b"a", b"b", b"c")
    source.on("data", lambda chunk: (trace(chunk), 1 / (chunk != b"b")))
    source.on("end", trace.note("end"))
    set_exception_handler(lambda error: trace(type(error)))
    run()
    assert trace == [b"a", b"b", ZeroDivisionError, b"c", "end"]


# ---- The mark ------------------------------------------------------------------------------------


@pytest.mark.spec("S2-03", "S2-04")
def test_push_says_whether_the_source_may_go_on():
    source = Source(stays_open=True, high_water_mark=4)
    assert source.push(b"123") is True
    assert source.push(b"4") is False
    assert source.push(b"5") is False
    assert source.readable_length == 5
    assert source.readable_high_water_mark == 4
    source.destroy()
    assert source.push(b"6") is False
    run()


@pytest.mark.spec("S3.1-03", "S3.2-11")
def test_it_reads_ahead_up_to_the_mark_when_data_came(trace):
    source = Source(*[b"xx"] * 10, high_water_mark=6)
    source.read(0)
    run()
    assert source.readable_length == 6
    assert len(source.asked) == 3
    assert source.read(2) == b"xx"
    run()
    assert source.readable_length == 6
    source.destroy()
    run()


def test_source_is_asked_with_the_mark():
    source = Source(stays_open=True, high_water_mark=7)
    source.read(0)
    assert source.asked == [7]
    source.destroy()
    run()


def test_a_mark_of_zero_still_delivers(trace):
    source = Source(b"a", b"b", high_water_mark=0)
    source.on("data", trace).on("end", trace.note("end"))
    run()
    assert trace == [b"a", b"b", "end"]


@pytest.mark.spec("S2-05")
@pytest.mark.parametrize(("size", "mark"), [(5, 8), (8, 8), (9, 16), (1000, 1024)])
def test_a_larger_read_raises_the_mark_to_a_power_of_two(size, mark):
    source = Source(stays_open=True, high_water_mark=4)
    assert source.read(size) is None
    assert source.readable_high_water_mark == mark
    source.destroy()
    run()


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


def test_read_of_a_size_cuts_and_joins_chunks():
    source = filled(b"ab", b"c", b"def")
    assert source.read(1) == b"a"
    assert source.read(3) == b"bcd"
    assert source.read(2) == b"ef"
    finish(source)


@pytest.mark.spec("S3.2-09", "S3.2-10")
def test_read_of_more_than_there_is_gives_nothing_until_the_end():
    source = filled(b"abc")
    assert source.read(5) is None
    assert source.readable_length == 3
    source.push(None)
    assert source.read(5) == b"abc"
    finish(source)


@pytest.mark.spec("S3.2-11")
def test_read_zero_takes_nothing():
    source = filled(b"abc")
    assert source.read(0) is None
    assert source.readable_length == 3
    finish(source)


@pytest.mark.spec("R6-01", "D14")
@pytest.mark.parametrize("size", [True, "3", b"3"])
def test_read_size_must_be_a_number(size):
    source = filled(b"abc")
    with pytest.raises(TypeError) as caught:
        source.read(size)
    assert caught.value.code == "ERR_INVALID_ARG_TYPE"
    finish(source)


@pytest.mark.spec("S3.2-12")
def test_read_emits_what_it_returns_as_data(trace):
    source = filled(b"abc").pause()
    source.on("data", trace)
    assert source.read(2) == b"ab"
    assert trace == [b"ab"]
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


@pytest.mark.spec("S3.1-08", "S3.1-09")
def test_a_readable_listener_rules_the_mode(trace):
    source = Source(b"abc", stays_open=True)
    source.on("data", trace.note("data"))
    source.on("readable", trace.note("readable"))
    assert source.readable_flowing is False
    source.resume()
    run()
    assert trace == ["readable"]
    assert source.read(1) == b"a"
    assert trace == ["readable", ("data", b"a")]
    finish(source)


@pytest.mark.spec("S3.1-12")
def test_removing_the_last_readable_listener_resumes_if_somebody_takes_data(trace):
    source = filled(b"abc")
    readable = trace.note("readable")
    source.on("readable", readable)
    source.on("data", trace.note("data"))
    source.off("readable", readable)
    run()
    assert source.readable_flowing is True
    assert ("data", b"abc") in trace
    finish(source)


def test_without_data_listener_removing_it_leaves_the_mode_open():
    source = Source(stays_open=True)
    source.once("readable", lambda: None)
    assert source.readable_flowing is False
    source.remove_all_listeners("readable")
    run()
    assert source.readable_flowing is None
    finish(source)


def test_a_readable_listener_added_after_the_end_still_rules_the_mode(trace):
    source = watched(Source(auto_destroy=False), trace)
    assert source.read() is None
    run()
    source.on("readable", trace.note("readable"))
    source.on("data", trace.note("data"))
    assert source.readable_flowing is False
    run()
    assert trace == ["end", "resume"]
    source.destroy()
    run()


def test_the_first_listener_is_told_of_an_end_that_nobody_waited_for(trace):
    source = watched(Source(auto_destroy=False), trace)
    source.push(None)
    run()
    assert trace == []
    source.on("readable", trace.note("readable"))
    run()
    assert trace == ["readable", "end"]
    source.destroy()
    run()


def test_an_end_that_was_read_already_is_not_told_again(trace):
    source = watched(Source(auto_destroy=False), trace)
    source.push(None)
    assert source.read() is None
    source.on("readable", trace.note("readable"))
    run()
    assert trace == ["end"]
    source.destroy()
    run()


def test_data_and_an_end_that_wait_are_told_once(trace):
    source = watched(Source(auto_destroy=False), trace)
    source.push(b"abc")
    source.push(None)
    source.on("readable", lambda: trace("readable", source.readable_length))
    run()
    assert trace == [("readable", 3)]
    source.destroy()
    run()


def test_an_end_that_nobody_waited_for_lets_resume_come_before_the_data(trace):
    source = watched(Source(), trace)
    source.push(b"abc")
    source.push(None)
    source.on("data", trace.note("data"))
    run()
    assert trace == ["resume", ("data", b"abc"), "end", "close"]


def test_an_unshift_while_the_source_is_asked_does_not_ask_again(trace):
    source = Source(stays_open=True)
    source.read(0)
    source.unshift(b"x")
    source.on("readable", trace.note("readable"))
    source.push(b"y")
    run()
    assert trace == ["readable", "readable"]
    source.destroy()
    run()


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
    source = watched(Source(stays_open=True), trace)
    source.push(b"a")
    assert method(source, None) is False
    source.on("data", trace.note("data"))
    run()
    assert trace == ["resume", ("data", b"a"), "end", "close"]


@pytest.mark.spec("D273")
def test_read_takes_all_there_is():
    source = Source(stays_open=True)
    for chunk in (b"abc", b"def", b"g"):
        source.push(chunk)
    assert source.read(2) == b"ab"
    assert source.read() == b"cdefg"
    finish(source)


def test_unshift_in_a_data_listener_comes_next(trace):
    source = Source(b"head:body")

    @source.on("data")
    def data(chunk):
        trace(chunk)
        if b":" in chunk:
            source.off("data", data)
            source.on("data", trace)
            source.unshift(chunk.partition(b":")[2])

    run()
    assert trace == [b"head:body", b"body"]


@pytest.mark.spec("S3.2-24")
def test_unshift_says_when_the_mark_is_reached():
    source = Source(stays_open=True, high_water_mark=3)
    assert source.unshift(b"ab") is True
    assert source.unshift(b"c") is False
    finish(source)
    assert source.unshift(b"d") is False


def test_unshift_before_the_end_event_is_still_delivered(trace):
    source = filled(b"a")
    source.push(None)
    source.unshift(b"0")
    source.on("data", trace).on("end", trace.note("end"))
    run()
    assert trace in ([b"0", b"a", "end"], [b"0a", "end"])


@pytest.mark.spec("S3.2-23")
def test_unshift_after_the_end_event_is_an_error(trace):
    source = Source(auto_destroy=False).resume()
    run()
    source.on("error", lambda error: trace(error.code))
    assert source.unshift(b"x") is False
    run()
    assert trace == ["ERR_STREAM_UNSHIFT_AFTER_END_EVENT"]
    finish(source)


# ---- Encodings -----------------------------------------------------------------------------------


@pytest.mark.spec("S3.2-13", "S3.2-14", "S3.2-19")
def test_characters_split_between_chunks_come_whole(trace):
    euro = "€".encode()
    source = Source(b"a" + euro[:1], euro[1:2], euro[2:] + b"b")
    assert source.set_encoding() is source
    assert source.readable_encoding == "utf8"
    source.on("data", trace)
    run()
    # A chunk that decodes to nothing emits nothing.
    assert trace == ["a", "€b"]


@pytest.mark.spec("S3.2-16")
def test_an_unfinished_character_at_the_end_is_replaced(trace):
    source = Source("€".encode()[:2], encoding="utf8")
    source.on("data", trace).on("end", trace.note("end"))
    run()
    assert trace == ["\ufffd", "end"]


@pytest.mark.spec("S3.2-15", "S2-03")
def test_buffered_bytes_are_converted():
    source = filled("é€".encode()[:3], "€".encode()[1:])
    assert source.readable_length == 5
    source.set_encoding("utf8")
    assert source.readable_length == 2
    assert source.read(1) == "é"
    source.unshift("x")
    assert source.read() == "x€"
    finish(source)


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


@pytest.mark.spec("S3.2-20", "S2-07")
def test_unknown_encoding():
    source = Source()
    with pytest.raises(TypeError) as caught:
        source.set_encoding("klingon")
    assert caught.value.code == "ERR_UNKNOWN_ENCODING"
    assert source.readable_encoding is None
    finish(source)


# ---- The end -------------------------------------------------------------------------------------


@pytest.mark.spec("S3.3-05")
def test_no_end_without_a_reader_while_data_wait(trace):
    source = filled(b"x")
    source.push(None)
    source.on("end", trace.note("end"))
    run()
    assert trace == []
    assert source.read() == b"x"
    run()
    assert trace == ["end"]


@pytest.mark.spec("S3.3-07", "S2-01", "S2-08")
def test_end_comes_once_and_after_the_data(trace):
    source = filled(b"x", auto_destroy=False)
    source.push(None)
    source.on("data", trace).on("end", trace.note("end"))
    run()
    source.read()
    source.resume()
    source.push(None)
    run()
    assert trace == [b"x", "end"]
    assert source.readable_ended
    assert not source.readable
    finish(source)


def test_push_after_the_end_is_an_error(trace):
    source = filled()
    source.push(None)
    source.on("error", lambda error: trace(error.code))
    assert source.push(b"late") is False
    run()
    assert trace == ["ERR_STREAM_PUSH_AFTER_EOF"]
    assert source.destroyed


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


@pytest.mark.spec("S5-01", "S5-02", "S5-04", "S5-05")
def test_error_then_close(trace):
    source = watched(Source(b"a"), trace)
    error = BoomError()
    assert source.destroy(error) is source
    source.destroy(BoomError("ignored"))
    assert (source.destroyed, source.errored) == (True, error)
    run()
    assert trace == [("error", error), "close"]


def test_an_exception_in_read_destroys(trace):
    class Bad(Readable):
        def _read(self, size):
            raise BoomError

    source = Bad().on("error", lambda error: trace(type(error))).on("close", trace.note("close"))
    source.resume()
    run()
    assert trace == [BoomError, "close"]


def test_an_unhandled_error_comes_out_of_run_and_close_still_follows(trace):
    source = Source().on("close", trace.note("close"))
    source.destroy(BoomError())
    with pytest.raises(BoomError):
        run()
    assert trace == ["close"]


@pytest.mark.spec("S5-03")
def test_own_destroy_is_called_with_the_error_and_may_wait(trace):
    class Slow(Readable):
        def _destroy(self, error, callback):
            trace("_destroy", error)
            set_immediate(callback, error)

    source = Slow().on("error", trace.note("error")).on("close", trace.note("close"))
    error = BoomError()
    source.destroy(error)
    assert source.destroyed
    assert not source.closed
    run()
    assert source.closed
    assert trace == [("_destroy", error), ("error", error), "close"]


def test_without_emit_close_there_is_none(trace):
    source = Source(emit_close=False).on("close", trace.note("close"))
    source.destroy()
    run()
    assert (source.closed, trace) == (True, [])


# ---- Reentrancy and misuse -----------------------------------------------------------------------


def test_a_listener_may_push_pause_read_and_resume(trace):
    source = Source(b"abcdef", stays_open=True)

    @source.on("data")
    def data(chunk):
        trace(chunk)
        if chunk == b"abcdef":
            source.push(b"pushed inside")
            source.pause()
            trace(source.read(3))
            source.resume()

    run()
    assert trace == [b"abcdef", b"pushed inside", None]
    finish(source)


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


def test_missing_read_is_an_error(trace):
    source = Readable().on("error", lambda error: trace(type(error).__name__))
    source.resume()
    run()
    assert len(trace) == 1
    assert source.destroyed


def test_once_a_write_has_failed_nothing_more_is_taken_from_the_source(trace):
    """As in Node, in the ticks between the failure and destroy()."""

    class Both(Duplex):
        def _read(self, size):
            raise AssertionError("asked")

        def _write(self, chunk, encoding, callback):
            callback(error)

    error = BoomError()
    stream = watched(Both(), trace)
    stream.on("data", trace.note("data"))
    stream.push(b"before")
    stream.write(b"")
    assert stream.push(b"after") is False
    assert stream.unshift(b"after") is False
    run()
    assert trace == ["resume", ("data", b"before"), ("error", error), "close"]


def test_once_a_write_has_failed_there_is_no_readable(trace):
    class Both(Duplex):
        def _write(self, chunk, encoding, callback):
            callback(BoomError())

    stream = Both()
    stream.on("error", trace.note("error"))
    stream.push(b"before")
    stream.on("readable", trace.note("readable"))
    stream.write(b"")
    run()
    assert [entry[0] for entry in trace] == ["error"]
