"""Listening places: what the primary listens on for its workers, and who gets a connection.

Owns: the listening descriptors, and each connection that the primary has accepted until a worker
has it. A place is one address that workers have asked for; it is closed when the last of them has
left.
"""

from __future__ import annotations

import os
from collections import deque

from .._base import TYPE_CHECKING
from .._core.errors import UV_EADDRINUSE, UV_EINVAL
from .._core.timer import set_timeout
from .._listen import ListenPlan
from .._passing import close_all
from ..errors import StateError
from ..server import Server

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .._core.timer import Timeout
    from ..socket import Socket
    from ._primary import PrimaryWorker

    # (libuv's status, descriptor, whether the worker accepts): the status is 0 with a descriptor,
    # which the callee takes over.
    Answer = Callable[[int, int | None, bool], object]

SCHED_NONE = 1
SCHED_RR = 2
SCHED_REUSE_PORT = 3
# From here on what waits stays in the kernel's queue.
_MOST_WAITING = 256
# How long a worker that would not take a connection is not offered another, and how long the
# sockets of one that died wait for its successor where nobody else is there.
_RECOVERY = 20  # ms
_SUCCESSION = 30_000


class Wanted:
    """What a worker wants to listen on, as its message says; everything is checked."""

    def __init__(self, message: dict[str, Any]) -> None:
        self.address: str | None = _of(message, "address", str, None)
        self.port: int = _of(message, "port", int, -1)
        self.address_type: int | None = _of(message, "address_type", int, None)
        self.fd: int | None = _of(message, "fd", int, None)
        self.index: int = _of(message, "index", int, 0)
        self.backlog: int = _of(message, "backlog", int, 511)
        self.ipv6_only: bool = _of(message, "ipv6_only", bool, False)
        # Of a path.
        self.mode: int = _of(message, "mode", int, -1)
        self.group: int = _of(message, "group", int, -1)
        self.unlink_stale: bool = _of(message, "unlink_stale", bool, False)
        self.readable_all: bool = _of(message, "readable_all", bool, False)
        self.writable_all: bool = _of(message, "writable_all", bool, False)
        if self.fd is None and self.port < 0 and self.address is None:
            raise ValueError("no place to listen on")
        if self.port > 65535 or abs(self.backlog) > 2**31 - 1 or abs(self.fd or 0) > 2**31 - 1:
            raise ValueError("out of range")

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
            status = server._open_fd(fd)
            if status:
                close_all([fd])
            return status
        if self.port < 0:
            return server._bind_path(self.plan())
        status = self._bind(server, port, reuse_port)
        if status:
            return status
        try:
            # libuv keeps a taken port to itself until somebody asks.
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
        assert self.address is not None
        plan = ListenPlan((), {"path": self.address.encode("utf-8", "surrogateescape")}, None)
        plan.mode, plan.group, plan.unlink_stale = self.mode, self.group, self.unlink_stale
        plan.readable_all, plan.writable_all = self.readable_all, self.writable_all
        return plan


def _of(message: dict[str, Any], name: str, kind: type, default: Any) -> Any:
    value = message.get(name)
    if value is None:
        return default
    if type(value) is not kind:
        raise ValueError(name)
    return value


class Place:
    """One listening place; as such the policy SCHED_NONE: all share one descriptor."""

    accepts = True  # the workers do

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.workers: dict[int, PrimaryWorker] = {}
        self.server: Server | None = None

    def add(self, worker: PrimaryWorker, answer: Answer) -> bool:
        """Give a worker a descriptor; False: there is none, and nobody has been added."""
        server = self.server
        if server is None:
            server = Server()
            status = self.open(server)
            if status:
                answer(status, None, False)
                return False
            self.server = server
        try:
            fd = os.dup(server.fileno())
        except OSError as error:
            if not self.workers:
                self.close()
            answer(-(error.errno or 0) or UV_EINVAL, None, False)
            return bool(self.workers)
        self.workers[worker.id] = worker
        answer(0, fd, self.accepts)
        return True

    def open(self, server: Server) -> int:
        """Make the server ready; returns a libuv status, with no handle left on failure."""
        return self.wanted.open(server, self.wanted.port)

    def remove(self, worker: PrimaryWorker, died: bool) -> bool:
        """A worker has left; returns whether the place is closed."""
        if self.workers.pop(worker.id, None) is None:
            return False
        self.left(worker, died)
        if self.workers:
            return False
        self.close()
        return True

    def left(self, worker: PrimaryWorker, died: bool) -> None:
        """What becomes of what the worker had."""

    def close(self) -> None:
        """Stop listening, and drop who waits."""
        server, self.server = self.server, None
        if server is not None:
            server.close()

    def acknowledged(self, worker: PrimaryWorker, number: int, accepted: bool) -> None:
        """A worker has taken a connection, or not."""

    def reclaim(self, worker: PrimaryWorker) -> None:
        """A worker is dead: others get what it was offered and had not taken."""


