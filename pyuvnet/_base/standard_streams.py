"""The standard streams of a process that was started without some of them."""

from __future__ import annotations

import os


def open_standard_streams() -> None:
    """Open what a shell or a daemon has closed of stdin, stdout and stderr (`<&-`).

    Else a socket would get its number, and libuv never closes a socket that has one of these.
    Programs that are started from here inherit them.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # It gets the lowest number that is free.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
