"""Random programs that act where no call shows it keep the rules; see hidden.py."""

from __future__ import annotations

import os
import sys

import pytest

from . import hidden

CI = os.environ.get("CI", "") not in ("", "0", "false")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")


@pytest.mark.timeout(280)
@pytest.mark.parametrize("mode", hidden.MODES)
def test_random_programs_survive_hidden_calls(mode: str, full: bool) -> None:
    # On CI the same ones each time, elsewhere others.
    seed = 1 if CI and not full else int.from_bytes(os.urandom(3), "big")
    figures = hidden.run_all(40_000 if full else 1_500, seed, [mode], 100 if full else 12)
    wanted = ["hidden finaliser", "hidden collection", "bytes", "close"]
    if hidden.DEBUG:
        wanted += ["hidden entry", "hidden leave", "hidden release"]
    if mode == "hooked":
        wanted += ["hidden call_soon"]
    for name in wanted:
        assert figures[name], f"no {name}"


def test_a_finding_names_the_program_that_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that ends badly is one."""
    monkeypatch.setenv("HIDDEN_CRASH", "2")
    with pytest.raises(hidden.Finding, match=r"--seed 2 --programs 1 --length \d+: exit code -"):
        hidden.run_all(1, 1, ["turn"], 4)
