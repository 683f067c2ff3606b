"""Every code block of the documentation and of README.md is run, as its reader would run it.

What a block is for stands after its language; readers do not see it:

    ```python                      run by itself; it ends by itself, and complains of nothing
    ```python file=server.py       saved under that name for later blocks of the page, and run
    ```python file=app.py saved    saved only: a later block runs it
    ```python background           started, and ended by SIGTERM when the page is over
    ```python same                 prints what the block before printed: two programs side by side
    ```python norun: why           not run; tests/test_docs.py counts them
    ```js                          run by node, where it is on PATH
    ```sh run                      run by bash, next to the saved files
    ```text output                 what the block before printed; a background one, its next lines

The ports of PORTS are others while the blocks run. Each page is a test, in a folder of its own.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import pyuvnet

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"])
NODE = shutil.which("node")
BASH = shutil.which("bash")
SECONDS = 40
# What a page's programs import or start, apart from what is always there.
NEEDS = {"docs/guide/frameworks.md": ["aiohttp", "fastapi", "uvicorn"]}

FENCE = re.compile(
    r"^(?P<mark>```+|~~~+)(?P<info>[^\n`]*)\n(?P<text>.*?)^(?P=mark)\s*$", re.M | re.S
)
# Directives of the documentation's own, which are no code.
DIRECTIVE = re.compile(r"\{[\w-]+\}")


@dataclass
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    words: list[str]
    why_not: str | None
    text: str

    @property
    def where(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def file(self) -> str | None:
        return next((word[5:] for word in self.words if word.startswith("file=")), None)


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text("utf-8")
    found = []
    for match in FENCE.finditer(text):
        info, _, why_not = match["info"].strip().partition("norun:")
        language, *words = info.split() or [""]
        if DIRECTIVE.match(language):
            continue
        line = text.count("\n", 0, match.start()) + 1
        found.append(Block(page, line, language, words, why_not.strip() or None, match["text"]))
    return found


BLOCKS = {page: blocks_of(page) for page in PAGES}
CODE_PAGES = [page for page in PAGES if BLOCKS[page]]

# The ports that pages name.
PORTS = ("8124", "8125", "9464")


def free_ports() -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in PORTS]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@dataclass
class Page:
    """Runs the blocks of one page in order."""

    folder: Path
    ports: list[int] = field(default_factory=free_ports)
    running: list[subprocess.Popen[str]] = field(default_factory=list)
    last: subprocess.Popen[str] | str | None = None

    def environment(self) -> dict[str, str]:
        return dict(
            os.environ,
            PYTHONPATH=str(ROOT),
            PATH=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
            PYTHONFAULTHANDLER="1",
            PYTHONUNBUFFERED="1",
            PYTHONUTF8="1",
            PYTHONWARNINGS="default",
            PYTEST_ADDOPTS="-p no:cacheprovider",
        )

    def run(self, block: Block) -> None:
        text = block.text
        for shown, real in zip(PORTS, self.ports, strict=True):
            text = text.replace(shown, str(real))
        if block.language == "text":
            self.check_output(block, text)
            return
        name = block.file or f"line{block.line}.{'py' if block.language == 'python' else 'js'}"
        if block.language in ("python", "js"):
            (self.folder / name).write_text(text, "utf-8")
        if block.why_not is not None or "saved" in block.words:
            return
        if block.language == "python":
            command = [sys.executable, name]
        elif block.language == "js":
            if NODE is None:
                self.last = None
                return
            command = [NODE, name]
        elif block.language == "sh" and "run" in block.words:
            if BASH is None or sys.platform == "win32":
                self.last = None
                return
            command = [BASH, "-e", "-c", text]
        else:
            raise AssertionError(f"{block.where}: nobody runs this block: say why (norun: ...)")
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if "background" in block.words else subprocess.PIPE,
            encoding="utf-8",
        )
        if "background" in block.words:
            self.running.append(process)
            self.last = process
            return
        try:
            out, err = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f"{block.where} does not end; so far: {out}{err}") from None
        assert (process.returncode, err) == (0, ""), f"{block.where}: {out}{err}"
        if "same" in block.words:
            assert out, f"{block.where} prints nothing"
            assert self.last is None or out == self.last, f"{block.where} prints otherwise"
        self.last = out

    def check_output(self, block: Block, text: str) -> None:
        assert block.words == ["output"] or block.why_not, f"{block.where}: output of what?"
        if block.why_not:
            return
        if isinstance(self.last, subprocess.Popen):
            assert self.last.stdout is not None
            lines = [self.last.stdout.readline() for _ in text.splitlines()]
            assert "".join(lines) == text, block.where
        elif self.last is not None:
            assert self.last == text, block.where

    def close(self) -> None:
        for process in self.running:
            process.send_signal(signal.SIGTERM)
            try:
                process.communicate(timeout=SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    with contextlib.closing(Page(tmp_path)) as page:
        yield page


@pytest.mark.timeout(240)
@pytest.mark.skipif(sys.platform == "win32", reason="the programs use unix paths and signals")
@pytest.mark.parametrize("path", CODE_PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_blocks_of_a_page_run(path: Path, page: Page) -> None:
    for module in NEEDS.get(path.relative_to(ROOT).as_posix(), []):
        pytest.importorskip(module)
    if any("curl" in block.text for block in BLOCKS[path]) and shutil.which("curl") is None:
        pytest.skip("needs curl")
    for block in BLOCKS[path]:
        page.run(block)


def test_few_blocks_are_not_run() -> None:
    """As many as were agreed on: a new one needs a reason, and this number."""
    not_run = [block for blocks in BLOCKS.values() for block in blocks if block.why_not]
    assert len(not_run) == NOT_RUN, [f"{block.where}: {block.why_not}" for block in not_run]


NOT_RUN = 33


def test_every_python_block_can_be_found() -> None:
    """A fence in a list, or one that does not end, would be overlooked."""
    for path in PAGES:
        text = path.read_text("utf-8")
        opened = len(re.findall(r"^\s*(?:```|~~~)+(?:python|js|sh)\b", text, re.M))
        seen = sum(block.language in ("python", "js", "sh") for block in BLOCKS[path])
        assert opened == seen, path


def test_ten_programs_stand_beside_nodes() -> None:
    beside = BLOCKS[ROOT / "docs" / "from-node.md"]
    programs = [block for block in beside if block.language == "js"]
    assert len(programs) >= 10
    after = [beside[beside.index(block) + 1] for block in programs]
    assert all(block.language == "python" and "same" in block.words for block in after)


def test_the_pages_for_users_stay_short_enough_to_be_read() -> None:
    pages = [path for path in PAGES if "docs" in path.parts and "maintainers" not in path.parts]
    assert sum(len(path.read_text("utf-8").splitlines()) for path in pages) <= 7000


def test_the_home_page_names_the_version() -> None:
    assert f"Version {pyuvnet.__version__} " in (ROOT / "docs" / "index.md").read_text("utf-8")
