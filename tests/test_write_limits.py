"""Bounded memory: max_write_buffer, write budgets of servers and loops, calls from other threads.

The peers are sockets of the standard library that never read, so that what the kernel does not take
stays queued. Every message is an object of its own.
"""

from __future__ import annotations

import contextlib
import ctypes
import socket as posix
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pyuvnet
from pyuvnet import framing, net
from pyuvnet._core.socket_base import write_budget
from tests.support.cases import cases

PATHS = [None] if sys.platform == "win32" else [None, "s"]
MIB = 1 << 20
LIBC = None if sys.platform == "win32" else ctypes.CDLL(None)


class Idle:
    """A server whose peers never read, all of them connected before the test begins."""

    def __init__(self, count: int, path: str | None = None, **options: Any) -> None:
        self.sockets: list[net.Socket] = []
        self.peers: list[posix.socket] = []
        self.errors: list[tuple[int, Any]] = []
        self.closed: list[int] = []
        self.server = net.create_server(self.connected, **options)
        self.count, self.path = count, path
        self.then: Callable[[], object] = lambda: None

    def run(self, then: Callable[[], object]) -> Idle:
        """Connect all, call then() in a callback of the loop, and go on until all is closed."""
        self.then = then
        if self.path is None:
            self.server.listen(0, "127.0.0.1", callback=self.connect_peers)
        else:
            self.server.listen(self.path, callback=self.connect_peers)
        try:
            pyuvnet.run()
        finally:
            for peer in self.peers:
                peer.close()
        return self

    def connect_peers(self) -> None:
        place = self.server.address()
        for _ in range(self.count):
            if isinstance(place, str):
                peer = posix.socket(posix.AF_UNIX)
                peer.connect(place)
            else:
                peer = posix.create_connection(("127.0.0.1", place["port"]))
            self.peers.append(peer)

    def connected(self, socket: net.Socket) -> None:
        index = len(self.sockets)
        self.sockets.append(socket)
        socket.on("error", lambda error: self.errors.append((index, error)))
        socket.on("close", lambda had_error: self.closed.append(index))
        if index + 1 == self.count:
            pyuvnet.set_immediate(self.begin)

    def begin(self) -> None:
        self.then()

    def finish(self) -> None:
        for socket in self.sockets:
            socket.destroy()
        self.server.close()

    @property
    def codes(self) -> list[tuple[int, str]]:
        return [(index, error.code) for index, error in self.errors]


def own(size: int) -> bytes:
    """A message that is nobody else's."""
    return bytes(bytearray(size))


def fill(socket: net.Socket, size: int = 65536) -> None:
    """Write until the kernel takes no more."""
    while socket.writable_length == 0:
        socket.write(own(size))


# ---- max_write_buffer --------------------------------------------------------------------------


@pytest.mark.spec("D130", "P3-01")
@cases("path", PATHS)
@cases("in_callback", [True, False])
def test_a_queue_that_is_too_long_destroys_its_socket(
    path: str | None, in_callback: bool, tmp_path: Path
) -> None:
    lengths: list[int] = []

    def write() -> None:
        socket = idle.sockets[0]
        while not socket.destroyed:
            lengths.append(socket.writable_length)
            socket.write(own(50_000))
        idle.server.close()

    idle = Idle(1, path and str(tmp_path / path), max_write_buffer=200_000)
    idle.run(write if in_callback else lambda: pyuvnet.next_tick(write))
    assert idle.codes == [(0, "ERR_WRITE_BUFFER_FULL")]
    assert idle.closed == [0]
    assert 0 < max(lengths) <= 200_000


def test_the_write_that_destroys_its_socket_returns_false_and_fails() -> None:
    results: list[Any] = []

    def write() -> None:
        socket = idle.sockets[0]
        fill(socket)
        results.append(socket.write(own(500_000), callback=lambda e: results.append(e.code)))
        results.append(socket.destroyed)
        idle.server.close()

    idle = Idle(1, max_write_buffer=100_000)
    idle.run(write)
    assert results[:2] == [False, True]
    assert results[2] == "ERR_WRITE_BUFFER_FULL"


def test_a_peer_that_reads_keeps_its_socket_however_much_is_written() -> None:
    got = [0]
    total = 4 * MIB

    def connected(socket: net.Socket) -> None:
        def more() -> None:
            while sent[0] < total:
                sent[0] += 50_000
                if not socket.write(own(50_000)):
                    return
            socket.end()

        socket.on("drain", more)
        more()

    sent = [0]
    server = net.create_server(connected, max_write_buffer=200_000)

    def listening() -> None:
        client = net.connect(server.address()["port"], "127.0.0.1")
        client.on("data", lambda data: got.__setitem__(0, got[0] + len(data)))
        client.on("end", server.close)

    server.listen(0, "127.0.0.1", callback=listening)
    pyuvnet.run()
    assert got[0] == sent[0]


