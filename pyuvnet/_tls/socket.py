"""TLSSocket: a socket with TLS on its connection; what happens once for each of them.

Bytes are the layer's (_core/tls.pyx). Here are the handshake's beginning and end: which context,
whether the peer is who it should be, and which events say so.
"""

from __future__ import annotations

import ssl
from functools import partial
from itertools import pairwise
from weakref import ref

from .._aio.run import next_tick
from .._aio.tasks import start_task
from .._base import TYPE_CHECKING, cast
from .._base import validation as check
from .._base.info import Info
from .._base.option_table import option_set
from .._core import tls as _layer
from .._core.address import is_ip
from .._core.clock import read_clock
from .._core.connecting import Upgrade
from .._core.descriptors import own_method
from .._core.duplex import Duplex
from .._core.names import add_node_names
from .._core.timer import set_timeout
from ..errors import ArgTypeError, ArgValueError, StateError
from ..server import Server as NetServer
from ..socket import SOCKET_OPTIONS, Socket
from .certificate import certificate, identity_of, is_issuer, with_issuers
from .context import (
    CONTEXT_OPTIONS,
    SecureContext,
    as_context,
)
from .errors import (
    VERIFY_CODES,
    TLSError,
    alert_error,
    reset_error,
    timeout_error,
    tls_error,
    truncated,
    unavailable,
    write_error,
)
from .identity import ascii_host, check_server_identity
from .psk import PSKError, PSKObject
from .rules import Rules, Session, refuse_descriptor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Protocol

    class Server(Protocol):
        """What a tls.Server decides for its sockets, and learns from them."""

        _rules: Rules

        def _limit(self, socket: TLSSocket) -> bool: ...
        def _context_for(self, servername: str) -> SecureContext | None: ...
        def _handshake_over(self, socket: TLSSocket) -> None: ...
        def _note_failure(self, error: BaseException) -> None: ...
        @property
        def emit(self) -> Any: ...


TLS_SOCKET_OPTIONS = option_set("TLSSocket", "Socket", "SecureContext", strict=True)
NO_APPLICATION_PROTOCOL = 120
# Options that say who a server is.
IDENTITY = ("secure_context", "context", "key", "cert", "pfx")
DISCONNECTED = "Client network socket disconnected before secure TLS connection was established"


