"""What holds for every socket, without TLS and with it: one conversation for both.

`wire` makes the servers and the clients. 'upgraded' is a server with TLS that has a listener of
'connection', so that its sockets are made of plain ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import socket as posix
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pyuvnet
from pyuvnet import events, framing, net, streams, tls
from pyuvnet.errors import StateError
from tests.support.certificates import certificates

PKI = certificates()
KEYS: dict[str, Any] = {"key": PKI / "server.key", "cert": PKI / "server.pem"}
TRUST: dict[str, Any] = {"ca": PKI / "ca.pem", "servername": "localhost"}
linux = pytest.mark.skipif(sys.platform != "linux", reason="what only Linux has")


class Wire:
    """Makes servers and clients of one kind, and keeps what they say in `said`."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.secure = kind != "plain"
        self.event = "secureConnect" if self.secure else "connect"
        self.said: list[Any] = []
        self.servers: list[net.Server] = []
        self.clients: list[net.Socket] = []

    def serve(self, accepted: Callable[[Any], object], **options: Any) -> Any:
        """A server that listens; accepted(socket) once the program may use it."""

        def take(socket: net.Socket) -> None:
            socket.on("error", lambda error: self.said.append(("server", error.code)))
            accepted(socket)

        if not self.secure:
            server: Any = net.create_server(take, **options)
        else:
            server = tls.create_server(take, **KEYS, **options)
            server.on("tlsClientError", lambda e, s: self.said.append(("handshake", e.code)))
            if self.kind == "upgraded":
                server.on("connection", lambda plain: None)
        self.servers.append(server)
        return server.listen(0)

    def connect(self, server: Any = None, **options: Any) -> Any:
        """A client that connects; it reads."""
        server = server or self.servers[-1]
        options = {"port": server.address().port, "host": "127.0.0.1", **options}
        client = tls.connect(**TRUST, **options) if self.secure else net.connect(options)
        client.on("error", lambda error: self.said.append(("client", error.code)))
        self.clients.append(client)
        return client

    def run(self) -> list[Any]:
        pyuvnet.run()
        return self.said

    def finish(self, *_: Any) -> None:
        """Close all servers and destroy all that is open."""
        for server in self.servers:
            server.close()
            for socket in list(server.sockets):
                socket.destroy()
        for client in self.clients:
            client.destroy()


@pytest.fixture(params=["plain", "tls", "upgraded"])
def wire(request: pytest.FixtureRequest) -> Wire:
    return Wire(request.param)


def turns(count: int, then: Callable[[], object]) -> None:
    if count:
        pyuvnet.set_immediate(turns, count - 1, then)
    else:
        then()


def noise(size: int) -> bytes:
    return random.Random(1).randbytes(size)


# ---- Streams -------------------------------------------------------------------------------------


def test_both_sides_speak_and_end(wire: Wire) -> None:
    got: dict[str, bytearray] = {"there": bytearray(), "here": bytearray()}
    seen: list[str] = []

    def accepted(socket: net.Socket) -> None:
        socket.on("data", got["there"].extend)
        socket.on("end", lambda: socket.end(b"answer", callback=lambda error: seen.append("sent")))
        socket.on("close", lambda had_error: seen.append(f"there {had_error}"))

    server = wire.serve(accepted, allow_half_open=True)
    client = wire.connect()
    client.write(b"one ")
    client.write("two ", lambda error: seen.append("written"))
    client.end(b"three")
    client.on("data", got["here"].extend)
    client.on("close", lambda had_error: (seen.append(f"here {had_error}"), server.close()))
    assert wire.run() == []
    assert (got["there"], got["here"]) == (b"one two three", b"answer")
    assert sorted(seen) == ["here False", "sent", "there False", "written"]
    assert (client.bytes_read, client.bytes_written) == (6, 13)
    assert (server.stats().bytes_read, server.stats().bytes_written) == (13, 6)


@pytest.mark.parametrize("paused", [False, True])
def test_megabytes_both_ways_with_back_pressure(wire: Wire, paused: bool) -> None:
    data = noise(3_000_000)
    sums = {"there": hashlib.sha256(), "here": hashlib.sha256()}
    returned: list[bool] = []

    def accepted(socket: net.Socket) -> None:
        def chunk(found: bytes) -> None:
            sums["there"].update(found)
            returned.append(socket.write(found))
            if paused and socket.readable_flowing:
                socket.pause()
                pyuvnet.set_immediate(socket.resume)

        socket.on("data", chunk)
        socket.on("end", socket.end)

    server = wire.serve(accepted, allow_half_open=True)
    client = wire.connect()
    for start in range(0, len(data), 100_000):
        client.write(data[start : start + 100_000])
    assert client.writable_length == len(data)
    client.end()
    client.on("data", sums["here"].update)
    client.on("close", server.close)
    assert wire.run() == []
    wanted = hashlib.sha256(data).digest()
    assert (sums["there"].digest(), sums["here"].digest()) == (wanted, wanted)


