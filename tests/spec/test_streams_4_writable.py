"""streams.md 4: the writable side of sockets; that of user streams is in core/test_writable.py."""

from __future__ import annotations

import os
import socket as posix
import sys

import pytest

import pyuvnet
from pyuvnet import net, next_tick, run

BIG = b"z" * 9_000_000
linux = pytest.mark.skipif(sys.platform != "linux", reason="finds descriptors in /proc")


def descriptor_of(socket: net.Socket) -> int:
    """The descriptor behind a connected TCP socket."""
    for name in os.listdir("/proc/self/fd"):
        try:
            with posix.socket(fileno=os.dup(int(name))) as copy:
                found = (copy.getsockname()[1], copy.getpeername()[1])
        except (OSError, IndexError, TypeError):
            continue
        if found == (socket.local_port, socket.remote_port):
            return int(name)
    raise AssertionError("no such descriptor")


@pytest.fixture
def accept_raw():
    """accept_raw(accepted, **server): a raw peer connects; `accepted(socket, peer)` is called."""
    opened: list[posix.socket] = []

    def go(accepted, **server) -> None:
        def connection(socket: net.Socket) -> None:
            listening.close()
            accepted(socket, opened[0])

        listening = net.create_server(server, connection).listen(0, "127.0.0.1")
        listening.on(
            "listening",
            lambda: opened.append(
                posix.create_connection(("127.0.0.1", listening.address()["port"]))
            ),
        )
        run()

    yield go
    for peer in opened:
        peer.close()


def callback(trace, name):
    return lambda error=None: trace(name, getattr(error, "code", error))


# ---- 4.2 write() ---------------------------------------------------------------------------------


@pytest.mark.spec("S4.2-05", "S4.2-07", "S4.2-08")
def test_write_after_end_of_a_socket(connect, watch, trace) -> None:
    def both(client, peer) -> None:
        watch(client, "", "error", "close")
        peer.resume()
        client.end()
        assert client.write(b"late", callback(trace, "cb")) is False
        assert client.destroyed
        trace("sync")

    connect(both=both)
    run()
    late = "ERR_STREAM_WRITE_AFTER_END"
    assert trace == ["sync", ("cb", late), ("error", late), ("close", True)]


@pytest.mark.spec("S4.2-06", "S4.2-07", "S4.2-15")
def test_write_after_destroy_of_a_socket(connect, watch, trace) -> None:
    def both(client, peer) -> None:
        watch(client, "", "error", "close")
        client.destroy()
        assert client.write(b"late", callback(trace, "cb")) is False
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
def test_after_an_error_nothing_is_handed_over(fake, trace) -> None:
    sink = fake.Sink(hold=True, auto_destroy=False)
    sink.on("error", lambda error: trace("error"))
    sink.write(b"fails")
    sink.answer(OSError("E"))
    run()
    assert sink.write(b"never", callback(trace, "cb")) is False
    run()
    assert sink.got == [b"fails"]
    assert sink.writable_length == 5
    assert trace == ["error"]
    sink.destroy()
    run()


@pytest.mark.spec("S4.2-13", "S4.2-14", "S4.2-16", "S4.1-02", "S4.1-03", "S4.1-04")
def test_what_the_kernel_takes_at_once_never_counts(connect, trace) -> None:
    def both(client, peer) -> None:
        assert client.write(b"y" * 20_000, callback(trace, "small")) is True
        assert (client.writable_length, client.writable_need_drain) == (0, False)
        # More than it takes: what is left is a write in flight.
        assert client.write(BIG, callback(trace, "big")) is False
        assert (client.writable_length, client.writable_need_drain) == (len(BIG), True)
        assert client.bytes_written == 20_000 + len(BIG)
        trace("sync")
        peer.resume()
        client.end()

    connect(both=both, server={"pauseOnConnect": True}, high_water_mark=10)
    run()
    assert trace == ["sync", ("small", None), ("big", None)]


@pytest.mark.spec("S4.2-17", "S4.2-18", "S4.2-19", "S4.2-20")
def test_callbacks_of_a_socket(connect, trace) -> None:
    def both(client, peer) -> None:
        peer.resume()
        for number, chunk in enumerate((b"", b"x", "", BIG, b"y")):
            client.write(chunk, callback(trace, number))
            assert trace == []
        client.end(callback(trace, "end"))

    connect(both=both, server={"pauseOnConnect": True})
    run()
    assert trace == [(number, None) for number in (0, 1, 2, 3, 4, "end")]


