"""One loop for each thread: servers under load, and what belongs to another thread."""

from __future__ import annotations

import hashlib
import random
import threading

import pytest

import pyuvnet
from pyuvnet import StateError, net

CONNECTIONS = 20
SIZE = 300_000


class EchoThread:
    """A thread with a loop of its own, in which a server echoes."""

    def __init__(self, name):
        self.received = self.connections = 0
        self.left = None
        self.error = None
        self._listening = threading.Event()
        self.thread = threading.Thread(target=self._run, name=name)
        self.thread.start()
        assert self._listening.wait(20)

    def _run(self):
        try:
            self.loop = pyuvnet.current_loop()
            self.server = net.create_server(self._connected)
            self.server.listen(0, "127.0.0.1", self._ready)
            pyuvnet.run()
            self.left = self.loop.handle_count()
        except BaseException as error:
            self.error = error
        finally:
            self._listening.set()

    def _ready(self):
        self.port = self.server.address().port
        self._listening.set()

    def _connected(self, socket):
        def echo(data):
            assert threading.current_thread() is self.thread
            self.received += len(data)
            if not socket.write(data):
                socket.pause()

        self.connections += 1
        socket.on("data", echo).on("drain", socket.resume)
        if self.connections == CONNECTIONS:
            self.server.close()

    def join(self):
        self.thread.join(20)
        assert not self.thread.is_alive()
        if self.error is not None:
            raise self.error


def client(port, seed, results):
    """Send pieces of odd sizes, and compare what comes back."""
    chance = random.Random(seed)
    data = chance.randbytes(SIZE)
    socket = net.connect(port, "127.0.0.1")
    answer = hashlib.sha256()
    at = 0

    def more():
        nonlocal at
        while at < SIZE:
            piece = data[at : at + chance.randint(1, 30_000)]
            at += len(piece)
            if not socket.write(piece):
                return
        socket.end()

    socket.on("data", answer.update).on("drain", more)
    socket.on("close", lambda had_error: results.append((seed, had_error, socket.bytes_read)))
    socket.on("end", lambda: results.append(answer.digest() == hashlib.sha256(data).digest()))
    more()


def test_two_echo_servers_in_two_threads_under_load():
    servers = [EchoThread("first"), EchoThread("second")]
    results = []
    for number, server in enumerate(servers * CONNECTIONS):
        client(server.port, number, results)
    # The clients are a third loop, in this thread.
    pyuvnet.run()
    for server in servers:
        server.join()
        assert server.received == CONNECTIONS * SIZE
        assert server.left == 0
    assert results.count(True) == 2 * CONNECTIONS
    assert sorted(each for each in results if each is not True) == [
        (number, False, SIZE) for number in range(2 * CONNECTIONS)
    ]


@pytest.mark.parametrize(
    "use",
    [
        lambda socket, server: socket.write(b"x"),
        lambda socket, server: socket.destroy(),
        lambda socket, server: socket.pause(),
        lambda socket, server: server.close(),
        lambda socket, server: server.listen(0),
        lambda socket, server: pyuvnet.loop.Loop.next_tick(server_loop, print),
    ],
    ids=["write", "destroy", "pause", "close", "listen", "next_tick"],
)
def test_use_in_a_wrong_thread_is_an_error_that_names_both(use):
    global server_loop
    server_loop = pyuvnet.current_loop()
    socket, server = net.Socket(), net.create_server().listen(0, "127.0.0.1")
    errors = []

    def run():
        try:
            use(socket, server)
        except StateError as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="elsewhere")
    thread.start()
    thread.join(20)
    (error,) = errors
    assert error.code == "ERR_WRONG_THREAD"
    assert "'elsewhere'" in str(error)
    assert f"'{threading.current_thread().name}'" in str(error)
    assert "call_soon_threadsafe" in str(error)
    server.close()
    pyuvnet.run()


def test_a_python_thread_goes_on_beside_a_busy_loop_and_the_loop_beside_it():
    counted = turns = 0
    over = threading.Event()

    def count():
        nonlocal counted
        while not over.is_set():
            counted += 1

    def turn():
        nonlocal turns
        turns += 1
        # Until both have done enough: either starving would run into the watchdog.
        if turns < 2000 or counted < 2000:
            pyuvnet.set_immediate(turn)

    thread = threading.Thread(target=count)
    thread.start()
    pyuvnet.set_immediate(turn)
    pyuvnet.run()
    over.set()
    thread.join()
    assert turns >= 2000
    assert counted >= 2000


LOADED_LATE = """
import _imp, threading
import pyuvnet
from pyuvnet import _core

begun = threading.Event()
held = []
found = []

class Loader(_core.ExtensionFileLoader):
    def exec_module(self, module):
        held.append((self.name, _imp.lock_held()))
        begun.set()
        super().exec_module(module)

def second():
    begun.wait(20)
    from pyuvnet._core import transfer
    found.append(hasattr(transfer, "check_socket"))

_core.ExtensionFileLoader = Loader
thread = threading.Thread(target=second)
thread.start()
from pyuvnet._core import transfer
found.append(hasattr(transfer, "check_socket"))
thread.join(20)
print(found, held, _imp.lock_held())
"""


def test_what_is_loaded_late_is_loaded_once_by_one_thread(run_child) -> None:
    child = run_child(LOADED_LATE).clean()
    assert child.out == "[True, True] [('pyuvnet._core.transfer', True)] False\n"
