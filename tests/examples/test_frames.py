"""examples/frames.py"""

from __future__ import annotations

import contextlib
import json
import sys
import threading

import pytest


def frame(value) -> bytes:
    body = json.dumps(value).encode()
    return len(body).to_bytes(4, "big") + body


def answer(peer):
    return json.loads(peer.read(int.from_bytes(peer.read(4), "big")))


@pytest.fixture
def server(example):
    return example("frames", "--port", 0)


@pytest.fixture
def port(server):
    return server.port()


def test_a_call_has_its_answer(port, peer):
    one = peer(port)
    one.send(frame({"method": "add", "params": [1, 2, 3]}))
    assert answer(one) == {"result": 6}
    one.send(frame({"method": "fly", "params": []}))
    assert answer(one) == {"error": "KeyError('fly')"}
    one.send(frame(["no", "call"]))
    assert answer(one)["error"].startswith("TypeError")


@pytest.mark.spec("N143")
def test_many_frames_in_one_chunk(port, peer):
    one = peer(port)
    one.send(b"".join(frame({"method": "echo", "params": [n]}) for n in range(1000)))
    assert [answer(one) for _ in range(1000)] == [{"result": [n]} for n in range(1000)]


def test_one_frame_byte_for_byte(port, peer):
    one, other = peer(port), peer(port)
    for byte in frame({"method": "multiply", "params": [6, 7]}):
        one.send(bytes([byte]))
        other.settle(frame({"method": "add", "params": []}), frame({"result": 0}))
    assert answer(one) == {"result": 42}


@pytest.mark.spec("N143")
def test_a_frame_larger_than_the_buffer(port, peer):
    text = "x" * 900_000
    one = peer(port)
    one.send(frame({"method": "echo", "params": [text]}))
    assert answer(one) == {"result": [text]}


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"\xff\xff\xff\xff", "The frame is longer than the limit of 1048576 bytes"),
        (b"\0\0\0\0", "a frame is not JSON: Expecting value"),
        (b"\0\0\0\3{,}", "a frame is not JSON: Expecting property name"),
        (b"\0\0", "The stream ended inside a frame"),
        (b"\0\0\0\3{", "The stream ended inside a frame"),
    ],
)
def test_what_is_no_frame_ends_this_connection_only(server, port, peer, sent, reason):
    bad, good = peer(port), peer(port)
    bad.send(sent)
    bad.end()
    assert bad.rest() == b""
    assert reason in server.line()
    good.send(frame({"method": "add", "params": [1]}))
    assert answer(good) == {"result": 1}


@pytest.mark.parametrize(
    "params",
    [
        ["a", 1_000_000_000],
        [["a"], 1_000_000_000],
        [1_000_000_000, "a"],
        [9] * 300_000,
        [10**4000] * 200,
        [float("inf")],
        [None],
    ],
    ids=["text", "list", "text last", "many", "long", "infinite", "null"],
)
@pytest.mark.parametrize("method", ["multiply", "add"])
def test_what_would_take_all_memory_or_all_time_is_refused(server, port, peer, method, params):
    server.bound_memory()
    one = peer(port)
    # The largest of these takes minutes if it is calculated.
    one.socket.settimeout(5)
    one.send(frame({"method": method, "params": params}))
    assert answer(one)["error"].startswith(("TypeError", "ValueError"))
    one.send(frame({"method": method, "params": [2, 3]}))
    assert answer(one) == {"result": {"multiply": 6, "add": 5}[method]}


def test_an_answer_that_goes_too_deep_ends_nobody(server, port, peer):
    limit = sys.getrecursionlimit()
    one = peer(port)
    # Up to some depth there are answers; then the connection is closed, or there are errors.
    with contextlib.suppress(ConnectionError):
        for depth in range(limit - 40, limit + 5):
            body = b'{"method": "echo", "params": [' + b"[" * depth + b"]" * depth + b"]}"
            one.send(len(body).to_bytes(4, "big") + body)
        one.end()
        one.rest()
    good = peer(port)
    good.send(frame({"method": "add", "params": [1]}))
    assert answer(good) == {"result": 1}


def test_a_client_that_does_not_read_is_not_read_from(server, port, peer):
    one = peer(port)
    call = frame({"method": "echo", "params": ["x" * 60_000]})
    assert one.send_until_stuck(call * 10) < 100_000_000
    other = peer(port)
    other.send(frame({"method": "add", "params": [1]}))
    assert answer(other) == {"result": 1}


def test_a_client_that_reads_late_has_all_answers(server, port, peer):
    one = peer(port)
    calls = 2000
    sent = frame({"method": "echo", "params": ["x" * 10_000]}) * calls

    def send() -> None:
        one.send(sent)
        one.end()

    sender = threading.Thread(target=send)
    sender.start()
    for _ in range(calls):
        assert answer(one) == {"result": ["x" * 10_000]}
    assert one.rest() == b""
    sender.join()


def test_errors_are_not_larger_than_what_was_asked(server, port, peer):
    one = peer(port)
    one.send(frame({"method": "\u1234" * 10_000, "params": []}))
    assert len(answer(one)["error"]) < 1000


def test_its_own_client(port, example):
    call = example("frames", "--port", port, "--call", "add", "1", "2.5")
    assert call.wait() == (0, '{"result": 3.5}\n', "")


def test_a_client_without_server_says_why(example, unused_port):
    code, out, err = example("frames", "--port", unused_port, "--call", "add").wait()
    assert (code, out) == (1, "")
    assert err == f"frames: connect ECONNREFUSED 127.0.0.1:{unused_port}\n"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
def test_it_ends_cleanly(server, port, peer):
    one = peer(port)
    one.send(frame({"method": "add", "params": []}))
    assert answer(one) == {"result": 0}
    server.stop()
    assert one.rest() == b""
