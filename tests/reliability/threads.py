"""Loops in several threads, and everything that threads share, at full load for minutes.

    python -m tests.reliability.threads --minutes 10 [--threads 4] [--seed 1]

Meant for a Python without the GIL, where the threads run at the same time. Each thread has a loop,
an echo server, and clients of all the servers. Servers transfer some of the sockets that they
accept to other threads, and servers are transferred as well. Meanwhile all threads change the one
BlockList that all servers use, subscribe to diagnostics, and call each other with
call_soon_threadsafe(). After some seconds a thread ends, with everything that is open in it, and
another one begins.

Every byte is compared, every call is counted, and at the end nothing may be left: no handle, no
descriptor, no thread. Exits with 1 if anything was wrong. Linux.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import gc
import os
import random
import sys
import threading
import time
from typing import Any

import pyuvnet
from pyuvnet import Socket, StateError, diagnostics, net
from pyuvnet._core.handle import live_counts
from pyuvnet.net import BlockList

HOST = "127.0.0.1"
BLOCKED = "127.0.0.66"  # as a client's address; all others are welcome
PATTERN = random.Random(7).randbytes(300_007)
CLIENTS = 8  # of each thread, at a time
LIFE = 3.0  # s, the mean of a thread's
# What a client sees of a server whose thread has ended.
KNOWN = {"ECONNRESET", "ECONNREFUSED", "EPIPE", "ECONNABORTED", "ENOTCONN"}


class Stress:
    """What the threads share."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.block_list = BlockList()
        self.block_list.add_address(BLOCKED)
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        self.neighbours: list[Neighbour] = []
        self.counts: collections.Counter[str] = collections.Counter()
        self.wrong: list[str] = []

    def others(self) -> list[Neighbour]:
        with self.lock:
            return list(self.neighbours)

    def add(self, counts: collections.Counter[str]) -> None:
        with self.lock:
            self.counts.update(counts)

    def fail(self, what: str) -> None:
        with self.lock:
            self.wrong.append(what)


