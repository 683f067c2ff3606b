"""Attempts, as connect() shows them: one address after another, each in its time."""

from __future__ import annotations

import contextlib
import socket as posix
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import pyuvnet
from pyuvnet import net
from pyuvnet._client.connecting import Attempts
from tests.support import hosts as support

# Only there are all of 127.0.0.0/8 addresses of this machine, and full queues drop who asks.
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's loopback")

ONE, TWO, THREE = "127.0.0.1", "127.0.0.2", "127.0.0.3"
EVENTS = (
    "lookup", "connectionAttempt", "connectionAttemptFailed", "connectionAttemptTimeout",
    "connect", "ready", "error", "close",
)  # fmt: skip


@pytest.fixture
def hosts() -> Iterator[Callable[[dict[str, str]], int]]:
    """hosts({address: "listen" | "refuse" | "hang"}) sets them up at one port, and gives it."""
    with contextlib.ExitStack() as stack:

        def open_all(kinds: dict[str, str]) -> int:
            wanted = {
                kind: tuple(host for host, each in kinds.items() if each == kind)
                for kind in ("listen", "refuse", "hang")
            }
            port, _ = stack.enter_context(support.hosts(**wanted))
            return port

        yield open_all


def connecting(trace: Any, port: int, addresses: list[str], **options: Any) -> net.Socket:
    """A socket that connects to a name with these addresses; it destroys itself when connected."""

    def lookup(host: str, asked: Any, callback: Any) -> None:
        assert asked.get("all", False) is True
        found = [{"address": each, "family": 6 if ":" in each else 4} for each in addresses]
        pyuvnet.next_tick(callback, None, found)

    c = net.Socket(signal=options.pop("signal", None), block_list=options.pop("block_list", None))
    for event in EVENTS:
        c.on(event, lambda *args, event=event: trace(event, *shown(event, args)))
    c.on("ready", c.destroy)
    options.setdefault("auto_select_family_attempt_timeout", 20)
    return c.connect({"port": port, "host": "some.where", "lookup": lookup, **options})


def shown(event: str, args: tuple[Any, ...]) -> list[Any]:
    """The arguments of an event, without what all of them share: port, family and name."""
    if event == "lookup":
        return [args[1]]
    if event.startswith("connectionAttempt"):
        return [args[0], *(each.code for each in args[3:])]
    return [getattr(each, "code", each) for each in args]


@pytest.mark.spec("N040", "N041", "N042")
def test_the_arguments_of_the_events(hosts: Any) -> None:
    port = hosts({"::1": "refuse", ONE: "hang", TWO: "listen"})
    seen: list[Any] = []
    c = connecting(lambda *args: None, port, ["::1", ONE, TWO])
    for event in EVENTS[:4]:
        c.on(event, lambda *args, event=event: seen.append((event, *args)))
    pyuvnet.run()
    failed = seen[4]
    assert seen == [
        ("lookup", None, "::1", 6, "some.where"),
        ("lookup", None, ONE, 4, "some.where"),
        ("lookup", None, TWO, 4, "some.where"),
        ("connectionAttempt", "::1", port, 6),
        ("connectionAttemptFailed", "::1", port, 6, failed[4]),
        ("connectionAttempt", ONE, port, 4),
        ("connectionAttemptTimeout", ONE, port, 4),
        ("connectionAttempt", TWO, port, 4),
    ]
    assert isinstance(failed[4], ConnectionRefusedError)
    assert str(failed[4]) == f"connect ECONNREFUSED ::1:{port}"


@pytest.mark.spec("N095")
def test_the_default_time_of_an_attempt_counts(hosts: Any, trace: Any) -> None:
    port = hosts({ONE: "hang", TWO: "listen"})
    before = net.get_default_auto_select_family_attempt_timeout()
    net.set_default_auto_select_family_attempt_timeout(10)
    try:
        connecting(trace, port, [ONE, TWO], auto_select_family_attempt_timeout=None)
        pyuvnet.run()
    finally:
        net.set_default_auto_select_family_attempt_timeout(before)
    assert ("connectionAttemptTimeout", ONE) in trace


