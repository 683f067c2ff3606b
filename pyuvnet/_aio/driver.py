"""How asyncio drives our loop: by itself, by attach() and detach(), and for run() with a coroutine.

asyncio waits, on libuv's backend descriptor and timeout, and ours is turned without waiting. Where
asyncio cannot watch a descriptor (Windows), a thread of ours waits and wakes it.

The core calls attach_by_itself(), through undriven.py, when something is used next to an asyncio
loop that does not drive it. A driver ends with its asyncio loop, by detach(), or when the last
`with attach():` is left and nothing else wanted it.

When asyncio's loop closes, whatever is left in ours would stay: servers that are not served, timers
that fire in the next asyncio.run(). So ours is closed then, if anything is left in it, without
calling anybody: the asyncio loop that the callbacks were written for is gone. It stays if something
was open before it was driven: then a plain program uses it, and goes on. An asyncio loop does
not report that it closes. It drops what it watched, and with it `_Kept`; where a traceback still
refers to that, the next use of ours finds out (loop_registry.pyx).
"""

from __future__ import annotations

import os
from _thread import get_ident
from _weakref import ref
from _weakrefset import WeakSet

from .. import loop as settings
from .._base import TYPE_CHECKING
from .._base.hints import without_our_frames
from .._base.validation import validate_boolean
from .._core.loop_registry import current_loop
from ..errors import StateError

if TYPE_CHECKING:
    import asyncio
    import threading
    from collections.abc import Callable

    from .._core.loop import Loop


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
        self.automatic = False  # attach() was not called
        self.calls = 0  # of attach(), apart from `with`
        self.blocks = 0  # entered by `with attach():`
        self._pid = os.getpid()
        self._made_in = get_ident()
        # A plain program uses it, which goes on when asyncio's loop is over.
        self._shared = bool(ours.alive() or ours.handle_count())
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0
        self._turn_due = False
        kept = _Kept(self.turn)
        try:
            self._watch(kept)
            # asyncio does not report that it closes. But then it forgets what it watched.
            self._gone = ref(kept, lambda _: self.ended())
            ours.set_driver(self, theirs)
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
        """Whether asyncio's loop does not need it: closed, or neither attached to nor running."""
        if self.theirs.is_closed():
            return True
        return self.automatic and not self.wanted() and not self.theirs.is_running()

    def wanted(self) -> bool:
        """Whether attach() was called."""
        return self.calls > 0 or self.blocks > 0

    def idle(self) -> bool:
        """Whether it has nothing to do, so that another asyncio loop may take its place."""
        return self.gone() and not self.ours.alive() and not self.ours.handle_count()

    def wake(self) -> None:
        """Plan a turn, once, soon."""
        if self.theirs.is_closed():
            self.ended()
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
            without_our_frames(error)
            self.theirs.call_exception_handler(
                {"message": "Unhandled exception in a pyuvnet listener", "exception": error}
            )
        finally:
            # A listener may have called detach().
            if not self.over:
                self._plan()

    def finish(self) -> None:
        """Do what is due at the end: it may not be awaited, but it was begun before."""
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

    def ended(self) -> None:
        """asyncio's loop has closed: close ours, if anything is left that it would drive."""
        ours = self.ours
        if self.over:
            return
        self.stop()
        if (
            not self._shared
            and self._pid == os.getpid()
            and self._made_in == get_ident()
            and not ours.closed
            and not ours.running
            and (ours.alive() or ours.handle_count())
        ):
            ours.close()

    def stop(self) -> None:
        """Leave both loops to themselves."""
        if self.over:
            return
        # First, since it needs memory: if it raises, stop() may be called again.
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
    _keeper: ref[asyncio.TimerHandle] | None = None
    _thread: threading.Thread | None = None

    def _watch(self, kept: _Kept) -> None:
        import threading

        # A timer that never fires is what asyncio forgets when it closes; the handle refers to it.
        self._keeper = ref(self.theirs.call_later(10**9, kept))
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
_attaching: set[Loop] = set()
# Those of asyncio that detach() has freed: what is used there stays undriven.
_detached: WeakSet[asyncio.AbstractEventLoop] = WeakSet()


