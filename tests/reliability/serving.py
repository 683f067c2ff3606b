"""`python -m pyuvnet serve` under load, many times: who is refused or reset, what is left behind.

    python -m tests.reliability.serving [restart|upgrade|crash|hang|kill ...] [--times N]

A process of its own has clients: half of them connect, ask once and close; the others ask again
and again, until the answer says goodbye. They count connections that were refused or reset, and
requests that got an end in place of an answer. Meanwhile, so many times:

* restart: SIGHUP, which replaces both workers;
* upgrade: SIGUSR2, with which a new primary takes the sockets over;
* crash: SIGKILL for a worker. What is reset is what it had: no client sees more than one reset;
* hang: SIGHUP with workers that hang as soon as they are to end, and are killed;
* kill: SIGKILL for the primary of a server that was just started or serves. Nothing is left.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.serving import APP, Primary

SELF = (sys.executable, "-m", "tests.reliability.serving")
CLIENTS = 50
# An app that hangs when it is to end, and hears no polite signal then.
HANGS = """
import signal
import time


def hang():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(1000)
"""
# Never returns to its loop once it has a request.
BLOCKED = """
import time


def app(server):
    server.on("connection", lambda socket: socket.on("data", lambda data: time.sleep(1000)))
"""
# So that no delay between crashes grows, and a worker that hangs is killed soon.
PATCH = "supervisor.LEAST_BETWEEN = 0\nsupervisor.PATIENCE = 200\nworker._worker._PATIENCE = 1.0"


class Client(threading.Thread):
    """One client, which counts what it sees until it is stopped."""

    stop = threading.Event()

    def __init__(self, port: int, stays: bool, seen: Counter[str]) -> None:
        super().__init__(daemon=True)
        self.port, self.stays, self.seen = port, stays, seen

    def run(self) -> None:
        while not self.stop.is_set():
            self.seen[self.connect()] += 1
            # Not to use up the ports of this machine.
            self.stop.wait(0.01)

    def connect(self) -> str:
        try:
            one = socket.create_connection(("127.0.0.1", self.port), 30)
        except OSError as error:
            return f"refused: {type(error).__name__}"
        with one:
            try:
                return self.talk(one)
            except TimeoutError:
                return "waited in vain"
            except OSError as error:
                return f"reset: {type(error).__name__}"

    def talk(self, one: socket.socket) -> str:
        while not self.stop.is_set():
            one.sendall(b"q\n")
            answer = one.recv(100)
            if not answer:
                return "unanswered"
            self.seen["answers"] += 1
            if not self.stays:
                return "short"
            if answer.endswith(b"bye\n"):
                return "goodbye" if one.recv(100) == b"" else "more than a goodbye"
            time.sleep(0.002)
        return "stopped"


class Load:
    """The clients, in a process of their own."""

    def __init__(self, port: int, count: int = CLIENTS) -> None:
        self._process = subprocess.Popen(
            (*SELF, "--clients", str(port), "--count", str(count)),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "begun\n"

    def end(self) -> Counter[str]:
        """Stop them; returns what they have seen."""
        out, _ = self._process.communicate("stop\n", timeout=60)
        return Counter(json.loads(out))

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


def clients(port: int, count: int) -> None:
    """The program of the clients."""
    seen: Counter[str] = Counter()
    all_of_them = [Client(port, bool(index % 2), seen) for index in range(count)]
    for one in all_of_them:
        one.start()
    print("begun", flush=True)
    sys.stdin.readline()
    Client.stop.set()
    for one in all_of_them:
        one.join(40)
    seen["still there"] += sum(one.is_alive() for one in all_of_them)
    print(json.dumps(seen))


class Result:
    """What came of it: what clients have seen, and how long each time took."""

    def __init__(self, what: str, times: int) -> None:
        self.what, self.times = what, times
        self.seen: Counter[str] = Counter()
        self.took: list[float] = []
        self.left = 0

    @property
    def wrong(self) -> dict[str, int]:
        """What no client should see."""
        fine = ("answers", "short", "goodbye", "stopped")
        return {name: count for name, count in self.seen.items() if count and name not in fine}

    def __str__(self) -> str:
        took = sorted(self.took) or [0.0]
        return (
            f"{self.what}: {self.times} times, {self.seen['answers']} answers, wrong: "
            f"{self.wrong or 'nothing'}, left behind: {self.left}, "
            f"{took[len(took) // 2] * 1000:.0f} ms each, {took[-1] * 1000:.0f} at most"
        )


def with_server(
    what: str,
    times: int,
    app: str,
    once: Callable[[Primary, int], None],
    *arguments: str,
) -> Result:
    """Have a server under load, do something to it so many times, and end it."""
    result = Result(what, times)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "app.py").write_text(app)
        primary = Primary(
            Path(folder), "app:app", "--bind", "127.0.0.1:0", "--workers", "2", *arguments,
            patch=PATCH,
        )  # fmt: skip
        load = None
        try:
            load = Load(primary.ready())
            for number in range(times):
                began = time.monotonic()
                once(primary, number)
                result.took.append(time.monotonic() - began)
            result.seen = load.end()
            load = None
            os.kill(last_primary(primary), signal.SIGTERM)
            primary.process.wait(60)
            result.left = not primary.gone(60)
        except BaseException:
            print(primary.log[-5000:], file=sys.stderr)
            raise
        finally:
            if load is not None:
                load.kill()
            primary.kill()
    return result


def last_primary(primary: Primary) -> int:
    return int(primary.find(r"\[(\d+)\] ready")[-1][1])


def restart(times: int, policy: str) -> Result:
    def once(primary: Primary, number: int) -> None:
        primary.send(signal.SIGHUP)
        primary.wait_for("all workers are new", number + 1, 60)

    return with_server("rolling restart", times, APP, once, "--policy", policy)


def upgrade(times: int, policy: str) -> Result:
    def once(primary: Primary, number: int) -> None:
        old = last_primary(primary)
        os.kill(old, signal.SIGUSR2)
        primary.wait_for(rf"\[{old}\] the new primary", 1, 60)
        primary.wait_for(rf"\[{old}\] ended", 1, 60)

    return with_server("hot upgrade", times, APP, once, "--policy", policy)


def crash(times: int, policy: str) -> Result:
    chosen = random.Random(times)

    def once(primary: Primary, number: int) -> None:
        alive = {int(found[1]) for found in primary.find(r"pid (\d+)\) is ready")}
        alive -= {int(found[1]) for found in primary.find(r"pid (\d+)\) has ended")}
        os.kill(chosen.choice(sorted(alive)), signal.SIGKILL)
        primary.wait_for(r"\) is ready", number + 3, 60)

    return with_server("crash", times, APP, once, "--policy", policy)


def hang(times: int, policy: str) -> Result:
    app = HANGS + APP.replace(
        "    def connected", '    server.on("shutdown", hang)\n\n    def connected', 1
    )

    def once(primary: Primary, number: int) -> None:
        primary.send(signal.SIGHUP)
        primary.wait_for("all workers are new", number + 1, 60)
        primary.wait_for("has ended with signal SIGKILL", 2 * number + 2, 60)

    arguments = ("--policy", policy, "--timeout-graceful", "0.2")
    return with_server("hang in shutdown", times, app, once, *arguments)


def kill(times: int, policy: str) -> Result:
    """The primary is killed, each time at another moment, sometimes with a worker that hangs."""
    chosen = random.Random(times)
    result = Result("primary killed", times)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(times):
            (Path(folder) / "app.py").write_text(APP if number % 5 else BLOCKED)
            primary = Primary(
                Path(folder), "app:app", "--bind", "127.0.0.1:0", "--workers", "2",
                "--policy", policy, patch=PATCH,
            )  # fmt: skip
            load = None
            try:
                found = primary.wait_for(r"listening on \S+:(\d+)", 1, 60)
                load = Load(int(found[0][1]), 10)
                time.sleep(chosen.random())
                began = time.monotonic()
                primary.send(signal.SIGKILL)
                primary.process.wait()
                result.left += not primary.gone(30)
                result.took.append(time.monotonic() - began)
            finally:
                if load is not None:
                    load.kill()
                primary.kill()
    return result


KINDS: dict[str, Callable[[int, str], Result]] = {
    "restart": restart,
    "upgrade": upgrade,
    "crash": crash,
    "hang": hang,
    "kill": kill,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("kinds", nargs="*", choices=[[], *KINDS], help="default: all")
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--policy", default="reuse-port")
    parser.add_argument("--clients", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, default=CLIENTS, help=argparse.SUPPRESS)
    options: Any = parser.parse_args()
    if options.clients:
        clients(options.clients, options.count)
        return
    for name in options.kinds or KINDS:
        print(KINDS[name](options.times, options.policy), flush=True)


if __name__ == "__main__":
    main()
