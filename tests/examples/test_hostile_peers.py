"""Every server of examples/, among peers that reset, stay silent, end halfway, and never read."""

from __future__ import annotations

import contextlib
import socket
import struct
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="they are ended by a signal")

SERVERS = {
    "allow_deny": (["--host", "127.0.0.1", "--allow", "127.0.0.0/8"], b"", b"welcome"),
    "chat": ([], b"two words\n", b"taken, or not"),
    "chat_async": ([], b"two words\n", b"taken, or not"),
    "echo": ([], b"still here?", b"still here?"),
    "frames": (
        [],
        (35).to_bytes(4, "big") + b'{"method": "add", "params": [1, 2]}',
        b'{"result": 3}',
    ),
    "guess_async": ([], b"x\n", b"that is not a number"),
    "handover": (["--idle", "200", "--patience", "60000"], b"", b"counted 0 lines"),
    "http_async": ([], b"GET /ann HTTP/1.1\r\nHost: x\r\n\r\n", b"Hello, ann!"),
    "http_hello": ([], b"GET /ann HTTP/1.0\r\n\r\n", b"Hello, ann!"),
    "lines": ([], b"GET a\n", b"NONE"),
    "proxy": (None, b"still here?", b"still here?"),
    "proxy_async": (None, b"still here?", b"still here?"),
    "retry_listen": ([], b"", b"hello"),
    "rpc_async": (
        ["--serve"],
        b'{"id": 1, "method": "add", "params": [1, 2]}\n',
        b'{"id": 1, "result": 3}',
    ),
    "send_files": (["--root", "examples"], b"README.md\n", b"# Examples"),
}


@pytest.fixture(params=SERVERS)
def attacked(request, example):
    """A server, its port, and a question with what the answer has to hold."""
    arguments, question, answer = SERVERS[request.param]
    if arguments is None:
        arguments = ["--to", f"127.0.0.1:{example('echo', '--port', 0).port()}"]
    server = example(request.param, "--port", 0, *arguments)
    return server, server.port(), question, answer


def reset(one) -> None:
    one.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    one.close()


def test_the_next_client_is_served(attacked, peer):
    server, port, question, answer = attacked
    idle = [peer(port) for _ in range(5)]
    for _ in range(20):
        reset(peer(port))
    for data in (b"\xff" * 1000, question * 50, b"x" * 200_000):
        half, gone, deaf = peer(port), peer(port), peer(port)
        for one in (half, gone, deaf):
            with contextlib.suppress(OSError):
                one.socket.settimeout(0.3)
                one.send(data)
        with contextlib.suppress(OSError):
            half.end()
        reset(gone)
    client = peer(port)
    client.send(question)
    if b"counted" in answer:
        client.end()
    said = b""
    while answer not in said:
        piece = client.socket.recv(65536)
        assert piece, said
        said += piece
    # All of these are still there, and do not keep it from ending.
    assert len(idle) == 5
    server.stop()


def test_who_goes_on_sending_does_not_stay(example, peer):
    server = example("http_hello", "--port", 0, "--timeout", 500)
    one = peer(server.port())
    one.send(b"GET / HTTP/1.0\r\n\r\n")
    assert one.line().startswith(b"HTTP/1.0 200")
    with contextlib.suppress(ConnectionError):
        while True:
            one.send(b"x" * 65536)
