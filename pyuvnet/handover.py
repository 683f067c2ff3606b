"""Hand a server's listener over to a new version of the program, without losing a client.

    await pyuvnet.handover.spawn([sys.executable, "server.py"], server)

The successor gets the listening descriptors as from systemd: `net.listen_fds()` finds them. It
calls `pyuvnet.handover.ready()` once it accepts; then the server here shuts down. Connections that
wait in the kernel's queue wait in the same queue all the time.

Node: none
"""

from __future__ import annotations

import os
import sys
from _thread import allocate_lock

from ._aio.tasks import GoesOn
from ._base import TYPE_CHECKING, partial
from ._base import validation as check
from ._core.loop import in_main_thread
from ._core.loop_registry import current_loop
from ._core.names import add_node_names
from ._core.timer import set_timeout
from ._core.waiter import Waiter
from ._options.kernel import feature_unavailable
from ._server.passing import close_all
from ._server.shutdown import check_times, on_signals
from ._server.systemd import FIRST_FD, announce_successor
from .errors import StateError
from .server import Server
from .socket import Socket

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
    from typing import Any

VARIABLE = "PYUVNET_HANDOVER"
# ms, the latter two as of server.shutdown().
READY_TIMEOUT = 10_000
SHUTDOWN_TIMEOUT = 30_000
IDLE_GRACE = 1_000
# From the polite signal to the other one, and between two looks at whether a process is gone.
_PATIENCE = 500
_LOOK = 10
# How often, and after how long, a service manager that could not be reached is notified again.
_ANNOUNCEMENTS = 50
_ANNOUNCE_AGAIN = 100
# Only a process knows its own number, and it has to be in its environment before it begins.
_SHELL = f'export LISTEN_PID=$$ {VARIABLE}="$$:$1"; shift; exec "$@"'

# What the successor sends: one line. A later version may send more words with it.
_READY = b"ready"
_LONGEST_LINE = 1000

_under_way: _Handover | None = None
# Held while there is one, in whichever thread.
_one = allocate_lock()


def spawn(
    argv: Sequence[str | bytes | os.PathLike[str]],
    server: Server | Sequence[Server] | Mapping[str, Server],
    ready_timeout: float = READY_TIMEOUT,
    callback: Callable[[Exception | None, int | None], object] | None = None,
    *,
    timeout: float = SHUTDOWN_TIMEOUT,
    idle_grace: float = IDLE_GRACE,
) -> Awaitable[int]:
    """Start a successor with a server's listener, and shut the server down once it is ready.

    The successor has this process's environment, standard streams and working directory, and the
    descriptors as LISTEN_FDS says. If it is not ready in time, it is terminated. In that
    case, or if it exits, the server continues as before. If a signal of the server's shutdown_on()
    arrives before it is ready, both processes stop. There is one handover at a time. Under systemd
    the successor is announced as the new main process (MAINPID=, which needs NotifyAccess=all), and
    notify() of this process does nothing from then on.

    Args:
        argv: the program, looked up on PATH, and its arguments.
        server: Server that listens; or several, or a mapping of LISTEN_FDNAMES to them.
        ready_timeout: ms, default 10000: how long the successor may take to become ready.
        callback: callable(error or None, process id or None), once it is over; for programs without
            coroutines.
        timeout: ms, default 30000: how long connections of this process may take to end, as in
            server.shutdown().
        idle_grace: ms, default 1000: the silence after which a connection counts as idle, as in
            server.shutdown().

    Returns: an awaitable of the successor's process id, which is set once the server has closed.
        Cancelling a task that awaits it terminates the successor, unless that is ready. A failure
        that no task awaits, and for which there is no callback, is a RuntimeWarning.
    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE, ERR_FEATURE_UNAVAILABLE_ON_PLATFORM on Windows),
        ArgValueError (ERR_INVALID_ARG_VALUE), RangeError (ERR_OUT_OF_RANGE), StateError
        (ERR_SERVER_NOT_RUNNING; ERR_INVALID_STATE while another is in progress, or if the server is
        shutting down), OSError if it cannot be started. The awaitable raises StateError
        (ERR_HANDOVER_FAILED).

    Node: none
    """
    words = _words(argv)
    check.validate_number(ready_timeout, "ready_timeout", 1, 2**31 - 1)
    servers = _servers(server)
    if callback is not None:
        check.validate_function(callback, "callback")
    limit, _, grace = check_times(timeout, 0, idle_grace)
    if sys.platform == "win32":
        raise feature_unavailable("handover")
    return _begin(words, servers, ready_timeout, callback, (limit, grace))


