"""Stepper: coroutine listeners go on without asyncio, and nobody can tell."""

from __future__ import annotations

import asyncio
import contextvars
import sys
import traceback

import pytest

import pyuvnet
from pyuvnet import EventEmitter, Readable, run
from pyuvnet._core.waiter import Stepper, Waiter
from tests.support.errors import BoomError
from tests.support.loops import LOOPS

pytestmark = pytest.mark.usefixtures("factory")


class Source(Readable):
    """Everything comes by push()."""

    def _read(self, size):
        pass


@pytest.fixture
def listen():
    """listen(function) starts it as a coroutine listener; returns its task."""

    def start(function):
        tasks = []

        async def listener():
            tasks.append(asyncio.current_task())
            return await function()

        EventEmitter().on("x", listener).emit("x")
        return started(tasks)

    async def started(tasks):
        while not tasks:
            await asyncio.sleep(0)
        return tasks[0]

    return start


async def turns(number=5):
    for _ in range(number):
        await asyncio.sleep(0)


async def pushed(source, *chunks):
    """Push each chunk in a callback of its own."""
    for chunk in chunks:
        done = asyncio.Event()
        pyuvnet.set_immediate(lambda chunk=chunk, done=done: (source.push(chunk), done.set()))
        await done.wait()


def test_many_chunks_pass_in_the_tasks_own_context(listen, trace):
    name = contextvars.ContextVar("name", default="nobody")

    async def main():
        source = Source()

        async def take():
            name.set("taker")
            async for chunk in source:
                trace(chunk, name.get(), asyncio.current_task() is task)
                name.set(name.get() + "+")
            return "result"

        task = await listen(take)
        await pushed(source, b"a", b"b", b"c", None)
        assert await task == "result"
        assert asyncio.current_task() is not task
        assert name.get() == "nobody"

    run(main())
    assert trace == [
        (b"a", "taker", True),
        (b"b", "taker+", True),
        (b"c", "taker++", True),
    ]


def test_anything_else_may_be_awaited_between_chunks(listen, trace):
    async def main():
        source = Source()
        other = Waiter()

        async def failing():
            await asyncio.sleep(0)
            raise BoomError

        async def take():
            async for chunk in source:
                trace(chunk)
                if chunk == b"a":
                    await asyncio.sleep(0.001)
                elif chunk == b"b":
                    trace(await other)
                elif chunk == b"c":
                    with pytest.raises(BoomError):
                        await failing()
                    trace("caught")
                else:
                    trace(await asyncio.gather(asyncio.sleep(0, 1), asyncio.sleep(0, 2)))

        task = await listen(take)
        await pushed(source, b"a", b"b")
        await asyncio.sleep(0.01)
        pyuvnet.set_immediate(other.set_result, "other")
        await turns()
        await pushed(source, b"c")
        await turns()
        await pushed(source, b"d", None)
        await task

    run(main())
    assert trace == [b"a", b"b", "other", b"c", "caught", b"d", [1, 2]]


@pytest.mark.parametrize("chunks", [1, 3])
def test_what_it_raises_or_returns_is_the_tasks(listen, chunks):
    async def main():
        async def take(source, end):
            taken = 0
            async for _ in source:
                taken += 1
                if taken == chunks:
                    return end()
            return None

        def fail():
            raise BoomError("text")

        pyuvnet.set_exception_handler(errors.append)
        source = Source()
        task = await listen(lambda: take(source, fail))
        await pushed(source, *[b"x"] * chunks)
        with pytest.raises(BoomError, match="text") as caught:
            await task
        told = "".join(traceback.format_exception(caught.value))
        assert "in fail" in told
        source = Source()
        task = await listen(lambda: take(source, lambda: (1, 2)))
        await pushed(source, *[b"x"] * chunks)
        assert await task == (1, 2)
        await turns()
        return [caught.value]

    errors = []
    assert run(main()) == errors


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_ends_programs_comes_out_of_run(listen, kind):
    async def main():
        source = Source()

        async def take():
            async for chunk in source:
                if chunk == b"b":
                    raise kind

        await listen(take)
        await pushed(source, b"a", b"b")
        await asyncio.sleep(60)

    with pytest.raises(kind):
        run(main())


