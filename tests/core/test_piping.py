"""pipe() and unpipe(), streams.md 3.4: order, back pressure, several destinations, failures.

The traces are those of Node for the same program; where pyuvnet goes on after a failing listener
and Node's process would end, the name of the test says so.
"""

import gc
import sys

import pytest

from pyuvnet import ArgTypeError, Duplex, EventEmitter, Readable, Writable, next_tick, run
from pyuvnet import set_exception_handler as handle_exceptions


class Source(Readable):
    def _read(self, size):
        pass


class Sink(Writable):
    """Notes what is written; answers at once, or keeps the callbacks in `held`."""

    def __init__(self, trace, name="w", hold=False, **options):
        super().__init__(**options)
        self.trace, self.name, self.hold, self.held = trace, name, hold, []

    def _write(self, chunk, encoding, callback):
        self.trace(f"{self.name} got {bytes(chunk).decode()}")
        if self.hold:
            self.held.append(callback)
        else:
            callback()


class Echo(Duplex):
    def __init__(self, trace, **options):
        super().__init__(**options)
        self.trace = trace

    def _read(self, size):
        pass

    def _write(self, chunk, encoding, callback):
        self.trace(f"got {bytes(chunk).decode()}")
        callback()


def watch(trace, emitter, name, *events):
    for event in events:
        emitter.on(event, lambda *args, event=event: trace(f"{name} {event}"))


@pytest.mark.spec("S3.1-06", "S3.4-01", "S3.4-05", "S3.4-06", "S3.4-07", "S3.4-12", "S3.2-26")
def test_order_of_a_whole_pipe(trace):
    source, sink = Source(), Sink(trace)
    watch(trace, source, "r", "pause", "resume", "end", "close")
    watch(trace, sink, "w", "pipe", "unpipe", "finish", "close")
    assert source.pipe(sink) is sink
    assert trace == ["w pipe"]
    assert source.readable_flowing is True
    source.push(b"a")
    source.push(b"b")
    source.push(None)
    run()
    assert trace[1:] == [
        *["r resume", "w got a", "w got b", "r end"],
        *["w finish", "w unpipe", "r close", "w close"],
    ]


@pytest.mark.spec("S3.4-05", "S3.4-16", "S3.2-27")
def test_pipe_and_unpipe_tell_the_source(trace):
    source, sink = Source(), Sink(trace)
    sink.on("pipe", trace.note("pipe")).on("unpipe", lambda src, info: trace("unpipe", src))
    source.pipe(sink)
    assert source.unpipe(sink) is source
    assert trace == [("pipe", source), ("unpipe", source)]
    source.destroy()
    sink.destroy()
    run()


@pytest.mark.spec("S3.4-09", "S3.2-26")
@pytest.mark.parametrize("how", [{"options": {"end": False}}, {"end": False}])
def test_end_false_only_unpipes_at_the_end(trace, how):
    source, sink = Source(), Sink(trace)
    watch(trace, source, "r", "pause", "end", "close")
    watch(trace, sink, "w", "unpipe", "finish")
    source.pipe(sink, **how)
    source.push(b"a")
    source.push(None)
    run()
    assert trace == ["w got a", "r end", "r pause", "w unpipe", "r close"]
    assert not sink.writable_ended
    sink.end("more")
    run()
    assert trace[-2:] == ["w got more", "w finish"]


@pytest.mark.spec("S3.4-02", "S3.4-03")
def test_the_source_waits_until_all_destinations_have_drained(trace):
    source = Source()
    a = Sink(trace, "a", hold=True, high_water_mark=2)
    b = Sink(trace, "b", hold=True, high_water_mark=2)
    watch(trace, source, "r", "pause", "resume")
    watch(trace, a, "a", "drain")
    watch(trace, b, "b", "drain")
    source.pipe(a)
    source.pipe(b)
    source.push(b"xx")
    run()
    assert trace == ["r resume", "a got xx", "r pause", "b got xx"]
    source.push(b"yy")
    a.held.pop()()
    run()
    assert trace[4:] == ["a drain"]
    assert source.readable_flowing is False
    b.held.pop()()
    run()
    assert trace[5:] == ["b drain", "r resume", "a got yy", "r pause", "b got yy"]
    source.destroy()
    a.destroy()
    b.destroy()
    run()


def test_unpiping_the_destination_that_blocks_lets_the_others_go_on(trace):
    source = Source()
    slow, fast = Sink(trace, "slow", hold=True, high_water_mark=1), Sink(trace, "fast")
    source.pipe(slow)
    source.pipe(fast)
    source.push(b"x")
    run()
    assert source.readable_flowing is False
    source.unpipe(slow)
    assert source.readable_flowing is True
    source.push(b"y")
    run()
    assert trace == ["slow got x", "fast got x", "fast got y"]
    source.destroy()
    run()


