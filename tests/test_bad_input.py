"""Wrong arguments, of every public callable: refused by our errors, and nothing has changed.

The calls are made by prod.py: every public name with values of every type, ranges and states. That
the codes and texts are Node's is for tests/differential and tests/spec to show.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import prod

KINDS = sorted(set(prod.KINDS) - {"Stream"})  # Stream is Socket
# Python's own errors, where they are the right ones: the system's, of files and of JSON.
FILES = {"FileNotFoundError", "UnicodeEncodeError", "ValueError", "IsADirectoryError"}
# What the kernel says of an option that it has not, and of a socket that is not there.
KERNEL = {"OSError ENOPROTOOPT", "OSError EBADF", "OSError EINVAL", "OSError EOPNOTSUPP"}
OWN = {
    "load": FILES,
    "from_json": {"JSONDecodeError"},
    "fromJSON": {"JSONDecodeError"},
}
OWN |= dict.fromkeys(("get_option", "getOption", "set_option", "setOption"), KERNEL)
# Wrong by the rules of the language: an argument too many or too few, a name that has no hash,
# an object that is no iterable or cannot be copied.
PYTHONS = {"wrong number of arguments", "TypeError"}


def judge(outcomes: dict[str, dict[str, list[str]]]) -> list[tuple[str, str, list[str]]]:
    """What is neither accepted nor refused as it should be."""
    return [
        (member, what, arguments)
        for member, told in outcomes.items()
        for what, arguments in told.items()
        if what != "returned" and what not in PYTHONS | OWN.get(member, set())
        if "changed" in what or " ERR_" not in what
    ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("state", ["new", "closed", "ended"])
def test_every_member_takes_or_refuses_what_it_is_given(
    state: str, kind: str, tmp_path: Path
) -> None:
    outcomes = prod.prodded(state, kind, tmp_path)
    assert len(outcomes) > 3
    assert judge(outcomes) == []


@pytest.mark.parametrize("module", prod.MODULES)
def test_every_function_takes_or_refuses_what_it_is_given(module: str, tmp_path: Path) -> None:
    outcomes = prod.prodded("functions", module, tmp_path)
    assert len(outcomes) > 1
    assert judge(outcomes) == []


@pytest.mark.parametrize("function", prod.OPTIONS)
def test_every_option_is_taken_or_refused(function: str, tmp_path: Path) -> None:
    outcomes = prod.prodded("options", function, tmp_path)
    assert len(outcomes) > 5
    assert judge(outcomes) == []
