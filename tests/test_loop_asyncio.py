"""run(coroutine) and attach(): asyncio drives the loop; coroutine functions as listeners."""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import sys
import threading
import time
import types
import warnings

import pytest

import pyuvnet
from pyuvnet import EventEmitter, StateError, events, net

if sys.platform != "win32":
    import uvloop


class WithoutDescriptors(asyncio.SelectorEventLoop):
    """A loop that watches no descriptors, like that of Windows."""

    def add_reader(self, fd, callback, *args):
        raise NotImplementedError


LOOPS = {"asyncio": asyncio.new_event_loop, "waker thread": WithoutDescriptors}
if sys.platform != "win32":
    LOOPS["uvloop"] = uvloop.new_event_loop


def wakers():
    return [thread for thread in threading.enumerate() if thread.name == "pyuvnet waker"]


@pytest.fixture(autouse=True, params=LOOPS)
def factory(request, monkeypatch):
    """Makes the loop of asyncio.run() and pyuvnet.run(): each test runs on each of them."""
    factory = LOOPS[request.param]
    monkeypatch.setattr(asyncio.events, "new_event_loop", factory)
    yield factory
    assert wakers() == []


class BoomError(Exception):
    pass


def fail(error):
    raise error


async def told(emitter, event):
    """Wait for an event and return its first argument."""
    future = asyncio.get_running_loop().create_future()
    emitter.once(event, lambda *args: future.done() or future.set_result(args[0] if args else None))
    return await future


async def done(schedule, *args):
    """Wait until a callback of one of our schedulers has run."""
    future = asyncio.get_running_loop().create_future()
    schedule(lambda: future.set_result(None), *args)
    await future


async def settle():
    """Turn both loops a few times: more than any chain of tasks, ticks and callbacks here takes."""
    for _ in range(10):
        await asyncio.sleep(0)
        await done(pyuvnet.set_immediate)


async def echo(message):
    """One exchange over real sockets."""
    server = net.create_server(lambda socket: socket.on("data", socket.end))
    server.listen(0, "127.0.0.1")
    await told(server, "listening")
    client = net.connect(server.address().port, "127.0.0.1")
    client.write(message)
    answer = await told(client, "data")
    server.close()
    await told(server, "close")
    if not client.closed:
        await told(client, "close")
    return answer


# ---- run(coroutine) ------------------------------------------------------------------------------


def test_result_of_the_coroutine():
    async def main():
        return await echo(b"hello")

    assert pyuvnet.run(main()) == b"hello"


def test_exception_of_the_coroutine():
    async def main():
        await done(pyuvnet.set_timeout, 1)
        raise BoomError

    with pytest.raises(BoomError):
        pyuvnet.run(main())


def test_cancellation_of_the_coroutine(trace):
    async def main():
        task = asyncio.current_task()
        pyuvnet.set_timeout(task.cancel, 1)
        try:
            await asyncio.sleep(20)
        except asyncio.CancelledError:
            trace("cancelled")
            raise

    with pytest.raises(asyncio.CancelledError):
        pyuvnet.run(main())
    assert trace == ["cancelled"]


def test_run_again_with_and_without_a_coroutine(trace):
    async def main():
        await done(pyuvnet.set_immediate)

    for _ in range(3):
        pyuvnet.run(main())
        pyuvnet.set_timeout(trace, 1, "plain")
        pyuvnet.run()
    assert trace == ["plain"] * 3


def test_run_returns_although_things_are_open(loop):
    async def main():
        server = net.create_server().listen(0, "127.0.0.1")
        await told(server, "listening")
        return server

    server = pyuvnet.run(main())
    assert server.listening
    server.close()
    pyuvnet.run()
    assert not loop.alive()


def test_run_inside_a_running_loop_is_refused_without_a_warning():
    async def never():
        raise AssertionError

    async def main():
        with pytest.raises(RuntimeError):
            pyuvnet.run(never())
        with pytest.raises(StateError) as caught:
            pyuvnet.run()
        assert caught.value.code == "ERR_LOOP_RUNNING"

    pyuvnet.run(main())


def test_order_of_ticks_immediates_and_timers_is_ours(trace):
    async def main():
        def callback():
            pyuvnet.set_timeout(trace, 1, "timeout")
            pyuvnet.set_immediate(trace, "immediate")
            pyuvnet.next_tick(trace, "tick")

        await done(lambda then: pyuvnet.set_timeout(lambda: (callback(), then()), 1))
        await done(pyuvnet.set_timeout, 5)

    pyuvnet.run(main())
    assert trace == ["tick", "immediate", "timeout"]


