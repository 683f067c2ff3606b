"""examples/http_async.py"""

from __future__ import annotations

import http.client
import shutil
import socket
import struct
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="asyncio has no signal handlers")


@pytest.fixture
def server(example):
    return example("http_async", "--port", 0)


@pytest.fixture
def port(server):
    return server.port()


def response(one) -> tuple[int, dict[str, str], bytes]:
    """Read one answer."""
    status = int(one.line().split()[1])
    fields = {}
    while line := one.line().strip():
        name, _, value = line.decode().partition(": ")
        fields[name] = value
    return status, fields, one.read(int(fields["Content-Length"]))


def reset(one) -> None:
    one.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    one.close()


def test_many_requests_over_one_connection(port):
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    client.connect()
    used = client.sock
    for number in range(50):
        client.request("GET", f"/guest%20{number}?x=1")
        answer = client.getresponse()
        assert (answer.status, answer.read()) == (200, b"Hello, guest %d!\n" % number)
        client.request("POST", "/", body=b"abc" * number)
        answer = client.getresponse()
        assert (answer.status, answer.read()) == (200, b"ABC" * number)
    assert client.sock is used
    client.request("HEAD", "/")
    answer = client.getresponse()
    assert (answer.headers["Content-Length"], answer.read()) == ("17", b"")
    client.close()


def test_requests_that_come_at_once_or_in_pieces(port, peer):
    one = peer(port)
    request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
    one.send(request * 3)
    assert [response(one)[2] for _ in range(3)] == [b"ABC"] * 3
    for number in range(len(request)):
        one.send(request[number : number + 1])
    assert response(one)[2] == b"ABC"


def test_a_peer_that_ends_its_side_gets_all_answers(port, peer):
    one = peer(port)
    one.send(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n")
    one.end()
    assert response(one)[2] == b"Hello, a!\n"
    assert response(one)[2] == b"Hello, b!\n"
    assert one.rest() == b""


@pytest.mark.parametrize(
    "request_",
    [b"GET / HTTP/1.0\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"],
)
def test_the_last_request_of_a_connection(port, peer, request_):
    one = peer(port)
    one.send(request_)
    status, fields, body = response(one)
    assert (status, fields["Connection"], body) == (200, "close", b"Hello, stranger!\n")
    assert one.rest() == b""


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"what?\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 9000, 431),
    ],
)
def test_what_is_refused_ends_the_connection(port, peer, request_, status):
    one = peer(port)
    one.send(request_)
    assert response(one)[0] == status
    assert one.rest() == b""


