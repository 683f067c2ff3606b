"""Workers that hang: on their way, and later."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.serving import APP, LOCAL, POLICIES, ask, connected, pids

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers are of unix systems")

OFTEN = ("--heartbeat", "0.2")
HANGS = "import time\nprint('hanging', flush=True)\ntime.sleep(1000)"


def pass_time(driven: Any, ms: float) -> None:
    beat = driven.primary._heartbeat
    for _ in range(round(ms / beat.step)):
        beat.count()


# ---- A start -------------------------------------------------------------------------------------


@pytest.mark.spec("P11-14")
@pytest.mark.parametrize("when", ["first", "restart", "dead", "more", "reload", "hung"])
def test_each_start_has_a_limit(drive: Any, when: str) -> None:
    driven = drive(reload=when == "reload")
    first = driven.workers[0]
    if when not in ("first", "reload"):
        driven.all_ready()
    if when == "restart":
        driven.primary.restart("SIGHUP")
    elif when == "dead":
        driven.primary.restart("SIGHUP")
        first.ends(name="SIGKILL")
    elif when == "more":
        driven.primary._start(driven.primary._add_slot())
    elif when == "hung":
        first.runs = False
        pass_time(driven, 65_000)
    late = driven.workers[-1]
    pass_time(driven, 59_000)
    assert late.kills == []
    pass_time(driven, 2000)
    assert late.kills == ["SIGKILL"]
    late.ends(name="SIGKILL")
    primary = driven.primary
    if when == "first":
        assert (primary.code, primary.stopping) == (3, True)
    elif when in ("dead", "hung"):
        # It is tried again: no other version is there.
        assert primary.slots[0].timer is not None
        assert not primary.rolling
    else:
        assert first.kills == (["SIGKILL"] if when == "reload" else [])
        assert len(primary.slots) == 1
        assert all(slot.timer is None for slot in primary.slots)


@pytest.mark.slow
@pytest.mark.spec("P11-14")
def test_an_old_worker_that_dies_while_the_new_version_hangs_is_replaced(
    serve: Any, tmp_path: Path
) -> None:
    primary = serve("app:app", *LOCAL, "--timeout-start", "4")
    port = primary.ready()
    (tmp_path / "app.py").write_text(HANGS)
    primary.send(signal.SIGHUP)
    primary.wait_for("hanging")
    os.kill(int(ask(port)), signal.SIGKILL)
    primary.wait_for("its successor is starting")
    (tmp_path / "app.py").write_text(APP)
    # Who comes now waits no longer than that.
    assert int(ask(port)) > 0
    assert "is not ready after 4 s: killed" in primary.end()


# ---- A worker that has served --------------------------------------------------------------------


@pytest.mark.spec("P11-14")
def test_who_hangs_is_replaced_and_who_is_busy_or_was_suspended_is_not(drive: Any) -> None:
    driven = drive(workers=2)
    driven.all_ready()
    busy, hung = driven.workers
    processes = list(driven.primary.processes.values())
    # Whatever the clock says after the machine was suspended: it counts as one step.
    driven.primary._heartbeat.count()
    pass_time(driven, 20_000)
    assert not any(each.pulse.late for each in processes)
    busy.runs = hung.runs = False
    pass_time(driven, 12_000)
    assert all(each.pulse.late for each in processes)
    pass_time(driven, 40_000)
    # Each has one beat to reply to, and not a queue of them.
    assert busy.orders.count("beat") == hung.orders.count("beat")
    busy.runs = True
    busy.reports("beat")
    assert [each.pulse.late for each in processes] == [False, True]
    pass_time(driven, 40_000)
    assert len(driven.workers) == 3
    driven.workers[2].reports("ready")
    assert hung.orders[-1] == "shutdown"
    pass_time(driven, 200_000)
    assert len(driven.workers) == 3
    assert busy.kills == []


@pytest.mark.spec("P11-14")
def test_who_does_not_know_beats_or_is_not_watched_is_not_replaced(drive: Any) -> None:
    for options, beats in (({}, False), ({"heartbeat": 0}, True), ({"timeout_hung": None}, True)):
        driven = drive(**options)
        driven.workers[0].runs = False
        driven.workers[0].reports("ready", beats=beats)
        pass_time(driven, 300_000)
        assert len(driven.workers) == 1
        assert ("beat" in driven.workers[0].orders) == ("timeout_hung" in options)


@pytest.mark.spec("P11-09", "P11-14")
def test_the_watchdog_is_fed_while_half_of_the_workers_reply(
    drive: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    driven = drive(workers=3)
    driven.all_ready()
    fed: list[str] = []
    monkeypatch.setattr(driven.primary, "_notify", fed.append)
    driven.workers[0].runs = False
    pass_time(driven, 12_000)
    driven.primary._feed_watchdog()
    assert fed == ["WATCHDOG=1"]
    driven.workers[1].runs = False
    pass_time(driven, 12_000)
    driven.primary._feed_watchdog()
    assert fed == ["WATCHDOG=1"]
    # Their successors are starting, and a start has a limit.
    pass_time(driven, 60_000)
    driven.primary._feed_watchdog()
    assert fed == ["WATCHDOG=1"] * 2


@pytest.mark.slow
@pytest.mark.spec("P11-14")
@pytest.mark.parametrize("policy", POLICIES)
def test_who_is_stopped_gets_no_connections_until_it_goes_on(serve: Any, policy: str) -> None:
    options = (*LOCAL, "--policy", policy, "--workers", "2")
    primary = serve("app:app", *options, *OFTEN, "--timeout-hung", "0")
    port = primary.ready()
    (stopped,) = pids(port, 1)
    os.kill(stopped, signal.SIGSTOP)
    primary.wait_for(rf"\(pid {stopped}\) does not reply")
    (other,) = pids(port, 40)
    assert other != stopped
    os.kill(stopped, signal.SIGCONT)
    primary.wait_for(rf"\(pid {stopped}\) replies again")
    if policy != "shared":
        # There the kernel may well give all of them to the same worker.
        assert stopped in pids(port, 100)
    # With both stopped, what comes for the second one is for the first as soon as that goes on.
    for pid, times in ((stopped, 2), (other, 1)):
        os.kill(pid, signal.SIGSTOP)
        primary.wait_for(rf"\(pid {pid}\) does not reply", times)
    os.kill(stopped, signal.SIGCONT)
    primary.wait_for(rf"\(pid {stopped}\) replies again", 2)
    assert pids(port, 40) == {stopped}
    os.kill(other, signal.SIGCONT)
    assert "restarting" not in primary.end()


@pytest.mark.slow
@pytest.mark.spec("P11-14")
@pytest.mark.parametrize("policy", POLICIES)
def test_the_only_worker_is_stopped_and_replaced(serve: Any, policy: str) -> None:
    primary = serve(
        *("app:app", *LOCAL, "--policy", policy, *OFTEN, "--timeout-hung", "0.5"),
        *("--timeout-graceful", "0"),
        patch="supervisor.PATIENCE = 300",
    )
    port = primary.ready()
    pid = int(ask(port))
    os.kill(pid, signal.SIGSTOP)
    primary.wait_for("does not reply")
    assert int(ask(port)) != pid
    primary.wait_for(rf"\(pid {pid}\) has ended with signal SIGKILL")
    log = primary.end()
    assert f"(pid {pid}) has not replied for 0.5 s; starting its successor" in log
    assert f"(pid {pid}) has not stopped in time: killed" in log


@pytest.mark.slow
@pytest.mark.spec("P11-14")
def test_a_thread_that_is_blocked_is_noticed(serve: Any, tmp_path: Path) -> None:
    app = """
        import os, time
        def app(socket):
            socket.write("blocked")
            socket.on("data", wait)
        def wait(data):
            while not os.path.exists("go on"):
                time.sleep(0.01)
        """
    primary = serve("app:app", *LOCAL, "--threads", "2", "--policy", "rr", *OFTEN, app=app)
    with connected(primary.ready()) as one, connected(primary.ready()) as two:
        for each in (one, two):
            assert each.recv(100) == b"blocked"
        two.sendall(b"wait")
        primary.wait_for("does not reply")
        (tmp_path / "go on").touch()
        primary.wait_for("replies again")
    primary.end()
