"""Socket: data both ways, back pressure, state, options, timeouts, misuse."""

from __future__ import annotations

import array
import gc
import os
import random
import socket as posix
import sys
import threading
import warnings
from typing import Any

import pytest

import pyuvnet
from pyuvnet import net
from tests.support.cases import cases

BIG = b"z" * 9_000_000


def serve(accepted: Any = None, **options: Any) -> net.Server:
    """A server on loopback that closes itself after the first connection."""
    server = net.create_server(**options)

    def connection(s: net.Socket) -> None:
        server.close()
        if accepted is not None:
            accepted(s)

    return server.on("connection", connection).listen(0)


def connect(server: net.Server, **options: Any) -> net.Socket:
    return net.create_connection(port=server.address()["port"], host="127.0.0.1", **options)


def echo(s: net.Socket) -> None:
    s.on("data", lambda chunk: s.write(chunk) or s.pause())
    s.on("drain", s.resume)


# ---- Data --------------------------------------------------------------------------------------


@pytest.mark.spec("N002", "N123")
@pytest.mark.timeout(60)
@pytest.mark.parametrize("transport", ["tcp", "ipc"])
def test_a_big_transfer_arrives_whole_both_ways(transport: str, tmp_path: Any) -> None:
    rng = random.Random(7)
    data = rng.randbytes(1 << 20) * 64
    server = net.create_server(lambda s: (server.close(), echo(s)))
    server.listen(str(tmp_path / "s") if transport == "ipc" else 0)
    c = net.create_connection(
        server.address() if transport == "ipc" else server.address()["port"],
        *([] if transport == "ipc" else ["127.0.0.1"]),
    )
    got = bytearray()
    sent = 0

    def send() -> None:
        nonlocal sent
        while sent < len(data):
            size = rng.choice([1, 100, 1000, 65536, 300_000])
            chunk = data[sent : sent + size]
            sent += len(chunk)
            if not c.write(chunk):
                return
        c.end()

    c.on("connect", send)
    c.on("drain", send)
    c.on("data", got.extend)
    pyuvnet.run()
    assert bytes(got) == data
    assert (c.bytes_written, c.bytes_read) == (len(data), len(data))


@pytest.mark.spec("N081")
def test_writes_of_one_callback_arrive_in_order_with_their_callbacks() -> None:
    answers: list[int] = []
    got = bytearray()

    def ready() -> None:
        for n in range(300):  # more than are collected at a time
            assert c.write(b"%d " % n, lambda error, n=n: answers.append(n))
        assert answers == []
        assert c.writable_length == 0
        c.end()

    c = connect(serve(lambda s: s.on("data", got.extend)))
    c.on("ready", ready)
    pyuvnet.run()
    assert answers == list(range(300))
    assert got.split() == [b"%d" % n for n in range(300)]


@pytest.mark.spec("R3-02")
@cases(
    "make",
    [
        bytearray,
        memoryview,
        lambda data: array.array("I", data),
        lambda data: memoryview(bytearray(data)).cast("I"),
    ],
)
@cases("size", [400, 8_000_000])
def test_buffers_are_written_raw_and_released(make: Any, size: int) -> None:
    data = random.Random(size).randbytes(size)
    chunk = make(data)
    got = bytearray()
    references = sys.getrefcount(chunk)

    def written(error: object) -> None:
        assert error is None
        c.end()

    c = connect(serve(lambda s: s.on("data", got.extend)))
    c.on("ready", lambda: c.write(chunk, written))
    pyuvnet.run()
    assert got == data
    assert sys.getrefcount(chunk) == references
    if isinstance(chunk, bytearray):
        chunk.append(0)  # BufferError while an export lives


def test_a_buffer_is_exported_while_its_write_is_in_flight_and_released_by_destroy() -> None:
    chunk = bytearray(BIG)
    peers: list[net.Socket] = []

    def ready() -> None:
        assert c.write(chunk) is False
        with pytest.raises(BufferError):
            chunk.append(0)
        pyuvnet.set_immediate(c.destroy)

    c = connect(serve(peers.append, pause_on_connect=True))
    c.on("ready", ready)
    c.on("close", lambda had_error: peers[0].destroy())
    pyuvnet.run()
    chunk.append(0)


