"""pyuvnet.serve() and `python -m pyuvnet serve`: a real program, real clients.

tests/reliability/test_serving.py has the same many times, under load.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import textwrap
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import pyuvnet
from pyuvnet import ArgTypeError, ArgValueError, net
from pyuvnet.__main__ import main
from tests.conftest import child_environment
from tests.support.serving import APP, Primary, ask, connected, goodbye, pids, queued

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers are of unix systems")

if sys.platform != "win32":
    from pyuvnet import cluster
    from pyuvnet._serve import command, settings, sockets, supervisor, target, worker

LOCAL = ("--bind", "127.0.0.1:0")
linux = pytest.mark.skipif(sys.platform != "linux", reason="of Linux")


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Any]:
    """serve(*arguments, app=...) starts a primary in a folder that has app.py."""
    started: list[Primary] = []

    def start(*arguments: str, app: str = APP, **options: Any) -> Primary:
        (tmp_path / "app.py").write_text(textwrap.dedent(app))
        started.append(Primary(tmp_path, *arguments, **options))
        return started[-1]

    yield start
    for each in started:
        each.kill()


class FakeWorker:
    """A worker of which the test says what it does."""

    def __init__(self, number: int) -> None:
        self.id = number
        self.process = SimpleNamespace(pid=1000 + number)
        self.leaving = False
        self.predecessor: FakeWorker | None = None
        self.orders: list[str] = []
        self.kills: list[str] = []
        self.on_report: Any = None
        self._exited: Any = None

    def on(self, event: str, listener: Any) -> None:
        assert event == "exit"
        self._exited = listener

    def order(self, *, what: str, **more: Any) -> None:
        self.orders.append(what)

    def kill(self, name: str) -> None:
        self.kills.append(name)

    def reports(self, what: str, **more: Any) -> None:
        self.on_report({"what": what, **more})

    def ends(self, code: int | None = None, name: str | None = None) -> None:
        self._exited(code, name)


class Driven:
    """A primary without processes or signals: the test calls what a real one would be told.

    Args:
        options: of serve().
    """

    def __init__(self, **options: Any) -> None:
        self.workers: list[FakeWorker] = []
        self.primary = supervisor.Supervisor(settings.Settings(app="app:app", **options))
        self.primary._fork = self._fork  # type: ignore[method-assign, assignment]
        for _ in range(self.primary.settings.workers):
            self.primary._add_slot()
        for slot in self.primary.slots:
            self.primary._start(slot)

    def _fork(self, env: dict[str, str]) -> FakeWorker:
        self.workers.append(FakeWorker(len(self.workers) + 1))
        return self.workers[-1]

    def all_ready(self) -> None:
        for each in self.workers:
            each.reports("ready")
        assert self.primary.up

    def close(self) -> None:
        self.primary._forget_what_is_due()
        for each in self.primary.processes.values():
            each.forget_timers()


@pytest.fixture
def drive() -> Iterator[Any]:
    """drive(**options) starts a primary whose workers are those of a test."""
    started: list[Driven] = []

    def start(**options: Any) -> Driven:
        started.append(Driven(**options))
        return started[-1]

    yield start
    for each in started:
        each.close()
    pyuvnet.run()


# ---- What serves ---------------------------------------------------------------------------------


def slow(app: str, name: str, id: str) -> Any:  # noqa: A002 - as pytest.param() has it
    return pytest.param(app, name, id=id, marks=pytest.mark.slow)


KINDS = [
    pytest.param(APP, "app", id="function"),
    slow("""
        import os
        async def app(server):
            server.on("connection", lambda socket: socket.end(str(os.getpid())))
        """, "app", id="coroutine"),
    slow("""
        import os
        async def app(server):
            async with server:
                server.on("connection", lambda socket: socket.end(str(os.getpid())))
                await server.serve_forever()
        """, "app", id="coroutine that waits"),
    slow("""
        import os
        async def app(server):
            async for socket in server:
                await socket.read_line()
                socket.end(str(os.getpid()))
        """, "app", id="coroutine that takes connections"),
    slow("""
        import os
        def app(server):
            async def answer(socket):
                await socket.read_line()
                socket.end(str(os.getpid()))
            server.on("connection", answer)
        """, "app", id="function with a coroutine as listener"),
    slow("""
        import asyncio, os
        def app(server):
            async def begin():
                await asyncio.sleep(0)
                server.on("connection", lambda socket: socket.end(str(os.getpid())))
            return begin()
        """, "app", id="function that returns a coroutine"),
    slow("""
        import os
        def answer(socket):
            socket.end(str(os.getpid()))
        """, "answer", id="listener"),
    slow("""
        import os
        class Shop:
            async def answer(self, connection):
                await connection.read_line()
                connection.end(str(os.getpid()))
        shop = Shop()
        """, "shop.answer", id="coroutine listener"),
    slow("""
        import os
        from pyuvnet import net
        server = net.create_server(lambda socket: socket.end(str(os.getpid())))
        """, "server", id="server"),
    slow("""
        import os
        from pyuvnet import net
        async def answer(socket):
            await socket.read_line()
            socket.end(str(os.getpid()))
        server = net.create_server(answer)
        """, "server", id="server with a coroutine"),
]  # fmt: skip


@pytest.mark.spec("P11-01", "D220")
@pytest.mark.parametrize(("app", "name"), KINDS)
def test_each_kind_of_program_is_served_by_all_workers(serve: Any, app: str, name: str) -> None:
    primary = serve(f"app:{name}", *LOCAL, "--workers", "2", "--policy", "rr", app=app)
    port = primary.ready()
    assert len(pids(port)) == 2
    log = primary.end()
    assert "Traceback" not in log
    assert "Warning" not in log


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda server: None, False),
        (lambda socket: None, True),
        (lambda connection: None, True),
        (lambda socket, other=1: None, True),
        (lambda socket, other: None, False),
        (lambda *socket: None, False),
        (lambda *, socket: None, False),
        (print, False),
    ],
)
@pytest.mark.spec("P11-01")
def test_a_listener_is_known_by_its_parameter(function: Any, expected: bool) -> None:
    assert target.takes_a_connection(function) is expected


def test_what_cannot_serve_is_refused() -> None:
    with pytest.raises(ArgValueError, match="must be a function or a Server"):
        target.Target(5, "app:x")
    server = net.create_server().listen(0)
    with pytest.raises(ArgValueError, match="already listening"):
        target.Target(server, "app:x")
    server.close()
    pyuvnet.run()


@pytest.mark.slow
@pytest.mark.spec("P11-01")
def test_nobody_is_accepted_before_the_function_has_returned(serve: Any, tmp_path: Path) -> None:
    """A coroutine that takes its time loses nobody: who connects meanwhile waits."""
    primary = serve("app:app", *LOCAL, app="""
        import asyncio, os
        async def app(server):
            open("called", "w").close()
            while not os.path.exists("go on"):
                await asyncio.sleep(0.01)
            server.on("connection", lambda socket: socket.end(b"now"))
        """)  # fmt: skip
    port = int(primary.wait_for(r"listening on \S+:(\d+)")[0][1])
    wait_for_file(tmp_path / "called")
    with connected(port) as one:
        one.settimeout(0.3)
        with pytest.raises(TimeoutError):
            one.recv(10)
        assert not primary.find(r"\] ready")
        (tmp_path / "go on").touch()
        one.settimeout(10)
        assert one.recv(10) == b"now"
    primary.end()


@pytest.mark.slow
@pytest.mark.spec("P11-02")
@pytest.mark.parametrize("policy", ["rr", "shared", pytest.param("reuse-port", marks=linux)])
def test_policies(serve: Any, policy: str) -> None:
    primary = serve("app:app", *LOCAL, "--workers", "2", "--policy", policy)
    port = primary.ready()
    limit = time.monotonic() + 20
    found: set[int] = set()
    while len(found) < 2 and time.monotonic() < limit:
        # Who of two gets one of a shared descriptor is the kernel's to say.
        with contextlib.ExitStack() as stack:
            several = [stack.enter_context(connected(port)) for _ in range(20)]
            for one in several:
                one.sendall(b"q\n")
            found |= {int(one.recv(100)) for one in several}
    assert len(found) == 2
    primary.end()


@pytest.mark.slow
@pytest.mark.spec("P11-01")
def test_threads(serve: Any) -> None:
    """Under a GIL too, where they share a core."""
    primary = serve("app:app", *LOCAL, "--threads", "3", "--policy", "shared", app="""
        import threading
        from pyuvnet import net
        def app(server):
            server.on("connection", lambda socket: socket.end(threading.current_thread().name))
        """)  # fmt: skip
    port = primary.ready()
    found = set()
    limit = time.monotonic() + 20
    while len(found) < 3 and time.monotonic() < limit:
        found.add(ask(port))
    assert len(found) == 3
    primary.send(signal.SIGHUP)
    primary.wait_for("all workers are new")
    ask(port)
    log = primary.end()
    assert "Traceback" not in log


# ---- Where ---------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.spec("P11-02")
def test_it_listens_at_several_places(serve: Any, tmp_path: Path) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(tmp_path / "s"))
    stale.close()
    primary = serve(
        *("app:app", *LOCAL, "--bind", "unix:s", "--bind", f"fd:{listener.fileno()}"),
        *("--bind", ":0", "--workers", "2"),
        pass_fds=[listener.fileno()],
    )
    port = primary.ready()
    everywhere = int(primary.find(r"listening on \*:(\d+)")[0][1])
    given = listener.getsockname()[1]
    listener.close()
    places = [port, str(tmp_path / "s"), given, everywhere]
    assert [len(pids(each)) for each in places] == [2] * 4
    primary.send(signal.SIGHUP)
    primary.wait_for("all workers are new")
    for each in places:
        ask(each)
    assert os.path.exists(tmp_path / "s")
    primary.end()
    assert not os.path.exists(tmp_path / "s")


def listening_on(path: Path, inherited: bool) -> tuple[Any, socket.socket | None]:
    """A path on which a primary listens: by a socket of its own, or by that of the one before."""
    given = None
    several = []
    if inherited:
        given = socket.socket(socket.AF_UNIX)
        given.bind(str(path))
        given.listen()
        several.append(sockets.Inherited(os.dup(given.fileno()), sockets.OWN))
    policy = cluster.SCHED_RR
    return sockets.Listening(policy, {"path": str(path)}, sockets.OWN, several), given


@pytest.mark.spec("P11-02")
@pytest.mark.parametrize("inherited", [False, True], ids=["opened", "inherited"])
def test_the_file_of_the_next_primary_stays(tmp_path: Path, inherited: bool) -> None:
    """It may begin while the workers of this one finish their connections."""
    path = tmp_path / "s"
    listening, given = listening_on(path, inherited)
    listening.drain(rest=True, keep_file=False)
    assert not path.exists()
    with socket.socket(socket.AF_UNIX) as following:
        following.bind(str(path))
        listening.close(ours=True)
        assert path.exists()
    if given is not None:
        given.close()
    pyuvnet.run()


@pytest.mark.spec("P11-02")
@pytest.mark.parametrize("how", ["close", "drain"])
@pytest.mark.parametrize("inherited", [False, True], ids=["opened", "inherited"])
def test_a_file_in_the_place_of_its_own_stays(tmp_path: Path, how: str, inherited: bool) -> None:
    path = tmp_path / "s"
    listening, given = listening_on(path, inherited)
    path.unlink()
    with socket.socket(socket.AF_UNIX) as another:
        another.bind(str(path))
        if how == "drain":
            listening.drain(rest=True, keep_file=False)
        listening.close(ours=True)
        assert path.exists()
    if given is not None:
        given.close()
    pyuvnet.run()


@pytest.mark.spec("P11-02", "P11-08")
@pytest.mark.parametrize("ours", [False, True])
def test_an_inherited_file_goes_with_the_primary_whose_it_is(tmp_path: Path, ours: bool) -> None:
    path = tmp_path / "s"
    listening, given = listening_on(path, inherited=True)
    listening.drain(rest=ours, keep_file=False)
    listening.close(ours)
    assert path.exists() is not ours
    assert given is not None
    given.close()
    pyuvnet.run()


@pytest.mark.spec("P11-02")
def test_an_address_that_is_taken_is_exit_code_1_with_what_to_do(serve: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        log = serve("app:app", "--bind", f"127.0.0.1:{port}").end(None, 1)
    line, hint = log.splitlines()
    assert line == f"pyuvnet serve: listen EADDRINUSE: address already in use 127.0.0.1:{port}"
    assert hint.startswith("  Another socket is using this address.")


@linux
@pytest.mark.slow
@pytest.mark.spec("P11-02")
def test_a_second_one_does_not_share_the_port_of_the_first(serve: Any) -> None:
    first = serve("app:app", *LOCAL)
    port = first.ready()
    assert "EADDRINUSE" in serve("app:app", "--bind", f"127.0.0.1:{port}").end(None, 1)
    first.end()


@pytest.mark.spec("P11-02")
@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("127.0.0.1:80", ("127.0.0.1", 80, None, None)),
        ("[::1]:80", ("::1", 80, None, None)),
        (":80", ("", 80, None, None)),
        ("host:0", ("host", 0, None, None)),
        ("unix:/a:b", ("", 0, "/a:b", None)),
        ("fd:3", ("", 0, None, 3)),
    ],
)
def test_places(text: str, found: Any) -> None:
    bind = settings.Bind(text)
    assert (bind.host, bind.port, bind.path, bind.fd) == found


@pytest.mark.spec("P0-02", "P11-02")
@pytest.mark.parametrize(
    "text", ["", "80", "host", "host:", "host:x", "host:65536", "::1:80", "unix:", "fd:", "fd:x"]
)
def test_what_is_no_place(text: str) -> None:
    with pytest.raises(ArgValueError):
        settings.Bind(text)


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
        ({"metrics": "x"}, ArgValueError), ({"tls_cert": "x"}, ArgValueError),
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


def test_serve_is_for_the_main_thread() -> None:
    import threading

    errors: list[str] = []

    def call() -> None:
        try:
            pyuvnet.serve("app:app")
        except pyuvnet.StateError as error:
            errors.append(error.code)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert errors == ["ERR_WRONG_THREAD"]


# ---- The end -------------------------------------------------------------------------------------


@pytest.mark.spec("P11-03")
@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_a_signal_lets_connections_finish(serve: Any, number: int) -> None:
    primary = serve("app:app", *LOCAL, "--workers", "2")
    port = primary.ready()
    with connected(port) as one:
        one.sendall(b"q\n")
        pid = int(one.recv(100))
        primary.send(number)
        primary.wait_for("shutting down")
        assert goodbye(one) == pid
    primary.end(None)
    with pytest.raises(ConnectionRefusedError):
        ask(port)


@pytest.mark.slow
@pytest.mark.spec("P11-03")
@pytest.mark.parametrize("policy", ["rr", "shared", pytest.param("reuse-port", marks=linux)])
def test_who_waits_to_be_accepted_is_served_before_the_end(serve: Any, policy: str) -> None:
    """The worker is stopped, so that clients queue up; then the primary gets a SIGTERM."""
    primary = serve("app:app", *LOCAL, "--policy", policy)
    port = primary.ready()
    pid = int(ask(port))
    os.kill(pid, signal.SIGSTOP)
    with queued(port) as several:
        primary.send(signal.SIGTERM)
        primary.wait_for("shutting down")
        os.kill(pid, signal.SIGCONT)
        assert [int(one.recv(100).split()[0]) for one in several] == [pid] * 20
    primary.end(None)


@pytest.mark.slow
@pytest.mark.spec("P11-03")
def test_who_waits_for_a_worker_that_is_blocked_is_served_before_the_end(serve: Any) -> None:
    """The primary does not wait for it for ever, and then sends it all connections."""
    primary = serve("app:app", *LOCAL, "--policy", "rr", patch="supervisor._HANDING_OUT = 0")
    port = primary.ready()
    pid = int(ask(port))
    os.kill(pid, signal.SIGSTOP)
    with queued(port) as several:
        primary.send(signal.SIGTERM)
        primary.wait_for("shutting down")
        os.kill(pid, signal.SIGCONT)
        assert [int(one.recv(100).split()[0]) for one in several] == [pid] * 20
    assert "are closed" not in primary.end(None)


@pytest.mark.slow
@pytest.mark.spec("P11-03")
def test_connections_that_nobody_can_take_at_the_end_are_logged(serve: Any) -> None:
    primary = serve("app:app", *LOCAL, "--policy", "rr", patch="supervisor.FIRST_DELAY = 10**6")
    port = primary.ready()
    os.kill(int(ask(port)), signal.SIGKILL)
    primary.wait_for("restarting in")
    with contextlib.ExitStack() as stack:
        several = [stack.enter_context(connected(port)) for _ in range(5)]
        log = primary.end()
        assert "5 connections were closed: no worker was left to take them" in log
        for one in several:
            with contextlib.suppress(ConnectionError):
                assert one.recv(100) == b""


@pytest.mark.slow
@pytest.mark.spec("P11-03")
def test_a_second_signal_ends_everything_at_once(serve: Any) -> None:
    primary = serve("app:app", *LOCAL, "--workers", "2", app=BUSY)
    port = primary.ready()
    with connected(port) as one:
        one.sendall(b"q\n")
        one.recv(100)
        primary.send(signal.SIGTERM)
        primary.wait_for("shutting down")
        began = time.monotonic()
        primary.send(signal.SIGTERM)
        primary.end(None)
        assert time.monotonic() - began < 10
        with contextlib.suppress(ConnectionError):
            assert one.recv(100) == b""


# Its connections are never idle.
BUSY = """
    import os
    def app(server):
        def connected(socket):
            socket.busy = True
            socket.on("error", lambda error: None)
            socket.on("data", lambda data: socket.write(str(os.getpid())))
        server.on("connection", connected)
    """
# It hangs as soon as it is to end.
HANGS = """
    import os, signal, time
    def app(server):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        server.on("shutdown", lambda: time.sleep(1000))
        server.on("connection", lambda socket: socket.end(str(os.getpid())))
    """


@pytest.mark.slow
@pytest.mark.spec("P11-03")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_worker_that_hangs_in_shutdown_is_killed(serve: Any, number: int) -> None:
    primary = serve(
        *("app:app", *LOCAL, "--workers", "2", "--timeout-graceful", "0.1"),
        app=HANGS,
        patch="supervisor.PATIENCE = 200",
    )
    port = primary.ready()
    ask(port)
    primary.send(number)
    primary.wait_for("has not stopped in time: killed", 2)
    if number == signal.SIGHUP:
        primary.wait_for("has ended with signal SIGKILL", 2)
        ask(port)
        primary.send(signal.SIGTERM)
    primary.end(None)


@pytest.mark.slow
@pytest.mark.spec("P11-04")
@pytest.mark.parametrize("hangs", [False, True], ids=["idle", "hangs"])
def test_a_primary_that_is_killed_leaves_nothing(serve: Any, hangs: bool) -> None:
    """Also a worker whose program does not return to its loop goes."""
    primary = serve(
        "app:app", *LOCAL, "--workers", "2", patch="worker._worker._PATIENCE = 0.5",
        app=HANGING if hangs else APP,
    )  # fmt: skip
    port = primary.ready()
    with connected(port) as one:
        one.sendall(b"q\n")
        if not hangs:
            one.recv(100)
        primary.send(signal.SIGKILL)
        primary.end(None, -signal.SIGKILL)


HANGING = """
    import time
    def app(server):
        server.on("connection", lambda socket: time.sleep(1000))
    """


@pytest.mark.slow
@pytest.mark.spec("P11-03")
def test_signals_of_a_terminal_reach_all_at_any_time(serve: Any) -> None:
    """Ctrl-C while the workers start: no traceback, nothing left."""
    for delay in (0.0, 0.1, 0.2, 0.4):
        primary = serve("app:app", *LOCAL, "--workers", "2")
        primary.wait_for("listening")
        time.sleep(delay)
        os.killpg(primary.group, signal.SIGINT)
        assert "Traceback" not in primary.end(None)


ISOLATED = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
may_isolate = pytest.mark.skipif(
    shutil.which("unshare") is None
    or subprocess.run([*ISOLATED, "true"], capture_output=True).returncode != 0,
    reason="needs root, and unshare",
)


@linux
@may_isolate
@pytest.mark.slow
@pytest.mark.spec("P11-03", "P11-05")
def test_the_primary_may_be_process_1(serve: Any) -> None:
    """As in a container: the kernel drops the signals that process 1 has no handler for."""
    program = [sys.executable, "-m", "pyuvnet", "serve", "app:app", *LOCAL, "--policy", "rr"]
    primary = serve(command=[*ISOLATED, *program])
    port = primary.ready()
    assert primary.find(r"\[1\] ready")
    first = int(ask(port))
    outer = primary.process.pid
    child = int(Path(f"/proc/{outer}/task/{outer}/children").read_text())
    os.kill(child, signal.SIGHUP)
    primary.wait_for("all workers are new")
    assert int(ask(port)) != first
    os.kill(child, signal.SIGTERM)
    primary.end(None)


# ---- Rolling restart -----------------------------------------------------------------------------


@pytest.mark.spec("P11-05")
@pytest.mark.slow
@pytest.mark.parametrize("policy", ["rr", "shared", pytest.param("reuse-port", marks=linux)])
def test_a_rolling_restart_replaces_each_when_the_next_is_ready(serve: Any, policy: str) -> None:
    primary = serve("app:app", *LOCAL, "--workers", "2", "--policy", policy)
    port = primary.ready()
    old = {int(found[1]) for found in primary.find(r"pid (\d+)\) is ready")}
    with connected(port) as kept:
        kept.sendall(b"q\n")
        mine = int(kept.recv(100))
        primary.send(signal.SIGHUP)
        primary.wait_for("all workers are new")
        assert goodbye(kept) == mine
    primary.wait_for("has ended with exit status 0", 2)
    assert not pids(port) & old
    ready = [int(found[1]) for found in primary.find(r"pid (\d+)\) is ready")]
    ended = [int(found[1]) for found in primary.find(r"pid (\d+)\) has ended")]
    lines = primary.log
    for index, pid in enumerate(ended):
        # None ends before its successor is ready.
        assert lines.index(f"(pid {ready[2 + index]}) is ready") < lines.index(f"(pid {pid}) has")
    primary.end()


@pytest.mark.slow
@pytest.mark.spec("P11-05")
@pytest.mark.parametrize("policy", ["rr", "shared", pytest.param("reuse-port", marks=linux)])
def test_who_waits_for_the_last_worker_is_served_by_its_successor(serve: Any, policy: str) -> None:
    """Node's primary drops who waits when the last worker closes its server; this one keeps all."""
    primary = serve("app:app", *LOCAL, "--policy", policy)
    port = primary.ready()
    old = int(ask(port))
    os.kill(old, signal.SIGSTOP)
    with queued(port) as several:
        primary.send(signal.SIGHUP)
        primary.wait_for("is ready", 2)
        os.kill(old, signal.SIGCONT)
        served = [int(one.recv(100).split()[0]) for one in several]
        assert len(served) == 20
        if policy == "rr":
            # All but the one that the old worker was offered.
            assert served.count(old) <= 1
    primary.end()


