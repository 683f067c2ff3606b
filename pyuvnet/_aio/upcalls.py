"""The functions of the facade that the core calls, given to it while the package is imported.

pyuvnet._core.upcalls lists them and says when the core calls each.
"""

from .. import streams
from .._core import upcalls
from .._server import log as _log
from .._server import passing as _passing
from . import tasks as _tasks
from . import undriven as _undriven


def provide_upcalls() -> None:
    """Fill the core's table."""
    upcalls.provide(
        loop_undriven=_undriven.loop_undriven,
        run_listener=_tasks.run_listener,
        enter_stream=streams._enter,
        exit_stream=streams._exit,
        iterate_stream=streams._Chunks,
        stream_from_iterable=streams.from_iterable,
        standard_stream=streams._standard,
        wait_for_drain=streams._drained,
        handles_arrived=_passing.handles_arrived,
        slow_log=_log.SlowLog,
    )
