"""The loops of all threads: what keeps one alive, and whether it attaches to asyncio by itself.

    >>> pyuvnet.loop.handles()
    [<tcp 127.0.0.1:8124 of <Server 127.0.0.1:8124 connections=0>, keeps the loop alive>]

Attributes:
    auto_attach: bool, default True. The first socket, server or timer that is made or used in a
        thread where an asyncio (or uvloop) loop runs, and no loop of ours, attaches by itself: that
        loop drives ours until it is closed. Assign False to call attach() instead; then what is
        used without it does nothing, and a RuntimeWarning says so.

Node: process.getActiveResourcesInfo()
"""

from __future__ import annotations

from ._base import TYPE_CHECKING
from ._base import validation as check
from ._base.info import Info
from ._core.alive import describe
from ._core.immediate import Immediate
from ._core.loop import Loop
from ._core.loop_registry import current_loop
from ._core.names import add_node_names
from ._core.socket_base import queued_bytes
from ._core.socket_base import set_write_budget as _set_write_budget

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

auto_attach: bool = True


class HandleInfo:
    """Something that is alive in a loop, as of the call of handles().

    Attributes:
        kind: 'tcp', 'pipe', 'timer', 'immediate', 'lookup', 'tick' or 'call from a thread'.
        owner: the Socket or Server, or the callback; None for a handle without one, such as
            that of a BoundSocket.
        active: bool, whether it waits for something: a socket that reads, a server that listens.
        ref: bool, whether it may keep the loop alive; False after unref().
        closing: bool, whether it is being closed.
        requests: tuple of str, what the system has not completed yet: 'connect', 'write',
            'shutdown', 'lookup HOST'.
        address: 'address:port', with ' -> address:port' of the peer, or the path; None without.

    Node: none
    """

    # No dataclass: importing that takes longer than all of pyuvnet.
    __slots__ = ("active", "address", "closing", "kind", "owner", "ref", "requests")

    kind: str
    owner: Any
    active: bool
    ref: bool
    closing: bool
    requests: tuple[str, ...]
    address: str | None

    def __init__(
        self,
        kind: str,
        owner: Any,
        active: bool,
        ref: bool,
        closing: bool,
        requests: tuple[str, ...],
        address: str | None,
    ) -> None:
        self.kind, self.owner, self.address = kind, owner, address
        self.active, self.ref, self.closing = active, ref, closing
        self.requests = requests

    @property
    def keeps_alive(self) -> bool:
        """Whether it keeps run() from returning. Node: none"""
        return bool(self.requests) or self.closing or (self.active and self.ref)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, HandleInfo):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        text = self.kind
        if self.address is not None:
            text += f" {self.address}"
        if self.owner is not None:
            text += f" of {self.owner!r}"
        if self.requests:
            text += f", in flight: {', '.join(self.requests)}"
        if self.closing:
            text += ", closing"
        return f"<{text}, {'keeps' if self.keeps_alive else 'does not keep'} the loop alive>"

    def __str__(self) -> str:
        return repr(self)


def handles() -> list[HandleInfo]:
    """Return what is alive in this thread's loop: the reasons why run() does not return.

    Returns: list of HandleInfo. The loop's own helpers are not in it.

    Node: process.getActiveResourcesInfo()
    """
    return [
        HandleInfo(*found[:6], _where(found[0], found[1], *found[6:]))
        for found in describe(current_loop())
    ]


def set_write_budget(size: int | None) -> None:
    """Limit how much the sockets of this thread's loop queue together.

    When they queue more, those with the longest queues are destroyed with StateError
    (ERR_WRITE_BUDGET) until the others fit; their servers emit 'overload' (info), with
    `info.scope` 'loop'. Data that the kernel has accepted does not count. Data that several
    sockets write from the same memory, such as a broadcast of one `bytes` object, counts once; what
    is queued when the limit is set counts for each socket. One write may exceed the limit if
    nothing else is queued.

    Args:
        size: int >= 0, bytes; None: no limit, the default. A limit that is already exceeded
            applies immediately.

    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE), RangeError (ERR_OUT_OF_RANGE).

    Node: none
    """
    if size is not None:
        size = check.validate_integer(size, "size", 0)
    _set_write_budget(current_loop(), size)


def set_max_threadsafe_calls(count: int | None) -> None:
    """Limit how many calls from other threads may wait in this thread's loop.

    Beyond it, call_soon_threadsafe() raises StateError (ERR_QUEUE_FULL) in the calling thread.
    `Loop.set_max_threadsafe_calls()` does the same for any loop.

    Args:
        count: int >= 1; None: no bound, the default.

    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE), RangeError (ERR_OUT_OF_RANGE).

    Node: none
    """
    current_loop().set_max_threadsafe_calls(count)


