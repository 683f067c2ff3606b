"""streams.finished(), pipeline(), from_iterable(), async for and async with on user streams.

streams.md 3.5, 5 and 6; the traces are those of Node for the same program. Sockets are in
timelines/.
"""

import asyncio
import gc
import gzip
import weakref

import pytest

from pyuvnet import (
    AbortController,
    AbortError,
    AbortSignal,
    ArgTypeError,
    Duplex,
    Readable,
    StateError,
    Writable,
    events,
    net,
    next_tick,
    run,
    streams,
)
from pyuvnet.streams import finished, from_iterable, pipeline

EVENTS = ("end", "finish", "error", "close")


class Source(Readable):
    def _read(self, size):
        pass


class Sink(Writable):
    def __init__(self, trace=None, **options):
        super().__init__(**options)
        self.trace, self.got = trace, []

    def _write(self, chunk, encoding, callback):
        self.got.append(bytes(chunk))
        callback()


class Both(Duplex):
    def _read(self, size):
        pass

    def _write(self, chunk, encoding, callback):
        callback()


def watch(trace, stream, name, *events):
    for event in events or EVENTS:
        stream.on(event, lambda *args, event=event: trace(f"{name} {event}"))


def code(error):
    return None if error is None else getattr(error, "code", None) or str(error)


def tell(trace):
    return lambda error: trace(("done", code(error)))


def play(coroutine):
    """Run a coroutine, and then what it left to be done."""
    result = run(coroutine)
    run()
    return result


async def ticks():
    """Let the loop run dry of what is due now."""
    done = asyncio.get_running_loop().create_future()
    next_tick(next_tick, done.set_result, None)
    await done


# ---- finished() ----------------------------------------------------------------------------------


@pytest.mark.spec("S5-15")
@pytest.mark.parametrize(
    ("make", "options", "use", "events"),
    [
        (Source, {}, ["push", "resume"], ["end", "close", "done"]),
        (Source, {"auto_destroy": False}, ["push", "resume"], ["end", "done"]),
        (Source, {"emit_close": False}, ["push", "resume"], ["end", "done"]),
        (Sink, {}, ["end"], ["finish", "close", "done"]),
        (Sink, {"auto_destroy": False}, ["end"], ["finish", "done"]),
        (Both, {}, ["end", "push", "resume"], ["end", "finish", "close", "done"]),
    ],
)
def test_finished_calls_back_when_all_is_done(trace, make, options, use, events):
    stream = make(**options)
    for event in EVENTS:
        stream.on(event, lambda *args, event=event: trace(event))
    finished(stream, lambda error: trace("done" if error is None else error))
    for name in use:
        stream.push(None) if name == "push" else getattr(stream, name)()
    run()
    assert sorted(trace[:-1]) == sorted(events[:-1])
    assert trace[-1] == "done"
    stream.destroy()
    run()


@pytest.mark.parametrize(
    ("options", "use", "events"),
    [
        ({"writable": False}, ["push", "resume"], ["d end", ("done", None)]),
        ({"readable": False}, ["end"], ["d finish", ("done", None)]),
    ],
)
def test_finished_of_one_side(trace, options, use, events):
    stream = Both()
    watch(trace, stream, "d")
    finished(stream, tell(trace), **options)
    for name in use:
        stream.push(None) if name == "push" else getattr(stream, name)()
    run()
    assert trace == events
    stream.destroy()
    run()


def test_finished_tells_an_error_before_close_and_counts_as_listener(trace):
    stream = Source()
    finished(stream, tell(trace))
    stream.on("close", lambda: trace("close"))
    stream.destroy(OSError("x"))
    run()
    assert trace == [("done", "x"), "close"]


def test_finished_without_error_listener_tells_it_at_close(trace):
    stream = Source()
    watch(trace, stream, "r")
    finished(stream, tell(trace), error=False)
    stream.destroy(OSError("x"))
    run()
    assert trace == ["r error", "r close", ("done", "x")]


@pytest.mark.spec("S5-16")
@pytest.mark.parametrize("make", [Source, Sink, Both])
def test_finished_reports_a_premature_close(trace, make):
    stream = make()
    watch(trace, stream, "s")
    finished(stream, tell(trace))
    stream.destroy()
    run()
    assert trace == ["s close", ("done", "ERR_STREAM_PREMATURE_CLOSE")]


