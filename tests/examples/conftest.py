"""Runs the programs of examples/ as their users do, and talks to them with Python's sockets."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
WINDOWS = sys.platform == "win32"


class Example:
    """A running example."""

    def __init__(self, name: str, *arguments: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "examples" / f"{name}.py"), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            env=dict(
                os.environ,
                PYTHONPATH=str(ROOT),
                PYTHONFAULTHANDLER="1",
                # A file or a task that is left behind shows; asyncio's complaints of a slow
                # machine, which PYTHONDEVMODE brings along, do not.
                PYTHONWARNINGS="default",
                PYTHONUTF8="1",
            ),
        )

    def line(self) -> str:
        """Wait for the next line that it prints."""
        text = self.process.stdout.readline()
        assert text, f"it ended and said: {self.process.stderr.read()}"
        return text.removesuffix("\n")

    def until(self, pattern: str) -> re.Match[str]:
        """Wait for a line that has this in it."""
        while not (found := re.search(pattern, self.line())):
            pass
        return found

    def port(self) -> int:
        """Wait until it says where it listens."""
        return int(self.until(r"listening on .*:(\d+)$")[1])

    def bound_memory(self) -> None:
        """See to it that taking gigabytes fails, instead of harming the machine of the tests."""
        with contextlib.suppress(ImportError, AttributeError):
            import resource

            resource.prlimit(self.process.pid, resource.RLIMIT_AS, (1 << 30, 1 << 30))

    def wait(self) -> tuple[int, str, str]:
        """Wait for its end: the exit code, and what it printed that nobody has read."""
        out, err = self.process.communicate(timeout=20)
        return self.process.returncode, out, err

    def stop(self) -> str:
        """End it as a service manager does; it has to end well. Returns its last words."""
        self.process.terminate()
        code, out, err = self.wait()
        # Windows knows no SIGTERM: there, terminate() is the end of it.
        assert err == ""
        assert code == (1 if WINDOWS else 0)
        return out

    def interrupt(self) -> str:
        """End it as Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)
        code, out, err = self.wait()
        assert (code, err) == (0, "")
        return out


class Peer:
    """A blocking client."""

    def __init__(self, port: int, source: str | None = None) -> None:
        self.socket = socket.create_connection(
            ("127.0.0.1", port), timeout=20, source_address=None if source is None else (source, 0)
        )
        # What was sent in pieces has to arrive in pieces.
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def line(self) -> bytes:
        """The next line; b"" at the end."""
        return self.file.readline().removesuffix(b"\n")

    def read(self, size: int) -> bytes:
        return self.file.read(size)

    def rest(self) -> bytes:
        """Everything up to the end."""
        return self.file.read()

    def send_until_stuck(self, data: bytes, most: int = 100_000_000) -> int:
        """Send this again and again, up to `most`, until nobody takes more; how many bytes."""
        sent = 0
        # So long nothing moves; were that the machine's fault, the test would only see less.
        self.socket.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            while sent < most:
                sent += self.socket.send(data)
        self.socket.settimeout(20)
        return sent

    def settle(self, question: bytes, answer: bytes) -> None:
        """Have a question answered twice: after that, what others sent before it has been read.

        Once is not enough, since in one poll the sockets come in any order.
        """
        for _ in range(2):
            self.send(question)
            assert self.read(len(answer)) == answer

    def end(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.file.close()
        self.socket.close()


@pytest.fixture
def example() -> Iterator[Callable[..., Example]]:
    """example(name, *arguments) starts examples/<name>.py."""
    started: list[Example] = []

    def start(name: str, *arguments: object) -> Example:
        started.append(Example(name, *arguments))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
    said = [one.process.communicate()[1] for one in started]
    # A connection that ended because the server broke down proves nothing.
    assert "Traceback" not in "".join(said)


@pytest.fixture
def peer() -> Iterator[Callable[..., Peer]]:
    """peer(port, source=None) connects to 127.0.0.1, from the address `source`."""
    connected: list[Peer] = []

    def connect(port: int, source: str | None = None) -> Peer:
        connected.append(Peer(port, source))
        return connected[-1]

    yield connect
    for one in connected:
        one.close()


@pytest.fixture
def unused_port() -> Iterator[int]:
    """A port at which nobody listens, and which nobody else gets while the test runs."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]
