"""The buffer of a Readable: any mixture of arrivals, reads and unshifts keeps the bytes' order."""

import socket as posix
import sys
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyuvnet import Readable, Socket, current_loop, run


class Source(Readable):
    def _read(self, size):
        pass


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.binary(max_size=9)),
        st.tuples(st.just("unshift"), st.binary(max_size=4)),
        st.tuples(st.just("read"), st.integers(1, 12)),
        st.tuples(st.just("read all"), st.none()),
        st.tuples(st.just("many"), st.integers(60, 140)),
    ),
    max_size=30,
)


@given(steps=STEPS, text=st.booleans())
@settings(max_examples=300)
def test_bytes_come_out_in_their_order(steps, text):
    source = Source(encoding="latin1" if text else None)
    empty = "" if text else b""
    model = b""
    for what, argument in steps:
        if what == "push":
            source.push(argument)
            model += argument
        elif what == "many":
            for number in range(argument):
                source.push(bytes([number]))
            model += bytes(range(argument))
        elif what == "unshift":
            source.unshift(argument)
            model = argument + model
        else:
            got = source.read(argument)
            size = len(model) if argument is None else argument
            expected = model[:size] if 0 < size <= len(model) else b""
            assert (got or empty) == (expected.decode("latin1") if text else expected)
            model = model[len(expected) :]
        assert source.readable_length == len(model)
    source.set_encoding("hex")
    rest = source.read()
    assert rest == ((model.decode("latin1") if text else model.hex()) or None)
    source.destroy()
    run()


@pytest.mark.parametrize("how", ["flow", "small reads", "reads of a large chunk"])
def test_the_cost_of_a_chunk_does_not_grow_with_the_buffer(how):
    def measure(count):
        source = Source()
        source.pause()
        for _ in range(1 if how == "reads of a large chunk" else count):
            source.push(bytes(count * 4) if how == "reads of a large chunk" else b"four")
        start = time.thread_time()
        if how == "flow":
            seen = []
            source.on("data", seen.append)
            source.resume()
            run()
            assert len(seen) == count
        else:
            for _ in range(count):
                assert len(source.read(4)) == 4
        spent = time.thread_time() - start
        source.destroy()
        run()
        return spent

    small = min(measure(2_000) for _ in range(3))
    large = min(measure(100_000) for _ in range(2))
    # Fifty times as much; moving or copying what is left each time would be some thousand times.
    assert large < 300 * small


@pytest.fixture
def trickle():
    """trickle(*chunks) has each of them arrive by a read of its own; trickle.socket gets them."""

    class Trickle:
        def __init__(self):
            self.peer, there = posix.socketpair()
            self.socket = Socket(fd=there.detach())

        def __call__(self, *chunks):
            for chunk in chunks:
                before = self.socket.bytes_read
                self.peer.send(chunk)
                current_loop().turn()
                assert self.socket.bytes_read == before + len(chunk)

    trickle = Trickle()
    yield trickle
    trickle.peer.close()
    trickle.socket.destroy()
    run()


needs_socketpair = pytest.mark.skipif(sys.platform == "win32", reason="takes over a descriptor")


@pytest.mark.spec("P3-07")
@needs_socketpair
@pytest.mark.parametrize("encoding", [None, "utf8"])
@pytest.mark.parametrize("waiting", ["paused", "reading"])
def test_small_segments_cost_little_more_than_their_bytes(trickle, waiting, encoding):
    socket = trickle.socket
    if encoding:
        socket.set_encoding(encoding)
    if waiting == "paused":
        socket.pause()
    else:
        socket.on("readable", lambda: None)
        assert socket.read(1_000_000) is None
    trickle(b"ab" * 10)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        trickle(*[b"ab"] * 20_000)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert socket.readable_length == 40_020
    # Objects of two bytes take 28 times as much as the bytes.
    assert grown < 2 * 40_000
    got = socket.read()
    assert got == ("ab" if encoding else b"ab") * 20_010


@pytest.mark.spec("D37", "P3-07")
@needs_socketpair
def test_the_first_chunks_of_a_socket_come_out_as_they_came_and_the_others_joined(trickle):
    trickle.socket.pause()
    sent = [b"%03d" % number for number in range(500)]
    trickle(*sent)
    seen = []
    trickle.socket.on("data", seen.append)
    trickle.socket.resume()
    while trickle.socket.readable_length:
        current_loop().turn()
    assert b"".join(seen) == b"".join(sent)
    assert seen[:64] == sent[:64]
    assert len(seen) < 64 + 20


@needs_socketpair
@given(sizes=st.lists(st.integers(1, 6000), min_size=70, max_size=120), text=st.booleans())
@settings(max_examples=30, deadline=None)
def test_joined_chunks_keep_the_order(sizes, text):
    peer, there = posix.socketpair()
    socket = Socket(fd=there.detach(), readable_high_water_mark=1 << 20)
    if text:
        socket.set_encoding("latin1")
    socket.pause()
    current_loop().turn()
    for index, size in enumerate(sizes):
        peer.send(bytes([index % 256]) * size)
        current_loop().turn()
    assert socket.readable_length == sum(sizes)
    whole = b"".join(bytes([index % 256]) * size for index, size in enumerate(sizes))
    got = []
    while (chunk := socket.read(min(777, socket.readable_length or 1))) is not None:
        got.append(chunk.encode("latin1") if text else chunk)
    assert b"".join(got) == whole
    peer.close()
    socket.destroy()
    run()
