"""pair() and FaultProxy: what passes, when, in which pieces, and how it ends."""

from __future__ import annotations

import random
import sys
from typing import Any

import pytest

import pyuvnet
from pyuvnet import events, net, run, testing
from pyuvnet._core.info import build_flags
from pyuvnet.errors import ArgTypeError, ArgValueError, RangeError
from pyuvnet.net import Socket
from pyuvnet.testing import FaultProxy, pair, virtual_time
from pyuvnet.testing._faults import notes
from tests.support.errors import BoomError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a pair of unix sockets")
virtual = pytest.mark.skipif(
    "bundled libuv" not in build_flags(), reason="an installed libuv reads the system's clock"
)


def watch(trace: Any, socket: Socket, name: str) -> Socket:
    for event in ("data", "end", "finish", "error", "close"):
        socket.on(event, lambda *args, event=event: trace(f"{name} {event}", *map(shown, args)))
    return socket


def shown(value: Any) -> Any:
    return value.code if isinstance(value, Exception) else value


def pieces(data: bytes, **faults: Any) -> list[bytes]:
    """The chunks in which data arrives at the server of a pair."""
    client, server = pair(**faults)
    got: list[bytes] = []
    server.on("data", got.append)
    client.resume().end(data)
    run()
    return got


# ---- pair() --------------------------------------------------------------------------------------


@virtual
@pytest.mark.parametrize("spelling", ["idle_timeout", "idleTimeout"])
def test_both_sockets_have_the_deadlines_of_connections(spelling: str) -> None:
    ends: list[Any] = []
    with virtual_time(jump=True) as clock:
        for socket in pair({spelling: 5000}):
            socket.resume().on("error", lambda error: ends.append((error.code, clock.now)))
        run()
    assert ends == [("ERR_SOCKET_IDLE", 5000)] * 2


@pytest.mark.parametrize("wrong", [{"idle_timeout": -1}, {"max_lifetime": "soon"}, 5])
def test_wrong_options_open_nothing(wrong: Any) -> None:
    with pytest.raises((ArgTypeError, RangeError)):
        pair(wrong)


def test_two_sockets_live_as_any_others_do(trace):
    client, server = made = pair()
    assert (made.client, made.server) == (client, server)
    assert type(client) is type(server) is Socket
    watch(trace, client, "client")
    watch(trace, server, "server")
    client.write("hello")
    client.end()
    run()
    assert trace == [
        "client finish",
        ("server data", b"hello"),
        "server end",
        "server finish",
        ("server close", False),
        "client end",
        ("client close", False),
    ]


@pytest.mark.parametrize("faults", [{}, {"latency_ms": 1}, {"chop": 1000}], ids=str)
def test_bytes_pass_both_ways_unchanged(faults):
    sent = {name: random.Random(name).randbytes(100_000) for name in ("client", "server")}
    got = {name: bytearray() for name in sent}
    made = pair(**faults)
    for name, socket in zip(sent, made, strict=True):
        socket.on("data", got[name].extend)
        socket.end(sent[name])
    run()
    assert got == {"client": sent["server"], "server": sent["client"]}


@pytest.mark.parametrize("faults", [{}, {"chop": 3}], ids=str)
def test_options_are_those_of_both(faults):
    client, server = pair({"allow_half_open": True}, **faults)
    client.end()
    server.on("data", lambda data: None)
    server.on("end", lambda: server.end("still"))
    got: list[bytes] = []
    client.on("data", got.append)
    assert client.allow_half_open
    assert server.allow_half_open
    run()
    assert b"".join(got) == b"still"


def test_a_pair_writes_and_waits_as_the_kernel_does():
    client, server = pair({"high_water_mark": 1000})
    while client.write(b"x" * 10_000):
        pass
    assert client.writable_need_drain
    drained: list[int] = []
    client.on("drain", lambda: (drained.append(1), client.end()))
    server.resume()
    run()
    assert drained == [1]


@pytest.mark.parametrize("faults", [{}, {"latency_ms": 1}], ids=str)
@pytest.mark.parametrize("way", ["destroy", "both"])
def test_a_destroyed_end_closes_the_other(faults, way, trace):
    client, server = pair(**faults)
    for name, socket in (("client", client), ("server", server)):
        socket.on("error", lambda error: None).resume()
        socket.on("close", lambda had_error, name=name: trace(name))
    client.destroy()
    if way == "both":
        server.destroy()
    run()
    assert sorted(trace) == ["client", "server"]


