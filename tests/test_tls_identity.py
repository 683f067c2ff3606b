"""Who the peer of a TLS connection is: before that is known nothing leaves."""

from __future__ import annotations

import contextlib
import json
import socket as posix
import ssl
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

import pyuvnet
from pyuvnet import net, tls
from pyuvnet._tls.certificate import _oid, certificate, identity_of
from tests.support import play
from tests.support.certificates import EC, certificates
from tests.support.tls import ready_server

PKI = certificates()
KEYS: dict[str, Any] = {"key": PKI / "server.key", "cert": PKI / "server.pem"}
TRUST: dict[str, Any] = {"ca": PKI / "ca.pem", "servername": "localhost"}


def signed(folder: Path, extension: str, subject: str = "/CN=evil.example") -> ssl.SSLContext:
    """A server's context with a certificate of the authority that has this extension."""
    request = [*EC, "-nodes", "-keyout", "odd.key", "-out", "odd.csr"]
    (folder / "odd.ext").write_bytes(extension.encode("latin-1"))
    signing = ["-CA", PKI / "ca.pem", "-CAkey", PKI / "ca.key", "-CAcreateserial", "-days", "9"]
    ends = ["-in", "odd.csr", "-out", "odd.pem", "-extfile", "odd.ext"]
    for command in (
        ["req", *request, "-utf8", "-subj", subject],
        ["x509", "-req", *signing, *ends],
    ):
        subprocess.run(["openssl", *command], cwd=folder, check=True, capture_output=True)
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(folder / "odd.pem", folder / "odd.key")
    return made


def plain_server(context: ssl.SSLContext) -> tuple[int, list[Any], threading.Thread]:
    """A server of Python's own, for one connection: its port, and what it has received."""
    got: list[Any] = []
    listener = posix.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        listener.close()
        connection.settimeout(20)
        try:
            with context.wrap_socket(connection, server_side=True) as secure:
                while data := secure.recv(1000):
                    got.append(data)
        except OSError:
            pass

    thread = threading.Thread(target=serve)
    thread.start()
    return listener.getsockname()[1], got, thread


# ---- Nothing leaves before the peer is known -----------------------------------------------------


def talk_to(context: ssl.SSLContext, **options: Any) -> tuple[list[Any], list[Any]]:
    """Write a secret to a server at once: what it got of that, and the events of the client."""
    port, got, thread = plain_server(context)
    said: list[Any] = []
    client = tls.connect(port, "127.0.0.1", {**TRUST, **options})
    client.write(b"secret")
    client.on("secureConnect", lambda: said.append("secureConnect"))
    client.on("error", lambda error: said.append(type(error).__name__))
    client.on("close", lambda had_error: said.append(("close", had_error)))
    try:
        pyuvnet.run()
    except BaseException as exc:
        said.append(exc)
        pyuvnet.run()
    thread.join()
    return got, said


@pytest.mark.parametrize(
    ("extension", "error"),
    [
        ("subjectAltName=dirName:dir\n[dir]\nCN=localhost", "TLSError"),
        ("subjectAltName=DER:30:0d:82:0b:65:76:69:6c:ff:2e:6c:6f:63:61:6c", "TLSError"),
        ("subjectAltName=DNS:evil.example", "TLSError"),
    ],
)
def test_a_certificate_that_cannot_be_read_is_nobodys(
    tmp_path: Path, extension: str, error: str
) -> None:
    got, said = talk_to(signed(tmp_path, extension))
    assert got == []
    assert said == [error, ("close", True)]


def test_names_that_cannot_be_read_do_not_let_the_common_name_count(tmp_path: Path) -> None:
    """Not in a check of the program's own either, which has only what we show it."""
    # evil, and a UPN that is no UTF-8.
    names = (
        "30:1c:82:04:65:76:69:6c:a0:14:06:0a:2b:06:01:04:01:82:37:14:02:03:a0:06:0c:04:ff:ff:ff:ff"
    )
    context = signed(tmp_path, f"subjectAltName=DER:{names}", "/CN=localhost")
    for check in (None, lambda host, cert: tls.check_server_identity(host, cert)):
        got, said = talk_to(context, check_server_identity=check)
        assert got == []
        assert said == ["TLSError", ("close", True)]


