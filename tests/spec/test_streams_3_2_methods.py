"""streams.md 3.2: the methods of the readable side, on sockets; the rest is in core/."""

from __future__ import annotations

import asyncio

import pytest

import pyuvnet
from pyuvnet import net, run


@pytest.mark.spec("S3.2-01", "S3.2-02", "S3.2-04", "S3.2-06", "N067")
def test_pause_and_resume_at_once(watch, trace) -> None:
    socket = watch(net.Socket(), "", "pause", "resume")
    assert not socket.is_paused()
    assert socket.pause() is socket
    assert (socket.is_paused(), socket.readable_flowing) == (True, False)
    assert socket.pause() is socket
    assert trace == ["pause"]
    assert socket.resume() is socket
    assert (socket.is_paused(), socket.readable_flowing) == (False, True)
    assert trace == ["pause"]
    socket.pause()
    socket.resume()
    run()
    assert trace == ["pause", "pause", "resume"]
    socket.destroy()
    run()


@pytest.mark.spec("S3.2-06")
def test_a_stream_is_paused_whenever_the_flow_is_off(fake) -> None:
    source = fake.Source()
    assert not source.is_paused()
    source.on("readable", lambda: None)
    assert source.is_paused()
    fake.over(source)


@pytest.mark.spec("S3.2-03")
def test_pause_keeps_what_a_socket_has_read(connect, when, trace) -> None:
    def both(client, peer) -> None:
        client.pause()
        peer.end(b"kept")
        when(lambda: client.bytes_read, lambda: look(client))

    def look(client) -> None:
        trace(client.readable_length)
        client.pause()
        assert client.readable_length == 4
        client.on("data", trace)
        client.resume()

    connect(both=both)
    run()
    assert trace == [4, b"kept"]


@pytest.mark.spec("S3.2-05", "N074")
def test_resume_asks_the_source_then_tells_then_lets_flow(trace) -> None:
    class Two(pyuvnet.Readable):
        def _read(self, size) -> None:
            trace("asked")
            self.push(left.pop(0))

    left = [b"x", b"y", None]
    source = Two().pause()
    source.on("resume", trace.note("resume")).on("data", trace)

    def begin() -> None:
        assert trace == []
        source.resume()
        trace("sync")

    pyuvnet.set_immediate(begin)
    run()
    assert trace == ["sync", "asked", "resume", "asked", b"x", "asked", b"y"]


@pytest.mark.spec("S3.2-07", "S3.2-08")
@pytest.mark.parametrize("flowing", [False, True])
def test_read_takes_all_but_one_chunk_only_while_flowing(fake, flowing) -> None:
    source = fake.Source(b"ab", b"cd")
    if flowing:
        source.resume()
    assert source.read() == (b"ab" if flowing else b"abcd")
    assert source.readable_length == (2 if flowing else 0)
    fake.over(source)


@pytest.mark.spec("S3.2-09", "S3.2-10", "S3.2-12", "N181")
def test_read_of_a_size_on_a_socket(connect, when, trace) -> None:
    def both(client, peer) -> None:
        client.pause()
        client.on("data", trace)
        peer.write(b"12345")
        when(lambda: client.bytes_read, lambda: first(client, peer))

    def first(client, peer) -> None:
        assert client.read(6) is None
        assert client.read(2) == b"12"
        assert client.read(4) is None
        peer.end()
        # None, until the end is known.
        when(lambda: rest.append(client.read(100)) or rest[-1], lambda: None)

    rest: list[bytes | None] = []
    connect(both=both)
    run()
    assert trace == [b"12", b"345"]
    assert set(rest) == {None, b"345"}


@pytest.mark.spec("S3.2-11")
def test_read_zero_makes_a_paused_client_read(connect, when, trace) -> None:
    client = connect(lambda peer: peer.end(b"x"), lambda *_: pyuvnet.set_timeout(kick, 20))
    client.pause()

    def kick() -> None:
        trace(client.bytes_read)
        assert client.read(0) is None
        when(lambda: client.bytes_read, look)

    def look() -> None:
        trace(client.bytes_read, client.readable_length)
        client.resume()

    run()
    assert trace == [0, (1, 1)]


