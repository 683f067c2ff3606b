"""ordering 3.2: the server ends first."""

import pytest

import pyuvnet


def test_with_data(timeline, run):
    server = timeline.server(lambda s: s.end(b"bye", timeline.cb("s", "end")))
    timeline.client(server)
    run()
    assert timeline["s"] == ["resume", ("cb end", None), "finish", "end", ("close", False)]
    assert timeline["c"] == [
        "resume",
        ("connectionAttempt", 4),
        "connect",
        "ready",
        ("data", b"bye"),
        "end",
        "finish",
        ("close", False),
    ]


@pytest.mark.spec("S3.3-06")
@pytest.mark.parametrize("pull", ["nobody", "resume"])
def test_without_data_the_end_comes_even_if_nobody_reads(timeline, run, pull):
    server = timeline.server(lambda s: s.end())
    c = timeline.client(server, without=("data", "resume"))
    if pull == "resume":
        c.resume()
    run()
    assert timeline["c"] == [
        ("connectionAttempt", 4),
        "connect",
        "ready",
        "end",
        "finish",
        ("close", False),
    ]


@pytest.mark.spec("S3.3-05", "N045")
def test_with_data_and_nobody_reading_there_is_no_end_until_somebody_does(timeline, run):
    def look():
        assert timeline["c"] == [("connectionAttempt", 4), "connect", "ready"]
        assert (c.readable_length, c.bytes_read, c.ready_state) == (6, 6, "open")
        assert c.read() == b"unread"

    def ended():
        # The server's FIN is on its way to a client in the same loop: it comes before a timer.
        pyuvnet.set_timeout(look, 50)

    server = timeline.server(lambda s: s.end(b"unread", callback=lambda error: ended()))
    c = timeline.client(server, without=("data", "resume"))
    run()
    assert timeline["c"][3:] == ["end", "finish", ("close", False)]
