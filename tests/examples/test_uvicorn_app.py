"""examples/uvicorn_app.py"""

from __future__ import annotations

import http.client
import json
import socket
import struct
import sys

import pytest

pytest.importorskip("uvicorn", reason="needs the extra 'frameworks'")
pytest.importorskip("fastapi", reason="needs the extra 'frameworks'")

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="it is ended by a signal")


class Program:
    """The running program, with both of its ports."""

    def __init__(self, example):
        self.example = example("uvicorn_app", "--port", 0, "--sensors", 0)
        self.sensors = int(self.example.until(r"sensors: listening on .*:(\d+)$")[1])
        port = int(self.example.until(r"running on http://127.0.0.1:(\d+) ")[1])
        self.http = http.client.HTTPConnection("127.0.0.1", port, timeout=20)

    def ask(self, method, path):
        self.http.request(method, path)
        answer = self.http.getresponse()
        return answer.status, json.loads(answer.read())


@pytest.fixture
def program(example):
    program = Program(example)
    yield program
    program.http.close()


def test_readings_of_sensors_and_of_handlers(program, peer):
    sensor = peer(program.sensors)
    sensor.send(b"kitchen 21.5\ngarden ")
    assert sensor.line() == b"ok"
    assert program.ask("GET", "/readings") == (200, {"kitchen": 21.5})
    sensor.send(b"-3\nnonsense\n")
    assert [sensor.line(), sensor.line()] == [b"ok", b"what?"]
    for number in range(100):
        assert program.ask("POST", f"/readings/cellar/{number}") == (200, "ok")
    assert program.ask("GET", "/readings") == (
        200,
        {"kitchen": 21.5, "garden": -3.0, "cellar": 99.0},
    )


def test_sensors_that_end_their_side_reset_or_send_lines_without_end(program, peer):
    half, gone, long = (peer(program.sensors) for _ in range(3))
    half.send(b"a 1\nb 2\n")
    half.end()
    assert half.rest() == b"ok\nok\n"
    gone.send(b"c 3\n")
    assert gone.line() == b"ok"
    gone.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    gone.close()
    long.send(b"x" * 1001)
    assert long.rest() == b""
    assert program.ask("GET", "/readings") == (200, {"a": 1.0, "b": 2.0, "c": 3.0})


def test_it_ends_with_its_sensors(program, peer):
    sensor = peer(program.sensors)
    sensor.send(b"a 1\n")
    assert sensor.line() == b"ok"
    sensor.end()
    assert sensor.rest() == b""
    program.http.close()
    program.example.process.terminate()
    _, out, err = program.example.wait()
    assert "Application shutdown complete." in out
    assert err == ""
