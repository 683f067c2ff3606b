"""Options of the kernel, by number and by name; descriptors; the peer of a unix socket."""

from __future__ import annotations

import os
import socket as posix
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyuvnet import BoundSocket, framing, net, next_tick, run, set_timeout
from pyuvnet._core.errors import UV_ENOTSUP
from pyuvnet._options import kernel as _kernel
from pyuvnet.errors import ArgTypeError, ArgValueError, ClosedError, RangeError, StateError

LINUX = sys.platform == "linux"
TCP, SOCKET = posix.IPPROTO_TCP, posix.SOL_SOCKET

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has others")


def connected(
    act: Callable[[net.Socket, net.Socket], object],
    listen: dict[str, Any] | None = None,
    **options: Any,
) -> list[Any]:
    """Call act(client, accepted) once both are there, and run until all is closed."""
    both: list[net.Socket] = []
    errors: list[Any] = []

    def ready(one: net.Socket) -> None:
        both.append(one)
        if len(both) == 2:
            both.sort(key=lambda each: each.server is not None)
            act(*both)

    def take(one: net.Socket) -> None:
        server.close()
        one.on("error", errors.append)
        ready(one)

    server = net.create_server({"allow_half_open": True}, take)
    server.listen({"port": 0, **(listen or {})})
    path = (listen or {}).get("path")
    where = {"path": path} if path else {"port": server.address().port, "host": "127.0.0.1"}
    client = net.connect({**where, **options})
    client.on("error", lambda error: (errors.append(error), server.close()))
    client.on("connect", lambda: ready(client))
    run()
    return errors


def ended(*both: net.Socket) -> None:
    for each in both:
        each.end()
        each.resume()


# ---- By number -----------------------------------------------------------------------------------


@pytest.mark.spec("D120", "P7-01")
def test_a_number_is_set_and_read_as_by_the_standard_library() -> None:
    seen: list[Any] = []

    def act(client: net.Socket, accepted: net.Socket) -> None:
        assert client.set_option(SOCKET, posix.SO_KEEPALIVE, True) is client
        seen.append(client.get_option(SOCKET, posix.SO_KEEPALIVE))
        client.set_option(TCP, posix.TCP_NODELAY, 1)
        seen.append(bool(client.get_option(TCP, posix.TCP_NODELAY)))
        with posix.socket(fileno=os.dup(client.fileno())) as same:
            seen.append(same.getsockopt(SOCKET, posix.SO_KEEPALIVE))
        ended(client, accepted)

    connected(act)
    assert seen == [1, True, 1]


def test_bytes_are_set_and_read_where_an_option_is_no_number() -> None:
    seen: list[Any] = []
    linger = struct.pack("ii", 1, 5)

    def act(client: net.Socket, accepted: net.Socket) -> None:
        for value in (linger, bytearray(linger), memoryview(linger)):
            client.set_option(SOCKET, posix.SO_LINGER, value)
            seen.append(client.get_option(SOCKET, posix.SO_LINGER, 8))
        client.set_option(SOCKET, posix.SO_LINGER, bytes(8))
        ended(client, accepted)

    connected(act)
    assert seen == [linger] * 3


def test_servers_and_bound_sockets_have_options_too() -> None:
    server = net.create_server().listen(0)
    server.set_option(SOCKET, posix.SO_KEEPALIVE, 1)
    assert server.get_option(SOCKET, posix.SO_KEEPALIVE) == 1
    assert server.get_option(SOCKET, posix.SO_TYPE) == posix.SOCK_STREAM
    server.close()
    with BoundSocket(port=0) as bound:
        assert bound.set_option(SOCKET, posix.SO_KEEPALIVE, 1) is bound
        assert bound.get_option(SOCKET, posix.SO_KEEPALIVE) == 1
    with pytest.raises(StateError):
        bound.set_option(SOCKET, posix.SO_KEEPALIVE, 1)
    run()


