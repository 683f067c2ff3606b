"""Framings on sockets and servers, and write_frame(): over the network, and on a Duplex."""

from __future__ import annotations

import contextlib
import socket as posix
from collections.abc import Callable
from typing import Any

import pytest

from pyuvnet import Duplex, FrameError, Writable, current_loop, errors, framing, net, run
from pyuvnet._core.meter import add_meter
from tests.support.cases import cases
from tests.support.frames import every

LINES, PREFIX = framing.Lines(), framing.LengthPrefix(2)


class Server:
    """A server whose one connection a test plays with, from a plain socket on the other side."""

    def __init__(self, connected: Callable[[Any], object], **options: Any) -> None:
        self.sockets: list[Any] = []
        self.server = net.create_server(**options)
        self.server.on("connection", self.sockets.append)
        self.server.on("connection", connected)
        self.server.listen(0)
        self.peer = posix.create_connection(("127.0.0.1", self.server.address()["port"]))
        self.peer.setsockopt(posix.IPPROTO_TCP, posix.TCP_NODELAY, 1)
        while not self.sockets:
            current_loop().turn()

    def send(self, *chunks: bytes) -> None:
        for chunk in chunks:
            before = self.socket.bytes_read
            self.peer.sendall(chunk)
            for _ in range(1000):
                current_loop().turn()
                if self.socket.destroyed or self.socket.bytes_read - before == len(chunk):
                    break

    @property
    def socket(self) -> Any:
        return self.sockets[0]

    def close(self) -> bytes:
        """End, run until all is over, and return what the peer got."""
        self.peer.shutdown(posix.SHUT_WR)
        self.server.close()
        self.peer.settimeout(5)
        got = b""
        if not self.socket.destroyed:
            for _ in range(100):
                current_loop().turn()
            self.socket.destroy_soon()
        run()
        while chunk := self.peer.recv(65536):
            got += chunk
        self.peer.close()
        return got


def served(options: dict[str, Any], *chunks: bytes, **setup: Any) -> list[Any]:
    """What a server's socket hands out of chunks that are sent to it."""
    said: list[Any] = []

    def connected(socket: Any) -> None:
        if "form" in setup:
            assert socket.framing is None
            assert socket.set_framing(setup["form"]) is socket
        socket.on("data", said.append)
        socket.on("end", lambda: said.append("end"))
        socket.on("error", lambda error: said.append(error))

    play = Server(connected, **options)
    play.send(*chunks)
    play.close()
    return said


# ---- Reading -------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunks", [[b"a\nbc\r\nd"], [b"a", b"\nbc\r", b"\n", b"d"]])
def test_a_server_gives_its_framing_to_each_socket(chunks: list[bytes]) -> None:
    assert served({"framing": LINES}, *chunks) == [b"a", b"bc", b"d", "end"]
    assert served({}, *chunks, form=LINES) == [b"a", b"bc", b"d", "end"]


def test_a_servers_framing_can_be_changed_for_later_connections() -> None:
    server = net.create_server(framing=LINES)
    assert server.framing is LINES
    server.framing = None
    assert server.framing is None
    with pytest.raises(errors.ArgTypeError) as caught:
        server.framing = b"\n"  # type: ignore[assignment]
    assert caught.value.code == "ERR_INVALID_ARG_TYPE"
    assert server.framing is None
    with pytest.raises(errors.ArgTypeError):
        net.create_server(framing="lines")  # type: ignore[arg-type]


def test_a_frame_over_many_reads_and_many_frames_in_one() -> None:
    frames = [b"x" * size for size in (0, 1, 65535, 7, 30000, 65000, 0)]
    data = b"".join(len(frame).to_bytes(2, "big") + frame for frame in frames)
    chunks = [data[n : n + 50_000] for n in range(0, len(data), 50_000)]
    assert served({"framing": PREFIX}, *chunks) == [*frames, "end"]


def test_an_end_within_a_frame_destroys_the_socket_without_end() -> None:
    said = served({"framing": PREFIX}, b"\0\1a\0\2b")
    assert said[0] == b"a"
    assert isinstance(said[1], FrameError)
    assert said[1].code == "ERR_FRAME_INCOMPLETE"
    assert len(said) == 2


def test_an_oversize_frame_destroys_the_socket() -> None:
    said = served({"framing": framing.Lines(limit=3)}, b"abc\nabcd")
    assert said[0] == b"abc"
    assert said[1].code == "ERR_FRAME_TOO_LONG"


