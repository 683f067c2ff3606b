"""TLS as an attacker meets it: who is let in, and what is never sent to whom."""

from __future__ import annotations

import contextlib
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
from pyuvnet import tls
from pyuvnet.errors import ArgValueError
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
        except OSError:
            data = b""
        found = secure.session, secure.session_reused, data
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
