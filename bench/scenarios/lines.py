"""A line protocol: UTF-8 decoded, split at line ends, each of 16 lines answered by its own write.

The text has characters of two and three bytes. The C server splits bytes and decodes nothing.
"""

from bench.scenarios import CPU_REQUEST, Case, requests

CASES = [
    Case(
        "lines",
        "16 lines of text, 1 KiB × 10",
        requests("lines", size=1024, connections=10, text=1),
        CPU_REQUEST,
        "requests/s",
        quick=True,
    )
]
