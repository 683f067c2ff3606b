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


@pytest.mark.spec("D241", "D242")
def test_a_handshake_timeout_of_0_is_the_usual_one() -> None:
    assert tls.create_server(handshake_timeout=0)._rules.handshake_timeout == 60_000
    client = tls.TLSSocket(handshake_timeout=0)
    assert client._rules.handshake_timeout == 120_000  # type: ignore[union-attr]


@pytest.mark.parametrize("none", [False, "", 0, None], ids=repr)
def test_false_keys_and_certificates_are_absent(none: Any) -> None:
    """As in Node: key=os.environ.get("KEY", "")."""
    options = {"key": none, "cert": none, "ca": none}
    context = tls.create_secure_context(options)
    assert context._own_certificate() == {}
    assert context._given.system
    ready = ready_server(ssl.CERT_NONE)
    assert tls.create_secure_context(options, context=ready).context is ready
    for option in ("key", "cert", "ca"):
        with pytest.raises(ArgTypeError, match=option):
            tls.create_secure_context({option: [False]})


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
    "method": (ArgTypeError, "ERR_TLS_INVALID_PROTOCOL_METHOD", {"secure_protocol": "TLSv1_3"}),
    "old method": (
        ArgTypeError, "ERR_TLS_INVALID_PROTOCOL_METHOD", {"secure_protocol": "SSLv3_method"},
    ),
    "method of a client": (
        ArgValueError, "ERR_INVALID_ARG_VALUE", {"secure_protocol": "TLSv1_2_client_method"},
    ),
    "method and version": (
        ArgTypeError, "ERR_TLS_PROTOCOL_VERSION_CONFLICT",
        {"secure_protocol": "TLS_method", "max_version": "TLSv1.2"},
    ),
    "session id": (ArgTypeError, "ERR_INVALID_ARG_TYPE", {"session_id_context": 5}),
    "long session id": (
        tls.TLSError, "ERR_SSL_SSL_SESSION_ID_CONTEXT_TOO_LONG", {"session_id_context": "é" * 17},
    ),
    "curve": (tls.TLSError, "ERR_CRYPTO_OPERATION_FAILED", {"ecdh_curve": "nope"}),
    "curves": (ArgTypeError, "ERR_INVALID_ARG_TYPE", {"ecdh_curve": ["P-256"]}),
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


def test_a_fragment_is_an_integer_of_32_bits() -> None:
    """Also before there is a connection."""
    for size in (float("nan"), float("inf"), 2**31, 512.5):
        with pytest.raises(RangeError, match="size") as caught:
            tls.TLSSocket().set_max_send_fragment(size)  # type: ignore[arg-type]
        assert caught.value.code == "ERR_OUT_OF_RANGE"
    assert not tls.TLSSocket().set_max_send_fragment(2**31 - 1)


@pytest.mark.spec("D01")
@pytest.mark.parametrize(
    "call",
    [
        tls.create_secure_context,
        tls.SecureContext,
        tls.create_server,
        lambda options: tls.connect({"port": 1, **options}),
        lambda options: tls.connect(1, "127.0.0.1", options),
        lambda options: tls.TLSSocket(None, options),
        lambda options: tls.create_server().set_secure_context(options),
        lambda options: tls.create_server().add_context("a.example", options),
    ],
)
def test_a_misspelt_option_in_a_mapping_is_refused(call: Any) -> None:
    """As a keyword is: a connection would be less secure than it looks."""
    with pytest.raises(ArgTypeError, match=r"unknown option 'minVerson'.*'minVersion'") as caught:
        call({"minVerson": "TLSv1.3"})
    assert caught.value.code == "ERR_UNKNOWN_OPTION"


def test_one_mapping_may_serve_several_functions() -> None:
    shared = {**KEYS, "port": 0, "handshakeTimeout": 1000, "servername": "localhost", "address": 1}
    tls.create_secure_context(shared)
    tls.create_server(shared)


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


