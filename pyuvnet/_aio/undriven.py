"""A loop that does not run: asyncio's attaches by itself, or there is a warning."""

from __future__ import annotations

import atexit
import os
import sys
from _weakrefset import WeakSet

from .._base import TYPE_CHECKING
from .._base.hints import place_of_call
from .._core.loop import in_main_thread, running_asyncio
from .driver import attach_by_itself, drivers

if TYPE_CHECKING:
    import asyncio

    from .._core.loop import Loop


# What the main thread began before it turned its loop: (process, loop, file, line).
_begun: tuple[int, Loop, str, int] | None = None
# Loops of asyncio that ran while ours was used undriven: the warning is planned, or was given.
_warned: WeakSet[asyncio.AbstractEventLoop] = WeakSet()
_ran_inside: Loop | None = None  # by run() in a coroutine, which has already warned


def loop_undriven(ours: Loop, theirs: asyncio.AbstractEventLoop | None) -> None:
    """A loop is used that does not run: attach it to asyncio's that does, if one does."""
    global _begun
    if theirs is None:
        if _begun is None and in_main_thread():
            _begun = os.getpid(), ours, *place_of_call()
    elif not attach_by_itself(ours, theirs) and theirs not in _warned:
        place = place_of_call()
        _warned.add(theirs)
        # Later, since attach() may be the next statement.
        theirs.call_soon(_warn_undriven, ours, theirs, *place)


def _warn_undriven(ours: Loop, theirs: asyncio.AbstractEventLoop, filename: str, line: int) -> None:
    global _ran_inside
    if ours is _ran_inside:
        _ran_inside = None
        _warned.discard(theirs)
        return
    driver = drivers.get(ours)
    if ours.closed or (driver is not None and driver.theirs is theirs):
        _warned.discard(theirs)
        return
    if driver is not None:
        text = (
            "pyuvnet is used inside a running asyncio loop, but another asyncio loop, which is not "
            "closed, drives the sockets of this thread, so nothing will happen: close the other "
            "loop first"
        )
    else:
        text = (
            "pyuvnet is used inside a running asyncio loop which does not drive it, so nothing "
            "will happen: call pyuvnet.attach() in a coroutine first, or start the program with "
            "pyuvnet.run(main()) instead of asyncio.run(main())"
        )
    import warnings

    warnings.warn_explicit(text, RuntimeWarning, filename, line)


def warn_inside_asyncio(ours: Loop) -> None:
    """Warn of run() in a coroutine; where asyncio drives the loop, run() refuses."""
    global _ran_inside
    theirs = running_asyncio()
    if theirs is None or ours.running or attach_by_itself(ours, theirs) or ours in drivers:
        return
    # A check of what was begun before is already planned.
    _ran_inside = ours if theirs in _warned else None
    import warnings

    warnings.warn_explicit(
        "pyuvnet.run() was called in a coroutine and blocks asyncio until it returns; call "
        "pyuvnet.attach() instead, and await what you wait for",
        RuntimeWarning,
        *place_of_call(),
    )


@atexit.register
def _warn_of_missing_run() -> None:
    """Warn, at the end of the program, of what waits in a loop that was never turned."""
    if _begun is None:
        return
    process, ours, filename, line = _begun
    ended_by_exception = getattr(sys, "last_value", None) is not None
    at_a_prompt = sys.flags.interactive or hasattr(sys, "ps1")
    if process != os.getpid() or ours.closed or ours._turned or ended_by_exception or at_a_prompt:
        return
    from .._core.alive import describe

    # A socket that was destroyed leaves a tick behind, which is not a mistake.
    if any(
        active and ref and not closing and not getattr(owner, "destroyed", False)
        for _, owner, active, ref, closing, *_ in describe(ours)
    ):
        import warnings

        warnings.warn_explicit(
            "the program exited without calling pyuvnet.run(), so this never ran",
            RuntimeWarning,
            filename,
            line,
        )
