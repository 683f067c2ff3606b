"""SecureContext: keys, certificates and rules, as Python's ssl.SSLContext has them.

A context of Python's is for one side and has one list of protocols, so that a SecureContext makes
one for each use, when it is first needed, and keeps it: sessions resume within one of them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import ssl
import sys
import tempfile
import threading

from .._base import TYPE_CHECKING
from .._base import validation as check
from .._base.hints import hint
from .._base.info import Info
from .._base.notation import notation
from .._base.option_table import Settings, option_set
from .._core.names import add_node_names
from ..errors import ArgTypeError, ArgValueError
from .certificate import certificate, key_kind
from .errors import TLSError, alert_error, secret_type_error, tls_error, unavailable
from .psk import PSKObject
from .psk import use as use_psk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

CONTEXT_OPTIONS = option_set("SecureContext", strict=True)
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
    "client_cert_engine",
    "private_key_engine",
    "private_key_identifier",
)
# The options that are absent if they are false, as in Node: key=os.environ.get("KEY", "").
_FALSY = ("key", "cert", "ca")

# What the option secure_protocol names: the lowest and the highest version. As in Node, TLS_method
# is any version, and SSLv23_method any up to TLS 1.2; None stands for the default.
_METHODS: dict[str, tuple[str | None, str]] = {
    "SSLv23": (None, "TLSv1.2"),
    "TLS": ("TLSv1", "TLSv1.3"),
    "TLSv1": ("TLSv1", "TLSv1"),
    "TLSv1_1": ("TLSv1.1", "TLSv1.1"),
    "TLSv1_2": ("TLSv1.2", "TLSv1.2"),
}
# The most bytes that OpenSSL takes as a session_id_context.
_MOST_CONTEXT_ID = 32
# What NIST calls the curves that OpenSSL knows by other names.
_CURVES = {"P-256": "prime256v1", "P-384": "secp384r1", "P-521": "secp521r1"}


def _python_ciphers() -> str:
    """The suites that a context of Python's has by itself, in OpenSSL's notation."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return ":".join(str(suite["name"]) for suite in context.get_ciphers())


# They are used when the module tls has no other ones, which a program may set there.
DEFAULT_MIN_VERSION = "TLSv1.2"
DEFAULT_MAX_VERSION = "TLSv1.3"
DEFAULT_CIPHERS = _python_ciphers()
DEFAULT_ECDH_CURVE = "auto"
_ALL_13 = {name for name in DEFAULT_CIPHERS.split(":") if name.startswith("TLS_")}
# Where a context looks them up when it is made; the module tls gives its own names.
_defaults: Mapping[str, Any] = globals()
# The authorities of contexts without ca, if set_default_ca_certificates() was called.
_default_authorities: tuple[bytes, ...] | None = None


def defaults_of(names: Mapping[str, Any]) -> None:
    """Read DEFAULT_MIN_VERSION and the other defaults from these names from now on."""
    global _defaults
    _defaults = names


def set_default_authorities(certificates: Iterable[str]) -> None:
    """Trust these authorities, and no others, in contexts made from now on without ca."""
    global _default_authorities
    _default_authorities = tuple(each.encode() for each in certificates)


def default_authorities() -> list[str] | None:
    """What set_default_authorities() was given; None before it was called."""
    found = _default_authorities
    return None if found is None else [each.decode() for each in found]


@contextlib.contextmanager
def _as_file(data: bytes) -> Iterator[str]:
    """A name under which OpenSSL reads bytes that others cannot, and that is gone afterwards."""
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
    # Mode 600, and no process can open it once this is left.
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


def _absent(value: Any) -> bool:
    """Whether a key or a certificate is none, as Node sees it: False, 0, "" or None."""
    return value is None or (isinstance(value, (str, int, float)) and not value)


def _quoted(value: Any) -> str:
    """A version as Node's errors show it."""
    return notation(value).replace("'", '"')


def _version(options: Mapping[str, Any], which: str) -> str:
    value = options.get(f"{which[:3]}_version")
    if value is None:
        value = _defaults[f"DEFAULT_{which[:3].upper()}_VERSION"]
    if not isinstance(value, str) or value not in VERSIONS:
        raise ArgTypeError(
            f"{_quoted(value)} is not a valid {which} TLS protocol version",
            "ERR_TLS_INVALID_PROTOCOL_VERSION",
        )
    return value


