"""Memory runs out at every allocation of every operation, one after another.

Each operation runs again and again: at the n-th time the n-th allocation from its beginning on
fails, alone or with all that follow, for each n up to as many as it needs. Those of Python fail by
_testcapi.set_nomemory(), those of libuv by the debug build's fail_allocations(). Afterwards:

* the process lives, and no descriptor, handle or request is left behind;
* the operation did what it is for, or MemoryError or ENOMEM came out of the call, of run(), or by
  'error'; nothing else did;
* what was accepted is not lost in silence, and a fresh connection is served.

    python -m tests.reliability.memory                  all of it; prints how many n each took
    python -m tests.reliability.memory read write       some operations
    python -m tests.reliability.memory --stride 7 ...   every seventh n
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import gc
import os
import socket as posix
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Generator
from typing import Any

import pyuvnet
from pyuvnet import framing, metrics, net, tls
from pyuvnet._aio.driver import drivers
from pyuvnet._core import info
from pyuvnet._core.connecting import Upgrade
from pyuvnet._core.handle import live_counts
from pyuvnet._core.watchers import fail_allocations
from pyuvnet.errors import StateError
from tests.support.certificates import certificates

try:
    import _testcapi
except ImportError:
    _testcapi = None

Step = Callable[[], object]
Operation = Callable[["Case"], Generator[Step, None, object]]

KINDS = ("python once", "python from there", "libuv once", "libuv from there")
LIMIT = 3000


class Case:
    """One time that an operation runs, with an echo server to run it against."""

    server: Any

    def __init__(self) -> None:
        self.said: list[Any] = []
        self.raised = False  # by the operation itself
        self.kept: list[Any] = []
        self.sockets: list[Any] = []
        self.peers: list[posix.socket] = []
        self.turn = pyuvnet.current_loop().turn
        pyuvnet.set_exception_handler(self.said.append)
        self.server = net.create_server(self.accepted)
        self.server.on("error", self.said.append)
        self.server.on("drop", self.said.append)
        self.server.listen(0, "127.0.0.1")
        self.turns()
        self.address = self.server.address()

    def accepted(self, socket: Any) -> None:
        self.sockets.append(socket)
        socket.on("error", self.said.append)
        socket.on("data", socket.write)

    def turns(self) -> None:
        """Turn the loop until all that is under way on the loopback has come to its end."""
        self.turn()
        self.turn()
        self.turn()
        self.turn()
        self.turn()
        self.turn()

    def wait(self, condition: Callable[[], object]) -> None:
        """Turn the loop until something is so, or it takes too long."""
        end = time.monotonic() + 2
        while not condition() and time.monotonic() < end:
            try:
                self.turn()
            except MemoryError as error:
                self.said.append(error)
            time.sleep(0.0002)

    def peer(self) -> posix.socket:
        """A socket of the system's that connects to the server; it is not accepted yet."""
        peer = posix.create_connection((self.address.address, self.address.port))
        peer.settimeout(2)
        self.peers.append(peer)
        return peer

    def served(self) -> posix.socket:
        """The peer of a socket that the server accepted, self.sockets[-1]."""
        peer = self.peer()
        self.turns()
        return peer

    def pair(self, **options: Any) -> tuple[Any, posix.socket]:
        """A socket with listeners for nothing but its errors, and its peer."""
        peer, there = posix.socketpair()
        peer.settimeout(2)
        self.peers.append(peer)
        socket = net.Socket(fd=there.detach(), **options)
        self.sockets.append(socket)
        socket.on("error", self.said.append)
        self.turns()
        return socket, peer

    def tell(self, error: BaseException | None = None) -> None:
        """The callback of what may fail."""
        if error is not None:
            self.said.append(error)

    def echo(self) -> None:
        """A fresh connection is served."""
        peer = self.peer()
        peer.send(b"hello")
        self.turns()
        assert peer.recv(10) == b"hello", "the server does not serve any more"

    def end(self) -> None:
        for peer in self.peers:
            peer.close()
        for socket in self.sockets:
            socket.destroy()
        if self.server.listening:
            self.server.close()
        pyuvnet.run()

    def received_until(self, peer: posix.socket, wanted: bytes) -> bool:
        """Whether a peer gets just that."""
        got = b""
        peer.setblocking(False)
        for _ in range(50):
            try:
                chunk = peer.recv(1 << 20)
            except BlockingIOError:
                self.turn()
                continue
            except ConnectionResetError:
                break
            got += chunk
            if not chunk or got == wanted:
                break
        return got == wanted

    def received(self, peer: posix.socket) -> bytes:
        """Everything a peer gets until the end, or until nothing comes."""
        got = b""
        peer.setblocking(False)
        for _ in range(200):
            try:
                chunk = peer.recv(1 << 20)
            except BlockingIOError:
                pyuvnet.current_loop().turn()
                continue
            except ConnectionResetError:
                break
            if not chunk:
                break
            got += chunk
        return got


# ---- Operations ----------------------------------------------------------------------------------
#
# Each makes its surroundings, yields what is to run without memory, and returns whether it did what
# it is for.


