"""Layers: bytes up and down, both ends, whether more may come, with none, one and several."""

from __future__ import annotations

from typing import Any

import pytest

import pyuvnet
from pyuvnet import net
from pyuvnet._core.meter import Meter, add_meter

MiB = 1 << 20


class Pair:
    """A connection: `near`, on which layers are put, and what `far` received."""

    def __init__(self, **options: Any) -> None:
        self.received = bytearray()
        self.events: list[str] = []
        self.near: Any = None
        self.far: Any = None
        self.options = options

    def run(self, act: Any) -> Pair:
        """Call act(pair) when both ends are there, and run until nothing is left."""

        def accepted(far: net.Socket) -> None:
            self.far = far
            server.close()
            far.on("data", self.received.extend)
            far.on("end", lambda: self.events.append("far end"))
            far.on("error", lambda error: self.events.append(f"far {error.code}"))
            begin()

        def connected() -> None:
            for event in ("end", "finish", "drain"):
                self.near.on(event, lambda event=event: self.events.append(event))
            self.near.on("close", lambda had_error: self.events.append("close"))
            begin()

        def begin() -> None:
            if self.far is not None and not self.near.connecting:
                act(self)

        server = net.create_server({"allow_half_open": True}, accepted).listen(0)
        self.near = net.connect(port=server.address().port, host="127.0.0.1", **self.options)
        self.near.on("connect", connected)
        pyuvnet.run()
        return self


def talk(layers: int) -> tuple[Pair, list[bytes], list[Meter]]:
    got: list[bytes] = []
    meters: list[Meter] = []

    def act(pair: Pair) -> None:
        meters.extend(add_meter(pair.near) for _ in range(layers))
        pair.near.on("data", got.append)
        pair.near.write("question", lambda error: pair.events.append(f"written {error}"))
        pair.far.write("answer")
        pair.far.end()
        pair.near.end()

    return Pair().run(act), got, meters


def test_a_stream_behaves_alike_without_layers_and_with_them() -> None:
    plain = talk(0)
    assert sorted(plain[0].events) == ["close", "end", "far end", "finish", "written None"]
    for layers in (1, 3):
        pair, got, _ = talk(layers)
        assert b"".join(got) == b"".join(plain[1]) == b"answer"
        assert pair.received == plain[0].received == b"question"
        assert sorted(pair.events) == sorted(plain[0].events)


def test_each_layer_sees_the_bytes_and_the_end_of_both_directions() -> None:
    _, _, meters = talk(3)
    for meter in meters:
        assert (meter.bytes_up, meter.bytes_down) == (6, 8)
        assert (meter.ended_up, meter.ended_down) == (True, True)


@pytest.mark.parametrize("corked", [False, True], ids=["queued", "vectored"])
def test_bytes_that_the_kernel_takes_late_are_counted_once(corked: bool) -> None:
    meters: list[Meter] = []
    chunks = [bytes([number]) * 300_001 for number in range(40)]

    def act(pair: Pair) -> None:
        meters.extend([add_meter(pair.near), add_meter(pair.near, lowest=True)])
        if corked:
            pair.near.cork()
        for chunk in chunks:
            pair.near.write(chunk)
        if corked:
            pair.near.uncork()
        pair.near.end()
        pair.far.on("end", pair.far.end)

    pair = Pair().run(act)
    assert pair.received == b"".join(chunks)
    assert [meter.bytes_down for meter in meters] == [len(pair.received)] * 2
    assert pair.near.bytes_written == len(pair.received)


def test_write_callbacks_come_in_order_and_drain_once_through_layers() -> None:
    done: list[int] = []

    def act(pair: Pair) -> None:
        add_meter(pair.near)
        for number in range(50):
            pair.near.write(bytes(100_000), lambda error, number=number: done.append(number))
        pair.near.end()
        pair.far.on("end", pair.far.end)

    pair = Pair().run(act)
    assert done == list(range(50))
    assert len(pair.received) == 5_000_000


