"""Slow peers against deadlines, in small.

The large version: `python -m tests.reliability.slowloris`.
"""

from __future__ import annotations

import sys

import pytest

from . import slowloris


@pytest.mark.spec("P4-11")
@pytest.mark.skipif(sys.platform == "win32", reason="a process of peers, as on unix")
def test_slow_peers_are_gone_after_their_deadlines() -> None:
    seen = slowloris.measure(100, 50, 400)
    assert seen["codes"] == {"ERR_TOO_SLOW": 50, "ERR_FIRST_BYTE_TIMEOUT": 50}
    assert min(seen["gone"]) >= 0.39