def test_finished_reports_a_premature_close_of_the_other_side(trace):
    stream = Both()
    watch(trace, stream, "d")
    finished(stream, tell(trace))
    stream.end()
    run()
    stream.destroy()
    run()
    assert trace == ["d finish", "d close", ("done", "ERR_STREAM_PREMATURE_CLOSE")]


@pytest.mark.parametrize(
    ("before", "answer"),
    [
        (lambda stream: stream.push(None) or stream.resume(), None),
        (lambda stream: stream.destroy(), "ERR_STREAM_PREMATURE_CLOSE"),
        (lambda stream: stream.on("error", str).destroy(OSError("x")), "x"),
    ],
)
def test_finished_of_a_stream_that_is_done_answers_in_a_tick(trace, before, answer):
    stream = Source()
    before(stream)
    run()
    finished(stream, tell(trace))
    trace("sync")
    next_tick(trace, "tick")
    run()
    assert trace == ["sync", ("done", answer), "tick"]


def test_finished_returns_what_undoes_it(trace):
    stream = Source()
    stop = finished(stream, tell(trace))
    assert set(stream.event_names()) == {"end", "finish", "error", "close"}
    stop()
    assert stream.event_names() == []
    stop()
    stream.destroy()
    run()
    assert trace == []


def test_finished_ends_with_its_signal_and_leaves_the_stream(trace):
    stream, controller = Source(), AbortController()
    finished(stream, tell(trace), signal=controller.signal)
    controller.abort("why")
    assert trace == [("done", "ABORT_ERR")]
    assert not stream.destroyed
    assert stream.event_names() == []
    finished(stream, tell(trace), signal=AbortSignal.abort())
    trace("sync")
    run()
    assert trace[1:] == ["sync", ("done", "ABORT_ERR")]
    assert stream.event_names() == []
    stream.destroy()
    run()


def test_finished_leaves_nothing_on_its_signal():
    stream, controller = Source(), AbortController()
    finished(stream, lambda error: None, signal=controller.signal)
    stream.destroy()
    run()
    assert controller.signal.listener_count("abort") == 0


@pytest.mark.spec("S5-15")
def test_finished_as_awaitable_watches_from_the_call_on(trace):
    async def main():
        stream = Source()
        waiting = finished(stream)
        stream.destroy(OSError("x"))
        await ticks()
        with pytest.raises(OSError, match="x"):
            await waiting
        stream = Source()
        waiting = finished(stream)
        stream.push(None)
        stream.resume()
        assert await waiting is None
        assert stream.event_names() == []

    play(main())


def test_finished_cancelled_leaves_no_listener():
    async def main():
        stream, controller = Source(), AbortController()
        waiting = finished(stream, signal=controller.signal)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(waiting, 0.001)
        assert stream.event_names() == []
        assert controller.signal.listener_count("abort") == 0
        stream.destroy()

    play(main())


@pytest.mark.parametrize("stream", [None, 5, object(), Source])
def test_finished_refuses_what_is_no_stream(stream):
    with pytest.raises(ArgTypeError) as caught:
        finished(stream, print)
    assert caught.value.code == "ERR_INVALID_ARG_TYPE"


def test_finished_refuses_bad_callbacks_and_signals_and_adds_no_listener():
    stream = Source()
    for call in (lambda: finished(stream, 5), lambda: finished(stream, print, signal=5)):
        with pytest.raises(ArgTypeError) as caught:
            call()
        assert caught.value.code == "ERR_INVALID_ARG_TYPE"
    assert stream.event_names() == []
    stream.destroy()
    run()


# ---- pipeline() ----------------------------------------------------------------------------------


@pytest.mark.spec("S5-17")
def test_pipeline_of_three(trace):
    source, middle, sink = Source(), Both(), Sink()
    for name, stream in (("r", source), ("d", middle), ("w", sink)):
        watch(trace, stream, name)
    assert pipeline(source, middle, sink, tell(trace)) is sink
    source.push("a")
    source.push(None)
    run()
    assert trace == ["r end", "d finish", "r close"]
    middle.push("b")
    middle.push(None)
    run()
    assert trace[3:] == ["d end", "w finish", "d close", "w close", ("done", None)]
    assert sink.got == [b"b"]


