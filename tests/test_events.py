"""pyuvnet.events, streams.md 6.7: once, on, and their companions."""

import asyncio
import gc
import threading
import weakref

import pytest

from pyuvnet import (
    AbortController,
    AbortError,
    AbortSignal,
    ArgTypeError,
    EventEmitter,
    RangeError,
    StateError,
    events,
    net,
    next_tick,
    run,
)
from tests.support.cases import cases


class Source(EventEmitter):
    """An emitter that can be paused, and notes it."""

    def __init__(self):
        super().__init__()
        self.said = []

    def pause(self):
        self.said.append("pause")

    def resume(self):
        self.said.append("resume")


def failure(caught):
    return caught.value.code


# ---- once() --------------------------------------------------------------------------------------


@pytest.mark.spec("S6.7-01", "S6.7-04", "N179")
def test_once_listens_from_the_call_on_and_leaves_no_listener():
    async def main():
        emitter = EventEmitter()
        waiting = events.once(emitter, "x")
        emitter.emit("x", 1, 2)
        emitter.emit("x", 3)
        assert emitter.event_names() == []
        assert await waiting == [1, 2]

    run(main())


def test_once_of_an_event_without_arguments_and_of_any_hashable():
    async def main():
        emitter = EventEmitter()
        waiting = events.once(emitter, (1, "x"))
        emitter.emit((1, "x"))
        assert await waiting == []

    run(main())


@pytest.mark.spec("S6.7-02", "S6.7-04")
def test_once_raises_the_error_that_comes_first():
    async def main():
        emitter = EventEmitter()
        waiting = events.once(emitter, "x")
        error = OSError("E")
        emitter.emit("error", error)
        assert emitter.event_names() == []
        with pytest.raises(OSError, match="E") as caught:
            await waiting
        assert caught.value is error

    run(main())


@pytest.mark.spec("S6.7-02")
def test_once_of_error_gives_it():
    async def main():
        emitter = EventEmitter()
        waiting = events.once(emitter, "error")
        emitter.emit("error", 5)
        assert await waiting == [5]

    run(main())


def test_an_error_that_is_no_exception_is_wrapped():
    async def main():
        emitter = EventEmitter()
        waiting = events.once(emitter, "x")
        emitter.emit("error", 5)
        with pytest.raises(StateError) as caught:
            await waiting
        assert (caught.value.code, caught.value.context) == ("ERR_UNHANDLED_ERROR", 5)

    run(main())


@pytest.mark.spec("S6.7-03")
@pytest.mark.parametrize("early", [True, False])
def test_once_is_aborted_by_its_signal(early):
    async def main():
        emitter, controller = EventEmitter(), AbortController()
        if early:
            controller.abort("why")
        waiting = events.once(emitter, "x", signal=controller.signal)
        controller.abort("why")
        assert emitter.event_names() == controller.signal.event_names() == []
        with pytest.raises(AbortError) as caught:
            await waiting
        assert (caught.value.code, caught.value.cause) == ("ABORT_ERR", "why")

    run(main())


def test_once_leaves_nothing_on_its_signal():
    async def main():
        emitter, controller = EventEmitter(), AbortController()
        waiting = events.once(emitter, "x", signal=controller.signal)
        emitter.emit("x")
        assert controller.signal.event_names() == []
        await waiting

    run(main())


def test_cancelled_once_leaves_no_listener():
    async def main():
        emitter, controller = EventEmitter(), AbortController()
        waiting = events.once(emitter, "x", signal=controller.signal)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(waiting, 0.001)
        assert emitter.event_names() == controller.signal.event_names() == []

    run(main())


@pytest.mark.spec("R6-01")
@cases(
    "call",
    [
        lambda: events.once({}, "x"),
        lambda: events.once(EventEmitter(), "x", signal=5),
        lambda: events.on(None, "x"),
        lambda: events.on(EventEmitter(), "x", signal="x"),
        lambda: events.on(EventEmitter(), "x", high_water_mark="x"),
        lambda: events.get_event_listeners(5, "x"),
        lambda: events.get_max_listeners(5),
        lambda: events.listener_count(5, "x"),
        lambda: events.set_max_listeners(5, 5),
        lambda: events.add_abort_listener(None, print),
        lambda: events.add_abort_listener(AbortSignal.abort(), 5),
    ],
)
def test_wrong_types_are_refused_at_the_call(call):
    with pytest.raises(ArgTypeError) as caught:
        call()
    assert failure(caught) == "ERR_INVALID_ARG_TYPE"


# ---- on() ----------------------------------------------------------------------------------------


