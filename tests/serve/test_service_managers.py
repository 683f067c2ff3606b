"""Service managers: what they hear, and the sockets that they give."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.serving import LOCAL, connected, pids, primaries

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers are of unix systems")


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Any]:
    """What a service manager hears."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.bind(str(tmp_path / "notify"))
        one.settimeout(20)
        yield one


def heard(manager: socket.socket, wanted: str) -> str:
    """Wait for a message; returns it."""
    for _ in range(100):
        message = manager.recv(1000).decode()
        if wanted in message:
            return message
    raise AssertionError(wanted)


@pytest.mark.slow
@pytest.mark.spec("P11-09")
def test_the_service_manager_hears_what_happens(
    serve: Any, manager: socket.socket, tmp_path: Path
) -> None:
    primary = serve("app:app", *LOCAL, environment={
        "NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "1000000"})  # fmt: skip
    assert "READY=1" in heard(manager, "READY=1")
    primary.ready()
    heard(manager, "WATCHDOG=1")
    primary.send(signal.SIGHUP)
    assert "MONOTONIC_USEC=" in heard(manager, "RELOADING=1")
    heard(manager, "READY=1")
    primary.send(signal.SIGUSR2)
    new = int(heard(manager, "MAINPID=").partition("MAINPID=")[2].split()[0])
    primary.process.wait(20)
    os.kill(new, signal.SIGTERM)
    heard(manager, "STOPPING=1")
    primary.end(None)


GIVEN = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="web")
os.execv(sys.executable, [sys.executable, "-m", "pyuvnet", "serve", *sys.argv[2:]])
"""


@pytest.mark.slow
@pytest.mark.spec("P11-09")
@pytest.mark.parametrize("how", ["by itself", "--bind", "fd:3"])
def test_sockets_of_a_service_manager(serve: Any, how: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        bind = {
            "by itself": [],
            "--bind": ["--bind", f"127.0.0.1:{port}"],
            "fd:3": ["--bind", "fd:3"],
        }
        command = [sys.executable, "-c", GIVEN, str(listener.fileno()), "app:app", "--workers", "2"]
        primary = serve(command=[*command, *bind[how]], pass_fds=[listener.fileno()])
        assert primary.ready() == port
        old = pids(port)
        primary.send(signal.SIGUSR2)
        primary.process.wait(20)
        assert not pids(port) & old
        os.kill(primaries(primary)[-1], signal.SIGTERM)
        primary.end(None)
        # It is still the service manager's.
        with connected(port):
            pass
