"""What a program sees of its sockets, servers and loops: info(), stats(), and what is logged."""

from __future__ import annotations

import asyncio
import functools
import itertools
import logging
import socket as posix
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import pyuvnet
from pyuvnet import errors, events, framing, loop, net, testing
from pyuvnet._core.meter import add_meter
from pyuvnet._options.tcp_info import read_tcp_info

linux = pytest.mark.skipif(sys.platform != "linux", reason="TCP_INFO of Linux")


def listening(*args: Any, **options: Any) -> net.Server:
    server = net.create_server(*args, **options).listen(0, "127.0.0.1", pyuvnet.stop)
    pyuvnet.run()
    return server


def connected(
    listener: Callable[[net.Socket], object] = lambda socket: None, **options: Any
) -> tuple[net.Server, net.Socket, net.Socket]:
    """A server, a socket that it accepted, and the client."""
    accepted: list[net.Socket] = []
    server = listening(options)
    server.on("connection", accepted.append)
    server.on("connection", listener)
    client = net.connect(server.address().port, "127.0.0.1")
    client.once("connect", pyuvnet.stop)
    pyuvnet.run()
    while not accepted:
        pyuvnet.current_loop().turn()
    return server, accepted[0], client


def close(server: net.Server, *sockets: net.Socket) -> None:
    for socket in sockets:
        socket.destroy()
    server.close()
    pyuvnet.run()


# ---- socket.info() -------------------------------------------------------------------------------


def test_info_of_a_socket_without_connection() -> None:
    info = net.Socket().info()
    assert info.local_address is info.remote_port is info.age_ms is info.tcp is None
    assert info.kernel_unsent is info.idle_ms is None
    assert (info.bytes_read, info.bytes_written, info.writable_length) == (0, 0, 0)


@pytest.mark.spec("P6-01")
def test_info_has_both_ends_and_what_was_counted() -> None:
    server, there, client = connected(lambda socket: socket.resume())
    client.write(b"x" * 1000, lambda error: pyuvnet.stop())
    pyuvnet.run()
    while there.bytes_read < 1000:
        pyuvnet.current_loop().turn()
    info = client.info()
    assert (info.local_port, info.remote_port) == (client.local_port, client.remote_port)
    assert info["remoteAddress"] == info["remote_address"] == info.remoteAddress == "127.0.0.1"
    assert info.remote_family == "IPv4"
    assert (info.bytes_written, there.info().bytes_read) == (1000, 1000)
    close(server, client, there)
    gone = client.info()
    assert (gone.bytes_written, gone.age_ms, gone.tcp) == (1000, None, None)


def test_the_age_begins_when_the_connection_stands() -> None:
    server, there, client = connected()
    assert 0 <= client.info().age_ms < 16
    pyuvnet.set_timeout(pyuvnet.stop, 50)
    pyuvnet.run()
    for socket in (client, there):
        # In steps of 16 ms.
        assert socket.info().age_ms in (32, 48, 64, 80, 96, 112)
    close(server, client, there)


@pytest.mark.spec("P6-01")
@linux
def test_what_the_kernel_knows_of_a_connection() -> None:
    server, there, client = connected(pause_on_connect=True)
    tcp = client.info().tcp
    assert tcp.state == "ESTABLISHED"
    assert tcp.retransmits == tcp.total_retransmits == tcp.lost == 0
    assert tcp.mss > 500
    assert tcp.cwnd >= 1
    assert 0 < tcp.min_rtt_us <= tcp["rttUs"] + tcp["rttvarUs"]
    # More than both kernels hold.
    client.write(b"x" * 16_000_000)
    info = client.info()
    assert info.kernel_unsent > 0
    assert info.kernel_unsent < 16_000_000
    assert info.tcp.not_sent <= info.kernel_unsent
    assert info.tcp.last_data_sent_ms >= info.idle_ms >= 0
    client.end()
    close(server, client, there)