@pytest.mark.spec("S3.4-04")
def test_a_destination_that_needs_drain_already_starts_paused(trace):
    source, sink = Source(), Sink(trace, hold=True, high_water_mark=1)
    sink.write(b"first")
    source.pipe(sink)
    assert source.readable_flowing is False
    source.push(b"x")
    run()
    assert trace == ["w got first"]
    sink.held.pop()()
    run()
    assert trace == ["w got first", "w got x"]
    source.destroy()
    run()


@pytest.mark.spec("S3.4-17", "S3.4-19")
def test_unpipe_of_all_pauses_the_source_until_resume(trace):
    source, a, b = Source(), Sink(trace, "a"), Sink(trace, "b")
    watch(trace, source, "r", "pause")
    watch(trace, a, "a", "unpipe")
    watch(trace, b, "b", "unpipe")
    source.pipe(a)
    source.pipe(b)
    run()
    source.unpipe()
    assert trace == ["r pause", "a unpipe", "b unpipe"]
    assert source.readable_flowing is False
    assert source.is_paused()
    source.push(b"z")
    source.on("data", trace.note("data"))
    run()
    assert source.readable_length == 1
    source.resume()
    run()
    assert trace[3:] == [("data", b"z")]
    source.destroy()
    run()


@pytest.mark.spec("S3.4-18")
def test_unpipe_of_an_unknown_destination_does_nothing(trace):
    source, sink, other = Source(), Sink(trace), Sink(trace, "other")
    watch(trace, other, "other", "unpipe")
    assert source.unpipe(other) is source
    assert source.unpipe() is source
    assert source.readable_flowing is None
    source.pipe(sink)
    source.unpipe(other)
    assert source.readable_flowing is True
    source.destroy()
    run()
    assert trace == []


def test_the_same_destination_twice_gets_everything_twice(trace):
    source, sink = Source(), Sink(trace)
    source.pipe(sink)
    source.pipe(sink)
    source.push(b"x")
    run()
    source.unpipe(sink)
    source.push(b"y")
    run()
    assert trace == ["w got x", "w got x", "w got y"]
    assert source.readable_flowing is True
    source.unpipe(sink)
    assert source.readable_flowing is False
    source.destroy()
    run()


@pytest.mark.spec("S3.4-08")
def test_pipe_after_the_end_ends_the_destination_in_a_tick(trace):
    source, sink = Source(), Sink(trace)
    source.push(None)
    source.resume()
    run()
    watch(trace, sink, "w", "pipe", "finish", "unpipe")
    source.pipe(sink)
    assert not sink.writable_ended
    next_tick(lambda: trace(f"ended {sink.writable_ended}"))
    run()
    assert trace == ["w pipe", "ended True", "w finish", "w unpipe"]


def test_pipe_resumes_a_paused_source(trace):
    source, sink = Source(), Sink(trace)
    source.pause()
    source.push(b"x")
    source.pipe(sink)
    run()
    assert trace == ["w got x"]
    source.destroy()
    run()


def test_a_readable_listener_rules_over_the_pipe(trace):
    source, sink = Source(), Sink(trace)
    watch(trace, source, "r", "readable")
    source.pipe(sink)
    assert source.readable_flowing is False
    source.push(b"x")
    run()
    assert trace == ["r readable"]
    assert source.read() == b"x"
    run()
    assert trace == ["r readable", "w got x"]
    source.destroy()
    run()


@pytest.mark.spec("S6.1-19")
def test_the_steps_of_a_pipe_are_in_no_listing(trace):
    source, sink = Source(), Sink(trace)
    source.pipe(sink)
    assert source.event_names() == sink.event_names() == []
    assert source.listener_count("data") == sink.listener_count("error") == 0
    source.unpipe()
    source.destroy()
    run()


# ---- Failures ------------------------------------------------------------------------------------


@pytest.mark.spec("S3.4-13", "S3.4-21")
def test_failed_destination_is_unpiped_before_its_error_is_told(trace):
    source, sink = Source(), Sink(trace)
    sink._write = lambda chunk, encoding, callback: callback(OSError("boom"))
    watch(trace, source, "r", "pause")
    watch(trace, sink, "w", "unpipe", "error", "close")
    source.pipe(sink)
    source.push(b"x")
    run()
    assert trace == ["r pause", "w unpipe", "w error", "w close"]
    assert not source.destroyed
    source.destroy()
    run()


