"""A worker, in its own process: its channel, and listen() by way of the primary.

begin() runs while pyuvnet is imported in a process that a primary has started. Whatever it opens is
this process's alone: the variable that names the channel's descriptor is gone from the environment,
and no program that is started inherits the descriptor.
"""

from __future__ import annotations

import atexit
import os
import sys
from threading import get_ident

from .._aio.run import next_tick
from .._base import TYPE_CHECKING
from .._core.errors import UV_EMFILE
from .._server import listen as _listen
from .._server.passing import close_all
from ..errors import StateError
from ._channel import Channel
from ._messages import FROM_PRIMARY, FROM_WORKER
from ._primary import VARIABLE
from ._process import WorkerProcess, signal_number
from ._workers import Worker

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol, Self

    from .._server.listen import ListenPlan
    from ..server import Server

    _Then = Callable[[dict[str, Any], int | None], object]

    class Taker(Protocol):
        """What takes the connections of a server in its place."""

        def _would_take(self) -> bool: ...
        def _deliver(self, fd: int) -> bool: ...


# What a worker of pyuvnet.serve() has besides.
SERVE_VARIABLE = "PYUVNET_SERVE"
# How long a program may take to end once its channel is gone.
_PATIENCE = 5.0  # s

own: OwnWorker | None = None
# What _watch_primary() waits on; -1: nothing.
_watched = -1


def begin() -> None:
    """Become a worker, if this process was started as one.

    Raises: StateError (ERR_IPC_CHANNEL_CLOSED) in a worker that has lost its channel on the way:
        as a primary it would start workers of its own, and each of them would again.
    """
    global own
    text = os.environ.pop(VARIABLE, None)
    found = None if text is None else _parse(text)
    if found is None or own is not None:
        return
    number, fd, advanced = found
    os.set_inheritable(fd, False)
    own = OwnWorker(number, fd, advanced)
    _listen.ask_primary = own._query
    atexit.register(_at_exit)
    os.register_at_fork(after_in_child=_after_fork)
    if SERVE_VARIABLE in os.environ:
        # Now, since the program may hang before it calls serve().
        _watch_primary(own)


def _at_exit() -> None:
    if own is not None and own.process.pid == os.getpid():
        own._channel.leave()


def _after_fork() -> None:
    # The child is no worker, and its servers are its own.
    _listen.ask_primary = None
    # The primary waits for the end of the channel, which would stay open with it.
    _close_watched()


def _close_watched() -> None:
    global _watched
    # In this order: nothing closes it twice, in whichever thread or process.
    fd, _watched = _watched, -1
    if fd >= 0:
        os.close(fd)


def _watch_primary(own: OwnWorker) -> None:
    """End this process when the primary is gone, also if the program never returns to its loop."""
    global _watched
    import select
    import signal
    import threading
    import time

    if not hasattr(select, "poll"):
        return
    fd = _watched = os.dup(own._channel.fileno())

    def wait() -> None:
        # They are for the main thread, which may wait in the system.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        poll = select.poll()
        # Only whether the other end is closed, which is reported unasked.
        poll.register(fd, 0)
        poll.poll()
        if own.exited_after_disconnect:
            _close_watched()
            return
        time.sleep(_PATIENCE)
        os._exit(0)

    threading.Thread(target=wait, daemon=True, name="pyuvnet watches the primary").start()


def _parse(text: str) -> tuple[int, int, bool] | None:
    """The number, the descriptor, and whether messages are pickled; None if it is not for us."""
    words = text.split(":")
    if len(words) != 5:
        return None
    try:
        number, fd, inode, primary = (int(word) for word in (*words[:3], words[4]))
    except ValueError:
        return None
    try:
        there = os.fstat(fd).st_ino == inode
    except (OSError, OverflowError):
        there = False
    if there:
        return number, fd, words[3] == "advanced"
    if os.getppid() == primary:
        raise StateError(
            f"This is worker {number} of a cluster, and its channel, descriptor {fd}, was closed"
            " before pyuvnet was imported",
            "ERR_IPC_CHANNEL_CLOSED",
        )
    # A child of a worker, started before the import, has the text and no such channel.
    return None


class Indexes:
    """The numbers of this worker's servers on one address, as Node gives them.

    Each has its own place in the primary. They count on while any of them listens, so that a new
    server never gets the place of another that has been closed before it.
    """

    def __init__(self) -> None:
        self.next = 0
        self.used: set[int] = set()


