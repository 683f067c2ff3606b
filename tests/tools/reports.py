"""Reads valgrind's XML and prints the errors that are ours: python tests/tools/reports.py FILE

An error is ours if a frame of the core (which libuv is a part of) is on its stack. For values that
nobody initialised only if it is at the top, or below the C library's: CPython reads some itself, to
throw them away, and its own functions are below our callers then. Exits with 1 if there are any.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

OURS = "/pyuvnet/_core/_native"
SYSTEM = ("/libc", "vgpreload_")


def frames(error: ElementTree.Element) -> list[tuple[str, str]]:
    """(object, function and line) of each frame, innermost first."""
    found = []
    for frame in error.iter("frame"):
        where = frame.findtext("obj") or ""
        place = f"{frame.findtext('file') or where}:{frame.findtext('line') or '?'}"
        found.append((where, f"{frame.findtext('fn') or '?'} ({place})"))
    return found


def is_ours(kind: str, objects: list[str]) -> bool:
    if not kind.startswith("Uninit"):
        return any(OURS in each for each in objects)
    for each in objects:
        if not any(name in each for name in SYSTEM):
            return OURS in each
    return False


def errors(report: str) -> Iterator[tuple[str, str, list[str]]]:
    """(kind, text, stack) of each error that is ours, from valgrind's XML."""
    for error in ElementTree.fromstring(report).findall("error"):
        kind = error.findtext("kind") or ""
        stack = frames(error)
        if is_ours(kind, [each for each, _ in stack]):
            text = error.findtext("what") or error.findtext("xwhat/text") or ""
            yield kind, text, [line for _, line in stack]


def main(path: Path) -> int:
    report = path.read_text("utf-8", "replace")
    total = report.count("<error>")
    found = list(errors(report))
    for kind, text, stack in found:
        print(f"{kind}: {text}", *stack[:15], sep="\n    ")
    print(f"valgrind: {len(found)} of {total} reports have to do with the core")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
