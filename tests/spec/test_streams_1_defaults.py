"""streams.md 1: construction and defaults."""

from __future__ import annotations

import sys

import pytest

import pyuvnet
from pyuvnet import Duplex, Readable, Writable, net, run, streams
from tests.support.cases import cases

DEFAULT = 16384 if sys.platform == "win32" else 65536


@pytest.mark.spec("S0-01", "S2-11", "S4.1-08", "D15")
def test_object_mode_is_refused_and_always_false() -> None:
    for name in ("object_mode", "readable_object_mode", "writableObjectMode"):
        for make in (net.Socket, Duplex, Readable, Writable):
            with pytest.raises(TypeError, match=r"is not supported\. Received true") as caught:
                make(**{name: True})
            assert caught.value.code == "ERR_INVALID_ARG_VALUE", make
            make({name: False}).destroy()
    socket = net.Socket()
    assert socket.readable_object_mode is socket.writable_object_mode is False
    run()


@pytest.mark.spec("R6-01")
@pytest.mark.parametrize("make", [net.Socket, Duplex, Readable, Writable])
def test_options_come_in_either_spelling_as_keywords_or_mapping(make) -> None:
    def marks(stream) -> set[int]:
        stream.destroy()
        names = ("readable_high_water_mark", "writable_high_water_mark")
        return {getattr(stream, name) for name in names if hasattr(stream, name)}

    options = {"highWaterMark": 5, "not ours": 1}
    for stream in (make(high_water_mark=5), make(highWaterMark=5), make(options),
                   make({"high_water_mark": 6}, highWaterMark=5)):  # fmt: skip
        assert marks(stream) == {5}
    assert options == {"highWaterMark": 5, "not ours": 1}
    for wrong in ({"nonsense": 1}, {"high_water_mark": 5, "highWaterMark": 5}):
        with pytest.raises(TypeError) as caught:
            make(**wrong)
        assert caught.value.code == "ERR_UNKNOWN_OPTION"
    with pytest.raises(TypeError, match="Received -1") as caught:
        make(highWaterMark=-1)
    assert caught.value.code == "ERR_INVALID_ARG_VALUE"
    run()


@pytest.mark.spec("S1-01", "N153")
def test_marks_of_a_new_socket_and_of_an_accepted_one(connect) -> None:
    client = connect(lambda peer: peer.end())
    run()
    for socket in (net.Socket(), client, client.peer):
        assert socket.readable_high_water_mark == socket.writable_high_water_mark == DEFAULT


@pytest.fixture
def default_mark():
    yield
    pyuvnet.set_default_high_water_mark(False, DEFAULT)
    pyuvnet.set_default_high_water_mark(True, 16)


@pytest.mark.spec("S1-02")
@pytest.mark.usefixtures("default_mark")
def test_the_default_mark_counts_for_streams_made_later(connect) -> None:
    assert pyuvnet.get_default_high_water_mark() == DEFAULT
    assert pyuvnet.get_default_high_water_mark(object_mode=True) == 16
    before = net.Socket()
    pyuvnet.set_default_high_water_mark(False, 1000)
    assert pyuvnet.getDefaultHighWaterMark(False) == 1000
    assert streams.get_default_high_water_mark() == 1000
    client = connect(lambda peer: peer.end())
    run()
    for stream in (client, client.peer, Duplex(), Readable(), net.Socket()):
        assert stream.readable_high_water_mark == 1000
    for stream in (client, client.peer, Duplex(), Writable(), net.Socket()):
        assert stream.writable_high_water_mark == 1000
    assert before.readable_high_water_mark == DEFAULT
    pyuvnet.set_default_high_water_mark(True, 3)
    assert pyuvnet.get_default_high_water_mark(True) == 3
    assert net.Socket().readable_high_water_mark == 1000


@pytest.mark.spec("S1-03", "R6-01")
@cases(
    ("value", "code"),
    [
        (-1, "ERR_OUT_OF_RANGE"),
        (1.5, "ERR_OUT_OF_RANGE"),
        (float("nan"), "ERR_OUT_OF_RANGE"),
        (float("inf"), "ERR_OUT_OF_RANGE"),
        ("5", "ERR_INVALID_ARG_TYPE"),
        (True, "ERR_INVALID_ARG_TYPE"),
        (None, "ERR_INVALID_ARG_TYPE"),
    ],
)
def test_a_wrong_default_mark_is_refused_and_changes_nothing(value, code) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        pyuvnet.set_default_high_water_mark(False, value)
    assert caught.value.code == code
    assert pyuvnet.get_default_high_water_mark() == DEFAULT


@pytest.mark.spec("S1-04", "S4.5-04", "S3.3-10")
@pytest.mark.parametrize("first", ["end", "finish"])
def test_a_socket_is_destroyed_when_both_sides_are_over(connect, trace, first) -> None:
    def both(client, peer) -> None:
        for event in ("end", "finish", "close"):
            client.on(event, lambda *args, event=event: trace(event, client.destroyed))
        client.resume()
        sides = [peer.end, client.end]
        if first == "finish":
            sides.reverse()
        client.once(first, lambda: pyuvnet.set_immediate(sides[1]))
        sides[0]()

    connect(both=both, server={"allow_half_open": True}, allow_half_open=True)
    run()
    assert [entry[0] for entry in trace] == [first, "end" if first == "finish" else "finish",
                                             "close"]  # fmt: skip
    assert [entry[1] for entry in trace] == [False, False, True]


@pytest.mark.spec("S1-05", "O1.2-05")
def test_close_comes_in_the_closing_phase(connect, trace) -> None:
    def both(client, peer) -> None:
        # We are in an immediate: what is due is a tick, then 'close', then the next turn's.
        client.on("close", trace.note("close"))
        pyuvnet.set_immediate(trace, "next immediate")
        client.destroy()
        pyuvnet.next_tick(trace, "tick")
        assert client.closed

    connect(both=both)
    run()
    assert trace == ["tick", ("close", False), "next immediate"]


@pytest.mark.spec("S1-05", "O1.2-05")
def test_close_without_a_handle_comes_in_a_tick(trace) -> None:
    socket = net.Socket().on("close", trace.note("close"))
    pyuvnet.set_immediate(trace, "immediate")
    pyuvnet.next_tick(trace, "tick before")
    socket.destroy()
    pyuvnet.next_tick(trace, "tick after")
    run()
    assert trace == ["tick before", ("close", False), "tick after", "immediate"]


@pytest.mark.spec("S1-06")
def test_text_is_sent_in_its_encoding(connect) -> None:
    got = bytearray()

    def both(client, peer) -> None:
        client.write("é")
        client.write("é", "latin1")
        client.set_default_encoding("utf16le")
        client.write("é")
        client.end("é", "utf8")

    connect(lambda peer: peer.on("data", got.extend), both)
    run()
    assert got == b"\xc3\xa9\xe9\xe9\x00\xc3\xa9"
