"""The writable half: queue, cork, marks, 'drain', callbacks, end and 'finish', failures.

The sink is a fake that answers at once or when the test says so. tests/differential/test_streams.py
compares most of it with Node's streams; here is what a script there cannot say.
"""

from __future__ import annotations

import pytest

from pyuvnet import StateError, Writable, run, set_exception_handler
from tests.support.cases import cases
from tests.support.errors import BoomError
from tests.support.installed import FREE_THREADED


class Sink(Writable):
    """Notes what it gets; `answers` is 'sync', or 'later' (the test calls answer())."""

    def __init__(self, answers="later", **options):
        super().__init__(**options)
        self.answers = answers
        self.got = []
        self.pending = []

    def _write(self, chunk, encoding, callback):
        self.got.append(bytes(chunk))
        if self.answers == "sync":
            callback()
        else:
            self.pending.append(callback)

    def answer(self, error=None):
        self.pending.pop(0)(error)


class Gather(Sink):
    def _writev(self, chunks, callback):
        self.got.append([bytes(chunk) for chunk in chunks])
        self.pending.append(callback)


def finish(*streams):
    for stream in streams:
        stream.destroy()
    run()


def code(note):
    """A callback or listener that notes an error by its code or type."""
    return lambda error=None: note(
        error if error is None else getattr(error, "code", None) or type(error).__name__
    )


# ---- write() -------------------------------------------------------------------------------------


@pytest.mark.spec("D274")
def test_final_is_all_there_is_before_finish(trace):
    class Final(Sink):
        def _final(self, callback):
            trace("final")
            callback()

    sink = Final()
    for event in ("prefinish", "finish"):
        sink.on(event, trace.note(event))
    sink.end()
    run()
    assert trace == ["final", "finish"]


@pytest.mark.spec("D271")
def test_a_sink_with_writev_alone():
    class Only(Writable):
        def _writev(self, chunks, callback):
            got.extend(chunks)
            callback()

    got = []
    sink = Only()
    sink.write(b"a")
    sink.write(b"b")
    assert got == [b"a", b"b"]
    finish(sink)


@cases(
    ("args", "expected"),
    [
        (("é",), b"\xc3\xa9"),
        (("é", "latin1"), b"\xe9"),
        (("6869", "HEX"), b"hi"),
        (("aGk=", "base64"), b"hi"),
        ((bytearray(b"x"),), b"x"),
        ((memoryview(b"xyz")[1:],), b"yz"),
        ((b"x", "utf8"), b"x"),
        ((b"x", "buffer"), b"x"),
        (("a", None), b"a"),
    ],
)
def test_what_may_be_written(args, expected):
    sink = Sink("sync")
    sink.write(*args)
    assert sink.got == [expected]
    finish(sink)


@pytest.mark.spec("S4.1-10", "S4.1-11")
def test_default_encoding():
    sink = Sink("sync")
    assert sink.set_default_encoding("latin1") is sink
    sink.write("é")
    sink.write("é", "utf8")
    assert sink.got == [b"\xe9", b"\xc3\xa9"]
    with pytest.raises(TypeError) as caught:
        sink.set_default_encoding("klingon")
    assert caught.value.code == "ERR_UNKNOWN_ENCODING"
    finish(sink)


@pytest.mark.spec("S4.2-01", "S4.2-02", "S4.2-03", "R6-01")
@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ((None,), "ERR_STREAM_NULL_VALUES"),
        ((3,), "ERR_INVALID_ARG_TYPE"),
        (([b"x"],), "ERR_INVALID_ARG_TYPE"),
        ((memoryview(b"abcd")[::2],), "ERR_INVALID_ARG_TYPE"),
        (("x", "klingon"), "ERR_UNKNOWN_ENCODING"),
        ((b"x", "klingon"), "ERR_UNKNOWN_ENCODING"),
    ],
)
def test_what_may_not_be_written_raises_and_changes_nothing(trace, args, expected):
    sink = Sink()
    with pytest.raises(TypeError) as caught:
        sink.write(*args, callback=trace.note("cb"))
    assert caught.value.code == expected
    assert (sink.got, sink.writable_length, sink.destroyed) == ([], 0, False)
    finish(sink)
    assert trace == []


@pytest.mark.spec("R3-02")
def test_a_mutable_buffer_is_kept_until_its_callback():
    sink = Sink()
    buffer = bytearray(b"x")
    sink.write(buffer)
    with pytest.raises(BufferError):
        buffer.append(1)
    sink.answer()
    sink.pending.clear()
    run()
    buffer.append(1)
    finish(sink)


# ---- cork ----------------------------------------------------------------------------------------


def test_more_corks_than_are_counted_do_not_open_the_stream():
    sink = Gather()
    for _ in range(65540):
        sink.cork()
    assert sink.writable_corked == 65535
    sink.uncork()
    sink.write(b"a")
    assert sink.got == []
    sink.end()
    assert sink.got == [b"a"]


# ---- The mark and 'drain' ------------------------------------------------------------------------