@linux
def test_what_the_kernel_knows_is_what_ss_shows() -> None:
    """The numbers by their names, as another program reads them."""
    import shutil
    import subprocess

    if shutil.which("ss") is None:
        pytest.skip("ss is not here")
    server, there, client = connected()
    child = subprocess.run(
        ["ss", "-tinH", "sport", "=", f":{client.local_port}"],
        capture_output=True,
        text=True,
        check=True,
    )
    tcp = client.info().tcp
    shown = dict(word.split(":", 1) for word in child.stdout.split() if ":" in word)
    assert int(shown["mss"]) == tcp.mss
    assert int(shown["cwnd"]) == tcp.cwnd
    assert int(shown["pmtu"]) == tcp.path_mtu
    rtt, rttvar = shown["rtt"].split("/")
    assert float(rtt) * 1000 == tcp.rtt_us
    assert float(rttvar) * 1000 == tcp.rttvar_us
    assert float(shown["minrtt"]) * 1000 == tcp.min_rtt_us
    close(server, client, there)


@linux
def test_retransmits_are_counted() -> None:
    """A connection whose packets are lost, by a layout that is made by hand."""
    data = bytearray(232)
    data[0], data[2] = 1, 3
    struct.pack_into("=I", data, 100, 7)
    struct.pack_into("=Q", data, 208, 1 << 40)
    found = read_tcp_info(bytes(data))
    assert (found["retransmits"], found["total_retransmits"]) == (3, 7)
    assert found["bytes_retransmitted"] == 1 << 40


@linux
@pytest.mark.parametrize("size", [0, 7, 8, 104, 107, 108, 192, 500])
def test_an_older_kernel_has_less(size: int) -> None:
    found = read_tcp_info(bytes(size))
    assert ("state" in found) == (size >= 8)
    assert ("rtt_us" in found) == (size >= 72)
    assert ("total_retransmits" in found) == (size >= 104)
    assert ("busy_us" in found) == (size >= 176)


@pytest.mark.skipif(sys.platform == "win32", reason="unix sockets")
def test_info_over_a_unix_socket() -> None:
    socket, peer = testing.pair()
    socket.write(b"x" * 100)
    info = socket.info()
    assert info.tcp is None
    if sys.platform == "linux":
        assert info.kernel_unsent >= 100
    socket.destroy()
    peer.destroy()
    pyuvnet.run()


# ---- server.stats() ------------------------------------------------------------------------------


@pytest.mark.spec("D118")
def test_a_fresh_server_has_counted_nothing() -> None:
    stats = net.create_server().stats()
    assert (stats.accepted, stats.open, stats.peak, stats.closed) == (0, 0, 0, 0)
    assert stats.errors == stats.dropped == {}
    assert (stats.bytes_read, stats.bytes_written) == (0, 0)
    assert stats.listening is stats.paused is False
    assert stats.accept_queue is stats.accept_queue_limit is None


def test_queued_bytes_are_counted_with_a_budget() -> None:
    server, there, client = connected(write_budget=50_000_000, pause_on_connect=True)
    assert server.stats().queued_bytes == 0
    there.write(b"x" * 20_000_000)
    assert server.stats().queued_bytes > 0
    close(server, client, there)
    assert server.stats().queued_bytes == 0
    assert net.create_server().stats().queued_bytes is None


@pytest.mark.spec("P6-02")
def test_connections_are_counted() -> None:
    server, _, client = connected(lambda socket: socket.resume())
    more = [net.connect(server.address().port, "127.0.0.1") for _ in range(3)]
    while server.stats().open < 4:
        pyuvnet.current_loop().turn()
    client.destroy()
    while server.stats().open > 3:
        pyuvnet.current_loop().turn()
    stats = server.stats()
    assert (stats.accepted, stats.open, stats.peak, stats.closed) == (4, 3, 4, 1)
    assert stats.listening is True
    close(server, *more)
    stats = server.stats()
    assert (stats.accepted, stats.open, stats.peak, stats.closed) == (4, 0, 4, 4)
    assert stats.listening is False


def test_bytes_are_counted_of_open_connections_and_of_others() -> None:
    server, there, client = connected(lambda socket: socket.on("data", socket.write))
    got: list[bytes] = []
    client.on("data", got.append)
    client.write(b"x" * 1000)
    while sum(map(len, got)) < 1000:
        pyuvnet.current_loop().turn()
    stats = server.stats()
    assert (stats.bytes_read, stats.bytes_written) == (1000, 1000)
    assert (stats.bytes_read, stats.bytes_written) == (there.bytes_read, there.bytes_written)
    client.destroy()
    pyuvnet.current_loop().turn()
    close(server, there)
    assert (server.stats().bytes_read, server.stats().bytes_written) == (1000, 1000)


