"""What stays behind after many connections, and after each public operation, in small.

The large versions: `python -m tests.reliability.leaks`, and `tests/tools/refcounts`.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator

import pytest

from . import leaks, leaks_operations

TIMES = 20


@pytest.fixture
def server() -> Iterator[None]:
    yield
    leaks_operations.close_server()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, and has 127.0.0.0/8")
def test_many_connections_leave_nothing_behind() -> None:
    first, last = leaks.measure(2000, (50, 100))
    assert (last.descriptors, last.handles) == (first.descriptors, first.handles)
    assert last.blocks - first.blocks < 300


@pytest.mark.skipif(not leaks_operations.counter()(), reason="this allocator does not count")
@pytest.mark.skipif(sys.platform == "win32", reason="opens paths and descriptors of unix")
@pytest.mark.parametrize("name", leaks_operations.OPERATIONS)
def test_an_operation_leaves_nothing_behind(
    server: None, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # pytest keeps what is logged.
    monkeypatch.setattr(logging.getLogger("pyuvnet"), "disabled", True)
    left = leaks_operations.growth(leaks_operations.OPERATIONS[name], TIMES)
    assert not leaks_operations.leaks(left, TIMES), f"{TIMES} calls left, round by round: {left}"
