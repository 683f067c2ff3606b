"""A running loop of asyncio or uvloop drives ours, by itself or by attach(); or none does."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
import time
import types
import warnings

import pytest

import pyuvnet
from pyuvnet import (
    AbortSignal,
    ArgTypeError,
    BoundSocket,
    EventEmitter,
    StateError,
    events,
    net,
    streams,
)
from pyuvnet._aio import undriven as _undriven
from pyuvnet._aio.driver import drivers
from pyuvnet._core import upcalls
from tests.support.errors import BoomError
from tests.support.loops import LOOPS, done, echo, fail, settle, told, wakers

pytestmark = pytest.mark.usefixtures("factory")


def attached():
    """Whether the asyncio loop that runs drives this thread's loop."""
    driver = drivers.get(pyuvnet.current_loop())
    return driver is not None and driver.theirs is asyncio.get_running_loop()


@pytest.fixture
def by_hand(monkeypatch):
    """Nothing attaches by itself."""
    monkeypatch.setattr(pyuvnet.loop, "auto_attach", False)


# ---- Without a call ------------------------------------------------------------------------------


async def listening():
    server = net.create_server()
    server.listen(0, "127.0.0.1")
    await events.once(server, "listening")
    server.close()
    await events.once(server, "close")


async def connected():
    server = net.create_server()
    server.listen(0, "127.0.0.1")
    await told(server, "listening")
    socket = await net.promises.connect(server.address())
    async with server:
        socket.destroy()


async def fired():
    future = asyncio.get_running_loop().create_future()
    pyuvnet.set_timeout(future.set_result, 1, None)
    await future


async def repeated():
    future = asyncio.get_running_loop().create_future()

    def tick():
        pyuvnet.clear_interval(interval)
        future.set_result(None)

    interval = pyuvnet.set_interval(tick, 1)
    await future


async def bound():
    socket = BoundSocket(host="127.0.0.1", port=0)
    server = net.create_server().listen(socket)
    server.on("listening", server.close)
    await told(server, "close")


async def waited():
    emitter = EventEmitter()
    waiter = events.once(emitter, "x")
    assert attached()
    asyncio.get_running_loop().call_soon(emitter.emit, "x")
    await waiter
    # A turn of ours is due, too.
    await settle()


async def timed_out():
    with pytest.raises(pyuvnet.AbortError):
        await events.once(EventEmitter(), "x", signal=AbortSignal.timeout(1))


async def read():
    assert [chunk async for chunk in streams.Readable.from_iterable(["a", "b"])] == [b"a", b"b"]


async def in_a_callback():
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(pyuvnet.set_immediate, future.set_result, None)
    await future


FIRST = {
    "server": listening,
    "socket": connected,
    "timeout": fired,
    "interval": repeated,
    "tick": lambda: done(pyuvnet.next_tick),
    "immediate": lambda: done(pyuvnet.set_immediate),
    "bound socket": bound,
    "events.once()": waited,
    "abort signal": timed_out,
    "stream": read,
    "callback of asyncio's": in_a_callback,
}


@pytest.mark.spec("D85")
@pytest.mark.parametrize("first", FIRST)
def test_the_first_use_attaches(loop, first):
    async def main():
        await FIRST[first]()
        assert attached()

    assert warned(main) == []
    # The end of their loop detached.
    assert loop not in drivers


def test_current_loop_attaches_nothing():
    async def main():
        pyuvnet.current_loop()
        pyuvnet.detach()
        assert not attached()

    asyncio.run(main())


def test_what_was_begun_before_asyncio_ran_goes_on_with_the_first_use(trace):
    server = net.create_server(lambda socket: socket.end("hello"))
    server.listen(0, "127.0.0.1").on("listening", trace.note("listening"))
    pyuvnet.set_timeout(trace, 1, "timeout")

    async def main():
        await events.once(server, "listening")
        client = await net.promises.connect(server.address())
        assert [chunk async for chunk in client] == [b"hello"]
        while "timeout" not in trace:
            await asyncio.sleep(0.001)
        server.close()
        await events.once(server, "close")

    asyncio.run(main())
    assert trace == ["listening", "timeout"]


