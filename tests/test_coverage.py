"""The pages coverage.md and deviations.md: nothing is missing, and each line has a test."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import pyuvnet
import pyuvnet.cluster
from pyuvnet import EventEmitter, server, socket
from pyuvnet._base.names import to_node
from pyuvnet._server import listen as _listen
from tests.support.cases import cases

DOCS = Path(__file__).resolve().parent.parent / "docs"
DOCUMENTS = ["maintainers/coverage.md", "deviations.md"]
OPTIONS = {
    "net.Server": server.SERVER_OPTIONS,
    "net.Server.listen": _listen.LISTEN_OPTIONS,
    "net.Socket": socket.SOCKET_OPTIONS,
    "net.Socket.connect": socket.CONNECT_OPTIONS,
    "net.create_connection": socket.CONNECT_ALL,
}
# What is outside and is not shown by anything in its place.
OUTSIDE = {"N101"}

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


COVERAGE = {row[0]: row for row in table("maintainers/coverage.md")}


def test_every_id_is_there_once() -> None:
    ids = [row[0] for row in table("maintainers/coverage.md")]
    assert ids == [f"N{number:03}" for number in range(1, 196)]
    assert {len(row) for row in table("maintainers/coverage.md")} == {3}
    deviations = [row[0] for row in table("deviations.md")]
    assert len(set(deviations)) == len(deviations)
    assert all(re.fullmatch(r"D\d{2,}", each) for each in deviations)


def test_every_item_and_deviation_is_named_by_a_test_and_every_name_is_one(
    collected: dict[str, list[str]],
) -> None:
    ids = {row[0] for document in DOCUMENTS for row in table(document)}
    named = {each for ids in collected.values() for each in ids if each[0] in "ND"}
    assert sorted(ids - OUTSIDE - named) == [], "no test"
    assert sorted(named - (ids - OUTSIDE)) == [], "no such line"


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
    if row in OUTSIDE:
        assert cell.startswith("outside: ")
        return
    names = spans(cell)
    assert names
    assert ", ".join(f"`{name}`" for name in names) == cell
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
