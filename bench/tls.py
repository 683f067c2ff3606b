"""What TLS costs: a server's CPU time for a request, next to asyncio, uvloop, aiofastnet and Node.

    python -m bench tls [--rounds 3] [--seconds 1.5] [--node node ...] [--only NAME ...]
                        [--cases 64x10 1kx100 16kx20 100kx10 idle full resumed storm]
                        [--suite TLS_AES_128_GCM_SHA256] [--idle 500] [--quick]
                        [--json] [--plot FOLDER]

Each server echoes; every client sends a message, waits for all of it to come back, and sends it
again. First CPU time, of the server process alone: microseconds for a message, by the number of
connections and the size. Then the memory of an idle connection that has exchanged one message, in
KiB of the server's resident memory, and handshakes: the server's CPU time for one in full, and for
one that resumes a session. Last the 99th percentile of the latency of 100 connections with 64 bytes
while four threads of another process do one handshake after another. TLS 1.3, one certificate
(ECDSA P-256), keys made for the run. The medians of the rounds, which run the servers in turn, each
in a process of its own.

Nothing is pinned, and the clients are pyuvnet's for all: the CPU time of the server is exact, rates
and latencies are those of the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import os
import shutil
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CASES = {"64x10": (64, 10), "1kx100": (1024, 100), "16kx20": (16384, 20), "100kx10": (102400, 10)}
OTHER_CASES = {
    "idle": "idle KiB",
    "full": "full µs",
    "resumed": "resumed µs",
    "storm": "storm p99 ms",
}
HANDSHAKES = 300
STORM = 100  # busy connections in a storm of handshakes

NODE = """
const tls = require('tls'), fs = require('fs');
const [folder, suite] = process.argv.slice(1);
const options = { key: fs.readFileSync(folder + '/key.pem'),
                  cert: fs.readFileSync(folder + '/cert.pem') };
if (suite) options.ciphers = suite;
const server = tls.createServer(options, (socket) => {
  socket.setNoDelay();
  socket.on('error', () => {});
  socket.on('data', (data) => socket.write(data));
});
server.on('tlsClientError', () => {});
server.listen(0, '127.0.0.1', 4096, () => console.log(server.address().port));
"""


def context(folder: Path) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return made


def serve_pyuvnet(folder: Path) -> None:
    from pyuvnet import run, tls

    def accepted(socket: tls.TLSSocket) -> None:
        socket.on("error", lambda error: None)
        socket.on("data", socket.write)

    options = {"key": folder / "key.pem", "cert": folder / "cert.pem", "no_delay": True}
    server = tls.create_server(options, accepted)
    server.on("tlsClientError", lambda error, socket: None)
    server.listen(0, "127.0.0.1", 4096, lambda: print(server.address()["port"], flush=True))
    run()


class Echo(asyncio.Protocol):
    """What asyncio's documentation shows."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


def report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Report what goes wrong in a server, except a handshake that a client has cut off.

    The storm ends in the middle of some, and aiofastnet makes a report of them that cannot be
    printed.
    """
    if "handshake" not in context["message"]:
        loop.default_exception_handler(context)


async def serve_asyncio(folder: Path, start: Any = None) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(report)
    where: dict[str, Any] = {"host": "127.0.0.1", "port": 0, "backlog": 4096}
    where["ssl"] = context(folder)
    server = await (loop.create_server(Echo, **where) if start is None else start(loop, where))
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def serve(kind: str, folder: Path) -> None:
    """Be one of the servers, for ever."""
    if kind == "pyuvnet":
        serve_pyuvnet(folder)
    elif kind == "asyncio":
        asyncio.run(serve_asyncio(folder))
    elif kind == "uvloop":
        import uvloop

        uvloop.run(serve_asyncio(folder))
    elif kind == "aiofastnet":
        import aiofastnet

        def start(loop: Any, where: dict[str, Any]) -> Any:
            return aiofastnet.create_server(loop, Echo, **where)

        asyncio.run(serve_asyncio(folder, start))


class Server:
    """A server in a process of its own."""

    def __init__(self, name: str, command: list[str]) -> None:
        self.name = name
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def cpu(self) -> float:
        """CPU time so far, of all its threads, in microseconds."""
        total = 0
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
        return total / 1000

    def memory(self) -> float:
        """Resident memory in KiB."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1024

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


def client_context(suite: str) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    return made


