"""The soak, for seconds: nothing lost, nothing left. The large one is a command, see soak.py."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, and lowers RLIMIT_NOFILE")
@pytest.mark.timeout(120)
def test_mixed_traffic_with_faults_loses_and_leaves_nothing() -> None:
    # In a process of its own, whose descriptors it takes away.
    child = subprocess.run(
        [sys.executable, "-m", "tests.reliability.soak", "--minutes", "0.07"],
        cwd=ROOT,
        env=dict(os.environ, PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert (child.returncode, child.stderr) == (0, ""), child.stdout[-3000:] + child.stderr[-3000:]
    assert "nothing grew, no byte was lost" in child.stdout
    counts = dict(line.rsplit(None, 1) for line in child.stdout.splitlines() if line[-1].isdigit())
    for what in ("echo bytes", "proxy bytes", "small bytes", "churn done", "timeouts", "aborts",
                 "peers reset", "times without descriptors"):  # fmt: skip
        assert counts[what] != "0"
