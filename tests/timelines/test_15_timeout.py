"""ordering 3.15: the idle timeout."""

import sys

import pytest

import pyuvnet
from pyuvnet import net
from tests.support.hosts import hosts

QUIET = ("data", "resume")


@pytest.mark.spec("N049", "N078", "N121")
def test_once_for_each_idle_period_and_nothing_is_closed(timeline, run):
    def idle():
        times.append(pyuvnet.current_loop())
        if len(times) == 1:
            c.write(b"awake")
        else:
            # Nothing more comes without activity.
            pyuvnet.set_timeout(c.end, 90)

    times = []
    server = timeline.server()
    c = timeline.client(server, without=QUIET)
    c.on("ready", lambda: c.set_timeout(30, lambda: timeline.note("c", "cb timeout")))
    c.on("timeout", idle)
    run()
    assert timeline["c"][2:] == [
        "ready",
        "timeout",
        "cb timeout",
        "timeout",
        "finish",
        "end",
        ("close", False),
    ]


@pytest.mark.spec("N128")
def test_listeners_run_in_the_order_of_registration(timeline, run):
    server = timeline.server()
    c = net.create_connection(server.address()["port"], "127.0.0.1")
    c.set_timeout(10, lambda: timeline.note("c", "callback"))
    c.on("timeout", lambda: (timeline.note("c", "listener"), c.destroy()))
    run()
    assert timeline["c"] == ["callback", "listener"]


@pytest.mark.skipif(sys.platform != "linux", reason="queues that hang are Linux's")
def test_while_connecting_and_destroyed_there(timeline, run):
    def idle():
        timeline.note("c", "connecting", c.connecting)
        c.destroy()

    c = timeline.watch("c", net.Socket(), without=QUIET)
    with hosts(hang=("127.0.0.1",)) as (port, _):
        c.connect(port, "127.0.0.1").set_timeout(10, idle)
        run()
    assert timeline["c"] == [
        *[("connectionAttempt", 4), "timeout", ("connecting", True), ("close", False)]
    ]


def test_without_a_connection_it_fires_but_keeps_nothing_alive(timeline, run):
    c = net.Socket()
    c.set_timeout(5, lambda: timeline.note("c", "timeout", c.connecting))
    run()
    assert timeline["c"] == []
    pyuvnet.set_timeout(lambda: None, 40)
    run()
    assert timeline["c"] == [("timeout", False)]


@pytest.mark.spec("N078", "N079")
def test_zero_ends_it_and_takes_the_callback_away(timeline, run):
    c = net.Socket()

    def callback():
        timeline.note("c", "timeout")

    c.set_timeout(5, callback)
    assert c.timeout == 5
    c.set_timeout(0, callback)
    assert (c.timeout, c.listener_count("timeout")) == (0, 0)
    pyuvnet.set_timeout(lambda: None, 30)
    run()
    assert timeline["c"] == []


def test_a_destroyed_socket_is_silent(timeline, run):
    c = net.Socket()
    c.on("timeout", lambda: timeline.note("c", "timeout"))
    c.set_timeout(5)
    c.destroy()
    c.set_timeout(5)
    pyuvnet.set_timeout(lambda: None, 30)
    run()
    assert timeline["c"] == []