@pytest.mark.slow
@pytest.mark.spec("P11-05")
def test_a_new_version_that_fails_replaces_nobody(serve: Any, tmp_path: Path) -> None:
    primary = serve("app:app", *LOCAL, "--workers", "2")
    port = primary.ready()
    old = pids(port, 40)
    (tmp_path / "app.py").write_text("raise ValueError('this version is broken')")
    primary.send(signal.SIGHUP)
    primary.wait_for("the old workers stay")
    primary.wait_for("this version is broken")
    assert pids(port) <= old
    (tmp_path / "app.py").write_text(APP)
    primary.send(signal.SIGHUP)
    primary.wait_for("has ended with exit status 0", 2)
    assert not pids(port) & old
    primary.end()


@pytest.mark.slow
@pytest.mark.spec("P11-05")
def test_a_version_that_never_gets_ready_is_replaced_by_the_next(
    serve: Any, tmp_path: Path
) -> None:
    primary = serve("app:app", *LOCAL)
    port = primary.ready()
    (tmp_path / "app.py").write_text("import time\nprint('hanging', flush=True)\ntime.sleep(1000)")
    primary.send(signal.SIGHUP)
    primary.wait_for("hanging")
    ask(port)
    (tmp_path / "app.py").write_text(APP)
    primary.send(signal.SIGHUP)
    primary.wait_for("all workers are new")
    ask(port)
    primary.end()