def measure_requests(server: Server, size: int, count: int, seconds: float, suite: str) -> float:
    """Microseconds of the server's CPU time for one message."""
    import pyuvnet
    from pyuvnet import tls

    shared = tls.create_secure_context(context=client_context(suite))
    message = os.urandom(size)
    state = {"done": 0, "ready": 0, "from": 0.0, "before": 0.0}
    clients: list[tls.TLSSocket] = []

    def open_one() -> None:
        client = tls.connect(port=server.port, host="127.0.0.1", secure_context=shared)
        client.set_no_delay()
        left = size

        def data(chunk: bytes) -> None:
            nonlocal left
            left -= len(chunk)
            if not left:
                left = size
                state["done"] += 1
                client.write(message)

        def secure() -> None:
            state["ready"] += 1
            client.on("data", data)
            client.write(message)
            if state["ready"] == count:
                pyuvnet.set_timeout(begin, 300)

        client.on("secureConnect", secure)
        clients.append(client)

    def begin() -> None:
        state["from"], state["before"] = server.cpu(), state["done"]
        pyuvnet.set_timeout(end, int(seconds * 1000))

    def end() -> None:
        state["result"] = (server.cpu() - state["from"]) / (state["done"] - state["before"])
        for client in clients:
            client.destroy()

    for _ in range(count):
        open_one()
    pyuvnet.run()
    return state["result"]


def measure_idle(server: Server, count: int) -> float:
    """KiB for each of many connections that have exchanged a message of 64 bytes."""
    import pyuvnet
    from pyuvnet import tls

    shared = tls.create_secure_context(context=client_context(""))
    clients: list[tls.TLSSocket] = []
    found: list[float] = []

    def more(count: int, then: Any) -> None:
        def next_one() -> None:
            if len(clients) == count:
                pyuvnet.set_timeout(then, 300)
                return
            client = tls.connect(port=server.port, host="127.0.0.1", secure_context=shared)
            client.once("data", lambda chunk: next_one())
            client.on("secureConnect", lambda: client.write(bytes(64)))
            clients.append(client)

        next_one()

    def first() -> None:
        found.append(server.memory())
        more(50 + count, last)

    def last() -> None:
        found.append(server.memory())
        for client in clients:
            client.destroy()

    more(50, first)
    pyuvnet.run()
    return (found[1] - found[0]) / count


def measure_handshakes(server: Server, resumed: bool, count: int) -> float:
    """Microseconds of the server's CPU time for one connection, one after another."""
    import socket

    made = client_context("")
    session = None
    start = 0.0
    reused = 0
    for number in range(count + 20):
        if number == 20:
            start = server.cpu()
        with (
            socket.create_connection(("127.0.0.1", server.port)) as plain,
            made.wrap_socket(plain, session=session if resumed else None) as secure,
        ):
            secure.sendall(b"x")
            secure.recv(1)
            reused += bool(secure.session_reused)
            session = secure.session
    if resumed and reused < count:
        return float("nan")
    return (server.cpu() - start) / count


def storm(port: int) -> None:
    """Do handshakes with a server, one after another in each of some threads, for ever."""
    import socket
    import threading

    def go_on() -> None:
        made = client_context("")
        while True:
            with (
                socket.create_connection(("127.0.0.1", port)) as plain,
                made.wrap_socket(plain) as secure,
            ):
                secure.sendall(b"x")
                secure.recv(1)

    for _ in range(4):
        threading.Thread(target=go_on).start()


