"""SecureContext: keys, certificates and rules, as Python's ssl.SSLContext has them.

A context of Python's is for one side and has one list of protocols, so that a SecureContext makes
one for each use, when it is first needed, and keeps it: sessions resume within one of them.
"""

from __future__ import annotations

import _ssl
import contextlib
import hashlib
import os
import ssl
import sys
import tempfile
import threading

from ._base import TYPE_CHECKING
from ._base import validation as check
from ._base.hints import hint
from ._base.info import Info
from ._base.notation import notation
from ._base.option_table import option_set
from ._core.names import add_node_names
from ._tls_errors import TLSError, secret_type_error, tls_error, unavailable
from ._tls_identity import certificate, key_kind
from .errors import ArgTypeError, ArgValueError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

CONTEXT_OPTIONS = option_set("SecureContext")
DEFAULT_MIN_VERSION = "TLSv1.2"
DEFAULT_MAX_VERSION = "TLSv1.3"
VERSIONS = {
    "TLSv1": ssl.TLSVersion.TLSv1,
    "TLSv1.1": ssl.TLSVersion.TLSv1_1,
    "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}
# The parameters of RFC 7919 with 2048 bits.
FFDHE2048 = b"""\
-----BEGIN DH PARAMETERS-----
MIIBCAKCAQEA//////////+t+FRYortKmq/cViAnPTzx2LnFg84tNpWp4TZBFGQz
+8yTnc4kmz75fS/jY2MMddj2gbICrsRhetPfHtXV/WVhJDP1H18GbtCFY2VVPe0a
87VXE15/V8k1mE8McODmi3fipona8+/och3xWKE2rec1MKzKT0g6eXq8CrGCsyT7
YdEIqUuyyOP7uWrat2DX9GgdT0Kj3jlN9K5W7edjcrsZCwenyO4KbXCeAvzhzffi
7MA0BM0oNC9hkXL+nOmFg/+OTxIy7vKBg8P+OxtMb61zO7X8vC7CIAXFjvGDfRaD
ssbzSibBsu/6iGtCOGEoXJf//////////wIBAg==
-----END DH PARAMETERS-----
"""
# How many contexts of Python's one SecureContext keeps.
MOST_VARIANTS = 16
# What Python's ssl cannot do, by the option that asks for it.
UNAVAILABLE = (
    "pfx",
    "ticket_keys",
    "sigalgs",
    "session_timeout",
    "session_id_context",
    "client_cert_engine",
    "private_key_engine",
    "private_key_identifier",
    "secure_protocol",
)
_ALL_13 = {"TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256"}

DEFAULT_CIPHERS = ":".join(
    (
        "TLS_AES_256_GCM_SHA384",
        "TLS_CHACHA20_POLY1305_SHA256",
        "TLS_AES_128_GCM_SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-CHACHA20-POLY1305",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "DHE-RSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-SHA256",
        "DHE-RSA-AES128-SHA256",
        "ECDHE-RSA-AES256-SHA384",
        "DHE-RSA-AES256-SHA384",
        "ECDHE-RSA-AES256-SHA256",
        "DHE-RSA-AES256-SHA256",
        "HIGH",
        "!aNULL",
        "!eNULL",
        "!EXPORT",
        "!DES",
        "!RC4",
        "!MD5",
        "!PSK",
        "!SRP",
        "!CAMELLIA",
    )
)


@contextlib.contextmanager
def _as_file(data: bytes) -> Iterator[str]:
    """A name under which OpenSSL reads bytes that nobody else can, and that is gone afterwards."""
    descriptor = -1
    if sys.platform == "linux" and os.path.isdir("/proc/self/fd"):
        # A sandbox may refuse it.
        with contextlib.suppress(OSError):
            descriptor = os.memfd_create("pyuvnet", os.MFD_CLOEXEC)
    if descriptor >= 0:
        try:
            with open(descriptor, "wb", closefd=False) as file:
                file.write(data)
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
        return
    # Mode 600, and nobody can open it once this is left.
    descriptor, name = tempfile.mkstemp()
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
        yield name
    finally:
        os.unlink(name)


def pem_bytes(value: Any, name: str) -> bytes:
    """The bytes of PEM that is given as str, bytes-like or path."""
    if isinstance(value, os.PathLike):
        with open(value, "rb") as file:
            return file.read()
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    raise check.arg_type_error(name, ["string", "Buffer", "TypedArray", "DataView"], value)


def _several(value: Any, name: str) -> tuple[bytes, ...]:
    """One PEM, or a list of them."""
    if value is None:
        return ()
    if isinstance(value, (list, tuple)):
        return tuple(pem_bytes(each, name) for each in value)
    return (pem_bytes(value, name),)


def _passphrase(options: Mapping[str, Any]) -> str | None:
    phrase = options.get("passphrase")
    if phrase is not None and not isinstance(phrase, str):
        raise secret_type_error("options.passphrase", "of type string", phrase)
    return phrase


def _keys(value: Any) -> tuple[tuple[bytes, str | None], ...]:
    """The keys, each with the passphrase that it brings."""
    if value is None:
        return ()
    found = []
    for each in value if isinstance(value, (list, tuple)) else [value]:
        phrase = None
        if check.is_mapping(each):
            phrase, each = _passphrase(each), each.get("pem")
        found.append((pem_bytes(each, "options.key"), phrase))
    return tuple(found)


def _version(options: Mapping[str, Any], name: str, which: str, default: str) -> str:
    value = options.get(name)
    if value is None:
        return default
    if not isinstance(value, str) or value not in VERSIONS:
        raise ArgTypeError(
            f"{notation(value).replace(chr(39), chr(34))} is not a valid {which} TLS protocol "
            "version",
            "ERR_TLS_INVALID_PROTOCOL_VERSION",
        )
    return value


class SecureContext:
    """Keys, certificates and rules that connections share; create_secure_context() creates it.

    Args:
        options: a mapping of the options below; keywords win over it.
        context: ssl.SSLContext: a ready-made context, used as it is; excludes the other options of
            a context.
        key: PEM as str or bytes, a path, or a list of them: private keys, in the order of cert; an
            item may be a mapping of `pem` and `passphrase`.
        cert: PEM as str or bytes, a path, or a list of them: certificates, each with the chain that
            follows it.
        passphrase: str: of the encrypted keys.
        ca: PEM as str or bytes, a path, or a list of them, default the system's store: the
            certificate authorities to trust.
        crl: PEM as str or bytes, a path, or a list of them: revoked certificates.
        ciphers: str, default OpenSSL's, as Python has them: cipher suites up to TLS 1.2, in
            OpenSSL's notation; those of TLS 1.3 only all or none.
        min_version: 'TLSv1', 'TLSv1.1', 'TLSv1.2' or 'TLSv1.3', default 'TLSv1.2'.
        max_version: 'TLSv1', 'TLSv1.1', 'TLSv1.2' or 'TLSv1.3', default 'TLSv1.3'.
        ecdh_curve: str, default 'auto': one curve, such as 'prime256v1'.
        dhparam: PEM as str or bytes, a path, or 'auto': Diffie-Hellman parameters, which DHE suites
            need; 'auto' uses those of RFC 7919.
        honor_cipher_order: bool, default True: a server prefers its own order of suites to the
            client's.
        secure_options: int, ssl.OP_...: more options of OpenSSL.
        num_tickets: int 0..255, default 2: how many TLS 1.3 session tickets a server sends.

    Raises: TLSError for what OpenSSL rejects, ArgTypeError (ERR_INVALID_ARG_TYPE,
        ERR_TLS_INVALID_PROTOCOL_VERSION), ArgValueError (ERR_INVALID_ARG_VALUE), StateError
        (ERR_FEATURE_UNAVAILABLE_ON_PLATFORM) for what Python's ssl cannot do; OSError for a path
        that cannot be read.

    Node: tls.SecureContext
    """

    _ready: ssl.SSLContext | None = None

    def __init__(self, options: Mapping[str, Any] | None = None, **keywords: Any) -> None:
        given = CONTEXT_OPTIONS.read(options, keywords)
        self._given = _Given(given)
        self._ready: ssl.SSLContext | None = given.get("context")
        self._made: dict[tuple[Any, ...], ssl.SSLContext] = {}
        if self._ready is None:
            # What is wrong shows now, and not at the first connection.
            try:
                self._variant(bool(self._given.certificates), (), False, False)
                self._given.check_authorities()
            except TLSError as error:
                self._given.explain(error)
                raise

    def _variant(
        self,
        server: bool,
        protocols: tuple[str, ...],
        request: bool,
        reject: bool,
        base: SecureContext | None = None,
    ) -> ssl.SSLContext:
        """The context of Python's for one use.

        base: that of the server, if this is one of its hosts': as in Node, its versions and options
            count.
        """
        if self._ready is not None:
            return self._ready
        given = self._given if base is None or base._ready is not None else base._given
        key = (server, protocols, request, reject, given.connection)
        made = self._made.pop(key, None)
        if made is None:
            try:
                made = self._given.make(*key)
            except ssl.SSLError as error:
                raise tls_error(error) from None
        # The latest at the end. With alpn_callback clients may choose what there is one for.
        self._made[key] = made
        # Loops of other threads may be at it too.
        for oldest in list(self._made)[:-MOST_VARIANTS]:
            self._made.pop(oldest, None)
        return made

    def _renewed(self, options: dict[str, Any]) -> SecureContext:
        """A context with other options; if only certificates differ, tickets stay valid."""
        fresh = SecureContext(options)
        # OpenSSL keeps one certificate for each kind of key, so that one of another kind would
        # only be added.
        if (
            self._ready is None
            and fresh._ready is None
            and fresh._given.rules == self._given.rules
            and fresh._given.kinds() == self._given.kinds()
        ):
            for kind, made in list(self._made.items()):
                # What it refuses has raised above, when `fresh` was made.
                fresh._given.load_keys(made)
                fresh._made[kind] = made
        return fresh

    def _explain(self, error: BaseException) -> None:
        """Add a note to the error of a handshake with a server that has no certificate."""
        missing = self._ready is None and not self._given.certificates
        if missing and getattr(error, "code", None) == "ERR_SSL_NO_SHARED_CIPHER":
            hint(error, "The server has no certificate: pass the options key and cert.")

    @property
    def context(self) -> ssl.SSLContext | None:
        """The program's own ssl.SSLContext, if this was made from one; else None. Node: none"""
        return self._ready

    def _own_certificate(self) -> Info:
        """The first certificate, as Node shows it; empty without one."""
        if not self._given.certificates:
            return Info()
        der = ssl.PEM_cert_to_DER_cert(_first_pem(self._given.certificates[0]))
        with _as_file(ssl.DER_cert_to_PEM_cert(der).encode()) as name:
            decode = _ssl._test_decode_cert  # type: ignore[attr-defined]
            return certificate(der, decode(name))

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


def _first_pem(chain: bytes) -> str:
    """The first certificate of a chain."""
    begin, end = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
    rest = chain[chain.index(begin) :]
    return (rest.partition(end)[0] + end).decode("latin-1")


@contextlib.contextmanager
def _asked_for() -> Iterator[None]:
    """Let Python not warn of old versions, which the program has asked for."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


class _Given:
    """The checked options of a context."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        ready = options.get("context")
        if ready is not None:
            if not isinstance(ready, ssl.SSLContext):
                raise check.arg_type_error("options.context", "ssl.SSLContext", ready)
            for name, value in options.items():
                if name != "context" and value is not None:
                    # Its value may be a secret.
                    raise ArgValueError(
                        f"The option '{name}' cannot be used together with context",
                        "ERR_INVALID_ARG_VALUE",
                    )
        for name in UNAVAILABLE:
            if options.get(name) is not None:
                raise unavailable(f"options.{name}")
        self.certificates = _several(options.get("cert"), "options.cert")
        self.keys = _keys(options.get("key"))
        self.passphrase = _passphrase(options)
        self.authorities = _several(options.get("ca"), "options.ca")
        self.ca_given = options.get("ca") is not None
        self.crls = _several(options.get("crl"), "options.crl")
        self.lowest = _version(options, "min_version", "minimum", DEFAULT_MIN_VERSION)
        self.highest = _version(options, "max_version", "maximum", DEFAULT_MAX_VERSION)
        self.ciphers = options.get("ciphers")
        if self.ciphers is not None:
            check.validate_string(self.ciphers, "options.ciphers")
            self._check_suites(self.ciphers)
            names = [name for name in self.ciphers.split(":") if name]
            if names and all(name.startswith("TLS_") for name in names):
                # Earlier versions have no suite then.
                self.lowest = "TLSv1.3"
        if list(VERSIONS).index(self.lowest) > list(VERSIONS).index(self.highest):
            raise ArgValueError(
                f"The minimum TLS protocol version, {self.lowest}, is above the maximum, "
                f"{self.highest}",
                "ERR_INVALID_ARG_VALUE",
            )
        self.curve = options.get("ecdh_curve")
        if self.curve is not None:
            check.validate_string(self.curve, "options.ecdhCurve")
            if ":" in self.curve:
                raise unavailable("options.ecdh_curve with several curves")
        self.dhparam = None
        if options.get("dhparam") is not None:
            given = options["dhparam"]
            self.dhparam = FFDHE2048 if given == "auto" else pem_bytes(given, "options.dhparam")
        self.server_order = options.get("honor_cipher_order") is not False
        self.extra = options.get("secure_options") or 0
        if options.get("secure_options") is not None:
            check.validate_integer(options["secure_options"], "options.secureOptions", 0)
        self.tickets = options.get("num_tickets")
        if self.tickets is not None:
            check.validate_integer(self.tickets, "options.numTickets", 0, 255)
        # What a server has for all its hosts.
        self.connection = (self.lowest, self.highest, self.server_order, self.extra)
        # Whatever else a context is made of.
        self.rules = (
            self.authorities,
            self.ca_given,
            self.crls,
            self.lowest,
            self.highest,
            self.ciphers,
            self.curve,
            self.dhparam,
            self.server_order,
            self.extra,
            self.tickets,
        )
        self.key = (self.rules, self.certificates, self.keys, self.passphrase)

    def explain(self, error: TLSError) -> None:
        """Add the notes that say how to fix what OpenSSL refused, without what was given."""
        secrets = [key for key, _ in self.keys]
        given = {"key": secrets, "cert": self.certificates, "ca": self.authorities}
        given |= {"crl": self.crls, "dhparam": [self.dhparam or b""]}
        for name, texts in given.items():
            if any(text.strip() and b"-----BEGIN " not in text for text in texts):
                hint(
                    error,
                    f"options.{name} has no PEM text. A str is taken as the text itself; pass the "
                    "path of a file as a pathlib.Path.",
                )
        if self.certificates and not any(
            b"PRIVATE KEY-----" in text for text in (*secrets, *self.certificates)
        ):
            hint(error, "options.cert needs its private key in options.key.")
        elif error.reason == "KEY_VALUES_MISMATCH":
            if any(b"-----BEGIN CERTIFICATE" in text for text in secrets):
                note = "options.key has a certificate: key and cert may be exchanged."
            else:
                note = "options.key is not the private key of options.cert, but of another one."
            hint(error, note)
        if error.code == "ERR_OSSL_BAD_DECRYPT":
            missing = all(
                phrase is None for phrase in (self.passphrase, *(p for _, p in self.keys))
            )
            hint(
                error,
                "options.key is encrypted: "
                + (
                    "pass options.passphrase." if missing else "options.passphrase does not fit it."
                ),
            )
        elif error.code == "ERR_SSL_NO_CIPHER_MATCH":
            hint(error, "options.ciphers is a list of OpenSSL, as `openssl ciphers` shows it.")

    def kinds(self) -> set[str]:
        """The kinds of keys that the certificates have."""
        found = set()
        for chain in self.certificates:
            # Of what is no plain PEM it is not known, which is a kind of its own.
            with contextlib.suppress(ValueError):
                found.add(key_kind(ssl.PEM_cert_to_DER_cert(_first_pem(chain))))
        return found

    @staticmethod
    def _check_suites(ciphers: str) -> None:
        """Refuse a choice among the suites of TLS 1.3 that Python's ssl cannot make."""
        wanted = {name for name in ciphers.split(":") if name.startswith("TLS_")}
        if wanted and wanted != _ALL_13:
            raise unavailable("options.ciphers with some of the suites of TLS 1.3")

    def load_keys(self, context: ssl.SSLContext) -> None:
        """Load the certificates with their keys."""
        for index, chain in enumerate(self.certificates):
            key, phrase = self.keys[index] if index < len(self.keys) else (b"", None)
            if phrase is None:
                phrase = self.passphrase
            with _as_file(chain + b"\n" + key) as name:
                try:
                    # An encrypted key without a passphrase would ask on the terminal.
                    context.load_cert_chain(name, password=phrase if phrase is not None else "")
                except ssl.SSLError as error:
                    if b"ENCRYPTED" in key and getattr(error, "reason", None) in (None, "PEM_LIB"):
                        # Python does not say more.
                        raise TLSError("bad decrypt", "ERR_OSSL_BAD_DECRYPT") from None
                    raise

    def make(
        self,
        server: bool,
        protocols: tuple[str, ...],
        request: bool,
        reject: bool,
        connection: tuple[str, str, bool, int],
    ) -> ssl.SSLContext:
        lowest, highest, server_order, extra = connection
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.options |= ssl.OP_NO_RENEGOTIATION
        context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
        self._set_versions(context, lowest, highest)
        self._set_ciphers(context)
        if server and not server_order:
            context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
        if extra:
            with _asked_for():
                context.options |= extra
        if self.tickets is not None and server:
            context.num_tickets = self.tickets
        if self.curve is not None and self.curve != "auto":
            try:
                context.set_ecdh_curve(self.curve)
            except ValueError:
                raise TLSError("Failed to set ECDH curve", "ERR_CRYPTO_OPERATION_FAILED") from None
        if self.dhparam is not None:
            with _as_file(self.dhparam) as name:
                context.load_dh_params(name)
        self.load_keys(context)
        if request:
            self._trust(context, server)
            context.verify_mode = ssl.CERT_REQUIRED if reject else ssl.CERT_OPTIONAL
        if protocols:
            context.set_alpn_protocols(list(protocols))
        return context

    @staticmethod
    def _set_versions(context: ssl.SSLContext, lowest: str, highest: str) -> None:
        with _asked_for():
            context.minimum_version = VERSIONS[lowest]
            context.maximum_version = VERSIONS[highest]

    def _set_ciphers(self, context: ssl.SSLContext) -> None:
        if not self.ciphers:
            return
        older = ":".join(name for name in self.ciphers.split(":") if not name.startswith("TLS_"))
        if not older:
            return
        try:
            context.set_ciphers(older)
        except ssl.SSLError:
            raise TLSError("no cipher match", "ERR_SSL_NO_CIPHER_MATCH") from None

    def check_authorities(self) -> None:
        """Read what a context without verification does not."""
        if not self.authorities and not self.crls:
            return
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            self._load_authorities(made)
        except ssl.SSLError as error:
            raise tls_error(error) from None

    def _trust(self, context: ssl.SSLContext, server: bool) -> None:
        """Load the authorities whose certificates are good: those given, or the system's."""
        if not self.ca_given:
            purpose = ssl.Purpose.CLIENT_AUTH if server else ssl.Purpose.SERVER_AUTH
            context.load_default_certs(purpose)
        self._load_authorities(context)

    def _load_authorities(self, context: ssl.SSLContext) -> None:
        for authority in self.authorities:
            if authority.strip():
                # As a file, since this takes comments and trusted certificates too.
                with _as_file(authority) as name:
                    context.load_verify_locations(name)
        for crl in self.crls:
            with _as_file(crl) as name:
                try:
                    context.load_verify_locations(name)
                except ssl.SSLError:
                    raise TLSError("Failed to parse CRL", "ERR_CRYPTO_OPERATION_FAILED") from None
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN


# The contexts of connections without secure_context: it takes long to read the system's store.
_RECENT: dict[bytes, SecureContext] = {}
_recent_lock = threading.Lock()
_RECENT_LIMIT = 32


def shared_context(options: Mapping[str, Any]) -> SecureContext:
    """The context of a client's options; the same for the same options, so that sessions resume."""
    mine = {name: options[name] for name in CONTEXT_OPTIONS if options.get(name) is not None}
    if mine.get("context") is not None:
        return SecureContext(mine)
    # A digest, since the options have keys.
    key = hashlib.sha256(repr(_Given(mine).key).encode()).digest()
    with _recent_lock:
        found = _RECENT.get(key)
    if found is None:
        found = SecureContext(mine)
    with _recent_lock:
        found = _RECENT.pop(key, found)
        while len(_RECENT) >= _RECENT_LIMIT:
            del _RECENT[next(iter(_RECENT))]
        _RECENT[key] = found
    return found


def context_of(options: Mapping[str, Any]) -> SecureContext:
    """The option secure_context, or a context of the other options."""
    given = options.get("secure_context")
    if given is None:
        return SecureContext({name: options[name] for name in CONTEXT_OPTIONS if name in options})
    for name in sorted(CONTEXT_OPTIONS):
        if options.get(name) is not None:
            # Its value may be a secret.
            raise ArgValueError(
                f"The option '{name}' cannot be used together with secure_context",
                "ERR_INVALID_ARG_VALUE",
            )
    return as_context(given, "options.secureContext")


def as_context(value: Any, name: str) -> SecureContext:
    """A SecureContext, of one or of a ready ssl.SSLContext."""
    if isinstance(value, SecureContext):
        return value
    if isinstance(value, ssl.SSLContext):
        return SecureContext(context=value)
    raise check.arg_type_error(name, "SecureContext", value)


def protocol_list(value: Any) -> tuple[str, ...]:
    """Check the option alpn_protocols."""
    if value is None:
        return ()
    if isinstance(value, (bytes, bytearray, memoryview)):
        found, data = [], bytes(value)
        while data:
            size = data[0]
            if not size:
                raise check.arg_value_error(
                    "ALPNProtocols", value, "must not contain zero-length protocol"
                )
            if len(data) <= size:
                raise check.arg_value_error("ALPNProtocols", value, "contains truncated protocol")
            found.append(_protocol(data[1 : 1 + size], value))
            data = data[1 + size :]
        return tuple(found)
    if not isinstance(value, (list, tuple)):
        raise check.arg_type_error("options.ALPNProtocols", ["Array", "Buffer"], value)
    names = []
    for index, name in enumerate(value):
        if not isinstance(name, (bytes, bytearray)):
            check.validate_string(name, f"options.ALPNProtocols[{index}]")
            name = name.encode(errors="surrogatepass")
        if not name:
            raise check.arg_value_error(f"protocols[{index}]", "", "must be a non-empty string")
        if len(name) > 255:
            raise check.range_error(
                f"The byte length of the protocol at index {index}", "<= 255", len(name)
            )
        names.append(_protocol(name, value))
    return tuple(names)


def _protocol(name: bytes | bytearray, value: Any) -> str:
    """A protocol's name, which Python's ssl takes in ASCII alone."""
    if not name.isascii():
        raise check.arg_value_error("options.ALPNProtocols", value, "must be ASCII")
    return name.decode("ascii")


def create_secure_context(
    options: Mapping[str, Any] | None = None, **keywords: Any
) -> SecureContext:
    """Create a context that servers and connections can share.

    Args: as for SecureContext.

    Node: tls.createSecureContext()
    """
    return SecureContext(options, **keywords)


add_node_names(SecureContext)
__all__ = ["SecureContext", "create_secure_context"]
