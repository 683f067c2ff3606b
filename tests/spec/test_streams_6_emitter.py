"""streams.md 6: what core/test_emitter.py leaves: sockets as emitters, and capture_rejections."""

from __future__ import annotations

import asyncio
import warnings

import pytest

import pyuvnet
from pyuvnet import EventEmitter, Server, net, next_tick, run
from pyuvnet.errors import MaxListenersExceededWarning
from tests.support.errors import BoomError


async def settle() -> None:
    """Let coroutine listeners run to their end, and what their failure leads to."""
    for _ in range(5):
        done = asyncio.get_running_loop().create_future()
        pyuvnet.set_immediate(done.set_result, None)
        await done


async def failing(*args: object) -> None:
    await asyncio.sleep(0)
    raise BoomError


# ---- 6.1 to 6.3 on every class of emitter --------------------------------------------------------

EMITTERS = [EventEmitter, pyuvnet.Readable, pyuvnet.Writable, pyuvnet.Duplex, net.Socket, Server]


@pytest.mark.spec("S6.1-01", "S6.1-05", "S6.1-06", "S6.1-07", "S6.1-12", "S6.1-13", "S6.1-18")
@pytest.mark.parametrize("cls", EMITTERS)
def test_the_methods_on_every_emitter(cls, trace) -> None:
    emitter = cls()
    second = trace.note("second")
    for result in (
        emitter.on("x", trace.note("first")),
        emitter.addListener("x", second),
        emitter.once("x", trace.note("once")),
        emitter.prependListener("x", trace.note("front")),
        emitter.prepend_once_listener("x", trace.note("front once")),
    ):
        assert result is emitter
    assert emitter.emit("x") is True
    assert trace == ["front once", "front", "first", "second", "once"]
    assert emitter.off("x", second) is emitter
    assert emitter.listenerCount("x") == 2
    assert "x" in emitter.eventNames()
    assert emitter.removeAllListeners("x") is emitter
    assert emitter.emit("x") is False


@pytest.mark.spec("S6.1-20", "S6.1-19")
def test_the_end_listener_of_a_socket_stays_a_secret_of_the_library(trace) -> None:
    socket = net.Socket()
    assert socket.event_names() in ([], ["end"])
    assert socket.listener_count("end") == 1
    socket.on("end", trace)
    assert socket.listener_count("end") == 2
    assert socket.listeners("end")[1] is trace


