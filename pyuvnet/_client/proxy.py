"""The PROXY protocol in Python: its options, headers to send, and what a header says.

Headers are read in C, in _core/proxy_header.pyx; what is here runs once for each connection.
"""

from __future__ import annotations

import os

from .._base import TYPE_CHECKING
from .._base import validation as check
from .._base.info import Info
from .._base.options import OptionSet
from .._core.address import is_ip
from .._core.proxy_header import crc32c
from .._options.paths import path_bytes
from ..blocklist import BlockList
from ..socketaddress import SocketAddress

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, TypeAlias

    _End: TypeAlias = tuple[str, int, str] | bytes | None

ACCEPT_OPTIONS = OptionSet("proxy_protocol", ("trusted", "timeout", "required", "limit"))
SEND_OPTIONS = OptionSet(
    "proxy_protocol", ("version", "command", "source", "destination", "tlvs", "checksum")
)
SSL_OPTIONS = OptionSet(
    "ssl",
    (
        "client",
        "verified",
        "version",
        "common_name",
        "cipher",
        "signature_algorithm",
        "key_algorithm",
    ),
)
TIMEOUT = 5000
LIMIT = 4096
LEAST_LIMIT = 107
MOST_LIMIT = 16 + 65535
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
PATH_SIZE = 108
ALPN = 0x01
AUTHORITY = 0x02
CHECKSUM = 0x03
UNIQUE_ID = 0x05
SSL = 0x20
NETNS = 0x30
AWS = 0xEA
AZURE = 0xEE
TYPES = {"alpn": ALPN, "authority": AUTHORITY, "unique_id": UNIQUE_ID, "netns": NETNS, "ssl": SSL}
LONGEST_UNIQUE_ID = 128
SSL_TEXTS = {
    0x21: "version",
    0x22: "common_name",
    0x23: "cipher",
    0x24: "signature_algorithm",
    0x25: "key_algorithm",
}
OPTION = "options.proxy_protocol"


def _read(value: Any, options: OptionSet) -> dict[str, Any]:
    """The nested options of proxy_protocol; a name that is not known raises."""
    if not check.is_mapping(value):
        raise check.arg_type_error(OPTION, "object", value)
    for name in value:
        check.validate_string(name, f"{OPTION} key")
    return options.read(None, dict(value))


# ---- Servers ------------------------------------------------------------------------------------


def check_accepting(value: Any) -> tuple[BlockList, bool, int, int] | None:
    """Check a server's option; returns (trusted, required, limit, timeout)."""
    if value is None:
        return None
    given = _read(value, ACCEPT_OPTIONS)
    trusted: Any = given.get("trusted")
    if not isinstance(trusted, BlockList):
        # A mapping would be read as the list of its keys.
        wrong = isinstance(trusted, (str, bytes)) or check.is_mapping(trusted)
        if wrong or not hasattr(type(trusted), "__iter__"):
            raise check.arg_type_error(f"{OPTION}.trusted", ["BlockList", "Array"], trusted)
        trusted = _trusted(trusted)
        if not trusted.size:
            # A BlockList that is empty may have entries later.
            raise check.arg_value_error(f"{OPTION}.trusted", [], "must list at least one address")
    required = given.get("required")
    if required is not None:
        check.validate_boolean(required, f"{OPTION}.required")
    limit = given.get("limit")
    if limit is not None:
        limit = check.validate_integer(limit, f"{OPTION}.limit", LEAST_LIMIT, MOST_LIMIT)
    timeout = given.get("timeout")
    if timeout is not None:
        timeout = check.validate_int32(timeout, f"{OPTION}.timeout", 1)
    return trusted, required is not False, limit or LIMIT, timeout or TIMEOUT


def _trusted(entries: Iterable[Any]) -> BlockList:
    """A list of who is trusted, as addresses and CIDRs."""
    trusted = BlockList()
    for number, entry in enumerate(entries):
        name = f"{OPTION}.trusted[{number}]"
        if isinstance(entry, SocketAddress):
            trusted.add_address(entry)
            continue
        text = check.validate_string(entry, name)
        family = is_ip(text)
        if family and "%" not in text:
            trusted.add_address(text, f"ipv{family}")
        else:
            try:
                trusted.add_cidr(text)
            except (TypeError, ValueError):
                raise check.arg_value_error(name, entry, "must be an address or a CIDR") from None
    return trusted


def described(proxy: tuple[Any, ...]) -> Info:
    """What `socket.proxy` shows of a header, see ProxyHeader.name_ends()."""
    text, version, command, source, destination, values, end, here, there = proxy
    info = Info(version=version, command=command, tlvs=_values(text[values:end]))
    for side, name in (("local", here), ("remote", there)):
        address, port, family = name or (None, None, None)
        info[f"{side}_address"], info[f"{side}_port"] = address, port
        info[f"{side}_family"] = family
    for name, path in (("source_path", source), ("destination_path", destination)):
        info[name] = os.fsdecode(path) if isinstance(path, bytes) else None
    return info


