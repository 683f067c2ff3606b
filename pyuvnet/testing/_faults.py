"""Faults between two peers: pair() and FaultProxy, and what they do to the bytes that pass.

A _Link stands between the sockets `near` (the client's side) and `far` (the server's), with a _Flow
for each direction. A flow holds what arrives until it is due, cuts it into pieces, and writes one
piece after another. Whatever is random is drawn by a generator of the flow's own, in the order of
the bytes, so that the same seed gives the same faults.
"""

from __future__ import annotations

import os
import random
import socket as std
import sys
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from .. import net
from .._aio.run import set_immediate
from .._base import validation as check
from .._core.errors import UV_ECONNRESET, make_os_error
from .._core.names import add_node_names
from .._core.timer import MAX_TIMEOUT, set_timeout
from .._options.deadlines import read_limits
from .._options.kernel import feature_unavailable
from ..socket import CONNECT_ALL, Socket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any, Self

    from .._typing.infos import AddressInfo

SEED_VARIABLE = "PYUVNET_TESTING_SEED"
WINDOW = 65536  # bytes that a flow holds before its source has to wait
FASTEST = 10**12  # bytes per second
STEP_MS = 10  # how long the pieces of a bounded rate take, about

# How to reach a server that listens on all addresses.
ANY = {"::": "::1", "0.0.0.0": "127.0.0.1"}
MOST_NOTES = 100  # only the plugin empties them

# What drew random numbers since the test began, for the report of one that fails.
notes: list[str] = []


class Faults(NamedTuple):
    """The faults of one direction, checked."""

    latency_ms: tuple[float, float] = (0, 0)
    rate: float | None = None
    chop: tuple[int, int] | None = None
    flip_every: int | None = None
    limit: int | None = None
    at_limit: str = ""  # 'reset', 'end' or 'stall'

    @property
    def random(self) -> bool:
        spans = (self.latency_ms, self.chop or (0, 0))
        return self.flip_every is not None or any(low != high for low, high in spans)


NONE = Faults()


def _span(value: Any, name: str, least: int, most: int, integer: bool = False) -> tuple[Any, Any]:
    """Check a number, or the least and the most of one."""
    validate: Callable[..., Any] = check.validate_integer if integer else check.validate_number
    if isinstance(value, tuple):
        if len(value) != 2:
            raise check.arg_value_error(name, value, "must be a number or a pair of them")
        low = validate(value[0], f"{name}[0]", least, most)
        return low, validate(value[1], f"{name}[1]", low, most)
    return (validate(value, name, least, most),) * 2


def _faults(
    latency_ms: float | tuple[float, float],
    rate: float | None,
    chop: int | tuple[int, int] | None,
    flip_every: int | None,
    reset_after: int | None,
    end_after: int | None,
    stall_after: int | None,
) -> Faults:
    """Check the faults that pair() and FaultProxy take."""
    limits = {"reset": reset_after, "end": end_after, "stall": stall_after}
    ends = [
        (check.validate_integer(size, f"{name}_after", 0), name)
        for name, size in limits.items()
        if size is not None
    ]
    limit, at_limit = min(ends, default=(None, ""))
    return Faults(
        _span(latency_ms, "latency_ms", 0, MAX_TIMEOUT),
        None if rate is None else check.validate_number(rate, "rate", 1, FASTEST),
        None if chop is None else _span(chop, "chop", 1, 2**53 - 1, integer=True),
        None if flip_every is None else check.validate_integer(flip_every, "flip_every", 1),
        limit,
        at_limit,
    )


def _directions(faults: Faults, toward: str | None) -> tuple[Faults, Faults]:
    """The faults toward the server, and those toward the client."""
    if toward is None:
        return faults, faults
    if check.validate_one_of(toward, "toward", ("client", "server")) == "server":
        return faults, NONE
    return NONE, faults


def _seed(seed: int | None, what: str, faults: Faults) -> int:
    """Check a seed or choose one, and note it for the report."""
    if seed is None:
        given = os.environ.get(SEED_VARIABLE)
        if given and not (given.isascii() and given.isdigit()):
            raise check.arg_value_error(SEED_VARIABLE, given, "must be a whole number >= 0")
        seed = int(given) if given else random.SystemRandom().getrandbits(32)
    check.validate_integer(seed, "seed", 0)
    if faults.random:
        notes.append(f"{what}: seed={seed}")
        del notes[:-MOST_NOTES]
    return seed