@pytest.mark.parametrize("sni", [None, "none", "a context without one"])
@pytest.mark.parametrize(
    ("version", "code"),
    [
        ("TLSv1.2", "ERR_SSL_NO_SHARED_CIPHER"),
        ("TLSv1.3", "ERR_SSL_NO_SUITABLE_SIGNATURE_ALGORITHM"),
    ],
)
@pytest.mark.parametrize("end", ["server", "client"])
def test_a_server_without_a_certificate_says_so(
    sni: str | None, version: str, code: str, end: str
) -> None:
    """In either version, whichever side does not have the newer one."""
    chosen = tls.create_secure_context() if sni == "a context without one" else None
    seen: list[Any] = []
    options = {} if sni is None else {"sni_callback": lambda name, callback: callback(None, chosen)}
    server = tls.create_server(options, max_version=version if end == "server" else None)
    server.on("tlsClientError", lambda error, socket: seen.append((error.code, error.__notes__)))

    @server.on("listening")
    def listening() -> None:
        to = {"port": server.address().port, "host": "127.0.0.1", "servername": "localhost"}
        to["max_version"] = version if end == "client" else None
        client = tls.connect(to, reject_unauthorized=False)
        client.on("error", lambda error: server.close())

    server.listen(0, "127.0.0.1")
    pyuvnet.run()
    note = "The server has no certificate: pass the options key and cert."
    assert seen == [(code, [note])]


def test_a_context_without_a_certificate_leaves_the_servers() -> None:
    """As in Node: it may be for its authorities alone."""
    sni = {"sni_callback": lambda name, callback: callback(None, tls.create_secure_context())}
    assert meet({**KEYS, **sni}, CA) == [("TLSv1.3", "localhost < Test CA")]


@pytest.mark.parametrize("kind", ["host", "path"])
def test_a_server_that_goes_away_in_the_handshake_is_named(kind: str, tmp_path: Path) -> None:
    errors: list[Any] = []
    server = net.create_server(lambda socket: socket.resume().end())

    @server.on("listening")
    def listening() -> None:
        if kind == "path":
            client = tls.connect(path=tmp_path / "s")
        else:
            to = {"host": "127.0.0.1", "local_address": "127.0.0.1"}
            client = tls.connect(server.address().port, to)
        client.on("error", errors.append)
        client.on("close", lambda had_error: server.close())

    ports: list[int] = []
    if kind == "path":
        server.listen(path=tmp_path / "s")
    else:
        server.listen(0, "127.0.0.1", lambda: ports.append(server.address().port))
    run()
    (error,) = errors
    assert str(error.message).startswith("Client network socket disconnected before secure")
    expected = (None, None, None, tmp_path / "s")
    if kind == "host":
        expected = ("127.0.0.1", ports[0], "127.0.0.1", None)
    assert (error.host, error.port, error.local_address, error.path) == expected
    assert error.localAddress == error.local_address


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


# ---- What a context is made of -------------------------------------------------------------------

CHAINED: dict[str, Any] = {"key": PKI / "chained.key", "cert": PKI / "chained.pem"}
CA = {"ca": PKI / "ca.pem"}
MIDDLE = {"ca": PKI / "middle.pem"}


def chain(socket: tls.TLSSocket) -> str:
    """The names of the peer's certificate, of its issuer, and so on."""
    found, names = socket.get_peer_certificate(True), []
    while found and len(names) < 9:
        names.append(found.subject.CN)
        found = None if found.issuer == found.subject else found.get("issuerCertificate")
    return " < ".join(names)


def meet(server: dict[str, Any], client: dict[str, Any]) -> list[Any]:
    """What the client of one connection says of the server, or both say of the failure."""
    said: list[Any] = []
    made = tls.create_server(server, lambda socket: socket.end(chain(socket)))
    made.on("tlsClientError", lambda error, socket: said.append(("server", error.code)))

    @made.on("listening")
    def listening() -> None:
        to = {"port": made.address().port, "host": "127.0.0.1", "servername": "localhost"}
        peer = tls.connect({**to, **client})
        peer.on("secureConnect", lambda: said.append((peer.get_protocol(), chain(peer))))
        peer.on("data", lambda data: said.append(data.decode()))
        peer.on("error", lambda error: said.append(("client", error.code)))
        peer.on("close", lambda had_error: made.close())

    made.listen(0, "127.0.0.1")
    run()
    return said


LOCALHOST, WHOLE = "localhost", "localhost < Test middle < Test CA"


