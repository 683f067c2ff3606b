"""EventEmitter: order, snapshots, once, the 'error' rule, listings, limits, overriding."""

from __future__ import annotations

import abc
import asyncio
import enum
import functools
import gc
import math
import random
import sys
import textwrap
import traceback
import warnings
import weakref
from typing import Any

import pytest

import pyuvnet
from pyuvnet import EventEmitter, Socket, StateError
from pyuvnet.errors import MaxListenersExceededWarning
from tests.support.cases import cases
from tests.support.errors import BoomError


def nothing(*args):
    return None


# ---- Calling -------------------------------------------------------------------------------------


@pytest.mark.spec("S6.1-01", "S6.1-06", "S6.1-13", "R4-01")
def test_listeners_are_called_in_order_with_the_arguments(trace):
    emitter = EventEmitter()
    emitter.on("x", trace.note("a")).on("x", trace.note("b"))
    emitter.prepend_listener("x", trace.note("first"))
    assert emitter.emit("x", 1, 2) is True
    assert trace == [("first", 1, 2), ("a", 1, 2), ("b", 1, 2)]


@pytest.mark.parametrize("count", range(4))
def test_any_number_of_arguments(trace, count):
    emitter = EventEmitter().on("x", trace.note("x"))
    emitter.emit("x", *range(count))
    assert trace == [("x", *range(count)) if count else "x"]


@pytest.mark.spec("S6.1-12")
def test_emit_without_listener_is_false():
    assert EventEmitter().emit("x") is False


@pytest.mark.spec("S6.1-02")
def test_the_same_listener_may_be_there_many_times(trace):
    emitter = EventEmitter()
    listener = trace.note("x")
    emitter.on("x", listener).on("x", listener)
    emitter.emit("x")
    assert trace == ["x", "x"]
    emitter.off("x", listener)
    emitter.emit("x")
    assert trace == ["x", "x", "x"]


@pytest.mark.spec("S6.1-14")
def test_changes_during_an_emission_affect_later_ones_only(trace):
    emitter = EventEmitter()

    def first():
        trace("first")
        emitter.off("x", second)
        emitter.on("x", third)

    def second():
        trace("second")

    def third():
        trace("third")

    emitter.on("x", first).on("x", second)
    emitter.emit("x")
    assert trace == ["first", "second"]
    emitter.off("x", first)
    emitter.emit("x")
    assert trace[2:] == ["third"]


def test_a_listener_may_emit_the_same_event(trace):
    emitter = EventEmitter()

    def listener(n):
        trace(n)
        if n:
            emitter.emit("x", n - 1)
            trace(-n)

    emitter.on("x", listener)
    emitter.emit("x", 2)
    assert trace == [2, 1, 0, -1, -2]


def test_a_listener_may_remove_everything(trace):
    emitter = EventEmitter()
    emitter.on("x", lambda: (trace("a"), emitter.remove_all_listeners()))
    emitter.on("x", trace.note("b"))
    assert emitter.emit("x") is True
    assert trace == ["a", "b"]
    assert emitter.event_names() == []


@pytest.mark.spec("S6.3-01", "S6.3-02")
def test_an_exception_skips_the_remaining_listeners(trace):
    emitter = EventEmitter()

    def bad():
        raise BoomError

    emitter.on("x", trace.note("a")).on("x", bad).on("x", trace.note("c"))
    with pytest.raises(BoomError):
        emitter.emit("x")
    assert trace == ["a"]
    assert emitter.listener_count("x") == 3


@pytest.mark.spec("S6.5-01")
def test_results_of_listeners_are_ignored():
    emitter = EventEmitter().on("x", lambda: False).on("x", lambda: object())
    assert emitter.emit("x") is True


@pytest.mark.spec("S6.1-04", "R4-02")
@pytest.mark.parametrize("method", ["on", "once", "prepend_listener", "prepend_once_listener"])
def test_with_the_event_alone_it_is_a_decorator(trace, method):
    emitter = EventEmitter()

    @getattr(emitter, method)("x")
    def listener(n):
        trace(n)

    assert callable(listener)
    assert listener.__name__ == "listener"
    emitter.emit("x", 1)
    emitter.emit("x", 2)
    assert trace == ([1] if "once" in method else [1, 2])


@pytest.mark.spec("S6.1-03", "R6-01")
@cases("method", ["on", "add_listener", "once", "prepend_listener", "prepend_once_listener", "off"])
@cases("listener", [3, "text", object()])
def test_listener_must_be_callable(method, listener):
    emitter = EventEmitter()
    with pytest.raises(TypeError) as caught:
        getattr(emitter, method)("x", listener)
    assert caught.value.code == "ERR_INVALID_ARG_TYPE"
    assert emitter.event_names() == []


def test_a_class_may_be_an_event(trace):
    class Moved:
        pass

    emitter = EventEmitter()
    emitter.on(Moved)(trace)
    emitter.emit(Moved, 1)
    assert trace == [1]