def connect(case: Case) -> Generator[Step, None, object]:
    """A connection to a literal address, and a write before it stands."""
    done: list[Any] = []

    def act() -> None:
        socket = net.Socket()
        case.sockets.append(socket)
        socket.on("error", case.said.append)
        socket.on("data", done.append)
        socket.connect(case.address.port, "127.0.0.1")
        socket.write(b"hi")
        case.turns()

    yield act
    case.wait(lambda: done or case.said)
    return done == [b"hi"]


def connect_by_name(case: Case) -> Generator[Step, None, object]:
    """A lookup, and a connection to what it answers."""
    done: list[Any] = []

    def act() -> None:
        socket = net.create_connection(case.address.port, "localhost", family=4)
        case.sockets.append(socket)
        socket.on("error", case.said.append)
        socket.on("connect", lambda: done.append(True))
        case.turns()

    yield act
    case.wait(lambda: done or case.said)
    return done


def connect_to_path(case: Case) -> Generator[Step, None, object]:
    """A server on a path, and a connection to it."""
    done: list[Any] = []
    server = net.create_server(lambda socket: (case.sockets.append(socket), done.append(socket)))
    server.on("error", case.said.append)
    server.on("drop", lambda _: case.said.append(MemoryError("drop")))

    def act() -> None:
        server.listen("path")
        case.turns()
        socket = net.create_connection(path="path")
        case.sockets.append(socket)
        socket.on("error", case.said.append)
        case.turns()

    yield act
    case.wait(lambda: done or case.said)
    if server.listening:
        server.close()
    return done


def accept(case: Case) -> Generator[Step, None, object]:
    """A connection is accepted, and its first bytes answered."""
    peer = case.peer()
    peer.send(b"hi")
    yield case.turns
    return case.received_until(peer, b"hi")


def accept_proxied(case: Case) -> Generator[Step, None, object]:
    """A connection is accepted, and its PROXY header read in two parts, with data behind it."""
    case.server.proxy_protocol = {"trusted": ["127.0.0.1"]}
    peer = case.peer()
    peer.send(b"PROXY TCP4 1.2.3.4 5.6.7.8 ")

    def act() -> None:
        case.turns()
        try:  # noqa: SIM105 - no object is to be made here
            peer.send(b"5 9\r\nhi")
        except OSError:
            pass  # It was dropped.
        case.turns()

    yield act
    got = case.received_until(peer, b"hi")
    case.server.proxy_protocol = None
    return got


def connect_proxied(case: Case) -> Generator[Step, None, object]:
    """A connection that begins with a PROXY header, on a socket with options of the kernel."""
    case.server.proxy_protocol = {"trusted": ["127.0.0.1"]}
    done: list[Any] = []
    # A client that fails before its header has left is dropped, which is no failure here.
    case.server.off("drop", case.said.append)
    case.server.on("drop", lambda info: info.reason == "proxy" or case.said.append(info))

    def act() -> None:
        options = {"proxy_protocol": {"version": 2, "checksum": True}, "send_buffer": 20_000}
        socket = net.connect(case.address.port, "127.0.0.1", **options)
        case.sockets.append(socket)
        socket.on("error", case.said.append)
        socket.on("data", done.append)
        socket.write(b"hi")
        case.turns()

    yield act
    case.wait(lambda: done or case.said)
    case.server.proxy_protocol = None
    return done == [b"hi"]


def accept_limited(case: Case) -> Generator[Step, None, object]:
    """A connection is accepted by a server with every bound and deadline."""
    done: list[Any] = []

    def accepted(socket: Any) -> None:
        case.accepted(socket)
        socket.on("data", done.append)

    limits = {"idle_timeout": 60_000, "write_timeout": 60_000, "min_read_rate": (1, 60_000)}
    server = net.create_server(
        accepted, max_per_address=5, write_budget=1 << 20, max_write_buffer=1 << 20,
        max_connections=5, overflow="wait", on_exhausted="wait", **limits,
    )  # fmt: skip
    server.on("error", case.said.append)
    server.on("drop", case.said.append)
    server.listen(0)
    peer = posix.create_connection(("127.0.0.1", server.address().port))
    peer.send(b"hi")
    case.peers.append(peer)
    yield case.turns
    case.wait(lambda: done or case.said)
    for socket in server.sockets:
        socket.destroy()
    server.close()
    case.turns()
    assert server._per_address == {}, "an address counts that has no connection"
    assert server._write_budget == (1 << 20, 0), "bytes count that nobody has queued"
    return done == [b"hi"]


def write_over_budget(case: Case) -> Generator[Step, None, object]:
    """A write exceeds what a socket, and a server, may queue."""
    codes: list[str] = []
    overloads: list[Any] = []
    sockets: list[Any] = []

    def accepted(socket: Any) -> None:
        sockets.append(socket)
        case.sockets.append(socket)
        socket.on("error", case.said.append)
        socket.on("error", lambda error: codes.append(getattr(error, "code", None)))

    server = net.create_server(accepted, write_budget=100_000, max_write_buffer=90_000_000)
    server.on("overload", overloads.append)
    server.listen(0)
    case.peers.append(posix.create_connection(("127.0.0.1", server.address().port)))
    case.wait(lambda: sockets)
    chunk = bytes(20_000_000)

    def act() -> None:
        for socket in sockets:
            socket.write(chunk)
        case.turns()

    yield act
    case.turns()
    destroyed = all(socket.destroyed for socket in sockets)
    for socket in sockets:
        socket.destroy()
    server.close()
    case.turns()
    assert server._write_budget == (100_000, 0), "bytes count that nobody has queued"
    # Without memory for the error the socket is destroyed nevertheless.
    return destroyed