GET, POST = b"GET / HTTP/1.1\r\nHost: x\r\n", b"POST / HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", 400),
        (POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\n", 400),
        (POST + b"Content-Length: 0\r\ncontent-length: 35\r\n\r\n", 400),
        (POST + b"Content-Length: 3, 3\r\n\r\n", 400),
        (POST + b"Content-Length: +3\r\n\r\n", 400),
        (POST + b"Content-Length: 0x3\r\n\r\n", 400),
        (POST + b"Content-Length: 1_0\r\n\r\n", 400),
        (POST + b"Content-Length:\r\n\r\n", 400),
        (POST + b"Content-Length : 3\r\n\r\n", 400),
        (POST + b"X: y\r\n Content-Length: 3\r\n\r\n", 400),
        (POST + b"X: y\nContent-Length: 3\r\n\r\n", 400),
        (POST + b"X: y\rContent-Length: 3\r\n\r\n", 400),
        (POST + b"X: \0\r\n\r\n", 400),
        (GET + b"Host: y\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (POST + b"Expect: the-unexpected\r\nContent-Length: 3\r\n\r\n", 417),
    ],
)
def test_what_two_servers_could_read_in_two_ways_is_refused(port, peer, request_, status):
    one = peer(port)
    # What follows would be a request of its own to who had read the first in the other way.
    one.send(request_ + b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")
    assert response(one)[0] == status
    one.end()
    assert one.rest() == b""


def test_a_line_feed_alone_ends_no_head(example, peer):
    server = example("http_async", "--port", 0, "--seconds", 0.3)
    one = peer(server.port())
    one.send(b"GET / HTTP/1.1\nHost: x\n\n")
    assert one.rest() == b""
    server.until("silent for too long")


def test_a_body_is_asked_for(port, peer):
    one = peer(port)
    for _ in range(2):
        one.send(POST + b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        assert (one.line(), one.line()) == (b"HTTP/1.1 100 Continue\r", b"\r")
        one.send(b"abc")
        assert response(one)[2] == b"ABC"
    one.send(POST + b"Content-Length: 3000000\r\nExpect: 100-continue\r\n\r\n")
    assert response(one)[0] == 413


def test_http_1_0_goes_on_if_asked_to(port, peer):
    one = peer(port)
    for _ in range(2):
        one.send(b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")
        assert response(one)[1]["Connection"] == "keep-alive"
    one.send(b"GET / HTTP/1.0\r\n\r\n")
    assert response(one)[1]["Connection"] == "close"
    assert one.rest() == b""


def test_a_length_that_promises_more_than_comes(port, peer):
    one = peer(port)
    one.send(POST + b"Content-Length: 1000\r\n\r\nabc")
    one.end()
    assert response(one)[0] == 400
    assert one.rest() == b""


def test_a_head_that_comes_byte_by_byte_has_no_more_time_than_another(example, peer):
    server = example("http_async", "--port", 0, "--seconds", 0.3)
    one = peer(server.port())
    one.send(GET)
    one.socket.settimeout(0.02)
    for _ in range(500):
        try:
            one.send(b"X: y\r\n")
            if not one.socket.recv(1):
                break
        except TimeoutError:
            pass
        except ConnectionError:
            break
    else:
        pytest.fail("it was served for longer than the limit")
    server.until("silent for too long")


def test_a_peer_that_does_not_read_is_not_read_from(server, port, peer):
    server.bound_memory()
    one, other = peer(port), peer(port)
    assert one.send_until_stuck((GET + b"\r\n") * 1000) < 100_000_000
    other.send(GET + b"\r\n")
    assert response(other)[0] == 200


def test_names_of_any_bytes(port, peer):
    one = peer(port)
    one.send(b"GET /%ff%00%C3%BC%0D%0AX:%20y HTTP/1.1\r\nHost: x\r\n\r\n")
    status, fields, body = response(one)
    assert (status, body) == (200, "Hello, \ufffd\0ü\r\nX: y!\n".encode())
    assert "X" not in fields


def test_a_body_that_is_too_large_is_refused_while_it_comes(port, peer):
    one = peer(port)
    one.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n")
    one.send(b"x" * 3_000_000)
    assert response(one)[0] == 413
    one.end()
    assert one.rest() == b""


def test_a_peer_that_ends_in_the_middle(port, peer):
    head, body = peer(port), peer(port)
    head.send(b"GET / HTT")
    body.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
    for one in (head, body):
        one.end()
        assert response(one)[0] == 400
        assert one.rest() == b""


def test_a_peer_that_is_silent(example, peer):
    server = example("http_async", "--port", 0, "--seconds", 0.3)
    one = peer(server.port())
    one.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert response(one)[0] == 200
    assert one.rest() == b""
    server.until("silent for too long")


def test_a_peer_that_resets(server, port, peer):
    one, other = peer(port), peer(port)
    one.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
    other.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert response(other)[0] == 200
    reset(one)
    reset(other)
    server.until("read ECONNRESET")
    server.until("read ECONNRESET")
    third = peer(port)
    third.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert response(third)[0] == 200
    server.stop()


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl_uses_a_connection_again(port):
    url = f"http://127.0.0.1:{port}/"
    answer = subprocess.run(
        ["curl", "-sv", url + "ann", url + "bob"], capture_output=True, text=True, timeout=20
    )
    assert answer.stdout == "Hello, ann!\nHello, bob!\n"
    assert "Re-using existing connection" in answer.stderr
