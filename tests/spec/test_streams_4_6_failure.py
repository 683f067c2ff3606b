"""streams.md 4.6: Failure of a write on sockets; user streams are in core/test_writable.py."""

from __future__ import annotations

import os
import socket as posix
import sys

import pytest

from pyuvnet import net

BIG = b"z" * 9_000_000
linux = pytest.mark.skipif(sys.platform != "linux", reason="finds descriptors in /proc")


@linux
@pytest.mark.spec("S4.6-01", "S4.6-02", "S4.6-05")
def test_a_peer_that_is_silent_too_long_is_a_timeout(
    accept_raw, descriptor_of, watch, note, trace
) -> None:
    def accepted(socket, peer) -> None:
        watch(socket, "", "drain", "finish", "error", "close")
        # The peer's window is closed for good, and the system's patience short.
        with posix.socket(fileno=os.dup(descriptor_of(socket))) as copy:
            copy.setsockopt(posix.IPPROTO_TCP, posix.TCP_USER_TIMEOUT, 50)
        socket.write(BIG, note("w1"))
        socket.write(b"x", note("w2"))
        socket.end(note("end"))
        sockets.append(socket)

    sockets: list[net.Socket] = []
    accept_raw(accepted, pause_on_connect=True)
    assert trace == [
        ("w1", "ETIMEDOUT"),
        ("w2", "ETIMEDOUT"),
        ("end", "ETIMEDOUT"),
        ("error", "ETIMEDOUT"),
        ("close", True),
    ]
    assert isinstance(sockets[0].errored, TimeoutError)
    assert sockets[0].errored.syscall == "write"