def take_with_budget(case: Case) -> Generator[Step, None, object]:
    """A socket takes a descriptor, and another its connection, under the budget of the loop."""
    peer, there = posix.socketpair()
    case.peers.append(peer)
    fd = there.detach()
    pyuvnet.loop.set_write_budget(1 << 20)
    made: list[Any] = [None, net.Socket()]
    made[1].on("error", case.said.append)

    def act() -> None:
        # Into a place that is there: nobody else would destroy it.
        plain = made[0] = net.Socket(fd=fd)
        plain.on("error", case.said.append)
        upgraded = made[1]
        upgrade = Upgrade(upgraded, plain)
        upgrade.stop_reading()
        upgrade.finish(False)
        upgraded.write(b"hi")

    yield act
    well = case.received_until(peer, b"hi")
    for socket in made:
        if socket is not None:
            socket.destroy()
    case.turns()
    pyuvnet.loop.set_write_budget(None)
    if case.raised:
        # Where libuv did not get as far as the descriptor, it is still ours.
        with contextlib.suppress(OSError):
            os.close(fd)
    peer.setblocking(True)
    assert peer.recv(10) == b"", "the descriptor is open, and nobody has it"
    return well


def deadlines(case: Case) -> Generator[Step, None, object]:
    """Deadlines are set, set anew and taken back, and one is over."""
    done: list[Any] = []
    socket, _peer = case.pair()
    other = net.Socket()
    case.sockets.append(other)
    socket.on("close", lambda had_error: done.append(True))

    def act() -> None:
        other.set_deadline(60_000)
        socket.set_deadline(60_000)
        socket.set_deadline(1, ValueError("late"))
        other.set_deadline(None)
        case.turns()

    yield act
    if case.raised:
        socket.destroy()
    else:
        case.wait(lambda: done)
        # The program's own error, or none was to be made.
        case.said[:] = [said for said in case.said if not isinstance(said, ValueError)]
    return done


def shutdown(case: Case) -> Generator[Step, None, object]:
    """A server with a connection, and one in the kernel's queue, shuts down."""
    results: list[Any] = []
    accepted: list[Any] = []

    def connected(socket: Any) -> None:
        accepted.append(socket)
        case.sockets.append(socket)
        socket.on("error", case.said.append)
        socket.on("shutdown", socket.end)
        socket.resume()

    server = net.create_server(connected)
    server.on("error", case.said.append)
    server.on("drop", case.said.append)
    server.listen(0)
    place = ("127.0.0.1", server.address().port)
    first = posix.create_connection(place)
    case.wait(lambda: accepted)
    case.peers += [first, posix.create_connection(place)]

    def act() -> None:
        server.shutdown(100, idle_grace=0, callback=results.append)
        case.turns()

    yield act
    for peer in case.peers:
        peer.close()
    case.peers.clear()
    case.wait(lambda: results or case.raised)
    if not results:
        server.destroy_sockets()
        if server.listening:
            server.close()
        case.wait(lambda: not server._running)
    return results


def show_metrics(case: Case) -> Generator[Step, None, object]:
    """The text of metrics, and what a server and the loop have counted."""
    done: list[str] = []
    server = net.create_server(name="swept")
    case.served()

    def act() -> None:
        server.stats()
        case.server.stats()
        case.sockets[-1].info()
        pyuvnet.loop.stats()
        done.append(metrics.text())

    yield act
    return done and 'server="swept"' in done[0]


def name_slow(case: Case) -> Generator[Step, None, object]:
    """A slow callback is named and logged."""
    done: list[str] = []
    peer = case.served()
    case.sockets[-1].on("data", lambda data: done.append("data"))

    def act() -> None:
        pyuvnet.loop.on_slow(0, lambda name, ms: done.append(name))
        peer.send(b"x")
        case.turns()

    yield act
    pyuvnet.loop.on_slow(None)
    case.turns()
    return [each for each in done if each.endswith("()") or "() at " in each]


def listen(case: Case) -> Generator[Step, None, object]:
    """Another server, and its end."""
    done: list[Any] = []
    server = net.create_server()
    server.on("error", case.said.append)
    server.on("listening", lambda: done.append(True))

    def act() -> None:
        server.listen(0, "127.0.0.1")
        case.turns()

    yield act
    case.turns()
    if server.listening:
        server.close()
    return done


def close(case: Case) -> Generator[Step, None, object]:
    """A server with a connection closes."""
    done: list[Any] = []
    peer = case.served()
    server = case.server
    server.on("close", lambda: done.append(True))

    def act() -> None:
        server.close(case.tell)
        case.turns()

    yield act
    peer.close()
    case.peers.remove(peer)
    for socket in case.sockets:
        socket.destroy()
    case.turns()
    if server.listening:
        server.close()
        case.turns()
    return done


