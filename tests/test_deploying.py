"""The programs of docs/guide/shutdown.md, under what a careless or hostile operator does."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the programs use signals")

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "guide" / "shutdown.md").read_text("utf-8")
SECONDS = 20


def program(name: str) -> str:
    """The text of a program of the page."""
    found = re.search(rf"^```python file={re.escape(name)} [^\n]*\n(.*?)^```$", PAGE, re.M | re.S)
    assert found is not None
    return found[1]


@pytest.fixture
def port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        number: int = one.getsockname()[1]
        return number


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """start(name, text, *arguments) runs a program; what it has started ends with the test."""
    started: list[subprocess.Popen[str]] = []

    def run(name: str, text: str, *arguments: str) -> subprocess.Popen[str]:
        (tmp_path / name).write_text(text, "utf-8")
        started.append(
            subprocess.Popen(
                [sys.executable, "-u", name, *arguments],
                cwd=tmp_path,
                env=dict(os.environ, PYTHONPATH=str(ROOT)),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        )
        return started[-1]

    yield run
    for process in started:
        # Its successors are in its session.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def connect(port: int) -> socket.socket:
    """Connect, as soon as somebody listens."""
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
        except ConnectionRefusedError:
            continue


# ---- app.py: the end by SIGTERM ------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["before", "after"])
def test_who_asks_at_the_end_gets_the_answer(
    moment: str, port: int, start: Callable[..., subprocess.Popen[str]]
) -> None:
    text = program("app.py").replace("8124", str(port))
    text = text.replace("timeout=10_000", "timeout=20_000, idle_grace=3_000")
    process = start("app.py", text)
    assert process.stdout is not None
    assert process.stdout.readline() == "listening\n"
    clients = [connect(port) for _ in range(100)]
    for client in clients:
        client.sendall(b"before")
        assert client.recv(100) == b"before"
    if moment == "before":
        # All ask while it is busy with something else; then comes the signal.
        process.send_signal(signal.SIGSTOP)
        for client in clients:
            client.sendall(b"question")
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGCONT)
    else:
        process.send_signal(signal.SIGTERM)
        # Refused, or reset if it comes while the listener closes.
        with contextlib.suppress(ConnectionError):
            while True:
                socket.create_connection(("127.0.0.1", port)).close()
        for client in clients:
            client.sendall(b"question")
    answered = 0
    for client in clients:
        with contextlib.suppress(ConnectionError):
            answered += client.recv(100) == b"question"
    assert answered == 100
    # The silent ones are ended then, and it with them.
    for client in clients:
        assert client.recv(100) == b""
        client.close()
    assert process.wait(SECONDS) == 0


def test_who_goes_on_asking_and_who_never_reads_are_cut_off(
    port: int, start: Callable[..., subprocess.Popen[str]]
) -> None:
    text = program("app.py").replace("8124", str(port)).replace("10_000", "1500")
    process = start("app.py", text)
    assert process.stdout is not None
    assert process.stdout.readline() == "listening\n"
    asking, stuck = connect(port), connect(port)
    stuck.settimeout(0.5)
    with contextlib.suppress(TimeoutError):
        while True:
            stuck.send(b"x" * 65536)
    process.send_signal(signal.SIGTERM)
    with contextlib.suppress(ConnectionError):
        while asking.send(b"?") and asking.recv(100):
            pass
    assert process.wait(SECONDS) == 0
    asking.close()
    stuck.close()


# ---- service.py: the replacement by SIGHUP -------------------------------------------------------


def ask(port: int) -> tuple[socket.socket, int]:
    client = connect(port)
    with client.makefile() as lines:
        return client, int(lines.readline())


def serving(port: int) -> int:
    """The process that serves a new connection."""
    client, number = ask(port)
    client.close()
    return number


def members(process: subprocess.Popen[str]) -> set[int]:
    """The processes of its session that live."""
    found = set()
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            try:
                fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == process.pid and fields[0] != "Z":
                found.add(int(entry))
    return found


linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@pytest.mark.parametrize(
    "new",
    [
        "raise SystemExit('no')",
        "import no_such_module",
        "this is no Python",
        "import os; os.abort()",
    ],
)
def test_a_new_version_that_does_not_start_leaves_the_old_one(
    new: str, port: int, tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    text = program("service.py")
    process = start("service.py", text, str(port))
    kept, first = ask(port)
    (tmp_path / "service.py").write_text(new + "\n")
    process.send_signal(signal.SIGHUP)
    assert process.stdout is not None
    assert process.stdout.readline() == "the new version does not start\n"
    for _ in range(20):
        assert serving(port) == first == process.pid
    # Put right, it is replaced.
    (tmp_path / "service.py").write_text(text)
    process.send_signal(signal.SIGHUP)
    while (second := serving(port)) == first:
        pass
    kept.sendall(b"still served")
    assert kept.recv(100) == b"still served"
    kept.close()
    assert process.wait(SECONDS) == 0
    os.kill(second, signal.SIGTERM)


def test_a_new_version_that_hangs_is_given_up(
    port: int, tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    text = program("service.py").replace("10_000", "500")
    process = start("service.py", text, str(port))
    assert serving(port) == process.pid
    (tmp_path / "service.py").write_text("import time\nwhile True: time.sleep(100)\n")
    process.send_signal(signal.SIGHUP)
    assert process.stdout is not None
    assert process.stdout.readline() == "the new version does not start\n"
    assert serving(port) == process.pid
    process.send_signal(signal.SIGTERM)
    assert process.wait(SECONDS) == 0


@linux
def test_many_hang_ups_leave_one_successor(
    port: int, start: Callable[..., subprocess.Popen[str]]
) -> None:
    process = start("service.py", program("service.py"), str(port))
    kept, first = ask(port)
    for _ in range(5):
        process.send_signal(signal.SIGHUP)
        # It has been heard when this is answered.
        kept.sendall(b"x")
        assert kept.recv(1) == b"x"
    while (second := serving(port)) == first:
        pass
    process.send_signal(signal.SIGHUP)
    kept.sendall(b"x")
    assert kept.recv(1) == b"x"
    kept.close()
    assert process.wait(SECONDS) == 0
    assert members(process) == {second}
    assert {serving(port) for _ in range(20)} == {second}
    # The successor can be replaced like the first.
    os.kill(second, signal.SIGHUP)
    while (third := serving(port)) == second:
        pass
    while members(process) != {third}:
        pass
    os.kill(third, signal.SIGTERM)


def test_nobody_is_refused_while_it_is_replaced(
    port: int, start: Callable[..., subprocess.Popen[str]]
) -> None:
    process = start("service.py", program("service.py"), str(port))
    first = serving(port)
    process.send_signal(signal.SIGHUP)
    seen: set[int] = set()
    while len(seen) < 2:
        with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as client:
            seen.add(int(client.makefile().readline()))
    assert process.wait(SECONDS) == 0
    (second,) = seen - {first}
    os.kill(second, signal.SIGTERM)
