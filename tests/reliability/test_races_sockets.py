"""Everything that may be done to a connection, inside each of its events, at both ends.

Each scenario brings its events by itself, and the table says which: one that no longer comes fails.
Then each scenario is played once for each of its events, with one action inside that event. What
is called at a wrong moment may have no effect, or fail what it is called on; it must not crash,
keep the loop alive, lose a 'close', emit anything after it, or harm the other end.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pyuvnet import (
    AbortController,
    Readable,
    current_loop,
    next_tick,
    run,
    stop,
)
from pyuvnet.errors import ArgTypeError
from pyuvnet.net import Server, Socket
from tests.support.hosts import hosts
from tests.support.races import (
    DEAF,
    ENDING,
    KINDS,
    RAISING,
    RECONNECTING,
    RESETTING,
    SOCKET_ACTIONS,
    settle,
)

# 'data' and 'readable' change how a stream flows: the scenarios listen to them.

pytestmark = pytest.mark.usefixtures("raised")


WATCHED = ["lookup", "connectionAttempt", "connectionAttemptFailed", "connectionAttemptTimeout"]
WATCHED += ["connect", "ready", "drain", "end", "finish", "timeout", "pause", "resume"]
WATCHED += ["pipe", "unpipe", "error", "close", "newListener", "removeListener"]
SIDES = ("client", "server")


def _local(host: str, options: Any, callback: Any) -> None:
    next_tick(callback, None, [{"address": "127.0.0.1", "family": 4}])


Plan = tuple[str, str, Callable[["Pair", Socket], Any]]


class Pair:
    """A client, a server with what it accepts, and at most one thing that is done to them."""

    def __init__(self, kind: str, folder: Path, plan: Plan | None = None) -> None:
        self.kind, self.folder, self.plan = kind, folder, plan
        self.told: dict[str, list[str]] = {side: [] for side in SIDES}
        self.acted: list[Socket] = []
        self.held: list[Socket] = []
        self.watched: set[Socket] = set()
        self.closes: list[Socket] = []
        self.peer: Socket | None = None
        self.server = Server(self.accepted)
        self.serve: Callable[[Socket], Any] = lambda sock: None
        self.connected: Callable[[], Any] = lambda: None
        self.server.on("error", lambda error: None)
        self.abort = AbortController()
        self.opened = contextlib.ExitStack()

    def make(self, **options: Any) -> Socket:
        """Make the client."""
        self.client = Socket(signal=self.abort.signal, **options)
        self.watch("client", self.client)
        return self.client

    def watch(self, side: str, sock: Socket) -> None:
        self.held.append(sock)
        for event in WATCHED:
            sock.on(event, lambda *_, event=event: self.note(side, event, sock))
        if side == "client":
            sock.on("connect", self.begin)
            sock.on("close", lambda _: self.server.close())
        self.watched.add(sock)

    def begin(self) -> None:
        self.use_listener(self.client)
        self.connected()

    def note(self, side: str, event: str, sock: Socket) -> None:
        if sock not in self.watched:
            return  # of listeners that the test adds
        if event == "close":
            self.closes.append(sock)
        self.told[side].append(event)
        if self.plan is not None and self.plan[:2] == (side, event) and not self.acted:
            self.acted.append(sock)
            self.acted_connecting = sock.connecting
            stop()
            self.plan[2](self, sock)

    def accepted(self, sock: Socket) -> None:
        if self.peer is not None:
            # A client that connects again.
            self.watch("server again", sock)
            return
        self.peer = sock
        self.watch("server", sock)
        self.use_listener(sock)
        self.serve(sock)

    def use_listener(self, sock: Socket) -> None:
        """Let 'newListener' and 'removeListener' come."""
        sock.once("some event", lambda: None).emit("some event")

    def listen(self, then: Callable[[], Any]) -> None:
        if self.kind == "tcp":
            self.server.listen(0, "127.0.0.1", then)
        else:
            self.server.listen(str(self.folder / "socket"), then)

    def connect(self, serve: Callable[[Socket], Any], connected: Callable[[], Any]) -> None:
        """Let the client connect to the server, over TCP by a name."""
        self.serve = serve

        self.connected = connected

        def listening() -> None:
            address = self.server.address()
            if isinstance(address, str):
                self.client.connect(address)
            else:
                self.client.connect(address.port, "name.invalid", lookup=_local)

        self.listen(listening)

    def finish(self) -> None:
        """Let what was begun come to rest, and close what is left."""
        settle(lambda: sum(map(len, self.told.values())))
        if self.plan is not None and self.acted:
            self.closed_by_itself = self.acted[0].closed
            self.client_closed_by_itself = self.client.closed
        for sock in self.held:
            sock.ref().destroy()
        self.server.close()
        # Anything that keeps the loop alive would make this wait for the watchdog.
        run()
        for sock in self.held:
            # Who is accepted while the others are destroyed.
            sock.destroy()
        self.opened.close()
        run()


Scenario = Callable[[Pair], None]
SCENARIOS: dict[str, Scenario] = {}
EXPECTED: dict[str, dict[str, set[str]]] = {}
BOTH = {"newListener", "removeListener", "close"}
CONNECTS = BOTH | {"lookup", "connectionAttempt", "connect", "ready"}


def scenario(client: set[str], server: set[str] | None = None) -> Callable[[Scenario], Scenario]:
    def add(function: Scenario) -> Scenario:
        name = function.__name__.replace("_", " ")
        SCENARIOS[name] = function
        EXPECTED[name] = {"client": client, "server": server or set()}
        return function

    return add


def expected(name: str, kind: str) -> dict[str, set[str]]:
    """The events of each side in a scenario, without actions."""
    told = EXPECTED[name]
    if kind == "tcp":
        return told
    return {side: told[side] - {"lookup"} for side in SIDES}


@scenario(
    CONNECTS | {"write callback", "data", "resume", "end", "finish"},
    BOTH | {"pipe", "unpipe", "data", "pause", "resume", "end", "finish"},
)
def echo(pair: Pair) -> None:
    client, left = pair.make(), 5000

    def serve(sock: Socket) -> None:
        sock.pipe(sock)
        sock.on("data", lambda _: pair.note("server", "data", sock))

    def data(chunk: bytes) -> None:
        nonlocal left
        left -= len(chunk)
        pair.note("client", "data", client)
        if not left:
            client.end()

    def connected() -> None:
        client.on("data", data)
        client.write(b"a" * 5000, lambda error: pair.note("client", "write callback", client))

    pair.connect(serve, connected)


class Source(Readable):
    def _read(self, size: int) -> None:
        self.push(b"x" * 1000)
        self.push(None)


@scenario(
    CONNECTS | {"pipe", "unpipe", "resume", "end", "finish"},
    BOTH | {"pipe", "unpipe", "resume", "end", "finish"},
)
def piped_into(pair: Pair) -> None:
    client = pair.make()
    pair.connect(
        lambda sock: Source().pipe(sock.resume()),
        lambda: Source().pipe(client.resume()),
    )


@scenario(
    CONNECTS | {"drain", "pause", "resume", "end", "finish", "write callback"},
    BOTH | {"drain", "pause", "resume", "end", "finish", "write callback"},
)
def both_wait_for_drain(pair: Pair) -> None:
    client = pair.make()
    full: list[Socket] = []
    drained: list[Socket] = []

    def fill(side: str, sock: Socket) -> None:
        sock.pause()
        told = lambda error: pair.note(side, "write callback", sock)  # noqa: E731
        block = b"x" * 200_000
        for _ in range(200):
            if not sock.write(block, told):
                break
            told = lambda error: None  # noqa: E731
        full.append(sock)
        sock.once("drain", lambda: drain(sock))
        if len(full) == 2:
            for each in full:
                each.resume()

    def drain(sock: Socket) -> None:
        drained.append(sock)
        if len(drained) == 2:
            for each in full:
                each.end()

    pair.connect(lambda sock: fill("server", sock), lambda: fill("client", client))


@scenario(
    CONNECTS | {"readable", "end", "finish"},
    BOTH | {"readable", "end", "finish"},
)
def both_read(pair: Pair) -> None:
    client = pair.make()

    def use(side: str, sock: Socket) -> None:
        def readable() -> None:
            pair.note(side, "readable", sock)
            while sock.read() is not None:
                pass

        sock.on("readable", readable)
        sock.end(b"x" * 1000)

    pair.connect(lambda sock: use("server", sock), lambda: use("client", client))


@scenario(
    CONNECTS | {"timeout", "resume", "end", "finish"},
    BOTH | {"timeout", "resume", "end", "finish"},
)
def both_are_idle(pair: Pair) -> None:
    client, idle = pair.make(), []

    def use(sock: Socket) -> None:
        sock.resume().set_timeout(1, lambda: timeout(sock))

    def timeout(sock: Socket) -> None:
        idle.append(sock.set_timeout(0))
        if len(idle) == 2:
            for each in idle:
                each.end()

    pair.connect(use, lambda: use(client))


def _two(then: Callable[[], Any]) -> Callable[..., None]:
    """What calls then() when it was called twice."""
    calls: list[Any] = []

    def called(*_: Any) -> None:
        calls.append(_)
        if len(calls) == 2:
            then()

    return called


def _reset(pair: Pair, sock: Socket) -> None:
    """End a connection so that the other side gets an error."""
    if pair.kind == "tcp":
        sock.reset_and_destroy()
    else:
        # A unix socket that is closed with something unread resets.
        sock.destroy()


@scenario(CONNECTS | {"pause"}, BOTH | {"error", "resume"})
def the_client_resets(pair: Pair) -> None:
    client = pair.make()
    ready = _two(lambda: _reset(pair, client))

    def serve(sock: Socket) -> None:
        sock.resume().write(b"unread", ready)

    pair.connect(serve, lambda: client.pause() and ready())


@scenario(CONNECTS | {"error", "resume"}, BOTH | {"pause"})
def the_server_resets(pair: Pair) -> None:
    client = pair.make()
    ready = _two(lambda: pair.peer and _reset(pair, pair.peer))
    pair.connect(
        lambda sock: sock.pause() and ready(),
        lambda: client.resume().write(b"unread", ready),
    )


@scenario({"lookup", "connectionAttempt", "connectionAttemptFailed", "error", "close"})
def the_connect_fails(pair: Pair) -> None:
    client = pair.make()
    if pair.kind == "tcp":
        port, _ = pair.opened.enter_context(hosts(refuse=("127.0.0.1",)))
        addresses = [{"address": "127.0.0.1", "family": 4}]
        client.connect(
            port, "x.invalid", lookup=lambda h, o, done: next_tick(done, None, addresses)
        )
    else:
        client.connect(str(pair.folder / "nobody"))


@scenario({"lookup", "error", "close"})
def the_lookup_fails(pair: Pair) -> None:
    client = pair.make()
    client.connect(1, "x.invalid", lookup=lambda h, o, done: next_tick(done, OSError("no such")))


def _second_address(pair: Pair, how: str, limit: int) -> None:
    """The first address does not take the client, the second does."""
    client = pair.make()
    names = {"listen": ("127.0.0.3",), how: ("127.0.0.2",)}
    port, opened = pair.opened.enter_context(hosts(**names))

    def connected() -> None:
        opened["127.0.0.3"].accept()[0].close()
        client.resume()

    pair.connected = connected
    found = [{"address": f"127.0.0.{last}", "family": 4} for last in (2, 3)]
    client.connect(
        port,
        "x.invalid",
        lookup=lambda host, options, done: next_tick(done, None, found),
        auto_select_family_attempt_timeout=limit,
    )


@scenario(CONNECTS | {"connectionAttemptFailed", "end", "finish", "resume"})
def one_address_refuses(pair: Pair) -> None:
    _second_address(pair, "refuse", 10_000)


@scenario(CONNECTS | {"connectionAttemptTimeout", "end", "finish", "resume"})
def one_address_hangs(pair: Pair) -> None:
    _second_address(pair, "hang", 10)


LINUX_ONLY = {"one address refuses", "one address hangs"}
TCP_ONLY = {"the lookup fails", *LINUX_ONLY}


def scenarios(kind: str) -> list[str]:
    """Those that can be played over this kind of socket, here."""
    return [
        name
        for name in SCENARIOS
        if (kind == "tcp" or name not in TCP_ONLY)
        and (sys.platform == "linux" or name not in LINUX_ONLY)
    ]


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind in KINDS for name in scenarios(kind)]
)
def test_events_of_a_scenario(
    kind: str, name: str, tmp_path: Path, raised: list[BaseException]
) -> None:
    pair = Pair(kind, tmp_path)
    SCENARIOS[name](pair)
    run()  # each scenario ends by itself
    told = {side: set(events) for side, events in pair.told.items()}
    assert told == expected(name, kind)
    pair.finish()
    check(pair)
    assert raised == []


@contextlib.contextmanager
def said(place: str) -> Iterator[None]:
    """Say in a failure where it was."""
    try:
        yield
    except AssertionError as error:
        error.add_note(place)
        raise


def check(pair: Pair, reconnects: bool = False) -> None:
    """What holds whatever was done."""
    for sock in pair.held:
        assert sock.destroyed
        assert sock.closed or reconnects
    assert pair.abort.signal.listener_count("abort") == 0
    if reconnects:
        return
    assert len(set(pair.closes)) == len(pair.closes), "'close' came twice"
    for told in pair.told.values():
        for event in ("error", "end", "finish", "connect"):
            assert told.count(event) <= 1, event
        if "close" in told:
            # Listeners come and go as the program likes.
            after = set(told[told.index("close") + 1 :])
            assert after <= {"write callback", "unpipe", "newListener", "removeListener"}
    assert current_loop().handle_count() <= 1  # the timers'


# ---- An action inside each of them ---------------------------------------------------------------


def _both(pair: Pair, sock: Socket) -> None:
    for each in pair.held:
        each.destroy()


def _other(pair: Pair, sock: Socket) -> None:
    for each in pair.held:
        if each is not sock:
            each.destroy()


Action = Callable[[Pair, Socket], Any]
ACTIONS: dict[str, Action] = {
    name: lambda pair, sock, act=act: act(sock) for name, act in SOCKET_ACTIONS.items()
} | {
    "destroy both": _both,
    "abort the client": lambda pair, sock: pair.abort.abort(),
    "abort and destroy": lambda pair, sock: (pair.abort.abort(), sock.destroy()),
    "destroy the other": _other,
    "close the server": lambda pair, sock: pair.server.close(),
    "close the server and destroy": lambda pair, sock: (pair.server.close(), sock.destroy()),
}


def places(kind: str, full: bool) -> Iterator[tuple[str, str, str]]:
    """(scenario, side, event): each event of a side once, in the full version in each scenario."""
    seen: set[tuple[str, str]] = set()
    for name in scenarios(kind):
        for side, events in expected(name, kind).items():
            for event in sorted(events):
                if full or (side, event) not in seen:
                    seen.add((side, event))
                    yield name, side, event


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("action", ACTIONS)
def test_inside_every_event(
    action: str, kind: str, full: bool, tmp_path: Path, raised: list[BaseException]
) -> None:
    for number, (name, side, event) in enumerate(places(kind, full)):
        place = f"{action} inside {event!r} of the {side} while {name}"
        folder = tmp_path / str(number)
        folder.mkdir()
        pair = Pair(kind, folder, (side, event, ACTIONS[action]))
        SCENARIOS[name](pair)
        run()
        assert len(pair.acted) == 1, f"the event did not come: {place}"
        pair.finish()
        # Only TCP resets, and once connected.
        refused = kind == "unix" and action in RESETTING
        later = pair.acted_connecting and action in RESETTING
        if action in ENDING and not refused and not later:
            assert pair.closed_by_itself, place
        if action.startswith("abort"):
            assert pair.client_closed_by_itself, place
        with said(place):
            check(pair, action in RECONNECTING)
        if action in DEAF:
            # What nobody listens to any more may come out of the loop.
            raised[:] = [each for each in raised if not isinstance(each, OSError)]
        elif refused:
            # That is what a socket says that has a handle.
            raised[:] = [each for each in raised if not isinstance(each, ArgTypeError)]
        wanted = [ZeroDivisionError] if action in RAISING else []
        assert [type(each) for each in raised] == wanted, place
        raised.clear()
