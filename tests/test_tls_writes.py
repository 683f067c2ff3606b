"""What a TLSSocket writes before TLS is there, in a signal handler, and after destroy()."""

from __future__ import annotations

import contextlib
import functools
import signal
import socket as posix
import ssl
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

import pyuvnet
from pyuvnet import net, tls
from pyuvnet.errors import StateError
from tests.support.certificates import certificates
from tests.support.tls import ready_server

PKI = certificates()
KEYS: dict[str, Any] = {"key": PKI / "server.key", "cert": PKI / "server.pem"}
TRUST: dict[str, Any] = {"ca": PKI / "ca.pem", "servername": "localhost"}


# ---- Signals in the middle of a record -----------------------------------------------------------


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


# ---- Nothing leaves before TLS is there ----------------------------------------------------------


def listen_plain() -> tuple[int, bytearray, threading.Thread]:
    """What one connection says to a server that answers nothing."""
    got = bytearray()
    listener = posix.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        listener.close()
        with connection, contextlib.suppress(OSError):
            connection.settimeout(20)
            while data := connection.recv(1000):
                got.extend(data)

    thread = threading.Thread(target=serve)
    thread.start()
    return listener.getsockname()[1], got, thread


class Acting(ssl.SSLContext):
    """Where a signal handler may run: when the connection stands, and has no TLS yet."""

    act: Callable[[], object]

    def wrap_bio(self, *args: Any, **keywords: Any) -> ssl.SSLObject:
        self.act()
        return super().wrap_bio(*args, **keywords)


def acting_client(way: str, port: int, act: Callable[[Any], object]) -> Any:
    context = Acting(ssl.PROTOCOL_TLS_CLIENT)
    context.act = lambda: act(client)
    if way == "connect":
        client = tls.connect(port, "127.0.0.1", context=context)
    else:
        client = tls.connect(socket=net.connect(port, "127.0.0.1"), context=context)
    return client


@pytest.mark.parametrize("way", ["connect", "upgrade"])
@pytest.mark.parametrize("kind", [RuntimeError, TimeoutError, MemoryError, KeyboardInterrupt])
def test_a_connection_that_could_not_begin_tls_is_destroyed(
    way: str, kind: type[BaseException]
) -> None:
    def act(client: Any) -> None:
        raise kind("no")

    def late() -> None:
        state.append(client.destroyed)
        client.write(b"secret")

    port, got, thread = listen_plain()
    codes: list[type] = []
    state: list[bool] = []
    client = acting_client(way, port, act)
    client.on("error", lambda error: codes.append(type(error)))
    client.on("close", lambda had_error: late())
    try:
        pyuvnet.run()
    except KeyboardInterrupt:
        codes.append(KeyboardInterrupt)
        pyuvnet.run()
    thread.join()
    assert got == b""
    assert state == [True]
    assert codes[0] is kind


@pytest.mark.parametrize("way", ["connect", "upgrade"])
@pytest.mark.parametrize("act", ["write", "end", "cork"])
def test_what_is_written_before_tls_begins_waits_for_it(way: str, act: str) -> None:
    def write(client: Any) -> None:
        if act == "cork":
            client.cork()
            client.write(b"sec")
            client.write(b"ret")
            client.uncork()
            return
        getattr(client, act)(b"secret" * 20_000)

    port, got, thread = listen_plain()
    client = acting_client(way, port, write)
    client.on("error", lambda error: None)
    pyuvnet.set_timeout(client.destroy, 100)
    pyuvnet.run()
    thread.join()
    # A hello, and nothing else.
    assert got[:3] == b"\x16\x03\x01"
    assert len(got) == 5 + int.from_bytes(got[3:5], "big")


@pytest.mark.parametrize("act", ["write", "end"])
@pytest.mark.parametrize("kind", ["accepted", "upgraded"])
def test_what_is_written_to_an_accepted_socket_before_tls_begins_waits_for_it(
    kind: str, act: str
) -> None:
    """A signal handler may say goodbye to all sockets of a server."""
    got = bytearray()
    written: list[bool] = []

    def watch(frame: Any, event: str, argument: object) -> None:
        if event == "call" and frame.f_code.co_name == "_begin_layer":
            sys.setprofile(None)
            for socket in server.sockets:
                written.append(isinstance(socket, tls.TLSSocket))
                getattr(socket, act)(b"goodbye")

    def accepted(socket: Any) -> None:
        server.close()
        socket.on("error", lambda error: None)
        if not socket.writable_ended:
            socket.end()

    server = tls.create_server(KEYS, accepted).listen(0)
    server.on("tlsClientError", lambda error, socket: server.close())
    if kind == "upgraded":
        server.on("connection", lambda plain: None)
    client = tls.connect(server.address().port, "127.0.0.1", TRUST)
    client.on("data", got.extend)
    client.on("end", client.end)
    client.on("error", lambda error: None)
    sys.setprofile(watch)
    try:
        pyuvnet.run()
    finally:
        sys.setprofile(None)
    assert written == [True]
    assert got == b"goodbye"


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


# ---- Writes --------------------------------------------------------------------------------------


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
