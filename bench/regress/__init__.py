"""Has anything become dearer? Instructions and bytes, exact, next to the committed ones.

    python -m bench.regress                         # compare with figures.json
    python -m bench.regress --only 'echo*' idle     # some
    python -m bench.regress --update                # write what is measured now into figures.json
    python -m bench.regress --save FILE             # write it into a file of your own,
    python -m bench.regress --against FILE          # and compare with that

Exits with 1 if something became dearer. Takes less than a minute on two processors. Other load does
not matter: nothing is timed. Needs a release build, valgrind and glibc.

Each server of servers.py runs under callgrind, which counts what the program executes outside of
the kernel. Whatever is sent is sent while the server sleeps, so nothing depends on how fast anybody
is, and the cost of one message is the difference between few and many. Memory is what malloc() and
Python's allocator hold for a connection, after 200 connections that do not count. Two runs give the
same figures, except for the import, which looks at folders: 0.1 %. CPython's cache of attributes
and asyncio's sets of tasks go by addresses, and malloc() by what is free, which another build or a
longer source file moves: builds of the same sources differ by up to 0.7 % in the figures of MOVED.

The figures depend on how Python and the core were compiled, and on the processor, for which the C
library chooses its functions. figures.json has those of several Pythons, and says for each where
they were taken. Where all of that is the same, what grew by more than 0.2 % fails (1 % of those of
MOVED; 2 % of the import and the start, which grow with each function). Elsewhere the figures are
compared with those of the same Python version, and what grew by more than 25 % fails; to compare
two commits on such a machine use --save and --against. What became cheaper fails nothing: run
--update, or the next increase goes unnoticed.

In some layouts two attributes of the hot path share a place in CPython's cache and evict each other
each time, which added 4.6 % to a connection where it was seen. So what grew is measured again with
other numbers for all types, which moves the places, and the smaller figure counts.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import re
import shutil
import socket
import ssl
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
FIGURES = HERE / "figures.json"
LIMIT = 120.0
# Shares by which a figure may grow.
SAME, SAME_MOVED, SAME_START, OTHER = 0.002, 0.01, 0.02, 0.25
IDLE, IDLE_BEFORE = 2000, 200
OTHER_TYPES = 37  # any number, for other places in CPython's cache
RECEIVERS = 50


class FailureError(Exception):
    """A server did not do what it should; the text says what."""


# A server and the connections to it


@dataclass
class Running:
    """A server that runs, and what controls it."""

    pid: int
    port: int
    controller: socket.socket
    behind: socket.socket

    def settle(self) -> None:
        """Wait until the server sleeps: it has done all that there was to do."""
        end = time.monotonic() + LIMIT
        while True:
            # The state stands behind the name, which is in brackets.
            stat = Path(f"/proc/{self.pid}/stat").read_bytes()
            if stat[stat.rindex(b")") + 2 :].startswith(b"S"):
                return
            time.sleep(20e-6)
            if time.monotonic() > end:
                raise FailureError("the server does not come to rest")

    def connect(self) -> socket.socket:
        self.settle()
        made = _connect(self.port)
        self.settle()
        return made

    def send(self, peer: socket.socket, message: bytes) -> None:
        self.settle()
        peer.sendall(message)

    def mark(self, what: bytes = b"mark") -> int:
        """Let callgrind write down what it counted; returns the bytes held, for b"memory"."""
        self.send(self.controller, what)
        answer = b""
        while not answer.endswith(b"\n"):
            answer += _some(self.controller, 100)
        return int(answer)


def _connect(port: int) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", port), timeout=LIMIT)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def _some(peer: socket.socket, most: int) -> bytes:
    part = peer.recv(most)
    if not part:
        raise FailureError("the server closed a connection")
    return part


def _expect(peer: socket.socket, expected: bytes) -> None:
    got = b""
    while len(got) < len(expected):
        got += _some(peer, len(expected) - len(got))
    if got != expected:
        raise FailureError("the server sent other bytes than it should")


@dataclass
class Stage:
    """Where servers run."""

    folder: Path
    types: int  # so many are made before all others


@contextlib.contextmanager
def _stage(types: int) -> Iterator[Stage]:
    """A folder with the package and the servers, whose path is as long as that of any other one.

    Paths are joined, hashed and compared by an import.
    """
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="regress-") as folder:
        stage = Stage(Path(folder), types)
        (stage.folder / "pyuvnet").symlink_to(ROOT / "pyuvnet")
        shutil.copy(HERE / "servers.py", stage.folder)
        _make_keys(stage.folder)
        _compile([*_program(stage), "start", "0", "0"])
        _compile([*_python(stage), "-c", "import asyncio, ctypes, gc, re, tempfile"])
        yield stage


def _make_keys(folder: Path) -> None:
    """A key and a certificate; no instruction that is counted depends on which."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-subj", "/CN=localhost", "-days", "2", "-keyout", "key.pem"]
    subprocess.run([*command, "-out", "cert.pem"], cwd=folder, check=True, capture_output=True)