def _split(values: bytes) -> list[tuple[int, bytes]]:
    """The TLVs of a block that was checked."""
    found: list[tuple[int, bytes]] = []
    at = 0
    while at < len(values):
        size = int.from_bytes(values[at + 1 : at + 3], "big")
        found.append((values[at], values[at + 3 : at + 3 + size]))
        at += 3 + size
    return found


def _values(block: bytes) -> Info:
    """The TLVs with their meaning; `raw` has all of them."""
    raw = _split(block)
    info = Info(raw=raw)
    for kind, value in raw:
        if kind == ALPN:
            info["alpn"] = value
        elif kind == AUTHORITY:
            info["authority"] = _text(value)
        elif kind == UNIQUE_ID:
            info["unique_id"] = value
        elif kind == NETNS:
            info["netns"] = _text(value)
        elif kind == SSL:
            info["ssl"] = _ssl(value)
        elif kind == AWS and value[:1] == b"\1":
            info["aws_vpc_endpoint_id"] = _text(value[1:])
        elif kind == AZURE and value[:1] == b"\1" and len(value) == 5:
            info["azure_link_id"] = int.from_bytes(value[1:], "little")
    return info


def _ssl(value: bytes) -> Info:
    client = value[0]
    info = Info(
        tls=bool(client & 1),
        certificate=bool(client & 6),
        verified=bool(client & 6) and not any(value[1:5]),
        verify=int.from_bytes(value[1:5], "big"),
    )
    for kind, text in _split(value[5:]):
        if kind in SSL_TEXTS:
            info[SSL_TEXTS[kind]] = _text(text)
    return info


