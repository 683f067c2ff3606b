"""Loop: phases and ticks, exceptions, stop, calls from threads, close()."""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import threading
import time
import traceback

import pytest

import pyuvnet
from pyuvnet import (
    StateError,
    current_loop,
    next_tick,
    run,
    set_exception_handler,
    set_immediate,
    set_interval,
    set_timeout,
    stop,
)
from pyuvnet._core.loop import Loop
from tests.support.cases import cases
from tests.support.errors import BoomError
from tests.support.installed import FREE_THREADED


def fail(error):
    raise error


# ---- Order ---------------------------------------------------------------------------------------


def test_run_returns_at_once_when_nothing_is_due(loop):
    run()
    assert not loop.running


@pytest.mark.spec("O1.1-02")
def test_ticks_run_in_order_and_those_added_meanwhile_too(trace):
    next_tick(lambda: (trace(1), next_tick(trace, 3)))
    next_tick(trace, 2)
    assert trace == []
    run()
    assert trace == [1, 2, 3]


def test_tick_queue_grows_and_wraps(trace):
    def more(n):
        trace(n)
        if n < 500:
            next_tick(more, n + 1000)

    for n in range(1000):
        next_tick(more, n)
    run()
    assert trace == [*range(1000), *range(1000, 1500)]


def test_tick_gets_its_arguments(trace):
    next_tick(trace, "a", "b")
    run()
    assert trace == [("a", "b")]


def test_tick_refuses_what_cannot_be_called():
    with pytest.raises(TypeError) as caught:
        next_tick("no")
    assert caught.value.code == "ERR_INVALID_ARG_TYPE"


@pytest.mark.spec("O1.1-02")
def test_ticks_run_after_each_immediate_not_after_all(trace):
    set_immediate(lambda: (trace("i1"), next_tick(trace, "t1"), next_tick(trace, "t2")))
    set_immediate(lambda: (trace("i2"), next_tick(trace, "t3")))
    run()
    assert trace == ["i1", "t1", "t2", "i2", "t3"]


@pytest.mark.spec("O1.1-02")
def test_ticks_run_after_each_timer_not_after_all(trace):
    set_timeout(lambda: (trace("a"), next_tick(trace, "tick")), 1)
    set_timeout(trace, 1, "b")
    spin(5)
    run()
    assert trace == ["a", "tick", "b"]


def spin(milliseconds):
    """Pass time without the loop, so that timers become due together."""
    until = time.monotonic() + milliseconds / 1000
    while time.monotonic() < until:
        pass


def test_immediates_run_in_order_and_those_set_meanwhile_in_the_next_turn(trace):
    def first():
        trace("first")
        set_immediate(trace, "next turn")

    set_immediate(first)
    set_immediate(trace, "second")
    run()
    assert trace == ["first", "second", "next turn"]


def test_an_immediate_comes_before_a_timer_set_with_it_inside_a_callback(trace):
    def callback():
        set_timeout(trace, 1, "timeout")
        set_immediate(trace, "immediate")
        next_tick(trace, "tick")

    set_timeout(callback, 1)
    run()
    assert trace == ["tick", "immediate", "timeout"]


@pytest.mark.spec("O1.1-01", "N019", "N182")
def test_phases_after_a_connection(trace):
    # ordering.md 1.1: connection -> tick -> immediates -> timeouts -> next poll: data.
    from pyuvnet import net

    def on_connection(socket):
        trace("connection")
        next_tick(trace, "tick")
        set_immediate(lambda: trace("immediate"))
        socket.on("data", lambda chunk: trace("data"))
        socket.on("end", server.close)
        spin(0)

    server = net.create_server(on_connection)
    server.listen(0, "127.0.0.1", callback=lambda: connect())

    def connect():
        client = net.connect(server.address().port, "127.0.0.1")
        client.end(b"x")
        client.resume()

    run()
    assert trace == ["connection", "tick", "immediate", "data"]


# ---- stop() --------------------------------------------------------------------------------------


def test_stop_ends_run_after_the_callback_and_its_ticks(loop, trace):
    def callback():
        next_tick(lambda: (trace("tick"), next_tick(trace, "tick of tick")))
        stop()
        trace("stopped")

    set_immediate(callback)
    set_immediate(trace, "next immediate")
    timer = set_interval(lambda: None, 1000)
    run()
    assert trace == ["stopped", "tick", "tick of tick"]
    assert loop.alive()
    timer.close()
    run()
    assert trace[3:] == ["next immediate"]


