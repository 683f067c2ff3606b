"""AbortController and AbortSignal, README R4: abort, timeout, any; what listeners see."""

import asyncio
import gc
import weakref

import pytest

import pyuvnet
from pyuvnet import (
    AbortController,
    AbortError,
    AbortSignal,
    AbortTimeoutError,
    ArgTypeError,
    EventEmitter,
    RangeError,
    events,
)


@pytest.mark.spec("R4-06")
def test_a_signal_is_aborted_when_its_time_is_over():
    signal = AbortSignal.timeout(1)
    heard = []
    signal.on("abort", heard.append)
    # It does not keep the loop alive by itself.
    pyuvnet.run()
    assert not signal.aborted
    keeping = pyuvnet.set_interval(lambda: None, 1)
    signal.on("abort", lambda _: keeping.close())
    pyuvnet.run()
    assert heard == [signal]
    assert isinstance(signal.reason, AbortTimeoutError)
    assert (signal.reason.name, str(signal.reason)) == (
        "TimeoutError",
        "The operation was aborted due to timeout",
    )
    with pytest.raises(TimeoutError) as caught:
        signal.throw_if_aborted()
    assert caught.value is signal.reason


def test_what_it_aborts_raises_an_abort_error_with_the_reason_as_its_cause():
    async def main():
        signal = AbortSignal.timeout(1)
        keeping = pyuvnet.set_interval(lambda: None, 1)
        with pytest.raises(AbortError) as caught:
            await events.once(EventEmitter(), "never", signal=signal)
        keeping.close()
        assert caught.value.cause is caught.value.__cause__ is signal.reason
        assert (caught.value.name, signal.reason.name) == ("AbortError", "TimeoutError")

    pyuvnet.run(asyncio.wait_for(main(), 20))


@pytest.mark.parametrize(
    ("delay", "error", "code"),
    [
        (1.5, RangeError, "ERR_OUT_OF_RANGE"),
        (-1, RangeError, "ERR_OUT_OF_RANGE"),
        (2**32, RangeError, "ERR_OUT_OF_RANGE"),
        ("1", ArgTypeError, "ERR_INVALID_ARG_TYPE"),
        (None, ArgTypeError, "ERR_INVALID_ARG_TYPE"),
        (True, ArgTypeError, "ERR_INVALID_ARG_TYPE"),
    ],
)
def test_a_time_out_of_range_is_refused(delay, error, code):
    with pytest.raises(error) as caught:
        AbortSignal.timeout(delay)
    assert caught.value.code == code


# ---- abort() -------------------------------------------------------------------------------------


def test_a_signal_is_made_by_its_makers_only():
    with pytest.raises(ArgTypeError) as caught:
        AbortSignal()
    assert caught.value.code == "ERR_ILLEGAL_CONSTRUCTOR"


@pytest.mark.spec("R4-05")
def test_abort_calls_listeners_at_once_with_the_signal(trace):
    controller = AbortController()
    signal = controller.signal
    assert controller.signal is signal
    assert (signal.aborted, signal.reason) == (False, None)
    signal.throw_if_aborted()
    signal.on("abort", lambda told: trace((told is signal, signal.aborted, signal.reason)))
    controller.abort("why")
    controller.abort("again")
    assert trace == [(True, True, "why")]
    assert signal.reason == "why"


@pytest.mark.spec("R4-05", "R4-06")
@pytest.mark.parametrize("arguments", [(), (None,)])
def test_the_reason_is_an_abort_error_unless_given(arguments):
    for signal in (AbortSignal.abort(*arguments), (c := AbortController()).signal):
        if not signal.aborted:
            c.abort(*arguments)
        assert isinstance(signal.reason, AbortError)
        assert (signal.reason.code, signal.reason.name) == ("ABORT_ERR", "AbortError")
        assert str(signal.reason) == "This operation was aborted"


def test_throw_if_aborted_raises_the_reason_or_wraps_it():
    error = ValueError("why")
    with pytest.raises(ValueError, match="why") as caught:
        AbortSignal.abort(error).throw_if_aborted()
    assert caught.value is error
    with pytest.raises(AbortError) as caught:
        AbortSignal.abort("why").throwIfAborted()
    assert caught.value.cause == "why"


# ---- any() ---------------------------------------------------------------------------------------


@pytest.mark.spec("R4-06")
def test_any_is_aborted_with_the_first_for_its_reason():
    first, second = AbortController(), AbortController()
    joined = AbortSignal.any([first.signal, second.signal, first.signal])
    assert not joined.aborted
    second.abort("second")
    assert (joined.aborted, joined.reason) == (True, "second")
    first.abort("first")
    assert joined.reason == "second"


def test_any_of_nothing_is_never_aborted_and_of_an_aborted_one_at_once():
    assert not AbortSignal.any([]).aborted
    joined = AbortSignal.any(iter([AbortController().signal, AbortSignal.abort("why")]))
    assert (joined.aborted, joined.reason) == (True, "why")


def test_all_are_aborted_before_the_first_listener_runs_source_first(trace):
    controller = AbortController()
    signals = {"source": controller.signal}
    for number in range(8):
        signals[f"any {number}"] = AbortSignal.any([controller.signal])
    signals["any of any"] = AbortSignal.any([signals["any 3"]])
    for name, signal in reversed(signals.items()):
        signal.on("abort", lambda _, name=name: trace((name, all_aborted())))

    def all_aborted():
        return all(signal.aborted for signal in signals.values())

    controller.abort()
    assert trace == [(name, True) for name in signals]


@pytest.mark.parametrize("add", ["on", "once", "prepend_listener", "prependOnceListener"])
@pytest.mark.parametrize("decorate", [False, True])
def test_a_joined_signal_lives_as_long_as_it_is_listened_to(trace, add, decorate):
    controller = AbortController()
    joined = AbortSignal.any([controller.signal])
    gone = weakref.ref(joined)
    listener = trace.note("aborted")
    if decorate:
        assert getattr(joined, add)("abort")(listener) is listener
    else:
        assert getattr(joined, add)("abort", listener) is joined
    del joined
    gc.collect()
    assert gone() is not None
    controller.abort()
    assert len(trace) == 1
    trace.clear()
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("remove", ["off", "removeListener", "remove_all_listeners"])
def test_a_joined_signal_nobody_wants_is_freed(remove):
    controller = AbortController()
    joined = AbortSignal.any([controller.signal])
    joined.on("abort", print)
    arguments = ("abort",) if remove == "remove_all_listeners" else ("abort", print)
    assert getattr(joined, remove)(*arguments) is joined
    gone = weakref.ref(joined)
    del joined
    gc.collect()
    assert gone() is None
    controller.abort()


@pytest.mark.parametrize(
    ("signals", "text"),
    [
        ([1], "signals[0] is not of type AbortSignal."),
        ([AbortSignal.abort(), None], "signals[1] is not of type AbortSignal."),
        (1, "signals cannot be converted to sequence."),
    ],
)
def test_any_refuses_what_is_no_signal(signals, text):
    with pytest.raises(ArgTypeError) as caught:
        AbortSignal.any(signals)
    assert (caught.value.code, str(caught.value)) == ("ERR_INVALID_ARG_TYPE", text)