@pytest.mark.spec("S3.4-14")
def test_error_of_a_destination_without_listener_is_unhandled_and_close_still_comes(trace):
    source, sink = Source(), Sink(trace)
    failure = OSError("boom")
    sink._write = lambda chunk, encoding, callback: callback(failure)
    watch(trace, sink, "w", "unpipe", "close")
    source.pipe(sink)
    source.push(b"x")
    with pytest.raises(OSError, match="boom") as caught:
        run()
    assert caught.value is failure
    run()
    assert trace == ["w unpipe", "w close"]
    source.destroy()
    run()


def test_error_that_the_user_emits_destroys_the_destination(trace):
    source, sink = Source(), Sink(trace)
    uncaught = []
    handle_exceptions(uncaught.append)
    failure = OSError("by hand")
    watch(trace, sink, "w", "unpipe", "close")
    source.pipe(sink)
    sink.emit("error", failure)
    assert sink.destroyed
    run()
    assert trace == ["w unpipe", "w close"]
    assert uncaught == [failure]
    source.destroy()
    run()


@pytest.mark.spec("S3.4-22")
def test_write_that_raises_destroys_the_destination_with_the_exception(trace):
    source, sink = Source(), Sink(trace)

    def write(chunk):
        raise ValueError("thrown")

    sink.write = write
    sink.on("unpipe", lambda *_: trace("unpipe")).on("error", trace.note("error"))
    source.pipe(sink)
    source.push(b"x")
    run()
    assert trace[0] == "unpipe"
    assert isinstance(trace[1][1], ValueError)
    source.destroy()
    run()


@pytest.mark.spec("S3.4-15")
def test_destroyed_source_neither_ends_nor_destroys_the_destination(trace):
    source, sink = Source(), Sink(trace)
    watch(trace, source, "r", "error", "close")
    watch(trace, sink, "w", "unpipe", "finish", "close", "error")
    source.pipe(sink)
    source.push(b"x")
    run()
    source.destroy(OSError("e"))
    run()
    assert trace == ["w got x", "r error", "r close"]
    assert not sink.destroyed
    assert not sink.writable_ended


@pytest.mark.spec("S3.4-11", "S3.4-12")
@pytest.mark.parametrize(
    ("how", "events"),
    [
        ("destroy", ["w close", "r pause", "w unpipe"]),
        ("end", ["w finish", "r pause", "w unpipe", "w close"]),
    ],
)
def test_destination_that_closes_or_finishes_is_unpiped(trace, how, events):
    source, sink = Source(), Sink(trace)
    watch(trace, source, "r", "pause", "close")
    watch(trace, sink, "w", "unpipe", "finish", "close")
    source.pipe(sink)
    run()
    getattr(sink, how)()
    run()
    assert trace == events
    assert source.readable_flowing is False
    source.destroy()
    run()


@pytest.mark.spec("R6-01")
@pytest.mark.parametrize("dest", [None, 5, b"path", object(), Source, EventEmitter()])
def test_what_is_no_destination_is_refused_and_nothing_changes(dest):
    source = Source()
    with pytest.raises(ArgTypeError) as caught:
        source.pipe(dest)
    assert caught.value.code == "ERR_INVALID_ARG_TYPE"
    assert source.readable_flowing is None
    source.destroy()
    run()


# ---- Into itself, into foreign objects, to the standard streams ----------------------------------


@pytest.mark.spec("S3.4-20")
def test_a_duplex_piped_into_itself(trace):
    echo = Echo(trace)
    watch(trace, echo, "d", "pipe", "data", "end", "finish", "unpipe", "close")
    echo.pipe(echo)
    echo.push(b"x")
    echo.push(None)
    run()
    assert trace == [
        *["d pipe", "d data", "got x", "d end", "d finish", "d unpipe", "d close"],
    ]


def test_a_duplex_piped_into_itself_without_end(trace):
    echo = Echo(trace)
    watch(trace, echo, "d", "end", "finish", "unpipe", "close")
    echo.pipe(echo, end=False)
    echo.push(b"x")
    echo.push(None)
    run()
    assert trace == ["got x", "d end", "d unpipe"]
    echo.end()
    run()
    assert trace[3:] == ["d finish", "d close"]