@pytest.mark.spec("P7-01")
def test_errors_are_the_systems() -> None:
    server = net.create_server().listen(0)
    with pytest.raises(OSError, match="setsockopt") as caught:
        server.set_option(SOCKET, 9999, 1)
    assert (caught.value.code, caught.value.syscall) == ("ENOPROTOOPT", "setsockopt")  # type: ignore[attr-defined]
    with pytest.raises(OSError, match="getsockopt") as caught:
        server.get_option(SOCKET, 9999)
    assert caught.value.syscall == "getsockopt"  # type: ignore[attr-defined]
    server.close()
    run()
    for one in (server, net.Socket()):
        with pytest.raises(OSError, match="setsockopt") as caught:
            one.set_option(SOCKET, posix.SO_KEEPALIVE, 1)
        assert caught.value.code == "EBADF"  # type: ignore[attr-defined]
        with pytest.raises(OSError, match="getsockopt"):
            one.get_option(SOCKET, posix.SO_KEEPALIVE)


@pytest.mark.parametrize(
    ("value", "error"),
    [("1", ArgTypeError), (None, ArgTypeError), (1.5, RangeError), (2**32, RangeError),
     (-(2**31) - 1, RangeError), ([], ArgTypeError)],
)  # fmt: skip
def test_wrong_values_raise(value: Any, error: type[Exception]) -> None:
    server = net.create_server().listen(0)
    with pytest.raises(error):
        server.set_option(SOCKET, posix.SO_RCVBUF, value)
    server.close()
    run()


@pytest.mark.parametrize(
    ("size", "error"), [(0, RangeError), (1025, RangeError), ("", ArgTypeError)]
)
def test_wrong_sizes_raise(size: Any, error: type[Exception]) -> None:
    server = net.create_server().listen(0)
    with pytest.raises(error):
        server.get_option(SOCKET, posix.SO_LINGER, size)
    server.close()
    run()


# ---- By name -------------------------------------------------------------------------------------

# Each with a value, and what getsockopt() says of it.
NAMED: dict[str, tuple[Any, tuple[int, str, int | None], Any]] = {
    "user_timeout": (1234, (TCP, "TCP_USER_TIMEOUT", None), 1234),
    "not_sent_low_water": (7777, (TCP, "TCP_NOTSENT_LOWAT", None), 7777),
    # Linux doubles what it is given.
    "receive_buffer": (20_000, (SOCKET, "SO_RCVBUF", None), 40_000 if LINUX else 20_000),
    "send_buffer": (20_000, (SOCKET, "SO_SNDBUF", None), 40_000 if LINUX else 20_000),
    "congestion": ("reno", (TCP, "TCP_CONGESTION", 16), b"reno".ljust(16, b"\0")),
    "linger": (0, (SOCKET, "SO_LINGER", 8), struct.pack("ii", 1, 0)),
}


def has(name: str) -> bool:
    return hasattr(posix, NAMED[name][1][1])


def read(one: Any, name: str) -> Any:
    level, option, size = NAMED[name][1]
    return one.get_option(level, getattr(posix, option), size)


@pytest.mark.spec("P7-02")
@pytest.mark.parametrize("name", NAMED)
def test_a_named_option_of_connect_is_set_before_the_connection(name: str) -> None:
    if not has(name):
        pytest.skip("this system does not have it")
    value, _, expected = NAMED[name]
    seen: list[Any] = []

    def act(client: net.Socket, accepted: net.Socket) -> None:
        seen.append(read(client, name))
        seen.append(read(accepted, name) == expected)
        ended(client, accepted)

    errors = connected(act, **{name: value})
    assert seen == [expected, False]
    assert [error.code for error in errors] in ([], ["ECONNRESET"])


@pytest.mark.spec("P7-02")
@pytest.mark.parametrize("name", NAMED)
def test_a_named_option_of_listen_is_the_listeners(name: str) -> None:
    if not has(name):
        pytest.skip("this system does not have it")
    value, _, expected = NAMED[name]
    server = net.create_server().listen({"port": 0, name: value})
    assert read(server, name) == expected
    server.close()
    run()


