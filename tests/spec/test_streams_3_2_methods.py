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


@pytest.mark.spec("S3.2-13")
def test_set_encoding_without_a_name_is_utf8() -> None:
    for arguments in ((), (None,)):
        socket = net.Socket()
        assert socket.set_encoding(*arguments).readable_encoding == "utf8"


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
