"""Half-built objects in small; the large version is `python -m tests.reliability.half_built`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.skipif(not hasattr(os, "fork"), reason="sweeps in forked children")
@pytest.mark.timeout(280)
def test_no_call_on_what_nobody_has_built_crashes(full: bool) -> None:
    sweep = subprocess.run(
        [sys.executable, "-m", "tests.reliability.half_built", *(() if full else ("--small",))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=270,
    )
    assert sweep.returncode == 0, sweep.stderr
    figures = re.search(r"(\d+) types, ([\d,]+) calls, 0 crashes", sweep.stdout)
    assert figures is not None, sweep.stdout
    # Types that nobody could reach would be found by nobody.
    assert int(figures[1]) > 90
    assert int(figures[2].replace(",", "")) > 100_000
