"""Many cores: who gets the connections, what sharing a port costs, and who is lost.

    python -m bench cluster [--parts balance faults rates restarts] [--rounds 3] [--seconds 0.5]
                            [--node PATH] [--only NAME ...] [--connects 10000] [--times 100]
                            [--policies reuse-port rr shared] [--quick] [--json] [--plot FOLDER]

pyuvnet.cluster with each of its policies, next to Node's cluster with both of its own, processes of
uvloop and asyncio that have a SO_REUSEPORT socket each, and uvicorn and granian where they are
installed. Four parts:

* balance: so many connections to 4 workers, 64 at a time and then one after another. Jain's index
  of the workers' shares: 1 if all are equal, 0.25 if one has everything.
* faults: one of 4 workers is blocked while 200 clients connect. How many of them wait for it; and
  how many never get a reply, or are reset, when it is then killed. None had been accepted by it.
* rates: microseconds of CPU time of all processes, the primary's included, for an echo of 1 KiB on
  50 connections that stay, and for a connection with one echo; and how many there are in a second.
  With 1 and 2 workers, divided by one process without a cluster, round by round. The load is C.
* restarts: `python -m pyuvnet serve` under the load of 50 clients (tests/reliability/serving.py):
  connections that were refused or reset during rolling restarts, the time from SIGHUP until all
  workers are new, and the clients that a SIGKILL for a worker has cost.

Nothing is pinned: CPU times and counts hold on a busy machine, rates are those of the machine.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import machine
from bench.figures import jain, median
from bench.peers import environment
from bench.report import table
from bench.runner import load_anywhere

PEERS = Path(__file__).resolve().parent / "peers"
PARTS = ("balance", "faults", "rates", "restarts")
WORKERS = 4  # of balance and faults
AT_ONCE = 64
WAITING = 200  # clients that connect while a worker is blocked
BLOCKED = 2.5  # s, as in the peers
START_LIMIT = 30.0
PATIENCE = 2 * BLOCKED * 1000  # ms, of a client
LOADS = {"echo": ("echo", 50, "µs an echo"), "churn": ("churn", 20, "µs a connection")}

# Replies with the number of the process; served by uvicorn and granian.
WHO_ASGI = f"""
import asyncio
import os
import time


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    body = b"%d\\n" % os.getpid()
    headers = [(b"content-length", b"%d" % len(body)), (b"connection", b"close")]
    await send({{"type": "http.response.start", "status": 200, "headers": headers}})
    await send({{"type": "http.response.body", "body": body}})
    if scope["path"] == "/b":
        asyncio.get_running_loop().call_later(0.05, time.sleep, {BLOCKED})