def test_each_loop_of_asyncio_in_its_turn():
    kept = []

    async def fails():
        await echo(b"x")
        raise BoomError

    for n in range(3):
        assert asyncio.run(echo(b"%d" % n)) == b"%d" % n
        # Its traceback keeps frames of the loop that ended.
        with pytest.raises(BoomError) as caught:
            asyncio.run(fails())
        kept.append(caught)
        assert pyuvnet.run(echo(b"run")) == b"run"


def test_a_loop_that_closed_with_a_traceback_about_does_not_stay():
    failures = []

    async def main():
        asyncio.get_running_loop().set_exception_handler(
            lambda loop, context: failures.append(context["exception"])
        )
        pyuvnet.set_immediate(fail, BoomError())
        while not failures:
            await asyncio.sleep(0.001)

    asyncio.run(main())
    for use in FIRST.values():
        asyncio.run(use())
    asyncio.run(main())
    pyuvnet.run()


def test_a_thread_with_an_asyncio_loop_of_its_own_attaches_its_own():
    def program():
        results.append(asyncio.run(echo(threading.current_thread().name.encode())))

    async def main():
        first = await echo(b"main")
        await asyncio.gather(*(asyncio.to_thread(program) for n in range(3)))
        return first, await echo(b"main")

    results = []
    assert asyncio.run(main()) == (b"main", b"main")
    assert len(results) == 3


def test_a_thread_without_asyncio_runs_its_loop_by_itself(trace):
    def program():
        pyuvnet.set_timeout(trace, 1, "timeout")
        assert pyuvnet.current_loop() not in drivers
        pyuvnet.run()

    async def main():
        await echo(b"x")
        await asyncio.to_thread(program)

    asyncio.run(main())
    assert trace == ["timeout"]


def test_a_loop_that_runs_by_itself_is_not_attached(trace):
    async def main():
        pyuvnet.set_immediate(trace, "ran by run()")
        await asyncio.sleep(0)
        assert not attached()
        trace("asyncio is over")

    pyuvnet.next_tick(lambda: asyncio.run(main()))
    pyuvnet.run()
    assert trace == ["asyncio is over", "ran by run()"]


def test_run_with_a_coroutine_drives_already(loop):
    async def main():
        driver = drivers[loop]
        await echo(b"x")
        assert drivers[loop] is driver
        assert not driver.automatic

    pyuvnet.run(main())
    assert loop not in drivers


def test_run_in_a_coroutine_is_refused():
    async def main():
        for _ in range(2):
            with pytest.raises(StateError, match="await instead of calling run") as caught:
                pyuvnet.run()
            assert caught.value.code == "ERR_LOOP_RUNNING"
        return await echo(b"x")

    assert warned(main) == []


def test_between_the_runs_of_asyncios_loop_ours_may_run_by_itself(factory, trace):
    theirs = factory()
    assert theirs.run_until_complete(echo(b"x")) == b"x"
    pyuvnet.set_timeout(trace, 1, "plain")
    pyuvnet.run()
    assert theirs.run_until_complete(echo(b"x")) == b"x"
    assert pyuvnet.run(echo(b"x")) == b"x"
    assert theirs.run_until_complete(echo(b"x")) == b"x"
    theirs.close()
    assert trace == ["plain"]


def test_another_loop_of_asyncio_takes_over_when_nothing_is_open(factory):
    first, second = factory(), factory()
    for theirs in (first, second, first, second):
        for _ in range(2):
            assert theirs.run_until_complete(echo(b"x")) == b"x"
    first.close()
    assert second.run_until_complete(echo(b"x")) == b"x"
    second.close()


