"""Streams of a program's own, timers and aborts: what is done to them inside their own callbacks.

Streams as in test_races_sockets.py: a scenario brings its events and calls of hooks by itself, and
then once for each of them with an action inside.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

import pyuvnet
from pyuvnet import (
    AbortController,
    AbortSignal,
    Duplex,
    Readable,
    Writable,
    current_loop,
    run,
    set_immediate,
    set_interval,
    set_timeout,
    stop,
)
from pyuvnet.errors import AbortError
from pyuvnet.streams import finished, pipeline
from tests.support.races import settle

pytestmark = pytest.mark.usefixtures("raised")


# ---- Streams -------------------------------------------------------------------------------------

WATCHED = ["drain", "end", "finish", "pause", "resume", "pipe", "unpipe", "error", "close"]
Note = Callable[[str, Any], None]


class Source(Readable):
    """Has three chunks, each a turn late."""

    def __init__(self, play: Play, **options: Any) -> None:
        super().__init__(**options)
        self.play, self.left = play, 3

    def _read(self, size: int) -> None:
        self.play.note("_read", self)
        set_immediate(self._arrive)

    def _arrive(self) -> None:
        self.left -= 1
        self.push(b"chunk" if self.left >= 0 else None)

    def _destroy(self, error: Any, callback: Any) -> None:
        self.play.note("_destroy", self)
        callback(error)


class Sink(Writable):
    """Takes a chunk in a turn."""

    error: Exception | None = None

    def __init__(self, play: Play, **options: Any) -> None:
        super().__init__(**options)
        self.play = play

    def _write(self, chunk: Any, encoding: str, callback: Any) -> None:
        self.play.note("_write", self)
        set_immediate(callback, self.error)

    def _final(self, callback: Any) -> None:
        self.play.note("_final", self)
        set_immediate(callback)

    def _destroy(self, error: Any, callback: Any) -> None:
        self.play.note("_destroy", self)
        set_immediate(callback, error)


class Vectors(Sink):
    """Takes all that waits at once."""

    def _writev(self, chunks: Any, callback: Any) -> None:
        self.play.note("_writev", self)
        set_immediate(callback, self.error)


class Echo(Duplex):
    """What is written to it can be read."""

    def __init__(self, play: Play, **options: Any) -> None:
        super().__init__(**options)
        self.play = play
        self.went_on: Any = None

    def _read(self, size: int) -> None:
        self.play.note("_read", self)
        went_on, self.went_on = self.went_on, None
        if went_on is not None:
            went_on()

    def _write(self, chunk: Any, encoding: str, callback: Any) -> None:
        self.play.note("_write", self)
        if self.push(bytes(chunk)) or self.destroyed:
            callback()
        else:
            self.went_on = callback

    def _final(self, callback: Any) -> None:
        self.play.note("_final", self)
        self.push(None)
        callback()

    def _destroy(self, error: Any, callback: Any) -> None:
        self.play.note("_destroy", self)
        went_on, self.went_on = self.went_on, None
        if went_on is not None:
            went_on(error)
        callback(error)


class Play:
    """Streams, what they say, and at most one thing that is done to one of them."""

    def __init__(self, plan: tuple[str, str, Callable[[Play, Any], Any]] | None = None) -> None:
        self.plan = plan
        self.names: dict[Any, str] = {}
        self.told: dict[str, list[str]] = {}
        self.errors: list[BaseException] = []
        self.acted: list[Any] = []
        self.writes = 0
        self.answers: Counter[int] = Counter()

    def add(self, name: str, stream: Any) -> Any:
        self.names[stream] = name
        self.told[name] = []
        for event in WATCHED:
            stream.on(event, lambda *args, event=event: self.note(event, stream, *args))
        return stream

    def note(self, event: str, stream: Any, *args: Any) -> None:
        name = self.names[stream]
        self.told[name].append(event)
        if event == "error":
            self.errors.append(args[0])
        if self.plan is not None and self.plan[:2] == (name, event) and not self.acted:
            self.acted.append(stream)
            stop()
            self.plan[2](self, stream)

    def write(self, stream: Any, chunk: bytes) -> bool:
        """Write, and note in which events of the stream it is answered."""
        number = self.writes
        self.writes += 1

        def told(*_: Any) -> None:
            self.answers[number] += 1
            self.note("write callback", stream)

        return bool(stream.write(chunk, told))

    def finish(self, answered: bool = True) -> None:
        settle(lambda: sum(map(len, self.told.values())))
        for stream in self.names:
            stream.destroy()
        run()
        for stream, name in self.names.items():
            assert stream.closed
            told = self.told[name]
            for event in ("close", "error", "end", "finish", "_final", "_destroy"):
                assert told.count(event) <= 1, event
            if "close" in told:
                assert set(told[told.index("close") + 1 :]) <= {"write callback", "unpipe"}
            assert "_destroy" in told
        # Each write is answered, and once.
        assert set(self.answers.values()) <= {1}
        assert len(self.answers) == self.writes or not answered


Scenario = Callable[[Play], None]
SCENARIOS: dict[str, Scenario] = {}
EXPECTED: dict[str, dict[str, set[str]]] = {}
READS = {"_read", "end", "_destroy", "close"}
WRITES = {"_write", "_final", "finish", "_destroy", "close"}


def scenario(**expected: set[str]) -> Callable[[Scenario], Scenario]:
    def add(function: Scenario) -> Scenario:
        name = function.__name__.replace("_", " ")
        SCENARIOS[name], EXPECTED[name] = function, expected
        return function

    return add


@scenario(source=READS | {"data", "pause", "resume"})
def flowing(play: Play) -> None:
    source = play.add("source", Source(play))

    def data(chunk: bytes) -> None:
        play.note("data", source)
        source.pause()
        set_immediate(source.resume)

    source.on("data", data)


@scenario(source=READS | {"readable"})
def reading(play: Play) -> None:
    source = play.add("source", Source(play))

    def readable() -> None:
        play.note("readable", source)
        while source.read() is not None:
            pass

    source.on("readable", readable)


@scenario(source={"_read", "error", "_destroy", "close", "resume"})
def a_source_that_fails(play: Play) -> None:
    source = play.add("source", Source(play)).resume()
    set_immediate(lambda: set_immediate(source.destroy, OSError("failed")))


@scenario(sink=WRITES | {"drain", "write callback"})
def writing(play: Play) -> None:
    sink = play.add("sink", Sink(play, high_water_mark=10))
    left = 3

    def fill() -> None:
        nonlocal left
        while left and play.write(sink, b"seven b"):
            pass
        left -= 1
        if left <= 0:
            sink.end(b"last")

    sink.on("drain", fill)
    fill()


@scenario(sink=(WRITES | {"_writev", "write callback"}))
def writing_corked(play: Play) -> None:
    sink = play.add("sink", Vectors(play))
    play.write(sink, b"first")
    sink.cork()
    for _ in range(3):
        play.write(sink, b"chunk")
    sink.uncork()
    sink.end()


@scenario(sink={"_write", "write callback", "error", "_destroy", "close"})
def a_sink_that_fails(play: Play) -> None:
    sink = play.add("sink", Sink(play))
    sink.error = OSError("failed")
    for _ in range(3):
        play.write(sink, b"chunk")


@scenario(
    source=READS | {"pause", "resume", "data"},
    sink=WRITES | {"pipe", "unpipe", "drain"},
)
def piping(play: Play) -> None:
    source = play.add("source", Source(play))
    sink = play.add("sink", Sink(play, high_water_mark=1))
    source.pipe(sink)
    source.on("data", lambda _: play.note("data", source))


@scenario(
    source=READS | {"resume"},
    echo={*READS, *WRITES, "pipe", "unpipe", "resume"},
    sink=WRITES | {"pipe", "unpipe"},
)
def piping_through(play: Play) -> None:
    source = play.add("source", Source(play))
    echo = play.add("echo", Echo(play))
    source.pipe(echo).pipe(play.add("sink", Sink(play)))


@scenario(echo={*READS, *WRITES, "data", "drain", "write callback", "resume"})
def echoing(play: Play) -> None:
    echo = play.add("echo", Echo(play, high_water_mark=4))
    echo.on("data", lambda _: play.note("data", echo))
    echo.on("drain", lambda: echo.end(b"last"))
    for _ in range(3):
        play.write(echo, b"chunk")


def _others(play: Play, stream: Any) -> None:
    for each in play.names:
        if each is not stream:
            each.destroy()


def _if(name: str, *args: Any) -> Callable[[Play, Any], Any]:
    """Call a method that not each kind of stream has."""
    return lambda play, stream: getattr(stream, name, lambda *_: None)(*args)


ACTIONS: dict[str, Callable[[Play, Any], Any]] = {
    "destroy": lambda play, stream: stream.destroy(),
    "destroy with an error": lambda play, stream: stream.destroy(RuntimeError("E")),
    "destroy twice": lambda play, stream: stream.destroy(RuntimeError("E")).destroy(),
    "destroy the others": _others,
    "push": _if("push", b"more"),
    "push the end": _if("push", None),
    "unshift": _if("unshift", b"again"),
    "read": _if("read"),
    "pause": _if("pause"),
    "resume": _if("resume"),
    "encoding": _if("set_encoding", "utf8"),
    "unpipe": _if("unpipe"),
    "pipe elsewhere": lambda play, stream: (
        stream.pipe(play.add("other", Sink(play))) if isinstance(stream, Readable) else None
    ),
    "write": lambda play, stream: hasattr(stream, "write") and play.write(stream, b"more"),
    "end": _if("end", b"last"),
    "cork": _if("cork"),
    "cork and uncork": lambda play, stream: (
        hasattr(stream, "cork") and (stream.cork(), play.write(stream, b"x"), stream.uncork())
    ),
    "remove all listeners": lambda play, stream: stream.remove_all_listeners(),
    "remove and destroy": lambda play, stream: stream.remove_all_listeners().destroy(),
    "raise": lambda play, stream: 1 // 0,
}
ENDING = {"destroy", "destroy with an error", "destroy twice", "remove and destroy"}
DEAF = {"remove all listeners", "remove and destroy"}


@pytest.mark.parametrize("name", SCENARIOS)
def test_events_and_hooks_of_a_scenario(name: str, raised: list[BaseException]) -> None:
    play = Play()
    set_immediate(SCENARIOS[name], play)
    run()
    assert {name: set(told) for name, told in play.told.items()} == EXPECTED[name]
    play.finish()
    assert raised == []


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("name", SCENARIOS)
def test_inside_every_event_and_hook(name: str, action: str, raised: list[BaseException]) -> None:
    for who, events in EXPECTED[name].items():
        for event in sorted(events):
            place = f"inside {event!r} of the {who}"
            play = Play((who, event, ACTIONS[action]))
            set_immediate(SCENARIOS[name], play)
            run()
            assert len(play.acted) == 1, f"it did not come: {place}"
            settle(lambda play=play: sum(map(len, play.told.values())))
            if action in ENDING:
                assert play.acted[0].closed, place
            try:
                # What a hook took and did not answer stays so, as in Node.
                play.finish(action != "raise" or not event.startswith("_write"))
            except AssertionError as error:
                error.add_note(place)
                raise
            if action in DEAF:
                raised[:] = [each for each in raised if not isinstance(each, OSError)]
            failures = [*raised, *play.errors]
            if action == "raise":
                # Out of a listener it comes out of the loop, out of a hook it is the stream's.
                assert [type(each) for each in failures].count(ZeroDivisionError) == 1, place
                assert all(isinstance(each, ZeroDivisionError) for each in raised), place
            else:
                assert raised == [], place
            raised.clear()


@pytest.mark.parametrize("action", ACTIONS)
def test_streams_from_another_thread(action: str, full: bool, raised: list[BaseException]) -> None:
    """Through the loop's one door, at any moment of three streams that are piped."""
    loop, choose = current_loop(), random.Random(action)
    rounds = 200 if full else 8
    begun = threading.Semaphore(0)
    plays: list[Play] = []
    acted: list[tuple[Any, bool]] = []
    alive = set_interval(lambda: None, 1000)  # so that the loop goes on, whatever is done

    def begin() -> None:
        play = Play()
        plays.append(play)
        source = play.add("source", Source(play))
        source.left = 1_000_000  # it lasts until it is destroyed
        echo = play.add("echo", Echo(play))
        source.pipe(echo).pipe(play.add("sink", Sink(play)))
        play.write(echo, b"of the test")
        begun.release()

    def on_loop() -> None:
        stream = choose.choice([*plays[-1].names])
        ACTIONS[action](plays[-1], stream)
        acted.append((stream, stream.destroyed))

    def leave(turns: int) -> None:
        if turns:
            set_immediate(leave, turns - 1)
            return
        for stream in plays[-1].names:
            stream.destroy()
        if len(plays) < rounds:
            begin()
        else:
            alive.close()

    def other_thread() -> None:
        for _ in range(rounds):
            begun.acquire()
            time.sleep(choose.random() * 0.001)  # any moment
            loop.call_soon_threadsafe(on_loop)
            loop.call_soon_threadsafe(leave, 5)

    thread = threading.Thread(target=other_thread)
    begin()
    thread.start()
    run()
    thread.join()
    assert len(plays) == rounds
    for play in plays:
        play.finish()
    if action == "raise":
        assert [type(each) for each in raised] == [ZeroDivisionError] * rounds
    else:
        assert len(acted) == rounds
        assert all(destroyed for _, destroyed in acted) or action not in ENDING
        assert raised == [] or action in DEAF


