"""What coroutines rely on: owned sockets, leaving loops, and ConnectionError."""

# ruff: noqa: PT012 - how `async with` is left is what is tested
from __future__ import annotations

import asyncio
import contextlib
import sys
import types

import pytest

import pyuvnet
from pyuvnet import Duplex, events, net
from pyuvnet.errors import ClosedError, StateError
from pyuvnet.loop import handles
from tests.support.cases import cases
from tests.support.errors import BoomError
from tests.support.owners import (
    BIG,
    destroy_it,
    leave_by_break,
    leave_by_return,
    play,
    reset_it,
    turns,
    until,
)

pytestmark = pytest.mark.usefixtures("factory")


# ---- Owning --------------------------------------------------------------------------------------


def by_option(place, serve):
    return place.serve(serve)


async def by_event(place, serve):
    await place.serve()
    place.server.on("connection", serve)


async def by_promise(place, serve):
    place.server = await net.promises.listen(port=0, host="127.0.0.1", connection_listener=serve)


@pytest.mark.spec("D78")
@pytest.mark.parametrize("how", [by_option, by_event, by_promise])
def test_a_coroutine_answers_a_peer_that_has_ended(factory, how):
    async def main(place):
        async def serve(socket):
            lines = b""
            async for chunk in socket:
                lines += chunk
            assert socket.readable_ended
            assert socket.writable
            await asyncio.sleep(0)
            socket.write(b"answer to " + lines)

        await how(place, serve)
        peer = await place.connect()
        await peer.send(b"one\n")
        peer.end()
        assert await peer.read_to_end() == b"answer to one\n"

    play(main, factory)


def test_answers_of_many_chunks_to_a_peer_that_ends_at_once(factory):
    async def main(place):
        async def serve(socket):
            async for chunk in socket:
                socket.write(chunk)
                await socket.drained()

        await place.serve(serve)
        peer = await place.connect()
        sending = asyncio.ensure_future(peer.send(BIG))
        sending.add_done_callback(lambda _: peer.end())
        assert await peer.read_to_end() == BIG

    play(main, factory)


def test_listeners_keep_nodes_rule(factory):
    async def main(place):
        def serve(socket):
            socket.on("end", lambda: pyuvnet.set_immediate(socket.write, b"late"))
            socket.on("error", seen.append)
            socket.resume()

        seen = []
        await place.serve(serve)
        peer = await place.connect()
        peer.end()
        assert await peer.read_to_end() == b""

    play(main, factory)


@pytest.mark.parametrize("way", ["option of the server", "property of the server", "of the socket"])
def test_an_explicit_no_to_half_open_wins(factory, way):
    async def main(place):
        async def serve(socket):
            if way == "of the socket":
                socket.allow_half_open = False
            finished = events.once(socket, "finish")
            async for _ in socket:
                pass
            await finished
            assert socket.writable_ended
            over.set()

        over = asyncio.Event()
        options = {"allow_half_open": False} if way.startswith("option") else {}
        await place.serve(serve, **options)
        if way.startswith("property"):
            place.server.allow_half_open = False
        peer = await place.connect()
        peer.end()
        assert await peer.read_to_end() == b""
        await over.wait()

    play(main, factory)


def test_an_explicit_yes_to_half_open_wins(factory):
    async def main(place):
        async def serve(socket):
            sockets.append(socket)
            async for _ in socket:
                pass

        sockets = []
        await place.serve(serve, allow_half_open=True)
        peer = await place.connect()
        peer.end()
        await until(lambda: sockets and sockets[0].readable_ended)
        await turns()
        assert sockets[0].writable
        assert sockets[0].allow_half_open is True
        sockets[0].end(b"late")
        assert await peer.read_to_end() == b"late"

    play(main, factory)


