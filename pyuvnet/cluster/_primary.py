"""The primary: its settings, its workers, and what it does for them."""

from __future__ import annotations

import atexit
import os
import socket as system
import sys
from functools import partial

from .._aio.run import next_tick
from .._base import TYPE_CHECKING
from .._base import validation as check
from .._base.info import Info
from .._base.options import OptionSet
from .._core.timer import set_timeout
from .._options.kernel import feature_unavailable
from .._server.passing import close_all
from ..events import EventEmitter
from ._channel import Channel
from ._messages import FROM_PRIMARY, FROM_WORKER
from ._process import StartedProcess, split_command
from ._scheduling import (
    SCHED_NONE,
    SCHED_REUSE_PORT,
    SCHED_RR,
    Place,
    ReusePort,
    Wanted,
    new_place,
)
from ._workers import Worker, address_info

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Self

VARIABLE = "PYUVNET_CLUSTER"
POLICY_VARIABLE = "PYUVNET_CLUSTER_SCHED_POLICY"
# How long a channel may stay open after its process has ended.
_LAST_WORDS = 1000  # ms

POLICIES = {"rr": SCHED_RR, "none": SCHED_NONE, "reuse-port": SCHED_REUSE_PORT}
SETTINGS = OptionSet(
    "setup_primary",
    [
        "exec_argv", "exec", "args", "cwd", "serialization", "silent", "stdio", "uid", "gid",
        "inspect_port", "windows_hide",
    ],
)  # fmt: skip


def _own_command() -> tuple[list[str], list[str], list[str]]:
    """The options, the program and the arguments of this process.

    A program that is a file is named by its whole path: the directory may change before a fork().
    """
    options, program, arguments = split_command(sys.orig_argv[1:])
    if len(program) == 1 and program[0] != "-" and not program[0].startswith(("-m", "-c")):
        program = [_whole_path(program[0])]
    return options, program, arguments


def _whole_path(word: str) -> str:
    """The path of the program that a command line names, also if the directory has changed since.

    The interpreter has given the main module a path that was absolute at once.
    """
    main = getattr(sys.modules.get("__main__"), "__file__", None) or ""
    if os.path.basename(main) == "__main__.py" != os.path.basename(word):
        # The program is a folder, or an archive.
        main = os.path.dirname(main)
    apart = ("", os.curdir, os.pardir)
    named = [part for part in os.path.normpath(word).split(os.sep) if part not in apart]
    # A launcher may have put another module in its place.
    is_it = os.path.normpath(main).split(os.sep)[-len(named) :] == named or not named
    return main if is_it and os.path.isabs(main) else os.path.abspath(word)


ARGUMENTS: list[str]
_OPTIONS, _PROGRAM, ARGUMENTS = _own_command()
# Not so if a launcher runs the program, and has taken its own arguments away.
_HAS_ITS_ARGUMENTS = sys.argv[1:] == ARGUMENTS


def _own_arguments() -> list[str]:
    """The arguments of this process, as the program has them by now."""
    return list(sys.argv[1:] if _HAS_ITS_ARGUMENTS else ARGUMENTS)


def default_policy() -> int:
    """The policy that a program begins with."""
    named = POLICIES.get(os.environ.get(POLICY_VARIABLE, ""))
    if named is not None and (named != SCHED_REUSE_PORT or sys.platform == "linux"):
        return named
    return SCHED_NONE if sys.platform == "win32" else SCHED_RR


