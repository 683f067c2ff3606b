"""Echo: one request at a time on each connection, of four sizes, on 1 to 1000 connections."""

from bench.scenarios import CPU_REQUEST, Case, requests

SIZES = {"64b": (64, "64 B"), "1k": (1024, "1 KiB"), "10k": (10240, "10 KiB")}
SIZES["100k"] = (102400, "100 KiB")
CONNECTIONS = (1, 10, 100, 1000)
QUICK = {("1k", 10), ("1k", 100), ("1k", 1000), ("100k", 10)}


def _target(name: str, connections: int) -> tuple[float | None, float | None]:
    if name == "100k":
        return (1.05, 0.9) if connections == 10 else (None, None)
    if connections == 1000:
        return 1.25, 1.05
    return (1.10, 1.0) if connections > 1 else (None, None)


CASES = [
    Case(
        f"echo-{name}-{connections}",
        f"echo {title} × {connections}",
        requests(size=size, connections=connections),
        CPU_REQUEST,
        "requests/s",
        quick=(name, connections) in QUICK,
        target=_target(name, connections)[0],
        stretch=_target(name, connections)[1],
    )
    for name, (size, title) in SIZES.items()
    for connections in CONNECTIONS
]
