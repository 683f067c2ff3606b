"""Certificates as Node shows them, and whether one is of a host."""

from __future__ import annotations

import _ssl
import contextlib
import hashlib
import re
import unicodedata

from ._base import TYPE_CHECKING
from ._base.hints import hint
from ._base.info import Info
from ._core.address import is_ip
from ._tls_errors import TLSError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

# What Python's ssl calls the parts of a name, with the abbreviations that Node shows.
_SHORT = {
    "countryName": "C",
    "stateOrProvinceName": "ST",
    "localityName": "L",
    "streetAddress": "street",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "commonName": "CN",
    "domainComponent": "DC",
    "userId": "UID",
}
# Each byte costs as much as all before it.
MAX_OID = 128
_CURVES = {
    "1.2.840.10045.3.1.7": ("prime256v1", "P-256", 256),
    "1.3.132.0.34": ("secp384r1", "P-384", 384),
    "1.3.132.0.35": ("secp521r1", "P-521", 521),
    "1.3.132.0.10": ("secp256k1", None, 256),
}


# ---- Identity ------------------------------------------------------------------------------------


# What no name in a URL may have, and the last label of what a URL takes for an address.
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f#%/:<>?@\[\\\]^|]")
_NUMBER = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)", re.IGNORECASE)
# A string of JSON, as it stands quoted among the alternative names.
_QUOTED = re.compile(r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"')


def _labels(name: str) -> list[str]:
    """The labels of a DNS name, in lower case, without the dot at its end."""
    return name.removesuffix(".").lower().split(".")


def ascii_host(host: str) -> str:
    """A host as certificates name it; '' for one that none can name."""
    labels = []
    for label in host.removesuffix(".").split("."):
        if not label.isascii():
            folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", label).lower())
            try:
                # The codec makes "ss" of an "ß", as names in URLs once did.
                label = (
                    "xn--" + folded.encode("punycode").decode()
                    if "ß" in folded or "ς" in folded
                    else folded.encode("idna").decode()
                )
            except UnicodeError:
                return ""
        labels.append(label)
    found = ".".join(labels)
    if _FORBIDDEN.search(found) or _NUMBER.fullmatch(_labels(found)[-1]):
        return ""
    return found


def _matches(host: list[str], pattern: str) -> bool:
    """Whether a name of a certificate, maybe with a wildcard in its first label, covers a host."""
    if not pattern or re.search(r"[^\x21-\x7f]", pattern):
        return False
    parts = _labels(pattern)
    if len(parts) != len(host) or "" in parts or parts[1:] != host[1:]:
        return False
    first = parts[0]
    if "*" not in first or "xn--" in first:
        return first == host[0]
    before, _, after = first.partition("*")
    if "*" in after or len(parts) <= 2:
        return False
    return (
        len(host[0]) >= len(before) + len(after)
        and host[0].startswith(before)
        and host[0].endswith(after)
    )


def _split_names(text: str) -> list[str]:
    """The alternative names in Node's one text, in which odd ones are strings of JSON."""
    if '"' not in text:
        return text.split(", ")
    import json

    names, name, at = [], "", 0
    while at < len(text):
        comma, quote = text.find(",", at), text.find('"', at)
        if quote >= 0 and (comma < 0 or quote < comma):
            quoted = _QUOTED.match(text, quote)
            if quoted is None:
                raise TLSError(
                    "Invalid subject alternative name string", "ERR_TLS_CERT_ALTNAME_FORMAT"
                )
            name += text[at:quote] + json.loads(quoted.group())
            at = quoted.end()
        elif comma >= 0:
            names.append(name + text[at:comma])
            name, at = "", comma + 2
        else:
            name += text[at:]
            break
    return [*names, name]


def _canonical_ip(text: str) -> str | None:
    """An address in its one notation, without a zone; None for none."""
    import ipaddress

    try:
        return str(ipaddress.ip_address(text.partition("%")[0]))
    except ValueError:
        return None


def check_server_identity(hostname: str, cert: Mapping[str, Any]) -> TLSError | None:
    """Return an error if a certificate is not valid for a host, else None.

    Args:
        hostname: a name or a literal address.
        cert: the certificate, as get_peer_certificate() returns it.

    Returns: TLSError (ERR_TLS_CERT_ALTNAME_INVALID) with reason, host and cert, or None.
    Raises: TLSError (ERR_TLS_CERT_ALTNAME_FORMAT) for alternative names that cannot be read.

    Node: tls.checkServerIdentity()
    """
    host = str(hostname).removesuffix(".")
    subject = cert.get("subject") or {}
    names = cert.get("subjectaltname")
    dns_names, addresses = [], []
    for name in _split_names(names) if names else ():
        if name.startswith("DNS:"):
            dns_names.append(name[4:])
        elif name.startswith("IP Address:"):
            addresses.append(_canonical_ip(name[11:]))
    valid = False
    if is_ip(host):
        address = _canonical_ip(host)
        valid = address is not None and address in addresses
        shown = ", ".join(each or "" for each in addresses)
        reason = f"IP: {host} is not in the cert's list: {shown}"
    elif dns_names or subject.get("CN"):
        labels = _labels(ascii_host(host))
        if dns_names:
            valid = any(_matches(labels, name) for name in dns_names)
            reason = f"Host: {host}. is not in the cert's altnames: {names}"
        else:
            common = subject["CN"] if isinstance(subject["CN"], list) else [subject["CN"]]
            valid = any(_matches(labels, name) for name in common)
            reason = f"Host: {host}. is not cert's CN: {','.join(common)}"
    else:
        reason = "Cert does not contain a DNS name"
    if valid:
        return None
    error = TLSError(
        f"Hostname/IP does not match certificate's altnames: {reason}",
        "ERR_TLS_CERT_ALTNAME_INVALID",
    )
    error.reason, error.host, error.cert = reason, host, cert
    names = cert.get("subjectaltname")
    if names:
        hint(
            error,
            f"The certificate is for {names}. Connect to one of these names, or pass the one to "
            "expect as servername.",
        )
    return error


# ---- Certificates --------------------------------------------------------------------------------


def _name(parts: Any) -> Info:
    """A name as Node shows it; a part that is there twice is a list."""
    found: dict[str, Any] = {}
    for relative in parts or ():
        for key, value in relative:
            key = _SHORT.get(key, key)
            if key not in found:
                found[key] = value
            elif isinstance(found[key], list):
                found[key].append(value)
            else:
                found[key] = [found[key], value]
    return Info(found)


def _short_name(name: str) -> str:
    """OpenSSL's short name of a part of a name."""
    try:
        return str(_ssl.txt2obj(name, name=True)[1])
    except ValueError:
        return name


def _directory_name(parts: Any) -> str:
    """A name as RFC 2253 writes it: the last part first."""
    shown = []
    for relative in reversed(parts):
        pairs = []
        for key, value in relative:
            text = re.sub(r'[,+"<>;\\]', r"\\\g<0>", value)
            if text.startswith(("#", " ")):
                text = "\\" + text
            if text.endswith(" ") and len(value) > 1:
                text = text[:-1] + "\\ "
            pairs.append(f"{_short_name(key)}={text}")
        shown.append("+".join(pairs))
    return ",".join(shown)


def _alternative(kind: str, value: Any) -> str:
    """An alternative name as Node shows it: quoted if it could be taken for several."""
    if kind == "DirName":
        text = _directory_name(value)
    elif kind == "IP Address":
        # Older versions of Python leave a line's end there.
        text = str(value).strip()
    else:
        # These are bytes, which Python took for UTF-8.
        text = str(value).encode().decode("latin-1")
    if not re.search("[^ -~]|[\"\\\\,']", text):
        return f"{kind}:{text}"

    def escape(found: re.Match[str]) -> str:
        character = found.group()
        return "\\" + character if character in '"\\' else f"\\u{ord(character):04x}"

    beyond = "" if kind == "DirName" else "\x7f-\xff"
    return f'{kind}:"' + re.sub(f'[\x00-\x1f"\\\\,{beyond}]', escape, text) + '"'


def identity_of(decoded: Mapping[str, Any]) -> Info:
    """What check_server_identity() looks at, of Python's mapping."""
    found = Info(subject=_name(decoded.get("subject")))
    names = decoded.get("subjectAltName")
    if names:
        found["subjectaltname"] = ", ".join(_alternative(kind, value) for kind, value in names)
    return found


def certificate(der: bytes, decoded: Mapping[str, Any]) -> Info:
    """A certificate as Node shows it.

    Args:
        der: its bytes.
        decoded: Python's mapping of it.
    """
    found = Info(subject=_name(decoded.get("subject")), issuer=_name(decoded.get("issuer")))
    found.update(identity_of(decoded))
    access = {}
    for key, name in (("OCSP", "OCSP - URI"), ("caIssuers", "CA Issuers - URI")):
        if decoded.get(key):
            access[name] = list(decoded[key])
    if access:
        found["infoAccess"] = Info(access)
    found["ca"] = False
    # A peer may send anything; without these the rest is still true.
    with contextlib.suppress(ValueError, IndexError, StopIteration):
        _add_der(found, der)
    found["valid_from"] = decoded.get("notBefore")
    found["valid_to"] = decoded.get("notAfter")
    for name, algorithm in (
        ("fingerprint", "sha1"),
        ("fingerprint256", "sha256"),
        ("fingerprint512", "sha512"),
    ):
        digest = hashlib.new(algorithm, der, usedforsecurity=False).hexdigest().upper()
        found[name] = ":".join(re.findall("..", digest))
    found["serialNumber"] = decoded.get("serialNumber")
    found["raw"] = der
    return found


def _items(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """The elements of DER: tag, content, and all of it."""
    at = 0
    while at < len(data):
        tag, length, head = data[at], data[at + 1], 2
        if length & 128:
            count = length & 127
            if count > 4:
                raise ValueError("too long")
            length = int.from_bytes(data[at + 2 : at + 2 + count], "big")
            head += count
        if at + head + length > len(data):
            raise ValueError("ends early")
        yield tag, data[at + head : at + head + length], data[at : at + head + length]
        at += head + length


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


def key_kind(der: bytes) -> str:
    """The algorithm of a certificate's key; '' if it cannot be read."""
    found: dict[str, Any] = {}
    with contextlib.suppress(ValueError, IndexError, StopIteration):
        (_, outer, _) = next(_items(der))
        (_, body, _) = next(_items(outer))
        info = [item for item in _items(body) if item[0] != 0xA0][5]
        (_, algorithm, _) = next(_items(info[1]))
        found["kind"] = _oid(next(_items(algorithm))[1])
    return str(found.get("kind", ""))


def _add_der(found: dict[str, Any], der: bytes) -> None:
    """Add what Python's mapping has not: the key, the uses, whether it is an authority's."""
    (_, outer, _) = next(_items(der))
    (_, body, _) = next(_items(outer))
    fields = [item for item in _items(body) if item[0] != 0xA0]
    info = fields[5]
    (_, algorithm, _), (_, bits, _) = list(_items(info[1]))[:2]
    kinds = list(_items(algorithm))
    kind = _oid(kinds[0][1])
    key = bits[1:]
    if kind == "1.2.840.113549.1.1.1":
        (_, pair, _) = next(_items(key))
        modulus, exponent = (int.from_bytes(item[1], "big") for item in list(_items(pair))[:2])
        found["modulus"] = f"{modulus:X}"
        found["bits"] = modulus.bit_length()
        found["exponent"] = f"0x{exponent:x}"
        found["pubkey"] = info[2]
    elif kind == "1.2.840.10045.2.1":
        name, nist, size = _CURVES.get(_oid(kinds[1][1]), (None, None, None))
        if size:
            found["bits"] = size
        found["pubkey"] = key
        if name:
            found["asn1Curve"] = name
        if nist:
            found["nistCurve"] = nist
    for tag, content, _ in fields:
        if tag == 0xA3:
            (_, extensions, _) = next(_items(content))
            for _, extension, _ in _items(extensions):
                parts = list(_items(extension))
                name, value = _oid(parts[0][1]), parts[-1][1]
                if name == "2.5.29.19":
                    (_, inner, _) = next(_items(value))
                    found["ca"] = any(t == 1 and v != b"\0" for t, v, _ in _items(inner))
                elif name == "2.5.29.37":
                    (_, inner, _) = next(_items(value))
                    found["ext_key_usage"] = [_oid(v) for _, v, _ in _items(inner)]
