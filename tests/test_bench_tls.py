"""The measurements of TLS, in small: each of them comes to a number."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@linux
@pytest.mark.slow
@pytest.mark.timeout(120)
def test_each_measure_comes_to_a_number() -> None:
    command = [sys.executable, "-m", "bench", "tls", "--quick", "--json", "--node"]
    command += ["--only", "pyuvnet", "asyncio", "--cases", "64x10"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert list(found) == ["pyuvnet", "asyncio"]
    for row in found.values():
        assert list(row) == ["64x10 µs", "idle KiB", "full µs", "resumed µs", "storm p99 ms"]
        assert all(value > 0 for name, value in row.items() if name != "idle KiB")
