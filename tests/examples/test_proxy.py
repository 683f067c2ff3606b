"""examples/proxy.py, and the same in coroutines, examples/proxy_async.py"""

from __future__ import annotations

import os
import socket
import struct
import sys
import threading

import pytest


@pytest.fixture
def upstream():
    """What the proxy passes connections on to."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(20)
        yield listening


COROUTINES = pytest.param(
    "proxy_async",
    marks=pytest.mark.skipif(sys.platform == "win32", reason="asyncio has no signal handlers"),
)


@pytest.fixture(params=["proxy", COROUTINES])
def program(request):
    return request.param


@pytest.fixture
def proxy(program, example, upstream):
    return example(program, "--port", 0, "--to", f"127.0.0.1:{upstream.getsockname()[1]}")


@pytest.fixture
def pair(proxy, upstream, peer):
    """Two ends with the proxy between them."""
    client = peer(proxy.port())
    server = upstream.accept()[0]
    server.settimeout(20)
    with server:
        # Only now are both connections established in the proxy's eyes, too.
        client.send(b"!")
        assert server.recv(1) == b"!"
        yield client, server


def reset(one) -> None:
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    one.close()


def read_all(one) -> bytes:
    with one.makefile("rb") as file:
        return file.read()


def test_bytes_pass_both_ways(pair):
    client, server = pair
    client.send(b"question\n")
    assert server.recv(100) == b"question\n"
    server.sendall(b"answer\n")
    assert client.line() == b"answer"


def test_each_direction_ends_by_itself(pair, proxy):
    client, server = pair
    client.send(b"everything")
    client.end()
    assert read_all(server) == b"everything"
    server.sendall(b"and the answer")
    server.shutdown(socket.SHUT_WR)
    assert client.rest() == b"and the answer"
    proxy.until("done: 11 bytes there, 14 back")


def test_much_both_ways_at_once_and_slow_readers(pair):
    client, server = pair
    there, back = os.urandom(8_000_000), os.urandom(9_000_000)

    def send(one, data) -> None:
        one.sendall(data)
        one.shutdown(socket.SHUT_WR)

    senders = [
        threading.Thread(target=send, args=(client.socket, there)),
        threading.Thread(target=send, args=(server, back)),
    ]
    for sender in senders:
        sender.start()
    # One after the other: while nobody reads a direction, the proxy has to hold its sender up.
    assert client.rest() == back
    assert read_all(server) == there
    for sender in senders:
        sender.join()


def test_a_client_that_breaks_off_takes_the_other_connection_along(pair, proxy):
    client, server = pair
    client.file.close()
    reset(client.socket)
    assert server.recv(100) == b""
    proxy.until("failed: read ECONNRESET")


def test_a_server_that_breaks_off_takes_the_client_along(pair, proxy):
    client, server = pair
    reset(server)
    assert client.rest() == b""
    proxy.until("failed: read ECONNRESET")


def test_a_server_that_is_not_there_closes_the_client_and_the_proxy_lives(
    program, example, peer, unused_port
):
    proxy = example(program, "--port", 0, "--to", f"127.0.0.1:{unused_port}")
    port = proxy.port()
    for _ in range(2):
        assert peer(port).rest() == b""
        proxy.until(f"failed: connect ECONNREFUSED 127.0.0.1:{unused_port}")


def test_in_front_of_another_example(program, example, peer):
    echo = example("echo", "--port", 0)
    proxy = example(program, "--port", 0, "--to", f"localhost:{echo.port()}")
    one = peer(proxy.port())
    one.send(b"through two programs")
    one.end()
    assert one.rest() == b"through two programs"


def test_a_target_without_port_is_a_message(program, example):
    code, _, err = example(program, "--to", "nowhere").wait()
    assert code == 2
    assert "--to needs a host and a port, not 'nowhere'" in err


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
def test_it_ends_cleanly(pair, proxy):
    client, server = pair
    client.send(b"x")
    assert server.recv(1) == b"x"
    proxy.stop()
    assert (client.rest(), server.recv(1)) == (b"", b"")