class PrimaryWorker(Worker):
    """A worker, in the primary."""

    process: StartedProcess

    def __init__(self, primary: Primary, number: int, env: Mapping[str, str]) -> None:
        super().__init__()
        self.id = number
        self._primary = primary
        # Of pyuvnet.serve(): the worker whose place it takes, and what receives its reports.
        self.predecessor: PrimaryWorker | None = None
        # It is to end, and gets no connection any more.
        self.leaving = False
        self.on_report: Callable[[dict[str, Any]], object] | None = None
        self._online = False
        self._exit: tuple[int | None, str | None] | None = None
        self._late: Any = None
        settings = primary.settings
        advanced = settings["serialization"] == "advanced"
        here, there = _connection()
        try:
            fd = there.fileno()
            inode = os.fstat(fd).st_ino
            how = "advanced" if advanced else "json"
            variable = f"{number}:{fd}:{inode}:{how}:{os.getpid()}"
            options = _popen_options(settings, {**os.environ, **env, VARIABLE: variable}, fd)
            self.process = process = StartedProcess(_command(settings), options, self._exited)
            try:
                self._channel = Channel(
                    here.fileno(),
                    f"worker {number} (pid {process.pid})",
                    advanced,
                    FROM_WORKER,
                    FROM_PRIMARY,
                    self._received,
                    self._internal,
                    self._channel_closed,
                )
                here.detach()
                process._channel = self._channel
            except BaseException:
                process.abandon()
                raise
        except BaseException:
            here.close()
            raise
        finally:
            there.close()

    # ---- Messages ------------------------------------------------------------------------------

    def _listens_to_messages(self) -> bool:
        emitter = self._primary.emitter
        return super()._listens_to_messages() or emitter.listener_count("message") > 0

    def _emit_message(self, message: Any, handle: Any) -> None:
        # The cluster listens to each worker first.
        self._primary.emitter.emit("message", self, message, handle)
        self.emit("message", message, handle)

    def _internal(self, message: dict[str, Any], fd: int | None) -> None:
        close_all([] if fd is None else [fd])
        act = message["act"]
        if act == "online":
            if not self._online:
                self._online = True
                self.emit("online")
                self._primary.emitter.emit("online", self)
        elif act == "query":
            self._primary.query(self, message)
        elif act == "listening":
            address = address_info(message)
            self.emit("listening", address)
            self._primary.emitter.emit("listening", self, address)
        elif act == "accepted":
            self._primary.acknowledged(self, message)
        elif act == "close":
            self._primary.leave(self, message["key"])
        elif act == "disconnecting":
            self._left = True
            self._channel.send_internal({"act": "ack", "seq": message["seq"]})
        elif act == "serve" and self.on_report is not None:
            self.on_report(message)

    def order(self, **order: Any) -> None:
        """Send an order of pyuvnet.serve()."""
        self._channel.send_internal({**order, "act": "serve"})

    def offer(self, key: str, number: int, fd: int) -> None:
        """Send a connection, by a descriptor that is taken over."""
        self._channel.send_internal({"act": "connection", "key": key, "number": number}, fd)

    def reply(self, seq: Any, **reply: Any) -> None:
        """Send the reply to a query."""
        fd = reply.pop("descriptor", None)
        self._channel.send_internal({"act": "reply", "seq": seq, **reply}, fd)

    # ---- How it ends ---------------------------------------------------------------------------

    def _channel_closed(self) -> None:
        primary = self._primary
        primary.leave_all(self, died=not self.exited_after_disconnect)
        if self.is_dead():
            primary.forget(self)
        self._left = bool(self._left)
        try:
            self.emit("disconnect")
            primary.emitter.emit("disconnect", self)
        finally:
            if self._exit is not None:
                next_tick(self._ended)

    def _exited(self, code: int | None, signal: str | None) -> None:
        """The process has ended; 'exit' waits for its last messages."""
        self._exit = (code, signal)
        if self._channel.connected:
            self._late = set_timeout(self._channel.destroy, _LAST_WORDS)
        else:
            next_tick(self._ended)

    def _ended(self) -> None:
        if self._exit is None:
            return
        (code, signal), self._exit = self._exit, None
        if self._late is not None:
            self._late.close()
        self._primary.leave_all(self, died=True)
        self._primary.forget(self)
        self._left = bool(self._left)
        try:
            self.emit("exit", code, signal)
            self._primary.emitter.emit("exit", self, code, signal)
        finally:
            next_tick(self.process.end_streams)
            self._primary.one_less(self)

    def disconnect(self) -> Self:
        """Ask it to disconnect; see Worker.disconnect()."""
        self._left = True
        self._channel.send_internal({"act": "disconnect"})
        self._primary.leave_all(self, died=False)
        self._primary.forget(self)
        return self

    def abandon(self) -> None:
        """End it at once, and wait for that, without further events."""
        self.on_report = self._exit = None
        if self._late is not None:
            self._late.close()
        self.process.abandon()
        self._channel.leave()
        self._primary.forget(self)
        self._primary.one_less(self)

    def kill(self, signal: str | int = "SIGTERM") -> None:
        """End it by a signal; see Worker.kill()."""
        self.process.kill(signal)


