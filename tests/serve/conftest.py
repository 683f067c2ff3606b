"""The fixtures of primaries: in processes of their own, and without any."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pyuvnet
from tests.support.driven import Driven
from tests.support.serving import APP, Primary


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Any]:
    """serve(*arguments, app=...) starts a primary in a folder that has app.py.

    With program= it runs that instead of the command `serve`.
    """
    started: list[Primary] = []

    def start(
        *arguments: str, app: str = APP, program: str | None = None, **options: Any
    ) -> Primary:
        (tmp_path / "app.py").write_text(textwrap.dedent(app))
        if program is not None:
            (tmp_path / "program.py").write_text(textwrap.dedent(program))
            options["command"] = [sys.executable, str(tmp_path / "program.py")]
        started.append(Primary(tmp_path, *arguments, **options))
        return started[-1]

    yield start
    for each in started:
        each.kill()


@pytest.fixture
def drive() -> Iterator[Any]:
    """drive(**options) starts a primary whose workers are those of a test."""
    started: list[Driven] = []

    def start(**options: Any) -> Driven:
        started.append(Driven(**options))
        return started[-1]

    yield start
    for each in started:
        each.close()
    pyuvnet.run()