CTRL_C = """
    import asyncio, pyuvnet
    from pyuvnet import events, net
    from tests.test_loop_asyncio import LOOPS

    async def main():
        server = net.create_server().listen(0, "127.0.0.1")
        await events.once(server, "listening")
        async def other():
            client = await net.promises.connect(server.address().port, "127.0.0.1")
            client.on("error", lambda error: None)
            connected.set()
            try:
                async with client:
                    try:
                        async for chunk in client:
                            pass
                    finally:
                        print("left", flush=True)
            finally:
                print("closed", client.closed, flush=True)
        connected = asyncio.Event()
        task = asyncio.create_task(other())
        await connected.wait()
        {busy}
        print("ready", flush=True)
        try:
            await asyncio.sleep(600)
        finally:
            server.close()
            print("main left", flush=True)
    try:
        pyuvnet.run(main(), loop_factory=LOOPS[{kind!r}])
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""
BUSY = {
    "idle": "",
    "busy with ours": "def again(): pyuvnet.set_immediate(again)\n        again()",
    "busy with theirs": """def again(): asyncio.get_running_loop().call_soon(again)
        again()""",
}


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
@pytest.mark.parametrize("busy", BUSY)
def test_ctrl_c_ends_run_within_100_ms_and_its_tasks_in_order(open_child, factory, busy):
    kind = next(name for name in LOOPS if LOOPS[name] is factory)
    child = open_child(CTRL_C.format(busy=BUSY[busy], kind=kind))
    assert child.stdout.readline() == "ready\n"
    sent = time.monotonic()
    os.kill(child.pid, signal.SIGINT)
    assert child.stdout.readline() == "main left\n"
    assert time.monotonic() - sent < 0.1
    # Not communicate(), which forgets what readline() has read ahead.
    assert child.stdout.read() == "left\nclosed True\ninterrupted\n"
    assert child.stderr.read() == ""
    assert child.wait(timeout=20) == 0


def test_other_tasks_are_cancelled_and_may_use_sockets_until_they_end(trace):
    async def main():
        server = net.create_server()
        server.listen(0, "127.0.0.1")
        await events.once(server, "listening")

        async def other():
            server.on("close", trace.note("close"))
            try:
                async with server:
                    try:
                        await asyncio.sleep(600)
                    finally:
                        trace("cancelled")
            finally:
                trace("left")

        task = asyncio.create_task(other())
        await asyncio.sleep(0)
        return task

    task = pyuvnet.run(main())
    assert trace == ["cancelled", "close", "left"]
    assert task.cancelled()


def test_async_generators_are_closed_and_may_use_sockets_until_then(trace):
    async def connections(server):
        server.on("close", trace.note("close"))
        try:
            async with server:
                async for socket in server:
                    yield socket
        finally:
            trace("left")

    kept = []

    async def main():
        server = net.create_server().listen(0, "127.0.0.1")
        await events.once(server, "listening")
        client = net.connect(server.address().port, "127.0.0.1")
        generator = connections(server)
        kept.append(generator)
        socket = await anext(generator)
        socket.destroy()
        client.destroy()

    pyuvnet.run(main())
    assert trace == ["close", "left"]


def test_debug_and_loop_factory_are_asyncios():
    made = []

    def factory():
        made.append(asyncio.SelectorEventLoop())
        return made[0]

    async def main():
        loop = asyncio.get_running_loop()
        return loop is made[0], loop.get_debug()

    assert pyuvnet.run(main(), debug=True, loop_factory=factory) == (True, True)
    assert made[0].is_closed()


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
            with pyuvnet.attach():
                await done(pyuvnet.set_immediate)
            # The inner one did not attach, so it does not detach either.
            return await echo(b"still attached")

    assert asyncio.run(main()) == b"still attached"
    pyuvnet.run()


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


# ---- Coroutine functions as listeners ------------------------------------------------------------


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


# ---- A loop that nobody turns --------------------------------------------------------------------


def warned(main, runner=asyncio.run):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        runner(main())
    return seen


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


def test_attaching_right_after_is_not_warned_of():
    async def main():
        server = net.create_server().listen(0, "127.0.0.1")
        pyuvnet.attach()
        await events.once(server, "listening")
        server.close()
        await events.once(server, "close")

    assert warned(main) == []


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


# ---- Fork ----------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork is POSIX's")
def test_a_forked_child_of_an_attached_program_has_loops_of_its_own(run_child, factory):
    kind = next(name for name in LOOPS if LOOPS[name] is factory)
    child = run_child(
        """
        import asyncio, gc, os, sys, warnings
        import pyuvnet
        from tests.test_loop_asyncio import LOOPS, echo, kind_of
        warnings.simplefilter("ignore", DeprecationWarning)

        async def main():
            before = await echo(b"before")
            pid = os.fork()
            if not pid:
                # The child leaves their loop, as asyncio demands, by a new program.
                asyncio._set_running_loop(None)
                try:
                    assert pyuvnet.run(echo(b"child"), loop_factory=LOOPS[sys.argv[1]]) == b"child"
                    gc.collect()
                    print("child", flush=True)
                except BaseException as error:
                    print(repr(error), flush=True)
                finally:
                    os._exit(0)
            code = await asyncio.to_thread(os.waitpid, pid, 0)
            return before, code[1], await echo(b"after")

        print(pyuvnet.run(main(), loop_factory=LOOPS[sys.argv[1]]), flush=True)
        """.replace(", kind_of", ""),
        kind,
    )
    assert (child.lines, child.err) == (["child", "(b'before', 0, b'after')"], "")
