"""docs/maintainers/coverage-tls.md: each name is there, in both spellings."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from pyuvnet import tls
from pyuvnet._base.names import to_node
from pyuvnet._tls.context import CONTEXT_OPTIONS
from pyuvnet._tls.server import TLS_CONNECT_OPTIONS, TLS_SERVER_OPTIONS
from pyuvnet._tls.socket import TLS_SOCKET_OPTIONS

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE = (DOCS / "maintainers" / "coverage-tls.md").read_text("utf-8")
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and "`" in line]
NAMES = [name for row in ROWS for name in re.findall(r"`([^`]+)`", row)]
OPTIONS = {
    "connect": TLS_CONNECT_OPTIONS,
    "Server": TLS_SERVER_OPTIONS,
    "TLSSocket": TLS_SOCKET_OPTIONS,
    "SecureContext": CONTEXT_OPTIONS,
}


def test_everything_public_is_there() -> None:
    assert len(NAMES) > 80
    listed = {re.split(r"[.( ]", name)[0] for name in NAMES}
    # What get_session() returns is no name of Node's.
    assert set(tls.__all__) - {"Session"} <= listed


@pytest.mark.parametrize("name", NAMES)
def test_our_name_is_there_in_both_spellings(name: str) -> None:
    match = re.fullmatch(r"([\w.]+)(?:\((\w+)=\)| '(\w+)')?", name)
    assert match, name
    path, option, event = match.groups()
    found: Any = tls
    for part in path.split("."):
        if found is not tls or part != "root_certificates":
            same = inspect.getattr_static(found, to_node(part))
            assert same is inspect.getattr_static(found, part)
        found = getattr(found, part)
    if option:
        assert option in OPTIONS[path]
        assert to_node(option) in OPTIONS[path]
    if event:
        text = str(found.__doc__).partition("Events:")[2]
        # Those of net.Server are named there.
        assert f"'{event}'" in text
