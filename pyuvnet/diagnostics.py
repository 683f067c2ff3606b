"""Watching what a program does with net, without changing it.

    from pyuvnet import diagnostics
    diagnostics.subscribe("net.server.socket", lambda message, name: print(message.socket))

| name | message | when |
|---|---|---|
| net.client.socket | socket | each connect() |
| net.server.socket | socket | after 'connection' |
| tracing:net.server.listen:asyncStart | server, options | listen() was accepted |
| tracing:net.server.listen:asyncEnd | server | bound and listening, before 'listening' |
| tracing:net.server.listen:error | server, error | before 'error' |

A hook without a subscriber costs the test of one bit.

Node: diagnostics_channel
"""

from __future__ import annotations

from ._base import TYPE_CHECKING
from ._core import hooks
from ._core.names import add_node_names

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ._base.info import Info

__all__ = ["has_subscribers", "subscribe", "unsubscribe"]


def subscribe(name: str, subscription: Callable[[Info, str], Any]) -> None:
    """Call subscription(message, name) synchronously whenever the named event happens.

    Subscriptions apply to the whole process, whichever loop the event happens in. A function that
    is subscribed twice is called twice. An exception that it raises does not affect the operation:
    it is handled in the next tick, like an exception of a listener.

    Args:
        name: one of the names above.
        subscription: callable(message, name); the message is a mapping.

    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE), ArgValueError (ERR_INVALID_ARG_VALUE).

    Node: diagnostics_channel.subscribe()
    """
    hooks.subscribe(name, subscription)


def unsubscribe(name: str, subscription: Callable[[Info, str], Any]) -> bool:
    """Undo one subscribe(); return whether there was one.

    Args:
        name: str, of the hook.
        subscription: what was subscribed.

    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE), ArgValueError (ERR_INVALID_ARG_VALUE).

    Node: diagnostics_channel.unsubscribe()
    """
    return hooks.unsubscribe(name, subscription)


def has_subscribers(name: str) -> bool:
    """Return whether a name has subscribers.

    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE), ArgValueError (ERR_INVALID_ARG_VALUE).

    Node: diagnostics_channel.hasSubscribers()
    """
    return hooks.has_subscribers(name)


add_node_names(globals())
