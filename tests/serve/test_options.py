"""The options, as arguments, on the command line and in pyproject.toml."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import ssl
import sys
from pathlib import Path
from typing import Any

import pytest

import pyuvnet
from pyuvnet import ArgTypeError, ArgValueError
from pyuvnet.__main__ import main
from tests.support.serving import LOCAL, connected, pids, wait_for_file

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers are of unix systems")

if sys.platform != "win32":
    from pyuvnet._serve import command, settings


@pytest.mark.spec("P0-02")
@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"app": 5}, ArgTypeError), ({"app": lambda one, two: None}, ArgValueError),
        ({"app": lambda one: (yield)}, ArgValueError), ({"app": "app"}, ArgValueError),
        ({"app": "a b:c"}, ArgValueError), ({"app": "./app:main"}, ArgValueError),
        ({"bind": 5}, ArgTypeError), ({"bind": []}, ArgValueError), ({"bind": [5]}, ArgTypeError),
        ({"bind": [":1", ":1"]}, ArgValueError),
        ({"workers": 0}, ArgValueError), ({"workers": "2"}, ArgTypeError),
        ({"workers": True}, ArgTypeError), ({"threads": 1.5}, ArgTypeError),
        ({"policy": "fair"}, ArgValueError), ({"reload": 1}, ArgTypeError),
        ({"timeout_graceful": -1}, ArgValueError), ({"timeout_graceful": "1"}, ArgTypeError),
        ({"max_lifetime": 0}, ArgValueError), ({"pid_file": 5}, ArgTypeError),
        ({"log_level": "loud"}, ArgValueError), ({"metrics": 9464}, ArgTypeError),
        ({"bind": "tls:127.0.0.1:1"}, ArgValueError), ({"bind": "tls:5"}, ArgValueError),
        ({"metrics": "x"}, ArgValueError), ({"tls_cert": "x"}, ArgValueError),
        ({"timeout_start": -1}, ArgValueError), ({"heartbeat": "5"}, ArgTypeError),
        ({"timeout_hung": True}, ArgTypeError), ({"guarded": 1}, ArgTypeError),
        ({"contain_exceptions": None}, ArgTypeError),
    ],
)  # fmt: skip
def test_wrong_arguments_raise_at_once(given: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        pyuvnet.serve(**{"app": "app:app", **given})


def test_auto_is_the_number_of_cores(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    groups, own = tmp_path / "groups", tmp_path / "own"
    monkeypatch.setattr(settings, "_CGROUPS", str(groups))
    monkeypatch.setattr(settings, "_OWN_CGROUP", str(own))
    count = settings.cores()
    assert settings.Settings(app="a:b", workers="auto").workers == count
    assert settings.Settings(app="a:b", threads="auto").threads == (
        1 if settings.has_gil() else count
    )
    monkeypatch.setattr(settings.os, "sched_getaffinity", lambda pid: range(8), raising=False)
    # In a container.
    groups.mkdir()
    own.write_text("0::/\n")
    for quota, cores in (("150000 100000\n", 2), ("max 100000\n", 8), ("50000 100000\n", 1)):
        (groups / "cpu.max").write_text(quota)
        assert settings.cores() == cores
    # A service of systemd, whose slice has less than itself; nothing outside of the tree counts.
    (tmp_path / "cpu.max").write_text("100000 100000\n")
    (groups / "cpu.max").unlink()
    service = groups / "system.slice" / "app.service"
    service.mkdir(parents=True)
    own.write_text("1:cpu:/elsewhere\n0::/system.slice/app.service\n")
    (service / "cpu.max").write_text("400000 100000\n")
    assert settings.cores() == 4
    (service.parent / "cpu.max").write_text("250000 100000\n")
    assert settings.cores() == 3
    (service.parent / "cpu.max").write_text("what\n")
    assert settings.cores() == 4


def test_help_has_every_option(capsys: Any) -> None:
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    out = capsys.readouterr().out
    names = "bind workers threads policy reload timeout-graceful max-lifetime pid-file log-level"
    more = "timeout-start heartbeat timeout-hung metrics tls-cert tls-key no-guarded"
    for name in [*names.split(), *more.split(), "no-contain-exceptions"]:
        assert f"--{name}" in out


@pytest.mark.spec("P0-02", "P11-10")
@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--workers", "many"], "argument --workers: 'many' is not a whole number or 'auto'"),
        (["--timeout-graceful", "-1"], "timeout-graceful must be seconds from 0 to 2147483"),
    ],
)
def test_options_with_mistakes_are_exit_code_2(
    options: list[str], complaint: str, capsys: Any
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["serve", "app:app", *options])
    assert exit_.value.code == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.spec("P11-10")
def test_the_table_of_pyproject_has_defaults(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        "[tool.pyuvnet.serve]\napp = 'app:app'\nbind = ['127.0.0.1:1', 'unix:s']\n"
        "workers = 'auto'\ntimeout-graceful = 1.5\nlog-level = 'debug'\nguarded = false\n"
        "heartbeat = 0\ntimeout-start = 300\n"
    )
    nothing = dict.fromkeys(
        ["app", "bind", "workers", "threads", "policy", "reload", "timeout_graceful",
         "max_lifetime", "pid_file", "log_level", "metrics", "tls_cert", "tls_key", "guarded",
         "contain_exceptions", "timeout_start", "heartbeat", "timeout_hung"]
    )  # fmt: skip
    found = command.settings_of(nothing, tmp_path)
    assert (found.app, found.timeout_graceful, found.log_level) == ("app:app", 1500, "debug")
    assert not found.guarded
    assert (found.heartbeat, found.timeout_start, found.timeout_hung) == (None, 300_000, 60_000)
    assert found.contain_exceptions
    assert [bind.text for bind in found.bind or ()] == ["127.0.0.1:1", "unix:s"]
    found = command.settings_of({**nothing, "app": "other:app", "max_lifetime": 60.0}, tmp_path)
    assert (found.app, found.max_lifetime) == ("other:app", 60_000)


@pytest.mark.spec("P0-02", "P11-10")
@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("workers = 0", "workers must be >= 1"),
        ("worker = 1", "unknown options: worker"),
        ("bind = 5", "bind must be str, or several"),
        ("workers = ", "pyproject.toml: Invalid value"),
        ("timeout-graceful = -1", "timeout-graceful must be seconds from 0 to 2147483, not -1"),
        ("max-lifetime = 0", "max-lifetime must be seconds from 0.001 to 2147483, not 0"),
        ("", "MODULE:NAME is missing"),
    ],
)
def test_a_table_with_mistakes_is_one_line_and_exit_code_2(
    tmp_path: Path, text: str, complaint: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    (tmp_path / "pyproject.toml").write_text(f"[tool.pyuvnet.serve]\n{text}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(SystemExit) as exit_:
        main(["serve", *(["app:app"] if text else [])])
    assert exit_.value.code == 2
    assert complaint in capsys.readouterr().err


ASKS = """
from pyuvnet import net
app = net.Server(lambda socket: None)
app.on("listening", lambda: print("at most", app.max_connections))
"""


@pytest.mark.slow
@pytest.mark.spec("P11-10")
@pytest.mark.parametrize(
    ("options", "app", "expected"),
    [
        ([], "def app(server): print('at most', server.max_connections)", r"\d+"),
        (["--no-guarded"], "def app(server): print('at most', server.max_connections)", "None"),
        ([], ASKS, "None"),
    ],
    ids=["by itself", "told otherwise", "a Server"],
)  # fmt: skip
def test_the_servers_of_functions_are_guarded(
    serve: Any, options: list[str], app: str, expected: str
) -> None:
    primary = serve("app:app", *LOCAL, *options, app=app, environment={"PYTHONUNBUFFERED": "1"})
    primary.wait_for(f"at most {expected}$")
    primary.end()


@pytest.mark.slow
@pytest.mark.spec("P11-10")
def test_the_level_of_the_log(serve: Any, tmp_path: Path) -> None:
    primary = serve("app:app", *LOCAL, "--log-level", "error", "--pid-file", "pid")
    wait_for_file(tmp_path / "pid")
    assert primary.end() == ""


@pytest.mark.slow
@pytest.mark.spec("P11-10")
def test_metrics_are_those_of_all_workers_and_do_not_go_backwards(serve: Any) -> None:
    primary = serve("app:app", *LOCAL, "--workers", "2", "--metrics", "127.0.0.1:0")
    port = primary.ready()
    at = int(primary.wait_for(r"metrics at http://127\.0\.0\.1:(\d+)/metrics$")[0][1])
    pids(port, 30)

    def metric(name: str) -> int:
        with connected(at) as one:
            one.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
            text = b"".join(iter(lambda: one.recv(65536), b"")).decode()
        return int(re.findall(rf"^{re.escape(name)} (\d+)$", text, re.M)[0])

    accepted = 'pyuvnet_server_accepted_total{server="app:app"}'
    assert metric(accepted) == 30
    assert metric("pyuvnet_serve_workers{}") == 2
    primary.send(signal.SIGHUP)
    primary.wait_for("has ended with exit status 0", 2)
    assert metric(accepted) == 30
    pids(port, 10)
    assert metric(accepted) == 40
    primary.end()


@pytest.mark.slow
@pytest.mark.spec("P11-10")
def test_metrics_at_an_address_of_bind_are_refused(serve: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one:
        port = one.getsockname()[1]
    for host in ("127.0.0.1", ""):
        place = f"127.0.0.1:{port}"
        log = serve("app:app", "--bind", place, "--metrics", f"{host}:{port}").end(None, 1)
        line = f"pyuvnet serve: --metrics {host}:{port} has the same address as --bind {place}"
        assert log.splitlines()[1:] == [line]


@pytest.mark.slow
@pytest.mark.spec("P11-10")
@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes certificates with openssl")
def test_tls(serve: Any) -> None:
    from tests.support.certificates import certificates

    files = certificates()
    primary = serve(
        *("app:answer", *LOCAL, "--tls-cert", str(files / "server.pem")),
        *("--tls-key", str(files / "server.key")),
        app="def answer(socket):\n    socket.end(b'encrypted')",
    )
    port = primary.ready()
    context = ssl.create_default_context(cafile=files / "ca.pem")
    with connected(port) as one, context.wrap_socket(one, server_hostname="localhost") as secure:
        assert secure.recv(100) == b"encrypted"
    primary.end()


@pytest.mark.slow
@pytest.mark.spec("P11-02", "P11-10")
@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes certificates with openssl")
@pytest.mark.parametrize("threads", [1, 2])
def test_plain_and_tls_in_one_primary(serve: Any, tmp_path: Path, threads: int) -> None:
    from tests.support.certificates import certificates

    files = certificates()
    primary = serve(
        *("app:answer", "--bind", "unix:s", "--bind", "tls:127.0.0.1:0", "--bind", "tls:unix:t"),
        *("--tls-cert", str(files / "server.pem"), "--tls-key", str(files / "server.key")),
        *("--threads", str(threads)),
        app="def answer(socket):\n    socket.end(type(socket).__name__)",
    )
    port = primary.ready()
    context = ssl.create_default_context(cafile=files / "ca.pem")
    with connected(str(tmp_path / "s")) as one:
        assert one.recv(100) == b"Socket"
    for where in (port, str(tmp_path / "t")):
        with connected(where) as one, context.wrap_socket(one, server_hostname="localhost") as two:
            assert two.recv(100) == b"TLSSocket"
    primary.end()


@pytest.mark.slow
@pytest.mark.spec("P11-10")
@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes certificates with openssl")
@pytest.mark.parametrize(
    ("certificate", "key", "text"),
    [
        ("gone", "server.key", "gone: No such file or directory"),
        ("server.pem", ".", "Is a directory"),
        ("server.key", "server.key", "server.key has no certificate in PEM format"),
        ("server.pem", "server.pem", "server.pem has no private key in PEM format"),
        ("ca.pem", "server.key", "ca.pem with the key in "),
        ("server.pem", "encrypted.key", "encrypted.key has an encrypted key"),
    ],
)
def test_tls_files_that_cannot_be_used_are_named(
    serve: Any, tmp_path: Path, certificate: str, key: str, text: str
) -> None:
    from tests.support.certificates import certificates

    (tmp_path / "encrypted.key").write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----\n")
    made = certificates()
    folder = tmp_path if key == "encrypted.key" else made
    files = ["--tls-cert", str(made / certificate), "--tls-key", str(folder / key)]
    log = serve("app:app", *LOCAL, *files).end(None, 3)
    assert f"pyuvnet serve: {made}" in log or f"pyuvnet serve: {folder}" in log
    assert text in log
    assert "Traceback" not in log
