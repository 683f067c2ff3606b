"""ServerBase: accepting and counting."""

from __future__ import annotations

import gc
import os
import socket as posix
import struct
import weakref
from typing import Any

import pytest

import pyuvnet
from pyuvnet import diagnostics, net
from tests.support.cases import cases


def peers_of(server: net.Server, count: int) -> list[posix.socket]:
    port = server.address()["port"]
    return [posix.create_connection(("127.0.0.1", port)) for _ in range(count)]


def test_a_server_closed_by_its_first_connection_accepts_no_other() -> None:
    accepted: list[net.Socket] = []

    def connection(s: net.Socket) -> None:
        accepted.append(s)
        server.close()
        s.destroy()

    server = net.create_server(connection).listen(0)
    peers = peers_of(server, 3)
    pyuvnet.run()
    for peer in peers:
        peer.close()
    assert len(accepted) == 1


def test_a_socket_destroyed_twice_is_counted_down_once() -> None:
    counts: list[int] = []

    def connection(s: net.Socket) -> None:
        for _ in range(3):
            s.destroy()
        server.get_connections(lambda error, count: counts.append(count))
        server.close()

    server = net.create_server(connection).listen(0)
    peers = peers_of(server, 1)
    pyuvnet.run()
    peers[0].close()
    assert counts == [0]


def test_a_failing_drop_listener_still_closes_the_peer() -> None:
    server = net.create_server().listen(0)
    server.max_connections = 0

    @server.on("drop")
    def drop(info: Any) -> None:
        server.close()
        raise ValueError("X")

    peers = peers_of(server, 1)
    with pytest.raises(ValueError, match="X"):
        pyuvnet.run()
    pyuvnet.run()
    assert peers[0].recv(1) == b""
    peers[0].close()


def test_an_error_listener_may_listen_again() -> None:
    holder = net.create_server().listen(0)
    port = holder.address()["port"]
    server = net.create_server().on("listening", lambda: (server.close(), holder.close()))
    server.once("error", lambda error: server.listen(0))
    server.listen(port)
    pyuvnet.run()
    assert not server.listening


@pytest.mark.parametrize("state", ["new", "closed", "failed"])
def test_a_server_that_is_over_is_collected(state: str) -> None:
    server: Any = net.create_server()
    server.mine = server
    server.on("connection", server.close)
    if state == "closed":
        server.listen(0).close()
    elif state == "failed":
        server.on("error", lambda error: None).listen(0, "192.0.2.1")
    pyuvnet.run()
    reference = weakref.ref(server)
    del server
    gc.collect()
    assert reference() is None


def test_an_open_server_that_nobody_holds_goes_on_accepting() -> None:
    def begin() -> int:
        def connection(s: net.Socket) -> None:
            server.close()
            s.end(b"here")

        server = net.create_server(connection).listen(0)
        return int(server.address()["port"])

    got: list[bytes] = []
    port = begin()
    gc.collect()
    c = net.create_connection(port, "127.0.0.1")
    c.on("data", got.append)
    pyuvnet.run()
    assert got == [b"here"]


# ---- A socket that nobody has got --------------------------------------------------------------


def answers_of(peers: list[posix.socket]) -> list[str]:
    """What each peer reads: 'end', 'reset', or 'open' where nothing comes."""
    said = []
    for peer in peers:
        peer.settimeout(0)
        try:
            said.append("end" if peer.recv(1) == b"" else "data")
        except ConnectionResetError:
            said.append("reset")
        except BlockingIOError:
            said.append("open")
        peer.close()
    return said


def turn_until(done: Any, turns: int = 200) -> None:
    """Turn the loop until done() is true."""
    loop = pyuvnet.current_loop()
    for _ in range(turns):
        if done():
            return
        loop.turn()
    raise AssertionError("it did not happen")


@pytest.mark.spec("D25")
@pytest.mark.parametrize("kind", ["tcp", "ipc"])
def test_a_socket_whose_listener_raises_is_destroyed(kind: str, tmp_path: Any) -> None:
    failures: list[Any] = []
    closed: list[Any] = []
    pyuvnet.set_exception_handler(lambda error: failures.append(error.args))

    def connection(s: net.Socket) -> None:
        given.append(weakref.ref(s))
        raise ValueError("X")

    given: list[Any] = []
    server = net.create_server(connection)
    server.on("close", lambda: closed.append(True))
    if kind == "tcp":
        server.listen(0)
        peers = peers_of(server, 3)
    else:
        server.listen(tmp_path / "sock")
        peers = [posix.socket(posix.AF_UNIX) for _ in range(3)]
        for peer in peers:
            peer.connect(str(tmp_path / "sock"))
    turn_until(lambda: len(failures) == 3)
    assert failures == [("X",)] * 3
    assert server._connections == 0
    server.close()
    turn_until(lambda: not pyuvnet.current_loop().alive())
    assert answers_of(peers) == ["end"] * 3
    assert closed == [True]
    gc.collect()
    assert [reference() for reference in given] == [None] * 3


