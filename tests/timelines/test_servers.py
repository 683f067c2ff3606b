"""The order between a server that closes and its connections, which traces by object leave open."""

import pytest

import pyuvnet


@pytest.mark.spec("N018", "N032", "N109", "N134")
def test_close_waits_for_the_last_connection_and_comes_before_its_close(timeline, run):
    def accepted(s):
        server.close(timeline.cb("S", "close"))
        assert (server.listening, server.address()) == (False, None)
        server.get_connections(lambda error, count: timeline.note("S", "count", count))
        pyuvnet.set_immediate(s.destroy)

    server = timeline.server(accepted, close=False)
    timeline.client(server)
    run()
    assert timeline["S"] == [
        "listening",
        ("connection", "socket"),
        ("count", 1),
        "close",
        ("cb close", None),
    ]
    order = timeline.all
    assert order.index(("S", ("cb close", None))) < order.index(("s", ("close", False)))


def test_destroy_in_the_accepting_turn(timeline, run):
    def accepted(s):
        server.close()
        s.destroy()
        pyuvnet.next_tick(timeline.note, "S", "tick after")
        pyuvnet.set_immediate(timeline.note, "S", "immediate")

    server = timeline.server(accepted, close=False)
    timeline.client(server)
    run()
    assert timeline["S"] == [
        "listening",
        ("connection", "socket"),
        "close",
        "tick after",
        "immediate",
    ]
    order = timeline.all
    assert order.index(("S", "immediate")) < order.index(("s", ("close", False)))
