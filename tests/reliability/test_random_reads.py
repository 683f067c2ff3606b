"""Readers, chunks and unshift() in random order, over bytes cut at random, against a model."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from pyuvnet import Duplex, run
from pyuvnet.errors import IncompleteReadError

PIECES = [b"a", b"\n", b"\r\n", b"--", b"bc", b"\r", b"", b"xx", b"xxxx"]
DELIMITERS = [b"--", b"\n", b"\r\n", b"a", b"bc\n"]


class Source(Duplex):
    """Everything comes by push()."""

    def _read(self, size: int) -> None:
        pass

    def _write(self, chunk: Any, encoding: str, callback: Any) -> None:
        callback(None)


def expected(left: bytes, how: str, argument: Any) -> tuple[bytes | None, int]:
    """What a read of all that is to come gives, None for IncompleteReadError, and takes."""
    if how == "exactly":
        return (left[:argument], argument) if len(left) >= argument else (None, len(left))
    end = left.find(argument)
    if how == "until":
        return (left[: end + len(argument)], end + len(argument)) if end >= 0 else (None, len(left))
    if end < 0:
        return left, len(left)
    return left[:end].removesuffix(b"\r"), end + 1


class Conversation:
    """One stream, what it is fed, and how much of that has been taken."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.data = b"".join(self.random.choices(PIECES, k=self.random.randrange(60)))
        cuts = sorted(self.random.choices(range(len(self.data) + 1), k=12))
        self.parts = [self.data[a:b] for a, b in zip([0, *cuts], [*cuts, None], strict=True)]
        self.stream = Source(high_water_mark=self.random.choice([1, 8, 65536]))
        self.taken = self.fed = 0
        self.ended = False

    def feed(self) -> None:
        if self.parts:
            part = self.parts.pop(0)
            self.fed += len(part)
            self.stream.push(part)
        elif not self.ended:
            self.ended = True
            self.stream.push(None)

    def take(self, chunk: bytes | None) -> None:
        if chunk is not None:
            assert self.data.startswith(chunk, self.taken)
            self.taken += len(chunk)

    async def read(self) -> None:
        how = self.random.choice(["exactly", "until", "line"])
        left = self.data[self.taken :]
        if how == "exactly":
            argument: Any = self.random.randrange(6)
            reading = self.stream.read_exactly(argument)
        elif how == "until":
            argument = self.random.choice(DELIMITERS)
            reading = self.stream.read_until(argument)
        else:
            argument = b"\n"
            reading = self.stream.read_line()
        wanted, size = expected(left, how, argument)
        task = asyncio.ensure_future(awaited(reading))
        while not task.done():
            await asyncio.sleep(0)
            self.feed()
        try:
            result, partial = await task, None
        except IncompleteReadError as error:
            result, partial = None, error.partial
        assert result == wanted
        assert partial == (left if wanted is None else None)
        self.taken += size

    async def cancel(self) -> None:
        """A read that is cancelled has taken nothing, or it has ended before."""
        task = asyncio.ensure_future(awaited(self.stream.read_exactly(self.random.randrange(1, 9))))
        await asyncio.sleep(0)
        if self.random.random() < 0.5:
            self.feed()
        task.cancel()
        try:
            self.take(await task)
        except IncompleteReadError as error:
            self.take(error.partial)
        except asyncio.CancelledError:
            pass

    async def chunk(self) -> None:
        if self.taken == self.fed:
            self.feed()
        if self.taken < self.fed:
            async for chunk in self.stream:
                self.take(chunk)
                break

    async def unshift(self) -> None:
        size = min(self.taken, self.random.randrange(4))
        if size and not self.stream.readable_ended:
            self.stream.unshift(self.data[self.taken - size : self.taken])
            self.taken -= size

    async def at_once(self) -> None:
        self.take(self.stream.read())

    async def play(self) -> None:
        steps = [self.read, self.read, self.cancel, self.chunk, self.unshift, self.at_once]
        async with self.stream:
            for _ in range(80):
                await self.random.choice(steps)()


async def awaited(reading: Any) -> Any:
    return await reading


@pytest.mark.parametrize("block", range(4))
def test_no_byte_is_lost_or_comes_twice(block: int) -> None:
    async def main() -> None:
        for seed in range(block * 100, block * 100 + 100):
            try:
                await Conversation(seed).play()
            except BaseException as error:
                error.add_note(f"seed {seed}")
                raise

    run(main())
