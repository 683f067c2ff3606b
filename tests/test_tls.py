"""tls: connections, servers, contexts, STARTTLS, sessions, limits; what Node does is compared in
tests/differential/scenarios/tls.py.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pyuvnet
from pyuvnet import Duplex, diagnostics, framing, net, streams, tls
from tests.support.certificates import certificates

PKI = certificates()
KEYS: dict[str, Any] = {"key": PKI / "server.key", "cert": PKI / "server.pem"}
OTHER: dict[str, Any] = {"key": PKI / "other.key", "cert": PKI / "other.pem"}
TRUST: dict[str, Any] = {"ca": PKI / "ca.pem", "servername": "localhost"}
VERSIONS = ["TLSv1.2", "TLSv1.3"]


class Both:
    """A server and a client; `events` has what both saw."""

    def __init__(
        self, server: dict[str, Any] | None = None, client: dict[str, Any] | None = None
    ) -> None:
        self.events: list[Any] = []
        self.server = tls.create_server({**KEYS, **(server or {})})
        self.client_options = {"host": "127.0.0.1", **TRUST, **(client or {})}
        self.accepted: Callable[[tls.TLSSocket], object] = lambda socket: socket.end()
        self.connected: Callable[[tls.TLSSocket], object] = lambda socket: None
        self.client: Any = None
        self.got = bytearray()
        self.clients = 1

    def run(self) -> Both:
        self.server.on("secureConnection", lambda socket: self.accepted(socket))
        self.server.on(
            "tlsClientError",
            lambda error, socket: self.events.append(
                ("tlsClientError", getattr(error, "code", None))
            ),
        )
        self.server.listen(0)
        self.next()
        pyuvnet.run()
        return self

    def next(self) -> None:
        self.clients -= 1
        client = self.client = tls.connect(
            {"port": self.server.address().port, **self.client_options}
        )
        client.on("secureConnect", lambda: self.connected(client))
        client.on("data", self.got.extend)
        client.on("error", lambda error: self.events.append(("error", error.code)))
        client.on("close", lambda had_error: self.next() if self.clients else self.server.close())


# ---- A connection --------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_what_a_connection_says_of_itself(version: str) -> None:
    seen: dict[str, Any] = {}
    both = Both({"max_version": version, "alpn_protocols": ["h2"]}, {"alpn_protocols": ["h2"]})

    def connected(c: tls.TLSSocket) -> None:
        seen.update(
            protocol=c.get_protocol(),
            cipher=c.get_cipher(),
            peer=c.get_peer_certificate(True),
            own=c.get_certificate(),
            ssl=type(c.ssl_object),
            alpn=c.alpn_protocol,
            fragment=(c.set_max_send_fragment(100), c.set_max_send_fragment(512)),
        )

    both.connected = connected
    both.run()
    assert seen["protocol"] == version
    assert seen["ssl"] is ssl.SSLObject
    assert seen["alpn"] == "h2"
    assert seen["cipher"].version == version or seen["cipher"].version == "TLSv1.2"
    assert seen["cipher"].standardName.startswith("TLS_")
    assert seen["own"] == {}
    assert seen["fragment"] == (False, True)
    peer = seen["peer"]
    assert peer.subject.CN == "localhost"
    assert peer.issuer.CN == "Test CA"
    assert peer.subjectaltname == "DNS:localhost, DNS:*.wild.example, IP Address:127.0.0.1"
    assert (peer.bits, peer.asn1Curve, peer.nistCurve, peer.ca) == (
        256,
        "prime256v1",
        "P-256",
        False,
    )
    assert len(peer.fingerprint256.split(":")) == 32
    assert ssl.DER_cert_to_PEM_cert(peer.raw) in (PKI / "server.pem").read_text()


def test_an_rsa_certificate_has_its_modulus_and_the_clients_uses() -> None:
    seen: dict[str, Any] = {}
    keys = {"key": PKI / "rsa.key", "cert": PKI / "rsa.pem"}
    alice = {"key": PKI / "client.key", "cert": PKI / "client.pem"}
    both = Both({**keys, "request_cert": True, "ca": PKI / "ca.pem"}, alice)

    def accepted(socket: tls.TLSSocket) -> None:
        seen["client"] = socket.get_peer_certificate()
        seen["own"] = socket.get_certificate()
        seen["authorized"] = socket.authorized
        socket.end()

    both.accepted = accepted
    both.connected = lambda c: seen.update(
        server=c.get_peer_certificate(), mine=c.get_certificate()
    )
    both.run()
    assert seen["authorized"]
    assert (seen["server"].bits, seen["server"].exponent) == (2048, "0x10001")
    assert len(seen["server"].modulus) == 512
    assert seen["own"].modulus == seen["server"].modulus
    assert seen["client"].subject == {"CN": "alice", "O": "Testers"}
    assert seen["client"].ext_key_usage == ["1.3.6.1.5.5.7.3.2"]
    assert seen["mine"].subject == seen["client"].subject


@pytest.mark.parametrize("form", ["path", "str", "bytes", "list"])
def test_keys_and_certificates_in_each_form(form: str) -> None:
    def as_form(path: Path) -> Any:
        if form == "path":
            return path
        data: Any = path.read_text() if form == "str" else path.read_bytes()
        return [data] if form == "list" else data

    both = Both(
        {"key": as_form(PKI / "server.key"), "cert": as_form(PKI / "server.pem")},
        {"ca": as_form(PKI / "ca.pem")},
    )
    both.accepted = lambda socket: socket.end("fine")
    assert both.run().got == b"fine"


def test_an_encrypted_key(tmp_path: Path) -> None:
    name = tmp_path / "secret.key"
    command = [
        "openssl",
        "ec",
        "-in",
        str(PKI / "server.key"),
        "-aes128",
        "-passout",
        "pass:sesame",
    ]
    subprocess.run([*command, "-out", str(name)], check=True, capture_output=True)
    both = Both({"key": name, "passphrase": "sesame"})
    both.accepted = lambda socket: socket.end("fine")
    assert both.run().got == b"fine"
    for passphrase in ("wrong", None):
        with pytest.raises(tls.TLSError) as raised:
            tls.create_secure_context(key=name, cert=KEYS["cert"], passphrase=passphrase)
        assert "sesame" not in repr(raised.value)
    both = Both({"key": [{"pem": name.read_bytes(), "passphrase": "sesame"}]})
    both.accepted = lambda socket: socket.end("fine")
    assert both.run().got == b"fine"


def test_a_key_leaves_no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = set(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else set()
    tls.create_secure_context(key=(PKI / "server.key").read_bytes(), cert=KEYS["cert"])
    # Where there is no memory that looks like a file.
    monkeypatch.setattr(sys, "platform", "other")
    seen: list[int] = []
    load = ssl.SSLContext.load_cert_chain

    def watched(self: ssl.SSLContext, name: str, *rest: Any, **more: Any) -> None:
        seen.append(os.stat(name).st_mode & 0o777)
        load(self, name, *rest, **more)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", watched)
    tls.create_secure_context(key=(PKI / "server.key").read_bytes(), cert=KEYS["cert"])
    assert seen == [0o600]
    assert list(tmp_path.iterdir()) == []
    if before:
        assert len(set(os.listdir("/proc/self/fd")) - before) <= 1


@pytest.mark.spec("D161")
def test_a_context_of_the_programs() -> None:
    theirs = ssl.create_default_context(cafile=str(PKI / "ca.pem"))
    mine = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    mine.load_cert_chain(PKI / "server.pem", PKI / "server.key")
    server = tls.create_server({"context": mine}, lambda socket: socket.end("fine"))
    got = bytearray()
    errors: list[Any] = []

    def listening() -> None:
        port = server.address().port
        good = tls.connect(port=port, host="127.0.0.1", servername="localhost", context=theirs)
        good.on("data", got.extend)
        good.on("close", lambda had_error: bad())

    def bad() -> None:
        port = server.address().port
        client = tls.connect(port=port, host="127.0.0.1", servername="nope", context=theirs)
        client.on("error", errors.append)
        client.on("close", lambda had_error: server.close())

    server.listen(0, listening)
    pyuvnet.run()
    assert got == b"fine"
    assert [error.code for error in errors] == ["HOSTNAME_MISMATCH"]


@pytest.mark.parametrize("option", ["key", "ca", "ciphers", "min_version"])
def test_a_context_of_the_programs_excludes_what_makes_one(option: str) -> None:
    with pytest.raises(pyuvnet.ArgValueError, match=option) as raised:
        tls.create_secure_context({"context": ssl.create_default_context(), option: "x"})
    assert raised.value.code == "ERR_INVALID_ARG_VALUE"
    with pytest.raises(pyuvnet.ArgValueError):
        tls.create_server(context=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), alpn_protocols=["a"])


UNAVAILABLE = [
    "pfx", "ticket_keys", "sigalgs", "session_timeout", "client_cert_engine", "private_key_engine",
    "private_key_identifier",
]  # fmt: skip


@pytest.mark.spec("D153")
@pytest.mark.parametrize("option", UNAVAILABLE)
def test_what_pythons_ssl_cannot_do_says_so(option: str) -> None:
    with pytest.raises(pyuvnet.StateError) as raised:
        tls.create_secure_context({option: b"x"})
    assert raised.value.code == "ERR_FEATURE_UNAVAILABLE_ON_PLATFORM"
    text = f"The feature options.{option} is unavailable: Python's ssl does not support it"
    assert str(raised.value) == text


def test_more_that_pythons_ssl_cannot_do() -> None:
    server = tls.create_server(KEYS)
    calls: list[Callable[[], object]] = [
        lambda: tls.create_secure_context(ciphers="TLS_AES_128_GCM_SHA256"),
        server.get_ticket_keys,
        lambda: server.set_ticket_keys(bytes(48)),
        lambda: tls.TLSSocket().export_keying_material(32, "label"),
        lambda: tls.TLSSocket().get_ephemeral_key_info(),
        lambda: tls.TLSSocket().renegotiate(),
        lambda: tls.TLSSocket().get_tls_ticket(),
        lambda: tls.TLSSocket().get_shared_sigalgs(),
        lambda: tls.TLSSocket().get_x509_certificate(),
        lambda: tls.TLSSocket().get_peer_x509_certificate(),
        lambda: tls.TLSSocket().enable_trace(),
        lambda: tls.get_ca_certificates("bundled"),
    ]
    for call in calls:
        with pytest.raises(pyuvnet.StateError) as raised:
            call()
        assert raised.value.code == "ERR_FEATURE_UNAVAILABLE_ON_PLATFORM"


def test_the_authorities_of_the_system() -> None:
    stripped = [pem.rstrip("\n") for pem in tls.get_ca_certificates()]
    assert stripped == list(tls.root_certificates)
    assert tls.get_ca_certificates("extra") == []
    with pytest.raises(ValueError, match="type"):
        tls.get_ca_certificates("all")


@pytest.mark.parametrize("form", ["mapping", "context"])
def test_a_protocol_may_have_a_certificate_of_its_own(form: str) -> None:
    other: Any = OTHER if form == "mapping" else tls.create_secure_context(OTHER)
    sockets: list[Any] = []

    def choose(offer: Any) -> str:
        (socket,) = both.server.sockets
        socket.set_key_cert(other)
        return "b"

    both = Both({"alpn_callback": choose},
                {"alpn_protocols": ["a", "b"], "servername": "other.example"})  # fmt: skip

    def accepted(socket: Any) -> None:
        with pytest.raises(pyuvnet.StateError) as raised:
            socket.set_key_cert(other)
        assert raised.value.code == "ERR_INVALID_STATE"
        sockets.append(socket.alpn_protocol)
        socket.end()

    both.accepted = accepted
    both.run()
    assert (both.events, sockets) == ([], ["b"])


@pytest.mark.spec("D150")
@pytest.mark.spec("D156")
def test_an_error_is_ours_and_pythons() -> None:
    both = Both(client={"ca": None})
    errors: list[Any] = []
    both.connected = lambda c: None
    both.server.listen(0)
    client = tls.connect(port=both.server.address().port, host="127.0.0.1", servername="localhost")
    client.on("error", errors.append)
    client.on("close", lambda had_error: both.server.close())
    pyuvnet.run()
    (error,) = errors
    assert isinstance(error, tls.TLSError)
    assert isinstance(error, ssl.SSLError)
    assert isinstance(error, pyuvnet.Error)
    assert isinstance(error, OSError)
    assert error.code == "UNABLE_TO_GET_ISSUER_CERT_LOCALLY"
    assert error.verify_code == 20
    assert error.reason == "CERTIFICATE_VERIFY_FAILED"
    assert error.library == "SSL"


LEAF, SELF = "UNABLE_TO_VERIFY_LEAF_SIGNATURE", "DEPTH_ZERO_SELF_SIGNED_CERT"


# What Node 26 says in each case, with either version.
@pytest.mark.spec("D152")
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("side", "whose", "authority", "name", "error"),
    [
        ("client", "server", "ca", "localhost", None),
        ("client", "server", None, "localhost", LEAF),
        ("client", "server", "ca", "else.example", "ERR_TLS_CERT_ALTNAME_INVALID"),
        ("client", "other", None, "localhost", LEAF),
        ("client", "self", "ca", "localhost", SELF),
        ("client", "self", "self", "localhost", None),
        ("client", "expired", "ca", "localhost", "CERT_HAS_EXPIRED"),
        ("client", "chained", "ca", "localhost", LEAF),
        ("server", None, "ca", "localhost", "UNABLE_TO_GET_ISSUER_CERT"),
        ("server", "client", "ca", "localhost", None),
        ("server", "self", "ca", "localhost", SELF),
        ("server", "expired", "ca", "localhost", "CERT_HAS_EXPIRED"),
        ("server", "chained", "ca", "localhost", LEAF),
    ],
)
def test_without_reject_unauthorized_a_connection_goes_on(
    side: str, whose: str | None, authority: str | None, name: str, error: str | None, version: str
) -> None:
    keys = {"key": PKI / f"{whose}.key", "cert": PKI / f"{whose}.pem"} if whose else {}
    checks = {"ca": authority and PKI / f"{authority}.pem", "reject_unauthorized": False}
    if side == "client":
        both = Both({**keys, "max_version": version}, {**checks, "servername": name})
    else:
        both = Both({**checks, "request_cert": True, "max_version": version}, keys)
    seen: list[Any] = []

    def look(socket: tls.TLSSocket) -> None:
        seen.append((socket.authorized, socket.authorization_error))
        socket.end()

    if side == "client":
        both.connected = look
    else:
        both.accepted = look
    both.run()
    if tls.engine.name == "libssl":
        assert seen == [(error is None, error)]
    elif side == "client":
        assert seen == [(False, "CERT_NOT_VERIFIED")]
    else:
        refused = whose not in (None, "client")
        assert seen == ([] if refused else [(error is None, error)])


def test_a_revoked_certificate_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "ca.cnf"
    config.write_text(
        f"[ca]\ndefault_ca=c\n[c]\ndatabase={tmp_path}/index\ndefault_md=sha256\n"
        "default_crl_days=100\n"
    )
    (tmp_path / "index").write_text("")
    base = [
        "openssl",
        "ca",
        "-config",
        str(config),
        "-cert",
        PKI / "ca.pem",
        "-keyfile",
        PKI / "ca.key",
    ]
    crl = tmp_path / "crl.pem"
    both = Both(client={})
    for revoke in (False, True):
        if revoke:
            subprocess.run([*base, "-revoke", PKI / "server.pem"], check=True, capture_output=True)
        subprocess.run([*base, "-gencrl", "-out", crl], check=True, capture_output=True)
        both = Both(client={"crl": crl})
        both.accepted = lambda socket: socket.end("fine")
        both.run()
        assert both.got == (b"" if revoke else b"fine")
    assert ("error", "CERT_REVOKED") in both.events


RSA: dict[str, Any] = {"key": PKI / "rsa.key", "cert": PKI / "rsa.pem"}


def suite(server: dict[str, Any], client: dict[str, Any]) -> Any:
    """The suite and the version that the two agree on, or what each says of the failure."""
    both = Both({**RSA, **server}, client)
    seen: list[Any] = []

    def connected(client: tls.TLSSocket) -> None:
        found = client.get_cipher()
        assert found is not None
        seen.append((found.name, client.get_protocol()))

    both.connected = connected
    both.run()
    return seen[0] if seen else both.events


OLD = {"max_version": "TLSv1.2"}
DHE = "DHE-RSA-AES128-GCM-SHA256"


def test_a_server_with_parameters_has_suites_with_dhe(tmp_path: Path) -> None:
    path = tmp_path / "dh.pem"
    making = ["-genparam", "-algorithm", "DH", "-pkeyopt", "group:ffdhe2048"]
    subprocess.run(["openssl", "genpkey", *making, "-out", path], check=True, capture_output=True)
    parameters: Any
    for parameters in (path, path.read_bytes(), path.read_text(), "auto"):
        assert suite({"dhparam": parameters, **OLD}, {"ciphers": DHE}) == (DHE, "TLSv1.2")
    assert suite(OLD, {"ciphers": DHE})[0] == ("tlsClientError", "ERR_SSL_NO_SHARED_CIPHER")
    with pytest.raises(tls.TLSError):
        tls.create_secure_context(dhparam="no parameters")


def test_the_order_of_the_servers_suites_wins_unless_told_otherwise() -> None:
    names = ["ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-AES128-GCM-SHA256"]
    theirs = {"ciphers": ":".join(reversed(names))}
    for option, expected in (({}, 0), ({"honor_cipher_order": False}, 1)):
        ours = {"ciphers": ":".join(names), **OLD, **option}
        assert suite(ours, theirs) == (names[expected], "TLSv1.2")


def test_further_options_of_openssl() -> None:
    assert suite({"secure_options": ssl.OP_NO_TLSv1_3}, {})[1] == "TLSv1.2"
    assert suite({}, {"secure_options": int(ssl.OP_NO_TLSv1_3)})[1] == "TLSv1.2"
    with pytest.raises(pyuvnet.ArgTypeError):
        tls.create_secure_context(secure_options="x")  # type: ignore[arg-type]


def test_a_curve() -> None:
    both = {"ecdh_curve": "secp384r1"}
    assert suite({**both, **OLD}, both)[1] == "TLSv1.2"
    assert suite({**both, **OLD}, {"ecdh_curve": "prime256v1"}) != suite({**both, **OLD}, both)


def test_suites_of_tls_1_3_are_all_or_none() -> None:
    names = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
    assert suite({"ciphers": names}, {})[1] == "TLSv1.3"
    # No suite of an earlier version is left.
    assert suite({"ciphers": names}, OLD)[0][0] == "tlsClientError"


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_a_server_sends_so_many_tickets(count: int) -> None:
    both = Both({"num_tickets": count})
    sessions: list[Any] = []
    both.accepted = lambda socket: socket.end("fine")
    both.connected = lambda client: client.on("session", sessions.append)
    both.run()
    assert both.got == b"fine"
    assert len(sessions) == count


def test_a_client_takes_a_least_size_without_effect() -> None:
    assert suite({}, {"min_dh_size": 2048})[1] == "TLSv1.3"


@pytest.mark.parametrize("resumed", [False, True], ids=["full", "resumed"])
def test_the_messages_that_end_a_handshake(resumed: bool) -> None:
    """Python has the first of the two: the client's, and the server's if a session is resumed."""
    both = Both(OLD)
    both.clients = 2 if resumed else 1
    found: dict[str, Any] = {}

    def look(name: str, socket: tls.TLSSocket) -> None:
        for method in ("get_finished", "get_peer_finished"):
            try:
                found[f"{name}.{method}"] = getattr(socket, method)()
            except pyuvnet.StateError as error:
                found[f"{name}.{method}"] = error.code

    def connected(client: tls.TLSSocket) -> None:
        found["reused"] = client.is_session_reused()
        look("client", client)
        client.on("session", lambda session: both.client_options.update(session=session))

    both.connected = connected
    both.accepted = lambda socket: (look("server", socket), socket.end())
    before = tls.TLSSocket()
    assert (before.get_finished(), before.get_peer_finished()) == (None, None)
    both.run()
    assert found.pop("reused") is resumed
    ours, theirs = ("server", "client") if resumed else ("client", "server")
    message = found.pop(f"{ours}.get_finished")
    assert len(message) == 12
    assert found.pop(f"{theirs}.get_peer_finished") == message
    assert set(found.values()) == {"ERR_FEATURE_UNAVAILABLE_ON_PLATFORM"}


def test_tls_1_3_has_no_such_messages() -> None:
    both = Both()
    codes: list[str] = []

    def connected(client: tls.TLSSocket) -> None:
        for method in (client.get_finished, client.get_peer_finished):
            with pytest.raises(pyuvnet.StateError) as raised:
                method()
            codes.append(raised.value.code)
        client.disable_renegotiation()

    both.connected = connected
    both.run()
    assert codes == ["ERR_FEATURE_UNAVAILABLE_ON_PLATFORM"] * 2


class Refusing:
    """An SSLObject that makes no records."""

    def __init__(self, made: ssl.SSLObject) -> None:
        self.made = made

    def __getattr__(self, name: str) -> Any:
        if name == "_sslobj":
            raise AttributeError(name)
        return getattr(self.made, name)

    def write(self, data: bytes) -> int:
        error = ssl.SSLError(1, "[SSL: BAD_LENGTH] bad length (_ssl.c:2406)")
        error.reason, error.library = "BAD_LENGTH", "SSL"
        raise error


def test_a_write_that_fails_says_what_tls_says() -> None:
    """Node: 'EPROTO', with OpenSSL's line in the text."""

    class Context(ssl.SSLContext):
        def wrap_bio(self, *args: Any, **keywords: Any) -> Any:
            return Refusing(super().wrap_bio(*args, **keywords))

    context = Context(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(PKI / "ca.pem")
    errors: list[Any] = []
    server = tls.create_server(KEYS, lambda socket: socket.on("error", print)).listen(0)
    client = tls.connect(
        server.address().port, "127.0.0.1", context=context, servername="localhost"
    )
    client.on("secureConnect", lambda: client.write("x", errors.append))
    client.on("error", errors.append)
    client.on("close", lambda had_error: server.close())
    pyuvnet.run()
    assert len(errors) == 2
    error = errors[0]
    assert error is errors[1]
    assert isinstance(error, tls.TLSError)
    assert (error.code, error.syscall, error.errno) == ("EPROTO", "write", errno.EPROTO)
    assert (error.reason, error.library) == ("BAD_LENGTH", "SSL")
    assert str(error) == "write EPROTO bad length"
    assert error.__cause__.code == "ERR_SSL_BAD_LENGTH"


@pytest.mark.spec("D167")
def test_a_handshake_that_fails_has_its_own_error_for_what_waits_too() -> None:
    """Node's is 'EPROTO' then."""
    codes: list[Any] = []
    server = net.create_server(lambda socket: socket.resume().end("this is text\r\n")).listen(0)
    client = tls.connect(server.address().port, "127.0.0.1", TRUST)
    client.write("x")
    client.on("error", lambda error: codes.append(error.code))
    client.on("close", lambda had_error: server.close())
    pyuvnet.run()
    assert codes == ["ERR_SSL_WRONG_VERSION_NUMBER"]


# ---- Sessions ------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("renewed", [False, True], ids=["same", "renewed"])
def test_a_session_resumes(version: str, renewed: bool) -> None:
    both = Both({"max_version": version})
    both.clients = 2
    reused: list[Any] = []

    def accepted(socket: tls.TLSSocket) -> None:
        reused.append(socket.is_session_reused())
        socket.end("x")

    def connected(client: tls.TLSSocket) -> None:
        reused.append(client.is_session_reused())
        # Late enough for TLS 1.2, where the event came before.
        client.on("session", keep)

    def keep(session: Any) -> None:
        both.client_options["session"] = session

    both.accepted, both.connected = accepted, connected
    follow = both.next

    def again() -> None:
        if renewed and both.clients == 1:
            both.server.set_secure_context({**KEYS, "max_version": version})
        follow()
        both.client.on("session", keep)

    both.next = again  # type: ignore[method-assign]
    both.run()
    assert sorted(reused) == [False, False, True, True]
    assert repr(both.client_options["session"]) == "<Session>"


@pytest.mark.spec("D157")
def test_a_session_of_another_context_is_not_used() -> None:
    both = Both()
    both.clients = 2
    reused: list[bool] = []
    both.connected = lambda client: reused.append(client.is_session_reused())
    follow = both.next

    def again() -> None:
        if both.clients == 1:
            both.client_options["ciphers"] = "ECDHE-ECDSA-AES128-GCM-SHA256"
        follow()
        both.client.on("session", lambda s: both.client_options.update(session=s))

    both.next = again  # type: ignore[method-assign]
    both.run()
    assert reused == [False, False]


# ---- Servers -------------------------------------------------------------------------------------


def test_certificates_are_renewed_without_a_restart() -> None:
    both = Both()
    both.clients = 3
    names: list[str] = []

    def connected(client: tls.TLSSocket) -> None:
        names.append(client.get_peer_certificate().subject.CN)  # type: ignore[union-attr]
        if len(names) == 1:
            both.server.set_secure_context(OTHER)
            both.client_options["servername"] = "other.example"
        elif len(names) == 2:
            with pytest.raises(tls.TLSError):
                both.server.set_secure_context(key=OTHER["key"], cert=KEYS["cert"])

    both.connected = connected
    both.run()
    assert names == ["localhost", "other.example", "other.example"]


@pytest.mark.parametrize("kind", ["return", "coroutine", "raises"])
def test_a_server_chooses_by_name(kind: str) -> None:
    other = tls.create_secure_context(OTHER)

    def choose(name: str, callback: Any) -> Any:
        if kind == "raises":
            raise RuntimeError("no")
        return other if kind == "return" else later()

    async def later() -> Any:
        await asyncio.sleep(0.01)
        return other

    async def main() -> Both:
        both = Both({"sni_callback": choose}, {"servername": "other.example"})
        both.accepted = lambda socket: socket.end("fine")
        both.server.on("secureConnection", lambda socket: both.accepted(socket))
        both.server.on("tlsClientError", lambda error, s: both.events.append(str(error)))
        both.server.listen(0)
        both.next()
        await both.server.wait_closed()
        return both

    both = asyncio.run(main())
    if kind == "raises":
        assert both.events[0] == "no"
    else:
        assert both.got == b"fine"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_coroutine_for_a_name_needs_asyncio() -> None:
    async def choose(name: str, callback: Any) -> None:
        raise AssertionError("never run")

    # As in a process that has never run asyncio, in which it would make a loop that nobody runs.
    asyncio.set_event_loop_policy(None)
    both = Both({"sni_callback": choose, "handshake_timeout": 3000}).run()
    assert both.events[0] == ("tlsClientError", "ERR_NO_ASYNC_LOOP")


def test_a_coroutine_for_a_name_that_is_cancelled_ends_the_handshake() -> None:
    async def choose(name: str, callback: Any) -> None:
        raise asyncio.CancelledError

    async def main() -> list[Any]:
        both = Both({"sni_callback": choose})
        both.server.listen(0)
        both.next()
        await both.server.wait_closed()
        return both.events

    assert pyuvnet.run(main()) == [("error", "ECONNRESET")]


def test_certificates_are_renewed_under_load() -> None:
    """Every connection gets one certificate or the other, whole."""
    server = tls.create_server(KEYS, lambda socket: socket.end(bytes(50_000)))
    contexts = [KEYS, {"key": PKI / "rsa.key", "cert": PKI / "rsa.pem"}]
    sizes: list[int] = []
    kinds: set[int] = set()
    left = 60

    def next_one() -> None:
        nonlocal left
        if not left:
            if len(sizes) == 60:
                server.close()
            return
        left -= 1
        server.set_secure_context(contexts[left % 2])
        got = bytearray()
        client = tls.connect(port=server.address().port, host="127.0.0.1", **TRUST)
        client.on("secureConnect", lambda: kinds.add(client.get_peer_certificate().bits))
        client.on("data", got.extend)
        client.on("close", lambda had_error: (sizes.append(len(got)), next_one()))

    def listening() -> None:
        for _ in range(10):
            next_one()

    server.listen(0, listening)
    pyuvnet.run()
    assert sizes == [50_000] * 60
    assert kinds == {256, 2048}


@pytest.mark.spec("D154")
def test_a_handshake_has_its_time() -> None:
    server = tls.create_server({**KEYS, "handshake_timeout": 30})
    events: list[Any] = []
    client = net.Socket()

    def failed(error: Any, socket: tls.TLSSocket) -> None:
        events.append((error.code, socket.destroyed))
        server.close()

    server.on("tlsClientError", failed)
    server.listen(0, lambda: client.connect(server.address().port))
    client.on("end", lambda: events.append("end"))
    client.resume()
    pyuvnet.run()
    assert events == [("ERR_TLS_HANDSHAKE_TIMEOUT", True), "end"]


def test_a_peer_that_does_not_read_what_came_before_tls_has_the_time_of_a_handshake() -> None:
    codes: list[str] = []

    def upgrade(plain: net.Socket) -> None:
        plain.write(bytes(20_000_000))
        context = tls.create_secure_context(KEYS)
        secure = tls.TLSSocket(plain, is_server=True, secure_context=context, handshake_timeout=30)
        secure.on("error", lambda error: codes.append(error.code))
        secure.on("close", lambda had_error: (client.destroy(), server.close()))

    client = net.Socket()
    server = net.create_server(upgrade)
    server.listen(0, lambda: client.connect(server.address().port).pause())
    pyuvnet.run()
    assert codes == ["ERR_TLS_HANDSHAKE_TIMEOUT"]


@pytest.mark.parametrize("seen", [False, True], ids=["", "with 'connection'"])
@pytest.mark.parametrize(
    ("sent", "options"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", {}),
        (b"", {"handshake_timeout": 30}),
        (b"", {"first_byte_timeout": 30, "max_lifetime": 30}),
    ],
    ids=["plain text", "silence", "a deadline"],
)
def test_the_server_counts_a_failed_handshake_once(
    sent: bytes, options: dict[str, Any], seen: bool
) -> None:
    server = tls.create_server({**KEYS, **options})
    codes: list[str] = []
    client = net.Socket()
    server.on("tlsClientError", lambda error, socket: codes.append(error.code))
    if seen:
        server.on("connection", lambda socket: None)
    server.listen(0, lambda: client.connect(server.address().port).write(sent))
    client.on("close", lambda had_error: server.close())
    client.on("error", lambda error: None)
    client.resume()
    pyuvnet.run()
    assert len(codes) == 1
    assert server.stats().errors == {codes[0]: 1}


def test_only_so_many_handshakes_are_unfinished() -> None:
    server = tls.create_server({**KEYS, "max_handshakes": 2, "handshake_timeout": 500})
    plain = [net.Socket() for _ in range(2)]
    events: list[Any] = []
    server.on("secureConnection", lambda socket: (events.append("secure"), socket.end()))
    server.on("tlsClientError", lambda error, socket: events.append(error.code))

    def listening() -> None:
        port = server.address().port
        for stalled in plain:
            stalled.resume()
            stalled.connect(port)
        pyuvnet.set_timeout(later, 250)

    def later() -> None:
        for _ in range(3):
            client = tls.connect(port=server.address().port, host="127.0.0.1", **TRUST)
            client.resume()
            client.on("close", closed)

    def closed(had_error: bool) -> None:
        if events.count("secure") == 3:
            server.close()

    server.listen(0, listening)
    pyuvnet.run()
    # Nobody was served while two were stalled.
    assert events[0] == "ERR_TLS_HANDSHAKE_TIMEOUT"
    assert events.count("secure") == 3
    assert events.count("ERR_TLS_HANDSHAKE_TIMEOUT") == 2
    assert not server._unfinished
    assert not server._waiting


def test_hundreds_of_stalled_handshakes_do_no_harm() -> None:
    server = tls.create_server({**KEYS, "handshake_timeout": 300})
    got: list[bytes] = []
    failures: list[str] = []
    count: list[int] = []
    server.on("secureConnection", lambda socket: socket.end("served"))
    server.on("tlsClientError", lambda error, socket: failures.append(error.code))
    stalled = [net.Socket() for _ in range(200)]

    def listening() -> None:
        for number, socket in enumerate(stalled):
            socket.resume()
            socket.on("error", lambda error: None)
            socket.connect(server.address().port, "127.0.0.1")
            socket.write(b"\x16\x03\x01\x02\x00\x01"[: number % 7])

    def connected(_: net.Socket) -> None:
        count.append(1)
        if len(count) == len(stalled):
            pyuvnet.next_tick(serve)

    def serve() -> None:
        client = tls.connect(port=server.address().port, host="127.0.0.1", **TRUST)
        client.on("data", got.append)
        client.on("close", lambda had_error: server.close())

    server.on("connection", connected)
    server.listen(0, listening)
    pyuvnet.run()
    assert got == [b"served"]
    assert len(failures) == 200


def test_a_listener_of_connection_sees_the_plain_socket_and_may_end_it() -> None:
    server = tls.create_server(KEYS)
    events: list[Any] = []
    server.on("connection", lambda socket: (events.append(type(socket)), socket.destroy()))
    server.on("secureConnection", lambda socket: events.append("secure"))

    def listening() -> None:
        client = tls.connect(port=server.address().port, host="127.0.0.1", **TRUST)
        client.on("error", lambda error: events.append(error.code))
        client.on("close", lambda had_error: server.close())

    server.listen(0, listening)
    pyuvnet.run()
    assert events == [net.Socket, "ECONNRESET"]


@pytest.mark.spec("D25")
@pytest.mark.parametrize("raises", [False, True])
def test_a_connection_without_a_listener_stays_and_one_whose_listener_raises_is_closed(
    raises: bool,
) -> None:
    server = tls.create_server(KEYS)
    events: list[str] = []

    def connection(socket: tls.TLSSocket) -> None:
        raise ValueError("not taken")

    def secured(error: object) -> None:
        if not raises:
            next(iter(server.sockets)).end(b"kept")

    def listening() -> None:
        client = tls.connect(port=server.address().port, host="127.0.0.1", **TRUST)
        client.on("secureConnect", lambda: client.write(b"x", secured))
        client.on("data", lambda data: events.append(data.decode()))
        client.on("error", lambda error: events.append(error.code))
        # What the client has written remains unread.
        client.on("close", lambda had_error: server.close().destroy_sockets())

    if raises:
        server.on("secureConnection", connection)
        pyuvnet.set_exception_handler(lambda error: events.append(str(error)))
    server.listen(0, listening)
    pyuvnet.run()
    if raises:
        assert events[0] == "not taken"
        assert events[1:] in ([], ["ERR_TLS_TRUNCATED"], ["ECONNRESET"])
    else:
        assert events == ["kept"]


# ---- STARTTLS ------------------------------------------------------------------------------------


def smtp_like(early: bytes = b"", end_early: bool = False) -> tuple[list[str], list[Any]]:
    """A server with STARTTLS; returns what it read in the clear, and what it read encrypted."""
    clear: list[str] = []
    secret: list[Any] = []

    def serve(plain: net.Socket) -> None:
        plain.set_framing(framing.Lines())

        def line(data: bytes) -> None:
            clear.append(data.decode("latin-1"))
            if data == b"STARTTLS":
                plain.write("220 go ahead\r\n")
                secure = tls.TLSSocket(plain, is_server=True, **KEYS)
                secure.on("data", lambda data: (secret.append(bytes(data)), secure.end("250 ok")))
                secure.on("error", lambda error: secret.append(error.code))

        plain.on("data", line)
        plain.write("220 ready\r\n")

    server = net.create_server(serve)

    def listening() -> None:
        client = net.connect(server.address().port, "127.0.0.1")

        def greeted(data: bytes) -> None:
            client.write(b"STARTTLS\r\n" + early)
            client.once("data", accepted)

        def accepted(data: bytes) -> None:
            secure = tls.connect(socket=client, **TRUST)
            secure.write("EHLO")
            secure.on("data", lambda data: secret.append(("answer", bytes(data))))
            secure.on("error", lambda error: secret.append(("client", error.code)))
            secure.on("close", lambda had_error: server.close())

        client.once("data", greeted)

    server.listen(0, listening)
    pyuvnet.run()
    return clear, secret


def test_a_connection_is_upgraded_on_both_sides() -> None:
    clear, secret = smtp_like()
    assert clear == ["STARTTLS"]
    assert secret == [b"EHLO", ("answer", b"250 ok")]


def test_text_that_came_before_the_handshake_is_never_delivered() -> None:
    clear, secret = smtp_like(early=b"RCPT TO:<evil>\r\n")
    assert clear == ["STARTTLS"]
    assert b"RCPT TO:<evil>" not in secret
    assert "ERR_SSL_WRONG_VERSION_NUMBER" in secret


def test_a_hello_that_waits_in_the_plain_socket_goes_to_the_engine() -> None:
    server = net.create_server()
    got: list[bytes] = []

    def accepted(plain: net.Socket) -> None:
        plain.on("readable", lambda: None)
        pyuvnet.set_timeout(upgrade, 40, plain)

    def upgrade(plain: net.Socket) -> None:
        assert plain.readable_length > 100
        secure = tls.TLSSocket(plain, {"is_server": True, **KEYS})
        secure.on("data", lambda data: (got.append(bytes(data)), secure.end()))
        assert plain.read() is None

    server.on("connection", accepted)

    def listening() -> None:
        client = tls.connect(port=server.address().port, host="127.0.0.1", **TRUST)
        client.write("early")
        client.on("close", lambda had_error: server.close())

    server.listen(0, listening)
    pyuvnet.run()
    assert got == [b"early"]


def test_a_plain_socket_that_was_upgraded_reads_and_writes_no_more() -> None:
    seen: list[Any] = []
    read: list[bytes] = []

    def accepted(plain: net.Socket) -> None:
        plain.on("data", read.append)
        secure = tls.TLSSocket(plain, is_server=True, **KEYS)
        secure.on("data", lambda data: (look(plain), secure.end(bytes(data))))
        # An error of the plain socket is that of the one which has its connection.
        secure.on("error", lambda error: seen.append(("secure", error.code)))

    def look(plain: net.Socket) -> None:
        plain.on("error", lambda error: seen.append(("error", error.code)))
        seen.append((plain.read(), plain.bytes_written))
        plain.write("in the clear", lambda error: seen.append(error is None))
        plain.resume()

    server = net.create_server(accepted).listen(0)
    client = tls.connect(server.address().port, "127.0.0.1", TRUST)
    got: list[bytes] = []
    client.write("question")
    client.on("data", lambda data: got.append(bytes(data)))
    client.on("error", lambda error: seen.append(error))
    client.on("close", lambda had_error: server.close())
    pyuvnet.run()
    # What it wrote never left, and the two go together.
    assert seen[0] == (None, 0)
    assert ("secure", "ERR_SOCKET_CLOSED") in seen
    assert True not in seen
    assert b"in the clear" not in b"".join(got)
    assert read == []


@pytest.mark.spec("D151")
@pytest.mark.parametrize("is_server", [True, False])
def test_a_connection_that_is_over_before_it_is_wrapped(is_server: bool) -> None:
    """Node's socket stays open for ever."""
    seen: list[Any] = []

    def accepted(plain: net.Socket) -> None:
        plain.resume().on("close", lambda had_error: wrap(plain))

    def wrap(plain: net.Socket) -> None:
        keys = KEYS if is_server else {}
        secure = tls.TLSSocket(plain, is_server=is_server, **keys)
        if not is_server:
            secure.on("error", lambda error: seen.append(error.code))
        secure.on("close", lambda had_error: (seen.append(had_error), server.close()))

    server = net.create_server(accepted).listen(0)
    net.connect(server.address().port, "127.0.0.1").end()
    pyuvnet.run()
    assert seen == ([False] if is_server else ["ECONNRESET", True])


def test_a_handshake_that_waits_for_what_was_written_before_it_is_counted() -> None:
    """A peer that does not read a greeting takes the place of a handshake."""
    seen: list[Any] = []
    clients: list[Any] = []

    def greet(plain: net.Socket) -> None:
        if len(clients) == 1:
            plain.write(bytes(9_000_000))
            clients.append(tls.connect(server.address().port, "127.0.0.1", TRUST))

    server = tls.create_server(max_handshakes=1, handshake_timeout=60, **KEYS)
    server.on("connection", greet)
    server.on("tlsClientError", lambda error, socket: seen.append(error.code))
    server.on("secureConnection", lambda socket: (seen.append("secure"), socket.end()))
    server.listen(0)
    clients.append(net.connect(server.address().port, "127.0.0.1").pause())
    server.on("secureConnection", lambda socket: (server.close(), clients[0].destroy()))
    pyuvnet.run()
    assert seen == ["ERR_TLS_HANDSHAKE_TIMEOUT", "secure"]


class End(Duplex):
    """One end of a pair of streams in memory."""

    other: End

    def _read(self, size: int) -> None: ...

    def _write(self, data: Any, encoding: Any, callback: Any) -> None:
        self.other.push(data)
        callback()

    def _final(self, callback: Any) -> None:
        self.other.push(None)
        callback()


def ends() -> tuple[End, End]:
    near, far = End(), End()
    near.other, far.other = far, near
    return near, far


@pytest.mark.parametrize("side", ["server", "client"])
def test_what_a_stream_has_before_tls_is_never_taken_for_data(side: str) -> None:
    """As after STARTTLS, where the commands behind it may be somebody else's."""
    seen: list[Any] = []
    near, far = ends()
    server = tls.create_server(KEYS, handshake_timeout=2000)
    server.on("tlsClientError", lambda error, socket: seen.append(error.code))
    server.on("secureConnection", lambda socket: socket.on("data", seen.append))
    (far if side == "server" else near).push(b"MAIL FROM:<evil>\r\n")
    server.emit("connection", far)
    client = tls.connect(socket=near, **TRUST)
    client.on("error", lambda error: seen.append(error.code)).on("data", seen.append)
    pyuvnet.run()
    client.destroy()
    near.destroy()
    far.destroy()
    pyuvnet.run()
    assert "ERR_SSL_WRONG_VERSION_NUMBER" in seen
    assert all(isinstance(each, str) for each in seen)


def test_a_stream_that_decodes_cannot_carry_tls() -> None:
    seen: list[Any] = []
    near, far = ends()
    server = tls.create_server(KEYS)
    server.on("tlsClientError", lambda error, socket: seen.append(error.code))
    far.on("error", lambda error: None).set_encoding("latin1")
    server.emit("connection", far)
    near.write(b"\x16\x03\x01")
    near.on("error", lambda error: None)
    pyuvnet.run()
    near.destroy()
    pyuvnet.run()
    assert seen == ["ERR_STREAM_WRAP"]


def test_a_secure_socket_is_a_stream_for_a_server_too() -> None:
    got: list[bytes] = []
    inner = tls.create_server(OTHER, lambda socket: socket.end("hi"))
    outer = tls.create_server(KEYS, lambda socket: inner.emit("connection", socket))

    def listening() -> None:
        first = tls.connect(port=outer.address().port, host="127.0.0.1", **TRUST)
        second = tls.connect(socket=first, ca=PKI / "ca.pem", servername="other.example")
        second.on("data", lambda data: got.append(bytes(data)))
        second.on("close", lambda had_error: (first.destroy(), outer.close()))

    outer.listen(0, listening)
    pyuvnet.run()
    assert got == [b"hi"]


def test_over_any_duplex_stream() -> None:
    """TLS within TLS: the inner one has no handle of its own."""
    outer = tls.create_server(KEYS)
    got: list[bytes] = []

    def accepted(stream: tls.TLSSocket) -> None:
        inner = tls.TLSSocket(stream, is_server=True, **OTHER)
        inner.on("data", lambda data: inner.end(b"inner " + data))

    outer.on("secureConnection", accepted)

    def listening() -> None:
        first = tls.connect(port=outer.address().port, host="127.0.0.1", **TRUST)
        second = tls.connect(socket=first, ca=PKI / "ca.pem", servername="other.example")
        second.write("hello")
        second.on("data", lambda data: got.append(bytes(data)))
        second.on("close", lambda had_error: (first.destroy(), outer.close()))

    outer.listen(0, listening)
    pyuvnet.run()
    assert got == [b"inner hello"]


def through(under: net.Socket) -> streams.Duplex:
    """A stream with the bytes of a socket, and with high water marks of its own."""
    over = streams.Duplex(
        read=lambda size: under.resume(),
        write=lambda chunk, encoding, callback: under.write(chunk, callback),
        final=lambda callback: under.end(callback=callback),
    )
    under.on("data", lambda chunk: over.push(chunk) or under.pause())
    under.on("end", lambda: over.push(None)).on("close", lambda had_error: over.destroy())
    return over


def test_megabytes_both_ways_over_a_stream_need_no_descriptor() -> None:
    size = 3_000_000
    got = {"there": 0, "here": 0}
    opened: list[int] = []

    def swallow(name: str, socket: net.Socket) -> None:
        socket.on("data", lambda data: got.update({name: got[name] + len(data)}))

    def accepted(under: net.Socket) -> None:
        before = len(os.listdir("/proc/self/fd"))
        socket = tls.TLSSocket(through(under), is_server=True, **KEYS)
        opened.append(len(os.listdir("/proc/self/fd")) - before)
        swallow("there", socket)
        socket.end(bytes(size))
        socket.on("close", lambda had_error: server.close())

    server = net.create_server(accepted, allow_half_open=True).listen(0)
    client = tls.connect(socket=through(net.connect(server.address().port, "127.0.0.1")), **TRUST)
    swallow("here", client)
    client.end(bytes(size))
    pyuvnet.run()
    assert got == {"there": size, "here": size}
    assert opened == [0]


@pytest.mark.parametrize("how", ["ended", "finished", "destroyed", "later"])
def test_a_stream_with_a_side_that_has_ended_fails_at_once(how: str) -> None:
    stream = streams.Duplex(read=lambda size: None, write=lambda chunk, encoding, done: done())
    seen: list[Any] = []
    if how == "ended":
        stream.resume().push(None)
    elif how == "finished":
        stream.end()
    elif how == "destroyed":
        stream.destroy()

    def wrap() -> None:
        client = tls.connect(socket=stream, **TRUST)
        client.on("error", lambda error: seen.append(error.code))
        client.on("close", lambda had_error: seen.append(had_error))
        if how == "later":
            pyuvnet.set_immediate(stream.push, None)

    pyuvnet.set_immediate(wrap)
    pyuvnet.run()
    assert seen == ["ECONNRESET", True]


class Held(streams.Duplex):
    """Another stream, which sends nothing between hold() and go_on()."""

    def __init__(self, under: net.Socket) -> None:
        super().__init__()
        self.under = under
        self.holds = False
        self.held: Callable[[], object] | None = None
        under.on("data", self.push).on("end", lambda: self.push(None))
        under.on("close", lambda had_error: self.destroy())

    def hold(self) -> None:
        self.holds = True

    def go_on(self) -> None:
        self.holds, held, self.held = False, self.held, None
        if held is not None:
            held()

    def _read(self, size: int) -> None:
        pass

    def _write(self, chunk: Any, encoding: str | None, callback: Any) -> None:
        def write() -> None:
            self.under.write(chunk, callback)

        if self.holds:
            self.held = write
        else:
            write()

    def _final(self, callback: Any) -> None:
        self.under.end(callback)

    def _destroy(self, error: BaseException | None, callback: Any) -> None:
        self.under.destroy()
        callback(error)


def test_what_was_written_has_left_through_a_slower_stream_at_the_finish() -> None:
    got: list[bytes] = []
    events: list[Any] = []

    def accepted(under: net.Socket) -> None:
        outer = Held(under)
        inner = tls.TLSSocket(outer, is_server=True, **KEYS)
        inner.resume()
        inner.on("secure", lambda: (outer.hold(), inner.end(bytes(100_000))))
        inner.on("secure", lambda: pyuvnet.set_immediate(outer.go_on))
        inner.on("finish", inner.destroy)
        inner.on("close", lambda had_error: events.append("inner"))
        outer.on("close", lambda: events.append("outer"))

    server = net.create_server(accepted)

    def listening() -> None:
        client = tls.connect(port=server.address().port, host="127.0.0.1", **TRUST)
        client.on("data", lambda data: got.append(bytes(data)))
        client.on("error", lambda error: events.append(error.code))
        client.on("end", lambda: events.append("end"))
        client.on("close", lambda had_error: server.close())

    server.listen(0, listening)
    pyuvnet.run()
    assert len(b"".join(got)) == 100_000
    assert sorted(events) == ["end", "inner", "outer"]


def test_a_destroyed_socket_sends_no_more_through_another_stream() -> None:
    events: list[Any] = []

    def accepted(under: net.Socket) -> None:
        outer = Held(under)
        inner = tls.TLSSocket(outer, is_server=True, **KEYS)
        inner.on("secure", lambda: (outer.hold(), inner.write(bytes(100_000))))
        inner.on("secure", lambda: pyuvnet.set_immediate(inner.destroy))
        inner.on("close", lambda had_error: events.append("inner"))
        outer.on("close", lambda: events.append("outer"))

    server = net.create_server(accepted)

    def listening() -> None:
        client = tls.connect(port=server.address().port, host="127.0.0.1", **TRUST)
        client.resume()
        client.on("error", lambda error: events.append(error.code))
        client.on("close", lambda had_error: server.close())

    server.listen(0, listening)
    pyuvnet.run()
    assert sorted(events) == ["inner", "outer"]


def test_a_plain_socket_and_its_secure_one_go_together() -> None:
    server = net.create_server(lambda socket: socket.resume())
    events: list[str] = []

    def listening() -> None:
        plain = net.connect(server.address().port, "127.0.0.1")
        secure = tls.connect(socket=plain, **TRUST)
        plain.on("close", lambda had_error: events.append("plain"))
        secure.on("close", lambda had_error: (events.append("secure"), server.close()))
        plain.on("connect", lambda: pyuvnet.set_timeout(plain.destroy, 10))

    server.listen(0, listening)
    pyuvnet.run()
    assert sorted(events) == ["plain", "secure"]


# ---- Everything that a socket has ----------------------------------------------------------------


def test_framing_over_tls() -> None:
    both = Both({"framing": framing.Lines()})
    lines: list[bytes] = []

    def accepted(socket: tls.TLSSocket) -> None:
        socket.on("data", lines.append)
        socket.on("end", socket.end)

    both.accepted = accepted
    both.connected = lambda client: client.end(b"one\ntwo\nth" + b"ree\n")
    both.run()
    assert lines == [b"one", b"two", b"three"]


def test_a_pipe_between_two_connections() -> None:
    both = Both()
    data = os.urandom(700_000)
    both.accepted = lambda socket: socket.pipe(socket)
    both.connected = lambda client: client.end(data)
    both.run()
    assert both.got == data


def test_onread_gets_plain_bytes() -> None:
    got = bytearray()
    onread = {"buffer": bytearray(1000), "callback": lambda n, b: got.extend(b[:n])}
    both = Both(client={"onread": onread})
    both.accepted = lambda socket: socket.end(bytes(50_000))
    both.run()
    assert got == bytes(50_000)


def test_a_path(tmp_path: Path) -> None:
    server = tls.create_server(KEYS, lambda socket: socket.end("over a path"))
    got = bytearray()

    def listening() -> None:
        client = tls.connect(str(tmp_path / "sock"), TRUST, lambda: None)
        client.on("data", got.extend)
        client.on("close", lambda had_error: server.close())

    server.listen(str(tmp_path / "sock"), listening)
    pyuvnet.run()
    assert got == b"over a path"


def test_coroutines() -> None:
    async def serve(socket: tls.TLSSocket) -> None:
        async for chunk in socket:
            socket.write(chunk.upper())
        socket.end()

    async def main() -> bytes:
        server = await tls.promises.listen({**KEYS, "port": 0}, connection_listener=serve)
        async with server:
            client = await tls.promises.connect(
                port=server.address().port, host="127.0.0.1", **TRUST
            )
            client.end(b"quiet")
            return b"".join([chunk async for chunk in client])

    assert asyncio.run(main()) == b"QUIET"


def test_a_failed_handshake_raises_in_a_coroutine() -> None:
    async def main() -> None:
        server = await tls.promises.listen({**KEYS, "port": 0})
        async with server:
            with pytest.raises(tls.TLSError, match="issuer"):
                await tls.promises.connect(port=server.address().port, servername="localhost")

    asyncio.run(main())


def test_an_idle_connection_leaves_nothing_behind() -> None:
    both = Both()
    both.clients = 30
    both.accepted = lambda socket: socket.end(bytes(20_000))
    both.run()
    del both
    gc.collect()
    assert not [each for each in gc.get_objects() if isinstance(each, tls.TLSSocket)]


# ---- The module ----------------------------------------------------------------------------------


def test_the_names_of_node() -> None:
    assert tls.createServer is tls.create_server
    assert tls.checkServerIdentity is tls.check_server_identity
    assert tls.DEFAULT_MIN_VERSION == "TLSv1.2"
    assert tls.DEFAULT_MAX_VERSION == "TLSv1.3"
    assert "tls_aes_128_gcm_sha256" in tls.get_ciphers()
    assert tls.Server.setSecureContext is tls.Server.set_secure_context
    assert tls.TLSSocket.getPeerCertificate is tls.TLSSocket.get_peer_certificate
    assert all(pem.startswith("-----BEGIN CERTIFICATE-----") for pem in tls.root_certificates)


def test_import_costs_nothing_without_tls(run_child: Any) -> None:
    names = "ssl", "_ssl", "pyuvnet._core.tls", "pyuvnet._core.engine", "pyuvnet._core.hello"
    code = f"import pyuvnet, sys; print([name for name in {names} if name in sys.modules])"
    assert run_child(code).clean().lines == ["[]"]
    code = f"from pyuvnet import tls; import sys; print({names[2]!r} in sys.modules)"
    assert run_child(code).clean().lines == ["True"]


def test_a_client_trusts_the_systems_store(monkeypatch: pytest.MonkeyPatch) -> None:
    from pyuvnet._tls import context as _tls_context

    # OpenSSL's own way to say where that is.
    monkeypatch.setenv("SSL_CERT_FILE", str(PKI / "ca.pem"))
    monkeypatch.setattr(_tls_context, "_RECENT", {})
    both = Both(client={"ca": None})
    seen: list[bool] = []
    both.connected = lambda client: seen.append(client.authorized)
    assert both.run().events == []
    assert seen == [True]


def test_a_session_of_tls_1_2_is_there_at_once() -> None:
    both = Both({"max_version": "TLSv1.2"})
    seen: list[Any] = []
    both.connected = lambda client: seen.append(client.get_session())
    assert tls.TLSSocket().get_session() is None
    both.run()
    assert isinstance(seen[0], tls.Session)


def test_nothing_secret_shows_to_who_watches() -> None:
    key = (PKI / "server.key").read_text()
    secrets = [key.splitlines()[1], "hunter2"]
    seen: list[str] = []
    steps = [f"tracing:net.server.listen:{step}" for step in ("asyncStart", "asyncEnd", "error")]
    names = ["net.client.socket", "net.server.socket", *steps]

    def watch(message: Any, name: str) -> None:
        seen.append(repr(message))

    for name in names:
        diagnostics.subscribe(name, watch)
    try:
        both = Both({"key": key, "passphrase": "hunter2"})
        both.accepted = lambda socket: socket.end("fine")
        assert both.run().got == b"fine"
    finally:
        for name in names:
            diagnostics.unsubscribe(name, watch)
    assert seen
    assert not any(secret in text for secret in secrets for text in seen)


def test_nothing_secret_shows() -> None:
    context = tls.create_secure_context(KEYS)
    for thing in (context, tls.create_server(KEYS), tls.TLSSocket(**KEYS)):
        assert "PRIVATE" not in repr(thing)
        assert "PRIVATE" not in str(thing)