def test_the_flag_that_is_lent_does_not_show(factory):
    async def main(place):
        client, _ = await place.pair()
        assert client.allow_half_open is False
        async with client:
            assert client.allow_half_open is False
            client.allow_half_open = True
            assert client.allow_half_open is True

    play(main, factory)


def test_the_postponed_end_is_made_when_the_last_owner_leaves(factory):
    async def main(place):
        async def serve(socket):
            async for _ in socket:
                break
            tasks.append(asyncio.ensure_future(read(socket)))
            sockets.append(socket)

        async def read(socket):
            async for _ in socket:
                await may_go_on.wait()

        sockets, tasks = [], []
        may_go_on = asyncio.Event()
        await place.serve(serve)
        peer = await place.connect()
        await peer.send(b"a")
        await until(lambda: sockets)
        await turns()
        await peer.send(b"b")
        peer.end()
        await turns()
        socket = sockets[0]
        assert not socket.writable_ended
        may_go_on.set()
        await tasks[0]
        assert socket.readable_ended
        assert await peer.read_to_end() == b""

    play(main, factory)


def test_a_write_after_the_postponed_end_finds_the_peer_gone(factory):
    async def main(place):
        async def serve(socket):
            socket.on("error", seen.append)
            socket.on("close", lambda had_error: closed.set())
            # Both sides are over behind this: a later write would come after destroy().
            socket.on("finish", lambda: seen.append(socket.write(b"late")))
            async for _ in socket:
                pass

        seen, closed = [], asyncio.Event()
        await place.serve(serve)
        peer = await place.connect()
        peer.end()
        await closed.wait()
        refused, error = seen
        assert refused is False
        assert isinstance(error, BrokenPipeError)

    play(main, factory)


def test_a_coroutine_that_returns_leaves_the_socket_as_it_is(factory):
    async def main(place):
        async def serve(socket):
            sockets.append(socket)

        sockets = []
        await place.serve(serve)
        peer = await place.connect()
        await until(lambda: sockets)
        await turns()
        socket = sockets[0]
        assert socket.ready_state == "open"
        socket.on("data", socket.write)
        await peer.send(b"given away")
        assert await peer.read() == b"given away"
        # And then Node's rule holds again.
        peer.end()
        assert await peer.read_to_end() == b""

    play(main, factory)


def test_a_coroutine_that_raises_destroys_the_socket(factory):
    async def main(place):
        async def serve(socket):
            raise BoomError

        await place.serve(serve)
        peer = await place.connect()
        assert await peer.read_to_end() == b""
        await until(lambda: place.reported)
        assert isinstance(place.reported[0], BoomError)

    play(main, factory, reports=1)


def test_a_cancelled_coroutine_destroys_the_socket_quietly(factory):
    async def main(place):
        async def serve(socket):
            asyncio.current_task().cancel()
            await asyncio.sleep(0)

        await place.serve(serve)
        peer = await place.connect()
        assert await peer.read_to_end() == b""

    play(main, factory)


class Both(Duplex):
    """A duplex stream whose other end is this test."""

    def __init__(self, **options):
        super().__init__(**options)
        self.written = []

    def _read(self, size):
        pass

    def _write(self, chunk, encoding, callback):
        self.written.append(chunk)
        callback(None)


@pytest.mark.parametrize("half_open", [True, False])
def test_a_duplex_keeps_what_it_was_given(factory, half_open):
    async def main(place):
        stream = Both(allow_half_open=half_open)
        async with stream:
            stream.push(b"a")
            stream.push(None)
            assert [chunk async for chunk in stream] == [b"a"]
            await turns()
            assert stream.writable_ended is not half_open
        assert stream.closed

    play(main, factory)


# ---- An error that nobody listens to -------------------------------------------------------------


async def sleeping(socket, gone):
    await gone.wait()


async def writing(socket, gone):
    with contextlib.suppress(ConnectionError):
        while True:
            socket.write(b"x" * 1000)
            await socket.drained()
            await asyncio.sleep(0)


