"""docs/coverage.md and docs/deviations.md: nothing is missing, and what they name is there."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import pyuvnet
from pyuvnet import EventEmitter, _listen, server, socket
from pyuvnet._base.names import to_node
from tests.support.cases import cases

DOCS = Path(__file__).resolve().parent.parent / "docs"
DOCUMENTS = ["coverage.md", "deviations.md"]
OPTIONS = {
    "net.Server": server.SERVER_OPTIONS,
    "net.Server.listen": _listen.LISTEN_OPTIONS,
    "net.Socket": socket.SOCKET_OPTIONS,
    "net.Socket.connect": socket.CONNECT_OPTIONS,
    "net.create_connection": socket.CONNECT_ALL,
}
# What is outside and is not shown by anything in its place.
OUTSIDE = {"N101", "N177"}

# For the tests to be collected, which takes its time on a busy machine.
pytestmark = pytest.mark.timeout(250)


def table(document: str) -> list[list[str]]:
    """The cells of the rows of a document's tables, without the heads."""
    rows: list[list[str]] = []
    for line in (DOCS / document).read_text(encoding="utf-8").splitlines():
        if line.startswith("|"):
            assert line.endswith("|"), line
            rows.append([cell.strip() for cell in line[1:-1].split("|")])
    heads = [at for at, row in enumerate(rows) if set("".join(row)) <= set("-:")]
    assert heads, "no table"
    return [row for at, row in enumerate(rows) if at not in heads and at + 1 not in heads]


def spans(text: str) -> list[str]:
    """What stands between backticks."""
    return re.findall(r"`([^`]+)`", text)


def named_tests(cell: str) -> list[str]:
    return [span for span in spans(cell) if span.startswith("tests/")]


COVERAGE = {row[0]: row for row in table("coverage.md")}


def test_every_id_is_there_once() -> None:
    ids = [row[0] for row in table("coverage.md")]
    assert ids == [f"N{number:03}" for number in range(1, 184)]
    assert {len(row) for row in table("coverage.md")} == {4}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_row_has_a_test_or_is_outside(document: str) -> None:
    for row in table(document):
        assert all(row), row
        if row[0] in OUTSIDE:
            assert row[-1].startswith("outside: ")
            assert not named_tests(row[-1])
        else:
            assert named_tests(row[-1]), row


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_test_named_is_there(document: str, collected: dict[str, list[str]]) -> None:
    there = {test.partition("[")[0] for test in collected}
    named = {test for row in table(document) for test in named_tests(row[-1])}
    assert sorted(named - there) == []


def attribute(path: str) -> Any:
    """What a dotted name means in pyuvnet; Node's spelling of each part means the same."""
    found: Any = pyuvnet
    for name in path.split("."):
        twin = to_node(name)
        same = inspect.getattr_static(found, twin)
        assert same is inspect.getattr_static(found, name), f"{path}: {twin} is another"
        found = getattr(found, name)
    return found


@cases("row", COVERAGE)
def test_our_name_is_there_in_both_spellings(row: str) -> None:
    cell = COVERAGE[row][2]
    names = spans(cell)
    assert bool(names) == (row not in OUTSIDE)
    assert ", ".join(f"`{name}`" for name in names) == cell or cell == "none"
    for name in names:
        match = re.fullmatch(r"([\w.]+)(?:\((\w+)=\)| '(\w+)')?", name)
        assert match, name
        path, option, event = match.groups()
        thing = attribute(path)
        if option:
            assert option in OPTIONS[path], name
            assert to_node(option) in OPTIONS[path], name
        if event:
            assert issubclass(thing, EventEmitter)
            assert f"'{event}'" in str(thing.__doc__).partition("Events:")[2], name
