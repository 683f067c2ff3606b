"""What runs on the hosts of test_network.py: python program.py SCENARIO JSON, says JSON lines.

With the option "silence", a SIGUSR1 sets the idle timeout of the socket to so many milliseconds: a
test begins with that when the other end cannot speak any more, so that no slowness is taken for
silence. The shim of the faults is loaded where it can be compiled, and counts the loop's polls.
"""

from __future__ import annotations

import faulthandler
import hashlib
import json
import os
import random
import signal
import sys
import time
from typing import Any

import pyuvnet
from pyuvnet import net
from tests.reliability.faults.shim import Shim

DATA = random.Random(77).randbytes(1 << 20)


shim = Shim() if "FAULTS_SHIM" in os.environ else None


def say(what: Any) -> None:
    print(json.dumps(what), flush=True)


def digest(size: int) -> str:
    """Of so many bytes of DATA over and over."""
    made = hashlib.sha256()
    for _ in range(size // len(DATA)):
        made.update(DATA)
    made.update(DATA[: size % len(DATA)])
    return made.hexdigest()


class Seen:
    """Events of a socket, and when they came, in seconds; how much the loop did meanwhile."""

    def __init__(self, socket: Any) -> None:
        self.start = time.monotonic()
        if shim is not None:
            # A rule that only counts.
            shim.load("epoll_pwait")
            shim.library.faults_reset()
        self.events: list[str] = []
        self.times: dict[str, float] = {}
        for name in ("connect", "finish", "end", "timeout"):
            socket.on(name, lambda name=name: self.note(name))
        socket.on("error", self.failed)
        socket.on("close", lambda had_error: self.note(f"close {had_error}"))
        for name in ("", "Failed", "Timeout"):
            socket.on(
                f"connectionAttempt{name}",
                lambda address, *_, name=name: self.note(f"{name.lower() or 'try'} {address}"),
            )

    def failed(self, error: Any) -> None:
        self.note(f"error {error.code} {getattr(error, 'syscall', None)}")
        for one in getattr(error, "errors", []):
            self.note(f"- {one.code}")

    def note(self, event: str) -> None:
        self.events.append(event)
        self.times[event] = time.monotonic() - self.start

    def told(self) -> dict[str, Any]:
        polls = shim.hits()[0] if shim is not None else 0
        calls = shim.library.faults_calls() if shim is not None else 0
        return {"events": self.events, "times": self.times, "polls": polls, "calls": calls}


def keep(socket: Any, options: dict[str, Any]) -> None:
    """Set what the options say of silence."""
    if "keep_alive" in options:
        socket.set_keep_alive(True, *options["keep_alive"])
    if "timeout" in options:
        socket.set_timeout(options["timeout"], socket.destroy)
    if "silence" in options:

        def listen_for_silence() -> None:
            socket.set_timeout(options["silence"], socket.destroy)

        signal.signal(signal.SIGUSR1, lambda *_: pyuvnet.next_tick(listen_for_silence))


def sink(**options: Any) -> None:
    """A server that counts what comes, says when the half is there, and serves one connection."""
    half = options.get("half", 0)

    def connection(socket: Any) -> None:
        seen = Seen(socket)
        size = 0
        made = hashlib.sha256()

        def data(chunk: bytes) -> None:
            nonlocal size
            made.update(chunk)
            if half and size < half <= size + len(chunk):
                say("half")
            size += len(chunk)

        def close(_: bool) -> None:
            server.close()
            whole = made.hexdigest() == digest(size)
            say(seen.told() | {"size": size, "whole": whole})

        keep(socket, options)
        socket.on("data", data)
        socket.on("close", close)

    server = net.create_server(connection)
    server.listen(7000, options.get("host", "::"))
    server.on("listening", lambda: say("listening"))


def source(addresses: list[str], total: int = 0, **options: Any) -> None:
    """A client that sends, or only connects and says so, to the first address that takes it."""
    pairs = [(each, 6 if ":" in each else 4) for each in addresses]
    plan = {
        "port": 7000,
        "host": "far.test",
        "lookup": lambda host, how, answer: answer(None, pairs),
    }
    if "attempt" in options:
        plan["auto_select_family_attempt_timeout"] = options["attempt"]
    client = net.Socket()
    seen = Seen(client)
    written = ok = failed = 0
    codes: list[str] = []

    def told(error: Any, size: int) -> None:
        nonlocal ok, failed
        if error is None:
            ok += size
        else:
            failed += size
            codes.append(error.code)

    def send() -> None:
        nonlocal written
        while written < total:
            start = written % len(DATA)
            chunk = DATA[start : start + min(50_000, total - written)]
            written += len(chunk)
            size = len(chunk)
            if not client.write(chunk, lambda *error, size=size: told(*error or (None,), size)):
                return
        if total and not client.writable_ended:
            client.end()

    if options.get("tell"):
        client.on("connectionAttempt", lambda address, *_: say(f"try {address}"))

    def connected() -> None:
        say("connected")
        if options.get("leave"):
            client.end()
        send()

    client.on("drain", send)
    client.once("connect", connected)
    client.on("close", lambda _: say(seen.told() | {
        "written": written, "ok": ok, "failed": failed, "codes": sorted(set(codes)),
        "attempted": client.auto_select_family_attempted_addresses}))  # fmt: skip
    client.resume()
    keep(client, options)
    client.connect(plan)


def main() -> None:
    options = json.loads(sys.argv[2])
    faulthandler.dump_traceback_later(options.pop("watchdog", 20), exit=True)
    globals()[sys.argv[1]](**options)
    pyuvnet.run()
    assert pyuvnet.current_loop().handle_count() == 0


if __name__ == "__main__":
    main()
