"""ordering 3.24: connecting a socket again."""

import re

import pytest

from pyuvnet import net


@pytest.mark.spec("N053", "N055")
def test_in_close_the_whole_sequence_comes_again(timeline, run):
    def closed(had_error):
        if len([entry for entry in timeline["c"] if entry == ("close", False)]) == 1:
            c.connect(server.address()["port"], "127.0.0.1")
            timeline.note("c", c.ready_state, c.bytes_read, c.bytes_written, c.destroyed)
        else:
            server.close()

    server = timeline.server(lambda s: s.end(b"hello"), close=False)
    c = timeline.client(server)
    c.on("connect", lambda: c.end(b"12345"))
    c.on("close", closed)
    run()
    once = ["connect", "ready", ("data", b"hello"), "end", ("close", False)]
    seen = [entry for entry in timeline["c"] if entry != "finish"]
    assert seen == [
        "resume",
        ("connectionAttempt", 4),
        *once,
        ("opening", 0, 0, False),
        ("connectionAttempt", 4),
        *once,
    ]
    assert timeline["c"].count("finish") == 2
    assert (c.bytes_read, c.bytes_written) == (5, 5)


def test_after_an_error(timeline, run, free_port):
    server = timeline.server()
    c = timeline.watch("c", net.Socket(), without=("data", "resume"))
    c.connect(free_port, "127.0.0.1")
    c.once("close", lambda had_error: c.connect(server.address()["port"], "127.0.0.1"))
    c.on("ready", lambda: c.end(b"alive"))
    run()
    assert timeline["c"] == [
        ("connectionAttempt", 4),
        ("connectionAttemptFailed", "ECONNREFUSED"),
        ("error", "ECONNREFUSED"),
        ("close", True),
        ("connectionAttempt", 4),
        "connect",
        "ready",
        "finish",
        "end",
        ("close", False),
    ]
    assert c.errored is None
    assert ("data", b"alive") in timeline["s"]


def test_while_connecting_both_attempts_die(timeline, run):
    server = timeline.server()
    c = timeline.client(server, without=("data", "resume"))
    c.connect(server.address()["port"], "127.0.0.1")
    c.on("close", lambda had_error: server.close())
    run()
    assert timeline["c"] == [
        ("connectionAttempt", 4),
        ("connectionAttempt", 4),
        ("error", "EALREADY"),
        ("close", True),
    ]
    assert re.fullmatch(
        rf"connect EALREADY 127.0.0.1:{c.errored.port} - Local \(127.0.0.1:\d+\)", str(c.errored)
    )


@pytest.mark.spec("D45")
@pytest.mark.parametrize("half_open", [False, True])
def test_a_connected_socket_refuses(timeline, run, half_open):
    server = timeline.server(allow_half_open=half_open)
    c = timeline.client(server, without=("data", "resume"))
    c.on("ready", lambda: c.connect(server_port, "127.0.0.1"))
    server_port = server.address()["port"]
    timeline_error = []
    c.on("error", timeline_error.append)
    if half_open:
        server.on("connection", lambda s: s.on("end", s.end))
    run()
    assert timeline["c"][3:] == [("error", "EISCONN"), ("close", True)]
    assert timeline_error[0].syscall == "connect"


def test_an_end_of_the_first_life_does_not_end_the_second(timeline, run):
    server = timeline.server(lambda s: s.end())
    c = timeline.client(server, without=("data", "resume"))
    c.end(timeline.cb("c", "end"))
    c.destroy()
    c.once("close", lambda had_error: c.connect(server.address()["port"], "127.0.0.1"))
    c.on("end", lambda: c.write(b"still open"))
    run()
    assert timeline["c"][:2] == [("cb end", "ERR_STREAM_DESTROYED"), ("close", False)]
    assert timeline["s"][1:] == ["finish", ("data", b"still open"), "end", ("close", False)]
