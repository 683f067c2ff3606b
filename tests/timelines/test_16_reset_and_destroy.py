"""ordering 3.16: reset_and_destroy()."""

import pytest

import pyuvnet
from pyuvnet import net

DESTROYED = "ERR_STREAM_DESTROYED"


def test_connected_the_peer_gets_what_it_had_and_then_the_reset(timeline, run):
    def greeted(chunk):
        assert c.write(b"last", timeline.cb("c", "written")) is True
        assert c.reset_and_destroy() is c
        assert (c.destroyed, c.ready_state) == (True, "closed")
        assert c.write(b"late", timeline.cb("c", "late")) is False

    server = timeline.server(lambda s: s.write(b"hi", timeline.cb("s", "w")))
    c = timeline.client(server)
    c.on("data", greeted)
    run()
    assert timeline["c"] == [
        "resume",
        ("connectionAttempt", 4),
        "connect",
        "ready",
        ("data", b"hi"),
        ("cb written", None),
        ("cb late", DESTROYED),
        ("close", False),
    ]
    # Whether Linux still hands out "last" depends on when the server's end is read.
    assert timeline["s"][:2] == ["resume", ("cb w", None)]
    assert timeline["s"][-2:] == [("error", "ECONNRESET"), ("close", True)]
    assert "end" not in timeline["s"]


def test_the_peers_error_says_read(timeline, run):
    def accepted(s):
        s.on("error", lambda error: timeline.note("s", error.syscall, error.address, str(error)))

    server = timeline.server(accepted)
    c = timeline.client(server)
    c.on("ready", c.reset_and_destroy)
    run()
    assert timeline["s"][-3:] == [
        ("error", "ECONNRESET"),
        ("read", None, "read ECONNRESET"),
        ("close", True),
    ]


def test_twice_is_once(timeline, run):
    server = timeline.server()
    c = timeline.client(server)
    c.on("ready", lambda: c.reset_and_destroy().reset_and_destroy())
    run()
    assert timeline["c"] == [
        *["resume", ("connectionAttempt", 4), "connect", "ready", ("close", False)]
    ]


def test_connecting_it_waits(timeline, run):
    server = timeline.server()
    c = timeline.client(server)
    assert c.reset_and_destroy() is c
    assert (c.destroyed, c.connecting) == (False, True)
    run()
    assert timeline["c"] == [
        *["resume", ("connectionAttempt", 4), "connect", "ready", ("close", False)]
    ]
    assert timeline["s"] == ["resume", ("error", "ECONNRESET"), ("close", True)]


def test_a_new_socket(timeline, run):
    c = timeline.watch("c", net.Socket(), without=("data", "resume"))
    c.reset_and_destroy()
    assert c.destroyed
    pyuvnet.next_tick(timeline.note, "c", "tick after")
    run()
    assert timeline["c"] == [("error", "ERR_SOCKET_CLOSED"), ("close", True), "tick after"]
    # Destroyed already: nothing more.
    c.reset_and_destroy()
    run()
    assert len(timeline["c"]) == 3


@pytest.mark.parametrize("when", ["connecting", "connected"])
def test_ipc_raises_and_nothing_changes(timeline, run, tmp_path, when):
    def refused():
        with pytest.raises(pyuvnet.ArgTypeError) as caught:
            c.reset_and_destroy()
        assert caught.value.code == "ERR_INVALID_HANDLE_TYPE"
        assert not c.destroyed

    path = str(tmp_path / "sock")
    server = net.create_server(lambda s: (timeline.watch("s", s), server.close())).listen(path)
    c = timeline.watch("c", net.Socket())
    c.connect(path)
    c.on("ready", lambda: c.end(b"still well"))
    if when == "connected":
        c.on("connect", refused)
    else:
        refused()
    run()
    assert timeline["c"] == [
        ("connectionAttempt", None),  # inside connect()
        *["resume", "connect", "ready", "finish", "end", ("close", False)],
    ]
    assert timeline["s"] == ["resume", ("data", b"still well"), "end", "finish", ("close", False)]
