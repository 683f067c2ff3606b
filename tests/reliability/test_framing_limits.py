"""What a framing costs, whatever a peer sends: memory for what came, work for each byte once.

Work is counted by the debug build, not timed; a release build shows that these end at all.
"""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pyuvnet import Readable, framing, run
from pyuvnet._core import info
from pyuvnet._core.framing import work_done
from tests.support.frames import DESCRIBED

MIB = 1024 * 1024
ONE_READ = 65536


class Source(Readable):
    def __init__(self, form: framing.Framing | None, **options: Any) -> None:
        super().__init__(framing=form, **options)
        self.frames = self.bytes = 0
        self.on("error", lambda error: None)
        if form is not None:
            self.on("data", self.got)
            run()

    def _read(self, size: int) -> None:
        pass

    def got(self, frame: bytes) -> None:
        self.frames += 1
        self.bytes += len(frame)


def work_of(form: framing.Framing, chunks: Iterator[bytes]) -> tuple[int, int, int, int]:
    """Frames, bytes handed out, and bytes searched and moved for them."""
    source = Source(form)
    # What is pushed before the first `_read` is buffered; from then on it flows.
    source.push(next(chunks))
    run()
    searched, moved = work_done()
    for chunk in chunks:
        source.push(chunk)
    after = work_done()
    source.destroy()
    run()
    return source.frames, source.bytes, after[0] - searched, after[1] - moved


def slices(data: bytes, size: int) -> Iterator[bytes]:
    return (data[n : n + size] for n in range(0, len(data), size))


CASES: dict[str, tuple[framing.Framing, Callable[[int], bytes], int]] = {
    "a frame by single bytes": (
        framing.LengthPrefix(),
        lambda n: n.to_bytes(4, "big") + bytes(n),
        1,
    ),
    "a line by single bytes": (framing.Lines(limit=MIB), lambda n: b"x" * n + b"\n", 1),
    "empty lines": (framing.Lines(), lambda n: b"\n" * n, ONE_READ),
    "lines over two chunks": (framing.Lines(), lambda n: (b"x" * 99 + b"\n") * (n // 100), 150),
    "a delimiter that nearly comes": (
        framing.Lines(b"aaaaaaab", limit=MIB),
        lambda n: b"a" * n + b"b",
        7,
    ),
    "a long line that is skipped": (
        framing.Lines(limit=10, oversize="discard"),
        lambda n: b"x" * n + b"\n",
        5,
    ),
    "frames in pieces": (framing.Fixed(1000), lambda n: bytes(n), 333),
    "empty frames": (framing.VarintPrefix(), lambda n: bytes(n), ONE_READ),
    "headers byte by byte": (
        framing.Header(3, lambda header: header[0]),
        lambda n: b"\5ab12345" * (n // 8),
        1,
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.timeout(120)
def test_twice_the_bytes_are_twice_the_work(case: str, full: bool) -> None:
    form, data, step = CASES[case]
    size = MIB if full else MIB // 8
    once = work_of(form, slices(data(size), step))
    twice = work_of(form, slices(data(2 * size), step))
    if "debug" not in info.build_flags().split(",")[0]:
        assert once[2:] == (0, 0)
        return
    for _, _, searched, moved in (once, twice):
        assert searched + moved > 0 or "empty" in case
    for times, (_, _, searched, moved) in ((1, once), (2, twice)):
        # No place twice, and the moves of a memory that grows by half.
        assert searched <= times * size + ONE_READ
        assert moved <= 5 * times * size + ONE_READ
    assert twice[2] <= 2.2 * once[2] + ONE_READ
    assert twice[3] <= 2.4 * once[3] + ONE_READ


def by_framing(source: Readable) -> bool:
    source.set_framing(framing.Lines())
    if source.read() is None:
        return False
    source.set_framing(None)
    return source.read(2) == b"ab"


def by_length(source: Readable) -> bool:
    return source.read(1) == b"\n" and source.read(2) == b"ab"


async def by_reader(source: Readable) -> bool:
    await source.read_line()
    return source.read(2) == b"ab"


@pytest.mark.parametrize("switch", [by_framing, by_length, by_reader])
def test_changing_the_way_of_reading_copies_nothing_that_stays(switch: Any) -> None:
    count = 5000
    source = Source(None)
    source.push(b"\nab" * count)

    async def main() -> int:
        found = 0
        while source.readable_length:
            done = switch(source)
            found += await done if asyncio.iscoroutine(done) else done
        return found

    _, before = work_done()
    assert run(main()) == count
    assert work_done()[1] - before <= 10 * 3 * count


@pytest.mark.timeout(120)
def test_ten_million_empty_lines_in_one_stream(full: bool) -> None:
    count = 10_000_000 if full else 1_000_000
    frames, size, _, moved = work_of(framing.Lines(), slices(b"\n" * count, ONE_READ))
    assert (frames, size) == (count, 0)
    # They are cut where they are.
    assert moved <= ONE_READ


# ---- Memory --------------------------------------------------------------------------------------


@pytest.fixture
def traced() -> Iterator[Callable[[], int]]:
    tracemalloc.start()
    try:
        yield lambda: tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("form", "promise"), [each.promise for each in DESCRIBED.values()], ids=repr
)
def test_a_promise_of_the_limit_takes_no_memory(
    form: framing.Framing, promise: bytes, traced: Callable[[], int]
) -> None:
    source = Source(form)
    before = traced()
    source.push(promise)
    run()
    assert not source.destroyed
    assert traced() - before < 4096
    assert source._buffer_memory <= 64  # type: ignore[attr-defined]
    source.destroy()
    run()


@pytest.mark.parametrize("step", [100, 5000, ONE_READ])
def test_a_part_of_a_frame_takes_at_most_twice_what_came(
    step: int, traced: Callable[[], int]
) -> None:
    source = Source(framing.LengthPrefix(limit=16 * MIB))
    chunk = bytes(step)
    source.push((8 * MIB).to_bytes(4, "big"))
    run()
    before, came = traced(), 4
    tracemalloc.reset_peak()
    while came + step < 8 * MIB:
        source.push(chunk)
        came += step
        if came % (64 * step) < step:
            assert traced() - before <= 2 * came + ONE_READ
    assert tracemalloc.get_traced_memory()[1] - before <= 2 * came + ONE_READ
    source.push(bytes(8 * MIB + 4 - came))
    assert source.frames == 1
    # And nothing when the frame is gone.
    assert source._buffer_memory == 0  # type: ignore[attr-defined]
    assert traced() - before < ONE_READ + 4096
    source.destroy()
    run()


def test_a_skipped_line_takes_no_memory(traced: Callable[[], int]) -> None:
    source = Source(framing.Lines(limit=100, oversize="discard"))
    before = traced()
    for _ in range(2000):
        source.push(b"x" * 5000)
        assert traced() - before < 2 * ONE_READ
    source.destroy()
    run()


def test_what_a_reader_waits_for_takes_no_memory_before_it_comes(
    traced: Callable[[], int],
) -> None:
    async def main() -> None:
        source = Source(None)
        waiting = asyncio.ensure_future(source.read_exactly(1024 * MIB))
        await asyncio.sleep(0)
        before = traced()
        source.push(b"x")
        assert traced() - before < 4096
        waiting.cancel()

    run(main())
