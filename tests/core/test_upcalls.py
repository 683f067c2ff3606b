"""The one table of what the core calls in the Python facade, and its documentation."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from pyuvnet._core import upcalls

ROOT = Path(__file__).resolve().parents[2]
SECTION = "## Calls that go up\n"


def documented() -> list[tuple[str, ...]]:
    """The rows of the section's tables."""
    text = (ROOT / "docs/maintainers/design.md").read_text("utf-8")
    section = text.partition(SECTION)[2].partition("\n## ")[0]
    rows = [tuple(line.strip("| ").split(" | ")) for line in re.findall(r"^\|.*$", section, re.M)]
    return [row for row in rows if row[0].startswith("`")]


def test_the_facade_provides_every_function() -> None:
    assert upcalls.missing() == []


@pytest.mark.parametrize("table", ["FUNCTIONS", "METHODS"])
def test_the_documentation_lists_every_call_as_the_table_does(table: str) -> None:
    rows = [row for row in documented() if len(row) == 2 and ("." in row[0].split("(")[0])]
    if table == "FUNCTIONS":
        rows = [row for row in documented() if len(row) == 2 and row not in rows]
    listed = [f"{name}: {when}" for name, when in rows]
    calls: dict[str, str] = getattr(upcalls, table)
    assert listed == [
        f"`{name}{text.split(': ', 1)[0]}`: {text.split(': ', 1)[1]}"
        for name, text in calls.items()
    ]


def test_the_documentation_lists_every_c_function() -> None:
    source = (ROOT / "pyuvnet/_core/upcalls.pxd").read_text("utf-8")
    fields = re.findall(r"\(\*(\w+)\)\(.*# (\w+): (.*)$", source, re.M)
    struct = source.partition("cdef struct LaterCalls:\n")[2].partition("\n\n")[0]
    assert len(fields) == len(struct.splitlines()) > 0
    assert [row for row in documented() if len(row) == 3] == [
        (f"`{name}`", module, when) for name, module, when in fields
    ]
    for name, module, _ in fields:
        text = (ROOT / f"pyuvnet/_core/{module}.pyx").read_text("utf-8")
        assert re.search(rf"^later\.{name} = ", text, re.M), module


def test_every_function_is_called_by_the_core() -> None:
    sources = "".join(path.read_text("utf-8") for path in (ROOT / "pyuvnet/_core").glob("*.pyx"))
    names = re.findall(r"upcall\(([A-Z_]+)\)", sources)
    assert {name.lower() for name in names} == set(upcalls.FUNCTIONS)


def test_an_unknown_name_is_refused_and_nothing_is_set() -> None:
    before = upcalls.missing()
    with pytest.raises(TypeError, match="unknown names: hint, typo"):
        upcalls.provide(typo=print, hint=print, enter_stream=None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="enter_stream, which is not callable"):
        upcalls.provide(enter_stream=None)  # type: ignore[arg-type]
    assert upcalls.missing() == before


def test_a_call_that_nobody_has_provided_names_what_is_missing(run_child: Any) -> None:
    child = run_child(
        """
        import sys, types

        # The compiled core alone: the package without what its __init__ does.
        package = types.ModuleType("pyuvnet")
        package.__path__ = [PATH]
        sys.modules["pyuvnet"] = package
        from pyuvnet._core import upcalls
        from pyuvnet._core.writable import Writable

        print(len(upcalls.missing()) == len(upcalls.FUNCTIONS))
        try:
            Writable().drained()
        except RuntimeError as error:
            print(error)
        """.replace("PATH", repr(str(ROOT / "pyuvnet")))
    )
    lines = child.clean().out.splitlines()
    assert lines[0] == "True"
    assert lines[1].endswith("have to provide " + ", ".join(upcalls.FUNCTIONS))


# Methods that a program's streams provide (docs/maintainers/streams-rules.md).
STREAM_METHODS = {"_read", "_write", "_writev", "_final", "_destroy", "_construct"}
STANDARD_LIBRARY = {"_getframe", "_must_cancel", "_fut_waiter", "_asyncio_future_blocking"}
STANDARD_LIBRARY |= {"_sslobj", "_msg_callback", "_wrap_bio"}


def undefined(sources: list[str]) -> set[str]:
    """The private attributes that the code reads and does not define."""
    code = re.sub(r'""".*?"""|#[^\n]*', "", "\n".join(sources), flags=re.S)
    read = set(re.findall(r"\.(_[a-z]\w*)", re.sub(r"^\s*from .*$", "", code, flags=re.M)))
    read.update(re.findall(r'(?:get|has)attr\([^"\n]*"(_[a-z]\w*)"', code))
    defined = set(re.findall(r"(?:def|cdef|cpdef) [^(\n]*?(_\w+)\(", code))
    for fields in re.findall(r"^\s+cdef (?:readonly |public )?[\w.]+\*{0,2} (.*)$", code, re.M):
        defined.update(re.findall(r"\w+", fields))
    return read - defined


def test_the_core_reads_no_name_that_only_python_defines() -> None:
    files = [*(ROOT / "pyuvnet/_core").glob("*.pyx"), *(ROOT / "pyuvnet/_core").glob("*.pxd")]
    sources = [path.read_text("utf-8") for path in files]
    assert undefined(sources) <= STREAM_METHODS | STANDARD_LIBRARY
    planted = [
        'cdef int f(self):\n    self._planted()\n    return getattr(self, "_planted_too", 0)\n'
    ]
    assert {"_planted", "_planted_too"} <= undefined(sources + planted)
