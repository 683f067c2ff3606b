"""Fuzzers of what reads texts and bytes: addresses, rules, encodings, numbers, paths."""

from __future__ import annotations

import base64
import json
import os
import re
import socket as system
from typing import Any

from pyuvnet._base.validation import js_number, validate_port
from pyuvnet._core.encoding import Decoder, encode_text
from pyuvnet._options.paths import path_bytes
from pyuvnet.net import BlockList, SocketAddress, is_ip, is_ipv4, is_ipv6

from .fuzz import ARGUMENTS, Awkward, Input, fuzzer

# ---- Addresses ---------------------------------------------------------------------------------

ADDRESSES = [
    "0.0.0.0", "127.0.0.1", "255.255.255.255", "1.2.3.4", "10.0.0.255", "::", "::1", "1::",
    "fe80::1", "2001:db8:0:0:1:0:0:1", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8",
    "::ffff:1.2.3.4", "1:2:3:4:5:6:1.2.3.4", "::1.2.3.4", "fe80::1%eth0", "ff02::fb%1",
    "ABCD:EF01::2345", "64:ff9b::1",
]  # fmt: skip
ADDRESS_CHARACTERS = "0123456789abcdefABCDEF.:%g []/-\0\n٣é"
IPV4 = re.compile(r"(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])(?:\.(?!$)|\Z)){4}\Z")
SURROGATE = re.compile("[\ud800-\udfff]")
ZONE = re.compile(r"[0-9A-Za-z.:-]+\Z")


# Of an IPv4 address in hexadecimal.
CARRIERS = ["64:ff9b::{}", "64:ff9b:1::{}", "64:ff9b:1:2::{}", "2002:{}::1", "64:ff9b:2::{}"]


def packed(text: Any, zones: str = "any") -> bytes | None:
    """What the system makes of an address, held to the rule where that is stricter.

    Zones may be 'good' ones, 'any' (they are dropped, as by libuv), or 'none'.
    """
    if not isinstance(text, str) or SURROGATE.search(text):
        return None
    if IPV4.match(text):
        return system.inet_pton(system.AF_INET, text)
    host, mark, zone = text.partition("%")
    if mark and (zones == "none" or (zones == "good" and not ZONE.match(zone))):
        return None
    if not host.isascii() or "\0" in host:
        return None
    tail = host.rpartition(":")[2]
    if "." in tail and not IPV4.match(tail):
        return None
    try:
        return system.inet_pton(system.AF_INET6, host)
    except OSError:
        return None


def shown(address: bytes) -> str:
    family = system.AF_INET if len(address) == 4 else system.AF_INET6
    return system.inet_ntop(family, address)


def an_address(given: Input) -> str:
    what = given.below(6)
    if what == 0:
        return given.text(20, ADDRESS_CHARACTERS)
    if what == 1:
        text = shown(given.random.randbytes(given.pick(4, 16)))
    elif what == 2:
        groups = [given.pick("0", "0", "1", "ffff", "abc") for _ in range(8)]
        text = ":".join(groups)
    else:
        text = given.pick(*ADDRESSES)
    return given.mutated(text, ADDRESS_CHARACTERS)


@fuzzer(weight=6)
def address_family(given: Input) -> None:
    value = an_address(given) if given.chance(0.9) else given.anything()
    given.show(value)
    if isinstance(value, str):
        found = packed(value, "good")
        expected = 0 if found is None else 4 if len(found) == 4 else 6
        assert is_ip(value) == expected
        assert is_ipv4(value) is (expected == 4)
        assert is_ipv6(value) is (expected == 6)
        if found is not None and "%" not in value:
            assert is_ip(shown(found)) == expected
    elif not isinstance(value, Awkward):
        assert is_ip(value) in (0, 4, 6)
        if value is None or isinstance(value, (int, float, bytes)):
            assert is_ip(value) == 0


