"""The files of the guide's pages on production, as the programs that they are for read them."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket as posix
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import pyuvnet
from pyuvnet import metrics, tls
from tests.support.loops import turn_until
from tests.support.processes import gone

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "docs" / "guide" / f"{name}.md" for name in ("operations", "metrics")]
PAGE = "\n".join(page.read_text("utf-8") for page in PAGES)


def written(folder: Path, *names: str) -> list[str]:
    """Files of the page, in a folder; returns their paths."""
    paths = []
    for name in names:
        found = re.search(rf"^```\w+ file={re.escape(name)}[^\n]*\n(.*?)^```$", PAGE, re.M | re.S)
        assert found is not None, name
        path = folder / name
        path.write_text(found[1], "utf-8")
        paths.append(str(path))
    return paths


def checked(*command: str, cwd: Path) -> str:
    """What a program says of a file that it has no complaints of."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not here")


@needs("haproxy")
def test_haproxy_takes_its_configuration(tmp_path: Path) -> None:
    checked("haproxy", "-c", "-f", *written(tmp_path, "haproxy.cfg"), cwd=tmp_path)


@needs("nginx")
def test_nginx_takes_its_configuration(tmp_path: Path) -> None:
    (path,) = written(tmp_path, "nginx.conf")
    text = Path(path).read_text("utf-8")
    # Debian has the module elsewhere than relative to a folder of ours.
    for folder in ("/usr/lib/nginx/modules", "/usr/share/nginx/modules"):
        if Path(folder).is_dir():
            text = text.replace("modules/ngx_stream", f"{folder}/ngx_stream")
            break
    Path(path).write_text(f"pid {tmp_path}/pid; error_log stderr;\n{text}", "utf-8")
    assert "test is successful" in checked(
        "nginx", "-t", "-p", str(tmp_path), "-c", path, cwd=tmp_path
    )


@needs("promtool")
def test_promtool_takes_the_rules_and_the_configuration(tmp_path: Path) -> None:
    config, rules = written(tmp_path, "prometheus.yml", "lines.rules.yml")
    assert "8 rules found" in checked("promtool", "check", "rules", rules, cwd=tmp_path)
    checked("promtool", "check", "config", config, cwd=tmp_path)


@needs("systemd-analyze")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    socket, service = written(tmp_path, "lines.socket", "lines.service")
    # The program is not installed here.
    text = Path(service).read_text("utf-8")
    Path(service).write_text(re.sub(r"(?m)^ExecStart=.*$", "ExecStart=/bin/true", text), "utf-8")
    said = checked("systemd-analyze", "verify", "--man=no", socket, service, cwd=tmp_path)
    assert "lines." not in said


def free_port() -> int:
    with posix.socket() as one:
        one.bind(("127.0.0.1", 0))
        number: int = one.getsockname()[1]
        return number


def asked(port: int, line: bytes = b"hello\n") -> bytes:
    """What a client is answered; nothing if there is no server."""
    try:
        with posix.create_connection(("127.0.0.1", port), timeout=5) as client:
            client.sendall(line)
            return client.recv(100)
    except OSError:
        return b""


