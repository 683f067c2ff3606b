"""streams.md 5: destroy, on sockets; more of `async with` is in timelines/test_async_for."""

from __future__ import annotations

import contextlib

import pytest

import pyuvnet
from pyuvnet import net, run, streams

BIG = b"z" * 9_000_000


@pytest.mark.spec("S5-01", "S5-02", "S5-03", "S5-04", "S5-05", "N060", "N061", "N122")
@pytest.mark.parametrize("state", ["new", "connecting", "connected", "ended", "half open"])
@pytest.mark.parametrize("error", [None, OSError("E")])
def test_destroy_in_each_state(connect, watch, trace, state, error) -> None:
    def destroy(socket) -> None:
        watch(socket, "", "error", "close", "end", "finish", "data")
        assert (socket.destroyed, socket.closed, socket.errored) == (False, False, None)
        assert socket.destroy(error) is socket
        assert (socket.destroyed, socket.closed, socket.errored) == (True, True, error)
        # Only the first counts.
        assert socket.destroy(ValueError("second")) is socket
        assert socket.errored is error
        assert trace == []

    def both(client, peer) -> None:
        peer.resume()
        if state == "ended":
            client.end()
        if state == "half open":
            peer.end()
            client.resume()
            client.on("end", lambda: pyuvnet.set_immediate(destroy, client))
        else:
            destroy(client)

    if state == "new":
        destroy(net.Socket())
    else:
        client = connect(both=both if state != "connecting" else None, allow_half_open=True)
        if state == "connecting":
            destroy(client)
            client.listening.close()
    run()
    assert trace == [*([("error", "E")] if error else []), ("close", error is not None)]


@pytest.mark.spec("S5-05")
def test_an_error_event_comes_once(connect, trace) -> None:
    def both(client, peer) -> None:
        client.on("error", lambda error: (trace(str(error)), client.destroy(OSError("again"))))
        client.on("close", trace.note("close"))
        client.destroy(OSError("first"))

    connect(both=both)
    run()
    assert trace == ["first", ("close", True)]


@pytest.mark.spec("S5-06", "S5-07", "D33")
def test_after_destroy_a_socket_is_silent(connect, watch, when, trace) -> None:
    def both(client, peer) -> None:
        events = ("data", "end", "readable", "drain", "finish", "timeout", "error", "close")
        # The data are read ahead before anybody listens, and a write is in flight.
        peer.end(b"buffered")
        client.write(BIG)
        client.set_timeout(1)
        when(lambda: client.bytes_read, lambda: destroy(client, peer, events))

    def destroy(client, peer, events) -> None:
        assert client.readable_length == 8
        watch(client, "", *events)
        client.destroy()
        assert client.read() is None
        client.resume()
        client.end()
        read = client.bytes_read
        pyuvnet.set_timeout(lambda: (trace(client.bytes_read - read), peer.destroy()), 20)

    connect(both=both, server={"allowHalfOpen": True, "pauseOnConnect": True})
    run()
    assert trace == [("close", False), 0]


@pytest.mark.spec("S5-07", "D33")
def test_a_listener_that_destroys_gets_nothing_more_of_what_is_buffered(
    connect, when, trace
) -> None:
    def both(client, peer) -> None:
        client.pause()
        peer.write(b"one")
        when(lambda: client.bytes_read == 3, lambda: peer.write(b"two"))
        when(lambda: client.bytes_read == 6, flow)

    def flow() -> None:
        assert client.readable_length == 6
        client.on("data", lambda chunk: (trace(chunk), client.destroy()))
        client.on("close", trace.note("close"))
        client.resume()

    client = connect(both=both)
    run()
    assert trace == [b"one", ("close", False)]


@pytest.mark.spec("S5-09", "S5-10", "S5-12", "S5-14", "R4-04", "N172")
@pytest.mark.parametrize("raises", [True, False])
@pytest.mark.parametrize("ended", [True, False])
def test_leaving_a_with_block(connect, watch, trace, ended, raises) -> None:
    async def main() -> None:
        client = connect(lambda peer: peer.end() if ended else peer.resume())
        watch(client, "", "error", "finish", "close")
        with pytest.raises(ZeroDivisionError) if raises else contextlib.nullcontext():
            async with client as entered:
                assert entered is client
                if ended:
                    await pyuvnet.events.once(client, "end")
                else:
                    await pyuvnet.events.once(client, "ready")
                if raises:
                    raise ZeroDivisionError
        assert client.closed

    run(main())
    run()
    assert trace == [*([] if raises else ["finish"]), ("close", False)]


@pytest.mark.spec("S5-15", "S5-16", "S5-17")
def test_the_helpers_on_sockets(connect, fake, trace) -> None:
    async def main() -> None:
        client = connect(lambda peer: peer.end(b"x"))
        sink = fake.Sink()
        await streams.pipeline(client, sink)
        assert sink.got == [b"x"]
        other = connect(lambda peer: peer.resume())
        streams.finished(other, lambda error: trace(error and error.code))
        await pyuvnet.events.once(other, "ready")
        other.destroy()
        await pyuvnet.events.once(other, "close")

    run(main())
    run()
    assert trace == ["ERR_STREAM_PREMATURE_CLOSE"]


@pytest.mark.spec("S5-18")
def test_a_user_stream_into_a_socket_and_a_socket_into_a_user_class(connect, fake) -> None:
    class Upper(pyuvnet.Writable):
        def _write(self, chunk, encoding, callback) -> None:
            got.append(bytes(chunk).upper())
            callback()

    got: list[bytes] = []
    source = fake.Source(b"from ", b"a stream", None)
    client = connect(lambda peer: peer.pipe(Upper()))
    source.pipe(client)
    run()
    assert b"".join(got) == b"FROM A STREAM"
