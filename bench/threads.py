"""What a busy thread and a busy loop leave each other: the GIL is one.

    python -m bench.threads [--seconds 2] [--rounds 3]

An echo server's process has a second thread that only counts, in Python. How far it counts in a
second of the process's CPU time, with a loop that always has something to do, is divided by how
far it counts with an idle one; and the echoes are counted and timed with and without that thread,
with two switch intervals of Python's. Shares of CPU time hold on a busy machine too; rates and
latencies do not.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import mmap
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from bench import machine
from bench.figures import median
from bench.peers import Peer
from bench.report import number, short, table
from bench.runner import Runner

CONNECTIONS = (1, 10, 100)
INTERVALS = (0.005, 0.0005)


def serve(counter: str, interval: str) -> None:
    """The server process; it counts into a file, if there is one."""
    from pyuvnet import Server, Socket, net, run

    def echo(socket: Socket) -> None:
        socket.on("error", lambda error: None)
        socket.on("data", lambda data: socket.write(data))

    def listening() -> None:
        address = server.address()
        assert address is not None
        assert not isinstance(address, str)
        print(address.port, flush=True)

    def count() -> None:
        with open(counter, "r+b") as file:
            shown = memoryview(mmap.mmap(file.fileno(), 8)).cast("Q")
        for each in itertools.count():
            shown[0] = each

    sys.setswitchinterval(float(interval))
    if counter != "-":
        threading.Thread(target=count, daemon=True).start()
    server: Server = net.create_server({"no_delay": True}, echo)
    server.listen(0, "127.0.0.1", listening)
    run()


class Counter:
    """What a server's thread counts into."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(8))
        self.path = path
        with path.open("r+b") as file:
            self._shown = memoryview(mmap.mmap(file.fileno(), 8)).cast("Q")

    @property
    def value(self) -> int:
        return int(self._shown[0])

    @contextlib.contextmanager
    def rate(self, rates: list[float], process: int) -> Iterator[None]:
        """Add how much was counted meanwhile, for each second of a process's CPU time."""
        began, before = machine.cpu_seconds(process), self.value
        yield
        rates.append((self.value - before) / (machine.cpu_seconds(process) - began))


def _peer(counter: str, interval: float) -> Peer:
    command = (sys.executable, "-m", "bench.threads", "serve", counter, str(interval))
    return Peer("threads", "pyuvnet", "", command, "")


Row = tuple[str, int]


def measure(
    runner: Runner, rounds: int
) -> tuple[dict[Row, list[dict[str, float]]], dict[Row, list[float]]]:
    """What the load saw, and how fast the thread counted meanwhile, of its speed alone."""
    echoed: dict[Row, list[dict[str, float]]] = {}
    shares: dict[Row, list[float]] = {}
    for _ in range(rounds):
        for connections in CONNECTIONS:
            with runner.serve(_peer("-", INTERVALS[0]), "echo") as server:
                told = runner.load("echo", server, size=1024, connections=connections)
                echoed.setdefault(("without", connections), []).append(told)
        for interval in INTERVALS:
            counter = Counter(runner.folder / "counter")
            with runner.serve(_peer(str(counter.path), interval), "echo") as server:
                while not counter.value:
                    time.sleep(0.01)
                for connections in CONNECTIONS:
                    row = f"{interval * 1000:g} ms", connections
                    rates: list[float] = []
                    with counter.rate(rates, server.pid):
                        time.sleep(runner.seconds)
                    with counter.rate(rates, server.pid):
                        told = runner.load(
                            "echo", server, size=1024, connections=connections, warmup=0
                        )
                    echoed.setdefault(row, []).append(told)
                    shares.setdefault(row, []).append(rates[1] / rates[0])
    return echoed, shares


def main() -> None:
    """Print both tables."""
    if sys.argv[1:2] == ["serve"]:
        serve(sys.argv[2], sys.argv[3])
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement (2)")
    parser.add_argument("--rounds", type=int, default=3, help="of which the median is shown (3)")
    options = parser.parse_args()
    server_cpu, load_cpu = machine.choose_cpus()
    with tempfile.TemporaryDirectory(prefix="pyuvnet-bench-") as folder:
        runner = Runner(server_cpu, load_cpu, seconds=options.seconds, folder=Path(folder))
        echoed, shares = measure(runner, options.rounds)
    rows = []
    for row, several in echoed.items():
        name, connections = row
        rate = median([each["units"] / each["seconds"] for each in several])
        dense = median([each["units"] / each["cpu_seconds"] for each in several])
        p50, p99 = (median([each[key] for each in several]) for key in ("p50_us", "p99_us"))
        share = f"{median(shares[row]):.0%}" if row in shares else "–"
        shown = [short(rate), number(p50), number(p99), short(dense), share]
        rows.append([f"{name}, × {connections}", *shown])
    head = ["switch interval, connections", "echoes/s", "p50 µs", "p99 µs", "echoes/CPU s"]
    head.append("thread, of its speed alone")
    print(table(head, rows))


if __name__ == "__main__":
    main()
