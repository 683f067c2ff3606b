"""What a worker does with an exception of a listener: it ends the connection, and not the worker.

In Node an exception ends the process, and so with run(). A worker has the connections of many
clients, though, and a client that sends what the program cannot handle must not end all of them.
What has nothing to do with a connection, such as a timer, fails alone as well: asyncio, which some
workers run, does the same. What is no Exception, such as SystemExit, ends the worker.
"""

from __future__ import annotations

import time

from .._base import TYPE_CHECKING
from .._core.loop import running_asyncio
from .._core.stream import Stream
from ..server import Server
from .log import LOG

if TYPE_CHECKING:
    from collections.abc import Callable

# How many tracebacks are logged in a second: a client that sends nothing else must not fill a disk.
_MOST = 10


class Containment:
    """What contains the exceptions of one thread.

    Args:
        is_lost: callable(), whether the worker does not listen any more, and is of no use.
        fail: callable(error), ends the worker.

    Attributes:
        count: int, of exceptions so far.
    """

    def __init__(self, is_lost: Callable[[], bool], fail: Callable[[Exception], object]) -> None:
        self._is_lost, self._fail = is_lost, fail
        self.count = 0
        self._since = 0.0
        self._logged = self._left_out = 0

    def __call__(self, error: Exception, whose: object) -> None:
        """Contain an exception.

        Args:
            whose: the stream or server whose listener raised it; anything else: of neither.
        """
        if self._is_lost():
            self._fail(error)
            return
        self.count += 1
        text = "exception in a callback"
        if isinstance(whose, Stream):
            text = f"exception in a listener of {_name(whose)}, which is destroyed"
            try:
                whose.destroy()
            except Exception:
                LOG.exception("%s could not be destroyed", type(whose).__name__)
        elif isinstance(whose, Server):
            text = "exception in a listener of the server"
        self._log(text, error)

    def _log(self, text: str, error: Exception) -> None:
        now = time.monotonic()
        if now - self._since >= 1:
            if self._left_out:
                LOG.error("%d more exceptions were not logged", self._left_out)
            self._since, self._logged, self._left_out = now, 0, 0
        if self._logged == _MOST:
            self._left_out += 1
            return
        self._logged += 1
        theirs = running_asyncio()
        if theirs is not None and theirs.get_exception_handler() is not None:
            # The program's own.
            theirs.call_exception_handler({"message": text, "exception": error})
        else:
            LOG.error("%s", text, exc_info=error)


def _name(stream: Stream) -> str:
    """What the log calls a stream."""
    address = getattr(stream, "remote_address", None)
    peer = "" if address is None else f" from {address}:{getattr(stream, 'remote_port', '')}"
    return f"a {type(stream).__name__}{peer}"
