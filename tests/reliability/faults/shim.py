"""The shim of shim.c, from Python: how it is compiled, and how a loaded one is controlled."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import socket
import subprocess
from pathlib import Path

SOURCE = Path(__file__).resolve().parent / "shim.c"
COUNTERS = ("faults_hits", "faults_taken", "faults_given", "faults_calls")


def compiler() -> str | None:
    """What compiles it, None if there is nothing."""
    return shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


def build(folder: Path) -> Path:
    """Compile it into a folder."""
    made = folder / "shim.so"
    flags = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared"]
    command: list[str | Path] = [compiler() or "cc", *flags, "-o", made, SOURCE, "-ldl"]
    subprocess.run(command, check=True)
    return made


def preloaded(shim: Path) -> dict[str, str]:
    """The environment in which a program has it; what is preloaded already comes first."""
    names = [*filter(None, [os.environ.get("LD_PRELOAD")]), str(shim)]
    return {"LD_PRELOAD": " ".join(names), "FAULTS_SHIM": str(shim)}


class Shim:
    """The shim in this process, which was started with it."""

    def __init__(self) -> None:
        self.library = ctypes.CDLL(os.environ["FAULTS_SHIM"])
        for name in COUNTERS:
            getattr(self.library, name).restype = ctypes.c_long
        self.loaded = 0

    def load(self, rules: str) -> None:
        """Load rules instead of those before; an error may be a name of errno or getaddrinfo."""
        words = rules.split(" ")
        for index, word in enumerate(words):
            if word.startswith("error=") and not word[6:].rstrip(";").lstrip("-").isdigit():
                name, rest = word[6:].rstrip(";"), ";" if word.endswith(";") else ""
                number = getattr(socket if name.startswith("EAI_") else errno, name)
                words[index] = f"error={number}{rest}"
        self.loaded = self.library.faults_load(" ".join(words).encode())
        assert self.loaded >= 0, rules

    def hits(self) -> list[int]:
        """How often each rule struck."""
        return [self.library.faults_hits(index) for index in range(self.loaded)]
