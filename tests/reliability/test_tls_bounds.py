"""What one peer with TLS may cost: memory while its handshake stalls, and time of the others."""

from __future__ import annotations

import contextlib
import gc
import socket as posix
import ssl
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pyuvnet
from pyuvnet import tls
from tests.support.certificates import certificates

PKI = certificates()
KEYS: dict[str, Any] = {"key": PKI / "server.key", "cert": PKI / "server.pem"}
LIMIT = 65536
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux says what memory is in use")


def memory() -> int:
    """What this process has in memory, in bytes."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def client_engine(version: ssl.TLSVersion | None = None) -> tuple[Any, Any, Any]:
    context = ssl.create_default_context(cafile=str(PKI / "ca.pem"))
    if version is not None:
        context.maximum_version = version
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    made = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        made.do_handshake()
    return made, incoming, outgoing


def hello(**options: Any) -> bytes:
    return client_engine(**options)[2].read()  # type: ignore[no-any-return]


def padded(size: int) -> bytes:
    """A hello of about so many bytes: an extension that nobody knows."""
    data = hello()
    at = 5 + 4 + 34
    at += 1 + data[at]
    at += 2 + int.from_bytes(data[at : at + 2], "big")
    at += 1 + data[at]
    count = size - len(data)
    found = bytearray(data) + b"\xfa\xfa" + count.to_bytes(2, "big") + bytes(count)
    for place, width in ((3, 2), (6, 3), (at, 2)):
        value = int.from_bytes(found[place : place + width], "big") + count + 4
        found[place : place + width] = value.to_bytes(width, "big")
    return bytes(found)


def in_fragments(data: bytes, size: int) -> bytes:
    body = data[5:]
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(data[:3] + len(part).to_bytes(2, "big") + part for part in parts)


STALLS: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "half a hello": lambda: padded(16000)[:-1],
    "half a hello in fragments": lambda: in_fragments(padded(16000), 100)[:-1],
    "a hello": hello,
    "a large hello": lambda: padded(16000),
    "a hello, and half a record": lambda: hello() + b"\x17\x03\x03\x40\x00" + bytes(16000),
    "a hello up to TLS 1.2": lambda: hello(version=ssl.TLSVersion.TLSv1_2),
    "a hello, and half a record up to TLS 1.2": lambda: (
        hello(version=ssl.TLSVersion.TLSv1_2) + b"\x16\x03\x03\x40\x00" + bytes(16000)
    ),
}


@linux
@pytest.mark.slow
@pytest.mark.parametrize("late", [False, True], ids=["now", "chosen later"])
@pytest.mark.parametrize("stall", STALLS)
def test_a_handshake_that_stalls_costs_at_most_64_kib(stall: str, late: bool) -> None:
    """Whatever part of it has come, and whether the server has chosen a context or not."""
    count = 60
    data = STALLS[stall]()
    options: dict[str, Any] = {"sni_callback": lambda name, callback: None} if late else {}
    server = tls.create_server(KEYS, **options)
    server.on("tlsClientError", lambda error, socket: None)
    server.listen(0)
    port = server.address().port
    peers: list[posix.socket] = []

    def stalled(number: int) -> int:
        """So many peers have said their part, and the server has read it; what that has cost."""
        before = memory()
        for _ in range(number):
            peer = posix.create_connection(("127.0.0.1", port))
            peer.sendall(data)
            peers.append(peer)
        settle(30)
        pyuvnet.run()
        assert len(list(server.sockets)) == len(peers)
        return memory() - before

    def settle(left: int) -> None:
        """Stop when all are accepted, and some turns after that have found nothing more."""
        if not left:
            pyuvnet.stop()
        else:
            there = len(list(server.sockets)) == len(peers)
            pyuvnet.set_immediate(settle, left - 1 if there else 30)

    # What the first ones cost is the program's, such as memory that all share.
    stalled(20)
    cost = stalled(count)
    server.close().destroy_sockets()
    pyuvnet.run()
    for peer in peers:
        peer.close()
    assert cost / count < LIMIT, cost / count


def send_tiny_records(port: int, count: int) -> None:
    """Do a handshake, and send so many bytes, each in a record of its own, as fast as TCP can."""
    made, incoming, outgoing = client_engine()
    with posix.create_connection(("127.0.0.1", port), 20) as peer:
        while True:
            peer.sendall(outgoing.read())
            try:
                made.do_handshake()
                break
            except ssl.SSLWantReadError:
                incoming.write(peer.recv(65536))
        for _ in range(count):
            made.write(b"x")
        peer.sendall(outgoing.read())
        with contextlib.suppress(ConnectionError):
            while peer.recv(65536):
                pass


def test_tiny_records_are_bounded_in_a_turn_by_their_number() -> None:
    """Each takes a hundred times as long as its bytes do, which alone would be no bound."""
    count = 60_000
    by_turn = [0]

    def data(chunk: bytes) -> None:
        by_turn[-1] += len(chunk)

    def turn() -> None:
        if sum(by_turn) < count:
            if by_turn[-1]:
                by_turn.append(0)
            pyuvnet.set_immediate(turn)
        else:
            server.close().destroy_sockets()

    server = tls.create_server(KEYS, lambda socket: socket.on("data", data)).listen(0)
    peer = threading.Thread(target=send_tiny_records, args=(server.address().port, count))
    peer.start()
    turn()
    pyuvnet.run()
    peer.join()
    assert sum(by_turn) == count
    # A record has 23 bytes here: what one read brings. The first turn also has what came with the
    # end of the handshake.
    assert max(by_turn[1:]) <= 65536 // 22
