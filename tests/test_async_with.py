"""Leaving `async with`, of sockets and of servers: what is sent, waited for and raised."""

# ruff: noqa: PT012 - how `async with` is left is what is tested
from __future__ import annotations

import asyncio
import socket as posix
import ssl

import pytest

from pyuvnet import events, net, tls
from pyuvnet.errors import StateError
from tests.support.errors import BoomError
from tests.support.owners import (
    BIG,
    Peer,
    destroy_it,
    leave_by_return,
    play,
    reset_it,
    turns,
    until,
)
from tests.support.tls import ready_server

pytestmark = pytest.mark.usefixtures("factory")


# ---- async with ----------------------------------------------------------------------------------


def test_leaving_sends_everything_and_does_not_wait_for_the_peers_end(factory):
    async def main(place):
        client, peer = await place.pair()
        got = b""
        async with client:
            client.write(BIG)
            reading = asyncio.ensure_future(peer.read_to_end())
        assert client.closed
        assert client.errored is None
        got = await reading
        assert got == BIG

    play(main, factory)


@pytest.mark.parametrize("how", ["normally", "break", "return"])
def test_every_normal_way_out_ends(factory, how):
    async def use(client, peer):
        async with client:
            if how == "return":
                return await leave_by_return(client)
            if how == "break":
                async for _ in client:
                    break
        return None

    async def main(place):
        client, peer = await place.pair()
        await peer.send(b"more than is read")
        client.on("finish", lambda: seen.append("finish"))
        client.on("close", lambda had_error: seen.append(had_error))
        await use(client, peer)
        assert seen == ["finish", False]

    seen = []
    play(main, factory)


def test_leaving_raises_what_kept_something_from_being_sent(factory):
    async def main(place):
        client, peer = await place.pair()
        with pytest.raises(ConnectionError):
            async with client:
                client.write(BIG * 4)
                peer.reset()
        assert client.closed

    play(main, factory)


def test_leaving_raises_if_something_was_written_after_the_peer_had_gone(factory):
    async def main(place):
        client, peer = await place.pair()
        client.resume()
        with pytest.raises(ConnectionResetError):
            async with client:
                peer.reset()
                await until(lambda: client.destroyed)
                assert client.write(b"x") is False

    play(main, factory)


def test_leaving_does_not_raise_again_what_the_body_has_met(factory):
    async def main(place):
        client, peer = await place.pair()
        async with client:
            client.write(BIG * 4)
            peer.reset()
            with pytest.raises(ConnectionError):
                await client.drained()

    play(main, factory)


def test_a_write_after_ones_own_end_comes_out(factory):
    async def main(place):
        client, _peer = await place.pair()
        with pytest.raises(StateError) as caught:
            async with client:
                client.end()
                client.write(b"x")
        assert caught.value.code == "ERR_STREAM_WRITE_AFTER_END"
        assert not isinstance(caught.value, ConnectionError)

    play(main, factory)


async def close_it(client, peer):
    client.destroy()
    await events.once(client, "close")


async def destroy_it_with_an_error(client, peer):
    client.destroy(BoomError())


async def destroy_it_with_data_queued(client, peer):
    client.write(BIG * 4)
    client.destroy()


async def end_it(client, peer):
    client.end(b"x")


async def end_it_from_there(client, peer):
    peer.end()
    client.resume()
    await events.once(client, "end")


@pytest.mark.parametrize("when", ["before", "inside"])
@pytest.mark.parametrize(
    "what",
    [
        reset_it,
        close_it,
        destroy_it,
        destroy_it_with_an_error,
        destroy_it_with_data_queued,
        end_it,
        end_it_from_there,
    ],
)
def test_leaving_has_no_error_of_its_own(factory, what, when):
    async def main(place):
        client, peer = await place.pair()
        if when == "before":
            # Nobody owns it yet.
            client.on("error", lambda error: None)
            await what(client, peer)
        async with client:
            if when == "inside":
                await what(client, peer)
        assert client.closed

    play(main, factory)


@pytest.mark.parametrize("state", ["new", "refused", "connecting"])
def test_leaving_a_socket_without_a_connection(factory, state):
    async def main(place):
        with posix.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            if state == "refused":
                listener.close()
            socket = net.Socket()
            async with socket:
                if state != "new":
                    socket.connect(port, "127.0.0.1")
                if state == "refused":
                    await until(lambda: socket.destroyed)
            assert socket.closed

    play(main, factory)


def test_what_is_written_while_it_connects_is_sent(factory):
    async def main(place):
        with posix.create_server(("127.0.0.1", 0)) as listener:
            async with net.connect(listener.getsockname()[1], "127.0.0.1") as socket:
                socket.write(b"early")
            peer = Peer(listener.accept()[0])
        place.peers.append(peer)
        assert await peer.read_to_end() == b"early"

    play(main, factory)


def test_what_is_written_to_a_connection_that_is_refused(factory):
    async def main(place):
        with posix.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        with pytest.raises(ConnectionRefusedError):
            async with net.connect(port, "127.0.0.1") as socket:
                socket.write(b"early")

    play(main, factory)