@pytest.mark.spec("S6.1-25")
@pytest.mark.parametrize("event", ["x", "", "é" * 40, 7, 7.5, (1, "a"), None, b"x", frozenset()])
def test_any_hashable_is_an_event_name(trace, event):
    emitter = EventEmitter()
    emitter.on("other", nothing)
    emitter.on(event, trace.note("x"))
    assert emitter.emit(event) is True
    assert emitter.event_names() == ["other", event]
    emitter.remove_all_listeners(event)
    assert emitter.emit(event) is False
    assert trace == ["x"]


def test_event_names_compare_by_value(trace):
    emitter = EventEmitter()
    name = "".join(["da", "ta", "!"])
    emitter.on(name, trace.note("x"))
    assert emitter.emit("".join(["data", "!"]))
    emitter.on((1, 2), trace.note("y"))
    assert emitter.emit((1, 2))
    assert trace == ["x", "y"]

    class Name(str):
        pass

    assert emitter.emit(Name("data!"))


def test_unhashable_event_name_is_refused():
    emitter = EventEmitter().on("x", nothing)
    with pytest.raises(TypeError):
        emitter.on([], nothing)
    with pytest.raises(TypeError):
        emitter.emit([])


# ---- Names and listeners that run code when they are compared ------------------------------------


class Texts(enum.StrEnum):
    DATA = "data"


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize("name", [Texts.DATA, Text("data"), "".join(["da", "ta"])])
def test_a_text_names_the_same_event_whatever_its_class(trace, name):
    emitter = EventEmitter()
    emitter.on("data", trace.note("plain"))
    emitter.on(name, trace.note("other"))
    assert emitter.listener_count(name) == emitter.listener_count("data") == 2
    assert emitter.event_names() == ["data"]
    for each in (name, "data"):
        emitter.emit(each)
    assert trace == ["plain", "other"] * 2
    emitter.remove_all_listeners(name)
    assert emitter.event_names() == []


COMPARING = """
import itertools
from pyuvnet import EventEmitter

emitter = EventEmitter()
busy = False

class Name:
    # Equal to others of its number, and does something whenever it is compared.
    def __init__(self, number, action=None):
        self.number, self.action = number, action

    def __hash__(self):
        return 1

    def __eq__(self, other):
        global busy
        for each in (self, other):
            if not busy and getattr(each, "action", None) is not None:
                busy = True
                each.action()
                busy = False
                # Memory that is free by now is something else's.
                junk = [bytes(size) for size in (32, 48, 64, 80, 96) for _ in range(20)]
        return getattr(other, "number", None) == self.number or NotImplemented

def listener(*arguments):
    pass

def check():
    global busy
    busy = True
    names = emitter.event_names()
    assert len(set(map(id, names))) == len(names)
    for name in names:
        assert emitter.listener_count(name) >= 1, name
        emitter.emit(name)
    emitter.remove_all_listeners()
    assert emitter.event_names() == []
    busy = False
"""
USES = {
    "emit": "emitter.emit({0})",
    "on": "emitter.on({0}, listener)",
    "once": "emitter.once({0}, listener)",
    "off": "emitter.off({0}, listener)",
    "listeners": "emitter.listeners({0})",
    "raw_listeners": "emitter.raw_listeners({0})",
    "remove_all_listeners": "emitter.remove_all_listeners({0})",
}


@pytest.mark.parametrize("use", USES)
def test_an_event_name_that_changes_the_listeners_when_it_is_compared(run_child, use):
    text = COMPARING + textwrap.dedent(
        f"""
        actions = [
            emitter.remove_all_listeners,
            lambda: emitter.on("new", listener).on("newer", listener),
            lambda: [emitter.off(name, listener) for name in emitter.event_names()],
            lambda: [emitter.on(Name(number), listener) for number in range(9)],
            lambda: (emitter.remove_all_listeners(), emitter.on("new", listener)),
        ]
        for action in actions:
            for number in range(2):
                # In the emitter, in the name of the event, or in both.
                acts = (None, action)
                for kept, asked, others in itertools.product(acts, acts, (1, 3, 6)):
                    emitter = EventEmitter().set_max_listeners(0)
                    for other in range(others):
                        busy = True
                        emitter.on(Name(other, kept), listener)
                    busy = False
                    {USES[use].format("Name(number, asked)")}
                    {USES[use].format("'text'")}
                    {USES[use].format("Name(number)")}
                    check()
        """
    )
    run_child(text).clean()