@pytest.mark.spec("S5-17")
@pytest.mark.parametrize(
    ("fail", "events"),
    [
        (
            lambda source, sink: source.destroy(OSError("S")),
            ["r error", "r close", "w error", "w close", ("done", "S")],
        ),
        (
            lambda source, sink: source.destroy(),
            ["r close", "w error", "w close", ("done", "ERR_STREAM_PREMATURE_CLOSE")],
        ),
        (
            lambda source, sink: sink.destroy(OSError("D")),
            ["w error", "w close", "r error", "r close", ("done", "D")],
        ),
        (
            lambda source, sink: sink.destroy(),
            ["w close", "r error", "r close", ("done", "ERR_STREAM_PREMATURE_CLOSE")],
        ),
    ],
)
def test_pipeline_destroys_all_with_the_first_error(trace, fail, events):
    source, sink = Source(), Sink()
    watch(trace, source, "r")
    watch(trace, sink, "w")
    pipeline(source, sink, tell(trace))
    source.push("a")
    run()
    fail(source, sink)
    run()
    assert trace == events
    assert source.destroyed
    assert sink.destroyed


def test_pipeline_handles_errors_nobody_listens_to(trace):
    source, sink = Source(), Sink()
    pipeline(source, sink, tell(trace))
    source.destroy(OSError("S"))
    run()
    assert trace == [("done", "S")]


@pytest.mark.parametrize("early", [False, True])
def test_pipeline_is_aborted_by_its_signal(trace, early):
    async def main():
        source, sink, controller = Source(), Sink(), AbortController()
        watch(trace, source, "r")
        watch(trace, sink, "w")
        if early:
            controller.abort("why")
        waiting = pipeline(source, sink, signal=controller.signal)
        assert source.destroyed is sink.destroyed is False
        if not early:
            controller.abort("why")
            assert source.destroyed is sink.destroyed is True
        with pytest.raises(AbortError) as caught:
            await waiting
        assert caught.value.cause == "why"
        assert controller.signal.listener_count("abort") == 0

    play(main())
    assert trace == ["r error", "r close", "w error", "w close"]


def test_pipeline_with_end_false_leaves_the_destination_open(trace):
    async def main():
        source, sink = Source(), Sink()
        waiting = pipeline(source, sink, end=False)
        source.push("a")
        source.push(None)
        await waiting
        assert not sink.writable_ended
        assert source.event_names() == sink.event_names() == []
        sink.destroy()

    play(main())


def test_pipeline_cancelled_destroys_all_and_leaves_no_listener():
    async def main():
        source, sink, controller = Source(), Sink(), AbortController()
        waiting = pipeline(source, sink, signal=controller.signal)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(waiting, 0.001)
        assert source.destroyed is sink.destroyed is True
        await ticks()
        await ticks()
        assert source.event_names() == sink.event_names() == []
        assert controller.signal.listener_count("abort") == 0

    play(main())


def test_pipeline_from_an_iterable_that_fails(trace):
    def items():
        yield "a"
        raise OSError("G")

    sink = Sink()
    watch(trace, sink, "w")
    pipeline(items(), sink, tell(trace))
    run()
    assert sink.got == [b"a"]
    assert trace == ["w error", "w close", ("done", "G")]


def test_pipeline_does_not_wait_for_the_readable_side_of_its_last_stream(trace):
    source, last = Source(), Both()
    pipeline(source, last, tell(trace))
    source.push(None)
    run()
    assert trace == [("done", None)]
    assert not last.destroyed
    last.destroy()
    run()


def test_pipeline_refuses_bad_arguments_and_changes_nothing():
    source, sink = Source(), Sink()
    for call, expected in (
        (lambda: pipeline(), "ERR_MISSING_ARGS"),
        (lambda: pipeline(source, print), "ERR_MISSING_ARGS"),
        (lambda: pipeline(source, 5, print), "ERR_INVALID_ARG_TYPE"),
        (lambda: pipeline(source, source, print), "ERR_INVALID_ARG_TYPE"),
        (lambda: pipeline(source, sink, sink, print), "ERR_INVALID_ARG_TYPE"),
        (lambda: pipeline(source, sink, callback=5), "ERR_INVALID_ARG_TYPE"),
        (lambda: pipeline(source, sink, print, signal=5), "ERR_INVALID_ARG_TYPE"),
        (lambda: pipeline(5, sink, print), "ERR_INVALID_ARG_TYPE"),
    ):
        with pytest.raises(ArgTypeError) as caught:
            call()
        assert caught.value.code == expected
    assert source.event_names() == sink.event_names() == []
    assert source.readable_flowing is None
    source.destroy()
    sink.destroy()
    run()


