"""ordering 3.8: destroy() while connecting, with writes and an end pending."""

import pytest

BEFORE = "ERR_SOCKET_CLOSED_BEFORE_CONNECTION"


def start(timeline):
    server = timeline.server()
    c = timeline.client(server, without=("data", "resume"))
    c.on("close", lambda had_error: server.close())
    return c


def pending(timeline, c):
    c.write(b"1", timeline.cb("c", "w1"))
    c.write(b"2", timeline.cb("c", "w2"))
    c.end(timeline.cb("c", "end"))


@pytest.mark.spec("N060")
def test_everything_pending_is_called_back_after_close(timeline, run):
    c = start(timeline)
    pending(timeline, c)
    c.destroy()
    assert (c.destroyed, c.closed, c.connecting, c.ready_state) == (True, True, False, "closed")
    assert timeline["c"] == []
    run()
    assert timeline["c"] == [
        ("close", False),
        ("cb w1", BEFORE),
        ("cb w2", BEFORE),
        ("cb end", BEFORE),
    ]


def test_with_an_error(timeline, run):
    c = start(timeline)
    pending(timeline, c)
    c.destroy(RuntimeError("E"))
    run()
    assert timeline["c"] == [
        ("error", "E"),
        ("close", True),
        ("cb w1", BEFORE),
        ("cb w2", "E"),
        ("cb end", "E"),
    ]


def test_an_end_alone_is_called_back_before_close(timeline, run):
    c = start(timeline)
    c.end(timeline.cb("c", "end"))
    c.destroy()
    run()
    assert timeline["c"] == [("cb end", "ERR_STREAM_DESTROYED"), ("close", False)]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_no_attempt_is_announced_that_was_not_yet(timeline, run, host):
    from pyuvnet import net

    server = timeline.server()
    c = timeline.watch("c", net.Socket(), without=("data", "resume"))
    c.connect(server.address()["port"], host)
    c.destroy()
    server.close()
    run()
    assert timeline["c"] == [("close", False)]


def test_destroyed_by_an_earlier_connect_listener(timeline, run):
    server = timeline.server()
    c = timeline.client(server, without=("data", "resume"))
    c.once("connect", c.destroy)
    c.write(b"1", timeline.cb("c", "w1"))
    c.write(b"2", timeline.cb("c", "w2"))
    run()
    assert timeline["c"] == [
        ("connectionAttempt", 4),
        "connect",
        ("cb w1", "ERR_SOCKET_CLOSED"),
        ("cb w2", "ERR_SOCKET_CLOSED"),
        "ready",
        ("close", False),
    ]
    assert (c.writable_length, c.bytes_written) == (0, 0)
