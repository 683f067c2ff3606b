"""The measurements of many cores, in small: each of them comes to a number that is possible."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

# bench is a folder of the checkout, and is not installed.
sys.path.append(str(Path(__file__).resolve().parent.parent))

from bench.figures import jain

ROOT = Path(__file__).resolve().parent.parent
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
POLICIES = ["pyuvnet rr", "pyuvnet none", "pyuvnet reuse-port"]


def measured(*arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench", "cluster", "--quick", "--json", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_jains_index_is_one_for_equal_shares_and_least_for_one_of_all() -> None:
    assert jain([7, 7, 7, 7]) == 1
    assert jain([0, 28, 0, 0]) == 1 / 4
    assert jain([1, 3]) == pytest.approx(16 / 20)
    assert jain([0, 0]) == 1


@linux
@pytest.mark.slow
@pytest.mark.timeout(180)
def test_shares_and_losses_of_each_policy(tmp_path: Path) -> None:
    found = measured(
        "--only", "pyuvnet", "--parts", "balance", "faults", "--plot", str(tmp_path)
    )  # fmt: skip
    assert list(found) == ["balance", "faults"]
    assert list(found["balance"]) == list(found["faults"]) == POLICIES
    for row in found["balance"].values():
        assert all(1 / 4 <= value <= 1 for value in row.values())
    # In turn means in turn, as long as no more come than the workers take.
    assert found["balance"]["pyuvnet rr"]["in turn"] > 0.99
    for row in found["faults"].values():
        assert 0 <= row["waiting"] <= 200
        assert row["lost"] == 0
    assert found["faults"]["pyuvnet rr"]["waiting"] <= 1
    assert {file.name for file in tmp_path.iterdir()} == {"cluster.png", "cluster.svg"}


@linux
@pytest.mark.slow
@pytest.mark.timeout(180)
def test_rates_are_divided_by_one_process() -> None:
    found = measured("--only", "pyuvnet, one", "pyuvnet reuse-port", "--parts", "rates")
    rows = found["rates"]
    assert list(rows) == [
        "pyuvnet, one process", "pyuvnet reuse-port × 1", "pyuvnet reuse-port × 2",
    ]  # fmt: skip
    for row in rows.values():
        assert len(row) == 8
        assert all(value > 0 for value in row.values())
    assert rows["pyuvnet, one process"]["echo × CPU"] == 1


@linux
@pytest.mark.slow
@pytest.mark.timeout(180)
def test_restarts_lose_nobody() -> None:
    row = measured("--parts", "restarts")["restarts"]["reuse-port"]
    assert (row["restarts"], row["wrong"], row["refused"]) == (2, 0, 0)
    assert row["replies"] > 0
    assert 0 < row["all new ms"] <= row["slowest ms"]
