"""pyuvnet: Node.js's net module for Python, on libuv, at C speed.

An echo server:

    from pyuvnet import net, run

    net.create_server(lambda socket: socket.on("data", socket.write)).listen(8124)
    run()
"""

import os

from . import diagnostics, events, framing, handover, loop, net, streams
from ._aio.driver import attach, detach
from ._aio.run import next_tick, run, set_exception_handler, set_immediate, stop
from ._aio.threads import serve_threads
from ._aio.upcalls import provide_upcalls
from ._base.version import __version__
from ._core.duplex import Duplex
from ._core.emitter import EventEmitter
from ._core.immediate import clear_immediate
from ._core.loop import Loop
from ._core.loop_registry import current_loop
from ._core.names import add_node_names
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
# Modules that load when a program uses them: pyuvnet.tls needs no import of its own. They are not
# in __all__, since `import *` would load them all.
_ON_DEMAND = ("cluster", "metrics", "testing", "tls", "typing")
# What is looked for here because its neighbours are here.
_OF_NET = ("connect", "create_connection", "create_server", "createConnection", "createServer")
_OF_STREAMS = ("PassThrough", "Transform", "finished", "from_iterable", "pipeline")


def __getattr__(name: str) -> object:
    if name in _ON_DEMAND:
        from importlib import import_module

        return import_module(f".{name}", __name__)
    from ._base.hints import absent

    module = "net" if name in _OF_NET else "streams" if name in _OF_STREAMS else None
    raise absent(__name__, name, module and f"It is in the module pyuvnet.{module}.")


def __dir__() -> list[str]:
    return sorted({*globals(), *_ON_DEMAND})


provide_upcalls()
add_node_names(globals())
if "PYUVNET_CLUSTER" in os.environ:
    # A worker of a cluster, whether or not its program knows.
    from .cluster import _worker

    _worker.begin()
    del _worker
del os
