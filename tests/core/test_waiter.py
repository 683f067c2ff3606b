"""Waiter: a future for asyncio that is woken from our loop."""

from __future__ import annotations

import asyncio
import contextvars
import sys

import pytest

import pyuvnet
from pyuvnet import run
from pyuvnet._core.waiter import Waiter
from tests.support.errors import BoomError

pytestmark = pytest.mark.usefixtures("factory")


def run_to_the_end(main):
    """Run the coroutine, and then what it has left to our loop."""
    run(main)
    run()


async def soon(waiter, *settle):
    """Settle it inside a callback of ours, and await it meanwhile."""
    pyuvnet.set_immediate(*settle)
    return await waiter


def test_a_result_and_an_exception():
    async def main():
        waiter = Waiter()
        assert (waiter.done(), waiter.cancelled()) == (False, False)
        with pytest.raises(asyncio.InvalidStateError):
            waiter.result()
        assert await soon(waiter, waiter.set_result, 5) == 5
        assert (waiter.done(), waiter.result(), waiter.exception()) == (True, 5, None)
        assert await waiter == 5
        waiter.set_result(6)
        waiter.set_exception(BoomError())
        assert await waiter == 5
        assert waiter.cancel() is False
        failing = Waiter()
        with pytest.raises(BoomError):
            await soon(failing, failing.set_exception, BoomError())
        assert isinstance(failing.exception(), BoomError)

    run_to_the_end(main())


def test_without_asyncio_there_is_none():
    with pytest.raises(RuntimeError):
        Waiter()


def test_who_waits_goes_on_after_the_ticks_and_before_the_loop(trace):
    async def main():
        waiter = Waiter()

        def immediate():
            waiter.set_result(None)
            pyuvnet.next_tick(trace, "tick")
            pyuvnet.set_immediate(trace, "next immediate")

        await soon(waiter, immediate)
        trace("task")
        await asyncio.sleep(0.01)

    run_to_the_end(main())
    assert trace == ["tick", "task", "next immediate"]


@pytest.mark.parametrize("attached", [True, False])
def test_settled_outside_our_callbacks_it_wakes_all_the_same(attached):
    async def main():
        if not attached:
            pyuvnet.detach()
        waiter = Waiter()
        asyncio.get_running_loop().call_soon(waiter.set_result, 1)
        assert await asyncio.wait_for(waiter, 10) == 1

    run_to_the_end(main())


def test_detaching_right_after_it_was_settled_loses_nobody():
    async def main():
        waiter = Waiter()

        def settle():
            waiter.set_result(1)
            pyuvnet.detach()

        asyncio.get_running_loop().call_soon(settle)
        assert await asyncio.wait_for(waiter, 10) == 1

    run_to_the_end(main())


def test_cancelling_the_task_cancels_the_waiter_and_lets_go(trace):
    async def main():
        waiter = Waiter(trace.note("left"))
        task = asyncio.ensure_future(soon(waiter, trace, "immediate"))
        await asyncio.sleep(0)
        task.cancel("enough")
        with pytest.raises(asyncio.CancelledError):
            await task
        assert waiter.cancelled()
        waiter.set_result(1)
        with pytest.raises(asyncio.CancelledError, match="enough"):
            waiter.result()
        await asyncio.sleep(0.01)

    run_to_the_end(main())
    assert trace == ["left", "immediate"]


def test_several_may_wait_each_in_its_context(trace):
    who = contextvars.ContextVar("who", default="nobody")

    async def wait(name, waiter):
        who.set(name)
        await waiter
        trace(who.get())

    async def main():
        waiter = Waiter()
        tasks = [asyncio.ensure_future(wait(name, waiter)) for name in "abc"]
        await asyncio.sleep(0)
        dropped = trace.note("dropped")
        waiter.add_done_callback(dropped)
        assert waiter.remove_done_callback(dropped) == 1
        assert waiter.remove_done_callback(dropped) == 0
        pyuvnet.set_immediate(waiter.set_result, None)
        await asyncio.gather(*tasks)
        waiter.add_done_callback(lambda done: trace(done is waiter))
        await asyncio.sleep(0)

    run_to_the_end(main())
    assert trace == ["a", "b", "c", True]


def test_awaiting_leaves_no_reference_behind():
    async def main():
        kind = type(Waiter().__await__())
        before = sys.getrefcount(kind)
        for _ in range(100):
            waiter = Waiter()
            waiter.set_result(5)
            assert await waiter == 5
        assert sys.getrefcount(kind) - before < 10

    run_to_the_end(main())


def test_it_can_be_driven_by_hand():
    async def main():
        waiter = Waiter()
        driven = waiter.__await__()
        assert iter(driven) is driven
        assert driven.send(None) is waiter
        assert waiter._asyncio_future_blocking
        waiter.set_result((1, 2))
        with pytest.raises(StopIteration) as ended:
            driven.send(None)
        assert ended.value.value == (1, 2)
        # As a generator that has ended: nothing more.
        driven.close()
        with pytest.raises(StopIteration) as ended:
            next(driven)
        assert ended.value.value is None
        early = Waiter().__await__()
        next(early)
        with pytest.raises(asyncio.InvalidStateError):
            next(early)
        thrown = iter(Waiter())
        next(thrown)
        for given in (BoomError("E"), BoomError):
            with pytest.raises(BoomError):
                thrown.throw(given)
        with pytest.raises(StopIteration):
            next(thrown)

    run_to_the_end(main())
