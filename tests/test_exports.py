"""The shared object exports PyInit_* only, and libuv is inside it.

A leaked uv_* name could bind to another library's libuv in the same process, or it to ours.
"""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

import pyuvnet._core
from pyuvnet._core import _native, info

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="a DLL exports only what is declared so, which is PyInit_*"
)


def names(*options: str) -> set[str]:
    """Return the names that nm lists in the shared object's dynamic symbols."""
    nm = shutil.which("nm")
    assert nm is not None, "nm comes with the compiler's binutils"
    command = [nm, "-P", *options, _native.__file__]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    prefix = "_" if sys.platform == "darwin" else ""
    return {line.split()[0].partition("@")[0].removeprefix(prefix) for line in lines}


def test_only_the_modules_init_functions_are_exported() -> None:
    options = ["-gU"] if sys.platform == "darwin" else ["-D", "--defined-only"]
    expected = {f"PyInit_{name}" for name in ("_native", *pyuvnet._core.LAYERS)}
    assert names(*options) == expected


def test_libuv_is_not_looked_for_in_another_library() -> None:
    options = ["-gu"] if sys.platform == "darwin" else ["-D", "--undefined-only"]
    wanted = {name for name in names(*options) if name.startswith("uv_")}
    if "installed libuv" in info.build_flags():
        assert "uv_run" in wanted
    else:
        assert wanted == set()