class TLSSocket(Socket):
    """A connection with TLS: everything that a Socket has, encrypted.

    tls.connect() and tls.Server create it. Create one yourself to start TLS on a connection.

    Args:
        socket: Socket or another Duplex: whose connection to use; it no longer reads or writes
            itself.
        options: a mapping of the options below and of those of SecureContext; keywords win over it.
        secure_context: SecureContext, default made from the other options: what
            create_secure_context() returned.
        alpn_protocols: list of str, default []: protocols for the connection, in order of
            preference.
        reject_unauthorized: bool, default True: reject a peer whose certificate is not valid;
            False: `authorized` says whether it is.
        require_close_notify: bool, default False: a connection that ends without close_notify fails
            with ERR_TLS_TRUNCATED.
        alpn_callback: callable(mapping of servername and protocols): returns one of the client's
            protocols, or None to reject it; excludes alpn_protocols.
        sni_callback: callable(servername, callback): calls callback(error, context), or returns a
            context or an awaitable of one; None selects the server's own.
        request_cert: bool, default False: ask clients for a certificate.
        handshake_timeout: ms, default 120000, or 60000 on a server: how long the handshake may
            take.
        servername: str, default host, unless that is an address: the name that the client sends
            (SNI), and that the certificate must have.
        check_server_identity: callable(hostname, cert), default tls.check_server_identity: returns
            an error if the certificate is not valid for the host, else None.
        session: what get_session() returned: the session to resume, if the context is the same and
            the server agrees.
        psk_callback: callable(hint), or on a server callable(socket, identity): returns a mapping
            of psk and identity, or on a server the psk, as bytes; None goes on without a pre-shared
            key. Needs Python 3.13, and before TLS 1.3 suites such as ciphers='PSK'.
        psk_identity_hint: str of at most 256 bytes: sent to clients before TLS 1.3, to choose an
            identity by.
        is_server: bool, default False: True for the server's side.
        server: net.Server: the connection's; the options and events of a tls.Server are used,
            unless there is a key, a cert, a context or a secure_context of its own.

    Events: those of Socket; 'secureConnect' on a client that accepts the server's certificate,
        'secure' when the handshake is over, 'session' (session) when it can be resumed later.
    Raises: what Socket() and create_secure_context() raise.

    Node: tls.TLSSocket
    """

    _option_functions = (
        *("TLSSocket", "tls.connect", "SecureContext"),
        *Socket._option_functions,
    )
    _layer: Any = None
    _rules: Rules | None = None
    _tls_server: Server | None = None
    _over = False  # The handshake has come to its end, one or the other.
    _authorized = False
    _authorization_error: str | None = None
    _alpn: str | bool | None = None
    _servername: str | bool | None = None
    _known: Any = None
    _chosen: SecureContext | None = None
    _announce = False
    _ends: float | None = None  # When a handshake that began with a wrapped socket has to be over.
    _plain: Any = None  # That socket, weakly,
    _left = 0  # what had not left of its writes at the last look,
    _left_at = 0.0  # and since when it has been as much.
    _window: Any = None  # The timer of a handshake that waits for what the plain socket wrote.
    _held = False  # Its handshake waits for others to end.
    _connects = False  # Made by tls.connect(): an end before it is secure is an error.

    def __init__(
        self,
        socket: Duplex | None = None,
        options: Mapping[str, Any] | None = None,
        **keywords: Any,
    ) -> None:
        self._refuse_second_init()
        if socket is not None and not isinstance(socket, Duplex):
            raise check.arg_type_error("socket", "Duplex", socket)
        given = TLS_SOCKET_OPTIONS.read(options, keywords)
        refuse_descriptor(given)
        server = given.get("server")
        if server is not None and not isinstance(server, NetServer):
            raise check.arg_type_error("options.server", "net.Server", server)
        rules = getattr(server, "_rules", None)
        if rules is None or any(given.get(name) is not None for name in IDENTITY):
            # Whose key it is decides, and the server of the connection is no more than that.
            is_server = given.get("is_server")
            rules = Rules(given, rules is not None if is_server is None else bool(is_server))
        else:
            self._tls_server = cast("Server", server)
        super().__init__({name: given[name] for name in SOCKET_OPTIONS if name in given})
        self._use(rules)
        if socket is not None:
            self._wrap(socket)

    def _use(self, rules: Rules) -> None:
        self._rules = rules
        self._set_dress(self._begin_server if rules.server else self._begin_client)

    # ---- The connection of another socket ------------------------------------------------------

    def _connect_checked(self, plan: dict[str, Any], listener: Callable[[], object] | None) -> None:
        rules = self._rules
        if self._tls_server is not None or rules is None:
            # It would come to the connection of a plain socket.
            raise StateError("A server's TLSSocket cannot connect again", "ERR_INVALID_STATE")
        if not self.connecting and (self.pending or self.destroyed):
            # Of an earlier connection.
            for name in ("_layer", "_over", "_authorized", "_authorization_error", "_alpn",
                         "_servername", "_known", "_announce"):  # fmt: skip
                self.__dict__.pop(name, None)
            rules.host = None if plan["path"] is not None else plan["host"]
            rules.target = plan
        super()._connect_checked(plan, listener)

    def _wrap(self, plain: Duplex) -> None:
        """Put TLS on the connection of another socket, or over any stream."""
        rules = cast("Rules", self._rules)
        if isinstance(plain, Socket):
            if plain._is_upgraded and not isinstance(plain, TLSSocket):
                raise StateError(
                    "Another TLSSocket already uses the connection", "ERR_INVALID_STATE"
                )
            if not rules.server and rules.host is None:
                rules.host = plain._host
        if (
            not isinstance(plain, Socket)
            or isinstance(plain, TLSSocket)
            or plain._bound_kind()
            or (not plain.pending and not plain._can_be_taken)
        ):
            self._put_over(plain)
            return
        upgrade = Upgrade(self, plain)
        # From now on an error of the plain socket, which the program no longer watches, is ours.
        plain.on("error", self._plain_failed)
        if plain.destroyed:
            self._gone()
        elif plain.pending:
            self._announce = True
            plain.once("connect", partial(self._take, plain, upgrade))
        else:
            self._take(plain, upgrade)

    def _plain_failed(self, error: BaseException) -> None:
        self.destroy(error)

    def _take(self, plain: Socket, upgrade: Upgrade) -> None:
        """The plain socket's connection stands, and is ours; the handshake begins in a tick."""
        if self.destroyed or plain.destroyed:
            return
        upgrade.stand()
        upgrade.stop_reading()
        rules = cast("Rules", self._rules)
        self._ends = read_clock() / 1e6 + rules.handshake_timeout
        self._plain = ref(plain)
        if rules.server:
            self._enter()
        next_tick(self._drain, plain, upgrade)

    def _drain(self, plain: Socket, upgrade: Upgrade, error: BaseException | None = None) -> None:
        """Wait until all that the plain socket wrote has left."""
        if self.destroyed or plain.destroyed:
            return
        try:
            upgrade.stop_reading()
            if plain.writable_length:
                if self._window is None:
                    # A peer that does not read it must not keep the connection for ever.
                    limit = cast("Rules", self._rules).handshake_timeout
                    self._window = set_timeout(self._late, limit).unref()
                plain.write(b"", partial(self._drain, plain, upgrade))
                return
            self._leave_window()
        except BaseException:
            # An interrupt of the program: nothing would go on.
            self.destroy()
            raise
        upgrade.finish(self._announce)

    def _late(self) -> None:
        if not self.destroyed:
            self._tls_failed(timeout_error(), False)

    def _leave_window(self) -> None:
        if self._window is not None:
            self._window.close()
            self._window = None

    def _put_over(self, stream: Duplex) -> None:
        """Take any stream for the connection."""
        from .._core import overlay

        gone = stream.destroyed or not (stream.readable and stream.writable)
        if isinstance(stream, Socket):
            # What comes is not for its program any more.
            stream.remove_all_listeners("data").remove_all_listeners("readable")
            # Records are no frames.
            stream.set_framing(None)
        connection = overlay.Overlaid(self, stream)

        def closed(*_: object) -> None:
            if not self.writable_finished or self.errored is not None or stream.writable_finished:
                stream.destroy()
                return
            # As a kernel does for a socket that is closed, the stream still sends what it was
            # given; what arrives meanwhile has no reader.
            stream.resume()
            stream.on("finish", stream.destroy)

        def begin() -> None:
            if not self.destroyed:
                connection.finish()

        self.on("close", closed)
        stream.on("error", self._plain_failed)
        stream.on("close", lambda *_: self.destroy() if self._over else self._gone())
        if gone:
            self._gone()
            return
        if cast("Rules", self._rules).server:
            self._enter()
        next_tick(begin)

    # ---- The handshake -------------------------------------------------------------------------

    def _begin_client(self, handle: Any) -> None:
        rules = cast("Rules", self._rules)
        name = rules.servername
        if name is None:
            name = rules.host or ""
            if is_ip(name):
                name = ""
        context = rules.variant(rules.protocols)
        ready = rules.context.context is not None
        if ready and context.check_hostname and not name:
            name = rules.host or "localhost"
        self._servername = name or False
        session = None if rules.session is None else rules.session._of(context)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        try:
            made = context.wrap_bio(
                incoming,
                outgoing,
                server_hostname=(name if name.isascii() else ascii_host(name)) or None,
                session=session,
            )
        except ssl.SSLError as error:
            self.destroy(tls_error(error))
            return
        except ValueError:
            # A host of the connection that no server has a name for.
            self.destroy(check.arg_value_error("options.servername", name, "must be a host name"))
            return
        if isinstance(made, PSKObject):
            made.owner, made.outgoing = ref(self), outgoing
        self._layer = _layer.add_tls(handle, _CALLS, strict=rules.strict)
        self._layer.set_deadline(self._time_left())
        self._watch_sessions()
        self._layer.start(made, incoming, outgoing, rules.verify_only)

    def _begin_server(self, handle: Any) -> None:
        self._begin_layer(server_layer(handle, cast("Rules", self._rules)))

    def _begin_handshake(self, layer: Any) -> None:
        """Begin the handshake of a connection that a server has accepted."""
        self._enter()
        self._begin_layer(layer)

    def _enter(self) -> None:
        """A server's handshake counts from now on, and what fails is its server's."""
        server = self._tls_server
        if server is not None:
            # What destroys it before the program has it, such as a deadline.
            self.on("error", self._failed_before)
            self._held = server._limit(self)

    def _begin_layer(self, layer: Any) -> None:
        """Begin a server's handshake, now or when others have ended."""
        self._layer = layer
        # One that is held is not read, so that nothing else shows that it is gone. That it waits is
        # not the peer's doing.
        limit = cast("Rules", self._rules).handshake_timeout
        layer.set_deadline(limit if self._held else self._time_left())
        if not self._held:
            layer.go_on()

    def _failed_before(self, error: Exception) -> None:
        server = cast("Server", self._tls_server)
        self._over = True
        server._handshake_over(self)
        server.emit("tlsClientError", error, self)

    def _go_on(self) -> None:
        """Begin a handshake that waited for others to end."""
        self._held = False
        if self._layer is not None:
            self._layer.set_deadline(cast("Rules", self._rules).handshake_timeout)
            self._layer.go_on()

    def _waited(self, limit: int) -> int:
        """For how many ms its handshake has waited for the peer; see TLS.waited()."""
        if self._layer is not None:
            return cast("int", self._layer.waited(limit))
        # What the plain socket wrote has not left: since when has none of it?
        plain = None if self._plain is None else self._plain()
        left, now = 0 if plain is None else plain._unsent_bytes(), read_clock() / 1e6
        if left != self._left:
            self._left, self._left_at = left, now
        return int(now - self._left_at) if left else 0

    def _time_left(self) -> int:
        """How long the handshake may take from now on."""
        limit = cast("Rules", self._rules).handshake_timeout
        return limit if self._ends is None else max(int(self._ends - read_clock() / 1e6), 1)

    def _hello(self, servername: str | None, protocols: list[str] | None) -> None:
        rules = cast("Rules", self._rules)
        self._servername = servername or False
        if protocols is None:
            # The engine says what is wrong with it.
            self._start_server(rules.context, rules.protocols)
            return
        callback = rules.sni_callback
        if not servername or (callback is None and self._tls_server is None):
            self._choose_protocol(rules.context, protocols)
            return
        if callback is None:
            found = cast("Server", self._tls_server)._context_for(servername)
            self._choose_protocol(found or rules.context, protocols)
            return
        self._ask(callback, servername, protocols)

    def _ask(self, callback: Any, servername: str, protocols: list[str]) -> None:
        """Let the program choose a context by name."""
        rules = cast("Rules", self._rules)
        answered = False

        def answer(error: BaseException | None = None, context: Any = None) -> None:
            nonlocal answered
            self._check()
            if answered or self.destroyed:
                return
            answered = True
            if error is not None:
                self._tls_failed(error, False)
                return
            try:
                chosen = rules.context
                if context is not None:
                    chosen = rules.check_context(as_context(context, "context"))
                self._choose_protocol(chosen, protocols)
            except ArgTypeError:
                self._tls_failed(
                    ArgTypeError("Invalid SNI context", "ERR_TLS_INVALID_CONTEXT"), False
                )
            except ArgValueError as refused:
                self._tls_failed(refused, False)
            except BaseException:
                # Nothing else would end the handshake.
                self.destroy()
                raise

        try:
            result = callback(servername, answer)
        except Exception as error:
            if answered:
                # The program's own, after its answer.
                raise
            answer(error)
            return
        if result is None:
            return
        if not hasattr(type(result), "__await__"):
            answer(None, result)
            return
        try:
            # Without a result there will be no answer.
            why = "The sni_callback is a coroutine function"
            start_task(result, why, answer, self.destroy)
        except Exception as error:
            answer(error)

    def _choose_protocol(self, context: SecureContext, offered: list[str]) -> None:
        rules = cast("Rules", self._rules)
        protocols = rules.protocols
        if rules.alpn_callback is not None and offered:
            try:
                chosen = rules.alpn_callback(
                    Info(servername=self._servername or "", protocols=list(offered))
                )
            except Exception as error:
                self._tls_failed(error, False)
                return
            # Python's ssl takes ASCII alone.
            if chosen is not None and (chosen not in offered or not chosen.isascii()):
                self._tls_failed(
                    ArgTypeError(
                        f"ALPN callback returned a value ({chosen}) that did not match any of the "
                        f"client's offered protocols ({', '.join(offered)})",
                        "ERR_TLS_ALPN_CALLBACK_INVALID_RESULT",
                    ),
                    False,
                )
                return
            protocols = () if chosen is None else (chosen,)
            refused = chosen is None
        else:
            refused = bool(offered and protocols) and not set(offered) & set(protocols)
        if refused:
            self._layer.refuse(NO_APPLICATION_PROTOCOL)
            self._tls_failed(alert_error("no application protocol"), False)
            return
        self._chosen = self._chosen or context
        self._start_server(self._chosen, protocols)

    def _start_server(self, context: SecureContext, protocols: tuple[str, ...]) -> None:
        rules = cast("Rules", self._rules)
        if self._layer is None or self.destroyed:
            return
        try:
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            # Of the context that was chosen, down to its tickets: a session of another one, which
            # may trust other authorities, is no session here.
            chosen = context._variant(
                True, protocols, rules.request, rules.reject, rules.context, rules.psk
            )
            made = chosen.wrap_bio(incoming, outgoing, server_side=True)
            if isinstance(made, PSKObject):
                made.owner, made.outgoing = ref(self), outgoing
        except (ValueError, OSError) as error:
            self._tls_failed(error, False)
            return
        # A context of the program's own that was chosen by name says itself what fails.
        only = rules.request and rules.verify_only and context.context is None
        self._layer.start(made, incoming, outgoing, only)

    def _secured(self) -> None:
        # Nothing of the program's runs before the layer knows whether to go on.
        rules = cast("Rules", self._rules)
        made = self._layer.ssl_object
        self._over = True
        self._alpn = made.selected_alpn_protocol() or False
        if rules.server:
            self._secured_server(rules, made)
        else:
            self._secured_client(rules, made)

    def _secured_server(self, rules: Rules, made: Any) -> None:
        server = self._tls_server
        if made.context.verify_mode != ssl.CERT_NONE:
            self._authorized = made.getpeercert(True) is not None
            if not self._authorized:
                self._authorization_error = "UNABLE_TO_GET_ISSUER_CERT"
                if rules.psk is not None and rules.reject:
                    # A pre-shared key is no certificate.
                    self._tls_failed(None, False)
                    return
            elif rules.verify_only:
                self._note_verified(self._layer.verify_result)
        self._layer.accept()
        if server is None:
            self.emit("secure")
            return
        self.off("error", self._failed_before)
        server._handshake_over(self)
        announce = self.listener_count("secure")
        before = self.event_names()
        try:
            server.emit("secureConnection", self)
        except BaseException:
            if self.event_names() == before:
                # As in net: the listener raised before it had taken the socket.
                self.destroy()
            raise
        if announce:
            self.emit("secure")

    def _secured_client(self, rules: Rules, made: Any) -> None:
        error: BaseException | None = None
        if rules.psk is not None and made.session_reused and made.getpeercert(True) is None:
            # The server has the key, as of TLS 1.3, or had it when the session was made. Before
            # TLS 1.3 a new session comes to the check of an identity without a certificate.
            self._authorized = True
        elif made.context.verify_mode == ssl.CERT_NONE:
            self._authorization_error = "CERT_NOT_VERIFIED"
        elif rules.verify_only:
            self._authorized = made.getpeercert(True) is not None
            if not self._authorized:
                self._authorization_error = "UNABLE_TO_GET_ISSUER_CERT"
            elif self._note_verified(self._layer.verify_result):
                unfit = self._check_identity(rules, made)
                if self.destroyed:
                    return
                if unfit is not None:
                    self._authorized = False
                    self._authorization_error = getattr(unfit, "code", None) or str(unfit)
        elif rules.context.context is not None and made.getpeercert(True) is None:
            # With suites of the program's own, such as those without certificates.
            error = TLSError("The server has no certificate", "UNABLE_TO_GET_ISSUER_CERT")
        else:
            error = self._check_identity(rules, made)
            if self.destroyed:
                # By the program's check.
                return
            self._authorized = error is None
        if error is not None:
            self._authorization_error = getattr(error, "code", None) or str(error)
            self.destroy(error)
            self.emit("secure")
            return
        self._layer.accept()
        # Node's own listener of 'secure' emits the other: those that it adds hear the next one.
        announce = self.listener_count("secure")
        self.emit("secureConnect")
        self._watch_sessions()
        if not self.destroyed and made.version() != "TLSv1.3":
            self._ticket()
        if announce:
            self.emit("secure")

    def _note_verified(self, result: int) -> bool:
        """Keep what verification has come to, for a connection that goes on anyway."""
        self._authorized = result == 0
        if result:
            unknown = "CERT_NOT_VERIFIED" if result < 0 else "UNSPECIFIED"
            self._authorization_error = VERIFY_CODES.get(result, unknown)
        return self._authorized

    def _check_identity(self, rules: Rules, made: Any) -> BaseException | None:
        name = rules.servername or rules.host or "localhost"
        if rules.identity is None:
            if rules.context.context is not None and not (
                made.session_reused and made.context.check_hostname
            ):
                # Python has checked it, or the program's context says not to. With a
                # session it was checked for the host of then.
                return None
            try:
                der = made.getpeercert(True)
                return check_server_identity(name, Info() if der is None else identity_of(der))
            except MemoryError as error:
                return error
            except Exception as error:
                # A certificate that cannot be read proves no identity.
                unreadable = TLSError(
                    "The certificate's names cannot be read", "ERR_TLS_CERT_ALTNAME_FORMAT"
                )
                unreadable.host, unreadable.__cause__ = name, error
                return unreadable
        try:
            result = rules.identity(name, self.get_peer_certificate(True))
        except Exception as error:
            return error
        if result is None or isinstance(result, BaseException):
            return result
        text = (
            result
            if isinstance(result, str)
            else "check_server_identity() returned an object of type "
            f"{type(result).__name__}, which is not an exception"
        )
        return TLSError(text, "ERR_TLS_CERT_ALTNAME_INVALID")

    def _tls_failed(self, error: BaseException | None, secure: bool) -> None:
        if secure:
            self.destroy(truncated() if error is None else tls_error(error))
            return
        self._over = True
        rules = self._rules
        if isinstance(error, PSKError):
            error = error.__cause__
        if isinstance(error, TimeoutError) and not isinstance(error, TLSError):
            error = timeout_error()
        server = self._tls_server
        if rules is not None and rules.server:
            failure = reset_error("socket hang up") if error is None else tls_error(error)
            failure = (self._chosen or rules.context)._explain(failure, self.ssl_object)
            if server is None:
                self._own_failed(None if error is None else failure)
                return
            self.destroy()
            server._note_failure(failure)
            server._handshake_over(self)
            server.emit("tlsClientError", cast("Exception", failure), self)
            return
        if self._connects and error is None:
            # As in Node, 'end' comes first.
            self.prepend_once_listener("end", self._disconnected)
        self._own_failed(None if error is None else tls_error(error))

    def _own_failed(self, error: BaseException | None) -> None:
        """The handshake of a socket which no server and no tls.connect() looks after has failed."""
        if error is not None or self._layer is None:
            self.destroy(error)
            return
        # The peer has ended its side, and that is all.
        self._layer.end_up()
        if self.writable_length and not self.destroyed:
            # What waits for the handshake has nowhere to go.
            self.destroy()

    def _gone(self) -> None:
        """The connection is over before it is secure."""
        if self.destroyed or cast("Rules", self._rules).server:
            self.destroy()
        else:
            self._disconnected()

    def _disconnected(self) -> None:
        self.destroy(reset_error(DISCONNECTED, cast("Rules", self._rules).target))

    def _write_failed(self, error: BaseException) -> BaseException:
        return write_error(error)

    # ---- Sessions ------------------------------------------------------------------------------

    def _watch_sessions(self) -> None:
        if self._layer is not None and self.listener_count("session"):
            self._layer.set_one_by_one(True)

    def _ticket(self) -> None:
        rules = self._rules
        if rules is None or rules.server or not self.listener_count("session"):
            return
        made = self._layer.ssl_object
        session = made.session
        if session is None or session == self._known:
            return
        if made.version() == "TLSv1.3" and not session.has_ticket:
            return
        self._known = session
        self.emit("session", Session(session, made.context))

    def get_session(self) -> Session | None:
        """Return the session, to resume it in a later connection; None before the handshake.

        With TLS 1.3 it arrives after the handshake: wait for 'session'.

        Node: tlsSocket.getSession()
        """
        made = self.ssl_object
        session = None if made is None else made.session
        return None if session is None else Session(session, made.context)

    def is_session_reused(self) -> bool:
        """Return True if the handshake has resumed a session.

        Node: tlsSocket.isSessionReused()
        """
        made = self.ssl_object
        return bool(made is not None and made.session_reused)

    # ---- What the handshake came to ------------------------------------------------------------

    @property
    def ssl_object(self) -> Any:
        """Python's ssl.SSLObject, for inspection; None before there is one. Node: none"""
        return None if self._layer is None else self._layer.ssl_object

    @property
    def encrypted(self) -> bool:
        """True; a plain socket has no such attribute. Node: tlsSocket.encrypted"""
        return True

    @property
    def truncated(self) -> bool:
        """True if the connection has ended without the peer's close_notify.

        What cuts a connection, such as an attacker, cannot send one: the data may not be whole.
        Many clients close without it, though. require_close_notify makes it an error.

        Node: none
        """
        return self._layer is not None and self._layer.truncated

    @property
    def secure_connecting(self) -> bool:
        """True until the handshake is over. Node: tlsSocket.secureConnecting"""
        return not self._over and not self.destroyed

    @property
    def authorized(self) -> bool:
        """True if the peer's certificate was verified, and is valid. Node: tlsSocket.authorized"""
        return self._authorized

    @property
    def authorization_error(self) -> str | None:
        """Why the peer is not authorized, a code; None if it is, or if none was requested.

        'CERT_NOT_VERIFIED': reject_unauthorized is False, and the engine is Python's (see
        tls.engine), or the context is the program's own: nothing was verified.

        Node: tlsSocket.authorizationError
        """
        return self._authorization_error

    @property
    def alpn_protocol(self) -> str | bool | None:
        """The protocol that both sides chose, False if none; None before the handshake is over.

        Node: tlsSocket.alpnProtocol
        """
        return self._alpn

    @property
    def servername(self) -> str | bool | None:
        """The name that the client has requested; on a server False if there is none.

        Node: tlsSocket.servername
        """
        return self._servername

    def get_protocol(self) -> str | None:
        """Return 'TLSv1.2', 'TLSv1.3', 'unknown' in the handshake, or None when closed.

        Node: tlsSocket.getProtocol()
        """
        made = self.ssl_object
        if self.destroyed or made is None:
            return None
        return made.version() or "unknown"

    def get_cipher(self) -> Info | None:
        """Return name, standard_name and version of the cipher suite; None before the handshake.

        Node: tlsSocket.getCipher()
        """
        made = self.ssl_object
        found = None if made is None else made.cipher()
        if found is None:
            return None
        name, version = found[0], found[1]
        return Info(name=name, standardName=_standard_name(name), version=version)

    def get_peer_certificate(self, detailed: bool = False) -> Info | None:
        """Return the peer's certificate as Node shows it.

        Args:
            detailed: add issuerCertificate, from certificate to certificate, up to the root if it
                is among the authorities of the context.

        Returns: a mapping, which is empty if the peer has none; None before the handshake.

        Node: tlsSocket.getPeerCertificate()
        """
        made = self.ssl_object
        if made is None or not self._over:
            return None
        der = made.getpeercert(True)
        if der is None:
            return Info()
        if not detailed:
            return certificate(der)
        inner = getattr(made, "_sslobj", None)
        # Without one that was verified, such as in a resumed session, what the peer has sent.
        chain = inner and (inner.get_verified_chain() or inner.get_unverified_chain())
        known = [_der(each) for each in chain or ()] or [der]
        if not is_issuer(known[-1], known[-1]):
            known = with_issuers(known, made.context.get_ca_certs(True))
        shown = [certificate(each) for each in known]
        for below, above in pairwise(shown):
            below["issuerCertificate"] = above
        if is_issuer(known[-1], known[-1]):
            shown[-1]["issuerCertificate"] = shown[-1]
        return shown[0]

    def get_certificate(self) -> Info | None:
        """Return our own certificate as Node shows it; empty without one, None when closed.

        Node: tlsSocket.getCertificate()
        """
        if self.destroyed or self._rules is None:
            return None
        return self._rules.context._own_certificate()

    def get_finished(self) -> bytes | None:
        """Return the last Finished message that was sent, up to TLS 1.2; None before.

        Raises: StateError (ERR_FEATURE_UNAVAILABLE_ON_PLATFORM) where Python does not have it.

        Node: tlsSocket.getFinished()
        """
        return self._finished(True)

    def get_peer_finished(self) -> bytes | None:
        """Return the last Finished message that was received, up to TLS 1.2; None before.

        Raises: StateError (ERR_FEATURE_UNAVAILABLE_ON_PLATFORM) where Python does not have it.

        Node: tlsSocket.getPeerFinished()
        """
        return self._finished(False)

    def _finished(self, ours: bool) -> bytes | None:
        made = self.ssl_object
        if made is None or not self._over:
            return None
        rules = cast("Rules", self._rules)
        # "tls-unique" is the first of the two: the client's, the server's if a session was resumed.
        first_is_ours = rules.server == bool(made.session_reused)
        if ours is not first_is_ours or made.version() == "TLSv1.3":
            raise unavailable("get_finished()")
        return cast("bytes | None", made.get_channel_binding("tls-unique"))

    def export_keying_material(
        self, length: int, label: str, context: bytes | None = None
    ) -> bytes:
        """Not available: Python's ssl does not export keying material.

        Raises: StateError (ERR_FEATURE_UNAVAILABLE_ON_PLATFORM).

        Node: tlsSocket.exportKeyingMaterial()
        """
        raise unavailable("export_keying_material()")

    def get_ephemeral_key_info(self) -> Info:
        """Not available: Python's ssl does not provide it.

        Raises: StateError (ERR_FEATURE_UNAVAILABLE_ON_PLATFORM).

        Node: tlsSocket.getEphemeralKeyInfo()
        """
        raise unavailable("get_ephemeral_key_info()")

    def get_shared_sigalgs(self) -> list[str]:
        """Not available: Python's ssl does not provide them.

        Raises: StateError (ERR_FEATURE_UNAVAILABLE_ON_PLATFORM).

        Node: tlsSocket.getSharedSigalgs()
        """
        raise unavailable("get_shared_sigalgs()")

    def get_tls_ticket(self) -> bytes:
        """Not available from Python's ssl on its own; the session of get_session() contains it.

        Raises: StateError (ERR_FEATURE_UNAVAILABLE_ON_PLATFORM).

        Node: tlsSocket.getTLSTicket()
        """
        raise unavailable("get_tls_ticket()")

    def get_x509_certificate(self) -> Any:
        """Not available: use get_certificate(), which has its contents, and `raw`.

        Raises: StateError (ERR_FEATURE_UNAVAILABLE_ON_PLATFORM).

        Node: tlsSocket.getX509Certificate()
        """
        raise unavailable("get_x509_certificate()")

    def get_peer_x509_certificate(self) -> Any:
        """Not available: use get_peer_certificate(), which has its contents, and `raw`.

        Raises: StateError (ERR_FEATURE_UNAVAILABLE_ON_PLATFORM).

        Node: tlsSocket.getPeerX509Certificate()
        """
        raise unavailable("get_peer_x509_certificate()")

    def enable_trace(self) -> None:
        """Not available: Python's ssl does not trace.

        Raises: StateError (ERR_FEATURE_UNAVAILABLE_ON_PLATFORM).

        Node: tlsSocket.enableTrace()
        """
        raise unavailable("enable_trace()")

    def set_key_cert(self, context: SecureContext | ssl.SSLContext | Mapping[str, Any]) -> None:
        """Use another key and certificate for this connection, such as from an alpn_callback.

        Args:
            context: SecureContext, ssl.SSLContext, or a mapping of the options of one.

        Raises: what create_secure_context() raises; StateError (ERR_INVALID_STATE) once the
            server has begun its handshake, and on a client.

        Node: tlsSocket.setKeyCert()
        """
        self._check()
        if self._rules is None or not self._rules.server or self.ssl_object is not None:
            raise StateError(
                "set_key_cert() is for servers, before the handshake", "ERR_INVALID_STATE"
            )
        made = (
            SecureContext(context) if check.is_mapping(context) else as_context(context, "context")
        )
        self._chosen = self._rules.check_context(made)

    def disable_renegotiation(self) -> None:
        """Do nothing, because renegotiation is always refused.

        Node: tlsSocket.disableRenegotiation()
        """
        self._check()

    def renegotiate(self, *_: object) -> bool:
        """Not available: renegotiation is always refused.

        Raises: StateError (ERR_FEATURE_UNAVAILABLE_ON_PLATFORM).

        Node: tlsSocket.renegotiate()
        """
        raise unavailable("renegotiate()")

    def set_max_send_fragment(self, size: int = 16384) -> bool:
        """Limit how many bytes each record that is sent carries.

        Args:
            size: int 512..16384, default 16384.

        Returns: bool, False for a size out of that range, or before there is a connection.
        Raises: ArgTypeError (ERR_INVALID_ARG_TYPE), RangeError (ERR_OUT_OF_RANGE) for what is no
            integer of 32 bits.

        Node: tlsSocket.setMaxSendFragment()
        """
        self._check()
        size = check.validate_int32(size, "size")
        if self._layer is None or not 512 <= size <= 16384:
            return False
        self._layer.set_record_size(size)
        return True


