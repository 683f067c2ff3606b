"""connect() and listen() to await: they return when the socket or server is of use, or raise.

    socket = await net.promises.connect(8124)
    server = await net.promises.listen(port=0, connection_listener=serve)

Node: net.promises
"""

from __future__ import annotations

from ._base import TYPE_CHECKING, overload
from ._base import validation as check
from ._base.hints import hint
from ._base.option_table import option_set
from ._core.waiter import Waiter
from ._options.paths import is_path
from .abort import abort_error
from .errors import ClosedError, StateError
from .server import SERVER_OPTIONS, Server
from .socket import Socket, create_connection

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, TypeVar, Unpack

    from ._base.options import OptionSet
    from ._core.emitter import EventEmitter
    from ._typing.keywords import ConnectOptions, Path, Place, Port
    from ._typing.serving import ServeOptions

    _Server = TypeVar("_Server", bound=Server)


_OWN = option_set("promises.listen")


@overload
async def connect(
    port: Port | Path | None = None, /, **keywords: Unpack[ConnectOptions]
) -> Socket: ...
@overload
async def connect(
    port: Port, host: str | None, /, **keywords: Unpack[ConnectOptions]
) -> Socket: ...
@overload
async def connect(options: Mapping[str, Any], /, **keywords: Unpack[ConnectOptions]) -> Socket: ...
async def connect(*args: Any, **keywords: Any) -> Socket:
    """Connect a socket and return it once connected.

    Args: as for create_connection(), without a listener; `signal` (AbortSignal) cancels it.

    Raises: what create_connection() raises; the error of a connection that fails; AbortError
        (ABORT_ERR); ClosedError (ERR_SOCKET_CLOSED_BEFORE_CONNECTION) if a listener destroyed the
        socket. The socket is destroyed then, also if the waiting task is cancelled.

    Node: net.promises.connect()
    """
    socket = create_connection(*args, **keywords)
    done: Waiter[None] = Waiter()
    with _Listening(
        socket,
        connect=lambda: done.set_result(None),
        error=done.set_exception,
        close=lambda had_error: done.set_exception(_unconnected()),
    ):
        try:
            await done
        except BaseException:
            socket.destroy()
            raise
    return socket


@overload
async def listen(
    place: Place | None = None, backlog: int | None = None, /, **keywords: Unpack[ServeOptions]
) -> Server: ...
@overload
async def listen(
    port: Port | None,
    host: str | None,
    backlog: int | None = None,
    /,
    **keywords: Unpack[ServeOptions],
) -> Server: ...
@overload
async def listen(options: Mapping[str, Any], /, **keywords: Unpack[ServeOptions]) -> Server: ...
async def listen(*args: Any, **keywords: Any) -> Server:
    """Create a server and return it once it is listening.

    Args: as for Server() and Server.listen(), as keywords or one mapping, without a callback.
        connection_listener: callable(socket): added to 'connection'.
        signal: AbortSignal that closes the server, now or later.

    Raises: what Server() and listen() raise; the error of a server that cannot listen;
        AbortError (ABORT_ERR). The server is closed then, also if the waiting task is cancelled.

    Node: net.promises.listen()
    """
    return await _listen(Server, SERVER_OPTIONS, args, keywords)


async def _listen(
    kind: type[_Server], options: OptionSet, args: tuple[Any, ...], keywords: dict[str, Any]
) -> _Server:
    """Make a server of a class, of which these are the options, and let it listen."""
    for value in args:
        if callable(value) and not check.is_mapping(value) and not is_path(value):
            error = check.arg_type_error("options", "object", value)
            hint(
                error,
                "promises.listen() takes no callback: pass what handles a connection as "
                "connection_listener=, and the address as port, host.",
            )
            raise error
    mapping = args[0] if args and check.is_mapping(args[0]) else None
    both = _OWN | options
    given = both.read(mapping, {name: keywords[name] for name in keywords if name in both})
    listener = given.pop("connection_listener", None)
    signal = keywords.get("signal")
    if signal is None and mapping is not None:
        signal = mapping.get("signal")
    server = kind(given, listener)
    done: Waiter[None] = Waiter()
    with _Listening(
        server,
        listening=lambda: done.set_result(None),
        error=done.set_exception,
        close=lambda: done.set_exception(_closed(signal)),
    ):
        server.listen(*args, **{name: keywords[name] for name in keywords if name not in both})
        try:
            await done
        except BaseException:
            # Also while its host is looked up: it would listen afterwards.
            server.close()
            raise
    return server


def _unconnected() -> ClosedError:
    return ClosedError(
        "Socket closed before the connection was established",
        "ERR_SOCKET_CLOSED_BEFORE_CONNECTION",
    )


def _closed(signal: Any) -> Exception:
    """Why a server was closed before it listened."""
    if signal is not None and signal.aborted:
        return abort_error(signal)
    return StateError("Server is not running.", "ERR_SERVER_NOT_RUNNING")


class _Listening:
    """Listeners that are there while something is awaited."""

    def __init__(self, emitter: EventEmitter, **listeners: Callable[..., object]) -> None:
        self._emitter = emitter
        self._listeners = listeners

    def __enter__(self) -> None:
        for event, listener in self._listeners.items():
            self._emitter.on(event, listener)

    def __exit__(self, *_: object) -> None:
        for event, listener in self._listeners.items():
            self._emitter.off(event, listener)


__all__ = ["connect", "listen"]