WAYS: dict[str, Callable[[net.Socket], object]] = {
    "data": lambda socket: socket.on("data", socket.write),
    "readable": lambda socket: socket.on("readable", lambda: socket.write(socket.read() or b"")),
    "frames": lambda socket: socket.set_framing(framing.Fixed(1000)).on("data", socket.write),
    "pipe": lambda socket: socket.pipe(socket),
}


@pytest.mark.parametrize("way", WAYS)
def test_each_way_of_reading_and_writing_counts(way: str) -> None:
    # More than the kernel takes at once.
    size = 9_000_000
    server, _, client = connected(WAYS[way])
    got = 0

    def data(chunk: bytes) -> None:
        nonlocal got
        got += len(chunk)

    client.on("data", data)
    client.end(b"x" * size)
    server.close()
    pyuvnet.run()
    stats = server.stats()
    assert (got, stats.bytes_read, stats.bytes_written) == (size, size, size)


def test_what_a_coroutine_reads_counts() -> None:
    size = 3_000_000

    async def echo(socket: net.Socket) -> None:
        async for chunk in socket:
            socket.write(chunk)

    async def main() -> None:
        server = net.create_server(echo)
        server.listen(0, "127.0.0.1")
        await events.once(server, "listening")
        client = net.connect(server.address().port, "127.0.0.1")
        client.end(b"x" * size)
        assert sum([len(chunk) async for chunk in client]) == size
        server.close()
        await server.wait_closed()
        assert (server.stats().bytes_read, server.stats().bytes_written) == (size, size)

    pyuvnet.run(main())


class OddError(Exception):
    @property
    def code(self) -> str:
        raise AssertionError("nobody may ask")


@pytest.mark.spec("P6-02")
@pytest.mark.parametrize(
    ("error", "name"),
    [
        (errors.StateError("x", "ERR_X"), "ERR_X"),
        (ValueError("x"), "ValueError"),
        (OddError(), "OddError"),
    ],
    ids=["a code", "no code", "code of a program"],
)
def test_errors_are_counted_by_code(error: Exception, name: str) -> None:
    server, there, client = connected(lambda socket: socket.on("error", lambda error: None))
    there.destroy(error)
    close(server, client)
    assert server.stats().errors == {name: 1}


def test_a_reset_is_counted_by_its_code() -> None:
    server, _, client = connected(lambda socket: socket.on("error", lambda error: None).resume())
    client.reset_and_destroy()
    close(server)
    assert server.stats().errors == {"ECONNRESET": 1}


@pytest.mark.spec("P6-02")
def test_drops_are_those_of_dropped() -> None:
    server, there, client = connected()
    server.max_connections = 1
    refused = net.connect(server.address().port, "127.0.0.1")
    refused.on("error", lambda error: None).resume()
    refused.once("close", lambda had_error: pyuvnet.stop())
    pyuvnet.run()
    assert server.stats().dropped == server.dropped == {"max_connections": 1}
    assert server.stats().accepted == 1
    close(server, client, there)


@pytest.mark.spec("P6-02")
@linux
def test_the_accept_queue() -> None:
    server = net.create_server().listen(0, "127.0.0.1", backlog=20)
    pyuvnet.current_loop().turn()
    peers = [posix.create_connection(("127.0.0.1", server.address().port)) for _ in range(5)]
    stats = server.stats()
    assert (stats.accept_queue, stats.accept_queue_limit) == (5, 20)
    server.close()
    pyuvnet.run()
    for peer in peers:
        peer.close()


def test_stats_belong_to_the_thread_of_the_server() -> None:
    server = net.create_server()
    raised: list[BaseException] = []

    def other() -> None:
        try:
            server.stats()
        except errors.StateError as error:
            raised.append(error)

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert [error.code for error in raised] == ["ERR_WRONG_THREAD"]  # type: ignore[attr-defined]


# ---- The loop ------------------------------------------------------------------------------------


@pytest.fixture
def measured() -> Iterator[None]:
    loop.measure()
    yield
    loop.measure(False)


@pytest.mark.spec("P6-03")
def test_the_loop_counts_turns_events_and_handles() -> None:
    before = loop.stats()
    assert before.measured_ms is None
    assert "busy_ms" not in before
    assert before.queued_bytes == 0
    assert 0 < before.cpu_ms <= before.age_ms
    assert before.cpu_share == pytest.approx(before.cpu_ms / before.age_ms)
    server, there, client = connected()
    stats = loop.stats()
    assert stats.turns > before.turns
    assert stats.events > before.events
    assert stats.handles["tcp"] == before.handles["tcp"] + 3
    pyuvnet.next_tick(lambda: None)
    assert loop.stats().queued_ticks >= 1
    pyuvnet.current_loop().call_soon_threadsafe(lambda: None)
    assert loop.stats().queued_calls == 1
    close(server, client, there)
    after = loop.stats()
    assert after.handles == before.handles
    assert (after.queued_ticks, after.queued_calls) == (0, 0)


