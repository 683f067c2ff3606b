"""The measurement of loops in threads, in small; it means something without the GIL only."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads another process's clock")
def test_one_thread_and_two() -> None:
    command = [sys.executable, "-m", "bench", "loops", "--json"]
    quick = ["--rounds", "1", "--seconds", "0.1", "--work", "20"]
    done = subprocess.run([*command, *quick], cwd=ROOT, capture_output=True, text=True, check=True)
    one, two = json.loads(done.stdout)
    assert (one["threads"], two["threads"]) == (1, 2)
    assert one["times"] == 1
    assert one["rate"] > 0
    assert two["times"] > 0
