"""Listening places: what the primary listens on for its workers, and who gets a connection.

Owns: the listening descriptors, and each connection that the primary has accepted until a worker
has it. A place is one address that workers have asked for; it is closed when the last of them has
left.
"""

from __future__ import annotations

import _socket
import errno
import os
from collections import deque
from itertools import count, cycle, islice

from .._base import TYPE_CHECKING
from .._core.errors import UV_EADDRINUSE, UV_EINVAL
from .._core.pipe import remove_stale
from .._core.stream_handle import handle_kind
from .._core.timer import set_timeout
from .._server.listen import ListenPlan
from .._server.passing import close_all
from ..server import RESERVED_DESCRIPTORS, Server
from ._messages import PLACE, Record

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from .._core.timer import Timeout

    # (libuv's status, descriptor, whether the worker accepts): the status is 0 with a descriptor,
    # which the callee takes over.
    Reply = Callable[[int, int | None, bool], object]

    class Worker(Protocol):
        """A worker that is to get connections; PrimaryWorker is one."""

        @property
        def id(self) -> int: ...
        @property
        def leaving(self) -> bool: ...
        @property
        def predecessor(self) -> Worker | None: ...
        def offer(self, key: str, number: int, fd: int) -> None: ...


SCHED_NONE = 1
SCHED_RR = 2
SCHED_REUSE_PORT = 3
# From here on what waits stays in the kernel's queue.
_MOST_WAITING = 256
# How long a worker that would not take a connection is not offered another, and how long the
# sockets of one that died wait for its successor where there is no other.
_RECOVERY = 20  # ms
# From here on a path may be too long: systems have room for 104 bytes, or 108.
_LONG_PATH = 100
_SUCCESSION = 30_000

_PLACE = Record(PLACE)

# The numbers of offers. None is used twice: a place may have the key of an earlier one.
_numbers = count(1)


class Wanted:
    """What a worker wants to listen on, as its message says (_messages.PLACE).

    Raises: ValueError.
    """

    address: str | None
    port: int
    address_type: int | None
    fd: int | None
    index: int
    backlog: int | None
    ipv6_only: bool
    mode: int
    group: int
    unlink_stale: bool
    readable_all: bool
    writable_all: bool

    def __init__(self, message: dict[str, Any]) -> None:
        vars(self).update(_PLACE(message))
        if self.fd is None and self.port < 0 and self.address is None:
            raise ValueError("no place to listen on")
        if self.fd is None and self.port < 0:
            self._plan = self._make_plan()

    @property
    def key(self) -> str:
        """The same for all who want the same."""
        return f"{self.address}:{self.port}:{self.address_type}:{self.fd}:{self.index}"

    def open(self, server: Server, port: int, reuse_port: bool = False) -> int:
        """Bind a server's handle, which does not listen yet; returns a libuv status."""
        if self.fd is not None:
            try:
                fd = os.dup(self.fd)
            except OSError:
                # Node: it is nothing that could listen.
                return UV_EINVAL
            status = _unfit(fd) or server._open_fd(fd)
            if status:
                close_all([fd])
            return status
        if self.port < 0:
            plan = self.plan()
            status = server._bind_path(plan)
            if status == UV_EADDRINUSE and self.unlink_stale and remove_stale(plan.name):
                status = server._bind_path(plan)
            return status
        status = self._bind(server, port, reuse_port)
        if status:
            return status
        try:
            # libuv reports a port that is taken only when the name is read.
            server._local_name()
        except OSError as error:
            server._close_handle()
            return -(error.errno or 0) or UV_EADDRINUSE
        return 0

    def _bind(self, server: Server, port: int, reuse_port: bool) -> int:
        shown = "::" if self.address is None else self.address
        status = server._bind_tcp(shown, port, self.ipv6_only and ":" in shown, reuse_port)
        if status and self.address is None:
            status = server._bind_tcp("0.0.0.0", port, False, reuse_port)
        return status

    def plan(self) -> ListenPlan:
        """The plan of a path."""
        return self._plan

    def _make_plan(self) -> ListenPlan:
        assert self.address is not None
        # UnicodeError and ArgValueError are ValueErrors: not every text is the name of a file.
        path = _short(self.address).encode("utf-8", "surrogateescape")
        options = {
            "path": path,
            "readable_all": self.readable_all,
            "writable_all": self.writable_all,
            "unlink_stale": self.unlink_stale,
            "mode": None if self.mode < 0 else self.mode,
            "group": None if self.group < 0 else self.group,
        }
        return ListenPlan((), options, None)


