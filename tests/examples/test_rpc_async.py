"""examples/rpc_async.py"""

from __future__ import annotations

import json
import socket
import struct
import sys
import threading

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="they are ended by a signal")


@pytest.fixture
def port(example):
    return example("rpc_async", "--serve", "--port", 0).port()


@pytest.fixture
def listener():
    """A server of the test's own."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        yield listener


def call(example, port, *calls, seconds=10):
    code, out, err = example("rpc_async", "--port", port, "--seconds", seconds, *calls).wait()
    assert err == ""
    return code, out.splitlines()


def test_calls_are_answered_as_they_are_done(example, port):
    code, lines = call(example, port, "sleep 0.2", "add 1 2", "add 3.5 4", "add")
    assert code == 0
    assert sorted(lines[:-1]) == ["add 1 2: 3", "add 3.5 4: 7.5", "add: 0"]
    assert lines[-1] == "sleep 0.2: slept 0.2 s"


def test_an_error_there_is_an_error_here(example, port):
    assert call(example, port, "nothing 1", "add 1 []") == (
        1,
        [
            "nothing 1: KeyError('nothing')",
            "add 1 []: TypeError(\"unsupported operand type(s) for +: 'int' and 'list'\")",
        ],
    )


def test_a_call_has_its_time_and_holds_up_no_other(example, port):
    code, lines = call(example, port, "sleep 30", "add 1 2", seconds=0.5)
    assert (code, lines) == (1, ["add 1 2: 3", "sleep 30: no reply within 0.5 s"])


@pytest.mark.parametrize("how", ["end", "reset"])
def test_all_that_wait_hear_that_the_server_has_gone(example, listener, how):
    result = []
    port = listener.getsockname()[1]
    caller = threading.Thread(
        target=lambda: result.append(call(example, port, "add 1 2", "add 3 4"))
    )
    caller.start()
    with listener.accept()[0] as connection, connection.makefile("rb") as file:
        first = json.loads(file.readline())
        assert first["method"] == "add"
        file.readline()
        connection.sendall(json.dumps({"id": first["id"], "result": 3}).encode() + b"\n")
        if how == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    caller.join()
    reason = "the server has closed the connection" if how == "end" else "read ECONNRESET"
    ((code, lines),) = result
    assert code == 1
    assert lines == ["add 1 2: 3", f"add 3 4: {reason}"] or (
        how == "reset" and lines == [f"add 1 2: {reason}", f"add 3 4: {reason}"]
    )


def test_answers_that_nobody_waits_for_and_no_json(example, listener):
    result = []
    port = listener.getsockname()[1]
    caller = threading.Thread(target=lambda: result.append(call(example, port, "add 1 2")))
    caller.start()
    with listener.accept()[0] as connection, connection.makefile("rb") as file:
        file.readline()
        connection.sendall(b'{"id": 77, "result": 1}\n{"id"')
        connection.sendall(b": 0, oh}\n")
        caller.join()
    ((code, lines),) = result
    assert code == 1
    assert lines[0].startswith("add 1 2: Expecting property name")


def test_nobody_there(example, unused_port):
    code, _, err = example("rpc_async", "--port", unused_port, "add 1 2").wait()
    assert (code, err) == (1, f"rpc_async: connect ECONNREFUSED 127.0.0.1:{unused_port}\n")


def test_a_peer_that_ends_its_side_gets_all_answers(port, peer):
    one = peer(port)
    for number in range(3):
        params = [0.1 * (3 - number)]
        one.send(json.dumps({"id": number, "method": "sleep", "params": params}).encode() + b"\n")
    one.end()
    answers = [json.loads(line) for line in one.rest().splitlines()]
    assert [answer["id"] for answer in answers] == [2, 1, 0]


def test_a_peer_that_resets_or_sends_no_json_ends_its_calls_only(example, peer):
    server = example("rpc_async", "--serve", "--port", 0)
    port = server.port()
    one, other, third = peer(port), peer(port), peer(port)
    third.send(b'{"id": 1, "method": "sleep", "params": [0.5]}\n')
    one.settle(b'{"id": 1, "method": "add", "params": []}\n', b'{"id": 1, "result": 0}\n')
    one.send(b'{"id": 1, "method": "sleep", "params": [60]}\n')
    other.send(b'{"id": 1, "method": "sleep", "params": [60]}\nno json\n')
    assert other.rest() == b""
    one.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    one.close()
    server.until("127.0.0.1: ")
    server.until("127.0.0.1: ")
    assert third.line() == b'{"id": 1, "result": "slept 0.5 s"}'
    server.stop()
