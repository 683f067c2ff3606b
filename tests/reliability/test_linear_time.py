"""Long queues of a Writable: what is quadratic does not end before the watchdog does."""

from __future__ import annotations

from typing import Any

import pytest

from pyuvnet import Writable, run


class Sink(Writable):
    """Keeps what it gets, until the test answers."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.got: list[bytes] = []
        self.pending: list[Any] = []

    def _write(self, chunk: bytes, encoding: Any, callback: Any) -> None:
        self.got.append(bytes(chunk))
        self.pending.append(callback)

    def answer(self) -> None:
        self.pending.pop(0)()


class Gather(Sink):
    def _writev(self, chunks: list[bytes], callback: Any) -> None:
        self.pending.append(callback)


def finish(sink: Writable) -> None:
    sink.destroy()
    run()


def test_many_waiting_callbacks_are_called_in_linear_time() -> None:
    sink = Gather(high_water_mark=1)
    answered: list[int] = []
    for n in range(200_000):
        sink.write(b"x", lambda error, n=n: answered.append(n))
    sink.answer()
    sink.answer()
    assert answered == list(range(200_000))
    finish(sink)


@pytest.mark.parametrize("callbacks", [True, False])
def test_a_long_queue_goes_out_one_by_one_in_linear_time(callbacks: bool) -> None:
    sink = Sink(high_water_mark=1)
    answered: list[int] = []
    for n in range(300_000):
        callback = (lambda error, n=n: answered.append(n)) if callbacks else None
        sink.write(b"%d" % n, None, callback)
    for _ in range(300_000):
        sink.answer()
    assert sink.got == [b"%d" % n for n in range(300_000)]
    assert answered == (list(range(300_000)) if callbacks else [])
    finish(sink)
