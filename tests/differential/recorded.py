"""What Node does in each scenario, as the files in traces/ record it: one for each subject.

    PYUVNET_NODE=... python -m tests.differential.recorded [SUBJECT]...

records anew, with the Node on PATH or another one. Without Node, our traces are compared with the
recorded ones; `pytest --slow` also compares these with the Node that it finds. In a file, a line
`== NAME` begins a scenario. Each line below it names an object, and what that object saw follows
between bars, on further lines where one is too short. Bars and characters that would break a line
are escaped as in Python.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

from tests.support import play

HERE = Path(__file__).resolve().parent
FILES = sorted((HERE / "scenarios").glob("*.py"))
# What behaves as recorded: a Node that is older is compared where a scenario does not exclude it.
RECORDED = 26
WIDTH, INDENT, BAR, CONTINUED = 100, "  ", " | ", "\n      | "
Scenarios = dict[str, dict[str, Any]]


def _subject(file: Path) -> tuple[Scenarios, dict[str, str]]:
    """The scenarios of a file, and which lines of coverage.md and other pages they show."""
    spec = importlib.util.spec_from_file_location(f"scenarios_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.SCENARIOS, getattr(module, "SHOWS", {})


_subjects = {file.stem: _subject(file) for file in FILES}
SUBJECTS = {subject: scenarios for subject, (scenarios, _) in _subjects.items()}
SHOWS = {subject: shows for subject, (_, shows) in _subjects.items()}


def file_of(subject: str) -> Path:
    return HERE / "traces" / f"{subject}.txt"


def read(subject: str) -> dict[str, play.Traces]:
    """The recorded traces of a subject, by scenario."""

    def plain(text: str) -> str:
        return text.encode("ascii").decode("unicode_escape")

    found: dict[str, play.Traces] = {}
    # Nothing but a line feed ends a line here.
    lines = file_of(subject).read_text("ascii").removesuffix("\n").replace(CONTINUED, BAR)
    for line in lines.split("\n")[1:]:
        if line.startswith("== "):
            scenario = found[plain(line.removeprefix("== "))] = {}
        else:
            thing, *trace = map(plain, line.removeprefix(INDENT).split(BAR))
            scenario[thing] = trace
    return found


def write(subject: str, traces: dict[str, play.Traces], version: str) -> None:
    def escaped(text: str) -> str:
        return text.encode("unicode_escape").decode("ascii").replace("|", r"\x7c")

    lines = [f"What Node {version} does; see recorded.py"]
    for name, by_object in traces.items():
        lines.append(f"== {escaped(name)}")
        for thing, trace in by_object.items():
            line = INDENT + escaped(thing)
            for entry in map(escaped, trace):
                if len(line) + len(BAR) + len(entry) > WIDTH:
                    lines.append(line)
                    line = CONTINUED.removeprefix("\n") + entry
                else:
                    line += BAR + entry
            lines.append(line)
    file_of(subject).write_text("\n".join(lines) + "\n", "ascii")


def record(subject: str) -> None:
    scripts = SUBJECTS[subject]
    traces = play.play_on_node(list(scripts.values()))
    write(subject, dict(zip(scripts, traces, strict=True)), play.node_release())


if __name__ == "__main__":
    if play.NODE is None or play.node_version() < RECORDED:
        sys.exit(f"the traces are those of Node {RECORDED} or later: set PYUVNET_NODE")
    for each in sys.argv[1:] or SUBJECTS:
        record(each)
        print(f"{each}: {len(SUBJECTS[each])} scenarios")
