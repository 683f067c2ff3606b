"""The functions of this thread's loop, and the two ways to share the thread with asyncio.

A plain program calls run(). A program with coroutines calls run(main()), which lets a fresh
asyncio loop drive ours; one that runs asyncio (or uvloop) already calls attach(). Either way
asyncio waits, on libuv's backend descriptor and timeout, and ours is turned without waiting. Where
asyncio cannot watch a descriptor (Windows), a thread of ours waits and tells it.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
import warnings
import weakref
from types import CoroutineType

from ._base import TYPE_CHECKING, overload
from ._base.hints import place_of_call
from ._core.loop import Loop
from ._core.server_base import ServerBase
from ._core.socket_base import SocketBase
from ._core.thread_loop import current_loop
from ._core.waiter import Stepper
from .errors import StateError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Coroutine, Hashable
    from typing import Any, TypeVar

    from ._core.emitter import EventEmitter
    from ._core.immediate import Immediate

    _T = TypeVar("_T")


@overload
def run(main: None = None) -> None: ...
@overload
def run(
    main: Coroutine[Any, Any, _T],
    *,
    debug: bool | None = None,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> _T: ...
def run(
    main: Coroutine[Any, Any, _T] | None = None,
    *,
    debug: bool | None = None,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> _T | None:
    """Turn this thread's loop until nothing keeps it alive, stop() was called, or code raised.

    Args:
        main: a coroutine; then asyncio runs it, drives our loop meanwhile, and its result is
            returned as soon as it is done. Other tasks are cancelled then, and may still use
            sockets until they end, all as in asyncio.run().
        debug, loop_factory: with a coroutine, as for asyncio.Runner; default None.
            `loop_factory=uvloop.new_event_loop` runs it on uvloop.

    Python's signal handlers run at once, also in the middle of a listener: let them call
    next_tick(server.close), say, rather than close things under its feet.

    A RuntimeWarning tells of a program that ends without it, leaving undone what it began (also by
    sys.exit(), but not by an exception), and of a call in a coroutine, which would stop asyncio
    meanwhile.

    Raises: what a listener, a callback or the coroutine raised; KeyboardInterrupt on Ctrl-C;
        StateError (ERR_LOOP_RUNNING) if the loop runs already. It can be called again.

    Node: none (the process runs its loop)
    """
    ours = current_loop()
    if main is None:
        _warn_inside_asyncio(ours)
        ours.run()
        return None
    import asyncio

    driver = None
    try:
        if asyncio._get_running_loop() is not None:
            raise RuntimeError("run() cannot be called with a coroutine while asyncio runs; await")
        with asyncio.Runner(debug=debug, loop_factory=loop_factory) as runner:
            driver = _drive(ours, runner.get_loop())
            result = runner.run(main)
            if driver is not None:
                driver.finish()
            return result
    finally:
        if driver is not None:
            driver.stop()
        # Where it never began, nothing else tells Python that this was seen.
        if isinstance(main, CoroutineType):
            main.close()


def stop() -> None:
    """Let run() return after the current callback and its ticks; outside run(): no effect.

    Node: none (process.exit() is the nearest)
    """
    current_loop().stop()


def next_tick(callback: Callable[..., object], *args: Any) -> None:
    """Run callback(*args) after the current callback, before the loop goes on.

    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE).

    Node: process.nextTick()
    """
    current_loop().next_tick(callback, *args)


def set_immediate(callback: Callable[..., object], *args: Any) -> Immediate:
    """Run callback(*args) after this turn's I/O.

    Returns: Immediate, with ref(), unref(), has_ref(), close().
    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE).

    Node: setImmediate()
    """
    return current_loop().set_immediate(callback, *args)


def set_exception_handler(handler: Callable[[Exception], object] | None) -> None:
    """Give uncaught exceptions of listeners and callbacks to handler(exc); None: raise them.

    KeyboardInterrupt and SystemExit always come out of run().

    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE).

    Node: process.on('uncaughtException')
    """
    current_loop().set_exception_handler(handler)


# ---- asyncio -------------------------------------------------------------------------------------


class _Kept:
    """What only an asyncio loop refers to: it goes when that loop is closed."""

    __slots__ = ("__weakref__", "_call")

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call

    def __call__(self) -> None:
        self._call()


class _Driver:
    """Lets one asyncio loop turn one of ours, by watching libuv's descriptor; see _drive()."""

    def __init__(self, ours: Loop, theirs: asyncio.AbstractEventLoop) -> None:
        self.ours = ours
        self.theirs = theirs
        self.over = False
        self._pid = os.getpid()
        self._timer: asyncio.TimerHandle | None = None
        self._turn_due = False
        kept = _Kept(self.turn)
        try:
            self._watch(kept)
            # asyncio tells nobody that it closes. But then it forgets what it watched.
            self._gone = weakref.ref(kept, lambda _: self.stop())
            ours.set_driver(self)
            self.wake()
            _drivers[ours] = self
        except BaseException:
            self.stop()
            raise

    def _watch(self, kept: _Kept) -> None:
        self.theirs.add_reader(self.ours.backend_fd(), kept)

    def _unwatch(self) -> None:
        self.theirs.remove_reader(self.ours.backend_fd())

    def gone(self) -> bool:
        """Whether asyncio's loop is closed, which it tells nobody."""
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
            if self._timer is None or self._timer.when() > due + 0.0005:
                self._forget_timer()
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
        if _drivers.get(self.ours) is self:
            del _drivers[self.ours]
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
    """Where asyncio cannot watch a descriptor: a thread waits for input and output, and tells it.

    The thread never turns the loop. It waits for the backend, asks for a turn, and waits again when
    that is over; so each batch of events is late by the change of threads, some 0.1 ms.
    """

    # Until it watches, which may fail half way.
    _keeper: weakref.ref[asyncio.TimerHandle] | None = None
    _thread: threading.Thread | None = None

    def _watch(self, kept: _Kept) -> None:
        # A timer that never fires is what asyncio forgets when it closes; the handle refers to it.
        self._keeper = weakref.ref(self.theirs.call_later(10**9, kept))
        # It waits after the first turn: before, libuv has not told the system what to wait for.
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


