"""ordering 3.1: connect, echo, the client ends."""

import pytest


@pytest.mark.spec(
    "N016", "N036", "N038", "N039", "N048", "N059", "N099", "N121", "N133", "N139", "N140"
)
def test_echo_and_end_of_the_client(timeline, run):
    def accepted(s):
        s.on("data", lambda chunk: s.write(chunk, timeline.cb("s", "w")))
        s.on("end", lambda: timeline.note("s", s.ready_state, s.writable))

    server = timeline.server(accepted)
    c = timeline.client(server)
    assert (c.connecting, c.ready_state) == (True, "opening")
    c.on("connect", lambda: timeline.note("c", "connecting", c.connecting))
    c.on("connect", lambda: c.write(b"hello", timeline.cb("c", "w")))
    c.on("data", lambda chunk: c.end(timeline.cb("c", "end")))
    run()
    assert timeline["c"] == [
        "resume",
        ("connectionAttempt", 4),
        "connect",
        ("connecting", False),
        "ready",
        ("cb w", None),
        ("data", b"hello"),
        ("cb end", None),
        "finish",
        "end",
        ("close", False),
    ]
    assert timeline["s"] == [
        "resume",
        ("data", b"hello"),
        ("cb w", None),
        "end",
        ("writeOnly", True),
        "finish",
        ("close", False),
    ]
    assert timeline["S"] == ["listening", ("connection", "socket"), "close"]
    order = timeline.all
    assert (
        order.index(("s", "finish"))
        < order.index(("S", "close"))
        < order.index(("s", ("close", False)))
    )


@pytest.mark.spec("N039")
def test_the_connect_listener_runs_first(timeline, run):
    from pyuvnet import net

    server = timeline.server()
    c = net.create_connection(
        server.address()["port"], "127.0.0.1", lambda: timeline.note("c", "listener")
    )
    timeline.watch("c", c)
    c.on("ready", c.end)
    run()
    # connect() came before the 'data' listener: so does its tick.
    assert timeline["c"][:5] == [
        ("connectionAttempt", 4),
        "resume",
        "listener",
        "connect",
        "ready",
    ]
