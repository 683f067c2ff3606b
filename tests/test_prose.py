"""tools/prose.py finds words to avoid in texts, docstrings and comments, and none in code."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

TOOL = Path(__file__).parents[1] / "tools" / "prose.py"


@pytest.fixture
def prose(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("prose", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    return module


@pytest.mark.parametrize(
    ("name", "text", "lines"),
    [
        ("a.md", "One.\n\nWhoever connects is served.\n", [3]),
        ("a.md", "A phrase that goes over the end of a line: for\nwant of memory.\n", [1]),
        ("a.md", "- one\n\n- two shall\n  be found\n", [3]),
        ("a.md", 'Not in `whoever`, nor in "shall".\n\n```text\nshall\n```\n', []),
        ("a.md", "Nor in a word: shallow, marshall.\n", []),
        ("a.md", "As it is called in the source, resting. <!-- prose: ok -->\n", []),
        ("a.py", 'def f():\n    """One.\n\n    It tells of two.\n    """\n', [4]),
        ("a.py", 'SHALL = "shall"\n', []),
        ("a.py", "a = 1  # This is asked first.\n    # It\n    # shall\n    # end.\n", [1, 3]),
        ("a.pxd", "#: Bytes, but for\n#: the first.\ncdef int a\n", [1]),
        ("a.pyx", 'cdef f():\n    """One.\n\n    It gives up.\n    """\n', [4]),
    ],
)
def test_words_to_avoid(
    prose: ModuleType, tmp_path: Path, name: str, text: str, lines: list[int]
) -> None:
    path = tmp_path / name
    path.write_text(text, "utf-8")
    found = list(prose.found_in(path))
    assert [int(problem.split(":")[1]) for problem in found] == lines


def test_each_entry_says_what_to_write_instead(prose: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_text("The server gives\nup.\n", "utf-8")
    assert list(prose.found_in(path)) == ["a.md:1: 'gives up': fails; stops; drops"]