class Offer:
    """A connection that a worker was offered."""

    def __init__(self, fd: int, worker: PrimaryWorker) -> None:
        self.fd, self.worker = fd, worker


class Handing(Place):
    """A place where the primary has connections to hand out, one at a time to each worker."""

    def __init__(self, wanted: Wanted) -> None:
        super().__init__(wanted)
        self._free: dict[int, PrimaryWorker] = {}
        self._waiting: deque[int] = deque()
        self._offers: dict[int, Offer] = {}
        self._numbers = 0
        self._timers: set[Timeout] = set()
        self._listeners: set[Server] = set()

    def accept_on(self, server: Server) -> None:
        """Hand out what a server accepts."""
        self._listeners.add(server)
        server.pause_on_connect = True
        server.on("connection", self._arrived)
        server.on("error", lambda error: None)

    def _arrived(self, socket: Socket) -> None:
        try:
            self._waiting.append(socket.detach())
        except (OSError, StateError):
            # Without a descriptor left, or gone already.
            socket.destroy()
            return
        self.hand_out()
        if len(self._waiting) >= _MOST_WAITING:
            for server in self._listeners:
                server.pause()

    def hand_out(self) -> None:
        """Offer what waits to who is free."""
        while self._waiting and self._free:
            worker = self._free.pop(next(iter(self._free)))
            self._offer(self._waiting.popleft(), worker)
        if len(self._waiting) < _MOST_WAITING // 2:
            for server in self._listeners:
                if server.paused:
                    server.resume()

    def _offer(self, fd: int, worker: PrimaryWorker) -> None:
        try:
            copy = os.dup(fd)
        except OSError:
            # Without a descriptor left: later.
            self._waiting.appendleft(fd)
            self._free_later(worker)
            return
        self._numbers += 1
        self._offers[self._numbers] = Offer(fd, worker)
        worker.offer(self.wanted.key, self._numbers, copy)

    def _free_later(self, worker: PrimaryWorker) -> None:
        def free() -> None:
            self._timers.discard(timer)
            if worker.id in self.workers:
                self._free[worker.id] = worker
                self.hand_out()

        timer = set_timeout(free, _RECOVERY)
        self._timers.add(timer)

    def acknowledged(self, worker: PrimaryWorker, number: int, accepted: bool) -> None:
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

    def left(self, worker: PrimaryWorker, died: bool) -> None:
        """Offer it no more; what it was offered it may still take, unless it is dead."""
        self._free.pop(worker.id, None)
        if died:
            self.reclaim(worker)

    def reclaim(self, worker: PrimaryWorker) -> None:
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
        status = super().open(server)
        if not status:
            self.accept_on(server)
            status = server._start_listening(self.wanted.backlog)
        return status

    def add(self, worker: PrimaryWorker, answer: Answer) -> bool:
        """Give a worker a descriptor, by which it knows the address, and then connections."""
        added = super().add(worker, answer)
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

    def add(self, worker: PrimaryWorker, answer: Answer) -> bool:
        """Give a worker a socket: one of a worker that has gone, or a new one."""
        if self._last is not None:
            self._last.close()
            self._last = None
        if self._orphans:
            server, meanwhile = self._orphans.pop(0)
            if meanwhile is not None:
                self._listeners.discard(meanwhile)
                meanwhile.close()
        else:
            server = Server()
            status = self.wanted.open(server, self._port, True)
            if status:
                answer(status, None, False)
                return bool(self.workers)
            name = server._local_name()
            assert name is not None
            self._port = name[1]
        try:
            fd = os.dup(server.fileno())
        except OSError as error:
            server.close()
            answer(-(error.errno or 0) or UV_EINVAL, None, False)
            return bool(self.workers)
        self._sockets[worker.id] = server
        self.workers[worker.id] = worker
        self._free[worker.id] = worker
        answer(0, fd, True)
        self.hand_out()
        return True

    def left(self, worker: PrimaryWorker, died: bool) -> None:
        """Keep the socket for the next one."""
        server = self._sockets.pop(worker.id)
        meanwhile = None
        if self.workers:
            meanwhile = self._accept_for(server)
        self._orphans.append((server, meanwhile))
        super().left(worker, died)

    def _accept_for(self, server: Server) -> Server | None:
        """Accept from the socket of a worker that has gone; None without a descriptor for it."""
        try:
            fd = os.dup(server.fileno())
        except OSError:
            return None
        meanwhile = Server()
        self.accept_on(meanwhile)
        if meanwhile._listen_on(fd):
            self._listeners.discard(meanwhile)
            close_all([fd])
            return None
        return meanwhile

    def remove(self, worker: PrimaryWorker, died: bool) -> bool:
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
