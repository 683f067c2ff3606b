"""Mixed traffic at full load, with faults, for minutes: does anything grow, is a byte lost?

    python -m tests.reliability.soak --minutes 15 [--calls] [--plot soak.png] [--json soak.json]

One process, one loop, both ends of everything. Lanes that begin anew as soon as they are over:
echoes of some megabytes, the same through a proxy that pipes, short connections that end in each
way, idle ones, timeouts, aborts at any point. Meanwhile faults: peers that reset, sockets with the
smallest buffers, moments without descriptors (RLIMIT_NOFILE), processes of clients that are killed.

With --calls system calls fail all the time besides: see CALLS. It needs a C compiler.

Every byte that arrives is compared with the one that was sent there. Each second the resident
memory, descriptors and handles are noted. At the end everything is closed and has to be gone.
Exits with 1 if a byte was wrong or missing, something grew, or an unknown error was seen. Linux.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import itertools
import json
import os
import platform
import random
import resource
import socket as posix
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyuvnet
from pyuvnet import AbortController, Socket, net
from pyuvnet._core.handle import live_counts
from tests.reliability.faults.shim import Shim, build, preloaded

HOST = "127.0.0.1"
PATTERN = random.Random(5).randbytes(1_000_003)
TWICE = PATTERN * 2
LANES = {"echo": 6, "small": 2, "proxy": 3, "churn": 6, "idle": 150, "timeout": 20, "abort": 6}
# What faults and aborts may end a connection with.
KNOWN = {"ECONNRESET", "EPIPE", "EMFILE", "ABORT_ERR", "ECONNABORTED"}
# What the shim of faults/ does to the calls of libuv, all of which have to be survived in silence.
CALLS = (
    "write cap=3000 chance=20; write error=EAGAIN chance=5 seed=2; write error=ENOBUFS chance=2; "
    "writev cap=2000 chance=20 seed=3; writev error=EAGAIN chance=5 seed=4; "
    "read cap=999 chance=20 seed=5; read error=EINTR chance=5 seed=6; "
    "epoll_pwait error=EINTR chance=5 seed=7; epoll_pwait cap=1 chance=20 seed=8; "
    "accept4 error=ECONNABORTED chance=5 seed=9"
)
# A client in a process of its own, which sends and reads until it is killed.
VICTIM = """
import selectors, socket, sys
ready = selectors.DefaultSelector()
for _ in range(10):
    one = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    one.setblocking(False)
    ready.register(one, selectors.EVENT_READ | selectors.EVENT_WRITE)
while True:
    for key, what in ready.select():
        try:
            if what & selectors.EVENT_READ:
                key.fileobj.recv(65536)
            else:
                key.fileobj.send(bytes(20000))
        except BlockingIOError:
            pass
