"""Duplex: both halves together: half-open, destruction, who destroys when, Node's names."""

from __future__ import annotations

import gc
import inspect
import weakref

import pytest

from pyuvnet import Duplex, Writable, next_tick, run, set_immediate
from tests.support.errors import BoomError


class Both(Duplex):
    """The test pushes into it and sees what was written; writes are taken at once."""

    def __init__(self, **options):
        super().__init__(**options)
        self.got = []

    def _read(self, size):
        pass

    def _write(self, chunk, encoding, callback):
        self.got.append(bytes(chunk))
        callback()


EVENTS = ("end", "finish", "error", "close")


def watched(stream, trace):
    for event in EVENTS:
        stream.on(event, trace.note(event))
    return stream


def finish(stream):
    stream.destroy()
    run()


@pytest.mark.spec("S1-04", "S4.5-04")
def test_close_comes_when_both_sides_are_done(trace):
    stream = watched(Both(), trace)
    stream.push(None)
    stream.resume()
    run()
    assert trace == ["end"]
    assert stream.writable
    stream.end(b"x")
    run()
    assert trace == ["end", "finish", "close"]
    assert stream.got == [b"x"]
    assert stream.destroyed


@pytest.mark.spec("S1-04", "S3.3-10")
def test_the_other_way_round(trace):
    stream = watched(Both(), trace).end()
    run()
    assert trace == ["finish"]
    assert stream.readable
    stream.push(b"x")
    stream.push(None)
    stream.on("data", trace)
    run()
    assert trace == ["finish", b"x", "end", "close"]


@pytest.mark.spec("S3.3-09")
def test_without_half_open_end_ends_the_writable_side_in_a_later_tick(trace):
    stream = watched(Both(allow_half_open=False), trace)
    stream.on("end", lambda: (next_tick(stream.write, b"still"), trace(stream.writable_ended)))
    stream.push(None)
    stream.resume()
    run()
    assert trace == ["end", False, "finish", "close"]
    assert stream.got == [b"still"]


def test_allow_half_open_can_be_changed(trace):
    stream = watched(Both(), trace)
    assert stream.allow_half_open
    stream.allowHalfOpen = False
    assert stream.allow_half_open is False
    stream.push(None)
    stream.resume()
    run()
    assert trace == ["end", "finish", "close"]


@pytest.mark.spec("S2-01", "S2-10", "S4.1-01", "S4.1-09")
def test_an_error_of_one_side_ends_both(trace):
    stream = watched(Both(), trace)
    error = BoomError()
    stream.push(b"x")
    stream.destroy(error)
    assert not stream.readable
    assert not stream.writable
    assert (stream.readable_aborted, stream.writable_aborted) == (True, True)
    assert stream.write(b"y") is False
    run()
    assert trace == [("error", error), "close"]


@pytest.mark.spec("S2-01", "S4.1-01")
def test_a_side_may_be_missing(trace):
    source = watched(Both(writable=False), trace)
    assert not source.writable
    source.push(None)
    source.resume()
    run()
    assert trace == ["end", "close"]
    sink = watched(Both(readable=False), trace)
    assert not sink.readable
    sink.end()
    run()
    assert trace[2:] == ["finish", "close"]


@pytest.mark.spec("S1-01", "S2-11", "S4.1-08")
@pytest.mark.parametrize(
    ("options", "marks"),
    [
        ({}, (65536, 65536)),
        ({"high_water_mark": 5}, (5, 5)),
        ({"readable_high_water_mark": 5}, (5, 65536)),
        ({"writable_high_water_mark": 0}, (65536, 0)),
        ({"high_water_mark": 7, "readable_high_water_mark": 5}, (7, 7)),
    ],
)
def test_marks(options, marks):
    stream = Both(**options)
    assert (stream.readable_high_water_mark, stream.writable_high_water_mark) == marks
    assert stream.readable_object_mode is stream.writable_object_mode is False


@pytest.mark.parametrize("mark", [-1, 1.5, "5", True])
def test_a_mark_must_be_a_whole_number(mark):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        Both(high_water_mark=mark)
    assert caught.value.code == "ERR_INVALID_ARG_VALUE"


@pytest.mark.spec("S5-05")
def test_destroy_in_every_listener_is_survived(trace):
    for event in (*EVENTS, "data", "drain", "resume", "pause"):
        stream = watched(Both(writable_high_water_mark=1), trace)
        stream.on(event, lambda *args, stream=stream: stream.destroy())
        stream.push(b"x")
        stream.push(None)
        stream.write(b"y")
        stream.on("data", lambda chunk: None)
        stream.pause().resume()
        stream.end()
        run()
        assert stream.destroyed
        assert trace.count("close") == 1, event
        trace.clear()


@pytest.mark.spec("S5-01")
def test_own_destroy_runs_once_and_may_change_the_error(trace):
    class Own(Both):
        def _destroy(self, error, callback):
            trace("_destroy", error)
            set_immediate(callback, other)

    other = BoomError("other")
    stream = watched(Own(), trace)
    stream.destroy()
    stream.destroy(BoomError("late"))
    assert not stream.closed
    run()
    assert trace == [("_destroy", None), ("error", other), "close"]


def test_an_exception_in_destroy_is_the_error(trace):
    class Bad(Both):
        def _destroy(self, error, callback):
            raise boom

    boom = BoomError()
    watched(Bad(), trace).destroy()
    run()
    assert trace == [("error", boom), "close"]


def test_piped_into_itself_it_echoes():
    stream = Both()
    assert stream.pipe(stream) is stream
    for chunk in (b"a", b"b"):
        stream.push(chunk)
    stream.push(None)
    run()
    assert stream.got == [b"a", b"b"]
    assert stream.destroyed


def test_a_stream_in_a_cycle_is_collected():
    stream = Both()
    stream.on("data", stream.write)
    stream.push(b"x")
    stream.write(b"y", lambda error, stream=stream: None)
    run()
    reference = weakref.ref(stream)
    del stream
    gc.collect()
    assert reference() is None


def test_waiting_ticks_keep_the_stream_alive(trace):
    stream = Both()
    stream.on("close", trace.note("close"))
    stream.destroy()
    del stream
    gc.collect()
    run()
    assert trace == ["close"]


@pytest.mark.spec("N036")
def test_the_writable_methods_are_writables_own():
    # Every public member, with its one docstring; each is another descriptor of the C function.
    face = {name: member for name, member in vars(Writable).items() if not name.startswith("_")}
    assert {"write", "end", "cork", "writable_length", "writableLength"} <= set(face)
    for name, member in face.items():
        assert vars(Duplex)[name].__doc__ == member.__doc__
        if callable(member):
            assert inspect.signature(vars(Duplex)[name]) == inspect.signature(member)
    stream = Both()
    with pytest.raises(TypeError):
        Writable.cork(stream)
    with pytest.raises(TypeError):
        vars(Writable)["writable_length"].__get__(stream)
    with pytest.raises(TypeError):
        vars(Duplex)["writable_length"].__get__(Writable())
    finish(stream)


def test_nodes_names_are_the_same_objects():
    for pep8, node in (
        ("set_default_encoding", "setDefaultEncoding"),
        ("writable_need_drain", "writableNeedDrain"),
    ):
        assert Duplex.__dict__[node] is Duplex.__dict__[pep8]
    stream = Both(high_water_mark=3)
    assert stream.readableHighWaterMark == stream.writableHighWaterMark == 3
    finish(stream)
