"""Signals of serve(): what they must not do before the primary handles them, or when it is over.

By default SIGHUP and SIGUSR2 end a process, and SIGTTIN and SIGTTOU stop it: one that is stopped
never ends. They may come at any time, and to the whole process group: from a terminal, from
`systemctl kill`, from a script. So they are blocked from as early on as possible: in a process that
this one starts, from its first instruction. What has come by the time when they are handled is done
then. Workers leave all of them to the primary.
"""

from __future__ import annotations

import contextlib
import signal

from .._base import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def _there(*names: str) -> tuple[int, ...]:
    return tuple(int(getattr(signal, name)) for name in names if hasattr(signal, name))


# Orders to the primary, besides those to end.
ORDERS = _there("SIGHUP", "SIGUSR2", "SIGTTIN", "SIGTTOU")
# What a worker leaves to the primary. SIGTERM is also for a worker alone.
FOR_THE_GROUP = (*_there("SIGINT"), *ORDERS)
_STOP = _there("SIGTTIN", "SIGTTOU")


def hold() -> None:
    """Block the orders until release(): this process is about to be a primary, or a worker."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, ORDERS)


def release() -> None:
    """Let come what was held here, or by the process that has started this one."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, FOR_THE_GROUP)


@contextlib.contextmanager
def held_in_children() -> Iterator[None]:
    """Start a process that has to call release()."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, FOR_THE_GROUP)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_to_the_primary() -> None:
    """Do nothing when a signal comes for the group; in a worker."""
    for number in FOR_THE_GROUP:
        if number in _STOP:
            # With a handler, a read from the terminal in the background would be tried for ever.
            signal.signal(number, signal.SIG_IGN)
        elif number in _there("SIGINT", "SIGHUP") or signal.getsignal(number) == signal.SIG_DFL:
            # No child inherits that. What the program does at SIGUSR2 is up to the program.
            signal.signal(number, lambda *_: None)
    release()


def ignore() -> None:
    """Let none of them change how this process ends: the interpreter takes handlers away before."""
    for number in FOR_THE_GROUP:
        signal.signal(number, signal.SIG_IGN)
