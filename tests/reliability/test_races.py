"""Closing, ending, pausing and more from inside every event, from threads, signals and forks.

What is called at a wrong moment may have no effect, or fail what it is called on; it must not
crash, keep the loop alive, lose a 'close' or emit anything after it.
"""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pyuvnet import current_loop, next_tick, run, set_exception_handler, set_immediate, set_timeout
from pyuvnet.net import BoundSocket, Server, Socket

SOCKET_EVENTS = ("lookup", "connectionAttempt", "connectionAttemptFailed", "connect", "ready")
SOCKET_EVENTS += (
    "data",
    "readable",
    "drain",
    "end",
    "finish",
    "timeout",
    "pause",
    "resume",
    "pipe",
)
SOCKET_EVENTS += ("unpipe", "error", "close", "newListener", "removeListener", "write callback")
ACTIONS: dict[str, Callable[[Socket], Any]] = {
    "destroy": lambda sock: sock.destroy(),
    "destroy with an error": lambda sock: sock.destroy(RuntimeError("E")),
    "destroy and collect": lambda sock: (sock.destroy(), gc.collect(1)),
    "end": lambda sock: sock.end(b"last"),
    "end and destroy": lambda sock: sock.end().destroy(),
    "destroy soon": lambda sock: sock.destroy_soon(),
    "reset": lambda sock: sock.reset_and_destroy(),
    "reset twice": lambda sock: sock.reset_and_destroy().reset_and_destroy(),
    "pause": lambda sock: sock.pause(),
    "pause and resume": lambda sock: sock.pause().resume(),
    "write": lambda sock: sock.write(b"x" * 100_000),
    "write and end": lambda sock: (sock.write(b"x"), sock.end()),
    "read": lambda sock: sock.read(),
    "remove all listeners": lambda sock: sock.remove_all_listeners(),
    "remove and destroy": lambda sock: sock.remove_all_listeners().destroy(),
    "raise": lambda sock: 1 // 0,
    "unref": lambda sock: sock.unref(),
    "connect": lambda sock: sock.connect(1, "127.0.0.1"),
    "timeout": lambda sock: sock.set_timeout(1).set_timeout(0),
    "encoding": lambda sock: sock.set_encoding("utf8"),
    "unpipe": lambda sock: sock.unpipe(),
    "cork": lambda sock: sock.cork(),
}


@pytest.fixture(autouse=True)
def no_descriptor_left(loop: Any) -> Iterator[list[BaseException]]:
    """Collect what listeners raise, and count descriptors where that is possible."""
    raised: list[BaseException] = []
    set_exception_handler(raised.append)
    yield raised
    set_exception_handler(None)


