"""Workers and primaries that are killed at many points: who is served, and what is left behind."""

from __future__ import annotations

import os
import random
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.clusters import Program, free_port, program

__all__ = ["program"]

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc"),
    pytest.mark.timeout(300),
]

# Starts workers again as they die, and says what it has: by a line for each line that it reads.
PRIMARY = """
    if cluster.is_primary:
        cluster.scheduling_policy = getattr(cluster, sys.argv[1])
        stopping = False

        def state():
            return len(os.listdir("/proc/self/fd")), len(cluster.workers)

        def exited(worker, code, signal):
            say("exit", worker.process.pid)
            if not stopping:
                start()

        def start():
            worker = cluster.fork()
            say("pid", worker.process.pid)
            # What it does not get in time goes down with it.
            worker.send({"some": "words"})

        def read(chunk):
            global stopping
            stopping = True
            cluster.disconnect(lambda: set_timeout(over, 100))

        def over():
            say("state", *state())
            commands.destroy()

        cluster.on("exit", exited)
        cluster.on("listening", lambda worker, address: say("port", *state()))
        for _ in range(2):
            start()
        commands = net.Socket(fd=0, writable=False)
        commands.on("data", read)
    else:
        cluster.worker.on("message", lambda message, handle: cluster.worker.send("words"))
        def serve(socket):
            socket.on("error", lambda error: None)
            socket.end(b"served")

        server = net.create_server(serve)
        server.listen(int(sys.argv[2]), "127.0.0.1")
    run()
"""


CLIENTS: list[Clients] = []


@pytest.fixture(autouse=True)
def no_client_goes_on() -> Iterator[None]:
    """Also of a test that fails: others count descriptors, and the time of a CPU."""
    yield
    while CLIENTS:
        one = CLIENTS.pop()
        one.stopped = True
        one.join(30)


class Clients(threading.Thread):
    """Connects again and again, and counts what becomes of it."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        CLIENTS.append(self)
        self.port, self.stopped = port, False
        self.answers: dict[str, int] = {}
        self.start()

    def run(self) -> None:
        while not self.stopped:
            answer = self.ask()
            self.answers[answer] = self.answers.get(answer, 0) + 1

    def ask(self) -> str:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 20) as one:
                return one.recv(10).decode()
        except OSError as error:
            return type(error).__name__


@pytest.mark.parametrize(
    "policy",
    [
        "SCHED_RR",
        pytest.param("SCHED_NONE", marks=pytest.mark.full),
        pytest.param("SCHED_REUSE_PORT", marks=pytest.mark.full),
    ],
)
def test_workers_that_are_killed_at_any_point(program: Any, policy: str) -> None:
    """Nobody waits for ever, nothing leaks; the primary ends well."""
    chosen = random.Random(policy)
    port = free_port()
    primary: Program = program(PRIMARY, policy, str(port), dev=False)
    before = 0
    pids: list[int] = []
    listening = 0
    clients: Clients | None = None
    kills = 0
    while kills < 25:
        word, number, *_ = primary.line().split()
        if word == "pid":
            pids.append(int(number))
        elif word == "exit" and int(number) in pids:
            pids.remove(int(number))
        elif word == "port":
            listening += 1
            if listening == 2:
                before = int(number)
                clients = Clients(port)
        if clients is not None and len(pids) == 2 and word in ("pid", "port"):
            # From before it has begun until it serves.
            time.sleep(chosen.choice([0, 0.01, 0.05, 0.1, 0.2, 0.3]))
            # Its 'exit' may come later than what the other one says.
            pid = pids.pop(chosen.randrange(2))
            os.kill(pid, signal.SIGKILL)
            kills += 1
    assert clients is not None
    served = clients.answers.get("served", 0)
    limit = time.monotonic() + 20
    while clients.answers.get("served", 0) == served and time.monotonic() < limit:
        time.sleep(0.01)
    assert clients.answers["served"] > served, "nobody is served any more"
    clients.stopped = True
    clients.join(30)
    assert not clients.is_alive(), "a client waits in vain"
    primary.say("stop")
    lines = primary.end(error=None)
    after = next(line for line in lines if line.startswith("state")).split()
    # Less than with two workers.
    assert int(after[1]) < before
    assert after[2] == "0"
    # A reset is a connection that a worker had when it died, and there was one at a time.
    odd = {name: count for name, count in clients.answers.items() if name != "served"}
    if policy != "SCHED_REUSE_PORT":
        # As in Node the port is closed while no worker is there.
        odd.pop("ConnectionRefusedError", None)
    assert sum(odd.values()) <= kills, odd


@pytest.mark.parametrize(
    "policy", ["SCHED_RR", pytest.param("SCHED_REUSE_PORT", marks=pytest.mark.full)]
)
def test_a_primary_that_is_killed_at_any_point_leaves_nothing(program: Any, policy: str) -> None:
    for moment in range(5):
        primary: Program = program(PRIMARY, policy, str(free_port()), dev=False)
        primary.line()
        time.sleep(moment * 0.1)
        os.kill(primary.pid, signal.SIGKILL)
        primary.end(code=-signal.SIGKILL, error=None)


def test_handles_on_their_way_to_a_worker_that_dies(program: Any) -> None:
    """It is stopped, gets more than its channel holds, and is killed."""
    ended = program(
        """
        import signal

        if cluster.is_primary:
            worker = cluster.fork()
            left = 400
            opened = []

            def count():
                return len(os.listdir("/proc/self/fd"))

            def connected(socket):
                global left
                left -= 1
                worker.send("x" * 2000, socket)
                if not left:
                    server.close()
                    say("queued", count() > before + 50)
                    worker.kill("SIGKILL")

            server = net.create_server(connected, pause_on_connect=True)

            def listening():
                global before
                before = count()
                os.kill(worker.process.pid, signal.SIGSTOP)
                for _ in range(400):
                    client = net.connect(server.address().port, "127.0.0.1")
                    client.on("error", lambda error: None)
                    client.on("close", lambda had_error: opened.append(1))
                    client.resume()

            def exited(code, signal):
                set_timeout(lambda: say(len(opened), count() <= before), 200)

            worker.on("online", lambda: server.listen(0, "127.0.0.1", 1000))
            server.on("listening", listening)
            worker.on("exit", exited)
        run()
        """,
        dev=False,
    ).end()
    assert ended == ["queued True", "400 True"]
