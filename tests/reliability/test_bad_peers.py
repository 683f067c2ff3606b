"""Peers that reset, fall silent, drip, flood and send garbage; the server goes on.

A peer is a plain socket of Python in the same thread: on loopback its segments, also a reset, have
arrived when its call returns. Peers that need their own time are threads, or other processes.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import re
import signal
import socket as posix
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pyuvnet
from pyuvnet import net

ROOT = Path(__file__).resolve().parent.parent.parent
linux = pytest.mark.skipif(sys.platform != "linux", reason="the figures are those of Linux")


def reset(peer: posix.socket) -> None:
    """Close with RST."""
    peer.setsockopt(posix.SOL_SOCKET, posix.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def connect(server: Any) -> posix.socket:
    address = server.address()
    peer = posix.create_connection((address["address"], address["port"]))
    peer.settimeout(10)
    return peer


def events_of(socket: Any) -> list[str]:
    """What happens to a socket from now on."""
    events: list[str] = []
    for name in ("end", "finish", "timeout"):
        socket.on(name, lambda name=name: events.append(name))
    socket.on("error", lambda error: events.append(f"{error.syscall} {error.code}"))
    socket.on("close", lambda had_error: events.append(f"close {had_error}"))
    return events


def soon(step: Callable[[], object], turns: int = 3) -> None:
    """Call a step some turns of the loop later, when everything on its way has been seen."""
    pyuvnet.set_immediate(step if turns == 1 else lambda: soon(step, turns - 1))


class Used:
    """Processor time of this thread since it was made."""

    def __init__(self) -> None:
        self.start = time.thread_time()

    def __float__(self) -> float:
        return time.thread_time() - self.start


@pytest.fixture
def still_serves() -> Callable[[Any], None]:
    """still_serves(server): it must serve one more client, and is closed."""

    def check(server: Any) -> None:
        server.remove_all_listeners("connection")
        server.on("connection", lambda socket: socket.pipe(socket))
        answered = []
        client = net.create_connection(server.address()["port"], "127.0.0.1")
        client.end(b"once more")
        client.on("data", answered.append)

        def closed(had_error: bool) -> None:
            assert not had_error
            assert b"".join(answered) == b"once more"
            server.get_connections(lambda error, count: counted.append((error, count)))
            server.close()

        counted: list[Any] = []
        client.on("close", closed)
        server.on("close", lambda: counted.append("closed"))
        pyuvnet.run()
        assert counted[-1] == "closed"
        assert not server.listening

    return check


# ---- RST at every stage --------------------------------------------------------------------------

RESETS = {
    "before it is accepted": ["read ECONNRESET", "close True"],
    "when it is accepted": ["read ECONNRESET", "close True"],
    "in a tick of its turn": ["read ECONNRESET", "close True"],
    "after it sent data": ["read ECONNRESET", "close True"],
    "in a 'data' listener": ["read ECONNRESET", "close True"],
    "while we write": ["write ECONNRESET", "close True"],
    "while a write waits": ["read ECONNRESET", "close True"],
    "while corked": ["read ECONNRESET", "close True"],
    "after its end": ["end", "write EPIPE", "close True"],
    "after our end": ["finish", "read ECONNRESET", "close True"],
    "between our end() and our FIN": ["read ECONNRESET", "close True"],
    "after both ends": ["end", "finish", "close False"],
    "while paused, then resumed": ["read ECONNRESET", "close True"],
    "while paused, then written to": ["write ECONNRESET", "close True"],
    "while paused, then destroyed": ["close False"],
    "with a reset of ours": ["close False"],
}


@linux
@pytest.mark.parametrize("stage", RESETS)
def test_reset(stage: str, still_serves: Callable[[Any], None]) -> None:
    events: list[str] = []
    answers: list[Any] = []
    peers: list[posix.socket] = []
    half_open = "end" in stage and "both" not in stage
    server = net.create_server(
        allow_half_open=half_open, pause_on_connect="paused" in stage
    ).listen(0, "127.0.0.1")

    def listening() -> None:
        peers.append(connect(server))
        if stage == "before it is accepted":
            reset(peers[0])

    def connection(socket: Any) -> None:
        nonlocal events
        peer = peers[0]
        events = events_of(socket)
        socket.on("close", lambda _: pyuvnet.stop())

        def answered(error: Any = None) -> None:
            answers.append(None if error is None else error.code)

        def write() -> None:
            socket.write(b"x" * 100, answered)

        if "paused" not in stage:
            socket.resume()
        match stage:
            case "before it is accepted":
                pass
            case "when it is accepted":
                reset(peer)
            case "in a tick of its turn":
                pyuvnet.next_tick(lambda: reset(peer))
            case "after it sent data":
                peer.sendall(b"lost or not")
                reset(peer)
            case "in a 'data' listener":
                socket.on("data", lambda data: reset(peer))
                peer.sendall(b"data")
            case "while we write":
                # Outside of a callback of libuv: the write meets the reset before any read.
                reset(peer)
                write()
                socket.bytes_written  # noqa: B018 - whatever shows the kernel's answer flushes
            case "while a write waits":
                socket.write(b"x" * 10_000_000, answered)
                soon(lambda: reset(peer))
            case "while corked":
                socket.cork()
                write()
                soon(lambda: reset(peer))
            case "after its end":
                peer.shutdown(posix.SHUT_WR)
                # The first write finds the peer gone, and the second hears that it is.
                socket.once("end", lambda: (reset(peer), soon(write)))
            case "after our end":
                socket.end()
                soon(lambda: reset(peer))
            case "between our end() and our FIN":
                socket.write(b"x" * 10_000_000, answered)
                socket.end(answered)
                soon(lambda: reset(peer))
            case "after both ends":
                peer.shutdown(posix.SHUT_WR)
                socket.once("end", lambda: soon(lambda: reset(peer), 1))
            case "while paused, then resumed":
                reset(peer)
                soon(lambda: (check_silent(), socket.resume()))
            case "while paused, then written to":
                reset(peer)
                soon(lambda: (check_silent(), write()))
            case "while paused, then destroyed":
                reset(peer)
                soon(lambda: (check_silent(), socket.destroy()))
            case "with a reset of ours":
                reset(peer)
                socket.reset_and_destroy()

    def check_silent() -> None:
        assert events == []

    server.on("listening", listening)
    server.on("connection", connection)
    pyuvnet.run()
    # The server, still open, must not keep anything of it.
    assert events == RESETS[stage]
    codes = {
        "while we write": ["ECONNRESET"],
        "while a write waits": ["ECANCELED"],
        "while corked": ["ECONNRESET"],
        "between our end() and our FIN": ["ECANCELED", "ECONNRESET"],
        "after its end": ["EPIPE"],
        "while paused, then written to": ["ECONNRESET"],
    }
    assert answers == codes.get(stage, [])
    for peer in peers:
        peer.close()
    still_serves(server)


def test_many_resets_at_once(full: bool, still_serves: Callable[[Any], None]) -> None:
    count = 2000 if full else 200
    closed: list[bool] = []
    errors: list[str] = []
    peers: list[posix.socket] = []
    accepted = 0
    server = net.create_server().listen({"port": 0, "host": "127.0.0.1", "backlog": count})
    chance = random.Random(7)

    def connection(socket: Any) -> None:
        nonlocal accepted
        accepted += 1
        socket.pipe(socket)
        socket.on("error", lambda error: errors.append(error.code))
        socket.on("close", lambda had_error: (closed.append(had_error), check()))

    def round_of() -> None:
        for _ in range(20):
            if started[0] == count:
                return
            started[0] += 1
            peer = connect(server)
            peers.append(peer)
            peer.sendall(chance.randbytes(chance.choice([1, 1000, 60_000])))
        # Some now, with all that they sent unread; some when their echo is under way.
        chance.shuffle(peers)
        while len(peers) > 15:
            reset(peers.pop())
        soon(round_of, chance.randint(1, 3))

    def check() -> None:
        if started[0] == count and accepted == count:
            while peers:
                reset(peers.pop())
            if len(closed) == count:
                pyuvnet.stop()

    started = [0]
    server.on("connection", connection)
    server.on("listening", round_of)
    pyuvnet.run()
    while peers:
        reset(peers.pop())
    assert set(errors) <= {"ECONNRESET", "EPIPE"}
    assert len(closed) == count
    still_serves(server)


# ---- Peers that fall silent ----------------------------------------------------------------------


def test_peers_that_never_say_anything(still_serves: Callable[[Any], None]) -> None:
    events: list[list[str]] = []
    server = net.create_server().listen(0, "127.0.0.1")
    peers: list[posix.socket] = []

    def connection(socket: Any) -> None:
        events.append(events_of(socket))
        socket.resume()
        socket.set_timeout(200, socket.destroy)
        socket.on("close", lambda _: len(events) == 50 and all(
            "close False" in each for each in events) and pyuvnet.stop())  # fmt: skip

    server.on("connection", connection)
    server.on("listening", lambda: peers.extend(connect(server) for _ in range(50)))
    used = Used()
    pyuvnet.run()
    assert float(used) < 0.15
    assert events == [["timeout", "close False"]] * 50
    # They hear of it.
    assert [peer.recv(1) for peer in peers] == [b""] * 50
    for peer in peers:
        peer.close()
    still_serves(server)


@pytest.mark.parametrize("half_open", [False, True])
def test_a_peer_that_ends_and_never_closes(
    half_open: bool, still_serves: Callable[[Any], None]
) -> None:
    server = net.create_server(allow_half_open=half_open).listen(0, "127.0.0.1")
    peers: list[posix.socket] = []
    events: list[str] = []

    def connection(socket: Any) -> None:
        nonlocal events
        events = events_of(socket)
        socket.resume()
        socket.on("close", lambda _: pyuvnet.stop())
        if half_open:
            # It may be written to for as long as we like.
            socket.on("end", lambda: socket.write(b"still here"))
            socket.set_timeout(100, socket.destroy)

    def listening() -> None:
        peers.append(connect(server))
        peers[0].shutdown(posix.SHUT_WR)

    server.on("connection", connection)
    server.on("listening", listening)
    pyuvnet.run()
    if half_open:
        assert events == ["end", "timeout", "close False"]
        assert peers[0].recv(100) == b"still here"
    else:
        # Our half is closed as well, and that is the end, whatever the peer does.
        assert events == ["end", "finish", "close False"]
    assert peers[0].recv(100) == b""
    peers[0].close()
    still_serves(server)


def test_a_server_that_closes_waits_for_silent_peers_and_no_longer() -> None:
    server = net.create_server().listen(0, "127.0.0.1")
    peers: list[posix.socket] = []
    sockets: list[Any] = []
    trace: list[str] = []

    def connection(socket: Any) -> None:
        sockets.append(socket)
        if len(sockets) == 3:
            server.close(lambda error: trace.append("closed"))
            soon(end_one, 20)

    def end_one() -> None:
        assert trace == []
        sockets.pop().destroy()
        soon(end_one if sockets else lambda: trace.append("later"), 5)

    server.on("connection", connection)
    server.on("listening", lambda: peers.extend(connect(server) for _ in range(3)))
    pyuvnet.run()
    assert trace == ["closed", "later"]
    for peer in peers:
        peer.close()


def test_one_byte_at_a_time(full: bool) -> None:
    # A second each in the full version.
    gap, count, crowd = (1.0, 12, 20) if full else (0.03, 80, 20)
    limit = 8000 if full else 1500
    server = net.create_server().listen(0, "127.0.0.1")
    received: dict[int, list[bytes]] = {}
    events: list[list[str]] = []
    text = bytes(range(65, 65 + count))

    def connection(socket: Any) -> None:
        events.append(events_of(socket))
        pieces = received.setdefault(len(received), [])
        socket.on("data", pieces.append)
        # Each byte is activity.
        socket.set_timeout(limit, socket.destroy)
        socket.on("close", lambda _: len(events) == crowd and server.close())

    def drip(peers: list[posix.socket]) -> None:
        for byte in text:
            for peer in peers:
                peer.sendall(bytes([byte]))
            time.sleep(gap)
        for peer in peers:
            peer.close()

    def listening() -> None:
        peers = [connect(server) for _ in range(crowd)]
        threads.append(threading.Thread(target=drip, args=(peers,)))
        threads[0].start()

    threads: list[threading.Thread] = []
    server.on("connection", connection)
    server.on("listening", listening)
    used = Used()
    pyuvnet.run()
    threads[0].join()
    assert float(used) < 0.5
    assert events == [["end", "finish", "close False"]] * crowd
    assert all(b"".join(pieces) == text for pieces in received.values())
    # What came alone was delivered alone, except for moments when the machine was elsewhere.
    assert sum(map(len, received.values())) > crowd * count * 0.5


# ---- Floods --------------------------------------------------------------------------------------


@linux
def test_a_flood_beyond_the_backlog(full: bool, still_serves: Callable[[Any], None]) -> None:
    # While nobody accepts, the kernel drops what the backlog does not hold. Clients try again after
    # a second, all together; were they too many for it, after 3 s, 7 s and so on.
    backlog, count = (400, 750) if full else (20, 35)
    server = net.create_server().listen({"port": 0, "host": "127.0.0.1", "backlog": backlog})
    peers: list[posix.socket] = []
    answered = 0

    def connection(socket: Any) -> None:
        nonlocal answered
        answered += 1
        socket.end(b"served")
        socket.resume()
        if answered == count:
            pyuvnet.stop()

    def listening() -> None:
        for _ in range(count):
            peer = posix.socket()
            peer.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                peer.connect(("127.0.0.1", server.address()["port"]))
            peers.append(peer)
        server.on("connection", connection)

    server.on("listening", listening)
    used = Used()
    pyuvnet.run()
    assert float(used) < 0.5
    assert server.dropped == {}
    for peer in peers:
        peer.settimeout(5)
        assert peer.recv(100) == b"served"
        peer.close()
    still_serves(server)


def test_a_flood_beyond_the_most_connections(still_serves: Callable[[Any], None]) -> None:
    server = net.create_server().listen({"port": 0, "host": "127.0.0.1", "backlog": 511})
    server.max_connections = 10
    peers: list[posix.socket] = []
    served: list[Any] = []
    drops: list[Any] = []

    def dropped(info: Any) -> None:
        drops.append(info["remotePort"])
        if len(drops) == 190:
            for socket in served:
                socket.end(b"served")
                socket.resume()
            soon(pyuvnet.stop)

    server.on("connection", served.append)
    server.on("drop", dropped)
    server.on("listening", lambda: peers.extend(connect(server) for _ in range(200)))
    pyuvnet.run()
    assert server.dropped == {"max_connections": 190}
    ports = {peer.getsockname()[1]: peer for peer in peers}
    answers = {port: peer.recv(100) for port, peer in ports.items()}
    assert {port for port, answer in answers.items() if not answer} == set(drops)
    assert sorted(answers.values()) == [b""] * 190 + [b"served"] * 10
    for peer in peers:
        peer.close()
    server.max_connections = None
    still_serves(server)


# ---- Garbage -------------------------------------------------------------------------------------

HELLO = bytes.fromhex(
    "160301006b010000670303" + "5a" * 32 + "20" + "a5" * 32 + "0006130113021303010000"
    "18002b00050403040303000d000400020403000a00040002001d"
)
NINES = b"9" * 4000
JSON = [
    b"[]",
    b"null",
    b"3",
    b'"x"',
    b"{}",
    b'{"method":[],"params":3}',
    b'{"method":"add","params":{"a":1}}',
    b'{"method":"add","params":["x",{}]}',
    b'{"method":"echo","params":["\\ud800"]}',
    b'{"method":"multiply","params":[1e999,0]}',
    b'{"method":"multiply","params":[' + NINES + b"," + NINES + b"]}",
    b'{"method":"add","params":[' + NINES + b",0.5]}",
]
GARBAGE = {
    "a TLS greeting": HELLO,
    "an HTTP request": b"GET / HTTP/1.1\r\nHost: example.test\r\nAccept: */*\r\n\r\n",
    "an HTTP request with a body": b"POST /x HTTP/1.1\r\nContent-Length: 9999\r\n\r\n"
    + b"a=1&" * 900,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x12\x04\x00\x00\x00\x00\x00",
    "an SSH banner": b"SSH-2.0-OpenSSH_9.2p1\r\n",
    "random bytes": random.Random(1).randbytes(50_000),
    "random lines": b"\n".join(random.Random(n).randbytes(40) for n in range(500)) + b"\n",
    "zeros": bytes(20_000),
    "zeros in a line": b"a\0b\n\0\n/\0/..\n",
    "no UTF-8": b"\xff\xfe\xc0\xaf\xed\xa0\x80\xf4\x90\x80\x80\n" * 50,
    "half a character": "é".encode()[:1],
    "a line without an end": b"x" * 300_000,
    "empty lines": b"\r\n\n\r\n" * 5000,
    "digits": b"9" * 5000 + b"\n" + b"-1\n1e999\n0x10\n",
    "JSON that goes deep": (100_000).to_bytes(4, "big") + b"[" * 100_000,
    "JSON of other types": b"".join(len(text).to_bytes(4, "big") + text for text in JSON),
    "a frame that is too long": b"\xff\xff\xff\xff" + b"x" * 100,
    "an empty frame": bytes(4),
}
SERVERS = {
    "chat": ([], b"garbage is over\nann\n", b"here: ann"),
    "echo": ([], b"still here?", b"still here?"),
    "frames": (
        [],
        (35).to_bytes(4, "big") + b'{"method": "add", "params": [1, 2]}',
        b'{"result": 3}',
    ),
    "guess_async": ([], b"x\n", b"that is not a number"),
    "http_hello": ([], b"GET /ann HTTP/1.0\r\n\r\n", b"Hello, ann!"),
    "lines": ([], b"GET a\n", b"NONE"),
    "send_files": (["--root", str(ROOT / "examples")], b"README.md\n", b"#"),
}


@pytest.fixture
def example() -> Iterator[Callable[..., tuple[subprocess.Popen[str], int]]]:
    """example(name, *arguments) starts a program of examples/: its process, and its port."""
    started: list[subprocess.Popen[str]] = []

    def start(name: str, *arguments: str) -> tuple[subprocess.Popen[str], int]:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "examples" / f"{name}.py"), "--port", "0", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=dict(os.environ, PYTHONPATH=str(ROOT), PYTHONFAULTHANDLER="1", PYTHONUTF8="1"),
        )
        started.append(process)
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.search(r"listening on .*:(\d+)$", line):
                # It must not wait for us to read what it prints.
                thread = threading.Thread(target=process.stdout.read, daemon=True)
                thread.start()
                return process, int(found[1])
        assert process.stderr is not None
        raise AssertionError(process.stderr.read())

    yield start
    for process in started:
        process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            assert pipe is not None
            with contextlib.suppress(ValueError):
                pipe.close()


@pytest.mark.skipif(sys.platform == "win32", reason="it is ended by a signal")
@pytest.mark.parametrize("name", SERVERS)
def test_garbage(name: str, example: Any) -> None:
    """A text protocol's server answers, refuses or closes, and serves the next client."""
    arguments, question, answer = SERVERS[name]
    process, port = example(name, *arguments)
    for garbage, ends in itertools.product(GARBAGE.values(), ("end", "reset")):
        with posix.create_connection(("127.0.0.1", port), timeout=10) as peer:
            # It may close in the middle of it, or wait for more.
            peer.settimeout(0.5)
            with contextlib.suppress(OSError):
                peer.sendall(garbage)
                if ends == "end":
                    peer.shutdown(posix.SHUT_WR)
                    while peer.recv(1 << 16):
                        pass
            if ends == "reset":
                reset(peer)
        assert process.poll() is None, process.stderr.read()
    with posix.create_connection(("127.0.0.1", port), timeout=10) as peer:
        peer.sendall(question)
        said = b""
        while answer not in said and (piece := peer.recv(1 << 16)):
            said += piece
        assert answer in said
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    assert process.stderr.read() == ""


@pytest.mark.parametrize("seed", range(3))
def test_text_of_garbage_does_not_depend_on_the_chunks(seed: int) -> None:
    chance = random.Random(seed)
    garbage = b"".join(chance.choice([*GARBAGE.values()])[:5000] for _ in range(10))
    text: list[str] = []
    server = net.create_server().listen(0, "127.0.0.1")

    def connection(socket: Any) -> None:
        events_of(socket)
        socket.set_encoding("utf8")
        socket.on("data", text.append)
        socket.on("end", server.close)

    def listening() -> None:
        peers.append(connect(server))
        peers[0].setsockopt(posix.IPPROTO_TCP, posix.TCP_NODELAY, 1)
        step(0)

    def step(start: int) -> None:
        size = chance.choice([1, 2, 3, 700, 5000])
        peers[0].sendall(garbage[start : start + size])
        if start + size < len(garbage):
            soon(lambda: step(start + size), 1)
        else:
            peers[0].close()

    peers: list[posix.socket] = []
    server.on("connection", connection)
    server.on("listening", listening)
    pyuvnet.run()
    assert "".join(text) == garbage.decode("utf-8", "replace")