def test_another_loop_of_asyncio_does_not_take_what_is_open(factory, loop):
    async def listen():
        server = net.create_server()
        server.listen(0, "127.0.0.1")
        await events.once(server, "listening")
        return server

    async def careless():
        for _ in range(2):
            net.connect(1, "127.0.0.1").destroy()
            await asyncio.sleep(0)
        with pytest.raises(StateError) as caught:
            pyuvnet.attach()
        assert caught.value.code == "ERR_LOOP_RUNNING"

    async def close(server):
        server.close()
        await events.once(server, "close")

    theirs = factory()
    server = theirs.run_until_complete(listen())
    (warning,) = warned(careless)
    assert "another asyncio loop" in str(warning.message)
    assert warning.filename == __file__
    # The first one goes on, and then gives way.
    theirs.run_until_complete(close(server))
    assert asyncio.run(echo(b"x")) == b"x"
    theirs.close()


def test_a_coroutine_listener_needs_asyncio_and_nothing_else(trace):
    async def main():
        emitter = EventEmitter()

        async def listener(value):
            await asyncio.sleep(0)
            trace(value)

        emitter.on("x", listener)
        emitter.emit("x", 1)
        while not trace:
            await asyncio.sleep(0)

    asyncio.run(main())
    assert trace == [1]


def test_without_asyncio_one_check_for_each_loop():
    seen = []

    def noted(ours, theirs):
        seen.append(theirs)
        _undriven.loop_undriven(ours, theirs)

    async def main():
        await echo(b"x")
        before = len(seen)
        await echo(b"x")
        assert len(seen) == before

    upcalls.provide(loop_undriven=noted)
    try:
        for _ in range(3):
            pyuvnet.clear_timeout(pyuvnet.set_timeout(print, 1))
            net.Socket().destroy()
            pyuvnet.run()
        assert seen == [None]
        # Nor is there another one where asyncio drives it.
        asyncio.run(main())
    finally:
        upcalls.provide(loop_undriven=_undriven.loop_undriven)


class NoDescriptorsLeft(asyncio.SelectorEventLoop):
    failing = 0

    def add_reader(self, fd, callback, *args):
        if self.failing:
            self.failing -= 1
            raise OSError(24, "Too many open files")
        super().add_reader(fd, callback, *args)

    def call_soon(self, callback, *args, context=None):
        if self.failing_soon and "turn" in repr(callback):
            self.failing_soon -= 1
            raise MemoryError
        return super().call_soon(callback, *args, context=context)

    failing_soon = 0


@pytest.mark.parametrize("make", [net.Socket, net.Server, lambda: pyuvnet.set_timeout(print, 1)])
@pytest.mark.parametrize(
    ("attribute", "error"), [("failing", OSError), ("failing_soon", MemoryError)]
)
def test_a_failure_to_attach_leaves_nothing_behind(loop, make, attribute, error):
    async def main():
        theirs = asyncio.get_running_loop()
        setattr(theirs, attribute, 2)
        for _ in range(2):
            with pytest.raises(error):
                make()
            assert loop not in drivers
        return await echo(b"x")

    with asyncio.Runner(loop_factory=NoDescriptorsLeft) as runner:
        assert runner.run(main()) == b"x"
    loop.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork is POSIX's")
def test_a_forked_child_attaches_its_own(run_child, factory):
    kind = next(name for name in LOOPS if LOOPS[name] is factory)
    child = run_child(
        """
        import asyncio, os, sys, warnings
        from tests.support.loops import LOOPS, echo
        warnings.simplefilter("ignore", DeprecationWarning)

        def child():
            # asyncio's loop is the parent's; it does not count as running here.
            asyncio._set_running_loop(None)
            with asyncio.Runner(loop_factory=LOOPS[sys.argv[1]]) as runner:
                print(runner.run(echo(b"child")), flush=True)

        async def main():
            await echo(b"before")
            pid = os.fork()
            if not pid:
                try:
                    child()
                finally:
                    os._exit(0)
            await asyncio.to_thread(os.waitpid, pid, 0)
            print(await echo(b"after"))

        with asyncio.Runner(loop_factory=LOOPS[sys.argv[1]]) as runner:
            runner.run(main())
        """,
        kind,
    )
    assert child.clean().lines == ["b'child'", "b'after'"]


