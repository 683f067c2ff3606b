"""Virtual time: by hand, by jumps, in coroutines; and that it never hangs."""

from __future__ import annotations

import asyncio
import socket as std
import threading
import time
from collections.abc import Iterator

import pytest

import pyuvnet
from pyuvnet import events, net, run, set_interval, set_timeout, testing
from pyuvnet._core.info import build_flags
from pyuvnet.errors import ArgTypeError, DeadlineError, RangeError
from pyuvnet.loop import handles
from pyuvnet.testing import NothingDueError, virtual_time
from tests.support.errors import BoomError

pytestmark = pytest.mark.skipif(
    "bundled libuv" not in build_flags(), reason="an installed libuv reads the system's clock"
)


@pytest.fixture(autouse=True)
def _quick() -> Iterator[None]:
    """Hours pass in no time."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < 20


# ---- By hand -------------------------------------------------------------------------------------


def test_timers_fire_when_the_clock_has_been_advanced_to_them(trace):
    with virtual_time() as clock:
        set_timeout(trace, 3_600_000, "hour")
        set_timeout(trace, 60_000, "minute")
        clock.advance(59_999)
        assert (trace, clock.now) == ([], 59_999)
        clock.advance(1)
        assert (trace, clock.now) == (["minute"], 60_000)
        clock.advance(3_600_000)
        assert trace == ["minute", "hour"]


def test_each_timer_fires_at_its_own_time():
    at = []
    with virtual_time() as clock:
        interval = set_interval(lambda: at.append(clock.now), 250)
        set_timeout(lambda: set_timeout(lambda: at.append(("later", clock.now)), 100), 600)
        clock.advance(1000)
        interval.close()
    assert at == [250, 500, ("later", 700), 750, 1000]


def test_a_listener_is_late_by_nothing_even_if_the_machine_is(trace):
    with virtual_time() as clock:
        set_timeout(trace, 10, "due")
        time.sleep(0.03)
        pyuvnet.current_loop().turn()
        assert trace == []
        clock.advance(10)
        assert trace == ["due"]


@pytest.mark.parametrize("active_at", [1, 20_000, 29_999])
def test_idle_timeouts_and_activity(trace, active_at):
    with virtual_time() as clock:
        client, server = testing.pair()
        client.set_timeout(30_000, trace.note("idle"))
        server.resume()
        clock.advance(active_at)
        client.write("x")
        clock.advance(29_999)
        assert trace == []
        clock.advance(1)
        assert trace == ["idle"]
        client.destroy()
        clock.advance(0)
        assert server.destroyed


def test_deadlines():
    errors: list[DeadlineError] = []
    with virtual_time() as clock:
        client, server = testing.pair()
        client.on("error", errors.append).set_deadline(5000)
        server.resume()
        clock.advance(4999)
        assert errors == []
        clock.advance(1)
        assert [error.code for error in errors] == ["ERR_DEADLINE"]
        run()


def test_a_server_forgets_idle_clients_after_an_hour():
    with virtual_time(jump=True) as clock:
        server = net.create_server(lambda socket: socket.resume(), idle_timeout=3_600_000)
        server.listen(0)
        server.on("connection", lambda socket: socket.on("error", lambda error: server.close()))
        client = net.connect(server.address().port, "127.0.0.1")
        client.on("error", lambda error: None).resume()
        run()
        assert 3_600_000 <= clock.now <= 4_050_000


def test_a_graceful_shutdown_and_a_later_end_of_it_that_does_not_count(trace):
    with virtual_time(jump=True) as clock:
        server = net.create_server(lambda socket: setattr(socket.resume(), "busy", True))
        server.listen(0)
        client = net.connect(server.address().port, "127.0.0.1")
        client.on("error", lambda error: None).resume()
        server.on("close", lambda: trace(clock.now))

        def accepted(socket: net.Socket) -> None:
            server.shutdown(10_000)
            set_timeout(server.shutdown, 5000, 7000)

        server.on("connection", accepted)
        run()
    assert trace == [10_000]


def test_advance_in_a_listener_begins_when_that_has_returned(trace):
    with virtual_time() as clock:
        set_timeout(trace, 500, "due")

        def ready() -> None:
            clock.advance(500)
            assert clock.now == 0
            trace("advancing")

        pyuvnet.next_tick(ready)
        run()
        assert trace == ["advancing", "due"]


def test_time_passes_also_for_what_does_not_keep_the_loop_alive(trace, loop):
    with virtual_time() as clock:
        set_timeout(trace, 3_000_000_000 // 2, "unref").unref()
        clock.advance(5_000_000_000)
        assert trace == ["unref"]
        assert not loop.alive()


def test_what_a_listener_raises_comes_out_of_advance():
    def fail() -> None:
        raise BoomError

    with virtual_time() as clock:
        set_timeout(fail, 10)
        with pytest.raises(BoomError):
            clock.advance(20)
        assert clock.now == 10
        clock.advance(10)


def test_afterwards_timers_are_the_systems_again():
    with virtual_time() as clock:
        clock.advance(3_600_000)
    began = time.monotonic()
    set_timeout(lambda: None, 30)
    run()
    assert 0.029 <= time.monotonic() - began < 10


# ---- A wait with nothing due ---------------------------------------------------------------------


def test_a_wait_with_nothing_due_fails_and_names_who_waits():
    with virtual_time(patience_ms=1):
        client, server = testing.pair()
        with pytest.raises(NothingDueError, match="no timer is due") as caught:
            run()
        assert repr(client) in str(caught.value)
        assert isinstance(caught.value, AssertionError)
        client.destroy()
        server.destroy()
        run()


def test_of_many_that_wait_the_first_are_named():
    sockets = [socket for _ in range(20) for socket in testing.pair()]
    with virtual_time(patience_ms=0), pytest.raises(NothingDueError) as caught:
        run()
    lines = str(caught.value).splitlines()
    assert len(lines) == 22
    assert lines[-1] == "  and 20 more"
    for socket in sockets:
        socket.destroy()
    run()


def test_by_hand_a_wait_for_a_timer_fails_and_says_when_it_would_be_due():
    with virtual_time(patience_ms=1) as clock:
        set_timeout(lambda: None, 1500)
        with pytest.raises(NothingDueError, match=r"due in 1500 ms: advance\(\)"):
            run()
        clock.advance(1500)
        run()


@pytest.mark.parametrize(
    ("ms", "text"), [(30_000, "30000"), (3_600_000, "3600000"), (12_345_678, "12345678")]
)
def test_durations_are_written_out(ms, text):
    with virtual_time(patience_ms=1) as clock:
        timer = set_timeout(lambda: None, ms)
        with pytest.raises(NothingDueError, match=f"is due in {text} ms:"):
            run()
        clock.advance(ms)
        assert repr(clock) == f"<VirtualTime {text} ms>"
        timer.close()


def test_a_coroutine_that_waits_for_ever_fails_and_is_named():
    async def main() -> None:
        await events.once(server, "data")

    with virtual_time(patience_ms=1):
        client, server = testing.pair()
        with pytest.raises(NothingDueError, match=r"main\(\) at .*test_clock\.py:\d+"):
            run(main())
        client.destroy()
        server.destroy()
        run()


def test_what_another_thread_sends_is_waited_for_in_real_time():
    near, far = std.socketpair()
    with virtual_time() as clock:
        socket = net.Socket(fd=near.detach())
        got: list[bytes] = []
        socket.on("data", got.append)
        thread = threading.Timer(0.05, lambda: (far.sendall(b"hello"), far.close()))
        thread.start()
        run()
        assert (got, clock.now) == ([b"hello"], 0)
        thread.join()


def test_a_call_from_another_thread_is_waited_for(loop):
    with virtual_time(jump=True):
        client, server = testing.pair()
        server.resume()
        thread = threading.Timer(0.05, loop.call_soon_threadsafe, [client.destroy])
        thread.start()
        run()
        thread.join()


# ---- By jumps ------------------------------------------------------------------------------------


def test_with_jump_run_does_not_wait_for_timers():
    at = []
    with virtual_time(jump=True) as clock:
        set_timeout(lambda: at.append(clock.now), 86_400_000)
        set_timeout(lambda: at.append(clock.now), 1)
        run()
    assert at == [1, 86_400_000]


def test_input_comes_before_a_jump(trace):
    with virtual_time(jump=True) as clock:
        client, server = testing.pair()
        timer = set_timeout(trace, 1, "timer")
        server.on("data", lambda data: (trace(data), timer.close(), server.destroy()))
        client.on("close", trace.note("close")).resume().write("hello")
        run()
        assert clock.now == 0
    assert trace == [b"hello", ("close", False)]


def test_advance_stops_at_its_target_also_with_jump(trace):
    with virtual_time(jump=True) as clock:
        timer = set_timeout(trace, 100, "due")
        clock.advance(50)
        assert (clock.now, trace) == (50, [])
        timer.close()


# ---- Coroutines ----------------------------------------------------------------------------------


def test_a_coroutine_advances_by_await(trace):
    async def main() -> None:
        set_timeout(trace, 1000, "ours")
        task = asyncio.create_task(asyncio.sleep(2, "theirs"))
        await clock.advance(999)
        assert trace == []
        await clock.advance(1)
        assert trace == ["ours"]
        assert not task.done()
        await clock.advance(1000)
        assert task.done()
        assert clock.now == 2000

    with virtual_time() as clock:
        run(main())


def test_a_coroutine_jumps_over_what_it_sleeps():
    async def main() -> float:
        await asyncio.sleep(3600)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60):
                await asyncio.get_running_loop().create_future()
        return clock.now

    with virtual_time(jump=True) as clock:
        assert run(main()) == 3_660_000


@pytest.mark.parametrize("ms", [1, 7, 250, 59_999])
def test_timers_of_ours_are_exact_in_a_coroutine(ms):
    async def main() -> None:
        done = asyncio.get_running_loop().create_future()
        set_timeout(lambda: done.set_result(clock.now), ms)
        assert await done == ms

    with virtual_time(jump=True) as clock:
        run(main())


def test_it_begins_inside_asyncio_and_leaves_the_loop_as_it_was():
    async def main() -> None:
        theirs = asyncio.get_running_loop()
        client, server = testing.pair()
        with virtual_time(jump=True) as clock:
            await asyncio.sleep(100)
            set_timeout(client.destroy, 1000)
            await events.once(server.resume(), "close")
            assert clock.now == 101_000
        began = time.monotonic()
        await asyncio.sleep(0.02)
        assert time.monotonic() - began >= 0.019
        assert "time" not in vars(theirs)

    asyncio.run(main())


def test_asyncio_run_inside_it_is_virtual_from_the_first_use_on():
    async def main() -> None:
        client, server = testing.pair()
        await asyncio.sleep(3600)
        client.destroy()
        server.destroy()

    with virtual_time(jump=True):
        asyncio.run(main())


def test_a_loop_whose_waits_cannot_be_seen_is_refused():
    uvloop = pytest.importorskip("uvloop")

    async def main() -> None:
        raise AssertionError

    with virtual_time(), pytest.raises(RuntimeError, match="asyncio's own"):
        run(main(), loop_factory=uvloop.new_event_loop)


# ---- Mistakes ------------------------------------------------------------------------------------


def test_it_does_not_begin_twice():
    with virtual_time():
        with pytest.raises(RuntimeError, match="already"), virtual_time():
            pass
        set_timeout(lambda: None, 1).close()


def test_it_does_not_begin_in_a_listener():
    def listener() -> None:
        with pytest.raises(RuntimeError, match="in a listener"):
            virtual_time().__enter__()

    pyuvnet.next_tick(listener)
    run()


def test_advance_outside_of_it_is_refused():
    clock = virtual_time()
    with pytest.raises(RuntimeError, match="inside its virtual_time"):
        clock.advance(1)
    with clock:
        clock.advance(1)
    with pytest.raises(RuntimeError, match="inside its virtual_time"):
        clock.advance(1)


def test_advance_within_advance_is_refused():
    with virtual_time() as clock:
        set_timeout(lambda: clock.advance(1), 5)
        with pytest.raises(RuntimeError, match="already in progress"):
            clock.advance(10)


@pytest.mark.parametrize("in_coroutine", [False, True])
@pytest.mark.parametrize(
    ("ms", "error"),
    [
        (-1, RangeError),
        (float("nan"), RangeError),
        (float("inf"), RangeError),
        (2**63, RangeError),
        ("1", ArgTypeError),
    ],
)
def test_advance_by_what_is_no_time_is_refused(ms, error, in_coroutine, trace):
    def advance() -> None:
        with pytest.raises(error):
            clock.advance(ms)

    async def main() -> None:
        advance()
        set_timeout(trace, 10, "due")
        await clock.advance(10)

    with virtual_time() as clock:
        if in_coroutine:
            run(main())
        else:
            advance()
            # Nothing is left behind.
            assert not handles()
            set_timeout(trace, 10, "due")
            clock.advance(10)
    assert trace == ["due"]


def test_the_clock_can_be_advanced_up_to_its_end():
    with virtual_time() as clock:
        clock.advance(9_000_000_000_000)
        assert clock.now == 9_000_000_000_000
        with pytest.raises(RangeError):
            clock.advance(9_000_000_000_000)


def test_arguments_are_checked():
    with pytest.raises(ArgTypeError):
        virtual_time(1)  # type: ignore[arg-type]
    with pytest.raises(RangeError):
        virtual_time(patience_ms=-1)


def test_a_loop_that_is_closed_in_it_takes_nothing_along(loop):
    with virtual_time():
        loop.close()
    began = time.monotonic()
    set_timeout(lambda: None, 10)
    run()
    assert time.monotonic() - began >= 0.009


def test_an_advance_that_is_not_awaited_is_a_warning() -> None:
    async def main() -> None:
        clock.advance(10)

    with pytest.warns(RuntimeWarning, match="was not awaited") as caught, virtual_time() as clock:
        run(main())
    assert caught[0].filename == __file__


def test_an_advance_that_an_error_cuts_short_is_none() -> None:
    async def main() -> None:
        clock.advance(10)
        raise BoomError

    with pytest.raises(BoomError), virtual_time() as clock:
        run(main())