def test_a_listener_that_raises_does_not_let_an_impostor_in(tmp_path: Path) -> None:
    port, got, thread = plain_server(signed(tmp_path, "subjectAltName=DNS:evil.example"))
    codes: list[str] = []
    client = tls.connect(port, "127.0.0.1", TRUST)
    client.write(b"secret")
    client.on("error", lambda error: codes.append(error.code))

    @client.on("secure")
    def check() -> None:
        assert client.authorized, "not authorized"

    with pytest.raises(AssertionError, match="not authorized"):
        pyuvnet.run()
    pyuvnet.run()
    thread.join()
    assert got == []
    assert codes == ["ERR_TLS_CERT_ALTNAME_INVALID"]


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_check_of_the_programs_that_raises_lets_nobody_in(kind: type[BaseException]) -> None:
    def check(host: str, certificate: object) -> None:
        raise kind("no")

    ready = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ready.load_cert_chain(PKI / "server.pem", PKI / "server.key")
    got, said = talk_to(ready, check_server_identity=check)
    assert got == []
    assert "secureConnect" not in said
    assert ("close", True) in said
    assert issubclass(kind, Exception) or any(type(each) is kind for each in said)


# ---- Names ---------------------------------------------------------------------------------------


def test_an_object_identifier_without_end_is_not_read() -> None:
    assert _oid(bytes.fromhex("2a864886f70d010101")) == "1.2.840.113549.1.1.1"
    with pytest.raises(ValueError, match="too long"):
        _oid(b"\x2a" + b"\xff" * 100_000)


ODD_NAMES = {
    "a directory name": "subjectAltName=dirName:dir\n[dir]\nO=me\nCN=x\\, DNS:localhost\\, y",
    "several": "subjectAltName=@a\n[a]\nDNS.1=evil.example\nURI.1=http://x/, DNS:localhost\n"
    "email.1=a@b.example\nIP.1=1.2.3.4\nIP.2=::1\nRID.1=1.2.3.4\notherName.1=1.2.3.4;UTF8:x",
    "a NUL": "subjectAltName=DER:30:0d:82:0b:65:76:69:6c:00:2e:6c:6f:63:61:6c",
    "a space at its end": "subjectAltName=DER:30:0b:82:09:6c:6f:63:61:6c:68:6f:73:20",
    "UTF-8": "subjectAltName=DER:30:08:82:06:61:c3:bc:2e:6c:6f",
    "quotes": "subjectAltName=@a\n[a]\nURI.1=http://x/\\\"\\'\\\\b",
    "addresses of no length": "subjectAltName=DER:30:0b:87:03:01:02:03:87:00:87:02:ff:ff",
    "IPv6": "subjectAltName=IP:2001:db8::abcd",
    "a registered ID": "subjectAltName=RID:1.3.6.1.4.1.311.20.2.3,RID:2.5.4.3",
    "an e-mail in latin-1": "subjectAltName=DER:30:08:81:06:61:e9:40:62:2e:63",
    "another name with NUL": (
        "subjectAltName=DER:30:1a:a0:18:06:0a:2b:06:01:04:01:82:37:14:02:03:a0:0a:0c:08:"
        "65:76:69:6c:00:2e:6c:6f"
    ),
    "other names": "subjectAltName=@a\n[a]\notherName.1=1.3.6.1.4.1.311.20.2.3;UTF8:a@\xc3\xbc\n"
    "otherName.2=1.3.6.1.5.5.7.8.9;UTF8:a,b\notherName.3=1.3.6.1.5.5.7.8.7;IA5:_x.b\n"
    'otherName.4=1.3.6.1.5.5.7.8.7;UTF8:_x.b\notherName.5=1.3.6.1.5.5.7.8.5;UTF8:a\\"b',
    "a directory name with more": "subjectAltName=dirName:dir\n[dir]\n1.CN=a#+;<>\n2.CN=\xe9b\n"
    "1.2.3.4=x",
    "access": "authorityInfoAccess=@a\n[a]\nOCSP;URI.1=http://a/\ncaIssuers;DNS.2=b\n"
    "1.2.3.4;email.3=c@d\n1.3.6.1.5.5.7.48.3;URI.4=http://e/,f\nOCSP;URI.5=http://g/\n"
    "caIssuers;IP.6=1.2.3.4\ncaIssuers;dirName.7=dir\n[dir]\nCN=h\\,i",
    "uses": "extendedKeyUsage=serverAuth,1.2.3.4\nbasicConstraints=CA:TRUE\nkeyUsage=cRLSign",
    "an authority": "basicConstraints=CA:TRUE\nkeyUsage=keyCertSign",
}
SUBJECT = '/C=DE/O=\\/me, "you"/OU=a/OU=b+CN=ü/emailAddress=a@b.c/2.5.4.97=x/street=y/UID=z/DC=q'