# ---- Timers --------------------------------------------------------------------------------------

KINDS: dict[str, Callable[..., Any]] = {
    "timeout": set_timeout,
    "interval": set_interval,
    "immediate": set_immediate,
}
CLEAR = {
    "timeout": pyuvnet.clear_timeout,
    "interval": pyuvnet.clear_interval,
    "immediate": pyuvnet.clear_immediate,
}
# What each does to the number of calls: of one that was called, and of one that waits.
TIMER_ACTIONS: dict[str, Callable[[str, Any], Any]] = {
    "clear": lambda kind, timer: CLEAR[kind](timer),
    "close": lambda kind, timer: timer.close(),
    "clear twice": lambda kind, timer: (CLEAR[kind](timer), CLEAR[kind](timer)),
    "refresh": lambda kind, timer: timer.refresh(),
    "clear and refresh": lambda kind, timer: (CLEAR[kind](timer), timer.refresh()),
    "refresh and clear": lambda kind, timer: (timer.refresh(), CLEAR[kind](timer)),
    "unref and ref": lambda kind, timer: timer.unref().ref(),
    "raise": lambda kind, timer: 1 // 0,
}
ONLY_TIMERS = {"refresh", "clear and refresh", "refresh and clear"}


@pytest.mark.parametrize("target", ["before", "itself", "after"])
@pytest.mark.parametrize(
    ("kind", "action"),
    [
        (kind, action)
        for kind in KINDS
        for action in TIMER_ACTIONS
        if kind != "immediate" or action not in ONLY_TIMERS | {"unref and ref", "close"}
    ],
)
def test_timers_inside_their_callbacks(
    kind: str, action: str, target: str, raised: list[BaseException]
) -> None:
    """Three of a kind that are due together; the second does something to one of them, once."""
    calls: Counter[str] = Counter()
    timers: dict[str, Any] = {}
    acted: list[Counter[str]] = []

    def call(name: str) -> None:
        calls[name] += 1
        if kind == "interval" and calls[name] == 3:
            timers[name].close()
        if name == "itself" and not acted:
            acted.append(Counter(calls))
            TIMER_ACTIONS[action](kind, timers[target])

    for name in ("before", "itself", "after"):
        waits = [] if kind == "immediate" else [1]
        timers[name] = KINDS[kind](call, *waits, name)
    run()
    each = 3 if kind == "interval" else 1
    expected = Counter(dict.fromkeys(timers, each))
    if "clear" in action or action == "close":
        # What had been called, and nothing more: an immediate or a timer that fired stays fired.
        expected[target] = acted[0][target]
    elif action == "refresh" and kind == "timeout":
        # One that fired fires again; one that waits, once.
        expected[target] = acted[0][target] + 1
    assert calls == expected
    assert [type(error) for error in raised] == [ZeroDivisionError] * (action == "raise")
    assert current_loop().handle_count() == 0