class Foreign:
    """The least that a destination can be: not one of our classes, nor derived from one."""

    def __init__(self, answers=()):
        self.listeners = {}
        self.written = []
        self.ended = 0
        self.answers = list(answers)

    def on(self, event, listener):
        self.listeners.setdefault(event, []).append(listener)
        return self

    def once(self, event, listener):
        def wrapper(*args):
            self.listeners[event].remove(wrapper)
            listener(*args)

        wrapper.listener = listener
        return self.on(event, wrapper)

    def remove_listener(self, event, listener):
        for known in self.listeners.get(event, []):
            if known == listener or getattr(known, "listener", None) == listener:
                self.listeners[event].remove(known)
                break
        return self

    def emit(self, event, *args):
        listeners = list(self.listeners.get(event, []))
        for listener in listeners:
            listener(*args)
        return bool(listeners)

    def write(self, chunk):
        self.written.append(chunk)
        return self.answers.pop(0) if self.answers else True

    def end(self):
        self.ended += 1
        self.emit("finish")

    def left(self):
        return {event: found for event, found in self.listeners.items() if found}


@pytest.mark.spec("S3.4-23")
def test_a_foreign_object_is_a_destination(trace):
    source, dest = Source(), Foreign(answers=[True, False])
    dest.on("pipe", trace.note("pipe"))
    dest.on("unpipe", lambda src, info: trace("unpipe", src))
    assert source.pipe(dest) is dest
    for chunk in (b"a", b"b", b"c"):
        source.push(chunk)
    run()
    assert dest.written == [b"a", b"b"]
    assert source.readable_flowing is False
    dest.emit("drain")
    run()
    assert dest.written == [b"a", b"b", b"c"]
    source.push(None)
    run()
    assert dest.ended == 1
    assert trace == [("pipe", source), ("unpipe", source)]
    assert set(dest.left()) == {"pipe", "unpipe"}
    assert source.destroyed


def test_a_foreign_object_is_unpiped_without_trace():
    source, dest = Source(), Foreign()
    source.pipe(dest)
    source.unpipe(dest)
    assert dest.left() == {}
    source.pipe(dest)
    dest.emit("error", OSError("its own"))
    assert dest.left() == {}
    source.push(b"kept")
    run()
    assert dest.written == []
    source.destroy()
    run()


def test_a_foreign_write_that_raises_reaches_the_loop():
    source, dest = Source(), Foreign()

    def write(chunk):
        raise ValueError("thrown")

    dest.write = write
    source.pipe(dest)
    source.push(b"x")
    with pytest.raises(ValueError, match="thrown"):
        run()
    source.destroy()
    run()


@pytest.mark.spec("S3.4-10")
def test_a_standard_stream_is_written_and_never_ended(capfdbinary):
    for dest in (sys.stdout, sys.stderr):
        source = Source()
        print("before", file=dest)
        assert source.pipe(dest) is dest
        source.push("é\n")
        source.push(None)
        run()
        assert source.destroyed
        assert not dest.closed
        print("after", file=dest, flush=True)
    assert capfdbinary.readouterr() == (b"before\n\xc3\xa9\nafter\n",) * 2


def test_a_standard_stream_is_unpiped(capsys):
    source = Source()
    source.pipe(sys.stdout)
    source.unpipe(sys.stdout)
    source.push("x")
    run()
    assert source.readable_length == 1
    assert capsys.readouterr().out == ""
    source.destroy()
    run()


# ---- What it costs -------------------------------------------------------------------------------


def test_a_pipe_is_one_listener_of_all_its_events(trace):
    # An idle connection that is piped costs no more than one with a listener.
    source, sink = Source(), Sink(trace)
    sink.on("error", trace.note("error"))
    gc.collect()
    # What was there stays alive, so that nothing new gets its place and id.
    before = gc.get_objects()
    source.pipe(sink)
    after = gc.get_objects()
    known = {id(each) for each in [*before, before]}
    kinds = {type(each).__name__ for each in after if id(each) not in known}
    assert kinds - {"tuple"} == {"Piping", "MoreEvents"}
    source.destroy()
    sink.destroy()
    run()


def test_a_pipe_into_itself_leaves_no_listener_behind(trace):
    echo = Echo(trace)
    echo.pipe(echo)
    echo.unpipe()
    assert echo.emit("data", b"x") is False
    assert [echo.emit(event) for event in ("end", "close", "finish", "unpipe", "drain")] == [
        False
    ] * 5
    with pytest.raises(ValueError, match="nobody"):
        echo.emit("error", ValueError("nobody"))
    echo.destroy()
    run()


def test_an_event_that_a_listener_emits_again_reaches_the_pipe_once(trace):
    # As a once listener, which Node's pipe has for the end of its source.
    source, sink = Source(), Sink(trace)
    source.once("end", lambda: source.emit("end"))
    source.pipe(sink)
    sink.end = trace.note("ended")
    source.emit("end")
    assert trace == ["ended"]
    source.destroy()
    sink.destroy()
    run()
