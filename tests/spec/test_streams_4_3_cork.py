"""streams.md 4.3: cork() and uncork() on sockets; user streams are in core/test_writable.py."""

from __future__ import annotations

import pytest

import pyuvnet
from pyuvnet import run


@pytest.mark.spec("S4.3-01", "S4.3-02", "S4.3-04", "S4.1-07", "N181")
def test_cork_of_a_socket(connect, trace) -> None:
    def both(client, peer) -> None:
        peer.on("data", trace)
        client.cork()
        client.cork()
        client.write(b"a")
        client.write(b"b")
        assert (client.writable_corked, client.writable_length) == (2, 2)
        client.uncork()
        assert (client.writable_corked, client.writable_length) == (1, 2)
        pyuvnet.set_timeout(last, 30, client)

    def last(client) -> None:
        assert trace == []
        client.uncork()
        assert (client.writable_corked, client.writable_length) == (0, 0)
        client.uncork()
        assert client.writable_corked == 0
        client.end()

    connect(both=both)
    run()
    assert trace == [b"ab"]


@pytest.mark.spec("S4.3-03", "S4.5-01")
def test_end_uncorks_a_socket_fully(connect) -> None:
    got = bytearray()

    def both(client, peer) -> None:
        for _ in range(3):
            client.cork()
        client.write(b"a")
        client.end("é", "latin1")
        assert (client.writable_corked, client.writable_ended) == (0, True)

    connect(lambda peer: peer.on("data", got.extend), both)
    run()
    assert got == b"a\xe9"
