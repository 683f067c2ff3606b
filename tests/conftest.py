"""What every test gets: a fresh loop, proof that it left nothing behind, and a few helpers."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pyuvnet
from pyuvnet._core.handle import live_counts
from pyuvnet._core.info import build_flags
from tests.support.installed import UVLOOP

ROOT = Path(__file__).resolve().parent.parent

# Unbuffered, print() writes the end of its line separately, and the lines of processes that share
# an output mix.
os.environ.pop("PYTHONUNBUFFERED", None)

_outcome = pytest.StashKey[bool]()


# What runs with --slow only, by folder or file: it compiles, starts many processes, needs other
# programs or whole networks, or repeats in large what a quicker test shows. Single tests elsewhere
# are marked as slow; what is marked as full runs with --full only. See CONTRIBUTING.md.
SLOW = [
    "differential/test_clusters.py",
    "differential/test_link_local.py",
    "differential/test_random_scripts.py",
    "examples",
    "reliability",
    "spec/test_complete.py",
    "test_bench.py",
    "test_build.py",
    "test_coverage.py",
    "test_deploying.py",
    "test_docs.py",
    "test_exit.py",
    "test_frameworks.py",
    "test_half_built.py",
    "test_packaging.py",
    "test_pytest_plugin.py",
    "test_stream_machine.py",
    "test_stubs.py",
    "test_tiers.py",
    "test_vendor.py",
    "tools",
    "typing",
]

_left_out = pytest.StashKey[dict[str, int]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--slow", action="store_true", help="also what a change should pass, but takes its time"
    )
    parser.addoption(
        "--full",
        action="store_true",
        help="everything, and the large version of the suites of tests/reliability, see "
        "docs/maintainers/reliability.md",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests of a larger tier than the one wanted.

    A file that the command line names is wanted with its slow tests.
    """
    slow = {ROOT / "tests" / name for name in SLOW}
    named = {Path(argument.partition("::")[0]).resolve() for argument in config.args}
    full = config.getoption("--full")
    slow_too = full or config.getoption("--slow")
    left_out: dict[str, list[pytest.Item]] = {"slow": [], "full": []}
    for item in items:
        if slow & {item.path, *item.path.parents}:
            item.add_marker("slow")
        if item.get_closest_marker("full"):
            if not full:
                left_out["full"].append(item)
        elif item.get_closest_marker("slow") and not (slow_too or item.path in named):
            left_out["slow"].append(item)
    gone = {id(item) for several in left_out.values() for item in several}
    if gone:
        config.hook.pytest_deselected(items=[item for item in items if id(item) in gone])
        items[:] = [item for item in items if id(item) not in gone]
    config.stash[_left_out] = {tier: len(several) for tier, several in left_out.items()}


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    """Say below the header which tiers are left out."""
    left_out = config.stash.get(_left_out, {})  # There are none if the collection failed.
    return [f"left out: {n} tests that --{tier} adds" for tier, n in left_out.items() if n]


@pytest.fixture(scope="module", autouse=True)
def _freeze() -> None:
    """Let each file's tests collect garbage of their own, not look through all that was imported.

    The tests that wait for a collection are several times as fast.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def full(request: pytest.FixtureRequest) -> bool:
    """Whether the large versions are wanted."""
    return bool(request.config.getoption("--full"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    report = yield
    if report.when == "call":
        item.stash[_outcome] = report.passed
    return report


HANGS = "the test hangs"
_one_hung = pytest.StashKey[bool]()


def _hung(*_: object) -> None:
    pytest.fail(HANGS)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Any:
    """Fail a test that hangs in a loop, which runs Python's signal handlers.

    The watchdogs in pyproject.toml are for all else that hangs, and end the whole run. After the
    first test that hangs the others have five seconds: what hangs one may hang hundreds.
    """
    if not hasattr(signal, "setitimer"):
        return (yield)
    mark = item.get_closest_marker("timeout")
    limit = float(mark.args[0] if mark and mark.args else item.config.getini("timeout"))
    before = signal.signal(signal.SIGALRM, _hung)
    patience = min(limit, 5) if _one_hung in item.config.stash else limit
    signal.setitimer(signal.ITIMER_REAL, 0.8 * patience)
    try:
        return (yield)
    except pytest.fail.Exception as error:
        if error.msg == HANGS:
            item.config.stash[_one_hung] = True
        raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts background jobs like that, and children inherit it: Ctrl-C would do nothing.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def loop(request: pytest.FixtureRequest) -> Iterator[pyuvnet.Loop]:
    """This thread's loop, fresh; at the end it must be empty, and is closed."""
    before = live_counts()
    fresh = pyuvnet.current_loop()
    yield fresh
    last = pyuvnet.current_loop()
    try:
        # A test that failed has told enough.
        if request.node.stash.get(_outcome, False):
            assert not last.alive(), "the test left something that keeps the loop alive"
            assert last.handle_count() == 0, "the test left handles open"
    finally:
        last.close()
    assert live_counts() == before, "libuv still knows handles or requests"