def test_arguments_are_checked():
    for wrong, error in [
        ({"latency_ms": -1}, RangeError),
        ({"latency_ms": "1"}, ArgTypeError),
        ({"latency_ms": (5, 1)}, RangeError),
        ({"latency_ms": (1, 2, 3)}, ArgValueError),
        ({"latency_ms": 2**31}, RangeError),
        ({"latency_ms": (0, float("inf"))}, RangeError),
        ({"rate": 0}, RangeError),
        ({"rate": float("inf")}, RangeError),
        ({"chop": 0}, RangeError),
        ({"chop": 1.5}, RangeError),
        ({"flip_every": 0}, RangeError),
        ({"reset_after": -1}, RangeError),
        ({"toward": "peer"}, ArgValueError),
        ({"seed": "x"}, ArgTypeError),
        ({"unknown": 1}, TypeError),
    ]:
        with pytest.raises(error):
            pair(**wrong)
        with pytest.raises(error):
            FaultProxy(1, **wrong)
    with pytest.raises(ArgValueError):
        pair({"high_water_mark": "1"}, chop=1)


@pytest.mark.parametrize(
    ("target", "error"),
    [
        (None, ArgTypeError), (1.5, ArgTypeError), (True, ArgTypeError),
        (-1, RangeError), (65536, RangeError),
        (("127.0.0.1",), ArgValueError), ((80, "127.0.0.1"), ArgTypeError),
        (("127.0.0.1", 65536), RangeError),
        ("", ArgValueError), ("127.0.0.1:80", ArgValueError), ({"host": "::1"}, ArgValueError),
    ],
)  # fmt: skip
def test_a_target_is_checked_at_once(target, error):
    with pytest.raises(error):
        FaultProxy(target)


# ---- When, and in which pieces -------------------------------------------------------------------


@virtual
def test_latency_is_exact_in_virtual_time():
    at: list[float] = []
    with virtual_time(jump=True) as clock:
        client, server = pair(latency_ms=150)
        server.on("data", lambda data: (at.append(clock.now), server.end("answer")))
        client.on("data", lambda data: at.append(clock.now))
        client.on("end", lambda: at.append(clock.now))
        client.write("ask")
        run()
    assert at == [150, 300, 300]


@virtual
def test_latency_may_vary_and_the_order_stays():
    at: list[float] = []
    got: list[bytes] = []
    with virtual_time(jump=True) as clock:
        client, server = pair(latency_ms=(10, 1000), seed=1)
        server.on("data", lambda data: (at.append(clock.now), got.append(data)))
        for number in range(10):
            pyuvnet.set_timeout(client.write, 20 * number + 1, b"%d" % number)
        pyuvnet.set_timeout(client.end, 300)
        client.resume()
        run()
    assert b"".join(got) == b"0123456789"
    assert at == sorted(at)
    assert len(set(at)) > 1
    assert at[-1] <= 1200


@virtual
@pytest.mark.parametrize("rate", [1, 1000, 12_345_678])
def test_a_rate_is_kept(rate):
    size = 5 if rate == 1 else rate // 10
    with virtual_time(jump=True) as clock:
        assert b"".join(pieces(bytes(size), rate=rate)) == bytes(size)
        took = clock.now
    assert took == pytest.approx(size * 1000 / rate, rel=0.05, abs=5)


def test_pieces_have_the_size_that_was_asked_for():
    assert pieces(b"abcdefgh", chop=3) == [b"abc", b"def", b"gh"]
    assert pieces(b"abc", chop=1) == [b"a", b"b", b"c"]


def test_drawn_pieces_are_the_same_for_the_same_seed():
    data = bytes(200)
    first = pieces(data, chop=(1, 9), seed=7)
    assert {len(piece) for piece in first[:-1]} <= set(range(1, 10))
    assert len({len(piece) for piece in first}) > 3
    assert pieces(data, chop=(1, 9), seed=7) == first
    assert pieces(data, chop=(1, 9), seed=8) != first