@pytest.mark.spec("P6-03")
@pytest.mark.usefixtures("measured")
def test_callback_times() -> None:
    pyuvnet.set_timeout(time.sleep, 1, 0.04)
    pyuvnet.set_timeout(lambda: None, 30)
    pyuvnet.run()
    stats = loop.stats()
    assert stats.callbacks >= 2
    assert stats.longest_callback_ms >= 40
    assert stats.busy_ms >= 40
    assert stats.busy_ms + stats.idle_ms <= stats.measured_ms
    assert 0 < stats.busy_share <= 1
    slow = [limit for limit, count in stats.callback_times if count and limit > 40]
    assert slow
    assert sum(count for _, count in stats.callback_times) == stats.callbacks
    limits = [limit for limit, _ in stats.callback_times]
    assert limits[0] == 0.001
    assert limits[-1] == float("inf")
    assert all(after == 2 * before for before, after in itertools.pairwise(limits[:-1]))


@pytest.mark.usefixtures("measured")
def test_measuring_begins_anew() -> None:
    pyuvnet.set_timeout(time.sleep, 1, 0.02)
    pyuvnet.run()
    loop.measure()
    assert loop.stats().callbacks == 0
    assert loop.stats().longest_callback_ms == 0


@pytest.mark.spec("D116")
def test_measuring_is_off_by_default_and_can_be_ended() -> None:
    loop.measure()
    loop.measure(False)
    pyuvnet.set_timeout(lambda: None, 1)
    pyuvnet.run()
    assert loop.stats().measured_ms is None
    with pytest.raises(errors.ArgTypeError):
        loop.measure(1)  # type: ignore[arg-type]


def nap(seconds: float = 0.03) -> None:
    time.sleep(seconds)


@pytest.fixture
def slow() -> Iterator[list[str]]:
    found: list[str] = []
    loop.on_slow(25, lambda name, ms: found.append(name) if ms >= 25 else found.append("fast"))
    yield found
    loop.on_slow(None)


@pytest.mark.parametrize("debug", [False, True])
def test_slow_callbacks_are_given_to_a_function(slow: list[str], debug: bool) -> None:
    pyuvnet.current_loop().debug = debug
    for schedule in (pyuvnet.next_tick, pyuvnet.set_immediate):
        schedule(nap)
        schedule(lambda: None)
        pyuvnet.run()
    pyuvnet.current_loop().debug = False
    named = [name for name in slow if "lambda" not in name]
    assert len(named) == 2
    assert all(name.startswith(f"nap() at {__file__}:") for name in named)


def test_a_function_for_slow_callbacks_is_not_called_for_itself() -> None:
    called: list[str] = []

    def watch(name: str, ms: float) -> None:
        called.append(name)
        nap()

    loop.on_slow(25, watch)
    pyuvnet.set_immediate(nap)
    pyuvnet.run()
    pyuvnet.run()
    loop.on_slow(None)
    assert len([name for name in called if name.startswith("nap")]) == 1
    assert not [name for name in called if "watch" in name]


def test_each_function_has_its_own_limit_and_none_ends_them() -> None:
    found: list[str] = []
    loop.on_slow(20, lambda name, ms: found.append("20"))
    loop.on_slow(10_000, lambda name, ms: found.append("10000"))
    pyuvnet.set_immediate(nap)
    pyuvnet.run()
    loop.on_slow(None)
    pyuvnet.set_immediate(nap)
    pyuvnet.run()
    assert set(found) == {"20"}


@pytest.mark.parametrize(
    ("ms", "callback", "code"),
    [
        ("1", print, "ERR_INVALID_ARG_TYPE"),
        (-1, print, "ERR_OUT_OF_RANGE"),
        (float("nan"), print, "ERR_OUT_OF_RANGE"),
        (1, "print", "ERR_INVALID_ARG_TYPE"),
    ],
)
def test_wrong_arguments_of_on_slow(ms: Any, callback: Any, code: str) -> None:
    with pytest.raises(errors.Error) as caught:
        loop.on_slow(ms, callback)
    assert caught.value.code == code
    pyuvnet.set_immediate(lambda: None)
    pyuvnet.run()