@pytest.mark.skipif(play.NODE is None, reason="Node is not installed")
def test_odd_names_are_shown_as_node_shows_them(tmp_path: Path) -> None:
    """Quoted, so that none of them reads as another; and so is all else."""
    pems = {}
    for name, extension in ODD_NAMES.items():
        signed(tmp_path, extension, SUBJECT if name == "uses" else "/CN=evil.example")
        pems[name] = (tmp_path / "odd.pem").read_text()
    for name in ("ca", "client", "rsa", "chained"):
        pems[name] = PKI.joinpath(f"{name}.pem").read_text()
    program = (
        "const {X509Certificate} = require('crypto');"
        "for (const pem of JSON.parse(process.argv[1]))"
        "  console.log(JSON.stringify(new X509Certificate(pem).toLegacyObject()))"
    )
    command = [str(play.NODE), "-e", program, json.dumps(list(pems.values()))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    for name, line in zip(pems, done.stdout.splitlines(), strict=True):
        nodes = json.loads(line)
        for key in ("raw", "pubkey"):
            nodes[key] = bytes(nodes[key]["data"])
        der = ssl.PEM_cert_to_DER_cert(pems[name])
        # The same keys, spelt as Node does.
        assert (name, dict(certificate(der))) == (name, nodes)
        assert (name, identity_of(der).get("subjectaltname")) == (name, nodes.get("subjectaltname"))


def test_a_certificates_keys_are_listed_as_nodes_and_read_as_either() -> None:
    found = certificate(ssl.PEM_cert_to_DER_cert(PKI.joinpath("client.pem").read_text()))
    assert {"valid_from", "valid_to", "ext_key_usage", "serialNumber"} < set(found)
    assert found.validFrom is found.valid_from is found["validFrom"] is found.copy()["validFrom"]
    assert found.serial_number is found["serialNumber"]
    assert found.get("extKeyUsage") is found.ext_key_usage
    assert "validTo" in found
    found.validTo = "never"
    assert found["valid_to"] == "never"


def test_a_damaged_certificate_is_shown_as_far_as_it_can_be_read() -> None:
    """And what it is a certificate for is read whole, or not at all."""
    der = ssl.PEM_cert_to_DER_cert(PKI.joinpath("server.pem").read_text())
    whole = identity_of(der)
    for at in range(len(der)):
        for damaged in (der[:at], der[:at] + bytes([der[at] ^ 0xFF]) + der[at + 1 :]):
            assert certificate(damaged).raw == damaged
            with contextlib.suppress(ValueError, IndexError):
                assert identity_of(damaged).keys() <= whole.keys()


@pytest.mark.parametrize("extension", ["a directory name", "several", "a space at its end"])
def test_a_name_that_reads_as_another_is_not_that_one(tmp_path: Path, extension: str) -> None:
    got, said = talk_to(signed(tmp_path, ODD_NAMES[extension]))
    assert got == []
    assert said == ["TLSError", ("close", True)]


@pytest.mark.spec("D164")
@pytest.mark.parametrize("result", [False, True, 0, "", "no", object()], ids=repr)
def test_only_none_is_a_good_identity(result: object) -> None:
    got, said = talk_to(ready_server(ssl.CERT_NONE), check_server_identity=lambda *_: result)
    assert got == []
    assert said == ["TLSError", ("close", True)]


def test_an_upgraded_connection_is_checked_for_the_host_of_the_plain_one() -> None:
    port, got, thread = plain_server(ready_server(ssl.CERT_NONE))
    codes: list[str] = []

    def lookup(host: str, options: Any, callback: Any) -> None:
        answer = [{"address": "127.0.0.1", "family": 4}]
        callback(None, answer if options.get("all") else "127.0.0.1", 4)

    def upgrade() -> None:
        client = tls.connect(socket=plain, ca=PKI / "ca.pem")
        assert client.write(b"secret")
        client.on("error", lambda error: codes.append(error.code))

    plain = net.connect(port=port, host="bank.example", lookup=lookup)
    plain.on("connect", upgrade)
    pyuvnet.run()
    thread.join()
    assert got == []
    assert codes == ["ERR_TLS_CERT_ALTNAME_INVALID"]


def test_a_host_that_cannot_be_a_servername_is_an_error_with_a_code() -> None:
    codes: list[Any] = []

    def lookup(host: str, options: Any, callback: Any) -> None:
        answer = [{"address": "127.0.0.1", "family": 4}]
        callback(None, answer if options.get("all") else "127.0.0.1", 4)

    server = tls.create_server(KEYS).listen(0)
    server.on("tlsClientError", lambda error, socket: server.close())
    client = tls.connect(server.address().port, "a..b", lookup=lookup)
    client.on("error", lambda error: codes.append(error.code))
    pyuvnet.run()
    assert codes == ["ERR_INVALID_ARG_VALUE"]


def test_names_with_an_open_quote_cannot_be_read() -> None:
    certificate = {"subject": {}, "subjectaltname": 'DNS:"a.example, DNS:a.example'}
    with pytest.raises(tls.TLSError) as caught:
        tls.check_server_identity("a.example", certificate)
    assert caught.value.code == "ERR_TLS_CERT_ALTNAME_FORMAT"
