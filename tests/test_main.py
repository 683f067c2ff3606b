"""The command, run as a user runs it: mostly in a process of its own."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import pyuvnet
from pyuvnet.__main__ import COMMANDS, main
from tests.support.cases import cases
from tests.support.certificates import certificates

COMMAND = [sys.executable, "-m", "pyuvnet"]
posix_only = pytest.mark.skipif(
    sys.platform == "win32", reason="unix sockets have no such paths on Windows"
)


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(*arguments: str, stdin: bytes = b"") -> tuple[int, bytes, str]:
    """Run the command; returns its exit code, its output and its errors."""
    done = subprocess.run([*COMMAND, *arguments], input=stdin, capture_output=True, timeout=25)
    return done.returncode, done.stdout, done.stderr.decode()


def test_version(capsys) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--version"])
    assert exit_.value.code == 0
    assert capsys.readouterr().out == f"pyuvnet {pyuvnet.__version__}\n"


def test_without_arguments_it_prints_its_help(capsys) -> None:
    assert main([]) == 0
    out, err = capsys.readouterr()
    with pytest.raises(SystemExit):
        main(["--help"])
    assert (out, err) == (capsys.readouterr().out, "")


def test_an_unknown_command_is_refused_with_those_that_there_are(capsys) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["listen"])
    assert exit_.value.code == 2
    err = capsys.readouterr().err
    assert "'listen'" in err
    assert all(name in err for name in COMMANDS)


@cases("name", list(COMMANDS))
def test_each_command_has_help_of_its_own(name: str, capsys) -> None:
    with pytest.raises(SystemExit) as exit_:
        main([name, "--help"])
    assert exit_.value.code == 0
    assert f"usage: pyuvnet {name}" in capsys.readouterr().out


@pytest.mark.skipif(sys.platform == "win32", reason="signal masks are POSIX's")
def test_a_program_that_calls_main_keeps_its_signals() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


def test_only_the_module_of_the_command_is_imported() -> None:
    code = (
        "import sys\n"
        "from pyuvnet.__main__ import main\n"
        "main(['info'])\n"
        "print(*sorted(m for m in sys.modules if m.startswith('pyuvnet._commands.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "pyuvnet._commands.info"


def test_echo_listens_on_this_machine_alone_echoes_and_ends_on_ctrl_c() -> None:
    server = start("echo", "--port", "0")
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


@posix_only
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


def test_a_port_in_use_is_exit_code_1_with_what_to_do() -> None:
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
    why, hint = done.stderr.splitlines()
    assert why == f"pyuvnet echo: listen EADDRINUSE: address already in use 127.0.0.1:{port}"
    assert "another port" in hint


@pytest.mark.parametrize("port", ["-1", "65536", "80a", "x", "1.5"])
def test_a_port_that_is_none_is_refused_with_usage(port, capsys) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["echo", f"--port={port}"])
    assert exit_.value.code == 2
    assert "is not a port: use a number from 0 to 65535" in capsys.readouterr().err


@pytest.mark.spec("N104")
def test_a_path_that_is_empty_is_refused_with_usage(capsys) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["echo", "--path", ""])
    assert exit_.value.code == 2
    assert "argument --path: the path is empty" in capsys.readouterr().err


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
    from pyuvnet._commands.demo import Demo

    def corrupt(self: Demo, peer: pyuvnet.Socket) -> None:
        peer.on("data", lambda data: peer.write(b"?" * len(data)))

    monkeypatch.setattr(Demo, "_connected", corrupt)
    # Messages are random, so one byte may agree by chance; a thousand do not.
    assert Demo(2, 0.2, 1000).run() == 1
    assert "different bytes than it sent" in capsys.readouterr().err
    pyuvnet.current_loop().close()


def test_the_demo_fails_when_a_connection_is_lost(monkeypatch, capsys) -> None:
    from pyuvnet._commands.demo import Demo

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
    assert re.search(r"^tls      OpenSSL .*, engine (libssl|python, since .+)$", out, re.M)


def test_stubs_are_written_where_type_checkers_look(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "victim").touch()
    (tmp_path / "typings/pyuvnet").mkdir(parents=True)
    (tmp_path / "typings/pyuvnet/net.pyi").symlink_to("../../victim")
    assert main(["stubs"]) == 0
    assert not (tmp_path / "victim").read_text()
    written = list((tmp_path / "typings" / "pyuvnet").rglob("*.pyi"))
    assert capsys.readouterr().out == f"{len(written)} stubs written to typings/pyuvnet\n"
    assert "createServer = create_server\n" in (tmp_path / "typings/pyuvnet/net.pyi").read_text()
    (tmp_path / "file").touch()
    assert main(["stubs", "file"]) == 1
    assert capsys.readouterr().err.startswith("pyuvnet stubs: ")


def test_help_names_every_command(capsys) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--help"])
    assert exit_.value.code == 0
    out = capsys.readouterr().out
    for command, (text, _) in COMMANDS.items():
        assert re.search(rf"^ +{command} +{text.split()[0]}", out, re.M), command


@posix_only
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("command", ["demo --clients 2 --seconds .1", "proxy 0 1", "info"])
def test_a_command_survives_closed_standard_streams(command: str, closed: str) -> None:
    shell = subprocess.Popen(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *COMMAND, *command.split()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        if command.startswith("proxy"):
            # Its sockets are closed at the end; libuv refuses to close those with such a number.
            wait_until(lambda: has_socket(shell.pid))
            shell.send_signal(signal.SIGTERM)
        err = shell.communicate(timeout=25)[1]
    finally:
        shell.kill()
        shell.communicate()
    assert (shell.returncode, err) == (0, "")


def has_socket(pid: int) -> bool:
    """Whether a process has a socket, besides its standard streams."""
    # A descriptor may be closed while they are listed.
    with contextlib.suppress(FileNotFoundError):
        fds = [each for each in Path(f"/proc/{pid}/fd").iterdir() if int(each.name) > 2]
        return any("socket:" in os.readlink(each) for each in fds)
    return False


def wait_until(true: Callable[[], bool]) -> None:
    limit = time.monotonic() + 20
    while not true():
        assert time.monotonic() < limit
        time.sleep(0.01)


@posix_only
@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("command", ["demo --clients 2 --seconds .1", "info", "echo --port 0"])
def test_a_command_whose_output_nobody_reads_ends_quietly(
    command: str, unbuffered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    # `| head -1` as it is when head was first.
    with start(*command.split()) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(20) == 1


# connect.


@contextlib.contextmanager
def peer(
    serve: Callable[[socket.socket], object], path: Path | None = None
) -> Iterator[tuple[str, ...]]:
    """A server whose thread serves one connection; gives the arguments that connect to it."""
    failures: list[BaseException] = []

    def accept() -> None:
        try:
            with listener.accept()[0] as connection:
                connection.settimeout(20)
                serve(connection)
        except OSError as error:
            failures.append(error)

    if path is None:
        listener = socket.create_server(("127.0.0.1", 0))
        arguments = [str(part) for part in listener.getsockname()]
    else:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()
        arguments = [str(path)]
    listener.settimeout(20)
    thread = threading.Thread(target=accept)
    thread.start()
    with listener:
        yield tuple(arguments)
        thread.join()
    assert failures == []


def everything(connection: socket.socket) -> bytes:
    """What arrives until the end."""
    return b"".join(iter(lambda: connection.recv(65536), b""))


def echo(connection: socket.socket) -> None:
    while data := connection.recv(65536):
        connection.sendall(data)


@pytest.mark.parametrize("path", [False, pytest.param(True, marks=posix_only)])
def test_connect_passes_stdin_and_stdout_through(path: bool, tmp_path: Path) -> None:
    with peer(echo, tmp_path / "echo.sock" if path else None) as address:
        assert finish("connect", *address, stdin=b"one\r\n\0two") == (0, b"one\r\n\0two", "")


def test_connect_passes_more_than_any_buffer_holds() -> None:
    data = bytes(range(256)) * 20_000
    with peer(echo) as address:
        assert finish("connect", *address, stdin=data) == (0, data, "")


def test_connect_ends_with_the_server_though_stdin_goes_on() -> None:
    with peer(lambda connection: connection.sendall(b"bye")) as address:
        client = subprocess.Popen(
            [*COMMAND, "connect", *address], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        with client:
            assert client.stdout.read() == b"bye"
            assert client.wait(20) == 0


def test_connect_keeps_its_side_open_if_it_should() -> None:
    def serve(connection: socket.socket) -> None:
        assert connection.recv(100) == b"hello"
        connection.sendall(b"answer")
        connection.settimeout(0)
        with pytest.raises(BlockingIOError):
            connection.recv(100)

    with peer(serve) as address:
        out = finish("connect", "--keep-open", *address, stdin=b"hello")
        assert out == (0, b"answer", "")


@cases(
    ("options", "sent"),
    [
        (["--line"], b"one\ntwo\nthree\n"),
        (["--crlf"], b"one\r\ntwo\r\nthree\r\n"),
        (["--line", "--crlf"], b"one\r\ntwo\r\nthree\r\n"),
    ],
)
def test_connect_by_line_sends_and_prints_whole_lines(options: list[str], sent: bytes) -> None:
    received: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        received.append(everything(connection))
        for part in (b"fo", b"ur\r\nfi", b"ve\nsix"):
            connection.sendall(part)

    with peer(serve) as address:
        out = finish("connect", *options, *address, stdin=b"one\r\ntwo\nthree")
    assert out == (0, b"four\nfive\nsix\n", "")
    assert received == [sent]


def test_connect_by_line_sends_a_line_when_it_is_whole() -> None:
    begun = threading.Event()

    def serve(connection: socket.socket) -> None:
        connection.sendall(b"ready\n")
        assert begun.wait(20)
        assert connection.recv(100) == b"one line\n"

    with peer(serve) as address:
        client = subprocess.Popen(
            [*COMMAND, "connect", "--line", *address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        with client:
            assert client.stdout.readline() == b"ready\n"
            for part in (b"one ", b"li", b"ne\n"):
                client.stdin.write(part)
                client.stdin.flush()
            begun.set()
            assert client.stdout.read() == b""
            assert client.wait(20) == 0


@posix_only
def test_connect_ends_quietly_when_nobody_reads_its_output() -> None:
    read = threading.Event()

    def serve(connection: socket.socket) -> None:
        connection.sendall(b"first\n")
        assert read.wait(20)
        with contextlib.suppress(ConnectionError):
            while True:
                connection.sendall(b"more\n" * 1000)

    with peer(serve) as address:
        client = subprocess.Popen(
            [*COMMAND, "connect", *address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        with client:
            assert client.stdout.readline() == b"first\n"
            client.stdout.close()
            read.set()
            assert client.stderr.read() == b""
            assert client.wait(20) == 1


def test_connect_says_that_the_server_did_not_take_all_of_stdin() -> None:
    def serve(connection: socket.socket) -> None:
        connection.sendall(b"enough\n")
        connection.shutdown(socket.SHUT_WR)
        assert len(everything(connection)) < 8 << 20

    with peer(serve) as address:
        code, out, err = finish("connect", *address, stdin=bytes(8 << 20))
    assert (code, out) == (1, b"enough\n")
    assert err == "pyuvnet connect: the server ended the connection before all of stdin was sent\n"


def test_connect_is_content_when_the_server_has_taken_all_of_stdin() -> None:
    def serve(connection: socket.socket) -> None:
        assert connection.recv(7, socket.MSG_WAITALL) == b"request"
        connection.sendall(b"answer")

    with peer(serve) as address:
        assert finish("connect", *address, stdin=b"request") == (0, b"answer", "")


@posix_only
def test_connect_without_stdin_receives() -> None:
    with peer(lambda connection: connection.sendall(everything(connection) + b"bye")) as address:
        done = subprocess.run(
            ["sh", "-c", 'exec "$@" <&-', "sh", *COMMAND, "connect", *address],
            capture_output=True,
            timeout=25,
        )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"bye", b"")


@posix_only
def test_connect_without_stdout_says_that_what_arrives_is_lost() -> None:
    with peer(lambda connection: connection.sendall(everything(connection) + b"bye")) as address:
        done = subprocess.run(
            ["sh", "-c", 'exec "$@" >&-', "sh", *COMMAND, "connect", *address],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=25,
        )
    assert (done.returncode, done.stderr) == (1, b"pyuvnet connect: stdout is closed\n")


def test_connect_says_why_it_failed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    code, out, err = finish("connect", "127.0.0.1", str(port))
    assert (code, out) == (1, b"")
    assert err == f"pyuvnet connect: connect ECONNREFUSED 127.0.0.1:{port}\n"


@posix_only
def test_connect_to_a_path_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "no.sock"
    code, _, err = finish("connect", str(path))
    assert (code, err) == (1, f"pyuvnet connect: connect ENOENT {path}\n")


@cases(
    ("arguments", "why"),
    [
        (["localhost"], "'localhost' is not an existing path: use 'pyuvnet connect HOST PORT'"),
        (["8124"], "use 'pyuvnet connect HOST PORT'"),
        (["[::1]:8124"], "use 'pyuvnet connect ::1 8124', or ./[::1]:8124 for a path"),
        ([":80"], "use 'pyuvnet connect 127.0.0.1 80'"),
        (["localhost", "http"], "'http' is not a port: use a number from 0 to 65535"),
        (["localhost", "9" * 5000], "is not a port: use a number from 0 to 65535"),
        (["localhost", "80", "81"], "too many arguments: 81"),
        (["", "80"], "the host is empty: use 'pyuvnet connect 127.0.0.1 80'"),
        (["--insecure", "localhost", "80"], "--ca, --servername and --insecure require --tls"),
    ],
)
def test_connect_refuses_arguments_that_mean_nothing(
    arguments: list[str], why: str, capsys
) -> None:
    assert main(["connect", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("pyuvnet connect: ")
    assert why in line


# connect --tls.


def secure(connection: socket.socket) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates() / "server.pem", certificates() / "server.key")
    with (
        contextlib.suppress(ssl.SSLError),
        context.wrap_socket(connection, server_side=True) as secured,
    ):
        echo(secured)
        secured.unwrap()


@cases(
    "options", [["--insecure"], ["--ca", "ca.pem"], ["--ca", "ca.pem", "--servername=localhost"]]
)
def test_connect_over_tls(options: list[str], monkeypatch) -> None:
    monkeypatch.chdir(certificates())
    with peer(secure) as address:
        out = finish("connect", "--tls", *options, *address, stdin=b"secret")
    assert out == (0, b"secret", "")


def test_connect_refuses_the_certificate_of_another_server() -> None:
    with peer(secure) as address:
        authority = str(certificates() / "ca.pem")
        options = ["--tls", "--ca", authority, "--servername", "example.org"]
        code, out, err = finish("connect", *options, *address, stdin=b"secret")
    assert (code, out) == (1, b"")
    assert err.startswith("pyuvnet connect: ")
    assert "example.org" in err


def test_connect_refuses_a_certificate_that_it_cannot_verify() -> None:
    with peer(secure) as address:
        code, out, err = finish("connect", "--tls", *address, stdin=b"secret")
    why, hint = err.splitlines()
    assert (code, out) == (1, b"")
    assert re.match(r"pyuvnet connect: unable to .* certificate", why)
    assert "--ca FILE" in hint


def test_connect_over_tls_to_a_server_without_it() -> None:
    with peer(lambda connection: connection.sendall(b"220 hello\r\n")) as address:
        code, _, err = finish("connect", "--tls", *address)
    assert code == 1
    assert err.splitlines()[-1] == "  The server does not seem to use TLS on this port."


def test_connect_with_a_file_of_certificates_that_is_not_there(tmp_path: Path, capsys) -> None:
    missing = str(tmp_path / "ca.pem")
    assert main(["connect", "--tls", "--ca", missing, "localhost", "443"]) == 1
    assert capsys.readouterr().err == f"pyuvnet connect: {missing}: No such file or directory\n"


# proxy.


def test_proxy_forwards_and_counts() -> None:
    with peer(lambda connection: connection.sendall(everything(connection) * 2)) as (host, port):
        proxy = start("proxy", "0", f"{host}:{port}")
        try:
            line = proxy.stdout.readline()
            found = re.fullmatch(
                rf"proxy listening on 127\.0\.0\.1:(\d+), forwarding to {host}:{port}; "
                r"Ctrl-C ends it\n",
                line,
            )
            assert found, line
            assert finish("connect", "127.0.0.1", found[1], stdin=b"hello") == (
                0,
                b"hellohello",
                "",
            )
            assert re.fullmatch(
                r"#1 127\.0\.0\.1:\d+: 5 bytes to the target, 10 bytes back, \d+\.\d s\n",
                proxy.stdout.readline(),
            )
            proxy.send_signal(signal.SIGINT)
            out, err = proxy.communicate(timeout=20)
        finally:
            proxy.kill()
            proxy.communicate()
    assert out == "connections: 1, 5 bytes to the target, 10 bytes back\n"
    assert (proxy.returncode, err) == (0, "")


@posix_only
def test_proxy_says_why_a_connection_failed_and_goes_on(tmp_path: Path) -> None:
    listen, target = tmp_path / "listen.sock", tmp_path / "target.sock"
    proxy = start("proxy", str(listen), str(target))
    try:
        assert str(listen) in proxy.stdout.readline()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(listen))
            client.settimeout(20)
            assert client.recv(1) == b""
        line = proxy.stdout.readline()
        assert line.startswith("#1: 0 bytes to the target, 0 bytes back, ")
        assert line.endswith(f"failed: connect ENOENT {target}\n")
        with peer(echo, target):
            assert finish("connect", str(listen), stdin=b"hello") == (0, b"hello", "")
        assert proxy.stdout.readline().startswith("#2: 5 bytes to the target, 5 bytes back, ")
    finally:
        proxy.terminate()
        _, err = proxy.communicate(timeout=20)
    assert (proxy.returncode, err) == (0, "")
    assert not listen.exists()


@contextlib.contextmanager
def proxying(target: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A proxy, and its port; SIGTERM ends the proxy."""
    proxy = start("proxy", "0", target)
    try:
        yield proxy, int(re.search(r":(\d+), forwarding", proxy.stdout.readline())[1])
        proxy.terminate()
        assert proxy.communicate(timeout=20)[1] == ""
    finally:
        proxy.kill()
        proxy.communicate()


