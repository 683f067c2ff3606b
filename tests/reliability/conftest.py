"""What the tests of reliability share."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyuvnet import set_exception_handler


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """A folder whose path leaves room for that of a unix socket, which macOS's own does not."""
    if sys.platform != "darwin":
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="pyuvnet-", dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture
def raised() -> Iterator[list[BaseException]]:
    """What came out of listeners and callbacks, which go on."""
    collected: list[BaseException] = []
    set_exception_handler(collected.append)
    yield collected
    set_exception_handler(None)