def test_a_socket_that_is_paused_reads_no_further_than_its_mark(wire: Wire) -> None:
    size = 24_000_000
    held: list[net.Socket] = []

    def accepted(socket: net.Socket) -> None:
        held.append(socket.pause())

    wire.serve(accepted)
    client = wire.connect()
    client.write(bytes(size))
    pyuvnet.set_timeout(pyuvnet.stop, 100)
    pyuvnet.run()
    (socket,) = held
    # The mark, and the read that went beyond it.
    assert socket.readable_length <= 65536 + 131072
    assert client.writable_length > 0
    left = size

    def chunk(data: bytes) -> None:
        nonlocal left
        left -= len(data)
        if not left:
            wire.finish()

    socket.on("data", chunk).resume()
    wire.run()
    assert left == 0


def test_each_write_callback_is_called_once_in_order(wire: Wire) -> None:
    seen: list[int] = []
    server = wire.serve(lambda socket: socket.resume())
    client = wire.connect()

    def write() -> None:
        client.cork()
        for number in range(50):
            client.write(bytes(number * 3000), lambda error, number=number: seen.append(number))
            if number % 7 == 0:
                client.uncork()
                client.cork()
        client.uncork()
        client.end(callback=lambda error: seen.append(-1))

    client.on(wire.event, write)
    client.resume().on("close", server.close)
    assert wire.run() == []
    assert seen == [*range(50), -1]


def test_writes_in_flight_fail_when_the_socket_is_destroyed(wire: Wire) -> None:
    seen: list[Any] = []
    wire.serve(lambda socket: socket.pause())
    client = wire.connect()
    client.resume()

    def write() -> None:
        client.write(bytes(9_000_000), lambda error: seen.append(error.code))
        client.write(b"more", lambda error: seen.append(error.code))
        turns(20, wire.finish)

    client.on(wire.event, lambda: turns(2, write))
    wire.run()
    assert seen == ["ECANCELED", "ECANCELED"]


def test_text_is_decoded_across_records(wire: Wire) -> None:
    text = "ä€😀" * 3000
    got: list[str] = []

    def accepted(socket: net.Socket) -> None:
        data = text.encode()
        for start in range(0, len(data), 4999):
            socket.write(data[start : start + 4999])
        socket.end()

    server = wire.serve(accepted)
    client = wire.connect(encoding="utf8")
    client.on("data", got.append)
    client.on("close", server.close)
    assert wire.run() == []
    assert "".join(got) == text


def test_a_socket_is_half_open(wire: Wire) -> None:
    seen: list[str] = []

    def accepted(socket: net.Socket) -> None:
        socket.resume().on("end", lambda: pyuvnet.set_timeout(socket.end, 20, "late"))

    server = wire.serve(accepted, allow_half_open=True)
    client = wire.connect(allow_half_open=True)
    client.end("x")
    client.on("data", lambda data: seen.append(data.decode()))
    client.on("close", lambda had_error: (seen.append("close"), server.close()))
    assert wire.run() == []
    assert seen == ["late", "close"]


def test_a_reset_is_the_error_of_the_peer(wire: Wire) -> None:
    def accepted(socket: net.Socket) -> None:
        socket.resume()
        turns(5, socket.reset_and_destroy)

    server = wire.serve(accepted)
    wire.connect().resume().on("close", server.close)
    assert wire.run() == [("client", "ECONNRESET")]


def test_a_broadcast_arrives_at_each(wire: Wire) -> None:
    sockets: list[net.Socket] = []
    got = [bytearray() for _ in range(12)]

    def accepted(socket: net.Socket) -> None:
        sockets.append(socket)
        if len(sockets) == len(got):
            for message in (b"to all", noise(40_000)):
                for each in sockets:
                    each.write(message)
            for each in sockets:
                each.end()
            server.close()

    server = wire.serve(accepted)
    for number in range(len(got)):
        wire.connect().on("data", got[number].extend)
    assert wire.run() == []
    assert got == [b"to all" + noise(40_000)] * len(got)


def test_onread_has_the_bytes_in_the_programs_buffer(wire: Wire) -> None:
    got = bytearray()
    server = wire.serve(lambda socket: socket.end(noise(100_000)))
    memory = bytearray(1000)
    client = wire.connect(
        onread={"buffer": memory, "callback": lambda size, buffer: got.extend(buffer[:size])}
    )
    client.on("close", server.close)
    assert wire.run() == []
    assert got == noise(100_000)


def test_onread_with_tls_reads_although_the_client_is_paused_before_it_connects() -> None:
    """As in Node, where a plain client does not."""
    wire, got = Wire("tls"), bytearray()
    server = wire.serve(lambda socket: socket.end("hello"))

    def read(size: int, buffer: bytearray) -> None:
        got.extend(buffer[:size])
        wire.finish()

    client = wire.connect(onread={"buffer": bytearray(64), "callback": read}).pause()
    client.on("close", server.close)
    assert wire.run() == []
    assert got == b"hello"


# ---- Pipes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("back", ["plain", "tls"])
@pytest.mark.parametrize("slow", [False, True], ids=["fast", "slow"])
def test_a_proxy_is_two_pipes(wire: Wire, back: str, slow: bool) -> None:
    """Bytes of large reads go inside the kernel where both ends are plain, and nowhere else."""
    behind = Wire(back)
    data = noise(4_000_000)
    found = hashlib.sha256()

    def echo(socket: net.Socket) -> None:
        socket.pipe(socket)

    def accepted(front: net.Socket) -> None:
        there = behind.connect()
        front.pipe(there)
        there.pipe(front)

    behind.serve(echo, allow_half_open=True)
    server = wire.serve(accepted, allow_half_open=True)
    client = wire.connect()
    client.end(data)

    def chunk(part: bytes) -> None:
        found.update(part)
        if slow and not client.is_paused():
            client.pause()
            pyuvnet.set_timeout(client.resume, 1)

    client.on("data", chunk)
    client.on("close", lambda had_error: (server.close(), behind.servers[0].close()))
    assert wire.run() == []
    assert behind.said == []
    assert found.digest() == hashlib.sha256(data).digest()


