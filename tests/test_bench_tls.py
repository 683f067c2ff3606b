"""The measurements of TLS, in small: each of them comes to a number."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.tls import report

ROOT = Path(__file__).resolve().parent.parent
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@linux
@pytest.mark.slow
@pytest.mark.timeout(120)
def test_each_measure_comes_to_a_number() -> None:
    command = [sys.executable, "-m", "bench", "tls", "--quick", "--json", "--node"]
    command += ["--only", "pyuvnet", "asyncio"]
    command += ["--cases", "64x10", "idle", "full", "resumed", "storm"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert list(found) == ["pyuvnet", "asyncio"]
    for row in found.values():
        assert list(row) == ["64x10 µs", "idle KiB", "full µs", "resumed µs", "storm p99 ms"]
        assert all(value > 0 for name, value in row.items() if name != "idle KiB")
    assert not done.stderr


@linux
@pytest.mark.slow
def test_only_the_wanted_cases_are_measured() -> None:
    command = [sys.executable, "-m", "bench", "tls", "--quick", "--json", "--node"]
    command += ["--only", "pyuvnet", "--cases", "idle", "--idle", "20"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert list(json.loads(done.stdout)["pyuvnet"]) == ["idle KiB"]


def test_a_server_reports_what_is_no_handshake_that_was_cut_off(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """aiofastnet reports such a handshake with a class as the exception, which no log can print."""
    loop = asyncio.new_event_loop()
    try:
        report(loop, {"message": "SSL handshake failed", "exception": ConnectionResetError})
        assert not caplog.records
        report(loop, {"message": "Fatal write error", "exception": OSError(5, "broken")})
    finally:
        loop.close()
    assert [record.message.splitlines()[0] for record in caplog.records] == ["Fatal write error"]