def _target(target: Any) -> tuple[Any, ...]:
    """Check the target of a proxy; returns arguments of connect()."""
    if isinstance(target, tuple):
        if len(target) != 2:
            raise check.arg_value_error("target", target, "must be a pair of a host and a port")
        host = check.validate_string(target[0], "target[0]")
        return check.validate_port(target[1], "target[1]"), host
    if isinstance(target, str):
        host, colon, port = target.rpartition(":")
        if not target or (colon and port.isdecimal() and "/" not in target):
            hint = f"must be ({host!r}, {port}) for TCP" if target else "must not be empty"
            raise check.arg_value_error("target", target, hint)
    elif check.is_mapping(target):
        if target.get("port") is None and target.get("path") is None:
            raise check.arg_value_error("target", target, "must have a port or a path")
        address = target.get("address")
        if isinstance(address, str) and target.get("host") is None:
            # Of Server.address(). As in Node, connect() takes it for localhost, which may lead to
            # another address, or to none of its family.
            return ({**target, "host": ANY.get(address, address)},)
    elif isinstance(target, int) and not isinstance(target, bool):
        check.validate_port(target, "target")
    else:
        raise check.arg_type_error("target", ["number", "string", "Array", "Object"], target)
    return (target,)


class _Flow:
    """One direction: what comes from source goes to sink, with faults."""

    def __init__(
        self, link: _Link, source: Socket, sink: Socket, faults: Faults, chance: random.Random
    ) -> None:
        self._link, self._source, self._sink = link, source, sink
        self._faults, self._random = faults, chance
        self._coming: deque[list[Any]] = deque()  # [bytes, or None for the end; its timer]
        self._ready = bytearray()
        self._held = 0  # bytes of both
        self._passed = 0  # bytes written to the sink
        self._cut = 0  # up to where the present piece goes
        self._wait = 0.0  # ms, of a bounded rate
        self._next: Any = None  # the timer or immediate of the next piece
        self._ending = False
        self._full = False  # the sink takes nothing more
        self._over = False
        self.stalled = faults.limit == 0
        self._flip_at = self._random.randrange(faults.flip_every) if faults.flip_every else -1
        source.on("data", self._received)
        source.on("end", self._ended)
        sink.on("drain", self._drained)
        if faults.limit == 0:
            set_immediate(self._at_limit)

    def stop(self) -> None:
        """Pass nothing on any more, and forget what was held."""
        self._over = True
        for entry in self._coming:
            if entry[1] is not None:
                entry[1].close()
        self._coming.clear()
        self._ready.clear()
        self._held = 0
        if self._next is not None:
            self._next.close()
            self._next = None

    def resume(self) -> None:
        """Pass on what was held while it was stalled."""
        self.stalled = False
        self._pass()

    def _received(self, chunk: bytes) -> None:
        if self._over:
            return
        self._held += len(chunk)
        if self._held >= WINDOW:
            self._source.pause()
        self._delay(chunk)

    def _ended(self) -> None:
        if not self._over:
            self._delay(None)

    def _delay(self, chunk: bytes | None) -> None:
        low, high = self._faults.latency_ms
        delay = low if low == high else self._random.uniform(low, high)
        entry: list[Any] = [chunk, None]
        self._coming.append(entry)
        if delay:
            entry[1] = set_timeout(self._arrived, delay, entry)
        else:
            self._take()

    def _arrived(self, entry: list[Any]) -> None:
        entry[1] = None
        self._take()

    def _take(self) -> None:
        # One that is faster than the one before waits for it.
        while self._coming and self._coming[0][1] is None:
            chunk, _ = self._coming.popleft()
            if chunk is None:
                self._ending = True
            else:
                self._ready += chunk
        self._pass()

    def _pass(self, checking: bool = False) -> None:
        """Write the next piece, unless something has to come first.

        Pieces of a size leave in the check phase, one in each turn: by the next one's, a peer in
        this thread has read it.
        """
        while not (self._over or self.stalled or self._full or self._next is not None):
            if self._faults.chop is not None and not checking:
                self._next = set_immediate(self._go_on)
                return
            if not self._ready:
                if self._ending:
                    self._over = True
                    self._sink.end()
                return
            self._write(self._take_piece())

    def _take_piece(self) -> bytes:
        size = len(self._ready)
        if self._faults.chop is not None:
            if self._passed == self._cut:
                self._cut += self._random.randint(*self._faults.chop)
            size = min(size, self._cut - self._passed)
        if self._faults.rate is not None:
            size = min(size, max(1, int(self._faults.rate * STEP_MS / 1000)))
        if self._faults.limit is not None:
            size = min(size, self._faults.limit - self._passed)
        piece = self._ready[:size]
        del self._ready[:size]
        every = self._faults.flip_every
        while every and self._flip_at < self._passed + size:
            piece[self._flip_at - self._passed] ^= 1 << self._random.randrange(8)
            # One in each stretch of that many bytes.
            start = (self._flip_at // every + 1) * every
            self._flip_at = start + self._random.randrange(every)
        self._passed += size
        self._held -= size
        return bytes(piece)

    def _write(self, piece: bytes) -> None:
        if self._faults.rate is not None:
            self._wait += len(piece) * 1000 / self._faults.rate
            whole = int(self._wait)
            self._wait -= whole
            if whole:
                self._next = set_timeout(self._go_on, whole)
        if self._next is None and (self._faults.chop is not None or self._faults.rate is not None):
            self._next = set_immediate(self._go_on)
        self._full = not self._sink.write(piece)
        if self._passed == self._faults.limit:
            self._at_limit()
        elif self._held < WINDOW and self._source.is_paused():
            self._source.resume()

    def _go_on(self) -> None:
        self._next = None
        self._pass(True)

    def _drained(self) -> None:
        self._full = False
        self._pass()

    def _at_limit(self) -> None:
        if self._over:
            return
        self._faults = self._faults._replace(limit=None)
        if self._faults.at_limit == "reset":
            self.stop()
            # In the next turn, behind its input: a peer in this thread reads the last bytes before.
            set_immediate(set_immediate, self._link.reset)
        elif self._faults.at_limit == "stall":
            self.stalled = True
        else:
            self.stop()
            self._sink.end()
            # What comes is read, and lost.
            self._source.resume()


class _Link:
    """A connection with faults, between two sockets of its own."""

    def __init__(
        self,
        near: Socket,
        far: Socket,
        faults: tuple[Faults, Faults],
        seed: str,
        reset: Callable[[], object],
    ) -> None:
        self.near, self.far = near, far
        self._reset = reset
        self._over = False
        for socket in (near, far):
            socket.on("error", _ignore)
            socket.on("close", self._closed)
        self.flows = (
            _Flow(self, near, far, faults[0], random.Random(f"{seed} to the server")),
            _Flow(self, far, near, faults[1], random.Random(f"{seed} to the client")),
        )

    def _closed(self, had_error: bool) -> None:
        if had_error:
            self.reset()
        elif self.near.destroyed and self.far.destroyed:
            self.stop()

    def reset(self) -> None:
        """Break the connection off for both peers."""
        if not self._over:
            self.stop()
            self._reset()

    def stop(self) -> None:
        self._over = True
        for flow in self.flows:
            flow.stop()

    def destroy(self) -> None:
        """Close both sockets."""
        self.stop()
        self.near.destroy()
        self.far.destroy()


def _ignore(error: BaseException) -> None:
    """The 'close' that follows says it."""


class Pair:
    """What pair() returns: two connected sockets, which `client, server = pair()` takes apart.

    Attributes:
        client: Socket, the first.
        server: Socket, the second.
        seed: int, of what is random in their faults.

    Node: none
    """

    __slots__ = ("client", "seed", "server")

    client: Socket
    server: Socket
    seed: int

    def __init__(self, client: Socket, server: Socket, seed: int) -> None:
        self.client, self.server, self.seed = client, server, seed

    def __iter__(self) -> Iterator[Socket]:
        return iter((self.client, self.server))

    def __repr__(self) -> str:
        return f"<Pair {self.client!r} {self.server!r} seed={self.seed}>"


def pair(
    options: Mapping[str, Any] | None = None,
    *,
    latency_ms: float | tuple[float, float] = 0,
    rate: float | None = None,
    chop: int | tuple[int, int] | None = None,
    flip_every: int | None = None,
    reset_after: int | None = None,
    end_after: int | None = None,
    stall_after: int | None = None,
    toward: str | None = None,
    seed: int | None = None,
) -> Pair:
    """Create two sockets that are connected to each other, in memory, with or without faults.

    They are ordinary sockets of this thread's loop, with all events from 'data' to 'close'. Between
    them is no network, but a pair of unix sockets, so that neither has an address or a port. A
    direction with faults holds at most 65536 bytes before the writer has to wait.

    Args:
        options: mapping, the options of both sockets, as for Socket, and the deadlines that
            connect() takes, such as idle_timeout; default none.
        latency_ms: int or float, ms from 0 to 2147483647, default 0: how much later each byte
            arrives. A tuple (low, high) draws the latency of each chunk; their order stays.
        rate: int or float, bytes per second from 1 to 10**12, default no bound.
        chop: int from 1 on, default as written: the size of the pieces in which the bytes arrive,
            one in each turn of the loop. A tuple (low, high) draws each size.
        flip_every: int from 1 on, default never: in each stretch of that many bytes one random bit
            is flipped.
        reset_after: int, bytes, default never: after that many, which a peer that reads still gets,
            the connection is reset; both sockets fail with ECONNRESET.
        end_after: int, bytes, default never: after that many the direction ends, and what is
            written later is lost; the other direction continues.
        stall_after: int, bytes, default never: after that many nothing arrives any more, not even
            the end, as in a black hole.
        toward: 'client' or 'server', default both: the only direction that has the faults.
        seed: int, default the environment's PYUVNET_TESTING_SEED, or else drawn: what is random in
            the faults is the same for the same seed and the same writes.

    Returns: Pair; `client, server = pair()` takes the sockets out of it.
    Raises: what Socket raises; ArgTypeError (ERR_INVALID_ARG_TYPE, on Windows
        ERR_FEATURE_UNAVAILABLE_ON_PLATFORM), ArgValueError (ERR_INVALID_ARG_VALUE), RangeError
        (ERR_OUT_OF_RANGE); OSError without descriptors.

    Node: none
    """
    if sys.platform == "win32":
        raise feature_unavailable("pair()")
    faults = _faults(latency_ms, rate, chop, flip_every, reset_after, end_after, stall_after)
    directions = _directions(faults, toward)
    seed = _seed(seed, "pair()", faults)
    client, near = _connected(options, {"allow_half_open": True} if faults != NONE else options)
    if faults == NONE:
        return Pair(client, near, seed)
    try:
        far, server = _connected({"allow_half_open": True}, options)
    except BaseException:
        client.destroy()
        near.destroy()
        raise
    made = Pair(client, server, seed)

    def reset() -> None:
        for end in made:
            if not end.destroyed:
                end.destroy(make_os_error(UV_ECONNRESET, "read"))
        link.destroy()

    def closed(had_error: bool) -> None:
        if client.closed and server.closed:
            # One that has stalled would not notice.
            link.destroy()

    link = _Link(near, far, directions, str(seed), reset)
    for end in made:
        end.on("close", closed)
    return made


def _connected(
    first: Mapping[str, Any] | None, second: Mapping[str, Any] | None
) -> tuple[Socket, Socket]:
    """Two sockets with nothing between them, and with the options of each."""
    made: list[Socket] = []
    ends = std.socketpair()
    try:
        for end, options in zip(ends, (first, second), strict=True):
            given = CONNECT_ALL.read(options, {})
            limits = read_limits(given)
            made.append(Socket({**given, "fd": end.fileno()}))
            end.detach()
            if limits is not None:
                made[-1]._start_limits(limits)
    except BaseException:
        for end in ends:
            end.close()
        for socket in made:
            socket.destroy()
        raise
    return made[0], made[1]


class FaultProxy:
    """A TCP proxy that treats connections as bad networks do.

    It listens on 127.0.0.1 at once, and connects each client to the target. Clients and servers may
    be in this process or elsewhere; the proxy runs in this thread's loop.

        with testing.FaultProxy(server.address(), latency_ms=50, rate=10_000) as proxy:
            client = net.connect(proxy.port)
            ...

    Args:
        target: where clients are connected to: a port, (host, port), the path of a unix socket, or
            a mapping, as Server.address() returns it and connect() takes it.
        latency_ms, rate, chop, flip_every: as for pair(). Where the pieces of `chop` end, a peer in
            another thread or process may see only with `rate`, since the kernel joins them.
        reset_after: int, bytes, default never: after that many both peers see a reset; 0: at once.
        end_after, stall_after, toward: as for pair().
        seed: int, as for pair(). Each connection has its own numbers, by the order of connections.

    Raises: as pair(); OSError if it cannot listen.

    Node: none
    """

    def __init__(
        self,
        target: int | str | tuple[str, int] | Mapping[str, Any],
        *,
        latency_ms: float | tuple[float, float] = 0,
        rate: float | None = None,
        chop: int | tuple[int, int] | None = None,
        flip_every: int | None = None,
        reset_after: int | None = None,
        end_after: int | None = None,
        stall_after: int | None = None,
        toward: str | None = None,
        seed: int | None = None,
    ) -> None:
        self._target = _target(target)
        faults = _faults(latency_ms, rate, chop, flip_every, reset_after, end_after, stall_after)
        self._faults = _directions(faults, toward)
        self._seed = _seed(seed, f"FaultProxy({target!r})", faults)
        self._links: dict[_Link, None] = {}
        self._count = 0
        self._stalled = False
        self._server = net.create_server({"allow_half_open": True}, self._connected)
        # Bound at once, while listen() with a host looks it up first.
        self._server.listen(net.BoundSocket({"host": "127.0.0.1"}))
        self._address: AddressInfo = self._server.address()

    @property
    def port(self) -> int:
        """The port that clients connect to. Node: none"""
        return int(self._address["port"])

    @property
    def seed(self) -> int:
        """The seed of what is random in the faults. Node: none"""
        return self._seed

    @property
    def connections(self) -> int:
        """How many connections it has now. Node: none"""
        return len(self._links)

    def address(self) -> AddressInfo:
        """Return where it listens, as Server.address(). Node: none"""
        return self._address

    def reset(self) -> None:
        """Reset all connections: their clients and servers fail with ECONNRESET. Node: none"""
        for link in list(self._links):
            link.reset()

    def stall(self) -> None:
        """Let nothing pass, neither bytes nor ends, until resume(). Node: none"""
        self._stalled = True
        for link in self._links:
            for flow in link.flows:
                flow.stalled = True

    def resume(self) -> None:
        """Let pass what stall() held back, or a connection with stall_after. Node: none"""
        self._stalled = False
        for link in list(self._links):
            for flow in link.flows:
                flow.resume()

    def close(self) -> None:
        """Stop listening, and close all connections. Closed already: no effect. Node: none"""
        if self._server.listening:
            self._server.close()
        for link in list(self._links):
            link.destroy()

    def __enter__(self) -> Self:
        """Return itself. Node: none"""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it. Node: none"""
        self.close()

    def __repr__(self) -> str:
        state = "listening" if self._server.listening else "closed"
        target = ":".join(map(str, reversed(self._target)))
        return f"<FaultProxy {self.port} -> {target} {state} connections={self.connections}>"

    def _connected(self, near: Socket) -> None:
        far = Socket({"allow_half_open": True})

        def reset() -> None:
            for socket in (near, far):
                # Over a unix socket, or before it is connected, there is no reset.
                if socket.remote_port is None or socket.destroyed:
                    socket.destroy()
                else:
                    socket.reset_and_destroy()

        self._count += 1
        link = _Link(near, far, self._faults, f"{self._seed} {self._count}", reset)
        self._links[link] = None
        if self._stalled:
            for flow in link.flows:
                flow.stalled = True

        def closed(had_error: bool) -> None:
            if near.closed and far.closed:
                self._links.pop(link, None)

        near.on("close", closed)
        far.on("close", closed)
        far.connect(*self._target)


add_node_names(FaultProxy)