def _begin(
    words: list[bytes],
    servers: Mapping[str, list[Any]],
    ready_timeout: float,
    callback: Callable[[Exception | None, int | None], object] | None,
    times: tuple[int, int] = (SHUTDOWN_TIMEOUT, IDLE_GRACE),
) -> _Handover:
    """Start a successor, with what was checked."""
    global _under_way
    if not _one.acquire(False):
        raise StateError("A handover is already in progress", "ERR_INVALID_STATE")
    try:
        handover = _Handover(words, servers, ready_timeout, callback, times)
    except BaseException:
        _one.release()
        raise
    _under_way = handover
    here = in_main_thread()
    stop = handover.stop
    if not here:
        # Signals are handled in the main thread, which does not wait for this one.
        stop = partial(current_loop().call_soon_threadsafe, stop)
    on_signals.handover_begun(handover.servers, stop, here)
    return handover


def ready() -> bool:
    """Report to the process that called spawn() that this one accepts connections.

    Call it once the servers listen. A second call, or one in a process that was started another
    way, does nothing.

    Returns: bool, True if another process was waiting for it.

    Node: none
    """
    pid, _, fd = os.environ.pop(VARIABLE, "").partition(":")
    if pid != str(os.getpid()) or not (fd.isascii() and fd.isdigit() and len(fd) < 10):
        return False
    try:
        os.write(int(fd), _READY + b"\n")
    except OSError:
        # The predecessor has exited, or is about to terminate this process.
        return False
    finally:
        close_all([int(fd)])
    return True


def _is_awaited() -> bool:
    """Whether another process waits for ready() in this one."""
    return os.environ.get(VARIABLE, "").partition(":")[0] == str(os.getpid())


def _words(argv: Any) -> list[bytes]:
    if isinstance(argv, (str, bytes)) or not hasattr(type(argv), "__iter__"):
        raise check.arg_type_error("argv", "Array", argv)
    words: list[bytes] = []
    for word in argv:
        if not isinstance(word, (str, bytes, os.PathLike)):
            raise check.arg_type_error("argv", "Array", argv)
        words.append(os.fsencode(word))
    if not words:
        raise check.arg_value_error("argv", argv, "must have the program as its first word")
    if any(b"\0" in word for word in words):
        raise check.arg_value_error("argv", argv, "must have words without null bytes")
    return words


def _servers(server: Any) -> dict[str, list[Server]]:
    named: dict[str, list[Server]] = {}
    if check.is_mapping(server):
        pairs = list(server.items())
    elif isinstance(server, Server):
        pairs = [("server", server)]
    elif isinstance(server, (list, tuple)):
        pairs = [("server", each) for each in server]
    else:
        raise check.arg_type_error("server", ["Server", "Array", "Object"], server)
    for name, each in pairs:
        check.validate_string(name, "server key")
        if not name.isascii() or not name.isprintable() or ":" in name or not 0 < len(name) < 256:
            raise check.arg_value_error("server key", name, "must be the name of a descriptor")
        if not isinstance(each, Server):
            raise check.arg_type_error("server", "Server", each)
        each._check()
        if not each.listening:
            raise StateError("Server is not running.", "ERR_SERVER_NOT_RUNNING")
        if each.shutting_down:
            raise StateError("The server is shutting down", "ERR_INVALID_STATE")
        named.setdefault(name, []).append(each)
    if not named:
        raise check.arg_value_error("server", server, "must be at least one server")
    return named