def test_pipeline_ends_when_the_other_side_has(wire: Wire) -> None:
    seen: list[Any] = []
    got = bytearray()

    def accepted(socket: net.Socket) -> None:
        streams.pipeline(socket, socket, lambda error: (seen.append(error), server.close()))

    server = wire.serve(accepted, allow_half_open=True)
    client = wire.connect()
    client.end("hello")
    client.on("data", got.extend)
    assert wire.run() == []
    assert (seen, got) == ([None], b"hello")


# ---- Framings and coroutines ---------------------------------------------------------------------


def test_a_servers_framing_cuts_lines(wire: Wire) -> None:
    lines: list[bytes] = []

    def accepted(socket: net.Socket) -> None:
        socket.on("data", lambda line: (lines.append(line), socket.write_frame(line[::-1])))

    server = wire.serve(accepted, framing=framing.Lines())
    client = wire.connect(framing=framing.Lines())
    client.write("first\r\nsec")
    client.on(wire.event, lambda: client.write("ond\nthird\n"))
    answers: list[bytes] = []

    def answer(line: bytes) -> None:
        answers.append(line)
        if len(answers) == 3:
            client.end()

    client.on("data", answer)
    client.on("close", server.close)
    assert wire.run() == []
    assert lines == [b"first", b"second", b"third"]
    assert answers == [b"tsrif", b"dnoces", b"driht"]


def test_length_prefixes_of_many_records(wire: Wire) -> None:
    sizes = [0, 1, 100, 16384, 16385, 200_000]
    got: list[int] = []
    frame = framing.LengthPrefix(4)
    server = wire.serve(lambda socket: socket.on("data", lambda data: got.append(len(data))),
                        framing=frame)  # fmt: skip
    client = wire.connect(framing=frame)
    for size in sizes:
        client.write_frame(bytes(size))
    client.end()
    client.resume().on("close", server.close)
    assert wire.run() == []
    assert got == sizes


@pytest.mark.parametrize("way", ["async for", "reads"])
def test_coroutines_read(wire: Wire, way: str) -> None:
    data = b"".join(b"%d\n" % number for number in range(3000))
    got: list[bytes] = []

    async def read(socket: net.Socket) -> None:
        if way == "async for":
            async for chunk in socket:
                got.append(bytes(chunk))
        else:
            assert await socket.read_exactly(2) == b"0\n"
            assert await socket.read_until(b"1\n") == b"1\n"
            got.append(b"0\n1\n")
            while line := await socket.read_line():
                got.append(line + b"\n")
        socket.end("done")

    tasks = []

    def serve(socket: net.Socket) -> None:
        tasks.append(asyncio.ensure_future(read(socket)))

    async def main() -> None:
        server = wire.serve(serve, allow_half_open=True)
        client = wire.connect()
        await events.once(client, wire.event)
        for start in range(0, len(data), 700):
            client.write(data[start : start + 700])
            await asyncio.sleep(0)
        client.end()
        assert await client.read_line() == b"done"
        await events.once(client, "close")
        server.close()

    pyuvnet.run(main())
    pyuvnet.run()
    assert b"".join(got) == data
    assert wire.said == []


def test_a_coroutine_takes_the_connections(wire: Wire) -> None:
    """With TLS they are those that the program may use, and not the plain ones."""
    got: list[bytes] = []

    async def main() -> None:
        server = wire.serve(lambda socket: None)
        wire.connect().on("data", got.append)
        async for socket in server:
            assert isinstance(socket, tls.TLSSocket) is wire.secure
            socket.end("hello")
            server.close()

    pyuvnet.run(main())
    pyuvnet.run()
    assert wire.said == []
    assert got == [b"hello"]


def test_drained_waits_for_the_kernel(wire: Wire) -> None:
    async def main() -> None:
        server = wire.serve(lambda socket: socket.resume())
        client = wire.connect()
        client.resume()
        client.write(bytes(3_000_000))
        await client.drained()
        assert client.writable_length == 0
        client.end()
        await events.once(client, "close")
        server.close()

    pyuvnet.run(main())
    pyuvnet.run()
    assert wire.said == []


def test_a_coroutine_looks_the_host_up(wire: Wire, factory: Any) -> None:
    async def lookup(host: str, options: Any, callback: Any) -> Any:
        await asyncio.sleep(0)
        return ("127.0.0.1", 4)

    async def main() -> None:
        server = wire.serve(lambda socket: socket.end(b"found"))
        client = wire.connect(host="some.where", lookup=lookup)
        got = b"".join([chunk async for chunk in client])
        client.destroy()
        server.close()
        await server.wait_closed()
        assert got == b"found"

    asyncio.run(main())
    assert wire.said == []


