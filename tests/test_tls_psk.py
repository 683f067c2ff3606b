"""Pre-shared keys, from Python 3.13 on; what Node does in each case was compared by hand."""

from __future__ import annotations

import gc
import ssl
import warnings
from typing import Any

import pytest

import pyuvnet
from pyuvnet import tls
from tests.support.certificates import certificates
from tests.support.tls import ready_server

gc.freeze()
PKI = certificates()
KEYS: dict[str, Any] = {"key": PKI / "server.key", "cert": PKI / "server.pem"}
KEY = b"k" * 32
HAS = getattr(ssl, "HAS_PSK", False)
needs_psk = pytest.mark.skipif(not HAS, reason="before Python 3.13")
versions = pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])


def ours(hint: str | None) -> dict[str, Any]:
    return {"psk": KEY, "identity": "me"}


CLIENT: dict[str, Any] = {"psk_callback": ours, "check_server_identity": lambda host, cert: None}
SERVER: dict[str, Any] = {"psk_callback": lambda socket, identity: KEY}


def meet(version: str, server: dict[str, Any], client: dict[str, Any]) -> list[Any]:
    """What both sides of a connection say, the server's first; 'other' for errors of the other."""
    said: dict[str, list[Any]] = {"server": [], "client": []}

    def secured(socket: tls.TLSSocket) -> None:
        socket.on("error", lambda error: None)
        said["server"].append((socket.authorized, socket.is_session_reused()))
        socket.end("hi")

    made = tls.create_server({"ciphers": "PSK", "max_version": version, **server}, secured)
    made.on("tlsClientError", lambda error, socket: said["server"].append(error))

    @made.on("listening")
    def listening() -> None:
        to = {"port": made.address().port, "host": "127.0.0.1", "ciphers": "PSK"}
        peer = tls.connect({**to, "max_version": version, **client})
        peer.on("data", lambda data: said["client"].append((data, peer.authorized)))
        peer.on("error", said["client"].append)
        peer.on("close", lambda had_error: made.close())

    made.listen(0, "127.0.0.1")
    pyuvnet.run()
    return [*said["server"], *said["client"]]


@needs_psk
@versions
def test_a_key_is_enough(version: str) -> None:
    seen: list[Any] = []

    def theirs(socket: tls.TLSSocket, identity: str) -> Any:
        seen.append((type(socket), socket.servername, identity))
        return {"psk": bytearray(KEY)}

    def mine(hint: str | None) -> Any:
        seen.append(hint)
        return ours(hint)

    server = {"psk_callback": theirs, "psk_identity_hint": "which?"}
    said = meet(version, server, {**CLIENT, "psk_callback": mine, "servername": "a.example"})
    newest = version == "TLSv1.3"
    assert said == [(False, newest), (b"hi", True)]
    hint = None if newest else "which?"
    assert seen == [hint, (tls.TLSSocket, "a.example", "me")]


@needs_psk
def test_only_tls_1_3_needs_no_check_of_the_identity() -> None:
    client = {"psk_callback": ours}
    assert meet("TLSv1.3", SERVER, client)[-1] == (b"hi", True)
    assert meet("TLSv1.2", SERVER, client)[-1].code == "ERR_TLS_CERT_ALTNAME_INVALID"


@needs_psk
def test_each_connection_has_a_callback_of_its_own() -> None:
    """Although clients with the same options share a context of Python's."""
    asked: list[str] = []
    server = tls.create_server(
        psk_callback=lambda socket, identity: asked.append(identity) or KEY
    ).on("secureConnection", lambda socket: socket.end())

    @server.on("listening")
    def listening() -> None:
        left = ["one", "two", "three"]
        for name in list(left):
            client = tls.connect(
                port=server.address().port,
                psk_callback=lambda hint, name=name: {"psk": KEY, "identity": name},
            ).resume()

            @client.on("close")
            def closed(had_error: bool) -> None:
                assert not had_error
                left.pop()
                if not left:
                    server.close()

    server.listen(0)
    pyuvnet.run()
    assert sorted(asked) == ["one", "three", "two"]


class Boom(Exception):
    pass


def boom(*arguments: object) -> None:
    raise Boom


async def later(*arguments: object) -> bytes:
    return KEY


SERVERS: dict[str, tuple[Any, Any]] = {
    "raises": (boom, Boom),
    "text": (lambda *_: "secret", "ERR_INVALID_ARG_TYPE"),
    "no key": (lambda *_: {"psk": "secret"}, "ERR_INVALID_ARG_TYPE"),
    "long": (lambda *_: b"secret" * 100, "ERR_INVALID_ARG_VALUE"),
    "coroutine": (later, "ERR_INVALID_ARG_TYPE"),
}
CLIENTS: dict[str, tuple[Any, Any]] = {
    "raises": (boom, Boom),
    "text": (lambda hint: "secret", "ERR_INVALID_ARG_TYPE"),
    "no identity": (lambda hint: {"psk": b"secret"}, "ERR_INVALID_ARG_TYPE"),
    "long identity": (lambda hint: {"psk": KEY, "identity": "i" * 257}, "ERR_INVALID_ARG_VALUE"),
    "surrogates": (lambda hint: {"psk": KEY, "identity": "\udcff"}, "ERR_INVALID_ARG_VALUE"),
    "NUL": (lambda hint: {"psk": KEY, "identity": "i\0"}, "ERR_INVALID_ARG_VALUE"),
    "no bytes": (lambda hint: {"psk": "secret", "identity": "me"}, "ERR_INVALID_ARG_TYPE"),
    "coroutine": (later, "ERR_INVALID_ARG_TYPE"),
}


