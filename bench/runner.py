"""Starts servers, drives them, and takes samples that nothing else on the machine disturbed."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import compiling
from bench.peers import Peer, environment

# A sample is disturbed when others used more than this share of a CPU of the two,
FOREIGN_LIMIT = 0.10
# or when the server stood longer than this share of the time in the queue of its CPU.
QUEUED_LIMIT = 0.05
# or, at a fixed rate, when what the load itself sent too late is this share of the latencies.
DELAY_LIMIT = 0.2
START_LIMIT = 30.0
LOAD_LIMIT = 180.0


class PeerError(Exception):
    """A peer did not do what the scenario asks; the text says what."""


class UnsupportedError(PeerError):
    """A peer says that it has no such thing."""


@dataclass
class Server:
    """A running server."""

    pid: int
    address: dict[str, object]
    warmup: float


@dataclass
class Runner:
    """How everything is measured.

    Args:
        server_cpu, load_cpu: the two CPUs.
        seconds: of a measured time.
        warmup: CPU seconds of the server before it.
        warmup_compiled: the same for a peer that is compiled while it runs.
        retries: how often a disturbed sample is taken again.
        scale: what numbers of idle connections and starts are divided by, for a quick run.
        descriptors: how many files a process may open.
        folder: for sockets and rules.
    """

    server_cpu: int
    load_cpu: int
    seconds: float = 1.0
    warmup: float = 0.5
    warmup_compiled: float = 0.5
    retries: int = 3
    scale: int = 1
    descriptors: int = 20000
    folder: Path = Path()

    def pinned(self, cpu: int, *command: object) -> list[str]:
        return [str(compiling.program("load")), "pin", str(cpu), "--", *map(str, command)]

    @contextlib.contextmanager
    def serve(
        self, peer: Peer, mode: str, path: str = "", number: int = 1, cpu: int | None = None
    ) -> Iterator[Server]:
        """A server of a peer, listening; killed afterwards.

        Args:
            mode: what it does, such as 'echo'.
            path: of a unix socket; TCP by default.
            number: pieces of an answer, or the port behind a proxy.
            cpu: by default the servers'.
        """
        command = self.pinned(
            self.server_cpu if cpu is None else cpu, *peer.command, mode, path, number
        )
        with (
            tempfile.TemporaryFile("w+") as errors,
            subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment()
            ) as child,
        ):
            assert child.stdout is not None
            # A program that never says that it listens is ended, and readline() with it.
            watchdog = threading.Timer(START_LIMIT, child.kill)
            watchdog.start()
            try:
                line = child.stdout.readline().strip()
                watchdog.cancel()
                if line.startswith("unsupported: "):
                    raise UnsupportedError(line.removeprefix("unsupported: "))
                if not line.isdecimal():
                    child.wait()
                    errors.seek(0)
                    told = errors.read().strip().splitlines() or ["it ended at once"]
                    raise PeerError(f"did not listen: {told[-1]}")
                address = {"path": path} if path else {"port": line}
                warmup = self.warmup_compiled if peer.node else self.warmup
                yield Server(child.pid, dict(address), warmup)
                if child.poll() is not None:
                    errors.seek(0)
                    told = errors.read().strip().splitlines() or ["without a word"]
                    raise PeerError(f"ended while it was measured: {told[-1]}")
            finally:
                watchdog.cancel()
                child.kill()

    def load(self, mode: str, server: Server, **options: object) -> dict[str, Any]:
        """Run the load generator against a server; returns what it measured."""
        settings: dict[str, object] = {
            "pid": server.pid,
            "cpus": f"{self.server_cpu},{self.load_cpu}",
            "seconds": self.seconds,
            "warmup": server.warmup,
            **server.address,
            **options,
        }
        arguments = [f"{name}={value}" for name, value in settings.items()]
        return ask(self.pinned(self.load_cpu, compiling.program("load"), mode, *arguments))

    def start(self, peer: Peer) -> dict[str, Any]:
        """Start a server, ask it once, end it; returns what that took."""
        load = compiling.program("load")
        return ask(
            [
                *self.pinned(self.load_cpu, load, "start", f"cpu={self.server_cpu}", "--"),
                *peer.command,
                "echo",
            ]
        )


def ask(command: list[str]) -> dict[str, Any]:
    """Run a command that prints JSON; what it prints."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment(), timeout=LOAD_LIMIT
        )
    except subprocess.TimeoutExpired:
        raise PeerError(f"did not come to an end within {LOAD_LIMIT:.0f} s") from None
    if done.returncode:
        told = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise PeerError(told[-1].removeprefix("load: "))
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def load_anywhere(mode: str, **settings: object) -> dict[str, Any]:
    """Run the load generator on whichever CPU is free; returns what it measured."""
    words = [f"{name}={value}" for name, value in settings.items()]
    return ask([str(compiling.program("load")), mode, *words])


def disturbed(sample: dict[str, Any]) -> bool:
    """Whether anything else used the CPUs so much that a sample is not to be trusted."""
    foreign, queued = sample.get("foreign", 0.0), sample.get("queued", 0.0)
    return bool(foreign > FOREIGN_LIMIT or queued > QUEUED_LIMIT or _delay(sample) > DELAY_LIMIT)


def _delay(sample: dict[str, Any]) -> float:
    late = float(sample.get("p99_us") or 0.0)
    return float(sample.get("delay_p99_us", 0.0)) / late if late else 0.0


def disturbance(sample: dict[str, Any]) -> float:
    """How much it was, to choose the least disturbed."""
    return float(sample.get("foreign", 0.0) + sample.get("queued", 0.0)) + _delay(sample)
