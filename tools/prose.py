"""A linter of our English: words and phrases that a reader stumbles over.

    python tools/prose.py              the documentation, README.md and its like, and the docstrings
                                       and comments of all sources
    python tools/prose.py FILE...      only these

Prints each place with what to write instead, and exits with 1 if there is one. AVOID is the list;
add to it what a review has found twice. Code, and text in backticks or quotes, is skipped, and so
is a line that ends in `<!-- prose: ok -->`. codespell checks the spelling.

It does what a Vale style of substitutions would do. Vale's package downloads a program when it
first runs, and this has to run without a network.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
PAGES = ["*.md", "docs/**/*.md", "docs/**/*.rst", "bench/README.md"]
FOLDERS = ["pyuvnet", "tests", "bench", "examples", "tools", "docs"]
SOURCES = ["*.py", "vendor/libuv/*.py", *(f"{folder}/**/*.py" for folder in FOLDERS)]
SOURCES += ["pyuvnet/**/*.pyx", "pyuvnet/**/*.pxd"]

# What to avoid, as a regular expression that matches whole words, and what to write instead.
AVOID = {
    r"tells? of": "reports; describes",
    r"(?:is|are) told": "is notified; is reported",
    r"(?:is|are) asked": "name who asks, or what is read or called",
    r"giv(?:es?|ing) up|gave up": "fails; stops; drops",
    r"who(?:m)?ever": "anyone who; the program that; name them",
    r"shall": "must; will",
    r"for want of": "because of a lack of; (EMFILE)",
    r"for whom": "who it's for",
    r"start(?:s|ed)? it by": "start it with",
    r"lets? go|letting go": "releases; drops",
    r"complain(?:s|ed|er|ing)?": "reports; raises",
    r"accus(?:e|es|ed|ing)": "names; reports",
    r"resting": "idle; paused",
    r"owed": "due; pending",
    r"brought": "delivered; sent; moved",
    r"shed(?:s|ding)?": "drops; closes",
    r"all the same": "anyway; nevertheless",
    r"if need be": "if necessary",
    r"as it were": "(leave it out)",
    r"in vain": "without success; without effect",
    r"now and then": "from time to time; periodically",
    r"in order to": "to",
    r"come about": "happened; occurred",
    r"but for": "except for",
    r"has to do with": "is related to; concerns",
    r"who wants": "to get; if you want",
    r"so that nobody": "to prevent",
    r"utili[sz]e[sd]?": "use",
    r"obviously|basically": "(leave it out)",
    r"hereby|thereof|wherefrom|therein|whereof": "(rewrite)",
    r"what it began": "what it started",
    r"a hole": "a vulnerability",
    r"the administrator": "root; elevated privileges",
    r"beside": "alongside; next to; with",
}
COMMENT = re.compile(r"^[ ]*#[^\n]*(?:\n[ ]*#[^\n]*)*|(?<=[ ]{2})#[ ][^\n]*", re.M)
# \1 stands for the end of a line within a paragraph.
WORDS = "|".join(f"({words})" for words in AVOID).replace(" ", "[ \1]")
PATTERN = re.compile(rf"(?<![\w'-])(?:{WORDS})(?![\w'-])", re.IGNORECASE)
FENCE = re.compile(r"^([ ]*)(```+|~~~+|:::+)[^\n]*\n.*?^\1\2[ ]*$", re.M | re.S)
NOT_PROSE = [
    re.compile(r"^---\n.*?^---$", re.M | re.S),
    FENCE,
    re.compile(r"^.*<!-- prose: ok -->$", re.M),
    re.compile(r"`+[^`]+`+"),
    re.compile(r"(?<![\w])\"[^\"\n]+\""),
    re.compile(r"\]\([^)\s]+\)"),
    re.compile(r"https?://\S+"),
]


def blank(text: str) -> str:
    """As many lines and columns, and nothing in them."""
    return re.sub(r"[^\n]", "\0", text)


def prose(text: str) -> str:
    """The text of a page, with blanks for what is code, a quotation or an address."""
    for pattern in NOT_PROSE:
        text = pattern.sub(lambda found: blank(found[0]), text)
    return text


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """The docstrings of a source file, and the lines where they begin."""
    text = path.read_text("utf-8")
    if path.suffix == ".py":
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body
                if body and isinstance(body[0], ast.Expr):
                    value = body[0].value
                    if isinstance(value, ast.Constant) and isinstance(value.value, str):
                        yield value.lineno, value.value
    else:
        # Cython has no parser that could be imported here without Cython.
        for found in re.finditer(r'^[ ]*r?"""(.*?)"""', text, re.M | re.S):
            yield text.count("\n", 0, found.start()) + 1, found[1]


def comments(path: Path) -> Iterator[tuple[int, str]]:
    """The comments of a source file, those of several lines as one, and the lines they begin at."""
    text = path.read_text("utf-8")
    if path.suffix == ".py":
        # Only these, since strings may hold what looks like a comment.
        lines = [""] * (text.count("\n") + 1)
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT:
                alone = not token.line[: token.start[1]].strip()
                lines[token.start[0] - 1] = token.string if alone else f"  {token.string}"
        text = "\n".join(lines)
    for found in COMMENT.finditer(text):
        block = re.sub(r"^[ ]*#:?[ ]?", "", found[0], flags=re.M)
        yield text.count("\n", 0, found.start()) + 1, block


def found_in(path: Path) -> Iterator[str]:
    whole = path.suffix in (".md", ".rst")
    texts = [(1, path.read_text("utf-8"))] if whole else [*docstrings(path), *comments(path)]
    for first, text in texts:
        for found in PATTERN.finditer(re.sub(r"(?<=\S)\n[ ]*(?=\S)", one_line, prose(text))):
            line = (
                first
                + found.string.count("\n", 0, found.start())
                + found.string.count("\1", 0, found.start())
            )
            instead = list(AVOID.values())[(found.lastindex or 1) - 1]
            words = found[0].replace("\1", " ")
            yield f"{path.relative_to(ROOT)}:{line}: {words!r}: {instead}"


def one_line(found: re.Match[str]) -> str:
    """A phrase may be broken between two lines of a paragraph."""
    return "\1"


def main() -> int:
    paths = [Path(name).resolve() for name in sys.argv[1:]] or [
        path for pattern in PAGES + SOURCES for path in sorted(ROOT.glob(pattern))
    ]
    problems = [problem for path in paths for problem in found_in(path)]
    print("\n".join(problems) or f"{len(paths)} files: nothing to mend")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