@pytest.mark.spec("R3-05", "R3-07", "R3-09", "S1-06")
@pytest.mark.parametrize(
    ("text", "encoding", "expected"),
    [
        ("grün\ud800", None, b"gr\xc3\xbcn\xef\xbf\xbd"),
        ("grün", "latin1", b"gr\xfcn"),
        ("4142zz", "hex", b"AB"),
        ("QUI=", "base64", b"AB"),
        ("AB", "utf16le", b"A\0B\0"),
        ("", None, b""),
    ],
)
def test_text(text: str, encoding: str | None, expected: bytes) -> None:
    got = bytearray()
    c = connect(serve(lambda s: s.on("data", got.extend)))
    c.write(text, encoding)
    assert c.writable_length == c.bytes_written == len(expected)
    c.end()
    pyuvnet.run()
    assert got == expected


@pytest.mark.spec("S4.2-13", "S4.1-02", "N081", "N129")
def test_a_slow_reader_stops_the_writer_at_the_mark() -> None:
    sockets: list[net.Socket] = []
    states: list[tuple[bool, int, bool]] = []

    def ready() -> None:
        length = 0
        while True:
            more = c.write(b"x" * 65536)
            if c.writable_length:
                break
        length = c.writable_length
        states.append((more, c.bytes_written % 65536, c.writable_need_drain))
        assert not c.write(b"y" * 100)
        assert c.writable_length == length + 100
        sockets[0].resume()

    c = connect(serve(sockets.append, pause_on_connect=True))
    # The accepted socket is there one turn after 'ready' at the latest.
    c.on("ready", lambda: pyuvnet.set_timeout(ready, 10))
    c.on("drain", c.end)
    pyuvnet.run()
    assert states == [(False, 0, True)]
    assert sockets[0].bytes_read == c.bytes_written


@pytest.mark.spec("S3.1-02", "S3.1-03", "N153")
def test_a_reader_stops_at_its_mark() -> None:
    def look(s: net.Socket) -> None:
        # One read of the kernel may pass the mark; the next is not made.
        assert 1000 <= s.readable_length <= 1000 + 65536
        assert s.bytes_read == s.readable_length
        s.resume()

    got: list[int] = []
    server = serve(lambda s: pyuvnet.set_timeout(start, 80, s), high_water_mark=1000)

    def start(s: net.Socket) -> None:
        look(s)
        s.on("data", lambda chunk: got.append(len(chunk)))

    c = connect(server)
    c.on("ready", lambda: c.end(b"x" * 1_000_000))
    pyuvnet.run()
    assert sum(got) == 1_000_000


# ---- State -------------------------------------------------------------------------------------


@pytest.mark.spec("N050", "N064", "N065", "N070", "N071", "N072", "N122", "N125", "N171")
def test_addresses_before_during_and_after() -> None:
    accepted: list[net.Socket] = []
    server = serve(accepted.append)
    c = net.Socket()
    assert c.address() == {}
    assert (c.local_address, c.local_port, c.remote_address, c.remote_port) == (None,) * 4
    c.connect(server.address()["port"], "127.0.0.1")
    seen: list[Any] = []
    c.on("ready", lambda: seen.append((c.address(), c.remote_port, c.remote_family)))
    c.on("ready", lambda: c.end())
    port = server.address()["port"]
    pyuvnet.run()
    ((address, remote_port, family),) = seen
    assert list(address) == ["address", "family", "port"]
    assert (address["address"], address["family"]) == ("127.0.0.1", "IPv4")
    assert (remote_port, family) == (port, "IPv4")
    assert (c.local_port, c.address()) == (None, {})
    # The peer's name is kept, read or not.
    assert (c.remote_address, c.remote_port) == ("127.0.0.1", port)
    assert accepted[0].remote_address == "::ffff:127.0.0.1"
    assert accepted[0].remote_port == address["port"]
    assert accepted[0].server is server
    assert c.server is None