# ---- from_iterable() -----------------------------------------------------------------------------


async def collect(stream):
    return [chunk async for chunk in stream]


async def numbers(count, error=None):
    for number in range(count):
        await asyncio.sleep(0)
        yield str(number)
    if error is not None:
        raise error


@pytest.mark.parametrize(
    ("iterable", "data"),
    [
        (["a", b"b", bytearray(b"c"), memoryview(b"d")], b"abcd"),
        ("text is one chunk: é", "text is one chunk: é".encode()),
        (b"bytes too", b"bytes too"),
        ([b"", "", b"x", b"", b"y", b""], b"xy"),
        ([], b""),
        ((str(n) for n in range(5)), b"01234"),
    ],
)
def test_from_iterable(iterable, data):
    async def main():
        stream = from_iterable(iterable)
        assert isinstance(stream, Readable)
        assert b"".join(await collect(stream)) == data
        assert stream.destroyed

    play(main())


def test_from_iterable_is_a_static_method_of_readable():
    stream = Readable.from_iterable([b"a"], encoding="latin1")
    stream.on("data", (seen := []).append)
    run()
    assert seen == ["a"]


def test_from_async_iterable():
    async def main():
        assert b"".join(await collect(from_iterable(numbers(20)))) == b"".join(
            b"%d" % n for n in range(20)
        )

    play(main())


def test_from_async_iterable_feeds_a_pipe_with_back_pressure():
    async def main():
        sink = Sink(high_water_mark=1)
        held = []
        sink._write = lambda chunk, encoding, callback: (
            held.append(bytes(chunk)),
            next_tick(next_tick, callback),
        )
        await pipeline(from_iterable(numbers(50)), sink)
        assert b"".join(held) == b"".join(b"%d" % n for n in range(50))

    play(main())


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_items_before_an_error_are_delivered(trace, kind):
    def items():
        yield "a"
        yield "b"
        raise OSError("G")

    async def main():
        stream = from_iterable(items() if kind == "sync" else numbers(2, OSError("G")))
        stream.on("error", lambda error: trace(str(error)))
        async for chunk in stream:
            trace(chunk)

    with pytest.raises(OSError, match="G"):
        play(main())
    run()
    assert len(trace) == 3
    assert trace[2] == "G"


@pytest.mark.parametrize("wrong", [None, 5, object()])
def test_an_item_that_is_no_data_is_an_error(trace, wrong):
    stream = from_iterable(["a", wrong, "b"])
    stream.on("data", trace)
    stream.on("error", lambda error: trace(error.code))
    run()
    expected = "ERR_STREAM_NULL_VALUES" if wrong is None else "ERR_INVALID_ARG_TYPE"
    assert trace == [b"a", expected]


def test_only_one_item_is_taken_from_the_iterable_before_it_is_wanted(trace):
    def items():
        for name in "abc":
            trace(name)
            yield name

    stream = from_iterable(items())
    run()
    assert trace == []
    assert stream.read() == b"a"
    run()
    assert trace == ["a", "b"]
    stream.destroy()
    run()


def test_destroy_closes_a_generator(trace):
    def items():
        try:
            yield "a"
            yield "b"
            yield "c"
        finally:
            trace("closed")

    stream = from_iterable(items())
    stream.on("data", lambda chunk: stream.destroy())
    run()
    assert trace == ["closed"]


def test_a_generator_may_destroy_its_own_stream(trace):
    def items():
        yield "a"
        stream.destroy()
        trace("still here")
        yield "b"

    stream = from_iterable(items())
    stream.on("data", trace)
    stream.on("error", trace)
    run()
    assert "still here" in trace
    assert b"b" not in trace


