"""examples/http_hello.py"""

from __future__ import annotations

import shutil
import subprocess
import sys
import urllib.request

import pytest

CURL = shutil.which("curl")


@pytest.fixture
def server(example):
    return example("http_hello", "--port", 0)


@pytest.fixture
def port(server):
    return server.port()


@pytest.mark.skipif(CURL is None, reason="no curl here")
class TestCurl:
    def curl(self, *arguments: str) -> str:
        done = subprocess.run(
            [CURL, "--silent", "--show-error", "--noproxy", "*", "--max-time", "20", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def test_reads_the_greeting(self, port):
        assert self.curl(f"http://127.0.0.1:{port}/") == "Hello, stranger!\n"
        assert self.curl(f"http://127.0.0.1:{port}/J%C3%BCrgen?x=1") == "Hello, Jürgen!\n"

    def test_sees_head_and_status(self, port):
        said = self.curl("--http1.0", "--include", f"http://127.0.0.1:{port}/you")
        head, body = said.split("\n\n")
        assert head.splitlines()[0] == "HTTP/1.0 200 OK"
        assert "Content-Length: 12" in head
        assert body == "Hello, you!\n"

    def test_head_has_no_body(self, port):
        said = self.curl("--head", f"http://127.0.0.1:{port}/you")
        assert said.splitlines()[0] == "HTTP/1.0 200 OK"
        assert "Content-Length: 12" in said
        assert "Hello" not in said

    def test_another_method_with_a_large_body_is_told_so(self, port):
        # More than is read before the answer; unread, it would reset the connection.
        where = f"http://127.0.0.1:{port}/"
        text = self.curl(
            "--data-binary", "x" * 100_000, "-H", "Expect:", "-w", "%{http_code}", where
        )
        assert text == "GET and HEAD only\n501"


@pytest.mark.spec("N130")
def test_urllib_reads_it(port):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}/you", timeout=20) as answer:
        assert (answer.status, answer.read()) == (200, b"Hello, you!\n")


def status(answer: bytes) -> bytes:
    return answer.partition(b"\r\n")[0]


def test_an_answer_to_head_has_no_body(port, peer):
    one = peer(port)
    one.send(b"HEAD /you HTTP/1.0\r\n\r\n")
    head, body = one.rest().split(b"\r\n\r\n")
    assert b"\r\nContent-Length: 12\r\n" in head
    assert body == b""


@pytest.mark.spec("N130")
def test_a_request_byte_for_byte(port, peer):
    one = peer(port)
    for byte in b"GET /bytes HTTP/1.0\r\n\r":
        one.send(bytes([byte]))
    # Accepted later and read after that: when it is answered, what came before has been read.
    other = peer(port)
    other.send(b"GET / HTTP/1.0\r\n\r\n")
    assert status(other.rest()) == b"HTTP/1.0 200 OK"
    one.send(b"\n")
    assert one.rest().endswith(b"\r\n\r\nHello, bytes!\n")


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (b"nonsense\r\n\r\n", b"HTTP/1.0 400 Bad Request"),
        (b"\r\n\r\n", b"HTTP/1.0 400 Bad Request"),
        (b"GET / FTP/1.0\r\n\r\n", b"HTTP/1.0 400 Bad Request"),
        (b"PUT / HTTP/1.1\r\n\r\n", b"HTTP/1.0 501 Not Implemented"),
        (b"GET / HTTP/1.0\r\nA: " + b"x" * 8192, b"HTTP/1.0 431 Request Header Fields Too Large"),
    ],
)
def test_bad_requests(port, peer, request_, expected):
    one = peer(port)
    one.send(request_)
    assert status(one.rest()) == expected


@pytest.mark.spec("N135")
def test_who_says_nothing_is_told_and_closed(example, peer):
    server = example("http_hello", "--port", 0, "--timeout", 50)
    assert status(peer(server.port()).rest()) == b"HTTP/1.0 408 Request Timeout"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
def test_it_ends_cleanly(server, port, peer):
    one, other = peer(port), peer(port)
    other.send(b"GET / HTTP/1.0\r\n\r\n")
    other.rest()
    server.stop()
    assert one.rest() == b""