@pytest.mark.spec("P3-02")
def test_what_refuse_does_not_take_is_not_sent_and_the_socket_lives() -> None:
    seen: list[Any] = []
    received: list[bytes] = []

    def write() -> None:
        socket = idle.sockets[0]
        fill(socket)
        queued = socket.writable_length
        number = socket.bytes_written
        seen.append(socket.write(b"r" * 100_001, callback=lambda e: seen.append(e.code)))
        assert socket.writable_length == queued
        assert socket.bytes_written == number
        assert not socket.destroyed
        seen.append(socket.writable_need_drain)
        # What fits is taken.
        seen.append(socket.write(b"fits"))
        idle.peers[0].setblocking(False)
        socket.on("drain", drained)
        read()

    def read() -> None:
        with contextlib.suppress(BlockingIOError):
            while data := idle.peers[0].recv(MIB):
                received.append(data)
        if not seen or seen[-1] != "drain":
            pyuvnet.set_immediate(read)

    def drained() -> None:
        seen.append("drain")
        with contextlib.suppress(BlockingIOError):
            while data := idle.peers[0].recv(MIB):
                received.append(data)
        idle.finish()

    idle = Idle(1, max_write_buffer=100_000, on_full="refuse")
    idle.run(write)
    assert seen == [False, True, False, "ERR_WRITE_BUFFER_FULL", "drain"]
    assert idle.errors == []
    whole = b"".join(received)
    assert b"r" not in whole
    assert whole.endswith(b"fits")


@pytest.mark.spec("D130")
@cases(
    "options",
    [
        {"max_write_buffer": MIB},
        {"max_write_buffer": MIB, "on_full": "refuse"},
        {"write_budget": MIB},
        {"loop": MIB},
    ],
)
@cases("path", PATHS)
@cases("how", ["end", "write", "write_frame"])
def test_one_write_may_be_larger_than_the_bound(
    path: str | None, options: dict[str, Any], how: str, tmp_path: Path, loop: Any
) -> None:
    """A bound is for what accumulates: what an empty queue is given leaves as fast as it can."""
    got = [0]
    errors: list[Any] = []
    head = 4 if how == "write_frame" else 0

    def connected(socket: net.Socket) -> None:
        socket.on("error", errors.append)
        # More of nothing is no more.
        getattr(socket, how)(own(20 * MIB))
        if how != "end":
            socket.write(b"")
            socket.end()

    def read(chunk: bytes) -> None:
        got[0] += len(chunk)

    options = dict(options)
    pyuvnet.loop.set_write_budget(options.pop("loop", None))
    server = net.create_server(
        connected, framing=framing.LengthPrefix(4, limit=32 * MIB), **options
    )
    server.listen(0 if path is None else str(tmp_path / path), callback=lambda: begin())

    def begin() -> None:
        place = server.address()
        client = net.connect(place if isinstance(place, str) else place["port"])
        client.on("data", read)
        client.on("close", lambda had_error: server.close())

    pyuvnet.run()
    pyuvnet.loop.set_write_budget(None)
    assert errors == []
    assert got[0] == 20 * MIB + head


@cases("options", [{}, {"on_full": "refuse"}, {"write_budget": 1000}])
def test_more_behind_a_write_beyond_the_bound_is_too_much(options: dict[str, Any]) -> None:
    results: list[Any] = []

    def write() -> None:
        socket = idle.sockets[0]
        socket.write(own(20 * MIB))
        assert socket.writable_length
        assert not socket.destroyed
        results.append(socket.write(b"x", callback=lambda e: results.append(e.code)))
        results.append(socket.destroyed)
        idle.finish()

    if "write_budget" not in options:
        options = {"max_write_buffer": 1000, **options}
    code = "ERR_WRITE_BUDGET" if "write_budget" in options else "ERR_WRITE_BUFFER_FULL"
    idle = Idle(1, **options)
    idle.run(write)
    assert results == [False, options.get("on_full") != "refuse", code]


def test_the_last_chunk_is_not_lost_silently_in_refuse() -> None:
    ends: list[Any] = []

    def write() -> None:
        socket = idle.sockets[0]
        fill(socket)
        socket.end(own(200_000), callback=lambda error: ends.append(error.code))
        assert socket.destroyed
        idle.server.close()

    idle = Idle(1, max_write_buffer=100_000, on_full="refuse")
    idle.run(write)
    assert ends == ["ERR_WRITE_BUFFER_FULL"]
    assert idle.codes == [(0, "ERR_WRITE_BUFFER_FULL")]


@cases("refuses", [False, True])
def test_corked_writes_count(refuses: bool) -> None:
    results: list[Any] = []

    def write() -> None:
        socket = idle.sockets[0]
        socket.cork()
        results.extend([socket.write(own(60_000)), socket.write(own(60_000)), socket.destroyed])
        if refuses:
            assert socket.writable_length == 60_000
            socket.uncork()
        idle.finish()

    options = {"on_full": "refuse"} if refuses else {}
    idle = Idle(1, max_write_buffer=100_000, **options)
    idle.run(write)
    assert results == [True, False, not refuses]
    assert idle.codes == ([] if refuses else [(0, "ERR_WRITE_BUFFER_FULL")])


