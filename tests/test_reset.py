"""reset_and_destroy() and destroy_soon(): the two other ways to be done with a socket."""

from __future__ import annotations

import socket as posix
from typing import Any

import pytest

import pyuvnet
from pyuvnet import net
from pyuvnet.errors import Error

NAMES = ("connectionAttempt", "connect", "ready", "data", "end", "finish", "error", "close")


def watch(s: net.Socket, trace: Any, who: str) -> net.Socket:
    for name in NAMES:
        s.on(
            name,
            lambda *args, name=name: trace(
                who,
                name,
                *(getattr(each, "code", each) for each in args if name != "connectionAttempt"),
            ),
        )
    return s


def only(trace: Any, who: str) -> list[Any]:
    found = [each[1:] for each in trace if each[0] == who]
    return [each[0] if len(each) == 1 else each for each in found]


def pair(trace: Any, client: Any, accepted: Any = None) -> None:
    """Run a client against one accepted socket, both watched."""
    server = net.create_server()

    def connection(s: net.Socket) -> None:
        server.close()
        watch(s, trace, "s")
        if accepted is not None:
            accepted(s)

    server.on("connection", connection).listen(0, "127.0.0.1")
    server.on("listening", lambda: client(server.address()["port"]))
    pyuvnet.run()


# ---- reset_and_destroy ---------------------------------------------------------------------------


@pytest.mark.spec("N073")
def test_the_peer_reads_a_reset(trace: Any) -> None:
    def client(port: int) -> None:
        c = watch(net.create_connection(port, "127.0.0.1"), trace, "c")

        def greeted(chunk: bytes) -> None:
            c.write(b"last", None, lambda error: trace("c", "cb", error))
            assert c.reset_and_destroy() is c
            assert c.destroyed
            assert not c.write(b"late", None, lambda error: trace("c", "late", error.code))
            c.reset_and_destroy()

        c.on("data", greeted)

    pair(trace, client, lambda s: s.write(b"hi"))
    assert only(trace, "c") == [
        "connectionAttempt",
        "connect",
        "ready",
        ("data", b"hi"),
        ("cb", None),
        ("late", "ERR_STREAM_DESTROYED"),
        ("close", False),
    ]
    assert only(trace, "s")[-2:] == [("error", "ECONNRESET"), ("close", True)]


@pytest.mark.spec("N073")
def test_it_is_a_real_reset_on_the_wire() -> None:
    with posix.create_server(("127.0.0.1", 0)) as listener:
        c = net.create_connection(listener.getsockname()[1], "127.0.0.1")
        c.on("connect", c.reset_and_destroy)
        pyuvnet.run()
        peer, _ = listener.accept()
        with peer, pytest.raises(ConnectionResetError):
            peer.recv(1)


@pytest.mark.spec("N073")
def test_while_connecting_it_waits_for_the_connection(trace: Any) -> None:
    def client(port: int) -> None:
        c = watch(net.create_connection(port, "127.0.0.1"), trace, "c")
        assert c.reset_and_destroy().reset_and_destroy() is c
        assert (c.destroyed, c.connecting) == (False, True)

    pair(trace, client, lambda s: s.on("error", lambda error: None))
    assert only(trace, "c") == ["connectionAttempt", "connect", "ready", ("close", False)]


def test_without_a_connection_it_is_an_error(trace: Any) -> None:
    c = watch(net.Socket(), trace, "c").reset_and_destroy()
    pyuvnet.run()
    assert only(trace, "c") == [("error", "ERR_SOCKET_CLOSED"), ("close", True)]
    c.reset_and_destroy()
    pyuvnet.run()
    assert len(trace) == 2


def test_a_reset_that_was_wanted_is_forgotten_with_the_connection(trace: Any) -> None:
    with posix.create_server(("127.0.0.1", 0)) as listener:
        c = net.create_connection(listener.getsockname()[1], "127.0.0.1")
        c.reset_and_destroy().destroy()
        pyuvnet.run()
        c.connect(listener.getsockname()[1], "127.0.0.1")
        c.on("ready", lambda: trace(c.destroyed))
        c.on("ready", c.destroy)
        pyuvnet.run()
    assert trace == [False]


