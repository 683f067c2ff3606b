"""A socket before connect() and between two connections: what came of calls without effect."""

from __future__ import annotations

import socket as posix
from collections.abc import Iterator
from typing import Any

import pytest

from pyuvnet import net, next_tick, run, stop
from pyuvnet._core.connecting import ConnectSteps
from pyuvnet._core.socket_base import Connector


class Log(list[Any]):
    """What one socket emits and answers, in order."""

    def watch(self, socket: net.Socket) -> net.Socket:
        for event in ("connect", "resume", "end", "finish"):
            socket.on(event, self.note(event))
        socket.on("error", lambda error: self.append(("error", error.code)))
        socket.on("close", lambda had_error: self.append(("close", had_error)))
        return socket

    def note(self, name: str) -> Any:
        return lambda *_: self.append(name)

    def cb(self, name: str) -> Any:
        return lambda error=None: self.append((name, error and error.code))


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def address() -> Iterator[tuple[int, str]]:
    """Where connections are made, and nobody says anything."""
    with posix.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
        yield port, host


def run_to(event: str, socket: net.Socket) -> None:
    """Run until an event of the socket, after all who listen to it by now."""
    socket.once(event, lambda *_: stop())
    run()


@pytest.mark.spec("D50")
def test_end_before_connect_finishes_at_once(log: Log, address: Any) -> None:
    socket = log.watch(net.Socket())
    socket.end(log.cb("end"))
    socket.connect(*address)
    assert socket.writable
    run_to("connect", socket)
    assert log == [("end", None), "finish", "connect"]
    # Node's could not be ended any more.
    assert (socket.writable, socket.writable_finished) == (True, False)
    socket.end(log.cb("again"))
    run_to("finish", socket)
    assert log[3:] == [("again", None), "finish"]
    socket.destroy()
    run_to("close", socket)


def test_writes_after_the_peers_end_are_told_so_whoever_listens(log: Log) -> None:
    server = net.create_server(lambda socket: socket.end())
    socket = log.watch(net.Socket())

    def closed(_: bool) -> None:
        for name in "abc":
            assert socket.write(name, log.cb(name)) is False

    # The built-in listener has done its work by then.
    socket.on("finish", lambda: socket.remove_all_listeners("end"))
    socket.on("close", closed)
    socket.on("close", lambda _: server.close())
    server.listen(0, "127.0.0.1", lambda: socket.connect(server.address()["port"], "127.0.0.1"))
    run()
    assert log[-3:] == [("a", "EPIPE"), ("b", "EPIPE"), ("c", "EPIPE")]


# ---- Deviations ----------------------------------------------------------------------------------


@pytest.mark.spec("D52")
def test_the_type_of_service_is_remembered_while_connecting(address: Any) -> None:
    socket = net.Socket()
    socket.connect(*address)
    assert socket.set_type_of_service(16) is socket
    assert socket.get_type_of_service() == 16
    run_to("connect", socket)
    assert socket.get_type_of_service() == 16
    socket.destroy()
    run()


@pytest.mark.spec("D49")
def test_connect_between_destroy_and_close(log: Log, address: Any) -> None:
    socket = log.watch(net.Socket())
    socket.connect(*address)
    socket.destroy()
    socket.connect(*address)
    run_to("connect", socket)
    next_tick(stop)
    run()
    # The 'close' is that of the first.
    assert sorted(log, key=str) == [("close", False), "connect"]
    assert not socket.destroyed
    socket.destroy()
    run()


@pytest.mark.spec("D47")
def test_a_second_connection_begins_with_nothing(log: Log, address: Any) -> None:
    socket = log.watch(net.Socket())
    socket.unshift(b"left")
    socket.connect(*address)
    socket.write(bytes(100_000))
    socket.reset_and_destroy()
    socket.end(log.cb("end"))
    socket.destroy()
    run()
    assert log == [("close", False), ("end", "ERR_SOCKET_CLOSED_BEFORE_CONNECTION")]
    del log[:]
    socket.connect(*address)
    run_to("connect", socket)
    assert log == ["connect"]
    assert (socket.readable_length, socket.writable_length, socket.bytes_written) == (0, 0, 0)
    assert not socket.writable_need_drain
    assert not socket.destroyed
    socket.destroy()
    run()


@pytest.mark.spec("D48")
def test_a_second_connection_is_read_by_readable(log: Log) -> None:
    server = net.create_server(lambda s: s.end("hello")).listen(0, "127.0.0.1")
    lives = 2

    def again(_: bool) -> None:
        nonlocal lives
        lives -= 1
        if lives:
            socket.connect(server.address()["port"], "127.0.0.1")
        else:
            server.close()

    socket = log.watch(net.Socket())
    socket.on("readable", lambda: log.append(socket.read()))
    socket.on("close", again)
    server.on("listening", lambda: socket.connect(server.address()["port"], "127.0.0.1"))
    run()
    life = ["connect", b"hello", None, "end", "finish", ("close", False)]
    assert log == [*life, *life]


