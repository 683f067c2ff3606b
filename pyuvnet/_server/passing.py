"""What becomes of descriptors that arrive with the bytes of a connection: sockets and servers.

Each is opened and emitted by 'handle'. It is closed without a listener, and if it is neither a
connection nor a listener of TCP or of a unix socket.
"""

from __future__ import annotations

import _socket
import os

from .._base import TYPE_CHECKING
from ..server import Server
from ..socket import Socket

if TYPE_CHECKING:
    from collections.abc import Sequence

_FAMILIES = (_socket.AF_INET, _socket.AF_INET6, getattr(_socket, "AF_UNIX", None))


def handles_arrived(to: Socket, descriptors: list[int], data: bytes) -> bool:
    """Descriptors have come with data: take over the first, or all, out of the list.

    Returns False if the data are still to be read.
    """
    if to._take_descriptors is not None:
        taken = descriptors[:]
        descriptors.clear()
        to._take_descriptors(taken, data)
        return True
    fd = descriptors.pop(0)
    if not to.listener_count("handle") or to.destroyed:
        close_all([fd])
        return False
    handle = open_handle(fd)
    if handle is None:
        return False
    try:
        to.emit("handle", handle, data)
    except BaseException:
        destroy_unused(handle)
        raise
    return True


def destroy_unused(handle: Socket | Server) -> None:
    """After an exception in a listener: close what has no listener and would stay open."""
    if handle.event_names():
        return
    if isinstance(handle, Server):
        handle.close()
    else:
        handle.destroy()


def open_handle(fd: int) -> Socket | Server | None:
    """Open what a descriptor is, which is taken over; None: nothing that can be, and closed."""
    kind, listens = _kind(fd)
    handle: Socket | Server
    if kind is not None:
        try:
            if listens:
                handle = Server()
                if not handle._listen_on(fd):
                    return handle
            else:
                handle = Socket()
                handle._open_descriptor(fd, kind)
                return handle
        except OSError:
            pass
        except BaseException:
            close_all([fd])
            raise
    close_all([fd])
    return None


def _kind(fd: int) -> tuple[str | None, bool]:
    """'TCP' or 'PIPE', and whether it listens; None if it is no stream that could be used."""
    try:
        looked_at = _socket.socket(fileno=fd)
    except OSError:
        return None, False
    try:
        family = looked_at.family
        if looked_at.type != _socket.SOCK_STREAM or family not in _FAMILIES:
            return None, False
        listens = bool(looked_at.getsockopt(_socket.SOL_SOCKET, _socket.SO_ACCEPTCONN))
        if not listens:
            looked_at.getpeername()
    except OSError:
        return None, False
    finally:
        # It is only a number to this module.
        looked_at.detach()
    return "TCP" if family in (_socket.AF_INET, _socket.AF_INET6) else "PIPE", listens


def close_all(descriptors: Sequence[int]) -> None:
    """Close descriptors."""
    for fd in descriptors:
        try:  # noqa: SIM105
            os.close(fd)
        except OSError:
            pass
