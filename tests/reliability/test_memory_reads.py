"""A read that runs out of memory: every byte arrives, or the socket is destroyed with ENOMEM."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("_testcapi")

# 50,000 bytes arrive; then 200 more and the end, in one turn of the loop with a byte for another
# socket, whose listener lets the n-th allocation from then on fail, for the rest of the turn.
PROGRAM = """
import asyncio, socket as posix, sys
import _testcapi
import pyuvnet
from pyuvnet import Socket, Writable, framing

how, driver, width = sys.argv[1], sys.argv[2], int(sys.argv[3])

class Case:
    def __init__(self, nth):
        self.nth, self.got, self.entered = nth, 0, None
        self.error = self.ended = self.closed = None
        self.kept = [None] * 2  # so that the core has no chunk to use again
        self.trigger, there = posix.socketpair()
        Socket(fd=there.detach()).on("data", self.on_trigger)
        self.here, there = posix.socketpair()
        self.here.sendall(bytes(50_000))
        options = {}
        if how == "onread":
            options["onread"] = {"buffer": bytearray(65536), "callback": self.on_target}
        s = self.s = Socket(fd=there.detach(), **options)
        s.once("error", self.on_error)
        s.once("end", self.on_end)
        s.once("close", self.on_close)
        if how == "text":
            s.set_encoding("utf8")
        if how == "frames":
            s.set_framing(framing.Fixed(50))
        elif how == "long frames":
            s.set_framing(framing.Fixed(25_100))
        if how in ("data", "text", "frames", "long frames"):
            s.on("data", self.on_data)
        elif how == "once":
            s.once("data", self.on_data)
        elif how == "readable":
            s.on("readable", self.on_readable)
        elif how == "coroutine":
            s.on("data", self.on_data_later)
        elif how == "onread":
            s.resume()
        elif how == "pipe":
            s.pipe(Counter(self))
        elif how == "native":
            self.far, near = posix.socketpair()
            self.dest = Socket(fd=near.detach())
            self.dest.once("error", self.on_error)
            s.pipe(self.dest)
            pyuvnet.set_timeout(self.more, 15)

    def more(self):
        self.entered = None
        self.trigger.send(b"!")
        self.here.sendall(bytes(200))
        self.here.close()

    def on_trigger(self, chunk):
        pyuvnet.set_immediate(_testcapi.remove_mem_hooks)
        _testcapi.set_nomemory(self.nth, self.nth + width)

    def count(self, chunk):
        # What fails from here on is this program's failure.
        self.entered = True
        self.kept[self.got > 0] = chunk
        self.got += chunk if how == "onread" else len(chunk)
        if self.got == (25_100 if how == "long frames" else 50_000):
            if how == "once":
                self.s.once("data", self.on_data)
            # Later, since a poll reports first who was ready in the last one.
            pyuvnet.set_timeout(self.more, 5)

    def on_data(self, chunk):
        self.entered = True
        self.count(chunk)

    async def on_data_later(self, chunk):
        self.entered = True
        self.count(chunk)

    def on_target(self, size, buffer):
        self.entered = True
        self.count(size)
        return True

    def on_readable(self):
        self.entered = True
        while (chunk := self.s.read()) is not None:
            self.on_data(chunk)

    def on_error(self, error):
        self.error = error

    def on_end(self):
        self.ended = True

    def on_close(self, had_error):
        self.closed = True

    def judge(self, reported):
        _testcapi.remove_mem_hooks()
        got = self.got
        if how == "native":
            self.dest.end()
            got = len(self.far.makefile("rb").read())
            self.far.close()
        whole = got == 50_200 or self.entered and reported
        told = (self.closed, self.ended, self.entered, got, repr(self.error))
        if not self.closed or not (whole or self.error):
            print("LOST", self.nth, *told, *map(repr, reported))
            self.s.destroy()
        elif self.error and not isinstance(self.error, MemoryError) and self.error.code != "ENOMEM":
            print("UNCLEAR", self.nth, *told)
        else:
            print("refused" if self.error else "whole", self.nth)

class Counter(Writable):
    def __init__(self, case):
        super().__init__()
        self.case = case
        # write() raised into pipe(), which destroys with that what it writes to.
        self.on("error", case.on_error)

    def _write(self, chunk, encoding, callback):
        self.case.entered = True
        self.case.count(chunk)
        callback()

async def main():
    for nth in range(24):
        reported = []
        pyuvnet.set_exception_handler(reported.append)
        case = Case(nth)
        for _ in range(100):
            await asyncio.sleep(0.002)
            if case.closed:
                break
        case.trigger.close()
        case.judge(reported)

def alone():
    for nth in range(24):
        reported = []
        pyuvnet.set_exception_handler(reported.append)
        case = Case(nth)
        guard = pyuvnet.set_timeout(pyuvnet.stop, 300)
        case.s.once("close", lambda had_error: pyuvnet.stop())
        pyuvnet.run()
        guard.close()
        case.trigger.close()
        case.judge(reported)
        pyuvnet.run()

pyuvnet.run(main()) if driver == "attach" else alone()
"""

HOWS = ["data", "text", "once", "readable", "onread", "pipe", "native", "coroutine", "frames",
        "long frames"]  # fmt: skip


@pytest.mark.spec("D38")
@pytest.mark.parametrize("driver", ["run", "attach"])
@pytest.mark.parametrize("how", HOWS)
def test_a_read_without_memory_loses_nothing_silently(
    run_child: Callable[..., Any], how: str, driver: str
) -> None:
    if how == "coroutine":
        # They need asyncio.
        driver = "attach"
    for width in ("1", "3"):
        child = run_child(PROGRAM, how, driver, width, timeout=60)
        assert child.code == 0, child.err
        assert len(child.lines) == 24, child.out
        bad = [line for line in child.lines if line.split()[0] not in ("whole", "refused")]
        assert bad == [], child.out
