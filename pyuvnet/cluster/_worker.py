"""A worker, in its own process: its channel, and listen() by way of the primary.

begin() runs while pyuvnet is imported in a process that a primary has started. Whatever it opens is
this process's alone: the variable that names the channel's descriptor is gone from the environment,
and no program that is started inherits the descriptor.
"""

from __future__ import annotations

import atexit
import os
import sys

from .. import _listen
from .._base import TYPE_CHECKING
from .._core.errors import UV_EMFILE
from .._passing import close_all
from .._run import next_tick
from ._channel import Channel
from ._primary import VARIABLE
from ._process import WorkerProcess, signal_number
from ._workers import Worker

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Self

    from .._listen import ListenPlan
    from ..server import Server

# How long a program may take to end once its channel is gone.
_PATIENCE = 5.0  # s

own: OwnWorker | None = None


def begin() -> None:
    """Become a worker, if this process was started as one."""
    global own
    text = os.environ.pop(VARIABLE, None)
    found = None if text is None else _parse(text)
    if found is None or own is not None:
        return
    number, fd, advanced = found
    os.set_inheritable(fd, False)
    own = OwnWorker(number, fd, advanced)
    _listen.ask_primary = own._ask
    atexit.register(_at_exit)
    os.register_at_fork(after_in_child=_after_fork)


def _at_exit() -> None:
    if own is not None and own.process.pid == os.getpid():
        own._channel.leave()


def _after_fork() -> None:
    # The child is no worker, and its servers are its own.
    _listen.ask_primary = None


def _parse(text: str) -> tuple[int, int, bool] | None:
    """The number, the descriptor, and whether messages are pickled; None if it is not for us."""
    words = text.split(":")
    if len(words) != 4 or not all(word.isdigit() for word in words[:3]):
        return None
    number, fd, inode = map(int, words[:3])
    try:
        # A child of a worker that was started before the import has the text, and no such channel.
        if os.fstat(fd).st_ino != inode:
            return None
    except OSError:
        return None
    return number, fd, words[3] == "advanced"


class Shared:
    """A server of this worker whose handle is the primary's."""

    def __init__(self, server: Server, plan: ListenPlan) -> None:
        self.server, self.plan = server, plan


