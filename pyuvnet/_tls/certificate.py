"""Certificates as Node shows them, read from their DER.

Python's mapping of a certificate is not used: it has no room for some of what names may be, and
there is none at all for a certificate with a name that is not UTF-8. A peer may send anything that
its authority has signed, so what is not as it should be raises ValueError or IndexError, and never
reads as something else.
"""

from __future__ import annotations

import _ssl
import contextlib
import hashlib
import ipaddress
import re

from .._base import TYPE_CHECKING
from .._base.info import CertificateInfo, Info

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    _Name = list[list[tuple[str, int, bytes]]]

# Each byte costs as much as all before it.
MAX_OID = 128
# How long a chain may be that get_peer_certificate() shows.
MOST_ISSUERS = 32
_CURVES = {
    "1.2.840.10045.3.1.7": ("prime256v1", "P-256", 256),
    "1.3.132.0.34": ("secp384r1", "P-384", 384),
    "1.3.132.0.35": ("secp521r1", "P-521", 521),
    "1.3.132.0.10": ("secp256k1", None, 256),
}
# The types of text, by their tags.
_ENCODINGS = {
    0x0C: "utf-8",
    0x12: "latin-1",  # NumericString
    0x13: "latin-1",  # PrintableString
    0x14: "latin-1",  # T61String, as OpenSSL takes it
    0x16: "latin-1",  # IA5String
    0x1A: "latin-1",  # VisibleString
    0x1C: "utf-32-be",
    0x1E: "utf-16-be",
}
# The kinds of alternative names that are text, by their tags.
_TEXTS = {0x81: "email", 0x82: "DNS", 0x86: "URI"}
# Other names that Node can show: their type, and the tag of their text.
_OTHER_NAMES = {
    "1.3.6.1.5.5.7.8.9": ("SmtpUTF8Mailbox", 0x0C),
    "1.3.6.1.5.5.7.8.5": ("XmppAddr", 0x0C),
    "1.3.6.1.5.5.7.8.7": ("SRVName", 0x16),
    "1.3.6.1.4.1.311.20.2.3": ("UPN", 0x0C),
    "1.3.6.1.5.5.7.8.8": ("NAIRealm", 0x0C),
}
_ALTERNATIVE_NAMES, _INFO_ACCESS = "2.5.29.17", "1.3.6.1.5.5.7.1.1"
_CONSTRAINTS, _KEY_USAGE, _USES = "2.5.29.19", "2.5.29.15", "2.5.29.37"
_OWN_KEY, _ISSUERS_KEY = "2.5.29.14", "2.5.29.35"
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


# ---- DER -----------------------------------------------------------------------------------------