@pytest.mark.spec("N054")
def test_bytes_written_is_kept_after_a_destroy_while_connecting() -> None:
    server = serve()
    c = connect(server)
    c.write(b"12345")
    assert c.bytes_written == 5
    c.destroy()
    server.close()
    pyuvnet.run()
    assert (c.bytes_written, c.bytes_read, c.writable_length) == (5, 0, 0)


@pytest.mark.spec("N052", "N122")
def test_buffer_size_is_the_old_name_of_writable_length() -> None:
    c = net.Socket()
    seen: list[Any] = [c.buffer_size]
    c.connect(serve(lambda s: s.resume()).address()["port"], "127.0.0.1")
    c.write(b"12345")
    seen.append((c.buffer_size, c.bufferSize, c.writable_length))
    c.on("ready", lambda: (seen.append(c.buffer_size), c.end()))
    c.on("close", lambda had_error: seen.append(c.buffer_size))
    pyuvnet.run()
    assert seen == [None, (5, 5, 5), 0, None]


@pytest.mark.spec("N104")
def test_no_descriptor_and_no_handle_is_left_by_500_connections(loop: pyuvnet.Loop) -> None:
    def connection(s: net.Socket) -> None:
        s.on("data", lambda chunk: s.end(chunk))
        s.on("close", gone)

    def gone(had_error: bool) -> None:
        nonlocal left
        left -= 1
        if not left:
            server.close()

    def client(n: int) -> None:
        c = connect(server)
        c.on("data", received.append)
        c.on("ready", lambda: c.write(b"%d" % n))
        c.on("close", lambda had_error: waiting and client(waiting.pop()))

    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    connect(serve()).end()  # opens what libuv keeps open for good
    pyuvnet.run()
    before = descriptors() if sys.platform == "linux" else 0
    received: list[bytes] = []
    left = 500
    server = net.create_server(connection).listen(0)
    waiting = list(range(450))
    for n in range(450, 500):
        client(n)
    pyuvnet.run()
    assert sorted(map(int, received)) == list(range(500))
    assert loop.handle_count() == 0
    if sys.platform == "linux":
        assert descriptors() == before


def test_collecting_garbage_in_every_listener() -> None:
    got = bytearray()

    def busy(thing: net.Socket) -> net.Socket:
        for event in ("connect", "ready", "data", "end", "finish", "drain", "close"):
            thing.on(event, lambda *args: gc.collect(1))
        return thing

    def accepted(s: net.Socket) -> None:
        busy(s).on("data", got.extend)

    server = serve(accepted)
    busy(connect(server)).end(BIG)  # nobody but the loop holds it
    pyuvnet.run()
    assert len(got) == len(BIG)


# ---- Pipes into a connecting socket ------------------------------------------------------------


def test_a_pipe_into_a_connecting_socket_ends_with_that_socket() -> None:
    source = net.Socket()
    server = serve(lambda s: s.resume())
    c = connect(server)
    source.pipe(c)
    c.write(b"waits for connect")
    c.on("ready", c.destroy)
    unpiped: list[object] = []
    c.on("unpipe", lambda src, *rest: unpiped.append(src))
    pyuvnet.run()
    assert unpiped == [source]


# ---- Options of the system ---------------------------------------------------------------------


def system_socket(s: net.Socket) -> posix.socket:
    """A duplicate of the descriptor behind a connected TCP socket."""
    for name in os.listdir("/proc/self/fd"):
        try:
            if not os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                continue
        except OSError:
            continue  # the descriptor of the listing itself
        copy = posix.socket(fileno=os.dup(int(name)))
        try:
            if copy.getsockname()[1] == s.local_port and copy.getpeername()[1] == s.remote_port:
                return copy
        except (OSError, IndexError, TypeError):
            pass
        copy.close()
    raise AssertionError("no such descriptor")