def _short(path: str) -> str:
    """A path that the system may have no room for, relative to this directory if that is shorter.

    The worker's was perhaps relative too. Node does so with all paths, but a relative one is
    another file once the primary has changed its directory.
    """
    if len(path) <= _LONG_PATH or not os.path.isabs(path):
        return path
    try:
        return min(path, os.path.relpath(path), key=len)
    except OSError:
        # The directory is gone.
        return path


def _unfit(fd: int) -> int:
    """Why nothing can listen on a descriptor, as libuv's status; 0: it may be a listener.

    A connection is none: it is the primary's own, and may be another worker's channel.
    """
    try:
        looked_at = _socket.socket(fileno=fd)
    except OSError:
        return -errno.ENOTSOCK if handle_kind(fd) == "PIPE" else UV_EINVAL
    try:
        looked_at.getpeername()
    except OSError:
        return 0
    finally:
        # The descriptor is the caller's.
        looked_at.detach()
    return UV_EINVAL


def _server() -> Server:
    """What listens for the workers. It leaves descriptors for handing over what it accepts.

    What waits for a worker would otherwise hold every descriptor, and each one that is handed over
    needs another for a moment, as does a worker that is started.
    """
    return Server(on_exhausted="wait", reserve_descriptors=RESERVED_DESCRIPTORS)


class Place:
    """One listening place; as such the policy SCHED_NONE: all share one descriptor."""

    accepts = True  # the workers do
    # pyuvnet.serve(): stays open without a worker, and accepts nothing before release().
    kept = False
    held = False
    # Whether a policy may open more sockets than there are before release(). Who waited on one of
    # those would be reset if that is never called.
    opens_more = True

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.workers: dict[int, Worker] = {}
        self.server: Server | None = None

    def add(self, worker: Worker, reply: Reply) -> bool:
        """Give a worker a descriptor; False: there is none, and no worker was added."""
        server = self.server
        if server is None:
            server = _server()
            status = self.open(server)
            if status:
                reply(status, None, False)
                return False
            self.server = server
        try:
            fd = os.dup(server.fileno())
        except OSError as error:
            if not self.workers and not self.kept:
                self.close()
            reply(-(error.errno or 0) or UV_EINVAL, None, False)
            return bool(self.workers)
        self.workers[worker.id] = worker
        reply(0, fd, self.accepts)
        return True

    def open(self, server: Server) -> int:
        """Make the server ready; returns a libuv status, with no handle left on failure."""
        return self.wanted.open(server, self.wanted.port)

    def remove(self, worker: Worker, died: bool) -> bool:
        """A worker has left; returns whether the place is closed."""
        if self.workers.pop(worker.id, None) is None:
            return False
        self.left(worker, died)
        if self.workers or self.kept:
            return False
        self.close()
        return True

    def left(self, worker: Worker, died: bool) -> None:
        """What becomes of what the worker had."""

    def close(self) -> None:
        """Stop listening, and drop who waits."""
        server, self.server = self.server, None
        if server is not None:
            server.close()

    def acknowledged(self, worker: Worker, number: int, accepted: bool) -> None:
        """A worker has taken a connection, or not."""

    def reclaim(self, worker: Worker) -> None:
        """A worker is dead: others get what it was offered and had not taken."""

    def set_aside(self, worker: Worker) -> None:
        """A worker does not reply: others get the connections, where the primary can see to that.

        What it was offered may be its own already, and no other's while it lives.
        """

    def take_back(self, worker: Worker) -> None:
        """A worker that was set aside replies again."""

    # ---- For pyuvnet.serve(), whose primary has the sockets before and after all workers -------

    def prepare(self, descriptors: list[int]) -> int:
        """Open the place before a worker asks, and keep it open; returns a libuv status.

        Args:
            descriptors: sockets that listen there already, which are taken over; else none.
        """
        self.kept = self.held = True
        if descriptors:
            return self._take_over(descriptors)
        server = _server()
        status = self.open(server)
        if not status:
            self.server = server
        return status

    def _take_over(self, descriptors: list[int]) -> int:
        self.server = _server()
        return self.server._open_fd(descriptors[0])

    def release(self) -> None:
        """Accept from now on."""
        self.held = False

    def drain(self, rest: bool, keep_file: bool) -> None:
        """Accept no more; who was accepted is still handed out.

        Args:
            rest: accept those who wait first; False: another will.
            keep_file: leave the file of a path where it is.
        """
        if self.server is not None and keep_file:
            self.server._keep_file()

    @property
    def idle(self) -> bool:
        """Whether no connection is left to be handed out."""
        return True

    def hand_out_all(self) -> int:
        """Send the connections that are left to the workers, free or not.

        Returns how many are left that no worker can get.
        """
        return 0

    def listening(self) -> list[Server]:
        """The servers that have the sockets, without duplicates."""
        return [] if self.server is None else [self.server]