# ---- detach(), and auto_attach -------------------------------------------------------------------


def test_detach_holds_until_that_loop_of_asyncio_is_over(trace):
    async def main():
        assert await echo(b"x") == b"x"
        pyuvnet.detach()
        pyuvnet.set_immediate(trace, "ran")
        await asyncio.sleep(0.01)
        assert trace == []
        assert not attached()
        pyuvnet.attach()
        await settle()
        assert trace == ["ran"]
        pyuvnet.detach()

    (warning,) = warned(main)
    assert "does not drive it" in str(warning.message)
    assert warned(lambda: echo(b"x")) == []


def test_detach_of_nothing_has_no_effect_later():
    async def main():
        pyuvnet.detach()
        return await echo(b"x")

    assert asyncio.run(main()) == b"x"


def test_a_block_within_an_automatic_attachment_does_not_end_it():
    async def main():
        await echo(b"x")
        with pyuvnet.attach():
            await echo(b"x")
        assert attached()
        pyuvnet.attach()
        with pyuvnet.attach():
            pass
        return await echo(b"x")

    assert asyncio.run(main()) == b"x"


def test_blocks_of_several_tasks_overlap():
    async def main():
        first, second = asyncio.Event(), asyncio.Event()

        async def short():
            with pyuvnet.attach():
                first.set()
                await second.wait()
            assert attached()
            third.set()

        async def long():
            await first.wait()
            with pyuvnet.attach():
                second.set()
                await third.wait()
                assert await echo(b"x") == b"x"
                assert attached()
            assert not attached()

        third = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(short())
            group.create_task(long())

    asyncio.run(main())


def test_attach_within_a_block_outlasts_it():
    async def main():
        with pyuvnet.attach():
            pyuvnet.attach()
        assert attached()
        pyuvnet.detach()

    asyncio.run(main())


def test_what_is_open_when_a_block_ends_goes_on():
    async def main():
        with pyuvnet.attach():
            server = net.create_server(lambda socket: socket.end("hello"))
            server.listen(0, "127.0.0.1")
            await events.once(server, "listening")
        client = await net.promises.connect(server.address())
        received = [chunk async for chunk in client]
        server.close()
        await events.once(server, "close")
        return received

    assert asyncio.run(main()) == [b"hello"]


@pytest.mark.usefixtures("by_hand")
def test_without_auto_attach_what_is_open_when_a_block_ends_waits(trace):
    async def main():
        with pyuvnet.attach():
            pyuvnet.set_timeout(trace, 1, "timeout")
        await asyncio.sleep(0.02)
        assert not attached()
        assert trace == []

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        asyncio.run(main())
    pyuvnet.run()
    assert trace == ["timeout"]


def test_auto_attach_is_a_bool(monkeypatch):
    async def main():
        with pytest.raises(ArgTypeError, match=r"pyuvnet\.loop\.auto_attach"):
            net.Socket()

    monkeypatch.setattr(pyuvnet.loop, "auto_attach", "yes")
    asyncio.run(main())


# ---- attach() ------------------------------------------------------------------------------------


def test_attach_inside_asyncio():
    async def main():
        pyuvnet.attach()
        pyuvnet.attach()
        try:
            return await echo(b"attached")
        finally:
            pyuvnet.detach()
            pyuvnet.detach()

    assert asyncio.run(main()) == b"attached"


def test_attach_needs_a_running_loop():
    with pytest.raises(RuntimeError):
        pyuvnet.attach()


def test_detach_without_attach_has_no_effect():
    pyuvnet.detach()