@pytest.mark.parametrize("build", ["on", "once"])
@pytest.mark.parametrize("method", ["remove_all_listeners", "off", "prepend_listener"])
def test_a_listener_that_changes_the_list_when_it_is_compared(trace, method, build):
    emitter = EventEmitter()
    plain = trace.note("plain")

    class Awkward:
        def __init__(self, name, action=nothing):
            self.name, self.action = name, action

        def __call__(self):
            trace(self.name)

        def __eq__(self, other):
            action, self.action = self.action, nothing
            action()
            return isinstance(other, Awkward) and self.name == other.name

        __hash__ = None

    def act():
        getattr(emitter, method)("x", *[plain] * (method != "remove_all_listeners"))

    for listener in (plain, Awkward("kept"), plain, Awkward("wanted", act)):
        getattr(emitter, build)("x", listener)
    emitter.off("x", Awkward("wanted"))
    emitter.emit("x")
    left = {
        "remove_all_listeners": [],
        "off": ["plain", "kept"],
        "prepend_listener": ["plain", "plain", "kept", "plain"],
    }
    assert trace == left[method]


def test_once_is_over_although_another_listener_cannot_be_compared(trace):
    class Incomparable:
        def __call__(self):
            trace("called")

        def __eq__(self, other):
            raise BoomError

        __hash__ = None

    emitter = EventEmitter()
    emitter.once("x", trace.note("once"))
    emitter.on("x", Incomparable())
    emitter.emit("x")
    emitter.emit("x")
    assert trace == ["once", "called", "called"]
    emitter.remove_all_listeners("x")
    assert emitter.listener_count("x") == 0


def test_a_name_that_cannot_be_compared_adds_nothing():
    class Incomparable:
        def __hash__(self):
            return hash("newListener")

        def __eq__(self, other):
            raise BoomError

    emitter = EventEmitter()
    for others in ((), ("newListener",), tuple("abcdef")):
        for name in others:
            emitter.on(name, print)
        with pytest.raises(BoomError):
            emitter.on(Incomparable(), print)
        assert emitter.event_names() == list(others)
        emitter.remove_all_listeners()


@pytest.mark.parametrize("others", [1, 2, 3, 4, 7])
def test_a_listener_whose_finaliser_uses_its_emitter(trace, others):
    emitter = EventEmitter()

    class Last:
        def __init__(self, do):
            self.do = do

        def __call__(self):
            pass

        def __del__(self):
            self.do()

    def late():
        trace(emitter.event_names())
        emitter.on("late", trace.note("late"))
        emitter.emit("name1")

    for name in range(others):
        emitter.on(f"name{name}", trace.note(name))
    names = emitter.event_names()
    for whole, take in enumerate(
        (
            lambda: emitter.remove_all_listeners("last"),
            lambda: emitter.off("last", emitter.listeners("last")[-1]),
            lambda: emitter.emit("last"),
            emitter.remove_all_listeners,
        )
    ):
        emitter.prepend_once_listener("last", Last(late))
        take()
        assert "last" not in emitter.event_names()
        emitter.emit("late")
        assert trace[-1] == "late"
        emitter.remove_all_listeners("late")
        assert emitter.event_names() == (names if whole < 3 else [])


def test_observers_that_change_what_they_are_told_of(trace):
    emitter = EventEmitter()

    def added(event, listener):
        trace("added", event)
        emitter.remove_all_listeners(event)
        if len(trace) < 3:
            emitter.on(event, print)

    def removed(event, listener):
        trace("removed", event)
        if len(trace) < 12:
            emitter.on("x", print).off("x", print)
            raise BoomError

    emitter.on("newListener", added)
    emitter.on("x", trace.note("x"))
    emitter.emit("x")
    assert emitter.listener_count("x") == 3
    emitter.remove_all_listeners("newListener")
    emitter.on("removeListener", removed)
    with pytest.raises(BoomError):
        emitter.off("x", emitter.listeners("x")[0])
    assert emitter.listener_count("x") == 2
    emitter.remove_all_listeners()
    assert emitter.event_names() == []


# ---- once ----------------------------------------------------------------------------------------


@pytest.mark.spec("S6.1-05")
def test_once_listener_is_removed_before_it_is_called(trace):
    emitter = EventEmitter()
    emitter.once("x", lambda: trace(emitter.listener_count("x")))
    assert emitter.emit("x") is True
    assert emitter.emit("x") is False
    assert trace == [0]


def test_once_listener_does_not_run_again_in_a_nested_emission(trace):
    emitter = EventEmitter()
    emitter.once("x", lambda: (trace("once"), emitter.emit("x")))
    emitter.on("x", trace.note("on"))
    emitter.emit("x")
    assert trace == ["once", "on", "on"]


def test_once_listener_that_raises_is_gone(trace):
    emitter = EventEmitter()

    @emitter.once("x")
    def bad():
        raise BoomError

    with pytest.raises(BoomError):
        emitter.emit("x")
    assert emitter.emit("x") is False


def test_once_listener_removed_during_the_emission_is_still_called_once(trace):
    emitter = EventEmitter()
    emitter.on("x", lambda: emitter.off("x", once))
    once = trace.note("once")
    emitter.once("x", once)
    emitter.emit("x")
    emitter.emit("x")
    assert trace == ["once"]


