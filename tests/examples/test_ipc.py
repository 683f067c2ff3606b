"""examples/ipc.py"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sys

import pytest

unix = pytest.mark.skipif(sys.platform == "win32", reason="Python's socket knows no named pipes")


@pytest.mark.spec("N100")
def test_two_processes_talk(example):
    parent = example("ipc")
    first = parent.until(r"process (\d+) listening on (.+)")
    assert int(first[1]) == parent.process.pid
    code, out, err = parent.wait()
    assert (code, err) == (0, "")
    lines = re.findall(r"(\d+): (.*) from process (\d+)", out)
    assert [(int(number), json.loads(divisors)) for number, divisors, _ in lines] == [
        (12, [1, 2, 3, 4, 6, 12]),
        (97, [1, 97]),
        (360, [n for n in range(1, 361) if 360 % n == 0]),
    ]
    # All by one worker, and that is not the parent.
    assert len({pid for _, _, pid in lines} | {first[1]}) == 2


@unix
def test_the_worker_ends_with_its_parent(example, tmp_path):
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        worker = example("ipc", "--worker", path)
        listener.settimeout(20)
        parent = listener.accept()[0]
        with parent, parent.makefile("rb") as answers:
            parent.settimeout(20)
            parent.sendall(b"6\n7\n1")
            assert json.loads(answers.readline())["number"] == 6
            assert json.loads(answers.readline())["number"] == 7
            # So the rest of that chunk has been read, too.
            parent.sendall(b"0\n")
            answer = {"number": 10, "divisors": [1, 2, 5, 10], "pid": worker.process.pid}
            assert json.loads(answers.readline()) == answer
            parent.shutdown(socket.SHUT_WR)
            assert worker.wait() == (0, "", "")


def test_the_parent_notices_that_its_worker_is_gone(example):
    parent = example("ipc", *[1_000_000] * 1000)
    os.kill(int(parent.until(r"from process (\d+)")[1]), signal.SIGTERM)
    code, _, err = parent.wait()
    assert code == 1
    assert re.fullmatch("ipc: the worker (failed: .*|ended too early)\n", err)


@unix
def test_ctrl_c_ends_both_and_removes_the_path(example):
    parent = example("ipc", *[1_000_000] * 1000)
    path = parent.until("listening on (.+)")[1]
    worker = int(parent.until(r"from process (\d+)")[1])
    parent.process.send_signal(signal.SIGINT)
    code, _, err = parent.wait()
    assert (code, err) == (1, "")
    assert not os.path.exists(os.path.dirname(path))
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


@unix
def test_a_worker_without_parent_says_why(example, tmp_path):
    path = tmp_path / "nobody"
    assert example("ipc", "--worker", path).wait() == (
        1,
        "",
        f"ipc worker: connect ENOENT {path}\n",
    )
