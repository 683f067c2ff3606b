"""How one connect() reaches a name, an address or a path: which step comes after which.

Owns the order of 'lookup' and 'connectionAttempt...' events and the sequential happy eyeballs
of Node: never two attempts in parallel, the last one without a time limit. connect() makes one
`Attempts` over TCP, or one `PathConnect`; the socket drops it when connected or destroyed.
"""

from __future__ import annotations

import _socket
import os
import sys
from _collections_abc import Iterable

from .._aio.tasks import start_task
from .._base import TYPE_CHECKING, partial
from .._base import validation as check
from .._base.info import Info
from .._core.address import is_ip
from .._core.connecting import ConnectSteps
from .._core.dns import AI_ADDRCONFIG
from .._core.errors import (
    UV_EALREADY,
    UV_ECANCELED,
    UV_EINVAL,
    UV_ETIMEDOUT,
    make_ip_blocked,
    make_os_error,
)
from .._core.timer import set_timeout
from ..errors import (
    AggregateError,
    ArgTypeError,
    ConnectTimeoutError,
    RangeError,
    ResolveError,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .._core.socket_base import SocketBase
    from .proxy import HeaderPlan

# Process-wide defaults of connect(); net.py has their getters and setters.
defaults = {"auto_select_family": True, "attempt_timeout": 500}


class PathConnect(ConnectSteps):
    """One connect() to a unix socket or named pipe."""

    __slots__ = ("_kernel", "_name", "_path", "_proxy")

    def __init__(self, socket: SocketBase, options: dict[str, Any]) -> None:
        self._kernel: list[tuple[int, int, Any]] = options.get("kernel") or []
        self._proxy: HeaderPlan | None = options.get("proxy")
        self._path: Any = options["path"]
        self._name: bytes = options["name"]

    def start(self, bound: bool) -> None:
        """Begin, with the one attempt that there is."""
        if not self._begin(tcp=False):
            return
        self._announce("connectionAttempt", self._path, None, None)
        # A listener may have destroyed the socket, and even begun another connect().
        if not self.is_current():
            return
        if self._kernel and not self._take_socket():
            return
        status = self._connect_pipe(self._name) if self._name else UV_EINVAL
        if status:
            self.socket.destroy(make_os_error(status, "connect", self._path))

    def _take_socket(self) -> bool:
        """Make the system's socket before the connection, for its options; False: it is over."""
        if self.socket._bound_kind() is None:
            fd = -1
            try:
                fd = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM).detach()
                # Making it may have run a finaliser. What _open() has taken, is the handle's.
                taken = self.is_current()
                if not taken or not self._open(0, fd):
                    if not taken:
                        os.close(fd)
                    return False
            except OSError as error:
                if fd >= 0:
                    os.close(fd)
                self.socket.destroy(error)
                return False
        return _apply(self, self._kernel)

    def connected(self, status: int) -> None:
        """Take the result of the attempt."""
        if not self.is_current():
            return
        if status == 0:
            self._succeed(None, None if self._proxy is None else self._proxy.make)
            return
        error = make_os_error(status, "connect", self._path)
        self._announce("connectionAttemptFailed", self._path, None, None, error)
        self.socket.destroy(error)