@pytest.mark.spec("S6.1-06")
def test_prepend_once_comes_first_and_once(trace):
    emitter = EventEmitter().on("x", trace.note("on"))
    emitter.prepend_once_listener("x", trace.note("once"))
    emitter.emit("x")
    emitter.emit("x")
    assert trace == ["once", "on", "on"]


@pytest.mark.spec("S6.1-16", "S6.1-17")
def test_once_wrapper_calls_and_removes(trace):
    emitter = EventEmitter()
    original = trace.note("x")
    emitter.once("x", original)
    (wrapper,) = emitter.raw_listeners("x")
    assert wrapper is not original
    assert wrapper.listener is original
    assert emitter.listeners("x") == [original]
    wrapper(1)
    wrapper(2)
    assert trace == [("x", 1)]
    assert emitter.listener_count("x") == 0
    assert emitter.emit("x") is False


def test_once_wrapper_returns_what_the_listener_returns():
    emitter = EventEmitter().once("x", lambda: 42)
    (wrapper,) = emitter.raw_listeners("x")
    assert wrapper() == 42


def test_a_wrapper_can_be_removed_itself():
    emitter = EventEmitter().once("x", nothing).once("x", nothing)
    first, second = emitter.raw_listeners("x")
    emitter.off("x", first)
    assert emitter.raw_listeners("x") == [second]


# ---- Removing ------------------------------------------------------------------------------------


@pytest.mark.spec("S6.1-07")
def test_off_takes_the_most_recently_added_match(trace):
    emitter = EventEmitter()
    same = trace.note("same")
    emitter.on("x", same).on("x", trace.note("other")).on("x", same)
    emitter.off("x", same)
    emitter.emit("x")
    assert trace == ["same", "other"]


@pytest.mark.spec("S6.1-08")
def test_off_finds_a_once_listener_by_its_original():
    emitter = EventEmitter().once("x", nothing)
    emitter.off("x", nothing)
    assert emitter.listener_count("x") == 0


@pytest.mark.spec("S6.1-09")
def test_off_without_match_changes_nothing(trace):
    emitter = EventEmitter().on("x", nothing)
    assert emitter.off("x", print) is emitter
    assert emitter.off("y", nothing) is emitter
    assert emitter.listener_count("x") == 1


def test_bound_methods_are_found_by_equality(trace):
    emitter = EventEmitter()

    class Owner:
        def method(self):
            trace("called")

    owner = Owner()
    emitter.on("x", owner.method)
    assert emitter.listener_count("x", owner.method) == 1
    emitter.off("x", owner.method)
    assert emitter.emit("x") is False


@pytest.mark.spec("S6.1-10")
def test_remove_all_listeners_of_one_event():
    emitter = EventEmitter().on("x", nothing).on("x", print).on("y", nothing)
    assert emitter.remove_all_listeners("x") is emitter
    assert emitter.event_names() == ["y"]


@pytest.mark.spec("S6.1-10", "S6.1-11")
def test_remove_all_listeners_tells_last_added_first(trace):
    emitter = EventEmitter()
    emitter.on("x", "a".upper).on("x", "b".upper).on("y", "c".upper)
    emitter.on("removeListener", lambda event, fn: trace(event, fn()))
    emitter.remove_all_listeners("x")
    assert trace == [("x", "B"), ("x", "A")]
    emitter.remove_all_listeners()
    assert trace[2:] == [("y", "C")]
    assert emitter.event_names() == []


def test_remove_all_listeners_ends_although_one_is_added_each_time(trace):
    emitter = EventEmitter().on("x", nothing).on("x", nothing)
    emitter.on("removeListener", lambda event, fn: emitter.on("x", print))
    emitter.remove_all_listeners("x")
    assert emitter.listeners("x") == [print, print]


# ---- newListener, removeListener -----------------------------------------------------------------


@pytest.mark.spec("S6.2-01")
def test_new_listener_is_told_before_the_addition(trace):
    emitter = EventEmitter()
    emitter.on("newListener", lambda event, fn: trace(event, fn, emitter.listener_count(event)))
    emitter.on("x", nothing)
    emitter.once("x", print)
    assert trace == [("x", nothing, 0), ("x", print, 1)]


def test_new_listener_is_not_told_of_itself_but_of_the_next_one(trace):
    emitter = EventEmitter().on("newListener", trace.note("new"))
    assert trace == []
    emitter.on("newListener", nothing)
    assert trace == [("new", "newListener", nothing)]


@pytest.mark.spec("S6.2-02")
def test_a_listener_added_inside_new_listener_comes_first(trace):
    emitter = EventEmitter()
    emitter.once("newListener", lambda event, fn: emitter.on(event, trace.note("inner")))
    emitter.on("x", trace.note("outer"))
    emitter.emit("x")
    assert trace == ["inner", "outer"]


