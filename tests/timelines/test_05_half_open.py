"""ordering 3.5: half-open connections, and writing around the automatic end."""

import pytest

import pyuvnet


@pytest.mark.spec("N045", "N120")
def test_half_open_answer(timeline, run):
    def accepted(s):
        def answer():
            timeline.note("s", "state", s.writable, s.ready_state)
            pyuvnet.set_immediate(lambda: s.end(b"answer"))

        s.on("end", answer)

    server = timeline.server(accepted, allow_half_open=True)
    c = timeline.client(server)
    c.end(b"question", timeline.cb("c", "end"))
    run()
    assert timeline["s"] == [
        "resume",
        ("data", b"question"),
        "end",
        ("state", True, "writeOnly"),
        "finish",
        ("close", False),
    ]
    assert timeline["c"][2:] == [
        "connect",
        "ready",
        ("cb end", None),
        "finish",
        ("data", b"answer"),
        "end",
        ("close", False),
    ]


@pytest.mark.spec("S3.3-09")
def test_writing_inside_the_end_listener_and_its_ticks_then_late(timeline, run):
    def accepted(s):
        def ended():
            assert s.write(b"in end ", timeline.cb("s", "in end"))
            pyuvnet.next_tick(lambda: s.write(b"in tick", timeline.cb("s", "in tick")))
            s.on("close", lambda had_error: late())

        def late():
            assert s.write(b"late", timeline.cb("s", "late")) is False

        s.on("end", ended)

    server = timeline.server(accepted)
    c = timeline.client(server)
    c.on("ready", c.end)
    run()
    assert timeline["s"] == [
        "resume",
        "end",
        ("cb in end", None),
        ("cb in tick", None),
        "finish",
        ("close", False),
        ("cb late", "EPIPE"),
    ]
    assert timeline["c"][-3:] == [("data", b"in end in tick"), "end", ("close", False)]
