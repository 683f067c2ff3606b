"""ordering.md 1: phases of the loop, ticks, and where each thing runs.

What is due before a turn's poll (a timer), in it and after it (an immediate) tells the phase of an
event: all are made due in one immediate, which is the last thing before the next turn.
"""

from __future__ import annotations

import errno
import socket as posix
import time

import pytest

import pyuvnet
from pyuvnet import events, net, next_tick, run, set_immediate, set_timeout


def pass_time(milliseconds: float) -> None:
    """Hold the loop up, so that timers set before are due."""
    until = time.perf_counter() + milliseconds / 1000
    while time.perf_counter() < until:
        pass


@pytest.fixture
def turn(trace):
    """turn(prepare): in an immediate, a timer, prepare() and an immediate become due at once."""

    def plan(prepare, wait: float = 5) -> None:
        def begin() -> None:
            set_timeout(trace, 1, "timer")
            prepare()
            set_immediate(trace, "immediate")
            pass_time(wait)

        # In an immediate, after whatever this turn's poll has delivered.
        set_immediate(begin)

    return plan


IN_POLL = ["timer", "EVENT", "tick", "immediate"]


def noting(trace):
    """A listener that notes the event, and then its tick."""
    return lambda *args: (trace("EVENT"), next_tick(trace, "tick"))


@pytest.mark.spec("O1.1-01", "O1.2-02", "N182")
@pytest.mark.parametrize("event", ["connect", "connectionAttemptFailed", "connection", "data"])
def test_what_comes_in_the_poll_phase(turn, when, trace, event) -> None:
    server = net.create_server().listen(0, "127.0.0.1")
    over = [server.close]

    def listening() -> None:
        port = server.address()["port"]
        if event == "connection":
            server.once("connection", lambda s: (over.append(s.destroy), noting(trace)()))
            peer = posix.socket()
            over.append(peer.close)
            turn(lambda: peer.connect(("127.0.0.1", port)))
        elif event == "data":
            server.once("connection", lambda s: accepted(s))
            peer = posix.create_connection(("127.0.0.1", port))
            over.append(peer.close)
        else:
            client = net.Socket().on("error", lambda error: None)
            over.append(client.destroy)
            client.on(event, noting(trace))
            if event == "connect":
                server.on("connection", lambda s: over.append(s.destroy))
                turn(lambda: client.connect(port, "127.0.0.1"))
            else:
                with posix.create_server(("127.0.0.1", 0)) as gone:
                    closed = gone.getsockname()[1]
                turn(lambda: client.connect(closed, "127.0.0.1"))

        def accepted(s) -> None:
            over.append(s.destroy)
            s.on("data", noting(trace))
            # The flow has begun by then.
            set_timeout(turn, 10, lambda: peer.sendall(b"x"))

    server.on("listening", listening)
    when(lambda: "immediate" in trace, lambda: [close() for close in over])
    run()
    assert trace == IN_POLL


@pytest.mark.spec("O1.1-04", "O1.2-02")
def test_ticks_come_after_the_last_event_of_a_callback(connect, trace) -> None:
    client = connect(lambda peer: peer.end())
    client.on("connect", lambda: (trace("connect"), next_tick(trace, "tick of connect")))
    client.on("connect", lambda: trace("second listener"))
    client.on("ready", lambda: (trace("ready"), next_tick(trace, "tick of ready")))
    run()
    assert trace == ["connect", "second listener", "ready", "tick of connect", "tick of ready"]


@pytest.mark.spec("O1.1-02")
def test_ticks_run_between_two_callbacks_of_one_poll(trace) -> None:
    opened: list[posix.socket] = []
    sockets: list[net.Socket] = []

    def connection(socket: net.Socket) -> None:
        sockets.append(socket)
        number = len(sockets)
        socket.on("data", lambda chunk: data(number))
        if number == 2:
            server.close()
            # Both have something to read in the same poll.
            set_timeout(lambda: [peer.sendall(b"x") for peer in opened], 20)

    def data(number: int) -> None:
        trace("data")
        next_tick(lambda: (trace("tick"), next_tick(trace, "tick of a tick")))
        sockets[number - 1].destroy()

    server = net.create_server(connection).listen(0, "127.0.0.1")
    server.on(
        "listening",
        lambda: opened.extend(
            posix.create_connection(("127.0.0.1", server.address()["port"])) for _ in range(2)
        ),
    )
    run()
    for peer in opened:
        peer.close()
    assert trace == ["data", "tick", "tick of a tick"] * 2


@pytest.mark.spec("O1.1-03")
def test_who_awaits_goes_on_after_the_ticks_and_before_the_next_callback(trace) -> None:
    async def main() -> None:
        emitter = pyuvnet.EventEmitter()
        waiting = events.once(emitter, "x")
        over = events.once(emitter, "over")

        def callback() -> None:
            emitter.emit("x")
            trace("sync")
            next_tick(trace, "tick")

        set_immediate(callback)
        set_immediate(lambda: (trace("next immediate"), emitter.emit("over")))
        await waiting
        trace("awaited")
        await over

    run(main())
    assert trace == ["sync", "tick", "awaited", "next immediate"]


# Each does its thing, and the event it leads to comes in the very next tick.
def _resume(note):
    socket = net.Socket().on("resume", note)
    return lambda: socket.resume()


def _readable(note):
    source = _Pushed().on("readable", note)
    run()
    return lambda: source.push(b"x")


def _end(note):
    source = _Pushed().on("end", note)
    source.resume()
    run()
    return lambda: source.push(None)


