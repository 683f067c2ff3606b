"""listen() on handles and descriptors, its signal, and which of its decisions comes first."""

from __future__ import annotations

import os
import socket as posix
import stat
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import pyuvnet
from pyuvnet import AbortController, BoundSocket, diagnostics, net
from tests.support.cases import cases

linux = pytest.mark.skipif(sys.platform != "linux", reason="abstract sockets are Linux's")
TYPE, VALUE = "ERR_INVALID_ARG_TYPE", "ERR_INVALID_ARG_VALUE"
NEITHER = 'The argument \'options\' must have the property "port" or "path". Received '
WRONG = "The argument 'options' is invalid. Received "


def failure_of(call: Any) -> Any:
    with pytest.raises(Exception) as caught:  # noqa: PT011 (the code is what is checked)
        call()
    return caught.value


def bound_fd(family: Any = posix.AF_INET, address: Any = ("127.0.0.1", 0)) -> int:
    with posix.socket(family) as made:
        made.bind(address)
        return made.detach()


def inode(fd: int) -> int | None:
    """Which file a descriptor is of, since its number is soon another's; None if closed."""
    try:
        return os.fstat(fd).st_ino
    except OSError:
        return None


def echo_once(server: net.Server, **target: Any) -> list[str]:
    """Connect once, close everything, and return what happened."""
    seen: list[str] = []
    server.on("connection", lambda s: (seen.append("connection"), s.resume(), server.close()))
    server.on("error", lambda error: seen.append(error.code))

    def connect() -> None:
        where = server.address()
        c = net.create_connection(**(target or {"port": where["port"], "host": where["address"]}))
        c.on("connect", lambda: (seen.append("connect"), c.end()))

    server.on("listening", connect)
    pyuvnet.run()
    return sorted(seen)


# ---- Descriptors -------------------------------------------------------------------------------

FD_FORMS: list[Any] = [
    lambda fd: (({"fd": fd},), {}),
    lambda fd: (({"fd": float(fd), "port": -1},), {}),
    lambda fd: ((), {"fd": fd}),
    lambda fd: ((), {"fd": fd, "path": 5}),
    lambda fd: (({"handle": {"fd": fd}},), {}),
    lambda fd: ((), {"handle": SimpleNamespace(fd=fd)}),
    lambda fd: ((SimpleNamespace(fd=fd),), {}),
    lambda fd: ((SimpleNamespace(fd=fd), 5), {}),
]


@pytest.mark.spec("N028", "N117")
@cases("form", FD_FORMS)
def test_a_bound_descriptor_is_taken_over(form: Any) -> None:
    fd = bound_fd()
    with posix.socket(fileno=os.dup(fd)) as view:
        name = view.getsockname()
    file = inode(fd)
    args, keywords = form(fd)
    server = net.create_server()
    assert server.listen(*args, **keywords) is server
    assert server.listening
    assert server.address() == {"address": name[0], "family": "IPv4", "port": name[1]}
    assert server.connection_key == "null:null:null"
    assert echo_once(server) == ["connect", "connection"]
    assert inode(fd) != file


def test_a_descriptor_that_listens_already() -> None:
    with posix.create_server(("127.0.0.1", 0)) as made:
        fd = made.detach()
    assert echo_once(net.create_server().listen(fd=fd)) == ["connect", "connection"]


def queue_limit(server: net.Server) -> int:
    return int(server.stats().accept_queue_limit or 0)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells how long the queue may be")
@pytest.mark.spec("D127", "P9-04")
def test_a_descriptor_that_listens_keeps_its_backlog() -> None:
    with posix.create_server(("127.0.0.1", 0), backlog=7) as made:
        for options, expected in (({}, 7), ({"backlog": 9}, 9), ({}, 9)):
            server = net.create_server().listen({"fd": os.dup(made.fileno()), **options})
            assert queue_limit(server) == expected
            server.close()
    bound = net.create_server().listen(fd=bound_fd())
    assert queue_limit(bound) == 511
    bound.close()
    pyuvnet.run()


def test_a_unix_socket_that_listens_is_taken_over(tmp_path: Path) -> None:
    """How long its queue may be is not known: it is the longest that the system allows."""
    path = str(tmp_path / "sock")
    with posix.socket(posix.AF_UNIX) as made:
        made.bind(path)
        made.listen(1)
        server = net.create_server().listen(fd=os.dup(made.fileno()))
    waiting = []
    for _ in range(50):
        one = posix.socket(posix.AF_UNIX)
        one.setblocking(False)
        # A unix socket fails at once where the queue is full.
        one.connect(path)
        waiting.append(one)
    for one in waiting:
        one.close()
    server.close()
    pyuvnet.run()