@fuzzer("ERR_INVALID_ADDRESS", "ERR_SOCKET_BAD_PORT", *ARGUMENTS, weight=4)
def socket_address(given: Input) -> None:
    options: dict[str, Any] = {"address": an_address(given)}
    if given.chance(0.7):
        options["family"] = given.anything("ipv4", "ipv6", "IPv6", None)
    if given.chance(0.5):
        options["port"] = given.anything(0, 80, "443", 65535)
    if given.chance(0.3):
        options["flowlabel"] = given.anything(0, 1, 2**32 - 1)
    given.show(options)
    made = given.attempt(SocketAddress, options)
    if given.raised(made):
        return
    found = packed(options["address"])
    assert found is not None
    assert made.address == shown(found)
    assert made.family == ("ipv4" if len(found) == 4 else "ipv6")
    assert 0 <= made.port <= 65535
    assert SocketAddress(made.to_json()) == made
    assert hash(SocketAddress(dict(made.to_json()))) == hash(made)
    text = f"{made.address}:{made.port}" if len(found) == 4 else f"[{made.address}]:{made.port}"
    back = SocketAddress.parse(text)
    assert (back.address, back.port) == (made.address, made.port)


@fuzzer("ERR_INVALID_ARG_TYPE", weight=4)
def socket_address_text(given: Input) -> None:
    if given.chance(0.05):
        value = given.anything()
    else:
        text = an_address(given)
        if ":" in text and given.chance(0.9):
            text = f"[{text}]"
        value = text + given.pick("", ":", ":0", ":80", ":65535", ":65536", ":00080", ":-1", ":8x")
        if given.chance(0.2):
            value = given.mutated(value)
    given.show(value)
    made = given.attempt(SocketAddress.parse, value)
    if given.raised(made):
        assert not isinstance(value, str)
        return
    known = re.fullmatch(r"(?:\[([^\]]*)\]|([^:\[]*))(?::([0-9]*))?", value, re.DOTALL)
    expected = None
    if known is not None:
        six, four, port = known.groups()
        found = packed(six if six is not None else four, "none")
        wanted = 16 if six is not None else 4
        if found is not None and len(found) == wanted and int(port or "0") <= 65535:
            expected = (shown(found), int(port or "0"))
    assert (made and (made.address, made.port)) == expected


# ---- Rules -------------------------------------------------------------------------------------

Model = list[tuple[int, int]]  # stretches of the IPv6 address space, oldest first


def number_of(address: bytes) -> int:
    if len(address) == 4:
        address = b"\0" * 10 + b"\xff\xff" + address
    return int.from_bytes(address, "big")


def meant(address: bytes) -> list[int]:
    """The numbers of an address, and of the IPv4 addresses that it leads to; see BlockList."""
    whole = number_of(address)
    found = [whole]
    if len(address) == 16:
        text = address.hex()
        carried = []
        if text.startswith("2002"):
            carried.append(text[4:12])
        elif text.startswith("0064ff9b" + "0" * 16):
            carried.append(text[24:])
        elif text.startswith("0064ff9b0001"):
            # RFC 6052 with a prefix of 48, 56, 64 and 96 bits; a byte of zeros stands behind 64.
            # An address that begins with 0 could be part of the prefix, as could one of zeros only.
            digits = text[:16] + text[18:]
            for first in (12, 14, 16) if text[16:18] == "00" else ():
                address_, rest = digits[first : first + 8], digits[first + 8 :]
                if not address_.startswith("00") and not rest.strip("0"):
                    carried.append(address_)
            if text[24:].strip("0") or not text[12:].strip("0"):
                carried.append(text[24:])
        found += [number_of(bytes.fromhex(each)) for each in carried]
    return found


def rule_address(given: Input) -> str:
    """An address near to others, so that rules meet."""
    if given.chance(0.1):
        return an_address(given)
    if given.chance(0.1):
        return given.pick(*CARRIERS).format(f"a00:{given.below(2)}0{given.below(12):x}")
    if given.chance(0.6):
        return f"10.0.{given.below(2)}.{given.below(12)}"
    return given.pick("::ffff:10.0.0.", "::ffff:10.0.1.") + str(given.below(12))


