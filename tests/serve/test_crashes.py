"""Programs that fail before they are ready, and workers that crash later."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import ssl
import sys
from typing import Any

import pytest

from tests.support.serving import LOCAL, POLICIES, ask, connected, linux, queued

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers are of unix systems")

if sys.platform != "win32":
    from pyuvnet._serve import containment, supervisor


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


# Raises in the way that a client names; `{a}` makes all listeners coroutines.
RAISES = """
    import os
    from pyuvnet import net, next_tick, set_timeout

    def wrong(*_):
        raise ValueError("not today")

    {a}def asked(socket, what):
        if what == "q":
            socket.write(str(os.getpid()))
        elif what == "raise":
            wrong()
        elif what == "write":
            socket.write("x", wrong)
        elif what == "timeout":
            socket.set_timeout(1, wrong)
        elif what == "close":
            socket.on("close", wrong)
            socket.destroy()
        elif what == "error":
            socket.destroy(ValueError("not today"))
        elif what == "connect":
            net.connect(1, "127.0.0.1")
        elif what == "timer":
            set_timeout(wrong, 1)
        elif what == "tick":
            next_tick(wrong)
        elif what == "next":
            refused.append(what)
            socket.write("ok")

    refused = []

    {a}def listener(socket):
        {a}def data(chunk):
            {wait}asked(socket, chunk.decode())

        socket.on("data", data)
        if refused:
            refused.clear()
            wrong()

    {a}def app(server):
        server.on("secureConnection", listener)
        server.on("connection", {plain})
    """


@pytest.mark.slow
@pytest.mark.spec("P11-13")
@pytest.mark.parametrize("how", ["plain", "coroutines", "tls", "threads"])
def test_an_exception_of_a_connection_ends_it_alone(serve: Any, how: str) -> None:
    a, wait = ("async ", "await ") if how == "coroutines" else ("", "")
    plain = "lambda socket: None" if how == "tls" else "listener"
    options, wrap = [], lambda one: one
    if how == "tls":
        from tests.support.certificates import certificates

        files = certificates()
        options = ["--tls-cert", str(files / "server.pem"), "--tls-key", str(files / "server.key")]
        context = ssl.create_default_context(cafile=files / "ca.pem")
        wrap = lambda one: context.wrap_socket(one, server_hostname="localhost")  # noqa: E731
    elif how == "threads":
        options = ["--threads", "2", "--policy", "rr"]
    primary = serve("app:app", *LOCAL, "--metrics", "127.0.0.1:0", *options,
                    app=RAISES.format(a=a, wait=wait, plain=plain))  # fmt: skip
    port = primary.ready()
    at = int(primary.wait_for(r"metrics at http://127\.0\.0\.1:(\d+)/metrics$")[0][1])

    def talk(what: str) -> bytes:
        with connected(port) as one, contextlib.suppress(ConnectionError), wrap(one) as ours:
            ours.sendall(what.encode())
            return b"".join(iter(lambda: ours.recv(100), b""))
        return b""

    with connected(port) as first, wrap(first) as other:
        other.sendall(b"q")
        pid = other.recv(100)
        for count, what in enumerate(["raise", "write", "timeout", "close", "error"], 1):
            # It ends: nothing waits for what will never come.
            assert talk(what) == (b"x" if what == "write" else b"")
            primary.wait_for("ValueError: not today", count)
        with connected(port) as one, wrap(one) as ours:
            ours.sendall(b"next")
            assert ours.recv(100) == b"ok"
            if how != "threads":
                assert talk("q") == b""
                # These belong to no connection.
                for count, what in enumerate(["timer", "tick"], 7):
                    ours.sendall(what.encode())
                    primary.wait_for("ValueError: not today", count)
                ours.sendall(b"connect")
                primary.wait_for("ConnectionRefusedError: connect ECONNREFUSED")
            ours.sendall(b"q")
            assert how == "threads" or ours.recv(100) == pid
        other.sendall(b"q")
        assert other.recv(100) == pid
    log = primary.log
    assert "Traceback" in log
    assert re.search(r"exception in a listener of a (TLS)?Socket from 127.0.0.1:\d+, which is", log)
    with connected(at) as one:
        one.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        text = b"".join(iter(lambda: one.recv(65536), b"")).decode()
    assert int(re.findall(r"^pyuvnet_serve_exceptions_total{} (\d+)$", text, re.M)[0]) >= 5
    assert "restarting" not in primary.end()


CLOSES = """
def app(server):
    def listener(socket):
        server.close()
        raise FileNotFoundError

    server.on("connection", listener)
