"""streams.md 4.2: write() on sockets; user streams are in core/test_writable.py."""

from __future__ import annotations

import pytest

from pyuvnet import next_tick, run

BIG = b"z" * 9_000_000


@pytest.mark.spec("S4.2-12", "S4.2-15")
def test_after_an_error_nothing_is_handed_over(fake, note, trace) -> None:
    sink = fake.Sink(hold=True, auto_destroy=False)
    sink.on("error", lambda error: trace("error"))
    sink.write(b"fails")
    sink.answer(OSError("E"))
    run()
    assert sink.write(b"never", note("cb")) is False
    run()
    assert sink.got == [b"fails"]
    assert sink.writable_length == 5
    assert trace == ["error"]
    sink.destroy()
    run()


@pytest.mark.spec("S4.2-21", "S4.3-02")
@pytest.mark.parametrize("way", ["uncork", "completion"])
def test_what_was_queued_completes_together(connect, trace, way) -> None:
    def both(client, peer) -> None:
        if way == "uncork":
            client.cork()
        else:
            client.write(BIG)
        for number in range(3):
            # A tick of the first callback comes after the last one: they are called together.
            client.write(b"x", lambda error, n=number: (trace(n), next_tick(trace, f"tick {n}")))
        client.uncork()
        client.end()
        peer.resume()

    connect(both=both, server={"pauseOnConnect": True})
    run()
    assert trace == [0, 1, 2, "tick 0", "tick 1", "tick 2"]
