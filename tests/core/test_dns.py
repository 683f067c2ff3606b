"""Lookup, as connect() and listen() show it."""

from __future__ import annotations

import socket as posix
from typing import Any

import pytest

import pyuvnet
from pyuvnet import net
from pyuvnet._core import dns


def test_the_flags_are_the_systems() -> None:
    assert (dns.AI_ADDRCONFIG, dns.AI_V4MAPPED, dns.AI_ALL) == (
        posix.AI_ADDRCONFIG,
        posix.AI_V4MAPPED,
        posix.AI_ALL,
    )


@pytest.mark.spec("N047")
def test_addresses_come_each_once_in_the_order_of_the_system() -> None:
    expected = []
    for entry in posix.getaddrinfo(
        "localhost", None, type=posix.SOCK_STREAM, flags=posix.AI_ADDRCONFIG
    ):
        address = (entry[4][0], 6 if entry[0] == posix.AF_INET6 else 4)
        if address not in expected:
            expected.append(address)
    seen: list[Any] = []
    c = net.Socket().on("error", lambda error: None)
    c.on("lookup", lambda error, address, family, host: seen.append((address, family)))
    with posix.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        c.connect(holder.getsockname()[1], "localhost")
        pyuvnet.run()
    assert seen == expected


@pytest.mark.parametrize("name", ["does-not-exist.invalid", "ünï.invalid", "x" * 300, "a..b"])
def test_a_name_that_there_is_not(name: str) -> None:
    errors: list[Any] = []
    net.Socket().on("error", errors.append).connect(80, name)
    net.create_server().on("error", errors.append).listen(0, name)
    assert errors == []
    pyuvnet.run()
    assert len(errors) == 2
    for error in errors:
        assert isinstance(error, OSError)
        assert error.code in ("ENOTFOUND", "EAI_AGAIN", "EINVAL", "ENAMETOOLONG", "EAI_FAIL")
        assert error.syscall == "getaddrinfo"
        assert error.hostname == name
        assert str(error).startswith(f"getaddrinfo {error.code}")
        assert isinstance(error, posix.gaierror)


def test_a_name_that_is_too_long_is_einval() -> None:
    import errno

    errors: list[Any] = []
    net.Socket().on("error", errors.append).connect(80, "x" * 300)
    pyuvnet.run()
    assert [(error.code, error.errno) for error in errors] == [("EINVAL", errno.EINVAL)]


def test_destroying_the_socket_forgets_its_lookup() -> None:
    seen: list[Any] = []
    for _ in range(20):  # more than the thread pool has threads: some are cancelled
        c = net.Socket()
        for event in ("lookup", "connectionAttempt", "error"):
            c.on(event, lambda *args, event=event: seen.append(event))
        c.on("close", seen.append)
        c.connect(1, "localhost")
        c.destroy()
    pyuvnet.run()
    assert seen == [False] * 20


@pytest.mark.spec("D57")
@pytest.mark.parametrize("event", ["lookup", "connectionAttempt"])
def test_destroying_in_the_events_of_the_way(event: str) -> None:
    seen: list[Any] = []
    c = net.Socket()
    c.on(event, lambda *args: c.destroy())
    for name in ("connectionAttempt", "connectionAttemptFailed", "connect", "error", "close"):
        c.on(name, lambda *args, name=name: seen.append(name))
    c.connect(port=1, host="localhost", family=4)
    pyuvnet.run()
    assert seen == [*(["connectionAttempt"] if event != "lookup" else []), "close"]


def test_a_closed_server_forgets_its_lookup() -> None:
    seen: list[str] = []
    server = net.create_server()
    server.on("listening", lambda: seen.append("listening"))
    server.on("close", lambda: seen.append("close"))
    for _ in range(3):
        server.listen(0, "localhost")
    server.close()
    pyuvnet.run()
    assert seen == ["close"]


def test_the_idle_timeout_begins_anew_with_the_answer() -> None:
    c = net.Socket().on("error", lambda error: None)
    c.set_timeout(10_000)
    c.connect(1, "localhost")
    pyuvnet.run()
    assert c.destroyed
