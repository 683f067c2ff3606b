"""virtual_time(): the clock of this thread stops, and moves when a test says so.

The core reads the time through libuv, whose clock is set (see _core/clock.pyx). What would wait
asks here instead: Loop.run() after each turn, and asyncio through the selector of its loop. When
nothing is ready, the clock moves to what is due next, or there is nothing to wait for, which is a
mistake in the test and raises.
"""

from __future__ import annotations

import select
import sys
import time
from typing import TYPE_CHECKING

from .._aio.driver import drivers
from .._base import validation as check
from .._base.hints import place_of_call
from .._core.clock import read_clock, set_clock
from .._core.loop import running_asyncio
from .._core.loop_registry import current_loop
from .._core.names import add_node_names
from .._core.timer import MAX_TIMEOUT, set_interval
from .._options.kernel import feature_unavailable
from ..loop import handles

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Generator
    from typing import Any, Self

    from .._core.timer import Timeout

MS = 1_000_000  # ns
# How long what is on its way really takes, in ms: before the clock moves, bytes on the loopback;
# lookups of the thread pool.
SETTLING_MS = 5
LOOKUP_MS = 10_000
# Turns without a move of the clock, after which advance() takes a loop for one that never rests.
MOST_TURNS = 1_000_000
MOST_NAMED = 20  # of the handles in an error
# The last moment that the clock can show, in ns.
LAST = 2**63 - 1


class NothingDueError(AssertionError):
    """Something waits in virtual time, but nothing is due and nothing arrives. Node: none"""


class _Done:
    """What advance() returns when it is over already."""

    def __await__(self) -> Generator[Any, None, None]:
        return
        yield


class _Selector:
    """The selector of an asyncio loop, which never waits longer than the clock lets it."""

    def __init__(self, selector: Any, clock: VirtualTime) -> None:
        self._selector, self._clock = selector, clock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._selector, name)

    def select(self, timeout: float | None = None) -> Any:
        return self._clock._select(self._selector, timeout)