def test_a_timer_that_others_clear_and_refresh_meanwhile() -> None:
    """The one that waits is put off by each of the others, and cancelled by the last."""
    calls: list[str] = []
    victim = set_timeout(calls.append, 1, "victim")
    victim.close()
    victim = set_timeout(calls.append, 10_000, "victim")

    def again(left: int) -> None:
        calls.append("refreshed")
        victim.refresh()
        if left:
            set_immediate(again, left - 1)
        else:
            victim.close()

    set_immediate(again, 20)
    run()  # does not wait for ten seconds
    assert calls == ["refreshed"] * 21


@pytest.mark.parametrize("kind", KINDS)
def test_timers_that_another_thread_cancels(kind: str, full: bool) -> None:
    """At any moment: what was called before is counted once, and nothing comes after."""
    loop, choose = current_loop(), random.Random(kind)
    count = 5000 if full else 200
    calls: Counter[int] = Counter()
    cleared: dict[int, int] = {}
    timers: list[Any] = []
    alive = set_interval(lambda: None, 1000)  # until all are cleared

    def clear(number: int) -> None:
        CLEAR[kind](timers[number])
        cleared[number] = calls[number]
        if len(cleared) == count:
            alive.close()

    def called(number: int) -> None:
        assert number not in cleared
        calls[number] += 1
        if kind == "immediate":
            # So that there is always one that waits.
            timers[number] = set_immediate(called, number)

    for number in range(count):
        waits = [] if kind == "immediate" else [choose.randrange(1, 4)]
        timers.append(KINDS[kind](called, *waits, number))
    order = choose.sample(range(count), count)

    def other_thread() -> None:
        for number in order:
            loop.call_soon_threadsafe(clear, number)
            if number % 10 == 0:
                time.sleep(choose.random() * 0.001)  # any moment

    thread = threading.Thread(target=other_thread)
    thread.start()
    run()
    thread.join()
    assert len(cleared) == count
    assert {number: calls[number] for number in cleared} == cleared
    if kind == "timeout":
        assert set(cleared.values()) <= {0, 1}
    assert loop.handle_count() == 0


