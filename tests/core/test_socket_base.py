"""SocketBase: what collecting the writes of a callback must not show."""

from __future__ import annotations

import gc
import socket as posix
import sys
import threading
import weakref
from typing import Any

import pytest

import pyuvnet
from pyuvnet import net
from pyuvnet._core import tcp


@pytest.fixture
def pair(run_pair: Any) -> Any:
    return run_pair


@pytest.fixture
def run_pair() -> Any:
    """run_pair(act, where) runs act(c) at a place; returns what the peer received."""

    def go(act: Any, where: str, **options: Any) -> bytes:
        got = bytearray()

        def accepted(s: net.Socket) -> None:
            server.close()
            s.on("data", got.extend)
            s.on("error", lambda error: None)
            s.write(b"go")

        def place() -> None:
            # Inside a libuv callback, in its ticks, or from an immediate or timer.
            if where == "ready":
                act(c)
            elif where == "tick":
                pyuvnet.next_tick(act, c)
            elif where == "immediate":
                pyuvnet.set_immediate(act, c)
            elif where == "timer":
                pyuvnet.set_timeout(act, 1, c)

        server = net.create_server(accepted).listen(0)
        c = net.create_connection(port=server.address()["port"], host="127.0.0.1", **options)
        if where == "data":
            c.once("data", lambda chunk: act(c))
        else:
            c.resume()
            c.once("ready", place)
        pyuvnet.run()
        return bytes(got)

    return go


PLACES = ["ready", "data", "tick", "immediate", "timer"]


@pytest.mark.parametrize("where", PLACES)
def test_lengths_and_counts_are_as_if_each_write_had_gone_out(pair: Any, where: str) -> None:
    def act(c: net.Socket) -> None:
        for n in range(1, 201):
            assert c.write(b"12345") is True
            if n % 50 == 0:
                assert c.writable_length == 0
                assert c.bytes_written == 5 * n
                assert not c.writable_need_drain
        c.end()

    assert pair(act, where) == b"12345" * 200


@pytest.mark.parametrize("where", PLACES)
def test_destroy_sends_what_was_written_before(pair: Any, where: str) -> None:
    answers: list[Any] = []

    def act(c: net.Socket) -> None:
        c.write(b"one", answers.append)
        c.write(b"two", answers.append)
        c.destroy()
        c.write(b"three", lambda error: answers.append(error.code))

    assert pair(act, where) == b"onetwo"
    assert answers == [None, None, "ERR_STREAM_DESTROYED"]


@pytest.mark.spec("S4.2-18", "S4.3-04")
@pytest.mark.parametrize("where", PLACES)
def test_end_and_cork_keep_the_order(pair: Any, where: str) -> None:
    answers: list[str] = []

    def act(c: net.Socket) -> None:
        c.write(b"1", lambda error: answers.append("1"))
        c.cork()
        c.write(b"2", lambda error: answers.append("2"))
        assert c.writable_length == 1
        c.uncork()
        c.write(b"3", lambda error: answers.append("3"))
        c.end(b"4", lambda error: answers.append("end"))
        assert c.writable_length == 0

    assert pair(act, where) == b"1234"
    assert answers == ["1", "2", "3", "end"]


@pytest.mark.spec("S4.2-14", "S4.4-01")
@pytest.mark.parametrize("where", PLACES)
def test_text_is_sent_as_encoded_and_between_the_bytes_around_it(pair: Any, where: str) -> None:
    told: list[Any] = []
    long = "\xe9" * 40_000

    def act(c: net.Socket) -> None:
        told.extend([c.write("a"), c.write(b"b"), c.write("\xe9\U0001f600"), c.write("")])
        c.write("\ud83d\ude00")
        c.write("\ud800")
        told.append(c.writable_length)
        c.write(Name("n"))
        c.write(long)
        c.set_default_encoding("hex")
        c.write("616263")
        c.write("d", "utf8")
        c.end("65")

    assert pair(act, where) == (
        b"ab" + "\xe9\U0001f600\U0001f600\ufffd".encode() + b"n" + long.encode() + b"abcde"
    )
    assert told == [True, True, True, True, 0]


class Name(str):
    """Text of a class of the program's."""


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("mark", [0, 1, 100, 65536])
def test_false_and_drain_whatever_the_mark(pair: Any, where: str, mark: int) -> None:
    drains: list[int] = []

    def act(c: net.Socket) -> None:
        c.on("drain", lambda: (drains.append(c.writable_length), c.end()))
        chunk = b"x" * 700_000
        for _ in range(20):
            result = c.write(chunk)
            length = c.writable_length
            assert result is (length == 0 or length < mark)
        assert c.writable_need_drain

    assert len(pair(act, where, high_water_mark=mark)) == 14_000_000
    assert drains == [0]


@pytest.mark.spec("S4.2-19")
@pytest.mark.parametrize("where", PLACES)
def test_write_callbacks_come_after_the_ticks_that_were_there(pair: Any, where: str) -> None:
    order: list[str] = []

    def act(c: net.Socket) -> None:
        pyuvnet.next_tick(order.append, "before")
        c.write(b"x", lambda error: order.append("written"))
        pyuvnet.next_tick(order.append, "after")
        order.append("returned")
        c.end()

    pair(act, where)
    assert order == ["returned", "before", "written", "after"]


