"""Pipe, as sockets and servers show it: unix sockets carry data like TCP, without addresses."""

from __future__ import annotations

import os
import socket as posix
import sys
from pathlib import Path
from typing import Any

import pytest

import pyuvnet
from pyuvnet import net


@pytest.fixture(params=["path", "abstract"])
def path(request: Any, tmp_path: Path) -> str:
    if request.param == "path":
        return str(tmp_path / "sock")
    if sys.platform != "linux":
        pytest.skip("abstract sockets are Linux's")
    return f"\0pyuvnet-pipe-{os.getpid()}"


@pytest.mark.spec("N002", "N100")
def test_half_open_echo(path: str) -> None:
    def accepted(s: net.Socket) -> None:
        server.close()
        s.on("data", parts.append)
        s.on("end", lambda: s.end(b"".join(parts)[::-1]))

    parts: list[bytes] = []
    got = bytearray()
    server = net.create_server(accepted, allow_half_open=True).listen(path)
    c = net.create_connection(path)
    c.on("data", got.extend)
    c.end(b"abc" * 200_000)
    pyuvnet.run()
    assert got == (b"abc" * 200_000)[::-1]


@pytest.mark.spec("N050", "N064", "N065", "N066")
def test_there_are_no_addresses(path: str) -> None:
    seen: list[Any] = []

    def look(s: net.Socket) -> None:
        seen.append(
            (s.address(), s.local_address, s.local_port, s.local_family, s.remote_address,
             s.remote_port, s.remote_family)
        )  # fmt: skip

    server = net.create_server(lambda s: (server.close(), look(s)))
    server.listen(path)
    c = net.create_connection(path, lambda: (look(c), c.end()))
    pyuvnet.run()
    assert seen == [({}, *[None] * 6)] * 2
    assert server.address() is None


@pytest.mark.spec("N023")
def test_the_path_as_it_was_given(path: str) -> None:
    server = net.create_server().listen({"path": path})
    assert server.address() == path
    assert repr(path)[1:-1] in repr(server) or path in repr(server)
    server.close()
    pyuvnet.run()


@pytest.mark.spec("N002")
def test_a_peer_of_another_program(path: str) -> None:
    got = bytearray()
    server = net.create_server(lambda s: (server.close(), s.on("data", got.extend)))
    server.listen(path)
    with posix.socket(posix.AF_UNIX) as peer:
        peer.connect(path)
        peer.sendall(b"hello")
        peer.shutdown(posix.SHUT_WR)
        pyuvnet.run()
        assert peer.recv(10) == b""
    assert got == b"hello"


def test_a_path_with_a_nul_inside() -> None:
    errors: list[Any] = []
    for make in (
        lambda: net.create_server().on("error", errors.append).listen("/tmp/a\0b"),
        lambda: net.create_connection("/tmp/a\0b").on("error", errors.append),
    ):
        try:
            make()
        except ValueError as error:
            errors.append(error)
    pyuvnet.run()
    assert len(errors) == 2


def test_two_servers_cannot_share_a_path(path: str) -> None:
    errors: list[Any] = []
    first = net.create_server().listen(path)
    second = net.create_server().on("error", errors.append).listen(path)
    pyuvnet.next_tick(pyuvnet.next_tick, first.close)
    pyuvnet.run()
    assert [(error.code, error.syscall, error.address) for error in errors] == [
        ("EADDRINUSE", "listen", path)
    ]
    assert not second.listening