# ---- Aborts --------------------------------------------------------------------------------------


def test_listeners_that_abort() -> None:
    """An abort inside an abort: each signal tells once, the inner one before the outer goes on."""
    told: list[str] = []
    first, second = AbortController(), AbortController()
    either = AbortSignal.any([first.signal, second.signal])
    first.signal.on("abort", lambda _: (told.append("first"), first.abort("again")))
    first.signal.on("abort", lambda _: (second.abort("inner"), told.append("after the inner")))
    second.signal.on("abort", lambda _: (told.append("second"), first.abort("too late")))
    either.on("abort", lambda _: told.append("either"))
    first.abort("outer")
    assert told == ["first", "second", "after the inner", "either"]
    assert (first.signal.reason, second.signal.reason, either.reason) == ("outer", "inner", "outer")
    second.abort("later")
    assert len(told) == 4


def test_listeners_of_an_abort_that_come_and_go() -> None:
    """Listeners that are there when it begins are called, as with every event."""
    told: list[str] = []
    controller = AbortController()
    signal = controller.signal

    def third(_: AbortSignal) -> None:
        told.append("third")

    def first(_: AbortSignal) -> None:
        told.append("first")
        signal.off("abort", third)
        signal.once("abort", lambda _: told.append("new"))
        signal.remove_all_listeners()

    signal.on("abort", first).on("abort", lambda _: told.append("second")).on("abort", third)
    controller.abort()
    controller.abort()
    assert told == ["first", "second", "third"]
    assert signal.listener_count("abort") == 0


