"""Connect, one request of 64 bytes, half-close, and wait for the server's end: 50 at a time."""

from bench.scenarios import CPU_CONNECTION, Case, requests

CASES = [
    Case(
        "churn",
        "connect, echo, close × 50",
        requests(load_mode="churn", size=64, connections=50),
        CPU_CONNECTION,
        "connections/s",
        quick=True,
        target=1.25,
        stretch=1.0,
    )
]