def test_destroy_ends_an_async_generator_that_waits(trace):
    async def items():
        try:
            yield "a"
            await asyncio.get_running_loop().create_future()
        finally:
            trace("closed")

    async def main():
        stream = from_iterable(items())
        stream.on("data", trace)
        while not trace:
            await asyncio.sleep(0)
        stream.destroy()
        while trace[-1] != "closed":
            await asyncio.sleep(0)

    play(main())
    assert trace == [b"a", "closed"]


@pytest.mark.parametrize("iterable", [None, 5, object()])
def test_from_iterable_refuses_what_is_none(iterable):
    with pytest.raises(ArgTypeError) as caught:
        from_iterable(iterable)
    assert caught.value.code == "ERR_INVALID_ARG_TYPE"


# ---- async for -----------------------------------------------------------------------------------


def iterate(trace, stream, body=None, **options):
    """Run `async for` over a stream, note chunks, events and how the loop was left."""
    watch(trace, stream, "s", "end", "close")

    async def main():
        try:
            async for chunk in stream.iterator(**options) if options else stream:
                trace(chunk)
                if body is not None and body(stream) == "break":
                    break
            trace(f"left, destroyed {stream.destroyed}")
        except Exception as error:
            trace(f"caught {code(error)}, destroyed {stream.destroyed}")
        await ticks()
        await ticks()

    play(main())
    return trace


def filled(*chunks, make=Source, **options):
    stream = make(**options)
    for chunk in chunks:
        stream.push(chunk)
    return stream


@pytest.mark.spec("S3.5-01", "S3.5-02", "S3.2-29")
def test_iteration_ends_after_end_and_destroys(trace):
    stream = filled(b"a", b"b", None)
    assert iterate(trace, stream) == [b"ab", "s end", "s close", "left, destroyed True"]


@pytest.mark.spec("S3.5-04", "S3.5-06")
def test_break_destroys_without_error_event_if_nobody_listens(trace):
    stream = filled(b"a")
    assert iterate(trace, stream, lambda _: "break") == [b"a", "left, destroyed True", "s close"]
    assert stream.errored is None


@pytest.mark.spec("S3.5-04", "S3.5-05")
def test_break_emits_an_abort_error_to_a_listener(trace):
    stream = filled(b"a")
    stream.on("error", lambda error: trace(error.code))
    assert iterate(trace, stream, lambda _: "break") == [
        *[b"a", "left, destroyed True", "ABORT_ERR", "s close"],
    ]


@pytest.mark.spec("S3.5-04")
def test_exception_in_the_body_destroys_and_comes_out(trace):
    def body(stream):
        raise OSError("body")

    assert iterate(trace, filled(b"a"), body) == [b"a", "caught body, destroyed True", "s close"]


@pytest.mark.spec("S3.2-28")
def test_leaving_early_can_spare_the_stream(trace):
    stream = filled(b"a")
    assert iterate(trace, stream, lambda _: "break", destroy_on_return=False) == [
        *[b"a", "left, destroyed False"],
    ]
    assert stream.event_names() == ["end", "close"]
    stream.destroy()
    run()


@pytest.mark.spec("S3.5-07", "S3.5-08")
def test_error_of_the_stream_is_raised_and_needs_no_listener(trace):
    stream = filled(b"a")
    assert iterate(trace, stream, lambda s: s.destroy(OSError("E")) and None) == [
        *[b"a", "s close", "caught E, destroyed True"],
    ]


@pytest.mark.spec("S3.5-09")
@pytest.mark.parametrize("before", [True, False])
def test_destroyed_before_the_end_is_a_premature_close(trace, before):
    stream = filled(b"a")
    if before:
        stream.destroy()
    body = None if before else lambda s: s.destroy() and None
    assert iterate(trace, stream, body)[-2:] == [
        "s close",
        "caught ERR_STREAM_PREMATURE_CLOSE, destroyed True",
    ]


@pytest.mark.spec("S3.5-03")
def test_half_open_duplex_is_left_to_the_user(trace):
    stream = filled(b"a", None, make=Both)
    assert iterate(trace, stream) == [b"a", "s end", "left, destroyed False"]
    stream.end()
    run()
    assert trace[-1] == "s close"


def test_duplex_that_is_not_half_open_is_ended_and_destroyed(trace):
    stream = filled(b"a", None, make=Both, allow_half_open=False)
    stream.on("finish", lambda: trace("s finish"))
    assert iterate(trace, stream)[-1] == "left, destroyed True"
    assert trace[:3] == [b"a", "s end", "s finish"]