@pytest.mark.spec("S3.2-14", "S3.2-16", "S3.2-17", "S3.2-18", "S3.2-19", "N075", "N124")
@pytest.mark.parametrize(
    ("encoding", "sent", "expected"),
    [
        ("utf8", [b"a\xe2", b"\x82", b"\xac", b"\xe2\x82"], ["a", "€", "\ufffd"]),
        ("base64", [b"abc", b"d"], ["YWJj", "ZA=="]),
        ("utf16le", [b"a\x00b", b"\x00c"], ["a", "b"]),
        ("hex", [b"\xff", b"\x01"], ["ff", "01"]),
        ("latin1", [b"\xe9"], ["é"]),
    ],
)
def test_set_encoding_on_a_socket(connect, when, trace, encoding, sent, expected) -> None:
    def accepted(peer) -> None:
        assert peer.set_encoding(encoding) is peer
        assert peer.readable_encoding == encoding
        peer.on("data", trace).on("end", trace.note("end"))

    def send(client, peer, left) -> None:
        if not left:
            client.end()
            return
        client.write(left[0])
        # Each comes alone: the next is sent when it is there.
        when(lambda: peer.bytes_read == client.bytes_written, lambda: send(client, peer, left[1:]))

    connect(accepted, lambda client, peer: send(client, peer, sent))
    run()
    assert trace == [*expected, "end"]


@pytest.mark.spec("S3.2-13")
def test_set_encoding_without_a_name_is_utf8() -> None:
    for arguments in ((), (None,)):
        socket = net.Socket()
        assert socket.set_encoding(*arguments).readable_encoding == "utf8"


@pytest.mark.spec("S3.2-21", "S3.2-22", "N143", "N181")
def test_unshift_on_a_socket(connect, trace) -> None:
    def accepted(peer) -> None:
        peer.once("data", lambda chunk: head(peer, chunk))
        peer.on("end", trace.note("end"))

    def head(peer, chunk) -> None:
        assert chunk == b"3 body"
        assert peer.unshift(b"") is True
        assert peer.unshift(chunk[2:]) is True
        peer.on("data", trace)

    connect(accepted).end(b"3 body")
    run()
    assert trace == [b"body", "end"]


@pytest.mark.spec("S3.2-23")
def test_unshift_after_end_destroys_a_socket(connect, watch, trace) -> None:
    def accepted(peer) -> None:
        watch(peer, "", "error", "close").resume()
        peer.on("end", lambda: trace(peer.unshift(b"late"), peer.destroyed))

    connect(accepted, server={"allow_half_open": True}).resume().end()
    run()
    assert trace == [
        (False, True),
        ("error", "ERR_STREAM_UNSHIFT_AFTER_END_EVENT"),
        ("close", True),
    ]


@pytest.mark.spec("S3.2-24")
def test_unshift_after_destroy_says_false(watch, trace) -> None:
    socket = watch(net.Socket()).destroy()
    assert socket.unshift(b"late") is False
    run()
    assert trace == [("close", False)]


@pytest.mark.spec("S3.2-25")
def test_push_is_what_a_subclass_of_readable_calls(fake) -> None:
    source = fake.Source()
    assert source.push(b"x") is True
    assert source.read() == b"x"
    fake.over(source)
    # A socket gets its data from the handle; its classes add nothing of that name.
    for cls in net.Socket.__mro__[: net.Socket.__mro__.index(pyuvnet.Readable)]:
        assert "push" not in cls.__dict__


@pytest.mark.spec("S3.2-26", "S3.2-27")
def test_pipe_and_unpipe_return_what_node_returns(fake) -> None:
    source, sink = fake.Source(), fake.Sink()
    assert source.pipe(sink) is sink
    assert source.unpipe(sink) is source
    assert source.pipe(sink, {"end": False}) is sink
    assert source.unpipe() is source
    source.push(None)
    source.resume()
    run()
    assert not sink.writable_ended
    fake.over(source, sink)


@pytest.mark.spec("S3.2-28", "S3.2-29")
@pytest.mark.parametrize("spare", [False, True])
def test_iterating_over_a_socket(connect, spare) -> None:
    async def main() -> bool:
        client = connect(lambda peer: peer.write(b"x"))
        iterator = client.iterator(destroy_on_return=False) if spare else client
        async for chunk in iterator:
            assert chunk == b"x"
            break
        # Without a name of its own, break collects the iterator at once.
        del iterator
        await asyncio.sleep(0)
        destroyed = client.destroyed
        client.destroy()
        client.peer.on("error", lambda error: None).destroy()
        return destroyed

    assert run(main()) is not spare
    run()


@pytest.mark.spec("S3.2-30")
def test_what_is_not_offered() -> None:
    for name in (
        *("compose", "wrap", "from_web", "fromWeb", "to_web", "toWeb", "map", "filter", "take"),
        *("drop", "reduce", "find", "some", "every", "flat_map", "flatMap", "for_each", "forEach"),
        *("to_array", "toArray"),
    ):
        assert not hasattr(net.Socket, name)
        assert not hasattr(pyuvnet.Readable, name)