@cases("refuses", [False, True])
def test_frames_count_whole(refuses: bool) -> None:
    results: list[Any] = []

    def write() -> None:
        socket = idle.sockets[0]
        socket.cork()
        results.append(socket.write_frame(own(900)))
        # With its prefix it is one byte too long.
        results.append(
            socket.write_frame(own(93), callback=lambda error: results.append(error.code))
        )
        results.append(socket.destroyed)
        if refuses:
            assert socket.writable_length == 904
        idle.finish()

    options = {"on_full": "refuse"} if refuses else {}
    idle = Idle(1, max_write_buffer=1000, framing=framing.LengthPrefix(4), **options)
    idle.run(write)
    assert results == [True, False, not refuses, "ERR_WRITE_BUFFER_FULL"]


def test_a_frame_that_fits_exactly_is_taken() -> None:
    def write() -> None:
        socket = idle.sockets[0]
        socket.cork()
        assert socket.write_frame(own(996))
        assert not socket.write_frame(own(1))
        assert socket.destroyed
        idle.server.close()

    idle = Idle(1, max_write_buffer=1000, framing=framing.LengthPrefix(4))
    idle.run(write)
    assert idle.codes == [(0, "ERR_WRITE_BUFFER_FULL")]


def test_what_waits_for_the_connection_counts(loop: Any) -> None:
    seen: list[Any] = []
    server = net.create_server(lambda s: s.resume()).listen(0, "127.0.0.1")

    def listening() -> None:
        client = net.connect(
            server.address()["port"], "127.0.0.1", max_write_buffer=1000, on_full="refuse"
        )
        seen.append(client.write(own(600)))
        seen.append(client.write(own(600), callback=lambda e: seen.append(e.code)))
        client.on("connect", client.end)
        server.on("connection", lambda s: server.close())

    server.on("listening", listening)
    pyuvnet.run()
    assert seen == [True, False, "ERR_WRITE_BUFFER_FULL"]


def test_a_reconnect_keeps_the_bound_and_begins_with_nothing(loop: Any) -> None:
    seen: list[Any] = []
    server = net.create_server(lambda s: s.resume()).listen(0, "127.0.0.1")
    client = net.Socket(max_write_buffer=1000)
    client.on("error", lambda error: seen.append(error.code))

    def listening() -> None:
        port = server.address()["port"]
        client.connect(port, "127.0.0.1")
        client.write(own(900))
        client.write(own(600))
        assert client.destroyed

        def again(had_error: bool) -> None:
            client.once("close", lambda _: server.close())
            client.connect(port, "127.0.0.1")
            assert client.write(own(900))
            assert not client.destroyed
            client.on("connect", client.end)

        client.once("close", again)

    server.on("listening", listening)
    pyuvnet.run()
    assert seen == ["ERR_WRITE_BUFFER_FULL"]


@cases("overridden", [False, True])
def test_a_pipe_into_a_socket_that_refuses_breaks_rather_than_lose_a_piece(
    overridden: bool,
) -> None:
    """The native pipe, and the ordinary one."""
    broken: list[str] = []

    def write() -> None:
        source, dest = idle.sockets
        dest.on("unpipe", lambda *_: broken.append("unpipe"))
        if overridden:
            source.on("data", lambda data: None)
        source.pipe(dest)
        idle.peers[0].setblocking(False)
        flood()

    def flood() -> None:
        if idle.sockets[1].destroyed:
            idle.finish()
            return
        with contextlib.suppress(BlockingIOError, ConnectionError):
            idle.peers[0].send(b"z" * 200_000)
        pyuvnet.set_immediate(flood)

    # The source does not wait for 'drain' before the bound.
    idle = Idle(2, max_write_buffer=20_000, on_full="refuse", high_water_mark=MIB)
    idle.run(write)
    assert (1, "ERR_WRITE_BUFFER_FULL") in idle.codes
    assert broken == ["unpipe"]


def test_a_pipe_stays_within_a_bound_of_two_marks() -> None:
    """The source pauses at the mark, so that the queue is a mark and one chunk at most."""
    lengths: list[int] = []

    def write() -> None:
        source, dest = idle.sockets
        source.pipe(dest)
        idle.peers[0].setblocking(False)
        flood(0)

    def flood(quiet: int) -> None:
        lengths.append(idle.sockets[1].writable_length)
        try:
            idle.peers[0].send(b"z" * 200_000)
            quiet = 0
        except BlockingIOError:
            quiet += 1
        if quiet > 50:
            idle.finish()
        else:
            pyuvnet.set_immediate(flood, quiet)

    idle = Idle(2, max_write_buffer=131_072 + 65_536)
    idle.run(write)
    assert idle.errors == []
    assert max(lengths) > 0


def test_destroy_in_the_error_listener_and_in_the_callback_is_harmless() -> None:
    seen: list[str] = []

    def write() -> None:
        socket = idle.sockets[0]

        def failed(error: Any) -> None:
            seen.append(error.code)
            socket.destroy()
            socket.write(b"more")

        socket.on("error", lambda error: (socket.destroy(), idle.server.close()))
        fill(socket)
        socket.write(own(300_000), callback=failed)

    idle = Idle(1, max_write_buffer=100_000)
    idle.run(write)
    assert seen == ["ERR_WRITE_BUFFER_FULL"]
    assert idle.closed == [0]


