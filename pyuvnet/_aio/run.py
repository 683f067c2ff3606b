"""The functions of this thread's loop, run() first.

A plain program calls run(). A program with coroutines calls run(main()), which lets a fresh
asyncio loop drive ours; where asyncio (or uvloop) runs already ours attaches, see _aio/driver.py.
"""

from __future__ import annotations

from types import CoroutineType

from .._base import TYPE_CHECKING, overload
from .._base.hints import hint
from .._core.loop_registry import current_loop
from .._server.shutdown import ended, mains
from .driver import drive
from .undriven import warn_inside_asyncio

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine
    from typing import Any, TypeVar

    from .._core.immediate import Immediate

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
    """Run this thread's loop until nothing keeps it alive, stop() is called, or code raises.

    Args:
        main: a coroutine; then asyncio runs it, drives our loop meanwhile, and its result is
            returned as soon as it is done. Other tasks are cancelled then, and may still use
            sockets until they end, all as in asyncio.run(). What is open after that is closed,
            without calling a listener, unless something was open before.
        debug, loop_factory: with a coroutine, as for asyncio.Runner; default None.
            `loop_factory=uvloop.new_event_loop` runs it on uvloop.

    Python's signal handlers run at once, even in the middle of a listener. Let them call
    next_tick(server.close), for example, instead of closing what that listener is using.

    A RuntimeWarning reports a program that starts something and exits without calling run() (also
    with sys.exit(), but not with an exception).

    Raises: what a listener, a callback or the coroutine raised; KeyboardInterrupt on Ctrl-C;
        StateError (ERR_LOOP_RUNNING) if the loop is already running, or in a coroutine, where
        asyncio drives it. It can be called again.

    Node: none (the process runs its loop)
    """
    ours = current_loop()
    if main is None:
        warn_inside_asyncio(ours)
        ours.run()
        return None
    import asyncio

    if not asyncio.iscoroutine(main) and callable(main):
        error = ValueError(f"a coroutine was expected, got {main!r}")
        hint(error, f"Call it: run({getattr(main, '__name__', 'main')}()).")
        raise error
    driver = None
    try:
        if asyncio._get_running_loop() is not None:
            raise RuntimeError(
                "run() cannot be called while asyncio is running; await the coroutine instead"
            )
        with asyncio.Runner(debug=debug, loop_factory=loop_factory) as runner:
            theirs = runner.get_loop()
            driver = drive(ours, theirs)
            # Before its first step.
            theirs.call_soon(_note_main, theirs)
            try:
                result = runner.run(main)
            except asyncio.CancelledError:
                if mains.get(theirs) not in ended:
                    raise
                result = None
            finally:
                ended.discard(mains.pop(theirs, None))
            if driver is not None:
                driver.finish()
            return result
    finally:
        if driver is not None:
            driver.stop()
        # A coroutine that never began would be reported as never awaited.
        if isinstance(main, CoroutineType):
            main.close()


def _note_main(theirs: asyncio.AbstractEventLoop) -> None:
    import asyncio

    for task in asyncio.all_tasks(theirs):
        mains.setdefault(theirs, task)


def stop() -> None:
    """Make run() return after the current callback and its ticks; no effect outside of run().

    Node: none (process.exit() is the nearest)
    """
    current_loop().stop()


def next_tick(callback: Callable[..., object], *args: Any) -> None:
    """Run callback(*args) after the current callback, before the loop continues.

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
    """Pass uncaught exceptions of listeners and callbacks to handler(exc); None: raise them.

    KeyboardInterrupt and SystemExit always propagate out of run().

    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE).

    Node: process.on('uncaughtException')
    """
    current_loop().set_exception_handler(handler)
