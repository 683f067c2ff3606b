"""Faults by chance: mixtures that nobody may notice, and a fatal one among them."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

Play = Callable[..., dict[str, Any]]
FUNCTIONS = ["write", "writev", "read", "epoll_pwait", "splice_in", "splice_out"]
CAPS = [1, 2, 7, 100, 999, 4096, 65_536]


def mixture(chance: random.Random) -> str:
    """Rules for the shim that a program cannot tell from a slow network."""
    rules = []
    for _ in range(chance.randint(1, 7)):
        function = chance.choice(FUNCTIONS)
        rule = function
        if function == "epoll_pwait":
            rule += chance.choice([" cap=1", " error=EINTR"])
        else:
            kind = chance.choice(["cap", "error", "both"])
            if kind != "error":
                rule += f" cap={chance.choice(CAPS)}"
            if kind != "cap":
                reads = function in ("read", "splice_in")
                errors = ["EAGAIN", "EINTR", *["ENOBUFS"] * (not reads)]
                rule += f" error={chance.choice(errors)}"
        rule += chance.choice(
            [
                f" chance={chance.choice([5, 30, 60, 90])} seed={chance.randint(1, 10**6)}",
                f" every={chance.randint(2, 5)}",
                f" after={chance.randint(0, 50)} times={chance.randint(1, 100)}",
                f" times={chance.randint(1, 300)}",
            ]
        )
        rules.append(rule)
    return "; ".join(rules)


def _seeds(few: int, many: int) -> list[Any]:
    """Groups of ten: a few, and many in the full version."""
    full = pytest.mark.full
    return [pytest.param(seed, marks=[full] * (seed >= few)) for seed in range(0, many, 10)]


@pytest.mark.parametrize("seed", _seeds(20, 1000))
def test_harmless(seed: int, play: Play) -> None:
    for each in range(seed, seed + 10):
        chance = random.Random(each)
        way = chance.choice(["echo", "pipe", "proxy", "cork", "onread"])
        size = chance.choice([3000, 60_000, 400_000, 2_000_000])
        options = {
            "rules": mixture(chance),
            "kind": chance.choice(["tcp", "ipc"]),
            "way": way,
            "total": size,
            "largest": chance.choice([10, 1000, 30_000, 200_000]),
        }
        told = play("stream", **options)
        assert told["sent"] == told["back"], options
        assert told["kernel"] == [(4 if way == "proxy" else 2) * size] * 2, options
        assert told["counts"] == [size, size], options
        assert told["answered"], options
        assert told["waiting"] == 0, options
        assert set(told["lengths"]) == {0}, options
        assert told["events"] == {
            "client": ["connect", "finish", "end", "close False"],
            "server": ["end", "finish", "close False"],
        }, options
        assert told["polls"] <= 50 + 2 * (told["calls"] + sum(told["hits"])), options


@pytest.mark.parametrize("seed", _seeds(20, 500))
def test_fatal(seed: int, play: Play) -> None:
    for each in range(seed, seed + 10):
        chance = random.Random(each)
        way = chance.choice(["each", "vector", "queued"])
        error = chance.choice(["EPIPE", "ECONNRESET", "ETIMEDOUT", "EHOSTUNREACH", "ENOMEM"])
        # Whichever of the two calls is made then; the first of them ends it.
        after = chance.randint(0, 12)
        options = {
            "rules": f"write error={error} after={after}; writev error={error} after={after}; "
            f"{mixture(chance)}",
            "kind": chance.choice(["tcp", "ipc"]),
            "side": chance.choice(["client", "server"]),
            "way": way,
            "total": 400_000,
        }
        told = play("fatal", **options)
        if not sum(told["hits"][:2]):
            # All of it left before.
            assert told["events"] == ["finish", "end", "close False"], options
            assert told["received"] == told["ok"] == 400_000, options
            continue
        assert told["events"] == [f"error {error} write", "close True"], options
        assert told["prefix"], options
        assert told["received"] == told["taken"], options
        assert told["ok"] + told["failed"] == told["written"], options
        assert told["ok"] <= told["received"] < told["written"], options
        assert told["in_order"], options
        assert error in told["codes"], options
        assert set(told["codes"]) <= {error, "ERR_STREAM_DESTROYED"}, options
        assert told["again"] == "once more", options
