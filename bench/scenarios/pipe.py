"""Echo by pipe(): no listener. Who has no pipe() stops reading while its answers are not taken."""

from bench.scenarios import CPU_REQUEST, Case, requests

CASES = [
    Case(
        "pipe",
        "echo by pipe, 1 KiB × 100",
        requests("pipe", size=1024, connections=100),
        CPU_REQUEST,
        "requests/s",
        quick=True,
        target=0.95,
        stretch=0.85,
    )
]