def test_the_exception_of_the_body_goes_on_alone(factory):
    async def main(place):
        client, _peer = await place.pair()
        client.on("error", seen.append)
        client.on("close", seen.append)
        with pytest.raises(BoomError) as caught:
            async with client:
                client.write(BIG * 4)
                raise BoomError
        assert caught.value.__context__ is None
        assert caught.value.__cause__ is None
        assert client.closed
        assert seen == [False]

    seen = []
    play(main, factory)


def test_a_cancelled_body_destroys(factory):
    async def main(place):
        async def use():
            async with client:
                inside.set()
                await asyncio.sleep(600)

        client, peer = await place.pair()
        inside = asyncio.Event()
        task = asyncio.ensure_future(use())
        await inside.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert client.closed
        assert await peer.read_to_end() == b""

    play(main, factory)


def test_cancelled_while_it_sends_the_rest(factory):
    async def main(place):
        async def use():
            async with client:
                client.write(BIG * 4)
                leaving.set()

        client, _peer = await place.pair()
        leaving = asyncio.Event()
        task = asyncio.ensure_future(use())
        await leaving.wait()
        await turns()
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert client.closed

    play(main, factory)


def test_a_timeout_around_a_block(factory):
    async def main(place):
        client, _peer = await place.pair()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01), client:
                async for _ in client:
                    pass
        assert client.closed

    play(main, factory)


def test_a_task_group_whose_one_task_fails(factory):
    async def main(place):
        async def fail():
            await inside.wait()
            raise BoomError

        async def use():
            async with client:
                inside.set()
                async for _ in client:
                    pass

        client, _peer = await place.pair()
        inside = asyncio.Event()
        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as group:
                group.create_task(use())
                group.create_task(fail())
        assert [type(error) for error in caught.value.exceptions] == [BoomError]
        assert client.closed

    play(main, factory)


def test_blocks_of_one_socket_may_nest(factory):
    async def main(place):
        client, peer = await place.pair()
        async with client:
            async with client:
                client.write(b"x")
            assert client.closed
        assert await peer.read_to_end() == b"x"

    play(main, factory)


def test_more_owners_than_are_counted(factory):
    async def main(place):
        client, peer = await place.pair()
        for _ in range(300):
            await client.__aenter__()
        peer.end()
        async for _ in client:
            pass
        assert client.writable
        for _ in range(300):
            await client.__aexit__(None, None, None)
        assert client.closed

    play(main, factory)


# ---- async with server ---------------------------------------------------------------------------


def test_leaving_a_server_waits_for_its_connections(factory):
    async def main(place):
        async def serve(socket):
            await may_go_on.wait()
            socket.end(b"done")
            async for _ in socket:
                pass

        async def leave():
            async with place.server:
                pass
            assert place.server._connections == 0

        may_go_on = asyncio.Event()
        await place.serve(serve)
        peer = await place.connect()
        await until(lambda: place.server._connections)
        task = asyncio.ensure_future(leave())
        await turns()
        assert not place.server.listening
        assert not task.done()
        may_go_on.set()
        assert await peer.read_to_end() == b"done"
        peer.end()
        await task

    play(main, factory)


@pytest.mark.parametrize("how", ["exception", "cancelled", "cancelled while it waits"])
def test_leaving_a_server_by_an_exception_destroys_its_connections(factory, how):
    async def main(place):
        async def use():
            async with place.server:
                inside.set()
                if how == "exception":
                    raise BoomError
                if how == "cancelled":
                    await asyncio.sleep(600)

        inside = asyncio.Event()
        await place.serve(lambda socket: socket.resume())
        # Another server's connections are none of its business.
        client, _ = await place.pair()
        peer = await place.connect()
        await until(lambda: place.server._connections)
        task = asyncio.ensure_future(use())
        await inside.wait()
        if how != "exception":
            await turns()
            assert not task.done()
            task.cancel()
        with pytest.raises(BoomError if how == "exception" else asyncio.CancelledError):
            await task
        assert await peer.read_to_end() == b""
        assert place.server._connections == 0
        assert not client.destroyed
        client.destroy()

    play(main, factory)


@pytest.mark.spec("D84")
def test_serve_forever_until_it_is_closed(factory):
    async def main(place):
        await place.serve()
        task = asyncio.ensure_future(place.server.serve_forever())
        await turns()
        assert not task.done()
        place.server.close()
        assert await task is None
        assert place.server.event_names() == []

    play(main, factory)


def test_serve_forever_cancelled_closes_the_server(factory):
    async def main(place):
        await place.serve()
        task = asyncio.ensure_future(place.server.serve_forever())
        await turns()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not place.server.listening
        assert place.server.event_names() == []

    play(main, factory)


def test_tasks_that_serve_are_cancelled_together(factory):
    async def main(place):
        await place.serve()
        closes = []
        place.server.on("close", lambda: closes.append(1))
        tasks = [asyncio.ensure_future(place.server.serve_forever()) for _ in range(3)]
        await turns()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await turns()
        assert len(closes) == 1

    play(main, factory)