class Neighbour:
    """One thread with its loop, for a while."""

    def __init__(self, stress: Stress, number: int) -> None:
        self.stress = stress
        self.chance = random.Random(f"{stress.seed} {number}")
        self.counts: collections.Counter[str] = collections.Counter()
        self.port = 0
        self.loop: Any = None
        self.clients: set[Socket] = set()
        self.ending = False
        self.thread = threading.Thread(target=self.work, name=f"neighbour {number}")
        self.thread.start()

    def work(self) -> None:
        try:
            self.loop = pyuvnet.current_loop()
            self.server = net.create_server(self.accepted, block_list=self.stress.block_list)
            self.server.on("error", self.unexpected)
            self.server.listen(0, "0.0.0.0", self.begin)
            self.timer = pyuvnet.set_interval(self.meddle, 1)
            pyuvnet.set_timeout(self.end, self.chance.uniform(0.2, 2) * LIFE * 1000)
            pyuvnet.run()
        except BaseException as error:
            self.unexpected(error)
        finally:
            with self.stress.lock, contextlib.suppress(ValueError):
                self.stress.neighbours.remove(self)
            self.stress.add(self.counts)

    def unexpected(self, error: BaseException) -> None:
        import traceback

        self.stress.fail("".join(traceback.format_exception(error)))

    # ---- Its server ------------------------------------------------------------------------------

    def begin(self) -> None:
        self.port = self.server.address().port
        with self.stress.lock:
            self.stress.neighbours.append(self)
        for _ in range(CLIENTS):
            self.connect()

    def accepted(self, socket: Socket) -> None:
        socket.on("error", lambda error: self.known(error))
        if socket.remote_address == BLOCKED:
            self.stress.fail(f"{BLOCKED} was accepted")
        others = self.stress.others()
        if others and self.chance.random() < 0.3:
            other = self.chance.choice(others)
            if other is not self:
                try:
                    socket.transfer(other.loop, other.arrived)
                except StateError:
                    # That loop has been closed.
                    socket.destroy()
                return
        echo(socket)

    def arrived(self, socket: Socket) -> None:
        """Run in this thread, which another one's server has given a socket."""
        self.counts["sockets moved"] += 1
        if threading.current_thread() is not self.thread:
            self.stress.fail("a socket has arrived in another thread")
        echo(socket)

    def known(self, error: Any) -> None:
        if getattr(error, "code", None) not in KNOWN:
            self.unexpected(error)

    # ---- Its clients -----------------------------------------------------------------------------

    def connect(self) -> None:
        others = self.stress.others()
        if self.ending or not others:
            return
        other = self.chance.choice(others)
        blocked = self.chance.random() < 0.1
        size = int(self.chance.paretovariate(0.4)) % len(PATTERN) + 1
        local = BLOCKED if blocked else f"127.0.0.{self.chance.randrange(1, 60)}"
        socket = net.connect(port=other.port, host=HOST, local_address=local)
        self.clients.add(socket)
        received = bytearray()
        errors: list[Any] = []
        socket.on("data", received.extend)
        socket.on("error", lambda error: (errors.append(error), self.known(error)))

        def closed(had_error: bool) -> None:
            self.clients.discard(socket)
            if received != memoryview(PATTERN)[: len(received)]:
                self.stress.fail(f"{local} received other bytes than it sent")
            if blocked:
                if received:
                    self.stress.fail(f"{BLOCKED} was served")
                self.counts["blocked"] += 1
            elif len(received) == size:
                self.counts["echoes"] += 1
            else:
                # Its server's thread has ended, or the one that its socket was to move to.
                self.counts["cut off"] += 1
            self.connect()

        socket.on("close", closed)
        socket.end(memoryview(PATTERN)[:size])

    # ---- What is shared --------------------------------------------------------------------------

    def meddle(self) -> None:
        """Change and read what other threads use at the same time."""
        chance = self.chance
        rules = self.stress.block_list
        net_ = f"10.{chance.randrange(40)}.0.0"
        action = chance.randrange(8)
        if action == 0:
            rules.add_subnet(net_, 16)
        elif action == 1:
            rules.remove_subnet(net_, 16)
        elif action == 2:
            rules.add_cidrs([f"{net_}/17", f"{net_}/18", "2001:db8::/32"])
        elif action == 3:
            # Others may see it without these rules, but never without the first.
            rules.from_json([f"Address: IPv4 {BLOCKED}", f"Subnet: IPv4 {net_}/24"])
        elif action == 4:
            diagnostics.subscribe("net.client.socket", self.seen)
            diagnostics.unsubscribe("net.client.socket", self.seen)
        elif action == 5:
            self.move_a_server()
        elif action == 6:
            pyuvnet.set_default_high_water_mark(False, chance.choice([16384, 65536]))
        else:
            for other in self.stress.others():
                with contextlib.suppress(StateError):
                    other.loop.call_soon_threadsafe(other.called)
                    self.counts["calls"] += 1
        if not rules.check(BLOCKED) or rules.check(HOST):
            self.stress.fail("a block list was read half way")
        self.counts["changes"] += 1

    def seen(self, message: Any, name: str) -> None:
        """Called by whichever thread connects."""

    def called(self) -> None:
        self.counts["called"] += 1

    def move_a_server(self) -> None:
        others = self.stress.others()
        other = self.chance.choice(others) if others else self
        if other is self:
            return

        def arrived(server: Any) -> None:
            other.counts["servers moved"] += 1
            server.close()

        def listening() -> None:
            try:
                server.transfer(other.loop, arrived)
            except StateError:
                server.close()

        server = net.create_server(echo)
        server.on("error", lambda error: None)  # The other loop has been closed.
        server.listen(0, HOST, listening)

    def end(self) -> None:
        """End the thread, some of them with everything open."""
        self.ending = True
        with self.stress.lock, contextlib.suppress(ValueError):
            self.stress.neighbours.remove(self)
        self.timer.close()
        if self.chance.random() < 0.5:
            pyuvnet.stop()
            return
        self.server.close()
        self.server.destroy_sockets()
        for socket in list(self.clients):
            socket.destroy()
        # Sockets of other servers that were moved here end with their peers; do not wait for them.
        pyuvnet.set_timeout(pyuvnet.stop, 200).unref()


def echo(socket: Socket) -> None:
    socket.pipe(socket)


def run(seconds: float, threads: int, seed: int) -> Stress:
    """Keep so many threads alive for so long; return what came of it."""
    stress = Stress(seed)
    mark = pyuvnet.get_default_high_water_mark(False)
    deadline = time.monotonic() + seconds
    alive: list[Neighbour] = []
    number = 0
    while time.monotonic() < deadline and not stress.wrong:
        alive = [each for each in alive if each.thread.is_alive()]
        while len(alive) < threads:
            alive.append(Neighbour(stress, number))
            number += 1
        alive[0].thread.join(0.05)
    for each in alive:
        with contextlib.suppress(StateError):
            each.loop.call_soon_threadsafe(each.end)
    for each in alive:
        each.thread.join(30)
        if each.thread.is_alive():
            stress.fail(f"{each.thread.name} did not end")
    pyuvnet.set_default_high_water_mark(False, mark)
    stress.counts["threads"] = number
    return stress


def descriptors() -> dict[int, str]:
    """What each descriptor of this process is."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--seed", type=int, default=random.randrange(1000))
    options = parser.parse_args()
    switch = getattr(sys, "_is_gil_enabled", lambda: True)
    print(f"seed {options.seed}, {'with' if switch() else 'without'} the GIL", flush=True)
    pyuvnet.current_loop()  # The first loop of a process opens a pipe for signals, which stays.
    before = descriptors()
    stress = run(options.minutes * 60, options.threads, options.seed)
    print(", ".join(f"{count:,} {what}" for what, count in sorted(stress.counts.items())))
    gc.collect()
    left = descriptors().items() - before.items()
    if left:
        stress.fail(f"descriptors are left: {dict(left)}")
    if any(live_counts()):
        stress.fail(f"handles and requests are left: {live_counts()}")
    for what in stress.wrong[:5]:
        print(what, file=sys.stderr)
    return bool(stress.wrong)


if __name__ == "__main__":
    sys.exit(main())