def options_of(s: net.Socket) -> tuple[bool, bool, int, int, int]:
    with system_socket(s) as system:

        def get(level: int, option: int) -> int:
            return system.getsockopt(level, option)

        return (
            bool(get(posix.IPPROTO_TCP, posix.TCP_NODELAY)),
            bool(get(posix.SOL_SOCKET, posix.SO_KEEPALIVE)),
            get(posix.IPPROTO_TCP, posix.TCP_KEEPIDLE),
            get(posix.IPPROTO_TCP, posix.TCP_KEEPINTVL),
            get(posix.IPPROTO_TCP, posix.TCP_KEEPCNT),
        )


linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def defaults() -> tuple[int, int, int]:
    with posix.socket() as fresh:
        return tuple(  # type: ignore[return-value]
            fresh.getsockopt(posix.IPPROTO_TCP, option)
            for option in (posix.TCP_KEEPIDLE, posix.TCP_KEEPINTVL, posix.TCP_KEEPCNT)
        )


@pytest.mark.filterwarnings("ignore::pyuvnet.errors.KeepAliveWarning")
@pytest.mark.spec("N076", "N077", "N127", "N167")
@linux
@cases(
    ("calls", "expected"),
    [
        ([], (False, False, None)),
        ([("set_no_delay",)], (True, False, None)),
        ([("set_no_delay",), ("set_no_delay", False)], (False, False, None)),
        ([("set_keep_alive", True)], (False, True, None)),
        ([("set_keep_alive", True, 0)], (False, True, None)),
        ([("set_keep_alive", True, 5900)], (False, True, (5, 1, 10))),
        ([("set_keep_alive", True, 5000, 2000, 3)], (False, True, (5, 2, 3))),
        ([("set_keep_alive", True, 5000, 2000, 0)], (False, True, None)),
        ([("set_keep_alive", True, 500)], (False, True, None)),
        (
            [("set_keep_alive", {"enable": True, "initialDelay": 7000, "interval": 3000,
                                 "count": 4})],
            (False, True, (7, 3, 4)),
        ),
        ([("set_keep_alive", True, 5000), ("set_keep_alive", False)], (False, False, None)),
    ],
)  # fmt: skip
@cases("when", ["before", "connecting", "connected"])
def test_no_delay_and_keep_alive_reach_the_system(calls: Any, expected: Any, when: str) -> None:
    seen: list[Any] = []

    def apply() -> None:
        for name, *args in calls:
            assert getattr(c, name)(*args) is c

    def ready() -> None:
        if when == "connected":
            apply()
        seen.append(options_of(c))
        c.end()

    server = serve()
    c = net.Socket()
    if when == "before":
        apply()
    c.connect(server.address()["port"], "127.0.0.1")
    if when == "connecting":
        apply()
    c.on("ready", ready)
    pyuvnet.run()
    no_delay, keep_alive, timings = expected
    assert seen[0][:2] == (no_delay, keep_alive)
    if timings is not None:
        assert seen[0][2:] == timings
    elif when != "connected" or ("set_keep_alive", False) not in calls:
        assert seen[0][2:] == defaults()


@pytest.mark.spec("N037", "N154")
@linux
def test_constructor_options_reach_the_system() -> None:
    seen: list[Any] = []
    accepted: list[Any] = []
    server = serve(
        lambda s: accepted.append(options_of(s)),
        no_delay=True, keep_alive=True, keep_alive_initial_delay=3500,
    )  # fmt: skip
    assert server.keep_alive_initial_delay == 3
    c = net.Socket(no_delay=True, keep_alive=True, keepAliveInitialDelay=2000)
    c.connect(server.address()["port"], "127.0.0.1")
    c.on("ready", lambda: (seen.append(options_of(c)), c.end()))
    pyuvnet.run()
    assert seen == [(True, True, 2, 1, 10)]
    assert accepted == [(True, True, 3, 1, 10)]


