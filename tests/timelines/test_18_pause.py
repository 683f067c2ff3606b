"""ordering 3.18: pausing, and readers who come late."""

import pytest

import pyuvnet


@pytest.mark.spec("O3.18-01", "S3.1-02", "N067", "N126")
def test_paused_late_data_and_the_end_are_read_ahead(timeline, run):
    def accepted(s):
        s.pause()
        # The client's FIN follows its data at once; a timer is later than both.
        pyuvnet.set_timeout(look, 60, s)

    def look(s):
        timeline.note("s", s.readable_length, s.bytes_read, s.ready_state)
        s.resume()

    server = timeline.server(accepted)
    c = timeline.client(server)
    c.on("ready", lambda: c.end(b"payload"))
    run()
    assert timeline["s"] == [
        "pause",
        "resume",
        (7, 7, "open"),
        "resume",
        ("data", b"payload"),
        "end",
        "finish",
        ("close", False),
    ]


@pytest.mark.spec("O3.18-02")
def test_without_any_consumer_there_is_no_end_and_read_takes_it(timeline, run):
    def look(s):
        assert timeline["s"] == []
        assert (s.readable_length, s.bytes_read) == (7, 7)
        timeline.note("s", "read", s.read())

    server = timeline.server(lambda s: pyuvnet.set_timeout(look, 60, s), without=("data", "resume"))
    c = timeline.client(server)
    c.on("ready", lambda: c.end(b"payload"))
    run()
    assert timeline["s"] == [("read", b"payload"), "end", "finish", ("close", False)]


@pytest.mark.spec("O3.18-03", "N074", "N155")
def test_pause_on_connect_reads_nothing_until_resume(timeline, run):
    def accepted(s):
        assert s.is_paused()
        pyuvnet.set_timeout(look, 40, s)

    def look(s):
        timeline.note("s", s.bytes_read, s.readable_length)
        s.resume()

    server = timeline.server(accepted, pause_on_connect=True)
    c = timeline.client(server)
    c.on("ready", lambda: c.end(b"payload"))
    run()
    assert timeline["s"] == [
        (0, 0),
        "resume",
        ("data", b"payload"),
        "end",
        "finish",
        ("close", False),
    ]


@pytest.mark.spec("O3.18-04")
def test_a_client_paused_before_connecting_does_not_read(timeline, run):
    from pyuvnet import net

    server = timeline.server(lambda s: s.write(b"early"))
    c = timeline.watch("c", net.Socket(), without=("data", "resume", "pause"))
    c.pause()
    c.connect(server.address()["port"], "127.0.0.1")
    c.on("ready", lambda: pyuvnet.set_timeout(look, 40))

    def look():
        timeline.note("c", c.bytes_read)
        c.on("data", lambda chunk: (timeline.note("c", "data", chunk), c.end()))
        c.resume()

    run()
    assert timeline["c"][3:] == [0, ("data", b"early"), "finish", "end", ("close", False)]


def test_pause_on_the_first_data_keeps_the_rest(timeline, run):
    def data(chunk):
        if not seen:
            s[0].pause()
            pyuvnet.set_timeout(s[0].resume, 20)
        seen.append(chunk)

    seen, s = [], []
    server = timeline.server(lambda socket: (s.append(socket), socket.on("data", data)))
    c = timeline.client(server)
    c.on("ready", lambda: c.write(b"one"))
    c.on("ready", lambda: pyuvnet.set_timeout(c.end, 5, b"two"))
    run()
    assert seen == [b"one", b"two"]


@pytest.mark.spec("O3.18-05")
def test_set_encoding_and_unshift_in_a_data_listener(timeline, run):
    def data(chunk):
        seen.append(chunk)
        if len(seen) == 1:
            s[0].set_encoding("utf8")
            s[0].unshift(b"again")

    seen, s = [], []
    server = timeline.server(
        lambda socket: (s.append(socket), socket.on("data", data)), without=("data",)
    )
    c = timeline.client(server)
    c.on("ready", lambda: c.end(b"first"))
    run()
    assert seen == [b"first", "again"]