def test_what_its_listener_has_written_before_it_raised_is_sent() -> None:
    failures: list[Any] = []
    pyuvnet.set_exception_handler(failures.append)

    def connection(s: net.Socket) -> None:
        s.write(b"sorry")
        raise ValueError("X")

    server = net.create_server(connection).listen(0)
    peers = peers_of(server, 1)
    turn_until(lambda: failures)
    server.close()
    turn_until(lambda: not pyuvnet.current_loop().alive())
    assert peers[0].recv(100) == b"sorry"
    assert answers_of(peers) == ["end"]


@pytest.mark.spec("D25")
@pytest.mark.parametrize("event", ["data", "error", "mine"])
def test_a_socket_on_which_something_was_registered_stays_open(event: str) -> None:
    failures: list[Any] = []
    accepted: list[net.Socket] = []
    pyuvnet.set_exception_handler(failures.append)

    def connection(s: net.Socket) -> None:
        accepted.append(s)
        s.on(event, lambda *_: None)
        raise ValueError("X")

    server = net.create_server(connection).listen(0)
    peers = peers_of(server, 1)
    turn_until(lambda: failures)
    assert not accepted[0].destroyed
    assert server._connections == 1
    accepted[0].destroy()
    server.close()
    turn_until(lambda: not pyuvnet.current_loop().alive())
    assert answers_of(peers) == ["end"]


def test_the_first_of_two_listeners_has_it_although_the_second_raises() -> None:
    failures: list[Any] = []
    accepted: list[net.Socket] = []
    pyuvnet.set_exception_handler(failures.append)

    @(server := net.create_server()).on("connection")
    def first(s: net.Socket) -> None:
        accepted.append(s)
        s.on("close", lambda _: server.close())

    @server.on("connection")
    def second(s: net.Socket) -> None:
        raise ValueError("X")

    server.listen(0)
    peers = peers_of(server, 1)
    turn_until(lambda: failures)
    assert not accepted[0].destroyed
    accepted[0].destroy()
    turn_until(lambda: not pyuvnet.current_loop().alive())
    assert answers_of(peers) == ["end"]


@pytest.mark.parametrize(("half_open", "left"), [(False, 2), (True, 3)])
@pytest.mark.parametrize("kind", ["tcp", "ipc"])
def test_without_a_listener_connections_stay_as_in_node(
    kind: str, half_open: bool, left: int, tmp_path: Any
) -> None:
    """One ends without data, one with data that remain unread, and one stays."""
    closed: list[bool] = []
    server = net.create_server(print, allow_half_open=half_open)
    server.off("connection", print).on("close", lambda: closed.append(True))
    if kind == "tcp":
        peers = peers_of(server.listen(0), 3)
    else:
        server.listen(tmp_path / "sock")
        peers = [posix.socket(posix.AF_UNIX) for _ in range(3)]
        for peer in peers:
            peer.connect(str(tmp_path / "sock"))
    turn_until(lambda: server.stats().peak == 3)
    peers[0].shutdown(posix.SHUT_WR)
    peers[1].sendall(b"x")
    peers[1].shutdown(posix.SHUT_WR)

    def arrived() -> bool:
        ended = 3 - server._connections + sum(s.readable_ended for s in server.sockets)
        return ended == 1 and sum(s.bytes_read for s in server.sockets) == 1

    turn_until(arrived)
    assert server._connections == left
    assert server.dropped == {}
    server.close()
    for _ in range(5):
        pyuvnet.current_loop().turn()
    assert closed == []
    server.destroy_sockets()
    turn_until(lambda: not pyuvnet.current_loop().alive())
    assert closed == [True]
    for peer in peers:
        peer.close()