@pytest.mark.spec("S4.2-21", "S4.3-02")
@pytest.mark.parametrize("way", ["uncork", "completion"])
def test_what_was_queued_is_answered_together(connect, trace, way) -> None:
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


# ---- 4.3 cork() and uncork() ---------------------------------------------------------------------


@pytest.mark.spec("S4.3-01", "S4.3-02", "S4.3-04", "S4.1-07")
def test_cork_of_a_socket(connect, trace) -> None:
    def both(client, peer) -> None:
        peer.on("data", trace)
        client.cork()
        client.cork()
        client.write(b"a")
        client.write(b"b")
        assert (client.writable_corked, client.writable_length) == (2, 2)
        client.uncork()
        assert (client.writable_corked, client.writable_length) == (1, 2)
        pyuvnet.set_timeout(last, 30, client)

    def last(client) -> None:
        assert trace == []
        client.uncork()
        assert (client.writable_corked, client.writable_length) == (0, 0)
        client.uncork()
        assert client.writable_corked == 0
        client.end()

    connect(both=both)
    run()
    assert trace == [b"ab"]


@pytest.mark.spec("S4.3-03", "S4.5-01")
def test_end_uncorks_a_socket_fully(connect) -> None:
    got = bytearray()

    def both(client, peer) -> None:
        for _ in range(3):
            client.cork()
        client.write(b"a")
        client.end("é", "latin1")
        assert (client.writable_corked, client.writable_ended) == (0, True)

    connect(lambda peer: peer.on("data", got.extend), both)
    run()
    assert got == b"a\xe9"


# ---- 4.4 'drain' ---------------------------------------------------------------------------------


@pytest.mark.spec("S4.4-01", "S4.4-03")
def test_drain_of_a_socket_comes_before_the_callbacks(connect, trace) -> None:
    def both(client, peer) -> None:
        client.on("drain", lambda: trace("drain", client.writable_length))
        client.on("drain", lambda: client.end(callback(trace, "end")))
        client.on("finish", trace.note("finish"))
        assert client.write(BIG, callback(trace, "w1")) is False
        assert client.write(b"x", callback(trace, "w2")) is False
        peer.resume()

    connect(both=both, server={"pauseOnConnect": True})
    run()
    assert trace == [("drain", 0), ("w1", None), ("w2", None), ("end", None), "finish"]


@pytest.mark.spec("S4.4-02")
@pytest.mark.parametrize("how", ["end", "destroy"])
def test_no_drain_once_ending_or_destroyed(connect, trace, how) -> None:
    def both(client, peer) -> None:
        client.on("drain", trace.note("drain"))
        client.write(BIG)
        getattr(client, how)()
        assert client.writable_need_drain is False
        peer.resume()

    connect(both=both, server={"pauseOnConnect": True})
    run()
    assert trace == []


# ---- 4.5 end() and 'finish' ----------------------------------------------------------------------


@pytest.mark.spec("S4.5-01", "S4.5-02", "S4.5-03")
def test_the_fin_follows_all_data(accept_raw, trace) -> None:
    def accepted(socket, peer) -> None:
        socket.write(BIG, callback(trace, "write"))
        socket.end("last", "latin1", callback(trace, "end 1"))
        socket.end(callback(trace, "end 2"))
        socket.on("finish", trace.note("finish"))
        peer.setblocking(False)
        pyuvnet.set_immediate(read, socket, peer)

    def read(socket, peer) -> None:
        try:
            while chunk := peer.recv(1 << 20):
                got.extend(chunk)
        except BlockingIOError:
            pyuvnet.set_immediate(read, socket, peer)
        else:
            assert got == BIG + b"last"
            trace("FIN")
            socket.destroy()

    got = bytearray()
    accept_raw(accepted)
    trace.remove("FIN")
    assert trace == [("write", None), ("end 1", None), ("end 2", None), "finish"]


@pytest.mark.spec("S4.5-04")
def test_finish_after_end_destroys(connect, trace) -> None:
    def accepted(peer) -> None:
        peer.resume()
        peer.on("end", lambda: pyuvnet.set_timeout(peer.end, 10))
        peer.on("finish", lambda: trace("finish", peer.destroyed))
        peer.on("close", lambda had_error: trace("close", peer.destroyed))

    connect(accepted, server={"allow_half_open": True}).resume().end()
    run()
    assert trace == [("finish", False), ("close", True)]


