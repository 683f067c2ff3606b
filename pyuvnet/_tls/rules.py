"""Rules: what the options of a connection with TLS say, checked before there is one.

A server and all its connections share one object; a client has its own.
"""

from __future__ import annotations

import ssl

from .._base import TYPE_CHECKING
from .._base import validation as check
from .._base.names import to_node
from .._core import engine
from ..errors import ArgTypeError, ArgValueError
from .context import SecureContext, context_of, protocol_list, shared_context
from .errors import secret_type_error, unavailable
from .psk import check_psk

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

# What Node has and Python's ssl has not.
UNAVAILABLE = ("request_ocsp", "enable_trace")
TARGET = ("host", "port", "path", "local_address")
# What a ready ssl.SSLContext decides, and an option would have no effect on.
READY_HAS = (
    "request_cert",
    "reject_unauthorized",
    "alpn_protocols",
    "alpn_callback",
    "psk_callback",
)


TIMEOUT_MAX = 2**31 - 1
# How long a handshake may take, in ms. A server's limit is the shorter one: strangers open its
# connections.
SERVER_TIMEOUT = 60_000
CLIENT_TIMEOUT = 120_000


def refuse_unavailable(options: Mapping[str, Any]) -> None:
    """Raise for options that ask for what Python's ssl cannot do."""
    for name in UNAVAILABLE:
        if options.get(name):
            raise unavailable(f"options.{name}")


def refuse_descriptor(options: Mapping[str, Any]) -> None:
    """Refuse a descriptor, which would be a connection without TLS."""
    if options.get("fd") is not None:
        raise check.arg_value_error(
            "options.fd", options["fd"], "cannot be used with TLS: pass socket=net.Socket(fd=...)"
        )


def check_server_options(options: Mapping[str, Any]) -> None:
    """Check the options of the server's side."""
    if options.get("sni_callback") is not None:
        check.validate_function(options["sni_callback"], "options.SNICallback")
    if options.get("alpn_callback") is not None:
        check.validate_function(options["alpn_callback"], "options.ALPNCallback")
        if options.get("alpn_protocols") is not None:
            raise ArgTypeError(
                "The ALPNCallback and ALPNProtocols TLS options are mutually exclusive",
                "ERR_TLS_ALPN_CALLBACK_WITH_PROTOCOLS",
            )


def check_servername(name: Any) -> None:
    """Refuse what cannot be sent as a server's name."""
    check.validate_string(name, "options.servername")
    try:
        valid = "\0" not in name and not name.startswith(".") and (not name or name.encode("idna"))
    except UnicodeError:
        valid = False
    if not valid:
        raise check.arg_value_error("options.servername", name, "must be a host name")