class Offer:
    """A connection that a worker was offered."""

    def __init__(self, fd: int, worker: Worker) -> None:
        self.fd, self.worker = fd, worker


class Handing(Place):
    """A place where the primary has connections to hand out, one at a time to each worker."""

    def __init__(self, wanted: Wanted) -> None:
        super().__init__(wanted)
        self._free: dict[int, Worker] = {}
        # The numbers of workers that do not reply.
        self._aside: set[int] = set()
        self._waiting: deque[int] = deque()
        self._offers: dict[int, Offer] = {}
        self._timers: set[Timeout] = set()
        self._listeners: set[Server] = set()

    def release(self) -> None:
        """Accept from now on."""
        super().release()
        self.hand_out()

    def drain(self, rest: bool, keep_file: bool) -> None:
        """Accept no more; who was accepted is still handed out."""
        super().drain(rest, keep_file)
        self.held = True
        listeners, self._listeners = self._listeners, set()
        for server in listeners:
            if rest:
                server._accept_rest()
            server.close()

    @property
    def idle(self) -> bool:
        """Whether no connection is left to be handed out."""
        return not self._waiting and not self._offers

    def accept_on(self, server: Server) -> None:
        """Hand out what a server accepts."""
        self._listeners.add(server)
        if self.held:
            server.pause()
        server._hand_over_to(self._waiting.append, self._arrived)
        server.on("error", lambda error: None)

    def _arrived(self) -> None:
        self.hand_out()
        if len(self._waiting) >= _MOST_WAITING:
            for server in self._listeners:
                server.pause()

    def hand_out(self) -> None:
        """Offer what waits to who is free."""
        while self._waiting:
            worker = self._next_free()
            if worker is None:
                break
            if worker.leaving:
                continue
            self._offer(self._waiting.popleft(), worker)
        if len(self._waiting) < _MOST_WAITING // 2 and not self.held:
            for server in self._listeners:
                if server.paused:
                    server.resume()
                server._retry_accepts()

    def _next_free(self) -> Worker | None:
        for number in self._free:
            if number not in self._aside:
                return self._free.pop(number)
        return None

    def set_aside(self, worker: Worker) -> None:
        """A worker does not reply: offer it nothing."""
        if worker.id in self.workers:
            self._aside.add(worker.id)

    def take_back(self, worker: Worker) -> None:
        """A worker that was set aside replies again."""
        self._aside.discard(worker.id)
        self.hand_out()

    def hand_out_all(self) -> int:
        """Send the connections that are left to the workers, free or not.

        A worker that is blocked finds them in its channel, before the order to shut down. Returns
        how many are left that no worker can get.
        """
        workers = [worker for worker in self.workers.values() if not worker.leaving]
        workers = [worker for worker in workers if worker.id not in self._aside] or workers
        for worker in islice(cycle(workers), len(self._waiting)):
            self._offer(self._waiting.popleft(), worker)
        return len(self._waiting)

    def _offer(self, fd: int, worker: Worker) -> None:
        try:
            copy = os.dup(fd)
        except OSError:
            # Without a descriptor left: later.
            self._waiting.appendleft(fd)
            self._free_later(worker)
            return
        number = next(_numbers)
        self._offers[number] = Offer(fd, worker)
        worker.offer(self.wanted.key, number, copy)

    def _free_later(self, worker: Worker) -> None:
        def free() -> None:
            self._timers.discard(timer)
            if worker.id in self.workers:
                self._free[worker.id] = worker
                self.hand_out()

        timer = set_timeout(free, _RECOVERY)
        self._timers.add(timer)

    def acknowledged(self, worker: Worker, number: int, accepted: bool) -> None:
        """A worker has taken a connection, or another gets it."""
        offer = self._offers.get(number)
        if offer is None or offer.worker is not worker:
            return
        del self._offers[number]
        if accepted:
            close_all([offer.fd])
        else:
            self._waiting.appendleft(offer.fd)
        if worker.id in self.workers:
            if accepted:
                self._free[worker.id] = worker
            else:
                self._free_later(worker)
        self.hand_out()

    def left(self, worker: Worker, died: bool) -> None:
        """Offer it no more; what it was offered it may still take, unless it is dead."""
        self._free.pop(worker.id, None)
        self._aside.discard(worker.id)
        if died:
            self.reclaim(worker)

    def reclaim(self, worker: Worker) -> None:
        """A worker is dead: others get what it was offered and had not taken."""
        for number, offer in list(self._offers.items()):
            if offer.worker is worker:
                del self._offers[number]
                self._waiting.appendleft(offer.fd)
        self.hand_out()

    def close(self) -> None:
        """Stop listening, and drop who waits."""
        super().close()
        for server in self._listeners:
            server.close()
        self._listeners.clear()
        for timer in self._timers:
            timer.close()
        close_all([*self._waiting, *(offer.fd for offer in self._offers.values())])
        self._waiting.clear()
        self._offers.clear()