def test_iterating_an_ended_stream_again_ends_at_once():
    async def main():
        stream = filled(b"a", None)
        assert await collect(stream) == [b"a"]
        assert await collect(stream) == []

    play(main())


@pytest.mark.spec("S3.2-29")
def test_iteration_gives_text_under_an_encoding():
    async def main():
        stream = filled(b"\xe2", b"\x82\xac", None, encoding="utf8")
        assert "".join(await collect(stream)) == "€"

    play(main())


@pytest.mark.spec("S3.5-10")
def test_aclose_leaves_early(trace):
    async def main():
        stream = filled(b"a")
        iterator = stream.iterator()
        assert await anext(iterator) == b"a"
        await iterator.aclose()
        await iterator.aclose()
        assert stream.destroyed
        assert stream.event_names() == []
        with pytest.raises(StopAsyncIteration):
            await anext(iterator)

    play(main())


def test_aclose_of_an_iterator_that_was_never_used_does_nothing():
    async def main():
        stream = filled(b"a")
        iterator = stream.iterator()
        await iterator.aclose()
        assert not stream.destroyed
        stream.destroy()

    play(main())


def test_aclose_wakes_who_waits():
    async def main():
        stream = Source()
        iterator = stream.iterator()
        task = asyncio.ensure_future(anext(iterator, "over"))
        await ticks()
        await iterator.aclose()
        assert await task == "over"

    play(main())


@pytest.mark.spec("S3.5-11")
def test_a_collected_iterator_destroys_its_stream():
    async def main():
        stream = filled(b"a")
        iterator = stream.iterator()
        await anext(iterator)
        gone = weakref.ref(iterator)
        del iterator
        gc.collect()
        assert gone() is None
        assert stream.destroyed
        assert stream.event_names() == []

    play(main())


def test_two_readers_of_one_iterator_are_refused():
    async def main():
        stream = Source()
        iterator = stream.iterator()
        first = asyncio.ensure_future(anext(iterator))
        await ticks()
        with pytest.raises(RuntimeError, match="another task"):
            await anext(iterator)
        stream.push(b"a")
        assert await first == b"a"
        await iterator.aclose()

    play(main())


def test_a_cancelled_reader_loses_nothing():
    async def main():
        stream = Source()
        iterator = stream.iterator()
        task = asyncio.ensure_future(anext(iterator))
        await ticks()
        stream.push(b"a")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await anext(iterator) == b"a"
        await iterator.aclose()

    play(main())


# ---- async with ----------------------------------------------------------------------------------


async def use(stream, body=None):
    async with stream as entered:
        assert entered is stream
        if body is not None:
            body(stream)


@pytest.mark.spec("S5-09", "S5-12", "R4-04")
@pytest.mark.parametrize("make", [Source, Both])
def test_leaving_destroys_with_an_abort_error_that_is_not_raised(trace, make):
    stream = make()
    watch(trace, stream, "s")
    play(use(stream))
    assert trace == ["s error", "s close"]
    assert stream.errored.code == "ABORT_ERR"


@pytest.mark.spec("S5-14")
@pytest.mark.parametrize("make", [Source, Sink, Both])
def test_leaving_is_silent_if_nobody_listens(trace, make):
    stream = make()
    stream.on("close", lambda: trace("close"))
    play(use(stream))
    assert trace == ["close"]
    assert stream.errored is None


@pytest.mark.spec("S5-10")
def test_leaving_an_ended_stream_raises_nothing():
    async def main():
        stream = filled(None)
        stream.resume()
        await ticks()
        await ticks()
        assert stream.readable_ended
        await use(stream)

    play(main())


@pytest.mark.parametrize("when", ["before", "inside"])
def test_leaving_a_stream_that_was_destroyed_is_a_premature_close(when):
    stream = Source()
    if when == "before":
        stream.destroy()
    with pytest.raises(StateError) as caught:
        play(use(stream, None if when == "before" else lambda s: s.destroy()))
    assert caught.value.code == "ERR_STREAM_PREMATURE_CLOSE"


def test_leaving_a_failed_stream_raises_its_error():
    with pytest.raises(OSError, match="mine"):
        play(use(Source(), lambda s: s.destroy(OSError("mine"))))


