"""streams.md 4.4: 'drain' on sockets; user streams are in core/test_writable.py."""

from __future__ import annotations

import pytest

from pyuvnet import run

BIG = b"z" * 9_000_000


@pytest.mark.spec("S4.4-01", "S4.4-03")
def test_drain_of_a_socket_comes_before_the_callbacks(connect, note, trace) -> None:
    def both(client, peer) -> None:
        client.on("drain", lambda: trace("drain", client.writable_length))
        client.on("drain", lambda: client.end(note("end")))
        client.on("finish", trace.note("finish"))
        assert client.write(BIG, note("w1")) is False
        assert client.write(b"x", note("w2")) is False
        peer.resume()

    connect(both=both, server={"pauseOnConnect": True})
    run()
    assert trace == [("drain", 0), ("w1", None), ("w2", None), ("end", None), "finish"]


@pytest.mark.spec("S4.4-02", "N044")
@pytest.mark.parametrize("how", ["end", "destroy"])
def test_no_drain_once_ending_or_destroyed(connect, trace, how) -> None:
    def both(client, peer) -> None:
        client.on("drain", trace.note("drain"))
        client.write(BIG)
        getattr(client, how)()
        assert client.writable_need_drain is False
        peer.resume()

    connect(both=both, server={"pauseOnConnect": True})
    run()
    assert trace == []
