"""Warnings about a loop that nobody turns: the program forgot run() or attach()."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import warnings

from ._base import TYPE_CHECKING
from ._base.hints import place_of_call
from ._driver import drivers, running_asyncio

if TYPE_CHECKING:
    from ._core.loop import Loop


# What the main thread began before it turned its loop: (process, loop, file, line).
_begun: tuple[int, Loop, str, int] | None = None
_ran_inside: Loop | None = None  # by run() in a coroutine, which has already warned


def loop_undriven(ours: Loop) -> bool:
    """A loop is used that does not run: if asyncio runs instead, see whether it gets attached."""
    global _begun
    theirs = running_asyncio()
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
    if ours in drivers or ours.closed:
        return
    warnings.warn_explicit(
        "pyuvnet is used inside a running asyncio loop which does not drive it, so nothing will "
        "happen: call pyuvnet.attach() in a coroutine first, or start the program by "
        "pyuvnet.run(main()) instead of asyncio.run(main())",
        RuntimeWarning,
        filename,
        line,
    )


def warn_inside_asyncio(ours: Loop) -> None:
    global _ran_inside
    # Driven by asyncio, or by itself, it refuses.
    if running_asyncio() is not None and ours not in drivers and not ours.running:
        # A check of what was begun before is already planned.
        _ran_inside = ours if ours.undriven_checked else None
        warnings.warn_explicit(
            "pyuvnet.run() in a coroutine: asyncio does nothing until it returns; call "
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