@pytest.mark.spec("S6.7-05", "S6.7-06", "N179")
def test_on_gives_what_was_emitted_since_the_call_until_a_closing_event():
    async def main():
        emitter = EventEmitter()
        iterator = events.on(emitter, "x", close=["end", "close"])
        emitter.emit("x", 1, 2)
        emitter.emit("x")
        emitter.emit("close")
        emitter.emit("x", "late")
        assert emitter.event_names() == []
        assert [arguments async for arguments in iterator] == [[1, 2], []]

    run(main())


def test_on_gives_events_to_who_waits_in_order():
    async def main():
        emitter = EventEmitter()
        iterator = events.on(emitter, "x")
        first, second = (asyncio.ensure_future(anext(iterator)) for _ in range(2))
        await asyncio.sleep(0)
        emitter.emit("x", "a")
        emitter.emit("x", "b")
        emitter.emit("x", "c")
        assert [await first, await second, await anext(iterator)] == [["a"], ["b"], ["c"]]
        await iterator.aclose()

    run(main())


@pytest.mark.spec("S6.7-07")
def test_on_raises_an_error_after_the_queue_once():
    async def main():
        emitter = EventEmitter()
        iterator = events.on(emitter, "x")
        emitter.emit("x", 1)
        emitter.emit("error", OSError("E"))
        assert emitter.event_names() == []
        assert await anext(iterator) == [1]
        with pytest.raises(OSError, match="E"):
            await anext(iterator)
        with pytest.raises(StopAsyncIteration):
            await anext(iterator)

    run(main())


def test_on_raises_an_error_to_the_first_who_waits_and_ends_for_the_others():
    async def main():
        emitter = EventEmitter()
        iterator = events.on(emitter, "x")
        first, second = (asyncio.ensure_future(anext(iterator, "over")) for _ in range(2))
        await asyncio.sleep(0)
        emitter.emit("error", OSError("E"))
        with pytest.raises(OSError, match="E"):
            await first
        assert await second == "over"

    run(main())


def test_on_of_error_takes_errors_for_events():
    async def main():
        emitter = EventEmitter()
        iterator = events.on(emitter, "error", close=["close"])
        emitter.emit("error", 1)
        emitter.emit("error", 2)
        emitter.emit("close")
        assert [arguments async for arguments in iterator] == [[1], [2]]

    run(main())


@pytest.mark.spec("S6.7-09")
def test_on_is_aborted_by_its_signal_after_the_queue():
    async def main():
        emitter, controller = EventEmitter(), AbortController()
        iterator = events.on(emitter, "x", signal=controller.signal)
        emitter.emit("x", 1)
        controller.abort("why")
        assert emitter.event_names() == controller.signal.event_names() == []
        assert await anext(iterator) == [1]
        with pytest.raises(AbortError) as caught:
            await anext(iterator)
        assert caught.value.cause == "why"
        with pytest.raises(AbortError):
            events.on(emitter, "x", signal=controller.signal)
        assert emitter.event_names() == []

    run(main())


@pytest.mark.spec("S6.7-08")
@pytest.mark.parametrize(
    ("high", "low", "said"),
    [
        (2, 1, ["0", "1", "2", "pause", "3", "4", "5", "resume"]),
        (3, 2, ["0", "1", "2", "3", "pause", "4", "5", "resume"]),
    ],
)
def test_on_pauses_above_the_high_mark_and_resumes_below_the_low(high, low, said):
    async def main():
        emitter = Source()
        iterator = events.on(emitter, "x", high_water_mark=high, low_water_mark=low)
        for number in range(6):
            emitter.said.append(str(number))
            emitter.emit("x", number)
        assert emitter.said == said[:-1]
        for left in range(5, -1, -1):
            assert ("resume" in emitter.said) is (left + 1 < low)
            await anext(iterator)
        assert emitter.said == said
        await iterator.aclose()

    run(main())


@pytest.mark.parametrize(
    "marks",
    [
        {"high_water_mark": 0},
        {"low_water_mark": 0},
        {"high_water_mark": 1.5},
        {"low_water_mark": float("nan")},
        {"high_water_mark": -1},
    ],
)
def test_marks_out_of_range_are_refused_and_add_no_listener(marks):
    emitter = EventEmitter()
    with pytest.raises(RangeError) as caught:
        events.on(emitter, "x", **marks)
    assert failure(caught) == "ERR_OUT_OF_RANGE"
    assert emitter.event_names() == []


def test_aclose_ends_it_for_all():
    async def main():
        emitter = EventEmitter()
        iterator = events.on(emitter, "x")
        waiting = asyncio.ensure_future(anext(iterator, "over"))
        await asyncio.sleep(0)
        await iterator.aclose()
        assert emitter.event_names() == []
        assert await waiting == "over"
        assert await anext(iterator, "over") == "over"

    run(main())


