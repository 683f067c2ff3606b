"""Adds the tests that show an item, a deviation or a rule to the pages that list them.

A test names what it shows with `pytest.mark.spec("N042")`; the pages hold the ids alone, so that a
test may be renamed or moved. The files of scenarios in tests/differential have a mapping of their
own for this, SHOWS. The tests are parsed, not imported. tests/test_coverage.py checks that this
finds what pytest collects, and that every id has a test.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SCENARIO = "tests/differential/test_differential.py::test_every_object_sees_what_it_sees_on_node"
SCRIPT = "tests/differential/test_streams.py::test_a_stream_of_the_programs_does_as_nodes"
# The pages, with what begins a line about an id.
PAGES = {
    "coverage": re.compile(r"\| (N\d+) \|"),
    "deviations": re.compile(r"\| (D\d+) \|"),
    "streams-rules": re.compile(r"- ([SOR][\d.]+-\d\d): "),
    "operations-rules": re.compile(r"- (P[\d.]+-\d\d): "),
}


@functools.cache
def tests() -> dict[str, list[str]]:
    """The tests that name each id, as 'tests/test_x.py::test_y'."""
    found: dict[str, list[str]] = {}
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        for function in ast.parse(file.read_text("utf-8")).body:
            if not isinstance(function, ast.FunctionDef):
                continue
            name = f"{file.relative_to(ROOT).as_posix()}::{function.name}"
            for mark in function.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.spec":
                    for argument in mark.args:
                        found.setdefault(ast.literal_eval(argument), []).append(name)
    for file in sorted((ROOT / "tests/differential/scenarios").glob("*.py")):
        for scenario, ids in _shows(file):
            for each in ids.split():
                found.setdefault(each, []).append(f"{SCENARIO}[{file.stem}: {scenario}]")
    for script, ids in _shows(ROOT / "tests/differential/test_streams.py"):
        for each in ids.split():
            found.setdefault(each, []).append(f"{SCRIPT}[{script}]")
    return found


def _shows(file: Path) -> Iterator[tuple[str, str]]:
    """The scenarios of a file that name what they show, with the ids."""
    for statement in ast.parse(file.read_text("utf-8")).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "SHOWS":
            yield from ast.literal_eval(statement.value).items()


def add_tests(page: str, text: str) -> str:
    """The text of a page, with the tests added to each line about an id."""
    lines = text.splitlines()
    for at, line in enumerate(lines):
        if begins := PAGES[page].match(line):
            shown = ", ".join(f"`{test}`" for test in tests().get(begins[1], []))
            if page.endswith("-rules"):
                lines[at] = f"{line} ({shown})"
            else:
                lines[at] = f"{line} {shown} |"
        elif line.startswith("|"):
            # The head of a table, and the line below it.
            lines[at] += "---|" if set(line) <= set("|-") else " shown by |"
    return "\n".join(lines) + "\n"


def _on_source_read(app: Any, page: str, source: list[str]) -> None:
    if page in PAGES:
        source[0] = add_tests(page, source[0])


def setup(app: Any) -> dict[str, Any]:
    app.connect("source-read", _on_source_read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
