"""examples/echo.py"""

from __future__ import annotations

import os
import socket
import struct
import sys
import threading

import pytest


@pytest.mark.spec("N099")
def test_every_peer_gets_its_own_bytes_back(example, peer):
    port = example("echo", "--port", 0).port()
    peers = [peer(port) for _ in range(5)]
    for number, one in enumerate(peers):
        one.send(b"I am number %d\n" % number)
    for number, one in enumerate(peers):
        assert one.line() == b"I am number %d" % number


def test_a_big_message_comes_back_whole_and_the_end_after_it(example, peer):
    one = peer(example("echo", "--port", 0).port())
    message = os.urandom(3_000_000)

    def send() -> None:
        one.send(message)
        one.end()

    sender = threading.Thread(target=send)
    sender.start()
    assert one.rest() == message
    sender.join()


def test_a_peer_that_does_not_read_is_not_read_from_either(example, peer):
    one = peer(example("echo", "--port", 0).port())
    # Both ways the kernel takes so much, and then no more.
    assert one.send_until_stuck(b"x" * 65536) < 100_000_000
    assert one.read(1000) == b"x" * 1000


@pytest.mark.spec("N139")
def test_a_reset_concerns_one_connection_only(example, peer):
    server = example("echo", "--port", 0)
    port = server.port()
    bad, good = peer(port), peer(port)
    bad.send(b"x")
    assert bad.read(1) == b"x"
    bad.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    bad.close()
    server.until("failed: read ECONNRESET")
    server.until("left after 1 bytes")
    good.send(b"still here\n")
    assert good.line() == b"still here"


def test_a_port_in_use_is_a_message_and_no_traceback(example):
    port = example("echo", "--port", 0).port()
    code, _, err = example("echo", "--port", port).wait()
    assert (code, err) == (
        1,
        f"echo: listen EADDRINUSE: address already in use 127.0.0.1:{port}\n",
    )


@pytest.mark.parametrize("how", ["stop", "interrupt"])
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM, nor SIGINT for others")
def test_it_ends_cleanly_with_connections_open(example, peer, how):
    server = example("echo", "--port", 0)
    one = peer(server.port())
    server.until("connected")
    assert "left after 0 bytes" in getattr(server, how)()
    assert one.rest() == b""
