"""README R3, R4: data in and out, durations, callbacks, awaiting."""

from __future__ import annotations

import array
import asyncio

import pytest

import pyuvnet
from pyuvnet import AbortController, AbortSignal, EventEmitter, net, run


@pytest.mark.spec("R3-01", "N043")
@pytest.mark.parametrize("encoding", [None, "latin1"])
def test_chunks_are_fresh_whoever_keeps_them(connect, when, encoding) -> None:
    kept: list[bytes | str] = []

    def accepted(peer) -> None:
        if encoding:
            peer.set_encoding(encoding)
        # Every second one is dropped at once, so that its memory may serve again.
        peer.on("data", lambda chunk: kept.append(chunk) if int(chunk[:1]) % 2 else None)

    def send(client, peer, number: int = 0) -> None:
        client.write(str(number) * 100)
        if number == 9:
            client.end()
        else:
            # Each comes alone: the next is sent when it is there.
            sent = client.bytes_written
            when(lambda: peer.bytes_read == sent, lambda: send(client, peer, number + 1))

    connect(accepted, send)
    run()
    expected = [str(number) * 100 for number in (1, 3, 5, 7, 9)]
    if encoding:
        assert kept == expected
    else:
        assert kept == [text.encode() for text in expected]
        assert {type(chunk) for chunk in kept} == {bytes}


@pytest.mark.spec("R3-02")
def test_any_buffer_goes_out_as_its_bytes(connect) -> None:
    got = bytearray()
    numbers = array.array("H", [1, 2, 3])

    def both(client, peer) -> None:
        client.write(numbers)
        client.write(memoryview(b"abcdef")[2:4])
        client.end(bytearray(b"!"))

    connect(lambda peer: peer.on("data", got.extend), both)
    run()
    assert got == numbers.tobytes() + b"cd!"


@pytest.mark.spec("R3-03", "R3-04", "R3-05", "R3-06", "R3-07", "R3-08", "R3-09", "D35")
@pytest.mark.parametrize(
    ("data", "encoding", "sent"),
    [
        ("é", "UTF-8", b"\xc3\xa9"),
        ("\ud800", "utf8", b"\xef\xbf\xbd"),
        ("é€", "ASCII", b"\xe9\xac"),
        ("é", "binary", b"\xe9"),
        ("6a6bzz", "hex", b"jk"),
        ("_-8=", "base64", b"\xff\xef"),
        ("/+8", "Base64url", b"\xff\xef"),
        ("é", "ucs-2", b"\xe9\x00"),
        ("é", "UTF-16LE", b"\xe9\x00"),
        (b"x", "buffer", b"x"),
    ],
)
def test_text_and_its_encodings_on_a_socket(connect, data, encoding, sent) -> None:
    got = bytearray()
    client = connect(lambda peer: peer.on("data", got.extend))
    client.write(data, encoding)
    # Encoded at once, and counted in bytes.
    assert client.writable_length == len(sent)
    client.end()
    run()
    assert got == sent


@pytest.mark.spec("R3-06")
def test_ascii_is_read_with_seven_bits(connect, trace) -> None:
    connect(lambda peer: peer.set_encoding("ascii").on("data", trace)).end(b"\xe1b")
    run()
    assert trace == ["ab"]


@pytest.mark.spec("R3-10", "N079")
@pytest.mark.parametrize("value", [1500, 1500.0, 1500.7])
def test_durations_are_milliseconds_of_either_kind(value) -> None:
    socket = net.Socket().set_timeout(value)
    assert socket.timeout == value
    socket.set_timeout(0)


@pytest.mark.spec("R4-01")
def test_callbacks_have_the_error_first(connect, trace) -> None:
    client = connect(lambda peer: peer.resume())
    client.write(b"x", trace.note("write"))
    client.end(trace.note("end"))
    server = net.create_server()
    server.get_connections(trace.note("count"))
    server.close(lambda error: trace("close", error.code))
    run()
    assert set(trace) == {
        ("write", None),
        ("end", None),
        ("count", None, 0),
        ("close", "ERR_SERVER_NOT_RUNNING"),
    }


@pytest.mark.spec("R4-02", "D71")
def test_decorators_on_a_socket_and_a_server(trace) -> None:
    server = net.create_server()

    @server.on("connection")
    def connection(socket: net.Socket) -> None:
        server.close()
        socket.end(b"hello")

    @server.once("listening")
    def listening() -> None:
        client = net.connect(server.address()["port"], "127.0.0.1")

        @client.on("data")
        def data(chunk: bytes) -> None:
            trace(chunk)

        assert client.listeners("data") == [data]

    assert server.listeners("connection") == [connection]
    server.listen(0)
    run()
    assert trace == [b"hello"]


@pytest.mark.spec("R4-03", "S6.5-02")
def test_a_coroutine_function_serves_a_connection(connect) -> None:
    async def main() -> bytes:
        async def serve(peer) -> None:
            async for chunk in peer:
                await asyncio.sleep(0)
                peer.write(chunk.upper())

        client = connect(serve)
        client.write(b"text")
        (chunk,) = await pyuvnet.events.once(client, "data")
        client.end()
        await pyuvnet.events.once(client, "close")
        return chunk

    assert run(main()) == b"TEXT"
    run()


@pytest.mark.spec("R4-05", "R4-06")
def test_abort_listeners_run_inside_abort(trace) -> None:
    controller = AbortController()
    joined = AbortSignal.any([controller.signal])
    controller.signal.on("abort", lambda *args: trace("controller"))
    joined.on("abort", lambda *args: trace("joined"))
    controller.abort()
    trace("returned")
    assert trace == ["controller", "joined", "returned"]
    assert isinstance(controller.signal.reason, pyuvnet.AbortError)
    assert joined.reason is controller.signal.reason
    assert AbortSignal.abort("why").reason == "why"


@pytest.mark.spec("R6-03")
def test_with_a_hook_the_loop_goes_on(trace, hook) -> None:
    emitter = EventEmitter()
    error = ValueError("E")

    @emitter.on("x")
    def fails() -> None:
        raise error

    emitter.on("x", trace.note("skipped"))
    pyuvnet.set_immediate(emitter.emit, "x")
    pyuvnet.set_immediate(trace, "next")
    run()
    assert trace == ["next"]
    assert hook == [error]