def check(error: Any, expected: Any) -> None:
    assert "secret" not in repr(error) + str(error)
    if isinstance(expected, str):
        assert error.code == expected
    else:
        assert isinstance(error, expected)


@needs_psk
@versions
@pytest.mark.parametrize("case", SERVERS)
def test_a_servers_callback_that_fails_ends_the_handshake(version: str, case: str) -> None:
    """With a certificate too: the program did not decide. The client sees no handshake then."""
    callback, expected = SERVERS[case]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        error, seen = meet(version, {**KEYS, "psk_callback": callback}, CLIENT)
    check(error, expected)
    assert seen.code == "ERR_SSL_TLSV1_ALERT_INTERNAL_ERROR"


@needs_psk
@versions
@pytest.mark.parametrize("case", CLIENTS)
def test_a_clients_callback_that_fails_ends_the_handshake(version: str, case: str) -> None:
    callback, expected = CLIENTS[case]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        *_, error = meet(version, SERVER, {**CLIENT, "psk_callback": callback})
    check(error, expected)


@needs_psk
@pytest.mark.parametrize(
    ("version", "server", "client", "code"),
    [
        ("TLSv1.2", lambda *_: b"x", ours, "ERR_SSL_DECRYPTION_FAILED_OR_BAD_RECORD_MAC"),
        ("TLSv1.3", lambda *_: b"x", ours, "ERR_SSL_BINDER_DOES_NOT_VERIFY"),
        ("TLSv1.2", lambda *_: None, ours, "ERR_SSL_PSK_IDENTITY_NOT_FOUND"),
        ("TLSv1.3", lambda *_: None, ours, "ERR_SSL_NO_SUITABLE_SIGNATURE_ALGORITHM"),
        ("TLSv1.3", lambda *_: KEY, lambda hint: None, "ERR_SSL_NO_SUITABLE_SIGNATURE_ALGORITHM"),
    ],
    ids=["wrong 1.2", "wrong 1.3", "unknown 1.2", "unknown 1.3", "none at the client"],
)
def test_without_the_same_key_there_is_no_connection(
    version: str, server: Any, client: Any, code: str
) -> None:
    error, *_, other = meet(version, {"psk_callback": server}, {**CLIENT, "psk_callback": client})
    assert error.code == code
    assert not hasattr(error, "__notes__")
    assert isinstance(other, Exception)


@needs_psk
@versions
def test_a_key_is_no_certificate(version: str) -> None:
    error, *_ = meet(version, {**SERVER, "request_cert": True, "ca": PKI / "ca.pem"}, CLIENT)
    assert error.code == "ECONNRESET"


@needs_psk
def test_a_peer_without_a_key_may_have_a_certificate() -> None:
    client = {"ca": PKI / "ca.pem", "servername": "localhost", "ciphers": None}
    said = meet("TLSv1.3", {**KEYS, **SERVER, "ciphers": None}, client)
    assert said == [(False, False), (b"hi", True)]


@needs_psk
def test_an_interrupt_in_a_callback_comes_out_of_run() -> None:
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        meet("TLSv1.3", {"psk_callback": interrupt}, CLIENT)
    pyuvnet.run()


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"psk_callback": 5}, "ERR_INVALID_ARG_TYPE"),
        ({"psk_identity_hint": 5}, "ERR_INVALID_ARG_TYPE"),
        ({"psk_identity_hint": "h\udcff"}, "ERR_INVALID_ARG_VALUE"),
        ({"psk_identity_hint": "h" * 257}, "ERR_TLS_PSK_SET_IDENTITY_HINT_FAILED"),
    ],
)
def test_wrong_options_raise_at_once(options: dict[str, Any], code: str) -> None:
    for call in (tls.create_server, lambda given: tls.connect({"port": 1, **given})):
        with pytest.raises(pyuvnet.Error) as caught:
            call(options)
        assert caught.value.code == code


def test_a_context_of_the_programs_has_its_own_keys() -> None:
    with pytest.raises((pyuvnet.ArgValueError, pyuvnet.StateError), match="psk"):
        tls.create_server(context=ready_server(ssl.CERT_NONE), psk_callback=print)


@pytest.mark.spec("D153")
@pytest.mark.skipif(HAS, reason="Python has it")
def test_before_python_3_13_there_are_none() -> None:
    with pytest.raises(pyuvnet.StateError, match=r"psk_callback .* Python 3\.13 on$") as caught:
        tls.create_server(psk_callback=print)
    assert caught.value.code == "ERR_FEATURE_UNAVAILABLE_ON_PLATFORM"
