"""Graceful shutdown of servers, and the signals that begin it.

Owns the steps of server.shutdown() and their timers, and which signals are handled for which
servers. Accepting who waits, and ending idle sockets, is compiled, in ServerBase.
"""

from __future__ import annotations

import os
from _weakref import ref

from .._aio.tasks import GoesOn
from .._base import TYPE_CHECKING, partial
from .._base import validation as check
from .._base.hints import hint
from .._core.clock import read_clock
from .._core.lingering import seen_off
from .._core.loop import in_main_thread, running_asyncio
from .._core.loop_registry import current_loop
from .._core.timer import set_timeout
from .._core.waiter import Waiter
from ..errors import ArgTypeError, StateError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Generator, Sequence
    from typing import Any, Protocol

    from .._core.loop import Loop

    class Server(Protocol):
        """What a server lets its shutdown do: ServerBase has most of it."""

        _awaited: int

        @property
        def _running(self) -> bool: ...
        @property
        def _has_shut_down(self) -> bool: ...
        def _next_tick(self, callback: Callable[[], object]) -> None: ...
        def _announce_shutdown(self) -> None: ...
        def _forget_listening(self) -> None: ...
        def _accept_rest(self) -> int: ...
        def _begin_to_end(self) -> int: ...
        def _came_late(self) -> int: ...
        def _close_if_down(self) -> None: ...
        def _end_idle(self, grace: int) -> int: ...
        def _cut_off(self) -> int: ...
        def shutdown(
            self, timeout: float, *, lame_duck: float = 0, idle_grace: float = 0
        ) -> object: ...


MOST = 2**31 - 1  # ms, what a timer takes
_LEAST_WAIT = 5  # ms between two looks at which sockets are idle
_LONGEST_SEE_OFF = 1100  # ms that a program stays for what peers have not received


class ShutdownResult(tuple[int, int, int]):
    """What a graceful shutdown came to: a named tuple of three numbers.

    Attributes:
        ended: how many connections were open at 'shutdown', or came after it, and have ended.
        destroyed: how many were destroyed, since time was up.
        unaccepted: how many clients in the kernel's queue could not be accepted.

    Node: none
    """

    # As collections.namedtuple() makes it; importing that takes a program's start longer.
    __slots__ = ()
    __match_args__ = _fields = ("ended", "destroyed", "unaccepted")

    def __new__(cls, ended: int, destroyed: int, unaccepted: int) -> ShutdownResult:
        return tuple.__new__(cls, (ended, destroyed, unaccepted))

    def __getnewargs__(self) -> tuple[int, int, int]:
        return self[0], self[1], self[2]

    def __repr__(self) -> str:
        return f"ShutdownResult(ended={self[0]}, destroyed={self[1]}, unaccepted={self[2]})"

    @property
    def ended(self) -> int:
        return self[0]

    @property
    def destroyed(self) -> int:
        return self[1]

    @property
    def unaccepted(self) -> int:
        return self[2]


def check_times(timeout: Any, lame_duck: Any, idle_grace: Any) -> tuple[int, int, int]:
    """Check the durations of shutdown(); returns them as whole milliseconds."""
    limit, lame = milliseconds(timeout, "timeout"), milliseconds(lame_duck, "lame_duck")
    if lame > limit:
        # It is a part of that time, and no client could be served to the end.
        raise check.range_error("lame_duck", f">= 0 && <= {limit}, the timeout", lame_duck)
    return limit, lame, milliseconds(idle_grace, "idle_grace")


def milliseconds(value: Any, name: str) -> int:
    """Check one duration."""
    number = check.validate_number(value, name)
    if not 0 <= number <= MOST:
        raise check.range_error(name, f">= 0 && <= {MOST}", value)
    return int(number)


