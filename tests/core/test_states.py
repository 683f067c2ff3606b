"""The tables of states of both sides of a stream, and of a socket: each line, walked on sockets."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pyuvnet
from pyuvnet import net
from pyuvnet._core import readable, socket_base, writable

HUGE = bytes(1 << 24)  # more than any kernel takes at once
Step = Callable[["Walk"], None]


class Walk:
    """A client and a server's socket, whose steps are run one after another, a turn apart."""

    def __init__(self) -> None:
        self.near: Any = None
        self.far: Any = None
        self.seen: list[Any] = []
        self.port = 0

    def go(self, look: Any, before: Step, after: Step, turns: int) -> list[str]:
        """Return what look(near) says after each of the two steps.

        turns: how many turns of the loop the second may take to have its effect.
        """

        def accepted(far: net.Socket) -> None:
            far.on("error", lambda error: None)
            if self.far is not None:
                # Of a second life, in which nothing is exchanged.
                far.destroy()
                return
            self.far = far
            far.pause()
            begin()

        def begin() -> None:
            if self.far is not None and not self.near.connecting:
                # Outside of any libuv callback but an immediate's; a step may ask for one.
                pyuvnet.set_immediate(first)

        def first() -> None:
            before(self)
            wait(4, second)

        def second() -> None:
            self.seen.append(look(self.near))
            after(self)
            wait(turns, last)

        def wait(left: int, then: Callable[[], None]) -> None:
            if left:
                pyuvnet.set_immediate(wait, left - 1, then)
            else:
                then()

        def last() -> None:
            self.seen.append(look(self.near))
            self.near.destroy()
            self.far.destroy()
            server.close()

        server = net.create_server({"allow_half_open": True}, accepted).listen(0)
        self.port = server.address().port
        self.near = net.connect(port=self.port, host="127.0.0.1", allow_half_open=True)
        self.near.on("error", lambda error: None)
        self.near.once("connect", begin)
        pyuvnet.run()
        return self.seen


def nothing(walk: Walk) -> None:
    """The state that a fresh connection is in."""


def waits(name: str, *arguments: Any) -> Step:
    return lambda walk: getattr(walk.near, name)(*arguments)


def fill(walk: Walk) -> None:
    walk.near.write(HUGE)


def peer_ends(walk: Walk) -> None:
    walk.far.end()


def peer_sends_and_ends(walk: Walk) -> None:
    walk.far.end("data")


def both(*steps: Step) -> Step:
    def act(walk: Walk) -> None:
        for step in steps:
            step(walk)

    return act


listens = waits("on", "data", lambda chunk: None)
finish = waits("end")
reconnect: Step = lambda walk: walk.near.connect(walk.port, "127.0.0.1")  # noqa: E731
TO_READ: dict[str, Step] = {
    "idle": nothing,
    "flowing": listens,
    "paused": waits("pause"),
    "ended": peer_sends_and_ends,
    "over": both(listens, peer_ends),
    "destroyed": waits("destroy"),
}
READ_BY: dict[str, Step] = {
    "a 'data' listener": listens,
    "resume()": waits("resume"),
    "pipe()": lambda walk: walk.near.pipe(walk.far),
    "a 'readable' listener": waits("on", "readable", lambda: None),
    "pause()": waits("pause"),
    "the peer ends": peer_ends,
    "the peer sends and ends": peer_sends_and_ends,
    "read() to the end": waits("read"),
    "'finish'": finish,
    "destroy()": waits("destroy"),
    "connect()": reconnect,
}


@pytest.mark.parametrize("line", readable.TRANSITIONS, ids=" ".join)
def test_the_readable_side(line: tuple[str, str]) -> None:
    state, what = line
    turns = 0 if what == "connect()" else 40
    seen = Walk().go(readable.state_of, TO_READ[state], READ_BY[what], turns)
    assert seen == [state, readable.TRANSITIONS[line]]