async def draining(socket, gone):
    socket.write(BIG * 4)
    with pytest.raises(ConnectionError):
        await socket.drained()


async def reading(socket, gone):
    with contextlib.suppress(ConnectionError):
        async for _ in socket:
            pass


@pytest.mark.spec("D80")
@pytest.mark.parametrize("how", ["reset", "close"])
@pytest.mark.parametrize("what", [sleeping, writing, draining, reading])
def test_a_peer_that_goes_is_no_unhandled_error(factory, what, how):
    async def main(place):
        async def serve(socket):
            socket.once("close", lambda *_: gone.set())
            sockets.append(socket)
            if what is sleeping:
                socket.resume()
            await what(socket, gone)
            over.set()

        sockets = []
        gone, over = asyncio.Event(), asyncio.Event()
        await place.serve(serve)
        peer = await place.connect()
        await until(lambda: sockets)
        if what is not draining:
            await peer.send(b"x")
            await turns()
        getattr(peer, how)()
        if what is sleeping and how == "close":
            # Nothing tells our side that the peer is gone until it writes.
            await until(lambda: sockets[0].readable_ended)
            gone.set()
        await over.wait()

    play(main, factory)


@cases(
    ("noticed", "reports"),
    [
        (False, 1),
        (True, 0),
    ],
)
def test_what_was_written_and_is_lost_is_reported(factory, noticed, reports):
    """A coroutine listener that returns without having met the error, and whose data are lost."""

    async def main(place):
        async def serve(socket):
            closed = asyncio.Event()
            socket.on("close", lambda had_error: closed.set())
            socket.write(BIG * 4)
            written.set()
            await closed.wait()
            if noticed:
                with pytest.raises(ConnectionError):
                    await socket.drained()

        written = asyncio.Event()
        await place.serve(serve)
        peer = await place.connect()
        await written.wait()
        peer.reset()
        await until(lambda: place.server._connections == 0)
        await turns()
        if reports:
            assert isinstance(place.reported[0], ConnectionError)

    play(main, factory, reports)


def test_an_error_behind_that_of_a_write_is_no_unhandled_one(factory):
    """What is emitted then is not what the stream keeps as `errored`."""

    async def main(place):
        client, peer = await place.pair()
        peer.reset()
        met = None
        try:
            async with client:
                # Not in a callback of ours, where it would leave later.
                await asyncio.sleep(0)
                client.write(b"lost")
                client.destroy(BoomError())
        except ConnectionError as error:
            met = error
        assert met is client.errored
        assert met.syscall == "write"

    play(main, factory)


def test_a_reset_after_everything_was_said_is_not_reported(factory):
    async def main(place):
        async def serve(socket):
            sockets.append(socket)
            await anext(aiter(socket.iterator(destroy_on_return=False)))
            socket.end(b"all")

        sockets = []
        await place.serve(serve)
        peer = await place.connect()
        await peer.send(b"x")
        assert await peer.read_to_end() == b"all"
        await turns()
        peer.reset()
        await until(lambda: sockets[0].closed)
        assert sockets[0].errored.code == "ECONNRESET"

    play(main, factory)


def test_without_an_owner_it_is_unhandled_as_in_node(factory):
    async def main(place):
        await place.serve(lambda socket: socket.resume())
        peer = await place.connect()
        await until(lambda: place.server._connections)
        peer.reset()
        await until(lambda: place.reported)
        assert isinstance(place.reported[0], ConnectionResetError)

    play(main, factory, reports=1)


# ---- Leaving a loop early ------------------------------------------------------------------------


async def leave_by_exception(socket):
    with contextlib.suppress(BoomError):
        async for chunk in socket:
            got = chunk
            raise BoomError
    return got


