"""The primary: its settings, its workers, and what it does for them."""

from __future__ import annotations

import atexit
import os
import socket as system
import sys
from functools import partial

from .._base import TYPE_CHECKING
from .._base import validation as check
from .._base.info import Info
from .._base.options import OptionSet
from .._core.timer import set_timeout
from .._kernel import feature_unavailable
from .._passing import close_all
from .._run import next_tick
from ..events import EventEmitter
from ._channel import Channel
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
# After a process has ended, how long its channel may take to say so.
_LAST_WORDS = 1000  # ms

POLICIES = {"rr": SCHED_RR, "none": SCHED_NONE, "reuse-port": SCHED_REUSE_PORT}
SETTINGS = OptionSet(
    "setup_primary",
    [
        "exec_argv", "exec", "args", "cwd", "serialization", "silent", "stdio", "uid", "gid",
        "inspect_port", "windows_hide",
    ],
)  # fmt: skip


def default_policy() -> int:
    """The policy that a program begins with."""
    named = POLICIES.get(os.environ.get(POLICY_VARIABLE, ""))
    if named is not None:
        return named
    return SCHED_NONE if sys.platform == "win32" else SCHED_RR


class PrimaryWorker(Worker):
    """A worker, in the primary."""

    def __init__(self, primary: Primary, number: int, env: Mapping[str, str]) -> None:
        super().__init__()
        self.id = number
        self._primary = primary
        self._exit: tuple[int | None, str | None] | None = None
        self._late: Any = None
        settings = primary.settings
        advanced = settings["serialization"] == "advanced"
        here, there = system.socketpair()
        try:
            fd = there.fileno()
            inode = os.fstat(fd).st_ino
            variable = f"{number}:{fd}:{inode}:{'advanced' if advanced else 'json'}"
            options = _popen_options(settings, {**os.environ, **env, VARIABLE: variable}, fd)
            self.process = StartedProcess(_command(settings), options, self._exited)
        except BaseException:
            here.close()
            raise
        finally:
            there.close()
        self._channel = Channel(
            here.detach(), advanced, self._heard, self._internal, self._channel_closed
        )

    # ---- What it says --------------------------------------------------------------------------

    def _hears_messages(self) -> bool:
        return super()._hears_messages() or self._primary.emitter.listener_count("message") > 0

    def _emit_message(self, message: Any, handle: Any) -> None:
        # The cluster listens to each worker first.
        self._primary.emitter.emit("message", self, message, handle)
        self.emit("message", message, handle)

    def _internal(self, message: dict[str, Any], fd: int | None) -> None:
        close_all([] if fd is None else [fd])
        act = message.get("act")
        if act == "online":
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
            self._primary.leave(self, message.get("key"))
        elif act == "disconnecting":
            self._left = True
            self._channel.tell({"act": "ack", "seq": message.get("seq")})

    def offer(self, key: str, number: int, fd: int) -> None:
        """Send a connection, by a descriptor that is taken over."""
        self._channel.tell({"act": "connection", "key": key, "number": number}, fd)

    def answer(self, seq: Any, **answer: Any) -> None:
        """Answer a query."""
        fd = answer.pop("descriptor", None)
        self._channel.tell({"act": "answer", "seq": seq, **answer}, fd)

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
        """The process has ended; what it said before is heard first."""
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
            self._primary.one_less(self)

    def disconnect(self) -> Self:
        """Ask it to disconnect; see Worker.disconnect()."""
        self._left = True
        self._channel.tell({"act": "disconnect"})
        self._primary.leave_all(self, died=False)
        self._primary.forget(self)
        return self

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
        self._places: dict[str, Place] = {}
        self._living: set[PrimaryWorker] = set()
        # Callbacks of disconnect(), and whom each waits for.
        self._when_gone: list[tuple[set[PrimaryWorker], Callable[[], object]]] = []

    def set_up(self, given: Mapping[str, Any]) -> None:
        """Take settings over those that there are."""
        options, program, args = split_command(sys.orig_argv[1:])
        settings = {
            "exec_argv": options,
            "exec": program[-1] if program else None,
            "args": args,
            "cwd": None,
            "serialization": "json",
            "silent": False,
            **self.settings,
            **_checked(given),
        }
        self.settings.clear()
        self.settings.update(settings)
        if self._frozen_policy is None:
            self._frozen_policy = self.policy
        next_tick(self.emitter.emit, "setup", self.settings)

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
        """Ask all to disconnect; the callback comes when all that are there now have ended."""
        left = set(self._living)
        for worker in list(self.workers.values()):
            if worker.is_connected():
                worker.disconnect()
        if callback is not None:
            if left:
                self._when_gone.append((left, callback))
            else:
                next_tick(callback)
        for key, place in list(self._places.items()):
            if not place.workers:
                del self._places[key]
                place.close()

    def one_less(self, worker: PrimaryWorker) -> None:
        """A worker has ended, and everybody has heard of it."""
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
        """A worker is none any more."""
        self.workers.pop(worker.id, None)

    # ---- Listening places ----------------------------------------------------------------------

    def query(self, worker: PrimaryWorker, message: dict[str, Any]) -> None:
        """A worker wants to listen somewhere."""
        if worker.exited_after_disconnect:
            # It is about to close what it would get.
            return
        seq = message.get("seq")
        try:
            wanted = Wanted(message)
        except ValueError:
            worker._channel._broken("has asked for no place to listen on")
            return
        key = wanted.key
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = new_place(self._frozen_policy or self.policy, wanted)

        def answer(status: int, fd: int | None, accepts: bool) -> None:
            worker.answer(seq, status=status, key=key, accepts=accepts, descriptor=fd)

        if not place.add(worker, answer) and not place.workers:
            # Others get another chance.
            self._places.pop(key, None)

    def leave(self, worker: PrimaryWorker, key: Any) -> None:
        """A worker has closed a server."""
        place = self._places.get(key) if isinstance(key, str) else None
        if place is not None and place.remove(worker, died=False):
            del self._places[key]

    def leave_all(self, worker: PrimaryWorker, died: bool) -> None:
        """A worker listens nowhere any more."""
        for key, place in list(self._places.items()):
            if place.remove(worker, died):
                self._places.pop(key, None)
                continue
            if died:
                place.reclaim(worker)
            if isinstance(place, ReusePort):
                place.wait_for_successor(partial(self._expire, key, place))

    def _expire(self, key: str, place: Place) -> None:
        if not place.workers and self._places.get(key) is place:
            del self._places[key]
            place.close()

    def acknowledged(self, worker: PrimaryWorker, message: dict[str, Any]) -> None:
        """A worker has taken a connection, or not."""
        key, number = message.get("key"), message.get("number")
        place = self._places.get(key) if isinstance(key, str) else None
        if place is not None and isinstance(number, int):
            place.acknowledged(worker, number, message.get("accepted") is True)


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
        _stdio(found["stdio"])
    return found


