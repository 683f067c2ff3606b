"""Node's spelling of a PEP 8 name, by rule. Imports nothing of ours.

`_core/names.pyx` gives the members of classes and modules these names.
"""

from __future__ import annotations

# Acronyms which Node writes in capitals when they end a name.
_ACRONYMS = {"ip": "IP", "json": "JSON", "cidr": "CIDR", "cidrs": "CIDRs"}
_IRREGULAR = {
    "is_ipv4": "isIPv4",
    "is_ipv6": "isIPv6",
    "alpn_protocols": "ALPNProtocols",
    "alpn_callback": "ALPNCallback",
    "sni_callback": "SNICallback",
    "min_dh_size": "minDHSize",
    "get_tls_ticket": "getTLSTicket",
    "get_ca_certificates": "getCACertificates",
    "set_default_ca_certificates": "setDefaultCACertificates",
    "request_ocsp": "requestOCSP",
}


def to_node(name: str) -> str:
    """Return Node's spelling of a PEP 8 name: 'set_no_delay' -> 'setNoDelay'.

    Args:
        name: a snake_case name; a name without underscores comes back unchanged.
    """
    if "_" not in name or name[0] == "_" or name.isupper():
        return name
    if name in _IRREGULAR:
        return _IRREGULAR[name]
    first, *rest = name.split("_")
    return first + "".join([_ACRONYMS.get(word) or word.capitalize() for word in rest])
