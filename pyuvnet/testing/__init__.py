"""What the tests of a program need: connected pairs, faults between peers, and virtual time.

    from pyuvnet import testing

    client, server = testing.pair(latency_ms=50, chop=(1, 10))
    with testing.virtual_time(jump=True) as clock:
        client.end("hello")
        server.on("data", print)
        pyuvnet.run()
    assert clock.now >= 50

The plugin for pytest, `pytest_pyuvnet`, comes with it: fixtures, a check for leaks, and the seeds
of random faults in the report of a test that fails.

Node: none
"""

from __future__ import annotations

from .._core.names import add_node_names
from ._clock import NothingDueError, VirtualTime, virtual_time
from ._faults import FaultProxy, Pair, pair

__all__ = ["FaultProxy", "NothingDueError", "Pair", "VirtualTime", "pair", "virtual_time"]
add_node_names(globals())
