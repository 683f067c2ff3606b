"""TLSError, and how what Python's ssl raises becomes one. Nothing secret gets into its texts."""

from __future__ import annotations

import re
import ssl

from .._base import TYPE_CHECKING
from .._base.errors import ArgTypeError, Error, StateError
from .._base.hints import hint
from .._core.errors import UV_ECONNRESET, UV_EPROTO, make_os_error
from .._core.names import add_node_names

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

# OpenSSL's numbers of what is wrong with a certificate, with Node's names for them.
VERIFY_CODES = {
    1: "UNSPECIFIED",
    2: "UNABLE_TO_GET_ISSUER_CERT",
    3: "UNABLE_TO_GET_CRL",
    4: "UNABLE_TO_DECRYPT_CERT_SIGNATURE",
    5: "UNABLE_TO_DECRYPT_CRL_SIGNATURE",
    6: "UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY",
    7: "CERT_SIGNATURE_FAILURE",
    8: "CRL_SIGNATURE_FAILURE",
    9: "CERT_NOT_YET_VALID",
    10: "CERT_HAS_EXPIRED",
    11: "CRL_NOT_YET_VALID",
    12: "CRL_HAS_EXPIRED",
    13: "ERROR_IN_CERT_NOT_BEFORE_FIELD",
    14: "ERROR_IN_CERT_NOT_AFTER_FIELD",
    15: "ERROR_IN_CRL_LAST_UPDATE_FIELD",
    16: "ERROR_IN_CRL_NEXT_UPDATE_FIELD",
    17: "OUT_OF_MEM",
    18: "DEPTH_ZERO_SELF_SIGNED_CERT",
    19: "SELF_SIGNED_CERT_IN_CHAIN",
    20: "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
    21: "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
    22: "CERT_CHAIN_TOO_LONG",
    23: "CERT_REVOKED",
    24: "INVALID_CA",
    25: "PATH_LENGTH_EXCEEDED",
    26: "INVALID_PURPOSE",
    27: "CERT_UNTRUSTED",
    28: "CERT_REJECTED",
    62: "HOSTNAME_MISMATCH",
}

_UNKNOWN_ISSUER = (
    "No trusted authority has signed the peer's certificate. If it is yours, trust it with "
    "ca=Path('cert.pem'), the certificate of its authority, or its own if it is self-signed."
)
# What to do, by code.
_NOTES = {
    "DEPTH_ZERO_SELF_SIGNED_CERT": _UNKNOWN_ISSUER,
    "SELF_SIGNED_CERT_IN_CHAIN": _UNKNOWN_ISSUER,
    "UNABLE_TO_GET_ISSUER_CERT_LOCALLY": _UNKNOWN_ISSUER,
    "UNABLE_TO_VERIFY_LEAF_SIGNATURE": _UNKNOWN_ISSUER,
    "CERT_HAS_EXPIRED": (
        "The peer's certificate, or one that has signed it, is no longer valid. Renew it, or check "
        "the clock of this machine."
    ),
    "CERT_NOT_YET_VALID": (
        "The peer's certificate, or one that has signed it, is not valid yet. Check the clock of "
        "this machine."
    ),
    "ERR_SSL_WRONG_VERSION_NUMBER": (
        "What the peer sent is not TLS. Check the port, and that both sides use TLS from the first "
        "byte."
    ),
    "ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE": (
        "The peer refused the handshake. The reason is known only there: a server of pyuvnet emits "
        "it as 'tlsClientError'."
    ),
    "ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED": (
        "The server requires a certificate of the client: pass the options key and cert."
    ),
}


class TLSError(Error, ssl.SSLError):
    """An error of TLS: in a handshake, of a certificate, or in the records after it.

    Attributes:
        code: `ERR_SSL_...` from OpenSSL's reason; for certificates what is wrong with them, such as
            'CERT_HAS_EXPIRED' or 'ERR_TLS_CERT_ALTNAME_INVALID'.
        reason: Python's name of OpenSSL's reason, such as 'WRONG_VERSION_NUMBER', or None; for
            ERR_TLS_CERT_ALTNAME_INVALID a text.
        library: the part of OpenSSL, such as 'SSL', or None.
        verify_code: OpenSSL's number of what is wrong with a certificate, or None.
        host: the expected name, for ERR_TLS_CERT_ALTNAME_INVALID; else None.
        cert: the certificate that does not match, as get_peer_certificate() returns it; else None.

    Node: Error [ERR_SSL_WRONG_VERSION_NUMBER], [ERR_TLS_HANDSHAKE_TIMEOUT]
    """

    reason: Any = None
    library: Any = None
    verify_code: int | None = None
    host: str | None = None
    cert: Any = None

    # OSError picks its arguments apart in __new__ when there are two of them.
    def __new__(cls, message: str = "", code: str | None = None) -> TLSError:
        return ssl.SSLError.__new__(cls, message)


