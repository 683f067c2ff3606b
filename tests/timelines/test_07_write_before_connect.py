"""ordering 3.7: write() before connect."""

import pytest


@pytest.mark.spec("S4.2-11", "S4.2-21", "N054")
def test_the_first_is_written_inside_connect_the_rest_together(timeline, run):
    server = timeline.server()
    c = timeline.client(server)
    assert c.write(b"one", timeline.cb("c", "w1"))
    assert c.write(b"two", timeline.cb("c", "w2"))
    assert c.write(b"three", timeline.cb("c", "w3"))
    assert (c.bytes_written, c.writable_length) == (11, 11)
    c.on("connect", lambda: timeline.note("c", "later connect listener"))
    c.on("ready", lambda: c.end())
    run()
    assert timeline["c"] == [
        "resume",
        ("connectionAttempt", 4),
        "connect",
        ("cb w1", None),
        "later connect listener",
        "ready",
        ("cb w2", None),
        ("cb w3", None),
        "finish",
        "end",
        ("close", False),
    ]
    assert timeline["s"][1] == ("data", b"onetwothree")
    assert c.bytes_written == 11


def test_corked_before_connect(timeline, run):
    server = timeline.server()
    c = timeline.client(server)
    c.cork()
    c.write(b"one", timeline.cb("c", "w1"))
    c.write(b"two", timeline.cb("c", "w2"))
    c.uncork()
    c.write(b"three", timeline.cb("c", "w3"))
    assert (c.bytes_written, c.writable_length) == (11, 11)
    c.on("ready", lambda: c.end())
    run()
    # The corked ones are one write: both callbacks come inside 'connect'.
    assert timeline["c"][2:7] == [
        "connect",
        ("cb w1", None),
        ("cb w2", None),
        "ready",
        ("cb w3", None),
    ]
    assert timeline["s"][1] == ("data", b"onetwothree")
