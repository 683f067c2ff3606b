"""TCP, as sockets and servers show it: addresses, options of the system, refusals of libuv."""

from __future__ import annotations

import socket as posix
from typing import Any

import pytest

import pyuvnet
from pyuvnet import net


@pytest.mark.spec("N064", "N065", "N066", "N071", "N125")
@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", "IPv4"), ("::1", "IPv6")])
def test_both_families_have_names_at_both_ends(host: str, family: str) -> None:
    seen: list[Any] = []

    def accepted(s: net.Socket) -> None:
        server.close()
        seen.append((s.local_address, s.local_family, s.local_port))
        seen.append((s.remote_address, s.remote_family))

    def listening() -> None:
        port = server.address()["port"]
        c = net.create_connection(port, host, lambda: seen.append((c.remote_address, c.end())))
        seen.append(port)

    server = net.create_server(accepted).listen(0, host, callback=listening)
    pyuvnet.run()
    port, rest = seen[0], seen[1:]
    assert (host, family, port) in rest
    assert (host, family) in rest
    assert any(entry[0] == host and isinstance(entry[1], net.Socket) for entry in rest)


@pytest.mark.spec("N020")
def test_an_address_that_is_not_ours_cannot_be_listened_on() -> None:
    errors: list[Any] = []
    # 192.0.2.0/24 is for documentation only.
    net.create_server().on("error", errors.append).listen(0, "192.0.2.1")
    pyuvnet.run()
    ((error,),) = [errors]
    assert (error.code, error.syscall, error.address) == ("EADDRNOTAVAIL", "listen", "192.0.2.1")


def test_a_local_address_that_is_not_ours_cannot_be_bound() -> None:
    errors: list[Any] = []
    c = net.create_connection(port=1, host="127.0.0.1", local_address="192.0.2.1")
    c.on("error", errors.append)
    pyuvnet.run()
    ((error,),) = [errors]
    assert (error.code, error.syscall, error.address) == ("EADDRNOTAVAIL", "bind", "192.0.2.1")


def test_a_local_address_of_the_other_family() -> None:
    errors: list[Any] = []
    c = net.create_connection(port=1, host="127.0.0.1", local_address="::1")
    c.on("error", errors.append)
    pyuvnet.run()
    assert len(errors) == 1
    assert errors[0].syscall in ("bind", "connect")
    assert c.destroyed


def test_port_zero_is_refused_by_the_system() -> None:
    errors: list[Any] = []
    c = net.create_connection(0, "127.0.0.1").on("error", errors.append)
    pyuvnet.run()
    ((error,),) = [errors]
    assert (error.code, error.port) == ("ECONNREFUSED", None)
    assert c.destroyed


@pytest.mark.spec("N114")
def test_listeners_take_a_port_that_still_has_old_connections() -> None:
    # libuv sets SO_REUSEADDR: connections in TIME_WAIT do not stop a restart.
    server = net.create_server(lambda s: (server.close(), s.end()))
    server.listen(0)
    port = server.address()["port"]
    c = net.create_connection(port, "127.0.0.1")
    c.on("end", c.end)
    pyuvnet.run()
    again = net.create_server().listen(port, callback=lambda: again.close())
    pyuvnet.run()
    assert not again.listening


def test_a_peer_that_is_gone_before_it_is_accepted() -> None:
    import struct

    seen: list[Any] = []

    def accepted(s: net.Socket) -> None:
        server.close()
        seen.append("connection")
        assert s.remote_address in (None, "::ffff:127.0.0.1")
        s.on("error", lambda error: seen.append(error.code))
        s.on("close", seen.append)

    server = net.create_server(accepted).listen(0)
    peer = posix.create_connection(("127.0.0.1", server.address()["port"]))
    peer.setsockopt(posix.SOL_SOCKET, posix.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
    pyuvnet.run()
    assert seen == ["connection", "ECONNRESET", True]
