"""Server: listen(), close() and what they report, and waiting for a server with asyncio.

Accepting is compiled, in ServerBase; the forms of listen() are sorted in _server/listen.py.
Argument errors raise before anything changes; what depends on the system arrives as 'error' in the
next tick.
"""

from __future__ import annotations

import sys
from _weakref import ref

from ._base import TYPE_CHECKING, cast, overload
from ._base import validation as check
from ._base.hints import hint
from ._base.info import Info
from ._base.option_table import option_set
from ._base.options import check_needed, read_choice, read_queue_bound, read_size
from ._client.connecting import no_address
from ._client.proxy import check_accepting
from ._core.admission import SILENT_REASONS
from ._core.bound import BoundBase
from ._core.errors import UV_EADDRINUSE, make_os_error
from ._core.loop_registry import current_loop
from ._core.names import add_node_names
from ._core.pipe import remove_stale
from ._core.server_base import ServerBase
from ._core.timer import set_timeout
from ._core.waiter import Waiter
from ._options.deadlines import DEADLINES, read_limits
from ._server import listen as _listen
from ._server.listen import DEFAULT_BACKLOG, LISTEN_OPTIONS, ListenPlan
from ._server.log import ExhaustedLog, OverloadLog
from ._server.named import keep, named
from ._server.shutdown import Shutdown, ShutdownResult, check_signals, check_times, on_signals
from .abort import on_abort
from .errors import StateError
from .events import Arrivals
from .socket import Socket, check_handles, keep_alive_seconds
from .streams import cannot_wait

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from types import TracebackType
    from typing import Any, Self, Unpack

    from ._core.loop import Loop
    from ._typing.infos import AddressInfo
    from ._typing.keywords import (
        Callback,
        Listening,
        ListenOptions,
        Place,
        Port,
        ServerOptions,
        Then,
    )
    from .abort import AbortSignal

SERVER_OPTIONS = option_set("Server")
RESERVED_DESCRIPTORS = 16


def _check_bounds(given: Mapping[str, Any]) -> tuple[Any, ...]:
    """Check the options that bound a server; returns what _set_bounds() takes."""
    most, refuses = read_queue_bound(given)
    budget = read_size(given, "write_budget")
    per_address = given.get("max_per_address")
    if per_address is not None:
        per_address = check.validate_integer(per_address, "options.max_per_address", 1, 2**31 - 1)
    overflow = read_choice(given, "overflow", "drop", "wait")
    check_needed(given, "overflow", "max_connections")
    exhausted = read_choice(given, "on_exhausted", "wait", "shed")
    reserve = given.get("reserve_descriptors")
    if reserve is None:
        reserve = 0 if given.get("on_exhausted") is None else RESERVED_DESCRIPTORS
    else:
        check_needed(given, "reserve_descriptors", "on_exhausted")
        reserve = check.validate_integer(reserve, "options.reserve_descriptors", 0, 2**31 - 1)
    waits = exhausted == "wait"
    reads = read_size(given, "read_budget")
    return (
        *(most, refuses, budget, per_address, overflow == "wait", waits, reserve),
        -1 if reads is None else reads,
    )


def _in_coroutine() -> bool:
    """Whether a coroutine of this thread's asyncio loop runs, which could await something."""
    import asyncio

    try:
        return asyncio.current_task() is not None
    except RuntimeError:
        return False


def later(error: Exception, value: object) -> Exception:
    """The error for a value that stands where a server's options do; with a hint at an address."""
    if isinstance(value, (int, str, tuple)):
        hint(error, "A server gets its address later: server.listen(port, host).")
    return error