class Pair:
    """A client and what a server accepts, both doing a bit of everything."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.events: list[tuple[str, str]] = []
        self.acted = 0
        self.held: list[Socket] = []
        self.plans: dict[tuple[str, str], Callable[[Socket], Any]] = {}
        self.server = Server(self.accepted)
        self.server.on("error", lambda error: None)
        self.client = Socket(high_water_mark=1000)
        self.held.append(self.client)
        self.watch("client", self.client)
        if kind == "tcp":
            self.server.listen(0, "127.0.0.1", self.begin)
        else:
            self.server.listen(str(folder / "socket"), self.begin)

    def watch(self, side: str, sock: Socket) -> None:
        for event in SOCKET_EVENTS:
            if event not in ("readable", "data", "write callback"):
                sock.on(event, lambda *_, event=event: self.told(side, event, sock))

    def told(self, side: str, event: str, sock: Socket) -> None:
        if event != "removeListener" and event != "newListener":
            self.events.append((side, event))
        plan = self.plans.pop((side, event), None)
        if plan is not None:
            self.acted += 1
            plan(sock)

    def begin(self) -> None:
        def lookup(host: str, options: Any, callback: Any) -> None:
            next_tick(callback, None, [{"address": "127.0.0.1", "family": 4}])

        client = self.client
        set_timeout(self.finish, 3)
        client.set_timeout(1)
        address = self.server.address()
        if isinstance(address, str):
            client.connect(address)
        else:
            client.connect(address.port, "name.invalid", lookup=lookup)
        self.use("client", client)

    def accepted(self, sock: Socket) -> None:
        self.held.append(sock)
        self.watch("server", sock)
        sock.pipe(sock)
        self.use("server", sock)

    def use(self, side: str, sock: Socket) -> None:
        sock.on("data", lambda _: self.told(side, "data", sock))
        sock.write(b"a" * 5000, lambda error: self.told(side, "write callback", sock))
        sock.write(b"b" * 400_000)
        if side == "client":
            sock.on("readable", lambda: self.told(side, "readable", sock))

    def finish(self) -> None:
        set_timeout(self.abandon, 3)
        for sock in self.held:
            sock.remove_all_listeners("readable")
            if not sock.destroyed and not sock.writable_ended:
                sock.end()
            sock.resume()

    def abandon(self) -> None:
        for sock in self.held:
            sock.ref().destroy()
        self.server.close()

    def check(self) -> None:
        for side in ("client", "server"):
            told = [event for who, event in self.events if who == side]
            assert told.count("close") <= 1
            if "close" in told:
                assert set(told[told.index("close") + 1 :]) <= {"write callback", "unpipe"}
            assert told.count("error") <= 1
            assert told.count("end") <= 1


# What reconnects begins a life of its own, with events of its own.
UNCOUNTED = {"connect"}
DEAF = {"remove all listeners", "remove and destroy"}


@pytest.mark.parametrize("kind", ["tcp", *(["unix"] if sys.platform != "win32" else [])])
@pytest.mark.parametrize("action", ACTIONS)
def test_inside_every_event_of_a_socket(action: str, kind: str, tmp_path: Path) -> None:
    acted = 0
    for side in ("client", "server"):
        for event in SOCKET_EVENTS:
            pair = Pair(kind, tmp_path)
            pair.plans[side, event] = ACTIONS[action]
            # Anything that keeps the loop alive would make this wait for the watchdog.
            run()
            acted += pair.acted
            if action not in UNCOUNTED:
                pair.check()
            for sock in pair.held:
                assert sock.destroyed
                if action not in UNCOUNTED | DEAF:
                    assert pair.events.count(("client", "close")) == 1
            assert current_loop().handle_count() <= 1  # the timers'
    assert acted > 15, "the events did not come"


@pytest.mark.parametrize(
    "action",
    [
        lambda server: server.close(),
        lambda server: server.close().close(),
        lambda server: server.close().listen(0),
        lambda server: server.remove_all_listeners().close(),
        lambda server: server.unref(),
        lambda server: setattr(server, "max_connections", 0),
        lambda server: 1 // 0,
    ],
    ids=["close", "close twice", "listen again", "remove", "unref", "full", "raise"],
)
@pytest.mark.parametrize("event", ["listening", "connection", "drop", "close", "error"])
def test_inside_every_event_of_a_server(event: str, action: Callable[[Server], Any]) -> None:
    server, acted = Server(), []
    if event == "drop":
        server.max_connections = 1
    server.on("error", lambda error: None)
    server.on("connection", lambda sock: sock.on("error", lambda error: None).resume())

    def act(*_: Any) -> None:
        if not acted:
            acted.append(event)
            action(server)

    server.on(event, act)
    server.listen(0)
    port = server.address().port
    clients = [Socket().on("error", lambda error: None) for _ in range(3)]
    for client in clients:
        client.connect(port, "127.0.0.1").end(b"x")
    if event == "error":
        blocked = Server().listen(0)
        set_timeout(lambda: server.close().listen(blocked.address().port), 2)
        set_timeout(blocked.close, 4)
    waits = iter(range(1000))

    def wind_up() -> None:
        # When the event has come, which takes as long as it takes; 'close' comes by this.
        if not acted and event != "close" and next(waits, None) is not None:
            set_timeout(wind_up, 5)
            return
        server.close()
        for client in clients:
            client.destroy()
        # A listener of 'close' that listens again would do so for ever.
        set_timeout(lambda: server.remove_all_listeners("close").close(), 2)
        set_timeout(server.close, 4)

    set_timeout(wind_up, 6)
    run()
    assert acted
    assert not server.listening


@pytest.mark.parametrize("early", [True, False])
def test_bound_socket_closed_by_whom_it_is_given_to(early: bool) -> None:
    bound = BoundSocket(host="127.0.0.1")
    server = Server(lambda sock: server.close() and sock.destroy())
    server.listen(bound)
    client = Socket().on("error", lambda error: None)
    client.connect(server.address().port, "127.0.0.1", lambda: client.destroy())
    if early:
        server.close()
    run()
    assert not server.listening
    assert client.destroyed


def test_listen_and_close_in_a_loop(full: bool) -> None:
    server, closed = Server(lambda sock: sock.destroy()), []
    server.set_max_listeners(0)
    server.on("close", lambda: closed.append(1))
    count = 20_000 if full else 500
    for number in range(count):
        server.listen(0, "127.0.0.1" if number % 7 == 0 else None)
        if number % 3 == 0:
            current_loop().turn()
        server.close()
        if number % 5 == 0:
            current_loop().turn()
    run()
    assert not server.listening
    assert 0 < len(closed) <= count
    assert current_loop().handle_count() == 0


# ---- Threads -----------------------------------------------------------------------------------


@pytest.mark.parametrize("action", [name for name in ACTIONS if name != "connect"])
def test_from_another_thread(action: str, full: bool) -> None:
    """Through the loop's one door, at any moment of a connection under load."""
    loop, act = current_loop(), ACTIONS[action]
    over, served = threading.Event(), threading.Event()
    held: list[Socket] = []
    closes: list[Socket] = []

    def keep(sock: Socket) -> Socket:
        held.append(sock.on("error", lambda error: None))
        return sock.on("close", lambda _: closes.append(sock))

    server = Server(lambda sock: keep(sock).pipe(sock))
    server.listen(0)
    port, left = server.address().port, 200 if full else 8

    def connect() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            over.set()
            for sock in list(held):
                sock.ref().destroy()
            server.close()
            return
        client = keep(Socket())
        client.on("data", lambda chunk: client.write(chunk) if not client.writable_ended else None)
        client.connect(port, "127.0.0.1", lambda: client.write(b"x" * 10_000))
        set_timeout(lambda: (client.ref().destroy(), connect()), 2)

    def on_loop() -> None:
        served.set()
        for sock in held[-2:]:
            act(sock)

    def other_thread() -> None:
        while not over.is_set():
            served.clear()
            loop.call_soon_threadsafe(on_loop)
            served.wait(1)
            time.sleep(0.0003)

    thread = threading.Thread(target=other_thread)
    connect()
    thread.start()
    run()
    over.set()
    thread.join()
    run()  # what it asked for last
    assert all(sock.destroyed for sock in held)
    if action not in DEAF:
        assert len(closes) == len(held)


