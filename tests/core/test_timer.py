"""Timers: order, clamping, ref and unref, refresh, intervals, many at once; idle timeouts."""

from __future__ import annotations

import gc
import math
import random
import time
import weakref

import pytest

import pyuvnet
from pyuvnet import (
    Socket,
    clear_interval,
    clear_timeout,
    next_tick,
    run,
    set_exception_handler,
    set_immediate,
    set_interval,
    set_timeout,
)
from pyuvnet.errors import TimeoutOverflowWarning
from tests.support.errors import BoomError


def fail(error):
    raise error


def spin(milliseconds):
    """Pass time without the loop, so that timers become due together."""
    until = time.monotonic() + milliseconds / 1000
    while time.monotonic() < until:
        pass


# ---- Order and time ------------------------------------------------------------------------------


def test_timers_fire_by_due_time_then_by_when_they_were_set(trace):
    set_timeout(trace, 20, "late")
    set_timeout(trace, 5, "a")
    set_timeout(trace, 5, "b")
    set_timeout(trace, 1, "first")
    run()
    assert trace == ["first", "a", "b", "late"]


def test_a_timer_is_never_early():
    begun = time.monotonic()
    set_timeout(lambda: None, 30)
    run()
    assert time.monotonic() - begun >= 0.029


def test_time_that_passed_before_run_counts_and_work_before_set_timeout_does_not(trace):
    set_timeout(trace, 30, "earlier")
    spin(20)
    set_timeout(trace, 20, "later")
    begun = time.monotonic()
    run()
    assert trace == ["earlier", "later"]
    assert time.monotonic() - begun >= 0.019


def test_a_timer_set_by_a_timer_waits_for_the_next_round(trace):
    set_timeout(lambda: (trace("a"), set_timeout(trace, 0, "c")), 1)
    set_timeout(trace, 1, "b")
    spin(5)
    run()
    assert trace == ["a", "b", "c"]


def test_arguments_are_passed(trace):
    set_timeout(trace, 1, "a", 2)
    run()
    assert trace == [("a", 2)]


@pytest.mark.parametrize("setter", [set_timeout, set_interval])
@pytest.mark.parametrize("callback", [None, 3, "text"])
def test_callback_must_be_callable(setter, callback):
    with pytest.raises(TypeError) as caught:
        setter(callback, 1)
    assert caught.value.code == "ERR_INVALID_ARG_TYPE"


@pytest.mark.parametrize("ms", [0, -5, 0.5, math.nan, None, "5", True, -math.inf, object()])
def test_what_is_below_one_or_no_number_is_one_millisecond(trace, ms):
    set_timeout(trace, 500, "far").unref()
    set_timeout(trace, ms, "soon")
    run()
    assert trace == ["soon"]


@pytest.mark.parametrize("ms", [2147483648, 1e300, math.inf, 10**40])
def test_what_does_not_fit_into_32_bits_is_one_with_a_warning(trace, ms):
    with pytest.warns(TimeoutOverflowWarning, match=r"does not fit into a 32-bit signed") as caught:
        set_timeout(trace, ms, "soon")
    assert caught[0].filename == __file__
    run()
    assert trace == ["soon"]


def test_the_longest_delay_fits():
    set_timeout(print, 2147483647).close()


def test_without_delay_it_is_one_millisecond(trace):
    set_timeout(lambda: trace("x"))
    run()
    assert trace == ["x"]


# ---- Clearing ------------------------------------------------------------------------------------


def test_cleared_timers_do_not_fire(trace):
    set_timeout(trace, 1, "a").close()
    clear_timeout(set_timeout(trace, 1, "b"))
    clear_interval(set_timeout(trace, 1, "c"))
    clear_timeout(set_interval(trace, 1, "d"))
    run()
    assert trace == []


@pytest.mark.parametrize("clear", [clear_timeout, clear_interval])
@pytest.mark.parametrize("value", [None, 3, "text"])
def test_clearing_what_is_no_timer_has_no_effect(clear, value):
    clear(value)


def test_clearing_a_fired_timer_has_no_effect(trace):
    timer = set_timeout(trace, 1, "x")
    run()
    timer.close()
    timer.close()
    clear_timeout(timer)
    assert trace == ["x"]