@pytest.mark.spec("S5-13")
def test_leaving_a_half_open_stream_is_a_premature_close():
    async def main():
        stream = filled(None, make=Both)
        stream.resume()
        await ticks()
        await ticks()
        assert stream.readable_ended
        await use(stream)

    with pytest.raises(StateError) as caught:
        play(main())
    assert caught.value.code == "ERR_STREAM_PREMATURE_CLOSE"


def test_exception_of_the_body_is_not_replaced():
    def body(stream):
        stream.destroy(OSError("the stream's"))
        raise ValueError("the body's")

    with pytest.raises(ValueError, match="the body's"):
        play(use(Source(), body))


# ---- User streams and sockets --------------------------------------------------------------------


class FileReader(Readable):
    """What a user writes to read a file."""

    def __init__(self, path, **options):
        super().__init__(**options)
        self.file = open(path, "rb")  # noqa: SIM115

    def _read(self, size):
        self.push(self.file.read(size) or None)

    def _destroy(self, error, callback):
        self.file.close()
        callback(error)


class GzipWriter(Writable):
    """What a user writes to compress into a file."""

    def __init__(self, path, **options):
        super().__init__(**options)
        self.file = gzip.open(path, "wb", compresslevel=1)  # noqa: SIM115

    def _write(self, chunk, encoding, callback):
        self.file.write(chunk)
        callback()

    def _final(self, callback):
        self.file.close()
        callback()


class Upper(Duplex):
    """What a user writes to change data on their way, with back pressure both ways."""

    def __init__(self, **options):
        super().__init__(**options)
        self.blocked = None

    def _write(self, chunk, encoding, callback):
        if self.push(bytes(chunk).upper()):
            callback()
        else:
            self.blocked = callback

    def _read(self, size):
        callback, self.blocked = self.blocked, None
        if callback is not None:
            callback()

    def _final(self, callback):
        self.push(None)
        callback()


@pytest.mark.spec("S5-18", "S3.4-23")
def test_a_file_into_a_socket_and_a_socket_into_a_gzip_file(tmp_path):
    data = bytes(range(256)) * 4099
    (tmp_path / "in").write_bytes(data)
    reader, writer = FileReader(tmp_path / "in"), GzipWriter(tmp_path / "out.gz")

    def connected(socket):
        server.close()
        reader.pipe(socket)

    server = net.create_server(connected)
    server.listen(
        0, "127.0.0.1", lambda: net.connect(server.address().port, "127.0.0.1").pipe(writer)
    )
    run()
    assert reader.file.closed
    assert reader.destroyed
    assert writer.writable_finished
    assert gzip.decompress((tmp_path / "out.gz").read_bytes()) == data


def test_pipeline_from_a_file_through_a_duplex_over_a_socket(tmp_path):
    data = b"some text, " * 40_000
    (tmp_path / "in").write_bytes(data)

    async def main():
        server = net.create_server()
        server.listen(0, "127.0.0.1")
        await events.once(server, "listening")
        client = net.connect(server.address().port, "127.0.0.1")
        sending = pipeline(FileReader(tmp_path / "in", high_water_mark=1000), Upper(), client)
        (peer,) = await events.once(server, "connection")
        server.close()
        received = b"".join(await collect(peer))
        client.resume()
        await sending
        assert received == data.upper()

    play(main())


def test_pipeline_destroys_the_file_when_the_socket_fails(tmp_path):
    (tmp_path / "in").write_bytes(bytes(10_000_000))
    reader = FileReader(tmp_path / "in")
    outcome = []

    def connected(socket):
        server.close()
        socket.destroy()

    server = net.create_server(connected)

    def listening():
        client = net.connect(server.address().port, "127.0.0.1")
        pipeline(reader, client, outcome.append)

    server.listen(0, "127.0.0.1", listening)
    run()
    assert reader.destroyed
    assert reader.file.closed
    assert outcome[0].code in ("EPIPE", "ECONNRESET", "ERR_STREAM_PREMATURE_CLOSE")


def test_the_module_has_what_it_says_in_both_spellings():
    for name in streams.__all__:
        assert hasattr(streams, name)
    assert streams.fromIterable is from_iterable
    assert not hasattr(streams, "onAbort")