TLSError.__module__ = "pyuvnet.tls"


def _plain_text(error: ssl.SSLError) -> str:
    """The text of OpenSSL's reason, without the place in Python's source."""
    text = str(error.args[-1]) if error.args else str(error)
    text = re.sub(r"^\[[^]]*\]\s*", "", text)
    return re.sub(r"\s*\(_ssl\.c:\d+\)$", "", text)


def tls_error(error: BaseException) -> BaseException:
    """Return the TLSError for what the engine raised; an error of another kind as it is."""
    if isinstance(error, StateError) and str(error.code).startswith("ERR_SSL_"):
        # The core's own.
        return TLSError(error.message, error.code)
    if isinstance(error, TLSError) or not isinstance(error, ssl.SSLError):
        return error
    text = _plain_text(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        number = getattr(error, "verify_code", 1)
        message = str(getattr(error, "verify_message", text)).rstrip(".")
        made = TLSError(message, VERIFY_CODES.get(number, "UNSPECIFIED"))
        made.verify_code = number
    else:
        reason = getattr(error, "reason", None) or re.sub(r"\W+", "_", text).upper()
        library = getattr(error, "library", None)
        part = "SSL" if library in (None, "SSL") else f"OSSL_{library}"
        code = f"ERR_{part}_{reason}"
        made = TLSError(text, code)
    made.reason = getattr(error, "reason", None)
    made.library = getattr(error, "library", None)
    note = _NOTES.get(str(made.code))
    if note is not None:
        hint(made, note)
    return made


def write_error(error: BaseException) -> BaseException:
    """Return the error of a write that the engine refused: Node's, with the reason of TLS."""
    reason = tls_error(error)
    if not isinstance(reason, TLSError):
        return reason
    status: Any = make_os_error(UV_EPROTO, "write")
    made = TLSError(f"write EPROTO {reason.message}", "EPROTO")
    made.errno, made.syscall = status.errno, "write"
    made.reason, made.library = reason.reason, reason.library
    made.__cause__ = reason
    return made


def secret_type_error(name: str, expected: str, value: Any) -> ArgTypeError:
    """The error of a secret of another type: without its value."""
    return ArgTypeError(
        f'The "{name}" property must be {expected}. Received an instance of {type(value).__name__}',
        "ERR_INVALID_ARG_TYPE",
    )


def timeout_error() -> TLSError:
    """The error of a handshake that takes too long."""
    return TLSError("TLS handshake timeout", "ERR_TLS_HANDSHAKE_TIMEOUT")


def truncated() -> TLSError:
    """The error of a connection that ended without close_notify."""
    return TLSError("The connection was closed without close_notify", "ERR_TLS_TRUNCATED")


def reset_error(text: str, target: Mapping[str, Any] | None = None) -> OSError:
    """The error of a peer that is gone in the handshake.

    target: of a client's, what connect() was given, as Node shows it.
    """
    error: Any = make_os_error(UV_ECONNRESET, "read")
    error.message = text
    error.args = (error.args[0], text)
    error.syscall = None
    if target is not None:
        error.host, error.port = target.get("host"), target.get("port")
        error.path = target.get("path")
        error.local_address = error.localAddress = target.get("local_address")
    return error  # type: ignore[no-any-return]


def alert_error(reason: str) -> TLSError:
    """An error of ours that OpenSSL has too, such as 'no application protocol'."""
    name = reason.upper().replace(" ", "_")
    error = TLSError(reason, f"ERR_SSL_{name}")
    error.reason, error.library = name, "SSL"
    return error


def unavailable(feature: str, since: str | None = None) -> StateError:
    """The error of what Python's ssl does not support, or has since a version of Python."""
    reason = f"supports it from Python {since} on" if since else "does not support it"
    return StateError(
        f"The feature {feature} is unavailable: Python's ssl {reason}",
        "ERR_FEATURE_UNAVAILABLE_ON_PLATFORM",
    )


add_node_names(TLSError)