@pytest.mark.skipif(not LINUX, reason="accepted sockets have the listener's options on Linux")
@pytest.mark.parametrize("name", NAMED)
def test_accepted_sockets_have_the_options_of_their_listener(name: str) -> None:
    value, _, expected = NAMED[name]
    seen: list[Any] = []

    def act(client: net.Socket, accepted: net.Socket) -> None:
        seen.append(read(accepted, name))
        ended(client, accepted)

    connected(act, {name: value})
    assert seen == [expected]


@pytest.mark.skipif(not LINUX, reason="of Linux")
def test_a_mark_is_set_or_the_rights_for_it_lack() -> None:
    seen: list[Any] = []

    def act(client: net.Socket, accepted: net.Socket) -> None:
        seen.append(client.get_option(SOCKET, posix.SO_MARK))
        ended(client, accepted)

    errors = connected(act, mark=5)
    if errors:
        assert [(each.code, each.syscall) for each in errors] == [("EPERM", "setsockopt")]
    else:
        assert seen == [5]


@pytest.mark.skipif(not LINUX, reason="of Linux")
def test_an_accept_may_be_deferred_until_data_come() -> None:
    server = net.create_server().listen(0, defer_accept=3)
    assert server.get_option(TCP, posix.TCP_DEFER_ACCEPT) > 0
    heard: list[str] = []
    server.on("connection", lambda one: (heard.append("connection"), one.destroy(), server.close()))
    with posix.create_connection(("127.0.0.1", server.address().port)) as peer:

        def speak() -> None:
            heard.append("data")
            peer.sendall(b"x")

        set_timeout(speak, 30)
        run()
    assert heard == ["data", "connection"]


@pytest.mark.skipif(not LINUX, reason="of Linux")
def test_an_option_that_the_system_refuses_is_an_error_of_setsockopt() -> None:
    errors = connected(lambda *both: None, congestion="no-such")
    assert [(each.code, each.syscall) for each in errors] == [("ENOENT", "setsockopt")]
    heard: list[Any] = []
    server = net.create_server()
    server.on("error", lambda error: heard.append((error.code, error.syscall, server.listening)))
    server.on("listening", lambda: heard.append("listening"))
    server.listen(0, congestion="no-such")
    run()
    assert heard == [("ENOENT", "setsockopt", False)]