class Attempts(ConnectSteps):
    """One connect() over TCP, from the name to the connection or the error."""

    __slots__ = (
        "_addresses",
        "_current",
        "_errors",
        "_host",
        "_index",
        "_kernel",
        "_local_address",
        "_local_port",
        "_lookup_task",
        "_options",
        "_port",
        "_proxy",
        "_several",
        "_timer",
    )

    def __init__(self, socket: SocketBase, options: dict[str, Any]) -> None:
        self._options = options
        self._host: str = options["host"]
        self._port: int = options["port"]
        self._proxy: HeaderPlan | None = options.get("proxy")
        self._kernel: list[tuple[int, int, Any]] = options.get("kernel") or []
        self._local_address: str | None = options.get("local_address")
        self._local_port: int | None = options.get("local_port")
        self._several = False
        self._addresses: list[tuple[str, int]] = []
        self._index = 0
        self._current: tuple[str, int] | None = None
        self._errors: list[Exception] = []
        self._timer: Any = None
        self._lookup_task: Any = None

    # ---- From the name to addresses ------------------------------------------------------------

    def start(self, bound: bool) -> None:
        """Begin: a literal address in the next tick, a name with its lookup.

        Args:
            bound: the handle is bound already; then there is one attempt, and a literal address
                is tried at once, as in Node.
        """
        if not self._begin(True, self._host):
            return
        self._activity()
        family = is_ip(self._host)
        if family:
            self._addresses = [(self._host, family)]
            if bound:
                self._attempt()
            else:
                self._next_tick(self._start_literal)
            return
        wanted = self._options["family"] or 0
        self._several = (
            self._options["auto_select_family"]
            and wanted not in (4, 6)
            and self._local_address is None
            and not bound
        )
        hints = self._options["hints"] or 0
        if not hints and wanted not in (4, 6) and sys.platform != "win32":
            hints = AI_ADDRCONFIG
        if self._options["lookup"] is not None:
            self._call_lookup(self._options["lookup"], hints)
        else:
            self._look_up(self._host, wanted, hints)

    def _call_lookup(self, lookup: Callable[..., Any], hints: int) -> None:
        """Call the program's own lookup."""
        options = Info(family=self._options["family"], hints=hints)
        if self._several:
            options["all"] = True
        called = False

        def callback(error: BaseException | None = None, found: Any = None, of: Any = None) -> None:
            nonlocal called
            if error is not None and not isinstance(error, BaseException):
                raise check.arg_type_error("err", "Error", error)
            # The first call counts, and only while this connect() waits for it.
            if not called and self.is_current():
                called = True
                self._looked_up(error, found, of)

        def done(error: BaseException | None, result: Any) -> None:
            pair = isinstance(result, tuple) and len(result) == 2 and isinstance(result[0], str)
            callback(error, *(result if pair else (result,)))

        def cancelled() -> None:
            # By the program: no result will come.
            if not called and self.is_current():
                self.socket.destroy()

        try:
            result = lookup(self._host, options, callback)
            if hasattr(type(result), "__await__"):
                self._lookup_task = start_task(
                    result, "The lookup is a coroutine function", done, cancelled
                )
        except BaseException:
            # No result will come: a handle that waits for it would stay for ever.
            self.socket.destroy()
            raise

    def _looked_up(self, error: BaseException | None, found: Any, family: Any) -> None:
        """Take the result of the program's own lookup."""
        addresses: list[tuple[Any, Any]] = []
        if error is None:
            try:
                addresses = _addresses(found, family, self._several)
            except Exception as failure:
                # An iterable that fails: no other result will come.
                error = failure
        self.resolved(error, addresses)

    def _start_literal(self) -> None:
        if self.is_current():
            self._go_on()

    def _go_on(self) -> None:
        """Make the next attempt, outside any call of the program's."""
        try:
            self._attempt()
        except (MemoryError, RecursionError) as error:
            self._out_of_memory(error)

    def resolved(self, error: BaseException | None, found: list[tuple[str, int]]) -> None:
        """Take the lookup's result."""
        socket = self.socket
        self._activity()
        if error is None and not found:
            error = no_address(self._host)
        if error is not None:
            self._announce("lookup", error, None, None, self._host)
            if self.is_current():
                socket.destroy(error)
            return
        if not self._several:
            found = found[:1]
        valid: list[tuple[str, int]] = []
        refused: BaseException | None = None
        for address, family in found:
            self._announce("lookup", None, address, family, self._host)
            if not self.is_current():
                return
            problem = self._problem(address, family)
            if problem is None:
                if (address, family) not in valid:
                    valid.append((check.plain_str(address), family))
            elif refused is None:
                refused = problem
        if not valid:
            socket.destroy(refused)
            return
        self._addresses = _interleave(valid)
        self._several = len(self._addresses) > 1
        if self._several:
            socket._attempted_addresses = []
        self._attempt()

    def _problem(self, address: Any, family: Any) -> BaseException | None:
        if not (isinstance(address, str) and is_ip(address)):
            # As '%s' of util.format does it.
            shown = address if isinstance(address, str) else check.notation(address, 0)
            return ArgTypeError(f"Invalid IP address: {shown}", "ERR_INVALID_IP_ADDRESS")
        if family not in (4, 6):
            shown = family if isinstance(family, str) else check.notation(family, 0)
            problem = RangeError(
                f"Invalid address family: {shown} {self._host}:{self._port}",
                "ERR_INVALID_ADDRESS_FAMILY",
            )
            problem.host, problem.port = self._host, self._port  # type: ignore[attr-defined]
            return problem
        return None

    # ---- One attempt after another -------------------------------------------------------------

    def _attempt(self) -> None:
        socket = self.socket
        while self._index < len(self._addresses):
            address, family = self._addresses[self._index]
            self._index += 1
            if self._kernel:
                try:
                    if not self._open(family if family in (4, 6) else 0):
                        return
                except OSError as failure:
                    if not self._several:
                        socket.destroy(failure)
                        return
                    self._errors.append(failure)
                    continue
                if not _apply(self, self._kernel):
                    return
            elif self._index > 1 and not self._open():
                return
            if self._local_address is not None or self._local_port is not None:
                local = self._local_address or ("0.0.0.0" if family == 4 else "::")
                status = self._bind(local, self._local_port or 0)
                if status:
                    error: Exception = make_os_error(status, "bind", local, self._local_port)
                    if not self._several:
                        socket.destroy(error)
                        return
                    self._errors.append(error)
                    continue
            self._current = (address, family)
            blocked = self._is_blocked(address, self._port)
            if blocked and self._several:
                # Counts as failed, without having been an attempt.
                error = make_ip_blocked(address)
                self._errors.append(error)
                self._announce("connectionAttemptFailed", address, self._port, family, error)
                if not self.is_current():
                    return
                continue
            if socket._attempted_addresses is not None:
                socket._attempted_addresses.append(f"{address}:{self._port}")
            self._announce("connectionAttempt", address, self._port, family)
            if not self.is_current():
                return
            if blocked:
                socket.destroy(make_ip_blocked(address))
                return
            # A lookup may call an address of one family one of the other.
            status = UV_EINVAL
            if is_ip(address) == family:
                status = self._connect_tcp(address, self._port)
            if status == 0:
                if self._several and self._index < len(self._addresses):
                    self._timer = set_timeout(
                        self._too_late, self._options["auto_select_family_attempt_timeout"]
                    )
                    self._timer.unref()
                return
            if not self._several:
                socket.destroy(self._failure(status, local_suffix=True))
                return
            error = self._failure(status)
            self._errors.append(error)
            self._announce("connectionAttemptFailed", address, self._port, family, error)
            if not self.is_current():
                return
        self._fail()

    def connected(self, status: int) -> None:
        """Take the result of the attempt under way."""
        socket = self.socket
        self._stop_timer()
        if socket.destroyed:
            if self._several and status == UV_ECANCELED and self._current is not None:
                # Node announces an attempt that a destroy() interrupted, with several only.
                address, family = self._current
                error = self._failure(status)
                self._announce("connectionAttemptFailed", address, self._port, family, error)
            return
        if not self.is_current():
            return
        if status == 0:
            reached = self._current[0] if self._current is not None else None
            self._succeed(reached, None if self._proxy is None else self._proxy.make)
            return
        assert self._current is not None
        address, family = self._current
        error = self._failure(status)
        self._announce("connectionAttemptFailed", address, self._port, family, error)
        if not self.is_current():
            return
        if not self._several:
            socket.destroy(error)
            return
        self._errors.append(error)
        self._attempt()

    def _too_late(self) -> None:
        self._timer = None
        if not self.is_current() or self._current is None:
            return
        address, family = self._current
        error = make_os_error(UV_ETIMEDOUT, "connect", address, self._port)
        self._errors.append(error)
        self._abandon()
        self._announce("connectionAttemptTimeout", address, self._port, family)
        if self.is_current():
            self._go_on()

    def stop(self) -> None:
        """The socket was destroyed: no further attempt."""
        self._stop_timer()
        if self._lookup_task is not None:
            self._lookup_task.cancel()
            self._lookup_task = None

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.close()
            self._timer = None

    def _failure(self, status: int, local_suffix: bool = False) -> OSError:
        assert self._current is not None
        address = self._current[0]
        detail = None
        if local_suffix or (self._local_address is not None and self._local_port is not None):
            detail = local_end(self.socket, self._local_address, self._local_port)
        error = make_os_error(status, "connect", address, self._port, detail)
        if self._local_address is not None and self._local_port is not None:
            error.local_address = error.localAddress = self._local_address
            error.local_port = error.localPort = self._local_port
        return error

    def _fail(self) -> None:
        if self._errors:
            self.socket.destroy(AggregateError(self._errors))
        else:
            self.socket.destroy(
                ConnectTimeoutError("Socket connection timeout", "ERR_SOCKET_CONNECTION_TIMEOUT")
            )


