"""Deadlines of sockets, as an attacker meets them."""

from __future__ import annotations

import contextlib
import gc
import socket as posix
import sys
import threading
import time
import weakref
from typing import Any

import pytest

import pyuvnet
from pyuvnet import net, tls
from pyuvnet._core.clock import read_clock
from pyuvnet._core.info import build_flags
from pyuvnet.errors import ArgTypeError, DeadlineError, RangeError, StateError
from pyuvnet.testing import virtual_time
from tests.support.cases import cases
from tests.support.errors import BoomError

# Elsewhere the same takes real time.
VIRTUAL = sys.platform != "win32" and "bundled libuv" in build_flags()


def milliseconds() -> float:
    """What the loop's clock shows."""
    return read_clock() / 1e6


class Guarded:
    """A server with deadlines, one raw peer, and what became of its socket."""

    def __init__(self, connection: Any = None, **options: Any) -> None:
        self.errors: list[Any] = []
        self.after: float = 0.0
        self.on_finish: Any = lambda: None
        self.server = net.create_server(**options)
        self.server.on("connection", self._accepted)
        self.connection = connection
        self.server.listen(0)
        self.peer = posix.create_connection(("127.0.0.1", self.server.address()["port"]))
        self.peer.settimeout(10)

    def _accepted(self, socket: net.Socket) -> None:
        began = milliseconds()
        self.socket = socket
        self.server.close()
        socket.on("error", self.errors.append)
        socket.on("finish", lambda: self.on_finish())
        socket.on("close", lambda _: setattr(self, "after", milliseconds() - began))
        if self.connection is None:
            socket.resume()
        else:
            self.connection(socket)

    def run(self, virtual: bool = VIRTUAL) -> str | None:
        """Turn the loop until the socket is gone; returns the code of its error.

        Args:
            virtual: jump over the time in which nothing happens.
        """
        with virtual_time(jump=True) if virtual else contextlib.nullcontext():
            pyuvnet.run()
        self.peer.close()
        codes = [error.code for error in self.errors]
        for error in self.errors:
            assert isinstance(error, DeadlineError)
        return codes[0] if codes else None

    def lasted(self, least: float, most: float | None = None) -> bool:
        """Whether the socket lived so long, from its acceptance on."""
        most = least if most is None else most
        return least <= self.after <= most if VIRTUAL else least - 1 <= self.after < most + 1900

    def drip(self, every: int, data: bytes = b"x") -> None:
        """Send a byte again and again, until the connection is gone."""

        def send() -> None:
            try:
                self.peer.sendall(data)
            except OSError:
                return
            if not getattr(self, "socket", None) or not self.socket.destroyed:
                pyuvnet.set_timeout(send, every)

        send()


@pytest.mark.spec("P4-07")
def test_a_deadline_error_is_a_state_error_and_a_timeout_error() -> None:
    error = DeadlineError("text", "ERR_DEADLINE")
    assert isinstance(error, StateError)
    assert isinstance(error, TimeoutError)
    assert (str(error), error.code, error.errno) == ("text", "ERR_DEADLINE", None)


# ---- Idle ----------------------------------------------------------------------------------------


@pytest.mark.spec("D113", "P4-01")
def test_an_idle_socket_is_destroyed() -> None:
    guarded = Guarded(idle_timeout=80)
    assert guarded.run() == "ERR_SOCKET_IDLE"
    assert guarded.lasted(80)


@pytest.mark.parametrize("way", ["received", "sent"])
def test_bytes_either_way_put_the_idle_timeout_off(way: str) -> None:
    guarded = Guarded(idle_timeout=400)
    sent = 0

    def byte() -> None:
        nonlocal sent
        sent += 1
        if way == "received":
            guarded.peer.sendall(b"x")
        elif hasattr(guarded, "socket"):
            guarded.socket.write(b"x")
        if sent < 6:
            pyuvnet.set_timeout(byte, 100)

    byte()
    assert guarded.run() == "ERR_SOCKET_IDLE"
    assert sent == 6
    assert guarded.lasted(900)


# ---- The first byte ------------------------------------------------------------------------------


@pytest.mark.spec("P4-02")
def test_a_peer_that_sends_nothing_is_destroyed() -> None:
    guarded = Guarded(lambda s: s.resume().write(b"hello"), first_byte_timeout=60)
    assert guarded.run() == "ERR_FIRST_BYTE_TIMEOUT"
    assert guarded.lasted(60)