def test_cancelled_while_it_waits_for_a_chunk(listen, trace):
    async def main():
        source = Source()

        async def take():
            try:
                async for chunk in source:
                    trace(chunk)
            finally:
                trace("left")

        task = await listen(take)
        await pushed(source, b"a", b"b")
        task.cancel("enough")
        with pytest.raises(asyncio.CancelledError, match="enough"):
            await task
        assert task.cancelled()

    run(main())
    assert trace == [b"a", b"b", "left"]


def test_cancelled_after_its_chunk_came_and_before_it_goes_on(listen, trace):
    async def main():
        source = Source()

        async def take():
            async for chunk in source:
                trace(chunk)

        task = await listen(take)
        await pushed(source, b"a")

        def both():
            # 'readable' comes in a tick, and the task goes on after all ticks.
            source.on("readable", lambda: pyuvnet.next_tick(task.cancel))
            source.push(b"b")

        pyuvnet.set_immediate(both)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert source.destroyed

    run(main())
    assert trace == [b"a"]


async def cancel_self():
    asyncio.current_task().cancel("myself")


@pytest.mark.parametrize(
    "then", ["chunk", "sleep", "waiter", "return", "raise", "shielded", "turn"]
)
def test_one_that_cancels_itself_is_as_asyncio_has_it(listen, trace, then):
    async def body(source):
        async for chunk in source:
            trace(chunk)
            if chunk != b"b":
                continue
            await cancel_self()
            if then == "return":
                return
            if then == "raise":
                raise BoomError
            if then == "chunk":
                continue
            if then == "turn":
                await asyncio.sleep(0)
            future = {
                "sleep": lambda: asyncio.ensure_future(asyncio.sleep(60)),
                "waiter": Waiter,
                "turn": Waiter,
                "shielded": asyncio.get_running_loop().create_future,
            }[then]()
            if then == "shielded":
                future.set_result(None)
                await asyncio.shield(future)
                await asyncio.sleep(60)
            try:
                await future
            finally:
                trace(future.cancelled())

    async def outcome(task):
        try:
            await task
        except (asyncio.CancelledError, BoomError) as error:
            return type(error), str(error), task.cancelled(), task.cancelling()
        return "result", task.cancelled(), task.cancelling()

    async def main():
        pyuvnet.set_exception_handler(lambda error: None)
        found = []
        for start in (asyncio.create_task, None):
            source = Source()
            if start is None:
                task = await listen(lambda source=source: body(source))
            else:
                task = start(body(source))
            await turns()
            await pushed(source, b"a", b"b")
            await turns()
            await pushed(source, b"c")
            found.append((await outcome(task), list(trace)))
            trace.clear()
        assert found[0] == found[1]

    run(main())


def test_a_timeout_ends_the_waiting_for_a_chunk(listen, trace):
    async def main():
        source = Source()

        async def take():
            iterator = aiter(source)
            trace(await anext(iterator))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.001):
                    await anext(iterator)
            trace(await anext(iterator))

        task = await listen(take)
        await pushed(source, b"a")
        await asyncio.sleep(0.02)
        await pushed(source, b"b")
        await task

    run(main())
    assert trace == [b"a", b"b"]


def test_a_task_that_is_not_asyncios_own_is_asyncios_to_step(listen, trace):
    class Own(asyncio.Task):
        pass

    async def main():
        asyncio.get_running_loop().set_task_factory(
            lambda loop, coroutine, **more: Own(coroutine, loop=loop, **more)
        )
        source = Source()

        async def take():
            async for chunk in source:
                trace(chunk)

        task = await listen(take)
        assert type(task) is Own
        await pushed(source, b"a", b"b", None)
        await task

    run(main())
    assert trace == [b"a", b"b"]


# ---- Turns by hand -------------------------------------------------------------------------------


def plain_task(function):
    async def start():
        task = asyncio.create_task(function())
        await turns()
        return task

    return start()


@pytest.mark.parametrize("kind", ["coroutine listener", "task", "two tasks"])
def test_a_turn_within_another_task_wakes_who_waits_when_that_is_done(listen, trace, kind):
    async def main():
        reported = []
        pyuvnet.set_exception_handler(reported.append)
        waiter, source = Waiter(), Source()

        async def take():
            async for chunk in source:
                trace(chunk, asyncio.current_task() is task)

        async def wait():
            trace(await waiter)

        if kind == "two tasks":
            task, other = await plain_task(wait), await plain_task(wait)
        else:
            task = other = await (listen if kind == "coroutine listener" else plain_task)(take)
        for number, chunk in enumerate((b"a", b"b")):
            pyuvnet.set_immediate(source.push, chunk)
            pyuvnet.set_immediate(waiter.set_result, chunk)
            pyuvnet.current_loop().turn()
            await turns()
            assert len(trace) == 2 if kind == "two tasks" else len(trace) == number + 1
        await pushed(source, b"c", None)
        await asyncio.gather(task, other)
        assert reported == []

    run(main())
    if kind == "two tasks":
        assert trace == [b"a", b"a"]
    else:
        assert trace == [(b"a", True), (b"b", True), (b"c", True)]


