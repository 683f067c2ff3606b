"""Every rule of the pages of rules is named by a test, and every name is a rule."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs" / "maintainers"
PAGES = ["streams-rules.md", "operations-rules.md"]

# For the tests to be collected, which takes its time on a busy machine.
pytestmark = pytest.mark.timeout(250)


def rules() -> dict[str, str]:
    """What each rule says, by its id."""
    found: dict[str, str] = {}
    lines = [line for page in PAGES for line in (DOCS / page).read_text("utf-8").splitlines()]
    for line in lines:
        if line.startswith("- "):
            match = re.fullmatch(r"- ([SORP][\d.]+-\d\d): (\S.*)", line)
            assert match, f"not of the form '- id: rule': {line}"
            assert match[1] not in found, f"{match[1]} stands there twice"
            found[match[1]] = match[2]
    return found


@pytest.fixture(scope="module")
def named(collected: dict[str, list[str]]) -> dict[str, list[str]]:
    """The ids that tests name, with those tests."""
    found: dict[str, list[str]] = {}
    for test, ids in collected.items():
        for each in ids:
            # Those of tests/test_coverage.py begin with other letters.
            if each[0] in "SORP":
                found.setdefault(each, []).append(test)
    return found


def test_rules_are_numbered_without_gaps() -> None:
    by_section: dict[str, list[int]] = {}
    for each in rules():
        section, _, number = each.rpartition("-")
        by_section.setdefault(section, []).append(int(number))
    for section, numbers in by_section.items():
        assert numbers == list(range(1, len(numbers) + 1)), section


def test_every_rule_is_named_by_a_test(named: dict[str, list[str]]) -> None:
    missing = [f"{each}: {text}" for each, text in rules().items() if each not in named]
    assert not missing, "rules without a test:\n" + "\n".join(missing)


def test_every_name_is_a_rule(named: dict[str, list[str]]) -> None:
    unknown = {each: tests for each, tests in named.items() if each not in rules()}
    assert unknown == {}
