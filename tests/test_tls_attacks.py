"""TLS as an attacker meets it: who is let in, and what is never sent to whom."""

from __future__ import annotations

import _ssl
import contextlib
import functools
import json
import os
import signal
import socket as posix
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pyuvnet
from pyuvnet import net, tls
from pyuvnet._tls_identity import identity_of
from pyuvnet.errors import ArgTypeError, ArgValueError, RangeError, StateError
from tests.support import play
from tests.support.certificates import certificates

PKI = certificates()
KEYS: dict[str, Any] = {"key": PKI / "server.key", "cert": PKI / "server.pem"}
TRUST: dict[str, Any] = {"ca": PKI / "ca.pem", "servername": "localhost"}
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


def signed(folder: Path, extension: str) -> ssl.SSLContext:
    """A server's context with a certificate of the authority that has this extension."""
    request = ["-newkey", "rsa:2048", "-nodes", "-keyout", "odd.key", "-out", "odd.csr"]
    (folder / "odd.ext").write_bytes(extension.encode("latin-1"))
    signing = ["-CA", PKI / "ca.pem", "-CAkey", PKI / "ca.key", "-CAcreateserial", "-days", "9"]
    ends = ["-in", "odd.csr", "-out", "odd.pem", "-extfile", "odd.ext"]
    for command in (
        ["req", *request, "-subj", "/CN=evil.example"],
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


# ---- Nothing leaves before the peer is known ---------------------------------------------------


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


# ---- Clients' certificates ---------------------------------------------------------------------


def shake(port: int, name: str, session: Any, context: Any) -> tuple[Any, bool, bytes]:
    """A client of Python's own: its session, whether that was resumed, what the server sent."""
    with posix.create_connection(("127.0.0.1", port), 20) as plain:
        secure = context.wrap_socket(
            plain, server_hostname=name, session=session, do_handshake_on_connect=False
        )
        try:
            secure.do_handshake()
            data = secure.recv(10)
            found = secure.session, secure.session_reused, data
        except OSError:
            found = None, False, b""
        secure.close()
    return found


def client_context(version: ssl.TLSVersion, own: bool) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    made.maximum_version = version
    if own:
        made.load_cert_chain(PKI / "client.pem", PKI / "client.key")
    return made


def with_clients(server: Any, play: Callable[[int], None]) -> list[Any]:
    """Play clients in a thread beside a server; whom it let in and whom not."""
    said: list[Any] = []

    def secure(socket: Any) -> None:
        said.append((socket.servername, socket.authorized))
        socket.on("error", lambda error: None)
        socket.end(b"hi")

    def listening() -> None:
        thread.start()

    def run_clients() -> None:
        try:
            play(server.address().port)
        finally:
            loop.call_soon_threadsafe(lambda: (server.close(), server.destroy_sockets()))

    loop = pyuvnet.current_loop()
    thread = threading.Thread(target=run_clients)
    server.on("secureConnection", secure)
    server.on("tlsClientError", lambda error, socket: said.append("refused"))
    server.listen(0, "127.0.0.1", listening)
    pyuvnet.run()
    thread.join()
    return said


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


def ready_server(verify: ssl.VerifyMode) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(PKI / "server.pem", PKI / "server.key")
    made.verify_mode = verify
    made.load_verify_locations(PKI / "ca.pem")
    return made


@pytest.mark.parametrize("way", ["add_context", "sni_callback"])
def test_a_ready_context_of_one_host_asks_for_certificates(way: str) -> None:
    strict = ready_server(ssl.CERT_REQUIRED)

    def play(port: int) -> None:
        for own, expected in ((False, b""), (True, b"hi")):
            context = client_context(VERSIONS[1], own)
            assert shake(port, "admin.example", None, context)[2] == expected

    if way == "add_context":
        server = tls.create_server(**KEYS)
        server.add_context("admin.example", strict)
    else:
        server = tls.create_server(**KEYS, sni_callback=lambda name, callback: strict)
    assert with_clients(server, play) == ["refused", ("admin.example", True)]


@pytest.mark.parametrize(
    "option",
    [
        {"request_cert": True},
        {"reject_unauthorized": False},
        {"alpn_protocols": ["h2"]},
        {"alpn_callback": lambda info: None},
    ],
    ids=lambda option: next(iter(option)),
)
def test_what_a_ready_context_decides_is_no_option(option: dict[str, Any]) -> None:
    with pytest.raises(ArgValueError, match="cannot be used with context"):
        tls.create_server(context=ready_server(ssl.CERT_NONE), **option)


def test_a_ready_context_cannot_do_less_than_its_server() -> None:
    lax = ready_server(ssl.CERT_NONE)
    server = tls.create_server(**KEYS, ca=PKI / "ca.pem", request_cert=True)
    for call in (
        lambda: server.add_context("a.example", lax),
        lambda: server.set_secure_context(context=lax),
    ):
        with pytest.raises(ArgValueError, match="request_cert"):
            call()
    server = tls.create_server(**KEYS, alpn_protocols=["h2"])
    with pytest.raises(ArgValueError, match="ALPN"):
        server.add_context("a.example", lax)
    rules = {"ca": PKI / "ca.pem", "request_cert": True}
    socket = tls.TLSSocket(net.Socket(), {**KEYS, **rules, "is_server": True})
    with pytest.raises(ArgValueError, match="request_cert"):
        socket.set_key_cert(lax)
    socket.on("error", lambda error: None)
    pyuvnet.run()


@pytest.mark.parametrize("name", ["key", "passphrase", "cert"])
def test_errors_do_not_show_secrets(name: str) -> None:
    with pytest.raises(ArgValueError, match=name) as caught:
        tls.create_secure_context(context=ready_server(ssl.CERT_NONE), **{name: "hunter2"})
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(caught.value)


# ---- The hello ---------------------------------------------------------------------------------


def test_a_hello_in_crumbs_is_refused_before_it_costs_anything() -> None:
    def play(port: int) -> None:
        crumb = b"\x16\x03\x01\x00\x01"
        with posix.create_connection(("127.0.0.1", port), 20) as peer:
            start = b"".join(crumb + bytes((each,)) for each in (1, 0, 255, 0))
            peer.sendall(start + (crumb + b"\x00") * 2000)
            with contextlib.suppress(ConnectionError):
                assert peer.recv(1000) == b""

    assert with_clients(tls.create_server(**KEYS), play) == ["refused"]


# ---- Signals in the middle of a record ---------------------------------------------------------


posix_only = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")


class Interrupting:
    """A client that writes much, and a signal handler that runs while records are made."""

    def __init__(self, handler: Callable[[Any], object]) -> None:
        self.received: list[bytes] = []
        self.hit = False
        self.count = 0
        self.said: list[Any] = []
        self.handler = handler
        self.server = tls.create_server(KEYS, self._serve)
        self.server.on("tlsClientError", lambda error, socket: self.server.close())
        self.server.listen(0, "127.0.0.1", self._connect)

    def _serve(self, socket: Any) -> None:
        socket.on("data", self.received.append)
        socket.on("error", lambda error: None)
        socket.on("close", lambda had_error: self.server.close())

    def _connect(self) -> None:
        self.client = tls.connect(self.server.address().port, "127.0.0.1", TRUST)
        self.client.on("error", lambda error: self.said.append(error))
        # What is written before the handshake is over waits, and no record is made.
        self.client.on("secureConnect", lambda: pyuvnet.set_immediate(self._write))

    def _write(self) -> None:
        def handle(number: int, frame: object) -> None:
            self.hit = True
            self.handler(self.client)

        # Making a record lets other threads run: then the signal comes, in the middle of it.
        main = threading.get_ident()
        thread = threading.Thread(target=lambda: signal.pthread_kill(main, signal.SIGUSR1))
        before = signal.signal(signal.SIGUSR1, handle)
        try:
            thread.start()
            while not self.hit and self.count < 5000:
                self.client.write(self.count.to_bytes(2, "big") * 10_000)
                self.count += 1
        finally:
            thread.join()
            signal.signal(signal.SIGUSR1, before)
        if not self.client.destroyed and not self.client.writable_ended:
            for _ in range(20):
                self.client.write(self.count.to_bytes(2, "big") * 10_000)
                self.count += 1
            self.client.end()


@posix_only
def test_a_handler_that_writes_waits_for_the_record_under_way() -> None:
    play = Interrupting(lambda client: client.write(b"!" * 50_000))
    pyuvnet.run()
    assert play.hit
    assert play.said == []
    data = b"".join(play.received)
    assert data.count(b"!" * 50_000) == 1
    whole = b"".join(number.to_bytes(2, "big") * 10_000 for number in range(play.count))
    assert data.replace(b"!" * 50_000, b"") == whole


@posix_only
def test_a_handler_that_ends_loses_nothing_before_it() -> None:
    play = Interrupting(lambda client: client.end(b"!"))
    pyuvnet.run()
    assert play.hit
    data = b"".join(play.received)
    assert data.endswith(b"!")
    whole = b"".join(number.to_bytes(2, "big") * 10_000 for number in range(play.count))
    assert whole.startswith(data[:-1])


@posix_only
def test_a_handler_that_destroys_ends_it() -> None:
    play = Interrupting(lambda client: client.destroy())
    pyuvnet.run()
    assert play.hit
    assert play.client.destroyed


@posix_only
def test_a_handler_that_raises_comes_out_of_the_loop() -> None:
    def interrupt(client: Any) -> None:
        raise KeyboardInterrupt

    play = Interrupting(interrupt)
    with pytest.raises(KeyboardInterrupt):
        pyuvnet.run()
    # It may also have come between two writes, where nobody ends the connection then.
    play.client.destroy()
    pyuvnet.run()
    assert play.hit


def test_an_answer_from_another_thread_is_refused() -> None:
    outcome: list[Any] = []

    def choose(name: str, callback: Any) -> None:
        def answer() -> None:
            try:
                callback(None, None)
            except Exception as error:
                outcome.append(error.code)  # type: ignore[attr-defined]

        thread = threading.Thread(target=answer)
        thread.start()
        thread.join()
        callback(None, None)

    def connect() -> None:
        client = tls.connect(server.address().port, "127.0.0.1", TRUST).resume()
        client.on("end", client.end)

    server = tls.create_server(
        KEYS, lambda socket: (server.close(), socket.end()), sni_callback=choose
    )
    server.listen(0, "127.0.0.1", connect)
    pyuvnet.run()
    assert outcome == ["ERR_WRONG_THREAD"]


# ---- Names -------------------------------------------------------------------------------------


ODD_NAMES = {
    "a directory name": "subjectAltName=dirName:dir\n[dir]\nO=me\nCN=x\\, DNS:localhost\\, y",
    "several": "subjectAltName=@a\n[a]\nDNS.1=evil.example\nURI.1=http://x/, DNS:localhost\n"
    "email.1=a@b.example\nIP.1=1.2.3.4\nIP.2=::1\nRID.1=1.2.3.4\notherName.1=1.2.3.4;UTF8:x",
    "a NUL": "subjectAltName=DER:30:0d:82:0b:65:76:69:6c:00:2e:6c:6f:63:61:6c",
    "a space at its end": "subjectAltName=DER:30:0b:82:09:6c:6f:63:61:6c:68:6f:73:20",
    "UTF-8": "subjectAltName=DER:30:08:82:06:61:c3:bc:2e:6c:6f",
    "quotes": "subjectAltName=@a\n[a]\nURI.1=http://x/\\\"\\'\\\\b",
}


@pytest.mark.skipif(play.NODE is None, reason="Node is not installed")
def test_odd_names_are_shown_as_node_shows_them(tmp_path: Path) -> None:
    """Quoted, so that none of them reads as another."""
    found = []
    for extension in ODD_NAMES.values():
        signed(tmp_path, extension)
        pem = (tmp_path / "odd.pem").read_text()
        decoded = _ssl._test_decode_cert(str(tmp_path / "odd.pem"))
        found.append((pem, identity_of(decoded)["subjectaltname"]))
    program = (
        "const {X509Certificate} = require('crypto');"
        "for (const pem of JSON.parse(process.argv[1]))"
        "  console.log(JSON.stringify(new X509Certificate(pem).toLegacyObject().subjectaltname))"
    )
    command = [str(play.NODE), "-e", program, json.dumps([pem for pem, _ in found])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert [shown for _, shown in found] == [json.loads(line) for line in done.stdout.splitlines()]


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


def test_a_connection_is_upgraded_once() -> None:
    codes: list[str] = []

    def upgrade() -> None:
        client = tls.connect(socket=plain, **TRUST)
        with pytest.raises(StateError) as caught:
            tls.connect(socket=plain, **TRUST)
        codes.append(caught.value.code)
        client.on("secureConnect", client.end)
        client.resume()

    server = tls.create_server(KEYS, lambda socket: (server.close(), socket.end()))
    server.listen(0)
    plain = net.connect(server.address().port, "127.0.0.1", upgrade)
    pyuvnet.run()
    assert codes == ["ERR_INVALID_STATE"]


# ---- Connecting again, and sessions ------------------------------------------------------------


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


# ---- Contexts ----------------------------------------------------------------------------------


def test_new_keys_of_a_server_are_not_those_of_another_with_the_same_context() -> None:
    names: list[Any] = []
    shared = tls.create_secure_context(KEYS)
    servers = [
        tls.create_server({"secure_context": shared}, lambda socket: socket.end()) for _ in range(2)
    ]

    def ask(index: int) -> None:
        client = tls.connect(
            servers[index].address().port, "127.0.0.1", reject_unauthorized=False
        ).resume()
        client.on("secureConnect", lambda: names.append(client.get_peer_certificate().subject.CN))
        client.on("end", client.end)
        client.on("close", lambda had_error: then.pop(0)())

    def renew() -> None:
        servers[0].set_secure_context(key=PKI / "other.key", cert=PKI / "other.pem")
        ask(0)

    def close() -> None:
        for server in servers:
            server.close()

    then: list[Callable[[], object]] = [lambda: ask(1), renew, lambda: ask(1), close]
    for server in servers:
        server.listen(0)
    ask(0)
    pyuvnet.run()
    assert names == ["localhost", "localhost", "other.example", "localhost"]


def test_clients_cannot_fill_memory_with_protocols() -> None:
    made = tls.create_secure_context(KEYS)
    first = made._variant(True, ("first",), False, True)
    for number in range(200):
        made._variant(True, (f"p{number}",), False, True)
        assert made._variant(True, ("first",), False, True) is first
    assert len(made._made) <= 20


def test_handshakes_that_wait_have_a_deadline_too() -> None:
    codes: list[str] = []

    def failed(error: Any, socket: Any) -> None:
        codes.append(error.code)
        if len(codes) == 2:
            server.close()

    server = tls.create_server(KEYS, max_handshakes=1, handshake_timeout=50)
    server.on("tlsClientError", failed)
    server.listen(0)
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(posix.create_connection(("127.0.0.1", server.address().port)))
        pyuvnet.run()
    assert codes == ["ERR_TLS_HANDSHAKE_TIMEOUT"] * 2
    assert not server._waiting


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


def test_an_sni_callback_cannot_choose_a_clients_context() -> None:
    wrong = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    def play(port: int) -> None:
        assert shake(port, "a.example", None, client_context(VERSIONS[1], False))[2] == b""

    server = tls.create_server(**KEYS, sni_callback=lambda name, callback: wrong)
    assert with_clients(server, play) == ["refused"]


def test_keys_are_read_where_the_system_has_no_memory_files(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(*_: object) -> int:
        raise PermissionError

    monkeypatch.setattr(os, "memfd_create", refused, raising=False)
    tls.create_secure_context(KEYS)


# ---- Writes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("limited", [False, True])
def test_nothing_is_encrypted_after_destroy(limited: bool) -> None:
    """A request that has left completes then, while what is behind it is gone."""
    port, thread = sink()
    written: list[bool] = []
    ready = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ready.load_verify_locations(PKI / "ca.pem")

    def watch(connection: Any, direction: str, *_: object) -> None:
        if direction == "write":
            written.append(client.destroyed)

    def write(turns: int) -> None:
        client.write(bytes(8_000_000))
        # By then some of it has left, and more is on its way.
        turn(turns)

    def turn(left: int) -> None:
        if left:
            pyuvnet.set_immediate(turn, left - 1)
        else:
            client.destroy()

    ready._msg_callback = watch  # type: ignore[attr-defined]
    limits = {"max_write_buffer": 1 << 30} if limited else {}
    for turns in range(1, 25):
        client = tls.connect(port, "127.0.0.1", context=ready, servername="localhost", **limits)
        client.on("error", lambda error: None)
        client.on("secureConnect", functools.partial(write, turns))
        pyuvnet.run()
    posix.create_connection(("127.0.0.1", port)).close()
    thread.join()
    assert written.count(False) > 24
    assert True not in written


def sink() -> tuple[int, threading.Thread]:
    """A server of Python's own that reads and forgets, until a connection says nothing."""
    context = ready_server(ssl.CERT_NONE)
    listener = posix.create_server(("127.0.0.1", 0))

    def read(connection: posix.socket, secure: ssl.SSLSocket) -> None:
        raw = posix.socket(fileno=secure.detach())
        with raw, contextlib.suppress(OSError):
            while raw.recv(1 << 20):
                pass

    def serve() -> None:
        with listener:
            while True:
                connection, _ = listener.accept()
                connection.settimeout(20)
                try:
                    secure = context.wrap_socket(connection, server_side=True)
                except OSError:
                    return
                threading.Thread(target=read, args=(connection, secure)).start()

    thread = threading.Thread(target=serve)
    thread.start()
    return listener.getsockname()[1], thread


def test_a_peer_that_reads_nothing_of_one_large_write_is_destroyed() -> None:
    """Most of it waits to be encrypted, and not for the kernel."""
    codes: list[str] = []

    def failed(error: Any) -> None:
        codes.append(error.code)
        server.close().destroy_sockets()

    server = tls.create_server(KEYS, lambda socket: socket.pause().on("error", lambda error: None))
    server.listen(0)
    client = tls.connect(server.address().port, "127.0.0.1", TRUST, write_timeout=100)
    client.on("error", failed).on("secureConnect", lambda: client.write(bytes(9_000_000)))
    pyuvnet.run()
    assert codes == ["ERR_WRITE_TIMEOUT"]


def test_a_peer_that_reads_slowly_is_not_destroyed() -> None:
    got = 0

    def serve(socket: Any) -> None:
        def read(chunk: bytes) -> None:
            nonlocal got
            got += len(chunk)
            if got < 9_000_000:
                socket.pause()
                pyuvnet.set_timeout(socket.resume, 2)

        socket.on("data", read)
        socket.on("end", lambda: (socket.end(), server.close()))

    server = tls.create_server(KEYS, serve).listen(0)
    client = tls.connect(server.address().port, "127.0.0.1", TRUST, write_timeout=300).resume()
    client.on("secureConnect", lambda: client.end(bytes(9_000_000)))
    pyuvnet.run()
    assert got == 9_000_000


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


@pytest.mark.parametrize("options", [{}, {"passphrase": "hunter2"}], ids=["none", "wrong"])
def test_a_wrong_passphrase_is_an_error_as_nodes(tmp_path: Path, options: dict[str, str]) -> None:
    source = ["-in", PKI / "server.key", "-out", tmp_path / "key"]
    command = ["openssl", "pkcs8", "-topk8", "-passout", "pass:right", *source]
    subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(tls.TLSError) as caught:
        tls.create_secure_context(key=tmp_path / "key", cert=PKI / "server.pem", **options)
    assert caught.value.code == "ERR_OSSL_BAD_DECRYPT"
    assert "hunter2" not in str(caught.value)


def test_names_with_an_open_quote_cannot_be_read() -> None:
    certificate = {"subject": {}, "subjectaltname": 'DNS:"a.example, DNS:a.example'}
    with pytest.raises(tls.TLSError) as caught:
        tls.check_server_identity("a.example", certificate)
    assert caught.value.code == "ERR_TLS_CERT_ALTNAME_FORMAT"


@pytest.mark.parametrize("way", ["add_context", "sni_callback"])
def test_the_versions_of_a_server_are_those_of_all_its_hosts(way: str) -> None:
    def play(port: int) -> None:
        for version, expected in zip(VERSIONS, (b"", b"hi"), strict=True):
            context = client_context(version, False)
            assert shake(port, "a.example", None, context)[2] == expected

    host = tls.create_secure_context(KEYS)
    if way == "add_context":
        server = tls.create_server(**KEYS, min_version="TLSv1.3")
        server.add_context("a.example", host)
    else:
        server = tls.create_server(
            **KEYS, min_version="TLSv1.3", sni_callback=lambda name, callback: host
        )
    assert with_clients(server, play) == ["refused", ("a.example", False)]