def test_a_peer_that_sends_one_byte_has_met_the_first_byte_timeout() -> None:
    guarded = Guarded(first_byte_timeout=60)
    guarded.peer.sendall(b"x")
    pyuvnet.set_timeout(lambda: guarded.socket.destroy(), 200)
    assert guarded.run() is None
    assert guarded.lasted(150, 200)


def test_a_byte_before_starttls_has_met_it_too() -> None:
    """The secure socket counts its bytes from 0."""
    made: list[tls.TLSSocket] = []

    def secured(plain: net.Socket) -> None:
        plain.once("data", lambda data: made.append(tls.TLSSocket(plain, is_server=True)))

    guarded = Guarded(secured, first_byte_timeout=60)
    guarded.peer.sendall(b"STARTTLS")
    pyuvnet.set_timeout(lambda: made[0].destroyed or made[0].destroy(), 200)
    assert guarded.run() is None
    assert guarded.lasted(150, 200)


def test_a_byte_that_the_program_has_not_read_counts() -> None:
    guarded = Guarded(lambda s: None, first_byte_timeout=60, pause_on_connect=True)
    guarded.peer.sendall(b"x")
    pyuvnet.set_timeout(lambda: guarded.socket.destroy(), 200)
    assert guarded.run() is None


# ---- Writing -------------------------------------------------------------------------------------


@pytest.mark.spec("P4-03")
def test_a_peer_that_does_not_read_is_reset() -> None:
    guarded = Guarded(lambda s: s.resume().write(b"x" * 30_000_000), write_timeout=100)
    assert guarded.run() == "ERR_WRITE_TIMEOUT"
    assert guarded.lasted(100)


def test_a_write_timeout_begins_anew_with_each_connection(clock: Any) -> None:
    listener = posix.create_server(("127.0.0.1", 0))
    socket = net.Socket()
    took: list[float] = []
    began = 0.0

    def connect() -> None:
        nonlocal began
        began = clock.now
        socket.connect(listener.getsockname()[1], "127.0.0.1", write_timeout=200)

    def closed(had_error: bool) -> None:
        took.append(clock.now - began)
        if len(took) < 3:
            connect()

    socket.on("connect", lambda: socket.write(bytes(8_000_000)))
    socket.on("error", lambda error: None)
    socket.on("close", closed)
    connect()
    pyuvnet.run()
    listener.close()
    assert took == [200] * 3


@pytest.mark.spec("P4-03")
def test_the_peer_that_does_not_read_sees_a_reset() -> None:
    guarded = Guarded(lambda s: s.resume().write(b"x" * 30_000_000), write_timeout=50)
    pyuvnet.run()
    with pytest.raises(ConnectionResetError):  # noqa: PT012
        while guarded.peer.recv(1 << 20):
            pass
    guarded.peer.close()


def test_a_peer_that_reads_slowly_is_left_alone() -> None:
    size = 8_000_000
    guarded = Guarded(lambda s: s.resume().write(b"x" * size), write_timeout=2000)
    got = 0

    def read() -> None:
        nonlocal got
        while got < size:
            got += len(guarded.peer.recv(100_000))
            time.sleep(0.002)
        guarded.peer.close()

    reader = threading.Thread(target=read)
    reader.start()
    assert guarded.run(virtual=False) is None
    reader.join()
    assert got == size


def test_an_empty_queue_has_no_write_timeout() -> None:
    guarded = Guarded(lambda s: s.resume().write(b"x"), write_timeout=20)
    pyuvnet.set_timeout(lambda: guarded.socket.destroy(), 120)
    assert guarded.run() is None


# ---- Lifetime ------------------------------------------------------------------------------------


@pytest.mark.spec("P4-04")
def test_at_the_end_of_its_lifetime_a_socket_gets_shutdown_and_is_ended(trace) -> None:
    def connection(socket: net.Socket) -> None:
        socket.on("shutdown", lambda: (trace("shutdown"), setattr(socket, "busy", False)))
        socket.resume()

    guarded = Guarded(connection, max_lifetime=100)
    guarded.on_finish = guarded.peer.close
    assert guarded.run() is None
    assert trace == ["shutdown"]
    assert guarded.lasted(90, 110)


@pytest.mark.slow
def test_a_busy_socket_is_destroyed_after_its_lifetime() -> None:
    def connection(socket: net.Socket) -> None:
        socket.resume().busy = True

    guarded = Guarded(connection, max_lifetime=100)
    guarded.drip(50)
    assert guarded.run() == "ERR_MAX_LIFETIME"
    assert guarded.lasted(2090, 2110)


