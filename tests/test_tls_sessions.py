"""Sessions of TLS that would let in what is no peer any more, and sockets that connect again."""

from __future__ import annotations

import contextlib
import ssl
from typing import Any

import pytest

import pyuvnet
from pyuvnet import tls
from pyuvnet.errors import ArgTypeError, StateError
from tests.support.certificates import certificates
from tests.support.tls import client_context, shake, with_clients

PKI = certificates()
KEYS: dict[str, Any] = {"key": PKI / "server.key", "cert": PKI / "server.pem"}
TRUST: dict[str, Any] = {"ca": PKI / "ca.pem", "servername": "localhost"}
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.mark.parametrize("version", VERSIONS, ids=["1.2", "1.3"])
def test_a_session_of_one_host_is_none_of_another(version: ssl.TLSVersion) -> None:
    """Or a client of the first one's authority would get in at the second."""

    def play(port: int) -> None:
        context = client_context(version, True)
        session, reused, data = shake(port, "a.example", None, context)
        assert (reused, data) == (False, b"hi")
        _, reused, data = shake(port, "a.example", session, context)
        assert (reused, data) == (True, b"hi")
        _, reused, data = shake(port, "b.example", session, context)
        assert (reused, data) == (False, b"")

    server = tls.create_server(**KEYS, ca=PKI / "self.pem", request_cert=True)
    server.add_context("a.example", {**KEYS, "ca": PKI / "ca.pem"})
    server.add_context("b.example", {**KEYS, "ca": PKI / "self.pem"})
    assert with_clients(server, play) == [("a.example", True)] * 2 + ["refused"]


def test_a_session_that_is_none_is_not_shown() -> None:
    for value in ("hunter2", b"hunter2"):
        with pytest.raises(ArgTypeError) as caught:
            tls.connect(port=1, session=value)  # type: ignore[arg-type]
        assert "hunter2" not in str(caught.value)


@pytest.mark.spec("D165")
def test_a_socket_that_connects_again_is_not_yet_authorized() -> None:
    said: list[Any] = []

    def note(client: Any) -> tuple[Any, ...]:
        return client.authorized, client.secure_connecting, client.ssl_object is None

    def again(had_error: bool) -> None:
        if said[-1] == "second":
            good.close()
            bad.close()
            return
        client.connect(bad.address().port, "127.0.0.1")
        said.extend([note(client), "second"])

    def secure() -> None:
        said.append(note(client))
        client.end()

    own = {"key": PKI / "self.key", "cert": PKI / "self.pem"}
    good = tls.create_server(KEYS, lambda socket: socket.end()).listen(0)
    bad = tls.create_server(own).listen(0)
    client = tls.connect(good.address().port, "127.0.0.1", TRUST).resume()
    client.on("secureConnect", secure)
    client.on("error", lambda error: said.insert(-1, (error.code, *note(client)[:1])))
    client.on("close", again)
    pyuvnet.run()
    assert said[:2] == [(True, False, False), (False, True, True)]
    assert said[2:] == [("DEPTH_ZERO_SELF_SIGNED_CERT", False), "second"]


def test_a_socket_that_connects_again_is_checked_for_the_host_of_now() -> None:
    hosts: list[Any] = []

    def lookup(host: str, options: Any, callback: Any) -> None:
        answer = [{"address": "127.0.0.1", "family": 4}]
        callback(None, answer if options.get("all") else "127.0.0.1", 4)

    def again(had_error: bool) -> None:
        client.once("secureConnect", secure).connect(port, "127.0.0.1")

    def secure() -> None:
        hosts.append("secure")
        client.end()
        server.close()

    server = tls.create_server(KEYS, lambda socket: socket.end()).listen(0)
    port = server.address().port
    client = tls.connect(port, "other.example", ca=PKI / "ca.pem", lookup=lookup).resume()
    client.on("error", lambda error: hosts.append(error.host))
    client.once("close", again)
    pyuvnet.run()
    assert hosts == ["other.example", "secure"]


@pytest.mark.spec("D165")
def test_what_a_server_accepted_does_not_connect_again() -> None:
    """It would be the connection of a plain socket."""
    codes: list[str] = []

    def accepted(socket: Any) -> None:
        def closed(had_error: bool) -> None:
            with pytest.raises(StateError) as caught:
                socket.connect(server.address().port)
            codes.append(caught.value.code)
            server.close()

        socket.on("close", closed)
        socket.resume().end()

    server = tls.create_server(KEYS, accepted).listen(0)
    client = tls.connect(server.address().port, "127.0.0.1", TRUST).resume()
    client.on("end", client.end)
    pyuvnet.run()
    assert codes == ["ERR_INVALID_STATE"]


def test_a_session_of_before_a_context_verified_is_not_resumed() -> None:
    ready = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ready.load_verify_locations(PKI / "ca.pem")
    ready.check_hostname, ready.verify_mode = False, ssl.CERT_NONE
    sessions: list[Any] = []
    said: list[Any] = []

    def verified() -> None:
        ready.verify_mode = ssl.CERT_REQUIRED
        client = tls.connect(server.address().port, "127.0.0.1", context=ready, session=sessions[0])
        client.on("error", lambda error: said.append(error.code))
        client.on("secureConnect", lambda: said.append(client.authorized))
        client.on("close", lambda had_error: server.close())

    def keep(session: Any) -> None:
        sessions.append(session)
        first.end()

    own = {"key": PKI / "self.key", "cert": PKI / "self.pem"}
    server = tls.create_server(own, lambda socket: socket.on("end", socket.end).resume())
    server.listen(0)
    first = tls.connect(server.address().port, "127.0.0.1", context=ready).resume()
    first.once("session", keep)
    first.once("close", lambda had_error: verified())
    pyuvnet.run()
    assert said == ["DEPTH_ZERO_SELF_SIGNED_CERT"]


def test_a_session_does_not_stand_for_another_host() -> None:
    """A ready context has the name checked in full handshakes alone."""
    ready = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ready.load_verify_locations(PKI / "ca.pem")
    sessions: list[Any] = []
    codes: list[Any] = []

    def again() -> None:
        client = connect("other.example", sessions[0])
        client.on("error", lambda error: codes.append(error.code))
        client.on("close", lambda had_error: server.close())

    def connect(name: str, session: Any = None) -> Any:
        port = server.address().port
        return tls.connect(port, "127.0.0.1", context=ready, servername=name, session=session)

    def keep(session: Any) -> None:
        sessions.append(session)
        first.end()

    server = tls.create_server(KEYS, lambda socket: socket.on("end", socket.end).resume())
    server.listen(0)
    first = connect("localhost").resume()
    first.once("session", keep)
    first.once("close", lambda had_error: again())
    pyuvnet.run()
    assert codes == ["ERR_TLS_CERT_ALTNAME_INVALID"]


def test_a_session_listener_that_raises_loses_no_data() -> None:
    got = bytearray()

    def raise_it(session: Any) -> None:
        raise ValueError("no")

    server = tls.create_server(KEYS, lambda socket: (server.close(), socket.end(b"hello")))
    server.listen(0)
    client = tls.connect(server.address().port, "127.0.0.1", TRUST)
    client.once("session", raise_it)
    client.on("data", got.extend)
    client.on("end", client.end)
    for _ in range(4):
        with contextlib.suppress(ValueError):
            pyuvnet.run()
    assert got == b"hello"
    assert client.destroyed
