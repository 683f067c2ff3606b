"""ordering 3.6: end() before connect."""

import pytest

from pyuvnet import net


@pytest.mark.spec("S4.5-05", "N063")
def test_the_data_arrive_and_the_socket_ends(timeline, run):
    server = timeline.server()
    c = timeline.client(server)
    c.on("connect", lambda: timeline.note("c", c.ready_state))
    assert c.end(b"data1", timeline.cb("c", "end")) is c
    assert (c.writable_ended, c.ready_state) == (True, "opening")
    run()
    assert timeline["c"] == [
        "resume",
        ("connectionAttempt", 4),
        "connect",
        "readOnly",
        "ready",
        ("cb end", None),
        "finish",
        "end",
        ("close", False),
    ]
    assert ("data", b"data1") in timeline["s"]


def test_never_connected_without_data(timeline, run):
    c = timeline.watch("c", net.Socket(), without=("data", "resume"))
    c.end(timeline.cb("c", "end"))
    run()
    assert timeline["c"] == [("cb end", None), "finish"]
    assert (c.destroyed, c.ready_state) == (False, "readOnly")


def test_never_connected_with_data(timeline, run):
    c = timeline.watch("c", net.Socket(), without=("data", "resume"))
    c.end(b"x", timeline.cb("c", "end"))
    run()
    assert timeline["c"] == [
        ("cb end", "ERR_SOCKET_CLOSED"),
        ("error", "ERR_SOCKET_CLOSED"),
        ("close", True),
    ]


def test_connect_revives_it(timeline, run):
    c = timeline.watch("c", net.Socket())
    c.end()
    run()
    assert timeline["c"] == ["resume", "finish"]
    server = timeline.server()
    c.connect(server.address()["port"], "127.0.0.1")
    assert c.writable
    c.on("ready", lambda: c.end(b"alive"))
    run()
    assert ("data", b"alive") in timeline["s"]
    assert timeline["c"][-3:] == ["finish", "end", ("close", False)]
