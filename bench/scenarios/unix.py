"""Echo over a unix socket."""

from bench.scenarios import CPU_REQUEST, Case, requests

CASES = [
    Case(
        "unix",
        "unix socket, 1 KiB × 10",
        requests(unix=True, size=1024, connections=10),
        CPU_REQUEST,
        "requests/s",
        quick=True,
        target=1.05,
        stretch=0.95,
    )
]
