"""run(coroutine): asyncio drives the loop, for as long as a coroutine takes."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time

import pytest

import pyuvnet
from pyuvnet import StateError, events, net
from tests.support.errors import BoomError
from tests.support.loops import LOOPS, done, echo, told

pytestmark = pytest.mark.usefixtures("factory")


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
    # That belongs to the loop that is over; see test_driver.py.
    with pytest.raises(StateError) as caught:
        server.close()
    assert caught.value.code == "ERR_LOOP_CLOSED"


def test_what_was_open_before_a_coroutine_ran_goes_on(loop, trace):
    async def main():
        await echo(b"x")

    server = net.create_server().listen(0, "127.0.0.1").on("close", trace.note("closed"))
    pyuvnet.run(main())
    assert server.listening
    server.close()
    pyuvnet.run()
    assert trace == ["closed"]


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
    from tests.support.loops import LOOPS

    async def main():
        server = net.create_server(lambda socket: None).listen(0, "127.0.0.1")
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
    took = []
    # The machine may be elsewhere for a moment, but not each time.
    while len(took) < 5 and not (took and min(took) < 0.1):
        child = open_child(CTRL_C.format(busy=BUSY[busy], kind=kind))
        assert child.stdout.readline() == "ready\n"
        sent = time.monotonic()
        os.kill(child.pid, signal.SIGINT)
        assert child.stdout.readline() == "main left\n"
        took.append(time.monotonic() - sent)
        # Not communicate(), which forgets what readline() has read ahead.
        assert child.stdout.read() == "left\nclosed True\ninterrupted\n"
        assert child.stderr.read() == ""
        assert child.wait(timeout=20) == 0
    assert min(took) < 0.1


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


# ---- Fork ----------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork is POSIX's")
def test_a_forked_child_of_an_attached_program_has_loops_of_its_own(run_child, factory):
    kind = next(name for name in LOOPS if LOOPS[name] is factory)
    child = run_child(
        """
        import asyncio, gc, os, sys, warnings
        import pyuvnet
        from tests.support.loops import LOOPS, echo
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
        """,
        kind,
    )
    assert (child.lines, child.err) == (["child", "(b'before', 0, b'after')"], "")