@pytest.mark.spec("P4-04")
def test_lifetimes_differ_by_up_to_a_tenth_either_way(clock: Any) -> None:
    ages: list[float] = []

    def connection(socket: net.Socket) -> None:
        socket.on("shutdown", lambda: ages.append(clock.now))
        socket.on("shutdown", socket.destroy).resume()

    server = net.create_server(connection, max_lifetime=400).listen(0)
    address = ("127.0.0.1", server.address()["port"])
    peers = [posix.create_connection(address) for _ in range(60)]
    pyuvnet.set_timeout(server.close, 100)
    pyuvnet.run()
    for peer in peers:
        peer.close()
    assert len(ages) == 60
    assert 360 <= min(ages) < max(ages) - 20 <= 420


# ---- set_deadline() ------------------------------------------------------------------------------


@pytest.mark.spec("P4-05")
def test_bytes_do_not_extend_a_deadline() -> None:
    guarded = Guarded(lambda s: s.resume().set_deadline(100))
    guarded.drip(10)
    assert guarded.run() == "ERR_DEADLINE"
    assert guarded.lasted(100)


def test_a_deadline_with_an_error_of_the_programs() -> None:
    errors: list[Any] = []
    boom = BoomError("x")
    socket = net.Socket().on("error", errors.append)
    assert socket.set_deadline(1, boom) is socket
    pyuvnet.set_timeout(lambda: None, 20)
    pyuvnet.run()
    assert errors == [boom]
    assert socket.destroyed


@pytest.mark.spec("P4-05")
def test_none_takes_a_deadline_back_and_a_second_one_replaces_the_first(clock: Any) -> None:
    errors: list[Any] = []
    sockets = [net.Socket().on("error", errors.append) for _ in range(3)]
    for socket in sockets:
        socket.set_deadline(5, BoomError("x"))
    sockets[0].set_deadline(None)
    sockets[1].set_deadline(100_000)
    sockets[2].set_deadline(10)
    clock.advance(99_999)
    assert [error.code for error in errors] == ["ERR_DEADLINE"]
    assert [socket.destroyed for socket in sockets] == [False, False, True]
    sockets[1].destroy()
    pyuvnet.run()
    assert sockets[1].set_deadline(1) is sockets[1]


def test_a_deadline_covers_connecting(clock: Any) -> None:
    errors: list[Any] = []
    socket = net.connect(9, "name.invalid", lookup=lambda host, options, callback: None)
    socket.on("error", errors.append).set_deadline(20)
    other = net.Socket()
    pyuvnet.set_timeout(lambda: None, 100)
    pyuvnet.run()
    assert [error.code for error in errors] == ["ERR_DEADLINE"]
    assert not other.destroyed


@cases(
    ("value", "kind", "code"),
    [
        ("1", ArgTypeError, "ERR_INVALID_ARG_TYPE"),
        (True, ArgTypeError, "ERR_INVALID_ARG_TYPE"),
        (-1, RangeError, "ERR_OUT_OF_RANGE"),
        (2**31, RangeError, "ERR_OUT_OF_RANGE"),
        (float("nan"), RangeError, "ERR_OUT_OF_RANGE"),
    ],
)
def test_a_wrong_deadline_raises(value: Any, kind: type, code: str) -> None:
    socket = net.Socket()
    with pytest.raises(kind) as caught:
        socket.set_deadline(value)
    assert caught.value.code == code


def test_a_wrong_error_of_a_deadline_raises() -> None:
    with pytest.raises(ArgTypeError):
        net.Socket().set_deadline(1, "boom")  # type: ignore[arg-type]


# ---- The rate ------------------------------------------------------------------------------------


@pytest.mark.spec("P4-06")
def test_slowloris_is_destroyed() -> None:
    guarded = Guarded(min_read_rate=(100, 200), idle_timeout=10_000, first_byte_timeout=10_000)
    guarded.drip(20)
    assert guarded.run() == "ERR_TOO_SLOW"
    assert guarded.lasted(200)


def test_a_peer_that_sends_enough_is_left_alone() -> None:
    guarded = Guarded(min_read_rate=(100, 200))
    guarded.drip(20, b"x" * 100)
    pyuvnet.set_timeout(lambda: guarded.socket.destroy(), 700)
    assert guarded.run() is None


def test_time_in_which_nothing_is_read_does_not_count() -> None:
    """The program's onread callback stops reading: the peer is not to blame."""
    guarded = Guarded(lambda s: s.pause(), min_read_rate=(100_000, 100), high_water_mark=10)
    guarded.drip(10, b"x" * 20)
    pyuvnet.set_timeout(lambda: guarded.socket.destroy(), 500)
    assert guarded.run() is None


