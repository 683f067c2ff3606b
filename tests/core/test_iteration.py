"""async for, chunk by chunk: what it costs the loop, and how a waiting task ends."""

from __future__ import annotations

import asyncio

import pytest

import pyuvnet
from pyuvnet import Readable, next_tick, run
from pyuvnet._core import iteration
from tests.support.errors import BoomError

pytestmark = pytest.mark.usefixtures("factory")


def run_to_the_end(main):
    """Run the coroutine, and then what it has left to our loop."""
    run(main)
    run()


class Source(Readable):
    """Everything comes by push()."""

    def _read(self, size):
        pass


def test_buffered_chunks_come_without_leaving_the_task(trace):
    async def other():
        trace("other")

    async def main():
        source = Source(high_water_mark=1)
        task = None
        for chunk in (b"a", b"b"):
            source.push(chunk)
        async for chunk in source:
            trace(chunk)
            if task is None:
                task = asyncio.ensure_future(other())
                source.push(b"c")
            elif chunk == b"c":
                break
        await task
        source.destroy()

    run_to_the_end(main())
    assert b"".join(trace[:-1]) == b"abc"
    assert trace[-1] == "other"


def test_a_chunk_that_comes_later_goes_on_before_the_loop_does(trace):
    async def main():
        source = Source()

        def push():
            source.push(b"a")
            asyncio.get_running_loop().call_soon(trace, "asyncio's next round")

        next_tick(push)
        async for chunk in source:
            trace(chunk)
            break
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        source.destroy()

    run_to_the_end(main())
    assert trace == [b"a", "asyncio's next round"]


def test_a_reader_is_no_listener(trace):
    async def main():
        source = Source()
        source.on("newListener", lambda event, listener: trace(event))
        source.on("removeListener", lambda event, listener: trace(event))
        trace.clear()
        iterator = source.iterator()
        for _ in range(3):
            next_tick(source.push, b"a")
            assert await anext(iterator) == b"a"
        await iterator.aclose()
        assert trace == []
        source.destroy()

    run_to_the_end(main())


def test_two_tasks_cannot_wait_for_the_same_stream():
    async def main():
        source = Source()
        iterator = source.iterator()
        first = asyncio.ensure_future(iterator.__anext__())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="another task"):
            await anext(iterator)
        next_tick(source.push, b"a")
        assert await first == b"a"
        await iterator.aclose()

    run_to_the_end(main())


def test_a_cancelled_task_loses_no_chunk():
    async def main():
        source = Source()
        iterator = source.iterator()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(anext(iterator), 0.001)
        source.push(b"a")
        assert await asyncio.wait_for(anext(iterator), 10) == b"a"
        task = asyncio.ensure_future(anext(iterator, None))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        source.push(b"b")
        source.push(None)
        assert await anext(iterator) == b"b"
        assert await anext(iterator, "over") == "over"
        with pytest.raises(StopAsyncIteration):
            await anext(iterator)

    run_to_the_end(main())


def test_leaving_wakes_a_task_that_waits():
    async def main():
        source = Source()
        iterator = source.iterator()
        task = asyncio.ensure_future(anext(iterator, "over"))
        await asyncio.sleep(0)
        await iterator.aclose()
        assert await asyncio.wait_for(task, 10) == "over"
        assert source.destroyed

    run_to_the_end(main())


def test_a_step_may_be_driven_as_a_coroutine_is(trace):
    async def main():
        source = Source()
        iterator = source.iterator()
        step = iterator.__anext__()
        assert not step.send(None).done()
        with pytest.raises(BoomError):
            step.throw(BoomError())
        step = iterator.__anext__()
        assert not next(step).done()
        with pytest.raises(BoomError, match="text"):
            step.throw(BoomError, "text")
        step = iterator.__anext__()
        next(step)
        step.close()
        source.push(b"a")
        with pytest.raises(StopIteration) as caught:
            iterator.__anext__().send(None)
        assert caught.value.value == b"a"
        await iterator.aclose()

    run_to_the_end(main())


def test_an_own_read_is_asked():
    class Own(Source):
        def read(self, size=None):
            chunk = super().read(size)
            return None if chunk is None else chunk.upper()

    async def main():
        source = Own()
        source.push(b"a")
        source.push(None)
        assert [chunk async for chunk in source] == [b"A"]

    run_to_the_end(main())


def test_an_iterator_lives_while_somebody_awaits_its_next_chunk(trace):
    async def main():
        source = Source()
        next_tick(source.push, b"a")
        # Nothing else refers to it: dropped before the chunk is here, it would leave the stream.
        trace(await anext(aiter(source)))

    run_to_the_end(main())
    assert trace == [b"a"]


def test_what_is_half_built_refuses():
    iterator = iteration.ChunkIterator.__new__(iteration.ChunkIterator)
    with pytest.raises(pyuvnet.StateError) as caught:
        next(iterator.__anext__())
    assert caught.value.code == "ERR_NOT_CONSTRUCTED"
    with pytest.raises(pyuvnet.StateError) as caught:
        iteration.ChunkReader(Readable.__new__(Readable))
    assert caught.value.code == "ERR_NOT_CONSTRUCTED"
    for kind in (iteration.ChunkIterator, iteration.ChunkReader):
        with pytest.raises(TypeError):
            kind(None)


def test_a_read_of_the_programs_own_may_return_a_tuple(factory):
    class Pairs(Readable):
        given = ((b"a", b"b"), None)

        def read(self, size=None):
            return self.given[0]

    async def main():
        pairs = Pairs()
        async for pair in pairs:
            assert pair == (b"a", b"b")
            break

    pyuvnet.run(main())
