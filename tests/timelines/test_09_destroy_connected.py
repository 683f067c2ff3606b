"""ordering 3.9: destroy() on a connected socket."""

import pytest

import pyuvnet
from pyuvnet import net

BIG = b"z" * 9_000_000
QUIET = ("data", "resume")


@pytest.mark.spec("N048")
def test_in_connect_ready_still_comes(timeline, run):
    def connected():
        c.destroy(RuntimeError("first"))
        c.destroy(RuntimeError("second"))

    server = timeline.server()
    c = timeline.client(server, without=QUIET)
    c.on("connect", connected)
    run()
    assert timeline["c"] == [
        ("connectionAttempt", 4),
        "connect",
        "ready",
        ("error", "first"),
        ("close", True),
    ]


@pytest.mark.spec("N060")
def test_what_the_kernel_took_is_delivered(timeline, run):
    def ready():
        c.write(b"taken", timeline.cb("c", "w"))
        c.destroy()

    server = timeline.server()
    c = timeline.client(server, without=QUIET)
    c.on("ready", ready)
    run()
    assert timeline["c"][2:] == ["ready", ("cb w", None), ("close", False)]
    assert timeline["s"] == ["resume", ("data", b"taken"), "end", "finish", ("close", False)]


@pytest.mark.spec("S4.6-04", "S5-08")
@pytest.mark.parametrize("error", [None, RuntimeError("E")])
def test_with_a_write_in_flight_and_another_behind_it(timeline, run, error):
    peers = []

    def ready():
        assert c.write(BIG, timeline.cb("c", "w1")) is False
        assert c.write(b"behind", timeline.cb("c", "w2")) is False
        c.end(timeline.cb("c", "end"))
        pyuvnet.set_immediate(lambda: c.destroy(error))

    # Nobody reads at the other end, so that the write stays in flight.
    server = net.create_server(peers.append, pause_on_connect=True).listen(0)
    c = timeline.client(server, without=QUIET)
    c.on("ready", ready)
    c.on("close", lambda had_error: (peers[0].destroy(), server.close()))
    run()
    rest = "ECANCELED" if error is None else "E"
    answers = [("cb w1", "ECANCELED"), ("cb w2", rest), ("cb end", rest)]
    if error is None:
        assert timeline["c"][3:] == [*answers, ("close", False)]
    else:
        assert timeline["c"][3:] == [("error", "E"), *answers, ("close", True)]
    assert c.writable_length == 0


@pytest.mark.spec("D30")
@pytest.mark.parametrize("error", [None, RuntimeError("E")])
def test_never_connected(timeline, run, error):
    c = timeline.watch("c", net.Socket(), without=QUIET)
    assert c.destroy(error) is c
    assert (c.destroyed, c.closed, c.errored) == (True, True, error)
    pyuvnet.next_tick(timeline.note, "c", "tick after")
    run()
    expected = [("close", False)] if error is None else [("error", "E"), ("close", True)]
    assert timeline["c"] == [*expected, "tick after"]


def test_in_a_drain_listener_the_taken_writes_complete_without_error(timeline, run):
    server = timeline.server()
    c = timeline.client(server, high_water_mark=1000, without=QUIET)
    c.on("drain", lambda: c.destroy(RuntimeError("E")))
    c.write(b"q")
    c.write(b"y" * 5000, timeline.cb("c", "w2"))
    run()
    assert timeline["c"][1:] == [
        "connect",
        "drain",
        "ready",
        ("cb w2", None),
        ("error", "E"),
        ("close", True),
    ]


EVENTS = ["connectionAttempt", "connect", "ready", "data", "end", "finish", "drain", "resume"]


@pytest.mark.spec("N038")
@pytest.mark.parametrize("method", ["destroy", "destroy with error", "end"])
@pytest.mark.parametrize("event", EVENTS)
def test_inside_every_event_there_is_one_close_and_it_is_last(timeline, run, event, method):
    def act(*args):
        if method == "end":
            c.end(timeline.cb("c", "end"))
        else:
            c.destroy(None if method == "destroy" else RuntimeError("E"))

    def accepted(s):
        def data(chunk):
            nonlocal left
            left -= len(chunk)
            if not left:
                s.end()

        left = len(BIG)
        s.on("error", lambda error: None)
        s.on("data", data)
        s.write(b"data")

    server = timeline.server(accepted, without=("data",))
    c = timeline.client(server)
    c.on("connect", lambda: c.writable and c.write(BIG, timeline.cb("c", "w")))
    c.on("close", lambda had_error: server.listening and server.close())
    c.on(event, act)
    run()
    seen = timeline["c"]
    closes = [entry for entry in seen if isinstance(entry, tuple) and entry[0] == "close"]
    assert closes == [("close", method == "destroy with error")]
    answers = [entry for entry in seen if str(entry[0]).startswith("cb ")]
    wrote = "connect" in seen
    if method == "end" and event in ("connectionAttempt", "resume"):
        wrote = False
    assert [entry[0] for entry in answers].count("cb w") == wrote
    after = seen[seen.index(closes[0]) + 1 :]
    assert all(entry in answers for entry in after)
