"""Plays scripts (see scripts.py) in one process of Node and in one of Python."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.support.certificates import certificates
from tests.support.hosts import hosts
from tests.support.peers import peers_on_call

HERE = Path(__file__).resolve().parent.parent
NODE = os.environ.get("PYUVNET_NODE") or shutil.which("node")
ONE = "127.0.0.1"
Traces = dict[str, list[str]]


def plays_here(script: dict[str, Any]) -> bool:
    """Other addresses of loopback, queues that hang, and abstract names are Linux's."""
    hosts = [kind for kind in script.get("needs", {}).values() if isinstance(kind, dict)]
    named = {host for kinds in hosts for does in kinds.values() for host in does}
    return sys.platform == "linux" or not (
        script.get("linux") or any("hang" in kinds for kinds in hosts) or named - {ONE, "::1"}
    )


@functools.cache
def node_release() -> str:
    """The version of Node, such as "26.10.0"."""
    assert NODE is not None
    text = subprocess.run([NODE, "--version"], capture_output=True, text=True, check=True).stdout
    return text.strip().removeprefix("v")


def node_version() -> int:
    return int(node_release().split(".")[0])


def _open(script: dict[str, Any], folder: Path, stack: contextlib.ExitStack) -> dict[str, Any]:
    """Open what a script needs: {name: kind}, as descriptors and ports.

    Kinds: "pair" (two descriptors NAME0 and NAME1, a unix socket pair), "tcp" (a TCP pair),
    "bound" (a descriptor and a port), "udp", "file", "fifo" (NAME0 reads), and a mapping of hosts
    by what they do (see hosts.py), of which those that listen are descriptors named by the host.
    The descriptors are the caller's to close, the rest the stack's.
    """
    fds: dict[str, int] = {}
    ports: dict[str, int] = {}
    folder.mkdir()

    def give(name: str, one: socket.socket) -> None:
        fds[name] = one.detach()

    for name, kind in script.get("needs", {}).items():
        if isinstance(kind, dict):
            kinds = {does: tuple(of) for does, of in kind.items()}
            ports[name], opened = stack.enter_context(hosts(**kinds))
            for host in kinds.get("listen", ()):
                give(host, opened[host].dup())
        elif kind == "fifo":
            fds[f"{name}0"], fds[f"{name}1"] = os.pipe()
        elif kind == "pair":
            for number, end in enumerate(socket.socketpair()):
                give(f"{name}{number}", end)
        elif kind == "tcp":
            with socket.create_server(("127.0.0.1", 0)) as server:
                give(f"{name}0", socket.create_connection(server.getsockname()))
                give(f"{name}1", server.accept()[0])
        elif kind == "file":
            fds[name] = os.open(folder / "file", os.O_CREAT | os.O_RDWR)
        else:
            one = socket.socket(type=socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
            one.bind(("127.0.0.1", 0))
            ports[name] = one.getsockname()[1]
            give(name, one)
    if script.get("tls") or script.get("over_tls"):
        script = script | {"pki": str(certificates())}
    return script | {"fds": fds, "ports": ports}


def play(command: list[str], scripts: list[dict[str, Any]]) -> list[Traces]:
    """Play scripts in a process; gives their traces, what each object saw."""
    return [_by_object(entries) for entries in play_in_order(command, scripts)]


def play_in_order(
    command: list[str],
    scripts: list[dict[str, Any]],
    limit: float = 25,
    *,
    may_die: bool = False,
) -> list[list[tuple[str, str]]]:
    """Play scripts in a process; gives what all objects saw, in the order in which they did.

    Args:
        command: a runner.
        scripts: see scripts.py.
        limit: seconds in which something must have been done. Of a runner that takes longer the
            traces so far are given.
        may_die: the same for one that the system ends.
    """
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        ready = [
            _open(script, Path(folder) / str(number), stack)
            for number, script in enumerate(scripts)
        ]
        given = [fd for each in ready for fd in each["fds"].values()]
        if any(action[0] == "peer" for script in scripts for action in script["start"]):
            # One for all, since they are played one after another.
            peers = stack.enter_context(peers_on_call())
            given.append(peers)
            for each in ready:
                each["fds"]["peers"] = peers
        try:
            child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                pass_fds=given,
                env=dict(os.environ, PYTHONPATH=str(HERE.parent)),
            )
        finally:
            # Only the child is to have them, else no end of them would ever be seen.
            for fd in given:
                os.close(fd)
        traces = Path(folder) / "traces"
        work = json.dumps({"folder": folder, "scripts": ready})
        try:
            said = _wait(child, work, traces, limit)
        finally:
            child.kill()
            child.wait()
        done = traces.read_text().splitlines() if traces.exists() else []
        if said is not None and not (may_die and child.returncode):
            assert (child.returncode, said) == (0, ""), said
        return [json.loads(line) for line in done]


def _wait(child: subprocess.Popen[str], work: str, traces: Path, limit: float) -> str | None:
    """Let a runner work; gives what it printed, or None if no trace came for so many seconds."""
    size = -1
    given: str | None = work
    while True:
        try:
            return child.communicate(given, timeout=limit)[0]
        except subprocess.TimeoutExpired:
            given = None  # It is being sent.
            if not traces.exists() or size == (size := traces.stat().st_size):
                return None


def _by_object(entries: list[tuple[str, str]]) -> Traces:
    """What each object saw: the order between two of them is the kernel's.

    Consecutive 'data' are joined, since where the kernel cuts is nobody's promise.
    """
    traces: Traces = {}
    for name, entry in entries:
        trace = traces.setdefault(name, [])
        if entry.startswith("data ") and trace and trace[-1].startswith("data "):
            trace[-1] += entry.removeprefix("data ")
        else:
            trace.append(entry)
    return {
        name: [entry if len(entry) < 1000 else f"{entry[:20]}... {len(entry)}" for entry in trace]
        for name, trace in traces.items()
    }


def on_node(node: str | None = None) -> list[str]:
    """The command that plays scripts on Node."""
    node = node or NODE
    assert node is not None
    return [node, str(HERE / "differential/runner.js")]


ON_PYUVNET = [sys.executable, str(HERE / "differential/runner.py")]


def play_on_node(scripts: list[dict[str, Any]]) -> list[Traces]:
    return play(on_node(), scripts)


def play_on_pyuvnet(scripts: list[dict[str, Any]]) -> list[Traces]:
    return play(ON_PYUVNET, scripts)