# ---- Budgets -----------------------------------------------------------------------------------


@pytest.mark.spec("P3-03", "P3-04")
@cases("of_loop", [False, True])
@cases("path", PATHS)
def test_the_socket_with_the_longest_queue_is_destroyed(
    of_loop: bool, path: str | None, tmp_path: Path, loop: Any
) -> None:
    overloads: list[Any] = []

    def write() -> None:
        for socket in idle.sockets:
            fill(socket)
        idle.sockets[1].write(own(600_000))
        idle.sockets[2].write(own(100_000))
        assert not any(socket.destroyed for socket in idle.sockets)
        # This exceeds the budget, but another has more.
        assert idle.sockets[0].write(own(100_000)) is False
        while not any(socket.destroyed for socket in idle.sockets):
            idle.sockets[0].write(own(10_000))
        assert [socket.destroyed for socket in idle.sockets] == [False, True, False]
        pyuvnet.set_immediate(idle.finish)

    idle = Idle(3, path and str(tmp_path / path), **({} if of_loop else {"write_budget": MIB}))
    if of_loop:
        pyuvnet.loop.set_write_budget(MIB)
    idle.server.on("overload", overloads.append)
    idle.run(write)
    assert idle.codes == [(1, "ERR_WRITE_BUDGET")]
    (info,) = overloads
    assert (info.scope, info.limit, info.destroyed) == ("loop" if of_loop else "server", MIB, 1)
    assert 0 < info.queued <= MIB


@pytest.mark.spec("P3-03", "P3-05")
def test_it_destroys_again_until_the_others_fit() -> None:
    overloads: list[Any] = []

    def write() -> None:
        for socket in idle.sockets[:4]:
            fill(socket)
            socket.write(own(150_000))
        before = idle.server._write_budget
        assert before is not None
        # One that is larger than all that the others have: it has the longest queue.
        last = idle.sockets[4]
        last.cork()
        last.write(own(2 * MIB))
        assert [socket.destroyed for socket in idle.sockets] == [False] * 4 + [True]
        assert idle.server._write_budget == before
        pyuvnet.set_immediate(shrink)

    def shrink() -> None:
        pyuvnet.loop.set_write_budget(400_000)
        assert sum(socket.destroyed for socket in idle.sockets) == 4
        limit, queued = write_budget(pyuvnet.current_loop())  # type: ignore[misc]
        assert 0 < queued <= limit == 400_000
        pyuvnet.set_immediate(idle.finish)

    idle = Idle(5, write_budget=MIB)
    idle.server.on("overload", overloads.append)
    idle.run(write)
    assert [(info.scope, info.destroyed) for info in overloads] == [("server", 1), ("loop", 3)]


@pytest.mark.spec("P3-06")
def test_the_count_is_exact_at_every_write_and_completion() -> None:
    """Against the sum of all queues, while peers read, stop, end and are destroyed."""
    import random

    rng = random.Random(20)
    checks = [0]

    def check() -> None:
        checks[0] += 1
        alive = [socket for socket in idle.sockets if not socket.destroyed]
        total = sum(socket.writable_length for socket in alive)
        assert idle.server._write_budget == (1 << 40, total)
        assert write_budget(pyuvnet.current_loop()) == (1 << 39, total)

    def step(left: int) -> None:
        if not left:
            idle.finish()
            check()
            return
        for _ in range(10):
            index = rng.randrange(len(idle.sockets))
            socket, peer = idle.sockets[index], idle.peers[index]
            action = rng.randrange(12)
            if action < 5:
                socket.write(own(rng.choice([1, 100, 5000, 70_000, 400_000])))
            elif action == 5:
                socket.cork()
            elif action == 6:
                socket.uncork()
            elif action < 10:
                with contextlib.suppress(OSError):
                    peer.recv(rng.choice([1, 1000, MIB]))
            elif action == 10 and rng.random() < 0.1:
                socket.end()
            elif rng.random() < 0.1:
                socket.destroy()
            elif rng.random() < 0.05:
                peer.close()
            if rng.random() < 0.3:
                check()
        pyuvnet.set_immediate(step, left - 1)

    def begin() -> None:
        for peer in idle.peers:
            peer.setblocking(False)
        step(300)

    pyuvnet.loop.set_write_budget(1 << 39)
    idle = Idle(12, write_budget=1 << 40)
    idle.run(begin)
    assert checks[0] > 100