# ---- Deadlines -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "code"),
    [
        ({"idle_timeout": 80}, "ERR_SOCKET_IDLE"),
        ({"first_byte_timeout": 80}, "ERR_FIRST_BYTE_TIMEOUT"),
        ({"min_read_rate": (1, 80)}, "ERR_TOO_SLOW"),
    ],
    ids=["idle", "first byte", "rate"],
)
def test_a_silent_peer_is_destroyed(
    wire: Wire, clock: Any, option: dict[str, Any], code: str
) -> None:
    server = wire.serve(lambda socket: socket.resume(), **option)
    wire.connect().resume().on("close", server.close)
    assert wire.run() == [("server", code)]
    assert server.stats().errors == {code: 1}


@pytest.mark.parametrize(
    ("option", "code"),
    [
        # Four bytes come in the time in which ten have to.
        ({"min_read_rate": (10, 300)}, "ERR_TOO_SLOW"),
        # It is never silent for long enough to be ended.
        ({"max_lifetime": 300}, "ERR_MAX_LIFETIME"),
    ],
    ids=["rate", "lifetime"],
)
def test_a_peer_that_drips_does_not_keep_the_connection(
    wire: Wire, clock: Any, option: dict[str, Any], code: str
) -> None:
    def drip() -> None:
        if client.writable:
            client.write(b"x")
            pyuvnet.set_timeout(drip, 70)

    server = wire.serve(lambda socket: socket.resume(), **option)
    client = wire.connect()
    client.resume().on(wire.event, drip)
    client.on("close", server.close)
    assert wire.run() == [("server", code)]


def test_bytes_put_the_deadlines_off(wire: Wire, clock: Any) -> None:
    options = {"idle_timeout": 300, "first_byte_timeout": 300, "min_read_rate": (1, 300)}
    server = wire.serve(lambda socket: socket.on("data", socket.write), **options)
    client = wire.connect()
    left = 8

    def again(*_: Any) -> None:
        nonlocal left
        left -= 1
        if left:
            pyuvnet.set_timeout(client.write, 60, b"x")
        else:
            client.end()

    client.on("data", again)
    client.on(wire.event, again)
    client.on("close", server.close)
    assert wire.run() == []


def test_a_peer_that_does_not_read_is_reset(wire: Wire) -> None:
    def accepted(socket: net.Socket) -> None:
        while socket.write(bytes(100_000)) or socket.writable_length < 8_000_000:
            pass

    server = wire.serve(accepted, write_timeout=100)
    client = wire.connect()
    client.on(wire.event, client.pause)
    server.on("close", lambda: None)

    def look() -> None:
        if wire.said:
            wire.finish()
        else:
            pyuvnet.set_timeout(look, 20)

    look()
    assert wire.run() == [("server", "ERR_WRITE_TIMEOUT")]


def test_a_connection_retires_at_its_age(wire: Wire, clock: Any) -> None:
    seen: list[str] = []

    def accepted(socket: net.Socket) -> None:
        socket.resume()
        for event in ("shutdown", "finish", "close"):
            socket.on(event, lambda *_, event=event: seen.append(event))

    server = wire.serve(accepted, max_lifetime=3_600_000)
    wire.connect().resume().on("close", server.close)
    assert wire.run() == []
    assert seen == ["shutdown", "finish", "close"]
    assert 3_240_000 <= clock.now <= 3_965_000


def test_a_deadline_of_the_programs(wire: Wire, clock: Any) -> None:
    server = wire.serve(lambda socket: socket.resume().set_deadline(60))
    wire.connect().resume().on("close", server.close)
    assert wire.run() == [("server", "ERR_DEADLINE")]


def test_an_idle_timeout_that_the_program_hears_of(wire: Wire, clock: Any) -> None:
    server = wire.serve(lambda socket: socket.resume().set_timeout(60, socket.end))
    wire.connect().resume().on("close", server.close)
    assert wire.run() == []


@pytest.mark.parametrize("way", ["set before", "set after", "idle_timeout", "write_timeout"])
def test_a_write_that_progresses_puts_off_what_waits_for_silence(
    wire: Wire, clock: Any, way: str
) -> None:
    seen: list[str] = []
    got = 0

    def accepted(socket: net.Socket) -> None:
        socket.resume()
        if way == "set before":
            socket.set_timeout(300)
        socket.on("timeout", lambda: (seen.append("timeout"), wire.finish()))
        socket.set_option(posix.SOL_SOCKET, posix.SO_SNDBUF, 65536)
        socket.write(bytes(4_000_000), written)
        if way == "set after":
            socket.set_timeout(300)

    def written(error: BaseException | None) -> None:
        seen.append("written")
        if option:
            wire.finish()

    def read(data: bytes) -> None:
        nonlocal got
        got += len(data)
        # More than the kernel keeps, so that it has room again.
        if got >= 500_000:
            got = 0
            wait(250)

    def wait(ms: int) -> None:
        client.pause()
        pyuvnet.set_timeout(client.resume, ms)

    option: dict[str, Any] = {way: 300} if way.endswith("timeout") else {}
    wire.serve(accepted, **option)
    client = wire.connect(receive_buffer=65536)
    client.on("data", read)
    # As in Node, what the kernel takes at once is progress for 'timeout': it has two periods at
    # first.
    client.on(wire.event, lambda: wait(250 if option else 400))
    wire.run()
    assert "server" not in dict(wire.said)
    assert seen == (["written"] if option else ["written", "timeout"])


