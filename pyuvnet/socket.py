"""Socket: the forms of its constructor and of connect(), checked before anything changes.

How a connection is made is in _client/connecting.py; the per-chunk path is compiled, in SocketBase
and SocketMethods.
"""

from __future__ import annotations

import math
import os
import sys

from ._base import TYPE_CHECKING, cast, overload
from ._base import validation as check
from ._base.hints import hint, hint_tuple, warn_of_keep_alive
from ._base.info import Info
from ._base.option_table import option_set
from ._base.options import (
    OptionSet,
    read_high_water_mark,
    read_queue_bound,
    refuse_object_mode,
)
from ._client.connecting import Attempts, PathConnect, connect_again, defaults
from ._client.proxy import check_sending, described
from ._core import hooks
from ._core.address import is_ip
from ._core.descriptors import own_method
from ._core.dns import AI_ADDRCONFIG, AI_ALL, AI_V4MAPPED
from ._core.errors import UV_EALREADY, UV_EISCONN, UV_ENOTSUP, make_os_error
from ._core.framing import checked_framing
from ._core.names import add_node_names
from ._core.passing import check_passing, pass_handles, send_descriptor
from ._core.server_base import ServerBase
from ._core.socket_methods import SocketMethods
from ._core.stream_handle import check_read_target, handle_kind
from ._options.deadlines import read_limits
from ._options.kernel import feature_unavailable, kernel_options
from ._options.paths import check_one_place, check_place, is_path, path_bytes
from .abort import abort_error, on_abort
from .blocklist import BlockList
from .boundsocket import BoundSocket
from .errors import ArgTypeError, StateError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Self, Unpack

    from ._core.loop import Loop
    from ._typing.infos import AddressInfo, ProxyInfo
    from ._typing.keywords import Connecting, ConnectOptions, Path, Port, SocketOptions, Then

SOCKET_OPTIONS = option_set("Socket")
CONNECT_OPTIONS = option_set("connect")
CONNECT_ALL = option_set("connect", "create_connection", "Socket")
MAX_DELAY = 2**31 - 1  # ms, what the kernel's seconds hold with ease


class PeerCredentials(tuple[int, int, int]):
    """Who is at the other end of a unix socket. Node: none"""

    # As collections.namedtuple() makes it; importing that takes a program's start longer.
    __slots__ = ()
    __match_args__ = _fields = ("pid", "uid", "gid")

    @property
    def pid(self) -> int:
        return self[0]

    @property
    def uid(self) -> int:
        return self[1]

    @property
    def gid(self) -> int:
        return self[2]

    def __repr__(self) -> str:
        return f"PeerCredentials(pid={self[0]}, uid={self[1]}, gid={self[2]})"


def keep_alive_seconds(options: Mapping[str, Any]) -> int:
    """Check keep_alive_initial_delay (ms) and cut it to whole seconds."""
    delay = options.get("keep_alive_initial_delay")
    if delay is None:
        return 0
    number = check.validate_number(delay, "options.keepAliveInitialDelay")
    if number > MAX_DELAY:
        raise check.range_error("options.keepAliveInitialDelay", f"<= {MAX_DELAY}", delay)
    warn_of_keep_alive("keep_alive_initial_delay", number)
    return int(number / 1000) if number > 0 else 0


def check_block_list(options: Mapping[str, Any]) -> BlockList | None:
    """Check the option block_list."""
    block_list = options.get("block_list")
    if block_list is not None and not isinstance(block_list, BlockList):
        raise check.arg_type_error("options.blockList", "net.BlockList", block_list)
    return block_list


def check_handles(options: Mapping[str, Any]) -> bool:
    """Return the option `handles`. Raises: ArgTypeError."""
    if options.get("handles") is None:
        return False
    passes: bool = check.validate_boolean(options["handles"], "options.handles")
    if passes and sys.platform == "win32":
        raise feature_unavailable("handles")
    return passes


def _check_descriptor(options: Mapping[str, Any]) -> str | None:
    """Check the option fd; returns what kind of handle it needs, None without one."""
    fd = options.get("fd")
    if fd is None or options.get("handle") is not None:
        return None
    kind = handle_kind(check.validate_int32(fd, "fd", 0))
    if kind not in ("TCP", "PIPE"):
        raise ArgTypeError(f"Unsupported fd type: {kind}", "ERR_INVALID_FD_TYPE")
    return kind