def test_the_longest_is_found_among_many_whatever_changes() -> None:
    """The heap against max(), with queues that grow, shrink and vanish."""
    import random

    rng = random.Random(5)

    def begin() -> None:
        for peer in idle.peers:
            peer.setblocking(False)
        for socket in idle.sockets:
            fill(socket)
        step(60)

    def step(left: int) -> None:
        alive = [socket for socket in idle.sockets if not socket.destroyed]
        if not left or len(alive) < 3:
            idle.finish()
            return
        for _ in range(20):
            index = rng.randrange(len(idle.sockets))
            if rng.random() < 0.6:
                idle.sockets[index].write(own(rng.randrange(1, 100_000)))
            else:
                with contextlib.suppress(OSError):
                    idle.peers[index].recv(rng.randrange(1, MIB))
        alive = [socket for socket in idle.sockets if not socket.destroyed]
        lengths = {index: s.writable_length for index, s in enumerate(idle.sockets) if s in alive}
        longest = max(lengths.values())
        if left % 4 == 0 and longest:
            pyuvnet.loop.set_write_budget(sum(lengths.values()) - 1)
            gone = [i for i in lengths if idle.sockets[i].destroyed]
            assert [lengths[i] for i in gone] == [longest]
            pyuvnet.loop.set_write_budget(None)
        pyuvnet.set_immediate(step, left - 1)

    idle = Idle(24)
    idle.run(begin)
    assert any(code == "ERR_WRITE_BUDGET" for _, code in idle.codes)


def test_what_a_callback_collects_stays_within_the_budget() -> None:
    """Of many sockets a little each: none is flushed by itself, all together are too much."""
    most = [0]

    def write() -> None:
        for socket in idle.sockets:
            # Full, so that nothing of it leaves.
            fill(socket)
        base = idle.server._write_budget
        assert base is not None
        for _ in range(50):
            for socket in idle.sockets:
                socket.write(own(1000))
                alive = [s for s in idle.sockets if not s.destroyed]
                most[0] = max(most[0], sum(s.writable_length for s in alive))
        idle.finish()

    idle = Idle(20, write_budget=20 * 70_000)
    idle.run(write)
    assert most[0] <= 20 * 70_000


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_what_a_destroyed_socket_had_queued_is_free_before_the_callback_is_over() -> None:
    """A broadcast of 400 MiB in one callback, under a budget of 8 MiB."""
    grown = [0]

    def resident() -> int:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * 4096

    def write() -> None:
        before = resident()
        for round_ in range(8):
            for socket in idle.sockets:
                if not socket.destroyed:
                    # Random, so that no page is shared with the system's empty one.
                    message = bytearray(MIB)
                    message[::4096] = b"x" * 256
                    socket.write(bytes(message) if round_ % 2 else memoryview(message))
                    del message
            grown[0] = max(grown[0], resident() - before)
        idle.finish()

    idle = Idle(50, write_budget=8 * MIB)
    idle.run(write)
    assert len([code for _, code in idle.codes if code == "ERR_WRITE_BUDGET"]) > 20
    assert grown[0] < 24 * MIB, grown


@pytest.mark.spec("D130")
@cases("of_loop", [False, True])
@cases("size", [4, 1000])
def test_one_object_is_not_queued_without_bound(of_loop: bool, size: int) -> None:
    limit, message = 100_000, own(size)
    most = limit // min(size, 32) + 10

    def write() -> None:
        (socket,) = idle.sockets
        # Full, so that nothing of it leaves.
        fill(socket)
        if of_loop:
            pyuvnet.loop.set_write_budget(limit)
        writes = 0
        while not socket.destroyed and writes < 2 * most:
            socket.write(message)
            writes += 1
        assert writes <= most
        idle.finish()

    idle = Idle(1, **({} if of_loop else {"write_budget": limit}))
    idle.run(write)
    assert [code for _, code in idle.codes] == ["ERR_WRITE_BUDGET"]


@pytest.mark.spec("D130")
@cases("of_loop", [False, True])
@cases("how", ["write", "write_frame", "cork"])
@cases("kind", [bytes, bytearray, memoryview])
def test_what_many_sockets_queue_of_one_object_counts_once(
    of_loop: bool, how: str, kind: Any
) -> None:
    size, rounds, count = 50_000, 20, 30

    def queued() -> int:
        found = write_budget(pyuvnet.current_loop()) if of_loop else idle.server._write_budget
        assert found is not None
        return found[1]

    def write() -> None:
        for socket in idle.sockets:
            fill(socket)
            if how == "cork":
                socket.cork()
        before = queued()
        for _ in range(rounds):
            message = kind(own(size))
            for socket in idle.sockets:
                socket.write_frame(message) if how == "write_frame" else socket.write(message)
        assert idle.codes == []
        prefixes = 4 * rounds * count if how == "write_frame" else 0
        assert queued() == before + rounds * size + prefixes
        assert pyuvnet.loop.stats().queued_bytes >= count * rounds * size
        for socket in idle.sockets[1:]:
            socket.destroy()
        # One has it still.
        assert queued() == idle.sockets[0].writable_length
        pyuvnet.set_immediate(drain, idle.sockets[0])

    def drain(socket: net.Socket) -> None:
        socket.uncork()
        idle.peers[0].setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while idle.peers[0].recv(MIB):
                pass
        assert queued() == socket.writable_length
        if socket.writable_length:
            pyuvnet.set_immediate(drain, socket)
        else:
            idle.finish()

    pyuvnet.loop.set_write_budget(4 * MIB if of_loop else None)
    options = {} if of_loop else {"write_budget": 4 * MIB}
    idle = Idle(count, framing=framing.LengthPrefix(4), **options)
    idle.run(write)
    pyuvnet.loop.set_write_budget(None)
    assert idle.errors == []