class Primary:
    """What is one for each process: workers, settings, listening places.

    Args:
        emitter: where the events of the cluster are emitted.
    """

    def __init__(self, emitter: EventEmitter) -> None:
        self.emitter = emitter
        self.workers: dict[int, Worker] = {}
        self.settings = Info()
        self.policy = default_policy()
        self._frozen_policy: int | None = None
        self._number = 0
        self.places: dict[str, Place] = {}
        self._living: set[PrimaryWorker] = set()
        # Callbacks of disconnect(), and whom each waits for.
        self._when_gone: list[tuple[set[PrimaryWorker], Callable[[], object]]] = []

    def set_up(self, given: Mapping[str, Any]) -> None:
        """Change settings; what is not given stays as it is."""
        settings = Info(
            exec_argv=list(_OPTIONS),
            exec=_PROGRAM[-1] if _PROGRAM else None,
            args=_own_arguments(),
            cwd=None,
            serialization="json",
            silent=False,
        )
        # Not by unpacking: an Info has one spelling of a name, and what is given has the other.
        settings.update(self.settings)
        settings.update(_checked(given))
        self.settings.clear()
        self.settings.update(settings)
        if self._frozen_policy is None:
            self._frozen_policy = self.policy
        next_tick(self.emitter.emit, "setup", self.settings)

    @property
    def command(self) -> list[str]:
        """What runs this process's program once more, with the arguments that it began with.

        A script from any directory; `-m` looks for its module in the directory where it runs.
        """
        return [sys.executable, *_OPTIONS, *_PROGRAM, *ARGUMENTS]

    def fork(self, env: Mapping[str, str]) -> PrimaryWorker:
        """Start a worker."""
        if sys.platform == "win32":
            raise feature_unavailable("cluster.fork()")
        self.set_up({})
        worker = PrimaryWorker(self, self._number + 1, env)
        if not self._number:
            atexit.register(self._at_exit, os.getpid())
        self._number += 1
        self.workers[worker.id] = worker
        self._living.add(worker)
        next_tick(self.emitter.emit, "fork", worker)
        return worker

    def disconnect(self, callback: Callable[[], object] | None) -> None:
        """Disconnect all workers; the callback is called when all that there are now have ended."""
        left = set(self._living)
        for worker in list(self.workers.values()):
            if worker.is_connected():
                worker.disconnect()
        if callback is not None:
            if left:
                self._when_gone.append((left, callback))
            else:
                next_tick(callback)
        for key, place in list(self.places.items()):
            if not place.workers and not place.kept:
                del self.places[key]
                place.close()

    def one_less(self, worker: PrimaryWorker) -> None:
        """A worker has ended, and its 'exit' was emitted."""
        self._living.discard(worker)
        for waiting in list(self._when_gone):
            left, callback = waiting
            left.discard(worker)
            if not left:
                self._when_gone.remove(waiting)
                next_tick(callback)

    def _at_exit(self, pid: int) -> None:
        if pid == os.getpid():
            for worker in self._living:
                worker._channel.leave()

    def forget(self, worker: PrimaryWorker) -> None:
        """Take a worker out of `workers`."""
        self.workers.pop(worker.id, None)

    # ---- Listening places ----------------------------------------------------------------------

    def query(self, worker: PrimaryWorker, message: dict[str, Any]) -> None:
        """A worker wants to listen somewhere."""
        if worker.exited_after_disconnect or worker.leaving:
            # It is about to close what it would get.
            return
        seq = message["seq"]
        try:
            wanted = Wanted(message)
        except ValueError:
            worker._channel._broken("has sent an invalid request to listen")
            return
        key = wanted.key
        place = self.places.get(key)
        if place is not None and worker.id in place.workers:
            worker._channel._broken("has sent a second request to listen on the same address")
            return
        if place is None:
            place = self.places[key] = new_place(self._frozen_policy or self.policy, wanted)

        def reply(status: int, fd: int | None, accepts: bool) -> None:
            worker.reply(seq, status=status, key=key, accepts=accepts, descriptor=fd)

        if not place.add(worker, reply) and not place.workers and not place.kept:
            # The next query tries again.
            self.places.pop(key, None)
            place.close()

    def leave(self, worker: PrimaryWorker, key: str) -> None:
        """A worker has closed a server."""
        place = self.places.get(key)
        if place is not None and place.remove(worker, died=False):
            del self.places[key]

    def leave_all(self, worker: PrimaryWorker, died: bool) -> None:
        """A worker listens nowhere any more."""
        for key, place in list(self.places.items()):
            if place.remove(worker, died):
                self.places.pop(key, None)
                continue
            if died:
                place.reclaim(worker)
            if isinstance(place, ReusePort) and not place.kept:
                place.wait_for_successor(partial(self._expire, key, place))

    def _expire(self, key: str, place: Place) -> None:
        if not place.workers and self.places.get(key) is place:
            del self.places[key]
            place.close()

    def acknowledged(self, worker: PrimaryWorker, message: dict[str, Any]) -> None:
        """A worker has taken a connection, or not."""
        place = self.places.get(message["key"])
        if place is not None:
            place.acknowledged(worker, message["number"], message["accepted"])