class Session:
    """What get_session() returns: a session that a later connection can resume.

    It holds a secret, and belongs to one context. Node: none (a Buffer)
    """

    __slots__ = ("_context", "_session", "_verified")

    def __init__(self, session: ssl.SSLSession, context: ssl.SSLContext) -> None:
        self._session, self._context = session, context
        self._verified = context.verify_mode, context.check_hostname

    def _of(self, context: ssl.SSLContext) -> ssl.SSLSession | None:
        """The session, if it was made as this context makes one now; it is not verified again."""
        same = context is self._context
        now = context.verify_mode, context.check_hostname
        return self._session if same and now == self._verified else None

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class Rules:
    """The options of connections, checked, as one server's or one client's connections share them.

    It is for TLSSocket and Server.
    """

    def __init__(self, options: Mapping[str, Any], server: bool) -> None:
        refuse_unavailable(options)
        check_psk(options)
        if server:
            check_server_options(options)
        self.server = server
        self.psk_callback: Any = options.get("psk_callback")
        # None for contexts without pre-shared keys.
        self.psk: str | None = None
        if self.psk_callback is not None:
            self.psk = options.get("psk_identity_hint") or ""
        timeout = options.get("handshake_timeout")
        if timeout is None:
            timeout = 0
        check.validate_number(timeout, "options.handshakeTimeout", 0, TIMEOUT_MAX)
        default = SERVER_TIMEOUT if server else CLIENT_TIMEOUT
        self.handshake_timeout = max(int(timeout), 1) if timeout else default
        self.protocols = protocol_list(options.get("alpn_protocols"))
        self.reject = options.get("reject_unauthorized") is not False
        self.strict = bool(options.get("require_close_notify"))
        self.sni_callback = options.get("sni_callback")
        self.alpn_callback = options.get("alpn_callback")
        self.identity = options.get("check_server_identity")
        if self.identity is not None:
            check.validate_function(self.identity, "options.checkServerIdentity")
        self.session = options.get("session")
        if self.session is not None and not isinstance(self.session, Session):
            raise secret_type_error("options.session", "an instance of Session", self.session)
        self.servername = options.get("servername")
        if self.servername is not None:
            check_servername(self.servername)
        self.host: str | None = options.get("host")
        if self.host is not None:
            check.validate_string(self.host, "options.host")
        # What to name in the error of a server that goes away in the handshake.
        self.target: Mapping[str, Any] = {
            name: options[name] for name in TARGET if options.get(name) is not None
        }
        # Whether others may have the context too.
        self.shared = options.get("secure_context") is not None
        if options.get("secure_context") is None and not server:
            self.context = shared_context(options)
        else:
            self.context = context_of(options)
        if self.context.context is not None:
            for name in READY_HAS:
                if options.get(name) is not None:
                    raise check.arg_value_error(
                        f"options.{to_node(name)}",
                        options[name],
                        "cannot be used with context, which has its own",
                    )
        # Whether the handshake goes on whatever is wrong with the peer's certificate. Python's
        # methods cannot do that: a client then asks for no certificate, and a server fails.
        self.verify_only = (
            not self.reject and self.context.context is None and engine.chosen()[0] == "libssl"
        )
        self.request = (
            bool(options.get("request_cert")) if server else self.reject or self.verify_only
        )
        self.check_side(self.context)
        if self.request or not server:
            # What is wrong with the authorities shows now, and the first connection waits for none.
            self.variant(self.protocols)

    def check_side(self, context: SecureContext) -> None:
        """Refuse a context for the other side."""
        side = context._given.side
        if side is not None and side != ("server" if self.server else "client"):
            raise ArgValueError(
                f"The secure_protocol of a {side} cannot be used on a "
                f"{'server' if self.server else 'client'}",
                "ERR_INVALID_ARG_VALUE",
            )
        ready = context.context
        other = ssl.PROTOCOL_TLS_CLIENT if self.server else ssl.PROTOCOL_TLS_SERVER
        if ready is not None and ready.protocol == other:
            raise ArgValueError(
                f"An ssl.SSLContext for a {'client' if self.server else 'server'} cannot be used "
                f"on a {'server' if self.server else 'client'}",
                "ERR_INVALID_ARG_VALUE",
            )

    def check_context(self, context: SecureContext) -> SecureContext:
        """Return a context for some connections of a server, if it can do what the server is to.

        Raises: ArgValueError (ERR_INVALID_ARG_VALUE).
        """
        ready, own = context.context, self.context.context
        self.check_side(context)
        if ready is None and own is None:
            # It takes over whatever the server has.
            return context
        if own is None and (self.protocols or self.alpn_callback is not None):
            lacks = "ALPN options: pass a SecureContext made from options"
        elif (ssl.CERT_NONE if ready is None else ready.verify_mode) < self.verify_mode:
            lacks = "request_cert: pass an ssl.SSLContext with that verify_mode"
        else:
            return context
        raise ArgValueError(
            f"The context does not have the server's {lacks}", "ERR_INVALID_ARG_VALUE"
        )

    @property
    def verify_mode(self) -> ssl.VerifyMode:
        """What a server asks of its clients."""
        if self.context.context is not None:
            return self.context.context.verify_mode
        if not self.request:
            return ssl.CERT_NONE
        return ssl.CERT_REQUIRED if self.reject else ssl.CERT_OPTIONAL

    def variant(self, protocols: tuple[str, ...]) -> ssl.SSLContext:
        """Python's context for a connection."""
        return self.context._variant(
            self.server, protocols, self.request, self.reject, psk=self.psk
        )
