from . import cluster as cluster
from . import diagnostics, events, framing, handover, loop, net, streams
from . import metrics as metrics
from . import testing as testing
from . import tls as tls
from . import typing as typing
from ._aio.driver import attach, detach
from ._aio.run import next_tick, run, set_exception_handler, set_immediate, stop
from ._aio.threads import serve_threads
from ._base.version import __version__
from ._core.duplex import Duplex
from ._core.emitter import EventEmitter
from ._core.immediate import clear_immediate
from ._core.loop import Loop
from ._core.loop_registry import current_loop
from ._core.readable import Readable
from ._core.stream import get_default_high_water_mark, set_default_high_water_mark
from ._core.timer import clear_interval, clear_timeout, set_interval, set_timeout
from ._core.writable import Writable
from ._serve import serve
from ._server.systemd import notify
from .abort import AbortController, AbortSignal
from .boundsocket import BoundSocket
from .errors import (
    AbortError,
    AbortTimeoutError,
    AddressError,
    AggregateError,
    ArgTypeError,
    ArgValueError,
    ConnectTimeoutError,
    DeadlineError,
    Error,
    FrameError,
    IncompleteReadError,
    RangeError,
    StateError,
    SystemCallError,
)
from .server import Server
from .socket import Socket

__all__ = [
    "AbortController",
    "AbortError",
    "AbortSignal",
    "AbortTimeoutError",
    "AddressError",
    "AggregateError",
    "ArgTypeError",
    "ArgValueError",
    "BoundSocket",
    "ConnectTimeoutError",
    "DeadlineError",
    "Duplex",
    "Error",
    "EventEmitter",
    "FrameError",
    "IncompleteReadError",
    "Loop",
    "RangeError",
    "Readable",
    "Server",
    "Socket",
    "StateError",
    "SystemCallError",
    "Writable",
    "__version__",
    "attach",
    "clear_immediate",
    "clear_interval",
    "clear_timeout",
    "current_loop",
    "detach",
    "diagnostics",
    "events",
    "framing",
    "get_default_high_water_mark",
    "handover",
    "loop",
    "net",
    "next_tick",
    "notify",
    "run",
    "serve",
    "serve_threads",
    "set_default_high_water_mark",
    "set_exception_handler",
    "set_immediate",
    "set_interval",
    "set_timeout",
    "stop",
    "streams",
]