def test_attach_as_a_context_manager(loop):
    async def main():
        with pyuvnet.attach() as ours:
            assert ours is loop
            assert attached()
            with pyuvnet.attach():
                await done(pyuvnet.set_immediate)
            # The inner one did not attach, so it does not detach either.
            return await echo(b"still attached")

    assert asyncio.run(main()) == b"still attached"
    pyuvnet.run()


def test_a_loop_that_closed_with_a_traceback_about_lets_the_next_one_attach():
    async def main(fails):
        pyuvnet.attach()
        if fails:
            failures = []
            asyncio.get_running_loop().set_exception_handler(
                lambda loop, context: failures.append(context["exception"])
            )
            emitter = EventEmitter()
            pyuvnet.set_immediate(emitter.emit, "error", BoomError())
            while not failures:
                await asyncio.sleep(0.001)
            # Its traceback has frames of who drove our loop.
            kept.append(failures)
        return await echo(b"attached")

    kept = []
    assert asyncio.run(main(True)) == b"attached"
    assert asyncio.run(main(False)) == b"attached"


@pytest.mark.usefixtures("by_hand")
def test_leaving_the_context_manager_detaches(trace):
    async def main():
        with pyuvnet.attach():
            pass
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pyuvnet.set_immediate(trace, "ran")
            await asyncio.sleep(0.01)
        assert trace == []
        with pyuvnet.attach():
            await done(pyuvnet.set_immediate)
        assert trace == ["ran"]

    asyncio.run(main())


def test_the_end_of_their_loop_detaches(loop, trace):
    async def main():
        pyuvnet.attach()
        await done(pyuvnet.set_immediate)

    asyncio.run(main())
    # At once, so not because of something that happens later.
    assert wakers() == []
    assert not loop.alive()
    pyuvnet.set_timeout(trace, 1, "plain run")
    pyuvnet.run()
    assert trace == ["plain run"]


@pytest.mark.parametrize("run", [asyncio.run, pyuvnet.run])
@pytest.mark.parametrize("traceback", [False, True])
def test_the_end_of_their_loop_closes_what_is_open_in_ours(run, traceback, trace):
    kept = []

    async def main():
        failures = []
        asyncio.get_running_loop().set_exception_handler(
            lambda loop, context: failures.append(context["exception"])
        )
        pyuvnet.current_loop().debug = True
        server = net.create_server().listen(0, "127.0.0.1")
        server.on("connection", lambda socket: socket.resume())
        server.on("close", trace.note("'close'"))
        await told(server, "listening")
        client = net.connect(server.address().port, "127.0.0.1")
        client.on("close", trace.note("'close'"))
        await asyncio.gather(events.once(client, "connect"), events.once(server, "connection"))
        pyuvnet.set_timeout(trace, 1, "timer of the first run")
        pyuvnet.next_tick(trace, "tick")
        if traceback:
            # Its frames keep asyncio from forgetting us.
            pyuvnet.set_immediate(fail, BoomError())
            while not failures:
                await done(pyuvnet.set_immediate)
            kept.append(failures)
        kept.append((server, client, server.address().port))

    async def again():
        pyuvnet.set_timeout(trace, 20, "timer of the second run")
        while not trace:
            await asyncio.sleep(0.001)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run(main())
        if traceback:
            pyuvnet.current_loop()
    _, client, port = kept[-1]
    texts = sorted(f"{one.category.__name__}: {one.message}".split(" ")[2] for one in caught)
    assert texts == ["<Server", "<Socket", "<Socket"]
    assert all("test_driver.py" in f"{one.filename}{one.message}" for one in caught)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    with pytest.raises(StateError) as refused:
        client.write(b"x")
    assert refused.value.code == "ERR_LOOP_CLOSED"
    assert set(trace) <= {"tick", "timer of the first run"}
    trace.clear()
    asyncio.run(again())
    assert trace == ["timer of the second run"]
    assert asyncio.run(echo(b"x")) == b"x"