class VirtualTime:
    """The clock that virtual_time() returns; `with` begins and ends virtual time.

    Node: none
    """

    def __init__(self, jump: bool, patience_ms: float) -> None:
        self._jump, self._patience = jump, patience_ms
        self._loop = current_loop()
        self._began = self._ns = 0  # ns
        self._base = 0.0  # what asyncio's clock showed then, in s
        self._target: int | None = None  # of advance(), in ns
        self._place = ("", 0)  # where advance() was called
        self._waiter: asyncio.Future[None] | None = None
        self._keeper: Timeout | None = None
        self._adopted: dict[asyncio.AbstractEventLoop, Any] = {}

    def __enter__(self) -> Self:
        """Stop the clock. Node: none"""
        self._loop = loop = current_loop()
        if loop._clock is not None:
            raise RuntimeError("virtual_time() is already active in this thread")
        if loop.running and running_asyncio() is None:
            raise RuntimeError("virtual_time() cannot be entered in a listener")
        # A whole number of ms, which is how libuv counts.
        self._ns = self._began = (read_clock() // MS + 1) * MS
        self._base = time.monotonic()
        if not set_clock(self._ns, loop):
            set_clock(0, loop)
            raise feature_unavailable("virtual_time()")
        loop._set_clock(self)
        try:
            driver = drivers.get(loop)
            for theirs in (running_asyncio(), None if driver is None else driver.theirs):
                if theirs is not None:
                    self.adopt(theirs)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, kind: object = None, *_: object) -> None:
        """Let the clock run again. Node: none"""
        loop = self._loop
        unfinished = kind is None and self._waiter is not None and not self._waiter.done()
        if not loop.closed:
            self._reached()
        for theirs, selector in self._adopted.items():
            if not theirs.is_closed():
                theirs._selector = selector  # type: ignore[attr-defined]
                del theirs.time
        self._adopted.clear()
        if loop.closed:
            set_clock(0)
        else:
            loop._set_clock(None)
            set_clock(0, loop)
        if unfinished:
            # Last: a warning may have been made an exception.
            import warnings

            warnings.warn_explicit(
                "advance() was not awaited, so the coroutine ended before the time had passed",
                RuntimeWarning,
                *self._place,
            )

    @property
    def now(self) -> float:
        """How many ms of virtual time have passed since its beginning. Node: none"""
        return (self._ns - self._began) / MS

    def advance(self, ms: float) -> Awaitable[None]:
        """Let time pass: whatever falls due happens at its own time, and so does all I/O.

        In a plain program it turns the loop, and returns when the time has passed. In a coroutine,
        await it. In a listener it begins when the listener has returned.

        Args:
            ms: int or float from 0 on, up to where the clock ends, after some 290 years.

        Returns: an awaitable.
        Raises: ArgTypeError (ERR_INVALID_ARG_TYPE), RangeError (ERR_OUT_OF_RANGE); RuntimeError
            outside of virtual time, or while time is being advanced; what listeners raise.

        Node: none
        """
        target = self._ns + int(check.validate_number(ms, "ms", 0, (LAST - self._ns) // MS) * MS)
        loop = self._loop
        if loop._clock is not self:
            raise RuntimeError("advance() can only be called inside its virtual_time() block")
        if self._target is not None:
            raise RuntimeError("advance() is already in progress")
        theirs = running_asyncio()
        if theirs is not None:
            self.adopt(theirs)
            self._waiter = theirs.create_future()
            self._place = place_of_call()
            self._target = target
            return self._waiter
        # Time passes also if all that waits for it is unref'd.
        self._keeper = set_interval(int, MAX_TIMEOUT)
        self._target = target
        if not loop.running:
            try:
                self._turn()
            finally:
                self._reached()
        return _Done()

    def __repr__(self) -> str:
        return f"<VirtualTime {_ms(self._ns - self._began)} ms>"

    # ---- Who would wait ------------------------------------------------------------------------

    def wait(self) -> None:
        """After a turn of run(): move the clock if nothing is ready. Node: none"""
        timeout = self._loop.backend_timeout() if self._loop.alive() else -1
        if timeout == 0 or self._poll(0):
            return
        due = None if timeout < 0 else (self._ns // MS + timeout) * MS - self._ns
        self._move(self._poll, due, False)

    def adopt(self, theirs: asyncio.AbstractEventLoop) -> None:
        """Let an asyncio loop of this thread live in virtual time too. Node: none"""
        if theirs in self._adopted:
            return
        selector = getattr(theirs, "_selector", None)
        if selector is None:
            raise RuntimeError(f"virtual_time() needs a loop of asyncio's own, not {theirs!r}")
        self._adopted[theirs] = selector
        theirs._selector = _Selector(selector, self)  # type: ignore[attr-defined]
        theirs.time = self._time  # type: ignore[method-assign]

    def _time(self) -> float:
        """asyncio's loop.time(), in s."""
        return self._base + (self._ns - self._began) / 1e9

    def _turn(self) -> None:
        """Turn our loop by itself until the target of advance() is reached."""
        turns, before = 0, self._ns
        while self._target is not None:
            self._loop.turn()
            self.wait()
            turns = turns + 1 if self._ns == before else 0
            before = self._ns
            if turns == MOST_TURNS:
                raise RuntimeError(f"The loop is still busy after {turns} turns at {self!r}")

    def _poll(self, ms: float) -> bool:
        """Whether our loop has input or output to do, really waiting so many ms for it."""
        poll = select.poll()
        poll.register(self._loop.backend_fd(), select.POLLIN)
        return bool(poll.poll(ms))

    def _select(self, selector: Any, timeout: float | None) -> Any:
        """What asyncio's loop gets instead of selector.select(timeout)."""
        found = selector.select(0)
        if found or (timeout is not None and timeout <= 0):
            return found
        # Its own descriptors are one to wake it and, while it drives ours, the one of our loop.
        others = len(selector.get_map()) > 1 + (self._loop in drivers)
        due = None
        if timeout is not None:
            due = max(round(timeout * 1e9), 1)
            # A float of seconds is not exact; what was meant is mostly a whole number of ms.
            whole = (self._ns + due + MS // 2) // MS * MS - self._ns
            if whole > 0 and abs(whole - due) < 1000:
                due = whole
        return self._move(lambda ms: selector.select(ms / 1000), due, others) or []

    def _move(self, poll: Callable[[float], Any], due: int | None, others: bool) -> Any:
        """Nothing is ready: move the clock, or raise; returns what has become ready meanwhile.

        Args:
            poll: waits so many ms in real time, and returns what is ready.
            due: ns from now until the next timer; None: there is none.
            others: whether asyncio watches more than our loop.
        """
        wanted = self._target is not None or (self._jump and due is not None)
        stats = self._loop._stats()
        # What comes through the kernel's TCP, or from another thread, may take a moment.
        if stats["lookups"]:
            found = poll(LOOKUP_MS)
        elif stats["tcp"] or others:
            found = poll(SETTLING_MS)
        else:
            found = None
        if found:
            return found
        if self._target is not None and (due is None or self._ns + due > self._target):
            self._set(self._target)
            self._reached()
        elif due is not None and wanted:
            self._set(self._ns + due)
        else:
            found = poll(self._patience)
            if not found:
                raise NothingDueError(self._why(due))
        return found

    def _reached(self) -> None:
        """The end of advance()."""
        self._target = None
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _set(self, ns: int) -> None:
        self._ns = max(ns, self._ns)
        set_clock(self._ns, self._loop)

    def _why(self, due: int | None) -> str:
        """What the error says: what waits, and for how long."""
        if due is None:
            text = "Nothing is ready and no timer is due, so this wait would never end."
        else:
            text = (
                f"Nothing is ready, and the next timer is due in {_ms(due)} ms: advance() the "
                "clock, or use virtual_time(jump=True)."
            )
        waiting = handles()
        for found in waiting[:MOST_NAMED]:
            text += f"\n  {found!r}"
        if len(waiting) > MOST_NAMED:
            text += f"\n  and {len(waiting) - MOST_NAMED} more"
        for theirs in self._adopted:
            for task in sys.modules["asyncio"].all_tasks(theirs):
                where = task.get_stack(limit=1)
                if where:
                    code = where[0].f_code
                    place = f"{code.co_filename}:{where[0].f_lineno}"
                    text += f"\n  task {task.get_name()!r} in {code.co_qualname}() at {place}"
        return text


def _ms(ns: int) -> str:
    """A duration in ms, never in scientific notation."""
    return f"{ns / MS:.6f}".rstrip("0").rstrip(".")


def virtual_time(jump: bool = False, *, patience_ms: float = 500) -> VirtualTime:
    """Stop the time of this thread's loop, for `with`: it passes when the program says so.

    Timers, idle timeouts and deadlines, and in coroutines asyncio.sleep() and asyncio.timeout(),
    happen when advance() lets time pass, not sooner; input and output go on as they come. Where the
    program would wait and nothing is due, NothingDueError says what waits, instead of a test that
    hangs.

        with testing.virtual_time() as clock:
            client, server = testing.pair()
            client.set_timeout(30_000, client.destroy)
            clock.advance(29_999)
            assert not client.destroyed
            clock.advance(1)
            assert client.destroyed

    Args:
        jump: bool, default False; True: run() and coroutines do not fail while a timer waits:
            whenever nothing else is to be done, the clock jumps to the next timer.
        patience_ms: int or float, ms of real time, default 500: how long to wait for what arrives
            from outside, such as another thread, before NothingDueError.

    Sockets of pair() are exact. Over TCP the bytes on their way have 5 ms of real time to arrive
    before the clock moves. What the kernel times itself, such as keep-alive, and what reads another
    clock, such as time.sleep(), stays real. The block has to close what it opens.

    Returns: VirtualTime, with advance() and `now`.
    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE), RangeError (ERR_OUT_OF_RANGE). On entering it:
        RuntimeError if virtual time is already active, or under a loop such as uvloop's, whose
        waits cannot be seen; ArgTypeError (ERR_FEATURE_UNAVAILABLE_ON_PLATFORM) on Windows, and
        where libuv is an installed one.

    Node: none (timers of node:test's mock)
    """
    check.validate_boolean(jump, "jump")
    check.validate_number(patience_ms, "patience_ms", 0)
    return VirtualTime(jump, patience_ms)


add_node_names(VirtualTime)
