"""Registries: what there is one of many of, and that no place which each needs was forgotten.

CONTRIBUTING.md ("How to add ...") has the places. A test here names the file that lacks something.
"""

from __future__ import annotations

import ast
import re
import runpy
from pathlib import Path

import pytest

from pyuvnet import EventEmitter, Readable, Server, Socket, Writable, _core, framing, tls
from pyuvnet._base.names import to_node
from pyuvnet._base.option_table import OPTIONS, option_set
from pyuvnet._core import overlay as _overlay
from pyuvnet._core import tls as _core_tls
from pyuvnet._core.layer import Layer
from pyuvnet._tls.rules import UNAVAILABLE
from tests.support.frames import DESCRIBED

ROOT = Path(__file__).resolve().parent.parent
STUBS = runpy.run_path(str(ROOT / "tools" / "stubs.py"))


def text_of(path: str) -> str:
    return (ROOT / path).read_text("utf-8")


def lacking(places: dict[str, bool], what: str) -> None:
    """Fail with the places that lack something."""
    forgotten = [f"{place} lacks {what}" for place, has in places.items() if not has]
    assert not forgotten, "; ".join(forgotten)


# ---- Framings ------------------------------------------------------------------------------------

FRAMINGS = framing.Framing.__subclasses__()
FRAMING_STUBS = {
    each.name: each
    for each in ast.parse(text_of("pyuvnet/_core/framings.pyi")).body
    if isinstance(each, ast.ClassDef)
}


@pytest.mark.parametrize("kind", FRAMINGS)
def test_a_framing_is_in_each_place(kind: type) -> None:
    name, doc = kind.__name__, kind.__doc__ or ""
    lacking(
        {
            "pyuvnet/framing.py": name in framing.__all__ and hasattr(framing, name),
            "pyuvnet/_core/framings.pyi": name in FRAMING_STUBS,
            "tests/support/frames.py": kind in DESCRIBED,
            "CHANGELOG.md": f"`{name}`" in text_of("CHANGELOG.md"),
        },
        name,
    )
    for section in ("Frame", "Limit", "Node"):
        assert f"    {section}: " in doc, f"the docstring of {name} lacks its section {section}"
    functions = {each.name: each for each in FRAMING_STUBS[name].body if hasattr(each, "args")}
    properties = {each for each in vars(kind) if each.islower() and not each.startswith("_")}
    lacking({"pyuvnet/_core/framings.pyi": properties <= set(functions)}, f"a property of {name}")
    options = {each.arg for each in functions["__init__"].args.kwonlyargs}
    assert options == set(option_set(name)), f"option_table.py, or framings.pyi: options of {name}"


@pytest.mark.parametrize("kind", FRAMINGS)
def test_the_description_of_a_framing_is_of_that_framing(kind: type) -> None:
    each = DESCRIBED[kind]
    rows = [*each.streams, *each.written, *each.refused, *each.too_long, *each.invalid]
    forms = [*each.forms, *(row[0] for row in [*rows, *each.incomplete, each.promise])]
    assert {type(form) for form in forms} == {kind}
    # What each has, the rest depends on it.
    assert each.forms
    assert each.streams
    assert each.written


# ---- Options -------------------------------------------------------------------------------------

# Options that neither table of what is covered names: those of framings, whose reference has them,
# and those of Node's streams, which are there as one.
UNLISTED = {"byteorder", "includes_itself", "keep_delimiter", "strip_cr"} | {
    *("auto_destroy", "construct", "default_encoding", "emit_close", "final", "flush", "writev"),
    *("object_mode", "readable_object_mode", "writable_object_mode"),
    *("connection_listener", "readable_high_water_mark", "writable_high_water_mark"),
}
MADE = {"Socket": Socket, "Server": Server}