TWO_LOOPS = """
import sys, threading, time
from pyuvnet import current_loop, run, set_timeout
from pyuvnet.net import Server, Socket

seconds = float(sys.argv[1])
counts, failures = [], []

def work():
    echoed = 0
    def again():
        if time.monotonic() > end:
            server.close()
            return
        client = Socket()
        def data(chunk):
            nonlocal echoed
            echoed += len(chunk)
            if client.bytes_read >= 30_000:
                client.end()
        client.on("data", data).on("error", failures.append).on("close", lambda _: again())
        client.connect(port, "127.0.0.1", lambda: client.write(b"x" * 30_000))
    try:
        server = Server(lambda sock: sock.pipe(sock).on("error", failures.append))
        server.listen(0)
        port = server.address().port
        for _ in range(4):
            again()
        run()
        assert current_loop().handle_count() == 0
    except BaseException as error:
        failures.append(error)
    counts.append(echoed)

end = time.monotonic() + seconds
threads = [threading.Thread(target=work) for _ in range(2)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert not failures, failures
assert len(counts) == 2 and min(counts) > 0 and not any(count % 30_000 for count in counts), counts
print("echoed", sum(counts))
"""


@pytest.mark.timeout(120)
def test_two_loops_in_two_threads(run_child: Callable[..., Any], full: bool) -> None:
    seconds = 60 if full else 1
    child = run_child(TWO_LOOPS, str(seconds), timeout=seconds + 20).clean()
    assert child.lines[0].startswith("echoed")


# ---- The process -------------------------------------------------------------------------------

LOAD = """
import os, signal, sys, time
from pyuvnet import current_loop, run, set_immediate, set_timeout
from pyuvnet.net import Server, Socket

def load(count=8):
    def client():
        sock = Socket()
        sock.on("data", lambda chunk: sock.write(chunk)).on("error", lambda error: None)
        sock.connect(port, "127.0.0.1", lambda: sock.write(b"x" * 20_000))
        return sock
    server = Server(lambda sock: sock.on("error", lambda error: None).pipe(sock))
    server.listen(0)
    port = server.address().port
    return server, [client() for _ in range(count)]
"""