def test_sockets_of_another_server_are_not_concerned() -> None:
    def write() -> None:
        fill(other.sockets[0])
        other.sockets[0].write(own(4 * MIB))
        idle.sockets[0].cork()
        idle.sockets[0].write(own(150_000))
        idle.sockets[0].write(own(150_000))
        assert [idle.sockets[0].destroyed, other.sockets[0].destroyed] == [True, False]
        idle.finish()
        other.finish()

    other = Idle(1)
    idle = Idle(1, write_budget=200_000)
    other.server.listen(0, "127.0.0.1", callback=other.connect_peers)
    other.then = lambda: (
        idle.server.listen(0, "127.0.0.1", callback=idle.connect_peers),
        setattr(idle, "then", write),
    )
    pyuvnet.run()
    for peer in idle.peers + other.peers:
        peer.close()
    assert idle.codes == [(0, "ERR_WRITE_BUDGET")]
    assert other.codes == []


def test_a_client_counts_for_its_loop_and_has_no_server_to_say_overload(loop: Any) -> None:
    seen: list[Any] = []
    listener = posix.create_server(("127.0.0.1", 0))
    pyuvnet.loop.set_write_budget(500_000)
    client = net.connect(listener.getsockname()[1], "127.0.0.1")
    client.on("error", lambda error: seen.append(error.code))
    client.on("close", lambda had_error: seen.append(had_error))

    def connected() -> None:
        while not client.destroyed:
            client.write(own(50_000))

    client.on("connect", connected)
    pyuvnet.run()
    listener.close()
    assert seen == ["ERR_WRITE_BUDGET", True]
    assert write_budget(pyuvnet.current_loop()) == (500_000, 0)


def test_a_budget_that_is_taken_back_bounds_no_more() -> None:
    def write() -> None:
        fill(idle.sockets[0])
        pyuvnet.loop.set_write_budget(None)
        assert write_budget(pyuvnet.current_loop()) is None
        idle.sockets[0].write(own(4 * MIB))
        assert not idle.sockets[0].destroyed
        pyuvnet.loop.set_write_budget(8 * MIB)
        assert write_budget(pyuvnet.current_loop()) == (8 * MIB, idle.sockets[0].writable_length)
        idle.finish()

    pyuvnet.loop.set_write_budget(MIB)
    idle = Idle(1)
    idle.run(write)
    assert idle.errors == []


def test_an_existing_queue_counts_for_a_new_budget() -> None:
    def write() -> None:
        for socket in idle.sockets:
            fill(socket)
        idle.sockets[1].write(own(2 * MIB))
        pyuvnet.loop.set_write_budget(MIB)
        assert [socket.destroyed for socket in idle.sockets] == [False, True]
        pyuvnet.set_immediate(idle.finish)

    idle = Idle(2)
    idle.run(write)
    assert idle.codes == [(1, "ERR_WRITE_BUDGET")]


@cases("act", ["close", "destroy", "raise", "write", "budget"])
def test_the_listener_of_overload_may_do_anything(act: str) -> None:
    overloads: list[Any] = []

    def overloaded(info: Any) -> None:
        overloads.append(info.destroyed)
        if act == "close":
            idle.server.close()
        elif act == "destroy":
            for socket in idle.sockets:
                socket.destroy()
        elif act == "write" and len(overloads) < 3:
            # It overloads the server again.
            for socket in idle.sockets:
                if not socket.destroyed:
                    socket.write(own(MIB))
        elif act == "budget":
            pyuvnet.loop.set_write_budget(0)
            pyuvnet.loop.set_write_budget(None)
        pyuvnet.set_immediate(idle.finish)
        if act == "raise":
            raise LookupError("of the listener")

    def write() -> None:
        for socket in idle.sockets:
            fill(socket)
        for socket in idle.sockets:
            socket.write(own(400_000))

    idle = Idle(6, write_budget=MIB)
    idle.server.on("overload", overloaded)
    if act == "raise":
        with pytest.raises(LookupError):
            idle.run(write)
        pyuvnet.run()
        for peer in idle.peers:
            peer.close()
    else:
        idle.run(write)
    assert overloads[0] >= 1
    assert sorted(idle.closed) == list(range(6))
    assert idle.server._write_budget == (MIB, 0)


@cases("act", ["close", "destroy others", "write to others"])
def test_the_listener_of_error_may_do_anything(act: str) -> None:
    def write() -> None:
        for socket in idle.sockets:
            socket.on("error", failed)
            fill(socket)
        for socket in idle.sockets:
            socket.write(own(400_000))
        pyuvnet.set_immediate(lambda: pyuvnet.set_immediate(idle.finish))

    def failed(error: Any) -> None:
        assert error.code == "ERR_WRITE_BUDGET"
        for socket in idle.sockets:
            if act == "close":
                idle.server.close()
            elif act == "destroy others":
                socket.destroy()
            elif not socket.destroyed:
                socket.write(own(200_000))

    idle = Idle(6, write_budget=MIB)
    idle.run(write)
    assert sorted(idle.closed) == list(range(6))
    assert idle.server._write_budget == (MIB, 0)


