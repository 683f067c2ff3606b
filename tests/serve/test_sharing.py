"""Who gets a connection: the policies, and the threads of a worker."""

from __future__ import annotations

import contextlib
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import exhausted
from tests.support.serving import LOCAL, POLICIES, ask, connected

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers are of unix systems")


@pytest.mark.slow
@pytest.mark.spec("P11-02")
@pytest.mark.parametrize("policy", POLICIES)
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


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
@pytest.mark.parametrize(
    "policy",
    ["rr", *(pytest.param(each, marks=pytest.mark.slow) for each in ("shared", "reuse-port"))],
)
def test_workers_start_without_many_descriptors_and_service_returns(
    serve: Any, policy: str
) -> None:
    patch = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))"
    primary = serve("app:app", *LOCAL, "--workers", "2", "--policy", policy, patch=patch)
    port = primary.ready()
    with exhausted(primary.group, port, 64, 400):
        primary.send(signal.SIGHUP)
        primary.wait_for("is ready", 3)
    primary.wait_for("all workers are new")
    assert ask(port)
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
def test_a_connection_for_which_no_thread_has_room_is_served_by_the_next_worker(serve: Any) -> None:
    primary = serve("app:app", *LOCAL, "--policy", "rr", "--threads", "2", app="""
        import os
        def app(server):
            server.max_connections = 1
            def answer(socket):
                socket.resume()
                socket.write(str(os.getpid()))
            server.on("connection", answer)
        """)  # fmt: skip
    port = primary.ready()
    with contextlib.ExitStack() as stack:
        several = [stack.enter_context(connected(port)) for _ in range(5)]
        served: list[socket.socket] = []
        while len(served) < 2:
            left = [one for one in several if one not in served]
            served += select.select(left, [], [], 20)[0]
        (before,) = {one.recv(100) for one in served}
        waiting = [one for one in several if one not in served]
        primary.send(signal.SIGHUP)
        while waiting:
            one = select.select(waiting, [], [], 20)[0][0]
            assert one.recv(100) not in (b"", before)
            waiting.remove(one)
            one.close()
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