def test_stop_in_a_timer_leaves_the_other_due_timers_for_later(trace):
    set_timeout(lambda: (trace("a"), stop()), 1)
    set_timeout(trace, 1, "b")
    spin(5)
    run()
    assert trace == ["a"]
    run()
    assert trace == ["a", "b"]


def test_stop_outside_run_has_no_effect(trace):
    stop()
    set_immediate(trace, "ran")
    run()
    assert trace == ["ran"]


def test_stop_in_a_tick_before_the_first_turn(trace):
    next_tick(stop)
    set_immediate(trace, "later")
    run()
    assert trace == []
    run()
    assert trace == ["later"]


# ---- Exceptions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", [next_tick, set_immediate, set_timeout])
def test_an_exception_comes_out_of_run_with_its_traceback(loop, schedule):
    def culprit():
        fail(ValueError("mine"))

    schedule(culprit)
    with pytest.raises(ValueError, match="mine") as caught:
        run()
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert names[-2:] == ["culprit", "fail"]
    assert not loop.running


def test_the_loop_runs_again_after_an_exception(loop, trace):
    set_timeout(fail, 1, ValueError("once"))
    set_timeout(trace, 5, "later")
    with pytest.raises(ValueError, match="once"):
        run()
    run()
    assert trace == ["later"]
    run()


def test_ticks_left_by_an_exception_run_first_next_time(trace):
    set_immediate(trace, "immediate")
    next_tick(fail, BoomError())
    next_tick(trace, "left")
    with pytest.raises(BoomError):
        run()
    assert trace == []
    run()
    assert trace == ["left", "immediate"]


def test_an_exception_in_a_tick_added_by_a_failing_callback_waits(trace):
    def callback():
        next_tick(trace, "tick")
        raise BoomError

    set_immediate(callback)
    with pytest.raises(BoomError):
        run()
    assert trace == []
    run()
    assert trace == ["tick"]


def test_handler_takes_exceptions_and_the_loop_goes_on(trace):
    set_exception_handler(lambda error: trace(str(error)))
    set_immediate(lambda: (next_tick(trace, "tick"), fail(ValueError("a"))))
    set_immediate(fail, ValueError("b"))
    set_immediate(set_timeout, fail, 1, ValueError("c"))
    next_tick(fail, ValueError("d"))
    next_tick(trace, "end of ticks")
    run()
    assert trace == ["d", "end of ticks", "a", "tick", "b", "c"]


def test_none_restores_the_default_handler(trace):
    set_exception_handler(trace)
    set_exception_handler(None)
    set_immediate(fail, BoomError())
    with pytest.raises(BoomError):
        run()
    assert trace == []


def test_handler_must_be_callable():
    with pytest.raises(TypeError) as caught:
        set_exception_handler(3)
    assert caught.value.code == "ERR_INVALID_ARG_TYPE"


def test_exception_of_the_handler_comes_out_of_run():
    first = ValueError("first")
    set_exception_handler(lambda error: fail(KeyError("handler")))
    set_immediate(fail, first)
    with pytest.raises(KeyError, match="handler") as caught:
        run()
    assert caught.value.__context__ is first


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_handler_does_not_see_what_ends_programs(trace, kind):
    set_exception_handler(trace)
    set_immediate(fail, kind())
    with pytest.raises(kind):
        run()
    assert trace == []


def test_a_second_exception_of_the_same_batch_is_reported_not_lost(monkeypatch):
    from pyuvnet import net

    seen = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: seen.append(args.exc_value))
    # Two closing callbacks of one turn: libuv calls both, whatever the first does.
    errors = [BoomError("first"), BoomError("second")]
    servers = [net.create_server(), net.create_server()]

    def close():
        for server, error in zip(servers, errors, strict=True):
            socket = net.connect(server.address().port, "127.0.0.1")
            socket.once("close", lambda had_error, error=error: fail(error))
            socket.destroy()
            server.close()

    servers[0].listen(0, "127.0.0.1")
    servers[1].listen(0, "127.0.0.1", callback=close)
    with pytest.raises(BoomError) as caught:
        run()
    run()
    # libuv calls the closing callbacks of a turn in reverse.
    assert [caught.value, *seen] == errors[::-1]
    assert seen[0].__traceback__ is not None


def test_run_inside_a_callback_is_refused(trace):
    def nested():
        with pytest.raises(StateError) as caught:
            run()
        trace(caught.value.code)

    set_immediate(nested)
    set_immediate(trace, "goes on")
    run()
    assert trace == ["ERR_LOOP_RUNNING", "goes on"]