@pytest.mark.spec("D251")
@pytest.mark.parametrize(
    ("server", "client", "said"),
    [
        ({**CHAINED, **MIDDLE}, CA, WHOLE),
        ({**CHAINED, **MIDDLE}, {**CA, "reject_unauthorized": False}, WHOLE),
        ({**CHAINED, **MIDDLE}, {"reject_unauthorized": False}, "localhost < Test middle"),
        (KEYS, CA, "localhost < Test CA"),
    ],
    ids=["intermediate as ca", "not verified", "without a root", "root of the store"],
)
@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_a_chain_is_sent_whole_and_shown_up_to_the_root(
    server: dict[str, Any], client: dict[str, Any], said: str, version: str
) -> None:
    assert meet({**server, "max_version": version}, client) == [(version, said)]


def test_a_client_sends_its_chain_whole() -> None:
    server = {**KEYS, **CA, "request_cert": True}
    client = {**CHAINED, "ca": [CA["ca"], MIDDLE["ca"]]}
    assert meet(server, client) == [("TLSv1.3", "localhost < Test CA"), WHOLE]


def test_a_resumed_connection_shows_the_root_too() -> None:
    shown: list[str] = []
    server = tls.create_server(KEYS, lambda socket: socket.end("x"))

    def connect(session: Any = None) -> None:
        client = tls.connect(server.address().port, "127.0.0.1", {**CA, "session": session})
        sessions: list[Any] = []
        client.on("session", sessions.append)
        client.on("secureConnect", lambda: shown.append(chain(client)))
        client.on("close", lambda had_error: server.close() if session else connect(sessions[0]))
        client.resume()

    server.listen(0, "127.0.0.1", connect)
    run()
    assert shown == ["localhost < Test CA"] * 2


@pytest.mark.parametrize("partial", [False, True])
def test_an_authority_that_has_not_signed_itself_is_trusted_if_wanted(partial: bool) -> None:
    said = meet(CHAINED, {**MIDDLE, "allow_partial_trust_chain": partial})
    assert (said == [("TLSv1.3", "localhost < Test middle")]) is partial
    assert partial or ("client", "UNABLE_TO_GET_ISSUER_CERT") in said


@pytest.mark.parametrize(
    ("method", "lowest", "highest"),
    [
        ("TLSv1_2_method", "TLSv1_2", "TLSv1_2"),
        ("TLSv1_1_server_method", "TLSv1_1", "TLSv1_1"),
        ("TLS_method", "TLSv1", "TLSv1_3"),
        ("SSLv23_method", "TLSv1_2", "TLSv1_2"),
    ],
)
def test_a_method_of_openssl_names_versions(method: str, lowest: str, highest: str) -> None:
    made = tls.create_secure_context(secure_protocol=method)._variant(True, (), False, False)
    versions = made.minimum_version, made.maximum_version
    assert versions == (ssl.TLSVersion[lowest], ssl.TLSVersion[highest])
    if method == "TLSv1_2_method":
        assert meet({**KEYS, "secure_protocol": method}, CA)[0][0] == "TLSv1.2"


def test_a_context_id_is_accepted_and_ends_older_sessions() -> None:
    context = tls.create_secure_context(KEYS, session_id_context="one")
    for same in (True, False):
        fresh = context._renewed({**KEYS, "session_id_context": "one" if same else "two"})
        assert bool(set(fresh._made.values()) & set(context._made.values())) is same


def test_groups_are_named_as_nodes_are() -> None:
    for name in ("P-256", "P-384", "P-521", "X25519", "auto", ""):
        tls.create_secure_context(ecdh_curve=name)
    if hasattr(ssl.SSLContext, "set_groups"):
        tls.create_secure_context(ecdh_curve="X25519:P-256")
        return
    with pytest.raises(pyuvnet.StateError, match=r"groups is .* Python 3\.15 on$") as caught:
        tls.create_secure_context(ecdh_curve="X25519:P-256")
    assert caught.value.code == "ERR_FEATURE_UNAVAILABLE_ON_PLATFORM"


# ---- Defaults that a program sets ----------------------------------------------------------------


def test_defaults_of_versions_are_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    before = tls.create_secure_context(KEYS)
    monkeypatch.setattr(tls, "DEFAULT_MAX_VERSION", "TLSv1.2")
    assert meet(KEYS, CA)[0][0] == "TLSv1.2"
    # A context keeps what it was made with, and an option wins.
    options = {"secure_context": before}
    assert meet(options, {**CA, "max_version": "TLSv1.3"})[0][0] == "TLSv1.3"
    monkeypatch.setattr(tls, "DEFAULT_MAX_VERSION", "TLSv1.3")
    monkeypatch.setattr(tls, "DEFAULT_MIN_VERSION", "TLSv1.3")
    assert ("client", "ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION") in meet(
        KEYS, {**CA, "min_version": "TLSv1.2", "max_version": "TLSv1.2"}
    )