@contextlib.contextmanager
def proxy_to(target: str) -> Iterator[tuple[subprocess.Popen[str], socket.socket]]:
    """A proxy, and a client of it."""
    with (
        proxying(target) as (proxy, port),
        socket.create_connection(("127.0.0.1", port), 20) as client,
    ):
        yield proxy, client


def test_proxy_passes_a_reset_on() -> None:
    def serve(connection: socket.socket) -> None:
        assert connection.recv(2) == b"hi"
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with peer(serve) as (host, port), proxy_to(f"{host}:{port}") as (proxy, client):
        client.sendall(b"hi")
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        assert re.fullmatch(
            r"#1 .*: 2 bytes to the target, 0 bytes back, .*, failed: read ECONNRESET\n",
            proxy.stdout.readline(),
        )


@pytest.mark.slow
def test_proxy_cuts_off_what_does_not_end_after_ctrl_c() -> None:
    with peer(echo) as (host, port), proxy_to(f"{host}:{port}") as (proxy, client):
        client.sendall(b"hi")
        assert client.recv(2) == b"hi"
        proxy.send_signal(signal.SIGINT)
        line = proxy.stdout.readline()
        assert re.fullmatch(
            r"#1 .*: 2 bytes to the target, 2 bytes back, \d+\.\d s, cut off\n", line
        ), line