@pytest.mark.spec("P11-05")
def test_a_successor_that_was_killed_for_the_next_one_does_not_get_ready(drive: Any) -> None:
    """What it reported before may arrive after it was killed: it must not replace anybody."""
    driven = drive()
    driven.all_ready()
    driven.primary.restart("SIGHUP")
    old, coming = driven.workers
    driven.primary.restart("SIGHUP")
    assert coming.kills == ["SIGKILL"]
    coming.reports("ready")
    assert "shutdown" not in old.orders
    coming.ends(name="SIGKILL")
    driven.workers[2].reports("ready")
    assert "shutdown" in old.orders
    assert driven.primary.slots[0].current.worker is driven.workers[2]
    assert driven.primary.crashes == 0


@pytest.mark.spec("P11-05")
def test_a_restart_before_all_are_ready_starts_those_again_that_are_not(drive: Any) -> None:
    """One that hangs would keep the others from serving for ever."""
    driven = drive(workers=2)
    first, hanging = driven.workers
    first.reports("ready")
    driven.primary.restart("SIGHUP")
    assert (first.kills, hanging.kills) == ([], ["SIGKILL"])
    hanging.ends(name="SIGKILL")
    again = driven.workers[2]
    again.reports("ready")
    assert driven.primary.up
    assert (first.orders, again.orders) == (["serve"], ["serve"])
    # The other one has begun with what was there before, too.
    driven.workers[3].reports("ready")
    assert first.orders == ["serve", "shutdown"]
    assert len(driven.workers) == 4
    assert driven.primary.code == 0