def read(case: Case) -> Generator[Step, None, object]:
    """Bytes and the end, by 'data'."""
    socket, peer = case.pair()
    got: list[bytes] = []
    socket.on("data", got.append)
    case.turns()
    peer.send(b"x" * 5000)
    peer.shutdown(posix.SHUT_WR)
    yield case.turns
    return sum(map(len, got)) == 5000


def read_text(case: Case) -> Generator[Step, None, object]:
    """Text, of which a character comes in two parts."""
    socket, peer = case.pair()
    got: list[str] = []
    socket.set_encoding("utf8")
    socket.on("data", got.append)
    case.turns()
    peer.send(b"x\xc3")

    def act() -> None:
        case.turn()
        peer.send(b"\xa4y")
        case.turns()

    yield act
    return "".join(got) == "xäy"


def read_paused(case: Case) -> Generator[Step, None, object]:
    """Many small chunks that are buffered, joined and read."""
    socket, peer = case.pair()
    socket.pause()
    for number in range(80):
        peer.send(b"%02d" % number)
        case.turn()
    got: list[bytes] = []

    def act() -> None:
        peer.send(b"80")
        case.turn()
        while (chunk := socket.read(50)) is not None:
            got.append(chunk)

    yield act
    if not case.said:
        got.append(socket.read() or b"")
    return b"".join(got) == b"".join(b"%02d" % number for number in range(81))


def read_by_readable(case: Case) -> Generator[Step, None, object]:
    """Bytes and the end, by 'readable' and read()."""
    socket, peer = case.pair()
    got: list[bytes] = []

    def readable() -> None:
        while (chunk := socket.read()) is not None:
            got.append(chunk)

    socket.on("readable", readable)
    case.turns()
    peer.send(b"x" * 5000)
    peer.shutdown(posix.SHUT_WR)
    yield case.turns
    return sum(map(len, got)) == 5000


def read_into_target(case: Case) -> Generator[Step, None, object]:
    """Bytes in a buffer of the program's."""
    got: list[int] = []
    buffer = bytearray(6000)
    socket, peer = case.pair(onread={"buffer": buffer, "callback": lambda n, _: got.append(n)})
    socket.resume()
    case.turns()
    peer.send(b"x" * 5000)
    yield case.turns
    return sum(got) == 5000


def write(case: Case) -> Generator[Step, None, object]:
    """A write at once and its callback."""
    socket, peer = case.pair()

    def act() -> None:
        socket.write(b"x" * 5000, case.tell)
        case.turns()

    yield act
    return case.received_until(peer, b"x" * 5000)


def write_in_callback(case: Case) -> Generator[Step, None, object]:
    """Many writes that are collected and leave together."""
    socket, peer = case.pair()

    def data(_: bytes) -> None:
        for number in range(20):
            socket.write(b"%02d" % number)

    socket.on("data", data)
    case.turns()
    peer.send(b"go")
    yield case.turns
    return case.received_until(peer, b"".join(b"%02d" % number for number in range(20)))


def write_much(case: Case) -> Generator[Step, None, object]:
    """More than the kernel takes: requests, a queue, 'drain'."""
    socket, peer = case.pair()
    drained: list[Any] = []
    socket.on("drain", lambda: drained.append(True))

    def act() -> None:
        for _ in (1, 2, 3):
            socket.write(b"x" * 400_000, case.tell)
        case.turns()

    yield act
    got = len(case.received(peer))
    case.turns()
    return got == 1_200_000 and drained


def write_corked(case: Case) -> Generator[Step, None, object]:
    """A vector longer than what libuv has room for in a request, of which a part is left."""
    socket, peer = case.pair()

    def act() -> None:
        socket.cork()
        for _ in (1, 2, 3, 4, 5, 6, 7, 8):
            socket.write(b"x" * 150_000, case.tell)
        socket.uncork()
        case.turns()

    yield act
    return len(case.received(peer)) == 1_200_000


def end(case: Case) -> Generator[Step, None, object]:
    """end() with a last chunk, and its callback."""
    done: list[Any] = []
    socket, peer = case.pair()

    def ended(error: Exception | None = None) -> None:
        case.tell(error)
        done.append(True)

    def act() -> None:
        # Nothing that makes a function, which CPython 3.12.1 and 3.13.0 crash in without memory.
        socket.end(b"bye", ended)
        case.turns()

    yield act
    case.turns()
    return case.received(peer) == b"bye" and done


def end_of_peer(case: Case) -> Generator[Step, None, object]:
    """The peer ends, and the socket ends by itself."""
    socket, peer = case.pair()
    done: list[Any] = []
    socket.on("close", lambda had_error: done.append(had_error))
    socket.resume()
    case.turns()
    peer.shutdown(posix.SHUT_WR)
    yield case.turns
    case.turns()
    return done


