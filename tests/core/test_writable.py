"""The writable half: queue, cork, marks, 'drain', callbacks, end and 'finish', failures.

The sink is a fake that answers at once, in a tick, or when the test says so. What is expected was
compared with Node's stream module doing the same.
"""

from __future__ import annotations

import pytest

from pyuvnet import StateError, Writable, next_tick, run, set_exception_handler
from tests.support.cases import cases
from tests.support.errors import BoomError
from tests.support.installed import FREE_THREADED


class Sink(Writable):
    """Notes what it gets; `answers` is 'sync', 'tick', or 'later' (the test calls answer())."""

    def __init__(self, answers="later", **options):
        super().__init__(**options)
        self.answers = answers
        self.got = []
        self.pending = []

    def _write(self, chunk, encoding, callback):
        self.got.append(bytes(chunk))
        if self.answers == "sync":
            callback()
        elif self.answers == "tick":
            next_tick(callback)
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


@pytest.mark.spec("S4.2-09", "S4.1-02")
def test_one_write_is_in_flight_and_the_others_wait_in_order():
    sink = Sink()
    for chunk in (b"a", b"b", b"c"):
        assert sink.write(chunk) is True
    assert sink.got == [b"a"]
    assert sink.writable_length == 3
    sink.answer()
    assert sink.got == [b"a", b"b"]
    sink.answer()
    sink.answer()
    assert sink.got == [b"a", b"b", b"c"]
    assert sink.writable_length == 0
    finish(sink)


@pytest.mark.spec("S4.2-21")
def test_waiting_chunks_go_together_where_the_sink_can():
    sink = Gather()
    for chunk in (b"a", b"b", b"c"):
        sink.write(chunk)
    sink.answer()
    assert sink.got == [b"a", [b"b", b"c"]]
    sink.write(b"d")
    sink.answer()
    # One chunk alone is an ordinary write.
    assert sink.got[2:] == [b"d"]
    finish(sink)


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


@pytest.mark.spec("S4.2-18", "S4.2-19", "S4.2-20")
@pytest.mark.parametrize("answers", ["sync", "tick"])
def test_callbacks_run_in_order_and_never_inside_write(trace, answers):
    sink = Sink(answers)
    for n in range(3):
        sink.write(b"x", lambda error, n=n: trace(n, error))
    sink.write(b"x", "utf8", lambda error: trace(3, error))
    sink.write(b"x", callback=lambda error: trace(4, error))
    assert trace == []
    run()
    assert trace == [(n, None) for n in range(5)]
    finish(sink)


@pytest.mark.spec("S4.2-17")
def test_an_empty_chunk_is_written_and_completes(trace):
    sink = Sink("sync")
    assert sink.write(b"", trace.note("cb")) is True
    run()
    assert trace == [("cb", None)]
    assert sink.got == [b""]
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


@pytest.mark.spec("S4.3-01", "S4.3-02", "S4.3-04", "S4.1-07", "S4.2-10")
def test_cork_is_counted_and_the_last_uncork_sends():
    sink = Gather()
    sink.cork()
    sink.cork()
    sink.write(b"a")
    sink.write(b"b")
    assert (sink.writable_corked, sink.writable_length, sink.got) == (2, 2, [])
    sink.uncork()
    assert sink.got == []
    sink.uncork()
    assert sink.got == [[b"a", b"b"]]
    sink.uncork()
    assert sink.writable_corked == 0
    finish(sink)


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


@pytest.mark.spec("S4.3-03")
def test_end_uncorks_fully(trace):
    sink = Sink("sync").on("finish", trace.note("finish"))
    sink.cork()
    sink.cork()
    sink.write(b"a")
    sink.end(b"b")
    assert sink.writable_corked == 0
    run()
    assert sink.got == [b"a", b"b"]
    assert trace == ["finish"]


# ---- The mark and 'drain' ------------------------------------------------------------------------


@pytest.mark.spec("S4.1-03", "S4.1-04", "S4.2-14", "S4.4-01", "S4.4-03")
def test_write_says_false_at_the_mark_and_drain_follows(trace):
    sink = Sink(high_water_mark=3).on("drain", trace.note("drain"))
    assert sink.write(b"ab", trace.note("a")) is True
    assert sink.write(b"c", trace.note("b")) is False
    assert sink.writable_need_drain
    sink.answer()
    assert trace == [("a", None)]
    sink.answer()
    # 'drain' comes before the callbacks of the write that emptied the queue.
    assert trace[1:] == ["drain", ("b", None)]
    assert not sink.writable_need_drain
    finish(sink)


@pytest.mark.spec("S4.2-16")
def test_a_write_taken_at_once_says_true_however_large(trace):
    sink = Sink("sync", high_water_mark=3).on("drain", trace.note("drain"))
    assert sink.write(bytes(1000)) is True
    run()
    assert trace == []
    finish(sink)


@pytest.mark.spec("S4.4-02", "S4.1-04")
def test_no_drain_while_ending_or_destroyed(trace):
    ending, destroyed = Sink(high_water_mark=1), Sink(high_water_mark=1)
    for sink in (ending, destroyed):
        sink.on("drain", trace.note("drain"))
        assert sink.write(b"x") is False
    ending.end()
    assert not ending.writable_need_drain
    destroyed.destroy()
    ending.answer()
    destroyed.answer()
    run()
    assert trace == []