def test_a_layer_can_hold_the_flow() -> None:
    order: list[str] = []

    def act(pair: Pair) -> None:
        upper, lower = add_meter(pair.near), add_meter(pair.near, lowest=True)
        pair.near.on("data", lambda chunk: order.append(chunk.decode()))
        pair.near.once("data", lambda chunk: hold(pair, upper, lower))
        pair.far.write("first")

    def hold(pair: Pair, upper: Meter, lower: Meter) -> None:
        upper.hold()
        pair.far.write("second", lambda error: pyuvnet.set_immediate(look, pair, upper, lower, 3))

    def look(pair: Pair, upper: Meter, lower: Meter, turns: int) -> None:
        # Several turns of the loop, in each of which it could be read.
        if turns:
            pyuvnet.set_immediate(look, pair, upper, lower, turns - 1)
            return
        assert (upper.bytes_up, lower.bytes_up) == (5, 5)
        order.append("resumed")
        upper.resume()
        pair.far.end()
        pair.near.end()

    Pair().run(act)
    assert order == ["first", "resumed", "second"]


def test_pause_and_resume_of_the_stream_go_through_layers() -> None:
    got = bytearray()

    def act(pair: Pair) -> None:
        meter = add_meter(pair.near)
        pair.near.pause()
        pair.near.on("data", got.extend)
        pair.far.on("drain", lambda: None)
        pair.far.end(bytes(8 * MiB))
        pyuvnet.set_timeout(go_on, 20, pair, meter)

    def go_on(pair: Pair, meter: Meter) -> None:
        # The mark, and what one read brings beyond it; the rest is the kernel's.
        assert meter.bytes_up <= 2 * 65536
        pair.near.resume()
        pair.near.end()

    Pair().run(act)
    assert len(got) == 8 * MiB


def test_a_layer_can_be_taken_away_and_the_stream_goes_on() -> None:
    meters: list[Meter] = []
    got = bytearray()

    def act(pair: Pair) -> None:
        meters.extend([add_meter(pair.near), add_meter(pair.near), add_meter(pair.near)])
        pair.near.on("data", lambda chunk: (got.extend(chunk), step(pair)))
        pair.near.write("a")
        pair.far.write("a")

    def step(pair: Pair) -> None:
        # In a read that passes through it: the middle one, then the lowest, then the last.
        if len(got) <= 3:
            meters[(1, 0, 2)[len(got) - 1]].remove(pair.near)
            pair.near.write("b")
            pair.far.write("b")
        else:
            pair.near.end()
            pair.far.end()

    pair = Pair().run(act)
    assert (got, pair.received) == (b"abbb", b"abbb")
    assert [meter.bytes_up for meter in meters] == [2, 1, 3]
    assert [meter.bytes_down for meter in meters] == [2, 1, 3]
    with pytest.raises(ValueError, match="on no connection"):
        meters[0].hold()


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_destroying_a_socket_answers_its_writes_and_frees_its_layers(layers: int) -> None:
    errors: list[Any] = []
    meters: list[Meter] = []

    def act(pair: Pair) -> None:
        meters.extend(add_meter(pair.near) for _ in range(layers))
        pair.far.pause()
        for _ in range(3):
            pair.near.write(bytes(4 * MiB), lambda error: errors.append(error.code))
        pair.near.destroy()
        pair.far.destroy()

    pair = Pair().run(act)
    assert errors == ["ECANCELED"] * 3
    assert pair.events[-1] == "close"
    for meter in meters:
        with pytest.raises(ValueError, match="on no connection"):
            meter.resume()


def test_a_reset_reaches_the_stream_through_layers() -> None:
    errors: list[str] = []

    def act(pair: Pair) -> None:
        add_meter(pair.near)
        pair.near.on("error", lambda error: errors.append(error.code))
        pair.near.resume()
        pair.far.reset_and_destroy()

    Pair().run(act)
    assert errors == ["ECONNRESET"]


def test_a_pipe_into_a_layered_socket_passes_through_its_layers() -> None:
    meters: list[Meter] = []
    payload = bytes(range(256)) * 4096

    def act(pair: Pair) -> None:
        meters.append(add_meter(pair.near))
        pair.far.remove_all_listeners("data")
        # Back to where it came from: both the reads and the writes of `near` are piped.
        pair.near.pipe(pair.near)
        pair.far.on("data", pair.received.extend)
        pair.far.end(payload)

    pair = Pair(allow_half_open=True).run(act)
    assert pair.received == payload
    assert (meters[0].bytes_up, meters[0].bytes_down) == (len(payload), len(payload))


