"""Fuzzer of the first message of a TLS client: what hello.pyx reads, against OpenSSL.

The server chooses by what hello.pyx reads, and OpenSSL goes on. So a hello that OpenSSL accepts
must be read in the same way or refused, and what any client may send must be read.
"""

from __future__ import annotations

import contextlib
import ssl
from functools import cache
from typing import Any

from pyuvnet._core import hello as parser
from tests.support.certificates import certificates

from .fuzz import Input, fuzzer

PROTOCOLS = ("h2", "http/1.1", "x")
# OpenSSL's own limit of those in a row.
MOST_EMPTY = 32


@cache
def hello(name: str | None, protocols: tuple[str, ...], version: ssl.TLSVersion) -> bytes:
    """The message that OpenSSL sends, without the header of its record."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = version
    if protocols:
        context.set_alpn_protocols(list(protocols))
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()[5:]


@cache
def server() -> tuple[ssl.SSLContext, list[Any]]:
    """A server, and the names that it has been asked for."""
    pki = certificates()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki / "server.pem", pki / "server.key")
    context.set_ciphers("ALL")
    context.set_alpn_protocols(list(PROTOCOLS))
    names: list[Any] = []
    context.sni_callback = lambda socket, name, context: names.append(name)
    return context, names


def witness(data: bytes) -> tuple[str, Any, Any]:
    """What OpenSSL does: 'accepts', 'refuses' or 'waits'; the name and protocol that it read."""
    context, names = server()
    names.clear()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    engine = context.wrap_bio(incoming, outgoing, server_side=True)
    incoming.write(data)
    outcome = "waits"
    try:
        engine.do_handshake()
    except ssl.SSLWantReadError:
        pass
    except ssl.SSLError:
        outcome = "refuses"
    if outgoing.read(1) == b"\x16":
        outcome = "accepts"
    return outcome, names[-1] if names else None, engine.selected_alpn_protocol()


def record(kind: int, body: bytes, minor: int = 1) -> bytes:
    return bytes((kind, 3, minor)) + len(body).to_bytes(2, "big") + body


@fuzzer(weight=4)
def hello_records(given: Input) -> None:
    name = given.pick(None, "a.example", "b.example", "localhost")
    protocols = given.pick((), ("h2",), ("http/1.1", "h2"), ("spdy/1",))
    version = given.pick(ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
    message = hello(name, protocols, version)
    ordinary, foreign = True, False
    if given.chance(0.4):
        changed = bytearray(message)
        for _ in range(given.pick(1, 1, 2, 3)):
            changed[given.below(len(changed))] = given.pick(0, 1, 16, 255, given.below(256))
        ordinary = changed == message
        message = bytes(changed)
    if given.chance(0.05):
        message = message[: given.below(len(message))]
        ordinary = False
    most = given.pick(1, 3, 60, 1000)
    parts, at, records, row = [], 0, 0, 0
    while at < len(message) or given.chance(0.3):
        what = given.below(20)
        if what == 0:
            parts.append(record(given.pick(20, 21, 23, 24, 25, 150), given.data(2)))
            ordinary, foreign = False, True
        elif what < 6 or at == len(message):
            parts.append(record(22, b"", given.below(5)))
            row += 1
            ordinary = ordinary and row <= MOST_EMPTY
        else:
            size = 1 + given.below(most)
            parts.append(record(22, message[at : at + size], given.below(5)))
            at, row = at + size, 0
        records += 1
    if parts and given.chance(0.1):
        parts[given.below(len(parts))] = given.data(9)
        ordinary = False
    data = b"".join(parts)
    ordinary = ordinary and records <= parser.MAX_RECORDS
    given.show(data.hex())
    found: Any = "refused"
    try:
        found = parser.read_hello(data)
    except OverflowError:
        assert not ordinary
        return
    except ValueError:
        pass
    if isinstance(found, tuple) and not (found[0] or "").isascii():
        # Python's ssl cannot name it.
        return
    outcome, servername, protocol = witness(data)
    if ordinary:
        assert (outcome, found) == ("accepts", (name, list(protocols)))
    if isinstance(found, tuple):
        assert outcome in ("accepts", "refuses")
    if outcome == "accepts":
        assert found is not None
        if found == "refused":
            # OpenSSL skips some empty records of other types, and reads SSL 2.0's form, which has
            # no names. No client of today sends either.
            assert foreign or data[0] & 0x80
            return
        expected = next((each for each in PROTOCOLS if each in found[1]), None)
        assert (servername, protocol) == (found[0], expected)