@pytest.mark.spec("N076", "N077")
def test_ipc_sockets_ignore_tcp_options(tmp_path: Any) -> None:
    path = str(tmp_path / "s")
    server = net.create_server(lambda s: server.close(), no_delay=True, keep_alive=True)
    server.listen(path)
    c = net.create_connection(path)

    def ready() -> None:
        assert c.set_no_delay().set_keep_alive(True, 5000) is c
        assert (c.address(), c.local_address, c.remote_address) == ({}, None, None)
        c.end()

    c.on("ready", ready)
    pyuvnet.run()


# ---- Misuse ------------------------------------------------------------------------------------


@pytest.mark.spec("S4.2-02", "S4.2-03", "S4.2-04", "R6-01")
@cases("method", ["write", "end"])
@cases(
    ("args", "code"),
    [
        ((5,), "ERR_INVALID_ARG_TYPE"),
        (([b"x"],), "ERR_INVALID_ARG_TYPE"),
        (({},), "ERR_INVALID_ARG_TYPE"),
        ((object(),), "ERR_INVALID_ARG_TYPE"),
        ((memoryview(bytearray(8))[::2],), "ERR_INVALID_ARG_TYPE"),
        (("x", "no-such-encoding"), "ERR_UNKNOWN_ENCODING"),
        (("x", 5), "ERR_UNKNOWN_ENCODING"),
    ],
)
def test_wrong_chunks_raise_and_change_nothing(method: str, args: Any, code: str) -> None:
    c = net.Socket()
    with pytest.raises(TypeError) as caught:
        getattr(c, method)(*args)
    assert caught.value.code == code  # type: ignore[attr-defined]
    assert (c.writable_length, c.writable_ended, c.destroyed) == (0, False, False)
    pyuvnet.run()


@pytest.mark.spec("S4.2-01", "S4.2-04")
def test_write_none() -> None:
    with pytest.raises(TypeError) as caught:
        net.Socket().write(None)
    assert caught.value.code == "ERR_STREAM_NULL_VALUES"  # type: ignore[attr-defined]


@pytest.mark.spec("N078", "D16")
@cases(
    ("args", "kind", "code"),
    [
        (("100",), TypeError, "ERR_INVALID_ARG_TYPE"),
        ((None,), TypeError, "ERR_INVALID_ARG_TYPE"),
        ((True,), TypeError, "ERR_INVALID_ARG_TYPE"),
        ((-1,), ValueError, "ERR_OUT_OF_RANGE"),
        ((float("nan"),), ValueError, "ERR_OUT_OF_RANGE"),
        ((float("inf"),), ValueError, "ERR_OUT_OF_RANGE"),
        ((10, "callback"), TypeError, "ERR_INVALID_ARG_TYPE"),
    ],
)
def test_wrong_timeouts(args: Any, kind: Any, code: str) -> None:
    c = net.Socket()
    with pytest.raises(kind) as caught:
        c.set_timeout(*args)
    assert caught.value.code == code
    assert c.timeout is None


@pytest.mark.spec("R7-01", "R3-10")
def test_a_timeout_that_is_too_long_is_cut_with_a_warning() -> None:
    c = net.Socket()
    with pytest.warns(pyuvnet.errors.TimeoutOverflowWarning) as caught:
        c.set_timeout(2**31)
    assert caught[0].filename == __file__
    assert c.timeout == 2**31 - 1
    c.set_timeout(0)


@pytest.mark.spec("D252", "R7-01")
@pytest.mark.parametrize(
    "call",
    [
        lambda: net.Socket().set_keep_alive(True, 60),
        lambda: net.Socket().set_keep_alive({"enable": True, "initialDelay": 999.9}),
        lambda: net.Socket().set_keep_alive(True, 5000, 1),
        lambda: net.Socket(keep_alive=True, keep_alive_initial_delay=60),
        lambda: net.Server(keep_alive=True, keepAliveInitialDelay=60),
    ],
)
def test_a_keep_alive_duration_below_a_second_warns(call: Any) -> None:
    """It is in milliseconds, and would have no effect."""
    with pytest.warns(pyuvnet.errors.KeepAliveWarning, match="less than a second") as caught:
        call()
    assert [each.filename for each in caught] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net.Socket().set_keep_alive(True, 0, 1000).set_keep_alive(True, 1000)
        net.Socket().set_keep_alive(False, 5)
        net.Socket(keep_alive_initial_delay=0)
        with pytest.raises(pyuvnet.errors.KeepAliveWarning):
            call()