def _der(chained: Any) -> bytes:
    import _ssl

    return cast("bytes", chained.public_bytes(_ssl.ENCODING_DER))


def _standard_name(name: str) -> str:
    """The name of a suite in the registry, of OpenSSL's name."""
    if name.startswith("TLS_"):
        return name
    parts = name.replace("AES128", "AES_128").replace("AES256", "AES_256").split("-")
    exchange = [part for part in parts if part in ("ECDHE", "DHE", "RSA", "ECDSA", "PSK")]
    rest = [part for part in parts if part not in exchange]
    if rest and rest[-1] == "POLY1305":
        rest.append("SHA256")
    elif rest and not any(mode in rest for mode in ("GCM", "CCM", "CCM8")):
        rest.insert(-1, "CBC")
    return f"TLS_{'_'.join(exchange or ['RSA'])}_WITH_{'_'.join(rest)}"


_CALLS = _layer.Calls(
    hello=TLSSocket._hello,
    secured=TLSSocket._secured,
    failed=TLSSocket._tls_failed,
    ticket=TLSSocket._ticket,
    write_failed=TLSSocket._write_failed,
)


def server_layer(handle: Any, rules: Rules) -> Any:
    """Put TLS on the handle of a server's connection."""
    return _layer.add_tls(handle, _CALLS, reads_hello=True, strict=rules.strict)


own_method(TLSSocket, "write")
add_node_names(TLSSocket)
__all__ = ["CONTEXT_OPTIONS", "Session", "TLSSocket", "server_layer"]
