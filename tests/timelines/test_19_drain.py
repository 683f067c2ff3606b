"""ordering 3.19: 'drain'."""

import pytest

import pyuvnet

BIG = b"z" * 9_000_000


@pytest.mark.spec("O3.19-01", "S4.2-16", "N129")
def test_what_the_kernel_takes_at_once_is_true_whatever_the_mark(timeline, run):
    server = timeline.server()
    c = timeline.client(server, high_water_mark=10)

    def connected():
        assert c.write(b"y" * 20000, timeline.cb("c", "w")) is True
        assert (c.writable_length, c.writable_need_drain, c.bytes_written) == (0, False, 20000)
        c.end()

    c.on("connect", connected)
    run()
    assert "drain" not in timeline["c"]


@pytest.mark.spec("O3.19-02", "O3.19-03", "S4.4-01", "S4.4-03", "N044", "N121")
def test_drain_then_the_callbacks_then_the_end(timeline, run):
    def connected():
        assert c.write(BIG, timeline.cb("c", "w1")) is False
        assert c.writable_need_drain
        assert c.writable_length == len(BIG)
        assert c.write(b"two", timeline.cb("c", "w2")) is False
        assert c.writable_length == len(BIG) + 3
        assert c.bytes_written == len(BIG) + 3

    def drained():
        timeline.note("c", c.writable_length, c.writable_need_drain)
        c.end(timeline.cb("c", "end"))

    got = []
    server = timeline.server(
        lambda s: s.on("data", lambda chunk: got.append(len(chunk))), without=("data",)
    )
    c = timeline.client(server)
    c.on("connect", connected)
    c.on("drain", drained)
    run()
    assert timeline["c"][4:] == [
        "drain",
        (0, False),
        ("cb w1", None),
        ("cb w2", None),
        ("cb end", None),
        "finish",
        "end",
        ("close", False),
    ]
    assert sum(got) == len(BIG) + 3


@pytest.mark.spec("N106")
@pytest.mark.parametrize("where", ["connect", "data", "immediate", "tick"])
def test_a_writer_that_waits_for_drain_loses_and_doubles_nothing(timeline, run, where):
    rounds = 40
    chunk = bytes(range(256)) * 256

    def write():
        nonlocal sent
        while sent < rounds:
            sent += 1
            if not c.write(chunk):
                return
        c.end()

    def begin():
        c.on("drain", write)
        write()

    sent = 0
    got = []

    def accepted(s):
        s.on("data", got.append)
        s.on("data", lambda chunk: (s.pause(), pyuvnet.set_immediate(s.resume)))
        s.write(b"go")

    server = timeline.server(accepted, without=("data", "pause", "resume"))
    c = timeline.client(server, high_water_mark=30000)
    if where == "connect":
        c.once("connect", begin)
    elif where == "data":
        c.once("data", lambda chunk: begin())
    elif where == "immediate":
        c.once("connect", lambda: pyuvnet.set_immediate(begin))
    else:
        c.once("connect", lambda: pyuvnet.next_tick(begin))
    run()
    assert b"".join(got) == chunk * rounds
    assert c.bytes_written == len(chunk) * rounds
