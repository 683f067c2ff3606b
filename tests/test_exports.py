"""The shared object exports PyInit_* only, libuv is inside it, and mistakes in it are contained.

A leaked uv_* name could bind to another library's libuv in the same process, or it to ours.
"""

from __future__ import annotations

import os
import platform
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
    # The second owner of handles, in tests/support, which only a debug build has.
    owners = {"PyInit_transport", "PyInit_transport_listener"} if info.is_debug() else set()
    assert names(*options) == expected | owners


def test_libuv_is_not_looked_for_in_another_library() -> None:
    options = ["-gu"] if sys.platform == "darwin" else ["-D", "--undefined-only"]
    wanted = {name for name in names(*options) if name.startswith("uv_")}
    if "installed libuv" in info.build_flags():
        assert "uv_run" in wanted
    else:
        assert wanted == set()


@pytest.mark.skipif(sys.platform != "linux", reason="reads the headers of ELF")
def test_the_shared_object_is_hardened() -> None:
    """Full RELRO, no executable stack, no code that the loader writes to."""
    readelf = shutil.which("readelf")
    assert readelf is not None, "readelf comes with the compiler's binutils"
    command = [readelf, "-W", "-l", "-d", _native.__file__]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    segments = {line.split()[0]: line.split()[-2] for line in lines if " 0x" in line}
    assert "GNU_RELRO" in segments
    assert "E" not in segments["GNU_STACK"]
    assert any("(FLAGS)" in line and "BIND_NOW" in line for line in lines)
    assert not any("(TEXTREL)" in line for line in lines)


def is_glibc() -> bool:
    return platform.libc_ver()[0] == "glibc"


@pytest.mark.skipif(sys.platform != "linux", reason="reads what glibc is asked for")
def test_functions_of_libc_are_checked_and_stacks_guarded() -> None:
    wanted = names("-D", "--undefined-only")
    flags = info.build_flags()
    assert "__stack_chk_fail" in wanted
    assert "-fstack-protector-strong" in flags
    if "-D_FORTIFY_SOURCE=3" in flags and is_glibc():
        assert {"__memcpy_chk", "__snprintf_chk"} & wanted
    else:
        # A build for a sanitizer, or without optimisation; or musl, which has no such checks.
        assert "libasan" in os.environ.get("LD_PRELOAD", "") or "-O0" in flags or not is_glibc()
