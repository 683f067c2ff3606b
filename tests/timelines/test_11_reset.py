"""ordering 3.11: the peer resets the connection, or has gone."""

import pytest

import pyuvnet
from pyuvnet import net

BIG = b"z" * 9_000_000
QUIET = ("data", "resume")


def raw_client(timeline, raw, run, accepted, **options):
    """Accept a raw peer, which `accepted(s, peer)` may reset by reset(peer)."""

    def connection(s):
        server.close()
        timeline.watch("s", s, without=QUIET)
        accepted(s, peer)

    server = net.create_server(connection, **options).listen(0, "127.0.0.1")
    peer = None

    def listening():
        nonlocal peer
        peer = raw(server.address()["port"])

    server.on("listening", listening)
    run()
    return peer


@pytest.mark.spec("N046", "N121")
def test_while_reading(timeline, run, raw, reset):
    raw_client(timeline, raw, run, lambda s, peer: reset(peer))
    assert timeline["s"] == [("error", "ECONNRESET"), ("close", True)]


def test_the_error_says_read(timeline, run, raw, reset):
    sockets = []
    raw_client(timeline, raw, run, lambda s, peer: (sockets.append(s), reset(peer)))
    error = sockets[0].errored
    assert isinstance(error, ConnectionResetError)
    assert (error.code, error.syscall, error.address) == ("ECONNRESET", "read", None)
    assert str(error) == "read ECONNRESET"


def test_with_a_write_in_flight_while_reading(timeline, run, raw, reset):
    def accepted(s, peer):
        s.write(BIG, timeline.cb("s", "w1"))
        s.write(b"behind", timeline.cb("s", "w2"))
        s.end(timeline.cb("s", "end"))
        pyuvnet.set_immediate(reset, peer)

    raw_client(timeline, raw, run, accepted)
    assert timeline["s"] == [
        ("error", "ECONNRESET"),
        ("cb w1", "ECANCELED"),
        ("cb w2", "ECONNRESET"),
        ("cb end", "ECONNRESET"),
        ("close", True),
    ]


@pytest.mark.spec("S4.6-01", "S4.6-02", "S4.6-03")
def test_with_a_write_in_flight_while_not_reading(timeline, run, raw, reset):
    def accepted(s, peer):
        s.write(BIG, timeline.cb("s", "w1"))
        s.write(b"behind", timeline.cb("s", "w2"))
        s.end(timeline.cb("s", "end"))
        pyuvnet.set_immediate(reset, peer)

    raw_client(timeline, raw, run, accepted, pause_on_connect=True)
    code = timeline["s"][0][1]
    assert code in ("ECONNRESET", "EPIPE")
    assert timeline["s"] == [
        ("cb w1", code),
        ("cb w2", code),
        ("cb end", code),
        ("error", code),
        ("close", True),
    ]


@pytest.mark.spec("S4.6-03", "D36")
def test_after_the_peer_closed_the_second_write_fails(timeline, run, raw):
    def accepted(s, peer):
        peer.close()
        assert s.write(b"first", timeline.cb("s", "w1"))
        # Its answer, a reset, is there by the next turn of the loop.
        pyuvnet.set_immediate(lambda: more.append(s.write(b"second", timeline.cb("s", "w2"))))

    more = []
    raw_client(timeline, raw, run, accepted, pause_on_connect=True)
    # What is written in a callback goes out after it, so write() cannot know yet.
    assert more == [True]
    code = timeline["s"][1][1]
    assert code in ("EPIPE", "ECONNRESET")
    assert timeline["s"] == [("cb w1", None), ("cb w2", code), ("error", code), ("close", True)]


def test_a_peer_that_is_destroyed_with_data_unread(timeline, run):
    """The rule of Linux' kernel: it sends a reset, not an end."""

    def written(error):
        # On loopback what the kernel took is in the kernel of the other end.
        if not accepted:
            pyuvnet.set_immediate(written, None)
            return
        assert accepted[0].bytes_read == 0
        accepted[0].destroy()

    accepted = []
    server = timeline.server(accepted.append, pause_on_connect=True, without=QUIET)
    c = timeline.client(server, without=QUIET)
    c.on("ready", lambda: c.write(b"unread", written))
    run()
    assert timeline["c"][2:] == ["ready", ("error", "ECONNRESET"), ("close", True)]
    assert timeline["s"] == [("close", False)]