@pytest.mark.spec("D51")
def test_writes_complete_in_order(log: Log, address: Any) -> None:
    socket = log.watch(net.Socket())
    socket.write("a", log.cb("a"))
    socket.write("b", log.cb("b"))
    socket.connect(*address)
    socket.write("c", log.cb("c"))
    run()
    assert [name for name, _ in log if name in ("a", "b", "c")] == ["a", "b", "c"]


@pytest.mark.spec("D41")
def test_bytes_written_is_a_number(address: Any) -> None:
    socket = net.Socket()
    socket.connect(*address)
    socket.cork()
    socket.write("ab")
    socket.end("cd")
    assert socket.bytes_written == 4
    socket.destroy()
    run()


@pytest.mark.spec("D44")
def test_nothing_flows_when_the_readers_were_removed(address: Any) -> None:
    socket = net.Socket()
    socket.on("data", print).remove_all_listeners("data")
    socket.on("readable", print)
    socket.remove_all_listeners("readable")
    run()
    assert socket.readable_flowing is None


@pytest.mark.spec("D42")
def test_unshift_of_bytes_is_decoded(log: Log) -> None:
    socket = net.Socket()
    socket.set_encoding("hex")
    socket.unshift(b"U")
    assert socket.read() == "55"
    socket.destroy()
    run()


@pytest.mark.spec("D43")
def test_a_pipe_outlives_remove_all_listeners(log: Log) -> None:
    """Its listener is the library's, and does not show."""
    server = net.create_server(lambda s: s.pipe(s)).listen(0, "127.0.0.1")
    socket = log.watch(net.Socket())
    server.on("connection", lambda s: s.remove_all_listeners("data"))
    socket.on("data", lambda chunk: (log.append(chunk), socket.end()))
    socket.on("close", lambda _: server.close())
    socket.on("connect", lambda: socket.write("echo"))
    server.on("listening", lambda: socket.connect(server.address()["port"], "127.0.0.1"))
    run()
    assert b"echo" in log


# ---- The object that a connect() is --------------------------------------------------------------


@pytest.fixture(params=["ip", "name", "path"])
def place(request: Any, address: Any, tmp_path: Any) -> Iterator[dict[str, Any]]:
    """Options of connect() that lead to a listener."""
    if request.param == "path":
        if not hasattr(posix, "AF_UNIX"):
            pytest.skip("there are no unix sockets here")
        with posix.socket(posix.AF_UNIX) as listener:
            listener.bind(str(tmp_path / "listener"))
            listener.listen()
            yield {"path": str(tmp_path / "listener")}
    elif request.param == "name":
        yield {"port": address[0], "host": "some.where", "lookup": found}
    else:
        yield {"port": address[0], "host": address[1]}


def found(host: str, options: Any, callback: Any) -> None:
    next_tick(callback, None, [("127.0.0.1", 4), ("127.0.0.2", 4)])


def test_a_socket_holds_it_until_the_connection_stands(place: Any) -> None:
    socket = net.Socket()
    assert socket._connector is None
    socket.connect(place)
    connector = socket._connector
    assert connector.socket is socket
    assert connector.is_current()
    seen: list[Any] = []
    socket.on("connect", lambda: seen.append((socket._connector, connector.is_current())))
    run_to("connect", socket)
    assert seen == [(None, False)]
    socket.destroy()
    run()


def test_a_destroyed_socket_holds_it_until_close(place: Any) -> None:
    socket = net.Socket().connect(place)
    connector = socket._connector
    socket.destroy()
    assert not connector.is_current()
    run_to("close", socket)
    assert socket._connector is None


def test_what_comes_to_an_earlier_one_has_no_effect(log: Log, place: Any, address: Any) -> None:
    socket = net.Socket().connect(place)
    earlier = socket._connector
    socket.destroy().connect(*address)
    log.watch(socket)
    later = socket._connector
    assert later is not earlier
    earlier.connected(0)
    earlier.connected(-1)
    earlier.stop()
    assert earlier._open() is False
    assert earlier._connect_tcp(address[1], address[0]) < 0
    assert (log, later.is_current(), socket.connecting) == ([], True, True)
    run_to("connect", socket)
    assert "connect" in log
    socket.destroy()
    run_to("close", socket)


def test_it_belongs_to_a_socket() -> None:
    for kind in (Connector, ConnectSteps):
        for arguments in ((), (None,), (net.Server(),)):
            with pytest.raises(TypeError):
                kind(*arguments)
        with pytest.raises(TypeError):
            kind.__new__(kind)
