"""The clock of a thread: set and released, seen by timers, and by no other thread."""

from __future__ import annotations

import threading
import time

import pytest

import pyuvnet
from pyuvnet._core.clock import read_clock, set_clock
from pyuvnet._core.info import build_flags

MS = 1_000_000

pytestmark = pytest.mark.skipif(
    "bundled libuv" not in build_flags(), reason="an installed libuv reads the system's clock"
)


@pytest.fixture
def set_at(loop: pyuvnet.Loop):
    """Set this thread's clock a number of ms after the present."""
    begin = (read_clock() // MS + 1) * MS

    def set_at(ms: int) -> bool:
        return set_clock(begin + ms * MS, loop)

    yield set_at
    assert set_clock(0, loop)


def test_it_stands_where_it_was_set(set_at):
    assert set_at(5)
    shown = read_clock()
    time.sleep(0.002)
    assert read_clock() == shown
    assert set_at(6)
    assert read_clock() == shown + MS


def test_it_runs_again_when_it_is_let_go(loop):
    set_clock(1000 * MS, loop)
    assert read_clock() == 1000 * MS
    set_clock(0, loop)
    shown = read_clock()
    assert abs(shown - time.monotonic_ns()) < 10**9
    while read_clock() == shown:
        pass


def test_timers_follow_it(set_at, loop, trace):
    set_at(0)
    timer = pyuvnet.set_timeout(trace, 60_000, "due")
    loop.turn()
    assert loop.backend_timeout() == 60_000
    set_at(59_999)
    loop.turn()
    assert (trace, loop.backend_timeout()) == ([], 1)
    set_at(60_000)
    loop.turn()
    assert trace == ["due"]
    timer.close()


def test_another_thread_has_a_clock_of_its_own(set_at):
    set_at(3_600_000)
    shown: list[int] = []

    def look() -> None:
        shown.append(read_clock())
        loop = pyuvnet.current_loop()
        pyuvnet.set_timeout(lambda: shown.append(read_clock()), 5)
        pyuvnet.run()
        loop.close()

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert shown[0] < read_clock()
    assert shown[1] - shown[0] >= 4 * MS


def test_without_a_loop_it_is_let_go_as_well():
    assert set_clock(1000 * MS)
    assert set_clock(0)
    assert read_clock() > 0


@pytest.mark.parametrize("ns", [-1, 2**64, "1", None])
def test_what_is_no_time_is_refused(ns):
    with pytest.raises((OverflowError, TypeError)):
        set_clock(ns)


def test_a_loop_of_another_thread_is_refused():
    loops: list[pyuvnet.Loop] = []
    thread = threading.Thread(target=lambda: loops.append(pyuvnet.current_loop()))
    thread.start()
    thread.join()
    with pytest.raises(pyuvnet.StateError):
        set_clock(5, loops[0])
    assert read_clock() > 5
