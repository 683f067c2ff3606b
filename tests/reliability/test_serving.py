"""`python -m pyuvnet serve` under load: in small; with --full 100 times each.

The same as a program, which prints figures: `python -m tests.reliability.serving`.
"""

from __future__ import annotations

import sys

import pytest

from . import serving

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="sockets of their own for the workers"),
    pytest.mark.timeout(280),
]

POLICIES = ["reuse-port", pytest.param("rr", marks=pytest.mark.full)]


@pytest.fixture
def times(request: pytest.FixtureRequest, full: bool) -> int:
    return 100 if full else 3


@pytest.mark.spec("P11-05", "P11-12")
@pytest.mark.parametrize("policy", POLICIES)
def test_nobody_is_refused_or_reset_by_a_rolling_restart(policy: str, times: int) -> None:
    result = serving.restart(times, policy)
    assert result.seen["answers"] > 0
    assert (result.wrong, result.left) == ({}, 0), result


@pytest.mark.spec("P11-08", "P11-12")
@pytest.mark.parametrize("policy", POLICIES)
def test_nobody_is_refused_or_reset_by_a_hot_upgrade(policy: str, times: int) -> None:
    result = serving.upgrade(times, policy)
    assert result.seen["answers"] > 0
    assert (result.wrong, result.left) == ({}, 0), result


@pytest.mark.spec("P11-07", "P11-12")
@pytest.mark.parametrize("policy", POLICIES)
def test_a_crash_costs_the_connections_of_that_worker_and_no_others(
    policy: str, times: int
) -> None:
    result = serving.crash(times, policy)
    wrong = result.wrong
    # Those that it had: reset, or ended without an answer.
    lost = sum(count for name, count in wrong.items() if name[:5] in ("reset", "unans"))
    assert lost == sum(wrong.values()), result
    assert lost <= times * serving.CLIENTS
    assert result.left == 0


@pytest.mark.spec("P11-03", "P11-12")
@pytest.mark.parametrize("policy", POLICIES)
def test_workers_that_hang_in_shutdown_are_killed(policy: str, times: int) -> None:
    result = serving.hang(times, policy)
    assert [name for name in result.wrong if name.startswith(("refused", "waited", "still"))] == []
    assert result.left == 0


@pytest.mark.spec("P11-04", "P11-12")
@pytest.mark.parametrize("policy", POLICIES)
def test_a_primary_that_is_killed_leaves_nothing_behind(policy: str, times: int) -> None:
    assert serving.kill(times, policy).left == 0
