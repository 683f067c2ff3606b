"""The buffer of a Readable: any mixture of arrivals, reads and unshifts keeps the bytes' order."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyuvnet import Readable, run


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
