"""ordering 3.17: abort signals."""

import pytest

import pyuvnet
from pyuvnet import AbortController, AbortError, net

ABORTED = ("error", "ABORT_ERR")


@pytest.fixture
def controller():
    return AbortController()


def test_connect_abort_while_connecting(timeline, run, controller):
    server = timeline.server()
    c = timeline.client(server, without=("data", "resume"), signal=controller.signal)
    errors = []
    c.on("error", errors.append)
    reason = RuntimeError("why")
    controller.abort(reason)
    assert (c.destroyed, c.connecting) == (True, False)
    assert timeline["c"] == []
    pyuvnet.next_tick(timeline.note, "c", "tick after")
    server.close()
    run()
    assert timeline["c"] == [ABORTED, "tick after", ("close", True)]
    (error,) = errors
    assert isinstance(error, AbortError)
    assert (error.name, str(error)) == ("AbortError", "The operation was aborted")
    assert error.cause is error.__cause__ is reason


def test_connect_abort_while_connecting_with_writes_pending(timeline, run, controller):
    server = timeline.server()
    c = timeline.client(server, without=("data", "resume"), signal=controller.signal)
    c.write(b"1", timeline.cb("c", "w1"))
    c.write(b"2", timeline.cb("c", "w2"))
    c.end(timeline.cb("c", "end"))
    controller.abort()
    server.close()
    run()
    assert timeline["c"] == [
        ABORTED,
        ("close", True),
        ("cb w1", "ERR_SOCKET_CLOSED_BEFORE_CONNECTION"),
        ("cb w2", "ABORT_ERR"),
        ("cb end", "ABORT_ERR"),
    ]


def test_connect_abort_later(timeline, run, controller):
    server = timeline.server()
    c = timeline.client(server, signal=controller.signal)
    c.on("ready", lambda: pyuvnet.set_immediate(controller.abort))
    run()
    assert timeline["c"] == [
        *["resume", ("connectionAttempt", 4), "connect", "ready", ABORTED, ("close", True)]
    ]
    assert timeline["s"] == ["resume", "end", "finish", ("close", False)]


def test_connect_already_aborted_nothing_is_connected(timeline, run, controller):
    """A deviation: Node connects anyway."""
    server = timeline.server(close=False)
    controller.abort()
    c = timeline.client(server, without=("data", "resume"), signal=controller.signal)
    assert (c.destroyed, c.connecting) == (True, False)
    c.on("close", lambda had_error: pyuvnet.set_immediate(server.close))
    run()
    assert timeline["c"] == [ABORTED, ("close", True)]
    assert timeline["S"] == ["listening", "close"]


def test_listen_abort_when_listening(timeline, run, controller):
    def listening():
        controller.abort()
        timeline.note("S", server.listening, server.address())
        pyuvnet.next_tick(timeline.note, "S", "tick after")

    server = timeline.watch("S", net.create_server())
    server.listen(0, signal=controller.signal, callback=listening)
    run()
    assert timeline["S"] == ["listening", (False, None), "close", "tick after"]


def test_listen_abort_with_a_connection_open(timeline, run, controller):
    def accepted(s):
        controller.abort()
        s.end(b"bye")

    server = net.create_server(lambda s: (timeline.watch("s", s), accepted(s)))
    timeline.watch("S", server).listen(0, signal=controller.signal)
    timeline.client(server)
    run()
    assert timeline["S"] == ["listening", ("connection", "socket"), "close"]
    assert timeline["s"] == ["resume", "finish", "end", ("close", False)]
    assert timeline["c"][3:] == ["ready", ("data", b"bye"), "end", "finish", ("close", False)]
    assert timeline.all.index(("S", "close")) < timeline.all.index(("s", ("close", False)))


@pytest.mark.parametrize("host", [None, "127.0.0.1", "localhost"])
def test_listen_abort_in_the_same_turn(timeline, run, controller, host):
    server = timeline.watch("S", net.create_server())
    server.listen(
        {"port": 0, "host": host, "signal": controller.signal},
        lambda: timeline.note("S", "never"),
    )
    controller.abort()
    assert not server.listening
    run()
    assert timeline["S"] == ["close"]


@pytest.mark.parametrize("host", [None, "127.0.0.1", "localhost"])
def test_listen_already_aborted(timeline, run, controller, host):
    controller.abort()
    server = timeline.watch("S", net.create_server())
    server.listen(
        {"port": 0, "host": host, "signal": controller.signal},
        lambda: timeline.note("S", "never"),
    )
    assert server.listening is (host is None)
    run()
    assert timeline["S"] == ["close"]
    assert not server.listening
