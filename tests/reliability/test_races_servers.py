"""Everything that may be done to a server, inside each of its events and from another thread.

The same scenario brings every event once or more; then it is played with one action inside one of
them. BoundSocket, BlockList and AbortSignal are here as far as servers and connects use them.
"""

from __future__ import annotations

import contextlib
import gc
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyuvnet import (
    AbortController,
    BoundSocket,
    current_loop,
    next_tick,
    run,
    set_immediate,
    stop,
)
from pyuvnet.errors import StateError
from pyuvnet.net import BlockList, Server, Socket
from tests.support.races import KINDS, reach, settle

pytestmark = pytest.mark.usefixtures("raised")


class Play:
    """A server that fails to listen, listens, takes one client and refuses two, and closes."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self.folder = kind, folder
        self.told: list[str] = []
        self.acted: list[str] = []
        self.since = 0
        self.inside: str | None = None
        self.action: Callable[[Play], Any] = lambda play: None
        self.held: list[Socket] = []
        self.clients: list[Socket] = []
        self.abort = AbortController()
        self.blocked = BlockList()
        self.taken = Server()
        self.server = Server(block_list=self.blocked)
        self.server.max_connections = 1
        for event in ("listening", "connection", "drop", "close", "error"):
            self.server.on(event, lambda *args, event=event: self.note(event, *args))
        self.server.on("error", lambda error: self.listen())
        self.server.on("listening", self.connect)

    def note(self, event: str, *args: Any) -> None:
        self.told.append(event)
        if event == "connection":
            self.held.append(args[0].on("error", lambda error: None).resume())
        if event == self.inside and not self.acted:
            self.acted.append(event)
            self.since = len(self.told)
            stop()
            self.action(self)

    def place(self, number: int) -> Any:
        return 0 if self.kind == "tcp" else str(self.folder / f"socket {number}")

    def begin(self) -> None:
        """Listen where somebody does already; the rest follows."""
        self.taken.listen(self.place(1))
        self.server.listen(address(self.taken))

    def listen(self) -> None:
        # An action may have closed it, or listen already.
        if not self.server.listening and not self.acted:
            self.server.listen(self.place(2), signal=self.abort.signal)

    def connect(self) -> None:
        if not self.server.listening or self.clients:
            return
        for _ in range(3):
            client = Socket().on("error", lambda error: None)
            reach(client.on("close", self.gone).resume(), self.server)
            self.clients.append(client)

    def gone(self, had_error: bool) -> None:
        if sum(client.closed for client in self.clients) == 2:
            self.server.close()
            for client in self.clients:
                client.destroy()

    def progress(self) -> int:
        return len(self.told) + sum(client.closed for client in self.clients)

    def finish(self) -> None:
        self.server.remove_all_listeners("close")
        for server in (self.server, self.taken):
            server.ref().close()
        for sock in (*self.clients, *self.held):
            sock.ref().destroy()
        run()
        for sock in self.held:
            sock.destroy()  # who was accepted last
        run()
        assert not self.server.listening
        assert self.server._connections == 0
        assert all(sock.closed for sock in (*self.clients, *self.held))
        assert current_loop().handle_count() == 0


def address(server: Server) -> Any:
    """Where a server listens, for another one's listen()."""
    where = server.address()
    return where if isinstance(where, str) else where.port