@pytest.fixture
def clock(loop: pyuvnet.Loop) -> Iterator[Any]:
    """Virtual time: run() does not wait for timers, but jumps to them; clock.now is exact."""
    from pyuvnet.testing import virtual_time

    if sys.platform == "win32" or "bundled libuv" not in build_flags():
        pytest.skip("libuv reads a clock that cannot be set")
    with virtual_time(jump=True) as clock:
        yield clock


@pytest.fixture(params=["asyncio", "waker thread", *(["uvloop"] if UVLOOP else [])])
def factory(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Makes the loop of asyncio.run() and pyuvnet.run(): the test runs on each of them."""
    import asyncio

    from tests.support.loops import LOOPS, wakers

    factory = LOOPS[request.param]
    monkeypatch.setattr(asyncio.events, "new_event_loop", factory)
    yield factory
    assert wakers() == []


class Trace(list[Any]):
    """A list of what happened; `trace("x")` notes it, `trace.note("x")` is a callback for it."""

    def __call__(self, *entry: Any) -> None:
        self.append(entry[0] if len(entry) == 1 else entry)

    def note(self, name: Any) -> Callable[..., None]:
        """A callback that notes a name, and with it the arguments it is called with, if any."""
        return lambda *args: self(name, *args)


@pytest.fixture
def trace() -> Trace:
    return Trace()


class Child:
    """A finished child process."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    def clean(self) -> Child:
        """Assert that it ended well and said nothing on stderr."""
        assert (self.code, self.err) == (0, "")
        return self


def child_environment(dev: bool = False) -> dict[str, str]:
    # The child is started in the checkout, so that it imports the package under test.
    environment = dict(os.environ, PYTHONPATH=str(ROOT), PYTHONFAULTHANDLER="1")
    if dev:
        environment["PYTHONDEVMODE"] = "1"
    else:
        # What that does, except for our own messages about what is left open and slow callbacks.
        environment = {"PYTHONMALLOC": "debug"} | environment | {"PYTHONWARNINGS": "default"}
    return environment


def start_child(code: str, *args: str, dev: bool = False, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *args],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=child_environment(dev),
        **options,
    )


@pytest.fixture
def run_child() -> Callable[..., Child]:
    """run_child(code, *args, stdin="", timeout=20) runs Python code in a process of its own.

    dev=True for Python's development mode, in which ours warns of what is left open.
    """

    def run(
        code: str, *args: str, stdin: str = "", timeout: float = 20, dev: bool = False
    ) -> Child:
        process = start_child(code, *args, dev=dev)
        try:
            out, err = process.communicate(stdin, timeout=timeout)
        finally:
            process.kill()
            process.wait()
        return Child(process.returncode, out, err)

    return run


@pytest.fixture
def open_child() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """open_child(code, *args) starts Python code in a process that the test talks with."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str, *args: str, **options: Any) -> subprocess.Popen[str]:
        started.append(start_child(code, *args, **options))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


_COLLECT = """
import contextlib, io, json, sys
import pytest

class Names:
    def pytest_collection_finish(self, session):
        self.all = [
            (item.nodeid, [id for mark in item.iter_markers("spec") for id in mark.args])
            for item in session.items
        ]

names, said = Names(), io.StringIO()
with contextlib.redirect_stdout(said):
    status = pytest.main(
        ["--collect-only", "-q", "--assert=plain", "-p", "no:cacheprovider", "--slow", sys.argv[1]],
        [names],
    )
if status:
    sys.exit(said.getvalue())
print(json.dumps(names.all))
"""


@pytest.fixture(scope="session")
def collected() -> dict[str, list[str]]:
    """All tests there are, as pytest collects them: their ids, with the rules that they name.

    Collecting everything imports everything: a test that asks first takes its time.
    """
    # In a process of its own: this run may have been given a few tests only.
    child = subprocess.run(
        [sys.executable, "-c", _COLLECT, str(ROOT / "tests")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert child.returncode == 0, child.stdout + child.stderr
    return dict(json.loads(child.stdout.splitlines()[-1]))