"""


def piece(at: int, size: int) -> bytes:
    """What is sent from a position of a stream on; up to a million bytes."""
    at %= len(PATTERN)
    return TWICE[at : at + size]


class Soak:
    """The lanes, and what was seen of them."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.random = random.Random(7)
        self.stopping = False
        self.lanes = sum(LANES.values())
        self.counts: collections.Counter[str] = collections.Counter()
        self.wrong: list[str] = []
        self.samples: list[tuple[float, int, int, int, int]] = []
        self.held: set[Socket] = set()
        self.victim: subprocess.Popen[bytes] | None = None
        self.limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        # The first timer makes the one handle that all share and the loop keeps.
        pyuvnet.set_timeout(lambda: None, 1)
        pyuvnet.run()
        self.counted_before = live_counts()
        self.echo_server = net.create_server(self.serve_echo)
        # Each direction ends by itself: what comes back is longer under way.
        self.proxy_server = net.create_server(self.serve_proxy, allow_half_open=True)
        for server in (self.echo_server, self.proxy_server):
            server.on("drop", lambda info: self.count(f"drop {info['reason']}"))
            server.listen(0, HOST, 1024, callback=pyuvnet.stop)
            pyuvnet.run()
        # The loop's own stay: its poll, and the pipe by which signals wake it.
        self.before = descriptors() - 2

    def count(self, what: str, number: int = 1) -> None:
        self.counts[what] += number

    def failed(self, error: Any) -> None:
        """An 'error' listener: aborts and faults bring known ones."""
        code = str(getattr(error, "code", error))
        self.count(code)
        if code not in KNOWN:
            self.wrong.append(f"unknown error {error!r}")

    def again(self, lane: Callable[[], None], had_error: bool = False) -> None:
        if self.stopping:
            self.lane_over()
        elif had_error:
            # Where descriptors are missing, the next try has time.
            pyuvnet.set_timeout(lambda: self.lane_over() if self.stopping else lane(), 20)
        else:
            pyuvnet.set_immediate(lambda: self.lane_over() if self.stopping else lane())

    def lane_over(self) -> None:
        self.lanes -= 1
        if self.lanes == 0:
            # Not before: the kernel would reset who waits to be accepted.
            self.echo_server.close()
            self.proxy_server.close()

    # ---- Servers -------------------------------------------------------------------------------

    def serve_echo(self, socket: Socket) -> None:
        def data(chunk: bytes) -> None:
            if not socket.write(chunk):
                socket.pause()

        socket.on("data", data).on("drain", socket.resume).on("error", self.failed)

    def serve_proxy(self, front: Socket) -> None:
        back = net.connect(self.port(self.echo_server), HOST, allow_half_open=True)
        front.pipe(back)
        back.pipe(front)

        for one, other in ((front, back), (back, front)):
            one.on("error", self.failed)
            one.on("close", lambda had_error, other=other: had_error and other.destroy())

    def port(self, server: net.Server) -> int:
        return int(server.address()["port"])

    # ---- Lanes ---------------------------------------------------------------------------------

    def echo(self) -> None:
        self.exchange("echo", net.connect(self.port(self.echo_server), HOST), self.echo)

    def proxy(self) -> None:
        self.exchange("proxy", net.connect(self.port(self.proxy_server), HOST), self.proxy)

    def small(self) -> None:
        """Over a socket whose buffers are as small as the kernel lets them be."""
        try:
            raw = posix.socket()
        except OSError:
            self.again(self.small, True)
            return
        for option in (posix.SO_SNDBUF, posix.SO_RCVBUF):
            raw.setsockopt(posix.SOL_SOCKET, option, 1)
        raw.connect((HOST, self.port(self.echo_server)))
        self.exchange("small", Socket(fd=raw.detach()), self.small, 60_000)

    def exchange(
        self, name: str, socket: Socket, lane: Callable[[], None], most: int = 3_000_000
    ) -> None:
        """Send so many bytes, and compare what comes back."""
        total = self.random.randrange(most)
        sent = got = 0

        def pump() -> None:
            nonlocal sent
            while sent < total:
                chunk = piece(sent, min(self.random.randrange(1, 40_000), total - sent))
                sent += len(chunk)
                if not socket.write(chunk):
                    return
            socket.end()

        def data(chunk: bytes) -> None:
            nonlocal got
            if chunk != piece(got, len(chunk)):
                self.wrong.append(f"{name}: other bytes at {got}")
            got += len(chunk)

        def close(had_error: bool) -> None:
            self.count(f"{name} bytes", got)
            self.count(f"{name} done")
            self.compare(name, sent, got)
            self.again(lane, had_error)

        socket.on("data", data).on("drain", pump).on("error", self.failed).on("close", close)
        pump()

    def compare(self, name: str, sent: int, got: int) -> None:
        """All has to come back; or nothing, where libuv closed what it could not accept."""
        if got == sent:
            return
        if got:
            self.wrong.append(f"{name}: {got} of {sent} bytes came back")
        else:
            self.count("never accepted")

    def churn(self) -> None:
        message = piece(self.random.randrange(1000), 300)
        how = self.random.choice(["end", "destroy", "reset", "error"])
        got = bytearray()
        socket = net.connect(self.port(self.echo_server), HOST)

        def data(chunk: bytes) -> None:
            got.extend(chunk)
            if len(got) < len(message):
                return
            if how == "end":
                socket.end()
            elif how == "reset":
                socket.reset_and_destroy()
            else:
                socket.destroy(ConnectionAbortedError(5, "ours") if how == "error" else None)

        def error(problem: Any) -> None:
            if how != "error" or not isinstance(problem, ConnectionAbortedError):
                self.failed(problem)

        def close(had_error: bool) -> None:
            self.count("churn done")
            if got != message[: len(got)]:
                self.wrong.append("churn: other bytes")
            self.compare("churn", len(message), len(got))
            self.again(self.churn, had_error)

        socket.on("data", data).on("error", error).on("close", close)
        socket.write(message)

    def idle(self) -> None:
        socket = net.connect(self.port(self.echo_server), HOST)
        self.held.add(socket)
        timer = pyuvnet.set_timeout(socket.destroy, self.random.randrange(1000, 20_000))

        def close(had_error: bool) -> None:
            timer.close()
            self.held.discard(socket)
            self.again(self.idle, had_error)

        socket.on("error", self.failed).on("close", close).resume()

    def timeout(self) -> None:
        socket = net.connect(self.port(self.echo_server), HOST)

        def expired() -> None:
            self.count("timeouts")
            socket.end() if self.random.random() < 0.5 else socket.destroy()

        socket.set_timeout(self.random.randrange(5, 50), expired)
        socket.on("error", self.failed).resume()
        socket.on("close", lambda had_error: self.again(self.timeout, had_error))

    def abort(self) -> None:
        controller = AbortController()
        moment = self.random.choice(["now", "tick", "immediate", "connect", "data"])
        socket = Socket(signal=controller.signal)
        socket.on("error", self.failed)
        socket.on("close", lambda had_error: (self.count("aborts"), self.again(self.abort)))
        socket.on("data", lambda chunk: controller.abort())
        if moment == "connect":
            socket.on("connect", controller.abort)
        socket.connect(self.port(self.echo_server), HOST)
        socket.write(piece(0, self.random.randrange(1, 900_000)))
        if moment == "now":
            controller.abort()
        elif moment == "tick":
            pyuvnet.next_tick(controller.abort)
        elif moment == "immediate":
            pyuvnet.set_immediate(controller.abort)

    # ---- Faults --------------------------------------------------------------------------------

    def reset_peer(self) -> None:
        """A peer that closes with RST, at any moment of what it does."""
        try:
            with posix.create_connection((HOST, self.port(self.echo_server))) as raw:
                raw.setsockopt(posix.SOL_SOCKET, posix.SO_LINGER, struct.pack("ii", 1, 0))
                raw.setblocking(False)
                if self.random.random() < 0.7:
                    raw.send(piece(0, self.random.randrange(1, 200_000)))
        except OSError:
            return
        self.count("peers reset")

    def starve(self) -> None:
        """No descriptor more, for a moment."""
        lowest = os.dup(0)
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, self.limit[1]))
        self.count("times without descriptors")
        pyuvnet.set_timeout(self.feed, 150)

    def feed(self) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, self.limit)

    def kill(self) -> None:
        """Kill the clients' process, and start another."""
        self.feed()
        if self.victim is not None:
            self.victim.kill()
            self.victim.wait()
            self.count("processes killed")
        self.victim = None
        if not self.stopping:
            command = [sys.executable, "-S", "-c", VICTIM, str(self.port(self.echo_server))]
            self.victim = subprocess.Popen(command, stderr=subprocess.DEVNULL)

    # ---- The whole -----------------------------------------------------------------------------

    def run(self) -> None:
        for name, number in LANES.items():
            for _ in range(number):
                getattr(self, name)()
        began = time.monotonic()

        def sample() -> None:
            since = time.monotonic() - began
            moved = sum(self.counts[f"{name} bytes"] for name in ("echo", "small", "proxy"))
            handles = pyuvnet.current_loop().handle_count()
            # Looking needs a descriptor.
            now = resource.getrlimit(resource.RLIMIT_NOFILE)
            self.feed()
            self.samples.append((round(since, 1), resident(), descriptors(), handles, moved))
            resource.setrlimit(resource.RLIMIT_NOFILE, now)

        timers = [
            pyuvnet.set_interval(sample, 1000),
            pyuvnet.set_interval(self.reset_peer, 20),
            pyuvnet.set_interval(self.starve, 2300),
            pyuvnet.set_interval(self.kill, 3100),
        ]

        def stop() -> None:
            self.stopping = True
            for timer in timers:
                timer.close()
            self.kill()
            for socket in list(self.held):
                socket.destroy()
            watchdog = pyuvnet.set_timeout(self.hang, 30_000)
            watchdog.unref()

        pyuvnet.set_timeout(stop, int(self.seconds * 1000))
        pyuvnet.run()

    def hang(self) -> None:
        raise AssertionError(f"still there: {pyuvnet.loop.handles()[:20]}")

    def verdict(self) -> list[str]:
        """What went wrong, in words."""
        found = self.wrong[:20]
        missing = self.counts["drop EMFILE"] + self.counts["EMFILE"]
        if self.counts["never accepted"] > missing:
            found.append(f"{self.counts['never accepted']} connections had no answer")
        left = pyuvnet.current_loop().handle_count()
        if left or live_counts() != self.counted_before:
            found.append(f"{left} handles are left, {live_counts()} in the debug build")
        left = descriptors() - self.before
        # A loop that has spliced keeps its kernel pipe, and nothing else may stay.
        if left > 0 and not (left == 2 and _has_a_whole_pipe()):
            found.append(f"{left} descriptors are left")
        if self.seconds >= 120:
            for index, what, share in ((1, "memory", 1.02), (2, "descriptors", 1.05),
                                       (3, "handles", 1.05)):  # fmt: skip
                early, late = (statistics.median(part) for part in self.parts(index))
                if late > early * share:
                    found.append(f"{what} grew from {early:,.0f} to {late:,.0f}")
        return found

    def parts(self, index: int) -> tuple[list[int], list[int]]:
        """A column of the samples from 10 to 30 % of the time, and from 80 % on."""
        column = [int(row[index]) for row in self.samples]
        size = len(column)
        return column[size // 10 : size * 3 // 10], column[size * 8 // 10 :]


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def _has_a_whole_pipe() -> bool:
    """Whether both ends of a pipe are open here."""
    pipes: collections.Counter[str] = collections.Counter()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            pipes[os.readlink(f"/proc/self/fd/{name}")] += 1
    return any(what.startswith("pipe:") and count == 2 for what, count in pipes.items())


def descriptors() -> int:
    # The listing itself has one open.
    return len(os.listdir("/proc/self/fd")) - 1


def plot(soak: Soak, path: Path) -> None:
    """Draw memory, descriptors, handles and traffic over time."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    minutes = [row[0] / 60 for row in soak.samples]
    moved = [row[4] / 1e6 for row in soak.samples]
    rates = [0.0, *(after - before for before, after in itertools.pairwise(moved))]
    columns = {
        "memory, MiB": [row[1] / 2**20 for row in soak.samples],
        "descriptors": [row[2] for row in soak.samples],
        "handles": [row[3] for row in soak.samples],
        "echoed, MB/s": rates,
    }
    figure, axes = pyplot.subplots(len(columns), 1, sharex=True, figsize=(8, 7))
    for axis, (name, values) in zip(axes, columns.items(), strict=True):
        axis.plot(minutes, values, linewidth=0.8, color="#2b6cb0")
        axis.set_ylabel(name)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    axes[-1].set_xlabel("minutes")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def with_shim(command: list[str]) -> int:
    """Run the same in a process that has the shim."""
    with tempfile.TemporaryDirectory() as folder:
        environment = dict(os.environ, **preloaded(build(Path(folder))))
        return subprocess.run([sys.executable, "-m", *command], env=environment).returncode


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.reliability.soak")
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--plot", type=Path, help="an image to draw, such as soak.png")
    parser.add_argument("--json", type=Path, help="where the samples go")
    parser.add_argument("--calls", action="store_true", help="let system calls fail besides")
    arguments = parser.parse_args()
    if arguments.calls and "FAULTS_SHIM" not in os.environ:
        return with_shim(["tests.reliability.soak", *sys.argv[1:]])
    soak = Soak(arguments.minutes * 60)
    if arguments.calls:
        shim = Shim()
        shim.load(CALLS)
    soak.run()
    found = soak.verdict()
    print(f"CPython {platform.python_version()}, {os.cpu_count()} processors")
    for name, number in sorted(soak.counts.items()):
        print(f"{name:28} {number:15,}")
    if arguments.calls:
        for rule, hits in zip(CALLS.split("; "), shim.hits(), strict=True):
            print(f"{rule:50} struck {hits:12,}")
    for index, name in ((1, "memory, KiB"), (2, "descriptors"), (3, "handles")):
        parts = [statistics.median(part or [0]) for part in soak.parts(index)]
        early, late = (part / 1024 if index == 1 else part for part in parts)
        print(f"{name:28} {early:12,.0f} early, {late:,.0f} late")
    if arguments.json:
        names = ["seconds", "rss", "descriptors", "handles", "bytes"]
        arguments.json.write_text(json.dumps({"columns": names, "samples": soak.samples}) + "\n")
    if arguments.plot:
        plot(soak, arguments.plot)
    print("\n".join(f"WRONG: {each}" for each in found) or "nothing grew, no byte was lost")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
