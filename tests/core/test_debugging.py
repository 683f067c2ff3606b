"""Debug mode, which names callbacks that are slow."""

from __future__ import annotations

import math
import time

import pytest

from pyuvnet import next_tick, run, set_immediate, set_timeout
from tests.support.cases import cases


@pytest.fixture
def slow_log(loop, caplog):
    """The texts that were logged, in debug mode and with a low threshold."""
    caplog.set_level("WARNING", logger="pyuvnet")
    loop.debug = True
    loop.slow_callback_ms = SLOW * 1000
    return lambda: [record.getMessage() for record in caplog.records if record.name == "pyuvnet"]


# Long enough that a busy machine is no slower by itself: of several in a second one is named.
SLOW = 0.2


def be_slow(*args, seconds=SLOW * 1.2):
    time.sleep(seconds)


@pytest.mark.parametrize(
    "schedule",
    [next_tick, set_immediate, lambda callback: set_timeout(callback, 1)],
    ids=["next_tick", "set_immediate", "set_timeout"],
)
def test_debug_mode_logs_a_slow_callback_by_name(slow_log, schedule):
    set_immediate(lambda: schedule(lambda: None))
    set_immediate(lambda: schedule(be_slow))
    set_immediate(lambda: schedule(lambda: None))
    run()
    (text,) = slow_log()
    assert text.startswith(f"Executing be_slow() at {__file__}:")
    assert float(text.split()[-2]) >= SLOW


def test_debug_mode_logs_whose_listener_was_slow(slow_log):
    from pyuvnet import net

    def accepted(socket):
        socket.on("data", lambda chunk: (be_slow(), socket.end()))

    server = net.create_server(accepted)

    def listening():
        client = net.connect(server.address().port, "127.0.0.1")
        client.write(b"x")
        client.on("end", server.close)

    server.listen(0, "127.0.0.1", callback=listening)
    run()
    (text,) = slow_log()
    name = test_debug_mode_logs_whose_listener_was_slow.__name__
    assert text.startswith(f"Executing {name}.<locals>.accepted.<locals>.<lambda>() at {__file__}:")


def test_debug_mode_can_be_left_and_says_nothing_then(loop, slow_log):
    assert loop.debug is True
    loop.debug = False
    set_immediate(be_slow)
    run()
    assert slow_log() == []
    assert loop.slow_callback_ms == SLOW * 1000


@cases(
    ("value", "code"),
    [
        (math.nan, "ERR_OUT_OF_RANGE"),
        (math.inf, "ERR_OUT_OF_RANGE"),
        (-1, "ERR_OUT_OF_RANGE"),
        (2**31, "ERR_OUT_OF_RANGE"),
        (10**400, "ERR_OUT_OF_RANGE"),
        ("20", "ERR_INVALID_ARG_TYPE"),
        (None, "ERR_INVALID_ARG_TYPE"),
        (True, "ERR_INVALID_ARG_TYPE"),
    ],
)
def test_the_threshold_is_a_number_of_milliseconds_or_refused(loop, value, code):
    loop.slow_callback_ms = 12.5
    with pytest.raises((TypeError, ValueError)) as caught:
        loop.slow_callback_ms = value
    assert caught.value.code == code
    assert loop.slow_callback_ms == 12.5


@pytest.mark.parametrize("value", [0, 0.5, 2**31 - 1])
def test_the_threshold_takes_any_time_that_a_timer_takes_too(loop, value):
    loop.slow_callback_ms = value
    assert loop.slow_callback_ms == value