def test_a_reader_by_async_for_gets_frames() -> None:
    got: list[Any] = []

    async def serve(socket: Any) -> None:
        async for frame in socket:
            got.append(frame)
            if frame == b"":
                socket.set_framing(None)

    async def main() -> None:
        server = net.create_server(serve, framing=LINES)
        server.listen(0)
        client = await net.promises.connect(server.address()["port"], "127.0.0.1")
        client.end(b"a\nbc\n\nraw\nraw")
        server.close()
        await server.wait_closed()

    run(main())
    assert got[:3] == [b"a", b"bc", b""]
    assert b"".join(got[3:]) == b"raw\nraw"


def test_an_encoding_and_a_framing_by_options_in_either_order() -> None:
    for options in ({"encoding": "utf8", "framing": LINES}, {"framing": LINES, "encoding": "utf8"}):
        socket = net.Socket(**options)
        assert (socket.framing, socket.readable_encoding) == (LINES, "utf8")


def test_onread_refuses_a_framing() -> None:
    onread = {"buffer": bytearray(10), "callback": lambda size, buffer: None}
    with pytest.raises(errors.ArgValueError) as caught:
        net.Socket(onread=onread, framing=LINES)
    assert caught.value.code == "ERR_INVALID_ARG_VALUE"
    socket = net.Socket(onread=onread)
    with pytest.raises(errors.ArgValueError):
        socket.set_framing(LINES)
    assert socket.set_framing(None).framing is None


def test_a_framing_lives_on_when_a_socket_connects_again() -> None:
    said: list[Any] = []
    server = net.create_server(lambda socket: socket.end(b"a\nb"))
    server.listen(0)
    port = server.address()["port"]
    client = net.connect(port, "127.0.0.1", framing=LINES)
    client.on("data", said.append)

    def again(had_error: bool) -> None:
        if len(said) > 3:
            server.close()
        else:
            client.connect(port, "127.0.0.1")

    client.on("close", again)
    run()
    assert said == [b"a", b"b", b"a", b"b"]


def test_what_a_connection_left_is_not_part_of_the_next_ones_frames() -> None:
    said: list[Any] = []
    parts = [b"a\nleft", b"b\n"]
    server = net.create_server(lambda socket: socket.write(parts.pop(0)))
    server.listen(0)
    client = net.connect(server.address()["port"], "127.0.0.1", framing=LINES)

    def got(frame: bytes) -> None:
        said.append(frame)
        client.destroy()

    def closed(had_error: bool) -> None:
        if parts:
            client.connect(server.address()["port"], "127.0.0.1")
        else:
            server.close()

    client.on("data", got)
    client.on("close", closed)
    run()
    assert said == [b"a", b"b"]


def test_frames_are_cut_above_every_layer() -> None:
    said: list[Any] = []

    def connected(socket: Any) -> None:
        play_meter.append(add_meter(socket))
        socket.on("data", said.append)

    play_meter: list[Any] = []
    play = Server(connected, framing=LINES)
    play.send(b"a\nb", b"c\n")
    play.close()
    assert said == [b"a", b"bc"]


def test_pipe_passes_payloads_on() -> None:
    """And the native pipe, which moves chunks as they come, is not taken."""
    play = Server(lambda socket: socket.pipe(socket), framing=LINES)
    play.send(b"a\nbc\nd")
    assert play.close() == b"abcd"


def test_pipe_moves_chunks_again_without_the_framing() -> None:
    play = Server(lambda socket: socket.pipe(socket), framing=LINES)
    play.send(b"a\nb\n")
    play.socket.set_framing(None)
    play.send(b"c\nd\n")
    assert play.close() == b"abc\nd\n"


def test_a_slow_destination_holds_frames_back() -> None:
    class Slow(Writable):
        def __init__(self) -> None:
            super().__init__(high_water_mark=1)
            self.got: list[bytes] = []

        def _write(self, chunk: bytes, encoding: str, callback: Any) -> None:
            self.got.append(bytes(chunk))
            current_loop().set_immediate(callback)

    slow = Slow()
    play = Server(lambda socket: socket.pipe(slow), framing=LINES)
    play.send(b"".join(b"%d\n" % n for n in range(50)))
    assert len(slow.got) < 50
    while len(slow.got) < 50:
        current_loop().turn()
    play.close()
    assert slow.got == [b"%d" % n for n in range(50)]


def test_a_paused_socket_stops_reading_at_the_mark() -> None:
    play = Server(lambda socket: socket.pause(), framing=framing.LengthPrefix(4), high_water_mark=9)
    play.send(b"\0\0\0\x10abcdefgh")
    play.peer.sendall(b"ijklmnop")
    for _ in range(20):
        current_loop().turn()
    assert play.socket.bytes_read == play.socket.readable_length == 12
    got: list[bytes] = []
    play.socket.on("data", got.append)
    play.socket.resume()
    while not got:
        current_loop().turn()
    assert got == [b"abcdefghijklmnop"]
    play.close()


