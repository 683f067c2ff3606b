"""Server: the forms of listen(), close() and what they report.

Accepting is compiled, in ServerBase. Argument errors raise before anything changes; what depends
on the system arrives as 'error' in the next tick.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from . import _validate as check
from ._attempts import no_address
from ._core.errors import make_os_error
from ._core.names import add_node_names
from ._core.server_base import ServerBase
from ._core.stream import get_default_high_water_mark
from ._mapping import Info
from ._options import OptionSet
from ._paths import is_path, path_bytes
from .errors import StateError
from .socket import MAX_MARK, Socket, check_block_list, keep_alive_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Self

SERVER_OPTIONS = OptionSet(
    "Server",
    [
        "allow_half_open",
        "pause_on_connect",
        "no_delay",
        "keep_alive",
        "keep_alive_initial_delay",
        "high_water_mark",
        "block_list",
        "capture_rejections",
    ],
)
LISTEN_OPTIONS = OptionSet(
    "listen", ["port", "host", "path", "backlog", "exclusive", "ipv6_only", "reuse_port"]
)
DEFAULT_BACKLOG = 511


class Server(ServerBase):
    """Accepts connections and emits a Socket for each.

    Args:
        options: a mapping of the options below, or the connection listener; keywords win.
        connection_listener: callable(socket), added to 'connection'.
        allow_half_open: bool, default False: for accepted sockets.
        pause_on_connect: bool, default False: accepted sockets read nothing until resume().
        no_delay, keep_alive: bool, default False: set on accepted TCP sockets.
        keep_alive_initial_delay: ms, default 0.
        high_water_mark: bytes, default 65536 (16384 on Windows): of accepted sockets.
        block_list: BlockList; peers that it matches are closed silently.

    Events: 'listening', 'connection' (socket), 'close', 'error' (error), 'drop' (info).
    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE, ERR_UNKNOWN_OPTION).

    Node: net.Server
    """

    _asked: tuple[Any, Any] | None = None
    _path: Any = None

    def __init__(
        self,
        options: Mapping[str, Any] | Callable[[Socket], object] | None = None,
        connection_listener: Callable[[Socket], object] | None = None,
        **keywords: Any,
    ) -> None:
        if callable(options) and not check.is_mapping(options):
            if connection_listener is not None:
                raise check.arg_type_error("options", "Object", options)
            options, connection_listener = None, options
        elif options is not None and not check.is_mapping(options):
            raise check.arg_type_error("options", "Object", options)
        if connection_listener is not None and not callable(connection_listener):
            raise check.arg_type_error("connectionListener", "function", connection_listener)
        given = SERVER_OPTIONS.read(options, keywords)
        mark = given.get("high_water_mark")
        if mark is None:
            mark = get_default_high_water_mark()
        else:
            mark = check.validate_number(mark, "options.highWaterMark")
            if not mark <= MAX_MARK:
                raise check.arg_value_error("options.highWaterMark", mark)
            mark = int(mark) if mark >= 0 else get_default_high_water_mark()
        delay = keep_alive_seconds(given)
        block_list = check_block_list(given)
        self._init_emitter(given.get("capture_rejections"))
        self._init_server(Socket, mark)
        self.allow_half_open = bool(given.get("allow_half_open", False))
        self.pause_on_connect = bool(given.get("pause_on_connect", False))
        self.no_delay = bool(given.get("no_delay", False))
        self.keep_alive = bool(given.get("keep_alive", False))
        self.keep_alive_initial_delay = delay
        self.block_list = block_list
        if connection_listener is not None:
            self.on("connection", connection_listener)

    # ---- listen() ------------------------------------------------------------------------------

    def listen(
        self, *args: Any, callback: Callable[[], object] | None = None, **keywords: Any
    ) -> Self:
        """Bind and accept connections; 'listening' follows, or 'error'.

        Forms: listen(port=0, host=None, backlog=511, callback=None), listen(path, backlog=511,
        callback=None), listen(options, callback=None), or keywords.

        Args:
            port: int 0..65535 or numeric text; 0 (default) lets the system choose.
            host: name or address, default '::' for both families, '0.0.0.0' without IPv6. A
                name is looked up first.
            path: of a unix socket or named pipe, used if there is no port.
            backlog: int, default 511: how many connections may wait to be accepted.
            ipv6_only: exactly True: '::' takes no IPv4.
            reuse_port: exactly True: several processes share the port (SO_REUSEPORT).
            exclusive: accepted; without effect here.
            callback: callable, added as a once listener of 'listening'.

        Returns the server. Events: 'listening'; 'error' (syscall 'listen') in the next tick.
        Raises: StateError (ERR_SERVER_ALREADY_LISTEN), RangeError (ERR_SOCKET_BAD_PORT),
            ArgValueError (ERR_INVALID_ARG_VALUE), ArgTypeError (ERR_INVALID_ARG_TYPE,
            ERR_UNKNOWN_OPTION).

        Node: server.listen()
        """
        self._check()
        if self.listening:
            raise StateError(
                "Listen method has been called more than once without closing.",
                "ERR_SERVER_ALREADY_LISTEN",
            )
        options, callback = _listen_arguments(args, keywords, callback)
        backlog = options.get("backlog")
        backlog = DEFAULT_BACKLOG if not backlog else check.validate_int32(backlog, "backlog")
        port, path, host = options.get("port"), options.get("path"), options.get("host")
        nowhere = port is None and path is None and ("path" in options or "port" not in options)
        if nowhere and options.get("_form") is not None:
            raise check.arg_value_error(
                "options", options["_form"], 'must have the property "port" or "path"'
            )
        if path is not None and port is None:
            if not isinstance(path, (str, bytes, os.PathLike)):
                raise check.arg_value_error("options", options.get("_form", path))
            name = path_bytes(path, "options.path")
            self._begin(callback)
            self._listen_path(path, name, backlog)
            return self
        if isinstance(port, bool) or not isinstance(port, (int, float, str, type(None))):
            raise check.arg_value_error("options", options.get("_form", port))
        number = 0 if port is None else check.validate_port(port, "options.port")
        if host is not None and not isinstance(host, str):
            raise check.arg_type_error("options.host", "string", host)
        if host and "\0" in host:
            raise check.arg_value_error("options.host", host, "must be a string without null bytes")
        ipv6_only = options.get("ipv6_only") is True
        reuse_port = options.get("reuse_port") is True
        self._begin(callback)
        if host:
            self._listen_host(host, number, backlog, ipv6_only, reuse_port)
        else:
            self._listen_tcp(None, number, backlog, ipv6_only, reuse_port)
        return self

    def _begin(self, callback: Callable[[], object] | None) -> None:
        self._cancel_lookup()
        self._path = None
        if callback is not None:
            self.once("listening", callback)

    def _listen_tcp(
        self, address: str | None, port: int, backlog: int, ipv6_only: bool, reuse_port: bool
    ) -> None:
        shown = address
        if address is None:
            shown = "::"
            status = self._bind_tcp("::", port, ipv6_only, reuse_port)
            if status:
                # No IPv6 here: all IPv4 addresses then.
                shown = "0.0.0.0"
                status = self._bind_tcp(shown, port, ipv6_only, reuse_port)
        else:
            status = self._bind_tcp(address, port, ipv6_only and ":" in address, reuse_port)
        if not status:
            status = self._start_listening(backlog)
        if status:
            self._error_later(make_os_error(status, "listen", shown, port, ""))

    def _listen_path(self, path: Any, name: bytes, backlog: int) -> None:
        status = self._bind_pipe(name)
        if not status:
            self._path = path
            status = self._start_listening(backlog)
        if status:
            self._path = None
            self._error_later(make_os_error(status, "listen", path, None, ""))

    def _listen_host(
        self, host: str, port: int, backlog: int, ipv6_only: bool, reuse_port: bool
    ) -> None:
        def answered(error: BaseException | None, found: list[tuple[str, int]]) -> None:
            if error is not None or not found:
                self._report_listen_error(error or no_address(host))
                return
            chosen = found[0][0]
            for address, family in found:
                if not (family == 6 and address.lower().startswith("fe80:")):
                    chosen = address
                    break
            self._listen_tcp(chosen, port, backlog, ipv6_only, reuse_port)

        self._look_up(host, answered)

    def _report_listen_error(self, error: BaseException) -> None:
        self.emit("error", error)

    # ---- close() -------------------------------------------------------------------------------

    def close(self, callback: Callable[..., object] | None = None) -> Self:
        """Stop accepting; 'close' comes when the last connection has ended too.

        Args:
            callback: callable(error or None), once, at 'close'; the error is
                ERR_SERVER_NOT_RUNNING if the server was not listening.

        Returns the server. Open connections live on.

        Node: server.close()
        """
        self._check()
        running = self.listening
        if callback is not None and callable(callback):
            if running:
                self.once("close", lambda: callback(None))
            else:
                self.once("close", lambda: callback(_not_running()))
        self._cancel_lookup()
        self._path = None
        self._close_handle()
        self._close_if_drained()
        return self

    def get_connections(self, callback: Callable[[None, int], object]) -> Self:
        """Call callback(None, count) in the next tick, with the number of open connections.

        Raises: ArgTypeError (ERR_INVALID_ARG_TYPE).

        Node: server.getConnections()
        """
        self._check()
        check.validate_function(callback, "callback")
        self._next_tick(lambda: callback(None, self._connections))
        return self

    # None is left to Any, as in typeshed: else every caller would have to test for it.
    def address(self) -> Info | Any:
        """Return where the server listens: a mapping (address, family, port), or an IPC path.

        Returns None while it does not listen.
        Raises: OSError (syscall 'address').

        Node: server.address()
        """
        if not self.listening:
            return None
        name = self._local_name()
        if name is None:
            return self._path
        return Info(address=name[0], family=name[2], port=name[1])

    def _drop_info(self, here: tuple[Any, ...], there: tuple[Any, ...]) -> Info:
        return Info(
            localAddress=here[0],
            localPort=here[1],
            localFamily=here[2],
            remoteAddress=there[0],
            remotePort=there[1],
            remoteFamily=there[2],
        )

    def __repr__(self) -> str:
        address = self.address()
        if isinstance(address, Info):
            where = f" {address['address']}:{address['port']}"
        else:
            where = f" {address}" if address is not None else " idle"
        return f"<{type(self).__name__}{where} connections={self._connections}>"

    # Node's spellings, by tools/stubs.py
    if TYPE_CHECKING:
        getConnections = get_connections
    # Node's spellings end


def _not_running() -> StateError:
    return StateError("Server is not running.", "ERR_SERVER_NOT_RUNNING")


def _listen_arguments(
    args: tuple[Any, ...], keywords: dict[str, Any], callback: Any
) -> tuple[dict[str, Any], Callable[[], object] | None]:
    """Sort the forms of listen() into options with canonical names, and the callback."""
    if args and callable(args[-1]) and not isinstance(args[-1], os.PathLike):
        callback = args[-1] if callback is None else callback
        args = args[:-1]
    elif callback is not None and not callable(callback):
        raise check.arg_type_error("callback", "function", callback)
    first = args[0] if args else None
    if check.is_mapping(first):
        options = LISTEN_OPTIONS.read(first, keywords)
        options["_form"] = first
        return options, callback
    options = LISTEN_OPTIONS.read(None, keywords)
    if first is None:
        positional = {}
    elif is_path(first):
        positional = {"path": first}
        if len(args) > 1:
            positional["backlog"] = args[1]
    elif isinstance(first, bool) or not isinstance(first, (int, float, str)):
        raise check.arg_value_error("options", first)
    else:
        positional = {"port": first}
    if first is None or "port" in positional:
        rest = list(args[1:])
        # listen(port, backlog) is Node's form without host.
        if rest and isinstance(rest[0], int) and not isinstance(rest[0], bool):
            rest.insert(0, None)
        if rest and rest[0] is not None:
            positional["host"] = rest[0]
        if len(rest) > 1:
            positional["backlog"] = rest[1]
    return positional | options, callback


add_node_names(Server)