@pytest.mark.spec("P11-05")
def test_who_is_replaced_before_all_are_ready_is_retired(drive: Any) -> None:
    """It has not served yet, and is not to serve next to its successor."""
    driven = drive(workers=2, reload=True)
    first, failing = driven.workers
    first.reports("ready")
    failing.ends(1)
    first.reports("sigterm")
    driven.workers[2].reports("ready")
    assert first.orders == ["shutdown"]
    assert not driven.primary.up


@pytest.mark.slow
@pytest.mark.spec("P11-05")
def test_a_first_version_that_never_gets_ready_is_replaced_by_the_next(
    serve: Any, tmp_path: Path
) -> None:
    primary = serve("app:app", *LOCAL, app=HANGING_AT_FIRST)
    primary.wait_for("hanging")
    (tmp_path / "app.py").write_text(APP)
    primary.send(signal.SIGHUP)
    ask(primary.ready())
    primary.end()


HANGING_AT_FIRST = """
    import time
    def app(server):
        print("hanging", flush=True)
        time.sleep(1000)
    """


@pytest.mark.slow
@pytest.mark.spec("P11-05")
def test_a_worker_that_gets_sigterm_is_replaced_first(serve: Any) -> None:
    primary = serve("app:app", *LOCAL)
    port = primary.ready()
    pid = int(ask(port))
    os.kill(pid, signal.SIGTERM)
    primary.wait_for(rf"pid {pid}\) has ended with exit status 0")
    lines = primary.log
    assert lines.index("worker 2") < lines.index(f"(pid {pid}) has ended")
    assert "restarting in" not in lines
    ask(port)
    primary.end()


@pytest.mark.slow
@pytest.mark.spec("P11-05")
def test_workers_are_replaced_at_their_age(serve: Any) -> None:
    primary = serve("app:app", *LOCAL, "--max-lifetime", "0.2")
    port = primary.ready()
    primary.wait_for("has reached its maximum lifetime", 3)
    ask(port)
    assert "restarting in" not in primary.end()


@pytest.mark.spec("P11-10")
def test_the_longest_durations_are_no_short_ones(drive: Any) -> None:
    """A timer takes 2**31 - 1 ms at most, and what is longer for one millisecond."""
    longest = 2**31 - 1
    driven = drive(timeout_graceful=longest, max_lifetime=longest)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("error")
        patch.setattr(supervisor.random, "uniform", lambda low, high: high)
        driven.all_ready()
        driven.primary.restart("SIGHUP")
        driven.workers[1].reports("ready")
    assert driven.workers[0].orders == ["serve", "shutdown"]


@pytest.mark.spec("P11-10")
def test_after_a_failed_successor_all_aged_workers_are_replaced_later(drive: Any) -> None:
    driven = drive(workers=2, max_lifetime=10**6)
    driven.all_ready()
    slots = driven.primary.slots
    for slot in slots:
        slot.current.forget_timers()
        driven.primary._too_old(slot.current)
    driven.workers[2].ends(1)
    assert len(driven.workers) == 3
    for slot in slots:
        assert len(slot.current.timers) == 1
        driven.primary._too_old(slot.current)
    for index in (3, 4):
        driven.workers[index].reports("ready")
    last = [each.orders[-1:] for each in driven.workers]
    assert last == [["shutdown"], ["shutdown"], [], ["serve"], ["serve"]]


@pytest.mark.spec("P11-05")
def test_after_a_failed_restart_a_worker_has_the_age_that_it_had(drive: Any) -> None:
    """Its timer goes on, and there is no second one."""
    driven = drive(max_lifetime=10**6)
    driven.all_ready()
    current = driven.primary.slots[0].current
    before = current.timers[:]
    driven.primary.restart("SIGHUP")
    driven.workers[1].ends(1)
    assert current.timers == before


