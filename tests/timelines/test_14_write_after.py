"""ordering 3.14: write() and end() after end() or destroy()."""

import pytest

from pyuvnet import net

AFTER = "ERR_STREAM_WRITE_AFTER_END"
QUIET = ("data", "resume")


@pytest.fixture
def connected(timeline, run):
    """connected(act) runs act(c) inside 'connect' and returns what followed it."""

    def go(act, event="connect"):
        server = timeline.server()
        c = timeline.client(server, without=QUIET)
        c.on(event, lambda: act(c))
        run()
        return timeline["c"][timeline["c"].index(event) + 1 :]

    return go


@pytest.mark.spec("S4.2-05", "S4.2-08", "N081")
def test_write_after_end(connected, timeline):
    def act(c):
        c.end()
        assert c.write(b"late", timeline.cb("c", "w")) is False
        assert c.destroyed
        assert c.errored.code == AFTER

    assert connected(act) == ["ready", ("cb w", AFTER), ("error", AFTER), ("close", True)]


def test_end_with_data_after_end(connected, timeline):
    def act(c):
        c.end(timeline.cb("c", "1"))
        c.end(b"more", timeline.cb("c", "2"))

    assert connected(act, "ready") == [
        ("cb 1", AFTER),
        ("error", AFTER),
        ("cb 2", AFTER),
        ("close", True),
    ]


@pytest.mark.spec("N063")
def test_end_repeated(connected, timeline):
    def act(c):
        for name in "123":
            c.end(timeline.cb("c", name))
        c.on("finish", lambda: c.end(timeline.cb("c", "4")))

    assert connected(act, "ready") == [
        ("cb 1", None),
        ("cb 2", None),
        ("cb 3", None),
        "finish",
        ("cb 4", "ERR_STREAM_ALREADY_FINISHED"),
        "end",
        ("close", False),
    ]


@pytest.mark.spec("S4.2-06")
def test_after_destroy(connected, timeline):
    def act(c):
        c.destroy()
        assert c.write(b"x", timeline.cb("c", "w")) is False
        c.end(timeline.cb("c", "end"))
        assert c.writable_ended
        assert c.write(b"x", timeline.cb("c", "after end")) is False

    assert connected(act, "ready") == [
        ("cb w", "ERR_STREAM_DESTROYED"),
        ("cb end", "ERR_STREAM_DESTROYED"),
        ("cb after end", AFTER),
        ("close", False),
    ]


def test_never_connected(timeline, run):
    c = timeline.watch("c", net.Socket(), without=QUIET)
    assert c.write(b"x", timeline.cb("c", "w")) is False
    run()
    assert timeline["c"] == [
        ("cb w", "ERR_SOCKET_CLOSED"),
        ("error", "ERR_SOCKET_CLOSED"),
        ("close", True),
    ]