@pytest.mark.spec("N170")
def test_when_all_fail_the_error_holds_all(hosts: Any, trace: Any) -> None:
    port = hosts({ONE: "hang", TWO: "refuse"})
    errors: list[Any] = []
    connecting(trace, port, [ONE, TWO]).on("error", errors.append)
    pyuvnet.run()
    assert trace[-2:] == [("error", "ETIMEDOUT"), ("close", True)]
    (error,) = errors
    assert isinstance(error, pyuvnet.AggregateError)
    assert (error.message, error.code, error.name) == ("", "ETIMEDOUT", "AggregateError")
    assert [(each.code, each.address, each.port) for each in error.errors] == [
        ("ETIMEDOUT", ONE, port),
        ("ECONNREFUSED", TWO, port),
    ]
    assert isinstance(error.errors[0], TimeoutError)
    assert error.as_group().exceptions == error.exceptions == tuple(error.errors)


@pytest.mark.spec("N093")
@pytest.mark.parametrize(
    "option",
    [
        {"auto_select_family": False},
        {"autoSelectFamily": False},
        {"family": 4},
        {"local_address": ONE},
        "the default",
    ],
)
def test_what_asks_for_one_address_only(hosts: Any, option: Any) -> None:
    port = hosts({ONE: "listen"})
    asked: list[Any] = []

    def lookup(host: str, options: Any, callback: Any) -> None:
        asked.append("all" in options)
        callback(None, ONE, 4)

    if option == "the default":
        net.set_default_auto_select_family(False)
        option = {}
    try:
        c = net.create_connection(port=port, host="some.where", lookup=lookup, **option)
    finally:
        net.set_default_auto_select_family(True)
    c.on("ready", c.destroy)
    pyuvnet.run()
    assert asked == [False]
    assert c.auto_select_family_attempted_addresses is None


@pytest.mark.spec("D57")
@pytest.mark.parametrize("event", ["lookup", "connectionAttempt", "connectionAttemptFailed"])
def test_destroy_in_a_listener_ends_it_all(hosts: Any, trace: Any, event: str) -> None:
    port = hosts({ONE: "refuse", TWO: "listen"})
    c = connecting(trace, port, [ONE, TWO])
    c.on(event, lambda *args: c.destroy())
    pyuvnet.run()
    steps = [
        ("lookup", ONE),
        ("lookup", TWO),
        ("connectionAttempt", ONE),
        ("connectionAttemptFailed", ONE, "ECONNREFUSED"),
    ]
    last = [each[0] for each in steps].index(event)
    assert trace == [*steps[: last + 1], ("close", False)]


def test_every_attempt_starts_from_the_local_port(hosts: Any, trace: Any) -> None:
    port = hosts({ONE: "refuse", TWO: "listen"})
    with posix.socket() as probe:
        probe.bind((TWO, 0))
        local_port = probe.getsockname()[1]
    ports: list[Any] = []
    c = connecting(trace, port, [ONE, TWO], local_port=local_port)
    c.on("connect", lambda: ports.append(c.local_port))
    pyuvnet.run()
    assert ports == [local_port]


def test_a_local_port_in_use_is_recorded_without_an_event(hosts: Any, trace: Any) -> None:
    port = hosts({ONE: "listen", TWO: "listen"})
    errors: list[Any] = []
    with posix.create_server(("0.0.0.0", 0)) as holder:
        c = connecting(trace, port, [ONE, TWO], local_port=holder.getsockname()[1])
        c.on("error", errors.append)
        pyuvnet.run()
    assert trace[2:] == [("error", "EADDRINUSE"), ("close", True)]
    assert [(each.code, each.syscall) for each in errors[0].errors] == [("EADDRINUSE", "bind")] * 2


def test_without_any_recorded_error_it_is_a_timeout(trace: Any) -> None:
    # Node has this error for a case that neither it nor we can come to by any program: each
    # attempt leaves an error. So the test makes it directly.
    c = net.create_connection(port=1, host="x", lookup=lambda *args: None)
    attempts: Any = c._connector
    assert type(attempts) is Attempts
    errors: list[Any] = []
    c.on("error", errors.append).on("close", trace.note("close"))
    attempts._fail()
    pyuvnet.run()
    (error,) = errors
    assert isinstance(error, pyuvnet.ConnectTimeoutError)
    assert isinstance(error, TimeoutError)
    assert (error.code, error.message) == (
        "ERR_SOCKET_CONNECTION_TIMEOUT",
        "Socket connection timeout",
    )
    assert trace == [("close", True)]