def destroy(case: Case) -> Generator[Step, None, object]:
    """destroy() with an error, while writes wait."""
    socket, _ = case.pair()
    done: list[Any] = []
    socket.on("close", lambda had_error: done.append(had_error))
    socket.write(b"x" * 1_000_000, case.tell)
    socket.write(b"y", case.tell)

    def act() -> None:
        socket.destroy(OSError("gone"))
        case.turns()

    yield act
    case.said[:] = [error for error in case.said if str(error) != "gone"]
    assert socket.destroyed or case.said
    return done


def reset(case: Case) -> Generator[Step, None, object]:
    """reset_and_destroy() of an accepted connection."""
    peer = case.served()
    socket = case.sockets[-1]

    def act() -> None:
        socket.reset_and_destroy()
        case.turns()

    yield act
    return case.received(peer) == b"" and socket.destroyed


def pipe(case: Case) -> Generator[Step, None, object]:
    """pipe() between two sockets, set up, used, and over."""
    source, peer = case.pair()
    dest, far = case.pair()

    def act() -> None:
        source.pipe(dest)
        peer.send(b"x" * 5000)
        case.turns()
        peer.shutdown(posix.SHUT_WR)
        case.turns()

    yield act
    case.turns()
    peer.close()
    return len(case.received(far)) == 5000


def pipe_through(case: Case) -> Generator[Step, None, object]:
    """pipe() to a stream of the program's."""
    source, peer = case.pair()
    got: list[bytes] = []

    class Sink(pyuvnet.Writable):
        def _write(self, chunk: Any, encoding: Any, callback: Any) -> None:
            got.append(bytes(chunk))
            callback()

    sink = Sink()
    sink.on("error", case.said.append)
    source.pipe(sink)
    case.turns()
    peer.send(b"x" * 5000)
    peer.shutdown(posix.SHUT_WR)
    yield case.turns
    return sum(map(len, got)) == 5000


def timers(case: Case) -> Generator[Step, None, object]:
    """Timers, an interval, immediates, ticks, and clearing them."""
    done: list[int] = []

    def act() -> None:
        made = []
        try:
            for number in (1, 2, 3, 4, 5, 6, 7, 8, 9):
                made.append(pyuvnet.set_timeout(done.append, 0, number))
            made.append(pyuvnet.set_interval(done.append, 1, 0))
            pyuvnet.next_tick(done.append, 10)
            pyuvnet.set_immediate(done.append, 11)
            case.turns()
            made[-1].close()
        finally:
            case.kept = made

    yield act
    time.sleep(0.003)
    case.turns()
    for timer in case.kept:
        timer.close()
    return {*range(1, 12)} <= set(done)


def idle_timeout(case: Case) -> Generator[Step, None, object]:
    """set_timeout() of a socket, and 'timeout'."""
    socket, _ = case.pair()
    done: list[Any] = []

    def act() -> None:
        socket.set_timeout(1, lambda: done.append(True))
        case.turns()

    yield act
    time.sleep(0.003)
    case.turns()
    return done


def listeners(case: Case) -> Generator[Step, None, object]:
    """Adding, calling and removing listeners."""
    socket, _ = case.pair()
    done: list[int] = []

    def act() -> None:
        for event in ("a", "b", "c", "d", "e", "f"):
            socket.on(event, done.append)
            socket.once(event, done.append)
            socket.emit(event, 1)
            socket.off(event, done.append)

    yield act
    return len(done) == 12


def loop(case: Case) -> Generator[Step, None, object]:
    """A thread's loop is made and closed."""
    before = len(os.listdir("/proc/self/fd"))
    made: list[Any] = []

    def act() -> None:
        made.append(pyuvnet.Loop())

    yield act
    for one in made:
        one.close()
    made.clear()
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before, "a loop that failed left descriptors"
    return True


def threadsafe(case: Case) -> Generator[Step, None, object]:
    """call_soon_threadsafe()."""
    done: list[int] = []

    def act() -> None:
        pyuvnet.current_loop().call_soon_threadsafe(done.append, 1)
        case.turns()

    yield act
    case.turns()
    return done == [1]


def attach(case: Case) -> Generator[Step, None, object]:
    """attach() to a running asyncio loop, a connection there, detach()."""
    import asyncio

    done: list[bytes] = []
    theirs = asyncio.new_event_loop()
    theirs.set_exception_handler(lambda _, context: case.said.append(context.get("exception")))

    def act() -> None:
        asyncio._set_running_loop(theirs)
        try:
            with pyuvnet.attach():
                done.append(b"attached")
        finally:
            asyncio._set_running_loop(None)

    yield act
    asyncio._set_running_loop(theirs)
    try:
        pyuvnet.detach()
    finally:
        asyncio._set_running_loop(None)
        theirs.close()
    # One of CPython's C functions forgets to set its MemoryError.
    case.said[:] = [said for said in case.said if not isinstance(said, SystemError)]
    return done or case.raised


