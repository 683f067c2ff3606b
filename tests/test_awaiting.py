"""drained(); and that cancelling any awaitable leaves no listener, timer or descriptor behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import time

import pytest

import pyuvnet
from pyuvnet import AbortController, EventEmitter, Writable, events, net, streams
from pyuvnet.loop import handles
from tests.support.cases import cases
from tests.support.errors import BoomError

pytestmark = pytest.mark.usefixtures("factory")


async def turns(count=5):
    """Turn both loops a few times."""
    for _ in range(count):
        turned = asyncio.get_running_loop().create_future()
        pyuvnet.set_immediate(turned.set_result, None)
        await turned
        await asyncio.sleep(0)


class Pair:
    """A server and both ends of a connection to it."""

    async def make(self):
        self.server = net.create_server(self._accepted)
        self.server.listen(0, "127.0.0.1")
        await events.once(self.server, "listening")
        self.accepted = asyncio.get_running_loop().create_future()
        self.client = net.connect(self.server.address().port, "127.0.0.1")
        await events.once(self.client, "connect")
        self.there = await self.accepted
        self.controller = AbortController()
        self.signal = self.controller.signal
        self.emitter = EventEmitter()
        return self

    def _accepted(self, socket):
        if self.accepted.done():
            socket.resume().on("error", lambda error: None)
        else:
            socket.pause()
            self.accepted.set_result(socket)

    async def fill(self):
        """Write until the kernel takes no more."""
        while self.client.write(b"x" * 1_000_000):
            await turns(1)

    def left(self):
        """Every listener, handle, timer and descriptor there is."""
        gc.collect()
        emitters = (self.server, self.client, self.there, self.signal, self.emitter)
        found = [
            (index, event, emitter.listener_count(event))
            for index, emitter in enumerate(emitters)
            for event in emitter.event_names()
        ]
        found += sorted((info.kind, repr(info.owner)) for info in handles() if info.owner)
        if os.path.isdir("/dev/fd"):
            found.append(("descriptors", len(os.listdir("/dev/fd"))))
        return found

    async def close(self):
        for socket in (self.client, self.there):
            socket.destroy()
        self.server.close()
        await turns()


def play(main, factory):
    async def with_pair():
        pair = await Pair().make()
        try:
            await asyncio.wait_for(main(pair), 20)
        finally:
            await pair.close()

    pyuvnet.run(with_pair(), loop_factory=factory)


# ---- What is left of a cancelled task ------------------------------------------------------------


async def once(pair):
    await events.once(pair.client, "never")


async def once_with_a_signal(pair):
    await events.once(pair.client, "never", signal=pair.signal)


async def on(pair):
    async for _ in events.on(pair.client, "never", signal=pair.signal, close=["close"]):
        pass


async def connections(pair):
    async for _ in pair.server:
        pass


async def drained(pair):
    await pair.client.drained()


async def finished(pair):
    await streams.finished(pair.client, signal=pair.signal)


async def count(pair):
    while True:
        await pair.server.get_connections()
        await asyncio.sleep(0)


async def connecting_by_name(pair):
    await net.promises.connect(
        80, "name.invalid", lookup=lambda *arguments: None, signal=pair.signal
    )


async def connecting(pair):
    while True:
        socket = await net.promises.connect(pair.server.address().port, "127.0.0.1")
        socket.destroy()
        await asyncio.sleep(0)


async def listening_by_name(pair):
    while True:
        server = await net.promises.listen(0, "localhost", signal=pair.signal)
        server.close()
        await asyncio.sleep(0)


async def pipeline_of_others(pair):
    class Never(pyuvnet.Readable):
        def _read(self, size):
            pass

    class Sink(Writable):
        def _write(self, chunk, encoding, callback):
            callback(None)

    await streams.pipeline(Never(), Sink(), signal=pair.signal)


async def context_of_another_socket(pair):
    async with net.connect(pair.server.address().port, "127.0.0.1") as socket:
        socket.on("error", lambda error: None)
        await asyncio.sleep(600)


async def context_of_another_server(pair):
    async with net.create_server().listen(0, "127.0.0.1"):
        await asyncio.sleep(600)


async def chunks_of_another_socket(pair):
    async for _ in net.connect(pair.server.address().port, "127.0.0.1"):
        pass


# One that leaves something waits for it to go, at each moment.
@pytest.mark.timeout(60)
@cases("moment", range(6))
@pytest.mark.parametrize(
    "awaiting",
    [
        once,
        once_with_a_signal,
        on,
        connections,
        drained,
        finished,
        count,
        connecting_by_name,
        connecting,
        listening_by_name,
        pipeline_of_others,
        context_of_another_socket,
        context_of_another_server,
        chunks_of_another_socket,
    ],
    ids=lambda function: function.__name__,
)
def test_a_cancelled_task_leaves_nothing(awaiting, moment, factory):
    """At several moments: before it begins, at its first steps, and when it waits for long."""

    async def main(pair):
        if awaiting is drained:
            await pair.fill()
        before = pair.left()
        task = asyncio.create_task(awaiting(pair))
        for _ in range(moment):
            await asyncio.sleep(0)
        if moment == 5:
            await turns()
        assert not task.done()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        del task
        await turns(10)
        # What the other side had of a connection that was given up goes in turns of its own.
        until = time.monotonic() + 5
        while pair.left() != before and time.monotonic() < until:
            await asyncio.sleep(0.01)
        assert pair.left() == before
        assert not pair.client.destroyed
        assert pair.server.listening

    play(main, factory)


@pytest.mark.parametrize("how", ["async for", "pipeline", "async with"])
def test_a_cancelled_task_that_owns_the_socket_destroys_it(how, factory):
    async def use(pair):
        if how == "async for":
            async for _ in pair.client:
                pass
        elif how == "pipeline":
            await streams.pipeline(pair.client, pair.there)
        else:
            async with pair.client:
                await asyncio.sleep(600)

    async def main(pair):
        errors = []
        pair.client.on("error", errors.append)
        pair.there.on("error", errors.append)
        before = [socket.event_names() for socket in (pair.client, pair.there)]
        task = asyncio.create_task(use(pair))
        await turns()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        del task
        await turns()
        gc.collect()
        assert pair.client.closed
        # Leaving `async with` by a cancellation is no failure of the stream.
        assert {error.code for error in errors} == (set() if how == "async with" else {"ABORT_ERR"})
        assert [socket.event_names() for socket in (pair.client, pair.there)] == before
        assert not [info for info in handles() if info.owner is pair.client]

    play(main, factory)


def test_a_second_cancellation_while_async_with_waits_leaves_nothing(factory):
    async def main(pair):
        async def use():
            async with pair.client:
                await asyncio.sleep(600)

        pair.client.on("error", lambda error: None)
        before = pair.client.event_names()
        task = asyncio.create_task(use())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await turns()
        assert pair.client.closed
        assert pair.client.event_names() == before

    play(main, factory)


# ---- drained() -----------------------------------------------------------------------------------


def test_drained_returns_at_once_when_nothing_is_pending(factory):
    async def main(pair):
        coroutine = pair.client.drained()
        with pytest.raises(StopIteration):
            coroutine.send(None)
        assert pair.client.write(b"x")
        coroutine = pair.client.drained()
        with pytest.raises(StopIteration):
            coroutine.send(None)

    play(main, factory)


def test_drained_waits_until_the_peer_reads(factory):
    async def main(pair):
        await pair.fill()
        task = asyncio.create_task(pair.client.drained())
        await turns()
        assert not task.done()
        pair.there.resume()
        assert await task is None
        assert not pair.client.writable_need_drain

    play(main, factory)


def test_drained_before_the_connection_stands(factory):
    async def main(pair):
        socket = net.connect(pair.server.address().port, "127.0.0.1")
        assert not socket.write(b"x" * 100_000)
        await socket.drained()
        assert not socket.connecting
        socket.destroy()

    play(main, factory)


def test_drained_ends_when_all_has_left_after_end(factory):
    async def main(pair):
        await pair.fill()
        task = asyncio.create_task(pair.client.drained())
        await turns()
        pair.client.end()
        pair.there.resume()
        await task
        assert pair.client.writable_finished

    play(main, factory)


def test_drained_raises_what_the_stream_failed_with(factory):
    async def main(pair):
        await pair.fill()
        task = asyncio.create_task(pair.client.drained())
        await turns()
        error = BoomError()
        pair.client.destroy(error)
        with pytest.raises(BoomError) as caught:
            await task
        assert caught.value is error
        with pytest.raises(BoomError):
            await pair.client.drained()

    play(main, factory)


def test_drained_raises_if_a_socket_is_destroyed_meanwhile(factory):
    async def main(pair):
        await pair.fill()
        task = asyncio.create_task(pair.client.drained())
        await turns()
        pair.client.destroy()
        with pytest.raises(OSError, match="ECANCELED") as caught:
            await task
        assert caught.value is pair.client.errored

    play(main, factory)


def test_drained_raises_if_the_stream_was_closed_without_an_error(factory):
    class Never(Writable):
        def _write(self, chunk, encoding, callback):
            pass

    async def main(pair):
        stream = Never(high_water_mark=1)
        stream.write(b"xx")
        task = asyncio.create_task(stream.drained())
        await turns()
        stream.destroy()
        with pytest.raises(pyuvnet.StateError) as caught:
            await task
        assert caught.value.code == "ERR_STREAM_PREMATURE_CLOSE"
        with pytest.raises(pyuvnet.StateError) as caught:
            await stream.drained()
        assert caught.value.code == "ERR_STREAM_DESTROYED"

    play(main, factory)


def test_drained_of_a_writable_of_the_program(factory):
    class Slow(Writable):
        def _write(self, chunk, encoding, callback):
            pyuvnet.set_immediate(callback, None)

    async def main(pair):
        slow = Slow(high_water_mark=1)
        written = 0
        for _ in range(10):
            assert not slow.write(b"xx")
            await slow.drained()
            assert slow.writable_length == 0
            written += 1
        assert written == 10

    play(main, factory)
