"""Shutdowns of a busy server; `python -m tests.reliability.shutdowns` prints what comes of them."""

from __future__ import annotations

import pytest

from . import shutdowns


def check(times: int, connections: int) -> None:
    for _ in range(times):
        seen = shutdowns.once(connections, 300)
        assert (seen.result.destroyed, seen.result.unaccepted) == (0, 0)
        assert seen.answered >= 5 * connections
        assert (seen.unanswered, seen.resets, seen.left) == (0, 0, 0)


@pytest.mark.spec("P1-15")
def test_busy_clients_see_neither_a_reset_nor_an_unanswered_request() -> None:
    check(3, 100)


@pytest.mark.full
@pytest.mark.timeout(600)
def test_so_it_is_in_100_shutdowns_of_200_connections() -> None:
    check(100, 200)
