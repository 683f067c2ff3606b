"""Addresses of loopback that listen, refuse or never answer, all at one port."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator


def _bound(host: str, port: int) -> socket.socket:
    one = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        one.bind((host, port))
    except OSError:
        one.close()
        raise
    return one


@contextlib.contextmanager
def hosts(
    *, listen: tuple[str, ...] = (), refuse: tuple[str, ...] = (), hang: tuple[str, ...] = ()
) -> Iterator[tuple[int, dict[str, socket.socket]]]:
    """Open hosts at one port; gives the port, and the socket of each host.

    Args:
        listen: listen, for the test to accept.
        refuse: bound only, so that connecting is refused.
        hang: their queue of one is full, so that Linux drops what asks for more.
    """
    with contextlib.ExitStack() as stack:
        while True:
            port = 0
            opened: dict[str, socket.socket] = {}
            try:
                for host in (*listen, *refuse, *hang):
                    opened[host] = _bound(host, port)
                    port = opened[host].getsockname()[1]
                break
            except OSError:
                # Somebody has this port at another address: another one then.
                for each in opened.values():
                    each.close()
        for each in opened.values():
            stack.enter_context(each)
        for host in listen:
            opened[host].listen(16)
        for host in hang:
            opened[host].listen(0)
            stack.enter_context(socket.create_connection((host, port)))
        yield port, opened