# ---- Bounds --------------------------------------------------------------------------------------


def fill(socket: net.Socket) -> None:
    """Write more than both kernels hold."""
    for _ in range(200):
        if socket.destroyed or not socket.writable:
            return
        socket.write(bytes(bytearray(100_000)))


@pytest.mark.parametrize("on_full", ["destroy", "refuse"])
def test_a_queue_has_a_bound(wire: Wire, on_full: str) -> None:
    lengths: list[int] = []

    def accepted(socket: net.Socket) -> None:
        def begin() -> None:
            fill(socket)
            lengths.append(socket.writable_length)
            wire.finish()

        turns(3, begin)

    wire.serve(accepted, max_write_buffer=500_000, on_full=on_full)
    client = wire.connect()
    client.on(wire.event, client.pause)
    said = [one for one in wire.run() if one[0] == "server"]
    if on_full == "destroy":
        assert said == [("server", "ERR_WRITE_BUFFER_FULL")]
    else:
        assert said == []
        assert 0 < lengths[0] <= 500_000


def test_sockets_share_a_budget(wire: Wire) -> None:
    sockets: list[net.Socket] = []
    queued: list[int] = []

    def accepted(socket: net.Socket) -> None:
        sockets.append(socket)
        if len(sockets) == 3:
            turns(3, begin)

    def begin() -> None:
        for _ in range(200):
            for socket in sockets:
                if not socket.destroyed:
                    socket.write(bytes(bytearray(50_000)))
            queued.append(server.stats().queued_bytes)
        turns(3, wire.finish)

    server = wire.serve(accepted, write_budget=1_000_000)
    for _ in range(3):
        client = wire.connect()
        client.on(wire.event, client.pause)
    said = wire.run()
    assert ("server", "ERR_WRITE_BUDGET") in said
    assert 0 < max(queued) <= 1_100_000


def test_an_address_has_so_many_connections(wire: Wire) -> None:
    drops: list[str] = []
    server = wire.serve(lambda socket: socket.resume(), max_per_address=1)
    server.on("drop", lambda info: drops.append(info.reason))

    def second() -> None:
        client = wire.connect()
        client.resume().on("close", lambda had_error: first.end())

    first = wire.connect()
    first.resume().on(wire.event, lambda: turns(5, second))
    first.on("close", lambda had_error: turns(5, third))

    def third() -> None:
        client = wire.connect()
        client.end("x")
        client.resume().on("close", server.close)

    said = wire.run()
    assert drops == ["max_per_address"]
    # Who is dropped has no handshake.
    assert [who for who, _ in said] == (["client"] if wire.secure else [])


def test_connections_beyond_the_limit_wait(wire: Wire) -> None:
    seen: list[int] = []

    def accepted(socket: net.Socket) -> None:
        seen.append(server.stats().open)
        socket.end("x")

    server = wire.serve(accepted, max_connections=2, overflow="wait")
    left = 6

    def closed(had_error: bool) -> None:
        nonlocal left
        left -= 1
        if not left:
            server.close()

    for _ in range(6):
        wire.connect().resume().on("close", closed)
    assert wire.run() == []
    assert len(seen) == 6
    assert max(seen) <= 2


def test_a_block_list_of_a_server(wire: Wire) -> None:
    rules = net.BlockList()
    rules.add_subnet("127.0.0.0", 8)
    server = wire.serve(lambda socket: pytest.fail("let in"), block_list=rules)
    wire.connect().resume().on("close", server.close)
    wire.run()
    assert server.stats().accepted == 0


def test_a_block_list_of_a_client(wire: Wire) -> None:
    rules = net.BlockList()
    rules.add_address("127.0.0.1")
    server = wire.serve(lambda socket: pytest.fail("let in"))
    wire.connect(block_list=rules).on("close", server.close)
    assert wire.run() == [("client", "ERR_IP_BLOCKED")]


# ---- Servers -------------------------------------------------------------------------------------


def test_what_a_server_knows_of_its_sockets(wire: Wire) -> None:
    seen: list[net.Socket] = []

    def accepted(socket: net.Socket) -> None:
        seen.append(socket)
        assert socket in server.sockets
        assert socket.server is server
        if len(seen) == 3:
            server.get_connections(lambda error, count: counts.append(count))
            turns(3, lambda: server.close().destroy_sockets())

    counts: list[int] = []
    server = wire.serve(accepted)
    for _ in range(3):
        wire.connect().resume()
    said = wire.run()
    assert counts == [3]
    assert said == []
    stats = server.stats()
    assert (stats.accepted, stats.open, stats.peak, stats.closed) == (3, 0, 3, 3)
    assert list(server.sockets) == []


def test_shutdown_ends_what_is_idle_and_waits_for_what_is_busy(wire: Wire) -> None:
    results: list[Any] = []
    got = bytearray()
    sockets: list[net.Socket] = []

    def accepted(socket: net.Socket) -> None:
        sockets.append(socket.resume())
        if len(sockets) == 2:
            sockets[0].busy = True
            server.shutdown(5000, idle_grace=50, callback=results.append)
            pyuvnet.set_timeout(sockets[0].end, 200, "the answer")

    server = wire.serve(accepted)
    for _ in range(2):
        wire.connect().on("data", got.extend)
    assert wire.run() == []
    assert got == b"the answer"
    assert tuple(results[0]) == (2, 0, 0)


