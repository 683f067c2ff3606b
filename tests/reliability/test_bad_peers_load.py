"""Peers that do not read, that leave in the middle of 100 MB, and 19,000 of them at once.

Programs whose memory is measured, or whose descriptors run out, are processes of their own.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import signal
import socket as posix
import struct
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

import pyuvnet
from pyuvnet import net

linux = pytest.mark.skipif(sys.platform != "linux", reason="the figures are those of Linux")
MB = 1_000_000
FIONREAD, SIOCOUTQ = 0x541B, 0x5411


def reset(peer: posix.socket) -> None:
    peer.setsockopt(posix.SOL_SOCKET, posix.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def connect(server: Any, receive: int = 0) -> posix.socket:
    peer = posix.socket()
    if receive:
        peer.setsockopt(posix.SOL_SOCKET, posix.SO_RCVBUF, receive)
    peer.settimeout(10)
    peer.connect(("127.0.0.1", server.address()["port"]))
    return peer


# ---- Peers that never read -----------------------------------------------------------------------


def kernel_has(peer: posix.socket) -> int:
    """How many bytes the kernel has taken for a peer that does not read: its queue, and ours."""
    mine = None
    for name in os.listdir("/proc/self/fd"):
        try:
            copy = os.dup(int(name))
        except OSError:
            continue
        try:
            view = posix.socket(fileno=copy)
        except OSError:
            os.close(copy)
            continue
        with view:
            try:
                if view.getpeername() == peer.getsockname():
                    mine = struct.unpack("i", fcntl.ioctl(view, SIOCOUTQ, bytes(4)))[0]
            except OSError:
                pass
    assert mine is not None
    return mine + int(struct.unpack("i", fcntl.ioctl(peer, FIONREAD, bytes(4)))[0])


@linux
@pytest.mark.parametrize("way", ["each in its turn", "all at once", "small ones at once", "corked"])
def test_the_figures_for_a_peer_that_never_reads_are_exact(way: str) -> None:
    server = net.create_server().listen(0, "127.0.0.1")
    chunks = [bytes([number % 251]) * (1000 + 977 * number % 60_000) for number in range(400)]
    if way.startswith("small"):
        # Many leave with one call, and the kernel ends in the middle of them.
        chunks = [bytes([number % 251]) * (500 + number % 600) for number in range(12_000)]
    total = sum(map(len, chunks))
    waiting = list(chunks)
    done: list[int] = []
    returned: list[bool] = []
    answers: list[str | None] = []
    peers: list[posix.socket] = []
    checks: list[int] = []

    def connection(socket: Any) -> None:
        assert socket.writable_length == 0

        def write() -> None:
            chunk = waiting.pop(0)

            def told(error: Any = None) -> None:
                answers.append(error.code if error else None)
                if error is None:
                    done.append(len(chunk))

            returned.append(socket.write(chunk, told))

        def step() -> None:
            write()
            if waiting:
                pyuvnet.set_immediate(step)
            else:
                pyuvnet.set_immediate(settle)

        def settle() -> None:
            if len(checks) < 5:
                checks.append(0)
                pyuvnet.set_immediate(settle)
                return
            # What write() was given, and has not been answered, is what waits.
            assert sum(done) + socket.writable_length == total
            assert socket.writable_need_drain
            # The kernel has that, and may have begun with a request of several chunks.
            assert sum(done) <= kernel_has(peers[0]) < total
            assert socket.bytes_written == total
            assert socket.writable_length == total - sum(done)
            socket.destroy()

        socket.on("close", lambda _: server.close())
        if way == "each in its turn":
            step()
            return
        if way == "corked":
            socket.cork()
        while waiting:
            write()
        if way == "corked":
            socket.uncork()
        settle()

    server.on("connection", connection)
    server.on("listening", lambda: peers.append(connect(server)))
    pyuvnet.run()
    # From the first False on it is False; and every write is answered in the end.
    assert returned == sorted(returned, reverse=True)
    assert False in returned
    assert len(answers) == len(chunks)
    assert answers == sorted(answers, key=lambda code: code is not None)
    assert set(answers[len(done) :]) <= {"ECANCELED", "ERR_STREAM_DESTROYED"}
    # What the kernel had comes to the peer, in order: a prefix.
    peers[0].settimeout(10)
    received = b""
    while piece := peers[0].recv(1 << 20):
        received += piece
    peers[0].close()
    assert b"".join(chunks).startswith(received)
    assert len(received) >= sum(done)


MEMORY = """
    import ctypes, gc, json, os, socket as posix, sys, threading, time
    import pyuvnet
    from pyuvnet import net

    def rss():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    way, size = sys.argv[1], int(sys.argv[2])
    told = {}
    peers = []
    server = net.create_server(allow_half_open=True).listen(0, "127.0.0.1")

    def connection(socket):
        before = rss()
        socket.on("error", lambda error: told.update(error=error.code))

        def measure():
            told.update(grown=rss() - before, length=socket.writable_length,
                        readable=socket.readable_length, need_drain=socket.writable_need_drain,
                        read=socket.bytes_read)
            start = time.thread_time()
            pyuvnet.set_timeout(lambda: idle(start), 300)

        def idle(start):
            told["cpu"] = time.thread_time() - start
            socket.destroy()

        def closed(_):
            gc.collect()
            # Of what is free, glibc returns only what nothing in use lies behind.
            getattr(ctypes.CDLL(None), "malloc_trim", int)(0)
            told["kept"] = rss() - before
            server.close()

        socket.on("close", closed)
        if way == "one object":
            chunk = bytes(100_000)
            while socket.writable_length < size:
                told["more"] = socket.write(chunk)
            measure()
        elif way == "objects":
            while socket.writable_length < size:
                told["more"] = socket.write(os.urandom(100_000))
            measure()
        elif way == "obeying":
            written = 0

            def write():
                nonlocal written
                while socket.write(bytes(100_000)):
                    written += 100_000
                told["written"] = written + 100_000

            write()
            socket.on("drain", write)
            pyuvnet.set_timeout(measure, 300)
        else:
            if way == "pipe":
                socket.pipe(socket)
            elif way == "relay":
                other = net.create_connection(sink.getsockname()[1], "127.0.0.1")
                other.once("connect", lambda: socket.pipe(other))
                socket.on("close", lambda _: other.destroy())
            elif way == "paused":
                socket.pause()
            elif way == "readable":
                socket.on("readable", lambda: None)
            threading.Thread(target=pump, daemon=True).start()
            # Until nothing moves.
            pyuvnet.set_interval(lambda: watch(), 50)

            def watch(seen=[None, 0]):
                seen[:] = [socket.bytes_read, seen[1] + 1 if seen[0] == socket.bytes_read else 0]
                if seen[1] == 4:
                    for timer in timers:
                        timer.close()
                    measure()

    def pump():
        sent = 0
        try:
            while sent < size:
                sent += peers[0].send(bytes(1 << 16))
        except OSError:
            pass

    timers = []
    interval = pyuvnet.set_interval
    pyuvnet.set_interval = lambda *args: timers.append(interval(*args))
    sink = posix.create_server(("127.0.0.1", 0))

    def listening():
        peers.append(posix.create_connection(("127.0.0.1", server.address()["port"])))

    server.on("connection", connection)
    server.on("listening", listening)
    pyuvnet.run()
    for each in [sink, *peers]:
        each.close()
    print(json.dumps(told))