def _check_bound(options: Mapping[str, Any]) -> BoundSocket | None:
    """Check the option handle."""
    handle = options.get("handle")
    if handle is not None:
        if not isinstance(handle, BoundSocket):
            raise check.arg_type_error("options.handle", "BoundSocket", handle)
        handle._check_open()
    return handle


def _check_onread(options: Mapping[str, Any]) -> tuple[Callable[..., Any], Any] | None:
    """Check the option onread; returns its callback and its buffer."""
    onread = options.get("onread")
    if onread is None:
        return None
    if not check.is_mapping(onread):
        raise check.arg_type_error("options.onread", "object", onread)
    callback = check.validate_function(onread.get("callback"), "options.onread.callback")
    buffer = onread.get("buffer")
    if not callable(buffer):
        check_read_target(buffer)
    return callback, buffer


class Socket(SocketMethods):
    """A connection over TCP, a unix socket or a named pipe: a duplex stream.

    Args:
        options: a mapping of the options below; keywords win over it.
        allow_half_open: bool, default False: the local side stays open when the peer ends.
        readable, writable: bool, default True: False disables this side.
        high_water_mark, readable_high_water_mark, writable_high_water_mark: int >= 0, bytes,
            default 65536 (16384 on Windows): high_water_mark wins.
        no_delay: bool, default False: no Nagle's algorithm; set when connected.
        keep_alive: bool, default False: keep-alive probes; set when connected.
        keep_alive_initial_delay: ms, default 0 (the system's): before the first probe.
        type_of_service: int 0..255, default the system's: the byte in the IP header; set when
            connected.
        block_list: BlockList: do not connect to addresses that it matches.
        max_write_buffer: int >= 0, bytes, default no bound: how much written data the socket may
            queue; a write to an empty queue may be larger.
        on_full: 'destroy' or 'refuse', default 'destroy': what happens beyond that: 'destroy'
            destroys the socket with ERR_WRITE_BUFFER_FULL; 'refuse' rejects a write that might not
            fit, so that write() returns False and its callback gets that error. Only with
            max_write_buffer.
        read_budget: int >= 0, bytes, default a share of 2 MiB, 131072 to 1048576: how much is read
            in one turn of the loop before other sockets get their turn, in multiples of one read;
            0: up to 32 reads, as in libuv. For a pipe() inside the kernel the default is 524288.
            With TLS each record counts for 1024 bytes more.
        handles: bool, default False: over a unix socket, allow send_handle() to send sockets and
            servers, and emit 'handle' for those that the peer sends; without it they are closed.
        fd: int: a connected descriptor (TCP, unix socket, pipe), which the socket then owns;
            reading starts immediately. An int in place of the options means this.
        handle: BoundSocket: the address to connect from; adopted, and takes precedence over fd.
        onread: mapping of `buffer` and `callback`: each read fills the buffer, which is writable
            bytes-like or a callable that returns the next one, and calls callback(size, buffer)
            instead of emitting 'data'; if that returns False, reading stops until resume(). A
            buffer is locked (a bytearray cannot be resized) while it is in use.
        signal: AbortSignal: aborting it destroys the socket with an AbortError.
        encoding, default_encoding: str: as with set_encoding() or set_default_encoding().
        capture_rejections: bool, default EventEmitter.capture_rejections: destroy the socket if a
            coroutine listener fails.
        framing: one of pyuvnet.framing: as with set_framing().

    Events: 'lookup' (error, address, family, host), 'connectionAttempt' (ip, port, family),
        'connectionAttemptFailed' (ip, port, family, error), 'connectionAttemptTimeout' (ip,
        port, family), 'connect', 'ready', 'data' (bytes or str), 'drain', 'end', 'finish',
        'timeout', 'error' (error), 'close' (had_error), 'readable', 'pause', 'resume',
        'oversize' (bytes), 'shutdown', 'handle' (handle, data).
    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE, ERR_INVALID_FD_TYPE, ERR_UNKNOWN_ENCODING,
        ERR_UNKNOWN_OPTION, ERR_FEATURE_UNAVAILABLE_ON_PLATFORM), ArgValueError
        (ERR_INVALID_ARG_VALUE), RangeError (ERR_OUT_OF_RANGE), StateError
        (ERR_SOCKET_HANDLE_ADOPTED); OSError (syscall 'open') if the descriptor cannot be used, for
        example because another handle uses it (EEXIST).

    Node: net.Socket
    """

    if TYPE_CHECKING:
        write = SocketMethods.write  # The class's own, by own_method() below.

    _option_functions: tuple[str, ...] = ("Socket", "connect", "create_connection")
    # Of a socket that wants the descriptors that arrive with its bytes as numbers.
    _take_descriptors: Callable[[list[int], bytes], object] | None = None
    # By a worker's or the primary's send(), to the other.
    _was_sent = False
    _attempted_addresses: list[str] | None = None
    _signal: Any = None

    def __init__(
        self, options: Mapping[str, Any] | int | None = None, **keywords: Unpack[SocketOptions]
    ) -> None:
        self._refuse_second_init()
        if check.as_number(options) is not None:
            options = {"fd": options}
        if isinstance(options, (str, tuple)):
            error = check.arg_type_error("options", "object", options)
            hint(error, "A socket gets its address later: socket.connect(port, host).")
            raise error
        given = SOCKET_OPTIONS.read(options, cast("dict[str, Any]", keywords))
        refuse_object_mode(given)
        kind = _check_descriptor(given)
        bound = _check_bound(given)
        onread = _check_onread(given)
        framing = checked_framing(given.get("framing"), "options.framing")
        if framing is not None and onread is not None:
            raise check.arg_value_error(
                "options.framing", framing, "cannot be used on a socket with onread"
            )
        signal = check.validate_abort_signal(given.get("signal"), "signal")
        block_list = check_block_list(given)
        delay = keep_alive_seconds(given)
        read_mark = read_high_water_mark(given, "readable_high_water_mark")
        write_mark = read_high_water_mark(given, "writable_high_water_mark")
        most, refuses = read_queue_bound(given)
        passes = check_handles(given)
        checked = SOCKET_OPTIONS.checked(given) if given else ()
        self._init_emitter(given.get("capture_rejections"))
        self._init_socket(
            given.get("allow_half_open"),
            given.get("readable") is not False,
            given.get("writable") is not False,
            read_mark,
            write_mark,
            bool(given.get("no_delay", False)),
            delay if given.get("keep_alive") else None,
        )
        self._set_block_list(block_list)
        self._set_bound(most, refuses)
        if checked:
            SOCKET_OPTIONS.apply(self, checked)
        if framing is not None:
            self.set_framing(framing)
        if onread is not None:
            self._set_onread(*onread)
        if passes:
            self._set_passes()
        if bound is not None:
            self._adopt_bound(bound._adopt())
        elif kind is not None:
            self._open_descriptor(given["fd"], kind)
            if passes:
                pass_handles(self)
        if signal is not None:
            self._signal = signal
            self._set_undo_signal(on_abort(signal, self._aborted))

    def _aborted(self) -> None:
        self.destroy(abort_error(self._signal))

    # ---- connect() -----------------------------------------------------------------------------

    @overload
    def connect(
        self, port: Port | Path | None = None, then: Then = None, /, **keywords: Unpack[Connecting]
    ) -> Self: ...
    @overload
    def connect(
        self, port: Port, host: str | None, then: Then = None, /, **keywords: Unpack[Connecting]
    ) -> Self: ...
    @overload
    def connect(
        self,
        options: Mapping[str, Any],
        then: Then = None,
        /,
        *,
        listener: Then = None,
        **keywords: Unpack[ConnectOptions],
    ) -> Self: ...
    def connect(
        self, *args: Any, listener: Callable[[], object] | None = None, **keywords: Any
    ) -> Self:
        """Connect; 'connect' and 'ready' follow, or 'error' and 'close'.

        Forms: connect(port, host='localhost', listener=None), connect(path, listener=None),
        connect(options, listener=None), or keywords.

        Args:
            port: int 0..65535, or numeric text.
            host: name or literal address, default 'localhost'.
            path: str, bytes or os.PathLike: a unix socket or named pipe; the TCP options are
                ignored then.
            family: 4, 6, 'IPv4', 'IPv6' or 0, default 0: the family of addresses to try; 0 is both.
            hints: getaddrinfo flags, default 0: AI_ADDRCONFIG, AI_V4MAPPED and AI_ALL of the socket
                module.
            lookup: callable(host, options, callback), default the system's: must call
                callback(error), callback(None, address, family) or, if options.all is true,
                callback(None, [{'address': ..., 'family': ...}, ...]). A coroutine function returns
                (address, family), or that list. A pending lookup does not keep the loop alive.
            local_address: literal address, default the system's choice: the address to connect
                from.
            local_port: int 0..65535, or numeric text, default the system's choice: the port to
                connect from.
            auto_select_family: bool, default get_default_auto_select_family(): try all addresses of
                a name, one after another.
            auto_select_family_attempt_timeout: ms, at least 10, default
                get_default_auto_select_family_attempt_timeout(): for each attempt except the last.
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
            idle_timeout: ms, default none: destroy a socket after that long without a byte in
                either direction (ERR_SOCKET_IDLE).
            first_byte_timeout: ms, default none: destroy a socket that has received nothing that
                long after it was connected (ERR_FIRST_BYTE_TIMEOUT).
            write_timeout: ms, default none: reset a socket whose write queue is not empty and has
                not shrunk for that long (ERR_WRITE_TIMEOUT).
            max_lifetime: ms, default none: the age, plus or minus a tenth, at which a socket emits
                'shutdown'; it is ended once it has been idle for 1000 ms, and destroyed another
                1000 ms later (ERR_MAX_LIFETIME).
            min_read_rate: (bytes, ms), default none: destroy a socket that received fewer bytes in
                that time, not counting the time in which the program was not reading
                (ERR_TOO_SLOW).
            proxy_protocol: mapping: send a PROXY header before any other data. Its keys, all
                optional: version, 1 or 2 (default 2); command, 'PROXY' (default) or 'LOCAL'; source
                and destination, both or neither, each (address, port), a mapping of the two, a
                SocketAddress, or the path of a unix socket, by default the endpoints of the
                connection; tlvs, a mapping or a list of pairs, whose keys are numbers or 'alpn',
                'authority', 'unique_id', 'netns' and 'ssl'; checksum, bool, whether to add a
                CRC32c.
            listener: callable, added as a once listener of 'connect'.

        Returns the socket.
        Raises: ArgTypeError (ERR_MISSING_ARGS, ERR_INVALID_ARG_TYPE, ERR_INVALID_IP_ADDRESS,
            ERR_UNKNOWN_OPTION, ERR_FEATURE_UNAVAILABLE_ON_PLATFORM), ArgValueError
            (ERR_INVALID_ARG_VALUE), RangeError (ERR_SOCKET_BAD_PORT, ERR_OUT_OF_RANGE); nothing has
            changed then.

        Node: socket.connect()
        """
        options, callback = connect_arguments(args, keywords, listener)
        self._check()
        plan = check_connect(options)
        self._connect_checked(plan, callback)
        return self

    def _connect_checked(self, plan: dict[str, Any], listener: Callable[[], object] | None) -> None:
        bound = self._bound_kind()
        if bound is not None:
            _check_from_bound(bound, plan)
        hooks.connecting(self)
        if listener is not None:
            self.once("connect", listener)
        if self._signal is not None and self._signal.aborted and self.destroyed:
            # The abort came first: 'error' and 'close' are under way, and nothing is connected.
            return
        busy = 0
        if bound is None:
            busy = UV_EALREADY if self.connecting else UV_EISCONN if not self.pending else 0
        if busy:
            if plan["path"] is not None:
                self.destroy(make_os_error(busy, "connect", plan["path"]))
            elif busy == UV_EALREADY and is_ip(plan["host"]):
                connect_again(self._connector, plan["host"], plan["port"])
            else:
                self.destroy(make_os_error(busy, "connect", plan["host"], plan["port"]))
            return
        try:
            self._set_limits(plan["limits"])
            kind = Attempts if plan["path"] is None else PathConnect
            connector = kind(self, plan)
            self._attempted_addresses = None
            connector.start(bound is not None)
        except MemoryError:
            # Nothing would go on with it.
            self.destroy()
            raise

    # ---- Type of service -----------------------------------------------------------------------

    def set_type_of_service(self, tos: int | None = None) -> Self:
        """Set the type of service of the IP header (IPv6: traffic class).

        Args:
            tos: int 0..255. Before connect, and for IPC, it is remembered.

        Returns the socket.
        Raises: ArgTypeError (ERR_INVALID_ARG_TYPE), RangeError (ERR_OUT_OF_RANGE), OSError
            (syscall 'setTypeOfService'), but not on Windows.

        Node: socket.setTypeOfService()
        """
        self._check()
        if isinstance(tos, float) and tos != tos:
            raise check.arg_type_error("tos", "number", tos)
        status = self._set_type_of_service(check.validate_integer(tos, "tos", 0, 255))
        if status:
            raise make_os_error(status, "setTypeOfService")
        return self

    def get_type_of_service(self) -> int:
        """Return the type of service: the kernel's if connected, else the requested one, or 0.

        Raises: OSError (syscall 'getTypeOfService').

        Node: socket.getTypeOfService()
        """
        self._check()
        value = self._get_type_of_service()
        if value < 0:
            raise make_os_error(value, "getTypeOfService")
        return value

    # ---- The peer of a unix socket -------------------------------------------------------------

    def peer_credentials(self) -> PeerCredentials:
        """Return the process at the other end of a unix socket, as known to the kernel.

        Returns: a named tuple (pid, uid, gid), of the time when the peer connected, or called
            listen().
        Raises: ClosedError (ERR_SOCKET_CLOSED) without a connection; ArgTypeError
            (ERR_INVALID_HANDLE_TYPE) over TCP, (ERR_FEATURE_UNAVAILABLE_ON_PLATFORM) where the
            system does not say; OSError (syscall 'getsockopt').

        Node: none
        """
        found = self._peer_credentials()
        if isinstance(found, tuple):
            return PeerCredentials(found)
        if found == UV_ENOTSUP:
            raise feature_unavailable("peer_credentials")
        raise make_os_error(found, "getsockopt")

    # ---- Addresses -----------------------------------------------------------------------------

    # ---- Handles -------------------------------------------------------------------------------

    def send_handle(
        self,
        handle: Any,
        data: bytes | bytearray | memoryview = b"\0",
        callback: Callable[[BaseException | None], object] | None = None,
        *,
        keep_open: bool = False,
    ) -> bool:
        """Send a socket or a server to the process at the other end, with bytes of the stream.

        It arrives with 'handle', if the peer has opted in. A socket is closed here once sent; a
        server stays open, and both accept.

        Args:
            handle: Socket from which nothing was read, and with nothing buffered or queued; or a
                listening Server.
            data: bytes-like, at least one byte, default b"\\0": what it arrives with. Earlier bytes
                of the stream may arrive in the same chunk, before these.
            callback: callable(error or None), once the kernel has accepted both.
            keep_open: bool, default False: leave the socket open here too.

        Returns: bool, as write().
        Raises: ArgTypeError (ERR_INVALID_ARG_TYPE, ERR_INVALID_HANDLE_TYPE,
            ERR_FEATURE_UNAVAILABLE_ON_PLATFORM on Windows), ArgValueError (ERR_INVALID_ARG_VALUE),
            StateError (ERR_INVALID_STATE) if this socket cannot send it or the handle cannot be
            sent; ClosedError (ERR_SOCKET_CLOSED); OSError (syscall 'dup'). Nothing has changed
            then.

        Node: none (subprocess.send(message, handle))
        """
        self._check()
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise check.arg_type_error("data", ["Buffer", "TypedArray", "DataView"], data)
        data = bytes(data)
        if not data:
            raise check.arg_value_error("data", data, "must have at least one byte")
        if callback is not None:
            check.validate_function(callback, "callback")
        check.validate_boolean(keep_open, "options.keepOpen")
        check_passing(self)
        if handle is self:
            raise StateError("A connection cannot be sent over itself", "ERR_INVALID_STATE")
        return send_descriptor(self, take_descriptor(handle, keep_open), data, callback)

    def transfer(self, loop: Loop, callback: Callable[[Self], object] | None = None) -> Self:
        """Move the connection to the loop of another thread, to which this object then belongs.

        Listeners, options and timeouts move with it. Deadlines start again, and the server that
        accepted it no longer counts it. The socket leaves when the current callback returns, before
        anything is read. From then on every use of it in this thread raises; in the other thread it
        is ready once the callback is called.

        Args:
            loop: Loop of another thread, as current_loop() returns it there.
            callback: callable(socket), called in that thread when it has arrived.

        Returns the socket.
        Raises: StateError (ERR_WORKER_HANDLE_NOT_TRANSFERABLE) if it is still connecting or was
            ended, if data was read, is buffered or is queued, or if TLS, a pipe, a signal, a
            deadline or a coroutine uses it; StateError (ERR_LOOP_CLOSED, ERR_QUEUE_FULL) if the
            loop accepts no call; ClosedError (ERR_SOCKET_CLOSED) without a connection;
            ArgTypeError (ERR_INVALID_ARG_TYPE); OSError (syscall 'dup'). Nothing changes then.

        If one of these conditions arises before the socket leaves, the socket is destroyed here,
        with that error. If the other loop closes before the socket arrives, the connection closes.
        A coroutine that waits in events.once(), finished() or drained() is not noticed, and must
        have finished.

        Node: port.postMessage(socket, [socket])
        """
        self._check()
        if callback is not None:
            check.validate_function(callback, "callback")
        from ._core import transfer

        transfer.check_socket(self)
        transfer.transfer_socket(self, loop, callback)
        return self

    def address(self) -> AddressInfo:
        """Return the local end: address, family ('IPv4' or 'IPv6') and port; empty without one.

        Node: socket.address()
        """
        name = self._local_name()
        if name is None:
            return Info()  # type: ignore[return-value]
        return Info(address=name[0], family=name[2], port=name[1])  # type: ignore[return-value]

    def info(self) -> Info:
        """Return details of the connection, for logs and for finding out what is slow.

        The result is a mapping whose keys are also attributes.

        Returns:
            local_address, local_port, local_family, remote_address, remote_port, remote_family: as
                the attributes of the same names; None without them;
            age_ms: int, ms since the connection was established, in steps of 16; None without one;
            idle_ms: int, ms since bytes were last sent or received, as the kernel knows it; None
                where it does not;
            bytes_read, bytes_written, writable_length: as the attributes;
            kernel_unsent: int, bytes that the kernel has accepted and the peer has not
                acknowledged; None where the system does not say;
            tcp: mapping of what the kernel knows of a TCP connection, None without one and on
                systems that do not say. On Linux: state, rtt_us, rttvar_us, min_rtt_us, rto_us,
                retransmits (in a row, now), total_retransmits, bytes_retransmitted, lost, unacked,
                cwnd (segments), mss, path_mtu, delivery_rate and pacing_rate (bytes a second),
                not_sent (bytes), busy_us, receive_window_limited_us, send_buffer_limited_us,
                delivered (segments), bytes_acked, bytes_received, last_data_sent_ms,
                last_data_received_ms, as far as this kernel has them. On macOS: state, rtt_us,
                rttvar_us, rto_us, cwnd, mss, total_retransmits.

        It makes system calls, so do not call it for each chunk.

        Node: none
        """
        # Not at the start of a program, which may never ask.
        from ._options.tcp_info import QUIET, read_tcp_info

        age, raw, unsent = self._kernel_info()
        tcp = Info(read_tcp_info(raw)) if raw is not None else None
        quiet = [tcp[name] for name in QUIET if name in tcp] if tcp is not None else []
        ends = {
            f"{side}_{what}": getattr(self, f"{side}_{what}", None)
            for side in ("local", "remote")
            for what in ("address", "port", "family")
        }
        return Info(
            **ends,
            age_ms=age,
            idle_ms=min(quiet) if quiet else None,
            bytes_read=self.bytes_read,
            bytes_written=self.bytes_written,
            writable_length=self.writable_length,
            kernel_unsent=unsent,
            tcp=tcp,
        )

    @property
    def proxy(self) -> ProxyInfo | None:
        """What the PROXY header of an accepted connection says: a new mapping; None without one.

        version, 1 or 2; command, 'PROXY' or 'LOCAL'; the connection's own ends, local_address,
        local_port, local_family, remote_address, remote_port and remote_family, None over a unix
        socket; source_path and destination_path, of a header with unix sockets; and tlvs, a mapping
        of those that came: alpn and unique_id (bytes), authority and netns (str), ssl (a mapping:
        tls, certificate, verified, verify, version, common_name, cipher, signature_algorithm,
        key_algorithm), aws_vpc_endpoint_id (str), azure_link_id (int), and raw, a list of all as
        (type, bytes).

        Node: none
        """
        proxy = self._proxy
        return None if proxy is None else described(proxy)  # type: ignore[return-value]

    @property
    def auto_select_family_attempted_addresses(self) -> list[str] | None:
        """'ip:port' of each attempt in order; None unless there were several addresses.

        Node: socket.autoSelectFamilyAttemptedAddresses
        """
        return self._attempted_addresses

    def __repr__(self) -> str:
        peer = f" {self.remote_address}:{self.remote_port}" if self.remote_address else ""
        return f"<{type(self).__name__} {self.ready_state}{peer}>"