def test_once_in_a_coroutine_misses_no_frame_of_a_chunk() -> None:
    from pyuvnet import events

    got: list[Any] = []

    async def serve(socket: Any) -> None:
        for _ in range(3):
            got.append((await events.once(socket, "data"))[0])
        socket.set_framing(None)
        got.append((await events.once(socket, "data"))[0])
        socket.destroy()

    async def main() -> None:
        server = net.create_server(serve, framing=LINES)
        server.listen(0)
        client = await net.promises.connect(server.address()["port"], "127.0.0.1")
        client.on("error", lambda error: None)
        client.write(b"a\nb\nc\nrest\n")
        server.close()
        await server.wait_closed()

    run(main())
    assert got == [b"a", b"b", b"c", b"rest\n"]


# ---- Writing -------------------------------------------------------------------------------------


class Gather(Duplex):
    """Keeps what it is given to write."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.calls: list[list[Any]] = []

    def _read(self, size: int) -> None:
        pass

    def _writev(self, chunks: list[Any], callback: Any) -> None:
        self.calls.append(chunks)
        callback()

    @property
    def wire(self) -> bytes:
        return b"".join(bytes(chunk) for chunks in self.calls for chunk in chunks)


@pytest.mark.spec("D91")
@cases(("form", "payload", "wire"), every("written"))
def test_what_a_frame_is_on_the_wire_and_that_it_comes_back(
    form: Any, payload: bytes, wire: bytes
) -> None:
    stream = Gather(framing=form)
    assert stream.write_frame(payload) is True
    assert stream.wire == wire
    got: list[bytes] = []
    stream.on("data", got.append)
    stream.push(wire)
    run()
    assert got == [payload]


@pytest.mark.parametrize("kind", [bytearray, memoryview, lambda data: data.decode()])
def test_every_kind_of_payload(kind: Any) -> None:
    stream = Gather(framing=PREFIX)
    stream.write_frame(kind(b"abc"))
    assert stream.wire == b"\0\3abc"


def test_a_str_is_encoded_as_write_does() -> None:
    stream = Gather(framing=PREFIX, default_encoding="latin1")
    stream.write_frame("ä")
    assert stream.wire == b"\0\1\xe4"
    stream.set_default_encoding("utf16le").write_frame("a")
    assert stream.wire[3:] == b"\0\2a\0"


def test_prefix_and_payload_leave_together_and_uncopied() -> None:
    stream = Gather(framing=PREFIX)
    payload, line = b"payload", b"line"
    stream.write_frame(payload)
    (chunks,) = stream.calls
    assert chunks[1] is payload
    stream.set_framing(LINES).write_frame(line)
    assert stream.calls[1][0] is line
    stream.cork()
    stream.write_frame(b"a")
    stream.write_frame(b"b")
    stream.uncork()
    assert stream.calls[2] == [b"a", b"\n", b"b", b"\n"]


@cases(("form", "payload", "wire"), every("written"))
def test_no_framing_copies_a_payload(form: Any, payload: bytes, wire: bytes) -> None:
    stream = Gather(framing=form)
    stream.write_frame(payload)
    (chunks,) = stream.calls
    assert not payload or [chunk for chunk in chunks if chunk is payload]
    assert b"".join(chunks) == wire


def test_frames_go_one_by_one_to_a_stream_without_writev() -> None:
    class Single(Writable):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.got: list[bytes] = []

        def _write(self, chunk: bytes, encoding: str, callback: Any) -> None:
            self.got.append(bytes(chunk))
            current_loop().next_tick(callback)

    stream = Single(framing=PREFIX)
    called: list[Any] = []
    stream.write_frame(b"a", called.append)
    stream.write_frame(b"b", called.append)
    run()
    assert stream.got == [b"\0\1", b"a", b"\0\1", b"b"]
    assert called == [None, None]


REFUSED: list[tuple[Any, Any, type[Exception], str]] = [
    (None, b"a", errors.StateError, "ERR_METHOD_NOT_APPLICABLE"),
    *every("refused"),
    (framing.Lines(), None, errors.ArgTypeError, "ERR_STREAM_NULL_VALUES"),
    (framing.Lines(), 5, errors.ArgTypeError, "ERR_INVALID_ARG_TYPE"),
    (framing.Lines(), memoryview(b"abcd")[::2], errors.ArgTypeError, "ERR_INVALID_ARG_TYPE"),
]  # fmt: skip


@cases(("form", "payload", "kind", "code"), REFUSED)
def test_what_cannot_be_a_frame_is_refused_and_nothing_is_written(
    form: Any, payload: Any, kind: type[Exception], code: str
) -> None:
    stream = Gather(framing=form)
    with pytest.raises(kind) as caught:
        stream.write_frame(payload, lambda error: None)
    assert caught.value.code == code  # type: ignore[attr-defined]
    assert stream.calls == []
    assert stream.writable_length == 0
    assert not stream.destroyed


def test_a_delimiter_that_only_seems_to_overlap_is_written() -> None:
    stream = Gather(framing=framing.Lines(b"ab"))
    stream.write_frame(b"xa")
    assert stream.wire == b"xaab"


def test_back_pressure_and_callbacks_are_those_of_write() -> None:
    class Stuck(Gather):
        def _writev(self, chunks: list[Any], callback: Any) -> None:
            self.calls.append(chunks)
            self.later = callback

    stream = Stuck(framing=PREFIX, writable_high_water_mark=8)
    said: list[Any] = []
    stream.on("drain", lambda: said.append("drain"))
    assert stream.write_frame(b"abc", lambda error: said.append(("abc", error))) is True
    assert stream.writable_length == 5
    assert stream.write_frame(b"d", lambda error: said.append(("d", error))) is False
    assert stream.writable_need_drain
    stream.later()
    stream.later()
    run()
    assert said == [("abc", None), "drain", ("d", None)]
    assert stream.wire == b"\0\3abc\0\1d"


def test_a_frame_after_the_end_is_a_write_after_the_end() -> None:
    stream = Gather(framing=LINES)
    said: list[Any] = []
    stream.on("error", lambda error: said.append(error.code))
    stream.end()
    assert stream.write_frame(b"a", lambda error: said.append(error.code)) is False
    run()
    assert said == ["ERR_STREAM_WRITE_AFTER_END", "ERR_STREAM_WRITE_AFTER_END"]


@pytest.mark.parametrize("count", [1, 2, 31, 32, 33, 40, 100, 1000])
def test_frames_of_one_callback_leave_in_order_with_other_writes(count: int) -> None:
    called: list[int] = []

    def connected(socket: Any) -> None:
        def got(frame: bytes) -> None:
            socket.write(b"<")
            for n in range(count):
                socket.write_frame(b"%d" % n, lambda error, n=n: called.append(n))
            socket.write(b">")

        socket.on("data", got)

    play = Server(connected, framing=LINES)
    play.send(b"go\n")
    assert play.close() == b"<" + b"".join(b"%d\n" % n for n in range(count)) + b">"
    assert called == list(range(count))


def test_frames_that_the_kernel_does_not_take_at_once() -> None:
    payload = bytes(range(256)) * 4096
    said: list[Any] = []

    def connected(socket: Any) -> None:
        for n in range(8):
            said.append(socket.write_frame(payload, lambda error, n=n: said.append((n, error))))

    play = Server(connected, framing=framing.LengthPrefix())
    got = b""
    play.peer.settimeout(5)
    while len(got) < 8 * (len(payload) + 4):
        current_loop().turn()
        with contextlib.suppress(BlockingIOError):
            got += play.peer.recv(1 << 20, posix.MSG_DONTWAIT)
    assert got == 8 * (len(payload).to_bytes(4, "big") + payload)
    play.close()
    assert said[-8:] == [(n, None) for n in range(8)]
    assert False in said[:8]


def test_frames_before_the_connection_stands() -> None:
    got: list[Any] = []

    def connected(socket: Any) -> None:
        socket.on("data", got.append)
        socket.on("end", server.close)

    server = net.create_server(connected, framing=LINES)
    server.listen(0)
    client = net.connect(server.address()["port"], "127.0.0.1", framing=LINES)
    assert client.write_frame("a") is True
    client.write_frame(b"b", lambda error: client.end())
    assert client.bytes_written == 4
    run()
    assert got == [b"a", b"b"]


def test_a_frame_on_a_socket_that_was_never_connected_fails() -> None:
    said: list[Any] = []
    socket = net.Socket(framing=LINES)
    socket.on("error", lambda error: said.append(error.code))
    socket.write_frame(b"a", lambda error: said.append(error.code))
    run()
    assert said == ["ERR_SOCKET_CLOSED", "ERR_SOCKET_CLOSED"]


def test_a_frame_after_the_peers_end_is_epipe() -> None:
    said: list[Any] = []

    def connected(socket: Any) -> None:
        tick = current_loop().next_tick
        socket.on("error", lambda error: said.append(error.code))
        # Behind the automatic end().
        socket.on("end", lambda: tick(tick, socket.write_frame, b"a", said.append))
        socket.resume()

    play = Server(connected, framing=LINES)
    play.close()
    assert said[0].code == "EPIPE"
    assert said[1:] == ["EPIPE"]