def test_turn_inside_a_callback_does_nothing(loop, trace):
    set_immediate(lambda: (loop.turn(), trace("a")))
    set_immediate(trace, "b")
    run()
    assert trace == ["a", "b"]


def test_turn_runs_what_is_due_without_waiting(loop, trace):
    timer = set_timeout(trace, 60_000, "far")
    set_immediate(trace, "immediate")
    next_tick(trace, "tick")
    assert loop.backend_timeout() == 0
    loop.turn()
    assert trace == ["tick", "immediate"]
    assert 0 < loop.backend_timeout() <= 60_000
    timer.close()


def test_stop_in_a_turn_does_not_end_later_turns(loop, trace):
    set_immediate(stop)
    loop.turn()
    set_immediate(trace, "runs")
    loop.turn()
    loop.turn()
    assert trace == ["runs"]


# ---- What keeps it alive -------------------------------------------------------------------------


def test_ticks_immediates_and_timers_keep_the_loop_alive(loop):
    assert not loop.alive()
    next_tick(lambda: None)
    assert loop.alive()
    run()
    immediate = set_immediate(lambda: None)
    assert loop.alive()
    immediate.close()
    assert not loop.alive()
    timer = set_timeout(lambda: None, 1000)
    assert loop.alive()
    timer.unref()
    assert not loop.alive()
    timer.ref()
    assert loop.alive()
    timer.close()
    assert not loop.alive()


def test_a_tick_that_comes_last_still_runs(trace):
    set_timeout(lambda: next_tick(trace, "tick"), 1)
    run()
    assert trace == ["tick"]


def test_work_that_a_last_tick_makes_still_runs(trace):
    set_immediate(next_tick, lambda: set_immediate(trace, "late"))
    run()
    assert trace == ["late"]


# ---- Threads -------------------------------------------------------------------------------------


def in_thread(function, *args):
    """Run a function in a thread named 'other' and return its result, or raise its exception."""
    result = []

    def body():
        try:
            result.append((function(*args), None))
        except BaseException as error:
            result.append((None, error))

    thread = threading.Thread(target=body, name="other")
    thread.start()
    thread.join()
    value, error = result[0]
    if error is not None:
        raise error
    return value


@cases(
    "use",
    [
        lambda loop, timer, immediate: loop.run(),
        lambda loop, timer, immediate: loop.stop(),
        lambda loop, timer, immediate: loop.turn(),
        lambda loop, timer, immediate: loop.close(),
        lambda loop, timer, immediate: loop.next_tick(print),
        lambda loop, timer, immediate: loop.set_immediate(print),
        lambda loop, timer, immediate: loop.set_exception_handler(None),
        lambda loop, timer, immediate: timer.close(),
        lambda loop, timer, immediate: timer.refresh(),
        lambda loop, timer, immediate: timer.unref(),
        lambda loop, timer, immediate: immediate.close(),
        lambda loop, timer, immediate: immediate.unref(),
        lambda loop, timer, immediate: immediate.ref(),
    ],
)
def test_use_in_another_thread_is_refused_by_name(loop, use):
    timer, immediate = set_timeout(print, 1000), set_immediate(lambda: None)
    with pytest.raises(StateError) as caught:
        in_thread(use, loop, timer, immediate)
    assert caught.value.code == "ERR_WRONG_THREAD"
    assert "'MainThread'" in str(caught.value)
    assert "'other'" in str(caught.value)
    timer.close()
    run()


def test_call_soon_threadsafe_wakes_an_idle_loop(loop, trace):
    timer = set_timeout(trace, 20_000, "too late")

    def called(*args):
        trace(threading.current_thread() is threading.main_thread(), *args)
        next_tick(trace, "tick")
        timer.close()

    thread = threading.Thread(
        target=lambda: (entered.wait(), loop.call_soon_threadsafe(called, "argument"))
    )
    entered = threading.Event()
    thread.start()
    set_immediate(entered.set)
    run()
    thread.join()
    assert trace == [(True, "argument"), "tick"]


def test_call_soon_threadsafe_before_run_runs_although_nothing_else_is_due(loop, trace):
    in_thread(loop.call_soon_threadsafe, trace, 1)
    in_thread(loop.call_soon_threadsafe, trace, 2)
    assert loop.alive()
    run()
    assert trace == [1, 2]
    assert not loop.alive()


