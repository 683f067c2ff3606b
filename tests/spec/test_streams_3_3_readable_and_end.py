"""streams.md 3.3: 'readable' and 'end'."""

from __future__ import annotations

import pytest

import pyuvnet
from pyuvnet import next_tick, run


@pytest.mark.spec("S3.3-01", "S3.3-02", "S3.3-03", "S3.3-04", "N181")
def test_readable_tells_of_every_arrival_and_of_the_end(connect, when, trace) -> None:
    def accepted(peer) -> None:
        peer.on("readable", lambda: trace("readable", peer.readable_length, peer.readable_ended))
        peer.on("end", trace.note("end"))

    sent = [b"aa", b"bb", b"cc"]

    def send(client, peer) -> None:
        told = len(trace) + 1
        if sent:
            client.write(sent.pop(0))
            when(lambda: len(trace) == told, lambda: send(client, peer))
        else:
            client.end()
            when(lambda: len(trace) == told, lambda: take(peer))

    def take(peer) -> None:
        trace("read", peer.read())
        assert peer.read() is None
        trace("taken")

    connect(accepted, send)
    run()
    # Nobody reads, and still each arrival below the mark is reported; then the end of the data.
    assert trace == [
        ("readable", 2, False),
        ("readable", 4, False),
        ("readable", 6, False),
        ("readable", 6, False),
        ("read", b"aabbcc"),
        "taken",
        "end",
    ]


@pytest.mark.spec("S3.3-05")
@pytest.mark.parametrize("how", ["read", "resume"])
def test_end_waits_for_a_reader_and_an_empty_buffer(fake, trace, how) -> None:
    source = fake.Source(b"ab", None)
    source.on("end", trace.note("end"))
    run()
    assert trace == []
    assert source.readable
    if how == "read":
        assert source.read(1) == b"a"
        run()
        assert trace == []
        assert source.read() == b"b"
    else:
        source.resume()
        next_tick(trace, "tick")
    trace("sync")
    next_tick(trace, "later")
    run()
    assert trace[0] == "sync"
    assert trace.count("end") == 1
    if how == "read":
        # The tick of 'end' was queued by the read() that emptied the buffer.
        assert trace == ["sync", "end", "later"]


@pytest.mark.spec("S3.3-05")
def test_a_reader_that_took_exactly_the_rest_has_to_ask_once_more(fake, trace) -> None:
    # Node's quirk: read(n) of just what is left does not look for the end.
    source = fake.Source(b"ab", None).on("end", trace.note("end"))
    assert source.read(2) == b"ab"
    run()
    assert trace == []
    assert source.read(2) is None
    run()
    assert trace == ["end"]


@pytest.mark.spec("S3.3-06")
def test_an_empty_stream_ends_without_anybody(fake, trace) -> None:
    source = fake.Source().on("end", trace.note("end"))
    source.read(0)
    source.push(None)
    run()
    # The user's Readable gets one more _read(); a socket reads by itself.
    source.read(0)
    run()
    assert trace == ["end"]


@pytest.mark.spec("S3.3-07")
def test_end_comes_once_whatever_is_called_afterwards(connect, trace) -> None:
    def accepted(peer) -> None:
        peer.on("end", lambda: (trace("end"), again(peer)))
        peer.on("close", lambda had_error: (trace("close"), again(peer)))

    def again(peer) -> None:
        peer.resume()
        peer.read()
        peer.read(0)
        peer.on("data", trace)
        pyuvnet.set_immediate(peer.resume)

    connect(accepted).end(b"")
    run()
    assert trace == ["end", "close"]


@pytest.mark.spec("S3.3-08")
@pytest.mark.parametrize("error", [None, OSError("E")])
def test_no_end_after_destroy(connect, watch, trace, error) -> None:
    def accepted(peer) -> None:
        watch(peer)
        peer.once("data", lambda chunk: peer.destroy(error))

    client = connect(accepted)
    client.on("error", lambda error: None)
    client.end(b"and the end")
    run()
    assert trace == ([("error", "E")] if error else []) + [("close", error is not None)]


@pytest.mark.spec("S3.3-08")
def test_no_end_after_an_error_without_destruction(fake, trace) -> None:
    source = fake.Source(b"x", None, auto_destroy=False)
    source._read = None
    source.on("end", trace.note("end")).on("error", lambda error: trace("error"))
    source.push(b"too late")
    source.resume()
    run()
    assert trace == ["error"]
    fake.over(source)
