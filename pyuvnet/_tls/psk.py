"""Pre-shared keys: the callbacks of a program, as Python's ssl calls them.

A context of Python's calls back without a word about the connection, so that an SSLObject of our
own says which connection is in its handshake. Python prints what such a callback raises, and goes
on: here it ends the handshake, and is the error of the socket.
"""

from __future__ import annotations

import ssl
import threading

from .._base import TYPE_CHECKING
from .._base import validation as check
from ..errors import ArgTypeError, ArgValueError
from .errors import TLSError, secret_type_error, unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Protocol
    from weakref import ref

    class Connection(Protocol):
        """The socket whose handshake it is."""

        _rules: Any


# What OpenSSL takes.
MOST_BYTES: int = 512
MOST_IDENTITY: int = 256
# The fatal alert, in the clear.
_INTERNAL_ERROR = bytes((21, 3, 3, 0, 2, 2, 80))
_shaking = threading.local()


def _utf8(text: str, name: str) -> bytes:
    """A text as OpenSSL gets it. Raises: ArgValueError ERR_INVALID_ARG_VALUE."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise check.arg_value_error(name, text, "must not have surrogates") from None


def check_psk(options: Mapping[str, Any]) -> None:
    """Check the options psk_callback and psk_identity_hint."""
    hint = options.get("psk_identity_hint")
    if options.get("psk_callback") is not None:
        check.validate_function(options["psk_callback"], "options.pskCallback")
    if hint is not None:
        check.validate_string(hint, "options.pskIdentityHint")
        if len(_utf8(hint, "options.pskIdentityHint")) > MOST_IDENTITY:
            text = "Failed to set PSK identity hint"
            raise TLSError(text, "ERR_TLS_PSK_SET_IDENTITY_HINT_FAILED")
    if options.get("psk_callback") is not None and not getattr(ssl, "HAS_PSK", False):
        raise unavailable("options.psk_callback", "3.13")


class PSKObject(ssl.SSLObject):
    """An SSLObject whose callbacks know the connection."""

    owner: ref[Connection] | None = None
    outgoing: ssl.MemoryBIO | None = None
    # What a callback has raised.
    failure: BaseException | None = None

    def socket(self) -> Connection | None:
        """The connection; None if it is gone."""
        return None if self.owner is None else self.owner()

    def do_handshake(self) -> None:
        """Go on with the handshake. Raises: what a callback has raised, or ssl.SSLError."""
        before = getattr(_shaking, "current", None)
        _shaking.current = self
        try:
            super().do_handshake()
        except ssl.SSLError:
            if self.failure is None:
                raise
        finally:
            _shaking.current = before
        if self.failure is not None:
            failure, self.failure = self.failure, None
            if not isinstance(failure, Exception):
                # An interrupt of the program.
                raise failure
            if self.outgoing is not None:
                # OpenSSL went on, maybe with a certificate: for the peer it would be a handshake.
                self.outgoing.read()
                self.outgoing.write(_INTERNAL_ERROR)
            raise PSKError from failure


class PSKError(TLSError):
    """A callback of the program's has raised its cause."""


def use(context: ssl.SSLContext, server: bool, hint: str) -> None:
    """Let a context have pre-shared keys."""
    made: Any = context
    made.sslobject_class = PSKObject
    if server:
        made.set_psk_server_callback(_server, hint or None)
    else:
        made.set_psk_client_callback(_client)


def _server(identity: str) -> bytes:
    current: PSKObject = _shaking.current
    try:
        socket = current.socket()
        if socket is None or socket._rules is None:
            return b""
        found = _answer(socket._rules.psk_callback(socket, identity))
        if found is None:
            return b""
        return _key(found.get("psk") if check.is_mapping(found) else found)
    except BaseException as error:
        current.failure = error
        return b""


def _client(hint: str | None) -> tuple[str | None, bytes]:
    current: PSKObject = _shaking.current
    try:
        socket = current.socket()
        if socket is None or socket._rules is None:
            return None, b""
        found = _answer(socket._rules.psk_callback(hint))
        if found is None:
            return None, b""
        if not check.is_mapping(found):
            raise secret_type_error("ret", "of type object", found)
        key = _key(found.get("psk"))
        identity = check.validate_string(found.get("identity"), "identity")
        if len(_utf8(identity, "identity")) > MOST_IDENTITY or "\0" in identity:
            text = f"must be at most {MOST_IDENTITY} bytes, without a null byte"
            raise check.arg_value_error("identity", identity, text)
        return identity, key
    except BaseException as error:
        current.failure = error
        return None, b""


def _answer(found: Any) -> Any:
    """What a callback has returned, unless it would only be known later."""
    if hasattr(found, "__await__"):
        if hasattr(found, "close"):
            found.close()
        text = "psk_callback cannot be a coroutine function: OpenSSL waits for its answer"
        raise ArgTypeError(text, "ERR_INVALID_ARG_TYPE")
    return found


def _key(found: Any) -> bytes:
    """The key that a callback has returned; no error shows it."""
    if not isinstance(found, (bytes, bytearray, memoryview)):
        raise secret_type_error("psk", "an instance of Buffer, TypedArray, or DataView", found)
    key = bytes(found)
    if len(key) > MOST_BYTES:
        text = f"The argument 'psk' is invalid: a pre-shared key has at most {MOST_BYTES} bytes"
        raise ArgValueError(text, "ERR_INVALID_ARG_VALUE")
    return key