def take_descriptor(handle: Any, keep_open: bool) -> int:
    """A descriptor of a socket or server that is sent elsewhere, which is the caller's.

    Raises: as Socket.send_handle(), and nothing has changed.
    """
    if isinstance(handle, ServerBase):
        handle._check()
        if not handle.listening:
            raise StateError("A server that is not listening cannot be sent", "ERR_INVALID_STATE")
        try:
            return os.dup(handle.fileno())
        except OSError as error:
            raise make_os_error(-(error.errno or 0), "dup") from None
    if not isinstance(handle, Socket):
        raise ArgTypeError("This handle type cannot be sent", "ERR_INVALID_HANDLE_TYPE")
    handle._check()
    if handle.bytes_read:
        raise StateError("A socket that has been read from cannot be sent", "ERR_INVALID_STATE")
    if keep_open:
        return handle._duplicate()
    fd = handle.detach()
    handle._was_sent = True
    return fd


@overload
def create_connection(
    port: Port | Path | None = None, then: Then = None, /, **keywords: Unpack[Connecting]
) -> Socket: ...
@overload
def create_connection(
    port: Port, host: str | None, then: Then = None, /, **keywords: Unpack[Connecting]
) -> Socket: ...
@overload
def create_connection(
    options: Mapping[str, Any],
    then: Then = None,
    /,
    *,
    listener: Then = None,
    **keywords: Unpack[ConnectOptions],
) -> Socket: ...
def create_connection(
    *args: Any, listener: Callable[[], object] | None = None, **keywords: Any
) -> Socket:
    """Create a socket and connect it; returns it at once, while it is connecting.

    Forms: create_connection(port, host='localhost', listener=None), create_connection(path,
    listener=None), create_connection(options, listener=None), or keywords.

    Args:
        options: those of Socket and of Socket.connect(), and the one below.
        timeout: ms, default 0: the idle timeout: set_timeout() is called with it before connecting.
        listener: callable, added as a once listener of 'connect'.

    Raises: what Socket() and Socket.connect() raise.

    Node: net.createConnection(), net.connect()
    """
    options, callback = connect_arguments(args, keywords, listener, CONNECT_ALL)
    plan = check_connect(options)
    socket = Socket({name: options[name] for name in SOCKET_OPTIONS if name in options})
    if options.get("timeout"):
        socket.set_timeout(options["timeout"])
    socket._connect_checked(plan, callback)
    return socket