def test_call_soon_threadsafe_from_many_threads_loses_nothing(loop, trace):
    total = 8 * 500

    def done(thread, n):
        trace((thread, n))
        if len(trace) == total:
            timer.close()

    def work(thread):
        for n in range(500):
            loop.call_soon_threadsafe(done, thread, n)

    timer = set_timeout(lambda: None, 20_000)
    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    run()
    for thread in threads:
        thread.join()
    assert len(trace) == total
    for thread in range(8):
        assert [n for owner, n in trace if owner == thread] == list(range(500))


@pytest.mark.parametrize("driven", [False, True])
def test_call_soon_threadsafe_from_many_threads_leaves_others_their_turn(loop, trace, driven):
    total = 10_000

    async def main():
        while trace.count("call") < total:
            await asyncio.sleep(0)

    def turn():
        trace("turn")
        if trace.count("call") < total:
            set_immediate(turn)

    def flood():
        for _ in range(total):
            loop.call_soon_threadsafe(trace, "call")

    set_immediate(turn)
    in_thread(flood)
    pyuvnet.run(main()) if driven else run()
    run()
    assert trace.count("call") == total
    most = max(len(list(calls)) for what, calls in itertools.groupby(trace) if what == "call")
    assert most <= 2048


def test_call_soon_threadsafe_refuses_what_cannot_be_called_and_a_closed_loop(loop):
    with pytest.raises(TypeError):
        loop.call_soon_threadsafe(None)
    loop.close()
    with pytest.raises(StateError) as caught:
        loop.call_soon_threadsafe(print)
    assert caught.value.code == "ERR_LOOP_CLOSED"


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="there collections begin in Python code")
def test_call_soon_threadsafe_takes_nothing_for_a_loop_that_a_finaliser_closes_meanwhile(run_child):
    # On 3.11 a collection, and so a finaliser, may begin wherever Python makes an object.
    run_child(
        """
        import gc
        from pyuvnet import StateError
        from pyuvnet._core.loop import Loop

        class Closer:
            def __init__(self, loop):
                self.itself, self.loop = self, loop

            def __del__(self):
                self.loop.close()

        gc.disable()
        for spare in range(4):
            loop = Loop()
            Closer(loop)
            # Tuples of up to `spare` come from a stock, without a collection.
            kept = [tuple(range(size)) for size in (1, 2, 3) for _ in range(3000)]
            made = [tuple(range(size)) for size in range(1, 1 + spare) for _ in range(9)]
            made.clear()
            lost = False
            gc.set_threshold(1)
            gc.enable()
            try:
                loop.call_soon_threadsafe(print)
                lost = loop.closed
            except StateError as error:
                assert error.code == "ERR_LOOP_CLOSED"
            gc.disable()
            assert not lost, spare
            gc.set_threshold(0)
            gc.collect()
            assert loop.closed
        """
    ).clean()


def test_exception_of_a_threadsafe_call_comes_out_of_run(loop):
    loop.call_soon_threadsafe(fail, ValueError("from a thread"))
    with pytest.raises(ValueError, match="from a thread"):
        run()


def test_two_threads_turn_two_loops_at_once(loop):
    here, there = [], []
    meeting = threading.Barrier(2, timeout=10)

    def program(seen):
        def step(n):
            seen.append(n)
            meeting.wait()
            if n < 20:
                set_timeout(step, 1, n + 1)

        set_timeout(step, 1, 0)
        run()
        return current_loop()

    others = []
    thread = threading.Thread(target=lambda: others.append(program(there)))
    thread.start()
    program(here)
    thread.join()
    assert here == there == list(range(21))
    assert others[0] is not loop
    with pytest.raises(StateError):
        others[0].run()


# ---- The end -------------------------------------------------------------------------------------


def test_close_calls_no_user_code_and_a_fresh_loop_follows(loop, trace):
    from pyuvnet import net

    server = net.create_server(trace.note("connection"))
    server.on("close", trace.note("close"))
    server.listen(0, "127.0.0.1", callback=trace.note("listening"))
    set_timeout(trace, 1, "timer")
    set_immediate(trace, "immediate")
    next_tick(trace, "tick")
    loop.close()
    loop.close()
    assert loop.closed
    assert not loop.alive()
    assert loop.handle_count() == 0
    assert trace == []
    with pytest.raises(StateError) as caught:
        loop.run()
    assert caught.value.code == "ERR_LOOP_CLOSED"
    fresh = current_loop()
    assert fresh is not loop
    run()
    assert trace == []


def test_objects_of_a_closed_loop_raise(loop):
    timer, immediate = set_timeout(print, 1), set_immediate(print)
    loop.close()
    for use in (
        timer.close,
        timer.refresh,
        timer.ref,
        timer.unref,
        immediate.ref,
        immediate.unref,
        immediate.close,
    ):
        with pytest.raises(StateError) as caught:
            use()
        assert caught.value.code == "ERR_LOOP_CLOSED"


