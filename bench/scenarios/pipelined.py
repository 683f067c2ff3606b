"""Echo with 16 requests of 1 KiB in flight on each of 100 connections."""

from bench.scenarios import CPU_REQUEST, Case, requests

CASES = [
    Case(
        "pipelined",
        "16 in flight, 1 KiB × 100",
        requests(size=1024, connections=100, depth=16),
        CPU_REQUEST,
        "requests/s",
        quick=True,
        target=1.25,
        stretch=1.05,
    )
]