@pytest.mark.spec("S6.2-03", "D63")
def test_remove_listener_is_told_after_the_removal_with_the_original(trace):
    emitter = EventEmitter()
    emitter.on("removeListener", lambda event, fn: trace(event, fn, emitter.listener_count(event)))
    emitter.on("x", nothing).once("x", print)
    emitter.off("x", nothing)
    emitter.off("x", print)
    assert trace == [("x", nothing, 1), ("x", print, 0)]


@pytest.mark.spec("S6.2-04", "S6.2-05")
def test_remove_listener_is_told_of_a_once_listener_before_its_call(trace):
    emitter = EventEmitter()
    emitter.on("removeListener", lambda event, fn: trace("removed", fn is once))
    once = trace.note("called")
    emitter.once("x", once).on("x", nothing)
    emitter.emit("x")
    assert trace == [("removed", True), "called"]


# ---- 'error' -------------------------------------------------------------------------------------


@pytest.mark.spec("S6.4-01")
def test_error_without_listener_raises_it():
    error = BoomError("mine")
    with pytest.raises(BoomError) as caught:
        EventEmitter().emit("error", error)
    assert caught.value is error


@pytest.mark.spec("S6.4-02")
@pytest.mark.parametrize("args", [(), (None,), (42,), ("text",)])
def test_error_without_listener_that_is_no_exception(args):
    with pytest.raises(StateError) as caught:
        EventEmitter().emit("error", *args)
    assert caught.value.code == "ERR_UNHANDLED_ERROR"
    assert caught.value.context == (args[0] if args else None)


def test_error_with_listener_does_not_raise(trace):
    emitter = EventEmitter().on("error", trace.note("error"))
    assert emitter.emit("error", 1, 2) is True
    assert trace == [("error", 1, 2)]


@pytest.mark.spec("S6.4-03", "N179")
def test_error_monitor_sees_errors_first_and_does_not_handle_them(trace):
    emitter = EventEmitter()
    emitter.on(EventEmitter.error_monitor, trace.note("monitor"))
    error = BoomError()
    with pytest.raises(BoomError):
        emitter.emit("error", error)
    emitter.prepend_listener("error", trace.note("error"))
    assert emitter.emit("error", error) is True
    assert trace == [("monitor", error), ("monitor", error), ("error", error)]
    assert EventEmitter.errorMonitor is EventEmitter.error_monitor


# ---- Listings ------------------------------------------------------------------------------------


@pytest.mark.spec("S6.1-18")
def test_event_names_are_in_order_of_first_registration():
    emitter = EventEmitter()
    names = list("fedcba")
    for name in names:
        emitter.on(name, nothing)
    assert emitter.event_names() == names
    emitter.off("d", nothing)
    emitter.on("d", nothing)
    assert emitter.event_names() == list("fecbad")


@pytest.mark.parametrize("count", range(1, 7))
def test_names_keep_their_order_and_listeners_whichever_goes(trace, count):
    # Two events live in the object, two more next to it, and five or more in a dict.
    names = list("abcdef")[:count]
    for gone in names:
        emitter, notes = EventEmitter(), {name: trace.note(name) for name in names}
        for name in names:
            emitter.on(name, notes[name])
        emitter.off(gone, notes[gone])
        left = [name for name in names if name != gone]
        assert emitter.event_names() == left
        assert [name for name in names if emitter.emit(name)] == left
        emitter.on(gone, notes[gone])
        assert emitter.event_names() == [*left, gone]
        assert [emitter.listeners(name) for name in names] == [[notes[name]] for name in names]


@pytest.mark.spec("S6.1-15")
def test_listener_count_of_one_listener():
    emitter = EventEmitter().on("x", nothing).once("x", nothing).on("x", print)
    assert emitter.listener_count("x") == 3
    assert emitter.listener_count("x", nothing) == 2
    assert emitter.listener_count("x", len) == 0
    assert emitter.listener_count("y") == 0


def test_listings_are_copies():
    emitter = EventEmitter().on("x", nothing)
    emitter.listeners("x").clear()
    emitter.raw_listeners("x").clear()
    assert emitter.listener_count("x") == 1


@pytest.mark.spec("S6.1-19")
def test_the_librarys_own_steps_are_hidden(loop):
    # A write before the connection waits at a place among the 'connect' and 'close' listeners.
    socket = Socket()
    socket.on("error", nothing)
    seen = []
    socket.on("removeListener", lambda event, fn: seen.append(event))
    socket.connect(1, "127.0.0.1")
    socket.write(b"x")
    socket.end()
    for event in ("connect", "close"):
        assert socket.listener_count(event) == 0
        assert socket.raw_listeners(event) == []
    socket.remove_all_listeners("connect")
    loop.run()
    assert seen == []