def _apply(steps: ConnectSteps, options: list[tuple[int, int, Any]]) -> bool:
    """Set the options of the kernel; False: that failed, and the socket is destroyed."""
    status = steps._set_options(options)
    if status:
        steps.socket.destroy(make_os_error(status, "setsockopt"))
    return not status


def connect_again(under_way: ConnectSteps, host: str, port: int) -> None:
    """Announce a second attempt next to the first, and fail as the system would let it."""
    under_way._next_tick(partial(_connect_again, under_way, host, port))


def _connect_again(under_way: ConnectSteps, host: str, port: int) -> None:
    if not under_way.is_current():
        return
    under_way._announce("connectionAttempt", host, port, is_ip(host))
    if under_way.is_current():
        socket = under_way.socket
        socket.destroy(make_os_error(UV_EALREADY, "connect", host, port, local_end(socket)))


def local_end(socket: SocketBase, address: str | None = None, port: int | None = None) -> str:
    """What the text of a refused connect ends with: the local end, else what was asked for."""
    name = socket._local_name()
    if name:
        address, port = name[0], name[1]
    return f"- Local ({address or ''}:{port if port is not None else ''})"


def _addresses(found: Any, family: Any, several: bool) -> list[tuple[Any, Any]]:
    """Sort what a program's lookup found into pairs of address and family.

    Args:
        found: an address; if several were asked for, also an iterable of them, as mappings of
            `address` and `family` or as pairs. Anything else becomes an address that is none.
        family: of a single address.
        several: whether the lookup had the option `all`.
    """
    if not several or isinstance(found, (str, bytes)) or check.is_mapping(found):
        return [(found, family)]
    if found is None:
        return []
    if not isinstance(found, Iterable):
        return [(found, family)]
    return [
        (each.get("address"), each.get("family"))
        if check.is_mapping(each)
        else (each[0], each[1])
        if isinstance(each, (tuple, list)) and len(each) == 2
        else ([each] if isinstance(each, str) else each, None)
        for each in found
    ]


def no_address(host: str) -> ResolveError:
    """The error of a lookup that found nothing."""
    return ResolveError(_socket.EAI_NONAME, f"getaddrinfo ENOTFOUND {host}", "ENOTFOUND", host)


def _interleave(addresses: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """Alternate the families, beginning with that of the first address."""
    first = [entry for entry in addresses if entry[1] == addresses[0][1]]
    second = [entry for entry in addresses if entry[1] != addresses[0][1]]
    mixed: list[tuple[str, int]] = []
    while first or second:
        if first:
            mixed.append(first.pop(0))
        if second:
            mixed.append(second.pop(0))
    return mixed