# ---- Names of what was slow ----------------------------------------------------------------------


class Handler:
    """An object with a method, and one that can be called, as listeners."""

    def heard(self, *arguments: object) -> None:
        nap()

    def __call__(self, *arguments: object) -> None:
        nap()


def slow_server(prepare: Callable[[net.Socket], object], **options: Any) -> None:
    """A server whose sockets one peer writes to, until it has ended."""
    server = net.create_server(prepare, **options).listen(0)
    client = net.connect(server.address().port, "127.0.0.1")
    client.on("close", lambda had_error: server.close())
    client.resume().end(b"hello")
    pyuvnet.run()


def quick(*arguments: object) -> None:
    pass


LISTENERS: dict[str, tuple[Callable[[net.Socket], object], str, dict[str, Any]]] = {
    "data": (lambda one: one.on("data", nap_of), "nap_of()", {}),
    "one of several": (
        lambda one: [one.on("data", each) for each in (quick, nap_of, quick)], "nap_of()", {},
    ),
    "once": (lambda one: one.once("data", nap_of).resume(), "nap_of()", {}),
    "end, which is a tick": (lambda one: one.on("end", nap_of).resume(), "nap_of()", {}),
    "close, of the last phase": (lambda one: one.on("close", nap_of).resume(), "nap_of()", {}),
    "connection": (lambda one: (one.resume(), nap()), "LISTENERS_connection", {}),
    "a method": (lambda one: one.on("data", Handler().heard), "Handler.heard()", {}),
    "an object": (lambda one: one.on("data", Handler()), "Handler.__call__()", {}),
    "a partial": (lambda one: one.on("data", functools.partial(nap_of, 1)), "nap_of()", {}),
    "a frame": (lambda one: one.on("data", nap_of), "nap_of()", {"framing": framing.Fixed(5)}),
    "data above a layer": (lambda one: (add_meter(one), one.on("data", nap_of)), "nap_of()", {}),
    "a write callback": (lambda one: one.resume().write(b"x", nap_of), "nap_of()", {}),
}  # fmt: skip


def nap_of(*arguments: object) -> None:
    nap()


@pytest.mark.spec("D118", "P6-07")
@pytest.mark.parametrize(("prepare", "name", "options"), LISTENERS.values(), ids=LISTENERS)
def test_a_slow_listener_is_named(
    slow: list[str], prepare: Callable[[net.Socket], object], name: str, options: dict[str, Any]
) -> None:
    slow_server(prepare, **options)
    pyuvnet.run()
    if name == "LISTENERS_connection":
        name = "<lambda>()"
    assert f"{name} at {__file__}:" in " ".join(slow)
    assert not [each for each in slow if "Socket" in each]


@pytest.mark.spec("P6-07")
@pytest.mark.parametrize("way", ["listener", "iterate", "read"])
def test_a_slow_step_of_a_coroutine_is_named_with_its_task(way: str) -> None:
    found: list[str] = []

    async def handle(one: net.Socket) -> None:
        if way == "iterate":
            async for _chunk in one:
                nap()
        else:
            await one.read_exactly(5)
            nap()
        one.destroy()

    async def main() -> None:
        loop.on_slow(25, lambda name, ms: found.append(name))
        server = net.create_server()
        if way == "listener":
            server.on("connection", handle)
        else:
            tasks = []
            server.on("connection", lambda one: tasks.append(
                asyncio.get_running_loop().create_task(handle(one), name="of a peer")
            ))  # fmt: skip
        server.listen(0)
        client = await net.promises.connect(server.address().port, "127.0.0.1")
        await asyncio.sleep(0.01)
        client.end(b"hello")
        async for _ in client:
            pass
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0)

    pyuvnet.run(main())
    loop.on_slow(None)
    (text,) = [each for each in found if "handle" in each]
    assert "handle() at " + __file__ in text
    assert "in the task '" in text
    assert way == "listener" or text.endswith("in the task 'of a peer'")


def test_a_loop_that_is_closed_watches_no_listeners() -> None:
    from pyuvnet._core.debugging import _watched_loops

    def body() -> None:
        loop.on_slow(25, quick)
        pyuvnet.current_loop().debug = True
        assert _watched_loops() == before + 1
        pyuvnet.current_loop().close()

    before = _watched_loops()
    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert _watched_loops() == before


