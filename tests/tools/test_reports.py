"""What of valgrind's reports is taken for ours."""

from __future__ import annotations

import pytest

from . import reports

CORE = "/somewhere/pyuvnet/_core/_native.cpython-311-x86_64-linux-gnu.so"
PYTHON = "/usr/lib/libpython3.11.so.1.0"
LIBC = "/usr/lib/x86_64-linux-gnu/libc.so.6"
MALLOC = "/usr/libexec/valgrind/vgpreload_memcheck-amd64-linux.so"


def report(kind: str, *objects: str) -> str:
    stack = "".join(f"<frame><obj>{each}</obj><fn>f</fn></frame>" for each in objects)
    return (
        f"<valgrindoutput><error><kind>{kind}</kind><what>W</what>"
        f"<stack>{stack}</stack></error></valgrindoutput>"
    )


@pytest.mark.parametrize(
    ("kind", "objects", "ours"),
    [
        ("InvalidRead", [PYTHON, PYTHON], False),
        ("InvalidRead", [LIBC, PYTHON, CORE], True),
        ("InvalidFree", [MALLOC, CORE], True),
        ("Leak_DefinitelyLost", [MALLOC, PYTHON, PYTHON], False),
        ("Leak_DefinitelyLost", [MALLOC, PYTHON, CORE, PYTHON], True),
        ("UninitCondition", [CORE, PYTHON], True),
        ("UninitValue", [LIBC, CORE], True),
        ("UninitCondition", [PYTHON, CORE], False),
        ("UninitCondition", [LIBC], False),
    ],
)
def test_errors_with_a_frame_of_the_core_are_ours(
    kind: str, objects: list[str], ours: bool
) -> None:
    found = list(reports.errors(report(kind, *objects)))
    assert [(each, text) for each, text, _ in found] == [(kind, "W")] * ours
