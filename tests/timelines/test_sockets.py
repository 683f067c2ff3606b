"""Lives of sockets that no scenario of tests/differential plays.

Those are what Node leaves open, what depends on the resolver or on a peer of the standard library,
and what a listener of each event may do.
"""

import asyncio

import pytest

import pyuvnet
from pyuvnet import net

BIG = b"z" * 9_000_000
QUIET = ("data", "resume")


@pytest.mark.spec("N047")
def test_lookup_failure(timeline, run):
    c = timeline.watch("c", net.Socket(), without=("data", "resume"))
    c.on("lookup", lambda *args: timeline.note("c", "lookup", args[0].code, *args[1:]))
    c.connect(80, "does-not-exist.invalid")
    run()
    code = c.errored.code
    assert code in ("ENOTFOUND", "EAI_AGAIN")
    assert timeline["c"] == [
        ("lookup", code, None, None, "does-not-exist.invalid"),
        ("error", code),
        ("close", True),
    ]
    assert (c.errored.syscall, c.errored.hostname) == ("getaddrinfo", "does-not-exist.invalid")


EVENTS = ["connectionAttempt", "connect", "ready", "data", "end", "finish", "drain", "resume"]


@pytest.mark.spec("N038")
@pytest.mark.parametrize("method", ["destroy", "destroy with error", "end"])
@pytest.mark.parametrize("event", EVENTS)
def test_inside_every_event_there_is_one_close_and_it_is_last(timeline, run, event, method):
    def act(*args):
        if method == "end":
            c.end(timeline.cb("c", "end"))
        else:
            c.destroy(None if method == "destroy" else RuntimeError("E"))

    def accepted(s):
        def data(chunk):
            nonlocal left
            left -= len(chunk)
            if not left:
                s.end()

        left = len(BIG)
        s.on("error", lambda error: None)
        s.on("data", data)
        s.write(b"data")

    server = timeline.server(accepted, without=("data",))
    c = timeline.client(server)
    c.on("connect", lambda: c.writable and c.write(BIG, timeline.cb("c", "w")))
    c.on("close", lambda had_error: server.listening and server.close())
    c.on(event, act)
    run()
    seen = timeline["c"]
    closes = [entry for entry in seen if isinstance(entry, tuple) and entry[0] == "close"]
    assert closes == [("close", method == "destroy with error")]
    answers = [entry for entry in seen if str(entry[0]).startswith("cb ")]
    wrote = "connect" in seen
    if method == "end" and event in ("connectionAttempt", "resume"):
        wrote = False
    assert [entry[0] for entry in answers].count("cb w") == wrote
    after = seen[seen.index(closes[0]) + 1 :]
    assert all(entry in answers for entry in after)


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


# ---- The peer resets the connection ------------------------------------------------------------


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


# ---- Listeners that raise ----------------------------------------------------------------------


@pytest.fixture
def caught(loop):
    errors = []
    pyuvnet.set_exception_handler(errors.append)
    yield errors
    pyuvnet.set_exception_handler(None)


def fail(*args):
    raise ValueError("X")


@pytest.mark.spec("R6-04")
@pytest.mark.parametrize("event", ["connect", "ready", "data", "end", "finish", "close", "drain"])
def test_without_a_hook_it_comes_out_of_run_which_can_go_on(timeline, run, event):
    server = timeline.server(lambda s: s.end(b"data"))
    c = timeline.client(server, high_water_mark=1)
    c.once(event, fail)
    c.write(b"xy")
    with pytest.raises(ValueError, match="X"):
        run()
    if not c.destroyed:
        c.end()
    run()
    assert timeline["c"][-1] == ("close", False)
    assert timeline["S"][-1] == "close"


@pytest.mark.spec("R6-03")
@pytest.mark.parametrize("event", ["connect", "ready", "data", "end", "finish", "close", "drain"])
def test_with_a_hook_the_socket_closes_all_the_same(timeline, run, caught, event):
    server = timeline.server(lambda s: s.end(b"data"))
    c = timeline.client(server, high_water_mark=1)
    c.once(event, fail)
    c.on("ready", lambda: pyuvnet.set_immediate(c.end))
    c.write(b"xy")
    if event == "connect":
        pyuvnet.set_timeout(c.end, 20)
    run()
    assert len(caught) == 1
    assert timeline["c"].count(("close", False)) == 1


@pytest.mark.parametrize("how", ["the server's option", "the class"])
def test_a_coroutine_listener_of_connection_that_fails_with_capture_rejections(timeline, how):
    async def accepted(s):
        timeline.watch("s", s)
        server.close()
        raise ValueError("X")

    async def main():
        nonlocal server
        closed = asyncio.get_running_loop().create_future()
        server = net.create_server(capture_rejections=how == "the server's option" or None)
        server.on("connection", accepted).listen(0)
        c = timeline.client(server)
        c.on("close", lambda had_error: closed.set_result(None))
        await closed

    server = None
    before = pyuvnet.EventEmitter.capture_rejections
    pyuvnet.EventEmitter.capture_rejections = how == "the class"
    try:
        pyuvnet.run(main())
    finally:
        pyuvnet.EventEmitter.capture_rejections = before
        pyuvnet.EventEmitter()  # Both spellings are one again.
    assert timeline["s"] == ["resume", ("error", "X"), ("close", True)]
    assert timeline["c"][-3:] == ["end", "finish", ("close", False)]