FORK = """
server, clients = load()
left = int(sys.argv[1])
statuses = []

def fork():
    global left
    left -= 1
    pid = os.fork()
    if pid == 0:
        # Nothing of the parent's may be used, nor touched at the child's end.
        for use in (lambda: clients[0].write(b"x"), lambda: clients[0].destroy(), server.close):
            try:
                use()
                os._exit(2)
            except Exception as error:
                if error.code != "ERR_FORKED":
                    os._exit(3)
        if left % 2:
            own, others = load(1)
            others[0].on("data", lambda chunk: (others[0].destroy(), own.close()))
            own.on("connection", lambda sock: sock.on("close", lambda _: None))
            sys.exit(7)
        os._exit(7)
    statuses.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    if left:
        set_timeout(fork, 1)
    else:
        end([sock.bytes_read for sock in clients])

def end(before):
    # The parent's connections live on.
    if not all(sock.bytes_read > old for sock, old in zip(clients, before)):
        set_timeout(end, 5, before)
        return
    for sock in clients:
        sock.destroy()
    server.close()

set_timeout(fork, 5)
run()
assert statuses == [7] * int(sys.argv[1]), statuses
print("done")
"""

INTERRUPTED = """
server, clients = load()
for number in range(int(sys.argv[1])):
    # Said in the loop, so that the signal comes while it runs.
    set_timeout(lambda number=number: print("running", number, flush=True), 3)
    try:
        run()
        raise SystemExit("nobody interrupted")
    except KeyboardInterrupt:
        # The loop is whole, and goes on where it was. What the interrupted listener had, is lost.
        for sock in clients:
            sock.write(b"x" * 100)
        before = [sock.bytes_read for sock in clients]
        while not all(sock.bytes_read > old for sock, old in zip(clients, before)):
            set_timeout(current_loop().stop, 5)
            run()
for sock in clients:
    sock.destroy()
server.close()
run()
print("done", flush=True)
"""

EXIT = """
server, clients = load()
how = sys.argv[1]
def leave():
    if how == "exit":
        sys.exit(5)
    if how == "raise":
        raise SystemExit(5)
    if how == "_exit":
        os._exit(5)
    if how == "stop":
        current_loop().stop()
    if how == "kill":
        signal.raise_signal(signal.SIGTERM)
set_timeout(leave, int(sys.argv[2]))
run()
sys.exit(5)
"""
posix = pytest.mark.skipif(sys.platform == "win32", reason="needs fork, or signals to processes")


@posix
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_fork_under_load(run_child: Callable[..., Any], full: bool) -> None:
    child = run_child(LOAD + FORK, "100" if full else "6", timeout=25)
    assert (child.code, child.out) == (0, "done\n"), child.err


@posix
def test_ctrl_c_under_load(open_child: Callable[..., subprocess.Popen[str]], full: bool) -> None:
    count = 50 if full else 4
    child = open_child(LOAD + INTERRUPTED, str(count))
    assert child.stdout is not None
    longest = 0.0
    for number in range(count):
        start = time.monotonic()
        assert child.stdout.readline() == f"running {number}\n"
        if number:
            longest = max(longest, time.monotonic() - start)
        child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=20)
    assert (child.returncode, out, err) == (0, "done\n", "")
    assert longest < 5  # 20 ms of them are the child's own


@pytest.mark.parametrize("how", ["exit", "raise", "_exit", "stop", "kill"])
def test_exit_under_load(how: str, run_child: Callable[..., Any], full: bool) -> None:
    if how == "kill" and sys.platform == "win32":
        pytest.skip("no SIGTERM there")
    for milliseconds in range(1, 30 if full else 7, 3):
        child = run_child(LOAD + EXIT, how, str(milliseconds))
        assert child.err == ""
        assert child.code == (-signal.SIGTERM if how == "kill" else 5)


@pytest.mark.parametrize("turns", range(1, 12, 2))
def test_close_of_the_loop_under_load(turns: int) -> None:
    """Whatever is open then ends without a word."""
    called: list[str] = []
    server = Server(lambda sock: sock.pipe(sock)).listen(0)
    clients = [Socket().on("error", lambda error: None) for _ in range(4)]
    for client in clients:
        client.connect(server.address().port, "127.0.0.1").write(b"x" * 300_000)
    for _ in range(turns):
        current_loop().turn()
    for client in clients:
        client.on("close", lambda *_: called.append("close"))
    set_immediate(called.append, "immediate")
    current_loop().close()
    assert called == []