def attach_by_itself(case: Case) -> Generator[Step, None, object]:
    """The first timer in a running asyncio loop, which attaches."""
    import asyncio

    done: list[object] = []
    theirs = asyncio.new_event_loop()
    theirs.set_exception_handler(lambda _, context: case.said.append(context.get("exception")))

    def act() -> None:
        asyncio._set_running_loop(theirs)
        try:
            pyuvnet.set_timeout(case.tell, 1000).close()
            done.append(pyuvnet.current_loop() in drivers)
        finally:
            asyncio._set_running_loop(None)

    yield act
    if case.raised:
        # What failed can be done again.
        act()
    asyncio._set_running_loop(theirs)
    try:
        pyuvnet.detach()
    finally:
        asyncio._set_running_loop(None)
        theirs.close()
    # One of CPython's C functions forgets to set its MemoryError.
    case.said[:] = [said for said in case.said if not isinstance(said, SystemError)]
    return all(done)


def iterate(case: Case) -> Generator[Step, None, object]:
    """`async for` over a socket, by the steps of its coroutine."""
    socket, peer = case.pair()
    got: list[bytes] = []
    peer.send(b"x" * 5000)

    async def reader() -> None:
        async for chunk in socket:
            got.append(chunk)

    coroutine = reader()
    case.turns()

    def act() -> None:
        coroutine.send(None)

    yield act
    try:
        coroutine.close()
    except MemoryError as error:
        case.said.append(error)
    # What was left early says so, since somebody listens for 'error'.
    case.said[:] = [said for said in case.said if getattr(said, "code", "") != "ABORT_ERR"]
    return sum(map(len, got)) == 5000


def read_frames(case: Case) -> Generator[Step, None, object]:
    """Lines over two chunks, and a frame with its length behind them."""
    socket, peer = case.pair(framing=framing.Lines())
    got: list[bytes] = []

    def data(frame: bytes) -> None:
        got.append(frame)
        if frame == b"last":
            socket.set_framing(framing.LengthPrefix(1))

    socket.on("data", data)
    case.turns()
    peer.send(b"one\ntw")

    def act() -> None:
        case.turn()
        peer.send(b"o\nlast\n\x03abc\x01")
        case.turns()
        peer.send(b"d")
        case.turns()

    yield act
    return got == [b"one", b"two", b"last", b"abc", b"d"]


def write_frames(case: Case) -> Generator[Step, None, object]:
    """Frames that leave at once and, in a callback, together."""
    socket, peer = case.pair(framing=framing.LengthPrefix(2))

    def data(frame: bytes) -> None:
        for _ in range(5):
            socket.write_frame(frame, case.tell)

    socket.on("data", data)
    case.turns()

    def act() -> None:
        socket.write_frame(b"first", case.tell)
        peer.send(b"\0\2ab")
        case.turns()

    yield act
    return case.received_until(peer, b"\0\5first" + b"\0\2ab" * 5)


def readers(case: Case) -> Generator[Step, None, object]:
    """read_line(), read_exactly() and read_until() in a task's steps; the last one has to wait."""
    import asyncio

    socket, peer = case.pair()
    got: list[bytes] = []
    theirs = asyncio.new_event_loop()
    theirs.set_exception_handler(lambda _, context: case.said.append(context.get("exception")))

    async def reader() -> None:
        got.append(await socket.read_line())
        got.append(await socket.read_exactly(4))
        got.append(await socket.read_until(b";"))

    coroutine = reader()
    asyncio._set_running_loop(theirs)
    pyuvnet.attach()
    case.turns()
    peer.send(b"line\nfourla")
    case.turn()

    def act() -> None:
        try:
            coroutine.send(None)
            peer.send(b"st;")
            case.turns()
            coroutine.send(None)
        except StopIteration:
            pass

    yield act
    try:
        coroutine.close()
    except MemoryError as error:
        case.said.append(error)
    try:
        pyuvnet.detach()
    finally:
        asyncio._set_running_loop(None)
        theirs.close()
    return got == [b"line", b"four", b"last;"]


class Secure:
    """A server with TLS, and options with which a client trusts it."""

    def __init__(self, case: Case, **options: Any) -> None:
        folder = certificates()
        self.case = case
        self.accepted: list[Any] = []
        self.got: list[bytes] = []
        keys = {"key": folder / "server.key", "cert": folder / "server.pem"}
        self.server: Any = tls.create_server(self.secure, **keys, **options)
        self.server.on("tlsClientError", lambda error, socket: case.said.append(error))
        self.server.on("drop", case.said.append)
        self.server.listen(0, "127.0.0.1")
        case.turns()
        self.context = tls.create_secure_context(ca=folder / "ca.pem")

    def secure(self, socket: Any) -> None:
        self.accepted.append(socket)
        self.case.sockets.append(socket)
        socket.on("error", self.case.said.append)
        socket.on("data", socket.write)

    def connect(self, **options: Any) -> Any:
        if "socket" not in options:
            options["port"] = self.server.address().port
        socket = tls.connect(
            host="127.0.0.1", servername="localhost", secure_context=self.context, **options
        )
        self.case.sockets.append(socket)
        socket.on("error", self.case.said.append)
        socket.on("data", self.got.append)
        return socket

    def pair(self) -> tuple[Any, Any]:
        """A client, and the server's socket."""
        client = self.connect()
        self.case.wait(lambda: self.accepted and not client.secure_connecting)
        self.case.turns()
        return client, self.accepted[0]

    def end(self) -> None:
        self.server.close()
        for socket in list(self.server.sockets):
            socket.destroy()


