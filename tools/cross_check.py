"""Compile all of the C for systems that are not at hand, and link it, by the C compiler of zig.

    pip install ziglang Cython setuptools
    python tools/cross_check.py [TARGET...]     all of TARGETS, unless some are named

What is generated from the core has to compile without a warning, libuv without an error, and what
is linked may lack nothing but names of CPython's: so the lists of sources, defines and libraries
are right. The flags are setup.py's for that system; but on Windows, where that speaks to MSVC and
zig is another compiler, they are near it. Headers are those of the Python that runs this, with the
target's pyconfig.h as far as headers ask for it. Needs Linux; nothing is run.
"""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = Path(__file__).resolve().parent.parent
# By the name zig has for it, what sys.platform is there.
TARGETS = {
    "x86_64-linux-musl": "linux",
    "aarch64-linux-musl": "linux",
    "aarch64-linux-gnu.2.28": "linux",
    "x86_64-macos": "darwin",
    "aarch64-macos": "darwin",
    "x86_64-windows-gnu": "win32",
    "aarch64-windows-gnu": "win32",
}
ZIG = [sys.executable, "-m", "ziglang", "cc", "-fno-sanitize=undefined"]
# Cython makes functions that a module may not need, and compares what cannot be below 0.
WARNINGS = ["-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-Wno-unused-function"]
WARNINGS += ["-Wno-missing-field-initializers", "-Wno-sign-compare", "-Wno-unused-label"]
# What CPython's headers ask of PC/pyconfig.h.
WINDOWS_PYCONFIG = """
#include <io.h>
#include <stdio.h>
#define MS_WINDOWS 1
#define MS_WIN32 1
#define MS_WIN64 1
#define NT_THREADS 1
#define WITH_THREAD 1
#define Py_ENABLE_SHARED 1
#define HAVE_DECLSPEC_DLL 1
#define HAVE_PY_SSIZE_T 1
typedef long long Py_ssize_t;
#define PY_SSIZE_T_MAX 0x7fffffffffffffffLL
#define PY_LONG_LONG long long
#define PY_LLONG_MIN LLONG_MIN
#define PY_LLONG_MAX LLONG_MAX
#define PY_ULLONG_MAX ULLONG_MAX
#define SIZEOF_SHORT 2
#define SIZEOF_INT 4
#define SIZEOF_LONG 4
#define ALIGNOF_LONG 4
#define SIZEOF_LONG_LONG 8
#define SIZEOF_FLOAT 4
#define SIZEOF_DOUBLE 8
#define SIZEOF_VOID_P 8
#define SIZEOF_SIZE_T 8
#define ALIGNOF_SIZE_T 8
#define ALIGNOF_MAX_ALIGN_T 8
#define SIZEOF_TIME_T 8
#define SIZEOF_OFF_T 4
#define SIZEOF_FPOS_T 8
#define SIZEOF_PID_T 4
#define SIZEOF_WCHAR_T 2
#define HAVE_STDINT_H 1
#define HAVE_STDDEF_H 1
#define HAVE_INTTYPES_H 1
#define HAVE_WCHAR_H 1
#define HAVE_ERRNO_H 1
#define HAVE_SYS_STAT_H 1
#define HAVE_SYS_TYPES_H 1
#define HAVE_UINTPTR_T 1
#define HAVE_INTPTR_T 1
#define HAVE_PROTOTYPES 1
#define PY_BUILTIN_HASHLIB_HASHES "md5"
"""


def settings(platform: str) -> dict[str, Any]:
    """What setup.py says for a platform; with -O0 this is over in half of the time."""
    import setuptools.command.build_ext  # noqa: F401  before, since it asks for the platform too

    values = {"CFLAGS": "-O0", "PYUVNET_DEBUG": "0", "PYUVNET_SYSTEM_LIBUV": "0"}
    with mock.patch.object(sys, "platform", platform), mock.patch.dict(os.environ, values):
        return runpy.run_path(str(ROOT / "setup.py"), run_name="setup")


