"""Slow peers against deadlines. `python -m tests.reliability.slowloris` prints what they cost."""

from __future__ import annotations

import sys

import pytest

from . import slowloris


def check(count: int, every: int, limit: int) -> None:
    seen = slowloris.measure(count, every, limit)
    assert seen["codes"] == {"ERR_TOO_SLOW": count // 2, "ERR_FIRST_BYTE_TIMEOUT": count // 2}
    first, last = seen["gone"]
    # Never early; and not so late that another limit, or chance, has done it.
    assert limit / 1000 - 0.01 <= first <= last < limit / 1000 + 10
    # No more turns than accepts, bytes, looks at deadlines and ends need: nothing spins.
    drips = count // 2 * (seen["seconds"] * 1000 / every + 1)
    assert seen["turns"] < 3 * count + drips + 100


@pytest.mark.spec("P4-11")
@pytest.mark.skipif(sys.platform == "win32", reason="a process of peers, as on unix")
def test_slow_peers_are_gone_after_their_deadlines() -> None:
    check(100, 50, 400)


@pytest.mark.slow
@pytest.mark.spec("P4-11")
@pytest.mark.timeout(120)
@pytest.mark.skipif(sys.platform == "win32", reason="a process of peers, as on unix")
def test_two_thousand_slow_peers_are_gone_after_their_deadlines() -> None:
    check(2000, 500, 2000)