def measure(enabled: bool = True) -> None:
    """Start measuring the callbacks of this thread's loop, from zero; False stops.

    It costs two readings of the clock for each callback, for each listener, and each time that the
    loop waits. stats() shows what was found. A callback that takes the loop's slow_callback_ms or
    longer is logged, as by on_slow().

    Args:
        enabled: bool, default True.

    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE).

    Node: none (perf_hooks.monitorEventLoopDelay())
    """
    current_loop()._measure(check.validate_boolean(enabled, "enabled"))


def on_slow(ms: float | None, callback: Callable[[str, float], object] | None = None) -> None:
    """Log slow callbacks of this thread's loop, or call a function for each.

    Args:
        ms: int or float, 0 to 2147483647: the limit. None removes all limits.
        callback: callable(name, ms): what was slow, and how long it took. It runs in the check
            phase, and is not reported itself. None, the default: the logger `pyuvnet` warns, at
            once and then at most once a second, with the slowest and how many there were.

    Several may be set, each with its own limit. The name is that of the listener, or the function,
    that took longest, such as `'handle() at /srv/api.py:12'`; of a coroutine also its task's.
    It costs two readings of the clock for each callback and each listener, and needs no debug mode.

    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE), RangeError (ERR_OUT_OF_RANGE).

    Node: none
    """
    if callback is not None:
        check.validate_function(callback, "callback")
    if ms is not None:
        current_loop()._on_slow(float(check.validate_number(ms, "ms", 0, 2147483647)), callback)
    else:
        current_loop()._on_slow(-1.0, None)


def stats() -> Info:
    """Return counters of this thread's loop.

    The result is a mapping whose keys are also attributes. It costs a few reads, and without
    set_write_budget() one for each open socket, for queued_bytes.

    Returns:
        age_ms: float, since the loop was made;
        cpu_ms, cpu_share: float, how long its thread has used a CPU since then, and which part of
            the time that is: near 1, the loop is saturated. Time in which its callbacks wait does
            not count;
        turns: int, how many turns the loop has made;
        events, events_waiting: int, how many events the system had for it, and how many of those
            were already waiting when it polled: a growing share means that the loop is busy;
        handles: mapping of kind ('tcp', 'pipe', 'lookup') to int, those being closed included;
        queued_bytes: int, what its sockets have written and the kernel has not accepted;
        queued_ticks, queued_calls: int, callbacks of next_tick() and calls from other threads that
            wait;
        measured_ms: float, since measure() was called; None if it was not, and then the items below
            are missing:
        idle_ms: float, how long libuv has waited for events; about 0 while asyncio drives the loop,
            since it is asyncio that waits. Counting it costs two readings of the clock each time
            that the loop waits, so that it begins with measure();
        busy_ms, busy_share: float, how long callbacks ran, and which part of the time that is;
        callbacks: int, how many;
        longest_callback_ms: float;
        callback_times: list of (limit_ms, count): how many took less than limit_ms, and not less
            than the limit before, which is half of it. The last limit is infinite.

    Node: none (performance.eventLoopUtilization())
    """
    found = current_loop()._stats()
    result = Info(
        age_ms=found["age_ms"],
        # The two clocks are read one after the other.
        cpu_ms=min(found["cpu_ms"], found["age_ms"]),
        cpu_share=min(found["cpu_ms"] / found["age_ms"], 1.0),
        turns=found["turns"],
        events=found["events"],
        events_waiting=found["events_waiting"],
        handles={kind: found[kind] for kind in ("tcp", "pipe")} | {"lookup": found["lookups"]},
        queued_bytes=queued_bytes(current_loop()),
        queued_ticks=found["ticks"],
        queued_calls=found["calls"],
        measured_ms=found["measured_ms"],
    )
    if found["measured_ms"] is not None:
        times = found["callback_times"]
        limits = [2**index / 1000 for index in range(len(times) - 1)] + [float("inf")]
        result.update(
            idle_ms=found["idle_ms"],
            busy_ms=found["busy_ms"],
            busy_share=found["busy_ms"] / found["measured_ms"] if found["measured_ms"] else 0.0,
            callbacks=sum(times),
            longest_callback_ms=found["longest_callback_ms"],
            callback_times=list(zip(limits, times, strict=True)),
        )
    return result


def _where(kind: str, owner: Any, local: Any, peer: Any) -> str | None:
    ends = [
        f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        for address, port, _ in filter(None, (local, peer))
    ]
    if ends:
        return " -> ".join(ends)
    path = getattr(owner, "_path", None) if kind == "pipe" else None
    return None if path is None else str(path)


__all__ = [
    "HandleInfo",
    "Immediate",
    "Loop",
    "current_loop",
    "handles",
    "measure",
    "on_slow",
    "set_max_threadsafe_calls",
    "set_write_budget",
    "stats",
]
add_node_names(HandleInfo)
add_node_names(globals())
