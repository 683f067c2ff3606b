"""The functions of the facade that the core calls, given to it while the package is imported.

pyuvnet._core.upcalls lists them and says when the core calls each.
"""

from .. import streams
from .._core import upcalls
from .._server import log, passing
from . import tasks, undriven


def provide_upcalls() -> None:
    """Fill the core's table."""
    upcalls.provide(
        loop_undriven=undriven.loop_undriven,
        run_listener=tasks.run_listener,
        enter_stream=streams._enter,
        exit_stream=streams._exit,
        iterate_stream=streams._Chunks,
        stream_from_iterable=streams.from_iterable,
        standard_stream=streams._standard,
        wait_for_drain=streams._drained,
        handles_arrived=passing.handles_arrived,
        slow_log=log.SlowLog,
    )
