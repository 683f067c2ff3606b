"""The first message of a TLS client, whole, in pieces and broken."""

from __future__ import annotations

import ssl

import pytest

from pyuvnet._core import hello as parser
from tests.reliability import fuzz

LIMIT, read_hello = parser.LIMIT, parser.read_hello


def hello(servername: str | None = None, protocols: list[str] | None = None) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if protocols:
        context.set_alpn_protocols(protocols)
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=servername)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def split(data: bytes, size: int) -> bytes:
    """The message of one record in records of so many bytes."""
    body = data[5:]
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(data[:3] + len(part).to_bytes(2, "big") + part for part in parts)


@pytest.mark.parametrize("servername", [None, "localhost", "a.b.example"])
@pytest.mark.parametrize("protocols", [[], ["h2"], ["h2", "http/1.1"]])
def test_what_a_client_says(servername: str | None, protocols: list[str]) -> None:
    data = hello(servername, protocols)
    assert read_hello(data) == (servername, protocols)
    assert read_hello(data + b"\x17 what follows") == (servername, protocols)
    for size in (3, 7, 50):
        assert read_hello(split(data, size)) == (servername, protocols)
    # Nobody sends empty records, but OpenSSL skips them.
    empty = b"\x16\x03\x01\x00\x00"
    assert read_hello(empty + empty + split(data, 60)[:65] + empty + split(data, 60)[65:]) == (
        servername,
        protocols,
    )


def test_nothing_is_said_before_all_has_come() -> None:
    data = split(hello("localhost", ["h2"]), 60)
    for size in range(len(data)):
        assert read_hello(data[:size]) is None, size


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.0\r\n\r\n",
        b"\x16\x02\x00\x00\x05",
        b"\x16\x03\x01\x00\x00GET / HTTP/1.0\r\n\r\n",
        b"\x16\x03\x01\xff\xff",
        b"\x16\x03\x01\x00\x01\x02",
        b"\x16\x03\x01\x00\x06\x01\x00\x00\x02\x03\x03",
    ],
)
def test_what_is_no_hello(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"hello|Hello|record"):
        read_hello(data)


@pytest.mark.spec("D168")
def test_a_hello_without_end_is_refused_at_the_limit() -> None:
    record = b"\x16\x03\x01\x40\x00" + bytes(16384)
    assert read_hello(b"\x16\x03\x01\x00\x04\x01\x00\x4f\x00" + record) is None
    with pytest.raises(OverflowError, match="too long"):
        read_hello(b"\x16\x03\x01\x00\x04\x01\x00\x4f\x00" + record + record[:5])
    with pytest.raises(OverflowError, match="too long"):
        read_hello(b"\x16\x03\x01\x00\x04\x01\x00\x50\x00")
    with pytest.raises(OverflowError, match="too long"):
        read_hello(b"\x16\x03\x01\x00\x04\x01\xff\xff\xff")
    assert LIMIT == 20480


def test_a_hello_in_too_many_parts_is_refused() -> None:
    # Each byte that comes would have all of them read again.
    part = b"\x16\x03\x01\x00\x01"
    begun = b"".join(part + bytes((each,)) for each in (1, 0, 79, 0))
    assert read_hello(begun + (part + b"\x00") * 252) is None
    with pytest.raises(OverflowError, match="too many parts"):
        read_hello(begun + (part + b"\x00") * 253)


def test_a_name_that_is_longer_than_any_is_refused() -> None:
    data = hello("a" * 60 + ".example")
    name, at = b"a" * 60 + b".example", data.index(b"a" * 60)
    # The four counts before it: of the extension, the list and the name; and those of all.
    long = name * 4

    def longer(size: int) -> bytes:
        found = bytearray(data[:at] + long + data[at + len(name) :])
        for place, width in (
            (3, 2), (6, 3), (at - 2, 2), (at - 5, 2), (at - 7, 2), (block_at(data), 2)
        ):  # fmt: skip
            count = int.from_bytes(found[place : place + width], "big") + size - len(name)
            found[place : place + width] = count.to_bytes(width, "big")
        return bytes(found)

    with pytest.raises(ValueError, match="too long"):
        read_hello(longer(len(long)))


def block_at(data: bytes) -> int:
    """Where the count of the extensions stands."""
    at = 5 + 4 + 34
    at += 1 + data[at]
    at += 2 + int.from_bytes(data[at : at + 2], "big")
    return at + 1 + data[at]


def test_openssl_reads_no_hello_in_another_way() -> None:
    assert fuzz.fuzz_all(1000, 1, "hello_records") == {"hello_records": 1000}
