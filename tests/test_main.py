"""The command: echo, demo and info, each run as a user runs it, in a process of its own."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys

import pytest

import pyuvnet
from pyuvnet.__main__ import main

COMMAND = [sys.executable, "-m", "pyuvnet"]


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_echo_says_where_it_listens_echoes_and_ends_on_ctrl_c() -> None:
    server = start("echo", "--host", "127.0.0.1", "--port", "0")
    try:
        line = server.stdout.readline()
        found = re.search(r"listening on 127\.0\.0\.1:(\d+)", line)
        assert found, line
        with socket.create_connection(("127.0.0.1", int(found[1])), timeout=10) as peer:
            peer.sendall(b"hello")
            peer.shutdown(socket.SHUT_WR)
            answer = b""
            while part := peer.recv(100):
                answer += part
        assert answer == b"hello"
        server.send_signal(signal.SIGINT)
        out, err = server.communicate(timeout=10)
    finally:
        server.kill()
    assert (server.returncode, err) == (0, "")
    assert "Traceback" not in out


@pytest.mark.skipif(sys.platform == "win32", reason="unix sockets have no such paths on Windows")
def test_echo_over_a_unix_socket_removes_its_file(tmp_path) -> None:
    path = tmp_path / "echo.sock"
    server = start("echo", "--path", str(path))
    try:
        assert str(path) in server.stdout.readline()
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(10)
            peer.connect(str(path))
            peer.sendall(b"over a path")
            assert peer.recv(100) == b"over a path"
        server.send_signal(signal.SIGINT)
        assert server.communicate(timeout=10)[1] == ""
    finally:
        server.kill()
    assert server.returncode == 0
    assert not path.exists()


def test_a_port_in_use_is_one_line_and_exit_code_1() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [*COMMAND, "echo", "--host", "127.0.0.1", "--port", str(port)],
            capture_output=True,
            text=True,
            timeout=20,
        )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        f"pyuvnet echo: listen EADDRINUSE: address already in use 127.0.0.1:{port}\n"
    )


@pytest.mark.parametrize("port", ["-1", "65536", "80a", "x", "1.5"])
def test_a_port_that_is_none_is_refused_with_usage(port, capsys) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["echo", f"--port={port}"])
    assert exit_.value.code == 2
    assert "is no port: 0 to 65535" in capsys.readouterr().err


@pytest.mark.spec("N104")
def test_the_demo_verifies_every_byte_and_exits_0() -> None:
    done = subprocess.run(
        [*COMMAND, "demo", "--seconds", "0.3", "--clients", "50"],
        capture_output=True,
        text=True,
        timeout=25,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"[\d,]+ messages/s, [\d,.]+ MB/s both ways", done.stdout)
    found = re.search(
        r"([\d,]+) messages, ([\d,]+) bytes each way, every byte verified", done.stdout
    )
    assert found
    messages, size = (int(text.replace(",", "")) for text in found.groups())
    assert size == messages * 1024 >= 50 * 1024


def test_the_demo_fails_when_bytes_come_back_wrong(monkeypatch, capsys) -> None:
    from pyuvnet._demo import Demo

    def corrupt(self: Demo, peer: pyuvnet.Socket) -> None:
        peer.on("data", lambda data: peer.write(b"?" * len(data)))

    monkeypatch.setattr(Demo, "_connected", corrupt)
    # Messages are random, so one byte may agree by chance; a thousand do not.
    assert Demo(2, 0.2, 1000).run() == 1
    assert "other bytes than it sent" in capsys.readouterr().err
    pyuvnet.current_loop().close()


def test_the_demo_fails_when_a_connection_is_lost(monkeypatch, capsys) -> None:
    from pyuvnet._demo import Demo

    def rude(self: Demo, peer: pyuvnet.Socket) -> None:
        peer.on("data", lambda data: peer.destroy())

    monkeypatch.setattr(Demo, "_connected", rude)
    assert Demo(2, 0.2, 1000).run() == 1
    assert capsys.readouterr().err.startswith("pyuvnet demo: ")
    pyuvnet.current_loop().close()


def test_info_prints_versions_and_build_flags(capsys) -> None:
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    assert f"pyuvnet  {pyuvnet.__version__}\n" in out
    assert f"Python   {sys.version.split()[0]} " in out
    assert re.search(r"^libuv    1\.\d+\.\d+$", out, re.M)
    assert re.search(r"^build    (release|debug)", out, re.M)


def test_stubs_are_written_where_type_checkers_look(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["stubs"]) == 0
    written = list((tmp_path / "typings" / "pyuvnet").rglob("*.pyi"))
    assert capsys.readouterr().out == f"{len(written)} stubs written to typings/pyuvnet\n"
    assert "createServer = create_server\n" in (tmp_path / "typings/pyuvnet/net.pyi").read_text()
    (tmp_path / "file").touch()
    assert main(["stubs", "file"]) == 1
    assert capsys.readouterr().err.startswith("pyuvnet: ")


def test_help_names_every_command(capsys) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--help"])
    assert exit_.value.code == 0
    out = capsys.readouterr().out
    for command in ("echo", "demo", "info", "stubs"):
        assert command in out
