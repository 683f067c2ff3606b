"""from_iterable(), async for and async with on user streams.

streams.md 3.5; the traces are those of Node for the same program. Sockets are in
differential/scenarios/.
"""

import asyncio
import gc
import weakref

import pytest

from pyuvnet import (
    ArgTypeError,
    Readable,
    Writable,
    next_tick,
    run,
)
from pyuvnet.streams import from_iterable, pipeline
from tests.support.streams import Both, Sink, Source, code, collect, play, ticks, watch

# ---- from_iterable() -----------------------------------------------------------------------------


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


@pytest.mark.spec("S5-09", "R4-04")
@pytest.mark.parametrize("make", [Source, Sink, Both])
def test_leaving_closes_without_an_error(trace, make):
    stream = make()
    watch(trace, stream, "s")
    play(use(stream))
    assert trace == ["s close"] if make is Source else ["s finish", "s close"]
    assert stream.errored is None
    assert stream.closed


@pytest.mark.spec("S5-13")
@pytest.mark.parametrize("make", [Source, Both])
def test_leaving_an_ended_stream_raises_nothing(make):
    async def main():
        stream = filled(None, make=make)
        stream.resume()
        await ticks()
        await ticks()
        assert stream.readable_ended
        await use(stream)
        assert stream.closed

    play(main())


@pytest.mark.spec("S5-13")
@pytest.mark.parametrize("when", ["before", "inside"])
def test_leaving_a_stream_that_was_destroyed_raises_nothing(when):
    stream = Source()
    if when == "before":
        stream.destroy()
    play(use(stream, None if when == "before" else lambda s: s.destroy()))
    assert stream.closed


@pytest.mark.spec("S5-12")
@pytest.mark.parametrize("unsent", [False, True])
def test_leaving_a_failed_stream_raises_only_if_something_is_unsent(unsent):
    stream = Stuck()

    def body(stream):
        if unsent:
            stream.write(b"x")
        stream.destroy(OSError("mine"))

    if not unsent:
        play(use(stream, body))
        return
    with pytest.raises(OSError, match="mine"):
        play(use(stream, body))


class Stuck(Writable):
    """Takes chunks, and never says that they are written."""

    def _write(self, chunk, encoding, callback):
        pass


def test_exception_of_the_body_is_not_replaced():
    def body(stream):
        stream.destroy(OSError("the stream's"))
        raise ValueError("the body's")

    with pytest.raises(ValueError, match="the body's"):
        play(use(Source(), body))
