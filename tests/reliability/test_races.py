"""Sockets under load, from threads, signals and forks; exits, and loops that end.

What is called at a wrong moment may have no effect, or fail what it is called on; it must not
crash, keep the loop alive, lose a 'close' or emit anything after it. What is done inside events is
in test_races_sockets.py and test_races_objects.py.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pyuvnet import current_loop, run, set_exception_handler, set_immediate
from pyuvnet.errors import ArgTypeError
from pyuvnet.net import Server, Socket
from tests.support.races import DEAF, KINDS, RAISING, RECONNECTING, RESETTING, SOCKET_ACTIONS, reach


@pytest.fixture(autouse=True)
def raised(loop: Any) -> Iterator[list[BaseException]]:
    """Collect what comes out of listeners."""
    collected: list[BaseException] = []
    set_exception_handler(collected.append)
    yield collected
    set_exception_handler(None)


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


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("action", [name for name in SOCKET_ACTIONS if name not in RECONNECTING])
def test_from_another_thread(
    action: str, kind: str, full: bool, tmp_path: Path, raised: list[BaseException]
) -> None:
    """Through the loop's one door, at any moment of a connection under load."""
    loop, act = current_loop(), SOCKET_ACTIONS[action]
    rounds, choose = (200 if full else 8), random.Random(action)
    begun = threading.Semaphore(0)
    held: list[Socket] = []
    closes: list[Socket] = []
    acted: list[Socket] = []

    def keep(sock: Socket) -> Socket:
        held.append(sock.on("error", lambda error: None))
        return sock.on("close", lambda _: closes.append(sock))

    server = Server(lambda sock: keep(sock).pipe(sock))
    server.listen(0 if kind == "tcp" else str(tmp_path / "socket"))

    def connect() -> None:
        client = keep(Socket())
        client.on("data", lambda chunk: client.write(chunk) if not client.writable_ended else None)
        reach(client, server, lambda: client.write(b"x" * 10_000))
        begun.release()

    def on_loop(index: int) -> None:
        sock = held[max(index, -len(held))]
        acted.append(sock)
        act(sock)

    def leave(turns: int) -> None:
        """Let it have its effects, and go on with the next connection."""
        if turns:
            set_immediate(leave, turns - 1)
            return
        for sock in held:
            sock.ref().destroy()
        if len(acted) < 2 * rounds:
            connect()
        else:
            server.close()

    def other_thread() -> None:
        for _ in range(rounds):
            begun.acquire()
            time.sleep(choose.random() * 0.001)  # any moment
            loop.call_soon_threadsafe(on_loop, -1)
            loop.call_soon_threadsafe(on_loop, -2)
            loop.call_soon_threadsafe(leave, 5)

    thread = threading.Thread(target=other_thread)
    connect()
    thread.start()
    run()
    thread.join()
    assert len(acted) == 2 * rounds
    for sock in held:
        sock.destroy()
    run()  # who was accepted last
    assert all(sock.closed for sock in held)
    if action in DEAF:
        raised[:] = [each for each in raised if not isinstance(each, OSError)]
    else:
        assert len(closes) == len(held)
    if action in RAISING:
        assert [type(each) for each in raised] == [ZeroDivisionError] * len(acted)
    elif action in RESETTING and kind == "unix":
        # Only TCP resets.
        assert {type(each) for each in raised} <= {ArgTypeError}
    else:
        assert raised == []


TWO_LOOPS = """
import sys, threading, time
from pyuvnet import StateError, current_loop, run
from pyuvnet.net import Server, Socket

seconds = float(sys.argv[1])
counts, failures = [], []
both = threading.Barrier(2)
loops, heard = {}, [0, 0]

def tell(number):
    heard[number] += 1

def work(number):
    echoed = 0
    loops[number] = current_loop()
    both.wait()
    def again():
        if time.monotonic() > end:
            server.close()
            return
        try:
            loops[1 - number].call_soon_threadsafe(tell, 1 - number)
        except StateError:
            assert loops[1 - number].closed  # the other one ended first
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
threads = [threading.Thread(target=work, args=[number]) for number in range(2)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert not failures, failures
assert len(counts) == 2 and min(counts) > 0 and not any(count % 30_000 for count in counts), counts
assert min(heard) > 0, heard
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