class SecureContext(Settings):
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
            certificate authorities to trust, and those that complete the chain of cert.
        allow_partial_trust_chain: bool, default False: trust the authorities of ca that have not
            signed themselves too.
        crl: PEM as str or bytes, a path, or a list of them: revoked certificates.
        ciphers: str, default tls.DEFAULT_CIPHERS: cipher suites up to TLS 1.2, in OpenSSL's
            notation; those of TLS 1.3 only all or none.
        min_version: 'TLSv1', 'TLSv1.1', 'TLSv1.2' or 'TLSv1.3', default tls.DEFAULT_MIN_VERSION,
            'TLSv1.2'.
        max_version: 'TLSv1', 'TLSv1.1', 'TLSv1.2' or 'TLSv1.3', default tls.DEFAULT_MAX_VERSION,
            'TLSv1.3'.
        secure_protocol: str: the versions by the name of one of OpenSSL's methods, such as
            'TLSv1_2_method'; excludes min_version and max_version.
        ecdh_curve: str, default tls.DEFAULT_ECDH_CURVE, 'auto': one curve, such as 'prime256v1', or
            from Python 3.15 on several, separated by colons.
        dhparam: PEM as str or bytes, a path, or 'auto': Diffie-Hellman parameters, which DHE suites
            need; 'auto' uses those of RFC 7919.
        honor_cipher_order: bool, default True: a server prefers its own order of suites to the
            client's.
        secure_options: int, ssl.OP_...: more options of OpenSSL.
        num_tickets: int 0..255, default 2: how many TLS 1.3 session tickets a server sends.
        session_id_context: str of at most 32 bytes: accepted for compatibility: a session never
            leaves the context that it was made in.

    Raises: TLSError for what OpenSSL rejects, ArgTypeError (ERR_INVALID_ARG_TYPE,
        ERR_TLS_INVALID_PROTOCOL_VERSION), ArgValueError (ERR_INVALID_ARG_VALUE), StateError
        (ERR_FEATURE_UNAVAILABLE_ON_PLATFORM) for what Python's ssl cannot do; OSError for a path
        that cannot be read.

    Node: tls.SecureContext
    """

    _ready: ssl.SSLContext | None = None

    _option_functions = ("SecureContext",)

    def __init__(self, options: Mapping[str, Any] | None = None, **keywords: Any) -> None:
        given = CONTEXT_OPTIONS.read(options, keywords)
        self._given = _Given(given)
        self._ready: ssl.SSLContext | None = given.get("context")
        self._made: dict[tuple[Any, ...], ssl.SSLContext] = {}
        if self._ready is None:
            # What is wrong shows now, and not at the first connection.
            try:
                self._variant(bool(self._given.certificates), (), False, False)
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
        psk: str | None = None,
    ) -> ssl.SSLContext:
        """The context of Python's for one use.

        base: that of the server, if this is one of its hosts': as in Node, its versions and options
            count, and its certificates if this has none.
        psk: the identity hint of a context with pre-shared keys.
        """
        if self._ready is not None:
            return self._ready
        given = self._given if base is None or base._ready is not None else base._given
        keys = None if self._given.certificates or given is self._given else given
        key = (server, protocols, request, reject, given.connection, keys, psk)
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

    def _explain(self, error: BaseException, made: ssl.SSLObject | None) -> BaseException:
        """The error of a handshake on a server, with a note if it has no certificate."""
        code = getattr(error, "code", None)
        if self._ready is not None or self._given.certificates or isinstance(made, PSKObject):
            return error
        if code not in ("ERR_SSL_NO_SHARED_CIPHER", "ERR_SSL_NO_SUITABLE_SIGNATURE_ALGORITHM"):
            return error
        # Without a certificate OpenSSL does not try TLS 1.3, as it does for Node, which announces
        # that one may come.
        if made is not None and made.context.maximum_version == ssl.TLSVersion.TLSv1_3:
            suites = made.shared_ciphers() or ()
            if code == "ERR_SSL_NO_SHARED_CIPHER" and any(each[1] == "TLSv1.3" for each in suites):
                error = alert_error("no suitable signature algorithm")
        hint(error, "The server has no certificate: pass the options key and cert.")
        return error

    @property
    def context(self) -> ssl.SSLContext | None:
        """The program's own ssl.SSLContext, if this was made from one; else None. Node: none"""
        return self._ready

    def _own_certificate(self) -> Info:
        """The first certificate, as Node shows it; empty without one."""
        if not self._given.certificates:
            return Info()
        return certificate(ssl.PEM_cert_to_DER_cert(_first_pem(self._given.certificates[0])))

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
        options = {
            name: None if name in _FALSY and _absent(value) else value
            for name, value in options.items()
        }
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
        # What to trust: those given, the system's store, or what a program has set for all.
        self.trusted = self.authorities
        self.system = options.get("ca") is None
        if self.system and _default_authorities is not None:
            self.system, self.trusted = False, _default_authorities
        self.partial = bool(options.get("allow_partial_trust_chain"))
        self.crls = _several(options.get("crl"), "options.crl")
        self._read_versions(options)
        self.ciphers = options.get("ciphers")
        if self.ciphers is None:
            self.ciphers = _defaults["DEFAULT_CIPHERS"]
            if self.ciphers == "":
                raise check.arg_value_error("options.ciphers", self.ciphers)
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
        curve = options.get("ecdh_curve")
        if curve is None:
            curve = _defaults["DEFAULT_ECDH_CURVE"]
        self.curve = check.validate_string(curve, "options.ecdhCurve")
        if ":" in self.curve and not hasattr(ssl.SSLContext, "set_groups"):
            raise unavailable("options.ecdh_curve with several groups", "3.15")
        self.session_id = options.get("session_id_context") or ""
        check.validate_string(self.session_id, "options.sessionIdContext")
        if len(self.session_id.encode()) > _MOST_CONTEXT_ID:
            text = "ssl session id context too long"
            raise TLSError(text, "ERR_SSL_SSL_SESSION_ID_CONTEXT_TOO_LONG")
        self.dhparam = None
        given = options.get("dhparam")
        if given is not None and given != "":
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
            self.trusted,
            self.system,
            self.partial,
            self.crls,
            self.lowest,
            self.highest,
            self.ciphers,
            self.curve,
            self.dhparam,
            self.server_order,
            self.extra,
            self.tickets,
            # Sessions stay within one context of OpenSSL's, so that all that this has to do is to
            # keep set_secure_context() from carrying them on.
            self.session_id,
        )
        self.key = (self.rules, self.certificates, self.keys, self.passphrase)

    def _read_versions(self, options: Mapping[str, Any]) -> None:
        """Read the versions, by their names or by that of a method of OpenSSL's."""
        self.side: str | None = None
        method = options.get("secure_protocol")
        if method is None:
            self.lowest, self.highest = _version(options, "minimum"), _version(options, "maximum")
            return
        check.validate_string(method, "options.secureProtocol")
        for name in ("min_version", "max_version"):
            if options.get(name) is not None:
                raise ArgTypeError(
                    f"TLS protocol version {_quoted(options[name])} conflicts with "
                    f'secureProtocol "{method}"',
                    "ERR_TLS_PROTOCOL_VERSION_CONFLICT",
                )
        found = re.fullmatch(r"(\w+?)(?:_(client|server))?_method", method)
        if found is None or found[1] not in _METHODS:
            text = f"Unknown method: {method}"
            if found is not None and found[1] in ("SSLv2", "SSLv3"):
                text = f"{found[1]} methods disabled"
            raise ArgTypeError(text, "ERR_TLS_INVALID_PROTOCOL_METHOD")
        lowest, self.highest = _METHODS[found[1]]
        self.lowest = _version(options, "minimum") if lowest is None else lowest
        self.side = found[2]

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
            raise unavailable("options.ciphers with only some suites of TLS 1.3")

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
        keys: _Given | None,
        psk: str | None,
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
        if self.curve not in ("auto", ""):
            curve = _CURVES.get(self.curve, self.curve)
            try:
                if ":" in curve:
                    context.set_groups(curve)  # type: ignore[attr-defined]
                else:
                    context.set_ecdh_curve(curve)
            except (ValueError, ssl.SSLError):
                raise TLSError("Failed to set ECDH curve", "ERR_CRYPTO_OPERATION_FAILED") from None
        if self.dhparam is not None:
            with _as_file(self.dhparam) as name:
                context.load_dh_params(name)
        (keys or self).load_keys(context)
        # Without request too, since OpenSSL finds the rest of our own chain there.
        self._load_authorities(context, request)
        if request:
            if self.system:
                purpose = ssl.Purpose.CLIENT_AUTH if server else ssl.Purpose.SERVER_AUTH
                context.load_default_certs(purpose)
            if self.partial:
                context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            context.verify_mode = ssl.CERT_REQUIRED if reject else ssl.CERT_OPTIONAL
        if protocols:
            context.set_alpn_protocols(list(protocols))
        if psk is not None:
            use_psk(context, server, psk)
        return context

    @staticmethod
    def _set_versions(context: ssl.SSLContext, lowest: str, highest: str) -> None:
        with _asked_for():
            context.minimum_version = VERSIONS[lowest]
            context.maximum_version = VERSIONS[highest]

    def _set_ciphers(self, context: ssl.SSLContext) -> None:
        if not self.ciphers or self.ciphers == DEFAULT_CIPHERS:
            return
        older = ":".join(name for name in self.ciphers.split(":") if not name.startswith("TLS_"))
        if not older:
            return
        try:
            context.set_ciphers(older)
        except ssl.SSLError:
            raise TLSError("no cipher match", "ERR_SSL_NO_CIPHER_MATCH") from None

    def _load_authorities(self, context: ssl.SSLContext, request: bool) -> None:
        """Load the authorities whose certificates are good, and what they have revoked."""
        for authority in self.trusted if request else self.authorities:
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