@pytest.mark.spec("D79")
@pytest.mark.parametrize("leave", [leave_by_break, leave_by_return, leave_by_exception])
@pytest.mark.parametrize("owner", ["listener", "async with"])
def test_leaving_a_loop_early_loses_nothing(factory, leave, owner):
    async def main(place):
        async def talk(socket):
            got = await leave(socket)
            assert not socket.destroyed
            # What comes while nobody reads stays first in line.
            await peer.send(b"two")
            await until(lambda: socket.readable_length == 3)
            got += await leave(socket)
            await peer.send(b"three")
            await until(lambda: socket.readable_length == 5)
            got += socket.read()
            peer.end()
            async for chunk in socket:
                got += chunk
            socket.write(got)

        if owner == "listener":
            reached = asyncio.Event()

            async def serve(socket):
                await reached.wait()
                await talk(socket)

            await place.serve(serve)
            peer = await place.connect()
            reached.set()
            await peer.send(b"one")
        else:
            client, peer = await place.pair()
            await peer.send(b"one")
            async with client:
                await talk(client)
        assert await peer.read_to_end() == b"onetwothree"

    play(main, factory)


def test_leaving_a_loop_early_without_an_owner_destroys(factory):
    async def main(place):
        client, peer = await place.pair()
        await peer.send(b"one")
        assert await leave_by_break(client) == b"one"
        assert client.destroyed
        assert await peer.read_to_end() == b""

    play(main, factory)


def test_a_chunk_that_a_cancelled_task_did_not_get_comes_next(factory):
    async def main(place):
        client, peer = await place.pair()
        async with client:
            for number in range(20):
                task = asyncio.ensure_future(anext(aiter(client)))
                await asyncio.sleep(0)
                await peer.send(b"%d" % (number % 10))
                if number % 2:
                    await turns(number % 3)
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    got.append(await task)
            peer.end()
            async for chunk in client:
                got.append(chunk)
        assert b"".join(got) == b"01234567890123456789"

    got = []
    play(main, factory)


@pytest.mark.spec("D82")
def test_two_tasks_cannot_wait_for_one_socket(factory):
    async def main(place):
        client, peer = await place.pair()
        async with client:
            first = asyncio.ensure_future(leave_by_break(client))
            await asyncio.sleep(0)
            with pytest.raises(StateError) as caught:
                await leave_by_break(client)
            assert caught.value.code == "ERR_ALREADY_READING"
            await peer.send(b"x")
            assert await first == b"x"

    play(main, factory)


# ---- Owners that are not balanced, and coroutines that go another way ----------------------------


@pytest.mark.parametrize("how", ["without entering", "twice"])
def test_leaving_more_often_than_entering_leaves_no_owner(factory, how):
    async def main(place):
        client, _ = await place.pair()
        if how == "twice":
            await client.__aenter__()
            await client.__aexit__(None, None, None)
            await client.__aexit__(None, None, None)
        else:
            async with contextlib.AsyncExitStack() as stack:
                stack.push_async_exit(client)
        assert client.closed
        assert not client._owned

    play(main, factory)


def test_an_exception_that_is_false_destroys_the_socket(factory):
    class EmptyError(Exception):
        def __len__(self):
            return 0

    async def main(place):
        async def serve(socket):
            raise EmptyError

        await place.serve(serve)
        peer = await place.connect()
        assert await peer.read_to_end() == b""

    play(main, factory, reports=1)


@pytest.mark.parametrize("also", ["returns", "raises it", "reads on"])
def test_an_error_of_the_program_is_reported_once(factory, also):
    async def main(place):
        async def serve(socket):
            async for _ in socket:
                break
            error = BoomError()
            socket.destroy(error)
            if also == "raises it":
                raise error
            if also == "reads on":
                with pytest.raises(BoomError):
                    async for _ in socket:
                        pass

        await place.serve(serve)
        peer = await place.connect()
        await peer.send(b"x")
        assert await peer.read_to_end() == b""

    play(main, factory, reports=0 if also == "reads on" else 1)


