"""serve(): a primary with workers that run a server, as `python -m pyuvnet serve` does.

`settings` has what it is given, `target` what serves, `sockets` the listening sockets, `supervisor`
the primary, `pid_file` its pid file, `log` its log, `signals` what it handles, `worker` a worker,
`containment` what it does with exceptions, `watch` the files of --reload, `command` the command
line. Only a program that serves imports them.
"""

from __future__ import annotations

from .._base import TYPE_CHECKING
from ..errors import StateError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from os import PathLike
    from typing import Any

    from ..server import Server


# Whether it was called in this process, with arguments that can be served.
_began = False


def serve(
    app: str | Callable[..., Any] | Server,
    *,
    bind: str | Iterable[str] | None = None,
    workers: int | str = 1,
    threads: int | str = 1,
    policy: str | None = None,
    reload: bool = False,
    timeout_graceful: float = 30_000,
    timeout_start: float | None = 60_000,
    heartbeat: float | None = 5000,
    timeout_hung: float | None = 60_000,
    max_lifetime: float | None = None,
    pid_file: str | PathLike[str] | None = None,
    log_level: str = "info",
    metrics: str | None = None,
    tls_cert: str | PathLike[str] | None = None,
    tls_key: str | PathLike[str] | None = None,
    guarded: bool = True,
    contain_exceptions: bool = True,
) -> int:
    """Serve until SIGTERM or SIGINT: listen, start workers, and replace those that end.

    Each worker is a fresh interpreter that runs this program up to this call, which does not return
    there. The primary, which is this process, does not run `app`. Call it once in a program, in the
    main thread, while no loop is running.

    Args:
        app: 'MODULE:NAME', or the object itself: a function, also a coroutine function, that is
            called with a Server that listens, once for each `bind`; a listener of 'connection',
            whose one positional parameter is called socket or connection; or a Server that is not
            listening yet.
        bind: str, or several: 'HOST:PORT', 'unix:PATH' or 'fd:N', each with or without 'tls:' in
            front, default '127.0.0.1:8124', or what the service manager has handed over.
        workers: int >= 1 or 'auto', default 1: how many processes; 'auto' is one for each core that
            the process may use.
        threads: int >= 1 or 'auto', default 1: how many threads of each worker serve; 'auto' is 1
            with a GIL.
        policy: 'rr', 'shared' or 'reuse-port', default 'reuse-port' on Linux, else 'rr': who gets a
            connection, as cluster.scheduling_policy.
        reload: bool, default False: replace the workers when a file of the program has changed.
        timeout_graceful: ms, default 30000: how long a worker may take to finish its connections.
        timeout_start: ms, default 60000: how long a worker may take until it is ready; one that
            takes longer is killed. None or 0: as long as it wants.
        heartbeat: ms, default 5000: how often a worker has to show that its loop runs. One that
            misses two is logged, and gets no more connections where the primary can see to that.
            None or 0: workers are not watched.
        timeout_hung: ms, default 60000: a worker whose loop has not run for so long is replaced,
            and killed if it does not end within `timeout_graceful`. None or 0, and with `reload`:
            never.
        max_lifetime: ms, default none: the age, plus or minus a tenth, at which a worker is
            replaced.
        pid_file: path, default none: a file with the process id of the primary while it serves.
        log_level: 'critical', 'error', 'warning', 'info' or 'debug', default 'info': of the logger
            `pyuvnet`, which writes to stderr unless logging is set up.
        metrics: 'HOST:PORT', default none: where to serve the metrics of all workers.
        tls_cert, tls_key: paths, default none: PEM files of a certificate and its key, for each
            `bind` that begins with 'tls:', or for all of them if none does.
        guarded: bool, default True: the servers that a function is called with, or whose
            connections it gets, have the options net.GUARDED. A Server keeps its own.
        contain_exceptions: bool, default True: an exception of a listener or callback is logged,
            and destroys the connection that it belongs to. False: it ends the worker, as it ends
            run(); under asyncio it is left to asyncio's loop.

    Signals of the primary: SIGTERM and SIGINT shut every worker down, a second one 200 ms later or
    more at once; SIGHUP replaces the workers one after another, each when its successor is ready;
    SIGUSR2 starts a new primary that takes the listening sockets over; SIGTTIN and SIGTTOU are one
    worker more or fewer.

    Returns: int, the exit status: 0, or 3 if a worker failed before all were ready.
    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE; ERR_FEATURE_UNAVAILABLE_ON_PLATFORM on Windows),
        ArgValueError (ERR_INVALID_ARG_VALUE), StateError (ERR_WRONG_THREAD, ERR_LOOP_RUNNING, and
        ERR_INVALID_STATE in a worker of another cluster, and for a second call), OSError if it
        cannot listen.

    Node: none
    """
    from .settings import Settings

    settings = Settings(
        app=app,
        bind=bind,
        workers=workers,
        threads=threads,
        policy=policy,
        reload=reload,
        timeout_graceful=timeout_graceful,
        timeout_start=timeout_start,
        heartbeat=heartbeat,
        timeout_hung=timeout_hung,
        max_lifetime=max_lifetime,
        pid_file=pid_file,
        log_level=log_level,
        metrics=metrics,
        tls_cert=tls_cert,
        tls_key=tls_key,
        guarded=guarded,
        contain_exceptions=contain_exceptions,
    )
    return serve_settings(settings)


def serve_settings(settings: Any, ends: bool = False) -> int:
    """serve(), with what was given to it already checked.

    Args:
        ends: the process ends when it returns.
    """
    global _began
    from . import target, worker

    given = worker.given()
    if given is not None:
        worker.work(settings.app, given)
    if not isinstance(settings.app, str):
        target.find(settings.app)
    if _began:
        raise StateError(
            "serve() is called once in a program: workers of a second call would run the first",
            "ERR_INVALID_STATE",
        )
    _began = True
    from .._base.standard_streams import open_standard_streams
    from .supervisor import Supervisor

    # Also for the workers, which inherit them.
    open_standard_streams()
    return Supervisor(settings).run(ends)