def test_options_of_the_kernel_are_set(wire: Wire) -> None:
    found: list[tuple[int, int]] = []

    def look(socket: net.Socket) -> None:
        with posix.socket(fileno=posix.dup(socket.fileno())) as one:
            found.append(
                (
                    one.getsockopt(posix.IPPROTO_TCP, posix.TCP_NODELAY),
                    one.getsockopt(posix.SOL_SOCKET, posix.SO_KEEPALIVE),
                )
            )

    def accepted(socket: net.Socket) -> None:
        look(socket)
        socket.end()

    server = wire.serve(accepted, no_delay=True, keep_alive=True)
    client = wire.connect(no_delay=True, keep_alive=True)
    client.on(wire.event, lambda: look(client))
    client.resume().on("close", server.close)
    assert wire.run() == []
    assert [tuple(map(bool, each)) for each in found] == [(True, True)] * 2


def test_info_counts_what_the_program_sees(wire: Wire) -> None:
    found: list[Any] = []

    def accepted(socket: net.Socket) -> None:
        def data(chunk: bytes) -> None:
            found.append((socket.info(), socket.remote_address, socket.local_port))
            socket.end("12345")

        socket.on("data", data)

    server = wire.serve(accepted)
    port = server.address().port
    client = wire.connect()
    client.write("abc")
    client.resume().on("close", server.close)
    assert wire.run() == []
    ((info, remote, local),) = found
    assert (info.bytes_read, info.writable_length) == (3, 0)
    assert (info.remote_address, remote, local) == ("::ffff:127.0.0.1", "::ffff:127.0.0.1", port)
    if sys.platform == "linux":
        assert info.tcp.state == "ESTABLISHED"
    assert (client.bytes_read, client.bytes_written) == (5, 3)


def test_a_signal_aborts_a_client(wire: Wire) -> None:
    controller = pyuvnet.AbortController()
    server = wire.serve(lambda socket: (socket.resume(), turns(3, controller.abort)))
    wire.connect(signal=controller.signal).resume().on("close", server.close)
    said = wire.run()
    assert ("client", "ABORT_ERR") in said


def test_over_a_unix_socket(wire: Wire, tmp_path: Path) -> None:
    if sys.platform == "win32":
        pytest.skip("a path is a named pipe there")
    path = str(tmp_path / "s")
    got = bytearray()
    server = wire.serve(lambda socket: socket.pipe(socket), allow_half_open=True)
    wire.servers.append(server)
    server.close()
    server.listen(path)
    options: dict[str, Any] = {"path": path}
    client = tls.connect(**TRUST, **options) if wire.secure else net.connect(options)
    client.end(noise(300_000))
    client.on("data", got.extend)
    client.on("close", server.close)
    assert wire.run() == []
    assert got == noise(300_000)


# ---- PROXY, then TLS -----------------------------------------------------------------------------

ENDS: dict[str, Any] = {"source": ("1.2.3.4", 5), "destination": ("5.6.7.8", 9)}


@pytest.mark.parametrize("version", [1, 2])
def test_a_proxy_header_comes_before_everything(wire: Wire, version: int) -> None:
    seen: list[Any] = []

    def accepted(socket: net.Socket) -> None:
        seen.append((socket.remote_address, socket.remote_port, socket.proxy.version))
        socket.on("data", lambda data: (seen.append(data), socket.end("bye")))

    server = wire.serve(accepted, proxy_protocol={"trusted": ["127.0.0.1"]})
    client = wire.connect(proxy_protocol={"version": version, **ENDS})
    client.write("hello")
    client.resume().on("close", server.close)
    assert wire.run() == []
    assert seen == [("1.2.3.4", 5, version), b"hello"]
    assert client.bytes_written == 5


class Cut:
    """Sends what a client says to a server in pieces of so many bytes, one in each turn."""

    def __init__(self, port: int, size: int, first: bytes = b"") -> None:
        self.port, self.size, self.first = port, size, first
        self.server = net.create_server({"allow_half_open": True}, self.take).listen(0)
        self.queue = bytearray(first)

    def take(self, front: net.Socket) -> None:
        self.server.close()
        self.back = net.connect(self.port, "127.0.0.1", no_delay=True)
        self.back.pipe(front)
        front.on("data", self.queue.extend)
        front.on("end", lambda: setattr(self, "size", 1 << 30))
        front.on("error", lambda error: None)
        self.back.on("error", lambda error: None)
        self.front = front
        self.push()

    def push(self) -> None:
        if self.back.destroyed:
            return
        if self.queue and not self.back.connecting:
            self.back.write(bytes(self.queue[: self.size]))
            del self.queue[: self.size]
        if self.front.readable_ended and not self.queue:
            self.back.end()
            return
        pyuvnet.set_immediate(self.push)