def test_a_unix_socket_takes_the_options_that_it_has(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    seen: list[Any] = []

    def act(client: net.Socket, accepted: net.Socket) -> None:
        seen.append(client.get_option(SOCKET, posix.SO_SNDBUF))
        ended(client, accepted)

    options = {"send_buffer": 20_000}
    connected(act, {"path": path, "port": None, **options}, **options)
    assert seen == [NAMED["send_buffer"][2]]


OF_TCP = ["user_timeout", "not_sent_low_water", "defer_accept", "congestion"]


@pytest.mark.spec("P0-02")
@pytest.mark.parametrize("name", OF_TCP)
def test_an_option_of_tcp_raises_with_a_path(name: str, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    value = 1 if name == "defer_accept" else NAMED[name][0]
    server, one = net.create_server(), net.Socket()
    with pytest.raises(ArgValueError, match=f"options.{name}.*no effect with a path"):
        server.listen({"path": path, name: value})
    assert not server.listening
    if name != "defer_accept":
        with pytest.raises(ArgValueError, match=f"options.{name}.*no effect with a path"):
            one.connect({"path": path, name: value})
        assert not one.connecting
    one.destroy()
    run()
    assert not os.path.exists(path)


def test_all_addresses_of_a_name_are_tried_with_the_options() -> None:
    seen: list[Any] = []

    def lookup(host: str, options: Any, callback: Any) -> None:
        found = [{"address": "::1", "family": 6}, {"address": "127.0.0.1", "family": 4}]
        next_tick(callback, None, found)

    server = net.create_server(lambda one: one.end())
    server.listen({"port": 0, "host": "0.0.0.0"})

    def begin() -> None:
        client = net.connect(
            server.address().port, "two.example", lookup=lookup, send_buffer=20_000
        )
        client.on("connect", lambda: seen.append(read(client, "send_buffer")))
        client.on("close", lambda had_error: server.close())
        client.on("connectionAttempt", lambda ip, port, family: seen.append(ip))
        client.resume()

    server.on("listening", begin)
    run()
    assert seen == ["::1", "127.0.0.1", NAMED["send_buffer"][2]]


def test_a_bound_socket_connects_with_the_options() -> None:
    listener = posix.create_server(("127.0.0.1", 0))
    client = net.Socket(handle=BoundSocket(host="127.0.0.1", port=0))
    seen: list[Any] = []
    client.connect(listener.getsockname()[1], "127.0.0.1", send_buffer=20_000)
    client.on("connect", lambda: (seen.append(read(client, "send_buffer")), client.destroy()))
    run()
    listener.close()
    assert seen == [NAMED["send_buffer"][2]]


WRONG: list[tuple[str, Any, type[Exception]]] = [
    ("user_timeout", -1, RangeError),
    ("user_timeout", "1", ArgTypeError),
    ("not_sent_low_water", 2**31, RangeError),
    ("receive_buffer", 0, RangeError),
    ("send_buffer", 1.5, RangeError),
    ("congestion", 5, ArgTypeError),
    ("congestion", "", ArgValueError),
    ("congestion", "x" * 16, ArgValueError),
    ("congestion", "é", ArgValueError),
    ("mark", -1, RangeError),
    ("linger", True, ArgTypeError),
    ("linger", 65536, RangeError),
]


@pytest.mark.spec("P0-02")
@pytest.mark.parametrize(("name", "value", "error"), WRONG)
def test_a_wrong_value_raises_before_anything_changes(
    name: str, value: Any, error: type[Exception]
) -> None:
    one, server = net.Socket(), net.create_server()
    with pytest.raises(error):
        one.connect({"port": 1, name: value})
    with pytest.raises(error):
        server.listen({"port": 0, name: value})
    assert not one.connecting
    assert not server.listening
    one.destroy()
    run()


@pytest.mark.spec("P7-03")
@pytest.mark.parametrize("name", [*NAMED, "mark", "defer_accept"])
def test_an_option_that_the_system_lacks_raises_when_it_is_asked_for(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Lacking:
        SOL_SOCKET, IPPROTO_TCP = SOCKET, TCP

    monkeypatch.setattr(_kernel, "_socket", Lacking)
    value = NAMED[name][0] if name in NAMED else 1
    server = net.create_server()
    with pytest.raises(ArgTypeError) as caught:
        server.listen({"port": 0, name: value})
    assert caught.value.code == "ERR_FEATURE_UNAVAILABLE_ON_PLATFORM"
    assert not server.listening
    if name != "defer_accept":
        with pytest.raises(ArgTypeError):
            net.connect({"port": 1, name: value})


# ---- Descriptors ---------------------------------------------------------------------------------


def test_fileno_is_the_descriptor_that_stays_ours() -> None:
    server = net.create_server()
    assert server.fileno() == net.Socket().fileno() == -1
    seen: list[Any] = []

    def act(client: net.Socket, accepted: net.Socket) -> None:
        with posix.socket(fileno=os.dup(client.fileno())) as same:
            seen.append(same.getsockname()[1] == client.local_port)
        accepted.on("close", lambda had_error: seen.append(accepted.fileno()))
        ended(client, accepted)

    connected(act)
    assert seen == [True, -1]
    server.listen(0)
    with posix.socket(fileno=os.dup(server.fileno())) as same:
        assert same.getsockname()[1] == server.address().port
    server.close()
    run()


@pytest.mark.spec("D121", "P7-04")
def test_a_detached_connection_goes_on_elsewhere() -> None:
    seen: list[Any] = []
    taken: list[posix.socket] = []

    def answered() -> None:
        with taken[0] as one:
            seen.append(one.recv(10))

    def act(client: net.Socket, accepted: net.Socket) -> None:
        accepted.on("close", lambda had_error: seen.append(("close", had_error)))
        client.once("data", lambda chunk: (seen.append(chunk), client.end("bye")))
        accepted.write("before ")
        number = accepted.fileno()
        fd = accepted.detach()
        assert fd != number
        assert accepted.destroyed
        assert accepted.fileno() == -1
        assert not os.get_inheritable(fd)
        taken.append(posix.socket(fileno=fd))
        taken[0].setblocking(True)
        taken[0].sendall(b"after")
        client.once("finish", answered)
        client.resume()

    connected(act)
    assert seen[0] == ("close", False)
    assert seen[1].startswith(b"before")
    assert seen[2] == b"bye"


def test_a_detached_connection_may_be_opened_again() -> None:
    seen: list[Any] = []

    def act(client: net.Socket, accepted: net.Socket) -> None:
        again = net.Socket(fd=accepted.detach())
        again.on("data", lambda chunk: (seen.append(chunk), again.end()))
        client.end("x")
        client.resume()

    connected(act)
    assert seen == [b"x"]


@pytest.mark.parametrize(
    "why", ["queued", "buffered", "ended", "corked", "readers' bytes", "half a character"]
)
def test_detach_needs_a_socket_with_nothing_under_way(why: str) -> None:
    seen: list[Any] = []

    def act(client: net.Socket, accepted: net.Socket) -> None:
        if why == "queued":
            while client.write(bytes(1 << 20)):
                pass
        elif why == "buffered":
            client.pause()
            client.unshift(b"x")
        elif why == "ended":
            client.end()
        elif why == "corked":
            client.cork()
        elif why == "half a character":
            client.set_encoding("utf8")
            accepted.write("ä".encode()[:1])
            set_timeout(refused, 20, client.on("data", seen.append), accepted)
            return
        else:
            client.set_framing(framing.Lines())
            accepted.write("no line yet")
            client.on("data", seen.append)
            set_timeout(refused, 20, client, accepted)
            return
        refused(client, accepted)

    def refused(client: net.Socket, accepted: net.Socket) -> None:
        with pytest.raises(StateError) as caught:
            client.detach()
        seen.append(caught.value.code)
        assert not client.destroyed
        client.destroy()
        accepted.destroy()

    connected(act)
    assert seen == ["ERR_INVALID_STATE"]


def test_detach_needs_a_connection() -> None:
    with pytest.raises(ClosedError) as caught:
        net.Socket().detach()
    assert caught.value.code == "ERR_SOCKET_CLOSED"
    server = net.create_server(lambda one: one.destroy()).listen(0)
    one = net.connect(server.address().port, "127.0.0.1")
    with pytest.raises(StateError) as state:
        one.detach()
    assert state.value.code in ("ERR_INVALID_STATE", "ERR_SOCKET_CLOSED")
    one.on("close", lambda had_error: server.close())
    one.on("error", lambda error: None)
    one.resume()
    run()


# ---- The peer of a unix socket -------------------------------------------------------------------


@pytest.mark.skipif(not (LINUX or sys.platform == "darwin"), reason="of Linux and macOS")
@pytest.mark.spec("D122", "P7-05")
def test_the_peer_of_a_unix_socket_is_known(tmp_path: Path) -> None:
    seen: list[Any] = []

    def act(client: net.Socket, accepted: net.Socket) -> None:
        for one in (client, accepted):
            found = one.peer_credentials()
            pid, uid, gid = found
            assert (found.pid, found.uid, found.gid) == (pid, uid, gid)
            seen.append((pid, uid, gid))
        ended(client, accepted)

    connected(act, {"path": str(tmp_path / "s"), "port": None})
    assert seen == [(os.getpid(), os.geteuid(), os.getegid())] * 2


def test_who_has_no_peer_or_one_over_tcp_has_no_credentials(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ClosedError):
        net.Socket().peer_credentials()
    seen: list[Any] = []

    def act(client: net.Socket, accepted: net.Socket) -> None:
        with pytest.raises(ArgTypeError) as caught:
            client.peer_credentials()
        seen.append(caught.value.code)
        ended(client, accepted)

    connected(act)
    assert seen == ["ERR_INVALID_HANDLE_TYPE"]

    class Elsewhere(net.Socket):
        def _peer_credentials(self) -> int:
            return UV_ENOTSUP

    with pytest.raises(ArgTypeError) as caught:
        Elsewhere().peer_credentials()
    assert caught.value.code == "ERR_FEATURE_UNAVAILABLE_ON_PLATFORM"
