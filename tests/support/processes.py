"""Processes that a test has started."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterator


def descriptors(group: int) -> list[int]:
    """How many descriptors each of a group of processes has (Linux)."""
    found = []
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and os.getpgid(int(name)) == group:
                found.append(len(os.listdir(f"/proc/{name}/fd")))
        except (ProcessLookupError, FileNotFoundError, PermissionError):
            pass
    return found


@contextlib.contextmanager
def exhausted(group: int, port: int, limit: int, count: int) -> Iterator[None]:
    """More clients than a group of processes has descriptors for, until it takes no more.

    The clients leave at the end.
    """
    with contextlib.ExitStack() as stack:
        for number in range(count):
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
            # Half of them come slowly, so that a primary can fill its workers before itself.
            if number < count // 2:
                time.sleep(0.005)
        end = time.monotonic() + 20
        found, same = descriptors(group), 0
        while max(found) < limit - 20 or same < 20:
            assert time.monotonic() < end, f"{found} descriptors"
            time.sleep(0.01)
            before, found = found, descriptors(group)
            same = same + 1 if found == before else 0
        yield


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
