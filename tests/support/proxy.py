"""A model of the PROXY protocol's receiver, written from its text: slow, and nothing is shared."""

from __future__ import annotations

import ipaddress
import re
import socket
import struct
from typing import Any

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LINE = re.compile(rb"PROXY TCP([46]) ([^ ]+) ([^ ]+) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})")


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def tlv(kind: int, value: bytes) -> bytes:
    return bytes([kind]) + len(value).to_bytes(2, "big") + value


def v2(body: bytes = b"", family: int = 0x11, command: int = 1, length: int | None = None) -> bytes:
    """A header of version 2; by default its length is right."""
    size = len(body) if length is None else length
    return SIGNATURE + bytes([0x20 | command, family]) + struct.pack("!H", size) + body


def ipv4(source: str = "1.2.3.4", to: str = "5.6.7.8", ports: tuple[int, int] = (5, 9)) -> bytes:
    return socket.inet_aton(source) + socket.inet_aton(to) + struct.pack("!2H", *ports)


def ipv6(source: str = "2001:db8::1", to: str = "::2", ports: tuple[int, int] = (5, 9)) -> bytes:
    parts = [socket.inet_pton(socket.AF_INET6, each) for each in (source, to)]
    return b"".join(parts) + struct.pack("!2H", *ports)


def unix(source: bytes = b"/a", to: bytes = b"/b") -> bytes:
    return source.ljust(108, b"\0") + to.ljust(108, b"\0")


def with_checksum(header: bytes, values: bytes = b"") -> bytes:
    """A header of version 2 with more TLVs, and with its checksum behind them."""
    body = header[16:] + values + tlv(3, bytes(4))
    whole = header[:14] + struct.pack("!H", len(body)) + body
    return whole[:-4] + struct.pack("!I", crc32c(whole))


def model(data: bytes, limit: int) -> Any:
    """What proxy_header.parse() says of data: None, a reason, or a tuple."""
    if not data:
        return None
    if data[:1] == b"P":
        return _line(data)
    return _block(data, limit)


def _line(data: bytes) -> Any:
    if not b"PROXY ".startswith(data[:6]):
        return "malformed"
    line, mark, _ = data[:106].partition(b"\r")
    if not mark:
        return None if len(data) < 106 else "too long"
    if len(line) + 1 == len(data):
        return None
    if data[len(line) + 1 : len(line) + 2] != b"\n":
        return "malformed"
    length = len(line) + 2
    if line == b"PROXY UNKNOWN" or line.startswith(b"PROXY UNKNOWN "):
        return (length, 1, "LOCAL", None, None, "stream", b"")
    found = LINE.fullmatch(line)
    if found is None:
        return "malformed"
    kind = ipaddress.IPv4Address if found[1] == b"4" else ipaddress.IPv6Address
    family = socket.AF_INET if found[1] == b"4" else socket.AF_INET6
    ends = []
    for text, port in ((found[2], found[4]), (found[3], found[5])):
        try:
            kind(text.decode("ascii"))
            packed = socket.inet_pton(family, text.decode("ascii"))
        except (ValueError, OSError):
            return "malformed"
        if int(port) > 65535 or b"%" in text:
            return "malformed"
        shown = socket.inet_ntop(family, packed)
        ends.append((shown, int(port), f"IPv{found[1].decode()}"))
    return (length, 1, "PROXY", *ends, "stream", b"")


def _block(data: bytes, limit: int) -> Any:
    if not SIGNATURE.startswith(data[:12]):
        return "malformed"
    if len(data) > 12 and data[12] not in (0x20, 0x21):
        return "malformed"
    if len(data) < 16:
        return None
    length = 16 + struct.unpack("!H", data[14:16])[0]
    if length > limit:
        return "too long"
    family, transport = divmod(data[13], 16)
    command = "PROXY" if data[12] == 0x21 else "LOCAL"
    if command == "PROXY" and (family > 3 or transport > 2):
        return "malformed"
    if command == "LOCAL" or not family or not transport:
        if len(data) < length:
            return None
        return (length, 2, command, None, None, "stream", b"")
    size = {1: 12, 2: 36, 3: 216}[family]
    if length - 16 < size:
        return "malformed"
    if len(data) < length:
        return None
    addresses, values = data[16 : 16 + size], data[16 + size : length]
    try:
        found = split(values)
        for kind, value in found:
            if kind == 0x20:
                if len(value) < 5:
                    return "malformed"
                split(value[5:])
            if kind == 5 and len(value) > 128:
                return "malformed"
            if kind == 3 and len(value) != 4:
                return "malformed"
    except IndexError:
        return "malformed"
    sums = [value for kind, value in found if kind == 3]
    if len(sums) > 1:
        return "malformed"
    if sums:
        at = 16 + size
        while data[at] != 3:
            at += 3 + struct.unpack("!H", data[at + 1 : at + 3])[0]
        zeroed = data[: at + 3] + bytes(4) + data[at + 7 : length]
        if struct.pack("!I", crc32c(zeroed)) != sums[0]:
            return "checksum"
    ends: list[Any] = []
    if family == 3:
        for path in (addresses[:108], addresses[108:]):
            first = path[:1]
            ends.append(path.rstrip(b"\0") if first == b"\0" else path.split(b"\0")[0])
    else:
        width, system = (4, socket.AF_INET) if family == 1 else (16, socket.AF_INET6)
        ports = struct.unpack("!2H", addresses[2 * width :])
        for number in (0, 1):
            shown = socket.inet_ntop(system, addresses[number * width : (number + 1) * width])
            ends.append((shown, ports[number], f"IPv{4 if family == 1 else 6}"))
    return (length, 2, command, *ends, "dgram" if transport == 2 else "stream", values)


def split(values: bytes) -> list[tuple[int, bytes]]:
    """The TLVs of a block. Raises: IndexError if they do not fill it."""
    found = []
    while values:
        size = values[1] << 8 | values[2]
        if len(values) < 3 + size:
            raise IndexError
        found.append((values[0], values[3 : 3 + size]))
        values = values[3 + size :]
    return found