class _Handover(GoesOn):
    """One handover, from the start of the successor to its end, or to that of the servers.

    It can be awaited by any number of tasks, also when it is over.
    """

    # For __del__, also where the successor could not be started.
    error: StateError | None = None
    noticed = False

    def __init__(
        self,
        words: list[bytes],
        named: Mapping[str, list[Server]],
        ready_timeout: float,
        callback: Callable[[Exception | None, int | None], object] | None,
        times: tuple[int, int],
    ) -> None:
        self.callback = callback
        self.times = times
        self.servers = [server for several in named.values() for server in several]
        names = [name for name, several in named.items() for _ in several]
        self.reason = ""
        self.is_ready = False
        here, there = os.pipe()
        try:
            self.pid = _start(words, self.servers, names, there)
        except BaseException:
            os.close(here)
            raise
        finally:
            os.close(there)
        self.over = False
        self.heard = b""
        self.waiters: list[Waiter[int]] = []
        self.timer: Any = set_timeout(self._fail, ready_timeout, "was not ready in time")
        self.pipe: Any = Socket(fd=here, writable=False)
        self.pipe.on("data", self._said)
        self.pipe.on("end", lambda: self._fail("ended before it was ready"))
        self.pipe.on("error", lambda error: self._fail(f"cannot be reached: {error}"))

    def __await__(self) -> Generator[Any, None, int]:
        """Wait until it is over. Node: none"""
        self.noticed = True
        if not self.over:
            waiter: Waiter[int] = Waiter(lambda: self._left(waiter))
            self.waiters.append(waiter)
            return (yield from waiter.__await__())
        if self.error is not None:
            raise self.error
        return self.pid

    def __del__(self) -> None:
        if self.error is not None and not self.noticed:
            import warnings

            warnings.warn(str(self.error), RuntimeWarning, stacklevel=2)

    def __repr__(self) -> str:
        state = "over" if self.over else "ready" if self.is_ready else "starting"
        return f"<Handover to process {self.pid} {state}>"

    def _left(self, waiter: Waiter[int]) -> None:
        # Also called when it has its result.
        if not self.over:
            self.waiters.remove(waiter)
            self._fail("is no longer needed")

    def _said(self, chunk: bytes) -> None:
        if self.is_ready or self.reason:
            return
        self.heard += chunk
        line, end, _ = self.heard.partition(b"\n")
        if not end and len(line) <= _LONGEST_LINE:
            return
        if line.split(b" ")[0] != _READY:
            self._fail("sent something other than that it is ready")
            return
        self.is_ready = True
        self._forget()
        self._announce(_ANNOUNCEMENTS)
        left = 1
        timeout, grace = self.times

        def closed(result: object = None) -> None:
            nonlocal left
            left -= 1
            if not left:
                self._over(None, self.pid)

        for server in self.servers:
            if server._running:
                left += 1
                # The successor's now: closing must not take it away.
                server._keep_file()
                server.shutdown(timeout, idle_grace=grace, callback=closed)
        on_signals.handover_over()
        closed()

    def _announce(self, left: int) -> None:
        """Tell the service manager who the main process is; with this one it would end both."""
        try:
            announce_successor(self.pid)
        except OSError:
            # Its queue is full, or this process has no descriptor left.
            if left:
                set_timeout(self._announce, _ANNOUNCE_AGAIN, left - 1)

    def stop(self) -> None:
        """A signal stops this process: a successor that is not ready must not stay behind."""
        self._fail("was stopped with this process")

    def _fail(self, reason: str) -> None:
        """The successor is not to be: end it, and say so once it is gone."""
        from signal import SIGTERM

        if self.is_ready or self.reason:
            return
        self.reason = reason
        self._forget()
        self._signal(SIGTERM)
        self.timer = set_timeout(self._kill, _PATIENCE)
        self._look()

    def _look(self) -> None:
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            # Other code has asked for its status.
            pid, status = self.pid, None
        if not pid:
            set_timeout(self._look, _LOOK)
            return
        self.timer.close()
        how = "" if status is None else f" ({_how(status)})"
        text = f"The successor {self.reason}{how}"
        self._over(StateError(text, "ERR_HANDOVER_FAILED"), None)

    def _kill(self) -> None:
        from signal import SIGKILL

        self._signal(SIGKILL)

    def _signal(self, number: int) -> None:
        try:  # noqa: SIM105
            os.kill(self.pid, number)
        except ProcessLookupError:
            pass

    def _forget(self) -> None:
        self.timer.close()
        self.pipe.destroy()

    def _over(self, error: StateError | None, pid: int | None) -> None:
        global _under_way
        _under_way = None
        if _one.locked():
            _one.release()
        on_signals.handover_over()
        self.over = True
        self.error = error
        # They hold this object: without them it goes as soon as the program drops it.
        self.timer = self.pipe = None
        self.noticed = self.noticed or self.callback is not None
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            if error is not None:
                waiter.set_exception(error)
            else:
                waiter.set_result(self.pid)
        if self.callback is not None:
            self.callback(error, pid)


def _how(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"signal {-code}" if code < 0 else f"exit status {code}"


def _start(words: list[bytes], servers: list[Server], names: list[str], pipe: int) -> int:
    """Start a program with the descriptors of servers, from 3 on, and a pipe behind them."""
    import fcntl
    import signal

    above = FIRST_FD + len(servers) + 1
    kept: list[int] = []
    try:
        for fd in [*(server.fileno() for server in servers), pipe]:
            # Out of the way of the numbers that they are to have there.
            kept.append(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, above))
        environment = {
            name: value
            for name, value in os.environb.items()
            if name not in (b"LISTEN_PIDFDID", VARIABLE.encode())
        }
        environment[b"LISTEN_FDS"] = str(len(servers)).encode()
        environment[b"LISTEN_FDNAMES"] = ":".join(names).encode()
        shell = [b"sh", b"-c", _SHELL.encode(), b"sh", str(above - 1).encode(), *words]
        return os.posix_spawn(
            "/bin/sh",
            shell,
            environment,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, fd, FIRST_FD + index) for index, fd in enumerate(kept)
            ],
            # As in Popen(): Python ignores these.
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
        )
    finally:
        for fd in kept:
            os.close(fd)


add_node_names(globals())
