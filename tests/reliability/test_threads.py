"""Loops in several threads at once; threads.py does the same for minutes."""

from __future__ import annotations

import sys

import pytest

from tests.reliability import threads

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="clients have addresses of their own"),
]


def test_threads_share_what_is_shared_and_nothing_else() -> None:
    stress = threads.run(3, 3, 5)
    assert stress.wrong == []
    for what in ("echoes", "blocked", "sockets moved", "servers moved", "called"):
        assert stress.counts[what] > 0
