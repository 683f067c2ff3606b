"""What a release changes in the tree, and what has to agree before one is published.

    python tools/release.py prepare 0.2.0     version and changelog, dated today
    python tools/release.py check v0.2.0      do tag, version, changelog agree? (and an address)
    python tools/release.py notes             the changelog's section for this version

RELEASING.md has the steps around it.
"""

from __future__ import annotations

import argparse
import datetime
import re
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent
VERSION, CHANGELOG = ROOT / "pyuvnet" / "_base" / "version.py", ROOT / "CHANGELOG.md"
PROJECT = ROOT / "pyproject.toml"
FORM = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(rc[1-9]\d*)?")
KINDS = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")


class ReleaseError(Exception):
    """Something does not agree; the text is for the user."""


def order(version: str) -> tuple[int, int, int, float]:
    """Return what sorts versions: a candidate comes before its release."""
    match = FORM.fullmatch(version)
    if match is None:
        raise ReleaseError(f"{version!r} is not of the form 1.2.3 or 1.2.3rc1")
    major, minor, patch, candidate = match.groups()
    last = float(candidate[2:]) if candidate else float("inf")
    return int(major), int(minor), int(patch), last


def current() -> str:
    """Return the version in the tree."""
    match = re.fullmatch(r'__version__ = "(.+)"\n', VERSION.read_text("utf-8"))
    if match is None:
        raise ReleaseError(f"{VERSION.name} is not one line that sets __version__")
    return match[1]


def sections(text: str) -> dict[str, tuple[str, str]]:
    """Return date and body of each section of the changelog, by version or "Unreleased"."""
    found: dict[str, tuple[str, str]] = {}
    parts = re.split(r"^## \[(.+?)\](?: - (\S+))?\n", text, flags=re.M)[1:]
    for name, date, body in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        if name in found:
            raise ReleaseError(f"the changelog has two sections [{name}]")
        found[name] = (date or "", body.strip())
    if next(iter(found), None) != "Unreleased":
        raise ReleaseError("the changelog does not begin with ## [Unreleased]")
    for name, (_, body) in found.items():
        kinds = re.findall(r"^### (.+)$", body, flags=re.M)
        if kinds != [kind for kind in KINDS if kind in kinds]:
            raise ReleaseError(f"[{name}] has the headings {kinds}; there are {', '.join(KINDS)}")
    return found


def prepare(version: str, today: datetime.date) -> None:
    """Set the version, and date what was unreleased."""
    text = CHANGELOG.read_text("utf-8")
    known = sections(text)
    if order(version) < order(current()):
        raise ReleaseError(f"{version} is before {current()}")
    if version in known:
        raise ReleaseError(f"the changelog has a section [{version}] already")
    if not known["Unreleased"][1]:
        raise ReleaseError("nothing is unreleased, says the changelog")
    heading = "## [Unreleased]\n"
    dated = f"{heading}\n## [{version}] - {today.isoformat()}\n"
    CHANGELOG.write_text(text.replace(heading, dated, 1), "utf-8")
    VERSION.write_text(f'__version__ = "{version}"\n', "utf-8")


def check(tag: str) -> None:
    """Raise ReleaseError if what is tagged should not be published."""
    version, known = current(), sections(CHANGELOG.read_text("utf-8"))
    order(version)
    if tag != f"v{version}":
        raise ReleaseError(f"the tag is {tag}, but {VERSION.name} says {version}")
    date, body = known.get(version, ("", ""))
    if not date or not re.search(r"^- \S", body, flags=re.M):
        raise ReleaseError(f"the changelog has no dated section [{version}] that lists changes")
    datetime.date.fromisoformat(date)
    check_address()
    if known["Unreleased"][1]:
        raise ReleaseError("the changelog lists changes as unreleased that this release has")


def check_address() -> None:
    """Raise ReleaseError if links on the package index would lead nowhere."""
    address = tomllib.loads(PROJECT.read_text("utf-8"))["tool"]["pyuvnet"]["PROJECT_URL"]
    parts = urlsplit(address)
    host = parts.hostname or ""
    if parts.scheme != "https" or "." not in host or host.endswith(".invalid"):
        raise ReleaseError(f"PROJECT_URL in {PROJECT.name} is {address!r}, no public address")
    if address.endswith("/"):
        raise ReleaseError(f"PROJECT_URL in {PROJECT.name} ends with a slash: {address!r}")


def notes() -> str:
    """Return the changelog's section for the version in the tree."""
    return sections(CHANGELOG.read_text("utf-8"))[current()][1]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("prepare", help="set version and date").add_argument("version")
    commands.add_parser("check", help="compare tag, version, changelog").add_argument("tag")
    commands.add_parser("notes", help="print this version's changes")
    options = parser.parse_args(arguments)
    try:
        if options.command == "prepare":
            prepare(options.version, datetime.datetime.now(datetime.UTC).date())
            print(f"{VERSION.name} and {CHANGELOG.name} say {options.version}; see RELEASING.md")
        elif options.command == "check":
            check(options.tag)
            print(f"{options.tag}: version and changelog agree")
        else:
            print(notes())
    except (ReleaseError, KeyError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
