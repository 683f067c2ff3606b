"""ordering 3.22: a socket piped into itself, and what a pipe's end and failure do."""

import pytest

from pyuvnet import net


def piped(timeline, **options):
    """Watch the accepted socket's pipe events and pipe it into itself."""

    def accepted(s):
        for event in ("pipe", "unpipe"):
            s.on(event, lambda *_, event=event: timeline.note("s", event))
        s.pipe(s, **options)
        timeline.note("s", "returned")

    return accepted


@pytest.mark.spec("O3.22-01", "S3.4-20", "N136")
def test_echo(timeline, run):
    server = timeline.server(piped(timeline))
    c = timeline.client(server)
    c.end(b"hello")
    run()
    assert timeline["s"] == [
        *["pipe", "returned", "resume", ("data", b"hello")],
        *["end", "finish", "pause", "unpipe", ("close", False)],
    ]
    assert ("data", b"hello") in timeline["c"]
    assert timeline["c"][-2:] == ["end", ("close", False)]


def test_echo_without_listeners_on_the_socket(timeline, run):
    server = net.create_server(lambda s: (server.close(), s.pipe(s)))
    server.listen(0)
    c = timeline.client(server)
    c.end(b"hello" * 20_000)
    run()
    assert ("data", b"hello" * 20_000) in timeline["c"]
    assert timeline["c"][-2:] == ["end", ("close", False)]


@pytest.mark.spec("O3.22-02", "N136")
def test_end_false_leaves_the_end_to_the_user(timeline, run):
    def accepted(s):
        piped(timeline, end=False)(s)
        s.on("unpipe", lambda *_: s.end(b" bye", timeline.cb("s", "end")))

    server = timeline.server(accepted, allow_half_open=True)
    c = timeline.client(server)
    c.end(b"hello")
    run()
    assert timeline["s"] == [
        *["pipe", "returned", "resume", ("data", b"hello"), "end", "pause", "unpipe"],
        *[("cb end", None), "finish", ("close", False)],
    ]
    assert ("data", b"hello bye") in timeline["c"]


@pytest.mark.spec("O3.22-03", "S3.4-15")
@pytest.mark.parametrize("error", [None, OSError("gone")])
def test_destroyed_source_leaves_the_destination_alone(timeline, run, error):
    dest = net.Socket()
    timeline.watch("dest", dest, without=("data",))
    dest.on("unpipe", lambda *_: timeline.note("dest", "unpipe"))

    def accepted(s):
        s.pipe(dest)
        s.destroy(error)

    timeline.client(timeline.server(accepted, without=("data",)))
    run()
    assert timeline["s"][-1] == ("close", error is not None)
    assert timeline["dest"] == []
    assert not dest.destroyed
    assert not dest.writable_ended
    dest.destroy()
    run()


def test_slow_destination_holds_the_source_back(timeline, run):
    data = bytes(range(256)) * 20_000
    received = []

    def far(socket):
        sink.close()
        socket.pause()
        socket.on("data", received.append)
        socket.on("end", socket.end)
        ends.append(socket)

    def near(socket):
        front.close()
        back = net.connect(sink.address()["port"], "127.0.0.1")
        socket.pipe(back)
        back.on("pipe", lambda _: None)
        back.pipe(socket)
        # Let the far end read once the pipe is full.
        socket.once("pause", lambda: (timeline.note("front", "pause"), ends[0].resume()))

    ends = []
    sink = net.create_server(far).listen(0)
    front = net.create_server(near).listen(0)
    c = net.Socket()
    front.on("listening", lambda: c.connect(front.address()["port"], "127.0.0.1").end(data))
    c.resume()
    run()
    assert b"".join(received) == data
    assert timeline["front"] == ["pause"]
    assert c.destroyed
