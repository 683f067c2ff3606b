"""How asyncio drives our loop: attach(), detach(), and run() with a coroutine.

asyncio waits, on libuv's backend descriptor and timeout, and ours is turned without waiting. Where
asyncio cannot watch a descriptor (Windows), a thread of ours waits and wakes it.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref

from ._base import TYPE_CHECKING
from ._core.loop_registry import current_loop
from .errors import StateError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from ._core.loop import Loop


class _Kept:
    """What only an asyncio loop refers to: it goes when that loop is closed."""

    __slots__ = ("__weakref__", "_call")

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call

    def __call__(self) -> None:
        self._call()


class _Driver:
    """Lets one asyncio loop turn one of ours, by watching libuv's descriptor; see drive()."""

    def __init__(self, ours: Loop, theirs: asyncio.AbstractEventLoop) -> None:
        self.ours = ours
        self.theirs = theirs
        self.over = False
        self._pid = os.getpid()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0
        self._turn_due = False
        kept = _Kept(self.turn)
        try:
            self._watch(kept)
            # asyncio does not report that it closes. But then it forgets what it watched.
            self._gone = weakref.ref(kept, lambda _: self.stop())
            ours.set_driver(self)
            self.wake()
            drivers[ours] = self
        except BaseException:
            self.stop()
            raise

    def _watch(self, kept: _Kept) -> None:
        self.theirs.add_reader(self.ours.backend_fd(), kept)

    def _unwatch(self) -> None:
        self.theirs.remove_reader(self.ours.backend_fd())

    def gone(self) -> bool:
        """Whether asyncio's loop is closed, which asyncio does not report."""
        return self.theirs.is_closed()

    def wake(self) -> None:
        """Plan a turn, once, soon."""
        if self.gone():
            self.stop()
        elif not self._turn_due:
            self._turn_due = True
            self.theirs.call_soon(self.turn)

    def turn(self) -> None:
        """Turn our loop without waiting, then plan the next timer."""
        self._turn_due = False
        if self.over or self.ours.running:
            return
        try:
            self.ours.turn(True)
        except Exception as error:
            self.theirs.call_exception_handler(
                {"message": "Unhandled exception in a pyuvnet listener", "exception": error}
            )
        finally:
            # A listener may have called detach().
            if not self.over:
                self._plan()

    def finish(self) -> None:
        """Do what is due at the end: nobody may wait for it, but it was begun before."""
        if not self.over and self.ours.backend_timeout() == 0:
            self.turn()

    def _plan(self) -> None:
        timeout = self.ours.backend_timeout()
        if timeout == 0:
            self.wake()
        elif timeout > 0:
            due = self.theirs.time() + timeout / 1000
            # One that fires earlier plans the rest: an idle timeout moves with each chunk.
            # What uvloop returns for a time that has passed has no when().
            if self._timer is None or self._timer_due > due + 0.0005:
                self._forget_timer()
                self._timer_due = due
                self._timer = self.theirs.call_at(due, self._timer_fired)
        elif self._timer is not None:
            self._forget_timer()

    def _timer_fired(self) -> None:
        self._timer = None
        self.turn()

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def stop(self) -> None:
        """Leave both loops to themselves."""
        if self.over:
            return
        # First, since it needs memory: if it raises, whoever stops may try again.
        forked = self._pid != os.getpid()
        self.over = True
        if drivers.get(self.ours) is self:
            del drivers[self.ours]
        if forked:
            # Descriptors and threads are the parent's.
            return
        try:
            self._forget_timer()
            if not self.theirs.is_closed():
                self._unwatch()
        finally:
            if not self.ours.closed:
                self.ours.set_driver(None)