def test_bits_flip_one_in_each_stretch():
    data = bytes(1000)
    (got,) = {b"".join(pieces(data, flip_every=100, seed=3)) for _ in range(2)}
    changed = [index for index, byte in enumerate(got) if byte]
    assert [index // 100 for index in changed] == list(range(10))
    assert all(got[index].bit_count() == 1 for index in changed)


def test_only_the_direction_that_was_named_has_the_faults():
    client, server = pair(flip_every=1, toward="client", seed=1)
    got: list[bytes] = []
    server.on("data", lambda data: (got.append(data), server.end(b"\0")))
    client.on("data", got.append)
    client.write(b"\0")
    run()
    assert got[0] == b"\0"
    assert got[1] != b"\0"


# ---- Ends ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 5])
def test_a_reset_fails_both_ends_after_so_many_bytes(count, trace):
    client, server = pair(reset_after=count, toward="server")
    watch(trace, client, "client").resume()
    watch(trace, server, "server")
    client.write("0123456789")
    run()
    data = b"".join(entry[1] for entry in trace if entry[0] == "server data")
    assert data == b"01234"[:count]
    for name in ("client", "server"):
        assert (f"{name} error", "ECONNRESET") in trace
        assert (f"{name} close", True) in trace


def test_a_direction_that_ends_leaves_the_other(trace):
    client, server = pair({"allow_half_open": True}, end_after=4, toward="server")
    got: list[bytes] = []
    server.on("data", got.append)
    server.on("end", lambda: (trace("end"), server.end("answer")))
    client.on("data", lambda data: (trace(data), client.end()))
    client.write("0123456789")
    run()
    assert (b"".join(got), trace) == (b"0123", ["end", b"answer"])


@virtual
@pytest.mark.parametrize("count", [0, 4])
def test_a_black_hole_lets_nothing_through_and_ends_nothing(count):
    got: list[bytes] = []
    with virtual_time() as clock:
        client, server = pair(stall_after=count)
        server.on("data", got.append)
        client.resume().end("0123456789")
        clock.advance(3_600_000)
        assert b"".join(got) == b"0123"[:count]
        assert not server.readable_ended
        server.destroy()
        client.destroy()
        run()


def test_a_black_hole_stops_a_writer():
    client, server = pair(stall_after=0)
    server.resume()
    total = 0
    while client.write(bytes(100_000)):
        total += 100_000
        for _ in range(20):
            pyuvnet.current_loop().turn()
        assert total < 10_000_000
    client.destroy()
    server.destroy()
    run()


# ---- FaultProxy ----------------------------------------------------------------------------------


class Echo:
    """An echo server, a proxy before it, and one client."""

    def __init__(self, **faults: Any) -> None:
        self.errors: list[Any] = []
        self.got = bytearray()
        self.server = net.create_server(self._connected).listen(0)
        self.proxy = FaultProxy(self.server.address().port, **faults)
        self.client = net.connect(self.proxy.port, "127.0.0.1")
        self.client.on("data", self.got.extend)
        self.client.on("error", lambda error: self.errors.append(("client", error.code)))
        self.client.on("close", self._closed)

    def _connected(self, socket: Socket) -> None:
        self.socket = socket
        socket.on("error", lambda error: self.errors.append(("server", error.code)))
        socket.pipe(socket)

    def _closed(self, had_error: bool) -> None:
        self.proxy.close()
        self.server.close()


@pytest.mark.parametrize(
    "faults", [{}, {"latency_ms": (1, 5)}, {"chop": (1, 5000)}, {"rate": 10_000_000}], ids=str
)
def test_bytes_pass_a_proxy_unchanged(faults):
    echo = Echo(**faults)
    data = random.Random(1).randbytes(300_000)
    echo.client.end(data)
    run()
    assert (bytes(echo.got), echo.errors) == (data, [])


@pytest.mark.parametrize("form", ["port", "mapping", "pair", "path"])
def test_the_target_may_be_given_in_each_form(form, tmp_path):
    path = str(tmp_path / "sock")
    server = net.create_server(lambda socket: socket.end("hello"))
    server.listen(path if form == "path" else 0)
    port = 0 if form == "path" else server.address().port
    target = {
        "port": port,
        "mapping": {"port": port, "host": "127.0.0.1"},
        "pair": ("127.0.0.1", port),
        "path": path,
    }[form]
    got: list[bytes] = []
    with FaultProxy(target) as proxy:

        async def main() -> None:
            client = net.connect(proxy.address())
            client.on("data", got.append)
            await events.once(client, "close")
            server.close()

        run(main())
    run()
    assert got == [b"hello"]


@pytest.mark.parametrize(
    "host",
    [None, "0.0.0.0", "127.0.0.1", *(["127.0.0.2"] if sys.platform == "linux" else [])],
)
def test_the_target_may_be_the_address_of_a_server_wherever_localhost_leads(host):
    got: list[bytes] = []

    async def main() -> None:
        server = await net.promises.listen(
            0, host, connection_listener=lambda socket: socket.end("hello")
        )
        with FaultProxy(server.address()) as proxy:
            client = net.connect(proxy.port, "127.0.0.1")
            client.on("data", got.append)
            await events.once(client, "close")
        server.close()

    run(main())
    assert got == [b"hello"]


def test_a_target_that_refuses_resets_the_client(trace):
    refused = net.create_server().listen(0)
    port = refused.address().port
    refused.close()
    run()
    proxy = FaultProxy(port)
    client = net.connect(proxy.port, "127.0.0.1").resume()
    client.on("error", lambda error: trace(error.code))
    client.on("close", lambda had_error: proxy.close())
    run()
    assert trace in (["ECONNRESET"], [])


@pytest.mark.parametrize("count", [0, 1000])
def test_a_proxy_resets_after_so_many_bytes(count):
    echo = Echo(reset_after=count, toward="client")
    echo.client.write(bytes(5000))
    run()
    assert ("client", "ECONNRESET") in echo.errors
    assert len(echo.got) <= count


def test_a_proxy_resets_when_it_is_told_to(trace):
    echo = Echo()
    echo.client.write("hello")

    def received(data: bytes) -> None:
        trace(data)
        assert echo.proxy.connections == 1
        echo.proxy.reset()

    echo.client.on("data", received)
    run()
    assert trace == [b"hello"]
    assert ("client", "ECONNRESET") in echo.errors
    assert echo.proxy.connections == 0


def test_a_proxy_stalls_and_resumes():
    async def main() -> None:
        echo.client.write("one")
        await events.once(echo.client, "data")
        echo.proxy.stall()
        echo.client.write("two")
        for _ in range(50):
            await events.once(Immediate(), "done")
        assert echo.got == b"one"
        echo.proxy.resume()
        await events.once(echo.client, "data")
        assert echo.got == b"onetwo"
        echo.client.end()
        await events.once(echo.server, "close")

    class Immediate(pyuvnet.EventEmitter):
        def __init__(self) -> None:
            super().__init__()
            pyuvnet.set_immediate(self.emit, "done")

    echo = Echo()
    run(main())
    run()


def test_close_ends_connections_and_the_proxy_says_what_it_is():
    echo = Echo(seed=5)
    assert repr(echo.proxy).endswith("listening connections=0>")
    assert echo.proxy.seed == 5

    async def main() -> None:
        await events.once(echo.server, "connection")
        echo.proxy.close()
        echo.proxy.close()
        await events.once(echo.client, "close")

    run(main())
    run()
    assert repr(echo.proxy).endswith("closed connections=0>")
    assert testing.FaultProxy is FaultProxy


# ---- Seeds ---------------------------------------------------------------------------------------


def close(*sockets: Socket) -> None:
    for socket in sockets:
        socket.destroy()
    run()


def test_a_seed_is_noted_if_something_is_drawn(monkeypatch):
    monkeypatch.delenv("PYUVNET_TESTING_SEED", raising=False)
    notes.clear()
    close(*pair(chop=3))
    assert notes == []
    made = pair(chop=(3, 4))
    close(*made)
    assert notes == [f"pair(): seed={made.seed}"]
    with FaultProxy(5, flip_every=3, seed=9):
        pass
    run()
    assert notes[1:] == ["FaultProxy(5): seed=9"]
    notes.clear()


def test_seeds_are_drawn_or_come_from_the_environment(monkeypatch):
    monkeypatch.delenv("PYUVNET_TESTING_SEED", raising=False)
    first, second = pair(), pair()
    assert first.seed != second.seed
    monkeypatch.setenv("PYUVNET_TESTING_SEED", "42")
    third = pair()
    assert third.seed == 42
    close(*first, *second, *third)
    for wrong in ("-1", "x", "1.5"):
        monkeypatch.setenv("PYUVNET_TESTING_SEED", wrong)
        with pytest.raises(ArgValueError, match="'PYUVNET_TESTING_SEED' must be a whole number"):
            pair()


def test_what_a_listener_raises_is_the_programs(trace):
    client, server = pair(chop=1)

    def fail(data: bytes) -> None:
        raise BoomError

    server.on("data", fail)
    client.end("x")
    with pytest.raises(BoomError):
        run()
    close(client, server)