def _python(stage: Stage) -> list[str]:
    return [sys.executable, "-s", "-S", "-X", f"pycache_prefix={stage.folder}/cache"]


def _program(stage: Stage) -> list[str]:
    return [*_python(stage), str(stage.folder / "servers.py")]


def _compile(command: list[str]) -> None:
    """Run what imports, so that callgrind does not count the compiling of modules."""
    subprocess.run(
        command, env=_environment(), stdout=subprocess.DEVNULL, check=True, timeout=LIMIT
    )


def _environment() -> dict[str, str]:
    # Nothing of the developer's own.
    return {"PYTHONHASHSEED": "0", "PATH": os.defpath, "LC_ALL": "C.UTF-8"}


@contextlib.contextmanager
def _serve(stage: Stage, name: str, prefix: Sequence[str] = ()) -> Iterator[Running]:
    with (
        socket.create_server(("127.0.0.1", 0)) as behind,
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            [*prefix, *_program(stage), name, _port(behind), str(stage.types)],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=_environment(),
        ) as child,
    ):
        assert child.stdout is not None
        watchdog = threading.Timer(LIMIT, child.kill)
        watchdog.start()
        try:
            ports = child.stdout.readline().split()
            if len(ports) != 2:
                raise FailureError("did not listen")
            if ports[0] != "0":
                behind.settimeout(LIMIT)
                with _connect(int(ports[1])) as controller:
                    yield Running(child.pid, int(ports[0]), controller, behind)
                    controller.shutdown(socket.SHUT_WR)
                    child.wait()
            else:
                yield Running(0, 0, behind, behind)
                child.wait()
        except (FailureError, OSError) as error:
            child.kill()
            errors.seek(0)
            raise FailureError(f"{name}: {error}\n{errors.read()}") from None
        finally:
            watchdog.cancel()
            child.kill()


def _port(server: socket.socket) -> str:
    return str(server.getsockname()[1])


@contextlib.contextmanager
def _counted(stage: Stage, name: str, counts: list[int]) -> Iterator[Running]:
    """A server under callgrind; `counts` gets the instructions up to each of its marks."""
    with tempfile.TemporaryDirectory() as folder:
        out = f"{folder}/out"
        prefix = ["valgrind", "--tool=callgrind", "--dump-before=getloadavg"]
        with _serve(stage, name, [*prefix, f"--callgrind-out-file={out}"]) as running:
            yield running
        number = 1
        while (path := Path(f"{out}.{number}")).exists():
            found = re.search(r"^totals: (\d+)", path.read_text("utf-8", "replace"), re.MULTILINE)
            if found is None:
                raise FailureError(f"{path.name} of callgrind has no totals")
            counts.append(int(found[1]))
            number += 1


# What is done with a server: returns a function that does it so many times.

Repeat = Callable[[int], None]


def _echo(message: bytes, answer: bytes) -> Callable[[Running], Repeat]:
    def prepare(server: Running) -> Repeat:
        peer = server.connect()

        def repeat(times: int) -> None:
            for _ in range(times):
                server.send(peer, message)
                _expect(peer, answer)

        return repeat

    return prepare


def _secured(message: bytes) -> Callable[[Running], Repeat]:
    def prepare(server: Running) -> Repeat:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        plain = server.connect()
        with contextlib.suppress(ssl.SSLWantReadError):
            peer = context.wrap_socket(plain)

        def repeat(times: int) -> None:
            for _ in range(times):
                server.send(peer, message)
                _expect(peer, message)

        return repeat

    return prepare