def test_a_layered_socket_reads_into_the_buffer_of_onread() -> None:
    got = bytearray()
    buffer = bytearray(1000)

    def take(count: int, where: bytearray) -> None:
        assert where is buffer
        got.extend(memoryview(where)[:count])

    meters: list[Meter] = []

    def act(pair: Pair) -> None:
        meters.append(add_meter(pair.near))
        pair.near.end()
        pair.far.end(bytes(range(250)) * 100)

    Pair(onread={"buffer": buffer, "callback": take}).run(act)
    assert got == bytes(range(250)) * 100
    assert meters[0].bytes_up == len(got)


def test_a_meter_measures_the_rate() -> None:
    rates: list[float] = []

    def act(pair: Pair) -> None:
        meter = add_meter(pair.near)
        assert meter.rate_up() == 0
        pair.near.on("data", lambda chunk: None)
        pair.far.write(bytes(1000), lambda error: pyuvnet.set_timeout(measure, 50, pair, meter))

    def measure(pair: Pair, meter: Meter) -> None:
        rates.append(meter.rate_up())
        pair.near.end()
        pair.far.end()

    Pair().run(act)
    assert 0 < rates[0] <= 1000 / 0.040


def test_a_socket_without_connection_takes_no_layer() -> None:
    with pytest.raises(pyuvnet.errors.StateError) as caught:
        add_meter(net.Socket())
    assert caught.value.code == "ERR_SOCKET_CLOSED"


def test_a_listener_that_removes_the_last_layer_and_raises_is_reported() -> None:
    raised: list[BaseException] = []

    def act(pair: Pair) -> None:
        meter = add_meter(pair.near)

        def remove(chunk: bytes) -> None:
            meter.remove(pair.near)
            pair.near.end()
            pair.far.end()
            raise ValueError("of the program")

        pair.near.once("data", remove)
        pair.far.write("x")

    pyuvnet.current_loop().set_exception_handler(raised.append)
    Pair().run(act)
    assert [str(error) for error in raised] == ["of the program"]


def test_a_connecting_socket_takes_no_layer() -> None:
    server = net.create_server(lambda far: far.destroy()).listen(0)
    socket = net.connect(server.address().port, "127.0.0.1")
    socket.on("error", lambda error: None)
    with pytest.raises(pyuvnet.errors.StateError) as caught:
        add_meter(socket)
    assert caught.value.code == "ERR_SOCKET_CLOSED"
    bound = net.Socket(handle=net.BoundSocket(port=0, host="127.0.0.1"))
    with pytest.raises(pyuvnet.errors.StateError):
        add_meter(bound)
    bound.destroy()
    server.close()
    pyuvnet.run()


def test_a_layer_is_removed_by_its_own_socket_only() -> None:
    def act(pair: Pair) -> None:
        meter = add_meter(pair.near)
        with pytest.raises(ValueError, match="not on this socket"):
            meter.remove(pair.far)
        pair.near.write("still there")
        pair.near.end()
        pair.far.end()
        pair.near.resume()

    assert Pair().run(act).received == b"still there"


@pytest.mark.parametrize("resumed", ["upper first", "lower first", "twice held", "removed"])
def test_holds_of_several_layers_are_undone_in_any_order(resumed: str) -> None:
    got = bytearray()

    def act(pair: Pair) -> None:
        upper, lower = add_meter(pair.near), add_meter(pair.near, lowest=True)
        pair.near.on("data", got.extend)
        lower.hold()
        upper.hold()
        if resumed == "twice held":
            lower.hold()
            upper.hold()
        pair.far.end("data")
        if resumed == "upper first":
            upper.resume()
            lower.resume()
        elif resumed == "removed":
            lower.remove(pair.near)
            upper.remove(pair.near)
        else:
            lower.resume()
            upper.resume()
        pair.near.end()

    Pair().run(act)
    assert got == b"data"


def test_a_layer_that_only_the_chain_holds_can_be_removed_in_a_read() -> None:
    got = bytearray()
    meters: list[Meter] = []

    def act(pair: Pair) -> None:
        meters.append(add_meter(pair.near))

        def take(chunk: bytes) -> None:
            got.extend(chunk)
            if meters:
                meters.pop().remove(pair.near)
                pair.far.end("second")
                pair.near.end()

        pair.near.on("data", take)
        pair.far.write("first ")

    Pair().run(act)
    assert got == b"first second"
