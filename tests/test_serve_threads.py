"""serve_threads(): a loop in each of several threads, which end together."""

from __future__ import annotations

import _thread
import signal
import socket as posix
import subprocess
import sys
import threading
import time

import pytest

import pyuvnet
from pyuvnet import net, serve_threads
from pyuvnet.errors import ArgTypeError, RangeError


def ours():
    """The names of the threads of serve_threads() that have not ended."""
    return [each.name for each in threading.enumerate() if each.name.startswith("pyuvnet-")]


@pytest.mark.spec("D230")
def test_the_function_runs_once_in_each_thread_with_its_index_and_a_loop():
    seen = {}

    def function(index):
        def tick():
            seen[index] = threading.current_thread(), pyuvnet.current_loop()

        pyuvnet.set_timeout(tick, 1)

    assert serve_threads(function, 3) is None
    assert sorted(seen) == [0, 1, 2]
    assert len({thread for thread, _ in seen.values()} | {threading.current_thread()}) == 4
    assert len({id(loop) for _, loop in seen.values()}) == 3
    assert all(loop.closed for _, loop in seen.values())
    assert not any(thread.is_alive() for thread, _ in seen.values())


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel deals the connections out")
def test_the_threads_listen_on_one_port():
    served = set()
    all_listen = threading.Barrier(3)
    port = posix.create_server(("127.0.0.1", 0), reuse_port=True)
    number = port.getsockname()[1]

    def function(index):
        def connection(socket):
            served.add(index)
            socket.end(b"%d" % index)

        server = net.create_server(connection)
        server.listen(number, "127.0.0.1", all_listen.wait, reuse_port=True)
        servers.append((pyuvnet.current_loop(), server))

    def ask():
        all_listen.wait(20)
        # It has to be closed first, or gets its share.
        port.close()
        for _ in range(200):
            with posix.create_connection(("127.0.0.1", number)) as client:
                client.settimeout(20)
                client.recv(10)
            if len(served) == 2:
                break
        for loop, server in servers:
            loop.call_soon_threadsafe(server.close)

    servers = []
    client = threading.Thread(target=ask)
    client.start()
    serve_threads(function, 2)
    client.join(20)
    assert served == {0, 1}


class Broken(Exception):
    pass


@pytest.mark.parametrize("where", ["function", "listener", "coroutine"])
def test_what_one_raises_stops_all_and_comes_out(where):
    others = threading.Barrier(3)
    loops = []

    def function(index):
        loops.append(pyuvnet.current_loop())
        # It would stay for ever.
        net.create_server().listen(0, "127.0.0.1")
        if index != 1:
            pyuvnet.next_tick(others.wait, 20)
        elif where == "listener":
            pyuvnet.next_tick(fail)
        else:
            fail()

    def fail():
        others.wait(20)
        raise Broken

    async def main(index):
        function(index)
        await pyuvnet.events.once(net.create_server(), "never")

    with pytest.raises(Broken):
        serve_threads(main if where == "coroutine" else function, 3)
    assert len(loops) == 3
    assert all(loop.closed for loop in loops)


def test_what_the_others_raise_goes_to_the_hook(monkeypatch):
    both = threading.Barrier(2)
    hooked = []
    monkeypatch.setattr(threading, "excepthook", lambda args: hooked.append(args.exc_value))

    def function(index):
        both.wait(20)
        raise Broken(index)

    with pytest.raises(Broken) as info:
        serve_threads(function, 2)
    (other,) = hooked
    assert {info.value.args, other.args} == {(0,), (1,)}


def test_coroutines_end_with_their_results_ignored():
    ended = []

    async def main(index):
        server = net.create_server()
        server.listen(0, "127.0.0.1")
        await pyuvnet.events.once(server, "listening")
        server.close()
        ended.append(index)
        return "ignored"

    serve_threads(main, 2)
    assert sorted(ended) == [0, 1]


def test_ctrl_c_stops_all():
    program = """
import sys, threading
import pyuvnet
from pyuvnet import net

ready = threading.Semaphore(0)

def function(index):
    net.create_server().listen(0, "127.0.0.1", ready.release)

def say():
    for _ in range(2):
        ready.acquire()
    print("ready", flush=True)

saying = threading.Thread(target=say)
saying.start()
try:
    pyuvnet.serve_threads(function, 2)
except KeyboardInterrupt:
    saying.join()
    print("over", threading.active_count())
"""
    if sys.platform == "win32":
        pytest.skip("no signal can be sent to one process")
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=20)[0] == "over 1\n"
    assert process.returncode == 0


def test_ctrl_c_that_interrupts_no_wait_stops_all():
    """As a signal does that comes just before the main thread begins to wait."""

    def function(index):
        net.create_server().listen(0, "127.0.0.1")
        if index:
            # By then the main thread waits.
            pyuvnet.set_timeout(_thread.interrupt_main, 200)

    with pytest.raises(KeyboardInterrupt):
        serve_threads(function, 2)
    assert ours() == []


@pytest.mark.parametrize("begun", [False, True])
def test_ctrl_c_in_the_middle_of_a_start_stops_all(monkeypatch, begun):
    start = threading.Thread.start
    threads = []

    def interrupted(thread):
        threads.append(thread)
        if begun or len(threads) == 1:
            start(thread)
        if len(threads) == 2:
            raise KeyboardInterrupt

    def function(index):
        net.create_server().listen(0, "127.0.0.1")
        # serve_threads() waits for one that is slow.
        time.sleep(0.2 * index)

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        serve_threads(function, 3)
    assert len(threads) == 2
    assert ours() == []


def test_a_thread_that_cannot_be_started_stops_those_that_were(monkeypatch):
    start = threading.Thread.start
    started = []

    def fail(thread):
        if started:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", fail)
    with pytest.raises(RuntimeError, match="can't start"):
        serve_threads(lambda index: net.create_server().listen(0, "127.0.0.1"), 2)
    assert not started[0].is_alive()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [((None, 1), ArgTypeError), ((print, "1"), ArgTypeError), ((print, 0), RangeError)],
)
def test_wrong_arguments_raise(arguments, error):
    threads = _thread._count()
    with pytest.raises(error):
        serve_threads(*arguments)
    assert _thread._count() == threads