# ---- Settings ------------------------------------------------------------------------------------


def _checked(given: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: value for name, value in given.items() if value is not None}
    for name in ("exec_argv", "args"):
        if name in found:
            value = found[name]
            if isinstance(value, (str, bytes)) or not hasattr(type(value), "__iter__"):
                raise check.arg_type_error(f"settings.{_node(name)}", "Array", value)
            found[name] = [check.validate_string(each, f"settings.{_node(name)}") for each in value]
    for name in ("exec", "cwd"):
        if name in found:
            if not isinstance(found[name], (str, os.PathLike)):
                raise check.arg_type_error(f"settings.{name}", "string", found[name])
            found[name] = os.fspath(found[name])
    for name in ("uid", "gid"):
        if name in found:
            check.validate_integer(found[name], f"settings.{name}", 0, 2**32 - 2)
    if "silent" in found:
        check.validate_boolean(found["silent"], "settings.silent")
    if "serialization" in found:
        check.validate_one_of(
            found["serialization"], "settings.serialization", ("json", "advanced")
        )
    if "stdio" in found:
        found["stdio"] = _stdio(found["stdio"])
    return found


def _node(name: str) -> str:
    return "execArgv" if name == "exec_argv" else name


def _stdio(given: Any) -> list[Any]:
    """Check the setting stdio, and return it as a list of three."""
    if isinstance(given, str):
        given = [given] * 3
    elif isinstance(given, bytes) or not hasattr(type(given), "__iter__"):
        raise check.arg_type_error("settings.stdio", "Array", given)
    # Node's list names the channel too.
    listed = [each for each in given if each != "ipc"][:3]
    for each in listed:
        if isinstance(each, str):
            valid = each in ("inherit", "pipe", "ignore")
        else:
            number = isinstance(each, int) and not isinstance(each, bool)
            valid = each is None or number or hasattr(each, "fileno")
        if not valid:
            raise check.arg_value_error("settings.stdio", given)
    return listed + ["inherit"] * (3 - len(listed))


def _connection() -> tuple[system.socket, system.socket]:
    """The two ends of a channel."""
    ends = list(system.socketpair())
    try:
        for index, end in enumerate(ends):
            if end.fileno() < 3:
                # This process has closed a standard stream. A worker would take the channel for
                # that stream, and libuv closes no descriptor with such a number.
                import fcntl

                higher = fcntl.fcntl(end.fileno(), fcntl.F_DUPFD_CLOEXEC, 3)
                end.close()
                ends[index] = system.socket(fileno=higher)
    except BaseException:
        for end in ends:
            end.close()
        raise
    return ends[0], ends[1]


def _command(settings: Info) -> list[str]:
    """What a worker runs: the program of this process, or that of `exec`."""
    program = _PROGRAM
    if not program or settings["exec"] != program[-1]:
        if settings["exec"] is None:
            raise check.arg_value_error(
                "settings.exec",
                None,
                "is required if the primary runs no program",
                "there is no program",
            )
        program = [settings["exec"]]
    return [sys.executable, *settings["exec_argv"], *program, *settings["args"]]


def _is_inherited(descriptor: int) -> bool:
    try:
        # A standard stream that is closed may be another descriptor by now.
        return os.get_inheritable(descriptor)
    except OSError:
        return False


def _popen_options(settings: Info, env: Mapping[str, str], fd: int) -> dict[str, Any]:
    from subprocess import DEVNULL, PIPE

    options: dict[str, Any] = {"env": env, "pass_fds": (fd,), "cwd": settings["cwd"]}
    streams = settings.get("stdio") or ["pipe" if settings["silent"] else "inherit"] * 3
    words = {"inherit": None, "pipe": PIPE, "ignore": DEVNULL}
    for name, stream in zip(("stdin", "stdout", "stderr"), streams, strict=True):
        options[name] = words[stream] if isinstance(stream, str) else stream
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if options[name] is None and not _is_inherited(number):
            # libuv never closes a socket with such a number, which the worker would have.
            options[name] = DEVNULL
    uid, gid = settings.get("uid"), settings.get("gid")
    if uid is not None:
        options["user"] = uid
    if gid is not None:
        options["group"] = gid
    if (uid is not None or gid is not None) and not os.geteuid() and os.getgroups():
        # As in libuv: a worker with fewer rights does not keep the groups of root.
        options["extra_groups"] = []
    return options