def connect_arguments(
    args: tuple[Any, ...], keywords: dict[str, Any], listener: Any, allowed: OptionSet = CONNECT_ALL
) -> tuple[dict[str, Any], Callable[[], object] | None]:
    """Sort the forms of connect() into options with canonical names, and the listener."""
    if args and callable(args[-1]) and not isinstance(args[-1], os.PathLike):
        listener = args[-1] if listener is None else listener
        args = args[:-1]
    elif listener is not None and not callable(listener):
        raise check.arg_type_error("listener", "function", listener)
    while args and args[-1] is None:
        args = args[:-1]
    first = args[0] if args else None
    if first is None:
        options = allowed.read(None, keywords)
        check_one_place(options)
        return options, listener
    if check.is_mapping(first):
        return allowed.read(first, keywords), listener
    options = allowed.read(None, keywords)
    positional = {"port": first}
    if is_path(first):
        check_place("connect", args, options.get("port"))
        positional = {"path": first}
    elif len(args) > 1:
        positional["host"] = args[1]
    for name, value in positional.items():
        # A keyword that is None is the same as one that is not given.
        if value is not None and options.get(name) is None:
            options[name] = value
    check_one_place(options)
    return options, listener


def check_connect(options: Mapping[str, Any]) -> dict[str, Any]:
    """Check the options of connect(); nothing has changed if this raises."""
    path, port, host = options.get("path"), options.get("port"), options.get("host")
    proxy = check_sending(options.get("proxy_protocol"))
    limits = read_limits(options)
    if path is not None:
        if not isinstance(path, (str, bytes, os.PathLike)):
            raise check.arg_type_error("options.path", "string", path)
        return {
            "path": path,
            "name": path_bytes(path, "options.path"),
            "proxy": proxy,
            "kernel": kernel_options(options, False),
            "limits": limits,
        }
    if port is None:
        raise check.missing_args_error(["options", "port", "path"])
    if isinstance(port, bool) or not isinstance(port, (int, float, str)):
        error = check.arg_type_error("options.port", ["number", "string"], port)
        hint_tuple(error, "connect", port)
        if callable(port):
            hint(error, "The port comes first, and a listener of 'connect' last.")
        raise error
    plan: dict[str, Any] = {"path": None, "port": check.validate_port(port, "Port")}
    plan["proxy"], plan["limits"] = proxy, limits
    plan["kernel"] = kernel_options(options)
    host = check.validate_string("" if host is None else host, "options.host") or "localhost"
    if "\0" in host:
        raise check.arg_value_error("options.host", host, "must be a string without null bytes")
    plan["host"] = host
    local_address = options.get("local_address")
    if local_address is not None:
        if not (isinstance(local_address, str) and is_ip(local_address)):
            text = isinstance(local_address, str)
            shown = local_address if text else check.notation(local_address)
            raise ArgTypeError(f"Invalid IP address: {shown}", "ERR_INVALID_IP_ADDRESS")
        local_address = check.plain_str(local_address)
    plan["local_address"] = local_address
    local_port = options.get("local_port")
    if local_port is not None:
        check.validate_number(local_port, "options.localPort")
        local_port = check.validate_port(local_port, "options.localPort")
    plan["local_port"] = local_port
    auto = options.get("auto_select_family")
    if auto is None:
        auto = defaults["auto_select_family"]
    else:
        check.validate_boolean(auto, "options.autoSelectFamily")
    plan["auto_select_family"] = auto
    limit = options.get("auto_select_family_attempt_timeout")
    if limit is None:
        limit = defaults["attempt_timeout"]
    else:
        limit = check.validate_int32(limit, "options.autoSelectFamilyAttemptTimeout", 1)
    plan["auto_select_family_attempt_timeout"] = max(limit, 10)
    plan["family"], plan["hints"] = options.get("family"), options.get("hints")
    plan["lookup"] = options.get("lookup")
    if not is_ip(host):
        if isinstance(plan["family"], str):
            plan["family"] = {"IPv4": 4, "IPv6": 6}.get(plan["family"], plan["family"])
        if plan["lookup"] is None:
            _check_lookup(plan)
        else:
            check.validate_function(plan["lookup"], "options.lookup")
    return plan