@pytest.mark.spec("S4.2-16")
def test_a_write_taken_at_once_says_true_however_large(trace):
    sink = Sink("sync", high_water_mark=3).on("drain", trace.note("drain"))
    assert sink.write(bytes(1000)) is True
    run()
    assert trace == []
    finish(sink)


# ---- end() and 'finish' --------------------------------------------------------------------------


@pytest.mark.parametrize("forms", [("cb",), ("x", "cb"), ("x", "latin1", "cb"), (None, None, "cb")])
def test_forms_of_end(trace, forms):
    sink = Sink("sync")
    sink.end(*[trace.note("cb") if form == "cb" else form for form in forms])
    run()
    assert trace == [("cb", None)]
    assert sink.got == ([b"x"] if forms[0] == "x" else [])


def test_end_after_finish_and_after_destroy(trace):
    sink = Sink().end()
    run()
    sink.end(code(trace))
    other = Sink().destroy()
    other.end(code(trace))
    run()
    assert trace == ["ERR_STREAM_ALREADY_FINISHED", "ERR_STREAM_DESTROYED"]


# ---- Errors --------------------------------------------------------------------------------------


@pytest.mark.spec("S4.6-01", "S4.6-02", "S4.1-09")
@pytest.mark.parametrize("answers", ["sync", "later"])
def test_a_failed_write_fails_all_that_wait(trace, answers):
    class Bad(Sink):
        def _write(self, chunk, encoding, callback):
            if answers == "sync":
                callback(error)
            else:
                self.pending.append(callback)

    error = BoomError()
    sink = Bad().on("error", trace.note("error")).on("close", trace.note("close"))
    sink.cork()
    sink.write(b"a", trace.note("a"))
    sink.write(b"b", trace.note("b"))
    sink.uncork()
    sink.end(trace.note("end"))
    if answers == "later":
        sink.answer(error)
    run()
    assert [entry for entry in trace if entry != "close"] == [
        ("a", error), ("b", error), ("end", error), ("error", error),
    ]  # fmt: skip
    assert trace[-1] == "close"
    assert sink.errored is error
    assert sink.writable_aborted


# ---- Failing callbacks ---------------------------------------------------------------------------


def test_a_failing_callback_costs_nobody_else_theirs(trace):
    def bad(error):
        trace("bad", error)
        raise BoomError

    sink = Gather().on("finish", trace.note("finish")).on("close", trace.note("close"))
    set_exception_handler(lambda error: trace("handler"))
    sink.cork()
    sink.write(b"a", bad)
    sink.write(b"b", trace.note("b"))
    sink.end(bad)
    sink.end(trace.note("end"))
    sink.answer()
    run()
    assert trace == [
        ("bad", None), "handler", ("b", None), ("bad", None), "handler", ("end", None),
        "finish", "close",
    ]  # fmt: skip


@pytest.mark.parametrize("event", ["drain", "finish"])
def test_a_failing_listener_does_not_stop_the_stream(trace, event):
    def bad():
        raise BoomError

    sink = Sink(high_water_mark=1).on(event, bad).on("close", trace.note("close"))
    set_exception_handler(lambda error: trace("handler"))
    sink.write(b"x", trace.note("write"))
    sink.answer()
    sink.end(trace.note("end"))
    run()
    assert sorted(trace, key=str) == sorted(
        ["handler", ("write", None), ("end", None), "close"], key=str
    )
    assert trace[-1] == "close"


def test_a_callback_may_write_end_and_destroy(trace):
    sink = Sink("sync").on("close", trace.note("close"))

    def written(error):
        trace("written")
        sink.write(b"more", lambda error: (trace("more"), sink.destroy()))
        sink.end(code(trace.note("end")))

    sink.write(b"x", written)
    run()
    assert sink.got == [b"x", b"more"]
    assert trace == ["written", "more", ("end", "ERR_STREAM_DESTROYED"), "close"]


def test_subclass_that_forgets_super_init_is_told_so():
    class Careless(Writable):
        def __init__(self):
            pass

    stream = Careless()
    for use in (lambda: stream.write(b"x"), stream.end, stream.cork, stream.uncork, stream.destroy):
        with pytest.raises(StateError) as caught:
            use()
        assert caught.value.code == "ERR_NOT_CONSTRUCTED"


def test_a_text_that_goes_to_many_is_encoded_once():
    text = "".join(["gr\u00fc\u00df", "e"])
    sinks = [Gather(), Gather()]
    for sink in sinks:
        sink.cork()
        sink.write(text)
        sink.write(text, "latin1")
        sink.write(text + "!")
        sink.write(text)
        sink.uncork()
    first, second = ([*sink.got[0]] for sink in sinks)
    assert (
        first
        == second
        == [text.encode(), text.encode("latin1"), f"{text}!".encode(), text.encode()]
    )
    assert first[0] is not first[2]
    # Threads would overwrite each other's last text, so nothing remembers it without the GIL.
    assert (second[0] is first[3]) is not FREE_THREADED
    for sink in sinks:
        finish(sink)
