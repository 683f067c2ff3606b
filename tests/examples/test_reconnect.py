"""examples/reconnect.py"""

from __future__ import annotations

import socket
import sys

import pytest


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(20)
        yield listening


def start(example, port, *arguments):
    return example("reconnect", "--port", port, "--delay", 20, *arguments)


def accept(listener):
    connection = listener.accept()[0]
    connection.settimeout(20)
    return connection


def test_it_comes_back_whenever_it_lost_the_server(example, listener):
    client = start(example, listener.getsockname()[1])
    for count in range(3):
        with accept(listener) as server:
            client.until("connected to")
            assert server.recv(100) == b"ping\n"
            server.sendall(b"hello %d\n" % count)
            assert client.line() == f"heard hello {count}"
        # It was heard from: every time this is the first failure.
        client.until("failure 1, next try")


def test_a_silent_server_is_left_for_a_new_connection(example, listener):
    client = start(example, listener.getsockname()[1], "--timeout", 50)
    with accept(listener) as silent:
        client.until("connected to")
        assert client.line() == "lost: silent for 50 ms"
        assert silent.recv(100) == b"ping\n"
        assert silent.recv(100) == b""
    with accept(listener) as server:
        server.sendall(b"here\n")
        client.until("heard here")


def test_a_reset_is_a_reason_to_come_back(example, listener):
    client = start(example, listener.getsockname()[1])
    with accept(listener) as server:
        # Closed with the ping unread, the kernel resets it.
        client.until("connected to")
        server.recv(1)
    client.until("lost: read ECONNRESET")
    with accept(listener) as server:
        assert server.recv(100) == b"ping\n"


def test_the_delays_grow_up_to_a_limit_and_then_it_gives_up(example, unused_port):
    client = start(example, unused_port, "--max-delay", 60, "--tries", 4)
    for number, longest in enumerate([20, 40, 60, 60], 1):
        assert client.line() == f"lost: connect ECONNREFUSED 127.0.0.1:{unused_port}"
        delay = int(client.until(rf"failure {number}, next try in (\d+) ms")[1])
        assert longest / 2 <= delay <= longest
    code, out, err = client.wait()
    assert (code, out.count("lost")) == (1, 1)
    assert err == "reconnect: gave up after 5 failures in a row\n"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
@pytest.mark.parametrize("state", ["connected", "waiting"])
def test_it_ends_cleanly(example, listener, unused_port, state):
    if state == "waiting":
        client = start(example, unused_port, "--delay", 60_000)
        client.until("next try")
        client.stop()
        return
    client = start(example, listener.getsockname()[1])
    with accept(listener) as server:
        client.until("connected to")
        client.process.terminate()
        assert server.recv(100) == b"ping\n"
        assert server.recv(100) == b""
    assert client.wait()[::2] == (0, "")
