"""Shutdowns of a busy server, in small.

The large version: `python -m tests.reliability.shutdowns`.
"""

from __future__ import annotations

import pytest

from . import shutdowns


@pytest.mark.spec("P1-15")
def test_busy_clients_see_neither_a_reset_nor_an_unanswered_request() -> None:
    for _ in range(3):
        seen = shutdowns.once(100, 300)
        assert (seen.result.destroyed, seen.result.unaccepted) == (0, 0)
        assert seen.answered >= 500
        assert (seen.unanswered, seen.resets, seen.left) == (0, 0, 0)