def _items(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """The elements of DER: tag, content, and all of it."""
    at = 0
    while at < len(data):
        tag, length, head = data[at], data[at + 1], 2
        if tag & 31 == 31:
            raise ValueError("a tag of several bytes")
        if length & 128:
            count = length & 127
            if not 0 < count <= 4:
                raise ValueError("a length of no or too many bytes")
            length = int.from_bytes(data[at + 2 : at + 2 + count], "big")
            head += count
        if at + head + length > len(data):
            raise ValueError("ends early")
        yield tag, data[at + head : at + head + length], data[at : at + head + length]
        at += head + length


def _only(data: bytes, wanted: int = 0x30) -> bytes:
    """The content of the one element that there is."""
    ((tag, content, _),) = _items(data)
    if tag != wanted:
        raise ValueError("an element of another type")
    return content


def _oid(data: bytes) -> str:
    if len(data) > MAX_OID:
        raise ValueError("too long")
    first = data[0]
    parts, value = [min(first // 40, 2)], 0
    parts.append(first - 40 * parts[0])
    for byte in data[1:]:
        value = value << 7 | byte & 127
        if not byte & 128:
            parts.append(value)
            value = 0
    return ".".join(map(str, parts))


def _known(oid: str, long: bool = False) -> str:
    """OpenSSL's short or long name of an object identifier; itself if there is none."""
    try:
        return str(_ssl.txt2obj(oid, name=False)[2 if long else 1])
    except ValueError:
        return oid


class _Parts:
    """What a certificate consists of, not yet looked into."""

    def __init__(self, der: bytes) -> None:
        (_, body, _), *_ = _items(_only(der))
        fields = [item for item in _items(body) if item[0] != 0xA0]
        self.serial = fields[0][1]
        self.issuer, self.validity, self.subject = fields[2][2], fields[3][1], fields[4][2]
        self.key = fields[5]
        self.extensions: dict[str, bytes] = {}
        for tag, content, _ in fields[6:]:
            if tag != 0xA3:
                continue
            for _, extension, _ in _items(_only(content)):
                parts = list(_items(extension))
                name = _oid(parts[0][1])
                if name in self.extensions:
                    # It would not be clear which of them holds.
                    raise ValueError("an extension is there twice")
                self.extensions[name] = parts[-1][1]


def key_kind(der: bytes) -> str:
    """The algorithm of a certificate's key; '' if it cannot be read."""
    kind = ""
    with contextlib.suppress(ValueError, IndexError):
        (_, algorithm, _), *_ = _items(_Parts(der).key[1])
        (_, oid, _), *_ = _items(algorithm)
        kind = _oid(oid)
    return kind


# ---- Names ---------------------------------------------------------------------------------------


def _name(der: bytes) -> _Name:
    """The parts of a name, in groups: object identifier, and tag and bytes of the text."""
    groups: _Name = []
    for _, group, _ in _items(_only(der)):
        groups.append([])
        for _, pair, _ in _items(group):
            (_, oid, _), (tag, value, _) = _items(pair)
            groups[-1].append((_oid(oid), tag, value))
    return groups


def _text(tag: int, value: bytes) -> str:
    return value.decode(_ENCODINGS.get(tag, "ascii"))


def _mapping(der: bytes) -> Info:
    """A name as Node shows it; a part that is there twice is a list."""
    found: dict[str, Any] = {}
    for group in _name(der):
        for oid, tag, value in group:
            key, text = _known(oid), _text(tag, value)
            if key not in found:
                found[key] = text
            elif isinstance(found[key], list):
                found[key].append(text)
            else:
                found[key] = [found[key], text]
    return Info(found)


def _directory_name(der: bytes) -> str:
    """A name as RFC 2253 writes it: the last part first."""
    shown = []
    for group in reversed(_name(der)):
        pairs = []
        for oid, tag, value in group:
            name = _known(oid)
            if name == oid or tag not in _ENCODINGS:
                pairs.append(f"{name}=#{tag:02X}{_length(value)}{value.hex().upper()}")
                continue
            text = re.sub(r'[,+"<>;\\]', r"\\\g<0>", whole := _text(tag, value))
            if text.startswith(("#", " ")):
                text = "\\" + text
            if text.endswith(" ") and len(whole) > 1:
                text = text[:-1] + "\\ "
            pairs.append(f"{name}={text}")
        shown.append("+".join(pairs))
    return ",".join(shown)


def _length(value: bytes) -> str:
    """The bytes of DER that say how long a value is, in hexadecimal."""
    size = len(value)
    if size < 128:
        return f"{size:02X}"
    digits = f"{size:X}"
    digits = "0" * (len(digits) % 2) + digits
    return f"{128 + len(digits) // 2:02X}{digits}"


def _quoted(kind: str, text: str, prefix: str = "", *, utf8: bool = False) -> str:
    """A name as Node shows it: a string of JSON if it could be taken for several."""
    if prefix:
        prefix += ":"
    if not re.search("[\x00-\x1f\x7f\"\\\\,']" if utf8 else "[^ -~]|[\"\\\\,']", text):
        return f"{kind}:{prefix}{text}"

    def escape(found: re.Match[str]) -> str:
        character = found.group()
        return "\\" + character if character in '"\\' else f"\\u{ord(character):04x}"

    beyond = "" if utf8 else "\x7f-\xff"
    return f'{kind}:"{prefix}' + re.sub(f'[\x00-\x1f"\\\\,{beyond}]', escape, text) + '"'


def _general_name(tag: int, value: bytes) -> str:
    """A name of any kind as Node shows it."""
    if tag in _TEXTS:
        return _quoted(_TEXTS[tag], value.decode("latin-1"))
    if tag == 0xA4:
        return _quoted("DirName", _directory_name(value), utf8=True)
    if tag == 0x87:
        if len(value) == 4:
            return f"IP Address:{'.'.join(map(str, value))}"
        if len(value) == 16:
            groups = ipaddress.IPv6Address(value).exploded.split(":")
            return "IP Address:" + ":".join(f"{int(group, 16):X}" for group in groups)
        return f"IP Address:<invalid length={len(value)}>"
    if tag == 0x88:
        return f"Registered ID:{_oid(value)}"
    if tag == 0xA0:
        (_, oid, _), (_, wrapped, _) = _items(value)
        prefix, wanted = _OTHER_NAMES.get(_oid(oid), ("", 0))
        ((kind, text, _),) = _items(wrapped)
        if kind != wanted:
            return "othername:<unsupported>"
        latin = kind == 0x16
        decoded = text.decode("latin-1" if latin else "utf-8")
        return _quoted("othername", decoded, prefix, utf8=not latin)
    unsupported = {0xA3: "X400Name", 0xA5: "EdiPartyName"}
    if tag in unsupported:
        return f"{unsupported[tag]}:<unsupported>"
    raise ValueError("a name of no known kind")


def _alternative_names(parts: _Parts) -> str | None:
    names = parts.extensions.get(_ALTERNATIVE_NAMES)
    if names is None:
        return None
    return ", ".join(_general_name(tag, value) for tag, value, _ in _items(_only(names)))


def identity_of(der: bytes) -> Info:
    """What check_server_identity() looks at of a certificate.

    Raises: ValueError or IndexError if it cannot be read.
    """
    parts = _Parts(der)
    found = Info(subject=_mapping(parts.subject))
    names = _alternative_names(parts)
    if names:
        found["subjectaltname"] = names
    return found


# ---- Issuers -------------------------------------------------------------------------------------


def is_issuer(der: bytes, below: bytes) -> bool:
    """Whether a certificate may have issued another one, as OpenSSL sees it by their names."""
    try:
        return _has_issued(_Parts(der), _Parts(below))
    except (ValueError, IndexError):
        return False


def _has_issued(issuer: _Parts, issued: _Parts) -> bool:
    """is_issuer() of what has been read."""
    if issuer.subject != issued.issuer:
        return False
    own = issuer.extensions.get(_OWN_KEY)
    named = issued.extensions.get(_ISSUERS_KEY)
    if own is None or named is None:
        return True
    try:
        keys = [value for tag, value, _ in _items(_only(named)) if tag == 0x80]
        return not keys or keys[0] == _only(own, 0x04)
    except (ValueError, IndexError):
        return False


def with_issuers(chain: list[bytes], store: Iterable[bytes]) -> list[bytes]:
    """A chain that goes on with those of a store, up to one that has signed itself."""
    found, known = list(chain), []
    for der in store:
        with contextlib.suppress(ValueError, IndexError):
            known.append((der, _Parts(der)))
    with contextlib.suppress(ValueError, IndexError):
        # Read once: it may be as long as the peer wants, and the store has hundreds.
        last = _Parts(found[-1])
        while len(found) < MOST_ISSUERS and not _has_issued(last, last):
            above = [each for each in known if _has_issued(each[1], last)]
            if not above:
                break
            der, last = above[0]
            found.append(der)
    return found


# ---- The whole -----------------------------------------------------------------------------------


def _time(tag: int, value: bytes) -> str:
    text = value.decode("ascii")
    if tag == 0x17:
        text = ("19" if text[:2] >= "50" else "20") + text
    found = re.fullmatch(r"(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\.\d+)?Z", text)
    if found is None or found[2] == "00":
        raise ValueError("no time")
    year, month, day, *clock = found.groups()[:6]
    shown = ":".join(clock) + (found[7] or "")
    return f"{_MONTHS[int(month) - 1]} {int(day):2d} {shown} {int(year)} GMT"


def certificate(der: bytes) -> CertificateInfo:
    """A certificate as Node shows it, as far as it can be read."""
    found = CertificateInfo(subject=Info(), issuer=Info())
    # Without what cannot be read the rest is still true.
    with contextlib.suppress(ValueError, IndexError):
        parts = _Parts(der)
        for add in (_add_names, _add_access, _add_key, _add_times, _add_uses):
            with contextlib.suppress(ValueError, IndexError):
                add(found, parts)
    for name, algorithm in (
        ("fingerprint", "sha1"),
        ("fingerprint256", "sha256"),
        ("fingerprint512", "sha512"),
    ):
        digest = hashlib.new(algorithm, der, usedforsecurity=False).hexdigest().upper()
        found[name] = ":".join(re.findall("..", digest))
    found["raw"] = der
    return found


def _add_names(found: Info, parts: _Parts) -> None:
    with contextlib.suppress(ValueError, IndexError):
        found["subject"] = _mapping(parts.subject)
    with contextlib.suppress(ValueError, IndexError):
        found["issuer"] = _mapping(parts.issuer)
    try:
        names = _alternative_names(parts)
    except (ValueError, IndexError):
        # Without any check_server_identity() would take the common name instead. No host is this.
        names = "DNS:<unreadable>"
    if names is not None:
        found["subjectaltname"] = names


def _add_access(found: Info, parts: _Parts) -> None:
    data = parts.extensions.get(_INFO_ACCESS)
    if data is None:
        return
    access: dict[str, list[str]] = {}
    for _, description, _ in _items(_only(data)):
        (_, oid, _), (tag, place, _) = _items(description)
        kind, _, value = _general_name(tag, place).partition(":")
        if value.startswith('"'):
            import json

            value = json.loads(value)
        access.setdefault(f"{_known(_oid(oid), long=True)} - {kind}", []).append(value)
    found["infoAccess"] = Info(access)


def _add_key(found: Info, parts: _Parts) -> None:
    _, info, whole = parts.key
    (_, algorithm, _), (_, bits, _) = list(_items(info))[:2]
    kinds = list(_items(algorithm))
    kind = _oid(kinds[0][1])
    key = bits[1:]
    if kind == "1.2.840.113549.1.1.1":
        numbers = list(_items(_only(key)))[:2]
        modulus, exponent = (int.from_bytes(item[1], "big") for item in numbers)
        found["modulus"] = f"{modulus:X}"
        found["bits"] = modulus.bit_length()
        found["exponent"] = f"0x{exponent:x}"
        found["pubkey"] = whole
    elif kind == "1.2.840.10045.2.1":
        name, nist, size = _CURVES.get(_oid(kinds[1][1]), (None, None, None))
        if size:
            found["bits"] = size
        found["pubkey"] = key
        if name:
            found["asn1Curve"] = name
        if nist:
            found["nistCurve"] = nist


def _add_times(found: Info, parts: _Parts) -> None:
    serial = int.from_bytes(parts.serial, "big", signed=True)
    digits = f"{abs(serial):X}"
    found["serialNumber"] = "-" * (serial < 0) + "0" * (len(digits) % 2) + digits
    (first, begins, _), (last, ends, _) = _items(parts.validity)
    found["valid_from"], found["valid_to"] = _time(first, begins), _time(last, ends)


def _add_uses(found: Info, parts: _Parts) -> None:
    found["ca"] = False
    uses = parts.extensions.get(_USES)
    if uses is not None:
        found["ext_key_usage"] = [_oid(value) for _, value, _ in _items(_only(uses))]
    constraints = parts.extensions.get(_CONSTRAINTS)
    authority = constraints is not None and any(
        tag == 1 and value != b"\0" for tag, value, _ in _items(_only(constraints))
    )
    usage = parts.extensions.get(_KEY_USAGE)
    # The sixth bit: it may sign certificates.
    found["ca"] = authority and (usage is None or bool(_only(usage, 3)[1] & 4))