def measure_storm(server: Server, seconds: float) -> float:
    """The 99th percentile of the latency of 64 bytes, in ms, while others do handshakes."""
    import pyuvnet
    from pyuvnet import tls

    command = [sys.executable, "-m", "bench.tls", "--storm", str(server.port)]
    shared = tls.create_secure_context(context=client_context(""))
    clients: list[tls.TLSSocket] = []
    ready: list[tls.TLSSocket] = []
    taken: list[float] = []
    counts = False

    def open_one() -> None:
        client = tls.connect(port=server.port, host="127.0.0.1", secure_context=shared)
        client.set_no_delay()
        sent = 0.0

        def answered(chunk: bytes) -> None:
            nonlocal sent
            now = time.perf_counter()
            if counts:
                taken.append(now - sent)
            sent = now
            client.write(bytes(64))

        def secure() -> None:
            nonlocal sent
            sent = time.perf_counter()
            client.on("data", answered).write(bytes(64))
            ready.append(client)
            if len(ready) == STORM:
                pyuvnet.set_timeout(begin, 300)

        client.on("secureConnect", secure)
        clients.append(client)

    def begin() -> None:
        nonlocal counts
        counts = True
        pyuvnet.set_timeout(end, int(seconds * 1000))

    def end() -> None:
        if len(taken) < STORM:
            # On a machine that does much else.
            pyuvnet.set_timeout(end, 100)
            return
        for client in clients:
            client.destroy()

    for _ in range(STORM):
        open_one()
    other = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        pyuvnet.run()
    finally:
        other.kill()
        other.wait()
    return sorted(taken)[len(taken) * 99 // 100] * 1000


def plot(medians: dict[str, dict[str, float]], folder: Path) -> None:
    """Draw a panel for each measure: who needs how much of it."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib.figure import Figure

    heads = list(next(iter(medians.values())))
    columns = min(len(heads), 4)
    rows = -(-len(heads) // columns)
    figure = Figure(figsize=(3.1 * columns, 0.6 + (0.5 + 0.28 * len(medians)) * rows))
    for index, head in enumerate(heads):
        axes = figure.add_subplot(rows, columns, index + 1)
        names = list(medians)[::-1]
        values = [medians[name][head] for name in names]
        colours = ["#1f6fb4" if name == "pyuvnet" else "#b8bec5" for name in names]
        bars = axes.barh(names if index % columns == 0 else range(len(names)), values,
                         color=colours)  # fmt: skip
        axes.bar_label(bars, fmt="%.1f", fontsize=7, padding=2)
        axes.set_title(head, fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=7)
        axes.margins(x=0.25)
        if index % columns:
            axes.set_yticks([])
    figure.tight_layout()
    folder.mkdir(parents=True, exist_ok=True)
    for ending in ("png", "svg"):
        figure.savefig(folder / f"tls.{ending}", dpi=120, facecolor="white")


def allow_many_sockets() -> None:
    """Let this process and the servers have as many as the system lets them."""
    import resource

    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def servers(folder: Path, nodes: list[str], suite: str) -> dict[str, list[str]]:
    """The commands of those that are there."""
    here = [sys.executable, "-m", "bench.tls", "--folder", str(folder), "--serve"]
    found = {name: [*here, name] for name in ("pyuvnet", "asyncio")}
    for name in ("uvloop", "aiofastnet"):
        if importlib.util.find_spec(name):
            found[name] = [*here, name]
    for node in nodes:
        if shutil.which(node):
            version = subprocess.run([node, "--version"], capture_output=True, text=True).stdout
            found[f"Node {version.strip()}"] = [node, "-e", NODE, str(folder), suite]
    return found


def make_keys(folder: Path) -> None:
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    ends = ["-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-days", "2", "-subj", "/CN=bench"]
    subprocess.run([*command, *ends], cwd=folder, check=True, capture_output=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--node", nargs="*", default=["node"])
    every = [*CASES, *OTHER_CASES]
    parser.add_argument("--cases", nargs="+", default=every, choices=every)
    parser.add_argument("--only", nargs="*", help="names of servers, such as pyuvnet uvloop")
    parser.add_argument("--suite", default="")
    parser.add_argument("--idle", type=int, default=500, help="idle connections")
    parser.add_argument("--quick", action="store_true", help="one short round; a first look")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--plot", type=Path, metavar="FOLDER")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--storm", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given.serve, given.folder)
        return
    if given.storm:
        storm(given.storm)
        return
    seconds, rounds, idle, count = given.seconds, given.rounds, given.idle, HANDSHAKES
    if given.quick:
        seconds, rounds, idle, count = 0.1, 1, 20, 20
    others: dict[str, Callable[[Server], float]] = {
        "idle": lambda server: measure_idle(server, idle),
        "full": lambda server: measure_handshakes(server, False, count),
        "resumed": lambda server: measure_handshakes(server, True, count),
        "storm": lambda server: measure_storm(server, seconds),
    }
    allow_many_sockets()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_keys(folder)
        results: dict[str, dict[str, list[float]]] = {}
        commands = servers(folder, given.node, given.suite)
        if given.only:
            commands = {kind: commands[kind] for kind in given.only}
        for _ in range(rounds):
            for kind, command in commands.items():
                row = results.setdefault(kind, {})
                for case in given.cases:
                    server = Server(kind, command)
                    try:
                        if case in CASES:
                            what = f"{case} µs"
                            value = measure_requests(server, *CASES[case], seconds, given.suite)
                        else:
                            what, value = OTHER_CASES[case], others[case](server)
                    finally:
                        server.stop()
                    row.setdefault(what, []).append(value)
    medians = {
        kind: {what: statistics.median(values) for what, values in row.items()}
        for kind, row in results.items()
    }
    if given.plot:
        plot(medians, given.plot)
    if given.json:
        print(json.dumps(medians))
        return
    heads = list(next(iter(medians.values())))
    print("| | " + " | ".join(heads) + " |")
    print("|---|" + "---:|" * len(heads))
    for kind, found in medians.items():
        print(f"| {kind} | " + " | ".join(f"{found[what]:.1f}" for what in heads) + " |")


if __name__ == "__main__":
    main()
