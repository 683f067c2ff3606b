"""Options of TLS: what can never work raises at once, and nothing secret shows."""

from __future__ import annotations

import os
import socket as posix
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest

import pyuvnet
from pyuvnet import net, run, tls
from pyuvnet.errors import ArgTypeError, ArgValueError, RangeError
from tests.support.certificates import certificates
from tests.support.tls import ready_server

PKI = certificates()
KEYS: dict[str, Any] = {"key": PKI / "server.key", "cert": PKI / "server.pem"}


@pytest.mark.parametrize("name", ["key", "passphrase", "cert"])
def test_errors_do_not_show_secrets(name: str) -> None:
    with pytest.raises(ArgValueError, match=name) as caught:
        tls.create_secure_context(context=ready_server(ssl.CERT_NONE), **{name: "hunter2"})
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(caught.value)


def test_a_descriptor_is_no_connection_with_tls() -> None:
    ours, theirs = posix.socketpair()
    with ours, theirs:
        for make in (
            lambda: tls.TLSSocket(fd=ours.fileno()),
            lambda: tls.connect(fd=ours.fileno(), port=1),
        ):
            with pytest.raises(ArgValueError, match="fd"):
                make()


def test_a_host_is_text() -> None:
    with pytest.raises(ArgTypeError, match="host"):
        tls.connect(socket=net.Socket(), host=5)


def test_a_handshake_timeout_of_0_is_the_usual_one() -> None:
    assert tls.create_server(handshake_timeout=0)._handshake_timeout == 120_000


BAD: dict[str, tuple[type[Exception], str, dict[str, Any]]] = {
    "handshake_timeout=-1": (RangeError, "ERR_OUT_OF_RANGE", {"handshake_timeout": -1}),
    "handshake_timeout=nan": (RangeError, "ERR_OUT_OF_RANGE", {"handshake_timeout": float("nan")}),
    "handshake_timeout=inf": (RangeError, "ERR_OUT_OF_RANGE", {"handshake_timeout": float("inf")}),
    "crl": (tls.TLSError, "ERR_CRYPTO_OPERATION_FAILED", {"crl": "x", "request_cert": True}),
    "ca": (tls.TLSError, "ERR_OSSL_X509_NO_CERTIFICATE_OR_CRL_FOUND", {"ca": "x"}),
    "versions": (
        ArgValueError, "ERR_INVALID_ARG_VALUE",
        {"min_version": "TLSv1.3", "max_version": "TLSv1.2"},
    ),
    "context of a client": (
        ArgValueError, "ERR_INVALID_ARG_VALUE",
        {"context": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)},
    ),
    "alpn cut": (ArgValueError, "ERR_INVALID_ARG_VALUE", {"alpn_protocols": b"\x05h2"}),
    "alpn empty": (ArgValueError, "ERR_INVALID_ARG_VALUE", {"alpn_protocols": b"\0\0"}),
    "alpn empty in a list": (ArgValueError, "ERR_INVALID_ARG_VALUE", {"alpn_protocols": [""]}),
    "alpn not ASCII": (ArgValueError, "ERR_INVALID_ARG_VALUE", {"alpn_protocols": ["é"]}),
    "passphrase": (ArgTypeError, "ERR_INVALID_ARG_TYPE", {"passphrase": 5}),
    "passphrase of a key": (
        ArgTypeError, "ERR_INVALID_ARG_TYPE",
        {"key": {"pem": PKI / "server.key", "passphrase": ["hunter2"]}},
    ),
    "two contexts": (
        ArgValueError, "ERR_INVALID_ARG_VALUE",
        {"secure_context": tls.create_secure_context(), "ca": PKI / "ca.pem"},
    ),
}  # fmt: skip


@pytest.mark.spec("D162")
@pytest.mark.spec("D163")
@pytest.mark.parametrize("case", BAD)
def test_what_can_never_work_raises_at_once(case: str) -> None:
    kind, code, options = BAD[case]
    with pytest.raises(kind) as caught:
        tls.create_server(options)
    assert caught.value.code == code  # type: ignore[attr-defined]
    assert "hunter2" not in str(caught.value)


BAD_OF_CLIENTS: dict[str, tuple[type[Exception], str, dict[str, Any]]] = {
    "servername with NUL": (ArgValueError, "ERR_INVALID_ARG_VALUE", {"servername": "a\0b"}),
    "servername with a dot": (ArgValueError, "ERR_INVALID_ARG_VALUE", {"servername": ".a"}),
    "servername too long": (ArgValueError, "ERR_INVALID_ARG_VALUE", {"servername": "a" * 64}),
    "socket": (ArgTypeError, "ERR_INVALID_ARG_TYPE", {"socket": 5}),
    "context of a server": (
        ArgValueError, "ERR_INVALID_ARG_VALUE",
        {"context": ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)},
    ),
    "two contexts": (
        ArgValueError, "ERR_INVALID_ARG_VALUE",
        {"secure_context": tls.create_secure_context(), "cert": PKI / "ca.pem"},
    ),
}  # fmt: skip


@pytest.mark.spec("D162")
@pytest.mark.parametrize("case", BAD_OF_CLIENTS)
def test_what_can_never_connect_raises_at_once(case: str) -> None:
    kind, code, options = BAD_OF_CLIENTS[case]
    with pytest.raises(kind) as caught:
        tls.connect(port=1, **options)
    assert caught.value.code == code  # type: ignore[attr-defined]


def test_a_tls_socket_takes_a_tls_server_alone() -> None:
    with pytest.raises(ArgTypeError, match="server"):
        tls.TLSSocket(net.Socket(), server="x")


