"""A line protocol: UTF-8 decoded, each of 16 lines answered by its own write.

The text has characters of two and three bytes. The C server splits bytes and decodes nothing.
In "lines" chunks are split at line ends by hand; in "read-lines" by what each library has for it: a
framing, asyncio's readline(), Node's readline. In "await-lines" coroutines wait for each line, as
bytes, one or 16 in a message.
"""

from bench.peers import CEILING, OURS
from bench.scenarios import CPU_REQUEST, Case, requests

NODES = ("node", "node-newest")
STREAMS = ("uvloop-streams", "asyncio-streams")
COROUTINES = (
    CEILING,
    "pyuvnet-async",
    "pyuvnet-async-uvloop",
    *STREAMS,
    "aiofastnet-streams",
    "aiofastnet-streams-uvloop",
)

CASES = [
    Case(
        "lines",
        "16 lines of text, 1 KiB × 10",
        requests("lines", size=1024, connections=10, text=1),
        CPU_REQUEST,
        "requests/s",
        quick=True,
    ),
    Case(
        "read-lines",
        "16 lines by framing or readline, 1 KiB × 10",
        requests("read_lines", size=1024, connections=10, text=1),
        CPU_REQUEST,
        "requests/s",
        quick=True,
        peers=(CEILING, OURS, *STREAMS, *NODES),
    ),
    *(
        Case(
            f"await-lines-{lines}",
            f"await {title} of 64 B × 10",
            requests("read_line", size=64 * lines, connections=10, text=1),
            CPU_REQUEST,
            "requests/s",
            quick=lines > 1,
            peers=COROUTINES,
        )
        for lines, title in ((1, "a line"), (16, "16 lines"))
    ),
]