def test_a_unix_socket_by_its_descriptor(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    server = net.create_server().listen(fd=bound_fd(posix.AF_UNIX, str(path)))
    assert server.listening
    assert server.address() is None
    assert echo_once(server, path=str(path)) == ["connect", "connection"]
    # Who bound it takes it away.
    assert path.exists()


@pytest.mark.spec("N117")
@pytest.mark.parametrize("kind", ["udp", "file", "unbound unix", "connected", "stdin"])
def test_a_descriptor_that_cannot_listen(kind: str, tmp_path: Path) -> None:
    listener = posix.create_server(("127.0.0.1", 0))
    if kind == "udp":
        fd = posix.socket(type=posix.SOCK_DGRAM).detach()
    elif kind == "file":
        fd = os.open(tmp_path / "file", os.O_CREAT | os.O_RDWR)
    elif kind == "unbound unix":
        fd = posix.socket(posix.AF_UNIX).detach()
    elif kind == "connected":
        fd = posix.create_connection(listener.getsockname()).detach()
    else:
        fd = 0
    file = inode(fd)
    errors: list[Any] = []
    server = net.create_server(lambda s: None).on("error", errors.append)
    assert server.listen({"fd": fd}) is server
    assert not server.listening
    assert errors == []
    pyuvnet.run()
    ((error,),) = [errors]
    assert (error.code, error.syscall) == ("EINVAL", "listen")
    assert (error.address, error.port) == (None, None)
    assert error.message == "listen EINVAL: invalid argument"
    listener.close()
    # Ours is only what could be opened as a stream.
    assert (inode(fd) == file) == (kind in ("udp", "file", "stdin"))
    if kind in ("udp", "file"):
        os.close(fd)


@pytest.mark.parametrize("number", [9999, 1.5, 2**40, float("inf")])
def test_a_number_that_is_no_descriptor(number: float) -> None:
    errors: list[Any] = []
    server = net.create_server().on("error", errors.append).listen({"fd": number})
    assert not server.listening
    pyuvnet.run()
    assert [error.code for error in errors] == ["EINVAL"]


def test_a_descriptor_that_the_loop_has_already() -> None:
    fd = bound_fd()
    first = net.create_server().listen(fd=fd)
    errors: list[Any] = []
    second = net.create_server().on("error", errors.append).listen(fd=fd)
    assert not second.listening
    pyuvnet.next_tick(first.close)
    pyuvnet.run()
    ((error,),) = [errors]
    assert (error.code, error.message) == ("EEXIST", "listen EEXIST: file already exists")
    assert isinstance(error, FileExistsError)


# ---- Handles -----------------------------------------------------------------------------------

HANDLE_FORMS: list[Any] = [
    lambda handle: ((handle,), {}),
    lambda handle: ((handle, 5), {}),
    lambda handle: ((handle, None, 5), {}),
    lambda handle: (({"handle": handle, "port": -1, "host": 5, "signal": 5},), {}),
    lambda handle: ((), {"handle": handle}),
]


@pytest.mark.spec("N028", "N173")
@pytest.mark.parametrize("form", HANDLE_FORMS)
def test_a_bound_socket_is_adopted(form: Any) -> None:
    bound = BoundSocket(host="127.0.0.1")
    where = bound.address()
    args, keywords = form(bound)
    server = net.create_server().listen(*args, **keywords)
    assert server.listening
    assert server.address() == where
    assert server.connection_key == "-1:null:-1"
    for call in (bound.address, bound.fd, bound.close, lambda: net.create_server().listen(bound)):
        assert failure_of(call).code == "ERR_SOCKET_HANDLE_ADOPTED"
    assert echo_once(server) == ["connect", "connection"]
    with posix.socket() as again:
        again.setsockopt(posix.SOL_SOCKET, posix.SO_REUSEADDR, 1)
        again.bind((where.address, where.port))


def test_a_bound_path_is_adopted_with_its_file(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    server = net.create_server().listen(BoundSocket(path=str(path)))
    assert server.address() == str(path)
    assert echo_once(server, path=str(path)) == ["connect", "connection"]
    assert not path.exists()


def test_a_bound_socket_adopted_or_closed_changes_nothing() -> None:
    bound = BoundSocket()
    bound.close()
    server = net.create_server()
    for call in (
        lambda: server.listen(bound, lambda: None),
        lambda: server.listen(handle=bound, callback=lambda: None),
    ):
        assert failure_of(call).code == "ERR_SOCKET_HANDLE_ADOPTED"
    assert server.listener_count("listening") == 0
    assert not server.listening
    pyuvnet.run()


def test_a_server_that_listens_does_not_adopt() -> None:
    with BoundSocket() as bound:
        server = net.create_server().listen(0)
        assert failure_of(lambda: server.listen(bound)).code == "ERR_SERVER_ALREADY_LISTEN"
        assert bound.address()
        server.close()
    pyuvnet.run()


@linux
def test_of_two_sockets_bound_to_one_port_the_second_cannot_listen() -> None:
    one = BoundSocket(host="127.0.0.1")
    two = BoundSocket(host="127.0.0.1", port=one.address().port)
    errors: list[Any] = []
    first = net.create_server().listen(one)
    second = net.create_server().on("error", errors.append).listen(two)
    assert (first.listening, second.listening) == (True, False)
    pyuvnet.next_tick(first.close)
    pyuvnet.run()
    ((error,),) = [errors]
    assert (error.code, error.syscall, error.address, error.port) == (
        "EADDRINUSE", "listen", None, None,
    )  # fmt: skip
    assert failure_of(two.fd).code == "ERR_SOCKET_HANDLE_ADOPTED"


@pytest.mark.spec("N028", "D20")
@pytest.mark.parametrize("closes_first", ["owner", "guest"])
def test_two_servers_share_one_socket_of_the_system(closes_first: str) -> None:
    seen: list[str] = []
    owner = net.create_server(lambda s: (seen.append("owner"), s.end())).listen(0)
    guest = net.create_server(lambda s: (seen.append("guest"), s.end()))
    assert guest.listen(owner) is guest
    assert guest.address() == owner.address()
    assert guest.connection_key == "-1:null:-1"
    port = owner.address()["port"]
    first, second = (owner, guest) if closes_first == "owner" else (guest, owner)
    first.close()
    assert second.listening
    assert second.address()["port"] == port
    c = net.create_connection(port, "127.0.0.1").resume()
    c.on("close", lambda had_error: second.close())
    pyuvnet.run()
    assert seen == ["guest" if closes_first == "owner" else "owner"]
    with posix.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_connection_to_a_shared_socket_comes_once() -> None:
    seen: list[Any] = []

    def accepted(s: net.Socket) -> None:
        seen.append(s.remote_port)
        s.end()
        if len(seen) == 20:
            owner.close()
            guest.close()

    owner = net.create_server(accepted).listen(0)
    guest = net.create_server(accepted).listen(handle=owner)
    clients = [net.create_connection(owner.address()["port"], "127.0.0.1") for _ in range(20)]
    for client in clients:
        client.resume()
    pyuvnet.run()
    assert len(set(seen)) == 20


@pytest.mark.spec("D20")
def test_a_shared_path_goes_with_who_made_it(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    owner = net.create_server().listen(str(path))
    guest = net.create_server().listen(owner)
    assert guest.address() == str(path)
    guest.close()
    assert path.exists()
    assert echo_once(owner, path=str(path)) == ["connect", "connection"]
    assert not path.exists()


def test_listening_on_the_socket_of_a_connection_fails_and_leaves_it_alone() -> None:
    events: list[str] = []

    def accepted(s: net.Socket) -> None:
        other = net.create_server().on("error", lambda error: events.append(error.code))
        other.listen(s)
        assert not other.listening
        pyuvnet.set_immediate(s.end, "alive")
        server.close()

    server = net.create_server(accepted).listen(0)
    c = net.create_connection(server.address()["port"], "127.0.0.1")
    c.on("data", lambda data: events.append(data.decode()))
    pyuvnet.run()
    assert events == ["EINVAL", "alive"]


def test_listening_on_the_socket_that_adopted_a_bound_one() -> None:
    bound = BoundSocket(host="127.0.0.1")
    where = bound.address()
    holder = net.Socket(handle=bound)
    server = net.create_server().listen(holder)
    assert server.address() == where
    holder.destroy()
    assert echo_once(server) == ["connect", "connection"]


@cases("form", [lambda x: ((x,), {}), lambda x: ((), {"handle": x})])
@cases(
    ("make", "shown"),
    [
        (net.Socket, "Socket {}"),
        (net.create_server, "Server {}"),
        (object, "object {}"),
        (list, "[]"),
        (lambda: SimpleNamespace(fd="5"), "SimpleNamespace { fd: '5' }"),
        (lambda: SimpleNamespace(fd=True), "SimpleNamespace { fd: true }"),
    ],
)
def test_what_has_no_handle(form: Any, make: Any, shown: str) -> None:
    server = net.create_server()
    args, keywords = form(make())
    error = failure_of(lambda: server.listen(*args, **keywords))
    assert (error.code, error.message) == (VALUE, NEITHER + shown)
    assert not server.listening
    pyuvnet.run()


# ---- Order and texts of the decisions ----------------------------------------------------------


@pytest.mark.spec("N029", "D07")
@cases(
    ("args", "keywords", "code", "text"),
    [
        (({"port": 0, "signal": {"aborted": False}},), {}, TYPE, None),
        ((), {"fd": -1}, VALUE, NEITHER + "{ fd: -1 }"),
        ((), {"handle": 5}, VALUE, NEITHER + "5"),
        (({"handle": {"port": 0}},), {}, VALUE, NEITHER + "{ port: 0 }"),
        (({"port": False, "path": 5},), {}, VALUE, WRONG + "{ port: false, path: 5 }"),
        ((), {"path": 5, "readable_all": True}, VALUE, WRONG + "{ path: 5, readableAll: true }"),
        (({"port": -1, "host": 5},), {}, "ERR_SOCKET_BAD_PORT",
            "options.port should be >= 0 and < 65536. Received type number (-1)."),
        (({"port": "x", "path": "p"},), {}, "ERR_SOCKET_BAD_PORT", None),
        (({"port": 0, "backlog": "x"},), {}, TYPE, None),
        (({"port": 0, "backlog": 1.5},), {}, "ERR_OUT_OF_RANGE", None),
        (({"port": 0, "backlog": 2**40},), {}, "ERR_OUT_OF_RANGE", None),
        ((), {"callback": 5}, TYPE, None),
        ((0, "::1", 5, 6), {"prot": 0}, "ERR_UNKNOWN_OPTION", None),
        (({"readable_all": 1, "readableAll": 1},), {}, "ERR_UNKNOWN_OPTION", None),
    ],
)  # fmt: skip
def test_wrong_arguments(args: Any, keywords: Any, code: str, text: str | None) -> None:
    server = net.create_server()
    given = (*args, lambda: None) if "callback" not in keywords else args
    error = failure_of(lambda: server.listen(*given, **keywords))
    assert error.code == code
    if text is not None:
        assert error.message == text
    assert not server.listening
    assert server.event_names() == []
    assert server.connection_key is None
    # While it listens, that comes first, whatever else is wrong.
    server.listen(0)
    assert failure_of(lambda: server.listen(*given)).code == "ERR_SERVER_ALREADY_LISTEN"
    server.close()
    pyuvnet.run()


@linux
@pytest.mark.parametrize("option", ["readableAll", "writableAll", "readable_all", "writable_all"])
def test_an_abstract_path_has_no_rights_to_give(option: str) -> None:
    path = f"\0pyuvnet-forms-{os.getpid()}"
    server = net.create_server()
    options = {"path": path, option: True}
    error = failure_of(lambda: server.listen(options))
    assert error.code == VALUE
    assert error.message == (
        "The argument 'options' can not set readableAll or writableAllt to true when path is "
        f"abstract unix socket. Received {{ path: '\\x00{path[1:]}', {option}: true }}"
    )
    assert not server.listening
    # Only True counts.
    server.listen({"path": path, option: 1})
    assert server.listening
    server.close()
    pyuvnet.run()


@pytest.mark.spec("N158")
@pytest.mark.parametrize(
    ("options", "mode"),
    [
        ({"readable_all": True}, 0o444),
        ({"writableAll": True}, 0o222),
        ({"readable_all": True, "writable_all": True}, 0o666),
        ({"readable_all": 1, "writable_all": "yes"}, 0o700),
    ],
)
def test_rights_of_the_file(options: dict[str, Any], mode: int, tmp_path: Path) -> None:
    path = tmp_path / "sock"
    before = os.umask(0o077)
    try:
        server = net.create_server().listen({"path": str(path), **options})
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    server.close()
    pyuvnet.run()


@pytest.mark.spec("D23")
def test_a_file_that_is_gone_by_then_has_had_its_rights(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    events: list[str] = []
    modes: list[int] = []
    server = net.create_server()
    for event in ("listening", "close", "error"):
        server.on(event, lambda *args, event=event: events.append(event))

    def gone(message: Any, name: str) -> None:
        modes.append(stat.S_IMODE(path.stat().st_mode))
        os.unlink(path)

    diagnostics.subscribe("tracing:net.server.listen:asyncEnd", gone)
    try:
        server.listen(path=str(path), readable_all=True)
    finally:
        diagnostics.unsubscribe("tracing:net.server.listen:asyncEnd", gone)
    assert modes == [0o444]
    assert server.listening
    server.on("listening", server.close)
    pyuvnet.run()
    assert events == ["listening", "close"]


def test_rights_of_a_path_that_cannot_be_bound(tmp_path: Path) -> None:
    errors: list[Any] = []
    server = net.create_server().on("error", errors.append)
    server.listen(path=str(tmp_path / "no" / "such"), readable_all=True)
    pyuvnet.run()
    assert [error.code for error in errors] == ["EACCES"]


@pytest.mark.spec("N119")
@cases(
    ("args", "keywords"),
    [
        ((), {}),
        ((None,), {}),
        ((), {"host": None, "path": None, "fd": None, "handle": None, "signal": None}),
        (({"port": None, "path": ""},), {}),
        (({"port": None, "fd": None},), {}),
        (({},), {"port": 0}),
        ((0,), {"port": None}),
    ],
)
def test_without_any_place_the_system_chooses_a_port(args: Any, keywords: Any) -> None:
    server = net.create_server().listen(*args, **keywords)
    assert server.address()["port"] > 0
    assert server.connection_key == "6::::0"
    server.close()
    pyuvnet.run()


@pytest.mark.spec("N029", "D06")
def test_a_path_wins_over_what_is_no_port(tmp_path: Path) -> None:
    path = str(tmp_path / "sock")
    for args, keywords in [
        (({"port": None, "path": path},), {}),
        ((None,), {"path": path}),
        (({"port": False, "path": path},), {}),
    ]:
        server = net.create_server().listen(*args, **keywords)
        assert server.address() == path
        assert server.connection_key == f"-1:{path}:-1"
        server.close()
        pyuvnet.run()


def test_the_key_says_what_was_asked_for() -> None:
    keys: list[Any] = []
    server = net.create_server()
    assert server.connection_key is server._connectionKey is None
    server.listen(0, "127.0.0.1", callback=lambda: (keys.append(server._connectionKey),
                                                    server.close()))  # fmt: skip
    pyuvnet.run()
    assert keys == ["4:127.0.0.1:0"]


# ---- signal ------------------------------------------------------------------------------------


def test_a_closed_server_forgets_its_signal() -> None:
    controller = AbortController()
    server = net.create_server().listen(port=0, signal=controller.signal)
    assert controller.signal.listener_count("abort") == 1
    server.close()
    assert controller.signal.listener_count("abort") == 0
    server.listen(port=0)
    controller.abort()
    assert server.listening
    server.close()
    pyuvnet.run()


def test_the_signal_of_a_listen_that_failed_is_replaced() -> None:
    first, second = AbortController(), AbortController()
    server = net.create_server().on("error", lambda error: None)
    server.listen(fd=9999, signal=first.signal)
    server.listen(port=0, signal=second.signal)
    first.abort()
    assert server.listening
    second.abort()
    assert not server.listening
    pyuvnet.run()


def test_a_descriptor_with_a_signal() -> None:
    controller = AbortController()
    fd = bound_fd()
    file = inode(fd)
    server = net.create_server().listen(fd=fd, signal=controller.signal)
    server.on("listening", controller.abort)
    pyuvnet.run()
    assert not server.listening
    assert inode(fd) != file


def test_a_handle_ignores_the_signal_as_in_node() -> None:
    controller = AbortController()
    server = net.create_server().listen(handle=BoundSocket(), signal=controller.signal)
    controller.abort()
    assert server.listening
    server.close()
    pyuvnet.run()