# ---- end() and 'finish' --------------------------------------------------------------------------


@pytest.mark.spec("S4.5-01", "S4.5-03", "S4.1-05", "S4.1-06")
def test_order_at_the_end(trace):
    class Final(Sink):
        def _final(self, callback):
            trace("_final")
            next_tick(callback)

    sink = Final("tick")
    for event in ("finish", "close"):
        sink.on(event, trace.note(event))
    sink.write(b"a", trace.note("write"))
    assert sink.end(b"b", trace.note("end 1")) is sink
    sink.end(trace.note("end 2"))
    assert sink.writable_ended
    assert not sink.writable
    assert not sink.writable_finished
    run()
    assert trace == [("write", None), "_final", ("end 1", None), ("end 2", None), "finish", "close"]
    assert sink.got == [b"a", b"b"]
    assert sink.destroyed


def test_finish_comes_a_tick_after_the_last_write_callback(trace):
    sink = Sink("sync").on("finish", trace.note("finish"))
    sink.write(b"x", trace.note("write"))
    sink.end(trace.note("end"))
    next_tick(trace, "tick")
    run()
    assert trace == [("write", None), "tick", ("end", None), "finish"]


@pytest.mark.spec("S4.1-06")
def test_writable_finished_is_true_inside_finish(trace):
    sink = Sink().on("finish", lambda: trace(sink.writable_finished))
    sink.end()
    run()
    assert trace == [True]


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


def test_without_auto_destroy_finish_is_the_last(trace):
    sink = Sink(auto_destroy=False)
    sink.on("finish", trace.note("finish")).on("close", trace.note("close"))
    sink.end()
    run()
    assert trace == ["finish"]
    assert not sink.destroyed
    finish(sink)


# ---- Errors --------------------------------------------------------------------------------------


@pytest.mark.spec("S4.2-05", "S4.2-07", "S4.2-08")
def test_write_after_end(trace):
    sink = Sink()
    sink.on("error", code(trace.note("error"))).on("close", trace.note("close"))
    sink.end(code(trace.note("end")))
    assert sink.write(b"x", code(trace.note("write"))) is False
    run()
    late = "ERR_STREAM_WRITE_AFTER_END"
    assert trace == [("write", late), ("end", late), ("error", late), "close"]


@pytest.mark.spec("S4.2-06", "S4.2-07", "S4.2-15")
def test_write_after_destroy_tells_the_callback_only(trace):
    sink = Sink().on("error", trace.note("error"))
    sink.destroy()
    assert sink.write(b"x", code(trace)) is False
    run()
    assert trace == ["ERR_STREAM_DESTROYED"]


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


@pytest.mark.spec("S5-08", "S5-05")
def test_destroy_answers_what_waits_with_its_error(trace):
    sink = Sink().on("error", trace.note("error")).on("close", trace.note("close"))
    error = BoomError()
    sink.write(b"in flight", trace.note("a"))
    sink.write(b"queued", trace.note("b"))
    sink.destroy(error)
    assert sink.writable_need_drain is False
    run()
    assert trace == [("error", error), "close"]
    # The one in flight is the sink's to answer; then the others follow.
    sink.answer()
    assert trace[2:] == [("a", None), ("b", error)]


def test_a_completed_write_is_a_success_although_destroy_came_before_its_tick(trace):
    sink = Sink("sync").on("error", lambda error: None)
    sink.write(b"a", trace.note("a"))
    sink.write(b"b", trace.note("b"))
    sink.destroy(BoomError())
    run()
    assert trace == [("a", None), ("b", None)]


@pytest.mark.parametrize("how", ["at once", "later", "raised"])
def test_a_failing_final(trace, how):
    class Bad(Sink):
        def _final(self, callback):
            if how == "raised":
                raise error
            if how == "later":
                next_tick(callback, error)
            else:
                callback(error)

    error = BoomError()
    sink = Bad().on("error", trace.note("error")).on("finish", trace.note("finish"))
    sink.end(trace.note("end"))
    run()
    assert sorted(trace) == [("end", error), ("error", error)]
    # The callback of the end() that failed inside itself comes too late to be first.
    assert trace[0][0] == ("end" if how == "later" else "error")


def test_a_second_answer_is_an_error(trace):
    class Twice(Sink):
        def _write(self, chunk, encoding, callback):
            callback()
            callback()

    sink = Twice().on("error", code(trace))
    sink.write(b"x")
    run()
    assert trace == ["ERR_MULTIPLE_CALLBACK"]


def test_an_exception_in_write_comes_out_of_write():
    class Bad(Sink):
        def _write(self, chunk, encoding, callback):
            raise BoomError

    sink = Bad()
    with pytest.raises(BoomError):
        sink.write(b"x")
    finish(sink)


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


def test_finish_waits_for_the_tick_where_drain_was_due(trace):
    # As in Node: that tick counts like a write callback, although nothing is emitted in it.
    sink = Sink("sync", high_water_mark=1)
    for event in ("drain", "finish"):
        sink.on(event, trace.note(event))
    sink.cork()
    sink.end(b"xx", callback=trace.note("end"))
    next_tick(trace, "tick")
    run()
    assert trace == ["tick", ("end", None), "finish"]


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
