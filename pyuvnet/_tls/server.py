"""tls.Server and tls.connect(): what accepts TLSSockets, and what makes one connect. See tls.py."""

from __future__ import annotations

import re

from .._aio.run import next_tick
from .._base import TYPE_CHECKING, cast
from .._base import validation as check
from .._base.option_table import option_set
from .._core.duplex import Duplex
from .._core.names import add_node_names
from .._core.timer import set_timeout
from ..errors import Error
from ..server import SERVER_OPTIONS, later
from ..server import Server as NetServer
from ..socket import SOCKET_OPTIONS, Socket, check_connect, connect_arguments
from .context import CONTEXT_OPTIONS, SecureContext, as_context
from .errors import timeout_error, unavailable
from .rules import Rules, refuse_descriptor
from .socket import TLSSocket, server_layer

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping
    from typing import Any

TLS_SERVER_OPTIONS = option_set("tls.Server", "SecureContext", "Server", strict=True)
TLS_CONNECT_OPTIONS = option_set(
    "tls.connect", "SecureContext", "connect", "create_connection", "Socket", strict=True
)
# For how many ms a handshake may stand still while others wait for its place.
STALLED = 1000


class Server(NetServer):
    """Accepts connections and emits a TLSSocket for each, once its handshake is over.

    Args:
        options: a mapping of the options below and of those of SecureContext and net.Server.
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
        handshake_timeout: ms, default 60000: how long a handshake may take.
        max_handshakes: int >= 0, default 0 (no limit): how many handshakes may be unfinished at
            once; other connections wait unread, until one ends, or stands still for a second.
        psk_callback: callable(hint), or on a server callable(socket, identity): returns a mapping
            of psk and identity, or on a server the psk, as bytes; None goes on without a pre-shared
            key. Needs Python 3.13, and before TLS 1.3 suites such as ciphers='PSK'.
        psk_identity_hint: str of at most 256 bytes: sent to clients before TLS 1.3, to choose an
            identity by.
        secure_connection_listener: callable(socket), added to 'secureConnection'.

    Events: those of net.Server, of which 'connection' has the plain socket; 'secureConnection'
        (socket), 'tlsClientError' (error, socket), for a handshake that fails, whose socket is
        destroyed.
    Raises: what net.Server() and create_secure_context() raise; ArgTypeError
        (ERR_TLS_ALPN_CALLBACK_WITH_PROTOCOLS).

    Node: tls.Server
    """

    _option_functions = ("tls.Server", "SecureContext", "Server", "listen")
    _arrival = "secureConnection"

    def __init__(
        self,
        options: Mapping[str, Any] | Callable[[TLSSocket], object] | None = None,
        secure_connection_listener: Callable[[TLSSocket], object] | None = None,
        **keywords: Any,
    ) -> None:
        self._refuse_second_init()
        if callable(options) and not check.is_mapping(options):
            if secure_connection_listener is not None:
                raise later(
                    check.arg_type_error("options", "object", options), secure_connection_listener
                )
            options, secure_connection_listener = None, options
        elif options is not None and not check.is_mapping(options):
            raise later(check.arg_type_error("options", "object", options), options)
        listener = secure_connection_listener
        if listener is not None and not callable(listener):
            raise check.arg_type_error("secureConnectionListener", "function", listener)
        given = TLS_SERVER_OPTIONS.read(options, keywords)
        most = given.get("max_handshakes")
        if most is not None:
            check.validate_integer(most, "options.maxHandshakes", 0)
        self._rules = Rules(given, True)
        super().__init__({name: given[name] for name in SERVER_OPTIONS if name in given})
        self._max_handshakes = most or 0
        # Both in the order in which they began.
        self._unfinished: dict[TLSSocket, None] = {}
        self._waiting: dict[TLSSocket, None] = {}
        self._stall_timer: Any = None
        self._contexts: list[tuple[re.Pattern[str], SecureContext]] = []
        self._set_secure_class(TLSSocket)
        self._begun: Duplex | None = None
        if listener is not None:
            self.on("secureConnection", listener)

    # ---- Connections ---------------------------------------------------------------------------

    def _dress(self, handle: Any) -> Any:
        return server_layer(handle, self._rules)

    if not TYPE_CHECKING:  # Its types are those of the inherited one.

        def emit(self, event=None, *arguments):
            """Call the listeners of an event, as EventEmitter.emit().

            'connection' with a stream also begins TLS on it, whatever listens.

            Node: emitter.emit()
            """
            heard = super().emit(event, *arguments)
            if event != "connection" or not arguments or not isinstance(arguments[0], Duplex):
                return heard
            if not arguments[0].destroyed:
                self._secure(arguments[0], None)
                if getattr(arguments[0], "server", None) is self and not isinstance(
                    arguments[0], TLSSocket
                ):
                    # One that was accepted here: who emits the event begins TLS, too.
                    self._begun = arguments[0]
            return True

    def _secure(self, socket: Duplex, layer: Any) -> None:
        if isinstance(socket, TLSSocket) and layer is not None:
            socket._rules, socket._tls_server = self._rules, self
            socket._begin_handshake(layer)
            return
        if self._begun is socket:
            self._begun = None
            return
        # A listener of 'connection' has seen the plain socket.
        secure = TLSSocket(
            socket,
            server=self,
            framing=self.framing,
            high_water_mark=self.high_water_mark,
        )
        if self.pause_on_connect:
            secure.pause()

    def _limit(self, socket: TLSSocket) -> bool:
        """Count a handshake; True if others have to end first."""
        if not self._max_handshakes:
            return False
        socket.once("close", lambda had_error: self._handshake_over(socket))
        if len(self._unfinished) < self._max_handshakes:
            self._unfinished[socket] = None
            return False
        self._waiting[socket] = None
        if self._stall_timer is None:
            # In a tick: this socket is only being made.
            next_tick(self._make_room)
        return True

    def _make_room(self) -> None:
        """Let those that wait begin, in place of those that have stood still for longest."""
        if self._stall_timer is not None:
            # None stands still for long enough before that.
            return
        left = STALLED
        try:
            waited = {socket: socket._waited(STALLED) for socket in self._unfinished}
            for socket in sorted(waited, key=waited.__getitem__, reverse=True):
                if not self._waiting:
                    break
                if waited[socket] < STALLED:
                    left -= waited[socket]
                    break
                # A listener may have changed anything.
                if socket in self._unfinished and not socket.destroyed:
                    socket._tls_failed(timeout_error(), False)
        finally:
            if self._waiting and self._stall_timer is None:
                self._stall_timer = set_timeout(self._stall_over, left).unref()

    def _stall_over(self) -> None:
        self._stop_stall_timer()
        self._make_room()

    def _stop_stall_timer(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.close()
            self._stall_timer = None

    def _handshake_over(self, socket: TLSSocket) -> None:
        """A handshake has come to its end: let the next one begin."""
        self._waiting.pop(socket, None)
        if socket in self._unfinished:
            del self._unfinished[socket]
            while self._waiting and len(self._unfinished) < self._max_handshakes:
                other = next(iter(self._waiting))
                del self._waiting[other]
                if not other.destroyed:
                    self._unfinished[other] = None
                    other._go_on()
        if not self._waiting:
            self._stop_stall_timer()

    # ---- Contexts ------------------------------------------------------------------------------

    def _context_for(self, servername: str) -> SecureContext | None:
        for pattern, context in reversed(self._contexts):
            if pattern.fullmatch(servername):
                return context
        return None

    def add_context(
        self, hostname: str, context: SecureContext | ssl.SSLContext | Mapping[str, Any]
    ) -> None:
        """Use a context for the clients that ask for a host.

        Args:
            hostname: a name, or a pattern in which '*' stands for one label.
            context: SecureContext, ssl.SSLContext, or a mapping of the options of one.

        The context added last wins. It has no effect with sni_callback.
        Raises: TLSError (ERR_TLS_REQUIRED_SERVER_NAME), what create_secure_context() raises.

        Node: server.addContext()
        """
        self._check()
        if not hostname:
            raise Error(
                '"servername" is required parameter for Server.addContext',
                "ERR_TLS_REQUIRED_SERVER_NAME",
            )
        check.validate_string(hostname, "hostname")
        made = (
            SecureContext(context) if check.is_mapping(context) else as_context(context, "context")
        )
        self._rules.check_context(made)
        text = re.escape(hostname).replace(r"\*", "[^.]*")
        self._contexts.append((re.compile(text, re.IGNORECASE), made))

    def set_secure_context(self, options: Mapping[str, Any] | None = None, **keywords: Any) -> None:
        """Use other keys, certificates and rules for later connections.

        If only the certificates change, and the keys are of the same kinds, earlier sessions can
        still be resumed, unless the server was given a secure_context, which others may share.

        Args:
            options: all options of SecureContext that apply from now on.

        Raises: what create_secure_context() raises; nothing has changed then.

        Node: server.setSecureContext()
        """
        self._check()
        if options is not None and not check.is_mapping(options):
            raise check.arg_type_error("options", "object", options)
        given = CONTEXT_OPTIONS.read(options, keywords)
        # What is loaded into a context is seen by all others that have it.
        shared = self._rules.shared
        fresh = SecureContext(given) if shared else self._rules.context._renewed(given)
        self._rules.context = self._rules.check_context(fresh)
        self._rules.shared = False

    def get_ticket_keys(self) -> bytes:
        """Not available: Python's ssl does not provide them.

        Raises: StateError (ERR_FEATURE_UNAVAILABLE_ON_PLATFORM).

        Node: server.getTicketKeys()
        """
        raise unavailable("get_ticket_keys()")

    def set_ticket_keys(self, keys: bytes) -> None:
        """Not available: Python's ssl does not accept them.

        Raises: StateError (ERR_FEATURE_UNAVAILABLE_ON_PLATFORM).

        Node: server.setTicketKeys()
        """
        raise unavailable("set_ticket_keys()")

    def _rejected(self, error: BaseException, event: Any, arguments: tuple[Any, ...]) -> None:
        if event == "secureConnection" and arguments:
            arguments[0].destroy(error)
        else:
            super()._rejected(error, event, arguments)  # type: ignore[misc]


def create_server(
    options: Mapping[str, Any] | Callable[[TLSSocket], object] | None = None,
    secure_connection_listener: Callable[[TLSSocket], object] | None = None,
    **keywords: Any,
) -> Server:
    """Create a server; same as Server(...).

    Args:
        options: a mapping of Server's options, or the listener.
        secure_connection_listener: callable(socket), added to 'secureConnection'.

    Raises: what Server() raises.

    Node: tls.createServer()
    """
    return Server(options, secure_connection_listener, **keywords)


def connect(*args: Any, listener: Callable[[], object] | None = None, **keywords: Any) -> TLSSocket:
    """Create a TLSSocket and connect it; returns it at once, while it is connecting.

    Forms: connect(port, host='localhost', options=None, listener=None), connect(path, options=None,
    listener=None), connect(options, listener=None), or keywords.

    Args:
        options: those below, of SecureContext, of Socket and of Socket.connect().
        secure_context: SecureContext, default made from the other options: what
            create_secure_context() returned.
        alpn_protocols: list of str, default []: protocols for the connection, in order of
            preference.
        reject_unauthorized: bool, default True: reject a peer whose certificate is not valid;
            False: `authorized` says whether it is.
        require_close_notify: bool, default False: a connection that ends without close_notify fails
            with ERR_TLS_TRUNCATED.
        handshake_timeout: ms, default 120000: how long the handshake may take.
        servername: str, default host, unless that is an address: the name that the client sends
            (SNI), and that the certificate must have.
        check_server_identity: callable(hostname, cert), default tls.check_server_identity: returns
            an error if the certificate is not valid for the host, else None.
        session: what get_session() returned: the session to resume, if the context is the same and
            the server agrees.
        min_dh_size: int: accepted for compatibility; no effect.
        socket: Socket, or another Duplex: the connection to use, instead of host, port and path:
            what STARTTLS does.
        psk_callback: callable(hint), or on a server callable(socket, identity): returns a mapping
            of psk and identity, or on a server the psk, as bytes; None goes on without a pre-shared
            key. Needs Python 3.13, and before TLS 1.3 suites such as ciphers='PSK'.
        listener: callable, added as a once listener of 'secureConnect'.

    Events: 'connect', 'ready', then 'secureConnect' and 'secure', or 'error'.
    Raises: what Socket(), Socket.connect() and create_secure_context() raise.

    Node: tls.connect()
    """
    if args and check.is_mapping(args[-1]) and not check.is_mapping(args[0]):
        keywords = TLS_CONNECT_OPTIONS.read(args[-1], keywords)
        args = args[:-1]
    elif len(args) > 1 and callable(args[-1]) and check.is_mapping(args[-2]) and len(args) > 2:
        keywords = TLS_CONNECT_OPTIONS.read(args[-2], keywords)
        args = (*args[:-2], args[-1])
    options, callback = connect_arguments(args, keywords, listener, TLS_CONNECT_OPTIONS)
    refuse_descriptor(options)
    plain = options.get("socket")
    if plain is not None and not isinstance(plain, Duplex):
        raise check.arg_type_error("options.socket", "Duplex", plain)
    plan = None
    if plain is None:
        plan = check_connect(options)
        if plan["path"] is None:
            options["host"] = plan["host"]
    rules = Rules(options, False)
    socket = TLSSocket.__new__(TLSSocket)
    Socket.__init__(socket, {name: options[name] for name in SOCKET_OPTIONS if name in options})
    socket._use(rules)
    socket._connects = True
    if options.get("timeout"):
        socket.set_timeout(options["timeout"])
    if callback is not None:
        socket.once("secureConnect", callback)
    if plain is not None:
        socket._wrap(plain)
    else:
        socket._connect_checked(cast("dict[str, Any]", plan), None)
        if options.get("onread") is not None:
            # As in Node, which reads here even if the program calls pause() at once.
            socket.read(0)
    return socket


add_node_names(Server)
