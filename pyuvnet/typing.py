"""Names for annotations; nothing here is imported unless a program imports it.

    from pyuvnet.typing import Event, TextSocket

Node: none
"""

from __future__ import annotations

from types import GenericAlias

from ._base.info import Info
from ._base.info import Info as AddressInfo
from ._base.info import Info as DropInfo
from ._base.info import Info as OverloadInfo
from ._base.info import Info as ProxyInfo
from ._core.duplex import Duplex as TextDuplex
from ._core.immediate import Immediate
from ._core.readable import Readable as TextReadable
from ._core.timer import Timeout
from .socket import Socket as TextSocket


class Event(str):
    """The name of an event of your own, with the types of what its listeners get.

    `Event[str, int]("login")` is the text 'login' to the emitter, and to a type checker an event
    with a str and an int. Every emitter takes one, a Socket as well as an EventEmitter.

    Args:
        name: the name of the event.

    Node: none
    """

    __slots__ = ()
    __class_getitem__ = classmethod(GenericAlias)


__all__ = [
    "AddressInfo",
    "DropInfo",
    "Event",
    "Immediate",
    "Info",
    "OverloadInfo",
    "ProxyInfo",
    "TextDuplex",
    "TextReadable",
    "TextSocket",
    "Timeout",
]
