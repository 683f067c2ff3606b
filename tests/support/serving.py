"""`python -m pyuvnet serve` as a test runs it: a process of its own, whose log is read."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import child_environment
from tests.support.processes import gone

# Answers each line with the number of the process; says goodbye once it is to end.
APP = """
import os


def app(server):
    def connected(socket):
        def data(chunk):
            goodbye = " bye" if server.shutting_down else ""
            for _ in range(chunk.count(b"\\n")):
                socket.write(f"{os.getpid()}{goodbye}\\n")

        socket.on("data", data)
        socket.on("error", lambda error: None)

    server.on("connection", connected)
"""
# Runs the command after a change that a test needs.
PATCHED = "from pyuvnet._serve import supervisor, worker\n{}\nfrom pyuvnet.__main__ import main\n"
PATIENCE = 20  # s
LOCAL = ("--bind", "127.0.0.1:0")
linux = pytest.mark.skipif(sys.platform != "linux", reason="of Linux")
POLICIES = ["rr", "shared", pytest.param("reuse-port", marks=linux)]


class Primary:
    """A primary with its workers, in a process group of their own.

    Args:
        folder: where it runs.
        arguments: behind `serve`.
        patch: statements that change pyuvnet._serve's modules `supervisor` and `worker`.
        environment: variables besides the usual ones.
        command: what is run instead of the command `serve`.
    """

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        patch: str | None = None,
        environment: dict[str, str] | None = None,
        command: list[str] | None = None,
        **options: Any,
    ) -> None:
        if command is None:
            program = ["-m", "pyuvnet"]
            if patch is not None:
                program = ["-c", PATCHED.format(patch) + "import sys\nsys.exit(main())"]
            command = [sys.executable, *program, "serve", *arguments]
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env={**child_environment(), **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            **options,
        )
        self.group = self.process.pid
        self.lines: list[str] = []
        self._ended = self._gone = False
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    @property
    def log(self) -> str:
        """All that it and its workers have written."""
        return "\n".join(self.lines)

    def find(self, pattern: str) -> list[re.Match[str]]:
        """Where a pattern is found in the log, line by line."""
        return [found for line in list(self.lines) if (found := re.search(pattern, line))]

    def wait_for(
        self, pattern: str, count: int = 1, patience: float = PATIENCE
    ) -> list[re.Match[str]]:
        """Wait until lines of the log have a pattern so many times; returns where."""
        limit = time.monotonic() + patience
        with self._changed:
            while len(found := self.find(pattern)) < count:
                left = limit - time.monotonic()
                assert left > 0, f"no {pattern!r} in:\n{self.log}"
                assert not self._ended, f"it has ended without {pattern!r}:\n{self.log}"
                self._changed.wait(left)
        return found

    def ready(self) -> int:
        """Wait until it is; returns the port of the first address, if it is one of TCP."""
        self.wait_for(r"\] ready")
        found = self.find(r"listening on \S+:(\d+)")
        return int(found[0][1]) if found else 0

    def send(self, number: int) -> None:
        """Send a signal to the primary."""
        self.process.send_signal(number)

    def end(self, number: int | None = signal.SIGTERM, code: int | None = 0) -> str:
        """Have it end, and see that nothing is left behind; returns the log."""
        if number is not None:
            self.send(number)
        found = self.process.wait(PATIENCE)
        assert self.gone(), f"a process was left behind:\n{self.log}"
        self._reader.join(PATIENCE)
        assert code is None or found == code, f"{found}:\n{self.log}"
        return self.log

    def gone(self, patience: float = 10) -> bool:
        """Whether none of its processes is left; who is there after a while is killed."""
        found = gone(self.group, patience)
        # Its number may be another group's from now on.
        self._gone = True
        return found

    def kill(self) -> None:
        """Whatever the state: nothing of it goes on."""
        if not self._gone:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.group, signal.SIGKILL)
            self.process.wait()
            self.gone()
        self._reader.join(PATIENCE)
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextlib.contextmanager
def connected(where: int | str) -> Iterator[socket.socket]:
    """A connection to a port of this machine, or to a path."""
    if isinstance(where, int):
        one = socket.create_connection(("127.0.0.1", where), PATIENCE)
    else:
        one = socket.socket(socket.AF_UNIX)
        one.settimeout(PATIENCE)
        one.connect(where)
    with one:
        yield one


def ask(where: int | str) -> str:
    """Connect, send a line, and return the answer."""
    with connected(where) as one:
        one.sendall(b"q\n")
        return one.recv(100).decode().strip()


@contextlib.contextmanager
def queued(primary: Primary) -> Iterator[tuple[int, list[socket.socket]]]:
    """Stop the only worker, so that clients queue up, which have sent their lines.

    Yields its number and the connections, of which none has read its answer.
    """
    port = primary.ready()
    pid = int(ask(port))
    os.kill(pid, signal.SIGSTOP)
    with contextlib.ExitStack() as stack:
        several = [stack.enter_context(connected(port)) for _ in range(20)]
        for one in several:
            one.sendall(b"q\n")
        yield pid, several


def pids(where: int | str, times: int = 20) -> set[int]:
    """Which processes answer."""
    return {int(ask(where).split()[0]) for _ in range(times)}


def goodbye(one: socket.socket) -> int:
    """Ask until the answer says goodbye, and wait for the end; returns whose it is."""
    for _ in range(1000):
        one.sendall(b"q\n")
        pid, *more = one.recv(100).split()
        if more:
            assert more == [b"bye"]
            assert one.recv(100) == b""
            return int(pid)
        time.sleep(0.01)
    raise AssertionError("no goodbye")


def primaries(primary: Primary) -> list[int]:
    """The numbers of the primaries that were ready, the last one last."""
    return [int(found[1]) for found in primary.find(r"\[(\d+)\] ready")]


def wait_for_file(file: Path) -> None:
    wait_until(file.exists)


def wait_until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < limit, condition
        time.sleep(0.01)
