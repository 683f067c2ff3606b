"""Peers of Python's own for tests of TLS servers."""

from __future__ import annotations

import socket as posix
import ssl
import threading
from collections.abc import Callable
from typing import Any

import pyuvnet
from tests.support.certificates import certificates

PKI = certificates()


def ready_server(verify: ssl.VerifyMode) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(PKI / "server.pem", PKI / "server.key")
    made.verify_mode = verify
    made.load_verify_locations(PKI / "ca.pem")
    return made


def client_context(version: ssl.TLSVersion, own: bool) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    made.maximum_version = version
    if own:
        made.load_cert_chain(PKI / "client.pem", PKI / "client.key")
    return made


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


def with_clients(server: Any, play: Callable[[int], None]) -> list[Any]:
    """Play clients of a server in a thread; whom it let in and whom not."""
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