def test_a_socket_that_is_over_is_collected() -> None:
    kept: list[Any] = []

    def accepted(s: net.Socket) -> None:
        server.close()
        kept.append(weakref.ref(s))
        s.resume()
        s.mine = s  # type: ignore[attr-defined]

    server = net.create_server(accepted).listen(0)
    c = net.create_connection(server.address()["port"], "127.0.0.1")
    c.end(b"x")
    kept.append(weakref.ref(c))
    pyuvnet.run()
    del c
    gc.collect()
    assert [reference() for reference in kept] == [None, None]


def test_an_open_socket_that_nobody_holds_stays() -> None:
    got: list[bytes] = []

    def accepted(s: net.Socket) -> None:
        server.close()
        s.on("data", got.append)

    def later() -> None:
        gc.collect()
        sockets.pop().end(b"late")
        gc.collect()

    sockets: list[net.Socket] = []
    server = net.create_server(accepted).listen(0)
    sockets.append(net.create_connection(server.address()["port"], "127.0.0.1"))
    sockets[0].on("ready", lambda: pyuvnet.set_timeout(later, 5))
    pyuvnet.run()
    assert got == [b"late"]


def test_a_loop_that_is_closed_with_everything_open(loop: pyuvnet.Loop) -> None:
    def accepted(s: net.Socket) -> None:
        s.write(b"x" * 9_000_000, lambda error: heard.append("never"))
        s.on("close", heard.append)
        pyuvnet.stop()

    heard: list[Any] = []
    server = net.create_server(accepted).listen(0)
    c = net.create_connection(server.address()["port"], "localhost")
    c.on("close", heard.append)
    pyuvnet.run()
    loop.close()
    assert heard == []
    with pytest.raises(RuntimeError) as caught:
        server.close()
    assert caught.value.code == "ERR_LOOP_CLOSED"  # type: ignore[attr-defined]


# ---- The 'end' listener of its own ---------------------------------------------------------------


def test_every_socket_shows_one_end_listener_and_it_can_be_removed() -> None:
    socket = net.Socket()
    assert (socket.listener_count("end"), socket.event_names()) == (1, ["end"])
    socket.remove_all_listeners("end")
    assert (socket.listener_count("end"), socket.event_names()) == (0, [])
    socket = net.Socket()
    socket.on("close", print).on("end", print)
    assert socket.event_names() == ["end", "close"]
    (own, _) = socket.listeners("end")
    assert socket.off("end", own).listeners("end") == [print]
    socket = net.Socket()
    assert socket.remove_all_listeners().event_names() == []
    # As in Node, a tick looks whether somebody reads.
    pyuvnet.run()


def test_removing_the_end_listener_is_told(trace: Any) -> None:
    socket = net.Socket()
    (own,) = socket.listeners("end")
    socket.on("removeListener", trace)
    socket.remove_all_listeners("end")
    socket.remove_all_listeners("end")
    socket.off("end", own)
    assert trace == [("end", own)]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda c, own: None, "EPIPE"),
        (lambda c, own: c.remove_all_listeners("end"), "ERR_STREAM_WRITE_AFTER_END"),
        (lambda c, own: c.off("end", own), "ERR_STREAM_WRITE_AFTER_END"),
        (lambda c, own: c.off("end", own).on("end", own), "EPIPE"),
    ],
)
def test_without_it_the_socket_still_ends_but_a_late_write_is_an_ordinary_one(
    trace: Any, change: Any, code: str
) -> None:
    def late() -> None:
        assert c.writable_ended
        c.write(b"late", lambda error: trace(error.code))

    server = net.create_server(lambda s: (server.close(), s.resume(), s.end(b"x"))).listen(0)
    c = net.create_connection(port=server.address()["port"], host="127.0.0.1")
    change(c, c.listeners("end")[0])
    c.resume()
    c.on("error", lambda error: None)
    c.on("end", lambda: pyuvnet.next_tick(pyuvnet.next_tick, late))
    pyuvnet.run()
    assert trace == [code]
    assert c.destroyed


# ---- Threads -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["writable_length", "bytes_written"])
def test_a_property_that_would_send_belongs_to_the_loops_thread(run_pair: Any, name: str) -> None:
    """Collected writes leave when a property would show them; not from another thread."""
    caught: list[Any] = []

    def elsewhere(c: net.Socket) -> None:
        try:
            getattr(c, name)
        except pyuvnet.StateError as error:
            caught.append(error.code)

    def act(c: net.Socket) -> None:
        c.write(b"x")
        thread = threading.Thread(target=elsewhere, args=(c,))
        thread.start()
        thread.join()
        getattr(c, name)
        thread = threading.Thread(target=elsewhere, args=(c,))
        thread.start()
        thread.join()
        c.end()

    assert run_pair(act, "data") == b"x"
    # The second time nothing waits to be sent, and looking does no harm.
    assert caught == ["ERR_WRONG_THREAD"]