def words_of(*patterns: str, but: tuple[str, ...] = ()) -> set[str]:
    """All words in some files."""
    files = {path for pattern in patterns for path in ROOT.glob(pattern) if path.name not in but}
    return {word for path in files for word in re.findall(r"\w+", path.read_text("utf-8"))}


def test_an_option_is_in_each_place() -> None:
    package = "\n".join(
        path.read_text("utf-8")
        for path in [*(ROOT / "pyuvnet").rglob("*.py"), *(ROOT / "pyuvnet").rglob("*.pyx")]
        if path.name not in ("option_table.py", "keywords.py")
    )
    read = set(re.findall(r'"(\w+)"', package)) | {row[0] for row in OPTIONS if row[6:]}
    listed = words_of("docs/maintainers/coverage*.md", "docs/deviations*.md") | UNLISTED
    tested = words_of("tests/**/*.py", but=("test_registries.py",)) | {*UNAVAILABLE}
    for name in sorted({row[0] for row in OPTIONS}):
        spellings = {name, to_node(name)}
        lacking(
            {
                "pyuvnet/ (no function reads it, and no check and method are in its row)": name
                in read,
                "docs/maintainers/coverage.md (if Node has it) or docs/deviations.md": bool(
                    spellings & listed
                ),
                "tests/": bool(spellings & tested),
            },
            f"the option {name}",
        )


def test_what_sets_an_option_is_there() -> None:
    rows = [row for row in OPTIONS if row[6:]]
    assert rows
    for name, functions, *_, method in rows:
        for function in functions.split():
            assert function in MADE, f"{function}() does not apply the check and method of {name}"
            assert hasattr(MADE[function], method), f"{function} lacks {method}, which sets {name}"


def test_each_function_of_the_table_of_options_documents_them_once() -> None:
    files = [path.read_text("utf-8") for path in STUBS["files"]()]
    for function in STUBS["FUNCTIONS"]:
        found = [
            text[slice(*place)] for text in files if (place := STUBS["docstring"](function, text))
        ]
        assert found, f"no docstring has the options of {function}(); see DOCUMENTED in stubs.py"
        (doc,) = found
        entries = re.findall(r"^ +(\w+(?:, \w+)*): ", doc, re.M)
        named = [name for entry in entries for name in entry.split(", ")]
        for row in STUBS["rows"](function):
            assert named.count(row[0]) == bool(row[3]), (function, row[0])


def test_what_is_generated_is_up_to_date() -> None:
    stale = [str(path.relative_to(ROOT)) for path in STUBS["files"]() if STUBS["stale"](path)]
    assert not stale, f"run python tools/stubs.py, which writes {', '.join(stale)}"


# ---- Events --------------------------------------------------------------------------------------

TABLE = runpy.run_path(str(ROOT / "tools" / "event_table.py"))
# The classes whose docstrings list the events of a class of the table.
SHOWN: dict[str, tuple[type, ...]] = {
    "Readable": (Readable,),
    "Writable": (Writable,),
    "SocketBase": (Socket, tls.TLSSocket),
    "ServerBase": (Server, tls.Server, EventEmitter),
}
OWN_EVENTS = [(name, event) for name in SHOWN for event in TABLE["EVENTS"][name][1]]
EMITTED = re.compile(r'\b(?:intern_event|_?emit\w*|_announce)\(\s*"(\w+)"')


def test_an_event_is_in_each_place() -> None:
    # Two of Node's are in no line of their own.
    listed = words_of("docs/maintainers/coverage*.md", "docs/deviations*.md") | {
        "newListener",
        "unpipe",
    }
    tested = words_of("tests/**/*.py", but=("test_registries.py",))
    sources = [*(ROOT / "pyuvnet").rglob("*.py"), *(ROOT / "pyuvnet/_core").glob("*.pyx")]
    emitted = {event for path in sources for event in EMITTED.findall(path.read_text("utf-8"))}
    for name, event in OWN_EVENTS:
        docs = " ".join(each.__doc__ or "" for each in SHOWN[name])
        lacking(
            {
                "pyuvnet/ (nothing emits it)": event in emitted,
                f"the docstring of {SHOWN[name][0].__name__}, after Events:": f"'{event}'" in docs,
                "docs/maintainers/coverage.md (if Node has it) or docs/deviations.md": event
                in listed,
                "tests/": event in tested,
                "tools/event_table.py (a sentence)": bool(TABLE["EVENTS"][name][1][event][1]),
            },
            f"the event '{event}' of {name}",
        )


