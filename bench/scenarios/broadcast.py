"""What one of 500 connections sends goes to all of them: 256 bytes, two messages under way.

As bytes, or as text: decoded once, and one str is written to all. Where a library takes bytes only,
the program encodes it once. The C server decodes nothing.
"""

from bench.scenarios import Case, Metric, requests

CASES = [
    Case(
        "broadcast",
        "broadcast to 500",
        requests("broadcast", "broadcast", size=256, connections=500, depth=2),
        Metric("cpu_us", "µs CPU per delivery"),
        "deliveries/s",
        quick=True,
    ),
    Case(
        "broadcast-text",
        "broadcast of text to 500",
        requests("broadcast_text", "broadcast", size=256, connections=500, depth=2, text=1),
        Metric("cpu_us", "µs CPU per delivery"),
        "deliveries/s",
    ),
]
