"""README R5, R6: wrong arguments raise at the call, with Node's code, and change nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import pyuvnet
from pyuvnet import EventEmitter, net, run, streams
from tests.support.cases import cases

TYPE, VALUE, RANGE = "ERR_INVALID_ARG_TYPE", "ERR_INVALID_ARG_VALUE", "ERR_OUT_OF_RANGE"
ENCODING, NULL = "ERR_UNKNOWN_ENCODING", "ERR_STREAM_NULL_VALUES"
NOT_DATA: list[Any] = [5, 1.5, True, [b"x"], {}, object(), memoryview(bytearray(8))[::2]]
NO_ENCODINGS: list[Any] = ["klingon", "utf-16", 5, b"utf8", object(), True]
NO_FUNCTIONS: list[Any] = [5, "text", b"x", object(), {}, [print]]

# What is called, and the code it raises.
CALLS: list[tuple[str, Callable[[Any], Any], str]] = [
    ("write(None)", lambda s: s.write(None), NULL),
    *[(f"write({x!r})", lambda s, x=x: s.write(x), TYPE) for x in NOT_DATA],
    *[(f"write('x', {e!r})", lambda s, e=e: s.write("x", e), ENCODING) for e in NO_ENCODINGS],
    *[(f"write(b'x', {e!r})", lambda s, e=e: s.write(b"x", e), ENCODING) for e in NO_ENCODINGS],
    ("write('x', 'buffer')", lambda s: s.write("x", "buffer"), ENCODING),
    *[(f"end({x!r})", lambda s, x=x: s.end(x), TYPE) for x in NOT_DATA],
    *[(f"end('x', {e!r})", lambda s, e=e: s.end("x", e), ENCODING) for e in NO_ENCODINGS],
    *[
        (f"set_encoding({e!r})", lambda s, e=e: s.set_encoding(e), ENCODING)
        for e in [*NO_ENCODINGS, "buffer"]
    ],
    *[
        (f"set_default_encoding({e!r})", lambda s, e=e: s.set_default_encoding(e), ENCODING)
        for e in [*NO_ENCODINGS, None, "", "buffer"]
    ],
    *[(f"unshift({x!r})", lambda s, x=x: s.unshift(x), TYPE) for x in NOT_DATA[:-1]],
    *[(f"unshift('x', {e!r})", lambda s, e=e: s.unshift("x", e), ENCODING) for e in NO_ENCODINGS],
    *[(f"read({n!r})", lambda s, n=n: s.read(n), TYPE) for n in ("1", b"1", True, [1], object())],
    ("read(2**30 + 1)", lambda s: s.read(2**30 + 1), RANGE),
    ("read(2**70)", lambda s: s.read(2**70), RANGE),
    ("read(inf)", lambda s: s.read(float("inf")), RANGE),
    *[(f"pipe({x!r})", lambda s, x=x: s.pipe(x), TYPE) for x in [None, *NO_FUNCTIONS]],
    ("pipe(emitter)", lambda s: s.pipe(EventEmitter()), TYPE),
    *[(f"destroy({x!r})", lambda s, x=x: s.destroy(x), TYPE) for x in ["text", 5, ValueError]],
    *[
        (f"{name}({x!r})", lambda s, name=name, x=x: getattr(s, name)("data", x), TYPE)
        for name in (
            *("on", "add_listener", "once", "prepend_listener", "prepend_once_listener"),
            *("off", "remove_listener"),
        )
        for x in NO_FUNCTIONS
    ],
    *[
        (f"set_max_listeners({n!r})", lambda s, n=n: s.set_max_listeners(n), TYPE)
        for n in (None, "5", True, [5])
    ],
    *[
        (f"set_max_listeners({n!r})", lambda s, n=n: s.set_max_listeners(n), RANGE)
        for n in (-1, -0.5, float("nan"), float("-inf"))
    ],
    *[
        (f"set_timeout({n!r})", lambda s, n=n: s.set_timeout(n), TYPE)
        for n in (None, "5", True, [5])
    ],
    *[
        (f"set_timeout({n!r})", lambda s, n=n: s.set_timeout(n), RANGE)
        for n in (-1, float("nan"), float("inf"))
    ],
    ("set_timeout(5, 5)", lambda s: s.set_timeout(5, 5), TYPE),
    *[
        (f"finished(s, {x!r})", lambda s, x=x: streams.finished(s, x), TYPE)
        for x in NO_FUNCTIONS
    ],
    ("finished(signal=5)", lambda s: streams.finished(s, print, signal=5), TYPE),
    ("pipeline(s, 5, f)", lambda s: streams.pipeline(s, 5, print), TYPE),
    ("pipeline(s, f)", lambda s: streams.pipeline(s, print), "ERR_MISSING_ARGS"),
]  # fmt: skip
STATE = [
    *("readable", "readable_flowing", "readable_length", "readable_high_water_mark"),
    *("readable_encoding", "readable_ended", "readable_did_read", "writable", "writable_length"),
    *("writable_high_water_mark", "writable_need_drain", "writable_ended", "writable_finished"),
    *("writable_corked", "destroyed", "errored", "closed", "timeout"),
]


def state(stream: Any) -> dict[str, Any]:
    shown = {name: getattr(stream, name) for name in STATE if hasattr(stream, name)}
    shown["listeners"] = {name: stream.listeners(name) for name in stream.event_names()}
    shown["limit"] = stream.get_max_listeners()
    return shown


def refused(stream: Any, call: Callable[[Any], Any], code: str) -> None:
    before = state(stream)
    with pytest.raises((TypeError, ValueError)) as caught:
        call(stream)
    assert caught.value.code == code
    assert isinstance(caught.value, pyuvnet.Error)
    assert str(caught.value) == caught.value.message != ""
    assert state(stream) == before


@pytest.mark.spec("R6-01", "S4.2-01", "S4.2-02", "S4.2-03", "S4.2-04", "S6.1-03")
@cases(("name", "call", "code"), CALLS)
def test_on_a_socket_that_is_not_connected(name, call, code) -> None:
    socket = net.Socket()
    socket.on("error", print).on("data", print).pause()
    refused(socket, call, code)
    socket.destroy()
    run()


@pytest.mark.spec("R6-01", "S3.2-20", "S4.1-11", "S6.1-22")
def test_on_a_connected_socket_which_works_as_ever_afterwards(connect, fake, trace) -> None:
    got = bytearray()

    def both(client, peer) -> None:
        peer.on("data", got.extend)
        peer.on("error", lambda error: trace("error", error))
        client.on("error", lambda error: trace("error", error))
        for _, call, code in CALLS:
            refused(client, call, code)
        client.write(b"still ")
        client.on("data", lambda chunk: client.end(chunk.upper()))
        peer.write(b"well")

    connect(both=both)
    run()
    assert got == b"still WELL"
    assert trace == []


@pytest.mark.spec("R6-01")
def test_on_user_streams(fake) -> None:
    stream = fake.Both()
    for name, call, code in CALLS:
        if not name.startswith("set_timeout"):
            refused(stream, call, code)
    for wrong in NOT_DATA[:-1]:
        refused(stream, lambda s, wrong=wrong: s.push(wrong), TYPE)
    for wrong in NO_ENCODINGS:
        refused(stream, lambda s, wrong=wrong: s.push("x", wrong), ENCODING)
    fake.over(stream)


@pytest.mark.spec("R6-01")
@pytest.mark.parametrize("method", ["write", "end"])
@pytest.mark.parametrize("state", ["ended", "destroyed"])
def test_wrong_data_raise_after_the_end_too(method, state) -> None:
    socket = net.Socket()
    socket.on("error", lambda error: None)
    socket.end() if state == "ended" else socket.destroy()
    run()
    for data, code in [(5, TYPE), *([(None, NULL)] if method == "write" else [])]:
        refused(socket, lambda s, data=data: getattr(s, method)(data), code)
    refused(socket, lambda s: getattr(s, method)("x", "klingon"), ENCODING)
    socket.destroy()
    run()


@pytest.mark.spec("R6-02")
@pytest.mark.parametrize(
    "act",
    [
        lambda socket: socket.connect("/nonexistent/pyuvnet.sock"),
        lambda socket: socket.write(b"x"),
        lambda socket: socket.end(b"x"),
        lambda socket: socket.connect(1, "127.0.0.1", local_address="192.0.2.1"),
    ],
)
def test_what_the_system_refuses_comes_by_event(act, watch, trace) -> None:
    socket = watch(net.Socket(), "", "error", "close")
    act(socket)
    assert trace == []
    run()
    assert [entry[0] for entry in trace] == ["error", "close"]
