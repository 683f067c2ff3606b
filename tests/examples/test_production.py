"""examples/production.py"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

PROGRAM = Path(__file__).resolve().parent.parent.parent / "examples" / "production.py"
unix = pytest.mark.skipif(sys.platform == "win32", reason="signals and descriptors of unix")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def test_it_answers_and_stops(example, peer):
    running = example("production", "--port", 0)
    one = peer(running.port())
    one.send(b"hello\nwor")
    assert one.line() == b"HELLO"
    one.send(b"ld\n")
    assert one.line() == b"WORLD"
    one.close()


def test_metrics_are_served(example, peer):
    scraped = free_port()
    running = example("production", "--port", 0, "--metrics", scraped)
    one = peer(running.port())
    one.send(b"hello\n")
    assert one.line() == b"HELLO"
    with urllib.request.urlopen(f"http://127.0.0.1:{scraped}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    assert 'pyuvnet_server_connections{server="lines"} 1' in text
    assert 'pyuvnet_server_received_bytes_total{server="lines"} 6' in text


@unix
def test_a_request_that_is_on_its_way_is_answered_at_the_end(example, peer):
    running = example("production", "--port", 0)
    port = running.port()
    one = peer(port)
    one.send(b"fi")
    other = peer(port)
    other.settle(b"x\n", b"X\n")
    running.process.send_signal(signal.SIGTERM)
    one.send(b"rst\n")
    assert one.line() == b"FIRST"
    assert one.line() == other.line() == b""
    one.close()
    other.close()
    code, _, err = running.wait()
    assert (code, err) == (0, "")


def test_a_line_over_the_limit_ends_its_connection(example, peer):
    running = example("production", "--port", 0)
    port = running.port()
    one, other = peer(port), peer(port)
    one.send(b"x" * 5000)
    with contextlib.suppress(ConnectionResetError):
        assert one.rest() == b""
    other.send(b"y\n")
    assert other.line() == b"Y"


@unix
def test_it_takes_the_socket_of_a_service_manager(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        os.set_inheritable(listener.fileno(), True)
        code = (
            "import os, sys; os.dup2(int(sys.argv[1]), 3);"
            "os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()));"
            "os.execv(sys.executable, [sys.executable, *sys.argv[2:]])"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(listener.fileno()), str(PROGRAM)],
            stdout=subprocess.PIPE,
            pass_fds=[listener.fileno()],
        )
        port = listener.getsockname()[1]
    assert process.stdout is not None
    assert process.stdout.readline().endswith(b":%d\n" % port)
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"hello\n")
        assert client.recv(100) == b"HELLO\n"
    process.terminate()
    end = time.monotonic() + 20
    assert process.wait(timeout=end - time.monotonic()) == 0
    process.stdout.close()


@pytest.mark.skipif(sys.platform != "linux", reason="/proc has the children of a process")
def test_a_signal_lets_a_new_version_take_over(example, peer):
    running = example("production", "--port", 0)
    port = running.port()
    old = running.process.pid
    one = peer(port)
    one.settle(b"x\n", b"X\n")
    running.process.send_signal(signal.SIGUSR2)
    assert running.port() == port
    (new,) = map(int, Path(f"/proc/{old}/task/{old}/children").read_text().split())
    try:
        # The old one serves its connection until that has been silent for a second.
        one.send(b"y\n")
        assert one.line() == b"Y"
        assert one.line() == b""
        one.close()
        assert running.process.wait(20) == 0
        other = peer(port)
        other.settle(b"z\n", b"Z\n")
        other.close()
    finally:
        os.kill(new, signal.SIGTERM)
    # It ends well, too, and both have said nothing else.
    _, out, err = running.wait()
    assert (out, err) == ("", "")


@unix
def test_health_checks_fail_while_it_is_to_stop(example, peer):
    running = example("production", "--port", 0, "--proxy", "127.0.0.1")
    port = running.port()
    local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"
    check = peer(port)
    check.send(local + b"ping\n")
    assert check.line() == b"PING"
    check.close()
    running.process.send_signal(signal.SIGTERM)
    answer = b"PING"
    while answer:
        with contextlib.suppress(ConnectionResetError), contextlib.closing(peer(port)) as check:
            answer = b""
            check.send(local + b"ping\n")
            answer = check.line()
    # Clients are served meanwhile.
    one = peer(port)
    one.send(b"PROXY TCP4 192.0.2.1 198.51.100.1 1000 2000\r\nhello\n")
    assert one.line() == b"HELLO"
    one.close()
    running.process.send_signal(signal.SIGTERM)
    assert running.wait()[0] == 0


def test_behind_a_balancer_the_header_is_required(example, peer):
    running = example("production", "--port", 0, "--proxy", "127.0.0.1")
    port = running.port()
    one = peer(port)
    one.send(b"PROXY TCP4 192.0.2.1 198.51.100.1 1000 2000\r\nhello\n")
    assert one.line() == b"HELLO"
    other = peer(port)
    other.send(b"hello\n")
    with contextlib.suppress(ConnectionResetError):
        assert other.rest() == b""
    one.close()
