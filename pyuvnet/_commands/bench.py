"""pyuvnet bench: the CPU time of echo servers, pyuvnet's and others' that are installed."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from .. import net, run, set_timeout, stop
from .._core import info
from .arguments import fail, positive, seconds, text_of
from .bench_server import HOST, NODE, SERVERS

if TYPE_CHECKING:
    import argparse

    from ..socket import Socket

ROUNDS = 3
# Seconds before a sample, in which connections are made and code is warmed up.
WARM_UP = 0.2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = (
        "Compare echo servers, each in a process of its own: those of pyuvnet, of asyncio, and of "
        "uvloop and Node if they are installed. One client with many connections drives them in "
        "turn. What counts is the CPU time of the server for each request; the requests per "
        "second depend on the client too, which shares the machine."
    )
    parser.add_argument(
        "--seconds", type=seconds, default=60.0, help="seconds to run (default: 60)"
    )
    parser.add_argument("--clients", type=positive, default=50, help="connections (default: 50)")
    parser.add_argument(
        "--size", type=positive, default=1024, help="bytes in a request (default: 1024)"
    )


def main(options: argparse.Namespace) -> int:
    """Run it."""
    commands = installed()
    length = options.seconds / (ROUNDS * len(commands))
    print(
        f"echo of {options.size:,} bytes on {options.clients} connections, {len(commands)} "
        f"servers, {ROUNDS} rounds, {options.seconds:g} s; Python {sys.version.split()[0]}",
        flush=True,
    )
    if info.build_flags().startswith("debug"):
        print("This is a debug build of pyuvnet, which is slower: do not rely on its figures.")
    servers: list[Server] = []
    try:
        for name, command in commands.items():
            servers.append(Server(name, command))
        for _ in range(ROUNDS):
            for server in servers:
                sample = Sample(server, options.clients, options.size)
                server.samples.append(sample.take(max(length - WARM_UP, length / 2)))
    except BenchError as error:
        return fail("bench", str(error))
    finally:
        for server in servers:
            server.close()
    print(table(servers))
    return 0


def installed() -> dict[str, list[str]]:
    """Return the command of each server that can run here, by its name."""
    python = [sys.executable, "-m", "pyuvnet._commands.bench_server"]
    found = {
        name: [*python, name]
        for name in SERVERS
        if not name.startswith("uvloop") or importlib.util.find_spec("uvloop")
    }
    node = shutil.which("node")
    if node is not None:
        found["Node, net"] = [node, "-e", NODE]
    return found


def table(servers: list[Server]) -> str:
    """Return the medians, the lowest CPU time first."""
    rows = []
    for server in servers:
        cost = statistics.median(cpu for cpu, _ in server.samples)
        rows.append((cost, statistics.median(rate for _, rate in server.samples), server.name))
    # A clock that counts in ticks may find nothing in a short sample.
    (base,) = [cost or 1e-9 for cost, _, name in rows if name == "pyuvnet, listeners"]
    width = max(len(name) for *_, name in rows)
    lines = [f"{'server':{width}}  CPU per request  relative  requests per second"]
    lines += [
        f"{name:{width}}  {cost * 1e6:12.1f} us  {cost / base:8.2f}  {rate:19,.0f}"
        for cost, rate, name in sorted(rows)
    ]
    return "\n".join(lines)


class BenchError(Exception):
    """A server does not do what it should; the text is for the user."""


class Server:
    """A process that echoes.

    Args:
        name: what the table calls it.
        command: what starts it.
    """

    def __init__(self, name: str, command: list[str]) -> None:
        self.name = name
        # CPU seconds for a request, and requests in a second.
        self.samples: list[tuple[float, float]] = []
        # It imports the same pyuvnet as this process.
        paths = [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")]
        # A file, since it is not read meanwhile.
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - close() closes it
        self.process = subprocess.Popen(
            command,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )
        self.port = int(self._line())

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.errors.seek(0)
            why = self.errors.read().strip().splitlines() or [f"code {self.process.returncode}"]
            self.close()
            raise BenchError(f"the server of {self.name} ended: {why[-1]}")
        return line

    def cpu_time(self) -> float:
        """Return the CPU time that it has used, in seconds."""
        assert self.process.stdin is not None
        # If it has ended, _line() finds out why.
        with contextlib.suppress(OSError):
            self.process.stdin.write("\n")
            self.process.stdin.flush()
        return float(self._line())

    def close(self) -> None:
        """End it."""
        self.process.kill()
        with contextlib.suppress(OSError):
            self.process.communicate()
        self.errors.close()


class Sample:
    """Drives a server for a while with requests, of which each connection has one under way."""

    def __init__(self, server: Server, clients: int, size: int) -> None:
        self.server = server
        self.request = b"x" * size
        self.left = dict.fromkeys(range(clients), size)
        self.answers = 0
        self.failure: BaseException | None = None

    def take(self, length: float) -> tuple[float, float]:
        """Return CPU seconds for a request, and requests in a second."""
        self.length = length
        sockets = [self._connect(number) for number in self.left]
        self.timer = set_timeout(self._begin, WARM_UP * 1000)
        try:
            run()
        finally:
            self.timer.close()
            for socket in sockets:
                socket.destroy()
            run()
        if self.failure is not None:
            raise self.failure
        if not self.count:
            raise BenchError(f"the server of {self.server.name} did not answer")
        return self.cpu / self.count, self.count / self.elapsed

    def _connect(self, number: int) -> Socket:
        socket = net.connect(self.server.port, HOST, no_delay=True)
        size = len(self.request)

        def received(data: bytes) -> None:
            self.left[number] -= len(data)
            if not self.left[number]:
                self.left[number] = size
                self.answers += 1
                socket.write(self.request)

        socket.on("connect", lambda: socket.write(self.request))
        socket.on("data", received)
        socket.on("error", self._failed)
        return socket

    def _failed(self, error: BaseException) -> None:
        text = f"a connection to the server of {self.server.name} failed: {text_of(error)}"
        self.failure = BenchError(text)
        stop()

    def _begin(self) -> None:
        self.cpu = -self.server.cpu_time()
        self.count = -self.answers
        self.started = time.perf_counter()
        self.timer = set_timeout(self._end, self.length * 1000)

    def _end(self) -> None:
        self.elapsed = time.perf_counter() - self.started
        self.count += self.answers
        self.cpu += self.server.cpu_time()
        stop()