def test_the_end_of_their_loop_spares_what_is_detached(trace):
    async def main():
        pyuvnet.set_timeout(trace, 1, "plain")
        pyuvnet.detach()

    asyncio.run(main())
    pyuvnet.run()
    assert trace == ["plain"]


def test_the_end_of_our_loop_detaches(trace):
    async def main():
        pyuvnet.attach()
        server = net.create_server().listen(0, "127.0.0.1")
        await events.once(server, "listening")
        # Not inside the callback of ours that told of it.
        await asyncio.sleep(0)
        pyuvnet.current_loop().close()
        pyuvnet.detach()
        await asyncio.sleep(0.01)
        with pyuvnet.attach():
            assert await echo(b"a fresh one") == b"a fresh one"

    asyncio.run(main())


def test_a_second_loop_of_asyncio_is_refused(factory):
    first = factory()

    async def attach():
        pyuvnet.attach()

    async def main():
        with pytest.raises(StateError) as caught:
            pyuvnet.attach()
        assert caught.value.code == "ERR_LOOP_RUNNING"

    first.run_until_complete(attach())
    asyncio.run(main())
    with pytest.raises(StateError):
        pyuvnet.run(main())
    # Between its runs nobody is driven, and nothing is lost.
    seen = []
    pyuvnet.set_immediate(seen.append, 1)
    first.run_until_complete(asyncio.sleep(0.01))
    assert seen == [1]
    first.close()