_drivers: dict[Loop, _Driver] = {}
_tasks: set[Any] = set()
_driven_before = False  # an asyncio loop has driven one of ours


def _drive(ours: Loop, theirs: asyncio.AbstractEventLoop) -> _Driver | None:
    """Let theirs drive ours; returns the driver, or None if it did already."""
    global _driven_before
    driver = _drivers.get(ours)
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
    _driven_before = True
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

    return Attachment(_drive(current_loop(), asyncio.get_running_loop()))


def detach() -> None:
    """Undo attach(); without it: no effect. What is open stays so, and waits. Node: none"""
    driver = _drivers.get(current_loop())
    if driver is not None:
        driver.stop()


# ---- A loop that nobody turns --------------------------------------------------------------------

# What the main thread began before it turned its loop: (process, loop, file, line).
_begun: tuple[int, Loop, str, int] | None = None
_ran_inside: Loop | None = None  # by run() in a coroutine, which has been told of then


def _running_asyncio() -> asyncio.AbstractEventLoop | None:
    """asyncio's loop that runs in this thread, without an import of asyncio."""
    events = sys.modules.get("asyncio.events")
    return None if events is None else events._get_running_loop()


def loop_undriven(ours: Loop) -> bool:
    """A loop is used that does not run: if asyncio runs instead, see whether it gets attached."""
    global _begun
    theirs = _running_asyncio()
    if theirs is None:
        if _begun is None and threading.current_thread() is threading.main_thread():
            _begun = os.getpid(), ours, *place_of_call()
        return False
    # Later, since attach() may be the next statement.
    theirs.call_soon(_warn_undriven, ours, *place_of_call())
    return True


def _warn_undriven(ours: Loop, filename: str, line: int) -> None:
    global _ran_inside
    if ours is _ran_inside:
        _ran_inside = None
        ours.undriven_checked = False
        return
    if ours in _drivers or ours.closed:
        return
    warnings.warn_explicit(
        "pyuvnet is used inside a running asyncio loop which does not drive it, so nothing will "
        "happen: call pyuvnet.attach() in a coroutine first, or start the program by "
        "pyuvnet.run(main()) instead of asyncio.run(main())",
        RuntimeWarning,
        filename,
        line,
    )


def _warn_inside_asyncio(ours: Loop) -> None:
    global _ran_inside
    # Driven by asyncio, or by itself, it refuses.
    if _running_asyncio() is not None and ours not in _drivers and not ours.running:
        # What was begun before is about to be asked about.
        _ran_inside = ours if ours.undriven_checked else None
        warnings.warn_explicit(
            "pyuvnet.run() in a coroutine: asyncio does nothing until it returns; call "
            "pyuvnet.attach() instead, and await what you wait for",
            RuntimeWarning,
            *place_of_call(),
        )