@pytest.mark.parametrize("kind", ["coroutine listener", "task"])
def test_a_turn_within_another_task_brings_a_failure_too(listen, trace, kind):
    async def main():
        waiter = Waiter()

        async def wait():
            with pytest.raises(BoomError):
                await waiter
            trace("raised")
            with pytest.raises(asyncio.CancelledError):
                await Waiter()
            trace("cancelled")

        task = await (listen if kind == "coroutine listener" else plain_task)(wait)
        pyuvnet.set_immediate(waiter.set_exception, BoomError())
        pyuvnet.current_loop().turn()
        assert trace == []
        await turns()
        assert trace == ["raised"]
        task.cancel()
        await task

    run(main())
    assert trace == ["raised", "cancelled"]


def test_a_cancellation_between_a_turn_within_another_task_and_the_step(listen, trace):
    async def main():
        source = Source()

        async def take():
            async for chunk in source:
                trace(chunk)

        task = await listen(take)
        pyuvnet.set_immediate(source.push, b"a")
        pyuvnet.current_loop().turn()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
    assert trace == []


def test_a_turn_in_the_very_context_of_who_waits(listen, trace):
    shared = contextvars.copy_context()

    async def main():
        reported = []
        pyuvnet.set_exception_handler(reported.append)
        loop = asyncio.get_running_loop()
        loop.set_task_factory(
            lambda loop, coroutine, **more: asyncio.Task(coroutine, loop=loop, context=shared)
        )
        source = Source()

        async def take():
            async for chunk in source:
                trace(chunk)

        task = await listen(take)
        loop.set_task_factory(None)

        def turn():
            pyuvnet.set_immediate(source.push, b"a")
            pyuvnet.current_loop().turn()

        loop.call_soon(turn, context=shared)
        await turns()
        assert trace == [b"a"]
        await pushed(source, b"b", None)
        await task
        assert reported == []

    run(main())
    assert trace == [b"a", b"b"]


def test_a_turn_within_a_step_of_ours_has_no_effect(listen, trace):
    async def main():
        source = Source()

        async def take():
            async for chunk in source:
                pyuvnet.set_immediate(trace, "immediate")
                pyuvnet.current_loop().turn()
                trace(chunk)
                with pytest.raises(pyuvnet.StateError):
                    pyuvnet.current_loop().run()

        task = await listen(take)
        await pushed(source, b"a", b"b", None)
        await task
        await turns()

    run(main())
    assert trace == [b"a", "immediate", b"b", "immediate"]


def test_a_step_in_which_its_own_stepper_is_made_again(run_child):
    run_child(
        """
        import asyncio, gc
        import pyuvnet
        from pyuvnet._core.waiter import Stepper, Waiter

        async def other():
            pass

        async def main():
            emitter, waiter, went_on = pyuvnet.EventEmitter(), Waiter(), []

            async def listener():
                stepper = asyncio.current_task().get_coro()
                await waiter
                left = other()
                try:
                    stepper.__init__(left)
                except pyuvnet.StateError as error:
                    went_on.append(error.code)
                left.close()
                gc.collect()

            emitter.on("x", listener).emit("x")
            for _ in range(5):
                await asyncio.sleep(0)
            pyuvnet.set_immediate(waiter.set_result, None)
            for _ in range(5):
                await asyncio.sleep(0)
            assert went_on == ["ERR_CONSTRUCTED_TWICE"], went_on

        pyuvnet.run(main())
        """
    ).clean()


# ---- What is seen of it --------------------------------------------------------------------------


def test_tools_see_the_coroutine(listen):
    async def main():
        source = Source()

        async def take():
            await anext(aiter(source))

        task = await listen(take)
        assert "listener() running at" in repr(task)
        assert [frame.f_code.co_name for frame in task.get_stack()] == ["listener"]
        coroutine = task.get_coro()
        assert isinstance(coroutine, Stepper)
        assert coroutine.__name__ == "listener"
        assert "listener" in coroutine.__qualname__
        assert coroutine.cr_code is coroutine.coroutine.cr_code
        assert coroutine.cr_running is False
        assert coroutine.cr_await.cr_code.co_name == "take"
        task.cancel()
        await turns()

    run(main())