def test_keys_are_read_where_the_system_has_no_memory_files(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(*_: object) -> int:
        raise PermissionError

    monkeypatch.setattr(os, "memfd_create", refused, raising=False)
    tls.create_secure_context(KEYS)


@pytest.mark.parametrize("options", [{}, {"passphrase": "hunter2"}], ids=["none", "wrong"])
def test_a_wrong_passphrase_is_an_error_as_nodes(tmp_path: Path, options: dict[str, str]) -> None:
    source = ["-in", PKI / "server.key", "-out", tmp_path / "key"]
    command = ["openssl", "pkcs8", "-topk8", "-passout", "pass:right", *source]
    subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(tls.TLSError) as caught:
        tls.create_secure_context(key=tmp_path / "key", cert=PKI / "server.pem", **options)
    assert caught.value.code == "ERR_OSSL_BAD_DECRYPT"
    assert "hunter2" not in str(caught.value)
    (note,) = caught.value.__notes__
    what = "does not fit" if options else "pass options.passphrase"
    assert what in note
    assert "hunter2" not in note


NO_PEM = (
    "options.{} has no PEM text. A str is taken as the text itself; pass the path of a file as a "
    "pathlib.Path."
)
NO_KEY = "options.cert needs its private key in options.key."
CERTIFICATE = PKI / "server.pem"


NOTES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "a path as str": (
        {"key": "server.key", "cert": "server.pem"},
        [NO_PEM.format("key"), NO_PEM.format("cert"), NO_KEY],
    ),
    "a key as str": ({"key": "server.key", "cert": CERTIFICATE}, [NO_PEM.format("key"), NO_KEY]),
    "ca": ({"ca": "ca.pem"}, [NO_PEM.format("ca")]),
    "crl": ({"crl": "crl.pem"}, [NO_PEM.format("crl")]),
    "dhparam": ({"dhparam": "dh.pem"}, [NO_PEM.format("dhparam")]),
    "no key": ({"cert": CERTIFICATE}, [NO_KEY]),
    "a certificate as key": ({"key": CERTIFICATE, "cert": CERTIFICATE}, [NO_KEY]),
    "another certificate's key": (
        {"key": PKI / "server.key", "cert": PKI / "ca.pem"},
        ["options.key is not the private key of options.cert, but of another one."],
    ),
    "a certificate as key, and a key as certificate": (
        {"key": PKI / "ca.pem", "cert": PKI / "server.key"},
        ["options.key has a certificate: key and cert may be exchanged."],
    ),
    "an unknown cipher": (
        {"key": PKI / "server.key", "cert": CERTIFICATE, "ciphers": "NOPE"},
        ["options.ciphers is a list of OpenSSL, as `openssl ciphers` shows it."],
    ),
}


@pytest.mark.parametrize(("options", "notes"), NOTES.values(), ids=NOTES)
def test_notes_say_what_is_wrong_with_a_file(options: dict[str, Any], notes: list[str]) -> None:
    with pytest.raises(tls.TLSError) as caught:
        tls.create_secure_context(options)
    assert getattr(caught.value, "__notes__", []) == notes


def test_a_server_without_a_certificate_says_so() -> None:
    seen: list[Any] = []
    server = tls.create_server().listen(0, "127.0.0.1")
    server.on("tlsClientError", lambda error, socket: seen.append((error.code, error.__notes__)))

    @server.on("listening")
    def listening() -> None:
        client = tls.connect(server.address().port, "127.0.0.1", reject_unauthorized=False)
        client.on("error", lambda error: server.close())

    pyuvnet.run()
    note = "The server has no certificate: pass the options key and cert."
    assert seen == [("ERR_SSL_NO_SHARED_CIPHER", [note])]


@pytest.mark.parametrize(
    ("name", "options", "code", "note"),
    [
        ("self", {"servername": "localhost"}, "DEPTH_ZERO_SELF_SIGNED_CERT", "trust it with ca="),
        (
            "server",
            {"servername": "a.example", "ca": PKI / "ca.pem"},
            "ERR_TLS_CERT_ALTNAME_INVALID",
            "The certificate is for DNS:localhost",
        ),
        (
            "expired",
            {"servername": "localhost", "ca": PKI / "ca.pem"},
            "CERT_HAS_EXPIRED",
            "Renew it",
        ),
        (None, {}, "ERR_SSL_WRONG_VERSION_NUMBER", "is not TLS"),
    ],
    ids=["self-signed", "another host", "expired", "no TLS"],
)
def test_a_handshake_that_fails_says_what_to_do(
    name: str | None, options: dict[str, Any], code: str, note: str
) -> None:
    if name is None:
        server = net.create_server(lambda socket: socket.resume().end("hello, this is no TLS\r\n"))
    else:
        server = tls.create_server(key=PKI / f"{name}.key", cert=PKI / f"{name}.pem")
    errors: list[Any] = []

    @server.on("listening")
    def listening() -> None:
        client = tls.connect(port=server.address().port, host="127.0.0.1", **options)
        client.on("error", errors.append)
        client.on("close", lambda had_error: server.close())

    server.listen(0, "127.0.0.1")
    run()
    (error,) = errors
    assert error.code == code
    assert note in "".join(error.__notes__)


def test_a_keyword_wins_over_a_mapping_in_either_spelling() -> None:
    given = {"minVersion": "TLSv1.2"}
    server = tls.create_server(KEYS)
    for call in (
        lambda: server.set_secure_context({**KEYS, **given}, min_version="TLSv9"),
        lambda: tls.connect(1, given, min_version="TLSv9"),
        lambda: tls.connect(1, "localhost", given, print, min_version="TLSv9"),
    ):
        with pytest.raises(ArgTypeError, match="TLSv9"):
            call()