@pytest.mark.spec("N073")
@pytest.mark.parametrize("when", ["connecting", "connected"])
def test_ipc_has_no_reset(tmp_path: Any, when: str) -> None:
    path = str(tmp_path / "s")
    server = net.create_server(lambda s: (server.close(), s.end())).listen(path)
    c = net.create_connection(path=path).resume()

    def refuse() -> None:
        with pytest.raises(Error) as caught:
            c.reset_and_destroy()
        assert (caught.value.code, caught.value.message) == (
            "ERR_INVALID_HANDLE_TYPE",
            "This handle type cannot be sent",
        )
        assert not c.destroyed

    if when == "connecting":
        refuse()
    else:
        c.on("connect", refuse)
    pyuvnet.run()


def test_after_finish_it_works_too(trace: Any) -> None:
    def client(port: int) -> None:
        c = watch(net.create_connection(port, "127.0.0.1"), trace, "c")
        c.end(lambda error: trace("c", "end cb", error))
        c.on("finish", c.reset_and_destroy)

    pair(trace, client, lambda s: s.on("error", lambda error: None).pause())
    assert only(trace, "c") == [
        "connectionAttempt", "connect", "ready", ("end cb", None), "finish", ("close", False),
    ]  # fmt: skip


@pytest.mark.spec("D31", "D32")
def test_with_a_shutdown_in_flight_it_closes_plainly(trace: Any) -> None:
    def client(port: int) -> None:
        c = watch(net.create_connection(port, "127.0.0.1"), trace, "c")

        def connected() -> None:
            c.end(lambda error: trace("c", "end cb", error.code))
            c.reset_and_destroy()

        c.on("connect", connected)

    pair(trace, client, lambda s: s.on("error", lambda error: None).resume())
    assert only(trace, "c") == [
        "connectionAttempt", "connect", "ready", ("end cb", "ERR_STREAM_DESTROYED"),
        ("close", False),
    ]  # fmt: skip


# ---- destroy_soon --------------------------------------------------------------------------------


@pytest.mark.spec("N062")
def test_destroy_soon_sends_what_was_written(trace: Any) -> None:
    def client(port: int) -> None:
        c = watch(net.create_connection(port, "127.0.0.1"), trace, "c")

        def connected() -> None:
            c.write(b"x" * 5_000_000, None, lambda error: trace("c", "cb", error))
            assert c.destroy_soon() is None
            assert (c.destroyed, c.writable_ended) == (False, True)
            c.destroy_soon()

        c.on("connect", connected)

    total = [0]

    def accepted(s: net.Socket) -> None:
        s.remove_all_listeners("data")
        s.on("data", lambda chunk: total.__setitem__(0, total[0] + len(chunk)))

    pair(trace, client, accepted)
    assert total == [5_000_000]
    # It does not wait for the peer's end.
    assert only(trace, "c") == [
        "connectionAttempt", "connect", "ready", ("cb", None), "finish", ("close", False),
    ]  # fmt: skip


@pytest.mark.spec("N062")
def test_destroy_soon_after_finish_is_at_once(trace: Any) -> None:
    def client(port: int) -> None:
        c = watch(net.create_connection(port, "127.0.0.1", c_listener), trace, "c")
        c.end()
        c.on("finish", lambda: (c.destroy_soon(), trace("c", "destroyed", c.destroyed)))

    def c_listener() -> None:
        pass

    pair(trace, client, lambda s: s.on("error", lambda error: None).pause())
    assert only(trace, "c")[-2:] == [("destroyed", True), ("close", False)]


@pytest.mark.spec("N062")
def test_destroy_soon_while_connecting(trace: Any) -> None:
    def client(port: int) -> None:
        c = watch(net.create_connection(port, "127.0.0.1"), trace, "c")
        c.write(b"queued")
        c.destroy_soon()

    pair(trace, client)
    assert only(trace, "c") == [
        "connectionAttempt", "connect", "ready", "finish", ("close", False),
    ]  # fmt: skip
    assert only(trace, "s")[0] == ("data", b"queued")


def test_destroy_soon_after_destroy_is_nothing(trace: Any) -> None:
    c = watch(net.Socket(), trace, "c").destroy()
    c.destroy_soon()
    pyuvnet.run()
    assert only(trace, "c") == [("close", False)]


def test_destroy_soon_calls_an_end_of_the_programs_own() -> None:
    class Counted(net.Socket):
        ends = 0

        def end(self, *args: Any) -> Any:
            self.ends += 1
            return super().end(*args)

    c = Counted()
    c.destroy_soon()
    assert c.ends == 1
    pyuvnet.run()
    assert c.destroyed