def test_a_timer_may_clear_one_that_is_due_with_it(trace):
    set_timeout(lambda: (trace("a"), second.close()), 1)
    second = set_timeout(trace, 1, "b")
    set_timeout(trace, 1, "c")
    spin(5)
    run()
    assert trace == ["a", "c"]


def test_a_tick_of_a_timer_may_clear_the_next_one(trace):
    set_timeout(lambda: next_tick(second.close), 1)
    second = set_timeout(trace, 1, "b")
    spin(5)
    run()
    assert trace == []


# ---- ref, unref ----------------------------------------------------------------------------------


def test_ref_and_unref(loop):
    timer = set_timeout(lambda: None, 10_000)
    assert timer.has_ref()
    assert timer.unref() is timer
    timer.unref()
    assert not timer.has_ref()
    assert not loop.alive()
    run()
    assert timer.ref() is timer
    timer.ref()
    assert timer.has_ref()
    assert loop.alive()
    timer.close()
    assert not loop.alive()


def test_an_unreferenced_timer_fires_while_something_else_keeps_the_loop(trace):
    set_timeout(trace, 1, "unref").unref()
    set_timeout(trace, 10, "ref")
    run()
    assert trace == ["unref", "ref"]


def test_unref_inside_an_intervals_callback_ends_run(loop, trace):
    interval = set_interval(lambda: (trace("x"), interval.unref()), 1)
    run()
    assert trace == ["x"]
    interval.close()


def test_ref_of_a_fired_timer_does_not_keep_the_loop_alive(loop):
    timer = set_timeout(lambda: None, 1)
    run()
    timer.unref()
    timer.ref()
    assert not loop.alive()


def test_an_unreferenced_timer_keeps_that_when_refreshed(loop):
    timer = set_timeout(lambda: None, 1000).unref()
    timer.refresh()
    assert not timer.has_ref()
    assert not loop.alive()
    timer.close()


# ---- refresh -------------------------------------------------------------------------------------


def test_refresh_starts_the_wait_anew(trace):
    timer = set_timeout(trace, 40, "refreshed")
    set_timeout(lambda: timer.refresh(), 20)
    set_timeout(trace, 50, "between")
    run()
    assert trace == ["between", "refreshed"]


def test_refresh_of_a_fired_timer_fires_it_again(trace):
    timer = set_timeout(trace, 1, "x")
    run()
    assert timer.refresh() is timer
    run()
    assert trace == ["x", "x"]


def test_refresh_of_a_cleared_timer_has_no_effect(loop, trace):
    timer = set_timeout(trace, 1, "x")
    timer.close()
    timer.refresh()
    assert not loop.alive()


def test_refresh_inside_the_callback_makes_it_repeat(trace):
    def callback():
        trace("x")
        if len(trace) < 3:
            timer.refresh()

    timer = set_timeout(callback, 1)
    run()
    assert trace == ["x", "x", "x"]


# ---- Intervals -----------------------------------------------------------------------------------


def test_interval_repeats_until_it_clears_itself(trace):
    def callback(name):
        trace(name)
        if len(trace) == 3:
            clear_interval(interval)

    interval = set_interval(callback, 1, "x")
    run()
    assert trace == ["x", "x", "x"]


def test_interval_goes_on_after_an_exception(trace):
    def callback():
        trace("x")
        if len(trace) == 3:
            interval.close()
        raise BoomError

    interval = set_interval(callback, 1)
    for _ in range(3):
        with pytest.raises(BoomError):
            run()
    run()
    assert trace == ["x", "x", "x"]


def test_interval_goes_on_when_a_handler_takes_the_exception(trace):
    def callback():
        if len(trace) == 2:
            interval.close()
        raise BoomError

    set_exception_handler(trace)
    interval = set_interval(callback, 1)
    run()
    assert len(trace) == 3


def test_an_interval_that_takes_longer_than_its_delay_starves_nobody(trace):
    def slow():
        spin(3)
        trace("slow")

    interval = set_interval(slow, 1)
    set_immediate(trace, "immediate")
    set_timeout(lambda: interval.close(), 12)
    run()
    assert "immediate" in trace[:2]