@pytest.mark.slow
@pytest.mark.spec("P11-06")
def test_one_worker_more_or_fewer(serve: Any) -> None:
    primary = serve("app:app", *LOCAL, "--policy", "rr")
    port = primary.ready()
    assert len(pids(port)) == 1
    primary.send(signal.SIGTTIN)
    primary.wait_for("worker 2 .* is ready")
    assert len(pids(port)) == 2
    primary.send(signal.SIGTTOU)
    primary.wait_for("worker 2 .* has ended with exit status 0")
    assert len(pids(port)) == 1
    primary.send(signal.SIGTTOU)
    primary.wait_for("there is only one worker")
    assert "restarting in" not in primary.end()


@pytest.mark.spec("P11-06")
def test_who_is_removed_before_all_are_ready_is_not_waited_for(drive: Any) -> None:
    driven = drive(workers=2)
    first, second = driven.workers
    first.reports("ready")
    assert not driven.primary.up
    driven.primary._remove_slot()
    assert second.kills == ["SIGKILL"]
    assert driven.primary.up
    assert first.orders == ["serve"]
    second.ends(name="SIGKILL")
    assert len(driven.workers) == 2


# ---- Crashes -------------------------------------------------------------------------------------


@pytest.mark.spec("P11-07")
def test_a_program_that_fails_at_once_ends_with_its_traceback_and_3(serve: Any) -> None:
    log = serve("app:app", *LOCAL, "--workers", "2", app="raise ValueError('not today')").end(
        None, 3
    )
    assert "Traceback" in log
    assert "ValueError: not today" in log
    assert re.search(
        r"worker \d \(pid \d+\) has failed with exit status 1 before it was ready", log
    )


@pytest.mark.slow
@pytest.mark.spec("P11-07")
@pytest.mark.parametrize(
    ("app", "name", "text"),
    [
        ("", "app:gone", "pyuvnet serve: the module 'app' has no name 'gone'\n"),
        ("", "gone:app", "pyuvnet serve: there is no module 'gone'"),
        ("", "app.py:app", "use 'app:app'"),
        ("import gone", "app:app", "ModuleNotFoundError"),
        ("def app(server): yield", "app:app", "app:app has a yield, and would never run"),
        ("def app(one, two): pass", "app:app", "app:app(one, two) must accept one argument"),
        ("def app(server): open('gone')", "app:app", "FileNotFoundError"),
        ("def app(server): 1 / 0", "app:app", "ZeroDivisionError"),
        ("async def app(server): 1 / 0", "app:app", "ZeroDivisionError"),
        ("app = 5", "app:app", "must be a function or a Server"),
        ("async def one(x): 1 / 0\ndef app(x): return one(x)", "app:app", "ZeroDivisionError"),
        (
            "import asyncio\nasync def app(server): raise asyncio.CancelledError",
            "app:app",
            "pyuvnet serve: the coroutine of app:app was cancelled",
        ),
        ("import sys\nsys.exit(0)", "app:app", "exit status 0 before it was ready"),
        ("import os\nos.abort()", "app:app", "signal SIGABRT before it was ready"),
    ],
)
def test_programs_that_fail_before_they_are_ready(
    serve: Any, app: str, name: str, text: str
) -> None:
    assert text in serve(name, *LOCAL, app=app).end(None, 3)


@pytest.mark.slow
@pytest.mark.spec("P11-07")
@pytest.mark.parametrize(
    ("app", "error"),
    [
        ("open('gone')", "FileNotFoundError"),
        ("def app(server): open('gone')", "FileNotFoundError"),
        ("async def app(server): open('gone')", "FileNotFoundError"),
        ("app = = 5", "SyntaxError"),
    ],
)
def test_a_traceback_begins_in_the_program(serve: Any, app: str, error: str) -> None:
    log = serve("app:app", *LOCAL, app=app).end(None, 3)
    assert error in log
    files = re.findall(r'File "([^"]*)"', log)
    assert files[0].endswith("app.py"), log


@pytest.mark.slow
@pytest.mark.spec("P11-07")
def test_a_socket_error_without_a_listener_has_its_traceback(serve: Any) -> None:
    primary = serve(
        "app:app",
        *LOCAL,
        app="""
        from pyuvnet import net
        def app(server):
            server.on("connection", lambda socket: net.connect(1, "127.0.0.1"))
        """,
    )
    with connected(primary.ready()):
        primary.wait_for("restarting in")
    assert "Traceback" in primary.log
    assert "ConnectionRefusedError: connect ECONNREFUSED 127.0.0.1:1" in primary.end()


@pytest.mark.slow
@pytest.mark.spec("P11-01")
@pytest.mark.parametrize(
    ("app", "warns"),
    [
        ("def app(sock): sock.on('data', print)", True),
        ("def app(server): server.on('connection', lambda socket: socket.end())", False),
        ("async def app(server): await server.serve_forever()", True),
        ("async def app(server):\n    async for socket in server: socket.end()", False),
        ("from pyuvnet import net\napp = net.Server()", True),
    ],
)
def test_a_server_to_which_nothing_listens_is_warned_of(serve: Any, app: str, warns: bool) -> None:
    primary = serve("app:app", *LOCAL, app=app)
    primary.ready()
    found = "app:app has no listener for 'connection'" in primary.end()
    assert found is warns


@pytest.mark.slow
@pytest.mark.spec("P11-01")
@pytest.mark.parametrize(
    ("end", "expected"),
    [
        ("break", r"app:app has no listener for 'connection'"),
        ("asyncio.current_task().cancel()", r"the coroutine of app:app was cancelled"),
        ("1 / 0", r"ZeroDivisionError"),
    ],
)
def test_a_coroutine_that_ends_while_it_serves(serve: Any, end: str, expected: str) -> None:
    app = f"""
        import asyncio
        async def app(server):
            async for socket in server:
                socket.destroy()
                {end}
        """
    primary = serve("app:app", *LOCAL, app=app)
    port = primary.ready()
    with connected(port):
        primary.wait_for(expected)
    if end != "break":
        primary.wait_for("restarting in 0.1 s")
    primary.end()


@pytest.mark.slow
@pytest.mark.spec("P11-01")
def test_a_worker_that_does_not_get_ready_is_warned_of(serve: Any) -> None:
    primary = serve(
        "app:app",
        *LOCAL,
        app="import asyncio\nasync def app(server): await asyncio.sleep(3600)",
        patch="supervisor.SLOW_START = 50",
    )
    primary.wait_for("worker 1 .* is not ready after 0.05 s")
    primary.end()


@pytest.mark.slow
@pytest.mark.spec("P11-07")
def test_a_worker_that_crashes_is_started_again_later_and_later(serve: Any) -> None:
    primary = serve("app:app", *LOCAL, app="""
        import os
        def app(server):
            server.on("connection", lambda socket: os._exit(7))
        """)  # fmt: skip
    port = primary.ready()
    for count in range(1, 4):
        # Also who comes while no worker is there gets the next one.
        with connected(port) as one, contextlib.suppress(ConnectionResetError):
            assert one.recv(10) == b""
        primary.wait_for("has ended with exit status 7", count)
    found = primary.find(r"exit status 7; restarting in (\S+) s")
    assert [each[1] for each in found] == ["0.1", "0.2", "0.4"]
    primary.end()


@pytest.mark.spec("P11-07")
def test_the_delay_doubles_up_to_half_a_minute_and_a_long_life_resets_it() -> None:
    backoff = supervisor.Backoff()
    found = [backoff.after(0) for _ in range(11)]
    assert found == [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000]
    assert backoff.after(59_999) == 30_000
    assert [backoff.after(60_000), backoff.after(0)] == [100, 200]