def add_rule(given: Input, rules: BlockList, model: Model) -> Any:
    """One random rule; the model gets what the list should have taken."""
    first = rule_address(given)
    family = "ipv6" if ":" in first else "ipv4"
    if given.chance(0.05):
        family = given.anything("ipv4", "ipv6", "IPV4")
    what = given.below(4)
    found = packed(first)
    if what == 0:
        given.show("address", first, family)
        outcome = given.attempt(rules.add_address, first, family)
        stretch = found and (number_of(found), number_of(found))
    elif what == 1:
        last = rule_address(given)
        given.show("range", first, last, family)
        outcome = given.attempt(rules.add_range, first, last, family)
        end = packed(last)
        stretch = found and end and (number_of(found), number_of(end))
    else:
        bits = 32 if found is not None and len(found) == 4 else 128
        prefix = given.anything(bits, bits - 1, bits - 3, bits - 4)
        if what == 2:
            given.show("subnet", first, prefix, family)
            outcome = given.attempt(rules.add_subnet, first, prefix, family)
        else:
            small = isinstance(prefix, (int, float)) and -1000 < prefix < 1000
            cidr = f"{first}/{prefix if small else given.text(4)}"
            cidr = given.mutated(cidr) if given.chance(0.1) else cidr
            given.show("cidr", cidr)
            outcome = given.attempt(rules.add_cidr, cidr)
            # Read again, since it may have been mutated.
            first, _, prefix = cidr.rpartition("/")
            found = packed(first.strip())
        if given.raised(outcome) or found is None:
            stretch = None
        else:
            width = len(found) * 8 - int(prefix)
            start = number_of(found) >> width << width
            stretch = (start, start + (1 << width) - 1)
    if not given.raised(outcome):
        assert stretch, "a rule of what is no address"
        model.append(stretch)
    return outcome


@fuzzer("ERR_INVALID_ADDRESS", *ARGUMENTS, weight=4)
def block_list(given: Input) -> None:
    rules, model = BlockList(), []
    for _ in range(given.pick(1, 2, 5, 12)):
        before = rules.rules
        outcome = add_rule(given, rules, model)
        if given.raised(outcome):
            assert rules.rules == before
        else:
            assert len(rules.rules) == len(before) + 1
            assert rules.rules[1:] == before
    if rules.size and given.chance(0.3):
        check_copy(given, rules)
    for _ in range(6):
        text = rule_address(given)
        found = packed(text)
        if found is not None:
            family = "ipv6" if len(found) == 16 else "ipv4"
            expected = any(low <= each <= high for each in meant(found) for low, high in model)
            given.show("check", text)
            assert rules.check(text, family) is expected


def check_copy(given: Input, rules: BlockList) -> None:
    copy = BlockList()
    copy.from_json(rules.to_json() if given.chance(0.5) else json.dumps(rules.to_json()))
    assert copy.rules == rules.rules[::-1]
    for _ in range(4):
        text = rule_address(given)
        family = "ipv6" if ":" in text else "ipv4"
        assert copy.check(text, family) is rules.check(text, family)


RULE_TEXTS = [
    "Address: IPv4 1.1.1.1", "Range: IPv4 10.0.0.1-10.0.0.5", "Subnet: IPv4 192.168.1.77/16",
    "Address: IPv6 ::1", "Range: IPv6 ::1-::5", "Subnet: IPv6 fe80::/10", "nonsense",
]  # fmt: skip


@fuzzer("ERR_INVALID_ADDRESS", *ARGUMENTS, weight=2)
def block_list_json(given: Input) -> None:
    texts: Any = [given.mutated(given.pick(*RULE_TEXTS)) for _ in range(given.below(4))]
    what = given.below(10)
    if what == 0:
        texts = given.anything()
    elif what < 4:
        texts = given.mutated(json.dumps(texts)) if what < 3 else json.dumps(texts)
    given.show(texts)
    rules = BlockList()
    rules.add_address("9.9.9.9")
    try:
        outcome = given.attempt(rules.from_json, texts)
    except ValueError:
        assert isinstance(texts, str), "ValueError of what is no JSON"
        outcome = ValueError()
    except RecursionError:
        outcome = ValueError()
    if isinstance(outcome, Exception):
        assert rules.rules == ["Address: IPv4 9.9.9.9"]
        return
    assert rules.rules[-1:] == ["Address: IPv4 9.9.9.9"]
    again = BlockList()
    again.from_json(rules.rules[::-1])
    assert again.rules == rules.rules