def _text(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")


# ---- Clients ------------------------------------------------------------------------------------


class HeaderPlan:
    """What connect() is to send first, checked: `make()` is its header.

    Args:
        value: the option proxy_protocol.

    Raises: what connect() raises for it.
    """

    __slots__ = ("_checksum", "_destination", "_proxied", "_source", "_values", "_version")

    def __init__(self, value: Any) -> None:
        given = _read(value, SEND_OPTIONS)
        version = given.get("version")
        self._version = 2 if version is None else check.as_number(version)
        if self._version not in (1, 2):
            raise check.arg_value_error(f"{OPTION}.version", version, "must be one of: 1, 2")
        command = given.get("command")
        if command is not None and not (isinstance(command, str) and command in ("PROXY", "LOCAL")):
            raise check.arg_value_error(
                f"{OPTION}.command", command, "must be one of: 'PROXY', 'LOCAL'"
            )
        self._proxied = command != "LOCAL"
        self._source = _end(given.get("source"), "source")
        self._destination = _end(given.get("destination"), "destination")
        if _kind(self._source) != _kind(self._destination):
            raise check.arg_value_error(
                OPTION, value, "must have a source and a destination of the same family, or neither"
            )
        checksum = given.get("checksum")
        self._checksum = checksum is not None and check.validate_boolean(
            checksum, f"{OPTION}.checksum"
        )
        self._values = b"".join(
            bytes([kind]) + len(text).to_bytes(2, "big") + text
            for kind, text in _given_values(given.get("tlvs"))
        )
        if self._version == 1 and (self._values or self._checksum or not self._proxied):
            raise check.arg_value_error(
                f"{OPTION}.version", 1, "supports no TLVs, no checksum and no LOCAL; use version 2"
            )
        if len(self._values) > 65535 - 2 * PATH_SIZE - 7:
            raise check.arg_value_error(f"{OPTION}.tlvs", given["tlvs"], "must fit into a header")

    def make(self, here: _End, there: _End) -> bytes:
        """Return the header.

        Args:
            here, there: the connection's own ends, which it has unless others were given.
        """
        if self._source is not None:
            here, there = self._source, self._destination
        elif _kind(here) != _kind(there):
            here = there = None
        return self._line(here, there) if self._version == 1 else self._block(here, there)

    def _line(self, here: _End, there: _End) -> bytes:
        if not isinstance(here, tuple) or not isinstance(there, tuple):
            return b"PROXY UNKNOWN\r\n"
        words = (_plain(here), _plain(there), here[1], there[1])
        return f"PROXY TCP{here[2][3]} {' '.join(map(str, words))}\r\n".encode("ascii")

    def _block(self, here: _End, there: _End) -> bytes:
        if isinstance(here, tuple) and isinstance(there, tuple):
            family = 0x11 if here[2] == "IPv4" else 0x21
            ends = _packed(here) + _packed(there)
            ends += here[1].to_bytes(2, "big") + there[1].to_bytes(2, "big")
        elif isinstance(here, bytes) and isinstance(there, bytes):
            family = 0x31
            ends = here.ljust(PATH_SIZE, b"\0") + there.ljust(PATH_SIZE, b"\0")
        else:
            family, ends = 0, b""
        if not self._proxied:
            family, ends = 0, b""
        sum_at = bytes([CHECKSUM, 0, 4, 0, 0, 0, 0]) if self._checksum else b""
        body = ends + self._values + sum_at
        start = SIGNATURE + bytes([0x20 | self._proxied, family]) + len(body).to_bytes(2, "big")
        if self._checksum:
            return start + body[:-4] + crc32c(start + body).to_bytes(4, "big")
        return start + body


def check_sending(value: Any) -> HeaderPlan | None:
    """Check connect()'s option."""
    return None if value is None else HeaderPlan(value)


def _end(value: Any, name: str) -> _End:
    """One end as (address, port, family), or as the path of a unix socket."""
    if value is None:
        return None
    name = f"{OPTION}.{name}"
    address: Any
    port: Any
    if isinstance(value, SocketAddress):
        address, port = value.address, value.port
    elif isinstance(value, (str, bytes, os.PathLike)):
        path = path_bytes(value, name)
        if not path or len(path) > PATH_SIZE or b"\0" in path[1:]:
            raise check.arg_value_error(name, value, "must be the path of a unix socket")
        return path
    elif check.is_mapping(value):
        address, port = value.get("address"), value.get("port")
    elif isinstance(value, tuple) and len(value) == 2:
        address, port = value
    else:
        raise check.arg_type_error(name, ["SocketAddress", "Array", "string"], value)
    family = is_ip(check.validate_string(address, f"{name}.address"))
    if not family:
        raise check.arg_value_error(f"{name}.address", address, "must be an address")
    return address, check.validate_port(port, f"{name}.port"), f"IPv{family}"


def _kind(end: _End) -> str | None:
    return end[2] if isinstance(end, tuple) else None if end is None else "unix"


def _plain(end: tuple[str, int, str]) -> str:
    """An address without its zone, which means nothing elsewhere."""
    return end[0].partition("%")[0]


def _packed(end: tuple[str, int, str]) -> bytes:
    import _socket

    return _socket.inet_pton(_socket.AF_INET if end[2] == "IPv4" else _socket.AF_INET6, _plain(end))


def _given_values(tlvs: Any) -> list[tuple[int, bytes]]:
    """The TLVs to send, in the order in which they were given."""
    name = f"{OPTION}.tlvs"
    if tlvs is None:
        return []
    if check.is_mapping(tlvs):
        tlvs = list(tlvs.items())
    elif not isinstance(tlvs, (list, tuple)):
        raise check.arg_type_error(name, ["Object", "Array"], tlvs)
    found: list[tuple[int, bytes]] = []
    for entry in tlvs:
        if not isinstance(entry, tuple) or len(entry) != 2:
            raise check.arg_type_error(name, ["Object", "Array"], entry)
        key, value = entry
        kind = TYPES.get(_pep8(key)) if isinstance(key, str) else key
        if isinstance(kind, bool) or not isinstance(kind, int):
            raise check.arg_value_error(name, key, f"must be numbers or one of {list(TYPES)}")
        check.validate_integer(kind, f"{name} key", 0, 255)
        if kind == CHECKSUM:
            raise check.arg_value_error(
                name, key, "cannot contain a checksum: use the checksum option"
            )
        text = _ssl_block(value) if kind == SSL and check.is_mapping(value) else _bytes(value, name)
        if kind == SSL and not _is_ssl_block(text):
            raise check.arg_value_error(name, value, "must be a complete SSL block")
        if len(text) > (LONGEST_UNIQUE_ID if kind == UNIQUE_ID else 65535):
            most = LONGEST_UNIQUE_ID if kind == UNIQUE_ID else 65535
            raise check.arg_value_error(name, value, f"must have at most {most} bytes")
        found.append((kind, text))
    return found


def _pep8(key: str) -> str:
    return "unique_id" if key == "uniqueId" else key


def _bytes(value: Any, name: str) -> bytes:
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError:
            raise check.arg_value_error(name, value, "must be text that UTF-8 can encode") from None
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise check.arg_type_error(name, ["string", "Buffer"], value)
    return bytes(value)


def _is_ssl_block(block: bytes) -> bool:
    at = 5
    while at + 3 <= len(block):
        at += 3 + int.from_bytes(block[at + 1 : at + 3], "big")
    return at == len(block)


def _ssl_block(value: Mapping[str, Any]) -> bytes:
    """The value of the SSL TLV; `client` are the bits of its first byte, by default what is true.

    Without `verified` there was no certificate.
    """
    for key in value:
        check.validate_string(key, f"{OPTION}.tlvs.ssl key")
    given = SSL_OPTIONS.read(None, dict(value))
    verified = given.get("verified")
    client = given.get("client")
    if client is None:
        client = 1 if verified is None else 7
    block = bytes([check.validate_integer(client, f"{OPTION}.tlvs.ssl.client", 0, 255)])
    block += (0 if verified is None or verified else 1).to_bytes(4, "big")
    for kind, name in SSL_TEXTS.items():
        if given.get(name) is not None:
            text = _bytes(given[name], f"{OPTION}.tlvs.ssl.{name}")
            if len(text) > 1024:
                raise check.arg_value_error(
                    f"{OPTION}.tlvs.ssl.{name}", text, "must have at most 1024 bytes"
                )
            block += bytes([kind]) + len(text).to_bytes(2, "big") + text
    return block
