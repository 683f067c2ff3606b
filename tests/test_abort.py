"""AbortSignal.timeout(): what it is aborted for, and what that makes of an operation."""

import asyncio

import pytest

import pyuvnet
from pyuvnet import AbortError, AbortSignal, AbortTimeoutError, EventEmitter, events


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
