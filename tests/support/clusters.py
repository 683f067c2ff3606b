"""Primaries in processes of their own, as tests run them."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import child_environment
from tests.support.processes import gone


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def slow(value: str) -> Any:
    """A parameter for --slow."""
    return pytest.param(value, marks=pytest.mark.slow)


class Program:
    """A primary that runs in a process of its own, in a group with its workers."""

    def __init__(self, file: Path, *args: str, dev: bool = True, **options: Any) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(file), *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=options.pop("env", None) or child_environment(dev),
            start_new_session=True,
            **options,
        )
        self.pid = self.process.pid

    def line(self) -> str:
        """The next line that it prints."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def say(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def end(self, code: int | None = 0, error: str | None = "") -> list[str]:
        """Wait for it and all its workers; returns the lines that are left."""
        out, err = self.process.communicate(timeout=30)
        assert gone(self.pid), "a process was left behind"
        if error is not None:
            assert err == error
        if code is not None:
            assert self.process.returncode == code, err
        return out.splitlines()


HEAD = """
import os
import sys

from pyuvnet import cluster, net, next_tick, run, set_timeout


def say(*what):
    os.write(1, (" ".join(map(str, what)) + "\\n").encode())


def ask(port, times, then):
    answers = []

    def one():
        client = net.connect(port, "127.0.0.1")
        client.on("error", lambda error: answers.append(error.code))
        client.on("data", lambda data: answers.append(data.decode()))
        client.on("close", lambda had_error: then(answers) if len(answers) >= times else one())

    one()


"""


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Any]:
    """program(code, *args) starts a primary with the code."""
    started: list[Program] = []

    def start(code: str, *args: str, **options: Any) -> Program:
        file = tmp_path / f"program{len(started)}.py"
        file.write_text(HEAD + textwrap.dedent(code))
        started.append(Program(file, *args, **options))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            os.killpg(each.pid, signal.SIGKILL)
        each.process.communicate()
        assert gone(each.pid)


def connect(port: int, timeout: float = 10) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout)


SERVING = """
    if cluster.is_primary:
        cluster.scheduling_policy = getattr(cluster, sys.argv[1])
        cluster.on("listening", lambda worker, address: say(worker.process.pid, address.port))
        cluster.on("exit", lambda worker, code, signal: say("exit", worker.id, code, signal))
        for _ in range(int(sys.argv[2])):
            cluster.fork()
    else:
        me = str(cluster.worker.id)
        server = net.create_server(lambda socket: socket.end(me))
        server.listen(int(os.environ.get("PORT", "0")), "127.0.0.1")
    run()
"""


POLICIES = [slow("SCHED_RR"), slow("SCHED_NONE"), "SCHED_REUSE_PORT"]


def process_has_ended(pid: int) -> bool:
    """Whether a process that is no child of this one ends in time."""
    try:
        watch = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([watch], [], [], 10)[0])
    finally:
        os.close(watch)