FEED_LINES = [
    "10.0.0.0/8", "1.2.3.4", "1.2.3.4-1.2.3.9", "fe80::/10 # local", "::1", "# nothing", "", "; no",
    " 1.1.1.1 ", "::1 - ::5", "1.2.3.4/33", "5.0.0.0-4.0.0.0", "x",
]  # fmt: skip


@fuzzer("ERR_INVALID_ARG_TYPE", "ERR_INVALID_ARG_VALUE", weight=2)
def block_list_feed(given: Input) -> None:
    lines: Any = [given.mutated(given.pick(*FEED_LINES)) for _ in range(given.below(5))]
    lines = [line.encode("utf8", "replace") if given.chance(0.3) else line for line in lines]
    if given.chance(0.05):
        lines = [*lines, given.anything()]
    given.show(lines)
    rules = BlockList()
    rules.add_address("9.9.9.9")
    outcome = given.attempt(rules.load, lines)
    if given.raised(outcome):
        assert rules.rules == ["Address: IPv4 9.9.9.9"]
        if outcome.code == "ERR_INVALID_ARG_VALUE":
            assert 1 <= outcome.line <= max(1, sum(line_count(line) for line in lines))
    else:
        assert outcome is rules
        assert rules.rules[-1:] == ["Address: IPv4 9.9.9.9"]


def line_count(line: Any) -> int:
    newline = "\n" if isinstance(line, str) else b"\n"
    return line.count(newline) + 1 if isinstance(line, (str, bytes)) else 1


# ---- Encodings ---------------------------------------------------------------------------------

ENCODINGS = ["utf8", "utf-8", "UTF-8", "ascii", "latin1", "binary", "hex", "base64", "base64url"]
ENCODINGS += ["ucs2", "ucs-2", "utf16le", "utf-16le", "Hex"]
DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
BASE64 = {character: at for at, character in enumerate(DIGITS + "+/")} | {"-": 62, "_": 63}
CANONICAL = {"utf-8": "utf8", "binary": "latin1", "ucs2": "utf16le", "ucs-2": "utf16le"}
CANONICAL["utf-16le"] = "utf16le"


def units(text: str) -> bytes:
    return text.encode("utf-16-le", "surrogatepass")


def encoded(text: str, kind: str) -> bytes:
    """The bytes of a text, by the rule."""
    if kind == "utf8":
        return units(text).decode("utf-16-le", "replace").encode()
    if kind == "utf16le":
        return units(text)
    if kind in ("latin1", "ascii"):
        return units(text)[::2]
    if kind == "hex":
        made = bytearray()
        for at in range(0, len(text) - 1, 2):
            if not re.fullmatch("[0-9a-fA-F]{2}", text[at : at + 2]):
                break
            made.append(int(text[at : at + 2], 16))
        return bytes(made)
    bits = "".join(
        f"{BASE64[character]:06b}" for character in text.partition("=")[0] if character in BASE64
    )
    return bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits) - 7, 8))


@fuzzer("ERR_UNKNOWN_ENCODING", weight=4)
def text_to_bytes(given: Input) -> None:
    name = given.pick(*ENCODINGS) if given.chance(0.95) else given.anything("utf", "buffer")
    kind = name.lower() if isinstance(name, str) else ""
    kind = CANONICAL.get(kind, kind)
    characters = {"hex": "0123456789abcdefABCDEFg ", "base64": DIGITS + "+/=-_ \n"}.get(kind)
    text = given.text(30, characters or "ab\x7f\x80éÿ\u0100€\ud800\udc00\udfff😀\0")
    given.show(text, name)
    outcome = given.attempt(encode_text, text, name)
    if not given.raised(outcome):
        assert outcome == encoded(text, kind or "utf8")