@pytest.mark.spec("S6.1-20")
def test_every_new_socket_shows_one_end_listener():
    assert Socket().listener_count("end") == 1
    assert Socket(allow_half_open=True).listener_count("end") == 1


# ---- Against a model -----------------------------------------------------------------------------


class Model:
    """The same rules, written plainly."""

    def __init__(self):
        self.events = {}

    def on(self, event, fn, prepend=False, once=False):
        entries = self.events.setdefault(event, [])
        entries.insert(0 if prepend else len(entries), (fn, once))

    def off(self, event, fn):
        entries = self.events.get(event, [])
        for index in reversed(range(len(entries))):
            if entries[index][0] is fn:
                del entries[index]
                break
        if not entries:
            self.events.pop(event, None)

    def emit(self, event):
        called = []
        for fn, once in list(self.events.get(event, [])):
            called.append(fn)
            if once:
                entries = self.events[event]
                entries.remove((fn, once))
                if not entries:
                    del self.events[event]
        return called


@pytest.mark.parametrize("seed", range(20))
def test_random_operations_agree_with_a_model(seed):
    chance = random.Random(seed)
    emitter, model, called = EventEmitter(), Model(), []
    emitter.set_max_listeners(0)
    # Up to four events are kept in the object itself and four more next to it; a ninth, or a name
    # with a comparison of its own, moves all of them into a dict: cross these borders often.
    names = [*"abcdefghij"] if seed % 2 else ["a", "b", "".join("cd"), 5, (6, 7), "e"]
    names = names[: chance.randint(1, len(names))]
    listeners = [lambda n=n: called.append(n) for n in range(4)]
    for _ in range(400):
        event, fn = chance.choice(names), chance.choice(listeners)
        match chance.randrange(7):
            case 0 | 1:
                emitter.on(event, fn)
                model.on(event, fn)
            case 2:
                emitter.prepend_once_listener(event, fn)
                model.on(event, fn, prepend=True, once=True)
            case 3:
                emitter.once(event, fn)
                model.on(event, fn, once=True)
            case 4:
                emitter.off(event, fn)
                model.off(event, fn)
            case 5:
                called.clear()
                had = event in model.events
                assert emitter.emit(event) is had
                assert [listeners[n] for n in called] == model.emit(event)
            case 6 if not chance.randrange(3):
                emitter.remove_all_listeners(event)
                model.events.pop(event, None)
        assert emitter.event_names() == list(model.events)
        assert emitter.listeners(event) == [entry[0] for entry in model.events.get(event, [])]


# ---- The limit -----------------------------------------------------------------------------------


@pytest.fixture
def class_settings():
    yield
    EventEmitter.default_max_listeners = 10
    EventEmitter.capture_rejections = False
    assert EventEmitter().get_max_listeners() == 10


@pytest.mark.spec("S6.1-21", "S6.1-24", "R7-01")
def test_more_than_ten_listeners_warn_once_for_each_event():
    emitter = EventEmitter()
    for _ in range(10):
        emitter.on("x", nothing)
    with pytest.warns(MaxListenersExceededWarning, match="11 x listeners") as caught:
        emitter.on("x", nothing)
    assert caught[0].filename == __file__
    emitter.on("x", nothing)
    for _ in range(10):
        emitter.on("y", nothing)
    with pytest.warns(MaxListenersExceededWarning, match="11 y listeners"):
        emitter.on("y", nothing)


def test_a_warning_made_an_exception_leaves_the_listener_in_place(trace):
    emitter = EventEmitter().set_max_listeners(1).on("x", nothing)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(MaxListenersExceededWarning):
            emitter.on("x", nothing)
    assert emitter.listener_count("x") == 2


@pytest.mark.spec("S6.1-21")
@pytest.mark.parametrize("limit", [1, 3, 12, 2.5])
def test_limit_of_one_emitter(limit):
    emitter = EventEmitter()
    assert emitter.set_max_listeners(limit) is emitter
    assert emitter.get_max_listeners() == limit
    for _ in range(int(limit)):
        emitter.on("x", nothing)
    with pytest.warns(MaxListenersExceededWarning):
        emitter.on("x", nothing)


@pytest.mark.spec("S6.1-23")
@pytest.mark.parametrize("limit", [0, math.inf])
def test_no_limit(limit):
    emitter = EventEmitter().set_max_listeners(limit)
    for _ in range(100):
        emitter.on("x", nothing)


@pytest.mark.spec("S6.1-22", "R6-01")
@pytest.mark.parametrize("limit", [-1, math.nan])
def test_limit_out_of_range(limit):
    with pytest.raises(ValueError, match="out of range") as caught:
        EventEmitter().set_max_listeners(limit)
    assert caught.value.code == "ERR_OUT_OF_RANGE"


@pytest.mark.spec("R6-01")
@pytest.mark.parametrize("limit", [True, "10", None])
def test_limit_must_be_a_number(limit):
    with pytest.raises(TypeError) as caught:
        EventEmitter().set_max_listeners(limit)
    assert caught.value.code == "ERR_INVALID_ARG_TYPE"


