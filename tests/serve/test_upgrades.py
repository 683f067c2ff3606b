"""Hot upgrades: a new primary takes the sockets over, or leaves everything as it was."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import pyuvnet
from tests.support.driven import FakeWorker
from tests.support.serving import (
    APP,
    LOCAL,
    POLICIES,
    ask,
    connected,
    goodbye,
    linux,
    pids,
    primaries,
    wait_for_file,
    wait_until,
)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers are of unix systems")

if sys.platform != "win32":
    from pyuvnet import cluster
    from pyuvnet._serve import sockets, supervisor


@pytest.mark.slow
@pytest.mark.spec("P11-08")
@pytest.mark.parametrize("policy", POLICIES)
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
def test_metrics_are_scraped_all_through_an_upgrade(serve: Any) -> None:
    """None is refused or reset, and none says that there is no worker."""
    primary = serve("app:app", *LOCAL, "--workers", "2", "--metrics", "127.0.0.1:0")
    port = primary.ready()
    metrics = int(primary.find(r"metrics at http://127.0.0.1:(\d+)/metrics")[0][1])
    stop = threading.Event()
    counted: list[str] = []

    def scrape() -> None:
        while not stop.is_set():
            with connected(metrics) as one:
                one.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
                text = b"".join(iter(partial(one.recv, 65536), b"")).decode()
            counted.extend(re.findall(r"^pyuvnet_serve_workers{} (.*)", text, re.M) or ["?"])

    with ThreadPoolExecutor(2) as pool:
        scraping = [pool.submit(scrape) for _ in range(2)]
        try:
            with connected(port) as kept:
                kept.sendall(b"q\n")
                kept.recv(100)
                primary.send(signal.SIGUSR2)
                primary.wait_for(rf"\[{primary.group}\] the new primary")
                before = len(counted)
                # While the old primary waits for its last connection.
                wait_until(lambda: len(counted) > before + 20)
                goodbye(kept)
            primary.process.wait(20)
            after = len(counted)
            wait_until(lambda: len(counted) > after + 20)
        finally:
            stop.set()
        for each in scraping:
            each.result(20)
    assert set(counted) == {"2"}
    assert "cannot serve the metrics" not in primary.log
    os.kill(primaries(primary)[-1], signal.SIGTERM)
    primary.end(None)


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