def _error(note):
    socket = net.Socket().on("error", note)
    return lambda: socket.destroy(OSError("E"))


def _listening(note):
    server = net.create_server().on("listening", lambda: (note(), server.close()))
    return lambda: server.listen(0)


def _server_close(note):
    server = net.create_server().on("close", note)
    return lambda: server.close()


def _listen_error(note):
    with posix.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        held = posix.socket(fileno=posix.dup(taken.fileno()))
    server = net.create_server()

    def failed(error) -> None:
        assert error.errno == errno.EADDRINUSE
        held.close()
        note()

    server.on("error", failed)
    return lambda: server.listen(port, "127.0.0.1")


def _connections(note):
    server = net.create_server()
    return lambda: server.get_connections(lambda error, count: note())


def _written(note):
    sink = _Taken()
    return lambda: sink.write(b"x", lambda error: note())


def _attempt(note):
    socket = net.Socket().on("error", lambda error: None)
    socket.on("connectionAttempt", lambda *args: (note(), socket.destroy()))
    return lambda: socket.connect(1, "127.0.0.1")


class _Pushed(pyuvnet.Readable):
    def _read(self, size):
        pass


class _Taken(pyuvnet.Writable):
    def _write(self, chunk, encoding, callback):
        callback()


IN_TICKS = [
    *(_resume, _readable, _end, _error, _listening, _server_close, _listen_error, _connections),
    *(_written, _attempt),
]


@pytest.mark.spec("O1.2-03", "N182")
@pytest.mark.parametrize("make", IN_TICKS, ids=[make.__name__ for make in IN_TICKS])
def test_what_comes_in_a_tick(trace, make) -> None:
    act = make(lambda *args: trace("EVENT"))

    def begin() -> None:
        act()
        assert trace == []
        # 'listening' and a failed listen() with a host are a tick of a tick.
        next_tick(next_tick, next_tick, trace, "ticks")
        set_immediate(trace, "immediate")

    set_immediate(begin)
    run()
    assert trace == ["EVENT", "ticks", "immediate"]


@pytest.mark.spec("O1.2-04")
def test_the_end_of_an_asynchronous_write(connect, trace) -> None:
    def both(client, peer) -> None:
        client.write(b"z" * 9_000_000, lambda error: told("write"))
        client.end(lambda error: told("end"))
        client.on("finish", lambda: told("finish"))
        peer.resume()

    def told(name: str) -> None:
        trace(name)
        next_tick(trace, f"tick of {name}")
        set_immediate(trace, f"immediate of {name}")

    connect(both=both, server={"pauseOnConnect": True})
    run()
    # The write's callback and the shutdown are callbacks of the poll; end and 'finish' one tick.
    assert [entry for entry in trace if not entry.startswith("immediate")] == [
        *["write", "tick of write", "end", "finish", "tick of end", "tick of finish"],
    ]
    assert trace.index("immediate of end") == trace.index("immediate of finish") - 1


@pytest.mark.spec("O1.2-05", "O1.2-08", "N038")
def test_close_of_a_socket_waits_for_due_immediates(connect, trace) -> None:
    def accepted(peer) -> None:
        # In the poll phase: immediates come before closing.
        peer.on("close", lambda had_error: trace("close"))
        peer.destroy()
        next_tick(trace, "tick")
        set_immediate(trace, "immediate")

    connect(accepted).resume()
    run()
    assert trace == ["tick", "immediate", "close"]


@pytest.mark.spec("O1.2-06", "N049")
def test_timeout_comes_in_the_timers_phase(connect, turn, trace) -> None:
    def both(client, peer) -> None:
        client.on("timeout", lambda: (trace("timeout"), next_tick(trace, "tick"), over()))
        peer.on("data", lambda chunk: trace("data"))

        def prepare() -> None:
            client.set_timeout(1)
            client.write(b"x")

        # Both are due in one turn: the timers come before the poll.
        set_timeout(turn, 20, prepare, 15)

    def over() -> None:
        client.set_timeout(0)
        set_timeout(client.destroy, 30)

    client = connect(both=both)
    run()
    assert sorted(trace[:2]) == ["timeout", "timer"] or trace[:3] == ["timer", "timeout", "tick"]
    assert trace.index("tick") < trace.index("data") < trace.index("immediate")


@pytest.mark.spec("O1.2-07")
def test_the_result_of_a_lookup_comes_before_immediates_and_timers(connect, trace) -> None:
    client = connect()
    client.destroy()
    port = client.listening.address()["port"]
    named = net.Socket()

    def looked_up(*args: object) -> None:
        trace("lookup")
        next_tick(trace, "tick")
        set_timeout(trace, 1, "timer")
        set_immediate(trace, "immediate")
        pass_time(5)
        named.destroy()
        client.listening.close()

    named.on("lookup", looked_up)
    named.connect({"port": port, "host": "localhost", "family": 4})
    trace("sync")
    run()
    assert trace == ["sync", "lookup", "tick", "immediate", "timer"]


@pytest.mark.spec("O1.2-08")
def test_destroy_in_an_immediate(connect, trace) -> None:
    def both(client, peer) -> None:
        client.on("close", lambda had_error: trace("close"))
        set_immediate(destroy, client)

    def destroy(client) -> None:
        client.destroy()
        next_tick(trace, "tick")
        set_immediate(trace, "immediate")
        set_timeout(trace, 0, "timer")

    connect(both=both)
    run()
    assert trace[:2] == ["tick", "close"]
    assert sorted(trace[2:]) == ["immediate", "timer"]