def test_proxy_counts_nothing_for_a_target_that_refuses_and_resets_the_client() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    def ask(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port), 20) as client:
            client.sendall(b"hello")
            client.recv(1)

    with proxying(f"127.0.0.1:{port}") as (proxy, listening):
        # Whichever call sees it: the reset comes at once.
        with pytest.raises(ConnectionResetError):
            ask(listening)
        assert re.fullmatch(
            r"#1 .*: 0 bytes to the target, 0 bytes back, .*, failed: connect ECONNREFUSED .*\n",
            proxy.stdout.readline(),
        )


def test_proxy_that_cannot_listen_says_why() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, out, err = finish("proxy", port, "127.0.0.1:1")
    assert (code, out) == (1, b"")
    assert err.startswith("pyuvnet proxy: listen EADDRINUSE: address already in use 127.0.0.1:")


@cases(
    ("text", "keywords"),
    [
        ("8124", {"host": "127.0.0.1", "port": 8124}),
        ("example.org:80", {"host": "example.org", "port": 80}),
        ("0.0.0.0:0", {"host": "0.0.0.0", "port": 0}),
        ("[::1]:8124", {"host": "::1", "port": 8124}),
        ("./app.sock", {"path": "./app.sock"}),
        ("/run/app:80", {"path": "/run/app:80"}),
    ],
)
def test_addresses(text: str, keywords: dict[str, object]) -> None:
    from pyuvnet._commands.arguments import address

    assert address(text) == keywords