class OwnWorker(Worker):
    """This process, as a worker."""

    def __init__(self, number: int, fd: int, advanced: bool) -> None:
        super().__init__()
        self.id = number
        self.process = WorkerProcess(os.getpid())
        self._state = "online"
        self._servers: dict[str, Server] = {}
        # The act of the reply that is awaited, and what is called with it.
        self._pending: dict[int, tuple[str, _Then]] = {}
        self._seq = 0
        # Of pyuvnet.serve(): what gets the primary's orders, for which servers the primary accepts,
        # and what takes connections for one of them.
        self.on_order: Callable[[dict[str, Any]], object] | None = None
        self.handed: set[Server] = set()
        self.takers: dict[Server, Taker] = {}
        self._indexes: dict[str, Indexes] = {}
        self._thread = get_ident()
        self._channel = Channel(
            fd,
            "the primary",
            advanced,
            FROM_PRIMARY,
            FROM_WORKER,
            self._received,
            self._internal,
            self._channel_closed,
        )
        self.process._channel = self._channel
        self._channel.send_internal({"act": "online"})

    def _request(self, message: dict[str, Any], awaited: str, then: _Then) -> None:
        self._seq += 1
        self._pending[self._seq] = awaited, then
        self._channel.send_internal({**message, "seq": self._seq})

    def _internal(self, message: dict[str, Any], fd: int | None) -> None:
        act = message["act"]
        if act in ("reply", "ack"):
            awaited, then = self._pending.get(message["seq"], ("", None))
            if then is not None and act == awaited:
                del self._pending[message["seq"]]
                then(message, fd)
                return
        elif act == "connection":
            self._connection(message, fd)
            return
        elif act == "disconnect":
            self._disconnect(True)
        elif act == "serve" and self.on_order is not None:
            self.on_order(message)
        close_all([] if fd is None else [fd])

    def report(self, **report: Any) -> None:
        """Send a report of pyuvnet.serve()."""
        self._channel.send_internal({**report, "act": "serve"})

    # ---- Servers -------------------------------------------------------------------------------

    def _query(
        self,
        server: Server,
        plan: ListenPlan,
        address: Any,
        port: int | None,
        address_type: int | None,
    ) -> None:
        """Ask the primary for a handle, for listen()."""
        if not self._channel.connected or get_ident() != self._thread:
            # There is no primary any more; or the channel belongs to another thread's loop.
            plan.exclusive = True
            _listen_alone(server, plan, address)
            return
        if plan.path is not None:
            name = plan.name
            address = os.fsdecode(name if name[:1] == b"\0" else os.path.abspath(name))
        wanted = f"{address}:{port}:{address_type}:{plan.fd}"
        indexes = self._indexes.setdefault(wanted, Indexes())
        index = indexes.next
        indexes.next += 1
        indexes.used.add(index)
        query = {
            "act": "query",
            "address": address,
            "port": port,
            "address_type": address_type,
            # No descriptor has a higher number: the primary would refuse the message.
            "fd": None if plan.fd is None else min(plan.fd, 2**31 - 1),
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
            "reply",
            lambda reply, fd: self._query_done(server, plan, query, wanted, reply, fd),
        )

    def _free_index(self, wanted: str, index: int) -> None:
        indexes = self._indexes[wanted]
        indexes.used.remove(index)
        if not indexes.used:
            del self._indexes[wanted]

    def _query_done(
        self,
        server: Server,
        plan: ListenPlan,
        query: dict[str, Any],
        wanted: str,
        reply: dict[str, Any],
        fd: int | None,
    ) -> None:
        status, key = reply["status"], reply["key"]
        if status or fd is None:
            close_all([] if fd is None else [fd])
            self._free_index(wanted, query["index"])
            if not status:
                # The primary's descriptor did not arrive: there was no number left for it.
                self._channel.send_internal({"act": "close", "key": key})
            port = query["port"] if plan.path is None else None
            address = query["address"]
            if address is None and port is not None:
                address = "::"
            server._listen_refused(plan, status or UV_EMFILE, address, port)
            return

        def leave() -> None:
            server.remove_listener("listening", listening)
            del self._servers[key]
            self.handed.discard(server)
            self._free_index(wanted, query["index"])
            self._channel.send_internal({"act": "close", "key": key})

        def listening() -> None:
            if self._servers.get(key) is not server:
                # Node: an earlier listener has closed it.
                return
            name = server._local_name()
            self._channel.send_internal(
                {
                    "act": "listening",
                    "address": query["address"],
                    "port": query["port"] if name is None else name[1],
                    "address_type": query["address_type"],
                    "fd": query["fd"],
                }
            )

        self._servers[key] = server
        if not reply["accepts"]:
            self.handed.add(server)
        server.once("listening", listening)
        if not server._listen_shared(plan, fd, reply["accepts"], leave):
            close_all([fd])
            leave()

    def _connection(self, message: dict[str, Any], fd: int | None) -> None:
        """The primary offers a connection."""
        key, number = message["key"], message["number"]
        own = self._servers.get(key)
        server = None if own is None else self.takers.get(own, own)
        taken = server is not None and fd is not None and server._would_take()

        def deliver(error: BaseException | None = None) -> None:
            nonlocal fd
            if fd is None:
                return
            given, fd = fd, None
            if error is not None or not taken or server is None or not server._deliver(given):
                close_all([given])

        # The program gets it once the kernel has the message that it is taken. Else the primary
        # might offer it to another worker, if this one dies, after a part of it has been read.
        accepted = {"act": "accepted", "key": key, "number": number, "accepted": taken}
        if not self._channel.send_internal(accepted, None, deliver):
            close_all([] if fd is None else [fd])
        elif self._channel.flush():
            deliver()

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
                # The primary has to know why before the channel closes.
                self._announce_end()

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
        self._announce_end()

    def _announce_end(self) -> None:
        def done(reply: dict[str, Any], fd: int | None) -> None:
            close_all([] if fd is None else [fd])
            self._channel.disconnect()

        self._request({"act": "disconnecting"}, "ack", done)

    def _channel_closed(self) -> None:
        exits = not self.exited_after_disconnect or self._state == "destroying"
        try:
            self.emit("disconnect")
        except BaseException:
            # It comes out of run(), and is not to be hidden by SystemExit.
            if exits:
                next_tick(_exit)
            raise
        if exits:
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
        # The program holds it up, and no primary is left that could profit from that.
        os._exit(0)

    try:  # noqa: SIM105
        threading.Thread(target=force, daemon=True).start()
    except RuntimeError:
        pass  # There may be as many as there can be.
    sys.exit(0)