def _node(name: str) -> str:
    return "execArgv" if name == "exec_argv" else name


def _stdio(given: Any) -> list[Any]:
    """What subprocess.Popen() takes for the three standard streams."""
    from subprocess import DEVNULL, PIPE

    words = {"inherit": None, "pipe": PIPE, "ignore": DEVNULL}
    if isinstance(given, str):
        given = [given] * 3
    elif isinstance(given, bytes) or not hasattr(type(given), "__iter__"):
        raise check.arg_type_error("settings.stdio", "Array", given)
    # Node's list names the channel too.
    listed = [each for each in given if each != "ipc"][:3]
    found: list[Any] = []
    for each in listed:
        if each is None:
            found.append(None)
        elif isinstance(each, str):
            if each not in words:
                raise check.arg_value_error("settings.stdio", given)
            found.append(words[each])
        elif isinstance(each, bool) or not (isinstance(each, int) or hasattr(each, "fileno")):
            raise check.arg_value_error("settings.stdio", given)
        else:
            found.append(each)
    return found + [None] * (3 - len(found))


def _command(settings: Info) -> list[str]:
    """What a worker runs: the program of this process, or that of `exec`."""
    _, program, _ = split_command(sys.orig_argv[1:])
    if not program or settings["exec"] != program[-1]:
        if settings["exec"] is None:
            raise check.arg_value_error(
                "settings.exec", None, "is needed where no program runs", "there is no program"
            )
        program = [settings["exec"]]
    return [sys.executable, *settings["exec_argv"], *program, *settings["args"]]


def _popen_options(settings: Info, env: Mapping[str, str], fd: int) -> dict[str, Any]:
    from subprocess import PIPE

    options: dict[str, Any] = {"env": env, "pass_fds": (fd,), "cwd": settings["cwd"]}
    if settings.get("stdio") is not None:
        streams = _stdio(settings["stdio"])
    else:
        streams = [PIPE] * 3 if settings["silent"] else [None] * 3
    options["stdin"], options["stdout"], options["stderr"] = streams
    if settings.get("uid") is not None:
        options["user"] = settings["uid"]
    if settings.get("gid") is not None:
        options["group"] = settings["gid"]
    return options
