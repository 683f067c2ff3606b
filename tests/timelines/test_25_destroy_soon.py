"""ordering 3.25: destroy_soon()."""

import pyuvnet
from pyuvnet import net


def test_what_was_written_goes_out_and_the_peers_end_is_not_awaited(timeline, run):
    def ready():
        c.write(b"last", timeline.cb("c", "w"))
        assert c.destroy_soon() is None
        assert (c.destroyed, c.writable_ended) == (False, True)
        c.on("finish", lambda: timeline.note("c", "destroyed", c.destroyed))

    # The other side keeps its half open until this one has gone.
    server = timeline.server(
        lambda s: s.on("end", lambda: pyuvnet.set_immediate(s.end)), allow_half_open=True
    )
    c = timeline.client(server)
    c.on("ready", ready)
    run()
    assert timeline["c"] == [
        "resume",
        ("connectionAttempt", 4),
        "connect",
        "ready",
        ("cb w", None),
        "finish",
        ("destroyed", True),
        ("close", False),
    ]
    assert timeline["s"][:3] == ["resume", ("data", b"last"), "end"]
    assert timeline["s"][-1][0] == "close"


def test_a_write_in_flight_is_waited_for(timeline, run):
    big = b"z" * 9_000_000

    def ready():
        assert c.write(big, timeline.cb("c", "w")) is False
        c.destroy_soon()
        assert not c.destroyed

    got = []
    server = timeline.server(
        lambda s: s.on("data", lambda chunk: got.append(len(chunk))), without=("data",)
    )
    c = timeline.client(server)
    c.on("ready", ready)
    run()
    assert timeline["c"][4:] == [("cb w", None), "finish", ("close", False)]
    assert sum(got) == len(big)
    assert timeline["s"] == ["resume", "end", "finish", ("close", False)]


def test_while_connecting(timeline, run):
    server = timeline.server()
    c = timeline.client(server)
    c.write(b"queued", timeline.cb("c", "w"))
    c.destroy_soon()
    assert (c.destroyed, c.connecting) == (False, True)
    run()
    assert timeline["c"] == [
        *["resume", ("connectionAttempt", 4), "connect", ("cb w", None), "ready", "finish"],
        ("close", False),
    ]
    assert timeline["s"][:3] == ["resume", ("data", b"queued"), "end"]


def test_finished_already_it_is_at_once(timeline, run):
    def finished():
        c.destroy_soon()
        timeline.note("c", "destroyed", c.destroyed)

    server = timeline.server(
        lambda s: s.on("end", lambda: pyuvnet.set_immediate(s.destroy)), allow_half_open=True
    )
    c = timeline.client(server)
    c.on("ready", c.end)
    c.on("finish", finished)
    run()
    assert timeline["c"][3:] == ["ready", "finish", ("destroyed", True), ("close", False)]


def test_never_connected(timeline, run):
    c = timeline.watch("c", net.Socket(), without=("data", "resume"))
    c.destroy_soon()
    assert (c.destroyed, c.writable_ended) == (False, True)
    run()
    assert timeline["c"] == ["finish", ("close", False)]
    c.destroy_soon()
    run()
    assert timeline["c"] == ["finish", ("close", False)]