class RoundRobin(Handing):
    """SCHED_RR: the primary accepts."""

    accepts = False

    def open(self, server: Server) -> int:
        """Bind and listen."""
        return super().open(server) or self._listen(server)

    def _listen(self, server: Server) -> int:
        self.accept_on(server)
        backlog = server._backlog_of(self.wanted.backlog, self.wanted.fd)
        return server._start_listening(backlog)

    def _take_over(self, descriptors: list[int]) -> int:
        for fd in descriptors:
            server = _server()
            status = server._open_fd(fd) or self._listen(server)
            if status:
                return status
            if self.server is None:
                self.server = server
        return 0

    def listening(self) -> list[Server]:
        """The servers that have the sockets, without duplicates."""
        return list(self._listeners)

    def add(self, worker: Worker, reply: Reply) -> bool:
        """Give a worker a descriptor, by which it knows the address, and then connections."""
        added = super().add(worker, reply)
        if worker.id in self.workers:
            self._free[worker.id] = worker
            self.hand_out()
        return added


class ReusePort(Handing):
    """SCHED_REUSE_PORT: a socket for each worker, and the primary has a copy of it.

    The kernel deals connections out to the sockets. What waits on the socket of a worker that has
    gone is handed out to the others, until a new worker has it.
    """

    def __init__(self, wanted: Wanted) -> None:
        super().__init__(wanted)
        self._port = wanted.port
        self._sockets: dict[int, Server] = {}
        # Of workers that have gone: the socket, and the server that accepts from it meanwhile.
        self._orphans: list[tuple[Server, Server | None]] = []
        self._last: Timeout | None = None
        # What accepts from the sockets of workers that were set aside, by their numbers.
        self._stand_ins: dict[int, Server] = {}

    def add(self, worker: Worker, reply: Reply) -> bool:
        """Give a worker a socket: one of a worker that has gone, or a new one."""
        if self._last is not None:
            self._last.close()
            self._last = None
        before = worker.predecessor
        server = None if before is None else self._sockets.get(before.id)
        if server is None and self._orphans:
            server, meanwhile = self._orphans.pop(0)
            if meanwhile is not None:
                self._listeners.discard(meanwhile)
                meanwhile.close()
        if server is None and self.held and not self.opens_more:
            server = self._least_shared()
        if server is None:
            server = _server()
            status = self._open_another(server)
            if status:
                reply(status, None, False)
                return bool(self.workers)
        try:
            fd = os.dup(server.fileno())
        except OSError as error:
            if server not in self._sockets.values():
                self._orphans.append((server, None))
            if not self.workers and not self.kept:
                self.close()
            reply(-(error.errno or 0) or UV_EINVAL, None, False)
            return bool(self.workers)
        self._sockets[worker.id] = server
        self.workers[worker.id] = worker
        self._free[worker.id] = worker
        reply(0, fd, True)
        self._accept_for_orphans()
        self._stand_in()
        self.hand_out()
        return True

    def _least_shared(self) -> Server | None:
        """The socket that the fewest workers have."""
        several = list(self._sockets.values())
        return min(several, key=several.count, default=None)

    def _open_another(self, server: Server) -> int:
        status = self.wanted.open(server, self._port, True)
        if not status:
            name = server._local_name()
            assert name is not None
            self._port = name[1]
        return status

    def prepare(self, descriptors: list[int]) -> int:
        """Open the place before a worker asks, and keep it open; returns a libuv status."""
        self.kept = self.held = True
        if descriptors:
            return self._take_over(descriptors)
        if self._port:
            # Another program that shares the port would have a part of the connections unnoticed.
            alone = _server()
            status = self.wanted.open(alone, self._port, False)
            if status:
                return status
            alone._close_handle()
        first = _server()
        self._orphans.append((first, None))
        return self._open_another(first)

    def _take_over(self, descriptors: list[int]) -> int:
        for fd in descriptors:
            server = _server()
            status = server._open_fd(fd)
            if status:
                return status
            self._orphans.append((server, None))
        return 0

    def release(self) -> None:
        """Accept from now on."""
        self.held = False
        self._accept_for_orphans()
        super().release()

    def drain(self, rest: bool, keep_file: bool) -> None:
        """Accept no more; who was accepted is still handed out."""
        self._accept_for_orphans()
        super().drain(rest, keep_file)

    def listening(self) -> list[Server]:
        """The servers that have the sockets, without duplicates."""
        own = dict.fromkeys(self._sockets.values())
        return [*own, *(server for server, _ in self._orphans)]

    def set_aside(self, worker: Worker) -> None:
        """A worker does not reply: accept from its socket for others, if there are any."""
        super().set_aside(worker)
        self._stand_in()

    def take_back(self, worker: Worker) -> None:
        """A worker that was set aside replies again, and accepts by itself."""
        self._dismiss(worker)
        super().take_back(worker)
        # It may be the first one that can get what waits for the others.
        self._stand_in()

    def _stand_in(self) -> None:
        """Accept from the sockets of all that were set aside, if a worker can get the connections.

        Else they wait in the kernel's queue.
        """
        if self.held or self.workers.keys() <= self._aside:
            return
        for number in self._aside - self._stand_ins.keys():
            stand_in = self._accept_for(self._sockets[number])
            if stand_in is not None:
                self._stand_ins[number] = stand_in

    def _dismiss(self, worker: Worker) -> None:
        stand_in = self._stand_ins.pop(worker.id, None)
        if stand_in is not None:
            self._listeners.discard(stand_in)
            stand_in.close()

    def left(self, worker: Worker, died: bool) -> None:
        """Keep the socket for the next one."""
        self._dismiss(worker)
        server = self._sockets.pop(worker.id, None)
        if server is not None and server not in self._sockets.values():
            self._orphans.append((server, None))
            self._accept_for_orphans()
        super().left(worker, died)

    def _accept_for_orphans(self) -> None:
        """Accept from the sockets of workers that have gone, if a worker can get the connections.

        Else they wait in the kernel's queue.
        """
        if self.workers and not self.held:
            self._orphans = [
                (server, meanwhile or self._accept_for(server))
                for server, meanwhile in self._orphans
            ]

    def _accept_for(self, server: Server) -> Server | None:
        """Accept from the socket of a worker that has gone; None without a descriptor for it."""
        try:
            fd = os.dup(server.fileno())
        except OSError:
            return None
        meanwhile = _server()
        self.accept_on(meanwhile)
        if meanwhile._listen_on(fd):
            self._listeners.discard(meanwhile)
            close_all([fd])
            return None
        return meanwhile

    def remove(self, worker: Worker, died: bool) -> bool:
        """A worker has left; the sockets of one that died wait for a successor."""
        if not died or len(self.workers) > 1 or worker.id not in self.workers:
            return super().remove(worker, died)
        del self.workers[worker.id]
        self.left(worker, died)
        return False

    def wait_for_successor(self, expired: Callable[[], object]) -> None:
        """Without a worker: wait for one, and not for ever."""
        if not self.workers and self._last is None:
            self._last = set_timeout(expired, _SUCCESSION).unref()

    def close(self) -> None:
        """Stop listening, and drop who waits."""
        if self._last is not None:
            self._last.close()
            self._last = None
        super().close()
        for server, _ in self._orphans:
            server.close()
        self._orphans.clear()
        for server in self._sockets.values():
            server.close()
        self._sockets.clear()


def new_place(policy: int, wanted: Wanted) -> Place:
    """A place by a policy; what a port's policy does not fit is dealt out in turn."""
    if policy == SCHED_NONE:
        return Place(wanted)
    if policy == SCHED_REUSE_PORT and wanted.fd is None and wanted.port >= 0:
        return ReusePort(wanted)
    return RoundRobin(wanted)
