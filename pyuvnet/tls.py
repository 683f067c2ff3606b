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
from ._core.names import add_node_names
from ._tls_context import (
    DEFAULT_CIPHERS,
    DEFAULT_MAX_VERSION,
    DEFAULT_MIN_VERSION,
    SecureContext,
    create_secure_context,
)
from ._tls_errors import TLSError
from ._tls_identity import check_server_identity
from ._tlsserver import Server, connect, create_server
from ._tlssocket import Session, TLSSocket

if TYPE_CHECKING:
    from typing import Any


def get_ciphers() -> list[str]:
    """Return the names of the cipher suites that Python's ssl has, in lower case.

    Node: tls.getCiphers()
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_ciphers("ALL:@SECLEVEL=0")
    return sorted({str(suite["name"]).lower() for suite in context.get_ciphers()})


def __getattr__(name: str) -> Any:
    if name in ("root_certificates", "rootCertificates"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_default_certs()
        found = tuple(map(ssl.DER_cert_to_PEM_cert, context.get_ca_certs(True)))
        globals()["root_certificates"] = globals()["rootCertificates"] = found
        return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "DEFAULT_CIPHERS",
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
    "get_ciphers",
    "promises",
]
add_node_names(globals())
