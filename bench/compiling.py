"""Builds the C programs on demand, with cc, into build/bench/; kept as long as nothing changed."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
LIBUV = ROOT / "vendor" / "libuv"
OUTPUT = ROOT / "build" / "bench"
SOURCES = {
    "load": HERE / "load.c",
    "epoll": HERE / "peers" / "epoll.c",
    "libuv": HERE / "peers" / "libuv.c",
}
FLAGS = ("-O2", "-g", "-DNDEBUG", "-fno-strict-aliasing")


class BuildError(Exception):
    """A program cannot be built here; the text says why."""


@functools.cache
def compiler() -> str:
    """The path of cc."""
    found = shutil.which(os.environ.get("CC", "cc"))
    if found is None:
        raise BuildError("a C compiler, cc, is needed")
    if sys.platform != "linux":
        raise BuildError("the load generator is written on epoll and /proc: Linux is needed")
    return found


@functools.cache
def compiler_version() -> str:
    """The compiler's first line about itself."""
    return _run([compiler(), "--version"]).splitlines()[0]


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise BuildError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def libuv_version() -> str:
    """The version of the bundled libuv."""
    text = (LIBUV / "include" / "uv" / "version.h").read_text()
    parts = (re.search(rf"#define UV_VERSION_{part} (\d+)", text) for part in _PARTS)
    return ".".join(found.group(1) for found in parts if found)


_PARTS = ("MAJOR", "MINOR", "PATCH")


def _digest(*parts: object) -> str:
    text = repr([compiler_version(), FLAGS, *parts])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@functools.cache
def program(name: str) -> Path:
    """The path of a program, built if necessary.

    Args:
        name: 'load', 'epoll' or 'libuv'.

    Raises: BuildError.
    """
    source = SOURCES[name]
    libraries: list[str] = []
    flags = [*FLAGS, "-Wall", "-Wextra"]
    if name == "libuv":
        libraries = [str(_libuv()), "-lpthread", "-ldl", "-lrt"]
        flags += ["-I", str(LIBUV / "include")]
    made = OUTPUT / f"{name}-{_digest(source.read_text(), libraries)}"
    if not made.exists():
        OUTPUT.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=OUTPUT) as folder:
            unfinished = os.path.join(folder, name)
            _run([compiler(), *flags, "-o", unfinished, str(source), *libraries])
            os.replace(unfinished, made)
    return made


def _libuv() -> Path:
    """The bundled libuv as a static library, always optimised, whatever pyuvnet was built like."""
    description = (LIBUV / "build.toml").read_text("utf-8")
    if not (LIBUV / "src").exists():
        raise BuildError("vendor/libuv/src is missing: run vendor/libuv/fetch.py")
    known = tomllib.loads(description)
    groups = [known[name] for name in known["platforms"][sys.platform]]
    # Without the hooks into pyuvnet: the ceiling is libuv as it is.
    wanted = [define for group in groups for define in group["defines"] if "pyuvnet" not in define]
    defines = [f"-D{define}" for define in wanted]
    made = OUTPUT / f"libuv-{_digest(groups, defines, libuv_version())}.a"
    if made.exists():
        return made
    include = ["-I", str(LIBUV / "include"), "-I", str(LIBUV / "src")]
    sources = [
        LIBUV / group["folder"] / f"{name}.c" for group in groups for name in group["sources"]
    ]
    OUTPUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=OUTPUT) as folder:

        def translate(numbered: tuple[int, Path]) -> str:
            number, source = numbered
            # Numbered, since two folders may have files of one name.
            target = os.path.join(folder, f"{number}-{source.stem}.o")
            _run([compiler(), *FLAGS, *defines, *include, "-c", str(source), "-o", target])
            return target

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = list(pool.map(translate, enumerate(sources)))
        unfinished = os.path.join(folder, "libuv.a")
        _run(["ar", "rcs", unfinished, *objects])
        os.replace(unfinished, made)
    return made