def _check_from_bound(kind: str, plan: dict[str, Any]) -> None:
    """Check that connect() can start from the handle of an adopted BoundSocket."""
    wanted = "TCP" if plan["path"] is None else "PIPE"
    if kind != wanted:
        shown = {"port": plan["port"]} if wanted == "TCP" else {"path": plan["path"]}
        reason = "cannot be used with the kind of the adopted bound socket"
        python = f"this bound socket has {'a path' if wanted == 'TCP' else 'a host and a port'}"
    elif plan.get("local_address") is not None or plan.get("local_port") is not None:
        shown = {"localAddress": plan["local_address"], "localPort": plan["local_port"]}
        reason = "localAddress and localPort cannot be used with an adopted bound socket"
        python = "local_address and local_port are those of the bound socket"
    else:
        return
    raise check.arg_value_error("options", shown, reason, python)


def _check_lookup(plan: dict[str, Any]) -> None:
    """Check what the system's lookup takes; a program's own may take other values."""
    family, hints = plan["family"], plan["hints"]
    if family is not None and (check.as_number(family) is None or family not in (0, 4, 6)):
        raise check.arg_value_error("options.family", family, "must be one of: 0, 4, 6")
    if hints is not None:
        number = check.validate_number(hints, "options.hints")
        # Node takes them as bits, what is no number of bits as none.
        whole = isinstance(number, int) or math.isfinite(number)
        bits = int(number) & 0xFFFFFFFF if whole else 0
        if bits & ~(AI_ADDRCONFIG | AI_V4MAPPED | AI_ALL):
            raise check.arg_value_error("hints", bits)
        plan["hints"] = bits


own_method(Socket, "write")
add_node_names(Socket)