def test_it_is_a_coroutine_by_hand_too(trace):
    async def work():
        try:
            trace(await Waiter())
        except BoomError:
            trace("boom")
        return "over"

    async def main():
        stepper = Stepper(work())
        waiter = stepper.send(None)
        assert isinstance(waiter, Waiter)
        waiter.set_result("result")
        with pytest.raises(StopIteration) as caught:
            next(iter(stepper))
        assert caught.value.value == "over"
        stepper = Stepper(work())
        next(stepper)
        with pytest.raises(StopIteration):
            stepper.throw(BoomError)
        stepper = Stepper(work())
        next(stepper)
        stepper.close()
        assert await Stepper(asyncio.sleep(0, "slept")) == "slept"

    run(main())
    assert trace == ["result", "boom"]


def test_a_task_factory_may_wrap_it_in_a_task_of_its_own(listen, trace):
    # Then the task that create_task() returned is not the one that takes the steps.
    async def main():
        loop = asyncio.get_running_loop()

        def wrapped(loop, coroutine, **options):
            async def outer():
                return await asyncio.Task(coroutine, loop=loop)

            return asyncio.Task(outer(), loop=loop, **options)

        source = Source()

        async def take():
            async for chunk in source:
                trace(chunk, asyncio.current_task() is tasks[0])

        tasks = []

        async def taking():
            tasks.append(asyncio.current_task())
            await take()

        loop.set_task_factory(wrapped)
        EventEmitter().on("x", taking).emit("x")
        loop.set_task_factory(None)
        while not tasks:
            await asyncio.sleep(0)
        await pushed(source, b"a", b"b", b"c", None)
        await tasks[0]

    run(main())
    assert trace == [(b"a", True), (b"b", True), (b"c", True)]


@pytest.mark.parametrize("stepped", [True, False])
def test_a_cancellation_that_is_taken_back(listen, trace, stepped):
    async def main():
        source = Source()

        async def take():
            try:
                async for chunk in source:
                    trace(chunk)
                    task.cancel()
                    task.uncancel()
                    if not stepped:
                        await asyncio.sleep(0)
            except asyncio.CancelledError:
                trace("cancelled")

        task = await listen(take)
        await pushed(source, b"a")
        await turns()
        await pushed(source, b"b", None)
        await task

    run(main())
    # From 3.13 on uncancel() takes the request back.
    kept = sys.version_info >= (3, 13)
    assert trace == ([b"a", b"b"] if kept else [b"a", "cancelled"])


@pytest.mark.skipif(sys.version_info < (3, 12), reason="tasks are not eager there")
def test_an_eager_task_that_waits_for_the_next_chunk_can_be_cancelled(listen, trace, factory):
    if factory is LOOPS.get("uvloop"):
        pytest.skip("uvloop passes on an argument that eager_task_factory does not take")

    async def main():
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        source = Source()
        chunks = aiter(source)

        async def other():
            await anext(chunks)

        async def take():
            await anext(chunks)
            trace(await anext(chunks))
            task = asyncio.create_task(other())
            task.cancel()
            await asyncio.wait([task])
            trace(task.cancelled())

        task = await listen(take)
        await pushed(source, b"a", b"b")
        await task
        source.destroy()

    run(main())
    assert trace == [b"b", True]


def test_what_cannot_be_cancelled_any_more_is_as_asyncio_has_it(listen, trace):
    # A gather() whose parts are done: until 3.11 it is waited for, and cannot be cancelled.
    async def gathered(note):
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        group = asyncio.gather(done)
        asyncio.current_task().cancel("enough")
        try:
            await group
        except asyncio.CancelledError as error:
            note("inside", group.done(), error.args)

    async def end(task, note):
        try:
            await task
        except asyncio.CancelledError:
            note("outside")

    async def main():
        source = Source()

        async def take():
            async for chunk in source:
                if chunk == b"b":
                    await gathered(trace)
                    return

        task = await listen(take)
        await pushed(source, b"a", b"b")
        await end(task, trace)
        source.destroy()
        await end(asyncio.create_task(gathered(plain)), plain)

    seen = []

    def plain(*entry):
        seen.append(entry if len(entry) > 1 else entry[0])

    run(main())
    assert trace == seen
    assert trace
