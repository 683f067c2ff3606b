"""Loops in several threads of one process, in a Python without the GIL.

    python -m bench loops [--threads 1 2] [--work 0 20 200] [--rounds 5] [--seconds 1]

serve_threads() runs an echo server in each thread, on one port with SO_REUSEPORT. For each message
of 64 bytes the listener also counts in Python for about --work microseconds: 0 is the cost of the
library alone, the others are listeners that compute. 64 connections send the next message when they
have the echo; the load is C. Shown are messages per second, the same divided by those of the first
number of threads, round by round, and microseconds of CPU time for each message.

Nothing is pinned. The load takes a part of the same processors: of two, half of one for echoes that
cost little, and next to nothing for listeners that compute.
"""

from __future__ import annotations

import argparse
import functools
import json
import socket
import subprocess
import sys
import sysconfig
import threading
import time

from bench import machine
from bench.figures import median
from bench.peers import environment
from bench.report import number, short, table
from bench.runner import load_anywhere

CONNECTIONS = 64
START_LIMIT = 30.0
# How far it counts to find out how long a step takes.
STEPS = 100_000


def serve(threads: str, work: str) -> None:
    """The server process."""
    from pyuvnet import Server, Socket, net, serve_threads

    # Keeps the port, without listening on it.
    place = socket.socket()
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    place.bind(("127.0.0.1", 0))
    port = place.getsockname()[1]

    def count(steps: int) -> int:
        number = 0
        while number < steps:
            number += 1
        return number

    began = time.perf_counter()
    count(STEPS)
    steps = int(float(work) / ((time.perf_counter() - began) * 1e6 / STEPS))

    def listen(index: int) -> None:
        # A number of its own: threads that count references to the same object wait for each other.
        mine = int(str(steps))

        def connected(client: Socket) -> None:
            def echo(data: bytes) -> None:
                count(mine)
                client.write(data)

            client.on("error", lambda error: None)
            client.on("data", echo)

        server: Server = net.create_server({"no_delay": True}, connected)
        server.listen(port, "127.0.0.1", listened.release, reuse_port=True)

    def all_listen() -> None:
        for _ in range(int(threads)):
            listened.acquire()
        print(port, flush=True)

    listened = threading.Semaphore(0)
    threading.Thread(target=all_listen, daemon=True).start()
    serve_threads(listen, int(threads))


def measure(threads: int, work: float, seconds: float) -> tuple[float, float]:
    """Messages per second, and microseconds of CPU time for each."""
    command = [sys.executable, "-m", "bench.loops", "serve", str(threads), str(work)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment())
    try:
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        if not port.isdecimal():
            raise SystemExit("the server did not start")

        run = functools.partial(
            load_anywhere, "echo", port=port, pid=server.pid, connections=CONNECTIONS, size=64,
            warmup=0, check=0,
        )  # fmt: skip
        run(seconds=0.2)
        before = machine.cpu_seconds(server.pid)
        found = run(seconds=seconds)
        spent = machine.cpu_seconds(server.pid) - before
        return found["units"] / found["seconds"], spent * 1e6 / found["units"]
    finally:
        server.kill()
        server.wait()
        assert server.stdout is not None
        server.stdout.close()


def main() -> None:
    """Print the table."""
    if sys.argv[1:2] == ["serve"]:
        serve(sys.argv[2], sys.argv[3])
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--work", type=float, nargs="+", default=[0, 20, 200], help="µs")
    parser.add_argument("--rounds", type=int, default=5, help="of which the median is shown (5)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement (1)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rates: dict[tuple[float, int], list[float]] = {}
    costs: dict[tuple[float, int], list[float]] = {}
    for _ in range(options.rounds):
        for work in options.work:
            for threads in options.threads:
                rate, cost = measure(threads, work, options.seconds)
                rates.setdefault((work, threads), []).append(rate)
                costs.setdefault((work, threads), []).append(cost)
    rows, results = [], []
    for (work, threads), several in rates.items():
        first = rates[work, options.threads[0]]
        ratio = median([each / one for each, one in zip(several, first, strict=True)])
        cost = median(costs[work, threads])
        results.append({"work": work, "threads": threads, "rate": median(several), "times": ratio})
        named = f"{work:g} µs, {threads} thread" + "s" * (threads > 1)
        rows.append([named, short(median(several)), f"{ratio:.2f}", number(cost)])
    if options.json:
        print(json.dumps(results))
        return
    free = (
        sysconfig.get_config_var("Py_GIL_DISABLED")
        and not getattr(sys, "_is_gil_enabled", lambda: True)()
    )
    print(f"CPython {sys.version.split()[0]}, {'without' if free else 'with'} the GIL\n")
    print(table(["work, threads", "messages/s", f"× {options.threads[0]}", "CPU µs"], rows))


if __name__ == "__main__":
    main()
