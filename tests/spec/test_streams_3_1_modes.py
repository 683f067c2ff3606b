"""streams.md 3.1: the modes of reading, on sockets; those of user streams are in core/."""

from __future__ import annotations

import pytest

import pyuvnet
from pyuvnet import run


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