@pytest.mark.parametrize("owner", ["stream", "server"])
def test_a_coroutine_that_is_closed_inside_a_block_waits_for_nothing(factory, owner):
    async def main(place):
        async def stay():
            async with client if owner == "stream" else place.server:
                await asyncio.get_running_loop().create_future()

        await place.serve(lambda socket: socket.resume())
        client, _ = await place.pair()
        coroutine = stay()
        coroutine.send(None)
        # It would raise that the coroutine ignored this.
        coroutine.close()
        assert client.destroyed is (owner == "stream")
        assert place.server.listening is (owner == "stream")
        client.destroy()

    play(main, factory)


@pytest.mark.parametrize("owner", ["stream", "server"])
def test_an_asynchronous_generator_that_is_closed_inside_a_block_waits(factory, owner):
    async def main(place):
        async def stay():
            async with client if owner == "stream" else place.server:
                yield

        await place.serve(lambda socket: socket.resume())
        client, _ = await place.pair()
        async for _ in (generator := stay()):
            break
        await generator.aclose()
        if owner == "stream":
            assert client.closed
        else:
            assert not place.server._running
        client.destroy()

    play(main, factory)


def test_leaving_blocks_whose_loop_is_closed(factory):
    async def main():
        async with net.create_server() as server:
            server.listen(0, "127.0.0.1")
            await events.once(server, "listening")
            async with net.connect(server.address()) as client:
                with pytest.raises(BoomError):
                    async with client:
                        # Not in a callback of the loop that is to be closed.
                        await asyncio.sleep(0)
                        pyuvnet.current_loop().close()
                        raise BoomError

    loop = (factory or asyncio.new_event_loop)()
    try:
        loop.run_until_complete(asyncio.wait_for(main(), 10))
    finally:
        loop.close()


@pytest.mark.parametrize("event", ["drain", "end", "finish", "close", "close of the server"])
def test_a_listener_that_raises_keeps_no_coroutine_waiting(factory, event):
    def fail(*_):
        raise BoomError

    async def main(place):
        await place.serve(lambda socket: socket.resume())
        if event == "close of the server":
            place.server.on("close", fail)
        async with place.server, net.connect(place.server.address()) as client:
            client.on(event, fail)
            client.write(BIG)
            await client.drained()
            client.end()
            async for _ in client:
                pass

    play(main, factory, reports=1)


def test_an_iterator_dropped_in_another_thread_leaves_its_socket(factory):
    async def main(place):
        client, peer = await place.pair()
        iterators = [aiter(client)]
        await peer.send(b"x")
        assert await anext(iterators[0]) == b"x"
        await asyncio.to_thread(iterators.clear)
        await until(lambda: client.destroyed)
        assert not client._owned
        assert await peer.read_to_end() == b""

    play(main, factory)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_what_ends_programs_comes_out_of_a_coroutine_once(factory, kind):
    async def serve(socket):
        async for _ in socket:
            raise kind

    async def main():
        server = net.create_server(serve).listen(0, "127.0.0.1")
        await events.once(server, "listening")
        client = net.connect(server.address())
        client.write(b"x")
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            # A second one would end this, too.
            for _ in range(10):
                await asyncio.sleep(0.001)
            client.destroy()
            server.close()
            await server.wait_closed()
            left.append(True)

    left = []
    with pytest.raises(kind), asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())
    assert left


# ---- Gone is a ConnectionError -------------------------------------------------------------------


@pytest.mark.spec("D83")
def test_closed_error_is_a_connection_error():
    error = ClosedError("gone", "ERR_STREAM_DESTROYED")
    assert isinstance(error, StateError)
    assert isinstance(error, ConnectionError)
    assert (str(error), error.message, error.code) == ("gone", "gone", "ERR_STREAM_DESTROYED")
    assert error.args == ("gone",)
    assert error.errno is None


async def drained(client):
    await client.drained()