def test_an_iterator_left_by_break_stops_listening():
    async def main():
        emitter = EventEmitter()
        emitter.on("x", lambda _: None)
        iterator = events.on(emitter, "x")
        gone = weakref.ref(iterator)
        emitter.emit("x", 1)
        async for arguments in iterator:
            assert arguments == [1]
            break
        del iterator
        gc.collect()
        assert gone() is None
        assert emitter.listener_count("x") == 1

    run(main())


def collected_in_another_thread(held):
    """Drop what a list has so that the collector of another thread finalises it."""
    for each in held:
        # Without the GIL only the collector frees what another thread has made.
        each.itself = each
    held.clear()
    del each
    thread = threading.Thread(target=gc.collect)
    thread.start()
    thread.join()


def test_an_iterator_collected_in_another_thread_stops_listening():
    server = net.create_server()
    held = [events.on(server, "x")]
    assert server.listener_count("x") == 1
    collected_in_another_thread(held)
    run()
    assert server.listener_count("x") == 0


def test_connections_whose_iterator_is_collected_in_another_thread_are_closed():
    server = net.create_server()
    held = []

    def connection(socket):
        socket.once("close", lambda had_error: server.close())
        # The iterator has it by then.
        next_tick(collected_in_another_thread, held)

    def listening():
        held.append(aiter(server))
        net.connect(server.address().port, "127.0.0.1").resume()

    server.once("connection", connection)
    server.listen(0, "127.0.0.1", listening)
    run()
    assert server.listener_count("connection") == 0


def test_a_cancelled_waiter_loses_no_event():
    async def main():
        emitter = EventEmitter()
        iterator = events.on(emitter, "x")
        waiting = asyncio.ensure_future(anext(iterator))
        await asyncio.sleep(0)
        emitter.emit("x", 1)
        emitter.emit("x", 2)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert [await anext(iterator), await anext(iterator)] == [[1], [2]]
        await iterator.aclose()

    run(main())


def test_on_reads_a_socket_to_its_end():
    async def main():
        server = net.create_server(lambda socket: socket.end("hello"))
        server.listen(0, "127.0.0.1")
        await events.once(server, "listening")
        socket = net.connect(server.address().port, "127.0.0.1")
        chunks = [arguments[0] async for arguments in events.on(socket, "data", close=["end"])]
        server.close()
        await events.once(server, "close")
        return b"".join(chunks)

    assert run(main()) == b"hello"
    run()


# ---- The other functions -------------------------------------------------------------------------


@pytest.mark.spec("S6.7-10", "S6.7-11")
def test_functions_do_what_the_methods_do():
    emitter = EventEmitter()
    emitter.on("x", print).once("x", repr)
    assert events.get_event_listeners(emitter, "x") == [print, repr]
    assert events.listener_count(emitter, "x") == 2
    assert events.get_max_listeners(emitter) == 10
    other = EventEmitter()
    events.set_max_listeners(5, emitter, other)
    assert emitter.get_max_listeners() == other.get_max_listeners() == 5
    assert EventEmitter().get_max_listeners() == 10


@pytest.mark.spec("S6.7-11")
def test_set_max_listeners_without_emitters_sets_the_default():
    try:
        events.set_max_listeners(3)
        assert EventEmitter.default_max_listeners == 3
        assert EventEmitter().get_max_listeners() == 3
    finally:
        events.set_max_listeners(10)


@pytest.mark.parametrize("count", [-1, float("nan")])
def test_set_max_listeners_refuses_and_changes_none(count):
    emitter = EventEmitter()
    with pytest.raises(RangeError):
        events.set_max_listeners(count, emitter)
    with pytest.raises(ArgTypeError):
        events.set_max_listeners(3, emitter, 5)
    assert emitter.get_max_listeners() == 10


@pytest.mark.spec("S6.7-12")
def test_add_abort_listener(trace):
    controller = AbortController()
    events.add_abort_listener(controller.signal, trace.note("kept"))
    events.add_abort_listener(controller.signal, trace.note("closed")).close()
    with events.add_abort_listener(controller.signal, trace.note("left")):
        pass
    controller.abort()
    assert trace == [("kept", controller.signal)]


def test_add_abort_listener_of_an_aborted_signal_calls_in_a_tick(trace):
    events.add_abort_listener(AbortSignal.abort(), lambda signal: trace("told"))
    trace("sync")
    run()
    assert trace == ["sync", "told"]


def test_the_module_has_what_it_says_in_both_spellings():
    for name in events.__all__:
        assert hasattr(events, name)
    assert events.getEventListeners is events.get_event_listeners
    assert events.errorMonitor is events.error_monitor is EventEmitter.error_monitor
    assert not hasattr(events, "onAbort")
