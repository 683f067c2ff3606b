"""ordering 3.23 and streams.md 3.5, 5: leaving `async for` and `async with`, before 'close'."""

import asyncio

import pytest

import pyuvnet
from pyuvnet import events, net

EVENTS = ("end", "finish", "error", "close")


def notes(timeline, socket, *events):
    for event in events or EVENTS:
        socket.on(event, lambda *args, event=event: timeline.note("c", event, *map(shown, args)))


def shown(value):
    return getattr(value, "code", value)


async def talk(timeline, serve, use, watched=EVENTS, **options):
    """A server that serves one connection, and a client that the coroutine function `use` uses."""
    peers = []

    def connection(socket):
        peers.append(socket)
        socket.on("error", lambda error: None)
        socket.resume()
        serve(socket)

    server = net.create_server(connection)
    server.listen(0, "127.0.0.1")
    await events.once(server, "listening")
    client = net.Socket(**options)
    notes(timeline, client, *watched)
    client.connect(server.address()["port"], "127.0.0.1")
    try:
        await use(client)
    except Exception as error:
        timeline.note("c", "caught", shown(error) or str(error))
    else:
        timeline.note("c", "left", client.destroyed)
    server.close()
    return client, peers


def play(coroutine, finish=lambda client, peers: None):
    async def main():
        client, peers = await asyncio.wait_for(coroutine, 20)
        finish(client, peers)
        for socket in (client, *peers):
            socket.on("error", lambda error: None)

    pyuvnet.run(main())


def reader(timeline, body=None):
    async def use(client):
        received = b""
        async for chunk in client:
            received += chunk
            if body is not None and body(client) == "break":
                break
            if len(received) == 5:
                timeline.note("c", "data", received)

    return use


def ended(socket):
    socket.end(b"hello")


def open_(socket):
    socket.write(b"hello")


def close_all(client, peers):
    client.destroy()
    for peer in peers:
        peer.destroy()


@pytest.mark.spec("O3.23-01", "S3.5-02", "N181")
def test_to_the_end(timeline, run):
    play(talk(timeline, ended, reader(timeline)))
    run()
    assert timeline["c"] == [("data", b"hello"), "end", ("left", True), ("close", False)]


def test_to_the_end_of_a_half_open_socket_that_was_ended(timeline, run):
    async def use(client):
        client.end()
        await reader(timeline)(client)

    play(talk(timeline, ended, use, allow_half_open=True))
    run()
    assert sorted(map(str, timeline["c"])) == sorted(
        map(str, ["finish", ("data", b"hello"), "end", ("left", True), ("close", False)])
    )
    assert timeline["c"][-2:] == [("left", True), ("close", False)]


@pytest.mark.spec("O3.23-02", "S3.5-03")
def test_half_open_socket_is_left_open(timeline, run):
    def finish(client, peers):
        assert client.writable
        client.end(timeline.cb("c", "end"))

    play(talk(timeline, ended, reader(timeline), allow_half_open=True), finish)
    run()
    assert timeline["c"] == [
        *[("data", b"hello"), "end", ("left", False)],
        *[("cb end", None), "finish", ("close", False)],
    ]


@pytest.mark.spec("O3.23-03", "S3.5-05")
def test_break(timeline, run):
    def finish(client, peers):
        assert (client.writable_ended, client.writable_finished) == (False, False)
        close_all(client, peers)

    play(talk(timeline, open_, reader(timeline, lambda c: "break")), finish)
    run()
    assert timeline["c"] == [("left", True), ("error", "ABORT_ERR"), ("close", True)]


@pytest.mark.spec("S3.5-06", "D39")
def test_break_without_error_listener_emits_none(timeline, run):
    play(talk(timeline, open_, reader(timeline, lambda c: "break"), ["end", "close"]), close_all)
    run()
    assert timeline["c"] == [("left", True), ("close", False)]


@pytest.mark.spec("S3.5-04")
def test_exception_in_the_body(timeline, run):
    def body(client):
        raise ValueError("body")

    play(talk(timeline, open_, reader(timeline, body)), close_all)
    run()
    assert [entry[0] for entry in timeline["c"]] == ["caught", "error", "close"]


@pytest.mark.spec("O3.23-04", "S3.5-07", "S3.5-08")
@pytest.mark.parametrize("listening", [True, False])
def test_peer_reset(timeline, run, reset, listening):
    async def use(client):
        await reader(timeline)(client)

    async def main():
        import socket as stdlib

        with stdlib.create_server(("127.0.0.1", 0)) as server:
            client = net.Socket()
            notes(timeline, client, *(EVENTS if listening else ["end", "close"]))
            client.connect(server.getsockname()[1], "127.0.0.1")
            await events.once(client, "connect")
            peer, _ = server.accept()
            peer.sendall(b"hello")

            def body(client):
                if peer.fileno() >= 0:
                    reset(peer)

            with pytest.raises(ConnectionResetError):
                await reader(timeline, body)(client)
            timeline.note("c", "caught")

    pyuvnet.run(main())
    run()
    assert timeline["c"] == [
        ("data", b"hello"),
        *([("error", "ECONNRESET")] if listening else []),
        "caught",
        ("close", True),
    ]


@pytest.mark.spec("S3.5-09")
def test_destroyed_meanwhile(timeline, run):
    def body(client):
        pyuvnet.set_immediate(client.destroy)

    play(talk(timeline, open_, reader(timeline, body)), close_all)
    run()
    assert timeline["c"][0] == ("data", b"hello")
    assert set(timeline["c"][1:]) == {("caught", "ERR_STREAM_PREMATURE_CLOSE"), ("close", False)}


# ---- async with ----------------------------------------------------------------------------------


async def enter(client):
    async with client as entered:
        assert entered is client


def entered_after(event):
    async def use(client):
        client.resume()
        await events.once(client, event)
        await enter(client)

    return use


@pytest.mark.spec("S5-10", "S5-11", "N172", "D40")
@pytest.mark.parametrize("watched", [EVENTS, ("end", "finish", "close")])
def test_leaving_ends_and_resumes_at_close(timeline, run, watched):
    play(talk(timeline, lambda socket: None, entered_after("connect"), watched), close_all)
    pyuvnet.run()
    assert timeline["c"] == ["finish", ("close", False), ("left", True)]


@pytest.mark.spec("S5-13")
@pytest.mark.parametrize("half_open", [None, False, True])
def test_leaving_after_the_peers_end(timeline, run, half_open):
    options = {} if half_open is None else {"allow_half_open": half_open}
    play(talk(timeline, lambda socket: socket.end(), entered_after("end"), **options), close_all)
    run()
    assert timeline["c"] == ["end", "finish", ("close", False), ("left", True)]
