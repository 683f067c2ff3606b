"""The page sharp-edges.md explains each internal name of CPython, asyncio or libuv in use."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "maintainers" / "sharp-edges.md").read_text("utf-8")
SOURCES = [
    path for kind in ("py", "pyx", "pxd", "h") for path in (ROOT / "pyuvnet").rglob(f"*.{kind}")
]
# Private names, fields and slots; what counts as internal here.
INTERNAL = re.compile(
    r"""\b( _Py[A-Z]\w+ | ob_shash | ml_meth | ml_flags | tp_(?!name|new\b|basicsize)[a-z_]+
        | _asyncio_\w+ | _enter_task | _leave_task | _get_running_loop | _getframe
        | set_wakeup_fd | nwatchers | active_reqs | iocp | CLONE_V\w+ )\b""",
    re.X,
)
# Slots that are read, as the C API documents them.
READ_ONLY = {"tp_richcompare", "tp_hash", "tp_version_tag", "tp_vectorcall_offset"}


def used() -> dict[str, str]:
    """Return the internal names in the sources, each with a file that has it."""
    return {
        name: path.name
        for path in SOURCES
        for name in INTERNAL.findall(path.read_text("utf-8"))
        if name not in READ_ONLY
    }


def test_the_page_explains_every_internal_name() -> None:
    names = used()
    assert {"ob_shash", "_enter_task", "nwatchers", "tp_traverse"} <= set(names)
    assert {name: where for name, where in names.items() if name not in PAGE} == {}


def written() -> list[str]:
    return sorted(set(re.findall(r"`([\w./]+\.(?:pyx|pxd|py|h|toml|md))`", PAGE)))


@pytest.mark.parametrize("name", written())
def test_each_file_that_the_page_names_is_there(name: str) -> None:
    folders = ("", "pyuvnet", "pyuvnet/_core", "vendor/libuv")
    assert any((ROOT / folder / name).exists() for folder in folders)
