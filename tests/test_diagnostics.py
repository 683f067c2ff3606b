"""Diagnostics hooks: what is published, when, to whom, and that it disturbs nobody."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pyuvnet
from pyuvnet import BoundSocket, diagnostics, net
from tests.support.cases import cases

CLIENT, SERVER = "net.client.socket", "net.server.socket"
START, END, ERROR = (
    f"tracing:net.server.listen:{phase}" for phase in ("asyncStart", "asyncEnd", "error")
)
NAMES = [CLIENT, SERVER, START, END, ERROR]


def failure_of(call: Any) -> Any:
    with pytest.raises(Exception) as caught:  # noqa: PT011 (the code is what is checked)
        call()
    return caught.value


@pytest.fixture
def watch() -> Iterator[Callable[[str, Any], None]]:
    """watch(name, fn) subscribes for the time of the test."""
    made: list[tuple[str, Any]] = []

    def subscribe(name: str, fn: Any) -> None:
        diagnostics.subscribe(name, fn)
        made.append((name, fn))

    yield subscribe
    for name, fn in made:
        assert diagnostics.unsubscribe(name, fn)
    assert not any(map(diagnostics.has_subscribers, NAMES))


@pytest.mark.spec("N175")
def test_the_life_of_a_server_and_a_connection(watch: Any) -> None:
    seen: list[Any] = []
    for name in NAMES:
        watch(name, lambda message, name: seen.append((name, list(message))))
    server = net.create_server(lambda s: (seen.append("connection"), s.end(), server.close()))
    server.on("listening", lambda: seen.append("listening"))
    server.listen(0)
    seen.append("returned")
    c = net.create_connection(server.address()["port"], "127.0.0.1").resume()
    c.on("connect", lambda: None)
    pyuvnet.run()
    assert seen == [
        (START, ["server", "options"]),
        (END, ["server"]),
        "returned",
        (CLIENT, ["socket"]),
        "listening",
        "connection",
        (SERVER, ["socket"]),
    ]


def test_what_the_messages_hold(watch: Any) -> None:
    seen: dict[str, Any] = {}

    def keep(message: Any, name: str) -> None:
        seen[name] = message
        if name == CLIENT:
            assert message.socket.pending
        if name == START:
            assert not message["server"].listening
        if name == END:
            assert message.server.listening

    for name in NAMES:
        watch(name, keep)
    accepted: list[net.Socket] = []
    server = net.create_server(lambda s: (accepted.append(s), s.end(), server.close()))
    server.listen({"port": 0, "ipv6_only": False, "readableAll": True, "else": 1})
    c = net.create_connection(server.address()["port"], "127.0.0.1").resume()
    pyuvnet.run()
    assert seen[CLIENT] == {"socket": c}
    assert seen[SERVER] == {"socket": accepted[0]}
    assert seen[START].server is seen[END].server is server
    assert seen[START].options == {"port": 0, "ipv6Only": False, "readableAll": True}
    assert ERROR not in seen


@pytest.mark.spec("N175")
@pytest.mark.parametrize("kind", ["taken", "taken host", "path", "fd", "name"])
def test_a_failing_listen_is_told_before_its_error(kind: str, watch: Any, tmp_path: Path) -> None:
    seen: list[Any] = []
    other = net.create_server().listen(0)
    port = other.address()["port"]
    place: dict[str, Any] = {
        "taken": {"port": port},
        "taken host": {"port": port, "host": "::"},
        "path": {"path": str(tmp_path / "no" / "such")},
        "fd": {"fd": 9999},
        "name": {"port": 0, "host": "no.such.name.invalid"},
    }[kind]
    watch(START, lambda message, name: seen.append("start"))
    watch(END, lambda message, name: seen.append("end"))
    watch(ERROR, lambda message, name: seen.append((message.server, message.error)))
    server = net.create_server()
    server.on("error", lambda error: (seen.append(error), other.close()))
    server.listen(place)
    pyuvnet.run()
    start, told, error = seen
    assert (start, told) == ("start", (server, error))


@pytest.mark.spec("D21")
def test_a_listen_that_is_refused_is_not_told(watch: Any) -> None:
    seen: list[Any] = []
    for name in NAMES:
        watch(name, lambda message, name: seen.append(name))
    assert failure_of(lambda: net.create_server().listen(port=-1)).code == "ERR_SOCKET_BAD_PORT"
    assert failure_of(lambda: net.create_connection({})).code == "ERR_MISSING_ARGS"
    assert seen == []


@pytest.mark.parametrize("kind", ["path", "bound"])
def test_other_forms_of_listening(kind: str, watch: Any, tmp_path: Path) -> None:
    seen: list[Any] = []
    watch(START, lambda message, name: seen.append(list(message.options)))
    watch(END, lambda message, name: seen.append(message.server.listening))
    server = net.create_server()
    server.listen(str(tmp_path / "sock") if kind == "path" else BoundSocket())
    server.close()
    pyuvnet.run()
    assert seen == [["path" if kind == "path" else "handle"], True]


def test_a_connection_over_a_path(watch: Any, tmp_path: Path) -> None:
    seen: list[Any] = []
    for name in (CLIENT, SERVER):
        watch(name, lambda message, name: seen.append((name, message.socket)))
    server = net.create_server(lambda s: (s.end(), server.close())).listen(str(tmp_path / "sock"))
    c = net.create_connection(server.address()).resume()
    pyuvnet.run()
    assert seen[0] == (CLIENT, c)
    assert seen[1][0] == SERVER


def test_each_connect_is_told(watch: Any) -> None:
    seen: list[Any] = []
    watch(CLIENT, lambda message, name: seen.append(message.socket))
    c = net.Socket().on("error", lambda error: None)
    c.on("close", lambda had_error: len(seen) < 3 and c.connect(1, "127.0.0.1"))
    c.connect(1, "127.0.0.1")
    pyuvnet.run()
    assert seen == [c, c, c]


def test_what_a_subscriber_raises_comes_in_the_next_tick_and_disturbs_nobody(watch: Any) -> None:
    seen: list[Any] = []

    def failing(message: Any, name: str) -> None:
        seen.append("failing")
        raise ValueError(name)

    watch(START, failing)
    watch(START, lambda message, name: seen.append("second"))
    pyuvnet.set_exception_handler(lambda error: seen.append(error.args))
    server = net.create_server().listen(0)
    assert server.listening
    seen.append("returned")
    server.on("listening", lambda: (seen.append("listening"), server.close()))
    pyuvnet.run()
    assert seen == ["failing", "second", "returned", (START,), "listening"]


def test_without_a_handler_it_comes_out_of_run(watch: Any) -> None:
    def failing(message: Any, name: str) -> None:
        raise ValueError("X")

    watch(END, failing)
    server = net.create_server().listen(0)
    server.on("listening", server.close)
    with pytest.raises(ValueError, match="X"):
        pyuvnet.run()
    pyuvnet.run()
    assert not server.listening


def test_ctrl_c_in_a_subscriber_is_not_put_off(watch: Any) -> None:
    def failing(message: Any, name: str) -> None:
        raise KeyboardInterrupt

    watch(START, failing)
    with pytest.raises(KeyboardInterrupt):
        net.create_server().listen(0)


def test_a_subscriber_that_acts_on_what_it_is_told_of(watch: Any) -> None:
    events: list[str] = []
    watch(END, lambda message, name: message.server.close())
    server = net.create_server()
    for event in ("listening", "close"):
        server.on(event, lambda event=event: events.append(event))
    assert server.listen(0) is server
    assert not server.listening
    pyuvnet.run()
    assert events == ["close"]


def test_a_subscriber_that_listens_first(watch: Any) -> None:
    other = BoundSocket()

    def listen(message: Any, name: str) -> None:
        if "handle" in message.options:
            message.server.listen(0)

    watch(START, listen)
    server = net.create_server()
    assert failure_of(lambda: server.listen(other)).code == "ERR_SERVER_ALREADY_LISTEN"
    assert other.address()
    other.close()
    server.close()
    pyuvnet.run()


def test_the_same_subscriber_twice_and_while_it_is_told(watch: Any) -> None:
    seen: list[int] = []

    def once(message: Any, name: str) -> None:
        seen.append(1)
        assert diagnostics.unsubscribe(name, once)

    def listen() -> None:
        net.create_server().listen(0).close()

    diagnostics.subscribe(START, once)
    diagnostics.subscribe(START, once)
    listen()
    assert seen == [1, 1]
    listen()
    assert seen == [1, 1]
    assert diagnostics.unsubscribe(START, once) is False
    pyuvnet.run()


def test_subscribers_are_the_process_s(watch: Any) -> None:
    seen: list[Any] = []
    watch(END, lambda message, name: seen.append(threading.current_thread()))

    def program() -> None:
        server = net.create_server().listen(0)
        server.close()
        pyuvnet.run()

    thread = threading.Thread(target=program)
    thread.start()
    thread.join()
    assert seen == [thread]


@cases("function", ["subscribe", "unsubscribe"])
@cases(
    ("arguments", "code"),
    [
        (("net.client.sockets", print), "ERR_INVALID_ARG_VALUE"),
        (("", print), "ERR_INVALID_ARG_VALUE"),
        ((None, print), "ERR_INVALID_ARG_TYPE"),
        ((5, print), "ERR_INVALID_ARG_TYPE"),
        ((CLIENT, None), "ERR_INVALID_ARG_TYPE"),
        ((CLIENT, "print"), "ERR_INVALID_ARG_TYPE"),
    ],
)
def test_wrong_arguments(function: str, arguments: Any, code: str) -> None:
    assert failure_of(lambda: getattr(diagnostics, function)(*arguments)).code == code
    assert not any(map(diagnostics.has_subscribers, NAMES))


def test_their_names() -> None:
    assert diagnostics.hasSubscribers is diagnostics.has_subscribers
    assert failure_of(lambda: diagnostics.has_subscribers("x")).code == "ERR_INVALID_ARG_VALUE"