@pytest.mark.spec("S6.1-21")
@pytest.mark.usefixtures("class_settings")
@pytest.mark.parametrize("spelling", ["default_max_listeners", "defaultMaxListeners"])
def test_default_limit_is_assignable_in_either_spelling(spelling):
    before = EventEmitter()
    setattr(EventEmitter, spelling, 2)
    assert EventEmitter.default_max_listeners == EventEmitter.defaultMaxListeners == 2
    for emitter in (before, EventEmitter(), Socket()):
        assert emitter.get_max_listeners() == 2
    before.on("x", nothing).on("x", nothing)
    with pytest.warns(MaxListenersExceededWarning):
        before.on("x", nothing)
    other = {"default_max_listeners": "defaultMaxListeners"}.get(spelling, "default_max_listeners")
    setattr(EventEmitter, other, 5)
    assert getattr(EventEmitter, spelling) == 5
    assert before.get_max_listeners() == 5


@pytest.mark.usefixtures("class_settings")
def test_a_subclass_may_have_its_own_default_limit():
    class Mine(EventEmitter):
        default_max_listeners = 1

    assert Mine().get_max_listeners() == 1
    assert EventEmitter().get_max_listeners() == 10
    EventEmitter.default_max_listeners = 20
    assert Mine().get_max_listeners() == 1


@pytest.mark.usefixtures("class_settings")
@pytest.mark.parametrize("spelling", ["capture_rejections", "captureRejections"])
def test_capture_rejections_is_assignable_in_either_spelling(spelling):
    assert EventEmitter.capture_rejections is False
    setattr(EventEmitter, spelling, True)
    assert EventEmitter.capture_rejections is EventEmitter.captureRejections is True
    EventEmitter.capture_rejections = False
    assert EventEmitter.captureRejections is False


# ---- Subclasses ----------------------------------------------------------------------------------


def test_an_overridden_emit_gets_every_emission(loop, trace):
    class Loud(Socket):
        def emit(self, event, *args):
            trace(event, *args)
            return super().emit(event, *args)

    socket = Loud()
    socket.on("newListener", nothing)
    socket.on("error", nothing)
    socket.pause()
    error = BoomError()
    socket.destroy(error)
    loop.run()
    assert trace == [("newListener", "error", nothing), "pause", ("error", error), ("close", True)]


def test_an_overridden_emit_may_swallow_an_event(loop, trace):
    class Silent(Socket):
        def emit(self, event, *args):
            return event == "error" or super().emit(event, *args)

    socket = Silent().on("close", trace.note("close"))
    socket.destroy(BoomError())
    loop.run()
    assert trace == [("close", True)]


def test_subclass_without_super_init_works(trace):
    class Careless(EventEmitter):
        def __init__(self, value):
            self.value = value

    emitter = Careless(3).on("x", trace.note("x"))
    emitter.emit("x")
    assert (emitter.value, trace) == (3, ["x"])


def test_it_mixes_with_abstract_base_classes_and_slots(trace):
    class Base(EventEmitter, abc.ABC):
        @abc.abstractmethod
        def work(self): ...

    class Mine(Base):
        __slots__ = ("value",)

        def work(self):
            self.emit("x")

    Mine().on("x", trace.note("x")).work()
    assert trace == ["x"]


def test_attributes_and_weak_references():
    emitter = EventEmitter()
    emitter.anything = 1
    reference = weakref.ref(emitter)
    assert reference() is emitter
    del emitter
    assert reference() is None


def test_a_cycle_through_listeners_is_collected():
    emitter = EventEmitter()
    emitter.on("x", emitter.listeners).once("y", emitter.listeners)
    for name in "abcdef":
        emitter.on(name, emitter.emit)
    reference = weakref.ref(emitter)
    del emitter
    gc.collect()
    assert reference() is None


def test_an_emission_keeps_what_it_uses_alive(trace):
    # The listener drops the last references to itself, its emitter and the rest of the list.
    holder = [EventEmitter()]

    class Listener:
        def __call__(self):
            holder[0].remove_all_listeners()
            holder.clear()
            gc.collect()
            trace("alive")

    holder[0].on("x", Listener())
    assert holder[0].emit("x") is True
    assert trace == ["alive"]


@pytest.mark.spec("R4-03")
def test_coroutine_listener_without_asyncio_is_refused_and_closed(run_child):
    child = run_child("""
        import pyuvnet
        emitter = pyuvnet.EventEmitter()
        @emitter.on("x")
        async def listener(): pass
        try:
            emitter.emit("x")
        except pyuvnet.StateError as error:
            print(error.code)
    """)
    assert child.clean().out == "ERR_NO_ASYNC_LOOP\n"


