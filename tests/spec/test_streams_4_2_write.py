"""streams.md 4.2: write() on sockets; user streams are in core/test_writable.py."""

from __future__ import annotations

import pytest

from pyuvnet import next_tick, run

BIG = b"z" * 9_000_000


@pytest.mark.spec("S4.2-05", "S4.2-07", "S4.2-08")
def test_write_after_end_of_a_socket(connect, watch, note, trace) -> None:
    def both(client, peer) -> None:
        watch(client, "", "error", "close")
        peer.resume()
        client.end()
        assert client.write(b"late", note("cb")) is False
        assert client.destroyed
        trace("sync")

    connect(both=both)
    run()
    late = "ERR_STREAM_WRITE_AFTER_END"
    assert trace == ["sync", ("cb", late), ("error", late), ("close", True)]


@pytest.mark.spec("S4.2-06", "S4.2-07", "S4.2-15")
def test_write_after_destroy_of_a_socket(connect, watch, note, trace) -> None:
    def both(client, peer) -> None:
        watch(client, "", "error", "close")
        client.destroy()
        assert client.write(b"late", note("cb")) is False
        trace("sync")
        next_tick(trace, "tick")

    connect(both=both)
    run()
    assert trace == ["sync", ("cb", "ERR_STREAM_DESTROYED"), "tick", ("close", False)]


@pytest.mark.spec("S4.2-09", "S4.2-10", "S4.2-11", "S4.1-02")
@pytest.mark.parametrize("state", ["in flight", "corked", "connecting"])
def test_writes_that_are_queued_count_and_arrive_in_order(connect, state) -> None:
    got = bytearray()

    def write(client) -> None:
        before = client.writable_length
        assert (before > 0) is (state == "in flight")
        for chunk in (b"1", b"22", "333"):
            client.write(chunk)
        assert client.writable_length == before + 6
        client.end()

    def both(client, peer) -> None:
        if state == "in flight":
            client.write(BIG)
        elif state == "corked":
            client.cork()
        if state != "connecting":
            write(client)
        peer.resume()

    client = connect(
        lambda peer: peer.on("data", got.extend), both, server={"pauseOnConnect": True}
    )
    if state == "connecting":
        write(client)
    run()
    assert got == (BIG if state == "in flight" else b"") + b"122333"
    assert client.bytes_written == len(got)


@pytest.mark.spec("S4.2-12", "S4.2-15")
def test_after_an_error_nothing_is_handed_over(fake, note, trace) -> None:
    sink = fake.Sink(hold=True, auto_destroy=False)
    sink.on("error", lambda error: trace("error"))
    sink.write(b"fails")
    sink.answer(OSError("E"))
    run()
    assert sink.write(b"never", note("cb")) is False
    run()
    assert sink.got == [b"fails"]
    assert sink.writable_length == 5
    assert trace == ["error"]
    sink.destroy()
    run()


@pytest.mark.spec("S4.2-13", "S4.2-14", "S4.2-16", "S4.1-02", "S4.1-03", "S4.1-04")
def test_what_the_kernel_takes_at_once_never_counts(connect, note, trace) -> None:
    def both(client, peer) -> None:
        assert client.write(b"y" * 20_000, note("small")) is True
        assert (client.writable_length, client.writable_need_drain) == (0, False)
        # More than it takes: what is left is a write in flight.
        assert client.write(BIG, note("big")) is False
        assert (client.writable_length, client.writable_need_drain) == (len(BIG), True)
        assert client.bytes_written == 20_000 + len(BIG)
        trace("sync")
        peer.resume()
        client.end()

    connect(both=both, server={"pauseOnConnect": True}, high_water_mark=10)
    run()
    assert trace == ["sync", ("small", None), ("big", None)]


@pytest.mark.spec("S4.2-17", "S4.2-18", "S4.2-19", "S4.2-20", "N129")
def test_callbacks_of_a_socket(connect, note, trace) -> None:
    def both(client, peer) -> None:
        peer.resume()
        for number, chunk in enumerate((b"", b"x", "", BIG, b"y")):
            client.write(chunk, note(number))
            assert trace == []
        client.end(note("end"))

    connect(both=both, server={"pauseOnConnect": True})
    run()
    assert trace == [(number, None) for number in (0, 1, 2, 3, 4, "end")]


@pytest.mark.spec("S4.2-21", "S4.3-02")
@pytest.mark.parametrize("way", ["uncork", "completion"])
def test_what_was_queued_completes_together(connect, trace, way) -> None:
    def both(client, peer) -> None:
        if way == "uncork":
            client.cork()
        else:
            client.write(BIG)
        for number in range(3):
            # A tick of the first callback comes after the last one: they are called together.
            client.write(b"x", lambda error, n=number: (trace(n), next_tick(trace, f"tick {n}")))
        client.uncork()
        client.end()
        peer.resume()

    connect(both=both, server={"pauseOnConnect": True})
    run()
    assert trace == [0, 1, 2, "tick 0", "tick 1", "tick 2"]