# ---- The log -------------------------------------------------------------------------------------


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.INFO, logger="pyuvnet")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "pyuvnet"]


def refused(server: net.Server, count: int) -> None:
    """Connections that are dropped."""
    for _ in range(count):
        peer = posix.create_connection(("127.0.0.1", server.address().port))
        before = sum(server.dropped.values())
        while sum(server.dropped.values()) == before:
            pyuvnet.current_loop().turn()
        peer.close()


@pytest.mark.spec("D119", "P6-08")
def test_drops_are_logged_at_once_and_then_once_a_second(log: Callable[[], list[str]]) -> None:
    server = listening()
    server.max_connections = 0
    refused(server, 1)
    assert [text.split(" dropped ")[1] for text in log()] == ["connections: 1 max_connections"]
    refused(server, 5)
    assert len(log()) == 1
    # The others follow when the second is over.
    end = time.monotonic() + 5
    while len(log()) < 2 and time.monotonic() < end:
        pyuvnet.current_loop().turn()
    assert log()[1].endswith(" dropped connections: 5 max_connections")
    server.close()
    pyuvnet.run()


def test_a_block_list_at_work_is_not_logged(log: Callable[[], list[str]]) -> None:
    blocked = net.BlockList()
    blocked.add_address("127.0.0.1")
    server = listening(block_list=blocked)
    refused(server, 3)
    assert server.stats().dropped == {"block_list": 3}
    server.close()
    pyuvnet.run()
    assert log() == []


@pytest.mark.spec("D119", "P6-08")
@pytest.mark.parametrize("how", ["on_slow", "measure"])
def test_slow_callbacks_are_logged_once_a_second_with_a_count(
    log: Callable[[], list[str]], how: str
) -> None:
    if how == "on_slow":
        loop.on_slow(20)
    else:
        pyuvnet.current_loop().slow_callback_ms = 20
        loop.measure()
    for seconds in (0.1, 0.03, 0.2, 0.03):
        pyuvnet.set_immediate(nap, seconds)
    pyuvnet.run()
    (text,) = log()
    assert text.startswith(f"Executing nap() at {__file__}:")
    assert 0.1 <= float(text.split()[-2]) < 0.2
    # A timer that keeps no loop alive writes the rest.
    pyuvnet.set_timeout(quick, 1200)
    pyuvnet.run()
    first, second = log()
    assert first == text
    assert second.startswith(f"Executing nap() at {__file__}:")
    assert second.endswith(" seconds, the slowest of 3 in a second")
    assert float(second.split(" took ")[1].split()[0]) >= 0.2
    loop.on_slow(None)
    loop.measure(False)
    pyuvnet.current_loop().slow_callback_ms = 100
    pyuvnet.set_immediate(nap)
    pyuvnet.run()
    assert len(log()) == 2


@pytest.mark.spec("D119", "P6-08")
def test_sockets_destroyed_for_a_budget_are_logged(log: Callable[[], list[str]]) -> None:
    sockets: list[net.Socket] = []
    server = net.create_server(sockets.append, write_budget=100_000).listen(0)
    peers = [posix.create_connection(("127.0.0.1", server.address().port)) for _ in range(3)]
    while len(sockets) < 3:
        pyuvnet.current_loop().turn()

    def write() -> None:
        for each in sockets:
            each.on("error", quick)
            each.write(bytes(10_000_000))

    pyuvnet.set_immediate(write)
    pyuvnet.set_immediate(server.destroy_sockets)
    pyuvnet.set_immediate(server.close)
    pyuvnet.run()
    (text,) = log()
    assert text.endswith(
        # The last is all there is then.
        " destroyed 2 sockets with the longest queues to stay within the write budget of the "
        "server, 100000 bytes"
    )
    for peer in peers:
        peer.close()


def test_without_logging_nothing_is_imported(run_child: Any) -> None:
    child = run_child(
        """
        import sys
        import pyuvnet
        from pyuvnet import net

        server = net.create_server().listen(0)
        server.max_connections = 0
        client = net.connect(server.address().port)
        client.on("error", lambda error: None).resume()
        client.on("close", lambda had_error: server.close())
        pyuvnet.run()
        print(server.dropped, "logging" in sys.modules)
        """
    ).clean()
    assert child.lines == ["{'max_connections': 1} False"]
