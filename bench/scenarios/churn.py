"""Connect, one request of 64 bytes, half-close, and wait for the server's end: 50 at a time."""

from bench.scenarios import Case, Metric, requests

CASES = [
    Case(
        "churn",
        "connect, echo, close × 50",
        requests(load_mode="churn", size=64, connections=50),
        Metric("cpu_us", "µs CPU per connection"),
        "connections/s",
        quick=True,
        target=1.25,
        stretch=1.0,
    )
]