def test_a_thread_of_its_own_for_each_pair_of_loops():
    def program():
        results.append(pyuvnet.run(echo(threading.current_thread().name.encode())))

    results = []
    threads = [threading.Thread(target=program, name=f"n{n}") for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [b"n0", b"n1", b"n2"]


def test_callbacks_of_both_never_run_inside_each_other():
    inside = []
    overlaps = []

    def watched(name, function=lambda *args: None):
        def callback(*args):
            if inside:
                overlaps.append((inside[-1], name))
            inside.append(name)
            try:
                return function(*args)
            finally:
                inside.pop()

        return callback

    async def step(coroutine, name):
        """Run a coroutine, each of its steps as a callback of theirs."""
        send = coroutine.send
        value = None
        while True:
            try:
                future = watched(name, send)(value)
            except StopIteration as end:
                return end.value
            value = await _passed(future)

    async def work(n):
        loop = asyncio.get_running_loop()
        for _ in range(20):
            loop.call_soon(watched("call_soon"))
            pyuvnet.next_tick(watched("tick"))
            pyuvnet.set_immediate(watched("immediate", emitter.emit), "x")
            await events.once(emitter, "x")
            pyuvnet.set_timeout(watched("timer"), 1)
            loop.call_later(0.001, watched("call_later"))
            client.write(b"x")
            await events.once(client, "data")

    async def main():
        nonlocal client
        server = net.create_server(watched("connection", lambda s: s.on("data", s.write)))
        server.listen(0, "127.0.0.1")
        await events.once(server, "listening")
        client = net.connect(server.address().port, "127.0.0.1")
        client.on("data", watched("data"))
        await asyncio.gather(*(step(work(n), f"task {n}") for n in range(5)))
        client.end()
        server.close()
        await events.once(server, "close")
        await done(pyuvnet.set_timeout, 5)

    client, emitter = None, EventEmitter().set_max_listeners(0)
    pyuvnet.run(main())
    assert overlaps == []


@types.coroutine
def _passed(future):
    return (yield future)


def test_forgotten_detach_is_no_obstacle_later(trace):
    async def main():
        pyuvnet.attach()
        await done(pyuvnet.set_immediate)

    asyncio.run(main())
    pyuvnet.set_immediate(trace, "plain run")
    pyuvnet.run()
    asyncio.run(main())
    asyncio.run(main())
    # Something happens before anybody notices that the other loop is over.
    server = net.create_server().listen(0, "127.0.0.1")
    server.on("listening", server.close)
    pyuvnet.run()
    assert trace == ["plain run"]


def test_other_tasks_run_meanwhile(trace):
    async def ticking():
        for n in range(3):
            trace(n)
            await asyncio.sleep(0)

    async def main():
        task = asyncio.create_task(ticking())
        await echo(b"x")
        await task

    pyuvnet.run(main())
    assert trace == [0, 1, 2]


def test_an_idle_attached_loop_is_woken_by_another_thread():
    async def main():
        loop = pyuvnet.current_loop()
        future = asyncio.get_running_loop().create_future()
        await asyncio.to_thread(loop.call_soon_threadsafe, future.set_result, "woken")
        return await future

    assert pyuvnet.run(main()) == "woken"


def test_a_timer_set_by_a_task_fires():
    async def main():
        await asyncio.sleep(0)
        await done(pyuvnet.set_timeout, 1)
        await asyncio.sleep(0)
        await done(pyuvnet.next_tick)
        await done(pyuvnet.set_immediate)

    pyuvnet.run(main())


def test_stop_has_no_effect_while_attached():
    async def main():
        pyuvnet.stop()
        await done(lambda then: pyuvnet.set_immediate(lambda: (pyuvnet.stop(), then())))
        await done(pyuvnet.set_timeout, 1)

    pyuvnet.run(main())


def test_detach_in_a_listener(trace):
    async def main():
        pyuvnet.attach()
        pyuvnet.set_immediate(trace, "not driven any more")
        await done(lambda then: pyuvnet.next_tick(lambda: (pyuvnet.detach(), then())))
        for _ in range(5):
            await asyncio.sleep(0)

    asyncio.run(main())
    before = list(trace)
    pyuvnet.run()
    assert before in ([], ["not driven any more"])
    assert trace == ["not driven any more"]


def test_an_attached_loop_with_nothing_to_do_does_not_spin():
    async def main():
        pyuvnet.attach()
        began = time.process_time()
        await asyncio.sleep(0.5)
        return time.process_time() - began

    # A spinning loop takes the whole half second; the margin is for a busy machine.
    assert asyncio.run(main()) < 0.25


def test_timers_that_keep_nothing_alive_fire_under_asyncio():
    async def main():
        pyuvnet.attach()
        with pytest.raises(pyuvnet.AbortError):
            await pyuvnet.events.once(
                pyuvnet.EventEmitter(), "x", signal=pyuvnet.AbortSignal.timeout(1)
            )

    asyncio.run(asyncio.wait_for(main(), 10))


# ---- Exceptions ----------------------------------------------------------------------------------


def test_exception_of_a_listener_goes_to_asyncios_handler(trace):
    error = BoomError()

    async def main():
        asyncio.get_running_loop().set_exception_handler(
            lambda loop, context: trace(context["exception"])
        )
        pyuvnet.set_immediate(fail, error)
        await settle()

    pyuvnet.run(main())
    assert trace == [error]


def test_every_exception_is_told_and_the_loop_goes_on(trace):
    errors = [BoomError(n) for n in range(4)]

    async def main():
        asyncio.get_running_loop().set_exception_handler(
            lambda loop, context: trace(context["exception"])
        )
        for error in errors[:2]:
            pyuvnet.next_tick(fail, error)
        for error in errors[2:]:
            pyuvnet.set_immediate(fail, error)
        await settle()

    pyuvnet.run(main())
    assert trace == errors


def test_our_own_handler_comes_first(trace):
    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: trace("theirs"))
        pyuvnet.set_exception_handler(trace.note("ours"))
        pyuvnet.set_immediate(fail, BoomError())
        await settle()

    pyuvnet.run(main())
    assert [entry[0] for entry in trace] == ["ours"]


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_what_ends_programs_comes_out_of_run(kind):
    async def main():
        pyuvnet.set_immediate(fail, kind())
        await asyncio.sleep(20)

    with pytest.raises(kind):
        pyuvnet.run(main())


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit])
@pytest.mark.parametrize("first", [True, False], ids=["first turn", "later turn"])
def test_peers_are_heard_after_what_ends_programs(factory, trace, kind, first):
    ports = []

    def accepted(peer):
        trace("accepted")
        peer.destroy()
        if not first and trace == ["accepted"]:
            raise kind

    async def knocked():
        """A peer of which nothing here knows, so that only its packets wake our loop."""
        await settle()
        heard = len(trace)
        peer = await asyncio.to_thread(socket.create_connection, ("127.0.0.1", ports[0]))
        async with asyncio.timeout(10):
            while len(trace) == heard:
                await asyncio.sleep(0.001)
        peer.close()

    async def begin():
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        pyuvnet.attach()
        if first:
            pyuvnet.next_tick(fail, kind())
        server = net.create_server(accepted).listen(0, "127.0.0.1")
        server.on("listening", lambda: ports.append(server.address().port))
        while not ports:
            await asyncio.sleep(0)
        await knocked()
        await asyncio.sleep(0)
        return server

    async def go_on(server):
        while not ports:
            await asyncio.sleep(0)
        await knocked()
        server.close()
        await events.once(server, "close")

    theirs = factory()
    task = theirs.create_task(begin())
    while not task.done():
        with contextlib.suppress(SystemExit, KeyboardInterrupt):
            theirs.run_until_complete(task)
    theirs.run_until_complete(go_on(task.result()))
    pyuvnet.detach()
    theirs.run_until_complete(theirs.shutdown_default_executor())
    theirs.close()
    assert trace == ["accepted"] * 2