def _to_all(server: Running) -> Repeat:
    peers = [server.connect() for _ in range(RECEIVERS)]
    message = b"x" * 256
    for number, peer in enumerate(peers):
        server.send(peer, message)
        for other in peers[: number + 1]:
            _expect(other, message)

    def repeat(times: int) -> None:
        for _ in range(times // RECEIVERS):
            server.send(peers[-1], message)
            for peer in peers:
                _expect(peer, message)

    return repeat


def _churn(server: Running) -> Repeat:
    def repeat(times: int) -> None:
        for _ in range(times):
            with server.connect() as peer:
                server.send(peer, b"x" * 64)
                _expect(peer, b"x" * 64)
                server.settle()
                peer.shutdown(socket.SHUT_WR)
                if peer.recv(1):
                    raise FailureError("the server sent more than it got")

    return repeat


def _through(server: Running) -> Repeat:
    front = server.connect()
    back, _ = server.behind.accept()
    back.settimeout(LIMIT)
    back.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    message = b"x" * 1024

    def repeat(times: int) -> None:
        for _ in range(times):
            server.send(front, message)
            _expect(back, message)
            server.send(back, message)
            _expect(front, message)

    return repeat


PAYLOAD = bytes(range(32, 96)) * 16
ECHO = _echo(PAYLOAD, PAYLOAD)
LINES = _echo((PAYLOAD[:63] + b"\n") * 15 + b"last\n", b"last")
FRAMES = _echo((b"\0\0\0\x3c" + PAYLOAD[:60]) * 15 + b"\0\0\0\4last", b"last")

# Name -> (server, what is done with it, how often).
INSTRUCTIONS: dict[str, tuple[str, Callable[[Running], Repeat], int]] = {
    "echo, listener": ("listener", ECHO, 500),
    "echo, method": ("method", ECHO, 500),
    "echo, pipe": ("pipe", ECHO, 500),
    "echo, coroutine": ("coroutine", ECHO, 500),
    "echo over TLS, 64 bytes": ("tls", _secured(PAYLOAD[:64]), 500),
    "echo over TLS, 16 KiB": ("tls", _secured(PAYLOAD * 16), 200),
    "16 writes": ("writes", ECHO, 500),
    "16 lines": ("lines", LINES, 500),
    "16 frames": ("frames", FRAMES, 500),
    "broadcast, delivery": ("broadcast", _to_all, 2500),
    "broadcast of text, delivery": ("broadcast_text", _to_all, 2500),
    "proxy, there and back": ("proxy", _through, 500),
    "proxy with timeouts, there and back": ("proxy_timeouts", _through, 500),
    "connect, echo, close, listener": ("listener", _churn, 400),
    "connect, echo, close, method": ("method", _churn, 400),
    "connect, echo, close, pipe": ("pipe", _churn, 400),
    "connect, echo, close, coroutine": ("coroutine", _churn, 400),
    "connect, echo, close, async with": ("coroutine_with", _churn, 400),
}
IMPORT, START = "import", "import to listening"
# Figures of what looks up or allocates so much that it matters where objects are.
MOVED = {
    *("16 lines", "16 frames", "echo, coroutine"),
    *("echo over TLS, 64 bytes", "echo over TLS, 16 KiB"),
    *("connect, echo, close, coroutine", "connect, echo, close, async with"),
}
# Name -> server.
BYTES = {
    "idle connection, closure, bytes": "listener",
    "idle connection, method, bytes": "method",
    "idle connection, pipe, bytes": "pipe",
    "idle connection, coroutine, bytes": "coroutine",
}
NAMES = [*INSTRUCTIONS, IMPORT, START, *BYTES]


def _instructions(stage: Stage, name: str) -> dict[str, float]:
    """Instructions for each time, rounded."""
    server, prepare, times = INSTRUCTIONS[name]
    counts: list[int] = []
    with _counted(stage, server, counts) as running:
        repeat = prepare(running)
        repeat(times // 4)
        running.mark()
        repeat(times // 4)
        running.mark()
        repeat(times // 4 + times)
        running.mark()
    return {name: round((counts[2] - counts[1]) / times)}


def _start(stage: Stage) -> dict[str, float]:
    counts: list[int] = []
    with _counted(stage, "start", counts):
        pass
    return {IMPORT: counts[1], START: counts[2]}


def _bytes(stage: Stage, name: str) -> dict[str, float]:
    """Bytes for each connection."""
    with _serve(stage, BYTES[name]) as running, contextlib.ExitStack() as opened:
        for _ in range(IDLE_BEFORE):
            opened.enter_context(running.connect())
        running.mark(b"memory")
        before = running.mark(b"memory")
        for _ in range(IDLE):
            opened.enter_context(running.connect())
        after = running.mark(b"memory")
    return {name: round((after - before) / IDLE)}


def measure(names: Sequence[str], jobs: int, types: int = 0) -> dict[str, float]:
    """All figures with these names.

    Args:
        types: so many types are made before the package is imported.
    """
    with _stage(types) as stage, ThreadPoolExecutor(jobs) as pool:
        tasks = [pool.submit(_instructions, stage, name) for name in INSTRUCTIONS if name in names]
        if IMPORT in names or START in names:
            tasks.append(pool.submit(_start, stage))
        tasks += [pool.submit(_bytes, stage, name) for name in BYTES if name in names]
        found: dict[str, float] = {}
        for task in tasks:
            found |= task.result()
    return {name: found[name] for name in NAMES if name in found and name in names}


# What was measured before


def built() -> str:
    """All on which figures depend except our code."""
    compiler = shutil.which((sysconfig.get_config_var("CC") or "cc").split()[0])
    version = ""
    if compiler is not None:
        done = subprocess.run([compiler, "--version"], capture_output=True, text=True)
        version = done.stdout.partition("\n")[0]
    cpu = re.search(r"^model name\s*: (.*)", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    valgrind = subprocess.run(["valgrind", "--version"], capture_output=True, text=True)
    return "; ".join(
        [
            " ".join(sys.version.split()),
            version,
            " ".join(platform.libc_ver()),
            cpu[1] if cpu else platform.machine(),
            valgrind.stdout.strip(),
        ]
    )


@dataclass
class Change:
    """A figure now and before."""

    name: str
    before: float | None
    now: float
    allowed: float

    @property
    def share(self) -> float:
        return self.now / self.before - 1 if self.before else 0.0

    @property
    def worse(self) -> bool:
        return self.share > self.allowed

    @property
    def better(self) -> bool:
        return self.share < -self.allowed


def compare(before: dict[str, float], now: dict[str, float], same: bool) -> list[Change]:
    """Each figure next to the one before.

    Args:
        same: all is as it was but our code.
    """

    def allowed(name: str) -> float:
        if not same:
            return OTHER
        if name in MOVED:
            return SAME_MOVED
        return SAME_START if name in (IMPORT, START) else SAME

    return [Change(name, before.get(name), value, allowed(name)) for name, value in now.items()]


def show(changes: Sequence[Change]) -> None:
    print(f"{'':37}{'before':>12}{'now':>12}")
    for each in changes:
        before = "-" if each.before is None else f"{each.before:,}"
        verdict = "MORE" if each.worse else "less" if each.better else ""
        share = f"{each.share:+.1%}" if each.before is not None and each.share else ""
        print(f"{each.name:37}{before:>12}{each.now:>12,}  {share:>7}  {verdict}".rstrip())


Kept = dict[str, dict[str, object]]


def _read(path: Path) -> Kept:
    found: Kept = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return found


def _write(path: Path, version: str, now: dict[str, float]) -> None:
    kept = _read(path)
    known = kept.get(version, {})
    same = known.get("built") == built()
    figures = known.get("figures", {}) if same else {}
    assert isinstance(figures, dict)
    merged = {**figures, **now}
    kept[version] = {
        "built": built(),
        "figures": {name: merged[name] for name in NAMES if name in merged},
    }
    path.write_text(json.dumps(dict(sorted(kept.items())), indent=1) + "\n", "utf-8")


def _release() -> bool:
    command = [sys.executable, "-m", "pyuvnet", "info"]
    told = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    return "debug" not in told


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and compare; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.regress", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--only", nargs="+", metavar="FIGURE", help="such as 'echo*' idle")
    parser.add_argument("--update", action="store_true", help="write figures.json")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--against", type=Path, metavar="FILE", help="by default figures.json")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="at a time")
    options = parser.parse_args(arguments)
    if shutil.which("valgrind") is None:
        raise SystemExit("valgrind is needed (Debian: apt-get install valgrind)")
    if platform.libc_ver()[0] != "glibc":
        raise SystemExit("glibc is needed, which says how much memory is held")
    if not _release():
        raise SystemExit("pyuvnet is a debug build here: python setup.py build_ext --inplace")
    patterns = [f"{pattern}*" for pattern in options.only or [""]]
    names = [name for name in NAMES if any(fnmatchcase(name, each) for each in patterns)]
    if not names:
        raise SystemExit(f"there are: {', '.join(NAMES)}")
    now = measure(names, options.jobs)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    known = _read(options.against or FIGURES).get(version)
    figures = known["figures"] if known else {}
    assert isinstance(figures, dict)
    same = known is not None and known["built"] == built()
    changes = compare(figures, now, same)
    if dearer := [each.name for each in changes if each.worse]:
        # What really costs more does so in each layout.
        again = measure(dearer, options.jobs, types=OTHER_TYPES)
        now |= {name: min(now[name], again[name]) for name in dearer}
        changes = compare(figures, now, same)
    show(changes)
    if options.save or options.update:
        _write(options.save or FIGURES, version, now)
        return 0
    if known is None:
        print(f"note: nothing is known of CPython {version} yet: --update writes it")
    elif not same:
        print(f"note: an increase of up to {OTHER:.0%} is allowed here, since the figures are of")
        print(f"      {known['built']}\n  not {built()}")
    if any(each.better for each in changes):
        print("note: some became less: run python -m bench.regress --update, and commit it")
    if any(each.worse for each in changes):
        print("some became more: make them less, or say in the commit why, and run --update")
        return 1
    return 0