def until(reached: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.slow
@needs("haproxy")
def test_haproxy_sends_nobody_to_a_server_that_is_to_stop(tmp_path: Path) -> None:
    """The program of the page with its three changes, behind the haproxy of the page."""
    own, front, stats = free_port(), free_port(), free_port()
    (program,) = written(tmp_path, "app.py")
    text = Path(program).read_text("utf-8")
    option, check, stop = re.findall(
        r"^```python norun: a part[^\n]*\n(.*?)^```$", PAGE, re.M | re.S
    )
    for old, new in (
        ('@server.on("listening")', f'{option}\n\n@server.on("listening")'),
        ("def connected(socket):\n", f"def connected(socket):\n{check}\n"),
        ('server.shutdown_on("SIGTERM", "SIGINT", timeout=25_000)\n', stop),
        ("8124", str(own)),
        ("9464", str(stats)),
    ):
        assert old in text
        text = text.replace(old, new)
    Path(program).write_text(text, "utf-8")
    (config,) = written(tmp_path, "haproxy.cfg")
    text = Path(config).read_text("utf-8").replace(":443", f"127.0.0.1:{front}")
    Path(config).write_text(text.replace("8124", str(own)), "utf-8")
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    server = subprocess.Popen([sys.executable, "-u", program], env=environment, cwd=tmp_path)
    balancer = subprocess.Popen(["haproxy", "-db", "-f", config], stderr=subprocess.DEVNULL)
    try:
        until(lambda: asked(front) == b"HELLO\n")
        began = time.monotonic()
        server.send_signal(signal.SIGTERM)
        # Two checks fail, and the balancer refuses, while the server serves those who come.
        until(lambda: asked(front) == b"")
        assert time.monotonic() - began < 3
        assert server.poll() is None
        assert server.wait(25) == 0
    finally:
        for process in (server, balancer):
            process.kill()
            process.wait()


def test_each_metric_of_the_page_is_one() -> None:
    names = {family[0] for family in metrics._families()}
    names |= {f"{family[0]}_total" for family in metrics._families() if family[1] == "counter"}
    used = set(re.findall(r"pyuvnet_server_\w+", PAGE))
    assert used
    assert used <= names


def test_the_alerts_are_of_the_server_of_the_page() -> None:
    program = re.search(r"^```python file=app.py[^\n]*\n(.*?)^```$", PAGE, re.M | re.S)
    assert program is not None
    assert 'name="lines"' in program[1]
    assert set(re.findall(r'server="(\w+)"', PAGE)) == {"lines"}


def test_peers_that_hang_up_do_not_fire_the_alert_errors() -> None:
    """Many TLS clients close without close_notify."""
    ordinary = re.search(r'code!~"([^"]+)"', PAGE)
    assert ordinary is not None
    pem = (ROOT / "tests" / "localhost.pem").read_text("ascii")
    server = tls.create_server({"key": pem, "cert": pem})
    server.on(
        "secureConnection",
        lambda one: one.on("error", lambda error: None).resume().write("hello"),
    )
    server.listen(0, "127.0.0.1", pyuvnet.stop)
    pyuvnet.run()
    context = ssl.create_default_context(cafile=str(ROOT / "tests" / "localhost.pem"))

    def hang_up() -> None:
        with posix.create_connection(("127.0.0.1", server.address().port), 20) as one:
            client = context.wrap_socket(one, server_hostname="localhost")
            assert client.recv(5) == b"hello"
            client.close()

    thread = threading.Thread(target=hang_up)
    thread.start()
    turn_until(lambda: server.stats().closed)
    thread.join()
    assert set(server.stats().errors) <= set(ordinary[1].split("|"))
    server.close()
    pyuvnet.run()


@pytest.mark.slow
@pytest.mark.spec("P10-01")
@pytest.mark.skipif(sys.platform == "win32", reason="signals and descriptors of unix")
def test_the_program_is_upgraded_under_a_service_manager(tmp_path: Path) -> None:
    """`systemctl reload` sends SIGUSR2; what both processes say to the manager, and who serves."""
    (program,) = written(tmp_path, "app.py")
    scraped = free_port()
    text = Path(program).read_text("utf-8").replace("9464", str(scraped))
    Path(program).write_text(text, "utf-8")
    listener = posix.create_server(("127.0.0.1", 0), backlog=100)
    port = listener.getsockname()[1]
    manager = posix.socket(posix.AF_UNIX, posix.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.settimeout(20)
    shell = (
        "import os, sys; os.dup2(int(sys.argv[1]), 3);"
        "os.environ.update(LISTEN_FDS='1', LISTEN_FDNAMES='lines', LISTEN_PID=str(os.getpid()));"
        "os.execv(sys.executable, [sys.executable, *sys.argv[2:]])"
    )
    os.set_inheritable(listener.fileno(), True)
    server = subprocess.Popen(
        [sys.executable, "-c", shell, str(listener.fileno()), "-u", program],
        env=dict(os.environ, PYTHONPATH=str(ROOT), NOTIFY_SOCKET=str(tmp_path / "notify")),
        cwd=tmp_path,
        pass_fds=[listener.fileno()],
        start_new_session=True,
    )
    try:
        assert manager.recv(100) == b"READY=1"
        assert asked(port) == b"HELLO\n"
        server.send_signal(signal.SIGUSR2)
        # The new one is ready, and then the main process.
        assert manager.recv(100) == b"READY=1"
        name, _, pid = manager.recv(100).partition(b"=")
        assert name == b"MAINPID"
        assert server.wait(20) == 0
        assert asked(port) == b"HELLO\n"
        # It has got that socket, too.
        with posix.create_connection(("127.0.0.1", scraped), 20) as scraper:
            scraper.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
            assert scraper.recv(100).startswith(b"HTTP/1.1 200 OK")
        # The old one has said nothing that would stop the service; the new one does.
        manager.setblocking(False)
        with pytest.raises(BlockingIOError):
            manager.recv(100)
        manager.settimeout(20)
        os.kill(int(pid), signal.SIGTERM)
        assert manager.recv(100) == b"STOPPING=1"
        assert gone(server.pid)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()
        listener.close()
        manager.close()