@cases(
    ("text", "why"),
    [
        ("localhost", "'localhost' has no port: use PORT, HOST:PORT or a path with a slash"),
        ("::1:80", "use [::1]:80 for an IPv6 address"),
        (":80", "has no host: use 127.0.0.1:80, or 80 alone"),
        ("localhost:http", "'http' is not a port"),
        ("localhost:70000", "'70000' is not a port"),
        ("70000", "'70000' is not a port"),
        ("", "has no port"),
    ],
)
def test_addresses_that_are_none(text: str, why: str) -> None:
    from pyuvnet._commands.arguments import address

    with pytest.raises(argparse.ArgumentTypeError, match=re.escape(why)):
        address(text)


# bench.


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_bench_compares_what_is_installed() -> None:
    done = subprocess.run(
        [*COMMAND, "bench", "--seconds", "3", "--clients", "3", "--size", "100"],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert (done.returncode, done.stderr) == (0, "")
    head, *_ = lines = done.stdout.splitlines()
    assert head.startswith("echo of 100 bytes on 3 connections, ")
    rows = {
        match[1]: [float(each.replace(",", "")) for each in match.groups()[1:]]
        for line in lines
        if (match := re.fullmatch(r"(\w+, \w+) +([\d.]+) us +([\d.]+) +([\d,]+)", line))
    }
    assert {"pyuvnet, listeners", "pyuvnet, coroutines", "asyncio, protocols"} <= rows.keys()
    assert rows["pyuvnet, listeners"][1] == 1
    assert all(cost > 0 and rate > 0 for cost, _, rate in rows.values())


def test_bench_says_which_server_does_not_start(monkeypatch, capsys) -> None:
    from pyuvnet._commands import bench

    command = [sys.executable, "-c", "import sys; sys.exit('no such loop')"]
    monkeypatch.setattr(bench, "installed", lambda: {"uvloop, streams": command})
    assert main(["bench"]) == 1
    assert capsys.readouterr().err == (
        "pyuvnet bench: the server of uvloop, streams ended: no such loop\n"
    )