def test_names_have_nodes_spelling():
    assert EventEmitter.prependOnceListener is EventEmitter.prepend_once_listener
    assert EventEmitter.add_listener is EventEmitter.on
    assert EventEmitter.removeListener is EventEmitter.off


@pytest.mark.skipif(sys.version_info < (3, 12), reason="there it comes with the object")
def test_a_dictionary_comes_with_the_first_attribute():
    # Most sockets of a server have none of their own, and there are many.
    def dictionaries(emitter):
        return [each for each in gc.get_referents(emitter) if type(each) is dict]

    emitter = EventEmitter()
    emitter.on("data", print)
    assert dictionaries(emitter) == []
    assert not hasattr(emitter, "own")
    assert dictionaries(emitter) == []
    emitter.own = 1
    assert dictionaries(emitter) == [{"own": 1}]
    assert vars(emitter) is emitter.__dict__
    del emitter.own
    assert vars(EventEmitter()) == {}


# ---- Listeners that do not take what an event passes ---------------------------------------------


def takes_none() -> None: ...


def takes_two(first: object, second: object) -> None: ...


async def coroutine() -> None: ...


async def coroutine_of_one(value: object) -> None: ...


class Takes:
    def none(self) -> None: ...

    def one(self, value: object) -> None:
        takes_none(value)


@functools.wraps(takes_none)
def passes_on(*values: object) -> None:
    takes_none(*values)


@pytest.mark.parametrize("others", [False, True])
@pytest.mark.parametrize("register", ["on", "once"])
@pytest.mark.parametrize(
    ("listener", "explained"),
    [
        (takes_none, True),
        (takes_two, True),
        (coroutine, True),
        (Takes().none, True),
        (functools.partial(takes_two, 1, 2), True),
        (lambda: None, True),
        # These take it, and fail by themselves.
        (Takes().one, False),
        (functools.partial(Takes().one), False),
        (passes_on, False),
        (len, False),
        (bytearray().extend, False),
    ],
)
def test_a_listener_of_the_wrong_arity_is_explained(
    listener: Any, explained: bool, register: str, others: bool
) -> None:
    emitter = EventEmitter()
    getattr(emitter, register)("mine", listener)
    if others:
        emitter.on("mine", str)
    with pytest.raises(TypeError) as caught:
        emitter.emit("mine", 5)
    notes = getattr(caught.value, "__notes__", [])
    assert len(notes) == explained
    if explained:
        assert notes[0].startswith("The event 'mine' passes 1 argument (int), and its listener ")
        assert f", defined at {__file__}:" in notes[0]


def started_with_none(way: str, listener: Any) -> list[BaseException]:
    """A server calls a listener of 'listening'; returns what comes out of the loop."""
    found: list[BaseException] = []
    server = pyuvnet.net.create_server().on("listening", listener)

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: found.append(context["exception"])
        )
        server.listen(0, "127.0.0.1")
        while not found:
            await asyncio.sleep(0)
        server.close()

    if way == "run":
        server.listen(0, "127.0.0.1")
        with pytest.raises(TypeError) as caught:
            pyuvnet.run()
        server.close()
        pyuvnet.run()
        return [caught.value]
    (asyncio.run if way == "asyncio" else pyuvnet.run)(main())
    return found


@pytest.mark.parametrize("measured", [False, True])
@pytest.mark.parametrize("way", ["run", "run of a coroutine", "asyncio"])
@pytest.mark.parametrize("listener", [takes_two, coroutine_of_one, functools.partial(takes_two, 1)])
def test_one_frame_of_ours_stands_above_a_listener_of_the_wrong_arity(
    listener: Any, way: str, measured: bool
) -> None:
    if measured:
        pyuvnet.loop.measure()
    try:
        (error,) = started_with_none(way, listener)
    finally:
        pyuvnet.loop.measure(False)
    assert error.__notes__[0].startswith("The event 'listening' passes no arguments, and its ")
    names = [entry.filename for entry in traceback.extract_tb(error.__traceback__)]
    ours = [name for name in names if name.endswith((".pyx", "driver.py"))]
    assert len(ours) <= 1


@pytest.mark.parametrize("framed", [False, True])
def test_a_listener_of_data_of_the_wrong_arity_is_explained(framed: bool) -> None:
    errors: list[BaseException] = []
    pyuvnet.set_exception_handler(errors.append)

    def serve(socket: pyuvnet.Socket) -> None:
        socket.on("data", takes_none)
        socket.on("close", lambda had_error: server.close())
        if framed:
            socket.set_framing(pyuvnet.framing.Lines())

    server = pyuvnet.net.create_server(serve)

    def listening() -> None:
        client = pyuvnet.net.connect(server.address().port, "127.0.0.1")
        client.on("error", print).resume().end("x\n")

    server.listen(0, listening)
    pyuvnet.run()
    (error,) = errors
    assert error.__notes__[0].startswith("The event 'data' passes 1 argument (bytes), and its ")
