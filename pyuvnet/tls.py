"""Node's tls module: sockets and servers with TLS.

    from pyuvnet import tls
    server = tls.create_server({"key": key, "cert": cert}, lambda socket: socket.pipe(socket))

Python's ssl does the cryptography. `tls.engine` says how records reach it.

Node: tls
"""

from __future__ import annotations

import os
import re
import ssl

from ._base import TYPE_CHECKING
from ._base import validation as check
from ._base.info import Info
from ._core import engine as _engines
from ._core.names import add_node_names
from ._tls import promises
from ._tls.context import (
    DEFAULT_CIPHERS,
    DEFAULT_ECDH_CURVE,
    DEFAULT_MAX_VERSION,
    DEFAULT_MIN_VERSION,
    SecureContext,
    create_secure_context,
    default_authorities,
    defaults_of,
    set_default_authorities,
)
from ._tls.errors import TLSError, unavailable
from ._tls.identity import check_server_identity
from ._tls.rules import Session
from ._tls.server import Server, connect, create_server
from ._tls.socket import TLSSocket

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

# What a program assigns to DEFAULT_CIPHERS and the others is for the contexts made from then on.
defaults_of(globals())
if "PYUVNET_TLS_ENGINE" in os.environ:
    # A name that cannot be obeyed is an error at once, not with the first connection.
    _engines.chosen()


def get_ciphers() -> list[str]:
    """Return the names of the cipher suites that Python's ssl has, in lower case.

    Node: tls.getCiphers()
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_ciphers("ALL:@SECLEVEL=0")
    return sorted({str(suite["name"]).lower() for suite in context.get_ciphers()})


def get_ca_certificates(kind: str = "default") -> list[str]:
    """Return certificates of authorities, as PEM.

    Args:
        kind: 'default' is what clients trust without `ca`: the system's store, or what
            set_default_ca_certificates() was given; 'system' is that store; 'extra' is empty.

    Raises: ArgValueError (ERR_INVALID_ARG_VALUE); StateError
        (ERR_FEATURE_UNAVAILABLE_ON_PLATFORM) for 'bundled', since no certificates come with
        pyuvnet.

    Node: tls.getCACertificates()
    """
    check.validate_string(kind, "type")
    if kind == "bundled":
        raise unavailable("get_ca_certificates('bundled')")
    if kind not in ("default", "system", "extra"):
        raise check.arg_value_error("type", kind)
    if kind == "extra":
        return []
    found = default_authorities() if kind == "default" else None
    return list(_system_certificates()) if found is None else found


def set_default_ca_certificates(certs: Sequence[str | bytes]) -> None:
    """Trust these authorities, instead of the system's store, in contexts made from now on.

    A context with `ca` or `context` trusts what it was given.

    Args:
        certs: PEM as str or bytes, each with one certificate or several; [] trusts no issuer.

    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE); TLSError (ERR_CRYPTO_OPERATION_FAILED) for what is
        no certificate. Nothing has changed then.

    Node: tls.setDefaultCACertificates()
    """
    if not isinstance(certs, (list, tuple)):
        raise check.arg_type_error("certs", "Array", certs)
    found: dict[str, None] = {}
    for index, each in enumerate(certs):
        if not isinstance(each, (str, bytes, bytearray, memoryview)):
            kinds = ["string", "ArrayBufferView"]
            raise check.arg_type_error(f"certs[{index}]", kinds, each)
        found |= dict.fromkeys(_certificates_in(each))
    set_default_authorities(found)


def _certificates_in(pem: str | bytes | bytearray | memoryview) -> list[str]:
    """The certificates of PEM, each as ssl writes it."""
    text = pem if isinstance(pem, str) else bytes(pem).decode("latin-1")
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    found = []
    try:
        for block in re.findall(f"{begin}.*?{end}", text, re.DOTALL):
            der = ssl.PEM_cert_to_DER_cert(block)
            context.load_verify_locations(cadata=der)
            found.append(ssl.DER_cert_to_PEM_cert(der))
    except (ValueError, ssl.SSLError):
        found = []
    if not found:
        message = "No valid certificates found in the provided array"
        raise TLSError(message, "ERR_CRYPTO_OPERATION_FAILED")
    return found


def _system_certificates() -> tuple[str, ...]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_default_certs()
    return tuple(map(ssl.DER_cert_to_PEM_cert, context.get_ca_certs(True)))


def __getattr__(name: str) -> Any:
    if name in ("root_certificates", "rootCertificates"):
        # Without the end of the last line, as Node's.
        found = tuple(pem.rstrip("\n") for pem in _system_certificates())
        globals()["root_certificates"] = globals()["rootCertificates"] = found
        return found
    if name == "engine":
        engine, reason = _engines.chosen()
        return Info(name=engine, reason=reason)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "DEFAULT_CIPHERS",
    "DEFAULT_ECDH_CURVE",
    "DEFAULT_MAX_VERSION",
    "DEFAULT_MIN_VERSION",
    "SecureContext",
    "Server",
    "Session",
    "TLSError",
    "TLSSocket",
    "check_server_identity",
    "connect",
    "create_secure_context",
    "create_server",
    "get_ca_certificates",
    "get_ciphers",
    "promises",
    "set_default_ca_certificates",
]
add_node_names(globals())