@atexit.register
def _tell_of_a_run_that_is_missing() -> None:
    """Warn, at the end of the program, of what waits in a loop that was never turned."""
    if _begun is None:
        return
    process, ours, filename, line = _begun
    ended_by_exception = getattr(sys, "last_value", None) is not None
    at_a_prompt = sys.flags.interactive or hasattr(sys, "ps1")
    if process != os.getpid() or ours.closed or ours._turned or ended_by_exception or at_a_prompt:
        return
    from ._core.alive import describe

    # A socket that was destroyed leaves a tick behind, and is nobody's mistake.
    if any(
        active and ref and not closing and not getattr(owner, "destroyed", False)
        for _, owner, active, ref, closing, *_ in describe(ours)
    ):
        warnings.warn_explicit(
            "the program ends, and what it began here never happened: this thread did not call "
            "pyuvnet.run()",
            RuntimeWarning,
            filename,
            line,
        )


# ---- Coroutines as listeners ---------------------------------------------------------------------


def start_task(
    awaitable: Awaitable[Any],
    what: str,
    done: Callable[[BaseException | None, Any], object],
    gone: Callable[[BaseException | None], object] | None = None,
) -> asyncio.Task[Any]:
    """Run an awaitable as a task of asyncio's, kept alive until it is done.

    Args:
        awaitable: what a coroutine function returned.
        what: names that function, for the error.
        done: gets (error, None) or (None, result) in a tick of our loop; nothing if cancelled.
        gone: gets the error at once, None if the task was cancelled; nothing if it returned.

    Raises: StateError (ERR_NO_ASYNC_LOOP).
    """
    import asyncio

    async def waiter() -> Any:
        return await awaitable

    try:
        theirs = asyncio.get_running_loop()
    except RuntimeError:
        if isinstance(awaitable, CoroutineType):
            awaitable.close()
        raise StateError(
            f"{what} is a coroutine function, and no asyncio loop runs now", "ERR_NO_ASYNC_LOOP"
        ) from None
    task: asyncio.Task[Any] | None = None

    def finish(finished: asyncio.Task[Any]) -> None:
        _tasks.discard(finished)
        if finished.cancelled():
            if gone is not None:
                gone(None)
            return
        error = finished.exception()
        if error is not None and gone is not None:
            gone(error)
        result = None if error is not None else finished.result()
        ours = current_loop()
        if ours in _drivers:
            # In a later tick, from where the loop's own exception path takes over.
            ours.next_tick(done, error, result)
        else:
            done(error, result)

    try:
        if type(awaitable) is CoroutineType:
            stepper = Stepper(awaitable)
            task = theirs.create_task(stepper)
            stepper.started(task)
        else:
            task = theirs.create_task(waiter())
        task.add_done_callback(finish)
        _tasks.add(task)
    except MemoryError:
        # It has not begun, and must not: the caller hears that it failed.
        if task is not None:
            task.cancel()
        elif isinstance(awaitable, CoroutineType):
            awaitable.close()
        raise
    return task


def run_listener(
    awaitable: Awaitable[Any],
    emitter: EventEmitter,
    event: Hashable,
    arguments: tuple[Any, ...],
    captured: bool,
) -> None:
    """Run what a coroutine listener returned."""
    if not _driven_before:
        if hasattr(awaitable, "close"):
            awaitable.close()
        raise StateError(
            f"The listener of {event!r} is a coroutine function, and no asyncio loop drives this "
            "thread: use pyuvnet.run(main()) or pyuvnet.attach()",
            "ERR_NO_ASYNC_LOOP",
        )

    def done(error: BaseException | None, _: Any) -> None:
        if error is not None:
            emitter._listener_failed(error, event, arguments, captured)

    what = f"The listener of {event!r}"
    if event != "connection" or not arguments or not isinstance(arguments[0], SocketBase):
        start_task(awaitable, what, done)
        return
    socket = arguments[0]

    def gone(error: BaseException | None) -> None:
        # Nobody else has the connection now, and its peer would wait for ever. Where failures are
        # captured the socket is destroyed with this one, in its place.
        if error is None or not captured:
            with contextlib.suppress(StateError):  # Its loop is closed, and so it is too.
                socket.destroy()

    undo = _bridge(socket)
    try:
        start_task(awaitable, what, done, gone if isinstance(emitter, ServerBase) else None)
    except BaseException:
        undo()
        raise


def _bridge(socket: SocketBase) -> Callable[[], object]:
    """Hear a new socket's error until its coroutine begins, as in Node it does at once.

    The coroutine meets the error when it reads or writes; what waits for 'error' or 'close' comes
    too late for them, as it does in Node a turn after an event. Returns what undoes it.
    """

    def heard(_: BaseException) -> None:
        pass

    def undo() -> None:
        socket.off("error", heard)

    theirs = _running_asyncio()
    if theirs is not None:
        socket.on("error", heard)
        # Just before the first step of the task, which is the next to be queued.
        theirs.call_soon(undo)
    return undo
