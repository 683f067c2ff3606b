"""Many processes that share the ports of their servers, one for each core: Node's cluster module.

    import os

    from pyuvnet import cluster, net, run

    if cluster.is_primary:
        for _ in range(os.cpu_count() or 1):
            cluster.fork()
        cluster.on("exit", lambda worker, code, signal: cluster.fork())
    else:
        net.create_server(lambda socket: socket.end("hello\\n")).listen(8124)
    run()

A worker is a fresh interpreter that runs the same program. Its servers listen on what the primary
gives them, unless listen() has exclusive=True.

Attributes:
    is_primary, is_worker: bool, what this process is. `is_master` is an alias of the first.
    worker: Worker, this process as a worker; None in the primary.
    workers: dict of int to Worker, by id, those that are connected or alive; None in a worker.
    settings: mapping, what setup_primary() was given and the defaults, from the first fork() on.
    scheduling_policy: SCHED_RR, SCHED_NONE or SCHED_REUSE_PORT; settable until the first fork() or
        setup_primary(). Default SCHED_RR, or what the environment variable
        PYUVNET_CLUSTER_SCHED_POLICY names: 'rr', 'none' or 'reuse-port'.

Events: 'setup' (settings), 'fork' (worker), 'online' (worker), 'listening' (worker, address),
    'message' (worker, message, handle), 'disconnect' (worker), 'exit' (worker, code, signal).

Node: cluster
"""

from __future__ import annotations

import sys
from types import ModuleType

from .._base import TYPE_CHECKING
from .._base import validation as check
from .._base.hints import hint
from .._base.info import Info
from .._core.names import add_node_names
from ..events import EventEmitter
from . import _worker
from ._primary import SETTINGS, Primary
from ._process import WorkerProcess, not_in_a_worker
from ._scheduling import SCHED_NONE, SCHED_REUSE_PORT, SCHED_RR
from ._workers import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

_worker.begin()
worker: Worker | None = _worker.own
is_worker: bool = worker is not None
is_primary: bool = not is_worker
is_master: bool = is_primary
_emitter = EventEmitter()
_primary = Primary(_emitter)
workers: dict[int, Worker] | None = None if is_worker else _primary.workers
settings: Info = _primary.settings
scheduling_policy: int

on = _emitter.on
once = _emitter.once
off = _emitter.off
emit = _emitter.emit
add_listener = _emitter.add_listener
remove_listener = _emitter.remove_listener
remove_all_listeners = _emitter.remove_all_listeners
prepend_listener = _emitter.prepend_listener
prepend_once_listener = _emitter.prepend_once_listener
listeners = _emitter.listeners
raw_listeners = _emitter.raw_listeners
listener_count = _emitter.listener_count
event_names = _emitter.event_names
set_max_listeners = _emitter.set_max_listeners
get_max_listeners = _emitter.get_max_listeners


def setup_primary(given: Mapping[str, Any] | None = None, /, **keywords: Any) -> None:
    """Change how later workers are started; what is not given stays as it is.

    Args:
        given: a mapping of the settings below; keywords win over it.
        exec: str or os.PathLike, default this program: the file that workers run.
        args: list of str, default this program's, as sys.argv has them at the first call: its
            arguments.
        exec_argv: list of str, default this interpreter's: its options.
        cwd: str or os.PathLike, default this process's: the working directory.
        silent: bool, default False: the standard streams are pipes, sockets of `worker.process`.
        stdio: list, default none: what the standard streams are, each 'inherit', 'pipe', 'ignore',
            a descriptor or a file; wins over silent.
        uid, gid: int, default this process's.
        serialization: 'json' or 'advanced', default 'json': how messages are written. 'advanced' is
            pickle, with which a worker can make the primary run anything.
        inspect_port, windows_hide: accepted, and ignored.

    Events: 'setup' (settings) in the next tick.
    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE, ERR_UNKNOWN_OPTION), ArgValueError
        (ERR_INVALID_ARG_VALUE), RangeError (ERR_OUT_OF_RANGE), StateError (ERR_INVALID_STATE) in a
        worker.

    Node: cluster.setupPrimary()
    """
    if is_worker:
        raise not_in_a_worker("setup_primary()")
    if given is not None and not check.is_mapping(given):
        raise check.arg_type_error("settings", "Object", given)
    _primary.set_up(SETTINGS.read(given, keywords))


def setup_master(given: Mapping[str, Any] | None = None, /, **keywords: Any) -> None:
    """The same as setup_primary(). Node: cluster.setupMaster()"""
    setup_primary(given, **keywords)


def fork(env: Mapping[str, Any] | None = None) -> Worker:
    """Start a worker.

    Args:
        env: mapping of str to str, default none: variables to add to this process's environment.

    Returns: Worker. Events: 'fork' (worker) in the next tick, then 'online', and those of its life.
    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE; ERR_FEATURE_UNAVAILABLE_ON_PLATFORM on Windows),
        ArgValueError (ERR_INVALID_ARG_VALUE), StateError (ERR_INVALID_STATE) in a worker; OSError
        if it cannot be started.

    Node: cluster.fork()
    """
    if is_worker:
        raise not_in_a_worker("fork()")
    if env is not None and not check.is_mapping(env):
        raise check.arg_type_error("env", "Object", env)
    return _primary.fork({str(name): str(value) for name, value in (env or {}).items()})


def disconnect(callback: Callable[[], object] | None = None) -> None:
    """Disconnect all workers, as each one's disconnect() does.

    Args:
        callback: callable(), called when all have ended.

    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE), StateError (ERR_INVALID_STATE) in a worker.

    Node: cluster.disconnect()
    """
    if is_worker:
        raise not_in_a_worker("disconnect()")
    if callback is not None:
        check.validate_function(callback, "callback")
    _primary.disconnect(callback)


class _Cluster(ModuleType):
    """This module: a policy that is checked, in both spellings."""

    @property
    def scheduling_policy(self) -> int:
        return _primary.policy

    @scheduling_policy.setter
    def scheduling_policy(self, value: Any) -> None:
        if value not in (SCHED_NONE, SCHED_RR, SCHED_REUSE_PORT) or isinstance(value, bool):
            error = check.arg_value_error("schedulingPolicy", value)
            hint(error, "It is cluster.SCHED_RR, SCHED_NONE or SCHED_REUSE_PORT.")
            raise error
        if value == SCHED_REUSE_PORT and sys.platform != "linux":
            from .._options.kernel import feature_unavailable

            raise feature_unavailable("SCHED_REUSE_PORT")
        _primary.policy = value


__all__ = [
    "SCHED_NONE",
    "SCHED_REUSE_PORT",
    "SCHED_RR",
    "Worker",
    "WorkerProcess",
    "add_listener",
    "disconnect",
    "emit",
    "event_names",
    "fork",
    "get_max_listeners",
    "is_master",
    "is_primary",
    "is_worker",
    "listener_count",
    "listeners",
    "off",
    "on",
    "once",
    "prepend_listener",
    "prepend_once_listener",
    "raw_listeners",
    "remove_all_listeners",
    "remove_listener",
    "scheduling_policy",
    "set_max_listeners",
    "settings",
    "setup_master",
    "setup_primary",
    "worker",
    "workers",
]
add_node_names(_Cluster)
sys.modules[__name__].__class__ = _Cluster
add_node_names(globals())
