"""Fuzzers for every parser and reader of options: an engine, and one long run.

    python -m tests.reliability.fuzz --inputs 1000000 [--seed 1] [--only NAME]

A fuzzer (see parsers.py and options.py) makes one input from the random numbers that it is given,
and checks what the library makes of it: only the errors that the documentation names, each with a
code; never SystemError or a crash; what another implementation says (ipaddress, socket, codecs, or
a slow one written down from the rule); the way back; nothing changed by what raised. Each input has
random numbers of its own, made of the seed, the fuzzer's name and the input's number, so that a
failure names the command that repeats it.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from pyuvnet import Error, current_loop, run, set_exception_handler
from tests.support.prod import Awkward, nothing

Fuzzer = Callable[["Input"], None]
FUZZERS: dict[str, tuple[Fuzzer, frozenset[str], int]] = {}
# Node's codes of arguments, each of which has a class of its own.
ARGUMENTS = ("ERR_INVALID_ARG_TYPE", "ERR_INVALID_ARG_VALUE", "ERR_OUT_OF_RANGE")


def fuzzer(*codes: str, weight: int = 1) -> Callable[[Fuzzer], Fuzzer]:
    """Register a fuzzer.

    Args:
        codes: of the errors that its calls may raise.
        weight: its share of the inputs.
    """

    def register(function: Fuzzer) -> Fuzzer:
        FUZZERS[function.__name__] = (function, frozenset(codes), weight)
        return function

    return register


class Opaque(Awkward):
    """Awkward, but true: what an option raises when its truth value is taken is the program's."""

    def __bool__(self) -> bool:
        return True


