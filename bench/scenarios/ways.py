"""The same echo by listeners and by coroutines, alone and next to asyncio or uvloop."""

from bench.peers import CEILING
from bench.scenarios import COROUTINES, CPU_REQUEST, LISTENERS, Case, requests

CASES = [
    Case(
        "ways",
        "ways to echo, 1 KiB × 100",
        requests(size=1024, connections=100),
        CPU_REQUEST,
        "requests/s",
        quick=True,
        peers=(CEILING, *LISTENERS, *COROUTINES),
    )
]