def test_one_overload_event_stands_for_all_of_one_callback() -> None:
    overloads: list[Any] = []

    def write() -> None:
        for socket in idle.sockets:
            fill(socket)
        for socket in idle.sockets:
            if not socket.destroyed:
                socket.write(own(700_000))
        assert overloads == []
        pyuvnet.set_immediate(idle.finish)

    idle = Idle(10, write_budget=MIB)
    idle.server.on("overload", overloads.append)
    idle.run(write)
    (info,) = overloads
    assert info.destroyed == len(idle.errors) > 1


@pytest.mark.spec("P3-09")
@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_thousand_peers_that_never_read_stay_within_64_mib_and_others_are_served(
    run_child: Any,
) -> None:
    """A broadcast of a message of its own to each, for several hundred MiB."""
    code = """
    import json, resource, socket as posix, sys
    import pyuvnet
    from pyuvnet import net
    BUDGET = 64 << 20
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, hard))
    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096
    sockets, peers, overloads, served = [], [], [], [0]
    server = net.create_server(sockets.append, write_budget=BUDGET)
    server.on("overload", lambda info: overloads.append(info.destroyed))
    def connected(socket):
        socket.on("error", lambda error: None)
    server.on("connection", connected)
    most = [0]
    def listening():
        port = server.address()["port"]
        for _ in range(1000):
            peer = posix.socket()
            peer.setsockopt(posix.SOL_SOCKET, posix.SO_RCVBUF, 4096)
            peer.connect(("127.0.0.1", port))
            peers.append(peer)
        for _ in range(10):
            client = net.connect(port, "127.0.0.1")
            client.on("data", lambda data: served.__setitem__(0, served[0] + len(data)))
            client.on("error", lambda error: failed.append(error))
            clients.append(client)
        wait()
    failed, clients = [], []
    def wait():
        if len(sockets) < 1010:
            pyuvnet.set_immediate(wait)
        else:
            # What the kernel takes is not counted: fill that first.
            global before
            before = resident()
            broadcast(100)
    def broadcast(left):
        for socket in sockets:
            if not socket.destroyed:
                message = bytearray(65536)
                message[::4096] = b"x" * 16
                socket.write(bytes(message))
        most[0] = max(most[0], resident() - before)
        if left:
            pyuvnet.set_timeout(broadcast, 1, left - 1)
            return
        print(json.dumps({
            "most": most[0], "served": served[0], "failed": len(failed),
            "destroyed": sum(overloads), "lived": sum(not s.destroyed for s in sockets)}))
        for socket in sockets + clients:
            socket.destroy()
        for peer in peers:
            peer.close()
        server.close()
    server.listen(0, "127.0.0.1", 2000, listening)
    pyuvnet.run()
    """
    import json

    found = json.loads(run_child(code, timeout=120).clean().lines[0])
    assert found["most"] <= 1.1 * (64 << 20), found
    assert found["destroyed"] > 0, found
    assert found["failed"] == 0, found
    # The ten that read have got everything but what is on its way.
    assert found["served"] >= 10 * 90 * 65536, found


# ---- Calls from other threads ------------------------------------------------------------------


@pytest.fixture
def elsewhere() -> Iterator[Callable[[Callable[[], Any]], Any]]:
    """elsewhere(call) runs it in another thread, and returns what it returned or raised."""

    def run(call: Callable[[], Any]) -> Any:
        results: list[Any] = []

        def body() -> None:
            try:
                results.append(call())
            except Exception as error:
                results.append(error)

        thread = threading.Thread(target=body)
        thread.start()
        thread.join()
        return results[0]

    return run


@pytest.mark.spec("D131", "P3-08")
def test_more_calls_than_allowed_raise_in_the_caller(loop: Any, elsewhere: Any) -> None:
    called: list[int] = []
    loop.set_max_threadsafe_calls(3)

    def flood() -> list[str]:
        codes = []
        for number in range(5):
            try:
                loop.call_soon_threadsafe(called.append, number)
                codes.append("")
            except pyuvnet.errors.StateError as error:
                codes.append(error.code)
        return codes

    assert elsewhere(flood) == ["", "", "", "ERR_QUEUE_FULL", "ERR_QUEUE_FULL"]
    pyuvnet.run()
    assert called == [0, 1, 2]
    # They have begun: there is room again.
    assert elsewhere(flood)[:3] == ["", "", ""]
    pyuvnet.run()
    pyuvnet.loop.set_max_threadsafe_calls(None)
    assert elsewhere(flood) == [""] * 5
    pyuvnet.run()
    assert len(called) == 11


def test_calls_are_unbounded_by_default(loop: Any, elsewhere: Any) -> None:
    count = [0]

    def call() -> None:
        count[0] += 1

    elsewhere(lambda: [loop.call_soon_threadsafe(call) for _ in range(20_000)])
    pyuvnet.run()
    assert count[0] == 20_000


# ---- Wrong options -----------------------------------------------------------------------------

