"""streams.md 2 and 4.1: the properties of a socket in each of its states, against Node's."""

from __future__ import annotations

import pytest

from pyuvnet import net


@pytest.mark.spec("S2-01", "S4.1-01", "N120")
def test_a_disabled_side_of_a_socket() -> None:
    socket = net.Socket(readable=False)
    assert (socket.readable, socket.writable) == (False, True)
    socket = net.Socket(writable=False)
    assert (socket.readable, socket.writable) == (True, False)


@pytest.mark.spec("S2-05", "S2-06", "R6-01")
def test_read_of_a_size_moves_the_mark_of_a_socket() -> None:
    socket = net.Socket(high_water_mark=10)
    assert socket.read(100) is None
    assert socket.readable_high_water_mark == 128
    assert socket.writable_high_water_mark == 10
    with pytest.raises(ValueError, match="1GiB") as caught:
        socket.read((1 << 30) + 1)
    assert caught.value.code == "ERR_OUT_OF_RANGE"
    assert socket.readable_high_water_mark == 128
