"""What the server's memory grows by for each of 10,000 connections whose coroutine waits for data.

`async for` in pyuvnet, `await reader.read()` in streams; listeners are measured as well.
"""

from bench.peers import CEILING
from bench.scenarios import COROUTINES, LISTENERS, Case, Metric
from bench.scenarios.idle import measure

CASES = [
    Case(
        "idle-waiting",
        "10,000 waiting coroutines",
        measure,
        Metric("each_bytes", "bytes per connection"),
        quick=True,
        relative=CEILING,
        absolute=True,
        peers=(CEILING, *LISTENERS, *COROUTINES),
    )
]