"""


@dataclass
class Kind:
    """A way to share a port.

    Args:
        name: in the tables.
        command: (mode, workers) -> what is run.
        policy: how connections are shared; "one": it is a process without workers.
        group: whose single process it is compared with.
        http: whether it speaks HTTP, and prints no port.
        environment: variables besides the usual ones.
    """

    name: str
    command: Callable[[str, int], list[str]]
    policy: str
    group: str
    http: bool = False
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def single(self) -> bool:
        return self.policy == "one"


def kinds(node: str) -> list[Kind]:
    """Those that are there."""

    def program(name: str, policy: str) -> Callable[[str, int], list[str]]:
        start = [node] if name.endswith(".js") else [sys.executable]
        return lambda mode, count: [*start, str(PEERS / name), mode, policy, str(count)]

    def prefork(loop: str) -> Callable[[str, int], list[str]]:
        return lambda mode, count: [
            sys.executable, str(PEERS / "prefork.py"), loop, mode, str(count),
        ]  # fmt: skip

    def protocols(loop: str) -> Callable[[str, int], list[str]]:
        return lambda mode, count: [sys.executable, str(PEERS / "protocols.py"), loop, mode]

    found = [Kind("pyuvnet, one process", program("cluster_pyuvnet.py", "one"), "one", "pyuvnet")]
    for policy in ("rr", "none", "reuse-port"):
        command = program("cluster_pyuvnet.py", policy)
        found.append(Kind(f"pyuvnet {policy}", command, policy, "pyuvnet"))
    if shutil.which(node):
        for policy in ("one", "rr", "none"):
            name = "Node, one process" if policy == "one" else f"Node {policy}"
            found.append(Kind(name, program("cluster_node.js", policy), policy, "Node"))
    for loop in ("uvloop", "asyncio"):
        if importlib.util.find_spec(loop):
            found.append(Kind(f"{loop}, one process", protocols(loop), "one", loop))
            found.append(Kind(f"{loop} reuse-port", prefork(loop), "reuse-port", loop))
    found += _http_servers()
    return found


def _http_servers() -> Iterator[Kind]:
    """Servers whose own programs start workers; their rates are of HTTP, and not compared."""
    for name, words in (
        ("uvicorn", ["--log-level", "error", "--workers"]),
        ("granian", ["--interface", "asgi", "--respawn-failed-workers", "--no-log", "--workers"]),
    ):
        if not importlib.util.find_spec(name):
            continue

        def command(mode: str, count: int, name: str = name, words: list[str] = words) -> list[str]:
            start = [sys.executable, "-m", name, "who:app", "--host", "127.0.0.1"]
            return [*start, *words, str(count), "--port"]

        yield Kind(f"{name} (HTTP)", command, "its own", name, http=True)


class Running:
    """A server of a kind, with all its processes; a context manager."""

    def __init__(self, kind: Kind, mode: str, workers: int, folder: Path) -> None:
        self.kind = kind
        command = kind.command(mode, workers)
        self.port = 0
        if kind.http:
            self.port = _free_port()
            command.append(str(self.port))
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=folder,
            env={**environment(), "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])},
            start_new_session=True,
        )  # fmt: skip
        try:
            self._wait(workers)
        except BaseException:
            self.stop()
            raise

    def _wait(self, workers: int) -> None:
        assert self.process.stdout is not None
        if not self.kind.http:
            line = self.process.stdout.readline()
            if not line.strip().isdecimal():
                raise SystemExit(f"{self.kind.name} does not listen")
            self.port = int(line)
            return
        # Until all have replied, or those that the policy lets reply have had the time.
        seen: set[int] = set()
        limit = time.monotonic() + START_LIMIT
        patience = time.monotonic() + 5
        while len(seen) < workers and time.monotonic() < limit:
            if seen and time.monotonic() > patience:
                break
            with contextlib.suppress(OSError, ValueError):
                seen.add(self.ask(b"w"))
        if not seen:
            raise SystemExit(f"{self.kind.name} does not listen")

    def request(self, what: bytes) -> bytes:
        """What a client sends: b"w", or b"b" to block the worker."""
        if not self.kind.http:
            return what
        return b"GET /" + what + b" HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"

    def ask(self, what: bytes) -> int:
        """Which process replies."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as one:
            one.sendall(self.request(what))
            return whose(_all_of(one))

    def processes(self) -> list[int]:
        """The numbers of all its processes."""
        parents: dict[int, list[int]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                with contextlib.suppress(OSError):
                    after = (entry / "stat").read_text().rpartition(")")[2].split()
                    parents.setdefault(int(after[1]), []).append(int(entry.name))
        found = [self.process.pid]
        for pid in found:
            found += parents.get(pid, [])
        return found

    def cpu(self) -> float:
        """CPU time so far of all its processes, in microseconds."""
        total = 0
        for pid in self.processes():
            with contextlib.suppress(OSError):
                for task in Path(f"/proc/{pid}/task").iterdir():
                    total += int((task / "schedstat").read_text().split()[0])
        return total / 1000

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _all_of(one: socket.socket) -> bytes:
    parts = []
    while part := one.recv(4096):
        parts.append(part)
    return b"".join(parts)


def whose(reply: bytes) -> int:
    """The number of the process that has replied. Raises: ValueError if nobody has."""
    pid = int(reply.rstrip().rpartition(b"\n")[2])
    if pid <= 1:
        # Somebody is going to kill it.
        raise ValueError(f"no process has the number {pid}")
    return pid


class Clients:
    """Clients that connect, ask who serves them, and note what became of it.

    Attributes:
        seen: how often each process has replied.
        lost: connections that were refused or reset, ended without a reply, or never got one.
    """

    def __init__(self, server: Running) -> None:
        self._server, self._request = server, server.request(b"w")
        self.seen: Counter[int] = Counter()
        self.lost = self.begun = 0

    @property
    def ended(self) -> int:
        return sum(self.seen.values()) + self.lost

    def connect(self, then: Callable[[], object] = lambda: None) -> None:
        """Begin with one more; `then` is called when it has ended."""
        from pyuvnet import net

        self.begun += 1
        parts: list[bytes] = []
        client = net.connect(self._server.port, "127.0.0.1")
        client.write(self._request)
        client.on("data", parts.append)
        client.on("error", lambda error: None)
        client.set_timeout(PATIENCE, client.destroy)

        def closed(had_error: bool) -> None:
            try:
                self.seen[whose(b"".join(parts))] += 1
            except ValueError:
                self.lost += 1
            then()

        client.on("close", closed)

    def run(self, count: int, at_once: int) -> None:
        """Have so many of them, so many at a time."""
        from pyuvnet import run

        def another() -> None:
            if self.begun < count:
                self.connect(another)

        for _ in range(at_once):
            another()
        run()


def measure_balance(server: Running, count: int) -> dict[str, float]:
    """Jain's index of the shares of 4 workers, at once and one after another."""
    found = {}
    for name, at_once in (("at once", AT_ONCE), ("in turn", 1)):
        clients = Clients(server)
        clients.run(count, at_once)
        shares = list(clients.seen.values())
        found[name] = jain([*shares, *[0] * (WORKERS - len(shares))])
    return found


def measure_faults(server: Running) -> dict[str, float]:
    """How many wait for a worker that is blocked, and how many its death costs."""
    import pyuvnet

    blocked = server.ask(b"b")
    # Until it is.
    time.sleep(0.2)
    clients = Clients(server)
    for _ in range(WAITING):
        clients.connect()
    found: dict[str, float] = {}

    def kill() -> None:
        found["waiting"] = WAITING - clients.ended
        os.kill(blocked, signal.SIGKILL)

    pyuvnet.set_timeout(kill, BLOCKED * 1000 * 0.5)
    pyuvnet.run()
    found["lost"] = clients.lost
    return found


def measure_rate(server: Running, load: str, seconds: float) -> tuple[float, float]:
    """CPU time of the servers for one unit, in microseconds, and units per second."""
    mode, connections, _ = LOADS[load]

    run = functools.partial(
        load_anywhere, mode, port=server.port, pid=server.process.pid, connections=connections,
        size=1024, warmup=0, check=0,
    )  # fmt: skip

    run(seconds=min(seconds, 0.3))
    before = server.cpu()
    found = run(seconds=seconds)
    return (server.cpu() - before) / found["units"], found["units"] / found["seconds"]


def measure_restarts(policy: str, times: int) -> dict[str, float]:
    """What 50 clients have seen of rolling restarts and of workers that were killed."""
    from tests.reliability import serving

    restarts = serving.restart(times, policy)
    took = sorted(restarts.took)
    crashes = serving.crash(max(times // 5, 1), policy)
    return {
        "restarts": restarts.times,
        "replies": restarts.seen["answers"],
        "wrong": sum(restarts.wrong.values()),
        "all new ms": median(took) * 1000,
        "slowest ms": took[-1] * 1000,
        "kills": crashes.times,
        "killed": sum(crashes.wrong.values()),
        "refused": sum(n for name, n in crashes.wrong.items() if name.startswith("refused")),
    }


# ---- All of it -----------------------------------------------------------------------------------


def take(part: str, given: argparse.Namespace, every: list[Kind], folder: Path) -> dict[str, Any]:
    """Measure one part; returns what came of it, by name."""
    if part == "restarts":
        return {policy: measure_restarts(policy, given.times) for policy in given.policies}
    if part == "rates":
        return take_rates(given, [kind for kind in every if not kind.http], folder)
    found = {}
    for kind in every:
        if kind.single:
            continue
        with Running(kind, "who", WORKERS, folder) as server:
            if part == "faults":
                found[kind.name] = measure_faults(server)
            else:
                # HTTP servers take their time, and a fifth shows as much.
                count = given.connects // 5 if kind.http else given.connects
                found[kind.name] = measure_balance(server, count)
    return found


def take_rates(
    given: argparse.Namespace, every: list[Kind], folder: Path
) -> dict[str, dict[str, float]]:
    """Round by round, so that what the machine does meanwhile meets all."""
    rows: dict[str, dict[str, list[float]]] = {}
    for _ in range(given.rounds):
        bases: dict[tuple[str, str], tuple[float, float]] = {}
        for kind in every:
            for workers in (1,) if kind.single else (1, 2):
                name = kind.name if kind.single else f"{kind.name} × {workers}"
                row = rows.setdefault(name, {})
                with Running(kind, "echo", workers, folder) as server:
                    for load in LOADS:
                        cpu, rate = measure_rate(server, load, given.seconds)
                        if kind.single:
                            bases[kind.group, load] = cpu, rate
                        base = bases.get((kind.group, load), (float("nan"), float("nan")))
                        for what, value in (
                            (f"{load} µs", cpu),
                            (f"{load} × CPU", cpu / base[0]),
                            (f"{load}s/s", rate),
                            (f"{load} × rate", rate / base[1]),
                        ):
                            row.setdefault(what, []).append(value)
    return {
        name: {what: median(values) for what, values in row.items()} for name, row in rows.items()
    }


def show(found: dict[str, Any]) -> Iterator[str]:
    """The tables."""
    if "balance" in found:
        yield "Balance of 4 workers: Jain's index"
        heads = ["", f"{AT_ONCE} at a time", "one after another"]
        rows = [[name, f"{row['at once']:.2f}", f"{row['in turn']:.2f}"]
                for name, row in found["balance"].items()]  # fmt: skip
        yield table(heads, rows)
    if "faults" in found:
        yield f"{WAITING} clients connect while one of 4 workers is blocked, which is then killed"
        rows = [[name, f"{row['waiting']:.0f}", f"{row['lost']:.0f}"]
                for name, row in found["faults"].items()]  # fmt: skip
        yield table(["", "wait for a blocked worker", "lost with it"], rows)
    if "rates" in found:
        yield "CPU time and rates, beside one process"
        heads = ["", "echo, µs", "× one", "echoes/s", "× one"]
        heads += ["connection, µs", "× one", "connections/s", "× one"]
        rows = []
        for name, row in found["rates"].items():
            cells = [name]
            for load in LOADS:
                cells += [f"{row[f'{load} µs']:.1f}", f"{row[f'{load} × CPU']:.2f}"]
                cells += [f"{row[f'{load}s/s']:,.0f}", f"{row[f'{load} × rate']:.2f}"]
            rows.append(cells)
        yield table(heads, rows)
    if "restarts" in found:
        yield "pyuvnet serve: 2 workers, 50 clients"
        heads = ["policy", "restarts", "replies meanwhile", "refused or reset", "all new, ms",
                 "at most", "workers killed", "connections lost", "refused"]  # fmt: skip
        names = ("restarts", "replies", "wrong", "all new ms", "slowest ms", "kills", "killed",
                 "refused")  # fmt: skip
        rows = [[policy, *(f"{row[name]:,.0f}" for name in names)]
                for policy, row in found["restarts"].items()]  # fmt: skip
        yield table(heads, rows)


def plot(found: dict[str, Any], folder: Path) -> None:
    """Draw a panel for each measure that was taken."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib.figure import Figure

    from bench.plots import save

    panels: list[tuple[str, dict[str, float], str]] = []
    titles = {
        "balance": {
            "at once": f"Jain's index of {WORKERS} workers, {AT_ONCE} connections at a time",
            "in turn": "one connection after another",
        },
        "faults": {
            "waiting": f"of {WAITING} clients, wait for a worker that is blocked",
            "lost": "of these, lost when it is killed",
        },
    }
    forms = {"balance": "%.2f", "faults": "%.0f"}
    for part in sorted(titles.keys() & found.keys()):
        for what, title in titles[part].items():
            values = {name: row[what] for name, row in found[part].items()}
            panels.append((title, values, forms[part]))
    for load, (_, _, title) in LOADS.items():
        if "rates" in found:
            values = {name: row[f"{load} µs"] for name, row in found["rates"].items()}
            panels.append((f"CPU time of all processes, {title}", values, "%.1f"))
    columns = 2
    rows = [panels[at : at + columns] for at in range(0, len(panels), columns)]
    heights = [0.5 + 0.24 * max(len(values) for _, values, _ in row) for row in rows]
    figure = Figure(figsize=(9.5, sum(heights) + 0.3 * len(rows)))
    grid = figure.add_gridspec(len(rows), columns, height_ratios=heights)
    for number, row in enumerate(rows):
        for column, (title, values, form) in enumerate(row):
            axes = figure.add_subplot(grid[number, column])
            names = list(values)[::-1]
            colours = ["#1f6fb4" if name.startswith("pyuvnet") else "#b8bec5" for name in names]
            places = range(len(names))
            bars = axes.barh(places, [values[name] for name in names], color=colours)
            axes.bar_label(bars, fmt=form, fontsize=7, padding=2)
            axes.set_yticks(list(places), names if column == 0 else [])
            axes.set_title(title, fontsize=9)
            axes.spines[["top", "right"]].set_visible(False)
            axes.tick_params(labelsize=7)
            axes.margins(x=0.15)
    figure.tight_layout()
    folder.mkdir(parents=True, exist_ok=True)
    for ending in ("png", "svg"):
        save(figure, folder / f"cluster.{ending}")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", nargs="*", default=list(PARTS), choices=PARTS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--node", default=os.environ.get("PYUVNET_BENCH_NODE", "node"))
    parser.add_argument("--only", nargs="*", help="names that rows begin with, such as pyuvnet")
    parser.add_argument("--connects", type=int, default=10_000)
    parser.add_argument("--times", type=int, default=100, help="rolling restarts; a fifth: kills")
    parser.add_argument(
        "--policies", nargs="*", default=["reuse-port"], help="of serve: also rr, shared"
    )
    parser.add_argument("--quick", action="store_true", help="one short round; a first look")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--plot", type=Path, metavar="FOLDER")
    given = parser.parse_args()
    if given.quick:
        given.rounds, given.seconds, given.connects, given.times = 1, 0.1, 400, 2
    every = [
        kind for kind in kinds(given.node)
        if given.only is None or kind.name.startswith(tuple(given.only))
    ]  # fmt: skip
    machine.raise_descriptors()
    # So that no server stays.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="pyuvnet-bench-") as name:
        (Path(name) / "who.py").write_text(WHO_ASGI)
        found = {}
        for part in given.parts:
            found[part] = take(part, given, every, Path(name))
            if not given.json:
                print("\n".join(show({part: found[part]})), flush=True)
    if given.plot:
        plot(found, given.plot)
    if given.json:
        print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