# ---- All of them ---------------------------------------------------------------------------------


NAMES = ["idle_timeout", "first_byte_timeout", "write_timeout", "max_lifetime"]


@pytest.mark.spec("P0-02")
@cases(
    ("name", "value", "kind"),
    [
        *((name, value, ArgTypeError) for name in NAMES for value in ("1", True, [])),
        *((name, value, RangeError) for name in NAMES for value in (-1, 2**31, float("nan"))),
        *(("min_read_rate", value, ArgTypeError) for value in (1, "ab", (1,), (1, 2, 3), ("1", 2))),
        *(("min_read_rate", value, RangeError) for value in ((0, 1), (1, 0), (1, 2**31))),
    ],
)
def test_wrong_options_raise(name: str, value: Any, kind: type) -> None:
    with pytest.raises(kind):
        net.create_server(**{name: value})
    socket = net.Socket()
    with pytest.raises(kind):
        socket.connect(1, **{name: value})
    assert socket.pending
    assert not socket.connecting


def test_zero_and_none_are_no_limit() -> None:
    for value in (0, None):
        guarded = Guarded(**dict.fromkeys(NAMES, value))
        pyuvnet.set_timeout(lambda guarded=guarded: guarded.socket.destroy(), 50)
        assert guarded.run() is None


def test_clients_have_deadlines_from_connect_on(clock: Any) -> None:
    errors: list[Any] = []
    server = net.create_server(lambda s: s.resume()).listen(0)
    client = net.connect(server.address()["port"], "127.0.0.1", first_byte_timeout=50)
    client.on("error", errors.append).on("close", lambda _: server.close())
    pyuvnet.run()
    assert [error.code for error in errors] == ["ERR_FIRST_BYTE_TIMEOUT"]
    # Those of one connect() do not count for the next.
    server.listen(0)
    client.connect(server.address()["port"], "127.0.0.1")
    pyuvnet.set_timeout(lambda: (client.destroy(), server.close()), 150)
    pyuvnet.run()
    assert len(errors) == 1


def test_many_sockets_with_different_deadlines_go_in_their_order(clock: Any) -> None:
    went: list[float] = []
    for ms in (5000, 1000, 4000, 2000, 3000, 1):
        net.Socket().on("error", lambda _: went.append(clock.now)).set_deadline(ms)
    clock.advance(5000)
    assert went == [1, 1000, 2000, 3000, 4000, 5000]


def test_a_listener_that_destroys_the_others_in_the_middle() -> None:
    sockets = [net.Socket() for _ in range(20)]
    errors: list[Any] = []

    def all_gone(error: Any) -> None:
        errors.append(error)
        for socket in sockets:
            socket.destroy()

    for socket in sockets:
        socket.on("error", all_gone).set_deadline(5)
    pyuvnet.set_timeout(lambda: None, 30)
    pyuvnet.run()
    assert 1 <= len(errors) <= 20
    assert all(socket.destroyed for socket in sockets)


def test_armed_sockets_are_freed() -> None:
    socket: Any = net.Socket().set_deadline(5).on("error", lambda _: None)
    taken_back: Any = net.Socket().set_deadline(100_000).set_deadline(None)
    closed: Any = net.Socket().set_deadline(100_000)
    watched = [weakref.ref(each) for each in (socket, taken_back, closed)]
    del socket, taken_back
    gc.collect()
    assert watched[1]() is None
    pyuvnet.set_timeout(lambda: None, 30)
    pyuvnet.run()
    gc.collect()
    assert watched[0]() is None
    pyuvnet.current_loop().close()
    del closed
    gc.collect()
    assert watched[2]() is None


@pytest.mark.spec("P4-09")
def test_guarded_is_a_mapping_of_options() -> None:
    resource = pytest.importorskip("resource")
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert dict(net.GUARDED) == {
        "idle_timeout": 120_000,
        "first_byte_timeout": 10_000,
        "write_timeout": 20_000,
        "max_write_buffer": 8_388_608,
        "max_connections": net.GUARDED["max_connections"],
    }
    server = net.create_server(**net.GUARDED)
    if soft != resource.RLIM_INFINITY:
        assert 0 < server.max_connections < soft
    assert set(net.GUARDED) == set(dict(net.GUARDED))
    with pytest.raises(KeyError):
        net.GUARDED["nothing"]


def test_deadlines_do_not_keep_the_loop_alive() -> None:
    socket = net.Socket().set_deadline(100_000)
    pyuvnet.run()
    assert not socket.destroyed
    socket.destroy()
    pyuvnet.run()
