"""The same echo by listeners and by coroutines, alone and beside asyncio or uvloop."""

from bench.peers import CEILING, OURS
from bench.scenarios import CPU_REQUEST, Case, requests

CASES = [
    Case(
        "ways",
        "ways to echo, 1 KiB × 100",
        requests(size=1024, connections=100),
        CPU_REQUEST,
        "requests/s",
        quick=True,
        peers=(
            CEILING,
            OURS,
            "pyuvnet-attached",
            "pyuvnet-attached-uvloop",
            "pyuvnet-async",
            "pyuvnet-async-uvloop",
            "uvloop-streams",
            "asyncio-streams",
        ),
    )
]
