"""streams.md 3.1: the modes of reading, on sockets; those of user streams are in core/."""

from __future__ import annotations

import pytest

import pyuvnet
from pyuvnet import run


@pytest.mark.spec("S3.1-01", "S3.1-02")
def test_a_socket_nobody_asked_is_read_ahead_and_stays_unasked(connect, when, trace) -> None:
    def both(client, peer) -> None:
        peer.write(b"12345")
        when(lambda: client.bytes_read, lambda: look(client, peer))

    def look(client, peer) -> None:
        trace(client.readable_flowing, client.readable_length, client.bytes_read)
        assert client.read() == b"12345"
        client.destroy()
        peer.destroy()

    connect(both=both)
    run()
    assert trace == [(None, 5, 5)]


@pytest.mark.spec("S3.1-03")
def test_reading_stops_at_the_mark_and_goes_on_below_it(connect, when, trace) -> None:
    def both(client, peer) -> None:
        peer.write(b"x" * 500_000)
        when(lambda: client.bytes_read >= 1000, lambda: full(client, peer))

    def full(client, peer) -> None:
        stopped = client.bytes_read
        # One read may pass the mark, by what libuv reads at a time.
        assert 1000 <= stopped <= 1000 + 65536
        # The mark is not reached from below by so little: nothing is read.
        assert len(client.read(1)) == 1
        assert client.readable_length >= 1000
        pyuvnet.set_timeout(still, 20, client, peer, stopped)

    def still(client, peer, stopped) -> None:
        assert client.bytes_read == stopped
        client.read()
        when(lambda: client.bytes_read > stopped, lambda: more(client, peer))

    def more(client, peer) -> None:
        trace("more")
        client.destroy()
        peer.destroy()

    connect(both=both, high_water_mark=1000)
    run()
    assert trace == ["more"]


@pytest.mark.spec("S3.1-04", "S3.1-05", "S3.1-06", "S3.1-07")
@pytest.mark.parametrize("how", ["on", "once", "resume", "pipe"])
def test_what_starts_the_flow_does_so_in_the_next_tick(fake, trace, how) -> None:
    source = fake.Source(b"x")
    sink = fake.Sink()
    if how == "pipe":
        source.pipe(sink)
    elif how == "resume":
        source.resume()
    else:
        getattr(source, how)("data", lambda chunk: trace("data"))
    assert source.readable_flowing is True
    assert (trace, sink.got, source.readable_length) == ([], [], 1)
    pyuvnet.next_tick(lambda: trace(source.readable_length))
    run()
    assert trace[-1] == 0
    fake.over(source, sink)


@pytest.mark.spec("S3.1-04")
def test_only_an_explicit_pause_keeps_a_data_listener_from_starting(fake, trace) -> None:
    paused, refused = fake.Source(b"x").pause(), fake.Source(b"x")
    # 'readable' and its removal leave no pause behind.
    refused.on("readable", print).off("readable", print)
    run()
    for source in (paused, refused):
        source.on("data", trace)
    run()
    assert trace == [b"x"]
    assert paused.readable_length == 1
    fake.over(paused, refused)


@pytest.mark.spec("S3.1-08", "S3.1-09", "S3.1-10")
def test_a_readable_listener_rules_a_socket(connect, trace) -> None:
    def accepted(peer) -> None:
        peer.on("data", lambda chunk: trace("data", chunk))
        peer.on("readable", lambda: readable(peer))
        assert peer.readable_flowing is False
        assert peer.is_paused()
        peer.resume()
        assert peer.readable_flowing is False
        peer.pause()
        assert peer.readable_flowing is False
        peer.resume()
        peer.on("end", trace.note("end"))

    def readable(peer) -> None:
        assert peer.readable_flowing is False
        trace("read", peer.read(3))
        peer.read()

    client = connect(accepted)
    client.end(b"12345")
    run()
    # Each 'data' is what a read() returned, emitted inside it.
    assert trace == [
        ("data", b"123"),
        ("read", b"123"),
        ("data", b"45"),
        ("read", None),
        "end",
    ]


@pytest.mark.spec("S3.1-10")
@pytest.mark.parametrize("call", ["resume", "pause"])
def test_beside_a_readable_listener_the_mode_stays(fake, trace, call) -> None:
    source = fake.Source(b"abc")
    source.on("readable", trace.note("readable"))
    source.on("data", trace)
    run()
    getattr(source, call)()
    run()
    assert trace == ["readable"]
    assert (source.readable_flowing, source.readable_length) == (False, 3)
    fake.over(source)


@pytest.mark.spec("S3.1-11")
def test_data_without_listener_are_lost_while_flowing(connect, when) -> None:
    got: list[bytes] = []

    def accepted(peer) -> None:
        peer.once("data", first)

    def first(chunk: bytes) -> None:
        got.append(chunk)
        peer = client.peer
        assert peer.listener_count("data") == 0
        assert peer.readable_flowing is True
        # One chunk goes by, and then somebody listens again.
        client.write(b"lost")
        when(lambda: peer.bytes_read == 7, lambda: listen(peer))

    def listen(peer) -> None:
        assert peer.readable_length == 0
        peer.on("data", got.append)
        client.end(b"heard")

    client = connect(accepted)
    client.write(b"one")
    run()
    assert got == [b"one", b"heard"]


@pytest.mark.spec("S3.1-12")
def test_removing_the_readable_listener_of_a_socket_gives_the_flow_back(connect, trace) -> None:
    def accepted(peer) -> None:
        peer.once("readable", lambda: trace("readable", peer.readable_flowing))
        peer.on("data", lambda chunk: trace("data", chunk))
        peer.on("end", trace.note("end"))

    client = connect(accepted)
    client.end(b"x")
    run()
    assert trace == [("readable", False), ("data", b"x"), "end"]


@pytest.mark.spec("S3.1-13", "O1.2-02", "N043")
def test_data_of_a_flowing_socket_come_from_the_read_itself(connect, trace) -> None:
    def both(client, peer) -> None:
        client.on("data", lambda chunk: (trace("data"), pyuvnet.next_tick(trace, "tick")))
        # Not before the flow has begun.
        pyuvnet.set_immediate(lambda: (peer.write(b"x"), pyuvnet.set_immediate(due)))

    def due() -> None:
        # Due before the poll: it would come first if 'data' waited for a tick or a timer.
        trace("immediate")
        client.destroy()
        client.peer.destroy()

    client = connect(both=both)
    run()
    assert trace == ["data", "tick", "immediate"]
