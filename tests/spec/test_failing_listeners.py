"""README R6: a listener that raises leaves the machine as it would be without the exception.

For each event, with a hook for exceptions and without: afterwards more bytes flow, the counters
are exact, and 'close' comes once and last.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import pyuvnet
from pyuvnet import net, run
from tests.support.errors import BoomError

BIG = b"z" * 9_000_000


@pytest.fixture(params=["hook", "no hook"])
def finish(request: pytest.FixtureRequest) -> Callable[[int], None]:
    """finish(count) runs to the end; so many BoomErrors have come to the hook, or out of run()."""
    caught: list[BaseException] = []
    if request.param == "hook":
        pyuvnet.set_exception_handler(caught.append)

    def to_the_end(count: int) -> None:
        for _ in range(count + 1):
            try:
                run()
            except BoomError as error:
                caught.append(error)
        assert [type(error) for error in caught] == [BoomError] * count

    return to_the_end


def boom(*args: Any) -> None:
    raise BoomError


class Talk:
    """A client that sends BIG and b"more", and a server that answers; what both ends saw."""

    def __init__(self, connect: Any, event: str, victim: str) -> None:
        self.got = {"client": bytearray(), "peer": bytearray()}
        self.events: dict[str, list[str]] = {"client": [], "peer": []}
        self.sent = False
        self.client = connect(self.accepted, self.both, high_water_mark=1000)
        self.event, self.victim = event, victim
        self.prepare("client", self.client)

    def prepare(self, name: str, socket: net.Socket) -> None:
        if name == self.victim:
            socket.once(self.event, boom)
        for event in ("end", "finish", "error", "close"):
            socket.on(event, lambda *args, event=event: self.events[name].append(event))

    def accepted(self, peer: net.Socket) -> None:
        self.prepare("peer", peer)
        peer.pause()
        peer.on("data", self.got["peer"].extend)
        peer.on("end", lambda: None)

    def both(self, client: net.Socket, peer: net.Socket) -> None:
        client.on("data", self.got["client"].extend)
        client.write(BIG)
        pyuvnet.set_immediate(peer.resume)
        pyuvnet.set_timeout(self.more, 60)

    def more(self) -> None:
        if self.client.writable_length:  # 'drain' is still to come, on a slow machine
            pyuvnet.set_timeout(self.more, 10)
            return
        self.client.write(b"more")
        self.client.peer.write(b"answer")
        pyuvnet.set_timeout(self.last, 30)

    def last(self) -> None:
        self.client.end(b"last")


@pytest.mark.spec("R6-03", "R6-04", "D34")
@pytest.mark.parametrize(
    ("event", "victim"),
    [
        *[(event, "client") for event in ("data", "drain", "end", "finish", "close")],
        *[(event, "peer") for event in ("data", "end", "finish", "close")],
    ],
)
def test_a_whole_conversation_is_the_same(connect, finish, event, victim) -> None:
    talk = Talk(connect, event, victim)
    client = talk.client
    finish(1)
    peer = client.peer
    total = len(BIG) + len(b"morelast")
    # Of a once listener's 'data', the remaining listeners miss one chunk, and no more.
    lost = {"client": 0, "peer": 0}
    if event == "data":
        lost[victim] = {"client": len(b"answer"), "peer": total - len(talk.got["peer"])}[victim]
        assert 0 < lost[victim] <= 65536
    assert len(talk.got["peer"]) == total - lost["peer"]
    assert len(talk.got["client"]) == len(b"answer") - lost["client"]
    for socket, other in ((client, peer), (peer, client)):
        assert socket.bytes_read == other.bytes_written
        assert (socket.readable_length, socket.writable_length) == (0, 0)
        assert (socket.readable_ended, socket.writable_finished) == (True, True)
        assert (socket.destroyed, socket.closed, socket.errored) == (True, True, None)
    assert peer.bytes_read == total
    # The recording listeners stand behind the failing one, and miss that one event.
    expected = {name: ["end", "finish", "close"] for name in ("client", "peer")}
    if event in expected[victim]:
        expected[victim].remove(event)
    assert sorted(talk.events["client"]) == sorted(expected["client"])
    assert talk.events["peer"] == expected["peer"]


@pytest.mark.spec("R6-03", "R6-04")
def test_readable(connect, finish, trace) -> None:
    def accepted(peer: net.Socket) -> None:
        peer.once("readable", boom)
        peer.on("readable", lambda: read(peer))
        peer.on("end", trace.note("end")).on("close", trace.note("close"))

    def read(peer: net.Socket) -> None:
        while (chunk := peer.read()) is not None:
            trace(chunk)

    client = connect(accepted)
    client.write(b"one")
    pyuvnet.set_timeout(client.end, 40, b"two")
    finish(1)
    # What the failing emission left in the buffer comes with the next one.
    assert trace == [b"onetwo", "end", ("close", False)]
    assert client.peer.bytes_read == 6


@pytest.mark.spec("R6-03", "R6-04")
def test_error(connect, finish, trace) -> None:
    def both(client: net.Socket, peer: net.Socket) -> None:
        peer.resume()
        client.once("error", boom)
        client.on("close", trace.note("close"))
        client.write(b"sent", lambda error: trace("written", error))
        client.destroy(OSError("E"))

    client = connect(both=both)
    finish(1)
    assert trace == [("written", None), ("close", True)]
    assert client.errored.args == ("E",)
    assert client.peer.bytes_read == 4


@pytest.mark.spec("R6-03", "R6-04")
@pytest.mark.parametrize("event", ["pipe", "unpipe"])
def test_pipe(connect, fake, finish, trace, event) -> None:
    # pipe() and the end of a pipe call these listeners themselves.
    sink = fake.Sink().once(event, boom)
    sink.on("finish", trace.note("finish")).on("close", trace.note("close"))

    def accepted(peer: net.Socket) -> None:
        peer.on("close", lambda had_error: trace("peer close"))
        peer.pipe(sink)

    client = connect(accepted)
    client.write(b"one")
    pyuvnet.set_timeout(client.end, 30, b"two")
    pyuvnet.set_timeout(lambda: client.peer.resume(), 60)
    finish(1)
    if event == "unpipe":
        assert b"".join(sink.got) == b"onetwo"
        assert trace == ["finish", "close", "peer close"]
    else:
        # The exception leaves pipe() in the middle, with the destination in its place.
        assert b"".join(sink.got) == b"onetwo"
        assert "finish" in trace
    assert trace.count("close") == trace.count("peer close") == 1
    assert client.peer.bytes_read == 6
    fake.over(sink)


@pytest.mark.spec("R6-03", "R6-04", "D34")
@pytest.mark.parametrize("event", ["connect", "ready"])
def test_connect_and_ready(connect, finish, trace, event) -> None:
    got = bytearray()
    client = connect(lambda peer: peer.on("data", got.extend))
    client.once(event, boom)
    client.write(b"one", lambda error: trace("written", error))
    client.on("close", trace.note("close"))
    pyuvnet.set_timeout(client.end, 30, b"two")
    # A connection that nobody serves any more would wait for ever.
    pyuvnet.set_timeout(client.destroy, 5000).unref()
    finish(1)
    assert got == b"onetwo"
    assert client.bytes_written == 6
    assert trace == [("written", None), ("close", False)]


@pytest.mark.spec("R6-03", "R6-04")
@pytest.mark.parametrize("event", ["pause", "resume"])
def test_pause_and_resume(connect, finish, trace, event) -> None:
    got = bytearray()

    def accepted(peer: net.Socket) -> None:
        peer.on("data", got.extend).on("close", trace.note("close"))
        peer.once(event, boom)
        if event == "pause":
            pyuvnet.set_timeout(peer.pause, 20)
            pyuvnet.set_timeout(peer.resume, 60)

    client = connect(accepted)
    client.write(b"one")
    pyuvnet.set_timeout(client.end, 40, b"two")
    finish(1)
    assert got == b"onetwo"
    assert trace == [("close", False)]


@pytest.mark.spec("R6-03", "R6-04")
@pytest.mark.parametrize("event", ["data", "readable", "drain", "end", "finish", "close", "error"])
def test_user_streams(fake, finish, trace, event) -> None:
    stream = fake.Both(hold=True, writable_high_water_mark=1)
    # In front of the failing one, which costs those behind it their turn.
    stream.on("close", trace.note("close"))
    stream.once(event, boom)
    if event != "readable":
        stream.on("data", trace)
    for chunk in (b"1", b"2", None):
        stream.push(chunk)
    stream.write(b"w", lambda error: trace("written", error and str(error)))

    def answer() -> None:
        if event == "error":
            stream.destroy(OSError("E"))
        stream.answer()
        stream.hold = False
        stream.end(lambda error: trace("ended", error and str(error)))
        if event == "readable":
            stream.read()
            stream.resume()

    pyuvnet.set_immediate(answer)
    finish(1)
    assert stream.closed
    assert trace.count("close") == 1
    assert [entry[0] for entry in trace if isinstance(entry, tuple)] == ["written", "ended"]
    if event == "error":
        assert "close" in trace
    else:
        assert trace[-1] == "close"
        assert (stream.writable_finished, stream.writable_length) == (True, 0)
        assert (stream.readable_ended, stream.readable_length) == (True, 0)
    data = [entry for entry in trace if isinstance(entry, bytes)]
    assert data == {"data": [b"2"], "readable": []}.get(event, [b"1", b"2"])
