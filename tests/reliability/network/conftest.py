"""Two hosts in network namespaces with a cable between them; both end with the test."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyuvnet._core.info import build_flags
from tests.reliability.faults.shim import build, compiler, preloaded

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent.parent


class Host:
    """A namespace, with an interface "wire" that leads to the other one."""

    def __init__(
        self, enter: list[str], holder: subprocess.Popen[bytes], shim: dict[str, str]
    ) -> None:
        self.enter, self.holder, self.shim = enter, holder, shim
        self.programs: list[subprocess.Popen[str]] = []

    def run(self, *command: str, text: str | None = None) -> str:
        """Run a command here, with a text as its input; it must work."""
        done = subprocess.run([*self.enter, *command], input=text, capture_output=True, text=True)
        assert done.returncode == 0, (command, text, done.stderr)
        return done.stdout

    def ip(self, *words: str) -> None:
        self.run("ip", *words)

    def filter(self, *rules: str) -> None:
        """Replace the filter of what comes in: rules of nft."""
        lines = [
            "add table inet t",
            "delete table inet t",
            "table inet t {",
            "chain c {",
            "type filter hook input priority 0",
            *rules,
            "}",
            "}",
        ]
        self.run("nft", "-f", "-", text="\n".join(lines) + "\n")

    def set(self, name: str, value: str) -> None:
        """Set a parameter of the kernel, below /proc/sys/net."""
        self.run("sh", "-c", f"echo {value} > /proc/sys/net/{name}")

    def start(self, scenario: str, **options: Any) -> Program:
        """Start a scenario of program.py here."""
        # The shim is for the program, not for what it is started with.
        loaded = [f"{name}={value}" for name, value in self.shim.items()]
        process = subprocess.Popen(
            [
                *self.enter,
                "env",
                *loaded,
                sys.executable,
                str(HERE / "program.py"),
                scenario,
                json.dumps(options),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=dict(os.environ, PYTHONPATH=str(ROOT), PYTHONFAULTHANDLER="1"),
        )
        self.programs.append(process)
        return Program(process)

    def close(self) -> None:
        for process in self.programs:
            process.kill()
            process.communicate()
        assert self.holder.stdin is not None
        self.holder.stdin.close()
        self.holder.kill()
        self.holder.wait()


class Program:
    """A running scenario: says lines of JSON."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def says(self) -> Any:
        """Wait for its next line."""
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read()
        return json.loads(line)

    def silence(self) -> None:
        """Tell it that its peer is silent from now on."""
        self.process.send_signal(signal.SIGUSR1)

    def result(self) -> dict[str, Any]:
        """Wait for its end: its last line. Its watchdog ends it before the test's does."""
        out, err = self.process.communicate()
        assert (self.process.returncode, err) == (0, "")
        told: dict[str, Any] = json.loads(out.splitlines()[-1])
        return told


def _hold(command: list[str]) -> subprocess.Popen[bytes]:
    """Start a process that holds the namespace it is in, and wait until it is there.

    It ends when its input does, so also with a run that is killed.
    """
    holder = subprocess.Popen(
        [*command, "sh", "-c", "echo here; exec cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stderr is not None
    with holder.stdout, holder.stderr:
        if holder.stdout.readline() != b"here\n":
            reason = holder.stderr.read().decode().strip()
            holder.communicate()
            pytest.skip(f"namespaces are not permitted here: {reason}")
    return holder


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment that loads the shim, which counts the polls; nothing without a compiler."""
    if sys.platform != "linux" or compiler() is None or "installed libuv" in build_flags():
        return {}
    return preloaded(build(tmp_path_factory.mktemp("shim")))


@pytest.fixture
def hosts(shim: dict[str, str]) -> Iterator[tuple[Host, Host]]:
    """Two hosts, near and far: 10.77.0.1 and .2 (far is .3 too), fd77::1 and ::2."""
    if sys.platform != "linux":
        pytest.skip("network namespaces are Linux's")
    missing = [name for name in ("unshare", "nsenter", "ip", "nft") if not shutil.which(name)]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    first = _hold(["unshare", "--map-root-user", "--net"])
    enter = ["nsenter", "--preserve-credentials", "-U", "-n", "-t"]
    opened = [Host([*enter, str(first.pid)], first, shim)]
    try:
        second = _hold([*enter, str(first.pid), "unshare", "--net"])
        opened.append(Host([*enter, str(second.pid)], second, shim))
        near, far = opened
        try:
            near.ip("link", "add", "wire", "type", "veth", "peer", "wire", "netns", str(second.pid))
            near.run("nft", "add", "table", "inet", "t")
        except AssertionError as error:
            pytest.skip(f"no veth or no filter here: {error.args[0]}")
        for host, addresses in (
            (near, ["10.77.0.1/24", "fd77::1/64"]),
            (far, ["10.77.0.2/24", "10.77.0.3/24", "fd77::2/64"]),
        ):
            host.ip("link", "set", "lo", "up")
            # No packets larger than the wire's, which would be lost as a whole.
            host.ip("link", "set", "wire", "gso_max_segs", "1")
            host.ip("link", "set", "wire", "up")
            for address in addresses:
                host.ip("address", "add", address, "dev", "wire", *["nodad"] * (":" in address))
        for _ in range(1000):
            if "LOWER_UP" in near.run("ip", "link", "show", "wire"):
                break
        else:
            raise AssertionError("the wire does not come up")
        yield near, far
    finally:
        for host in reversed(opened):
            host.close()