class Server(ServerBase):
    """Accepts connections and emits a Socket for each.

    Args:
        options: a mapping of the options below, or the connection listener; keywords win.
        connection_listener: callable(socket), added to 'connection'.
        idle_timeout: ms, default none: destroy a socket after that long without a byte in either
            direction (ERR_SOCKET_IDLE).
        first_byte_timeout: ms, default none: destroy a socket that has received nothing that long
            after it was connected (ERR_FIRST_BYTE_TIMEOUT).
        write_timeout: ms, default none: reset a socket whose write queue is not empty and has not
            shrunk for that long (ERR_WRITE_TIMEOUT).
        max_lifetime: ms, default none: the age, plus or minus a tenth, at which a socket emits
            'shutdown'; it is ended once it has been idle for 1000 ms, and destroyed another 1000 ms
            later (ERR_MAX_LIFETIME).
        min_read_rate: (bytes, ms), default none: destroy a socket that received fewer bytes in that
            time, not counting the time in which the program was not reading (ERR_TOO_SLOW).
        allow_half_open: bool, default False: for accepted sockets.
        pause_on_connect: bool, default False: accepted sockets read nothing until resume().
        no_delay, keep_alive: bool, default False: set on accepted TCP sockets.
        keep_alive_initial_delay: ms, default 0 (the system's): before the first probe.
        high_water_mark: int, bytes, default 65536 (16384 on Windows): both high-water marks of
            accepted sockets.
        block_list: BlockList: drop connections of peers that it matches.
        max_write_buffer: int >= 0, bytes, default no bound: how much written data one accepted
            socket may queue; a write to an empty queue may be larger.
        on_full: 'destroy' or 'refuse', default 'destroy': what happens beyond that: 'destroy'
            destroys the socket with ERR_WRITE_BUFFER_FULL; 'refuse' rejects a write that might not
            fit, so that write() returns False and its callback gets that error. Only with
            max_write_buffer.
        write_budget: int >= 0, bytes, default no bound: how much the accepted sockets may queue
            together, an object that several of them queue counting once; beyond it, those with the
            longest queues are destroyed (ERR_WRITE_BUDGET).
        read_budget: int >= 0, bytes, default a share of 2 MiB, 131072 to 1048576: how much is read
            from one accepted socket in one turn of the loop before others get their turn, in
            multiples of one read; 0: up to 32 reads, as in libuv. For a pipe() inside the kernel
            the default is 524288. With TLS each record counts for 1024 bytes more.
        max_connections: int, default no limit: how many connections may be open.
        overflow: 'drop' or 'wait', default 'drop': 'drop' closes connections beyond the limit;
            'wait' leaves them in the kernel's queue until at most 95 % of the limit are open. Only
            with max_connections.
        max_per_address: int >= 1, default no limit: how many connections one remote address may
            have open (an IPv6 /64 counts as one address); others are dropped.
        on_exhausted: 'wait' or 'shed', default 'wait': when no descriptor is left, 'wait' leaves
            connections in the kernel's queue, 'shed' accepts and closes them; no effect on Windows.
        reserve_descriptors: int >= 0, default 16 with on_exhausted, else 0: how many descriptors to
            keep free for the program's own files; only with on_exhausted.
        handles: bool, default False: as for Socket(), for accepted sockets on a path.
        capture_rejections: bool, default EventEmitter.capture_rejections: if a coroutine listener
            fails, destroy its socket for 'connection', and emit 'error' for other events.
        framing: one of pyuvnet.framing: the initial framing of accepted sockets.
        proxy_protocol: mapping: read a PROXY header before 'connection': the socket then has the
            addresses of the header, and socket.proxy has the rest. Its keys: trusted, the addresses
            and CIDRs, as a list or a BlockList, that may send one (over a unix socket every peer
            may); required, bool, default True: drop other peers, False accepts them without a
            header; timeout, ms, default 5000, and limit, bytes 107..65551, default 4096, for the
            header. A header that is malformed, too long or late leads to 'drop' with reason 'proxy'
            and a detail.
        name: str, default None: its name in pyuvnet.metrics.

    Node's options are also attributes, which apply to later connections, and so are the deadlines,
    max_connections and framing. Assigning another option raises an AttributeError
    (ERR_UNKNOWN_OPTION). `drop_max_connection` is read in a worker of a cluster.

    `async with` closes the server and waits for its connections to end. `async for socket in
    server` yields the connections; it ends at 'close' and raises at 'error'. When you leave it,
    connections not yet delivered are closed.

    A socket is destroyed if a listener of 'connection' raises and nothing was registered on it. So
    is the socket of a coroutine listener that raises or is cancelled. Without a listener,
    connections stay open, as in Node.

    Events: 'listening', 'connection' (socket), 'close', 'error' (error), 'drop' (info), 'shutdown',
        'overload' (info).

    'overload' is emitted in a tick after sockets of the server were destroyed because they, or
    those of the loop, exceeded a write budget. Its info has `scope` ('server' or 'loop'), `limit`
    and `queued` in bytes, and `destroyed`, how many.

    'drop' reports a connection that was dropped. Above max_connections its info has
    localAddress, localPort, localFamily, remoteAddress, remotePort and remoteFamily, over IPC it is
    None, as in Node. Its info.reason says why: 'max_connections', 'max_per_address', 'block_list',
    'unknown_peer' (there is a block list, and the system did not give the peer's address), 'proxy'.
    For a failed accept (which Node does not report), info.reason is the code, such as 'EMFILE' or
    'ENOMEM'; unknown addresses are None. If there is no memory even for 'drop', the MemoryError is
    handled like an exception of a listener. `dropped` counts all of them.

    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE, ERR_UNKNOWN_OPTION).

    Node: net.Server
    """

    _option_functions: tuple[str, ...] = ("Server", "listen")
    _path: Any = None
    _key: str | None = None
    _unwatch: Callable[[], None] | None = None
    _proxy_options: Any = None
    _deadlines: Mapping[str, Any] = {}
    _shutdown: Shutdown | None = None
    _awaited = 0  # coroutines that wait for the server's end, or for connections
    _iterated = 0  # iterators over its connections that are not over, whether one waits or not
    _name: str | None = None
    _arrival = "connection"  # what `async for` waits for
    # In a worker of a cluster: what the primary was asked for, and what tells it of the end.
    _asked: ListenPlan | None = None
    _leave: Callable[[], object] | None = None
    # There a shutdown accepts the connections that wait as well, since nothing goes on listening.
    _takes_rest = False

    def __init__(
        self,
        options: Mapping[str, Any] | Callable[[Socket], object] | None = None,
        connection_listener: Callable[[Socket], object] | None = None,
        **keywords: Unpack[ServerOptions],
    ) -> None:
        self._refuse_second_init()
        if callable(options) and not check.is_mapping(options):
            if connection_listener is not None:
                raise later(check.arg_type_error("options", "Object", options), connection_listener)
            options, connection_listener = None, options
        elif options is not None and not check.is_mapping(options):
            raise later(check.arg_type_error("options", "Object", options), options)
        if connection_listener is not None and not callable(connection_listener):
            raise check.arg_type_error("connectionListener", "function", connection_listener)
        given = SERVER_OPTIONS.read(options, cast("dict[str, Any]", keywords))
        self._set_high_water_mark(given.get("high_water_mark"), "options.highWaterMark")
        self._set_block_list(given.get("block_list"), "options.blockList")
        self._set_framing(given.get("framing"), "options.framing")
        limits = read_limits(given)
        delay = keep_alive_seconds(given)
        proxy = given.get("proxy_protocol")
        proxies = check_accepting(proxy)
        bounds = _check_bounds(given)
        passes = check_handles(given)
        self._set_max_connections(given.get("max_connections"), "options.maxConnections")
        checked = SERVER_OPTIONS.checked(given) if given else ()
        self._init_emitter(given.get("capture_rejections"))
        self._init_server(Socket)
        if checked:
            SERVER_OPTIONS.apply(self, checked)
        self.keep_alive_initial_delay = delay
        self._set_limits(limits)
        self._deadlines = {name: given[name] for name in DEADLINES if name in given}
        if proxies is not None:
            self._proxy_options = Info(proxy)
            self._set_proxies(*proxies)
        self._set_bounds(*bounds)
        self._set_passes(passes)
        if connection_listener is not None:
            self.on("connection", connection_listener)

    def _set_name(self, name: str) -> None:
        self._name = name
        named.add(self)

    @property
    def proxy_protocol(self) -> Info | None:
        """The option for later connections; None if they begin without PROXY headers.

        Raises: what the option raises.

        Node: none
        """
        return self._proxy_options  # type: ignore[no-any-return]

    @proxy_protocol.setter
    def proxy_protocol(self, value: Any) -> None:
        self._check()
        proxies = check_accepting(value)
        self._set_proxies(*(proxies or (None, True, 0, 0)))
        self._proxy_options = None if proxies is None else Info(value)

    def _set_deadline(self, name: str, value: Any) -> None:
        """Check and store a deadline of later connections."""
        self._check()
        deadlines = {**self._deadlines, name: value}
        limits = read_limits(deadlines)
        self._deadlines = deadlines
        self._set_limits(limits)

    @property
    def idle_timeout(self) -> float | None:
        """The option for later connections, in ms; None: none. Node: none"""
        return self._deadlines.get("idle_timeout")

    @idle_timeout.setter
    def idle_timeout(self, value: float | None) -> None:
        self._set_deadline("idle_timeout", value)

    @property
    def first_byte_timeout(self) -> float | None:
        """The option for later connections, in ms; None: none. Node: none"""
        return self._deadlines.get("first_byte_timeout")

    @first_byte_timeout.setter
    def first_byte_timeout(self, value: float | None) -> None:
        self._set_deadline("first_byte_timeout", value)

    @property
    def write_timeout(self) -> float | None:
        """The option for later connections, in ms; None: none. Node: none"""
        return self._deadlines.get("write_timeout")

    @write_timeout.setter
    def write_timeout(self, value: float | None) -> None:
        self._set_deadline("write_timeout", value)

    @property
    def max_lifetime(self) -> float | None:
        """The option for later connections, in ms; None: none. Node: none"""
        return self._deadlines.get("max_lifetime")

    @max_lifetime.setter
    def max_lifetime(self, value: float | None) -> None:
        self._set_deadline("max_lifetime", value)

    @property
    def min_read_rate(self) -> tuple[int, float] | None:
        """The option for later connections, (bytes, ms); None: none. Node: none"""
        return self._deadlines.get("min_read_rate")

    @min_read_rate.setter
    def min_read_rate(self, value: tuple[int, float] | None) -> None:
        self._set_deadline("min_read_rate", value)

    # ---- listen() ------------------------------------------------------------------------------

    @overload
    def listen(
        self, place: Place | None = None, then: Then = None, /, **keywords: Unpack[Listening]
    ) -> Self: ...
    @overload
    def listen(
        self,
        place: Place | None,
        backlog: int | None,
        then: Then = None,
        /,
        **keywords: Unpack[Listening],
    ) -> Self: ...
    @overload
    def listen(
        self,
        port: Port | None,
        host: str | None,
        then: Then = None,
        /,
        **keywords: Unpack[Listening],
    ) -> Self: ...
    @overload
    def listen(
        self,
        port: Port | None,
        host: str | None,
        backlog: int | None,
        then: Then = None,
        /,
        **keywords: Unpack[Listening],
    ) -> Self: ...
    @overload
    def listen(
        self, options: Mapping[str, Any], then: Then = None, /, **keywords: Unpack[Listening]
    ) -> Self: ...
    @overload
    def listen(
        self, then: Callback, /, *, callback: None = None, **keywords: Unpack[ListenOptions]
    ) -> Self: ...
    def listen(
        self, *args: Any, callback: Callable[[], object] | None = None, **keywords: Any
    ) -> Self:
        """Bind and accept connections; 'listening' follows, or 'error'.

        Forms: listen(port=0, host=None, backlog=511, callback=None), listen(path, backlog=511,
        callback=None), listen(handle, backlog=511, callback=None), listen(options,
        callback=None), or keywords.

        Args:
            port: int 0..65535, or numeric text, default 0: 0 lets the system choose one.
            host: name or literal address, default '::' for both families, '0.0.0.0' without IPv6: a
                name is resolved first.
            path: str, bytes or os.PathLike: a unix socket or named pipe, used if there is no port.
            user_timeout: int, ms, default the system's: how long sent data may stay unacknowledged
                before the connection fails (TCP_USER_TIMEOUT).
            not_sent_low_water: int, bytes, default the system's: how much unsent data the kernel
                accepts (TCP_NOTSENT_LOWAT).
            receive_buffer: int, bytes, default the system's, which adapts it: the kernel's buffer,
                set before connecting (SO_RCVBUF).
            send_buffer: int, bytes, default the system's, which adapts it: the kernel's buffer, set
                before connecting (SO_SNDBUF).
            congestion: str, default the system's: a congestion control algorithm, such as 'bbr'
                (TCP_CONGESTION).
            mark: int, default none: a mark for routing and filters; needs privileges (SO_MARK).
            linger: int, seconds, default off: how long a close waits for data to be sent; 0 resets
                the connection (SO_LINGER).
            defer_accept: int, seconds, default off: accept a connection when its first data arrives
                (TCP_DEFER_ACCEPT).
            handle: BoundSocket, Server, Socket, or anything with an int `fd`: a BoundSocket is
                adopted; the system's socket of a Server or Socket is shared.
            fd: int: a bound TCP or unix socket, which the server then owns.
            backlog: int, default 511: how many connections may wait to be accepted.
            ipv6_only: exactly True: '::' accepts no IPv4.
            reuse_port: exactly True: several processes share the port (SO_REUSEPORT).
            readable_all, writable_all: exactly True: let every user connect to the path.
            mode: int 0..0o777, default what the umask leaves: the permissions of the path's file,
                which is created with them; 0o660 suits a balancer in the same group.
            group: str or int, default the process's: the group of the path's file, by name or
                number.
            unlink_stale: bool, default False: replace the file of a unix socket that no process
                accepts from any more.
            signal: AbortSignal: aborting it closes the server; no effect with a handle.
            exclusive: bool, default False: in a worker of a cluster: do not share the port with
                other workers.
            callback: callable, added as a once listener of 'listening'.

        Returns the server. Events: 'listening'; 'error' (syscall 'listen' or 'setsockopt') in the
        next tick.
        Raises: StateError (ERR_SERVER_ALREADY_LISTEN, ERR_SOCKET_HANDLE_ADOPTED), RangeError
            (ERR_SOCKET_BAD_PORT, ERR_OUT_OF_RANGE), ArgValueError (ERR_INVALID_ARG_VALUE),
            ArgTypeError (ERR_INVALID_ARG_TYPE, ERR_UNKNOWN_OPTION,
            ERR_FEATURE_UNAVAILABLE_ON_PLATFORM); on Windows OSError
            (syscall 'uv_pipe_chmod').

        Node: server.listen()
        """
        self._check()
        self._check_idle()
        plan = ListenPlan(args, keywords, callback)
        self._announce_listen(lambda: Info(LISTEN_OPTIONS.as_node(plan.options)))
        # The subscribers of that are users' code.
        self._check_idle()
        self._shutdown = None
        self._cancel_lookup()
        self._path = None
        self._asked = None
        if plan.callback is not None:
            self.once("listening", plan.callback)
        if plan.signal is not None:
            self._watch(plan.signal)
        if plan.handle is not None:
            self._listen_handle(plan.handle, plan)
        elif plan.fd is not None:
            self._key = "null:null:null"
            if not self._asks_primary(plan, None, None, None):
                self._listen_opened(self._open_fd(plan.fd), plan)
        elif plan.path is not None:
            self._listen_path(plan)
        elif plan.host:
            self._listen_host(plan)
        else:
            self._listen_tcp(plan, None)
        return self

    def _check_idle(self) -> None:
        if self.listening:
            raise StateError(
                "Listen method has been called more than once without closing.",
                "ERR_SERVER_ALREADY_LISTEN",
            )
        if self._shutdown is not None and self._shutdown.result is None:
            raise StateError("The server is shutting down", "ERR_SERVER_SHUTTING_DOWN")

    def _watch(self, signal: AbortSignal) -> None:
        """Close the server when a signal is aborted; if it is, in the next tick."""
        self._forget_signal()
        if signal.aborted:
            self._next_tick(self.close)
        else:
            self._unwatch = on_abort(signal, self.close)

    def _forget_signal(self) -> None:
        undo, self._unwatch = self._unwatch, None
        if undo is not None:
            undo()

    def _listen_handle(self, source: Any, plan: ListenPlan) -> None:
        self._key = "-1:null:-1"
        status = 0
        if isinstance(source, BoundBase):
            self._take_handle(source._adopt())
        else:
            status = self._share_handle(source)
        path = getattr(source, "_path", None)
        if self._listen_opened(status, plan):
            self._path = path

    def _listen_on(self, fd: int, accepts: bool = True) -> int:
        """Listen on a descriptor that is another's too; returns a libuv status.

        It is the server's, unless opening it fails.

        Args:
            accepts: False if another one accepts, and this server gets connections by _deliver().
        """
        status = self._open_fd(fd)
        if status:
            return status
        self._key = "null:null:null"
        status = self._start_listening(self._backlog_of(None, fd), accepts)
        if status:
            self._listen_failed(make_os_error(status, "listen", None, None, ""))
        return 0

    def _listen_opened(self, status: int, plan: ListenPlan) -> bool:
        """Listen on a handle that was opened, if it was; address and port are unknown."""
        return self._begin(status, plan, None, None)

    def _begin(self, status: int, plan: ListenPlan, address: Any, port: int | None) -> bool:
        """Listen on the handle, unless opening it came to a bad status; else 'error' follows.

        Args:
            address, port: for the error.
        """
        call = "listen"
        if not status and plan.kernel:
            status = self._set_options(plan.kernel)
            call = "setsockopt" if status else call
        if not status:
            status = self._start_listening(self._backlog_of(plan.backlog, plan.fd))
        if status:
            self._listen_failed(make_os_error(status, call, address, port, ""))
        return not status

    def _backlog_of(self, given: int | None, fd: int | None) -> int:
        """The limit of the queue: the given one, that of a descriptor which listens, the default.

        systemd's sockets have the limit that their units say, and listen() would replace it.
        """
        if given is not None:
            return given
        present = -1 if fd is None else self._present_backlog()
        return DEFAULT_BACKLOG if present < 0 else present

    # In a worker of a cluster the primary has the handle, and gives it to each worker that asks.

    def _asks_primary(
        self, plan: ListenPlan, address: Any, port: int | None, address_type: int | None
    ) -> bool:
        """Ask the primary for the handle; False: there is none, or it is not to be asked."""
        ask = _listen.ask_primary
        if ask is None or plan.exclusive:
            return False
        self._asked = plan
        ask(self, plan, address, port, address_type)
        return True

    def _listen_shared(
        self, plan: ListenPlan, fd: int, accepts: bool, leave: Callable[[], object]
    ) -> bool:
        """Listen on a descriptor of the primary's, which is the server's from then on.

        Args:
            accepts: False if the primary accepts, and this server gets connections by _deliver().
            leave: called when the handle is closed.

        Returns False, and has not taken it, if listen() is not what the server waits for any more.
        """
        if self._asked is not plan:
            return False
        self._asked = None
        status = self._open_fd(fd)
        if status:
            self._listen_failed(make_os_error(status, "listen", None, None, ""))
            return False
        self._path = plan.path
        self._leave = leave
        call = "listen"
        if plan.kernel:
            status = self._set_options(plan.kernel)
            call = "setsockopt" if status else call
        if not status:
            status = self._start_listening(self._backlog_of(plan.backlog, plan.fd), accepts)
        if status:
            self._path = None
            self._left()
            self._listen_failed(make_os_error(status, call, None, None, ""))
        return True

    def _listen_refused(
        self, plan: ListenPlan, status: int, address: Any, port: int | None
    ) -> None:
        """The primary has no handle: 'error' follows."""
        if self._asked is plan:
            self._asked = None
            self._listen_failed(make_os_error(status, "bind", address, port))

    def _left(self) -> None:
        leave, self._leave = self._leave, None
        if leave is not None:
            leave()

    def _close_handle(self) -> bool:
        closed = super()._close_handle()
        self._left()
        return closed

    def _accept_rest(self, accepts: bool = True) -> int:
        # Who waits for a shared listener is the others' to accept.
        lost = super()._accept_rest(self._leave is None or self._takes_rest)
        self._left()
        return lost

    def _listen_tcp(self, plan: ListenPlan, address: str | None) -> None:
        port = plan.port
        kind = 6 if address is not None and ":" in address else 4
        self._key = f"{kind}:{address}:{port}"
        if self._asks_primary(plan, address, port, kind):
            return
        shown = "::" if address is None else address
        status = self._bind_tcp(shown, port, plan.ipv6_only and ":" in shown, plan.reuse_port)
        if status and address is None:
            # No IPv6 here: all IPv4 addresses then.
            shown = "0.0.0.0"
            status = self._bind_tcp(shown, port, False, plan.reuse_port)
        self._key = f"{6 if ':' in shown else 4}:{shown}:{port}"
        self._begin(status, plan, shown, port)

    def _listen_path(self, plan: ListenPlan) -> None:
        path = plan.path
        self._key = f"-1:{path}:-1"
        if self._asks_primary(plan, path, -1, -1):
            return
        self._path = path
        status = self._bind_path(plan)
        if status == UV_EADDRINUSE and plan.unlink_stale and remove_stale(plan.name):
            status = self._bind_path(plan)
        if not self._begin(status, plan, path, None):
            self._path = None
        elif plan.readable_all or plan.writable_all:
            status = self._give_rights(plan.readable_all, plan.writable_all)
            if status:
                self._path = None
                raise make_os_error(status, "uv_pipe_chmod")

    def _bind_path(self, plan: ListenPlan) -> int:
        if plan.mode >= 0 or plan.group >= 0:
            return self._bind_mode(plan.name, plan.mode, plan.group)
        return self._bind_pipe(plan.name, plan.readable_all, plan.writable_all)

    def _listen_host(self, plan: ListenPlan) -> None:
        host = plan.host
        assert host is not None

        def looked_up(error: BaseException | None, found: list[tuple[str, int]]) -> None:
            if error is not None or not found:
                self._lookup_failed(error or no_address(host))
                return
            chosen = found[0][0]
            for address, family in found:
                if not (family == 6 and address.lower().startswith("fe80:")):
                    chosen = address
                    break
            self._listen_tcp(plan, chosen)

        self._look_up(host, looked_up)

    # ---- close() -------------------------------------------------------------------------------

    def close(self, callback: Callable[..., object] | None = None) -> Self:
        """Stop accepting; 'close' is emitted once the last connection has ended.

        Args:
            callback: callable(error or None), once, at 'close'; the error is
                ERR_SERVER_NOT_RUNNING if the server was not listening.

        Returns the server. Open connections continue. Events: 'close'.

        Node: server.close()
        """
        self._check()
        running = self.listening or self._moves
        if callback is not None and callable(callback):
            if running:
                self.once("close", lambda: callback(None))
            else:
                self.once("close", lambda: callback(_not_running()))
        self._forget_listening()
        self._close_handle()
        self._close_if_drained()
        return self

    def _forget_listening(self) -> None:
        self._forget_signal()
        self._asked = None
        self._cancel_lookup()
        self._path = None

    def transfer(self, loop: Loop, callback: Callable[[Self], object] | None = None) -> Self:
        """Move the listener to the loop of another thread, to which this object then belongs.

        Listeners, options and the kernel's queue of clients move with it. The server leaves when
        the current callback returns. From then on every use of it in this thread raises; in the
        other thread it is ready once the callback is called.

        Args:
            loop: Loop of another thread, as current_loop() returns it there.
            callback: callable(server), called in that thread when it has arrived.

        Returns the server. Events: 'error' here, if one of the conditions below arises before it
            leaves, and it therefore stays; 'error', then 'close', if it cannot listen there.
        Raises: StateError (ERR_WORKER_HANDLE_NOT_TRANSFERABLE) if it is not listening, is paused,
            has open connections, is shutting down, has a signal (also of shutdown_on()), if a
            coroutine waits for it or iterates over it, or if it belongs to a worker of a cluster;
            StateError (ERR_LOOP_CLOSED, ERR_QUEUE_FULL) if the loop accepts no call; ArgTypeError
            (ERR_INVALID_ARG_TYPE); OSError (syscall 'dup'). Nothing changes then.

        If the other loop has closed when the server leaves, the server closes here, after 'error';
        if it closes before the server arrives, the listener closes.

        Node: port.postMessage(server, [server])
        """
        self._check()
        if callback is not None:
            check.validate_function(callback, "callback")
        from ._core import transfer

        transfer.check_server(self)
        transfer.transfer_server(self, loop, callback)
        return self

    def _check_transfer(self) -> None:
        """Raise for what the core does not know of; for check_server()."""
        if (
            self._unwatch is not None
            or self._shutdown is not None
            or self._awaited
            or self._iterated
            or on_signals.watches(self)
        ):
            needed = "that no signal, shutdown or coroutine uses"
        elif self._leave is not None:
            needed = "that does not belong to a cluster"
        else:
            return
        raise StateError(
            f"transfer() needs a server {needed}", "ERR_WORKER_HANDLE_NOT_TRANSFERABLE"
        )

    # ---- shutdown() ----------------------------------------------------------------------------

    def shutdown(
        self,
        timeout: float = 30_000,
        *,
        lame_duck: float = 0,
        idle_grace: float = 1000,
        callback: Callable[[ShutdownResult], object] | None = None,
    ) -> Shutdown:
        """Stop gracefully: accept the waiting clients, let requests finish, end within `timeout`.

        For `lame_duck` ms the server goes on as before, so that a balancer can notice. Then it
        accepts the clients in the kernel's queue, closes the listener, and every open socket emits
        'shutdown', in which a protocol can say goodbye. Each socket is ended, with end(), once it
        is idle: nothing is queued in either direction, no byte has moved for `idle_grace` ms since
        'shutdown', and socket.busy is not True; with socket.busy False it is idle at once. Writing
        to it afterwards is refused without an 'error'. `timeout` ms after the call, the sockets
        that are left are destroyed: a request that takes longer gets no answer.

        Args:
            timeout: ms, default 30000: how long the shutdown may take, including `lame_duck`.
            lame_duck: ms, default 0: at most `timeout`.
            idle_grace: ms, default 1000: how long a socket has to be silent before it is ended, so
                that a request on its way is not cut off.
            callback: callable(result), called once, when the server has closed.

        Returns: an awaitable of a ShutdownResult(ended, destroyed, unaccepted), which is set after
            'close'. A second call returns the same awaitable; the earlier end of `timeout` applies,
            and the other two arguments have no effect. A server that is not running is done at
            once.
        Events: 'shutdown' now, 'close'.
        Raises: ArgTypeError (ERR_INVALID_ARG_TYPE), RangeError (ERR_OUT_OF_RANGE).

        Node: none
        """
        self._check()
        times = check_times(timeout, lame_duck, idle_grace)
        if callback is not None:
            check.validate_function(callback, "callback")
        shutdown = self._shutdown
        # One that is over, and an end by close() since, is not what this call is about.
        if shutdown is None:
            shutdown = self._shutdown = Shutdown(self)
            shutdown.call(callback)
            shutdown.begin(*times)
        else:
            shutdown.call(callback)
            shutdown.shorten(times[0])
        return shutdown

    def shutdown_on(
        self,
        *signals: str | int,
        timeout: float = 30_000,
        lame_duck: float = 0,
        idle_grace: float = 1000,
    ) -> Self:
        """Call shutdown() at the first of these signals, and destroy all sockets at the second.

        Once the last server has closed, run() returns. run(main()) returns when main() does, so let
        it wait for a server, with serve_forever(), wait_closed(), the result of shutdown(), or
        `async for`; a main() that waits for anything else is cancelled. A third signal, and any
        signal after the shutdown, has the effect that it had before this call.

        Args:
            signals: names such as "SIGTERM", or numbers; if called again for a signal, the last
                call applies.
            timeout, lame_duck, idle_grace: as for shutdown().

        Returns the server.
        Raises: ArgTypeError (ERR_MISSING_ARGS, ERR_INVALID_ARG_TYPE, ERR_UNKNOWN_SIGNAL),
            ArgValueError (ERR_INVALID_ARG_VALUE) for a signal that no program can handle,
            RangeError (ERR_OUT_OF_RANGE), StateError (ERR_WRONG_THREAD) in any thread but the main
            one.

        Node: none
        """
        self._check()
        times = check_times(timeout, lame_duck, idle_grace)
        on_signals.watch(self, check_signals(signals), times)
        return self

    @property
    def shutting_down(self) -> bool:
        """True from shutdown() on, until the server listens again.

        Node: none
        """
        return self._shutdown is not None

    @property
    def _has_shut_down(self) -> bool:
        """Whether a shutdown is over, and the server has not listened again since."""
        return self._shutdown is not None and self._shutdown.result is not None

    def _is_down(self) -> None:
        self._end_logs()
        if self._shutdown is not None:
            self._shutdown.over()

    def _end_logs(self) -> None:
        """Log what is still to be logged, and end the timers for it."""
        timer, self._log_timer = self._log_timer, None
        if timer is not None:
            # It would keep the server for the rest of its second.
            timer.close()
            self._log_new_drops(sys.modules["logging"], False)
        overloads, self._overload_log = self._overload_log, None
        if overloads is not None:
            overloads.close()
        exhausted, self._exhausted_log = self._exhausted_log, None
        if exhausted is not None:
            exhausted.close()

    @overload
    def get_connections(self, callback: None = None) -> Waiter[int]: ...
    @overload
    def get_connections(self, callback: Callable[[None, int], object]) -> Self: ...
    def get_connections(
        self, callback: Callable[[None, int], object] | None = None
    ) -> Self | Waiter[int]:
        """Call callback(None, count) in the next tick, with the number of open connections.

        Args:
            callback: callable(None, count). In a coroutine it may be left out: then what is
                returned can be awaited for the count.

        Raises: ArgTypeError (ERR_INVALID_ARG_TYPE).

        Node: server.getConnections()
        """
        self._check()
        if callback is None and _in_coroutine():
            answer: Waiter[int] = Waiter()
            self._next_tick(lambda: answer.set_result(self._connections))
            return answer
        callback = check.validate_function(callback, "callback")
        self._next_tick(lambda: callback(None, self._connections))
        return self

    # None is left to Any, as in typeshed: else every caller would have to test for it.
    def address(self) -> AddressInfo | Any:
        """Return the address of the server: a mapping (address, family, port), or an IPC path.

        Returns None while it is not listening.
        Raises: OSError (syscall 'address').

        Node: server.address()
        """
        if not self.listening:
            return None
        name = self._local_name()
        if name is None:
            return self._path
        return Info(address=name[0], family=name[2], port=name[1])

    @property
    def connection_key(self) -> str | None:
        """The address passed to listen(), as 'family:address:port'; None before.

        Node: server._connectionKey
        """
        return self._key

    _connectionKey = connection_key

    # ---- asyncio -------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Return the server. Node: none"""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the server and wait until its connections are gone; not listening: no wait.

        If the body raised or was cancelled, or the waiting is, the connections are destroyed;
        Node's waits in any case.

        Node: server[Symbol.asyncDispose]()
        """
        try:
            if self._open:
                self.close()
            if error is not None:
                self._destroy_sockets()
            if not cannot_wait(error):
                await self.wait_closed()
        except StateError as failure:
            # A closed loop has closed the server.
            if failure.code != "ERR_LOOP_CLOSED":
                raise
        except BaseException:
            self._destroy_sockets()
            raise

    async def serve_forever(self) -> None:
        """Wait until the server is closed; cancelling the wait closes it.

        The server accepts from listen() on, whether or not you wait here. After a cancellation its
        connections continue; leaving `async with server` destroys them.

        Raises: StateError (ERR_SERVER_NOT_RUNNING) if listen() was not called; the error of a
            server that cannot listen; CancelledError.

        Node: none
        """
        self._check()
        try:
            await self._until_closed(True)
        except Exception:
            raise
        except BaseException:
            try:
                # Another task that waits here may have closed it.
                if self._open:
                    self.close()
            except StateError:
                pass  # Its loop is closed.
            raise

    async def wait_closed(self) -> None:
        """Wait for 'close': until the server is closed and its connections have ended.

        Returns immediately if the server is not listening and has no connections.

        Node: none
        """
        self._check()
        if self._running:
            await self._until_closed(False)

    async def _until_closed(self, serving: bool) -> None:
        """Wait for 'close'; while serving, also for an error, or for a server that never began."""

        def on_close() -> None:
            closed.set_result(None)

        def leave() -> None:
            self.off("close", on_close)
            if serving:
                self.off("error", closed.set_exception)

        closed: Waiter[None] = Waiter(leave)
        # In front: a listener of the program's that raises keeps those behind it from being called.
        self.prepend_listener("close", on_close)
        if serving:
            self.prepend_listener("error", closed.set_exception)
            if not self._running:
                # In a tick, behind the 'error' of a listen() that has failed.
                self._next_tick(lambda: closed.set_exception(_not_running()))
        self._awaited += 1
        try:
            await closed
        finally:
            self._awaited -= 1

    def __aiter__(self) -> AsyncIterator[Socket]:
        """Iterate over the connections from now on; ends at 'close'.

        Accepting does not wait for the body: connections that were not asked for yet queue up.
        Raises: what 'error' has.

        Node: server[Symbol.asyncIterator]()
        """
        return _Accepted(self)

    @property
    def dropped(self) -> dict[str, int]:
        """How many connections this server dropped, by reason.

        The reasons are those of 'drop' and of the metrics: 'max_connections', 'max_per_address',
        'proxy', 'block_list'; 'unknown_peer', of a peer that could not be checked against the block
        list, since the system did not give its address; and codes of failed accepts, such as
        'EMFILE' and 'ENOMEM'. Reasons that did not occur are missing. A failure that leaves the
        connection waiting counts each time it is tried, except for a lack of descriptors, unless
        on_exhausted is 'shed'.

        Node: none
        """
        counts: dict[str, int] = self._dropped
        return counts

    @property
    def name(self) -> str | None:
        """The option name: under which pyuvnet.metrics shows the server, or None. Node: none"""
        return self._name

    def stats(self) -> Info:
        """Return counters of this server, at the cost of a few reads, however many connections.

        The result is a mapping whose keys are also attributes.

        Returns:
            accepted, open, peak, closed: int, connections accepted so far, open now, open at most
                at any time, and closed;
            errors: mapping of code (or class) to int, connections that ended with an error;
            dropped: mapping of reason to int, as `dropped`;
            bytes_read, bytes_written: int, of all connections, including closed ones; queued data
                counts as written;
            queued_bytes: int, what its sockets have written and the kernel has not accepted; None
                without the option write_budget;
            listening, paused: bool; a server that listens pauses while it cannot accept, such as
                without descriptors;
            accept_queue, accept_queue_limit: int, how many connections wait in the kernel to be
                accepted, and how many may (Linux, TCP); None elsewhere.

        Node: none
        """
        self._check()
        return self._stats()

    def _stats(self) -> Info:
        """stats(), from any thread; only the server's own asks the kernel."""
        found = Info(self._counters())
        found.dropped = self._dropped
        found.accept_queue, found.accept_queue_limit = self._accept_queue() or (None, None)
        return found

    # ---- Logging -------------------------------------------------------------------------------

    _logged: Mapping[str, int] = {}
    _log_timer: Any = None
    _overload_log: OverloadLog | None = None
    _exhausted_log: ExhaustedLog | None = None

    def _log_drops(self) -> None:
        """Log which connections were dropped: at once, and then at most once a second."""
        logging = sys.modules.get("logging")
        if self._log_timer is not None or logging is None:
            # A program that logs has imported it.
            return
        self._log_new_drops(logging)

    def _log_new_drops(self, logging: Any, more: bool = True) -> None:
        self._log_timer = None
        now = {reason: self._dropped.get(reason, 0) for reason in self._dropped}
        fresh = {
            reason: count - self._logged.get(reason, 0)
            for reason, count in now.items()
            if count > self._logged.get(reason, 0) and reason not in SILENT_REASONS
        }
        self._logged = now
        if not fresh:
            return
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(fresh.items()))
        logging.getLogger("pyuvnet").warning("%s dropped connections: %s", repr(self), reasons)
        if more:
            self._log_timer = set_timeout(self._log_new_drops, 1000, logging).unref()

    def _log_exhausted(self) -> None:
        if self._exhausted_log is None:
            self._exhausted_log = ExhaustedLog(self)
        self._exhausted_log.waits()

    def _log_overload(self, count: int, scope: str, limit: int | None) -> None:
        if self._overload_log is None:
            self._overload_log = OverloadLog(self)
        self._overload_log.destroyed(count, scope, limit)

    def __del__(self) -> None:
        if self._name is not None:
            # No counter of a name goes backwards while the process lives.
            keep(self._name, {**self._counters(), "dropped": self._dropped})

    def __repr__(self) -> str:
        try:
            address = self.address()
        except OSError:
            address = "closed with its loop"
        if isinstance(address, Info):
            where = f" {address['address']}:{address['port']}"
        else:
            where = f" {address}" if address is not None else " idle"
        return f"<{type(self).__name__}{where} connections={self._connections}>"