def test_a_listener_of_an_abort_that_raises() -> None:
    told: list[str] = []
    controller = AbortController()
    joined = AbortSignal.any([controller.signal])
    controller.signal.on("abort", lambda _: 1 // 0)
    controller.signal.on("abort", lambda _: told.append("second"))
    joined.on("abort", lambda _: told.append("joined"))
    with pytest.raises(ZeroDivisionError):
        controller.abort("why")
    # It is aborted nevertheless, and so is what was made of it.
    assert (controller.signal.reason, joined.reason) == ("why", "why")
    controller.abort()
    assert told == []


def begin_watched(name: str, play: Play, outcomes: list[Any], signal: AbortSignal) -> None:
    SCENARIOS[name](play)
    for stream in play.names:
        finished(stream, outcomes.append, signal=signal)


@pytest.mark.parametrize("name", SCENARIOS)
def test_an_abort_inside_every_event_of_a_pipeline_or_stream(
    name: str, raised: list[BaseException]
) -> None:
    """finished() with a signal: told once, by the abort if that was first."""
    for who, events in EXPECTED[name].items():
        for event in sorted(events):
            controller, outcomes = AbortController(), []
            play = Play((who, event, lambda play, stream, abort=controller.abort: abort()))
            set_immediate(begin_watched, name, play, outcomes, controller.signal)
            run()
            assert len(play.acted) == 1, event
            run()
            play.finish()
            assert len(outcomes) == len(play.names), event
            own = (type(None), AbortError, OSError)
            assert all(isinstance(outcome, own) for outcome in outcomes), outcomes
            assert any(isinstance(outcome, AbortError) for outcome in outcomes) or event == "close"
            assert controller.signal.listener_count("abort") == 0
    assert raised == []


def test_aborts_from_another_thread(full: bool) -> None:
    """A pipeline is aborted at any moment: its streams are destroyed, its callback runs once."""
    loop, choose = current_loop(), random.Random(1)
    rounds = 300 if full else 20
    outcomes: list[list[Any]] = []
    plays: list[Play] = []
    begun = threading.Semaphore(0)
    alive = set_interval(lambda: None, 1000)

    def begin() -> None:
        play, told, controller = Play(), [], AbortController()
        source = play.add("source", Source(play))
        source.left = 100_000  # it lasts until the abort
        echo = play.add("echo", Echo(play))
        sink = play.add("sink", Sink(play))
        plays.append(play)
        outcomes.append(told)
        controllers.append(controller)

        def done(error: Any) -> None:
            told.append(error)
            if len(plays) < rounds:
                begin()
            else:
                alive.close()

        pipeline(source, echo, sink, done, signal=controller.signal)
        begun.release()

    controllers: list[AbortController] = []

    def other_thread() -> None:
        for number in range(rounds):
            begun.acquire()
            time.sleep(choose.random() * 0.001)  # any moment
            loop.call_soon_threadsafe(lambda number=number: controllers[number].abort())

    thread = threading.Thread(target=other_thread)
    begin()
    thread.start()
    run()
    thread.join()
    assert [[type(error) for error in told] for told in outcomes] == [[AbortError]] * rounds
    for play in plays:
        play.finish()