"""


@linux
@pytest.mark.parametrize(
    "way", ["one object", "objects", "obeying", "pipe", "relay", "paused", "readable"]
)
def test_memory_is_bounded_by_what_was_written(
    way: str, run_child: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 30 * MB
    # A sanitizer keeps what is freed, to see who uses it; but here it is counted.
    options = [os.environ.get("ASAN_OPTIONS"), "quarantine_size_mb=0"]
    options += ["thread_local_quarantine_size_kb=0", "allocator_release_to_os_interval_ms=0"]
    monkeypatch.setenv("ASAN_OPTIONS", ":".join(filter(None, options)))
    told = json.loads(run_child(MEMORY, way, str(size)).clean().out)
    assert "error" not in told
    # Nothing turns while nothing moves.
    assert told["cpu"] < 0.05
    match way:
        case "one object":
            # Thirty million bytes wait, and they are one object, for no write copies.
            assert size <= told["length"] <= size + 100_000
            assert told["grown"] < 3 * MB
            assert told["more"] is False
        case "objects":
            assert size <= told["length"] <= size + 100_000
            assert size * 0.95 < told["grown"] < size * 1.05 + 4 * MB
            assert told["kept"] < 0.3 * size
        case "obeying":
            # Who stops at False has the last chunk waiting, whatever the kernel took.
            assert told["length"] <= 65536 + 100_000
            assert told["need_drain"]
            assert told["grown"] < 3 * MB
        case _:
            # The peer is not read from any further: both marks, and a chunk of each.
            assert told["length"] + told["readable"] <= 4 * 65536
            assert told["read"] < size / 2
            assert told["grown"] < 4 * MB


# ---- 100 MB, cut in the middle -------------------------------------------------------------------

TILE = random.Random(5).randbytes(1_000_003)
HUNDRED = 100 * MB


def tiled(start: int, size: int) -> bytes:
    """A part of an endless text whose period is a prime number of bytes."""
    start %= len(TILE)
    piece = TILE[start : start + size]
    while len(piece) < size:
        piece += TILE[: size - len(piece)]
    return piece


class Receiver(threading.Thread):
    """A plain socket that reads up to a point, checks each byte, and then does something."""

    def __init__(
        self, peer: posix.socket, until: int, then: Callable[[posix.socket], None]
    ) -> None:
        super().__init__(daemon=True)
        self.peer, self.until, self.then = peer, until, then
        self.count, self.good, self.end = 0, True, ""

    def run(self) -> None:
        try:
            while self.count < self.until:
                piece = self.peer.recv(min(1 << 18, self.until - self.count))
                if not piece:
                    self.end = "end"
                    break
                self.good = self.good and piece == tiled(self.count, len(piece))
                self.count += len(piece)
        except OSError as error:
            self.end = type(error).__name__
        self.then(self.peer)


class Sending:
    """Sends 100 MB as fast as the peer takes it, and notes how each write ended."""

    def __init__(self, socket: Any, size: int = 200_000) -> None:
        self.socket, self.size = socket, size
        self.written, self.ok, self.failed = 0, 0, 0
        self.stopped = False
        self.codes: set[str] = set()
        self.events: list[str] = []
        for name in ("finish", "end"):
            socket.on(name, lambda name=name: self.events.append(name))
        socket.on("error", lambda error: self.events.append(f"error {error.code}"))
        socket.on("close", lambda had_error: self.events.append(f"close {had_error}"))
        socket.on("drain", self.send)
        socket.resume()

    def send(self) -> None:
        while self.written < HUNDRED and not self.stopped:
            chunk = tiled(self.written, self.size)
            self.written += len(chunk)
            if not self.socket.write(chunk, self.told):
                return
        if not self.stopped:
            self.socket.end()

    def told(self, error: Any = None) -> None:
        if error is None:
            assert not self.codes, "a write after a failed one cannot have left"
            self.ok += self.size
        else:
            self.failed += self.size
            self.codes.add(error.code)


@linux
@pytest.mark.parametrize("side", ["client", "server"])
@pytest.mark.parametrize(
    "cut", ["reset", "close", "stop reading, then reset", "destroy", "reset_and_destroy", "end"]
)
def test_a_transfer_that_is_cut(cut: str, side: str) -> None:
    """Ours sends; the peer leaves in the middle, or we do."""
    ours = cut in ("destroy", "reset_and_destroy", "end")
    point = HUNDRED if ours else HUNDRED // 2 + 12_345
    sending: list[Sending] = []
    receivers: list[Receiver] = []

    def then(peer: posix.socket) -> None:
        if cut.startswith("stop"):
            time.sleep(0.1)
        if cut == "reset" or cut.startswith("stop"):
            reset(peer)
        else:
            peer.close()

    def begin(socket: Any) -> None:
        sending.append(Sending(socket))
        socket.on("close", lambda _: server.close())
        if ours:
            leave = {"destroy": socket.destroy, "end": socket.end}.get(
                cut, socket.reset_and_destroy
            )

            def drained() -> None:
                if sending[0].written > HUNDRED // 2 and not sending[0].stopped:
                    sending[0].stopped = True
                    # Something is on its way.
                    sending[0].written += sending[0].size
                    socket.write(tiled(sending[0].written - 200_000, 200_000), sending[0].told)
                    leave()

            socket.prepend_listener("drain", drained)
        sending[0].send()

    def receive(peer: posix.socket) -> None:
        peer.settimeout(10)
        receivers.append(Receiver(peer, point, then))
        receivers[0].start()

    server = net.create_server(allow_half_open=True).listen(0, "127.0.0.1")
    if side == "server":
        server.once("connection", begin)
        server.on("listening", lambda: receive(connect(server)))
    else:
        listener = posix.create_server(("127.0.0.1", 0))

        def listening() -> None:
            client = net.create_connection(listener.getsockname()[1], "127.0.0.1")

            def connected() -> None:
                receive(listener.accept()[0])
                listener.close()
                begin(client)

            client.once("connect", connected)

        server.on("listening", listening)
    pyuvnet.run()
    receiver, sender = receivers[0], sending[0]
    receiver.join(10)
    assert not receiver.is_alive()
    # What came is what was sent, from the first byte on, without a gap.
    assert receiver.good
    assert receiver.count <= sender.written
    # The sender knows of every write what became of it.
    assert sender.ok + sender.failed == sender.written
    if cut == "end":
        assert (sender.failed, sender.events) == (0, ["finish", "end", "close False"])
        assert receiver.count == sender.written
        assert receiver.end == "end"
    elif cut == "destroy":
        # Destroying drops what waits in us; the kernel still delivers what it has.
        assert sender.events == ["close False"]
        assert sender.ok <= receiver.count <= sender.ok + sender.size
        assert receiver.end == "end"
    elif cut == "reset_and_destroy":
        assert sender.events == ["close False"]
        assert receiver.count <= sender.ok + sender.size
        assert receiver.end == "ConnectionResetError"
    else:
        assert receiver.count == point
        (error, close) = sender.events
        assert error in ("error ECONNRESET", "error EPIPE")
        assert close == "close True"
        assert sender.failed > 0
        assert sender.codes <= {"ECONNRESET", "EPIPE", "ECANCELED", "ERR_STREAM_DESTROYED"}


PEER = """
    import socket, sys
    peer = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    count = 0
    while sys.argv[2] == "reads" and count < 50_000_000:
        count += len(peer.recv(1 << 18)) or sys.exit("ended before the half")
    piece = bytes(1 << 18)
    while sys.argv[2] == "writes" and count < 50_000_000:
        peer.sendall(piece)
        count += len(piece)
    print("half", flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a process is killed by a signal")
@pytest.mark.parametrize("does", ["reads", "writes"])
def test_a_peer_that_is_killed(does: str, open_child: Any) -> None:
    sending: list[Sending] = []
    seen: list[Any] = []
    children: list[Any] = []
    received = 0

    def connection(socket: Any) -> None:
        if does == "reads":
            sending.append(Sending(socket))
            sending[0].send()
        else:
            for name in ("end", "error", "close"):
                socket.on(name, lambda *args, name=name: seen.append(
                    name if name != "close" else f"close {args[0]}"))  # fmt: skip
            socket.on("data", data)
        socket.on("close", lambda _: server.close())

    def data(chunk: bytes) -> None:
        nonlocal received
        received += len(chunk)

    def listening() -> None:
        children.append(open_child(PEER, str(server.address()["port"]), does))
        threading.Thread(target=kill, daemon=True).start()

    def kill() -> None:
        assert children[0].stdout.readline() == "half\n"
        children[0].send_signal(signal.SIGKILL)

    server = net.create_server(connection).listen(0, "127.0.0.1")
    server.on("listening", listening)
    pyuvnet.run()
    if does == "reads":
        sender = sending[0]
        assert sender.events[0] in ("error ECONNRESET", "error EPIPE")
        assert sender.events[1:] == ["close True"]
        assert sender.ok + sender.failed == sender.written
        assert sender.ok >= 50 * MB
    else:
        # Its kernel closed in order: everything it had sent came, and then the end.
        assert seen == ["end", "close False"]
        assert received >= 50 * MB


@linux
@pytest.mark.parametrize("cut", ["reset", "end", "destroy", "reset_and_destroy"])
def test_receiving_what_is_cut(cut: str) -> None:
    """A plain peer sends; it leaves in the middle, or we do."""
    count, good = 0, True
    events: list[str] = []
    sent = [0]
    ends: list[str] = []

    def send(peer: posix.socket) -> None:
        try:
            while sent[0] < (HUNDRED if "destroy" in cut else HUNDRED // 2):
                sent[0] += peer.send(tiled(sent[0], 200_000))
            if cut == "reset":
                reset(peer)
            else:
                peer.close()
        except OSError as error:
            ends.append(type(error).__name__)
            peer.close()

    def connection(socket: Any) -> None:
        def data(chunk: bytes) -> None:
            nonlocal count, good
            good = good and chunk == tiled(count, len(chunk))
            count += len(chunk)
            if count > HUNDRED // 2 and "destroy" in cut:
                getattr(socket, cut)()

        socket.on("data", data)
        socket.on("end", lambda: events.append("end"))
        socket.on("error", lambda error: events.append(f"error {error.code}"))
        socket.on("close", lambda had_error: (events.append(f"close {had_error}"), server.close()))

    def listening() -> None:
        threads.append(threading.Thread(target=send, args=(connect(server),), daemon=True))
        threads[0].start()

    threads: list[threading.Thread] = []
    server = net.create_server(connection).listen(0, "127.0.0.1")
    server.on("listening", listening)
    pyuvnet.run()
    threads[0].join(10)
    assert good
    assert count <= sent[0] + 200_000
    if cut == "end":
        assert count == sent[0] == HUNDRED // 2
        assert events == ["end", "close False"]
    elif cut == "reset":
        assert events == ["error ECONNRESET", "close True"]
    else:
        assert events == ["close False"]
        assert ends == [ends[0]]
        assert ends[0] in ("ConnectionResetError", "BrokenPipeError")


# ---- As many as there may be ---------------------------------------------------------------------

SERVER = """
    import json, resource, sys, os
    import pyuvnet
    from pyuvnet import net

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    def rss():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    count = int(sys.argv[1])
    closed = most = 0
    fds = 0
    failed = []

    def connection(socket):
        global most
        socket.pipe(socket)
        socket.on("error", lambda error: failed.append(error.code))
        socket.on("close", gone)
        server.get_connections(counted)

    def counted(error, now):
        global most
        most = max(most, now)
        if now == count:
            told["full"] = rss()

    def gone(had_error):
        global closed
        closed += 1
        if closed == count:
            told["after"] = len(os.listdir("/proc/self/fd")) - fds
            server.get_connections(lambda error, now: told.update(left=now))
            server.close()

    told = {"before": rss()}
    server = net.create_server(connection)
    server.listen({"port": 0, "host": "127.0.0.1", "backlog": 4096})
    server.on("drop", lambda info: failed.append(info.get("reason")))

    def listening():
        global fds
        fds = len(os.listdir("/proc/self/fd"))
        print(server.address().port, flush=True)

    server.on("listening", listening)
    pyuvnet.run()
    print(json.dumps(told | {"most": most, "closed": closed, "failed": sorted(set(failed))}))
"""

CLIENTS = """
    import json, resource, sys, time
    import pyuvnet
    from pyuvnet import net

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    port, count = int(sys.argv[1]), int(sys.argv[2])
    sockets, wrong = [], []
    answered = ended = started = 0
    times = [time.monotonic()]

    def start():
        global started
        number = started
        started += 1
        word = b"%08d" % number
        socket = net.create_connection(port, "127.0.0.1")
        sockets.append(socket)
        socket.write(word)

        def data(chunk):
            global answered
            if chunk != word:
                wrong.append(number)
            answered += 1
            if started < count:
                start()
            elif answered == count:
                # All are there; once more round.
                times.append(time.monotonic())
                for one in sockets:
                    one.emit("again")
            elif answered == 2 * count:
                times.append(time.monotonic())
                for one in sockets:
                    one.end()

        def close(had_error):
            global ended
            ended += 1

        socket.on("again", lambda: socket.write(word))
        socket.on("data", data)
        socket.on("error", lambda error: wrong.append(error.code))
        socket.on("close", close)

    for _ in range(min(count, 1000)):
        start()
    pyuvnet.run()
    times.append(time.monotonic())
    print(json.dumps({"answered": answered, "ended": ended, "wrong": wrong[:10],
                      "seconds": [round(b - a, 2) for a, b in zip(times, times[1:])]}))
"""


@linux
@pytest.mark.timeout(280)
def test_as_many_connections_as_descriptors(full: bool, open_child: Any) -> None:
    """19,000 in the full version; in each of two processes, for both need a descriptor of each."""
    import resource

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    count = min(19_000 if full else 1500, hard - 100)
    server = open_child(SERVER, str(count))
    port = server.stdout.readline().strip()
    assert port, server.stderr.read()
    clients = open_child(CLIENTS, port, str(count))
    said = json.loads(clients.communicate(timeout=250)[0])
    told = json.loads(server.communicate(timeout=20)[0])
    assert said["wrong"] == []
    assert (said["answered"], said["ended"]) == (2 * count, count)
    assert told["failed"] == []
    assert (told["most"], told["closed"], told["left"]) == (count, count, 0)
    assert told["after"] == 0
    each = (told["full"] - told["before"]) / count
    print(f"{count} connections, {each:.0f} bytes each in the server; seconds {said['seconds']}")
    # A sanitizer lays a zone around each object.
    assert each < (12_000 if "libasan" in os.environ.get("LD_PRELOAD", "") else 6000)