@pytest.mark.slow
@pytest.mark.spec("P11-07")
@pytest.mark.parametrize("policy", ["rr", "shared", pytest.param("reuse-port", marks=linux)])
def test_who_waits_for_a_worker_that_is_killed_is_served_by_the_next(
    serve: Any, policy: str
) -> None:
    primary = serve("app:app", *LOCAL, "--policy", policy)
    port = primary.ready()
    pid = int(ask(port))
    os.kill(pid, signal.SIGSTOP)
    with queued(port) as several:
        os.kill(pid, signal.SIGKILL)
        assert {int(one.recv(100)) for one in several}.isdisjoint({pid})
    primary.end()


# ---- Hot upgrade ---------------------------------------------------------------------------------


def primaries(primary: Primary) -> list[int]:
    """The numbers of the primaries that were ready, the last one last."""
    return [int(found[1]) for found in primary.find(r"\[(\d+)\] ready")]


@pytest.mark.slow
@pytest.mark.spec("P11-08")
@pytest.mark.parametrize("policy", ["rr", "shared", pytest.param("reuse-port", marks=linux)])
def test_a_new_primary_takes_the_sockets_over(serve: Any, tmp_path: Path, policy: str) -> None:
    primary = serve(
        *("app:app", *LOCAL, "--bind", "unix:s", "--workers", "2", "--policy", policy),
        *("--pid-file", "pid"),
    )
    port = primary.ready()
    old = pids(port, 40)
    assert (tmp_path / "pid").read_text() == f"{primary.group}\n"
    with connected(port) as kept:
        kept.sendall(b"q\n")
        mine = int(kept.recv(100))
        primary.send(signal.SIGUSR2)
        primary.wait_for(rf"\[{primary.group}\] the new primary")
        assert goodbye(kept) == mine
    primary.process.wait(20)
    new = primaries(primary)[-1]
    assert new != primary.group
    assert (tmp_path / "pid").read_text() == f"{new}\n"
    assert not (pids(port) | pids(str(tmp_path / "s"))) & old
    # And once more.
    os.kill(new, signal.SIGUSR2)
    primary.wait_for(rf"\[{new}\] ended")
    ask(port)
    ask(str(tmp_path / "s"))
    os.kill(primaries(primary)[-1], signal.SIGTERM)
    primary.end(None)
    assert not (tmp_path / "pid").exists()
    assert not (tmp_path / "s").exists()


@pytest.mark.slow
@pytest.mark.spec("P11-08")
def test_a_new_primary_that_fails_takes_nothing_over(serve: Any, tmp_path: Path) -> None:
    primary = serve("app:app", *LOCAL, "--bind", "unix:s", "--workers", "2")
    port = primary.ready()
    old = pids(port, 40)
    (tmp_path / "app.py").write_text("raise ValueError('this version is broken')")
    primary.send(signal.SIGUSR2)
    primary.wait_for("this primary continues")
    assert pids(port) <= old
    assert pids(str(tmp_path / "s")) <= old
    (tmp_path / "app.py").write_text(APP)
    primary.send(signal.SIGUSR2)
    primary.process.wait(20)
    assert not pids(port) & old
    os.kill(primaries(primary)[-1], signal.SIGTERM)
    primary.end(None)


MORE_WORKERS = """
    import os, time
    from pyuvnet import cluster
    def app(server):
        if os.path.exists("new version") and cluster.worker.id == 3:
            open("called", "w").close()
            while not os.path.exists("go on"):
                time.sleep(0.01)
            raise SystemExit("this version is broken")
        server.on("connection", lambda socket: socket.end(b"served"))
    """


@linux
@pytest.mark.slow
@pytest.mark.spec("P11-08")
def test_a_new_primary_with_more_workers_that_fails_resets_nobody(
    serve: Any, tmp_path: Path
) -> None:
    """Nobody waits on a socket that only the new one has."""
    table = "[tool.pyuvnet.serve]\napp = 'app:app'\nbind = '127.0.0.1:0'\nworkers = {}\n"
    (tmp_path / "pyproject.toml").write_text(table.format(1))
    primary = serve("--policy", "reuse-port", app=MORE_WORKERS)
    port = primary.ready()
    (tmp_path / "pyproject.toml").write_text(table.format(3))
    (tmp_path / "new version").touch()
    primary.send(signal.SIGUSR2)
    wait_for_file(tmp_path / "called")
    primary.wait_for("worker 2 .* is ready")
    with contextlib.ExitStack() as stack:
        several = [stack.enter_context(connected(port)) for _ in range(60)]
        (tmp_path / "go on").touch()
        primary.wait_for("this primary continues")
        assert {one.recv(10) for one in several} == {b"served"}
    primary.end()


@linux
@pytest.mark.spec("P11-08")
@pytest.mark.parametrize("successor", [False, True])
def test_more_workers_share_what_is_handed_over_until_it_serves(
    monkeypatch: pytest.MonkeyPatch, successor: bool
) -> None:
    """What a service manager gives is nobody else's, so that each worker has its own at once."""
    if successor:
        monkeypatch.setenv("PYUVNET_HANDOVER", f"{os.getpid()}:99")
    inodes: list[int] = []

    def reply(status: int, fd: int | None, accepts: bool) -> None:
        assert (status, accepts) == (0, True)
        assert fd is not None
        inodes.append(os.fstat(fd).st_ino)
        os.close(fd)

    with contextlib.ExitStack() as stack:
        several = []
        port = 0
        for _ in range(2):
            given = stack.enter_context(socket.socket())
            given.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            given.bind(("127.0.0.1", port))
            given.listen()
            port = given.getsockname()[1]
            several.append(sockets.Inherited(os.dup(given.fileno()), sockets.OWN))
        keywords = {"port": port, "host": "127.0.0.1"}
        listening = sockets.Listening(cluster.SCHED_REUSE_PORT, keywords, sockets.OWN, several)
        for number in range(1, 5):
            assert listening.place.add(FakeWorker(number), reply)  # type: ignore[arg-type]
        assert len(set(inodes)) == (2 if successor else 4)
        # Each has as many as the other.
        assert not successor or sorted(inodes.count(each) for each in set(inodes)) == [2, 2]
        listening.place.release()
        assert listening.place.add(FakeWorker(5), reply)  # type: ignore[arg-type]
        assert inodes[4] not in inodes[:4]
        listening.close(ours=False)
    pyuvnet.run()


