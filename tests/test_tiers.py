"""conftest.py: which tests run without an option, with --slow, and with --full."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import pyuvnet
from tests.conftest import HANGS, ROOT, SLOW

pytestmark = pytest.mark.timeout(200)  # collecting takes its time on a busy machine


def listed(*arguments: str) -> tuple[set[str], str]:
    """The files that pytest takes tests from, and all that it prints."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    environment = dict(os.environ, PYTEST_ADDOPTS="")
    done = subprocess.run(
        [*command, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode in (0, 5), done.stdout + done.stderr
    lines = [line for line in done.stdout.splitlines() if "::" in line]
    return {Path(line.partition("::")[0]).name for line in lines}, done.stdout


def test_what_is_listed_as_slow_is_there() -> None:
    assert [name for name in SLOW if not (ROOT / "tests" / name).exists()] == []
    assert sorted(SLOW) == SLOW


def test_each_tier_adds_to_the_one_before_and_says_what_is_left_out() -> None:
    folders = ["tests/tools", "tests/timelines", "tests/reliability/network"]
    quick, said = listed(*folders)
    assert "test_sockets.py" in quick
    assert {"test_reports.py", "test_network.py"} & quick == set()
    assert " tests that --slow adds\nleft out: " in said
    assert " tests that --full adds\n" in said
    slow, said = listed("--slow", *folders)
    assert slow == quick | {"test_reports.py", "test_network.py"}
    assert " tests that --full adds\n" in said
    assert "--slow" not in said
    _, said = listed("--full", *folders)
    assert "left out" not in said
    assert "deselected" not in said


@pytest.mark.timeout(1)
@pytest.mark.parametrize("hook", [None, lambda error: None])
def test_a_loop_that_hangs_fails_its_test(hook: Any) -> None:
    pyuvnet.set_exception_handler(hook)
    server = pyuvnet.net.create_server().listen(0)
    with pytest.raises(pytest.fail.Exception, match=HANGS):
        pyuvnet.run()
    server.close()
    pyuvnet.run()


def test_a_file_that_is_named_runs_with_its_slow_tests() -> None:
    files, said = listed("tests/tools/test_reports.py")
    assert files == {"test_reports.py"}
    assert "left out" not in said