def drive(ours: Loop, theirs: asyncio.AbstractEventLoop) -> _Driver | None:
    """Let theirs drive ours; returns the driver, or None if it did already."""
    driver = drivers.get(ours)
    # That it is closed it learns when asyncio forgets it, for which a traceback can make it wait.
    if driver is not None and driver.theirs.is_closed():
        driver.ended()
        driver = None
    elif driver is not None and driver.theirs is not theirs and driver.idle():
        driver.stop()
        driver = None
    if driver is not None:
        if driver.theirs is not theirs:
            raise StateError(
                "Another asyncio loop already drives this thread's loop", "ERR_LOOP_RUNNING"
            )
        return None
    if ours.running:
        raise StateError("The loop is already running by itself", "ERR_LOOP_RUNNING")
    if ours._clock is not None:
        ours._clock.adopt(theirs)
    # What follows are operations on our loop, which would attach by themselves.
    _attaching.add(ours)
    try:
        if ours.backend_fd() < 0:
            return _ThreadDriver(ours, theirs)
        try:
            return _Driver(ours, theirs)
        except NotImplementedError:
            return _ThreadDriver(ours, theirs)
    finally:
        _attaching.discard(ours)


def attach_by_itself(ours: Loop, theirs: asyncio.AbstractEventLoop) -> bool:
    """Let theirs, which runs, drive ours, if that is allowed; returns whether it does."""
    if ours in _attaching:
        return True
    if theirs in _detached or not _automatic():
        return False
    try:
        driver = drive(ours, theirs)
    except StateError:
        # Another one drives it, which may run again.
        return False
    if driver is not None:
        driver.automatic = True
    return True


def _automatic() -> bool:
    return validate_boolean(settings.auto_attach, "pyuvnet.loop.auto_attach")


class Attachment:
    """What attach() returns: leaving `with` detaches, unless something else wants to be attached.

    That is another attach(), or an attachment that came by itself. If something is open when the
    block is left, it goes on, as if the loops had attached by themselves.

    Node: none
    """

    _entered = False

    def __init__(self, driver: _Driver) -> None:
        self._driver = driver

    def __enter__(self) -> Loop:
        """Return this thread's loop. Node: none"""
        # The call of attach() counts until the block ends, and no longer.
        if not self._entered:
            self._entered = True
            self._driver.calls -= 1
        self._driver.blocks += 1
        return current_loop()

    def __exit__(self, *_: object) -> None:
        """Detach, unless something else wants to be attached. Node: none"""
        driver = self._driver
        driver.blocks -= 1
        if driver.over or driver.wanted() or driver.automatic:
            return
        ours = driver.ours
        if _automatic() and (ours.alive() or ours.handle_count()):
            driver.automatic = True
        else:
            driver.stop()


def attach() -> Attachment:
    """Let the asyncio (or uvloop) loop running in this thread drive pyuvnet's. Idempotent.

    Rarely needed: the first socket, server or timer attaches automatically; see
    pyuvnet.loop.auto_attach.

    Exceptions of listeners go to that loop's exception handler, unless set_exception_handler()
    takes them. It ends with detach(), or when either loop is closed. If that loop closes while
    sockets, servers or timers are left here, they are closed too, without calling a listener.

    Returns: a context manager: `with pyuvnet.attach():` detaches at its end, unless the loops were
        attached before, or something is still open.
    Raises: RuntimeError if no asyncio loop runs here; StateError (ERR_LOOP_RUNNING) if ours runs
        by itself, or another asyncio loop drives it.

    Node: none
    """
    import asyncio

    ours, theirs = current_loop(), asyncio.get_running_loop()
    fresh = drive(ours, theirs)
    driver = drivers[ours]
    try:
        attachment = Attachment(driver)
    except BaseException:
        if fresh is not None:
            fresh.stop()
        raise
    _detached.discard(theirs)
    driver.calls += 1
    return attachment


def detach() -> None:
    """Stop asyncio from driving this thread's loop; no effect if it does not.

    Sockets stay open, and wait. Nothing attaches automatically while the same asyncio loop runs;
    attach() does.

    Node: none
    """
    driver = drivers.get(current_loop())
    if driver is not None:
        _detached.add(driver.theirs)
        driver.stop()