def test_a_running_loop_cannot_be_closed(loop, trace):
    def callback():
        with pytest.raises(StateError) as caught:
            loop.close()
        trace(caught.value.code)

    set_immediate(callback)
    run()
    assert trace == ["ERR_LOOP_RUNNING"]


@pytest.mark.parametrize("who", ["driver", "failing driver", "immediate", "tick", "call"])
def test_a_loop_that_is_closed_again_while_it_closes(run_child, who):
    run_child(
        """
        import sys
        import pyuvnet
        from pyuvnet import net

        who, loop, closed = sys.argv[1], pyuvnet.current_loop(), []

        class Last:
            def __call__(self):
                raise AssertionError("called")

            def __del__(self):
                closed.append(loop.closed)
                loop.close()

        class Driver:
            def stop(self):
                if closed:
                    return
                closed.append(loop.closed)
                if who == "failing driver":
                    raise RuntimeError("E")
                loop.close()

            def gone(self):
                return False

        net.create_server().listen(0, "127.0.0.1")
        if who == "immediate":
            loop.set_immediate(Last())
        elif who == "tick":
            loop.next_tick(Last())
        elif who == "call":
            loop.call_soon_threadsafe(Last())
        else:
            loop.set_driver(Driver())
        try:
            loop.close()
        except RuntimeError:
            assert who == "failing driver"
        assert loop.closed
        assert closed == [False], closed
        loop.close()
        assert pyuvnet.current_loop() is not loop
        """,
        who,
    ).clean()


@pytest.mark.skipif(FREE_THREADED, reason="other threads run all the time")
def test_a_loop_that_closes_gives_no_other_thread_a_look_at_it_half_closed():
    # A thread that forks then would take half unlinked handles into the child.
    looks, done = 0, threading.Event()

    def look():
        nonlocal looks
        while not done.is_set():
            looks += 1
            time.sleep(0)  # waits for the GIL

    thread = threading.Thread(target=look)
    loops = [Loop() for _ in range(200)]
    thread.start()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    try:
        # A wait for the GIL that began under the old interval may still end under it.
        begun = looks
        while looks < begun + 2:
            time.sleep(0)
        before = looks
        for loop in loops:
            loop.close()
        after = looks
    finally:
        sys.setswitchinterval(interval)
        done.set()
        thread.join()
    assert after == before


def test_a_loop_that_closes_lets_others_run_while_it_waits_for_a_lookup(run_child):
    # The four threads of libuv's pool sleep in getaddrinfo(), so the loop has to wait.
    run_child(
        """
        import os, sys, threading, warnings
        from pyuvnet import current_loop, net

        # CPython says so from 3.12 on, if it counts more than one thread when it has forked.
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
        ran, closing = threading.Event(), threading.Event()

        def look():
            closing.wait()
            pid = os.fork() if hasattr(os, "fork") else 0
            if not pid and hasattr(os, "fork"):
                os._exit(0)
            if pid:
                assert os.waitpid(pid, 0)[1] == 0
            ran.set()

        thread = threading.Thread(target=look)
        thread.start()
        socket = net.connect(1, "localhost")
        closing.set()
        current_loop().close()
        assert ran.wait(10)
        thread.join()
        """
    ).clean()


def test_repr_names_the_state(loop):
    assert "idle" in repr(loop)
    set_immediate(lambda: states.append(repr(loop)))
    states = []
    run()
    assert "running" in states[0]
    loop.close()
    assert "closed" in repr(loop)


def test_loops_give_their_descriptors_back():
    def descriptors():
        return len(os.listdir("/dev/fd"))

    def cycle():
        set_timeout(lambda: None, 1)
        run()
        current_loop().close()

    if not os.path.isdir("/dev/fd"):
        pytest.skip("this system does not list descriptors")
    cycle()
    before = descriptors()
    for _ in range(5):
        cycle()
    assert descriptors() == before


def test_names_have_nodes_spelling(loop):
    assert pyuvnet.Loop.nextTick is pyuvnet.Loop.next_tick
    assert pyuvnet.Loop.callSoonThreadsafe is pyuvnet.Loop.call_soon_threadsafe
    assert pyuvnet.setImmediate is pyuvnet.set_immediate
    assert type(set_immediate(lambda: None)).hasRef is type(set_immediate(lambda: None)).has_ref
    run()