def test_leaving_a_server_during_its_lookup_wakes_who_waits(factory):
    async def main(place):
        async with net.create_server() as server:
            server.listen(0, "localhost")
            tasks = [
                asyncio.ensure_future(wait()) for wait in (server.serve_forever, server.wait_closed)
            ]
            await asyncio.sleep(0)
        await asyncio.wait_for(asyncio.gather(*tasks), 5)
        assert not server.listening

    play(main, factory)


@pytest.mark.parametrize("captured", [False, True])
def test_leaving_a_server_by_an_exception_is_no_mistake_of_its_coroutines(factory, captured):
    async def main(place):
        async def serve(socket):
            async for _ in socket:
                pass

        await place.serve(serve, capture_rejections=captured)
        with pytest.raises(BoomError):
            async with place.server:
                await place.connect()
                await until(lambda: place.server._connections)
                await turns()
                raise BoomError

    play(main, factory)


def test_serve_forever_of_a_server_that_does_not_listen(factory):
    async def main(place):
        server = net.create_server()
        with pytest.raises(StateError) as caught:
            await server.serve_forever()
        assert caught.value.code == "ERR_SERVER_NOT_RUNNING"
        with posix.create_server(("127.0.0.1", 0)) as taken:
            server.listen(taken.getsockname()[1], "127.0.0.1")
            with pytest.raises(OSError, match="EADDRINUSE"):
                await server.serve_forever()

    play(main, factory)


def test_serve_forever_and_wait_closed_begin_before_the_host_is_looked_up(factory):
    async def main(place):
        server = net.create_server().listen(0, "localhost")
        tasks = [asyncio.ensure_future(server.serve_forever())]
        tasks.append(asyncio.ensure_future(server.wait_closed()))
        await asyncio.sleep(0)
        await until(lambda: server.listening)
        assert not any(task.done() for task in tasks)
        server.close()
        await asyncio.gather(*tasks)

    play(main, factory)


def test_wait_closed(factory):
    async def main(place):
        await place.serve(lambda socket: socket.resume())
        peer = await place.connect()
        await until(lambda: place.server._connections)
        place.server.close()
        task = asyncio.ensure_future(place.server.wait_closed())
        await turns()
        assert not task.done()
        peer.end()
        await task
        # Once it is closed there is nothing to wait for.
        await place.server.wait_closed()
        await net.create_server().wait_closed()

    play(main, factory)


# ---- Nothing is lost in silence ------------------------------------------------------------------

SOME = b"y" * 400_000


def wait_for(peer, what):
    """Run what a blocking peer does in a thread: its kernel must not depend on our loop."""
    return asyncio.get_running_loop().run_in_executor(None, what, peer)


def send_and_read(peer):
    """Send much that is never read, then read to the end; what ends it early is raised."""
    with peer:
        peer.sendall(bytes(200_000))
        got = b""
        while part := peer.recv(65536):
            got += part
        return got


@pytest.mark.parametrize("kind", ["tcp", "tls", "unix"])
@pytest.mark.parametrize("ended", ["by the block", "by the program"])
def test_leaving_with_something_unread_loses_nothing(factory, kind, ended, tmp_path):
    async def main(place):
        family = posix.AF_UNIX if kind == "unix" else posix.AF_INET
        path = str(tmp_path / "s")
        with posix.create_server(
            path if kind == "unix" else ("127.0.0.1", 0), family=family
        ) as listener:
            accepted = wait_for(listener, lambda listener: listener.accept()[0])
            if kind == "unix":
                client = await net.promises.connect(path)
            else:
                client = net.connect(listener.getsockname()[1], "127.0.0.1")
            peer = await accepted
        if kind == "tls":
            shaken = wait_for(
                peer,
                lambda peer: ready_server(ssl.CERT_NONE).wrap_socket(peer, server_side=True),
            )
            client = tls.connect(socket=client, reject_unauthorized=False)
            await events.once(client, "secureConnect")
            peer = await shaken
        got = wait_for(peer, send_and_read)
        async with client:
            await until(lambda: client.readable_length or client.bytes_read)
            client.write(SOME)
            if ended == "by the program":
                client.end()
                await events.once(client, "finish")
        assert client.closed
        assert await got == SOME

    play(main, factory)


def test_leaving_raises_what_the_peer_of_tls_refuses(factory):
    async def main(place):
        with posix.create_server(("127.0.0.1", 0)) as listener:
            plain = await net.promises.connect(listener.getsockname()[1], "127.0.0.1")
            peer = listener.accept()[0]

        def refuse(peer):
            with ready_server(ssl.CERT_REQUIRED).wrap_socket(
                peer, server_side=True, do_handshake_on_connect=False
            ) as secure:
                with pytest.raises(ssl.SSLError):
                    secure.do_handshake()
                # It stays until the client has left.
                while posix.socket.recv(secure, 65536):
                    pass

        refused = wait_for(peer, refuse)
        client = tls.connect(socket=plain, reject_unauthorized=False)
        await events.once(client, "secureConnect")
        with pytest.raises(tls.TLSError, match="certificate"):
            async with client:
                client.write(b"x")
        await refused

    play(main, factory)