@pytest.mark.spec("S6.1-24", "R7-01")
def test_a_socket_warns_of_its_eleventh_listener_once() -> None:
    socket = net.Socket()
    for _ in range(10):
        socket.on("data", lambda chunk: None)
    with pytest.warns(MaxListenersExceededWarning, match="11 data listeners"):
        socket.on("data", lambda chunk: None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        socket.on("data", lambda chunk: None)
    socket.destroy()
    run()


@pytest.mark.spec("S6.3-01", "S6.3-02")
def test_an_exception_leaves_emit_in_the_middle(trace) -> None:
    socket = net.Socket().on("x", trace.note("before"))

    @socket.on("x")
    def fails() -> None:
        raise BoomError

    socket.on("x", trace.note("after"))
    with pytest.raises(BoomError):
        socket.emit("x")
    assert trace == ["before"]


@pytest.mark.spec("S6.4-01", "S6.4-02", "S6.4-03", "N046", "N144")
def test_an_unhandled_error_of_a_socket(trace) -> None:
    socket = net.Socket().on(EventEmitter.error_monitor, trace.note("monitor"))
    error = BoomError()
    with pytest.raises(BoomError) as caught:
        socket.emit("error", error)
    assert caught.value is error
    with pytest.raises(pyuvnet.StateError) as caught_too:
        socket.emit("error", 5)
    assert (caught_too.value.code, caught_too.value.context) == ("ERR_UNHANDLED_ERROR", 5)
    assert trace == [("monitor", error), ("monitor", 5)]


# ---- 6.6 capture_rejections ----------------------------------------------------------------------


@pytest.fixture
def by_default():
    EventEmitter.capture_rejections = True
    yield
    EventEmitter.capture_rejections = False


@pytest.mark.spec("S6.6-01", "S6.6-04", "N178")
@pytest.mark.parametrize("event", ["connect", "data"])
def test_a_failed_listener_destroys_its_socket(connect, watch, trace, event, hook) -> None:
    async def main() -> None:
        client = connect(lambda peer: peer.write(b"x"), capture_rejections=True)
        watch(client, "", "error", "close")
        client.on(event, failing)
        while not client.destroyed:
            await settle()
        await settle()
        assert isinstance(client.errored, BoomError)
        client.peer.destroy()

    run(main())
    run()
    assert [entry[0] for entry in trace] == ["error", "close"]
    assert trace[1] == ("close", True)
    assert hook == []


@pytest.mark.spec("S6.6-08")
@pytest.mark.parametrize("event", ["connect", "data"])
def test_without_capture_the_hook_gets_it_and_the_socket_lives(connect, event, hook) -> None:
    async def main() -> bytes:
        client = connect(lambda peer: peer.write(b"x"))
        client.once(event, failing)
        while not hook:
            await settle()
        assert not client.destroyed
        got = bytearray()
        client.on("data", got.extend)
        client.peer.end(b"more")
        await pyuvnet.events.once(client, "close")
        return bytes(got)

    assert run(main()).endswith(b"more")
    run()
    assert [type(error) for error in hook] == [BoomError]


@pytest.mark.spec("S6.6-03")
def test_the_failure_is_delivered_in_a_later_tick(trace, hook) -> None:
    async def main() -> None:
        emitter = EventEmitter(capture_rejections=True)
        emitter.on("error", lambda error: trace("error"))
        future = asyncio.get_running_loop().create_future()
        emitter.on("x", lambda: future)
        emitter.emit("x")
        future.set_exception(BoomError())
        next_tick(trace, "tick")
        trace("sync")
        await settle()

    run(main())
    assert trace == ["sync", "tick", "error"]


@pytest.mark.spec("S6.6-02", "S6.6-07")
@pytest.mark.usefixtures("by_default")
def test_the_default_counts_for_new_emitters(trace) -> None:
    async def main() -> None:
        emitter = EventEmitter().on("error", lambda error: trace(type(error)))
        emitter.on("x", failing)
        emitter.emit("x")
        opposed = EventEmitter(capture_rejections=False)
        opposed.on("error", trace).on("x", failing)
        opposed.emit("x")
        await settle()

    told: list[BaseException] = []
    pyuvnet.set_exception_handler(told.append)
    run(main())
    assert trace == [BoomError]
    assert [type(error) for error in told] == [BoomError]


@pytest.mark.spec("S6.6-02")
def test_the_default_does_not_count_for_emitters_there_are(trace, hook, request) -> None:
    before = EventEmitter().on("error", trace).on("x", failing)
    request.getfixturevalue("by_default")

    async def main() -> None:
        before.emit("x")
        await settle()

    run(main())
    assert trace == []
    assert [type(error) for error in hook] == [BoomError]


@pytest.mark.spec("S6.6-02", "S6.6-04")
@pytest.mark.usefixtures("by_default")
def test_the_default_counts_for_accepted_sockets(connect, trace, hook) -> None:
    async def main() -> None:
        def accepted(peer) -> None:
            peer.on("data", failing)
            peer.on("error", lambda error: trace(type(error)))

        client = connect(accepted)
        client.on("error", lambda error: None)
        client.write(b"x")
        await pyuvnet.events.once(client.resume(), "close")

    run(main())
    run()
    assert trace == [BoomError]
    assert hook == []


@pytest.mark.spec("S6.6-05", "N178")
@pytest.mark.parametrize("capture", [True, False])
def test_a_failed_connection_listener(connect, trace, hook, capture) -> None:
    async def main() -> None:
        async def accepted(peer) -> None:
            peer.on("error", lambda error: trace(type(error)))
            await failing()

        client = connect(accepted, server={"capture_rejections": capture})
        client.listening.on("error", trace.note("server error"))
        client.on("error", lambda error: None)
        client.on("ready", client.resume)
        while not (hook or trace):
            await settle()
        # Uncaptured, Node would leave it open (a deviation).
        assert client.peer.destroyed
        client.destroy()
        client.peer.destroy()

    run(main())
    run()
    assert trace == ([BoomError] if capture else [])
    assert [type(error) for error in hook] == ([] if capture else [BoomError])


@pytest.mark.spec("S6.6-06")
@pytest.mark.parametrize("event", ["listening", "close"])
def test_other_failed_listeners_of_a_server(trace, hook, event) -> None:
    async def main() -> None:
        server = net.create_server(capture_rejections=True)
        server.on("error", lambda error: trace(type(error)))
        server.on(event, failing)
        server.listen(0)
        await pyuvnet.events.once(server, "listening")
        if event == "listening":
            await settle()
            assert trace == [BoomError]
        server.close()
        await settle()

    run(main())
    run()
    assert trace == [BoomError]
    assert hook == []


@pytest.mark.spec("S6.6-09")
def test_an_emitters_own_handler_comes_before_error(trace, hook) -> None:
    class Mine(EventEmitter):
        def _rejected(self, error, event, arguments) -> None:
            trace(type(error), event, arguments)

    async def main() -> None:
        emitter = Mine(capture_rejections=True).on("error", trace.note("error"))
        emitter.on("x", failing)
        emitter.emit("x", 1, 2)
        await settle()

    run(main())
    assert trace == [(BoomError, "x", (1, 2))]
    assert hook == []


# ---- 6.5 Results ---------------------------------------------------------------------------------


@pytest.mark.spec("S6.5-01")
def test_results_of_a_sockets_listeners_are_ignored(connect) -> None:
    got = bytearray()

    def data(chunk: bytes) -> bool:
        got.extend(chunk)
        return False

    def accepted(peer) -> None:
        peer.on("data", data)

    client = connect(accepted)
    client.write(b"one")
    pyuvnet.set_timeout(client.end, 20, b"two")
    run()
    assert got == b"onetwo"


@pytest.mark.spec("S6.5-03")
@pytest.mark.parametrize("result", [False, None, 0, ""])
def test_only_false_of_onread_stops_the_reading(connect, when, result) -> None:
    got = bytearray()
    answers = [result]

    def callback(count: int, buffer: bytearray) -> object:
        got.extend(buffer[:count])
        return answers.pop() if answers else None

    def both(client, peer) -> None:
        peer.write(b"one")
        when(lambda: got == b"one", lambda: second(client, peer))

    def second(client, peer) -> None:
        peer.write(b"two")
        if result is False:
            pyuvnet.set_timeout(look, 20, client, peer)
        else:
            when(lambda: got == b"onetwo", peer.end)

    def look(client, peer) -> None:
        stopped.append((bytes(got), client.is_paused()))
        client.resume()
        when(lambda: got == b"onetwo", peer.end)

    stopped: list[tuple[bytes, bool]] = []
    onread = {"buffer": bytearray(100), "callback": callback}
    connect(both=both, onread=onread)
    run()
    assert got == b"onetwo"
    assert stopped == ([(b"one", False)] if result is False else [])
