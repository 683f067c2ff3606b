"""examples/ipc_async.py"""

from __future__ import annotations

import os
import re
import signal
import socket
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the path is a unix socket's")


def lines_of(example, *arguments):
    code, out, err = example("ipc_async", *arguments).wait()
    assert (code, err) == (0, "")
    first, *lines = out.splitlines()
    assert re.fullmatch(r"process \d+ listening on /.*/socket", first)
    return lines


def test_a_worker_does_all_tasks(example):
    lines = lines_of(example, 12, 97)
    assert [line.rpartition(" ")[0] for line in lines] == [
        "12: [1, 2, 3, 4, 6, 12] from process",
        "97: [1, 97] from process",
    ]
    assert len({line.rpartition(" ")[2] for line in lines}) == 1


def test_a_worker_that_dies_is_replaced_and_its_task_is_done(example):
    first, gone, *others = lines_of(example, "--dies-at", 5, 4, 5, 6)
    assert first.startswith("4: [1, 2, 4] from process ")
    assert gone.startswith("the worker died: ")
    assert [line.rpartition(" ")[0] for line in others] == [
        "5: [1, 5] from process",
        "6: [1, 2, 3, 6] from process",
    ]
    assert len({line.rpartition(" ")[2] for line in (first, *others)}) == 2


def test_ctrl_c_ends_both_and_removes_the_path(example):
    parent = example("ipc_async", *[1_000_000] * 1000)
    path = parent.until("listening on (.+)")[1]
    worker = int(parent.until(r"from process (\d+)")[1])
    parent.process.send_signal(signal.SIGINT)
    code, _, err = parent.wait()
    assert (code, err) == (130, "")
    assert not os.path.exists(os.path.dirname(path))
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


def test_the_worker_ends_with_its_parent(example, tmp_path):
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        worker = example("ipc_async", "--worker", path)
        listener.settimeout(20)
        parent = listener.accept()[0]
        with parent, parent.makefile("r") as answers:
            parent.settimeout(20)
            parent.sendall(b"6\n1")
            assert answers.readline() == f"[1, 2, 3, 6] from process {worker.process.pid}\n"
            # The answer to what came last reaches a parent that has sent its end.
            parent.sendall(b"0\n")
            parent.shutdown(socket.SHUT_WR)
            assert answers.readline() == f"[1, 2, 5, 10] from process {worker.process.pid}\n"
            assert worker.wait() == (0, "", "")


def test_a_worker_without_parent_says_why(example, tmp_path):
    path = tmp_path / "nobody"
    assert example("ipc_async", "--worker", path).wait() == (
        1,
        "",
        f"ipc_async: connect ENOENT {path}\n",
    )
