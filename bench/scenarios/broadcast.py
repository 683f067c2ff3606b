"""What one of 500 connections sends goes to all of them: 256 bytes, two messages under way."""

from bench.scenarios import Case, Metric, requests

CASES = [
    Case(
        "broadcast",
        "broadcast to 500",
        requests("broadcast", "broadcast", size=256, connections=500, depth=2),
        Metric("cpu_us", "µs CPU per delivery"),
        "deliveries/s",
        quick=True,
    )
]