class _Connections(Arrivals):
    """Connections for an iterator, of which their server knows as long as more may come."""

    def __init__(self, server: Server) -> None:
        super().__init__(server, server._arrival, ["close"])
        self._server = server
        server._iterated += 1

    def stop(self, error: BaseException | None) -> None:
        finished = self._finished
        super().stop(error)
        if not finished:
            self._server._iterated -= 1


class _Accepted:
    """The iterator over a server's connections.

    Dropped, by `break` or because the task was cancelled, it closes those that it has not handed
    out: nothing else knows of them.
    """

    _arrivals: Arrivals | None = None

    def __init__(self, server: Server) -> None:
        self._loop = current_loop()
        self._server = ref(server)
        self._arrivals = _Connections(server)

    def __aiter__(self) -> _Accepted:
        return self

    async def __anext__(self) -> Socket:
        arrivals = self._arrivals
        assert arrivals is not None
        server = self._server()
        if server is not None:
            server._awaited += 1
        try:
            item = await arrivals.next()
        finally:
            if server is not None:
                server._awaited -= 1
            # A traceback keeps this frame, for as long as the program keeps the task that it ended.
            del self
        if item is None:
            raise StopAsyncIteration
        return item[0]  # type: ignore[no-any-return]

    def __del__(self) -> None:
        if self._arrivals is not None:
            self._arrivals.finish(self._loop, _destroy_arrivals)


def _destroy_arrivals(arrivals: Arrivals) -> None:
    """Accept no more, and close those that were not handed out."""
    arrivals.stop(None)
    while (item := arrivals.first()) is not None:
        try:
            item[0].destroy()
        except StateError as error:
            if error.code == "ERR_WRONG_THREAD":
                raise
            # Closed with its loop.
        arrivals.drop_first()


def _not_running() -> StateError:
    return StateError("Server is not running.", "ERR_SERVER_NOT_RUNNING")


add_node_names(Server)
