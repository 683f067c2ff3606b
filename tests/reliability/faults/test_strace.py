"""The same programs with faults that strace makes: the kernel itself refuses every caller."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def _works() -> str | None:
    """Why strace cannot be used, if so."""
    strace = shutil.which("strace")
    if strace is None:
        return "no strace"
    command = [strace, "-qq", "-e", "inject=getpid:error=EPERM", "true"]
    done = subprocess.run(command, capture_output=True, text=True)
    return None if done.returncode == 0 else f"strace may not trace here: {done.stderr.strip()}"


@pytest.fixture
def traced(open_worker: Any, tmp_path: Path) -> Callable[..., tuple[dict[str, Any], int]]:
    """traced(inject, scenario, **options): what the program says, and how often strace struck."""
    reason = _works()
    if reason:
        pytest.skip(reason)

    def play(inject: str, scenario: str, **options: Any) -> tuple[dict[str, Any], int]:
        out = tmp_path / "strace"
        call = inject.partition(":")[0]
        worker = open_worker(
            "strace", "-f", "-qq", "-o", str(out), "-e", f"trace={call}", "-e", f"inject={inject}"
        )
        told = worker.play(scenario, **options)
        worker.close()
        struck = re.findall(r"\((?:INJECTED|DELAYED)\)", out.read_text())
        return told, len(struck)

    return play


@pytest.mark.parametrize("error", ["EMFILE", "ENFILE", "ECONNABORTED", "ENOMEM"])
def test_accepts_that_fail(error: str, traced: Any) -> None:
    told, struck = traced(f"accept4:error={error}:when=1..4", "accepting", rules="")
    assert struck == 4
    # Without descriptors, clients wait.
    assert set(told["dropped"]) == {error} - {"EMFILE", "ENFILE"}
    assert told["polls"] < 150
    assert told["answers"] == [True] * 6
    assert told["last"] == "last"


@pytest.mark.parametrize("error", ["EAGAIN", "EINTR", "ENOBUFS"])
def test_writes_that_have_to_be_tried_again(error: str, traced: Any) -> None:
    # What Python writes itself, its answer, must not fail.
    told, struck = traced(f"writev:error={error}:when=1..5", "stream", rules="", way="cork")
    assert struck == 5
    assert told["sent"] == told["back"]
    assert told["answered"]


@pytest.mark.parametrize("error", ["EPIPE", "ECONNRESET"])
def test_writes_that_fail(error: str, traced: Any) -> None:
    told, struck = traced(f"writev:error={error}:when=3", "fatal", rules="", way="vector")
    assert struck == 1
    assert told["events"] == [f"error {error} write", "close True"]
    assert told["prefix"]
    assert told["received"] == told["taken"] == told["ok"]
    assert told["again"] == "once more"


def test_polls_that_are_interrupted(traced: Any) -> None:
    told, struck = traced("epoll_pwait:error=EINTR:when=1+2", "stream", rules="", total=200_000)
    assert struck >= 3
    assert told["sent"] == told["back"]


def test_polls_that_are_late(traced: Any) -> None:
    told, struck = traced("epoll_pwait:delay_enter=3ms", "stream", rules="", total=200_000)
    assert struck >= 3
    assert told["sent"] == told["back"]


def test_a_connect_that_fails(traced: Any) -> None:
    # It strikes once in each thread: lookups connect too.
    told, struck = traced("connect:error=ENETUNREACH:when=1", "connecting", rules="")
    assert struck >= 1
    assert told["events"] == ["error ENETUNREACH connect", "close True"]
    assert told["again"] == "again"