def decoded(data: bytes, kind: str) -> str:
    """The text of bytes, by the rule."""
    if kind == "utf8":
        return data.decode("utf8", "replace")
    if kind == "utf16le":
        return data[: len(data) & ~1].decode("utf-16-le", "surrogatepass")
    if kind == "latin1":
        return data.decode("latin1")
    if kind == "ascii":
        return bytes(byte & 127 for byte in data).decode("ascii")
    if kind == "hex":
        return data.hex()
    if kind == "base64":
        return base64.b64encode(data).decode()
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@fuzzer("ERR_UNKNOWN_ENCODING", weight=6)
def bytes_to_text(given: Input) -> None:
    name = given.pick(*ENCODINGS) if given.chance(0.97) else given.anything("utf", "buffer")
    what = given.below(3)
    if what == 0:
        data = given.data(30)
    elif what == 1:
        data = given.text(12, "aé€😀\u07ff\uffff").encode("utf8", "surrogatepass")
        if data and given.chance(0.5):
            at = given.below(len(data))
            data = data[:at] + bytes([given.below(256)]) + data[at + 1 :]
    else:
        data = units(given.text(12, "aé\ud800\udc00😀"))
    cuts = sorted(given.below(len(data) + 1) for _ in range(given.below(5)))
    given.show(name, data, cuts)
    decoder = given.attempt(Decoder, name)
    if given.raised(decoder):
        return
    kind = name.lower() if isinstance(name, str) else "utf8"
    kind = CANONICAL.get(kind, kind) or "utf8"
    pieces = [data[low:high] for low, high in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    made = "".join([decoder.write(piece) for piece in pieces]) + decoder.end()
    assert made == decoded(data, kind)
    # It begins anew.
    assert decoder.write(b"") + decoder.end() == ""


# ---- Numbers, ports, paths ---------------------------------------------------------------------

NUMERIC = re.compile(
    r"[+-]?(?:Infinity|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)\Z"
    r"|0[xX][0-9a-fA-F]+\Z|0[oO][0-7]+\Z|0[bB][01]+\Z"
)
SPACE = "".join(map(chr, [*range(9, 14), 32, 160, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029]))
SPACE += "\u202f\u205f\u3000\ufeff"


@fuzzer("ERR_SOCKET_BAD_PORT", weight=4)
def ports(given: Input) -> None:
    if given.chance(0.2):
        value = given.anything(80, "80")
    else:
        likely = given.pick("80", "0x50", "0b11", "0o7", "1e3", "65535", ".5e1", " 8 ", "+8", "8.0")
        value = given.mutated(likely, "0123456789xXobeE+-._ \u2000٣Infinity\0")
    given.show(value)
    expected = None
    if isinstance(value, str):
        text = value.strip(SPACE)
        if not text:
            expected = None
            assert js_number(value) == 0
        elif NUMERIC.match(text):
            if text[:2].lower() in ("0x", "0o", "0b"):
                expected = int(text, 0)
            else:
                expected = float(text.replace("Infinity", "inf"))
            found = js_number(value)
            assert found == expected or found == float("inf")
        else:
            assert js_number(value) is None
    elif hasattr(type(value), "__index__") and not isinstance(value, bool):
        expected = value.__index__()
    elif isinstance(value, float):
        expected = value
    valid = expected is not None and 0 <= expected <= 65535 and expected == int(expected)
    outcome = given.attempt(validate_port, value, "port")
    if valid:
        assert outcome == expected
        assert type(outcome) is int
    else:
        assert given.raised(outcome)


class PathLike:
    def __init__(self, path: Any) -> None:
        self.path = path

    def __fspath__(self) -> Any:
        return self.path

    def __repr__(self) -> str:
        return f"PathLike({self.path!r})"


@fuzzer("ERR_INVALID_ARG_VALUE")
def paths(given: Input) -> None:
    value: Any = given.pick("/tmp/x", "\0abstract", "a", "", "é", "\udcff", "\ud800")
    value = given.mutated(value)
    if given.chance(0.3):
        value = value.encode("utf8", "surrogatepass")
    if given.chance(0.2):
        value = PathLike(value)
    given.show(value)
    outcome = given.attempt(path_bytes, value, "path")
    if not given.raised(outcome):
        assert isinstance(outcome, bytes)
        assert os.fsdecode(outcome) == os.fsdecode(os.fspath(value))