def test_an_emit_of_the_programs_own_may_take_the_socket() -> None:
    accepted: list[net.Socket] = []

    class Mine(net.Server):
        def emit(self, event: Any = None, *arguments: Any) -> Any:
            if event == "connection":
                accepted.append(arguments[0].on("error", print))
                return None
            return super().emit(event, *arguments)

    server = Mine().listen(0)
    peers = peers_of(server, 1)
    turn_until(lambda: accepted)
    assert not accepted[0].destroyed
    assert server._connections == 1
    accepted[0].destroy()
    server.close()
    turn_until(lambda: not pyuvnet.current_loop().alive())
    assert answers_of(peers) == ["end"]


def test_a_subscriber_of_the_channel_may_take_the_socket() -> None:
    accepted: list[net.Socket] = []

    def take(message: Any, name: Any) -> None:
        accepted.append(message["socket"].on("error", print))

    diagnostics.subscribe("net.server.socket", take)
    try:
        server = net.create_server().listen(0)
        peers = peers_of(server, 1)
        turn_until(lambda: accepted)
        assert not accepted[0].destroyed
        accepted[0].destroy()
        server.close()
        turn_until(lambda: not pyuvnet.current_loop().alive())
    finally:
        diagnostics.unsubscribe("net.server.socket", take)
    assert answers_of(peers) == ["end"]


# ---- Limits and lists --------------------------------------------------------------------------


@cases(
    ("limit", "taken"),
    [
        (float("inf"), 3),
        (10**400, 3),
        (1.5, 2),
        (2.0, 2),
        (0.1, 1),
        (0, 0),
        (-0.0, 0),
    ],
)
def test_a_limit_of_any_number(limit: float, taken: int) -> None:
    accepted: list[net.Socket] = []
    server = net.create_server(accepted.append).listen(0)
    server.max_connections = limit
    assert server.max_connections is limit
    peers = peers_of(server, 3)
    turn_until(lambda: len(accepted) + server.dropped.get("max_connections", 0) == 3)
    assert len(accepted) == taken
    for s in accepted:
        s.destroy()
    server.close()
    turn_until(lambda: not pyuvnet.current_loop().alive())
    answers_of(peers)


def test_a_limit_with_comparisons_of_its_own_is_a_number_like_any_other() -> None:
    class Odd(int):
        def __le__(self, other: Any) -> Any:
            raise AssertionError("asked in the middle of accepting")

        __ge__ = __lt__ = __gt__ = __eq__ = __le__  # type: ignore[assignment]
        __hash__ = int.__hash__

    accepted: list[net.Socket] = []
    server = net.create_server(accepted.append).listen(0)
    server.max_connections = Odd(1)
    peers = peers_of(server, 2)
    turn_until(lambda: server.dropped)
    assert len(accepted) == 1
    accepted[0].destroy()
    server.close()
    turn_until(lambda: not pyuvnet.current_loop().alive())
    answers_of(peers)


def test_the_finaliser_of_a_limit_sees_the_next_one() -> None:
    seen: list[Any] = []

    class Last(int):
        def __del__(self) -> None:
            seen.append(server.max_connections)

    server = net.create_server()
    server.max_connections = Last(7)
    server.max_connections = 5
    assert seen == [5]


def test_the_finaliser_of_a_block_list_sees_the_next_one() -> None:
    seen: list[Any] = []

    class Last(net.BlockList):
        def __del__(self) -> None:
            seen.append(server.block_list)

    server = net.create_server()
    server.block_list = Last()
    server.block_list = None
    assert seen == [None]