def tls_handshake(case: Case) -> Generator[Step, None, object]:
    """Both sides of a connection with TLS, and a write before it stands."""
    secure = Secure(case)
    # Contexts read their files when they are used first.
    secure.pair()

    def act() -> None:
        secure.connect().write(b"hi")
        case.turns()
        case.turns()

    yield act
    case.wait(lambda: secure.got or case.said)
    secure.end()
    return secure.got == [b"hi"]


def tls_read_and_write(case: Case) -> Generator[Step, None, object]:
    """Records of both sides, small ones and large ones, joined ones and a queue."""
    secure = Secure(case)
    client, _ = secure.pair()
    size = 15 + 200_000 + 2_000_000

    def act() -> None:
        client.write(b"small", case.tell)
        client.cork()
        client.write(b"x" * 200_000, case.tell)
        client.write(b"more than")
        client.uncork()
        client.write(b"y" * 2_000_000, case.tell)
        client.write(b"z")
        case.turns()

    yield act
    case.wait(lambda: sum(map(len, secure.got)) == size or case.said)
    secure.end()
    return (
        b"".join(secure.got) == b"small" + b"x" * 200_000 + b"more than" + b"y" * 2_000_000 + b"z"
    )


def tls_end(case: Case) -> Generator[Step, None, object]:
    """The end of both sides, with something written before."""
    secure = Secure(case)
    client, accepted = secure.pair()
    ends: list[Any] = []
    for socket in (client, accepted):
        socket.on("end", lambda: ends.append(True))

    def act() -> None:
        client.end(b"last", callback=case.tell)
        case.turns()

    yield act
    case.wait(lambda: len(ends) == 2 or case.said)
    secure.end()
    return len(ends) == 2


def tls_destroy(case: Case) -> Generator[Step, None, object]:
    """A connection with writes under way is destroyed, and so is one in the handshake."""
    secure = Secure(case)
    client, _ = secure.pair()
    closes: list[Any] = []
    client.pause()

    def act() -> None:
        other = secure.connect()
        for socket in (client, other):
            socket.on("close", closes.append)
        client.write(b"x" * 9_000_000, lambda error: None)
        case.turn()
        client.destroy()
        other.destroy()
        case.turns()

    yield act
    for socket in case.sockets:
        socket.destroy()
    case.wait(lambda: len(closes) == 2)
    case.wait(lambda: all(socket.closed for socket in secure.accepted))
    secure.end()
    # The server's sockets say that they were cut, and those that failed that there was no memory.
    return len(closes) == 2 or case.raised


def tls_upgrade(case: Case) -> Generator[Step, None, object]:
    """STARTTLS of both sides, and a write before it."""
    folder = certificates()
    secure = Secure(case)
    context = tls.create_secure_context(key=folder / "server.key", cert=folder / "server.pem")

    def accepted(plain: Any) -> None:
        case.sockets.append(plain)
        plain.on("error", case.said.append)
        upgraded = tls.TLSSocket(plain, is_server=True, secure_context=context)
        case.sockets.append(upgraded)
        upgraded.on("error", case.said.append)
        upgraded.on("data", upgraded.write)

    server = net.create_server(accepted).listen(0, "127.0.0.1")
    server.on("drop", case.said.append)
    case.turns()
    port = server.address().port

    def act() -> None:
        plain = net.connect(port, "127.0.0.1")
        case.sockets.append(plain)
        plain.on("error", case.said.append)
        secure.connect(socket=plain).write(b"hi")
        case.turns()
        case.turns()

    # Contexts read their files when they are used first.
    act()
    case.wait(lambda: secure.got)
    yield act
    case.wait(lambda: len(secure.got) == 2 or case.said)
    secure.end()
    server.close()
    for one in list(server.sockets):
        one.destroy()
    return secure.got == [b"hi", b"hi"]


OPERATIONS: dict[str, Operation] = {
    function.__name__: function
    for function in (
        *(connect, connect_by_name, connect_to_path, accept, listen, close, read, read_text),
        *(read_paused, read_by_readable, read_into_target, write, write_in_callback, write_much),
        *(write_corked, end, end_of_peer, destroy, reset, pipe, pipe_through, timers),
        *(idle_timeout, listeners, loop, threadsafe, attach, attach_by_itself, iterate),
        *(read_frames, write_frames, readers, accept_proxied, connect_proxied, accept_limited),
        *(write_over_budget, take_with_budget, deadlines, shutdown, show_metrics, name_slow),
        *(tls_handshake, tls_read_and_write, tls_end, tls_destroy, tls_upgrade),
    )
}


# ---- The sweep -----------------------------------------------------------------------------------


def _arm(kind: str, nth: int) -> None:
    # Not without an end: CPython 3.11 loops where it cannot make a number to unwind with.
    stop = nth + 1000 if kind.endswith("from there") else nth + 1
    if kind.startswith("python"):
        _testcapi.set_nomemory(nth, stop)
    else:
        fail_allocations(nth, stop)


