"""Awaitables of ours: Waiter, and whether anybody could await one."""

from __future__ import annotations

from ._core.waiter import Waiter


def in_coroutine() -> bool:
    """Whether a coroutine of this thread's asyncio loop runs, which could await something."""
    import asyncio

    try:
        return asyncio.current_task() is not None
    except RuntimeError:
        return False


__all__ = ["Waiter", "in_coroutine"]
