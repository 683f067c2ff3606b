"""The functions of this thread's loop, run() first.

A plain program calls run(). A program with coroutines calls run(main()), which lets a fresh
asyncio loop drive ours; where asyncio (or uvloop) runs already ours attaches, see _driver.py.
"""

from __future__ import annotations

from types import CoroutineType

from ._base import TYPE_CHECKING, overload
from ._core.loop_registry import current_loop
from ._driver import drive
from ._shutdown import ended, mains
from ._undriven import warn_inside_asyncio

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine
    from typing import Any, TypeVar

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

    A RuntimeWarning reports a program that ends without it, leaving undone what it began (also by
    sys.exit(), but not by an exception).

    Raises: what a listener, a callback or the coroutine raised; KeyboardInterrupt on Ctrl-C;
        StateError (ERR_LOOP_RUNNING) if the loop runs already, or in a coroutine, where asyncio
        drives it. It can be called again.

    Node: none (the process runs its loop)
    """
    ours = current_loop()
    if main is None:
        warn_inside_asyncio(ours)
        ours.run()
        return None
    import asyncio

    driver = None
    try:
        if asyncio._get_running_loop() is not None:
            raise RuntimeError("run() cannot be called with a coroutine while asyncio runs; await")
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