def _judge(case: Case, well: object) -> str | None:
    """What is wrong with how an operation went, or None."""
    for socket in case.sockets:
        # Where connect() raised, the program knows.
        if socket.connecting and not case.raised:
            return f"still connecting, after {case.said!r}"
    if well:
        return None
    if not case.said:
        return "came to nothing, and nobody was told"
    plain = False
    for said in case.said:
        code = getattr(said, "code", None) or getattr(said, "reason", None)
        if said is None or isinstance(said, MemoryError) or code in ("ENOMEM", "EAI_MEMORY"):
            plain = True
        elif not isinstance(said, (OSError, StateError)):
            return f"not what follows from a lack of memory: {said!r}"
    return None if plain else f"nobody was told that it was memory: {case.said!r}"


def once(name: str, kind: str | None, nth: int) -> tuple[int, str | None]:
    """Run an operation one time; returns what it allocated, and what is wrong, or None.

    Args:
        kind: one of KINDS; '': nothing fails; None: nor then, and Python's allocations are counted.
    """
    case = Case()
    steps = OPERATIONS[name](case)
    act = next(steps)
    well, failed = None, None
    left = iter((None,) * LIMIT)
    if kind is None:
        _testcapi.set_nomemory(LIMIT, 0)
    elif kind:
        _arm(kind, nth)
    # What follows, up to the end of the hook, may not need memory of its own.
    try:
        act()
    except BaseException as error:
        failed = error
    if kind is None:
        try:
            for _ in left:
                bytes(100)
        except MemoryError:
            pass
    _testcapi.remove_mem_hooks()
    count = left.__length_hint__() if kind is None else fail_allocations(-1)
    if failed is not None:
        failed.__traceback__ = None
        case.said.append(failed)
        case.raised = True
    failed = None
    wrong = None
    try:
        case.turns()
        try:
            next(steps)
        except StopIteration as stop:
            well = stop.value
        wrong = _judge(case, well)
        if case.server.listening:
            case.echo()
        elif name != "close":
            wrong = wrong or "the server does not listen any more"
    except Exception as error:
        wrong = wrong or "".join(traceback.format_exception(error))
    case.end()
    return count, wrong


def sweep(name: str, kind: str, stride: int) -> tuple[int, list[str]]:
    """Run an operation with each n; returns how many there were, and what was wrong."""
    found: list[str] = []
    os.chdir(tempfile.mkdtemp())
    python = kind.startswith("python")
    if not python:
        fail_allocations(-1)
    counts = []
    # The first ones import and fill caches.
    for quiet in ("", "", "", None, None):
        count, wrong = once(name, quiet, 0)
        assert wrong is None, wrong
        counts.append(count)
    # What libuv allocates shows when nothing of it fails.
    last = max(counts[3:]) + 3 if python else once(name, kind, LIMIT)[0] + 1
    assert last < LIMIT
    gc.collect()
    before = (len(os.listdir("/proc/self/fd")), live_counts())
    tried = range(0, last, stride)
    for nth in tried:
        print(f"# {name}, {kind}, {nth}", file=sys.stderr, flush=True)
        faulthandler.dump_traceback_later(30, exit=True)
        _, wrong = once(name, kind, nth)
        gc.collect()
        after = (len(os.listdir("/proc/self/fd")), live_counts())
        if wrong is None and after != before:
            wrong = f"left behind: {before} became {after}"
        if wrong is not None:
            found.append(f"{name}, {kind}, n = {nth}: {wrong}")
            before = after
        faulthandler.cancel_dump_traceback_later()
    return len(tried), found


def child(name: str, kind: str, stride: int) -> None:
    count, found = sweep(name, kind, stride)
    print(count)
    for line in found:
        print(line)


def run(name: str, kind: str, stride: int, timeout: float = 900) -> tuple[int, list[str]]:
    """As sweep(), in a process of its own, whose death is one of the things that may be wrong."""
    command = [sys.executable, "-X", "faulthandler", "-m", __spec__.name, "--child"]
    command += [name, kind, "--stride", str(stride)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    if done.returncode:
        last = done.stderr.rsplit("\n# ", 1)[-1]
        return 0, [f"ended with {done.returncode}: {last}"]
    count, *found = done.stdout.splitlines()
    return int(count), ["\n".join(found)] if found else []


def kinds() -> list[str]:
    """The kinds of failures that this build and this Python can make."""
    return [kind for kind in KINDS if _testcapi and (info.is_debug() or kind.startswith("python"))]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("operations", nargs="*", default=list(OPERATIONS))
    parser.add_argument("--stride", type=int, default=1)
    parser.add_argument("--kind", choices=KINDS, action="append")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given.operations[0], given.operations[1], given.stride)
        return 0
    bad = total = 0
    for name in given.operations:
        counts = []
        for kind in given.kind or kinds():
            count, found = run(name, kind, given.stride)
            counts.append(f"{kind} {count}")
            total += count
            bad += len(found)
            for text in found:
                print(text)
        print(f"{name}: {', '.join(counts)}", flush=True)
    print(f"{total} times without memory, {bad} sweeps with findings")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