class _ThreadDriver(_Driver):
    """Where asyncio cannot watch a descriptor: a thread waits for input and output, and wakes it.

    The thread never turns the loop. It waits for the backend, asks for a turn, and waits again when
    that is over; so each batch of events is late by the change of threads, some 0.1 ms.
    """

    # Until it watches, which may fail half way.
    _keeper: weakref.ref[asyncio.TimerHandle] | None = None
    _thread: threading.Thread | None = None

    def _watch(self, kept: _Kept) -> None:
        # A timer that never fires is what asyncio forgets when it closes; the handle refers to it.
        self._keeper = weakref.ref(self.theirs.call_later(10**9, kept))
        # It waits after the first turn: before that libuv has not registered what to wait for.
        self._granted = threading.Semaphore(0)
        self._begun = False
        thread = threading.Thread(target=self._wait, name="pyuvnet waker", daemon=True)
        thread.start()
        self._thread = thread

    def _unwatch(self) -> None:
        keeper = None if self._keeper is None else self._keeper()
        if keeper is not None:
            keeper.cancel()

    def _wait(self) -> None:
        while True:
            self._granted.acquire()
            if self.over:
                return
            self.ours.wait_for_io()
            if self.over:
                return
            try:
                self.theirs.call_soon_threadsafe(self._io)
            except RuntimeError:
                # Closed meanwhile; stop() comes, or has come.
                return

    def _io(self) -> None:
        # In any case: a listener may raise what ends programs, and this one goes on.
        try:
            self.turn()
        finally:
            self._granted.release()

    def turn(self) -> None:
        try:
            super().turn()
        finally:
            if not self._begun:
                self._begun = True
                self._granted.release()

    def stop(self) -> None:
        if self.over:
            return
        super().stop()
        if self._thread is not None and self._pid == os.getpid():
            self.ours.interrupt_wait()
            self._granted.release()
            self._thread.join()


drivers: dict[Loop, _Driver] = {}
driven_before = False  # an asyncio loop has driven one of ours


def drive(ours: Loop, theirs: asyncio.AbstractEventLoop) -> _Driver | None:
    """Let theirs drive ours; returns the driver, or None if it did already."""
    global driven_before
    driver = drivers.get(ours)
    if driver is not None and driver.gone():
        # It learns of that when asyncio forgets it, for which a traceback can make it wait.
        driver.stop()
        driver = None
    if driver is not None:
        if driver.theirs is not theirs:
            raise StateError("Another asyncio loop drives this thread's loop", "ERR_LOOP_RUNNING")
        return None
    if ours.running:
        raise StateError("The loop is running by itself already", "ERR_LOOP_RUNNING")
    driven_before = True
    if ours.backend_fd() < 0:
        driver = _ThreadDriver(ours, theirs)
    else:
        try:
            driver = _Driver(ours, theirs)
        except NotImplementedError:
            driver = _ThreadDriver(ours, theirs)
    return driver


class Attachment:
    """What attach() returns: leaving `with` detaches, unless the loops were attached before.

    Node: none
    """

    def __init__(self, driver: _Driver | None) -> None:
        self._driver = driver

    def __enter__(self) -> Loop:
        """Return this thread's loop. Node: none"""
        return current_loop()

    def __exit__(self, *_: object) -> None:
        """Detach, if it was this attach() that attached. Node: none"""
        if self._driver is not None:
            self._driver.stop()


def attach() -> Attachment:
    """Let the asyncio (or uvloop) loop that runs in this thread drive ours. Idempotent.

    Exceptions of listeners go to that loop's exception handler, unless set_exception_handler()
    takes them. It ends by detach(), or when either loop is closed.

    Returns: a context manager: `with pyuvnet.attach():` detaches at its end.
    Raises: RuntimeError if no asyncio loop runs here; StateError (ERR_LOOP_RUNNING) if ours runs
        by itself, or another asyncio loop drives it.

    Node: none
    """
    import asyncio

    return Attachment(drive(current_loop(), asyncio.get_running_loop()))


def detach() -> None:
    """Undo attach(); without it: no effect. What is open stays so, and waits. Node: none"""
    driver = drivers.get(current_loop())
    if driver is not None:
        driver.stop()


def running_asyncio() -> asyncio.AbstractEventLoop | None:
    """asyncio's loop that runs in this thread, without an import of asyncio."""
    events = sys.modules.get("asyncio.events")
    return None if events is None else events._get_running_loop()
