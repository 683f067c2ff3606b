"""Programs that fail before they are ready, and workers that crash later."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
from typing import Any

import pytest

from tests.support.serving import LOCAL, POLICIES, ask, connected, linux, queued

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers are of unix systems")

if sys.platform != "win32":
    from pyuvnet._serve import supervisor


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
def test_the_delay_doubles_up_to_half_a_minute_and_a_long_life_resets_it() -> None:
    backoff = supervisor.Backoff()
    found = [backoff.after(0) for _ in range(11)]
    assert found == [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000]
    assert backoff.after(59_999) == 30_000
    assert [backoff.after(60_000), backoff.after(0)] == [100, 200]


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
