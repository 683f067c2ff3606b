"""Connect, echo, close, very often, in one process: what does it keep of that?

    python -m tests.reliability.leaks --cycles 1000000

Client and server live in one loop. A cycle connects, writes a message, waits for its echo, and
closes both ends in one of the ways of ENDS. At 10, 50 and 100 % of the cycles, with nothing open,
a sample is taken. Exits with 1 if the resident memory grew by 1 % or more from the first sample
to the last, or if anything that can be counted exactly did at all. Linux only (/proc).
"""

from __future__ import annotations

import argparse
import ctypes
import dataclasses
import gc
import itertools
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyuvnet
from pyuvnet import Socket, net
from pyuvnet._core.handle import live_counts

MESSAGE = bytes(range(256))
LANES = 16  # cycles under way at a time
# Each address has 28,000 ports, and each port rests for a minute after a connection.
HOSTS = [f"127.0.0.{n}" for n in range(1, 65)]


@dataclasses.dataclass
class Sample:
    """What the process holds after so many cycles, when nothing is open."""

    cycles: int
    seconds: float
    rss: int  # bytes
    descriptors: int
    handles: int
    blocks: int  # of Python's allocator


def _by_end(socket: Socket) -> None:
    socket.end()


def _by_destroy(socket: Socket) -> None:
    socket.destroy()


def _by_reset(socket: Socket) -> None:
    socket.reset_and_destroy()


def _by_error(socket: Socket) -> None:
    socket.destroy(ValueError("enough"))


ENDS: list[Callable[[Socket], None]] = [_by_end, _by_destroy, _by_reset, _by_error]


class Cycles:
    """Lanes of connections that each follow the one before."""

    def __init__(self) -> None:
        self.left = self.open = self.wrong = 0
        self.hosts = itertools.cycle(HOSTS)
        self.ends = itertools.cycle(ENDS)
        self.server = net.create_server(self._accepted)
        self.server.listen(0, "0.0.0.0", 1024, callback=pyuvnet.stop)
        pyuvnet.run()
        self.port = self.server.address()["port"]

    def _accepted(self, socket: Socket) -> None:
        socket.on("data", socket.write)
        socket.on("error", _ignore)

    def run(self, count: int) -> None:
        """Run so many cycles to their ends, both sides."""
        self.left = count
        for _ in range(min(LANES, count)):
            self._next()
        pyuvnet.run()
        # The client's last 'close' stops the loop; the server's side has its turns now.
        while pyuvnet.current_loop().handle_count() > 1:
            pyuvnet.set_immediate(pyuvnet.stop)
            pyuvnet.run()

    def _next(self) -> None:
        self.left -= 1
        self.open += 1
        got = bytearray()
        end = next(self.ends)

        def data(chunk: bytes) -> None:
            got.extend(chunk)
            if len(got) >= len(MESSAGE):
                end(socket)

        def close(had_error: bool) -> None:
            self.open -= 1
            self.wrong += got != MESSAGE
            if self.left:
                self._next()
            elif not self.open:
                pyuvnet.stop()

        socket = net.connect(self.port, next(self.hosts))
        socket.on("data", data)
        socket.on("error", _ignore)
        socket.on("close", close)
        socket.write(MESSAGE)

    def close(self) -> None:
        self.server.close()
        pyuvnet.run()


def _ignore(error: Exception) -> None:
    pass


def resident() -> int:
    """Bytes of this process in memory, without what malloc keeps for later."""
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def sample(cycles: int, began: float) -> Sample:
    gc.collect()
    return Sample(
        cycles,
        round(time.perf_counter() - began, 1),
        resident(),
        len(os.listdir("/proc/self/fd")),
        pyuvnet.current_loop().handle_count(),
        sys.getallocatedblocks(),
    )


def measure(total: int, shares: tuple[int, ...] = (10, 50, 100)) -> list[Sample]:
    """Run cycles; returns a sample at each of the given percentages.

    Raises: AssertionError if an echo was not what was sent, or a handle or request is left.
    """
    before = live_counts()
    cycles = Cycles()
    began = time.perf_counter()
    samples: list[Sample] = []
    done = 0
    for share in shares:
        cycles.run(total * share // 100 - done)
        done = total * share // 100
        samples.append(sample(done, began))
    cycles.close()
    assert not cycles.wrong, f"{cycles.wrong} echoes were not what was sent"
    assert live_counts() == before, "libuv still knows handles or requests"
    return samples


def growth(samples: list[Sample]) -> list[str]:
    """What grew from the first sample to the last, in words; nothing should."""
    first, last = samples[0], samples[-1]
    found = []
    if last.rss > first.rss * 1.01:
        found.append(f"memory by {100 * (last.rss / first.rss - 1):.2f} %")
    if last.descriptors > first.descriptors:
        found.append(f"descriptors by {last.descriptors - first.descriptors}")
    if last.handles > first.handles:
        found.append(f"handles by {last.handles - first.handles}")
    # Caches of the interpreter come and go; a block for each hundredth cycle does not.
    if last.blocks - first.blocks > max(100, (last.cycles - first.cycles) // 100):
        found.append(f"Python's memory blocks by {last.blocks - first.blocks}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.reliability.leaks")
    parser.add_argument("--cycles", type=int, default=1_000_000, help="default: a million")
    parser.add_argument("--json", action="store_true", help="print the samples as JSON")
    arguments = parser.parse_args()
    samples = measure(arguments.cycles)
    found = growth(samples)
    if arguments.json:
        print(json.dumps([dataclasses.asdict(each) for each in samples]))
    else:
        print(f"CPython {platform.python_version()}, {os.cpu_count()} processors")
        print("cycles     seconds  RSS KiB  descriptors  handles  blocks")
        for each in samples:
            print(
                f"{each.cycles:9,}  {each.seconds:7.1f}  {each.rss // 1024:7,}  "
                f"{each.descriptors:11}  {each.handles:7}  {each.blocks:6,}"
            )
        change = 100 * (samples[-1].rss / samples[0].rss - 1)
        print(f"memory {change:+.2f} % from {samples[0].cycles:,} cycles on")
    print("\n".join(f"GREW: {each}" for each in found), end="\n" if found else "", file=sys.stderr)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