def test_an_event_that_the_core_emits_or_a_docstring_names_is_in_the_table() -> None:
    known = {event for _, own in TABLE["EVENTS"].values() for event in own}
    for path in (ROOT / "pyuvnet" / "_core").glob("*.pyx"):
        for event in EMITTED.findall(path.read_text("utf-8")):
            lacking({"tools/event_table.py": event in known}, f"'{event}' of {path.name}")
    for kind in {kind for kinds in SHOWN.values() for kind in kinds}:
        text = re.search(r"^( +)Events:.*(?:\n\1 +\S.*)*", kind.__doc__ or "", re.M)
        assert text is not None, kind
        for event in re.findall(r"'(\w+)'", text[0]):
            lacking({"tools/event_table.py": event in known}, f"'{event}' of {kind.__name__}")


# ---- Layers --------------------------------------------------------------------------------------

CORE = ROOT / "pyuvnet" / "_core"
LAYERS = Layer.__subclasses__()
# Which are loaded when they are first needed.
assert {_core_tls.TLS, _overlay.Overlay} <= set(LAYERS)
# What the tests of a layer call.
USED_BY = {"Passing": "send_handle", "Overlay": "test_over_any_duplex_stream"}


def test_a_module_of_the_core_is_in_each_place() -> None:
    page = text_of("docs/maintainers/design.md")
    table = page[page.index("| layer | owns |") : page.index("Above the core, in Python")]
    named = {each for line in table.splitlines() for each in re.findall(r"`(\w+)`", line[:200])}
    for name in {path.stem for path in CORE.rglob("*.pyx")} - {"_native"}:
        places = {
            "LAYERS in pyuvnet/_core/__init__.py": name in _core.LAYERS,
            "the table in docs/maintainers/design.md": name in named,
        }
        lacking(places, f"the module {name}")


@pytest.mark.parametrize("kind", LAYERS)
def test_a_layer_is_in_each_place(kind: type) -> None:
    name = kind.__module__.rpartition(".")[2]
    (source,) = CORE.rglob(f"{name}.pyx")
    tested = words_of("tests/core/*.py", "tests/*.py", but=("test_registries.py",))
    lacking(
        {
            f"{name}.pyx (seal({kind.__name__}) at its end)": f"seal({kind.__name__})"
            in source.read_text("utf-8"),
            "tests/core/ (a test of it)": (ROOT / f"tests/core/test_{name}.py").exists()
            or bool({kind.__name__, USED_BY.get(kind.__name__)} & tested),
        },
        kind.__name__,
    )
    for refused in (kind, lambda: type("Own", (kind,), {})):
        with pytest.raises(TypeError):
            refused()


# ---- What CONTRIBUTING.md says of them -----------------------------------------------------------


def test_the_lists_of_files_name_at_most_six_which_are_there() -> None:
    text = text_of("CONTRIBUTING.md").partition("## How to add an option, an event")[2]
    sections = re.split(r"^### ", text.partition("\n## ")[0], flags=re.M)[1:]
    assert [each.splitlines()[0] for each in sections] == [
        *("An option", "An event", "A framing", "A layer"),
    ]
    for section in sections:
        rows = re.findall(r"^\| (.*?) \|", section, re.M)[1:]
        assert 1 < len(rows) <= 6, section
        for path in re.findall(r"`([\w/]+\.\w+)`", " ".join(rows)):
            assert (ROOT / path).exists() or "thing" in path, path
