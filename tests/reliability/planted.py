"""Faults put into the core on purpose: do the tests see them?

    python -m tests.reliability.planted [NAME...]

Each fault is a small change of one source. It is made in a copy of the checkout, which is built (a
debug build, or one with AddressSanitizer), and the tests that ought to notice are run against it:
they have to fail, or the sanitizer to report. Before that the same tests pass without the fault.
Prints a table; exits with 1 if a fault went unseen. Needs Linux, gcc, and what the tests need.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SANITIZE = "-fsanitize=address,undefined -fno-sanitize-recover=undefined"
KINDS = {
    "debug": {"PYUVNET_DEBUG": "1"},
    "sanitizers": {
        "PYUVNET_DEBUG": "1",
        "CC": "gcc",
        "LDFLAGS": SANITIZE,
        "CFLAGS": f"{SANITIZE} -fno-omit-frame-pointer -g1 -O1",
    },
}


@dataclasses.dataclass
class Fault:
    """What to plant, and who is to see it."""

    name: str
    what: str
    path: str
    old: str  # occurs once
    new: str
    tests: list[str]
    kind: str = "debug"  # of the build


FAULTS = [
    Fault(
        "pin",
        "a request is not pinned while libuv has it",
        "pyuvnet/_core/handle.pyx",
        "            self.handle.requests |= self.kind\n        Py_INCREF(self)\n",
        "            self.handle.requests |= self.kind\n",
        ["tests/core/test_handle.py"],
        "sanitizers",
    ),
    Fault(
        "close",
        "a handle is closed twice",
        "pyuvnet/_core/handle.pyx",
        "            uv.uv_close(self._uv, handle_closed)\n",
        "            uv.uv_close(self._uv, handle_closed)\n" * 2,
        ["tests/core/test_handle.py"],
    ),
    Fault(
        "guard",
        "closing a handle again is passed on to libuv",
        "pyuvnet/_core/handle.pyx",
        "        if self._uv is not NULL and not self.closing:\n            self.closing = True\n",
        "        if self._uv is not NULL:\n            self.closing = True\n",
        ["tests/core/test_handle.py"],
    ),
    Fault(
        "reference",
        "each read leaks a reference to its chunk",
        "pyuvnet/_core/socket_base.pyx",
        "        result = pyuvnet_call_one(listener, chunk)\n        Py_DECREF(<object>chunk)\n",
        "        result = pyuvnet_call_one(listener, chunk)\n",
        ["tests/reliability/test_leaks.py"],
    ),
    Fault(
        "callback",
        "the callback of a write that had to wait is lost",
        "pyuvnet/_core/socket_base.pyx",
        "self, status, False)\n        return w_completed(self, None, False)\n",
        "self, status, False)\n        return 0\n",
        ["tests/core/test_handle.py"],
    ),
    Fault(
        "queue",
        "an off-by-one where the kernel took a part of the queue",
        "pyuvnet/_core/socket_base.pyx",
        "                rest = rest_of(self.w_queue, index)\n",
        "                rest = rest_of(self.w_queue, index + 1)\n",
        ["tests/core/test_socket_base.py"],
    ),
    Fault(
        "recycled",
        "a buffer that the program still has is read into again",
        "pyuvnet/_core/capi.pxd",
        "chunk == Py_None || Py_REFCNT(chunk) != 1 || ",
        "chunk == Py_None || ",
        ["tests/core/test_socket_base.py"],
    ),
]


class Copy:
    """A copy of the checkout, built in one way; what is compiled already is compiled no more."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder, self.kind = folder, kind
        ignore = shutil.ignore_patterns(".git", "__pycache__", "*.so", ".hypothesis", ".*_cache")
        shutil.copytree(ROOT, folder, ignore=ignore, symlinks=True)
        self.environment = {
            name: value for name, value in os.environ.items() if not name.endswith("FLAGS")
        } | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
        self.build()

    def build(self) -> None:
        done = subprocess.run(
            [sys.executable, "setup.py", "build_ext", "--inplace"],
            cwd=self.folder,
            env=self.environment | KINDS[self.kind],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]

    def test(self, tests: list[str]) -> tuple[bool, str]:
        """Run tests; returns whether all passed, and in a line what was seen."""
        environment = dict(self.environment)
        if self.kind == "sanitizers":
            libraries = [
                subprocess.check_output(["gcc", f"-print-file-name={name}"], text=True).strip()
                for name in ("libasan.so", "libstdc++.so")
            ]
            environment |= {
                "LD_PRELOAD": " ".join(libraries),
                "PYTHONMALLOC": "malloc",
                "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
            }
        # What C code prints before it ends the process is not to be kept from us.
        options = ["-q", "-x", "--slow", "--capture=sys", "-p", "no:cacheprovider"]
        options += ["--timeout", "60"]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *options, *tests],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=900,
        )
        return done.returncode == 0, seen(done.stdout + done.stderr, done.returncode)


def seen(output: str, code: int) -> str:
    """The line of a run that says most."""
    for pattern in (
        r"ERROR: AddressSanitizer: ([\w-]+)",
        r"(Assertion [`'].*' failed)",
        r"^FAILED (\S+)",
        r"^ERROR (\S+)",
        r"(\d+ passed)",
        r"(Fatal Python error: .*)",
        r"(\+ Timeout \+)",
    ):
        found = re.search(pattern, output, re.MULTILINE)
        if found:
            return found[1]
    return f"exit status {code}"


def plant(copy: Copy, fault: Fault) -> tuple[bool, str]:
    """Put a fault in, build, test, and take it out again."""
    path = copy.folder / fault.path
    text = path.read_text("utf-8")
    assert text.count(fault.old) == 1, f"{fault.name}: {fault.path} has changed, mend the fault"
    path.write_text(text.replace(fault.old, fault.new), "utf-8")
    try:
        copy.build()
        return copy.test(fault.tests)
    finally:
        path.write_text(text, "utf-8")


def main() -> int:
    names = [fault.name for fault in FAULTS]
    parser = argparse.ArgumentParser(prog="python -m tests.reliability.planted")
    parser.add_argument("names", nargs="*", help=f"of {', '.join(names)}; default: all")
    wanted = parser.parse_args().names or names
    faults = [fault for fault in FAULTS if fault.name in wanted]
    unseen = 0
    print(f"{'fault':10} {'build':10} {'seen':5} by")
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            ours = [fault for fault in faults if fault.kind == kind]
            if not ours:
                continue
            copy = Copy(Path(folder, kind), kind)
            passed, what = copy.test(sorted({test for fault in ours for test in fault.tests}))
            assert passed, f"without a fault: {what}"
            print(f"{'none':10} {kind:10} {'':5} {what}", flush=True)
            for fault in ours:
                began = time.monotonic()
                passed, what = plant(copy, fault)
                unseen += passed
                answer = "NO" if passed else "yes"
                took = round(time.monotonic() - began)
                print(f"{fault.name:10} {kind:10} {answer:5} {what} ({took} s)", flush=True)
    print(f"{len(faults) - unseen} of {len(faults)} faults seen")
    return bool(unseen)


if __name__ == "__main__":
    sys.exit(main())
