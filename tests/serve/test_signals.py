"""Signals at any time, and for the whole process group: none ends or stops what is to go on."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.serving import APP, LOCAL, ask, linux, primaries, wait_until

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="workers are of unix systems"),
    pytest.mark.slow,
]

ORDERS = ("SIGHUP", "SIGUSR2", "SIGTTIN", "SIGTTOU")


def test_orders_for_the_group_are_the_primarys(serve: Any) -> None:
    primary = serve("app:app", *LOCAL, "--workers", "2")
    port = primary.ready()
    for name, done in [
        ("SIGTTIN", r"worker 3 \(pid \d+\) is ready"),
        ("SIGTTOU", r"worker 3 \(pid \d+\) has ended with exit status 0"),
        ("SIGHUP", "all workers are new"),
        ("SIGUSR2", rf"\[{primary.group}\] ended"),
    ]:
        os.killpg(primary.group, getattr(signal, name))
        primary.wait_for(done)
        ask(port)
    os.kill(primaries(primary)[-1], signal.SIGTERM)
    log = primary.end(None)
    assert "has ended with signal" not in log, log
    assert "restarting in" not in log, log


def states(group: int) -> list[str]:
    """What the kernel says of each process of a group."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            state, _, its_group = (
                Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[:3]
            )
            found += [state] * (int(its_group) == group)
    return sorted(found)


@linux
def test_sigterm_for_the_group_is_no_failure_of_workers_that_start(serve: Any) -> None:
    """How they have ended is known before the primary's own signal is dealt with."""
    app = """
        import os, signal, time
        from pyuvnet import cluster
        if cluster.worker.id == 2:
            os.kill(os.getppid(), signal.SIGSTOP)
            os.killpg(0, signal.SIGTERM)
        time.sleep(100)
        """
    primary = serve("app:app", *LOCAL, "--workers", "2", app=app)
    primary.wait_for("listening")
    os.waitid(os.P_PID, primary.group, os.WSTOPPED | os.WNOWAIT)
    wait_until(lambda: states(primary.group) == ["T", "Z", "Z"])
    primary.send(signal.SIGCONT)
    assert "failed" not in primary.end(None)


EARLY = f"""
import os, signal, sys, pyuvnet
{APP}
if "PYUVNET_HANDOVER" in os.environ:
    for name in {ORDERS!r}:
        signal.raise_signal(getattr(signal, name))
sys.exit(pyuvnet.serve(app, bind="127.0.0.1:0"))
"""


def test_orders_to_a_successor_that_has_just_begun_wait(serve: Any) -> None:
    """And those to its first workers, which have the variable too."""
    primary = serve(program=EARLY)
    port = primary.ready()
    primary.send(signal.SIGUSR2)
    primary.wait_for(rf"\[{primary.group}\] ended")
    new = primaries(primary)[-1]
    assert new != primary.group
    assert primary.find(rf"\[{new}\] SIGHUP: restarting the workers")
    ask(port)
    os.kill(new, signal.SIGTERM)
    assert "failed" not in primary.end(None)


IN_A_STORM = f"""
import argparse, signal
parse = argparse.ArgumentParser.parse_args
def parse_in_a_storm(self, given):
    for name in {ORDERS!r}:
        signal.raise_signal(getattr(signal, name))
    return parse(self, given)
argparse.ArgumentParser.parse_args = parse_in_a_storm
"""


def test_orders_while_the_command_reads_its_options_wait(serve: Any) -> None:
    primary = serve("app:app", *LOCAL, patch=IN_A_STORM)
    ask(primary.ready())
    primary.end()


LATE = f"""
import signal
close = supervisor.Supervisor._close
def close_in_a_storm(self):
    close(self)
    for name in ("SIGTERM", "SIGINT", *{ORDERS!r}):
        signal.raise_signal(getattr(signal, name))
supervisor.Supervisor._close = close_in_a_storm
"""


def test_a_signal_after_the_end_changes_no_exit_status(serve: Any) -> None:
    primary = serve("app:app", *LOCAL, patch=LATE)
    primary.ready()
    primary.end(code=0)
