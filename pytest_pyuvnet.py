"""pytest's plugin for programs that use pyuvnet.

Fixtures: `pyuvnet_server` and `unused_port`. Each test is checked for what it leaves open in this
thread's loop. The report of a test that fails has the seeds of its random faults.

It is a module of its own, since importing anything of pyuvnet imports its core: a run of tests that
does not use pyuvnet does not import it either.
"""

from __future__ import annotations

import socket
import sys
import warnings
from collections import Counter
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from typing import Any

    from pyuvnet import Server
    from pyuvnet.loop import HandleInfo

WAYS = ("error", "warn", "off")
# Turns of the loop, of 2 ms at most, in which what is being closed may end.
LAST_TURNS = 50

_failed = pytest.StashKey[bool]()
_given: set[int] = set()  # ports that were given out


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini(
        "pyuvnet_leaks",
        "what happens to a test that leaves sockets, servers or timers of pyuvnet open: error (the "
        "default), warn or off; the mark pyuvnet_leaks(way) decides for one test",
        default="error",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "pyuvnet_leaks(way): 'error', 'warn' or 'off', for what the test leaves open"
    )
    if config.getini("pyuvnet_leaks") not in WAYS:
        raise pytest.UsageError(f"pyuvnet_leaks must be one of {', '.join(WAYS)}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[_failed] = True
        notes = _notes()
        if notes:
            report.sections.append(("pyuvnet faults", "\n".join(notes)))
    return report


@pytest.fixture
def unused_port() -> int:
    """A TCP port of 127.0.0.1 on which nobody listens, another one for each test."""
    for _ in range(100):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port not in _given:
            break
    _given.add(port)
    return port


@pytest.fixture
def pyuvnet_server() -> Iterator[Callable[..., Server]]:
    """Make servers that listen on a free port of 127.0.0.1 and are closed after the test.

    pyuvnet_server(connection_listener=None, **options) returns the Server, which listens at once;
    the arguments are those of net.create_server(). At the end its connections are destroyed.
    """
    from pyuvnet import StateError, current_loop, net

    servers: dict[Server, bool] = {}

    def make(*args: Any, **options: Any) -> Server:
        server = net.create_server(*args, **options)
        servers[server] = False
        server.on("close", lambda: servers.update({server: True}))
        # Bound at once, while listen() with a host looks it up first.
        return server.listen(net.BoundSocket({"host": "127.0.0.1"}))

    yield make
    loop = current_loop()
    for server in servers:
        try:
            if server.listening:
                server.close()
            server.destroy_sockets()
        except StateError:
            # The test has closed its loop, and with it the server.
            servers[server] = True
    for _ in range(LAST_TURNS):
        if all(servers.values()):
            break
        loop.turn()


@pytest.fixture(autouse=True)
def _pyuvnet_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    # Set up after all fixtures of a larger scope, and before all others of this one; torn down the
    # other way round. So it sees what the test and its own fixtures leave.
    way = _way(request)
    notes = _notes()
    if notes:
        notes.clear()
    before = _open() if way != "off" else []
    clock = _clock()
    yield
    if way == "off" or "pyuvnet" not in sys.modules:
        return
    texts: list[str] = []
    own_clock = _clock()
    if own_clock is not None and own_clock is not clock:
        own_clock.__exit__()
        texts.append("the test left virtual time on: use it as `with virtual_time()`")
    left, raised = _left(before)
    if left:
        # Before they are closed, which leaves some without an address.
        found = "\n  ".join(map(repr, left))
        texts.append(f"the test left open in the loop of pyuvnet:\n  {found}")
        _clean(before)
    if request.node.stash.get(_failed, False):
        # It has ended early, and its failure says why.
        return
    text = "\n".join(texts)
    if way == "error" and raised is not None:
        if text:
            raised.add_note(text)
        raise raised
    if way == "error" and text:
        pytest.fail(text, pytrace=False)
    if raised is not None:
        text = f"a listener of the test raised {raised!r}\n{text}"
    if text:
        warnings.warn(pytest.PytestWarning(text), stacklevel=1)


def _way(request: pytest.FixtureRequest) -> str:
    """What happens to what a test leaves."""
    marker = request.node.get_closest_marker("pyuvnet_leaks")
    if marker is None:
        return str(request.config.getini("pyuvnet_leaks"))
    given = [*marker.args, *marker.kwargs.values()]
    if len(given) != 1 or given[0] not in WAYS or not marker.kwargs.keys() <= {"way"}:
        pytest.fail(f"pyuvnet_leaks takes one of {', '.join(WAYS)}, not {given}", pytrace=False)
    return str(given[0])


def _notes() -> list[str]:
    faults = sys.modules.get("pyuvnet.testing._faults")
    notes: list[str] = getattr(faults, "notes", [])
    return notes


def _loop() -> Any:
    """This thread's loop, if there is one."""
    # Neither pyuvnet is imported for this, nor a loop made.
    registry = sys.modules.get("pyuvnet._core.loop_registry")
    return None if registry is None else registry.loop_if_any()


def _clock() -> Any:
    """What virtual_time() has returned, while it goes on."""
    loop = _loop()
    return None if loop is None else loop._clock


def _open() -> list[HandleInfo]:
    """What is open in this thread's loop, except what ends by itself."""
    if _loop() is None:
        return []
    from pyuvnet.loop import handles

    return [
        found
        for found in handles()
        if not found.closing and (found.keeps_alive or found.kind in ("tcp", "pipe"))
    ]


def _left(before: list[HandleInfo]) -> tuple[list[HandleInfo], Exception | None]:
    """What is open now and was not before, and what a listener has raised first.

    What is about to end gets a little time for it.
    """
    from pyuvnet import EventEmitter, current_loop

    def identity(found: HandleInfo) -> tuple[str, int]:
        return found.kind, id(found.owner)

    left: list[HandleInfo] = []
    raised: Exception | None = None
    # Their kinds change: a server that looks up its host gets its handle in a later turn.
    emitters = {id(found.owner) for found in before if isinstance(found.owner, EventEmitter)}
    for _ in range(LAST_TURNS):
        # Identities are good as long as the list before holds the objects.
        known = Counter(map(identity, before))
        left = []
        for found in _open():
            if id(found.owner) in emitters:
                continue
            key = identity(found)
            known[key] -= 1
            if known[key] < 0:
                left.append(found)
        if not left or current_loop().running:
            break
        loop = current_loop()
        try:
            loop.turn()
        except Exception as error:
            raised = raised or error
        if sys.platform != "win32":
            import select

            poll = select.poll()
            poll.register(loop.backend_fd(), select.POLLIN)
            poll.poll(2)
    return left, raised


def _clean(before: list[HandleInfo]) -> None:
    """Close what was left, so that the next test does not meet it."""
    from pyuvnet import Server, current_loop

    # One by one: fixtures of a larger scope may have objects of this loop that are not open now.
    for found in _left(before)[0]:
        if isinstance(found.owner, Server):
            if found.owner.listening:
                found.owner.close()
        elif hasattr(found.owner, "destroy"):
            found.owner.destroy()
    loop = current_loop()
    if _left(before)[0] and not before and not loop.running:
        # Timers, and what its listeners make anew. The next test gets a loop of its own.
        loop.close()
