"""Builds the shim, and runs the programs of program.py under it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pyuvnet._core.info import build_flags
from tests.reliability.faults.shim import build, compiler, preloaded

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent.parent
Told = dict[str, Any]


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shim, compiled."""
    if sys.platform != "linux":
        pytest.skip("the shim knows Linux's system calls")
    if "installed libuv" in build_flags():
        pytest.skip("an installed libuv may do its calls otherwise")
    if compiler() is None:
        pytest.skip("no C compiler")
    return build(tmp_path_factory.mktemp("shim"))


class Worker:
    """A process of program.py, which plays one scenario after another."""

    def __init__(self, shim: Path, folder: Path, before: list[str]) -> None:
        loaded = preloaded(shim)
        self.said = open(folder / "stderr", "w+")  # noqa: SIM115
        # The shim is for the program, not for what it is started with.
        command = [
            *before,
            "env",
            f"LD_PRELOAD={loaded['LD_PRELOAD']}",
            sys.executable,
            HERE / "program.py",
        ]
        environment = {
            "PYTHONPATH": str(ROOT),
            "PYTHONFAULTHANDLER": "1",
            "FAULTS_SHIM": loaded["FAULTS_SHIM"],
            "FAULTS_FOLDER": str(folder),
        }
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.said,
            text=True,
            env=dict(os.environ, **environment),
        )

    def play(self, scenario: str, **options: Any) -> Told:
        """What the scenario says; it must leave neither handles nor descriptors."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([scenario, options]) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        self.said.seek(0)
        said = self.said.read()
        assert not said, said
        assert line, f"ended with {self.process.wait()}"
        told: Told = json.loads(line)
        assert not told["alive"], "something keeps the loop alive"
        assert told["live"], "libuv knows handles or requests of it"
        assert told["descriptors"] == 0
        return told

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        try:
            self.process.wait(10)
        finally:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            self.said.close()


@pytest.fixture(scope="module")
def open_worker(shim: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """open_worker(*before) starts a Worker; before: what its command begins with."""
    opened: list[Worker] = []

    def start(*before: str) -> Worker:
        opened.append(Worker(shim, tmp_path_factory.mktemp("worker"), list(before)))
        return opened[-1]

    yield start
    for worker in opened:
        worker.close()


@pytest.fixture(scope="module")
def _workers() -> list[Worker]:
    return []


@pytest.fixture
def play(
    request: pytest.FixtureRequest, open_worker: Any, _workers: list[Worker]
) -> Iterator[Callable[..., Told]]:
    """play(scenario, **options) plays one; the same process serves tests until one fails."""
    failed = request.session.testsfailed
    if not _workers:
        _workers.append(open_worker())
    yield _workers[0].play
    if request.session.testsfailed != failed or _workers[0].process.poll() is not None:
        _workers.clear()
