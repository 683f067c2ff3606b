"""Rolling restarts, for a signal, an age or a changed file; one worker more or fewer."""

from __future__ import annotations

import os
import signal
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import pytest

from tests.support.serving import APP, LOCAL, POLICIES, ask, connected, goodbye, pids, queued

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers are of unix systems")

if sys.platform != "win32":
    from pyuvnet._serve import supervisor


@pytest.mark.spec("P11-05")
@pytest.mark.slow
@pytest.mark.parametrize("policy", POLICIES)
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
@pytest.mark.parametrize("policy", POLICIES)
def test_who_waits_for_the_last_worker_is_served_by_its_successor(serve: Any, policy: str) -> None:
    """Node's primary drops who waits when the last worker closes its server; this one keeps all."""
    primary = serve("app:app", *LOCAL, "--policy", policy)
    with queued(primary) as (old, several):
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
def test_a_restart_that_waits_for_a_worker_is_over_when_that_one_is_removed(drive: Any) -> None:
    driven = drive(workers=2)
    driven.all_ready()
    driven.primary.restart("SIGHUP")
    driven.workers[1].ends(1)
    # It is started again after a while, which comes too late.
    driven.workers[2].reports("ready")
    driven.workers[0].ends(0)
    assert driven.primary.rolling
    driven.primary._remove_slot()
    assert not driven.primary.rolling


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


HANGING_AT_FIRST = """
    import time
    def app(server):
        print("hanging", flush=True)
        time.sleep(1000)
    """


@pytest.mark.spec("P11-05")
def test_with_reload_a_change_that_fails_ends_nothing_also_before_all_are_ready(drive: Any) -> None:
    driven = drive(workers=2, reload=True)
    first, hanging = driven.workers
    first.reports("ready")
    driven.primary._file_changed("app.py")
    hanging.ends(name="SIGKILL")
    # The successors of both.
    driven.workers[2].ends(1)
    driven.workers[3].ends(1)
    assert (driven.primary.code, driven.primary.stopping) == (0, False)
    # What it changes to next is good.
    driven.primary._file_changed("app.py")
    driven.workers[4].reports("ready")
    assert driven.primary.up
    driven.workers[5].reports("ready")
    assert first.orders == ["serve", "shutdown"]


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


# ---- Age -----------------------------------------------------------------------------------------


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


# ---- Changed files -------------------------------------------------------------------------------


def replace(file: Path, text: str) -> None:
    """Write a file so that its time differs, however coarse the file system's is."""
    before = file.stat().st_mtime_ns
    new = file.with_suffix(".new")
    new.write_text(text)
    os.utime(new, ns=(before + 10**9, before + 10**9))
    new.replace(file)


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


# ---- More or fewer -------------------------------------------------------------------------------


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
