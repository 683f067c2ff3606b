"""Whether a certificate, as Node shows it, is of a host."""

from __future__ import annotations

import re
import unicodedata

from .._base import TYPE_CHECKING
from .._base.hints import hint
from .._core.address import is_ip
from .errors import TLSError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

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
    comma = quote = -2
    while at < len(text):
        # Each is looked for once: a certificate may have thousands of names.
        if -1 != comma < at:
            comma = text.find(",", at)
        if -1 != quote < at:
            quote = text.find('"', at)
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