@pytest.mark.parametrize("size", [1, 5, 1 << 30], ids=["bytes", "fives", "one segment"])
@pytest.mark.parametrize("version", [1, 2])
def test_a_header_and_the_first_message_may_come_together(
    wire: Wire, version: int, size: int
) -> None:
    """The header and what follows reach the server in one piece, or in any other."""
    header = {
        1: b"PROXY TCP4 1.2.3.4 5.6.7.8 5 9\r\n",
        2: b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes((1, 2, 3, 4, 5, 6, 7, 8)) + b"\0\5\0\t",
    }[version]
    seen: list[Any] = []

    def accepted(socket: net.Socket) -> None:
        seen.append(socket.remote_address)

        def data(chunk: bytes) -> None:
            seen.append(chunk)
            if sum(map(len, seen[1:])) == 5:
                socket.end("bye")

        socket.on("data", data)

    server = wire.serve(accepted, proxy_protocol={"trusted": ["127.0.0.1"]})
    between = Cut(server.address().port, size, header)
    got = bytearray()
    client = wire.connect(between.server)
    client.write("hello")
    client.on("data", got.extend)
    client.on("close", server.close)
    assert wire.run() == []
    assert b"".join(seen[1:]) == b"hello"
    assert (seen[0], got) == ("1.2.3.4", b"bye")


def test_who_may_not_send_a_header_is_dropped(wire: Wire) -> None:
    drops: list[str] = []
    server = wire.serve(lambda socket: pytest.fail("let in"),
                        proxy_protocol={"trusted": ["127.0.0.1"]})  # fmt: skip
    server.on("drop", lambda info: drops.append(info.reason))
    # No header at all: the hello of TLS, or text.
    client = wire.connect()
    client.write("hello there, this is no header")
    client.resume().on("close", server.close)
    wire.run()
    assert drops == ["proxy"]


# ---- What TLS alone has --------------------------------------------------------------------------


def stalled(server: Any) -> posix.socket:
    """A peer that connects and says nothing."""
    peer = posix.create_connection(("127.0.0.1", server.address().port))
    peer.settimeout(5)
    return peer


DEADLINES: dict[str, tuple[dict[str, Any], str]] = {
    "idle": ({"idle_timeout": 60}, "ERR_SOCKET_IDLE"),
    "first byte": ({"first_byte_timeout": 60}, "ERR_FIRST_BYTE_TIMEOUT"),
    "rate": ({"min_read_rate": (1, 60)}, "ERR_TOO_SLOW"),
    "handshake": ({"handshake_timeout": 60}, "ERR_TLS_HANDSHAKE_TIMEOUT"),
}


@pytest.mark.parametrize("kind", ["tls", "upgraded"])
@pytest.mark.parametrize("limit", DEADLINES)
@pytest.mark.parametrize("first", [b"", b"\x16\x03\x01\x02\x00\x01\x00"], ids=["silent", "begun"])
def test_a_handshake_that_stalls_ends_by_a_deadline(kind: str, limit: str, first: bytes) -> None:
    """Nothing of that raises out of the loop, though nobody has the socket yet."""
    wire = Wire(kind)
    options, code = DEADLINES[limit]
    server = wire.serve(lambda socket: pytest.fail("let in"), **options)
    server.on("tlsClientError", lambda error, socket: server.close())
    with stalled(server) as peer:
        peer.sendall(first)
        assert wire.run() == [("handshake", code)]
        assert peer.recv(10) == b""


def test_nobody_needs_to_listen_for_failed_handshakes() -> None:
    server = tls.create_server(**KEYS, idle_timeout=50).listen(0)
    with stalled(server):
        pyuvnet.set_timeout(server.close, 20)
        pyuvnet.run()
    assert server.stats().errors == {"ERR_SOCKET_IDLE": 1}


def test_sockets_that_are_destroyed_in_the_handshake_are_failed_handshakes() -> None:
    wire = Wire("tls")
    server = wire.serve(lambda socket: pytest.fail("let in"))

    def look() -> None:
        if server.sockets:
            server.close().destroy_sockets(StateError("closing", "ERR_CLOSING"))
        else:
            pyuvnet.set_immediate(look)

    with stalled(server):
        look()
        assert wire.run() == [("handshake", "ERR_CLOSING")]


@pytest.mark.parametrize("first", [b"", b"\x16\x03\x01\x02\x00\x01\x00"], ids=["silent", "begun"])
def test_shutdown_does_not_wait_longer_for_a_handshake_than_for_a_socket(first: bytes) -> None:
    wire = Wire("tls")
    results: list[Any] = []
    server = wire.serve(lambda socket: pytest.fail("let in"))
    with stalled(server) as peer:
        peer.sendall(first)

        def look() -> None:
            if server.sockets:
                server.shutdown(150, idle_grace=20, callback=results.append)
            else:
                pyuvnet.set_immediate(look)

        look()
        assert wire.run() == []
    assert tuple(results[0]) == (0, 1, 0)


def test_a_handshake_under_way_is_over_before_shutdown_ends_the_connection() -> None:
    wire = Wire("tls")
    results: list[Any] = []
    got: list[str] = []
    server = wire.serve(lambda socket: socket.resume().end("served"))
    client = wire.connect()
    client.on("data", lambda data: got.append(data.decode()))

    def look() -> None:
        if server.sockets:
            server.shutdown(5000, idle_grace=50, callback=results.append)
        else:
            pyuvnet.set_immediate(look)

    look()
    assert wire.run() == []
    assert got == ["served"]
    assert tuple(results[0]) == (1, 0, 0)


