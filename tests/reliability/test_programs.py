"""Random programs over real sockets keep the rules; see programs.py."""

from __future__ import annotations

import os
import sys

import pytest

from .programs import Programs, run_programs

CI = os.environ.get("CI", "") not in ("", "0", "false")


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
@pytest.mark.filterwarnings("ignore::pyuvnet.errors.MaxListenersExceededWarning")
@pytest.mark.timeout(280)
def test_random_programs_keep_the_rules(full: bool) -> None:
    wanted = 200_000 if full else 20_000 if CI else 3_000
    # On CI the same ones each time, elsewhere others.
    reproducible = {"derandomize": True, "database": None} if CI and not full else {}
    Programs.steps = 0
    Programs.seen.clear()
    # Most of what programs do comes up; an idle timeout does once in a thousand steps.
    events = ["connect", "data", "end", "drain", "finish", "error", "pipe", "timeout"]

    def missing() -> list[str]:
        return [event for event in events if not Programs.seen[event]]

    while Programs.steps < wanted or (missing() and Programs.steps < 20_000):
        run_programs(max(50, (wanted - Programs.steps) // 40), **reproducible)
    assert not missing()
