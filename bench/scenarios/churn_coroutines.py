"""Connect, one request, its answer, close, 50 at a time: a coroutine for each connection.

The client half-closes when it has its answer, and waits for the server's end. Listeners are
measured as well.
"""

from bench.peers import CEILING
from bench.scenarios import COROUTINES, CPU_CONNECTION, LISTENERS, Case, requests

CASES = [
    Case(
        f"churn-coroutines-{name}",
        f"coroutines, connect, {title}, close × 50",
        requests(load_mode="churn", size=size, connections=50),
        CPU_CONNECTION,
        "connections/s",
        quick=name == "64b",
        peers=(CEILING, *LISTENERS, *COROUTINES),
    )
    for name, size, title in (("64b", 64, "64 B"), ("1k", 1024, "1 KiB"))
]