@pytest.mark.spec("P11-06", "P11-08")
def test_an_upgrade_and_one_worker_more_do_not_overlap(
    drive: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """The socket of a worker that is added would not be among those that are handed over."""
    begun: list[Any] = []
    monkeypatch.setattr(supervisor.handover, "_begin", lambda *given: begun.append(given))
    driven = drive()
    driven.all_ready()
    driven.primary._signalled(signal.SIGTTIN)
    driven.primary._signalled(signal.SIGUSR2)
    assert "SIGUSR2 ignored: a worker is being added" in caplog.text
    assert not begun
    driven.workers[1].reports("ready")
    driven.primary._signalled(signal.SIGUSR2)
    assert len(begun) == 1
    driven.primary._signalled(signal.SIGTTIN)
    assert "SIGTTIN ignored: an upgrade is in progress" in caplog.text
    assert len(driven.workers) == 2
    driven.primary._upgraded(pyuvnet.StateError("too late", "ERR_HANDOVER_FAILED"), None)
    driven.primary._signalled(signal.SIGTTIN)
    assert len(driven.workers) == 3


@pytest.mark.spec("P11-08")
def test_a_worker_that_crashed_does_not_keep_from_an_upgrade(
    drive: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new version may be the one that does not crash."""
    begun: list[Any] = []
    monkeypatch.setattr(supervisor.handover, "_begin", lambda *given: begun.append(given))
    driven = drive()
    driven.all_ready()
    driven.workers[0].ends(1)
    driven.primary._signalled(signal.SIGUSR2)
    assert len(begun) == 1


# ---- Service managers ----------------------------------------------------------------------------


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


# ---- Options -------------------------------------------------------------------------------------


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
        assert f"pyuvnet serve: --metrics {host}:{port} has the same address as --bind" in log


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
@pytest.mark.spec("P11-10")
def test_a_change_of_a_file_replaces_the_workers(serve: Any, tmp_path: Path) -> None:
    (tmp_path / "part.py").write_text("VERSION = 'one'\n")
    app = """
        def app(server):
            from part import VERSION
            server.on("connection", lambda socket: socket.end(VERSION))
        """
    primary = serve("app:app", *LOCAL, "--reload", app=app)
    port = primary.ready()
    assert ask(port) == "one"
    replace(tmp_path / "part.py", "VERSION = 'broken\n")
    primary.wait_for("the old workers stay")
    assert ask(port) == "one"
    replace(tmp_path / "part.py", "VERSION = 'three'\n")
    primary.wait_for("has ended with exit status 0")
    assert ask(port) == "three"
    primary.end()


@pytest.mark.slow
@pytest.mark.spec("P11-10")
def test_with_reload_a_program_that_fails_waits_for_a_change(serve: Any, tmp_path: Path) -> None:
    primary = serve("app:app", *LOCAL, "--reload", app="def app(server: pass")
    primary.wait_for("waiting for a file to change")
    replace(tmp_path / "app.py", APP)
    port = primary.ready()
    ask(port)
    primary.end()


@pytest.mark.slow
@pytest.mark.spec("P11-10")
def test_with_reload_a_program_that_never_gets_ready_is_replaced_after_a_change(
    serve: Any, tmp_path: Path
) -> None:
    primary = serve("app:app", *LOCAL, "--reload", app=HANGING_AT_FIRST)
    primary.wait_for("hanging")
    limit = time.monotonic() + 20
    while not primary.find("has changed"):
        # Once more, if the primary has not yet heard of the file before.
        replace(tmp_path / "app.py", APP)
        assert time.monotonic() < limit, primary.log
        time.sleep(0.1)
    ask(primary.ready())
    primary.end()


def replace(file: Path, text: str) -> None:
    """Write a file so that its time differs, however coarse the file system's is."""
    before = file.stat().st_mtime_ns
    new = file.with_suffix(".new")
    new.write_text(text)
    os.utime(new, ns=(before + 10**9, before + 10**9))
    new.replace(file)


@pytest.mark.spec("P11-10")
def test_the_table_of_pyproject_has_defaults(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        "[tool.pyuvnet.serve]\napp = 'app:app'\nbind = ['127.0.0.1:1', 'unix:s']\n"
        "workers = 'auto'\ntimeout-graceful = 1.5\nlog-level = 'debug'\n"
    )
    nothing = dict.fromkeys(
        ["app", "bind", "workers", "threads", "policy", "reload", "timeout_graceful",
         "max_lifetime", "pid_file", "log_level", "metrics", "tls_cert", "tls_key"]
    )  # fmt: skip
    found = command.settings_of(nothing, tmp_path)
    assert (found.app, found.timeout_graceful, found.log_level) == ("app:app", 1500, "debug")
    assert [bind.text for bind in found.bind or ()] == ["127.0.0.1:1", "unix:s"]
    found = command.settings_of({**nothing, "app": "other:app", "max_lifetime": 60.0}, tmp_path)
    assert (found.app, found.max_lifetime) == ("other:app", 60_000)


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


@pytest.mark.slow
def test_bind_of_one_address_twice_names_both_as_they_were_given(serve: Any) -> None:
    log = serve("app:app", "--bind", "127.0.0.1:1", "--bind", "127.1:1").end(None, 1)
    assert "127.0.0.1:1, 127.1:1: the same address occurs more than once" in log


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


@pytest.mark.slow
@pytest.mark.spec("P11-10")
def test_the_level_of_the_log(serve: Any, tmp_path: Path) -> None:
    primary = serve("app:app", *LOCAL, "--log-level", "error", "--pid-file", "pid")
    wait_for_file(tmp_path / "pid")
    assert primary.end() == ""


def wait_for_file(file: Path) -> None:
    limit = time.monotonic() + 20
    while not file.exists():
        assert time.monotonic() < limit, file
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.spec("P11-11", "D220")
def test_a_program_serves_its_own_function(tmp_path: Path) -> None:
    """Each worker runs the program up to serve(), which returns in the primary only."""
    file = tmp_path / "program.py"
    file.write_text(textwrap.dedent(
        """
        import os, sys
        import pyuvnet

        greeting = "from a closure"
        if __name__ == "__main__":
            def app(server):
                server.on("connection", lambda socket: socket.end(greeting))
            code = pyuvnet.serve(app, bind=["127.0.0.1:0"], workers=2, timeout_graceful=5000)
            print("served", code, flush=True)
        """))  # fmt: skip
    primary = Primary(tmp_path, command=[sys.executable, str(file)])
    try:
        assert ask(primary.ready()) == "from a closure"
        log = primary.end()
    finally:
        primary.kill()
    assert log.splitlines().count("served 0") == 1


@pytest.mark.slow
@pytest.mark.spec("P11-11")
def test_it_is_called_once_in_a_program(serve: Any, tmp_path: Path) -> None:
    """The workers of a second call would run the function of the first."""
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(
            """
            import pyuvnet
            try:
                pyuvnet.serve(print, bind="127.0.0.1:port")
            except pyuvnet.ArgValueError:
                pass  # It did not begin.
            pyuvnet.serve(lambda socket: socket.end("first"), bind="127.0.0.1:0")
            pyuvnet.serve(lambda socket: socket.end("second"), bind="127.0.0.1:0")
            """
        )
    )
    primary = serve(command=[sys.executable, str(program)])
    primary.ready()
    log = primary.end(code=1)
    assert "serve() is called once in a program" in log.splitlines()[-1]


@pytest.mark.spec("P11-04", "P11-11")
def test_if_it_raises_it_leaves_nothing_behind(serve: Any, tmp_path: Path) -> None:
    """The second worker cannot be started; the program goes on without serve()."""
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(
            """
            import os
            import pyuvnet
            from pyuvnet import cluster

            if cluster.is_primary:
                from pyuvnet._serve import supervisor
                real = supervisor.Supervisor._fork
                def fork(self, env):
                    if self.processes:
                        raise OSError(11, "no more processes")
                    return real(self, env)
                supervisor.Supervisor._fork = fork
            try:
                pyuvnet.serve(
                    lambda socket: socket.end(), bind="127.0.0.1:0", workers=2,
                    metrics="127.0.0.1:0", max_lifetime=10**6,
                )
            except OSError as error:
                print("it raises:", error.strerror, flush=True)
            try:
                print("left:", os.waitpid(-1, os.WNOHANG), flush=True)
            except ChildProcessError:
                print("no child is left", flush=True)
            pyuvnet.run()
            loop = pyuvnet.current_loop()
            print(f"handles: {loop.handle_count()}, workers: {len(cluster.workers)}", flush=True)
            """
        )
    )
    primary = serve(command=[sys.executable, str(program)])
    primary.process.wait(20)
    log = primary.end(None)
    assert log.splitlines()[-3:] == [
        "it raises: no more processes",
        "no child is left",
        "handles: 0, workers: 0",
    ]