BAD: list[Any] = [
    ({"max_write_buffer": "1"}, "ERR_INVALID_ARG_TYPE"),
    ({"max_write_buffer": True}, "ERR_INVALID_ARG_TYPE"),
    ({"max_write_buffer": -1}, "ERR_OUT_OF_RANGE"),
    ({"max_write_buffer": 1.5}, "ERR_OUT_OF_RANGE"),
    ({"max_write_buffer": 2**64}, "ERR_OUT_OF_RANGE"),
    ({"max_write_buffer": float("nan")}, "ERR_OUT_OF_RANGE"),
    ({"on_full": "drop"}, "ERR_INVALID_ARG_VALUE"),
    ({"on_full": 1}, "ERR_INVALID_ARG_VALUE"),
    ({"read_budget": -1}, "ERR_OUT_OF_RANGE"),
    ({"read_budget": b"1"}, "ERR_INVALID_ARG_TYPE"),
]
BAD_OF_SERVERS: list[Any] = [
    ({"write_budget": "64M"}, "ERR_INVALID_ARG_TYPE"),
    ({"write_budget": -1}, "ERR_OUT_OF_RANGE"),
    ({"write_budget": 2**63}, "ERR_OUT_OF_RANGE"),
]


@pytest.mark.spec("P0-02")
@cases(("options", "code"), BAD + BAD_OF_SERVERS)
def test_wrong_options_of_a_server_raise(options: dict[str, Any], code: str) -> None:
    with pytest.raises(pyuvnet.errors.Error) as caught:
        net.create_server(**options)
    assert caught.value.code == code


@cases(("options", "code"), BAD)
@cases("make", [net.Socket, lambda **options: net.connect(1, "127.0.0.1", **options)])
def test_wrong_options_of_a_socket_raise(make: Any, options: dict[str, Any], code: str) -> None:
    with pytest.raises(pyuvnet.errors.Error) as caught:
        make(**options)
    assert caught.value.code == code


@cases(
    ("call", "code"),
    [
        (lambda: pyuvnet.loop.set_write_budget("1"), "ERR_INVALID_ARG_TYPE"),  # type: ignore[arg-type]
        (lambda: pyuvnet.loop.set_write_budget(-1), "ERR_OUT_OF_RANGE"),
        (lambda: pyuvnet.loop.set_max_threadsafe_calls(0), "ERR_OUT_OF_RANGE"),
        (lambda: pyuvnet.loop.set_max_threadsafe_calls("1"), "ERR_INVALID_ARG_TYPE"),  # type: ignore[arg-type]
    ],
)
def test_wrong_bounds_of_a_loop_raise_and_change_nothing(call: Any, code: str, loop: Any) -> None:
    pyuvnet.loop.set_write_budget(1000)
    with pytest.raises(pyuvnet.errors.Error) as caught:
        call()
    assert caught.value.code == code
    assert write_budget(loop) == (1000, 0)
    loop.call_soon_threadsafe(lambda: None)
    pyuvnet.run()


def test_a_socket_that_is_destroyed_while_it_joins_a_budget_is_no_member(
    loop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it has collected is sent first; the error of that is Python's, and anything may run."""
    from pyuvnet._base.errors import SystemCallError

    accepted: list[net.Socket] = []
    server = net.create_server(accepted.append, pause_on_connect=True).listen(0)
    peer = posix.create_connection(("127.0.0.1", server.address().port))
    while not accepted:
        loop.turn()
    (socket,) = accepted
    socket.on("error", lambda error: None)
    server.close()
    acted = []

    def begin() -> None:
        socket.write(b"x" * 1000)
        socket.write(b"y" * 1000)
        monkeypatch.setattr(SystemCallError, "__setattr__", acting, raising=False)
        pyuvnet.loop.set_write_budget(0)
        monkeypatch.undo()

    def acting(self: Any, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        if not acted:
            acted.append(socket.destroy())

    # A write after a reset fails at once.
    peer.setsockopt(posix.SOL_SOCKET, posix.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    peer.close()
    pyuvnet.set_immediate(begin)
    pyuvnet.run()
    assert acted
    assert write_budget(loop) == (0, 0)
    pyuvnet.loop.set_write_budget(None)


@pytest.mark.skipif(not hasattr(LIBC, "mallinfo2"), reason="asks the allocator of glibc")
def test_the_memory_of_a_budget_returns_after_the_worst_moment() -> None:
    class Info(ctypes.Structure):
        # The bytes of large blocks are the fifth, those of others that are in use the eighth.
        _fields_ = [(f"number{place}", ctypes.c_size_t) for place in range(10)]

    def in_use() -> int:
        found = LIBC.mallinfo2()
        return int(found.number4 + found.number7)

    def write() -> None:
        before.append(in_use())
        fill(idle.sockets[0])
        for _ in range(100_000):
            idle.sockets[0].write(own(40))
        before.append(in_use())
        idle.finish()

    LIBC.mallinfo2.restype = Info
    before: list[int] = []
    idle = Idle(1, write_budget=1 << 30)
    idle.run(write)
    idle.sockets.clear()
    # Its table alone has 6 MiB by then.
    assert before[1] - before[0] > 6 * MIB
    assert in_use() - before[0] < MIB
