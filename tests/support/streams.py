"""User streams that do little, and how the tests of streams tell what happened to them."""

import asyncio

from pyuvnet import (
    Duplex,
    Readable,
    Writable,
    next_tick,
    run,
)

EVENTS = ("end", "finish", "error", "close")


class Source(Readable):
    def _read(self, size):
        pass


class Sink(Writable):
    def __init__(self, trace=None, **options):
        super().__init__(**options)
        self.trace, self.got = trace, []

    def _write(self, chunk, encoding, callback):
        self.got.append(bytes(chunk))
        callback()


class Both(Duplex):
    def _read(self, size):
        pass

    def _write(self, chunk, encoding, callback):
        callback()


def watch(trace, stream, name, *events):
    for event in events or EVENTS:
        stream.on(event, lambda *args, event=event: trace(f"{name} {event}"))


def code(error):
    return None if error is None else getattr(error, "code", None) or str(error)


def tell(trace):
    return lambda error: trace(("done", code(error)))


def play(coroutine):
    """Run a coroutine, and then what it left to be done."""
    result = run(coroutine)
    run()
    return result


async def ticks():
    """Let the loop run dry of what is due now."""
    done = asyncio.get_running_loop().create_future()
    next_tick(next_tick, done.set_result, None)
    await done


async def collect(stream):
    return [chunk async for chunk in stream]