@pytest.mark.spec("D250")
def test_the_default_suites_are_those_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    made = tls.create_secure_context()._variant(False, (), False, False)
    assert ":".join(suite["name"] for suite in made.get_ciphers()) == tls.DEFAULT_CIPHERS
    one = "ECDHE-ECDSA-AES128-GCM-SHA256"
    monkeypatch.setattr(tls, "DEFAULT_CIPHERS", one)
    made = tls.create_secure_context()._variant(False, (), False, False)
    assert [s["name"] for s in made.get_ciphers() if s["protocol"] != "TLSv1.3"] == [one]


def test_the_default_curve_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[str] = []
    monkeypatch.setattr(tls, "DEFAULT_ECDH_CURVE", "P-384")
    monkeypatch.setattr(ssl.SSLContext, "set_ecdh_curve", lambda context, name: used.append(name))
    tls.create_secure_context()
    assert used == ["secp384r1"]


@pytest.mark.parametrize(
    ("name", "value", "kind", "code"),
    [
        ("MIN_VERSION", "SSLv3", ArgTypeError, "ERR_TLS_INVALID_PROTOCOL_VERSION"),
        ("MAX_VERSION", None, ArgTypeError, "ERR_TLS_INVALID_PROTOCOL_VERSION"),
        ("CIPHERS", "", ArgValueError, "ERR_INVALID_ARG_VALUE"),
        ("CIPHERS", 5, ArgTypeError, "ERR_INVALID_ARG_TYPE"),
        ("CIPHERS", "NOPE", tls.TLSError, "ERR_SSL_NO_CIPHER_MATCH"),
        ("ECDH_CURVE", "NOPE", tls.TLSError, "ERR_CRYPTO_OPERATION_FAILED"),
    ],
)
def test_a_wrong_default_raises_when_it_is_used(
    name: str, value: Any, kind: Any, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, f"DEFAULT_{name}", value)
    with pytest.raises(kind) as caught:
        tls.create_secure_context()
    assert caught.value.code == code


@pytest.fixture
def own_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyuvnet._tls.context._default_authorities", None)


@pytest.mark.usefixtures("own_defaults")
def test_default_authorities_replace_the_systems() -> None:
    ca = (PKI / "ca.pem").read_text()
    system = tls.get_ca_certificates("system")
    before = tls.create_secure_context()
    tls.set_default_ca_certificates([ca, ca.encode()])
    assert tls.get_ca_certificates() == [ca]
    assert tls.get_ca_certificates("system") == system
    assert meet(KEYS, {}) == [("TLSv1.3", "localhost < Test CA")]
    # Not for contexts that are there, nor for those with ca.
    unknown = ("client", "UNABLE_TO_GET_ISSUER_CERT_LOCALLY")
    assert unknown in meet(KEYS, {"secure_context": before})
    assert unknown in meet(KEYS, {"ca": PKI / "self.pem"})
    tls.set_default_ca_certificates([])
    assert tls.get_ca_certificates() == []
    assert unknown in meet(KEYS, {})


@pytest.mark.spec("D162")
@pytest.mark.usefixtures("own_defaults")
@pytest.mark.parametrize(
    ("certificates", "kind", "code"),
    [
        ("x", ArgTypeError, "ERR_INVALID_ARG_TYPE"),
        (None, ArgTypeError, "ERR_INVALID_ARG_TYPE"),
        ([5], ArgTypeError, "ERR_INVALID_ARG_TYPE"),
        (["x"], tls.TLSError, "ERR_CRYPTO_OPERATION_FAILED"),
        ([PKI.joinpath("ca.pem").read_text(), "x"], tls.TLSError, "ERR_CRYPTO_OPERATION_FAILED"),
    ],
    ids=["text", "none", "number", "no PEM", "one without"],
)
def test_bad_default_authorities_change_nothing(certificates: Any, kind: Any, code: str) -> None:
    with pytest.raises(kind) as caught:
        tls.set_default_ca_certificates(certificates)
    assert caught.value.code == code
    assert tls.get_ca_certificates() == tls.get_ca_certificates("system")