class Index:
    """A number in all but name."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value

    def __repr__(self) -> str:
        return f"Index({self.value})"


NUMBERS: list[Any] = [
    0, 1, -1, 2, 4, 6, 9, 10, 16, 32, 33, 128, 129, 255, 256, 511, 1000, 65535, 65536, 2**31 - 1,
    2**31, 2**32 - 1, 2**32, 2**53, 2**63, 2**64, -(2**31), -(2**63), 10**400, 10**5000, 0.0, -0.0,
    0.5, 1.5, 80.0, 1e-7, 1e21, 1e308, math.nan, math.inf, -math.inf,
]  # fmt: skip
TEXTS = [
    "", " ", "0", "80", " 80 ", "-1", "1e2", "0x50", "0x", "65536", "80a", "x", "/tmp/x", "\0",
    "\0x", "a\0b", "utf8", "UTF-8", "hex", "base64", "latin1", "ipv4", "IPv6", "localhost", "::",
    "127.0.0.1", "é", "\ud800", "😀", "٣", "\ufeff1", "Infinity", "1_0", "a" * 300,
]  # fmt: skip
CHARACTERS = "0123456789abcdefABCDEFxXoObBeE.:/%[]-+ \t\n\0_,;#gzé٣\ud800\udc00😀=\ufffd"


class Input:
    """One input: random numbers, and what was made of them for the report."""

    def __init__(self, name: str, seed: int, number: int, codes: frozenset[str]) -> None:
        self.name, self.seed, self.number, self.codes = name, seed, number, codes
        self.random = random.Random(f"{seed}/{name}/{number}")
        self.made: list[str] = []

    def show(self, *what: Any) -> None:
        """Note what is about to be tried."""
        for value in what:
            try:
                self.made.append(repr(value))
            except ValueError as error:
                self.made.append(str(error))

    # ---- Making values -------------------------------------------------------------------------

    def pick(self, *choices: Any) -> Any:
        return choices[int(self.random.random() * len(choices))]

    def below(self, limit: int) -> int:
        return int(self.random.random() * limit)

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def text(self, longest: int = 12, characters: str = CHARACTERS) -> str:
        size = self.below(longest + 1)
        return "".join([characters[self.below(len(characters))] for _ in range(size)])

    def data(self, longest: int = 40) -> bytes:
        return self.random.randbytes(self.below(longest + 1))

    def mutated(self, text: str, characters: str = CHARACTERS) -> str:
        """Change a text a little, or not at all."""
        for _ in range(self.pick(0, 0, 1, 1, 2, 3)):
            at = self.below(len(text) + 1)
            what = self.below(4)
            extra = characters[self.below(len(characters))]
            if what == 0:
                text = text[:at] + extra + text[at:]
            elif what == 1:
                text = text[:at] + text[at + 1 :]
            elif what == 2:
                text = text[:at] + extra + text[at + 1 :]
            else:
                to = self.below(len(text) + 1)
                text = text[:at] + text[min(at, to) : max(at, to)] + text[at:]
        return text

    def number_of(self, *likely: Any) -> Any:
        """A number, most often one of those that are likely to be right."""
        if likely and self.chance(0.6):
            return self.pick(*likely)
        value = self.pick(*NUMBERS)
        return value + self.pick(-1, 1) if self.chance(0.1) else value

    def anything(self, *likely: Any) -> Any:
        """Any kind of value, often one of the likely ones."""
        if likely and self.chance(0.5):
            return self.pick(*likely)
        kind = self.below(14)
        if kind < 4:
            return self.number_of()
        if kind < 6:
            return self.pick(*TEXTS)
        if kind == 6:
            return self.text()
        if kind == 7:
            return self.pick(None, True, False)
        if kind == 8:
            return self.data()
        if kind == 9:
            return self.pick(bytearray(b"ab"), memoryview(b"abc"), memoryview(bytearray(8))[::2])
        if kind == 10:
            return self.pick([], [5], ["x"], (), {}, {"port": 1}, {5: 5}, {"fd": -1}, {"x"})
        if kind == 11:
            return self.pick(object(), Opaque(), Index(80), Index(-1), Opaque, 1j)
        if kind == 12:
            return self.pick(nothing, nothing.__call__, RuntimeError("E"), BaseException())
        return self.pick(float("nan"), -1, "-1", b"\0", b"/x", range(3))

    # ---- Judging -------------------------------------------------------------------------------

    def attempt(self, function: Callable[..., Any], *args: Any, **keywords: Any) -> Any:
        """Call a function; returns what it returns, or the error it is allowed to raise."""
        try:
            return function(*args, **keywords)
        except Error as error:
            found: Error | OSError = error
        except OSError as error:
            found = error
        code = getattr(found, "code", None)
        known = "OSError" if isinstance(found, OSError) else code
        assert isinstance(code, str), f"an error without a code: {found!r}"
        assert known in self.codes, f"{type(found).__name__} {code}: {found}"
        return found

    def raised(self, outcome: Any) -> bool:
        return isinstance(outcome, (Error, OSError))


class Finding(AssertionError):
    """What a fuzzer found, with the command that repeats it."""


def fuzz(name: str, seed: int, number: int, tally: Counter[str] | None = None) -> None:
    """Try one input. Raises: Finding."""
    function, codes, _ = FUZZERS[name]
    made = Input(name, seed, number, codes)
    try:
        function(made)
    except Exception as error:
        command = f"python -m tests.reliability.fuzz --only {name} --seed {seed} --at {number}"
        shown = ", ".join(made.made)
        raise Finding(f"{type(error).__name__}: {error}\ninput: {shown}\n{command}") from error
    if tally is not None:
        tally[name] += 1


def fuzz_all(inputs: int, seed: int, only: str | None = None) -> Counter[str]:
    """Share out so many inputs among the fuzzers. Raises: Finding."""
    from . import framings, hellos, options, parsers, proxies  # noqa: F401, they register themselves

    tally: Counter[str] = Counter()
    raised: list[BaseException] = []
    set_exception_handler(raised.append)
    chosen = {name: entry for name, entry in FUZZERS.items() if only in (None, name)}
    whole = sum(weight for _, _, weight in chosen.values())
    try:
        for name, (_, _, weight) in chosen.items():
            for number in range(max(1, inputs * weight // whole)):
                fuzz(name, seed, number, tally)
            run()
            for error in raised:
                if isinstance(error, AssertionError) or not hasattr(error, "code"):
                    raise error
            raised.clear()
    finally:
        set_exception_handler(None)
    return tally


def main() -> None:
    parser = argparse.ArgumentParser(description="Fuzz every parser and reader of options.")
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", help="the name of one fuzzer")
    parser.add_argument("--at", type=int, help="the number of one input of it")
    given = parser.parse_args()
    from . import framings, hellos, options, parsers, proxies  # noqa: F401
    from . import fuzz as registered  # under its own name, which the fuzzers know it by

    if given.at is not None:
        registered.fuzz(given.only, given.seed, given.at)
        return
    start = time.perf_counter()
    tally = registered.fuzz_all(given.inputs, given.seed, given.only)
    spent = time.perf_counter() - start
    for name, count in tally.items():
        print(f"{count:9} {name}")
    print(f"{sum(tally.values())} inputs, seed {given.seed}, {spent:.0f} s, no finding")
    current_loop().close()


if __name__ == "__main__":
    sys.exit(main())
