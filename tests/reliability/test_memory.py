"""Operations that run out of memory, in small; the large version is `memory.py`, or --full."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

pytest.importorskip("_testcapi")

from . import memory

CORE = Path(__file__).resolve().parent.parent.parent / "pyuvnet" / "_core"
SMALL = [
    "connect",
    "accept",
    "read",
    "write_much",
    "end",
    "destroy",
    "close",
    "pipe",
    "loop",
    "take_with_budget",
]

linux = pytest.mark.skipif(sys.platform != "linux", reason="counts the descriptors in /proc")


@linux
@pytest.mark.parametrize("kind", memory.kinds())
@pytest.mark.parametrize("name", SMALL)
def test_an_operation_without_memory_fails_alone(name: str, kind: str) -> None:
    count, found = memory.run(name, kind, stride=5)
    assert not found, "\n".join(found)
    assert count


@linux
@pytest.mark.full
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("kind", memory.kinds())
@pytest.mark.parametrize("name", memory.OPERATIONS)
def test_every_operation_without_memory_fails_alone(name: str, kind: str) -> None:
    count, found = memory.run(name, kind, stride=1)
    assert not found, "\n".join(found)
    assert count


def test_no_except_clause_of_the_core_is_left_by_return() -> None:
    """Cython drops the traceback there by Py_DECREF, and crashes where none could be made."""
    found = []
    for path in sorted(CORE.glob("*.pyx")):
        inside = None
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            depth = len(line) - len(line.lstrip())
            if inside is not None and line.strip() and depth <= inside:
                inside = None
            if re.match(r" *except\b", line):
                inside = depth
            elif inside is not None and re.match(r" *return\b", line):
                found.append(f"{path.name}:{number}: {line.strip()}")
    assert not found