class Shutdown(GoesOn):
    """The shutdown of one server, from the call of shutdown() to its result; awaitable.

    It can be awaited by any number of tasks, also when it is over. Cancelling one of them changes
    nothing about the shutdown.

    Node: none
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self.result: ShutdownResult | None = None
        self.accepting = True
        self._loop = current_loop()
        self._opened = self._destroyed = self._unaccepted = 0
        self._grace = 0
        self._due = 0.0
        self._limit: Any = None
        self._step: Any = None
        self._callbacks: list[Callable[[ShutdownResult], object]] = []
        self._waiters: list[Waiter[ShutdownResult]] = []

    def __await__(self) -> Generator[Any, None, ShutdownResult]:
        """Wait for the result, a ShutdownResult. Node: none"""
        if self.result is not None:
            return self.result
        waiter: Waiter[ShutdownResult] = Waiter(lambda: self._waiters.remove(waiter))
        self._waiters.append(waiter)
        self.server._awaited += 1
        try:
            return (yield from waiter.__await__())
        finally:
            self.server._awaited -= 1

    def __repr__(self) -> str:
        state = "accepting" if self.accepting else "ending connections"
        return f"<Shutdown {state if self.result is None else self.result}>"

    def call(self, callback: Callable[[ShutdownResult], object] | None) -> None:
        """Call a callback with the result, once."""
        if callback is None:
            return
        if self.result is None:
            self._callbacks.append(callback)
        else:
            self.server._next_tick(partial(callback, self.result))

    # ---- The steps -----------------------------------------------------------------------------

    def begin(self, timeout: int, lame_duck: int, idle_grace: int) -> None:
        """Step 1: everything goes on for lame_duck ms."""
        self._grace = idle_grace
        if not self.server._running:
            self.accepting = False
            self.server._next_tick(self.over)
            return
        self.shorten(timeout)
        if lame_duck:
            self._step = set_timeout(self._stop_accepting, lame_duck).unref()
        else:
            self._step = self._loop.set_immediate(self._stop_accepting)
        self.server._announce_shutdown()

    def shorten(self, timeout: int) -> None:
        """Let time be up after timeout ms, if that is earlier than before."""
        if self.result is not None or not self.server._running:
            return
        due = read_clock() / 1e6 + timeout
        if self._limit is None or due < self._due:
            if self._limit is not None:
                self._limit.close()
            self._due = due
            self._limit = set_timeout(self._time_is_up, timeout).unref()

    def _stop_accepting(self) -> None:
        """Steps 2 and 3: accept who waits, close the listener, announce it to the connections."""
        if not self.accepting:
            return
        self.accepting = False
        self._step.close()
        self._step = None
        self.server._forget_listening()
        self._unaccepted = self.server._accept_rest()
        self._opened = self.server._begin_to_end()
        self.server._close_if_down()
        self._look()

    def _look(self) -> None:
        """Step 4: end the sockets that are idle."""
        if self.result is not None:
            return
        again = self.server._end_idle(self._grace)
        if again >= 0:
            # Often enough that silence is not noticed much later than it is over.
            wait = min(max(again, _LEAST_WAIT), max(self._grace // 5, _LEAST_WAIT))
            # It keeps the loop alive, which a paused socket whose peer has ended would not.
            self._step = set_timeout(self._look, wait)

    def _time_is_up(self) -> None:
        """Step 5: destroy what is left."""
        if self.accepting:
            self._stop_accepting()
        self._destroyed += self.server._cut_off()

    def over(self) -> None:
        """'close' was emitted: give out the result."""
        if self.result is not None:
            return
        self.accepting = False
        for timer in (self._limit, self._step):
            if timer is not None:
                timer.close()
        self._limit = self._step = None
        late = self.server._came_late()
        self.result = result = ShutdownResult(
            self._opened + late - self._destroyed, self._destroyed, self._unaccepted
        )
        for waiter in list(self._waiters):
            waiter.set_result(result)
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            # Each in a tick: one that raises keeps none of the others from being called.
            self.server._next_tick(partial(callback, result))
        on_signals.is_down(self.server)


# ---- Signals -------------------------------------------------------------------------------------


class _Watched:
    """A server whose shutdown a signal begins."""

    def __init__(self, server: Server, times: tuple[int, int, int]) -> None:
        self.server = ref(server)
        self.times = times


class _Installed:
    """How one signal is handled now, and what was there before."""

    def __init__(self, number: int, ours: Loop) -> None:
        import signal

        self.number = number
        self.ours = ours
        self.pid = os.getpid()
        self.before = signal.getsignal(number)
        self.theirs: asyncio.AbstractEventLoop | None = running_asyncio()
        if self.theirs is not None:
            try:
                self.theirs.add_signal_handler(number, on_signals.arrived, number)
                return
            except NotImplementedError:
                self.theirs = None

        def handler(number: int, frame: object) -> None:
            # Also in the middle of a callback, or of our own code: nothing is done here.
            import signal

            if self.pid == os.getpid() and not ours.closed:
                # The bound of set_max_threadsafe_calls() is for other threads.
                ours._push_call(on_signals.arrived, (number,))
            else:
                self.remove()
                signal.raise_signal(number)

        signal.signal(number, handler)
        self.handler = handler

    @property
    def stale(self) -> bool:
        """Whether the loop that it calls is closed."""
        return self.ours.closed if self.theirs is None else self.theirs.is_closed()

    def remove(self) -> None:
        """Put back what was there before."""
        import signal

        if self.theirs is not None:
            if self.theirs.is_closed() or not self.theirs.remove_signal_handler(self.number):
                return
        elif signal.getsignal(self.number) is not self.handler:
            # The program has put another one in its place.
            return
        signal.signal(self.number, signal.SIG_DFL if self.before is None else self.before)


class _OnSignals:
    """The signals that begin shutdowns, and the servers that they are for: one for the process."""

    def __init__(self) -> None:
        self._servers: dict[int, list[_Watched]] = {}
        self._installed: dict[int, _Installed] = {}
        self._begun: set[Server] = set()
        self._arrived: set[int] = set()
        self._waited_for = False
        # The handover under way: its servers, what stops it, and whether the program outlives it.
        self._handing: tuple[Sequence[Server], Callable[[], object], bool] | None = None
        # All servers are down, and the program ends once the handover is over.
        self._ending = False

    def watch(self, server: Server, numbers: list[int], times: tuple[int, int, int]) -> None:
        """Let each of the signals shut the server down."""
        for number in numbers:
            there = self._installed.get(number)
            if there is None or there.stale or there.pid != os.getpid():
                self._installed[number] = _Installed(number, current_loop())
            others = [
                each
                for each in self._servers.get(number, ())
                if each.server() not in (None, server)
            ]
            self._servers[number] = [*others, _Watched(server, times)]

    def watches(self, server: Server) -> bool:
        """Whether a signal shuts the server down."""
        # Copies, since other threads ask as well. Loops, since CPython 3.12.1 and 3.13.0 crash
        # where a generator expression is made without memory, which a transfer has to survive.
        for watched in list(self._servers.values()):
            for each in list(watched):
                if each.server() is server:
                    return True
        return False

    def arrived(self, number: int) -> None:
        """A signal has come: begin, or destroy at once what has begun."""
        import signal

        watched = [(each.server(), each.times) for each in self._servers.get(number, ())]
        servers = [(server, times) for server, times in watched if server is not None]
        # A signal of other servers begins theirs, and is no second one of these.
        first = any(server not in self._begun for server, _ in servers)
        if self._begun and (number in self._arrived or not first):
            begun = list(self._begun)
            self._restore()
            self._stop_handover(begun)
            for server in begun:
                server.shutdown(0)
            return
        if not servers:
            # They are gone: the signal means what it did before.
            self._restore()
            signal.raise_signal(number)
            return
        if not self._begun:
            self._waited_for = False
        self._arrived.add(number)
        # The others are down already, as after a handover.
        up = [(server, times) for server, times in servers if not server._has_shut_down]
        self._begun.update(server for server, _ in up)
        self._stop_handover([server for server, _ in servers])
        for server, (timeout, lame_duck, idle_grace) in up:
            try:
                server.shutdown(timeout, lame_duck=lame_duck, idle_grace=idle_grace)
            except StateError:
                # Its loop is closed, and the server with it.
                self._begun.discard(server)
        if not self._begun:
            self._all_down()

    def is_down(self, server: Server) -> None:
        """The shutdown of a server is over: after the last, the program is to end."""
        if server not in self._begun:
            return
        self._begun.discard(server)
        self._waited_for = self._waited_for or server._awaited > 0
        if not self._begun:
            self._all_down()

    def handover_begun(
        self, servers: Sequence[Server], stop: Callable[[], object], waits: bool
    ) -> None:
        """A successor starts: a signal of one of the servers calls stop().

        waits: the program ends when the handover is over, not before.
        """
        self._handing = servers, stop, waits

    def handover_over(self) -> None:
        """The successor is ready, or gone: nothing is left to stop."""
        self._handing = None
        self._end()

    def _stop_handover(self, servers: Sequence[Server]) -> None:
        if self._handing is not None and not set(servers).isdisjoint(self._handing[0]):
            self._handing[1]()

    def _all_down(self) -> None:
        if not self._any_left():
            self._restore()
            self._ending = True
            self._end()

    def _end(self) -> None:
        if self._ending and (self._handing is None or not self._handing[2]):
            self._ending = False
            end_run(self._waited_for)

    def _any_left(self) -> bool:
        """Whether a server runs that another signal is to shut down."""
        watched = [each.server() for group in self._servers.values() for each in group]
        return any(server is not None and server._running for server in watched)

    def _restore(self) -> None:
        self._servers.clear()
        self._arrived.clear()
        installed, self._installed = self._installed, {}
        for each in installed.values():
            each.remove()


on_signals = _OnSignals()
# The main coroutines of run(), by asyncio's loop.
mains: dict[Any, asyncio.Task[Any]] = {}
# Those of them that were cancelled since the last server is down.
ended: set[asyncio.Task[Any]] = set()


def end_run(waited_for: bool) -> None:
    """Let run() return.

    Args:
        waited_for: a coroutine waits for one of the servers, and knows what to do now.
    """
    theirs = running_asyncio()
    main = mains.get(theirs)
    if theirs is None:
        end: Callable[[], object] = current_loop().stop
    elif main is not None and not waited_for and not main.done():
        ended.add(main)
        end = main.cancel
    else:
        return
    when_seen_off(end)


def when_seen_off(end: Callable[[], object]) -> None:
    """Call a function that ends this thread's loop once everything is over.

    In the check phase, behind which is the closing one: the sockets that were destroyed last emit
    'close' before.
    """
    ours = current_loop()
    ours.set_immediate(_end_when_seen_off, end, ours, read_clock() / 1e6 + _LONGEST_SEE_OFF)


def _end_when_seen_off(end: Callable[[], object], ours: Loop, due: float) -> None:
    """Let peers receive what they were sent: the end of the process would reset the connections."""
    if seen_off(ours) and read_clock() / 1e6 < due:
        try:
            set_timeout(partial(_end_when_seen_off, end, ours, due), _LEAST_WAIT)
        except MemoryError:
            # Without a timer nothing would end the loop.
            pass
        else:
            return
    end()


def check_signals(given: tuple[Any, ...]) -> list[int]:
    """Check the signals of shutdown_on(); returns their numbers."""
    import signal

    if not given:
        raise check.missing_args_error(["signal"])
    if not in_main_thread():
        raise StateError("shutdown_on() can only be called in the main thread", "ERR_WRONG_THREAD")
    numbers = []
    for name in given:
        if isinstance(name, bool) or not isinstance(name, (str, int)):
            raise check.arg_type_error("signal", ["string", "number"], name)
        try:
            number = signal.Signals[name] if isinstance(name, str) else signal.Signals(name)
        except (KeyError, ValueError):
            error = ArgTypeError(f"Unknown signal: {name}", "ERR_UNKNOWN_SIGNAL")
            meant = f"SIG{str(name).upper().removeprefix('SIG')}"
            if meant in signal.Signals.__members__:
                hint(error, f"Did you mean {meant!r}?")
            raise error from None
        if number in (getattr(signal, "SIGKILL", None), getattr(signal, "SIGSTOP", None)):
            raise check.arg_value_error("signal", name, "cannot be handled")
        numbers.append(int(number))
    return numbers
