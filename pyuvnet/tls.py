"""Node's tls module: sockets and servers with TLS.

    from pyuvnet import tls
    server = tls.create_server({"key": key, "cert": cert}, lambda socket: socket.pipe(socket))

Python's ssl does the cryptography.

Node: tls
"""

from __future__ import annotations

import ssl

from . import _tls_promises as promises
from ._base import TYPE_CHECKING
from ._base import validation as check
from ._core.names import add_node_names
from ._tls_context import (
    DEFAULT_CIPHERS,
    DEFAULT_MAX_VERSION,
    DEFAULT_MIN_VERSION,
    SecureContext,
    create_secure_context,
)
from ._tls_errors import TLSError, unavailable
from ._tls_identity import check_server_identity
from ._tls_rules import Session
from ._tlsserver import Server, connect, create_server
from ._tlssocket import TLSSocket

if TYPE_CHECKING:
    from typing import Any

DEFAULT_ECDH_CURVE = "auto"


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
        kind: 'default' and 'system' are the system's store, which clients trust without `ca`;
            'extra' is empty.

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
    return [] if kind == "extra" else list(_system_certificates())


def set_default_ca_certificates(certs: Any) -> None:
    """Not available: Python's ssl has no defaults to set, so pass `ca` to each context.

    Raises: StateError (ERR_FEATURE_UNAVAILABLE_ON_PLATFORM).

    Node: tls.setDefaultCACertificates()
    """
    raise unavailable("set_default_ca_certificates()")


def _system_certificates() -> tuple[str, ...]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_default_certs()
    return tuple(map(ssl.DER_cert_to_PEM_cert, context.get_ca_certs(True)))


def __getattr__(name: str) -> Any:
    if name in ("root_certificates", "rootCertificates"):
        found = _system_certificates()
        globals()["root_certificates"] = globals()["rootCertificates"] = found
        return found
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
