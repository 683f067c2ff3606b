"""streams.finished(), pipeline(), and user streams with sockets.

streams.md 5 and 6; the traces are those of Node for the same program. Sockets are in
differential/scenarios/.
"""

import asyncio
import gzip
import sys

import pytest

import pyuvnet
from pyuvnet import (
    AbortController,
    AbortError,
    AbortSignal,
    ArgTypeError,
    Duplex,
    Readable,
    Writable,
    next_tick,
    run,
    streams,
)
from pyuvnet.streams import finished, from_iterable, pipeline
from pyuvnet.testing import pair
from tests.support.streams import EVENTS, Both, Sink, Source, collect, play, tell, ticks, watch

pairs = pytest.mark.skipif(sys.platform == "win32", reason="pair() makes unix sockets")

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


@pairs
@pytest.mark.spec("S5-18", "S3.4-23")
def test_a_file_into_a_socket_and_a_socket_into_a_gzip_file(tmp_path):
    data = bytes(range(256)) * 4099
    (tmp_path / "in").write_bytes(data)
    reader, writer = FileReader(tmp_path / "in"), GzipWriter(tmp_path / "out.gz")
    client, server = pair()
    reader.pipe(server)
    client.pipe(writer)
    run()
    assert reader.file.closed
    assert reader.destroyed
    assert writer.writable_finished
    assert gzip.decompress((tmp_path / "out.gz").read_bytes()) == data


@pairs
def test_pipeline_from_a_file_through_a_duplex_over_a_socket(tmp_path):
    data = b"some text, " * 40_000
    (tmp_path / "in").write_bytes(data)

    async def main():
        client, server = pair(chop=(1, 50_000))
        sending = pipeline(FileReader(tmp_path / "in", high_water_mark=1000), Upper(), client)
        received = b"".join(await collect(server))
        client.resume()
        await sending
        assert received == data.upper()

    play(main())


@pairs
def test_pipeline_destroys_the_file_when_the_socket_fails(tmp_path):
    (tmp_path / "in").write_bytes(bytes(10_000_000))
    reader = FileReader(tmp_path / "in")
    outcome = []
    client, server = pair(reset_after=1_000_000)
    server.on("error", lambda error: None).resume()
    pipeline(reader, client, outcome.append)
    run()
    assert reader.destroyed
    assert reader.file.closed
    assert [error.code for error in outcome] == ["ECONNRESET"]


def test_the_module_has_what_it_says_in_both_spellings():
    for name in streams.__all__:
        assert hasattr(streams, name)
    assert streams.fromIterable is from_iterable
    assert not hasattr(streams, "onAbort")


# ---- What Node has and this has not --------------------------------------------------------------


@pytest.mark.spec("D270")
@pytest.mark.parametrize(
    ("module", "name"),
    [
        *((streams, name) for name in ("compose", "add_abort_signal", "duplexPair", "isErrored")),
        *((streams, name) for name in ("consumers", "from_", "web")),
        *((pyuvnet, name) for name in ("Transform", "pipeline", "createServer")),
    ],
)
def test_what_is_not_there_says_what_to_use(module, name):
    with pytest.raises(AttributeError) as missing:
        getattr(module, name)
    with pytest.raises(ImportError) as refused:
        exec(f"from {module.__name__} import {name}")
    assert missing.value.__notes__ == refused.value.__notes__
    assert not hasattr(module, name)
    with pytest.raises(ImportError):
        exec(f"from {module.__name__} import nothing_of_the_kind")


@pytest.mark.spec("D272")
@pytest.mark.parametrize("step", ["read", "write", "writev", "final", "destroy", "construct",
                                  "transform", "flush"])  # fmt: skip
def test_a_step_that_is_no_function_is_refused(step):
    with pytest.raises(TypeError) as refused:
        streams.Transform({step: "print"})
    assert refused.value.code == "ERR_INVALID_ARG_TYPE"