def generate(setup: dict[str, Any]) -> list[Path]:
    """Have Cython write the C, which is the same for all platforms; where setup.py has it too."""
    from build_changed import translate

    paths = [path.as_posix() for path in sorted(Path("pyuvnet/_core").glob("*.pyx"))]
    return [Path(made) for made in translate(paths, setup["TRANSLATED"], setup["DIRECTIVES"])]


def headers(platform: str, folder: Path) -> str:
    """Copy CPython's headers, with the pyconfig.h of a platform among them."""
    include = folder / "include"
    shutil.rmtree(include, ignore_errors=True)
    shutil.copytree(sysconfig.get_path("include"), include)
    text = Path(sysconfig.get_config_h_filename()).read_text("utf-8")
    if platform == "darwin":  # which hides its own names where only POSIX's are wanted
        text = re.sub(r"(?m)^#define _(GNU|POSIX_C|XOPEN)_SOURCE.*$", "", text)
        text += "\n#define _DARWIN_C_SOURCE 1\n"
    elif platform == "win32":
        text = WINDOWS_PYCONFIG
    (include / "pyconfig.h").write_text(text, "utf-8")
    return str(include)


def check(target: str) -> list[str]:
    """Compile and link for a target; returns what is wrong."""
    platform = TARGETS[target]
    setup = settings(platform)
    folder = ROOT / "build" / f"cross-{target}"
    folder.mkdir(parents=True, exist_ok=True)
    generated = generate(setup)
    include = ["-Ivendor/libuv/include", "-Ipyuvnet/_core", "-isystem", headers(platform, folder)]
    cflags = ["-std=c11", "-DNDEBUG"] if platform == "win32" else ["-fPIC", *setup["CFLAGS"]]
    ours = [*include, *WARNINGS]
    defines = [f"-D{name}={value}" for name, value in setup["DEFINES"]]
    theirs = [*defines, "-Ivendor/libuv/include", "-Ivendor/libuv/src", "-w"]
    common = [*ZIG, "-target", target, "-c", "-O0", "-g0", "-DUV_EXTERN=", *cflags]

    def compile_one(source: Path) -> tuple[str, str]:
        made = str(folder / "-".join(source.with_suffix(".o").parts[-3:]))
        flags = ours if source in generated else theirs
        command = [*common, *flags, str(source), "-o", made]
        done = subprocess.run(command, capture_output=True, text=True)
        return made, done.stderr

    sources = generated + [Path(source) for source in setup["SOURCES"]]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(compile_one, sources))
    wrong = [text for _, text in results if text]
    return wrong or link(target, [made for made, _ in results], setup, folder)


def link(target: str, objects: list[str], setup: dict[str, Any], folder: Path) -> list[str]:
    """Link without CPython; returns what is wrong, other than that its names are missed."""
    libraries = [f"-l{name}" for group in setup["GROUPS"] for name in group["libraries"]]
    strict = ["-Wl,-z,defs"] if TARGETS[target] == "linux" else []
    command = [*ZIG, "-target", target, "-shared", *strict, "-o", str(folder / "core")]
    done = subprocess.run([*command, *objects, *libraries], capture_output=True, text=True)
    errors = [line for line in done.stderr.splitlines() if "error:" in line]
    missed = re.compile(r"undefined symbol: (__declspec\(dllimport\) )?_*Py\w+$")
    if not any(missed.search(line) for line in errors):
        return [f"CPython's names should be missed, and were not:\n{done.stderr}"]
    return [line for line in errors if not missed.search(line)]


def main(arguments: Sequence[str]) -> int:
    os.chdir(ROOT)
    unknown = set(arguments) - set(TARGETS)
    if unknown:
        sys.exit(f"not among the targets: {sorted(unknown)}; there are {', '.join(TARGETS)}")
    failed = 0
    for target in arguments or TARGETS:
        start = time.monotonic()
        wrong = check(target)
        print(f"{'FAIL' if wrong else 'ok':4}  {target} ({time.monotonic() - start:.0f} s)")
        for text in wrong:
            print(text.rstrip(), flush=True)
        failed += bool(wrong)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