ALL = ["error", "listening", "connection", "drop", "drop", "close"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_events_of_the_scenario(kind: str, tmp_path: Path, raised: list[BaseException]) -> None:
    play = Play(kind, tmp_path)
    play.begin()
    # Until the server has closed; the one whose place was taken goes on.
    play.server.on("close", lambda: play.taken.close())
    run()
    assert play.told == ALL
    play.finish()
    assert raised == []


def _destroy_all(play: Play) -> None:
    for sock in (*play.clients, *play.held):
        sock.destroy()


def _block(play: Play) -> None:
    play.blocked.add_subnet("0.0.0.0", 0)
    play.blocked.add_subnet("::", 0, "ipv6")


def _listen_twice(play: Play) -> None:
    if play.server.listening:
        with pytest.raises(StateError, match="more than once"):
            play.server.listen(play.place(3))


def _drop(play: Play) -> None:
    play.held.clear()
    gc.collect(1)


ACTIONS: dict[str, Callable[[Play], Any]] = {
    "close": lambda play: play.server.close(),
    "close twice": lambda play: play.server.close().close(),
    "close, called back": lambda play: play.server.close(lambda error: play.told.append("back")),
    "close and listen again": lambda play: play.server.close().listen(play.place(3)),
    "close and destroy all": lambda play: (play.server.close(), _destroy_all(play)),
    "destroy all": _destroy_all,
    "remove all listeners and close": lambda play: play.server.remove_all_listeners().close(),
    "remove all listeners": lambda play: play.server.remove_all_listeners(),
    "abort": lambda play: play.abort.abort(),
    "abort and close": lambda play: (play.abort.abort(), play.server.close()),
    "unref": lambda play: play.server.unref(),
    "unref and ref": lambda play: play.server.unref().ref(),
    "full": lambda play: setattr(play.server, "max_connections", 0),
    "without limit": lambda play: setattr(play.server, "max_connections", None),
    "block everybody": _block,
    "listen twice": _listen_twice,
    "count": lambda play: play.server.get_connections(lambda error, count: None),
    "share its socket": lambda play: play.server.listening and Server().listen(play.server).close(),
    "forget and collect": _drop,
    "raise": lambda play: 1 // 0,
}
CLOSING = {"close", "close twice", "close, called back", "close and destroy all"}
CLOSING |= {"remove all listeners and close", "abort and close"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("action", ACTIONS)
def test_inside_every_event_of_a_server(
    action: str, kind: str, tmp_path: Path, raised: list[BaseException]
) -> None:
    for event in dict.fromkeys(ALL):
        folder = tmp_path / event
        folder.mkdir()
        play = Play(kind, folder)
        play.inside, play.action = event, ACTIONS[action]
        play.begin()
        run()
        assert play.acted == [event], "the event did not come"
        settle(play.progress)
        after = play.told[play.since :]
        # The signal is of the second listen().
        if action in CLOSING or (action == "abort" and event != "error"):
            # Nobody is taken any more, nor refused; 'close' comes when those who are there left.
            assert set(after) <= {"close", "back"}, event
            assert not play.server.listening
            if action == "close and destroy all":
                assert "close" in after
        play.finish()
        assert play.abort.signal.listener_count("abort") == 0
        assert [type(each) for each in raised] == [ZeroDivisionError] * (action == "raise"), event
        raised.clear()


# ---- From another thread -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("action", [name for name in ACTIONS if name != "listen twice"])
def test_from_another_thread(
    action: str, kind: str, full: bool, tmp_path: Path, raised: list[BaseException]
) -> None:
    """At any moment between the call of listen() and the last 'close'."""
    loop, rounds, choose = current_loop(), (200 if full else 8), random.Random(action)
    begun = threading.Semaphore(0)
    plays: list[Play] = []

    def begin() -> None:
        folder = tmp_path / str(len(plays))
        folder.mkdir()
        plays.append(Play(kind, folder))
        plays[-1].begin()
        begun.release()

    def on_loop() -> None:
        ACTIONS[action](plays[-1])

    def leave(turns: int) -> None:
        if turns:
            set_immediate(leave, turns - 1)
            return
        play = plays[-1]
        play.acted.append("over")  # it listens no more by itself
        play.server.remove_all_listeners("close")
        for server in (play.server, play.taken):
            server.ref().close()
        for sock in (*play.clients, *play.held):
            sock.ref().destroy()
        if len(plays) < rounds:
            begin()

    def other_thread() -> None:
        for _ in range(rounds):
            begun.acquire()
            time.sleep(choose.random() * 0.001)  # any moment
            loop.call_soon_threadsafe(on_loop)
            loop.call_soon_threadsafe(leave, 5)

    thread = threading.Thread(target=other_thread)
    keep = Server().listen(0)  # so that the loop goes on, whatever is done
    begin()
    thread.start()
    set_immediate(_join, thread, keep)
    run()
    thread.join()
    assert len(plays) == rounds
    for play in plays:
        play.finish()
    expected = ZeroDivisionError if action == "raise" else None
    assert [type(each) for each in raised] == [expected] * (rounds if expected else 0)


def _join(thread: threading.Thread, keep: Server) -> None:
    """Close what keeps the loop alive when the thread has asked for all it wants."""
    if thread.is_alive():
        set_immediate(_join, thread, keep)
    else:
        keep.close()


# ---- BoundSocket ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("early", [True, False])
def test_a_bound_socket_closed_by_whom_it_is_given_to(
    early: bool, kind: str, tmp_path: Path, raised: list[BaseException]
) -> None:
    bound = bind(kind, tmp_path)
    server = Server(lambda sock: server.close() and sock.destroy())
    server.listen(bound)
    client = Socket().on("error", lambda error: None)
    reach(client, server, lambda: client.destroy())
    if early:
        server.close()
    run()
    assert not server.listening
    assert client.destroyed
    assert raised == []


def bind(kind: str, folder: Path) -> BoundSocket:
    if kind == "tcp":
        return BoundSocket(host="127.0.0.1")
    return BoundSocket(path=str(folder / "bound"))


BOUND: dict[str, Callable[[BoundSocket], Any]] = {
    "close": lambda bound: bound.close(),
    "leave": lambda bound: bound.__exit__(None, None, None),
    "listen": lambda bound: Server().listen(bound).close(),
    "connect": lambda bound: Socket(handle=bound).destroy(),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("second", BOUND)
@pytest.mark.parametrize("first", BOUND)
def test_a_bound_socket_is_used_once(first: str, second: str, kind: str, tmp_path: Path) -> None:
    """Inside an event, in which somebody else has used it."""
    bound, told = bind(kind, tmp_path), []
    server = Server()

    def listening() -> None:
        BOUND[first](bound)
        server.close()

    def again() -> None:
        if second == "leave":
            BOUND[second](bound)
            told.append(None)
            return
        with pytest.raises(StateError) as caught:
            BOUND[second](bound)
        told.append(caught.value.code)

    server.on("listening", listening).on("listening", again).on("close", again)
    server.listen(0)
    run()
    assert told == [None if second == "leave" else "ERR_SOCKET_HANDLE_ADOPTED"] * 2
    assert current_loop().handle_count() == 0


@pytest.mark.parametrize("kind", KINDS)
def test_bound_sockets_from_another_thread(kind: str, full: bool, tmp_path: Path) -> None:
    """Closed, adopted, or dropped and collected there, at any moment of the loop."""
    loop, choose = current_loop(), random.Random(1)
    rounds, done = (500 if full else 30), []
    server = Server(lambda sock: sock.destroy())
    waiting: list[BoundSocket] = []
    ready, taken = threading.Semaphore(0), threading.Semaphore(0)

    def make() -> None:
        folder = tmp_path / str(len(done))
        folder.mkdir()
        waiting.append(bind(kind, folder))
        ready.release()

    def use(way: str, bound: BoundSocket) -> None:
        BOUND[way](bound)
        finished()

    def finished() -> None:
        done.append(1)
        if len(done) < rounds:
            make()
        else:
            server.close()

    def other_thread() -> None:
        for _ in range(rounds):
            ready.acquire()
            bound = waiting.pop()
            way = choose.choice([*BOUND, "drop"])
            if way == "drop":
                # Collected here: the loop gets it to close, and the program is warned.
                with pytest.warns(ResourceWarning, match="unclosed"):
                    del bound
                loop.call_soon_threadsafe(finished)
            else:
                loop.call_soon_threadsafe(use, way, bound)
                del bound
        taken.release()

    server.listen(0)
    thread = threading.Thread(target=other_thread)
    make()
    thread.start()
    run()
    thread.join()
    assert taken.acquire(blocking=False), "the thread failed"
    assert len(done) == rounds
    run()
    assert loop.handle_count() == 0


# ---- BlockList -----------------------------------------------------------------------------------


def _cidr(blocked: BlockList) -> None:
    blocked.add_cidr("127.0.0.0/8")


CHANGES: dict[str, tuple[Callable[[BlockList], Any], Callable[[BlockList], Any]]] = {
    "address": (
        lambda blocked: blocked.add_address("127.0.0.1"),
        lambda blocked: blocked.remove_address("127.0.0.1"),
    ),
    "range": (
        lambda blocked: blocked.add_range("127.0.0.0", "127.0.0.9"),
        lambda blocked: blocked.remove_range("127.0.0.0", "127.0.0.9"),
    ),
    "subnet": (_cidr, lambda blocked: blocked.clear()),
    "data": (
        lambda blocked: blocked.from_json(["Address: IPv4 127.0.0.1"]),
        lambda blocked: blocked.clear(),
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_block_list_that_changes_inside_events(change: str) -> None:
    """Each second client is blocked from inside an event of the first, and counted."""
    add, remove = CHANGES[change]
    blocked, told = BlockList(), []
    left = 8

    def accepted(sock: Socket) -> None:
        told.append("connection")
        add(blocked)
        sock.on("close", lambda _: None).end()

    def connect() -> None:
        nonlocal left
        left -= 1
        client = Socket().on("error", lambda error: None).resume()
        client.on("close", closed)
        client.connect(server.address().port, "127.0.0.1")

    def closed(had_error: bool) -> None:
        if server.dropped.get("block_list", 0) == told.count("blocked") + 1:
            told.append("blocked")
            remove(blocked)
        if left:
            connect()
        else:
            server.close()

    server = Server(accepted, block_list=blocked)
    server.listen(0, "127.0.0.1", connect)
    run()
    assert told == ["connection", "blocked"] * 4
    assert dict(server.dropped) == {"block_list": 4}


@pytest.mark.parametrize("event", ["lookup", "connectionAttempt", "newListener"])
def test_a_block_list_that_changes_while_a_client_connects(event: str) -> None:
    """The address is checked when it is tried, and the peer when it is connected."""
    blocked, told = BlockList(), []
    server = Server(lambda sock: sock.destroy()).listen(0)
    client = Socket(block_list=blocked).resume()
    client.on("error", lambda error: told.append(error.code))
    client.on("connect", lambda: told.append("connect"))
    client.on("close", lambda _: server.close())
    client.on(event, lambda *_: blocked.add_address("127.0.0.1"))

    def lookup(host: str, options: Any, callback: Any) -> None:
        next_tick(callback, None, [{"address": "127.0.0.1", "family": 4}])

    client.connect(server.address().port, "x.invalid", lambda: None, lookup=lookup)
    run()
    assert told == ["ERR_IP_BLOCKED"]


def test_a_block_list_that_another_thread_changes(full: bool) -> None:
    """A server checks it while a thread adds, removes and clears: each client is served or not."""
    blocked, loop = BlockList(), current_loop()
    rounds, over = (2000 if full else 100), threading.Event()
    changes = 0

    def other_thread() -> None:
        nonlocal changes
        while not over.is_set():
            for add, remove in CHANGES.values():
                blocked.add_cidrs([f"10.{changes % 256}.0.0/16", "2001:db8::/32"])
                add(blocked)
                remove(blocked)
                changes += 1

    served = gone = 0

    def accepted(sock: Socket) -> None:
        nonlocal served
        served += 1
        sock.end()

    def connect() -> None:
        client = Socket().on("error", lambda error: None).resume()
        client.on("close", closed)
        client.connect(server.address().port, "127.0.0.1")

    def closed(had_error: bool) -> None:
        nonlocal gone
        gone += 1
        if gone < rounds or not changes:
            connect()
        else:
            over.set()
            server.close()

    server = Server(accepted, block_list=blocked)
    server.listen(0, "127.0.0.1", connect)
    thread = threading.Thread(target=other_thread)
    thread.start()
    with contextlib.ExitStack() as stack:
        stack.callback(thread.join)
        stack.callback(over.set)
        run()
    assert served + server.dropped.get("block_list", 0) == gone
    assert loop.handle_count() == 0