"""


@pytest.mark.slow
@pytest.mark.spec("P11-13")
@pytest.mark.parametrize(
    ("options", "app"),
    [
        (["--no-contain-exceptions"], "def app(socket): open('gone')"),
        ([], "import sys\ndef app(socket): sys.exit('FileNotFoundError')"),
        ([], CLOSES),
    ],
    ids=["told so", "no Exception", "the server"],
)  # fmt: skip
def test_an_exception_that_ends_the_worker(serve: Any, options: list[str], app: str) -> None:
    primary = serve("app:app", *LOCAL, *options, app=app)
    with connected(primary.ready()):
        primary.wait_for("has ended with exit status 1; restarting")
    assert "FileNotFoundError" in primary.end()


def test_a_flood_of_exceptions_is_not_a_flood_of_tracebacks(
    monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    contain = containment.Containment(lambda: False, pytest.fail)
    for now in (5.0, 6.5):
        monkeypatch.setattr(containment.time, "monotonic", lambda now=now: now)
        for _ in range(100):
            contain(ValueError("not today"), None)
    assert contain.count == 200
    lines = [record.getMessage() for record in caplog.records]
    assert lines.count("exception in a callback") == 20
    assert lines[10] == "90 more exceptions were not logged"


@pytest.mark.slow
@pytest.mark.spec("P11-07")
def test_a_worker_that_crashes_is_replaced_at_once(serve: Any) -> None:
    primary = serve("app:app", *LOCAL, app="""
        import os
        def app(server):
            server.on("connection", lambda socket: os._exit(7))
        """)  # fmt: skip
    port = primary.ready()
    for count in range(1, 6):
        # Also who comes while no worker is there gets the next one.
        with connected(port) as one, contextlib.suppress(ConnectionResetError):
            assert one.recv(10) == b""
        primary.wait_for("has ended with exit status 7", count)
    found = primary.find(r"exit status 7; restarting (at once|in 0\.[0-4]\d* s)$")
    assert len(found) == 5, primary.log
    primary.end()


def test_a_worker_whose_report_is_wrong_ends_alone(serve: Any) -> None:
    """Of another version, for one; each field of each message is in test_hostile_messages.py."""
    app = """
        import os
        from pyuvnet import cluster
        def app(server):
            def connected(socket):
                socket.on("data", lambda line: data(socket, line))
            def data(socket, line):
                if line == b"q\\n":
                    socket.write(f"{os.getpid()}\\n")
                else:
                    cluster.worker._channel.send_frame(0, line.strip(), None, None)
            server.on("connection", connected)
        """
    primary = serve("app:app", *LOCAL, "--workers", "2", "--reload", app=app)
    port = primary.ready()
    reports = ('"counts"', '"counts","names":5', '"counts","names":{"a":5}', '"files","files":5')
    for count, report in enumerate(reports, 1):
        with connected(port) as one:
            one.sendall(f'{{"act":"serve","what":{report}}}\n'.encode())
            primary.wait_for("has sent an invalid message: its channel is closed", count)
        primary.wait_for("is ready", 2 + count)
        assert ask(port)
    primary.end()


@pytest.mark.spec("P11-07")
def test_who_has_served_is_replaced_at_once_and_who_has_not_later_and_later(
    drive: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    delays: list[float] = []
    real = supervisor.set_timeout

    def set_timeout(callback: Any, delay: float) -> Any:
        delays.append(delay)
        return real(callback, delay)

    monkeypatch.setattr(supervisor, "set_timeout", set_timeout)
    driven = drive()
    driven.all_ready()
    slot = driven.primary.slots[0]
    for ready, expected in [
        (True, 0), (False, 100), (False, 200), (False, 400), (True, 0), (True, 0), (False, 100)
    ]:  # fmt: skip
        if slot.current is None:
            driven.primary._start(slot)
        process = slot.current or slot.coming
        if ready and slot.current is None:
            process.worker.reports("ready")
        process.started -= 1
        process.worker.ends(1)
        assert delays[-1] == expected
    # At most so often.
    driven.primary._start(slot)
    slot.coming.worker.reports("ready")
    slot.current.worker.ends(1)
    assert 0 < delays[-1] <= 500
    backoff = supervisor.Backoff()
    found = [backoff.after() for _ in range(11)]
    assert found == [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000]


@pytest.mark.slow
@pytest.mark.spec("P11-07")
@pytest.mark.parametrize("policy", POLICIES)
def test_who_waits_for_a_worker_that_is_killed_is_served_by_the_next(
    serve: Any, policy: str
) -> None:
    primary = serve("app:app", *LOCAL, "--policy", policy)
    with queued(primary) as (pid, several):
        os.kill(pid, signal.SIGKILL)
        assert {int(one.recv(100)) for one in several}.isdisjoint({pid})
    primary.end()


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
