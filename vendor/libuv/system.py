"""Find an installed libuv that is new enough (PYUVNET_SYSTEM_LIBUV=1), for setup.py."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

AT_LEAST = (1, 52)
REFUSAL = "PYUVNET_SYSTEM_LIBUV is set, but "
WANTED = "pyuvnet needs libuv >= " + ".".join(map(str, AT_LEAST))


def by_pkg_config() -> tuple[str, list[str]] | None:
    """Return the version and the compiler's and linker's arguments, or None without pkg-config."""
    command = [*shlex.split(os.environ.get("PKG_CONFIG", "pkg-config")), "libuv"]
    try:
        version, arguments = (
            subprocess.run(
                [*command, *options], check=True, capture_output=True, text=True
            ).stdout.strip()
            for options in (["--modversion"], ["--cflags", "--libs"])
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return version, shlex.split(arguments)


def by_header() -> tuple[str, list[str]] | None:
    """Return the same from the first uv/version.h in CPATH and the usual folders."""
    folders = [folder for folder in os.environ.get("CPATH", "").split(os.pathsep) if folder]
    folders += [str(Path(sysconfig.get_path("data"), "include"))]
    folders += ["/usr/local/include", "/usr/include"]
    for include in map(Path, folders):
        header = include / "uv" / "version.h"
        if header.is_file():
            found = dict(re.findall(r"define UV_VERSION_(\w+) (\d+)", header.read_text()))
            library = f"-L{include.parent / 'lib'}"
            return "{MAJOR}.{MINOR}.{PATCH}".format_map(found), [f"-I{include}", library, "-luv"]
    return None


def arguments() -> tuple[list[str], list[str]]:
    """Return the arguments for compiling and for linking; exit with a reason if there is no fit."""
    found = by_pkg_config() or by_header()
    if found is None:
        sys.exit(f"{REFUSAL}neither pkg-config nor a uv/version.h finds a libuv; {WANTED}")
    version, both = found
    if tuple(map(int, version.split(".")[:2])) < AT_LEAST:
        sys.exit(f"{REFUSAL}libuv {version} is installed; {WANTED}")
    linking = [item for item in both if item.startswith(("-L", "-l", "-Wl", "-pthread"))]
    return [item for item in both if item not in linking], linking
