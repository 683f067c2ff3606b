"""ordering 3.4: every way to close a server."""

import pytest

import pyuvnet
from pyuvnet import net

NOT_RUNNING = "ERR_SERVER_NOT_RUNNING"


@pytest.fixture
def server(timeline):
    return timeline.watch("S", net.create_server())


@pytest.mark.spec("N024", "N112")
def test_never_listened(timeline, run, server):
    assert server.close(timeline.cb("S", "a")) is server
    assert timeline["S"] == []
    run()
    assert timeline["S"] == ["close", ("cb a", NOT_RUNNING)]


def test_port_only_then_close_in_the_same_turn(timeline, run, server):
    server.listen(0, callback=lambda: timeline.note("S", "cb listen"))
    server.close(timeline.cb("S", "a"))
    run()
    assert timeline["S"] == ["close", ("cb a", None)]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_with_a_host_then_close_in_the_same_turn(timeline, run, server, host):
    server.listen(0, host)
    assert not server.listening
    server.close(timeline.cb("S", "a"))
    run()
    assert timeline["S"] == ["close", ("cb a", NOT_RUNNING)]


@pytest.mark.spec("N018")
def test_twice_in_one_turn_without_connections(timeline, run, server):
    server.listen(0)
    run_turn = pyuvnet.set_immediate
    run_turn(lambda: (server.close(timeline.cb("S", "a")), server.close(timeline.cb("S", "b"))))
    run()
    assert timeline["S"] == ["listening", "close", ("cb a", None), ("cb b", NOT_RUNNING), "close"]


@pytest.mark.spec("N024")
def test_twice_in_one_turn_with_a_connection(timeline, run):
    def accepted(s):
        server.close(timeline.cb("S", "a"))
        server.close(timeline.cb("S", "b"))
        pyuvnet.set_immediate(s.destroy)

    server = timeline.server(accepted, close=False)
    timeline.client(server)
    run()
    assert timeline["S"] == [
        "listening",
        ("connection", "socket"),
        "close",
        ("cb a", None),
        ("cb b", NOT_RUNNING),
    ]


@pytest.mark.spec("N024")
def test_again_later(timeline, run, server):
    server.listen(0, callback=server.close)
    run()
    server.close(timeline.cb("S", "again"))
    run()
    assert timeline["S"] == ["listening", "close", "close", ("cb again", NOT_RUNNING)]


@pytest.mark.spec("N024", "N115")
def test_close_and_listen_in_the_same_turn(timeline, run, server):
    def again():
        server.close(timeline.cb("S", "close"))
        server.listen(0, callback=lambda: (timeline.note("S", "cb listen"), server.close()))

    server.listen(0)
    pyuvnet.set_immediate(again)
    run()
    assert timeline["S"] == [
        "listening",
        "close",
        ("cb close", None),
        "listening",
        "cb listen",
        "close",
    ]


@pytest.mark.spec("N027")
def test_close_with_a_connection_then_listen_postpones_the_close(timeline, run):
    def accepted(s):
        server.close(timeline.cb("S", "first"))
        server.listen(0)
        s.on("close", lambda had_error: server.close(timeline.cb("S", "second")))
        pyuvnet.set_immediate(s.destroy)

    server = timeline.server(accepted, close=False)
    timeline.client(server)
    run()
    assert timeline["S"] == [
        "listening",
        ("connection", "socket"),
        "listening",
        "close",
        ("cb first", None),
        ("cb second", None),
    ]