def test_asking_whether_a_drain_is_due_sends_nothing(run_pair: Any) -> None:
    """A loop of writes that asks after each still leaves with one call of the kernel."""
    caught: list[Any] = []

    def elsewhere(c: net.Socket) -> None:
        try:
            assert c.writable_length
        except pyuvnet.StateError as error:
            caught.append(error.code)

    def act(c: net.Socket) -> None:
        for _ in range(3):
            assert c.write(b"x")
            assert not c.writable_need_drain
        # Collected still, which only the loop's thread may send.
        thread = threading.Thread(target=elsewhere, args=(c,))
        thread.start()
        thread.join()
        c.end()

    assert run_pair(act, "data") == b"xxx"
    assert caught == ["ERR_WRONG_THREAD"]


@pytest.mark.skipif(sys.platform == "win32", reason="descriptors cannot be adopted there")
@pytest.mark.parametrize("size", [1, 500, 700])
def test_collected_chunks_of_which_the_kernel_takes_some_arrive_whole(size: int) -> None:
    """A full buffer leaves off in the middle of the collected chunks, or between two of them."""
    ends = posix.socketpair()
    # As small as the kernel lets it be, some thousand bytes.
    ends[0].setsockopt(posix.SOL_SOCKET, posix.SO_SNDBUF, 1)
    sender, receiver = (net.Socket(fd=end.detach()) for end in ends)
    chunks = [bytes([n]) * (size + n) for n in range(60)]
    answered: list[int] = []
    got = bytearray()
    # Its reading begins when the writes are queued.
    receiver.pause()
    receiver.on("data", got.extend)

    def act() -> None:
        for n, chunk in enumerate(chunks):
            sender.write(chunk, lambda error, n=n: answered.append(n))
        assert not (size > 100 and sender.writable_length == 0), "the kernel took everything"
        sender.end()
        receiver.resume()

    pyuvnet.set_immediate(act)
    pyuvnet.run()
    assert got == b"".join(chunks)
    assert answered == list(range(60))


def test_chunks_that_the_program_keeps_stay_as_they_were() -> None:
    """The object of a chunk that everybody has dropped serves again; of no other one."""
    kept: list[bytes] = []
    sent = [bytes([n]) * 100 for n in range(50)]

    def accepted(peer: net.Socket) -> None:
        server.close()
        left = iter(sent)
        peer.write(next(left))
        # One chunk at a time, so that each is a read of its own, of the same size.
        peer.on("data", lambda _: peer.write(chunk) if (chunk := next(left, b"")) else peer.end())

    def data(chunk: bytes) -> None:
        if len(kept) % 3:  # it also keeps its hash
            assert hash(chunk) == hash(bytes(memoryview(chunk)))
        kept.append(chunk)
        # Read by the same loop, of the same size, and dropped.
        client.write(bytes(100))

    server = net.create_server(accepted).listen(0)
    client = net.create_connection(port=server.address()["port"], host="127.0.0.1")
    client.on("data", data)
    pyuvnet.run()
    assert kept == sent


def test_error_comes_before_close_also_when_an_exception_has_stopped_the_loop() -> None:
    events: list[str] = []

    def accepted(far: net.Socket) -> None:
        server.close()
        far.on("error", lambda error: None)
        far.end("x")

    def fail(chunk: bytes) -> None:
        near.destroy(RuntimeError("destroyed"))
        raise ValueError("of the program")

    server = net.create_server(accepted).listen(0)
    near = net.connect(server.address().port, "127.0.0.1")
    near.on("data", fail)
    near.on("error", lambda error: events.append(f"error {error}"))
    near.on("close", lambda had_error: events.append(f"close {had_error}"))
    with pytest.raises(ValueError, match="of the program"):
        pyuvnet.run()
    pyuvnet.run()
    assert events == ["error destroyed", "close True"]


def test_a_connection_is_two_small_objects() -> None:
    # Per connection and so, with many, what a server's memory is.
    header = sys.getsizeof([]) - list.__basicsize__
    assert net.Socket.__basicsize__ + header <= 288
    # Without the GIL each object has two counts of references, and the thread that made it.
    counts = object.__basicsize__ - 16
    assert tcp.TCP.__basicsize__ <= 400 + counts
    # An open handle is pinned: the collector has nothing to do with it.
    assert not tcp.TCP.__flags__ & 1 << 14


def test_rare_state_is_the_socket_s_own() -> None:
    first, second = net.Socket(), net.Socket()
    first.set_encoding("utf8")
    first.set_framing(pyuvnet.framing.Lines())
    first.set_default_encoding("latin1")
    first.set_type_of_service(8)
    first.end(lambda error: None)
    assert second.readable_encoding is None
    assert second.framing is None
    assert second.get_type_of_service() == 0
    assert (first.readable_encoding, first.framing) == ("utf8", pyuvnet.framing.Lines())
    assert first.get_type_of_service() == 8
    for socket in (first, second):
        socket.on("error", lambda error: None)
        socket.destroy()
    pyuvnet.run()