class OwnWorker(Worker):
    """This process, as a worker."""

    def __init__(self, number: int, fd: int, advanced: bool) -> None:
        super().__init__()
        self.id = number
        self.process = WorkerProcess(os.getpid())
        self._state = "online"
        self._servers: dict[str, Server] = {}
        self._asked: dict[int, Callable[[dict[str, Any], int | None], object]] = {}
        self._seq = 0
        self._indexes: dict[str, int] = {}
        self._channel = Channel(fd, advanced, self._heard, self._internal, self._channel_closed)
        self._channel.tell({"act": "online"})

    def _request(
        self, message: dict[str, Any], then: Callable[[dict[str, Any], int | None], object]
    ) -> None:
        self._seq += 1
        self._asked[self._seq] = then
        self._channel.tell({**message, "seq": self._seq})

    def _internal(self, message: dict[str, Any], fd: int | None) -> None:
        act = message.get("act")
        if act in ("answer", "ack"):
            then = self._asked.pop(message["seq"], None)
            if then is not None:
                then(message, fd)
                return
        elif act == "connection":
            self._connection(message, fd)
            return
        elif act == "disconnect":
            self._disconnect(True)
        close_all([] if fd is None else [fd])

    # ---- Servers -------------------------------------------------------------------------------

    def _ask(
        self,
        server: Server,
        plan: ListenPlan,
        address: Any,
        port: int | None,
        address_type: int | None,
    ) -> None:
        """Ask the primary for a handle, for listen()."""
        if not self._channel.connected:
            # Nobody shares anything with it any more.
            plan.exclusive = True
            _listen_alone(server, plan, address)
            return
        if plan.path is not None:
            name = plan.name
            address = os.fsdecode(name if name[:1] == b"\0" else os.path.abspath(name))
        wanted = f"{address}:{port}:{address_type}:{plan.fd}"
        index = self._indexes.get(wanted, 0)
        self._indexes[wanted] = index + 1
        query = {
            "act": "query",
            "address": address,
            "port": port,
            "address_type": address_type,
            "fd": plan.fd,
            "index": index,
            "backlog": plan.backlog,
            "ipv6_only": plan.ipv6_only,
            "mode": plan.mode,
            "group": plan.group,
            "unlink_stale": plan.unlink_stale,
            "readable_all": plan.readable_all,
            "writable_all": plan.writable_all,
        }
        self._request(
            {name: value for name, value in query.items() if value is not None},
            lambda answer, fd: self._answered(server, plan, query, wanted, answer, fd),
        )

    def _answered(
        self,
        server: Server,
        plan: ListenPlan,
        query: dict[str, Any],
        wanted: str,
        answer: dict[str, Any],
        fd: int | None,
    ) -> None:
        status = answer["status"]
        if status or fd is None:
            close_all([] if fd is None else [fd])
            self._indexes[wanted] -= 1
            if not status:
                # The primary's descriptor did not arrive: there was no number left for it.
                self._channel.tell({"act": "close", "key": answer["key"]})
            port = query["port"] if plan.path is None else None
            address = query["address"]
            if address is None and port is not None:
                address = "::"
            server._listen_refused(plan, status or UV_EMFILE, address, port)
            return
        key = answer["key"]

        def leave() -> None:
            if self._servers.get(key) is server:
                del self._servers[key]
                self._indexes[wanted] -= 1
                self._channel.tell({"act": "close", "key": key})

        def listening() -> None:
            if self._servers.get(key) is not server:
                # Node: an earlier listener has closed it.
                return
            name = server._local_name()
            self._channel.tell(
                {
                    "act": "listening",
                    "address": query["address"],
                    "port": query["port"] if name is None else name[1],
                    "address_type": query["address_type"],
                    "fd": query["fd"],
                }
            )

        self._servers[key] = server
        server.once("listening", listening)
        if not server._listen_shared(plan, fd, answer["accepts"], leave):
            server.remove_listener("listening", listening)
            close_all([fd])
            leave()

    def _connection(self, message: dict[str, Any], fd: int | None) -> None:
        """The primary offers a connection."""
        server = self._servers.get(message["key"])
        taken = False
        if server is not None and fd is not None and self._channel.connected:
            taken = server._would_take()
        # Before the program has it: what it does with it must not be done twice.
        self._channel.tell(
            {
                "act": "accepted",
                "key": message["key"],
                "number": message["number"],
                "accepted": taken,
            }
        )
        self._channel.flush()
        if fd is not None and not (taken and server is not None and server._deliver(fd)):
            close_all([fd])

    # ---- The end -------------------------------------------------------------------------------

    def disconnect(self) -> Self:
        """Close the servers, then the channel; see Worker.disconnect()."""
        if self._state not in ("disconnecting", "destroying"):
            self._state = "disconnecting"
            self._disconnect(False)
        return self

    def _disconnect(self, by_primary: bool) -> None:
        self._left = True
        left = 1

        def one_less(*_: object) -> None:
            nonlocal left
            left -= 1
            if left:
                return
            if by_primary or not self._channel.connected:
                self._channel.disconnect()
            else:
                # The primary is to know before it hears of the end.
                self._request(
                    {"act": "disconnecting"}, lambda answer, fd: self._channel.disconnect()
                )

        for server in list(self._servers.values()):
            left += 1
            server.close(one_less)
        one_less()

    def kill(self, signal: str | int = "SIGTERM") -> None:
        """Disconnect, and exit with code 0; see Worker.kill()."""
        signal_number(signal)
        if self._state == "destroying":
            return
        self._left = True
        if not self._channel.connected:
            _exit()
        self._state = "destroying"
        self._request({"act": "disconnecting"}, lambda answer, fd: self._channel.disconnect())

    def _channel_closed(self) -> None:
        try:
            self.emit("disconnect")
        finally:
            if not self.exited_after_disconnect or self._state == "destroying":
                _exit()


def _listen_alone(server: Server, plan: ListenPlan, address: Any) -> None:
    def listen() -> None:
        if server._asked is not plan:
            return
        server._asked = None
        if plan.fd is not None:
            server._listen_opened(server._open_fd(plan.fd), plan)
        elif plan.path is not None:
            server._listen_path(plan)
        else:
            server._listen_tcp(plan, address)

    next_tick(listen)


def _exit() -> None:
    """End the program, as process.exit(0) does in Node."""
    import threading
    import time

    def force() -> None:
        time.sleep(_PATIENCE)
        # The program holds it up: nobody is there any more for whom it could do that.
        os._exit(0)

    threading.Thread(target=force, daemon=True).start()
    sys.exit(0)
