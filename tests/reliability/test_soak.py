"""The soak, for seconds: nothing lost, nothing left. The large one is a command, see soak.py."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pyuvnet._core.info import build_flags
from tests.reliability.faults.shim import compiler

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, and lowers RLIMIT_NOFILE")
@pytest.mark.timeout(120)
@pytest.mark.parametrize("calls", [False, True], ids=["as it is", "calls that fail"])
def test_mixed_traffic_with_faults_loses_and_leaves_nothing(calls: bool) -> None:
    if calls and (compiler() is None or "installed libuv" in build_flags()):
        pytest.skip("no compiler for the shim, or a libuv that may do its calls otherwise")
    command = [sys.executable, "-m", "tests.reliability.soak", "--minutes", "0.07"]
    # In a process of its own, whose descriptors it takes away.
    child = subprocess.run(
        [*command, "--calls"] if calls else command,
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
    assert child.stdout.count(" struck ") == (10 if calls else 0)
    assert not re.search(r" struck +0$", child.stdout, re.MULTILINE)
