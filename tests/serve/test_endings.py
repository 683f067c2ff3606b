"""The end: who is served before it, who is killed, and that nothing is left behind."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.serving import (
    APP,
    LOCAL,
    POLICIES,
    Primary,
    ask,
    connected,
    goodbye,
    linux,
    pids,
    queued,
    wait_for_file,
)

if sys.platform != "win32":
    from pyuvnet._serve import supervisor

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers are of unix systems")


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


def end_with_a_queue(primary: Primary) -> str:
    """The primary gets a SIGTERM, and its stopped worker serves all that wait; returns the log."""
    with queued(primary) as (pid, several):
        primary.send(signal.SIGTERM)
        primary.wait_for("shutting down")
        os.kill(pid, signal.SIGCONT)
        assert [int(one.recv(100).split()[0]) for one in several] == [pid] * 20
    return primary.end(None)


@pytest.mark.slow
@pytest.mark.spec("P11-03")
@pytest.mark.parametrize("policy", POLICIES)
def test_who_waits_to_be_accepted_is_served_before_the_end(serve: Any, policy: str) -> None:
    primary = serve("app:app", *LOCAL, "--policy", policy)
    end_with_a_queue(primary)


@pytest.mark.slow
@pytest.mark.spec("P11-03")
def test_who_waits_for_a_worker_that_is_blocked_is_served_before_the_end(serve: Any) -> None:
    """The primary does not wait for it for ever, and then sends it all connections."""
    primary = serve("app:app", *LOCAL, "--policy", "rr", patch="supervisor._HANDING_OUT = 0")
    assert "were closed" not in end_with_a_queue(primary)


@pytest.mark.slow
@pytest.mark.spec("P11-03")
def test_connections_that_nobody_can_take_at_the_end_are_logged(serve: Any) -> None:
    primary = serve("app:app", *LOCAL, "--policy", "rr", patch="supervisor.LEAST_BETWEEN = 10**6")
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
        # What comes sooner is the same order.
        time.sleep(2 * supervisor.SAME_ORDER)
        primary.send(signal.SIGTERM)
        primary.end(None)
        assert time.monotonic() - began < 10
        with contextlib.suppress(ConnectionError):
            assert one.recv(100) == b""


@pytest.mark.parametrize(
    ("apart", "shutdowns"),
    [(0, 1), (1, 2)],
)
def test_a_signal_that_is_sent_twice_is_one_order(drive: Any, apart: int, shutdowns: int) -> None:
    driven = drive()
    driven.all_ready()
    driven.primary._stop("SIGINT")
    driven.primary._ordered -= apart
    driven.primary._stop("SIGTERM")
    assert driven.workers[0].orders.count("shutdown") == shutdowns


def test_what_the_kernel_has_taken_arrives_when_time_is_up(serve: Any) -> None:
    """Something is unread, for which the kernel would reset the connection."""
    app = """
        def app(server):
            server.on("connection", lambda socket: socket.pause().write(b"y" * 200_000))
        """
    primary = serve("app:app", *LOCAL, "--workers", "1", "--timeout-graceful", "1", app=app)
    port = primary.ready()
    with connected(port) as one:
        one.sendall(b"x" * 100_000)
        primary.send(signal.SIGTERM)
        got = b""
        while chunk := one.recv(65536):
            got += chunk
        assert got == b"y" * 200_000
    primary.end(None)


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
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_worker_that_hangs_in_shutdown_is_killed(serve: Any, name: str) -> None:
    primary = serve(
        *("app:app", *LOCAL, "--workers", "2", "--timeout-graceful", "0.1"),
        app=HANGS,
        patch="supervisor.PATIENCE = 200",
    )
    port = primary.ready()
    ask(port)
    primary.send(getattr(signal, name))
    primary.wait_for("has not stopped in time: killed", 2)
    if name == "SIGHUP":
        primary.wait_for("has ended with signal SIGKILL", 2)
        ask(port)
        primary.send(signal.SIGTERM)
    primary.end(None)


HANGING = """
    import time
    def app(server):
        server.on("connection", lambda socket: time.sleep(1000))
    """


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


@pytest.mark.slow
@pytest.mark.spec("P11-04")
def test_a_worker_that_hangs_before_it_serves_ends_with_its_primary(
    serve: Any, tmp_path: Path
) -> None:
    primary = serve(
        program="""
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
    wait_for_file(tmp_path / "hangs")
    primary.send(signal.SIGKILL)
    primary.end(None, -signal.SIGKILL)


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


# Answers on a port of its own as well, which it opens itself.
OWN = """
    import os
    from pyuvnet import net

    def listener(server):
        def connected(socket):
            def data(chunk):
                socket.write(f"{os.getpid()}{' bye' if server.shutting_down else ''}\\n")

            socket.on("data", data)
            socket.on("error", lambda error: None)

        return connected

    def own_server():
        own = net.create_server()
        own.on("connection", listener(own))
        own.listen(port=int(os.environ["OWN"]), host="127.0.0.1", reuse_port=REUSE_PORT)
        return own

    def plain(server):
        server.on("connection", listener(server))
        own_server()

    async def waits(server):
        server.on("connection", listener(server))
        await own_server().serve_forever()
    """


@linux
@pytest.mark.slow
@pytest.mark.spec("P11-03", "P11-05")
@pytest.mark.parametrize("reuse_port", [False, True])
@pytest.mark.parametrize("name", ["plain", "waits"])
def test_servers_that_a_worker_opens_itself_end_with_it(
    serve: Any, name: str, reuse_port: bool
) -> None:
    with socket.socket() as kept:
        # Nothing else gets the port.
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        kept.bind(("127.0.0.1", 0))
        own = kept.getsockname()[1]
        if not reuse_port:
            kept.close()
        primary = serve(f"app:{name}", *LOCAL, app=OWN.replace("REUSE_PORT", str(reuse_port)),
                        environment={"OWN": str(own)})  # fmt: skip
        port = primary.ready()
        with connected(own) as one, connected(port) as two:
            one.sendall(b"q\n")
            old = int(one.recv(100))
            primary.send(signal.SIGHUP)
            assert goodbye(one) == old
            # It is idle.
            assert two.recv(100) == b""
        primary.wait_for("has ended with exit status 0")
        assert old not in {*pids(own), *pids(port)}
        with connected(own) as one, connected(port) as two:
            one.sendall(b"q\n")
            new = int(one.recv(100))
            primary.send(signal.SIGTERM)
            assert goodbye(one) == new
            assert two.recv(100) == b""
        primary.end(None)
