"""Nanoseconds that the stream machine adds to a chunk, with a source that costs nothing.

    python -m bench.chunks [--size 1024] [--chunks 20000] [--repeat 7]

A Readable without any handle is filled while it is paused and then flows, or is pushed to while it
flows; the figure is the best run divided by the chunks, the listener's call included. "call" is a
plain call of the listener in a loop, for comparison.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

from pyuvnet import Readable, Writable, run


class Source(Readable):
    """Everything comes by push()."""

    def _read(self, size: int) -> None:
        pass


class Sink(Writable):
    """Takes everything at once."""

    def _write(self, chunk: bytes, encoding: str, callback: Callable[[], None]) -> None:
        callback()


def listener(chunk: object) -> None:
    pass


def call(chunk: bytes, chunks: int) -> float:
    start = time.perf_counter()
    for _ in range(chunks):
        listener(chunk)
    return time.perf_counter() - start


def flowing(prepare: Callable[[Source], object]) -> Callable[[bytes, int], float]:
    """push() straight to the listeners."""

    def measure(chunk: bytes, chunks: int) -> float:
        source = Source()
        prepare(source)
        run()
        push = source.push
        push(chunk)
        run()
        start = time.perf_counter()
        for _ in range(chunks):
            push(chunk)
        spent = time.perf_counter() - start
        source.destroy()
        run()
        return spent

    return measure


def buffered(prepare: Callable[[Source], object]) -> Callable[[bytes, int], float]:
    """What was buffered while paused flows out."""

    def measure(chunk: bytes, chunks: int) -> float:
        source = Source()
        source.pause()
        prepare(source)
        for _ in range(chunks):
            source.push(chunk)
        run()
        source.resume()
        start = time.perf_counter()
        run()
        spent = time.perf_counter() - start
        source.destroy()
        run()
        return spent

    return measure


def iterated(chunk: bytes, chunks: int) -> float:
    """async for, woken for each chunk."""
    from pyuvnet import next_tick

    spent = 0.0

    async def main() -> None:
        nonlocal spent
        source = Source()
        left = chunks
        next_tick(source.push, chunk)
        start = time.perf_counter()
        async for _ in source:
            left -= 1
            if not left:
                break
            next_tick(source.push, chunk)
        spent = time.perf_counter() - start

    run(main())
    run()
    return spent


CASES: dict[str, Callable[[bytes, int], float]] = {
    "call": call,
    "flowing, one listener": flowing(lambda source: source.on("data", listener)),
    "flowing, three listeners": flowing(
        lambda source: [source.on("data", lambda chunk: None) for _ in range(3)]
    ),
    "flowing, utf8": flowing(lambda source: source.set_encoding("utf8").on("data", listener)),
    "flowing, pipe": flowing(lambda source: source.pipe(Sink())),
    "paused, then one listener": buffered(lambda source: source.on("data", listener)),
    "async for": iterated,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--chunks", type=int, default=20_000)
    parser.add_argument("--repeat", type=int, default=7)
    arguments = parser.parse_args()
    chunk = b"x" * arguments.size
    for name, measure in CASES.items():
        best = min(measure(chunk, arguments.chunks) for _ in range(arguments.repeat))
        print(f"{name:26} {best / arguments.chunks * 1e9:8.0f} ns")


if __name__ == "__main__":
    main()