def test_a_drop_tells_of_a_peer_that_reset_the_connection_before() -> None:
    drops: list[Any] = []
    server = net.create_server().listen(0)
    server.max_connections = 0
    server.on("drop", lambda info: (drops.append(info), server.close()))
    (peer,) = peers_of(server, 1)
    here = peer.getsockname()
    peer.setsockopt(posix.SOL_SOCKET, posix.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
    turn_until(lambda: not pyuvnet.current_loop().alive())
    assert (drops[0].remote_address, drops[0].remote_port) == (f"::ffff:{here[0]}", here[1])


def test_a_listener_of_drop_finds_the_peer_closed_already() -> None:
    """What it does, or raises, cannot leave the connection open."""
    said: list[Any] = []
    server = net.create_server().listen(0)
    server.max_connections = 0
    (peer,) = peers_of(server, 1)
    peer.settimeout(5)
    server.on("drop", lambda info: (said.append(peer.recv(1)), server.close()))
    turn_until(lambda: not pyuvnet.current_loop().alive())
    peer.close()
    assert said == [b""]


@pytest.mark.parametrize("what", ["close", "listen again", "destroy"])
def test_a_finaliser_that_acts_on_the_server_while_it_accepts(what: str) -> None:
    """A collection, which may begin at any object that accepting makes (before CPython 3.12)."""

    class Last:
        def __del__(self) -> None:
            if what == "destroy":
                for s in accepted:
                    s.destroy()
                return
            server.close()
            if what == "listen again":
                server.listen(0)

    def connection(s: net.Socket) -> None:
        accepted.append(s.on("error", lambda _: None))

    for threshold in range(1, 25):
        events: list[Any] = []
        accepted: list[net.Socket] = []
        server = net.create_server(connection)
        server.on("error", events.append)
        server.on("close", lambda events=events: events.append("close"))
        server.listen(0)
        peers = peers_of(server, 2)
        pyuvnet.current_loop().turn()
        assert len(accepted) == 1
        usual = gc.get_threshold()
        gc.collect()
        cycle = Last()
        cycle.itself = cycle  # type: ignore[attr-defined]
        del cycle
        gc.set_threshold(threshold, 1, 1)
        try:
            pyuvnet.current_loop().turn()
        finally:
            gc.set_threshold(*usual)
        gc.collect()
        assert server._connections == sum(not s.destroyed for s in accepted)
        for s in accepted:
            s.destroy()
        if server.listening:
            server.close()
        turn_until(lambda: not pyuvnet.current_loop().alive())
        # Closed twice, it may say so twice.
        assert set(events) == {"close"}
        assert len(events) == 1 or what == "listen again"
        assert set(answers_of(peers)) <= {"end", "reset"}


@pytest.mark.parametrize("kind", ["TCP", "path"])
def test_a_receiver_gets_descriptors_and_no_socket_is_made(kind: str, tmp_path: Any) -> None:
    """Of connections that another process is to serve."""
    path = str(tmp_path / "handed")
    received: list[int] = []
    closed: list[bool] = []

    def receive(fd: int) -> None:
        received.append(fd)
        if len(received) == 3:
            server.close()

    server = net.create_server(lambda socket: pytest.fail("a socket was made"))
    server._hand_over_to(receive)
    server.on("close", lambda: closed.append(True))
    server.listen(0 if kind == "TCP" else path)
    if kind == "TCP":
        peers = peers_of(server, 3)
    else:
        peers = [posix.socket(posix.AF_UNIX) for _ in range(3)]
        for peer in peers:
            peer.connect(path)
    pyuvnet.run()
    assert closed == [True]
    for fd, peer in zip(received, peers, strict=True):
        with posix.socket(fileno=fd) as ours:
            assert not os.get_blocking(fd)
            assert not ours.get_inheritable()
            ours.setblocking(True)
            peer.send(b"x")
            assert ours.recv(1) == b"x"
        peer.close()


def test_a_receiver_also_gets_who_waits_when_the_listener_closes() -> None:
    received: list[int] = []
    server = net.create_server()
    server._hand_over_to(received.append)
    server.listen(0)
    peers = peers_of(server, 3)
    assert server._accept_rest() == 0
    server.close()
    pyuvnet.run()
    assert len(received) == 3
    for fd in received:
        os.close(fd)
    for peer in peers:
        peer.close()


@pytest.mark.parametrize("rest", [False, True], ids=["accepts", "accepts the rest"])
def test_a_connection_is_closed_whose_receiver_raises(rest: bool) -> None:
    def refuse(fd: int) -> None:
        raise ZeroDivisionError

    server = net.create_server()
    server._hand_over_to(refuse, lambda: pytest.fail("nothing was received"))
    server.listen(0)
    (peer,) = peers_of(server, 1)
    if rest:
        server._accept_rest()
    with pytest.raises(ZeroDivisionError):
        pyuvnet.run()
    assert answers_of([peer])[0] in {"end", "reset"}
    server.close()
    pyuvnet.run()


def test_a_receiver_that_raises_later_and_one_that_pauses() -> None:
    received: list[int] = []

    def act() -> None:
        if len(received) == 1:
            server.pause()
            pyuvnet.set_immediate(server.resume)
            raise ZeroDivisionError
        server.close()

    server = net.create_server()
    server._hand_over_to(received.append, act)
    server.listen(0)
    peers = peers_of(server, 2)
    with pytest.raises(ZeroDivisionError):
        pyuvnet.run()
    pyuvnet.run()
    assert len(received) == 2
    for fd in received:
        os.close(fd)
    for peer in peers:
        peer.close()
