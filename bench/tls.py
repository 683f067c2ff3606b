"""What TLS costs: a server's CPU time for a request, beside asyncio, uvloop, aiofastnet and Node.

    python -m bench.tls [--rounds 3] [--seconds 1.5] [--node node ...] [--cases 64x10 1kx100]
                        [--suite TLS_AES_128_GCM_SHA256]

Each server echoes; every client sends a message, waits for all of it to come back, and sends it
again. First CPU time, of the server process alone: microseconds for a message, by the number of
connections and the size. Then the memory of an idle connection that has exchanged one message, in
KiB of the server's resident memory, and handshakes: the server's CPU time for one in full, and for
one that resumes a session. TLS 1.3, one certificate (ECDSA P-256), keys made for the run. The
medians of the rounds, which run the servers in turn, each in a process of its own.
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
from pathlib import Path
from typing import Any

CASES = {"64x10": (64, 10), "1kx100": (1024, 100), "16kx20": (16384, 20), "100kx10": (102400, 10)}
IDLE = 500
HANDSHAKES = 300

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


async def serve_asyncio(folder: Path, start: Any = None) -> None:
    loop = asyncio.get_running_loop()
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


def measure_idle(server: Server) -> float:
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
        more(50 + IDLE, last)

    def last() -> None:
        found.append(server.memory())
        for client in clients:
            client.destroy()

    more(50, first)
    pyuvnet.run()
    return (found[1] - found[0]) / IDLE


def measure_handshakes(server: Server, resumed: bool) -> float:
    """Microseconds of the server's CPU time for one connection, one after another."""
    import socket

    made = client_context("")
    session = None
    start = 0.0
    reused = 0
    for number in range(HANDSHAKES + 20):
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
    if resumed and reused < HANDSHAKES:
        return float("nan")
    return (server.cpu() - start) / HANDSHAKES


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
    parser.add_argument("--cases", nargs="*", default=list(CASES))
    parser.add_argument("--suite", default="")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve")
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    if given.serve:
        serve(given.serve, given.folder)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_keys(folder)
        results: dict[str, dict[str, list[float]]] = {}
        commands = servers(folder, given.node, given.suite)
        for _ in range(given.rounds):
            for kind, command in commands.items():
                row = results.setdefault(kind, {})
                for case in given.cases:
                    server = Server(kind, command)
                    size, count = CASES[case]
                    value = measure_requests(server, size, count, given.seconds, given.suite)
                    row.setdefault(f"{case} µs", []).append(value)
                    server.stop()
                for what, act in (
                    ("idle KiB", measure_idle),
                    ("full µs", lambda server: measure_handshakes(server, False)),
                    ("resumed µs", lambda server: measure_handshakes(server, True)),
                ):
                    server = Server(kind, command)
                    row.setdefault(what, []).append(act(server))
                    server.stop()
    medians = {
        kind: {what: statistics.median(values) for what, values in row.items()}
        for kind, row in results.items()
    }
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
