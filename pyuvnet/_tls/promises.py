"""tls.connect() and tls.Server.listen() to await; see promises.py. Node: none"""

from __future__ import annotations

from .._base import TYPE_CHECKING
from .._core.waiter import Waiter
from ..promises import _listen, _Listening, _unconnected
from .server import TLS_SERVER_OPTIONS, Server
from .server import connect as _connect
from .socket import TLSSocket

if TYPE_CHECKING:
    from typing import Any


async def connect(*args: Any, **keywords: Any) -> TLSSocket:
    """Connect a TLSSocket and return it once the server's certificate is accepted.

    Args: as for tls.connect(), without a listener.

    Raises: what tls.connect() raises; the error of a connection or a handshake that fails. The
        socket is destroyed then, also if the waiting task is cancelled.

    Node: none
    """
    socket = _connect(*args, **keywords)
    done: Waiter[None] = Waiter()
    with _Listening(
        socket,
        secureConnect=lambda: done.set_result(None),
        error=done.set_exception,
        close=lambda had_error: done.set_exception(_unconnected()),
    ):
        try:
            await done
        except BaseException:
            socket.destroy()
            raise
    return socket


async def listen(*args: Any, **keywords: Any) -> Server:
    """Create a server with TLS and return it once it is listening.

    Args: as for tls.Server() and Server.listen(), as keywords or one mapping, without a callback.
        connection_listener: callable(socket): added to 'secureConnection'.
        signal: AbortSignal that closes the server, now or later.

    Raises: what tls.Server() and listen() raise; the error of a server that cannot listen;
        AbortError (ABORT_ERR). The server is closed then, also if the waiting task is cancelled.

    Node: none
    """
    return await _listen(Server, TLS_SERVER_OPTIONS, args, keywords)


__all__ = ["connect", "listen"]
