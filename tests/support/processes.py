"""Processes that a test has started."""

from __future__ import annotations

import os
import signal
import time


def gone(group: int, patience: float = 10) -> bool:
    """Whether nobody of a group of processes is left; who is there after a while is killed."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.005)
    os.killpg(group, signal.SIGKILL)
    return False