# ---- A loop that nobody turns --------------------------------------------------------------------


def warned(main, runner=asyncio.run):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        runner(main())
    return seen


@pytest.mark.usefixtures("by_hand")
def test_a_loop_that_asyncio_does_not_drive_is_warned_of_once(loop):
    async def main():
        for _ in range(3):
            net.create_server().listen(0, "127.0.0.1")
            await asyncio.sleep(0)

    (warning,) = warned(main)
    assert warning.category is RuntimeWarning
    assert "pyuvnet.attach()" in str(warning.message)
    assert "pyuvnet.run(main())" in str(warning.message)
    assert warning.filename == __file__
    with open(__file__) as source:
        assert "create_server().listen(0" in source.readlines()[warning.lineno - 1]
    loop.close()


@pytest.mark.usefixtures("by_hand")
def test_attaching_right_after_is_not_warned_of():
    async def main():
        server = net.create_server().listen(0, "127.0.0.1")
        pyuvnet.attach()
        await events.once(server, "listening")
        server.close()
        await events.once(server, "close")

    assert warned(main) == []


def test_a_turn_by_hand_keeps_the_loops_together(factory, trace):
    async def main():
        with pyuvnet.attach() as loop:
            # The driver has had its first turn; this one sets a timer in a callback.
            await done(pyuvnet.set_immediate)
            pyuvnet.next_tick(pyuvnet.set_timeout, trace, 5, "inner")
            loop.turn()
            pyuvnet.set_timeout(trace, 1, "outer")
            await done(lambda callback: pyuvnet.set_timeout(callback, 20))

    asyncio.run(main())
    assert trace == ["outer", "inner"]


@pytest.mark.usefixtures("by_hand")
def test_forgetting_to_attach_the_second_time_is_warned_of(loop):
    async def main():
        with pyuvnet.attach():
            await done(pyuvnet.set_immediate)

    async def careless():
        pyuvnet.set_immediate(print)
        await asyncio.sleep(0)

    assert warned(main) == []
    (warning,) = warned(careless)
    assert warning.category is RuntimeWarning
    loop.close()


def test_programs_that_drive_the_loop_are_not_warned_of(trace):
    async def main():
        return await echo(b"x")

    def plain(_):
        pyuvnet.set_timeout(trace, 1, "plain")
        pyuvnet.run()

    assert warned(main, pyuvnet.run) == []
    assert warned(lambda: None, plain) == []
    assert trace == ["plain"]