# Steps that take place inside one libuv callback, and what is seen there.
def in_callback(*steps: Step) -> Callable[[], list[Any]]:
    """Run steps of the writable side in a 'data' listener; returns what it was in after each."""

    def run() -> list[Any]:
        seen: list[Any] = []

        def act(walk: Walk) -> None:
            def heard(chunk: bytes) -> None:
                for step in steps:
                    step(walk)
                    seen.append(writable.state_of(walk.near))

            walk.near.once("data", heard)
            walk.far.write("go")

        Walk().go(writable.state_of, nothing, act, 40)
        return seen

    return run


def write(walk: Walk) -> None:
    walk.near.write(b"x")


def asks(walk: Walk) -> None:
    """A property that would show it sends what was collected."""
    assert walk.near.bytes_written


def peer_gone(walk: Walk) -> None:
    walk.far.reset_and_destroy()


def after_reset(walk: Walk) -> None:
    """The first write after a reset that nobody has read is refused."""
    peer_gone(walk)
    write(walk)


TO_WRITE: dict[str, Step] = {
    "open": nothing,
    "writing": fill,
    "corked": waits("cork"),
    "ending": both(fill, finish),
    "finished": finish,
    "destroyed": waits("destroy"),
}
WRITE_BY: dict[str, Step] = {
    "write() that the kernel does not take": fill,
    "cork()": waits("cork"),
    "uncork()": waits("uncork"),
    "end()": both(fill, finish),
    "the write completes": lambda walk: walk.far.resume(),
    "everything has left": lambda walk: walk.far.resume(),
    "the write fails": peer_gone,
    "'end'": both(peer_ends, waits("resume")),
    "destroy()": waits("destroy"),
    "connect()": reconnect,
}
# Of the states that last no longer than a callback.
IN_CALLBACK: dict[tuple[str, str], Callable[[], list[Any]]] = {
    ("open", "write() in a callback"): in_callback(nothing, write),
    ("collecting", "the kernel takes it"): in_callback(write, asks),
    ("collecting", "cork()"): in_callback(write, waits("cork")),
    ("collecting", "end()"): in_callback(write, both(fill, finish)),
    ("collecting", "destroy()"): in_callback(write, waits("destroy")),
    ("collecting", "the kernel refuses it"): in_callback(after_reset, asks),
}


def through_a_tick(walk_to: Step, *, ticks: int) -> list[Any]:
    """What a write in a callback leads to: seen at once, and some ticks later."""
    seen: list[Any] = []

    def act(walk: Walk) -> None:
        def heard(chunk: bytes) -> None:
            walk_to(walk)
            seen.append(writable.state_of(walk.near))
            look(ticks)

        def look(left: int) -> None:
            if left:
                pyuvnet.next_tick(look, left - 1)
            else:
                seen.append(writable.state_of(walk.near))

        walk.near.once("data", heard)
        walk.far.write("go")

    Walk().go(writable.state_of, nothing, act, 40)
    return seen


def collect_much(walk: Walk) -> None:
    # Below what is sent at once, above what the kernel has room for.
    walk.near.write(HUGE)


@pytest.mark.parametrize("line", writable.TRANSITIONS, ids=" ".join)
def test_the_writable_side(line: tuple[str, str]) -> None:
    state, what = line
    if line in IN_CALLBACK:
        seen = IN_CALLBACK[line]()
    elif line == ("collecting", "the kernel does not take it"):
        seen = in_callback(write, collect_much)()
    elif line == ("failed", "the tick after"):
        seen = through_a_tick(both(after_reset, asks), ticks=2)
    else:
        turns = 400 if "write" in what or "left" in what else 40
        turns = (
            0 if what in ("connect()", "end()", "write() that the kernel does not take") else turns
        )
        seen = Walk().go(writable.state_of, TO_WRITE[state], WRITE_BY[what], turns)
    assert seen == [state, writable.TRANSITIONS[line]]