async def a_write_that_is_awaited(client):
    done = asyncio.get_running_loop().create_future()
    client.write(b"x", lambda error: done.set_exception(error) if error else done.set_result(None))
    await done


async def read(client):
    async for _ in client:
        raise AssertionError


@pytest.mark.parametrize("what", [drained, a_write_that_is_awaited, read])
@pytest.mark.parametrize("how", ["reset", "destroyed"])
def test_gone_is_a_connection_error(factory, what, how):
    async def main(place):
        client, peer = await place.pair()
        async with client:
            if how == "reset":
                await reset_it(client, peer)
            else:
                await destroy_it(client, peer)
            with pytest.raises(ConnectionError):
                await what(client)
            client._heard()

    play(main, factory)


@pytest.mark.parametrize("what", [drained, a_write_that_is_awaited])
def test_a_peer_that_closed_normally_is_gone_too(factory, what):
    async def main(place):
        client, peer = await place.pair()
        peer.close()
        client.resume()
        await events.once(client, "close")
        with pytest.raises(ConnectionError):
            await what(client)

    play(main, factory)


# ---- A conversation, cancelled wherever it waits -------------------------------------------------


@types.coroutine
def stepped(awaitable, moment, reached):
    """Await something, and call reached() when it suspends for the moment-th time."""
    inner = awaitable.__await__()
    send, value = inner.send, None
    while True:
        try:
            waits_for = send(value)
        except StopIteration as over:
            return over.value
        if moment == 0:
            reached()
        moment -= 1
        try:
            send, value = inner.send, (yield waits_for)
        except BaseException as error:
            send, value = inner.throw, error


async def converse(port, said, heard):
    socket = await net.promises.connect(port, "127.0.0.1")
    async with socket:
        for number in range(3):
            message = b"%d" % number * 100_000
            socket.write(message)
            said.append(message)
            await socket.drained()
            left = len(message)
            async for chunk in socket:
                heard.append(chunk)
                left -= len(chunk)
                if not left:
                    break
        socket.end()
        async for _ in socket:
            raise AssertionError


def test_a_conversation_may_be_cancelled_wherever_it_waits(factory):
    async def main(place):
        received = {}

        async def serve(socket):
            parts = received.setdefault(len(received), [])
            with contextlib.suppress(ConnectionError):
                async for chunk in socket:
                    parts.append(chunk)
                    socket.write(chunk)
                    await socket.drained()

        await place.serve(serve)
        port = place.server.address().port
        moment = 0
        while True:
            said, heard = [], []
            count = len(received)
            reached = []

            async def run(said=said, heard=heard, moment=moment, reached=reached):
                task = asyncio.current_task()
                await stepped(
                    converse(port, said, heard),
                    moment,
                    lambda: reached.append(asyncio.get_running_loop().call_soon(task.cancel)),
                )

            task = asyncio.ensure_future(run())
            cancelled = False
            try:
                await task
            except asyncio.CancelledError:
                cancelled = True
            await until(lambda: place.server._connections == 0)
            got = b"".join(received.get(count, []))
            # What came back was said before, in order; without a cancellation, all of it.
            assert b"".join(said).startswith(got)
            assert got.startswith(b"".join(heard))
            assert [info for info in handles() if info.kind == "tcp" and info.requests] == []
            if not cancelled:
                assert got == b"".join(heard) == b"".join(said)
            if not reached:
                break
            moment += 1
        assert moment > 5

    play(main, factory)


@pytest.mark.spec("D81")
@pytest.mark.skipif(sys.platform == "win32", reason="descriptors are POSIX's")
def test_a_waiting_reader_needs_no_listener(factory):
    async def main(place):
        client, peer = await place.pair()
        task = asyncio.ensure_future(leave_by_break(client))
        await turns()
        assert client.event_names() == ["end"]
        assert client.listener_count("error") == 0
        peer.reset()
        with pytest.raises(ConnectionResetError):
            await task

    play(main, factory)
