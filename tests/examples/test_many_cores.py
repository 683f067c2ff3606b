"""examples/many_cores.py"""

from __future__ import annotations

import os
import re
import signal
import socket
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers are of unix systems")


def ask(port: int) -> int:
    """The process that answers."""
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(b"hello\n")
        return int(client.recv(100).split(b":")[0])


def test_workers_are_replaced_and_stop(example):
    primary = example("many_cores", "--workers", 2, "--port", 0)
    port = int(primary.until(r"listening on 127.0.0.1:(\d+)")[1])
    assert int(primary.until(r"listening on 127.0.0.1:(\d+)")[1]) == port
    first = {ask(port) for _ in range(4)}
    assert len(first) == 2
    # One dies, and is started again.
    os.kill(first.pop(), signal.SIGKILL)
    primary.until("ended: SIGKILL")
    primary.until("listening on")
    assert len({ask(port) for _ in range(4)}) == 2
    # All are replaced, and a client that is served is not cut off.
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(b"before\n")
        before = client.recv(100)
        primary.process.send_signal(signal.SIGHUP)
        primary.until("listening on")
        primary.until("listening on")
        assert ask(port)
        client.sendall(b"still\n")
        assert client.recv(100).split(b":")[0] == before.split(b":")[0]
    primary.process.send_signal(signal.SIGTERM)
    code, out, err = primary.wait()
    assert (code, err) == (0, "")
    assert len(re.findall("ended: 0", out)) >= 2
