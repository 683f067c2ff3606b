"""Coroutine functions as listeners: tasks that live, and failures that do not vanish."""

from __future__ import annotations

import asyncio
import contextvars
import socket as posix
import struct

import pytest

import pyuvnet
from pyuvnet import EventEmitter, StateError, net
from tests.support.errors import BoomError
from tests.support.loops import settle

pytestmark = pytest.mark.usefixtures("factory")


@pytest.mark.spec("S6.5-02", "R4-03")
def test_coroutine_listener_is_started_as_a_task(trace):
    async def main():
        emitter = EventEmitter()
        finished = asyncio.Event()

        @emitter.on("x")
        async def listener(value):
            trace("begun", value)
            await asyncio.sleep(0)
            trace("done", value)
            finished.set()

        assert emitter.emit("x", 1) is True
        trace("emitted")
        await finished.wait()

    pyuvnet.run(main())
    assert trace == ["emitted", ("begun", 1), ("done", 1)]


def test_coroutine_listener_keeps_the_context(trace):
    variable = contextvars.ContextVar("variable", default="outside")

    async def main():
        emitter = EventEmitter()
        finished = asyncio.Event()

        @emitter.once("x")
        async def listener():
            trace(variable.get())
            finished.set()

        variable.set("inside")
        emitter.emit("x")
        await finished.wait()

    pyuvnet.run(main())
    assert trace == ["inside"]


def test_any_awaitable_counts(trace):
    async def main():
        emitter = EventEmitter()
        future = asyncio.get_running_loop().create_future()
        emitter.on("x", lambda: future)
        pyuvnet.set_exception_handler(trace)
        emitter.emit("x")
        error = BoomError()
        future.set_exception(error)
        await settle()
        return error

    error = pyuvnet.run(main())
    assert trace == [error]


async def failing_listener_of(emitter, error, event="x"):
    async def listener(*args):
        await asyncio.sleep(0)
        raise error

    emitter.on(event, listener)
    emitter.emit(event, error)
    await settle()


@pytest.mark.spec("S6.6-08")
def test_failure_of_a_coroutine_listener_goes_to_our_handler(trace):
    async def main():
        pyuvnet.set_exception_handler(trace)
        await failing_listener_of(EventEmitter(), error)

    error = BoomError()
    pyuvnet.run(main())
    assert trace == [error]


@pytest.mark.spec("S6.6-08")
def test_failure_of_a_coroutine_listener_goes_to_asyncios_handler(trace):
    async def main():
        asyncio.get_running_loop().set_exception_handler(
            lambda loop, context: trace(context["exception"])
        )
        await failing_listener_of(EventEmitter(), error)

    error = BoomError()
    pyuvnet.run(main())
    assert trace == [error]


@pytest.mark.spec("S6.6-01", "S6.6-07")
def test_captured_failure_is_an_error_event(trace):
    async def main():
        emitter = EventEmitter(capture_rejections=True).on("error", trace.note("error"))
        await failing_listener_of(emitter, error)

    error = BoomError()
    pyuvnet.run(main())
    assert trace == [("error", error)]


def test_captured_failure_of_an_error_listener_does_not_come_round_again(trace):
    async def main():
        pyuvnet.set_exception_handler(trace.note("handler"))
        emitter = EventEmitter(capture_rejections=True)
        emitter.on("error", trace.note("error"))
        await failing_listener_of(emitter, error, "error")

    error = BoomError()
    pyuvnet.run(main())
    # Emitted by the test; captured; and what failed on that one goes to the handler.
    assert trace == [("error", error), ("error", error), ("handler", error)]


@pytest.mark.spec("S6.6-04")
def test_captured_failure_destroys_a_socket(trace):
    async def main():
        socket = net.Socket(capture_rejections=True)
        socket.on("error", trace.note("error")).on("close", trace.note("close"))
        await failing_listener_of(socket, error)
        assert socket.destroyed

    error = BoomError()
    pyuvnet.run(main())
    assert trace == [("error", error), ("close", True)]


def test_cancelled_listener_is_no_failure(trace):
    async def main():
        emitter = EventEmitter()
        pyuvnet.set_exception_handler(trace)

        @emitter.on("x")
        async def listener():
            asyncio.current_task().cancel()
            await asyncio.sleep(20)

        emitter.emit("x")
        await settle()

    pyuvnet.run(main())
    assert trace == []


def test_coroutine_listener_after_asyncio_has_ended_is_refused_and_closed():
    async def main():
        pass

    pyuvnet.run(main())
    emitter = EventEmitter()

    @emitter.on("x")
    async def listener():
        raise AssertionError

    with pytest.raises(StateError) as caught:
        emitter.emit("x")
    assert caught.value.code == "ERR_NO_ASYNC_LOOP"


def test_a_reset_before_the_coroutine_of_a_connection_begins_is_its_own(trace):
    # The reset is there before the task's first step, which comes before the socket reads.
    done = None

    async def serve(socket):
        trace("begun", socket.destroyed, socket.listener_count("error"))
        try:
            async for chunk in socket:
                trace(chunk)
        except OSError as error:
            trace(error.code)
            done.set()

    async def main():
        nonlocal done
        done = asyncio.Event()
        unhandled = asyncio.get_running_loop().set_exception_handler
        unhandled(lambda _, context: trace("unhandled", context))
        server = net.create_server(serve).listen(0, "127.0.0.1")
        await pyuvnet.events.once(server, "listening")
        peer = posix.create_connection(("127.0.0.1", server.address().port))
        peer.setsockopt(posix.SOL_SOCKET, posix.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        await done.wait()
        await settle()
        server.close()

    pyuvnet.run(main())
    assert trace == [("begun", False, 0), "ECONNRESET"]