@pytest.mark.spec("P11-11")
def test_in_a_worker_of_another_cluster_it_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "is_worker", True)
    monkeypatch.delenv(worker.VARIABLE, raising=False)
    with pytest.raises(pyuvnet.StateError, match="cannot be called in a worker"):
        pyuvnet.serve("app:app")


def test_a_program_that_a_worker_starts_is_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(worker.VARIABLE, "{}")
    assert worker.given() is None
    assert worker.VARIABLE not in os.environ


def test_importing_the_package_imports_nothing_of_it() -> None:
    code = "import sys, pyuvnet; print([name for name in sys.modules if '_serve.' in name])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=child_environment(),
        check=True,
    )
    assert done.stdout == "[]\n"


def test_help_has_every_option(capsys: Any) -> None:
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    out = capsys.readouterr().out
    names = "bind workers threads policy reload timeout-graceful max-lifetime pid-file log-level"
    for name in [*names.split(), "metrics", "tls-cert", "tls-key"]:
        assert f"--{name}" in out


@pytest.mark.parametrize(
    ("place", "better"),
    [
        ("8124", "'8124' is not HOST:PORT with a port from 0 to 65535: use 127.0.0.1:8124, or"),
        ("./sock", "'./sock' is a path: use unix:./sock"),
        ("http://localhost:80", "'http://localhost:80' is a URL: use HOST:PORT"),
    ],
)
def test_a_place_in_another_notation_says_the_right_one(
    serve: Any, place: str, better: str
) -> None:
    assert better in serve("app:app", "--bind", place).end(None, 2)


@pytest.mark.slow
@pytest.mark.spec("P11-04")
def test_a_worker_that_hangs_before_it_serves_ends_with_its_primary(
    serve: Any, tmp_path: Path
) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(
            """
            import time
            import pyuvnet
            from pyuvnet.cluster import _worker, is_worker
            if is_worker:
                _worker._PATIENCE = 0.2
                open("hangs", "w").close()
                time.sleep(1000)
            pyuvnet.serve(lambda socket: socket.end(), bind="127.0.0.1:0")
            """
        )
    )
    primary = serve(command=[sys.executable, str(program)])
    wait_for_file(tmp_path / "hangs")
    primary.send(signal.SIGKILL)
    primary.end(None, -signal.SIGKILL)


@linux
@pytest.mark.slow
@pytest.mark.spec("P11-07")
def test_a_process_that_a_worker_forks_has_nothing_of_its_channel(serve: Any) -> None:
    """It would keep the channel open when the worker has died."""
    app = """
        import os, socket, stat
        def is_socket(name):
            try:
                return stat.S_ISSOCK(os.fstat(int(name)).st_mode)
            except OSError:
                return False  # That of the list itself.
        def answer(connection):
            theirs, ours = socket.socketpair()
            if not os.fork():
                theirs.close()
                ours.send(b"%d" % sum(map(is_socket, os.listdir("/proc/self/fd"))))
                os._exit(0)
            ours.close()
            os.wait()
            connection.end(theirs.recv(10))
        """
    primary = serve("app:answer", *LOCAL, app=app)
    # The one by which it says how many.
    assert ask(primary.ready()) == "1"
    primary.end()


@pytest.mark.slow
@pytest.mark.spec("P11-08")
def test_a_program_that_changes_its_directory_can_be_upgraded(serve: Any, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        textwrap.dedent(
            """
            import os, pyuvnet
            os.chdir("/")
            pyuvnet.serve(lambda socket: socket.end(str(os.getpid())), bind="127.0.0.1:0")
            """
        )
    )
    primary = serve(command=[sys.executable, "-X", "utf8", "program.py"])
    port = primary.ready()
    old = ask(port)
    primary.send(signal.SIGUSR2)
    primary.process.wait(20)
    assert ask(port) != old
    os.kill(primaries(primary)[-1], signal.SIGTERM)
    primary.end(None)


@pytest.mark.slow
@pytest.mark.spec("P11-01", "P11-02")
@pytest.mark.parametrize("where", ["rr", "unix", "rr in coroutines"])
def test_threads_get_what_the_primary_accepts(serve: Any, tmp_path: Path, where: str) -> None:
    bind = ["--bind", "unix:s"] if where == "unix" else [*LOCAL, "--policy", "rr"]
    primary = serve("app:app", *bind, "--threads", "3", app=f"""
        import threading
        {"async def" if "coroutines" in where else "def"} app(server):
            server.on("connection", lambda socket: socket.end(threading.current_thread().name))
        """)  # fmt: skip
    port = primary.ready()
    place = str(tmp_path / "s") if where == "unix" else port

    def all_serve() -> None:
        limit = time.monotonic() + 20
        found = set()
        while len(found) < 3 and time.monotonic() < limit:
            found.add(ask(place))
        assert len(found) == 3

    all_serve()
    primary.send(signal.SIGSTOP)
    with contextlib.ExitStack() as stack:
        several = [stack.enter_context(connected(place)) for _ in range(20)]
        # No thread accepts by itself.
        assert select.select(several, [], [], 0.3)[0] == []
        primary.send(signal.SIGCONT)
        assert all(one.recv(100) for one in several)
    primary.send(signal.SIGHUP)
    primary.wait_for("all workers are new")
    all_serve()
    assert "Traceback" not in primary.end()


@pytest.mark.slow
@pytest.mark.spec("P11-01", "P11-02")
def test_a_connection_for_which_no_thread_has_room_waits(serve: Any) -> None:
    primary = serve("app:app", *LOCAL, "--policy", "rr", "--threads", "3", app="""
        import threading
        def app(server):
            server.max_connections = 1
            def answer(socket):
                socket.resume()
                socket.write(threading.current_thread().name)
            server.on("connection", answer)
        """)  # fmt: skip
    port = primary.ready()
    with contextlib.ExitStack() as stack:
        several = [stack.enter_context(connected(port)) for _ in range(5)]
        served = select.select(several, [], [], 20)[0]
        while len(served) < 3:
            served += select.select([one for one in several if one not in served], [], [], 20)[0]
        names = [one.recv(100) for one in served]
        assert len(set(names)) == 3
        waiting = [one for one in several if one not in served]
        while waiting:
            # One after another, in the place of another.
            served.pop().close()
            one = select.select(waiting, [], [], 20)[0][0]
            assert one.recv(100) in names
            waiting.remove(one)
    primary.end()


@pytest.mark.slow
@pytest.mark.spec("P11-02", "P11-03")
def test_who_waits_for_a_blocked_thread_is_served_by_the_others(serve: Any, tmp_path: Path) -> None:
    """And who was dealt to it already is served when it goes on, also at the end."""
    primary = serve("app:app", *LOCAL, "--policy", "rr", "--threads", "2", app="""
        import os, threading, time
        def app(server):
            def answer(socket):
                if threading.current_thread() is not threading.main_thread():
                    while not os.path.exists("go on"):
                        time.sleep(0.01)
                socket.end(threading.current_thread().name)
            server.on("connection", answer)
        """)  # fmt: skip
    port = primary.ready()
    with contextlib.ExitStack() as stack:
        several = [stack.enter_context(connected(port)) for _ in range(20)]
        left = list(several)
        while len(left) > 1:
            for one in select.select(left, [], [], 20)[0]:
                assert one.recv(100) == b"MainThread"
                left.remove(one)
        primary.send(signal.SIGTERM)
        primary.wait_for("shutting down")
        (tmp_path / "go on").touch()
        assert left[0].recv(100).startswith(b"pyuvnet serves")
    primary.end(None)