def test_an_exception_leaves_the_other_due_timers_for_later(trace):
    set_timeout(fail, 1, BoomError())
    set_timeout(trace, 1, "b")
    spin(5)
    with pytest.raises(BoomError):
        run()
    assert trace == []
    run()
    assert trace == ["b"]


# ---- Many ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_many_timers_in_random_order_agree_with_a_model(seed):
    chance = random.Random(seed)
    fired, model, timers = [], [], []
    for n in range(1000):
        delay = chance.randint(1, 30)
        timers.append(set_timeout(fired.append, delay, n))
        model.append((delay, n))
    for n in chance.sample(range(1000), 400):
        timers[n].close()
        model.remove(next(entry for entry in model if entry[1] == n))
    run()
    # Each delay counts from its own set_timeout(): within a delay the order is exact.
    for delay in range(1, 31):
        expected = [n for due, n in model if due == delay]
        assert [n for n in fired if n in set(expected)] == expected
    assert sorted(fired) == sorted(n for _, n in model)


@pytest.mark.parametrize("seed", range(5))
def test_timers_set_and_cleared_by_timers(seed, loop):
    chance = random.Random(seed)
    waiting, fired, made = {}, [], iter(range(3000))

    def fire(n):
        fired.append(n)
        assert waiting.pop(n) is not None
        for _ in range(chance.choice([0, 1, 2, 3])):
            add()
        if waiting and chance.random() < 0.3:
            victim = chance.choice(list(waiting))
            waiting.pop(victim).close()
        if waiting and chance.random() < 0.3:
            chance.choice(list(waiting.values())).refresh()

    def add():
        n = next(made, None)
        if n is not None:
            waiting[n] = set_timeout(fire, chance.randint(0, 4), n)

    for _ in range(50):
        add()
    run()
    assert waiting == {}
    assert len(fired) == len(set(fired))
    assert not loop.alive()


# ---- Lifetimes -----------------------------------------------------------------------------------


def test_a_fired_or_cleared_timer_is_ordinary_garbage():
    class Callback:
        def __call__(self):
            pass

    callbacks = [Callback() for _ in range(3)]
    set_timeout(callbacks[0], 1)
    set_timeout(callbacks[1], 1).close()
    kept = set_interval(callbacks[2], 1)
    set_timeout(kept.close, 5)
    run()
    references = [weakref.ref(callback) for callback in callbacks]
    callbacks.clear()
    del kept
    gc.collect()
    assert [reference() for reference in references] == [None] * 3


def test_a_waiting_timer_keeps_its_callback_alive(trace):
    class Callback:
        def __call__(self):
            trace("called")

    set_timeout(Callback(), 1)
    gc.collect()
    run()
    assert trace == ["called"]


# ---- Idle timeouts of sockets --------------------------------------------------------------------


def test_an_idle_timeout_alone_does_not_keep_the_loop_alive(loop):
    socket = Socket()
    socket.set_timeout(10)
    assert not loop.alive()
    run()
    socket.destroy()
    run()


def test_an_idle_timeout_of_a_socket_that_nobody_holds_is_emitted_and_frees_it(trace):
    socket = Socket()
    socket.set_timeout(5)
    socket.on("timeout", trace.note("timeout"))
    reference = weakref.ref(socket)
    del socket
    gc.collect()
    set_timeout(lambda: None, 20)
    run()
    gc.collect()
    assert trace == ["timeout"]
    assert reference() is None


def test_a_cancelled_idle_timeout_frees_its_socket():
    socket = Socket()
    socket.set_timeout(10_000)
    socket.set_timeout(0)
    reference = weakref.ref(socket)
    del socket
    gc.collect()
    assert reference() is None


def test_a_loop_closed_under_a_waiting_idle_timeout(loop):
    socket = Socket()
    socket.set_timeout(10_000)
    reference = weakref.ref(socket)
    del socket
    loop.close()
    gc.collect()
    assert reference() is None


def test_names_have_nodes_spelling():
    timer = set_timeout(lambda: None, 1)
    assert type(timer).hasRef is type(timer).has_ref
    assert pyuvnet.setInterval is set_interval
    assert pyuvnet.clearTimeout is clear_timeout
    run()
