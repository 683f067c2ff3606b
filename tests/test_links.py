"""Links: those of the files that are read where the sources are, and what tools/links.py finds.

It checks those of the built site, in .ci/run.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cases import cases

ROOT = Path(__file__).resolve().parent.parent
TOOL = ROOT / "tools" / "links.py"
CODE = re.compile(r"^```.*?^```", re.M | re.S)


def checked(site: Path) -> tuple[int, list[str]]:
    done = subprocess.run([sys.executable, TOOL, site], capture_output=True, text=True)
    return done.returncode, done.stdout.splitlines()


def test_links_that_lead_somewhere(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "plot one.svg").write_text("<svg/>")
    (tmp_path / "index.html").write_text(
        '<h1 id="top">A</h1><a href="#top">b</a><a href="sub/page.html#here">c</a>'
        '<img src="plot%20one.svg"><a href="https://nodejs.org/api/net.html#x">d</a>'
        '<img src="data:image/png;base64,">'
    )
    (tmp_path / "sub" / "page.html").write_text('<p id="here"><a href="../index.html">e</a>')
    assert checked(tmp_path) == (0, ["all links lead somewhere"])


def test_links_that_do_not(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(
        '<a href="#nowhere">a</a><a href="gone.html">b</a><img src="gone.png">'
        '<a href="http://nodejs.org">c</a><link href="gone.css"><a href="https:///path">d</a>'
    )
    assert checked(tmp_path) == (
        1,
        [
            "index.html: #nowhere: no such anchor",
            "index.html: gone.css: no such file",
            "index.html: gone.html: no such file",
            "index.html: gone.png: no such file",
            "index.html: http://nodejs.org: not an https address",
            "index.html: https:///path: not an https address",
        ],
    )


def test_a_folder_without_pages(tmp_path: Path) -> None:
    assert checked(tmp_path) == (1, [f"{tmp_path}: no pages"])


READ_AS_FILES = [
    *("README.md", "CHANGELOG.md", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "RELEASING.md"),
    *("SECURITY.md", "bench/README.md", "bench/results/reference/README.md", "examples/README.md"),
    *("vendor/libuv/README.md", ".github/pull_request_template.md"),
    *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs" / "maintainers").glob("*.md"))),
]


def anchors_of(page: Path) -> set[str]:
    """What a heading is called in a link to it, as code hosts make it."""
    text = CODE.sub("", page.read_text("utf-8"))
    heads = re.findall(r"^#+ +(.*?) *$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@cases("page", READ_AS_FILES)
def test_links_of_what_is_no_page_of_the_site_lead_somewhere(page: str) -> None:
    path = ROOT / page
    if not path.exists() and "results" in page:
        pytest.skip("no run is published")
    missing = []
    for link in re.findall(r"\]\(([^)\s]+)\)", CODE.sub("", path.read_text("utf-8"))):
        if "://" in link:
            if not link.startswith("https://"):
                missing.append(link)
            continue
        place, _, anchor = link.partition("#")
        target = path.parent / place if place else path
        if not target.exists() or (anchor and anchor not in anchors_of(target)):
            missing.append(link)
    assert missing == []