@pytest.mark.spec("N037")
@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"high_water_mark": -1}, "ERR_INVALID_ARG_VALUE"),
        ({"readableHighWaterMark": "x"}, "ERR_INVALID_ARG_VALUE"),
        ({"writable_high_water_mark": 1.5}, "ERR_INVALID_ARG_VALUE"),
        ({"keep_alive_initial_delay": "1"}, "ERR_INVALID_ARG_TYPE"),
        ({"encoding": "nope"}, "ERR_UNKNOWN_ENCODING"),
        ({"no_such_option": 1}, "ERR_UNKNOWN_OPTION"),
    ],
)
def test_wrong_options(options: Any, code: str) -> None:
    with pytest.raises(TypeError) as caught:
        net.Socket(**options)
    assert caught.value.code == code  # type: ignore[attr-defined]


def test_unknown_keys_of_a_mapping_are_ignored() -> None:
    c = net.Socket({"highWaterMark": 5, "somebody": "else's"}, allow_half_open=True)
    assert (c.readable_high_water_mark, c.writable_high_water_mark) == (5, 5)
    assert c.allow_half_open


@pytest.mark.spec("D77")
def test_a_half_built_subclass_is_refused_everywhere() -> None:
    class Half(net.Socket):
        def __init__(self) -> None:
            pass

    half = Half()
    for name, args in [
        ("write", (b"x",)), ("end", ()), ("destroy", ()), ("connect", (1,)), ("pause", ()),
        ("resume", ()), ("read", ()), ("set_timeout", (5,)), ("set_no_delay", ()),
        ("set_keep_alive", (True,)), ("ref", ()), ("unref", ()), ("cork", ()), ("uncork", ()),
        ("set_encoding", ()), ("unshift", (b"x",)), ("pipe", (net.Socket(),)),
    ]:  # fmt: skip
        with pytest.raises(RuntimeError) as caught:
            getattr(half, name)(*args)
        assert caught.value.code in (  # type: ignore[attr-defined]
            "ERR_NOT_CONSTRUCTED",
        ), name
    repr(half)
    # Properties answer or refuse; none of them crashes.
    refused = set()
    for name in dir(half):
        try:
            getattr(half, name)
        except RuntimeError as error:
            refused.add(error.code)  # type: ignore[attr-defined]
    assert refused <= {"ERR_NOT_CONSTRUCTED"}


@pytest.mark.spec("D77")
def test_another_thread_is_refused() -> None:
    errors: list[Any] = []
    c = net.Socket()
    server = net.create_server()

    def use() -> None:
        for call in (
            lambda: c.write(b"x"), c.end, c.destroy, c.pause, c.resume, c.read, c.ref, c.unref,
            lambda: c.connect(1), lambda: c.set_timeout(5), c.set_no_delay, c.cork, c.uncork,
            lambda: server.listen(0), server.close, server.ref, server.unref,
            lambda: server.get_connections(print),
        ):  # fmt: skip
            try:
                call()
            except RuntimeError as error:
                errors.append(error.code)  # type: ignore[attr-defined]
            else:
                errors.append(call)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert errors == ["ERR_WRONG_THREAD"] * 18
    pyuvnet.run()
    assert not c.destroyed
    assert not server.listening


class Mine(net.Socket):
    def __init__(self) -> None:
        super().__init__(high_water_mark=7)
        self.mine = 1


@pytest.mark.spec("N036")
def test_a_subclass_works() -> None:
    got = bytearray()
    server = serve(lambda s: s.on("data", got.extend))
    c = Mine()
    c.connect(server.address()["port"], "127.0.0.1", lambda: c.end(b"hello"))
    pyuvnet.run()
    assert (got, c.mine, c.writable_high_water_mark) == (b"hello", 1, 7)