class Life:
    """A socket and a server to connect it to, and what the socket was in at each look()."""

    def __init__(self, line: tuple[str, str]) -> None:
        state, what = line
        self.seen: list[str] = []
        self.socket: Any = net.Socket()
        if state == "bound":
            self.socket = net.Socket(handle=net.BoundSocket(port=0, host="127.0.0.1"))
        self.socket.on("error", lambda error: None)
        self.far: Any = None
        self.server = net.create_server(self.accepted).listen(0)
        self.port = self.server.address().port
        getattr(self, state)({
            "connect()": lambda: self.looks(self.connect),
            "destroy()": lambda: self.looks(self.socket.destroy),
        }.get(what, lambda: self.later(what)))  # fmt: skip
        pyuvnet.run()

    def accepted(self, far: net.Socket) -> None:
        self.far = far
        self.server.close()
        far.on("error", lambda error: None)
        far.resume()

    def look(self) -> None:
        self.seen.append(socket_base.state_of(self.socket))

    def looks(self, act: Callable[[], object]) -> None:
        """Look before and after, and end all of it."""
        self.look()
        act()
        self.look()
        self.over()

    def over(self) -> None:
        self.socket.destroy()
        self.server.close()

    def connect(self) -> None:
        self.socket.connect(self.port, "127.0.0.1")

    # To each state.

    def new(self, then: Callable[[], None]) -> None:
        then()

    bound = new

    def connecting(self, then: Callable[[], None]) -> None:
        self.connect()
        then()

    def connected(self, then: Callable[[], None]) -> None:
        self.connect()
        self.socket.once("connect", then)

    def closing(self, then: Callable[[], None]) -> None:
        self.connect()
        self.socket.once("connect", lambda: (self.socket.destroy(), then()))

    def closed(self, then: Callable[[], None]) -> None:
        self.socket.once("close", lambda had_error: then())
        self.socket.connect(self.port, "127.0.0.1").destroy()

    # What takes it elsewhere by itself.

    def later(self, what: str) -> None:
        self.look()
        socket = self.socket
        if what == "the connection stands":
            socket.once("connect", lambda: (self.look(), self.over()))
        elif what == "the last attempt fails":
            self.server.close()
            socket.once("error", lambda error: self.look())
        elif what == "the handle is closed":
            socket.once("close", lambda had_error: (self.look(), self.over()))
        elif what == "the peer resets":
            socket.once("error", lambda error: self.look())
            socket.on("data", lambda chunk: self.far.reset_and_destroy())
            socket.write("go")
            pyuvnet.set_immediate(self.reset)
        else:
            socket.resume()
            ended: list[str] = []
            for event in ("end", "finish"):
                socket.on(event, lambda event=event: self.side_over(ended, event))
            socket.end()

    def reset(self) -> None:
        if self.far is None:
            pyuvnet.set_immediate(self.reset)
        else:
            self.far.reset_and_destroy()

    def side_over(self, ended: list[str], event: str) -> None:
        ended.append(event)
        if len(ended) == 2:
            pyuvnet.next_tick(self.look)


@pytest.mark.parametrize("line", socket_base.TRANSITIONS, ids=" ".join)
def test_the_socket(line: tuple[str, str]) -> None:
    assert Life(line).seen == [line[0], socket_base.TRANSITIONS[line]]


@pytest.mark.parametrize(
    "table", [readable, writable, socket_base], ids=lambda table: table.__name__
)
def test_each_state_has_a_sentence_and_a_way_to_it(table: Any) -> None:
    named = {state for state, _ in table.TRANSITIONS} | set(table.TRANSITIONS.values())
    assert named == set(table.STATES)


@pytest.mark.parametrize(
    ("table", "title"),
    [
        (readable, "The readable side"),
        (writable, "The writable side"),
        (socket_base, "The socket"),
    ],
)
def test_the_diagrams_of_the_design_have_each_state(table: Any, title: str) -> None:
    design = Path(__file__).parents[2].joinpath("docs/maintainers/design.md").read_text("utf-8")
    found = re.search(rf"^{title}:\n\n```[^\n]+\n(.*?)^```$", design, re.DOTALL | re.MULTILINE)
    assert found
    assert set(re.findall(r"\[(\w+)\]", found[1])) == set(table.STATES)


def test_a_side_that_a_stream_does_not_have_has_no_state() -> None:
    assert writable.state_of(pyuvnet.Readable()) is None
    assert readable.state_of(pyuvnet.Writable()) is None