@pytest.mark.spec("S4.5-05")
def test_an_end_before_connect_waits(connect, watch, trace) -> None:
    got = bytearray()
    client = watch(connect(lambda peer: peer.on("data", got.extend)), "", "connect", "finish")
    client.end(b"early", callback(trace, "end"))
    assert (client.writable_ended, client.connecting) == (True, True)
    run()
    assert trace == ["connect", ("end", None), "finish"]
    assert got == b"early"


@pytest.mark.spec("S4.5-06")
def test_a_shutdown_of_what_is_not_connected_any_more_is_a_success(
    accept_raw, watch, trace
) -> None:
    def accepted(socket, peer) -> None:
        watch(socket, "", "finish", "error", "close")
        peer.setsockopt(posix.SOL_SOCKET, posix.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        peer.close()
        # Nobody reads, so that only the shutdown meets the reset.
        socket.end(callback(trace, "end"))
        socket.on("finish", lambda: pyuvnet.set_immediate(socket.destroy))

    accept_raw(accepted, pause_on_connect=True)
    assert trace == [("end", None), "finish", ("close", False)]


@linux
@pytest.mark.spec("S4.5-07")
def test_a_shutdown_that_fails_destroys(accept_raw, watch, trace) -> None:
    def accepted(socket, peer) -> None:
        watch(socket, "", "finish", "close")
        socket.on("error", lambda error: trace("error", error.code, error.syscall))
        # A pipe of the system takes the descriptor's place; it knows no shutdown().
        read_end, write_end = os.pipe()
        os.dup2(write_end, descriptor_of(socket))
        os.close(read_end)
        os.close(write_end)
        socket.end(callback(trace, "end"))

    accept_raw(accepted, pause_on_connect=True)
    assert trace == [("end", "ENOTSOCK"), ("error", "ENOTSOCK", "shutdown"), ("close", True)]


@pytest.mark.spec("S4.5-08")
def test_prefinish_is_kept_to_the_library(connect, trace) -> None:
    client = connect(lambda peer: peer.resume())
    for event in ("prefinish", "finish"):
        client.on(event, trace.note(event))
    client.resume().end(b"x")
    run()
    assert trace == ["finish"]


# ---- 4.6 Failure of a write ----------------------------------------------------------------------


@linux
@pytest.mark.spec("S4.6-01", "S4.6-02", "S4.6-05")
def test_a_peer_that_is_silent_too_long_is_a_timeout(accept_raw, watch, trace) -> None:
    def accepted(socket, peer) -> None:
        watch(socket, "", "drain", "finish", "error", "close")
        # The peer's window is closed for good, and the system's patience short.
        with posix.socket(fileno=os.dup(descriptor_of(socket))) as copy:
            copy.setsockopt(posix.IPPROTO_TCP, posix.TCP_USER_TIMEOUT, 50)
        socket.write(BIG, callback(trace, "w1"))
        socket.write(b"x", callback(trace, "w2"))
        socket.end(callback(trace, "end"))
        sockets.append(socket)

    sockets: list[net.Socket] = []
    accept_raw(accepted, pause_on_connect=True)
    assert trace == [
        ("w1", "ETIMEDOUT"),
        ("w2", "ETIMEDOUT"),
        ("end", "ETIMEDOUT"),
        ("error", "ETIMEDOUT"),
        ("close", True),
    ]
    assert isinstance(sockets[0].errored, TimeoutError)
    assert sockets[0].errored.syscall == "write"


@pytest.mark.spec("S4.6-04", "S5-08")
@pytest.mark.parametrize("error", [None, OSError("E")])
def test_destroy_with_a_write_in_flight(connect, watch, trace, error) -> None:
    def both(client, peer) -> None:
        watch(client, "", "error", "close")
        client.write(BIG, callback(trace, "in flight"))
        client.write(b"x", callback(trace, "queued"))
        client.destroy(error)
        assert trace == []
        pyuvnet.set_immediate(peer.destroy)

    connect(both=both, server={"pauseOnConnect": True})
    run()
    answers = [("in flight", "ECANCELED"), ("queued", error or "ECANCELED")]
    if error is None:
        assert trace == [*answers, ("close", False)]
    else:
        assert trace == [("error", "E"), *answers, ("close", True)]
