"""The log of a primary, whose reader stops reading."""

from __future__ import annotations

import contextlib
import logging
import os
import pty
import signal
import socket
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pyuvnet
from tests.conftest import child_environment
from tests.support.processes import gone
from tests.support.serving import LOCAL, linux, wait_for_file

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers are of unix systems")

if sys.platform != "win32":
    from pyuvnet._serve import log


@pytest.fixture(params=["pipe", pytest.param("polled", marks=linux), "socket", "terminal"])
def ends(request: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, int]]:
    """What reads and what writes, as stderr may be."""
    if request.param == "socket":
        here, there = (one.detach() for one in socket.socketpair())
    elif request.param == "terminal":
        here, there = pty.openpty()
        settings = termios.tcgetattr(there)
        settings[1] &= ~termios.OPOST
        termios.tcsetattr(there, termios.TCSANOW, settings)
    else:
        here, there = os.pipe()
    if request.param == "polled":
        # As where the pipe is another user's, and cannot be opened once more.
        monkeypatch.setattr(log.sys, "platform", "another")
    yield here, there
    os.close(here)
    os.close(there)


@pytest.fixture
def logger(ends: tuple[int, int]) -> Iterator[logging.Logger]:
    found = logging.Logger("of the test")
    found.addHandler(log.Handler(ends[1]))
    yield found
    found.handlers[0].close()
    pyuvnet.run()


def read(fd: int) -> str:
    """All that can be read at once."""
    parts = []
    os.set_blocking(fd, False)
    with contextlib.suppress(BlockingIOError):
        while part := os.read(fd, 1 << 16):
            parts.append(part)
    return b"".join(parts).decode()


def test_a_line_that_does_not_fit_is_lost_and_counted(
    ends: tuple[int, int], logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "_AGAIN", 10)
    handler: Any = logger.handlers[0]
    logger.warning("begin")
    written = 0
    while handler.lost < 3:
        written += 1
        logger.warning("%s %d", "x" * 997, written)
    # The flags that others share are as they were.
    assert os.get_blocking(ends[1])
    there = read(ends[0])
    # What was cut is completed, and another line says how many are missing.
    logger.warning("after")
    there += read(ends[0])
    lines = there.splitlines()
    assert lines[0] == "begin"
    whole = [f"{'x' * 997} {number}" for number in range(1, written - 2)]
    assert lines[1:] == [*whole, "the log could not be written: 3 lines were lost", "after"]
    # Also if no other line comes.
    while handler.lost < 4:
        logger.warning("%s", "x" * 997)
    read(ends[0])
    alive = pyuvnet.set_interval(lambda: None, 5)
    while handler._looks:
        pyuvnet.current_loop().turn(True)
    alive.close()
    assert read(ends[0]).endswith("the log could not be written: 1 line was lost\n")


@linux
def test_a_disk_that_is_full_ends_nothing(tmp_path: Path) -> None:
    with open("/dev/full", "wb") as full, open(tmp_path / "log", "wb") as file:
        stderr = os.dup(full.fileno())
        handler = log.Handler(stderr)
        record = logging.makeLogRecord({"msg": "hello"})
        handler.handle(record)
        assert handler.lost == 1
        # It is rotated by a program that puts another file in its place.
        os.dup2(file.fileno(), stderr)
        handler.handle(record)
        handler.close()
        handler.handle(record)
        os.close(stderr)
    text = (tmp_path / "log").read_text()
    assert text == "the log could not be written: 1 line was lost\nhello\n"
    pyuvnet.run()


BACKGROUND = """
import fcntl, logging, os, signal, sys, termios
from pyuvnet._serve.log import Handler
fcntl.ioctl(2, termios.TIOCSCTTY, 0)
pid = os.fork()
if pid:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
os.setpgid(0, 0)
signal.signal(signal.SIGTTOU, lambda *given: os._exit(7))
Handler(2).handle(logging.makeLogRecord({"msg": "hello"}))
os._exit(0)
"""


@linux
def test_a_job_in_the_background_logs_to_a_terminal_that_it_may_not_write_to() -> None:
    """The kernel's SIGTTOU would be taken for an order, and would come again with each attempt."""
    here, there = pty.openpty()
    settings = termios.tcgetattr(there)
    settings[3] |= termios.TOSTOP
    termios.tcsetattr(there, termios.TCSANOW, settings)
    command = [sys.executable, "-c", BACKGROUND]
    child = subprocess.run(
        command, stderr=there, env=child_environment(), start_new_session=True, timeout=20
    )
    assert (child.returncode, read(here)) == (0, "hello\r\n")
    os.close(here)
    os.close(there)


@linux
@pytest.mark.slow
def test_a_primary_whose_log_stalls_obeys(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("def app(socket): socket.end('served')")
    here, there = os.pipe()
    primary = subprocess.Popen(
        [sys.executable, "-m", "pyuvnet", "serve", "app:app", *LOCAL, "--pid-file", "pid"],
        cwd=tmp_path,
        env=child_environment(),
        stderr=there,
        start_new_session=True,
    )
    try:
        wait_for_file(tmp_path / "pid")
        # Opened once more, since the flags of the other one are the primary's too.
        own = os.open(f"/proc/self/fd/{there}", os.O_WRONLY | os.O_NONBLOCK)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(own, b"x")
        os.close(own)
        primary.send_signal(signal.SIGTERM)
        assert primary.wait(20) == 0
    finally:
        primary.kill()
        primary.wait()
        assert gone(primary.pid, 20)
        os.close(here)
        os.close(there)