def test_a_deadline_set_in_the_handshake_holds_after_it() -> None:
    wire = Wire("tls")
    server = wire.serve(lambda socket: socket.resume())
    client = wire.connect()
    client.set_deadline(100)
    client.resume().on("close", server.close)
    said = wire.run()
    assert ("client", "ERR_DEADLINE") in said


def test_a_connection_with_tls_is_not_handed_over() -> None:
    wire = Wire("tls")
    codes: list[Any] = []

    def accepted(socket: Any) -> None:
        assert socket.fileno() >= 0
        with pytest.raises(StateError, match="TLS") as caught:
            socket.detach()
        codes.append(caught.value.code)
        socket.end()

    server = wire.serve(accepted)
    wire.connect().resume().on("close", server.close)
    assert wire.run() == []
    assert codes == ["ERR_INVALID_STATE"]


@pytest.mark.parametrize("own", [False, True], ids=["the plain one's", "its own"])
def test_bounds_and_deadlines_go_with_the_connection(own: bool) -> None:
    """What counted for a plain socket counts for the one that STARTTLS makes of it."""
    said: list[Any] = []

    def accepted(plain: net.Socket) -> None:
        options = {"max_write_buffer": 1 << 30} if own else {}
        secure = tls.TLSSocket(plain, is_server=True, **KEYS, **options)
        secure.on("secure", lambda: turns(3, lambda: begin(secure)))
        secure.on("error", lambda error: said.append(error.code))
        secure.on("close", lambda had_error: (server.close(), client.destroy()))
        secure.resume()
        plain.on("error", lambda error: said.append(("plain", error.code)))

    def begin(secure: net.Socket) -> None:
        fill(secure)

    server = net.create_server(accepted, max_write_buffer=500_000, idle_timeout=200).listen(0)
    plain = net.connect(server.address().port)
    client = tls.connect(socket=plain, **TRUST)
    client.on("error", lambda error: said.append(("client", error.code)))
    client.on("secureConnect", client.pause)
    pyuvnet.run()
    assert said[0] == ("ERR_SOCKET_IDLE" if own else "ERR_WRITE_BUFFER_FULL")


def test_resets_in_each_state_of_the_handshake() -> None:
    """A peer that goes after any number of bytes of its own leaves nothing behind."""
    wire = Wire("tls")
    server = wire.serve(lambda socket: socket.resume())
    done: list[int] = []

    def attempt(count: int) -> None:
        peer = posix.create_connection(("127.0.0.1", server.address().port))
        peer.setsockopt(posix.SOL_SOCKET, posix.SO_LINGER, struct.pack("ii", 1, 0))
        bare, incoming, outgoing = client_engine()
        left = count

        def go_on() -> None:
            nonlocal left
            with contextlib.suppress(OSError):
                bare.do_handshake()
            data = outgoing.read()[:left]
            left -= len(data)
            if data:
                peer.sendall(data)
            if left:
                turns(3, receive)
            else:
                peer.close()
                turns(3, lambda: next_one(count))

        def receive() -> None:
            peer.setblocking(False)
            try:
                incoming.write(peer.recv(1 << 16))
            except BlockingIOError:
                peer.close()
                next_one(1 << 20)
                return
            go_on()

        go_on()

    def next_one(count: int) -> None:
        done.append(count)
        if count > 4000:
            server.close()
            server.destroy_sockets()
        else:
            attempt(count + 37)

    attempt(1)
    said = wire.run()
    assert {code for _, code in said} <= {"ECONNRESET", "EPIPE"}
    assert len(done) > 10
    assert server.stats().open == 0


def client_engine() -> Any:
    import ssl

    context = ssl.create_default_context(cafile=str(PKI / "ca.pem"))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    return context.wrap_bio(incoming, outgoing, server_hostname="localhost"), incoming, outgoing


# ---- Options of the server -----------------------------------------------------------------------


def test_pause_on_connect_reads_nothing_until_resume(wire: Wire) -> None:
    seen: list[Any] = []

    def accepted(socket: Any) -> None:
        socket.on("data", lambda chunk: (seen.append(chunk), wire.finish()))
        seen.append((socket.is_paused(), socket.readable_flowing))
        pyuvnet.set_immediate(socket.resume)

    client = wire.connect(wire.serve(accepted, pause_on_connect=True))
    client.write(b"hello")
    assert wire.run() == []
    assert seen == [(True, False), b"hello"]


@pytest.mark.parametrize("half_open", [None, False])
def test_a_coroutine_has_its_side_open_unless_the_server_says_otherwise(
    wire: Wire, half_open: bool | None
) -> None:
    got = bytearray()

    async def accepted(socket: Any) -> None:
        question = b"".join([chunk async for chunk in socket])
        if not socket.writable_ended:
            socket.end(b"answer to " + question)

    async def main() -> None:
        server = wire.serve(lambda socket: None, allow_half_open=half_open)
        server.on("secureConnection" if wire.secure else "connection", accepted)
        client = wire.connect(server)
        client.on("data", got.extend)
        client.on("close", wire.finish)
        client.end(b"hello")
        await server.wait_closed()

    pyuvnet.run(main())
    assert wire.said == []
    assert got == (b"answer to hello" if half_open is None else b"")
