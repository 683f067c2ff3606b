"""A request of 1 KiB answered in 4 and in 16 pieces, each with a write of its own."""

from bench.scenarios import CPU_REQUEST, Case, requests

CASES = [
    Case(
        f"writes-{pieces}",
        f"{pieces} writes per message, 1 KiB × 10",
        requests("writes", pieces=pieces, size=1024, connections=10),
        CPU_REQUEST,
        "requests/s",
        quick=pieces == 16,
    )
    for pieces in (4, 16)
]
