"""Sockets that a service manager opened, and its notifications; with systemd's own where it is."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pyuvnet
from pyuvnet import net
from pyuvnet.errors import ArgTypeError, ArgValueError
from tests.conftest import child_environment

ACTIVATE = shutil.which("systemd-socket-activate")
VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="of unix systems")

# What a program does with the sockets that it gets: each serves one connection.
SERVE = """
    import os
    from pyuvnet import net, run

    found = net.listen_fds()
    print({name: list(fds) for name, fds in found.items()}, flush=True)
    print([name for name in os.environ if name.startswith("LISTEN_")], flush=True)
    print([os.get_inheritable(fd) for fds in found.values() for fd in fds], net.listen_fds())
    for name, fds in found.items():
        for fd in fds:
            server = net.create_server(lambda one, name=name: one.end(name))
            server.on("connection", lambda one, server=server: server.close())
            server.listen(fd=fd)
    run()
"""


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*VARIABLES, "NOTIFY_SOCKET"):
        monkeypatch.delenv(name, raising=False)


def served(connect: Callable[[], socket.socket]) -> bytes:
    with connect() as one:
        one.settimeout(20)
        return b"".join(iter(lambda: one.recv(100), b""))


def manager(listeners: list[socket.socket], code: str, **variables: str) -> Any:
    """A stand-in for a service manager: the sockets are 3 and on, and the number is the child's."""
    program = (
        "import os, sys\n"
        f"for at, fd in enumerate({[each.fileno() for each in listeners]}):\n"
        "    os.dup2(fd, 100 + at)\n"
        f"for at in range({len(listeners)}):\n"
        "    os.dup2(100 + at, 3 + at)\n"
        "    os.close(100 + at)\n"
        "os.environ['LISTEN_PID'] = str(os.getpid())\n"
        "os.execv(sys.executable, [sys.executable, '-c', sys.argv[1]])\n"
    )
    import textwrap

    return subprocess.Popen(
        [sys.executable, "-c", program, textwrap.dedent(code)],
        pass_fds=[each.fileno() for each in listeners],
        env={**child_environment(), "LISTEN_FDS": str(len(listeners)), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.spec("D124", "P9-01")
@pytest.mark.parametrize("names", [None, "http:admin", "http:http"])
def test_the_sockets_of_a_service_manager_are_found_by_name(
    names: str | None, tmp_path: Path
) -> None:
    first = socket.create_server(("127.0.0.1", 0))
    second = socket.socket(socket.AF_UNIX)
    second.bind(str(tmp_path / "s"))
    second.listen()
    variables = {} if names is None else {"LISTEN_FDNAMES": names}
    process = manager([first, second], SERVE, **variables)
    try:
        address = first.getsockname()

        def over_path() -> socket.socket:
            one = socket.socket(socket.AF_UNIX)
            one.connect(str(tmp_path / "s"))
            return one

        answers = [served(lambda: socket.create_connection(address)), served(over_path)]
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
        first.close()
        second.close()
    found = {
        None: {"unknown": [3, 4]},
        "http:admin": {"http": [3], "admin": [4]},
        "http:http": {"http": [3, 4]},
    }[names]
    # Neither variables nor descriptors are inherited, and a second call finds none.
    assert out.splitlines() == [str(found), "[]", "[False, False] {}"]
    assert err == ""
    expected = {
        None: [b"unknown"] * 2,
        "http:admin": [b"http", b"admin"],
        "http:http": [b"http"] * 2,
    }
    assert answers == expected[names]


def test_without_a_service_manager_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert net.listen_fds() == {}
    monkeypatch.setenv("LISTEN_FDS", "1")
    assert net.listen_fds() == {}
    assert "LISTEN_FDS" not in os.environ


def test_sockets_of_another_process_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_PID", str(os.getppid()))
    monkeypatch.setenv("LISTEN_FDS", "1")
    monkeypatch.setenv("LISTEN_FDNAMES", "x")
    assert net.listen_fds() == {}
    assert not [name for name in VARIABLES if name in os.environ]


@pytest.mark.spec("P0-02")
@pytest.mark.parametrize(
    ("variables", "text"),
    [
        ({"LISTEN_PID": "x"}, "LISTEN_PID must be a decimal number, not 'x'"),
        ({"LISTEN_PID": ""}, "LISTEN_PID must be a decimal number, not ''"),
        ({"LISTEN_FDS": "-1"}, "LISTEN_FDS must be a decimal number, not '-1'"),
        ({"LISTEN_FDS": "1" * 20}, "LISTEN_FDS must be a decimal number"),
        ({"LISTEN_FDNAMES": "a:b"}, "LISTEN_FDNAMES has 2 names ('a:b'), but LISTEN_FDS says 1"),
        ({"LISTEN_FDS": "2", "LISTEN_FDNAMES": "a"}, "LISTEN_FDNAMES has 1 names ('a'), but"),
    ],
)
def test_malformed_variables_raise(
    variables: dict[str, str], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"} | variables
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ArgValueError) as caught:
        net.listen_fds()
    assert caught.value.code == "ERR_INVALID_ARG_VALUE"
    assert caught.value.message.startswith(f"The environment variable {text}")


def test_a_descriptor_that_is_not_open_raises(run_child: Any) -> None:
    child = run_child(
        """
        import os
        from pyuvnet import net
        os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
        os.closerange(3, 50)
        try:
            net.listen_fds()
        except OSError as error:
            print(error.code, error.syscall)
        """
    )
    assert child.lines == ["EBADF fcntl"]


@pytest.mark.spec("P9-03")
@pytest.mark.slow
@pytest.mark.skipif(ACTIVATE is None, reason="no systemd-socket-activate here")
@pytest.mark.parametrize("kind", ["tcp", "unix", "named"])
def test_sockets_of_systemd_socket_activate(kind: str, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = free.getsockname()
    path = str(tmp_path / "s")
    where = [f"--listen={path}" if kind == "unix" else f"--listen=127.0.0.1:{address[1]}"]
    if kind == "named":
        where += ["--fdname=http"]
    import textwrap

    process = subprocess.Popen(
        [ACTIVATE, *where, f"--setenv=PYTHONPATH={child_environment()['PYTHONPATH']}",
         sys.executable, "-c", textwrap.dedent(SERVE)],
        env=child_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip

    def connect() -> socket.socket:
        for _ in range(500):
            one = socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET)
            if one.connect_ex(path if kind == "unix" else address) == 0:
                return one
            one.close()
            time.sleep(0.01)
        raise AssertionError("nobody listens")

    try:
        answer = served(connect)
        out, _ = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    name = "http" if kind == "named" else out.splitlines()[0].split("'")[1]
    assert out.splitlines()[1:] == ["[]", "[False] {}"]
    assert out.splitlines()[0] == f"{{{name!r}: [3]}}"
    assert answer == name.encode()


# ---- What a service manager hears ----------------------------------------------------------------


@pytest.fixture(params=["path", "abstract"])
def listener(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    if request.param == "abstract" and sys.platform != "linux":
        pytest.skip("abstract names are Linux's")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.settimeout(10)
        name = str(tmp_path / "notify") if request.param == "path" else f"\0{tmp_path}"
        one.bind(name)
        monkeypatch.setenv("NOTIFY_SOCKET", name.replace("\0", "@"))
        yield one


@pytest.mark.spec("D125", "P9-02")
@pytest.mark.parametrize("state", ["READY=1", "STOPPING=1", "WATCHDOG=1", "READY=1\nSTATUS=é"])
def test_a_service_manager_is_told(state: str, listener: socket.socket) -> None:
    assert pyuvnet.notify(state) is True
    assert listener.recv(1000).decode() == state


def test_without_a_service_manager_nobody_is_told() -> None:
    assert pyuvnet.notify("READY=1") is False


def test_a_service_manager_that_cannot_be_reached_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    with pytest.raises(OSError, match="sendto ENOENT") as caught:
        pyuvnet.notify("READY=1")
    assert caught.value.syscall == "sendto"  # type: ignore[attr-defined]


def test_a_service_manager_that_hangs_does_not_hang_the_program(listener: socket.socket) -> None:
    def fill() -> None:
        for _ in range(100_000):
            pyuvnet.notify("WATCHDOG=1")

    with pytest.raises(OSError, match="sendto EAGAIN"):
        fill()


@pytest.mark.parametrize(
    ("state", "error"),
    [(5, ArgTypeError), (b"READY=1", ArgTypeError), ("READY", ArgValueError), ("", ArgValueError),
     ("A=\0", ArgValueError)],
)  # fmt: skip
def test_what_is_no_state_raises(state: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        pyuvnet.notify(state)
