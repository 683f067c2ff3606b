"""What the library logs: each matter at once, and then at most once in a while, with a count."""

from __future__ import annotations

import sys

from .._base import TYPE_CHECKING
from .._core.timer import set_timeout

if TYPE_CHECKING:
    from typing import Any

SECOND = 1000  # ms
MINUTE = 60_000


class Throttle:
    """A matter that has one line a second at most. Subclasses have the line."""

    often = SECOND
    _timer: Any = None
    _count = 0

    def _note(self, count: int = 1) -> None:
        self._count += count
        if self._timer is None:
            self._line()

    def _line(self, more: bool = True) -> None:
        self._timer = None
        count, self._count = self._count, 0
        if count:
            self._write(count)
            if more:
                self._timer = set_timeout(self._line, self.often).unref()

    def close(self) -> None:
        """Write what is left, and need no timer any more."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.close()
        self._line(False)

    def _write(self, count: int) -> None:
        raise NotImplementedError


class SlowLog(Throttle):
    """Callbacks of a loop that were slow."""

    _slowest: tuple[float, str] = (0.0, "")

    def slow(self, name: str, seconds: float) -> None:
        """A callback was slow."""
        self._slowest = max(self._slowest, (seconds, name))
        self._note()

    def _write(self, count: int) -> None:
        # Imported when it is needed, since it is much, and few programs debug.
        import logging

        (seconds, name), self._slowest = self._slowest, (0.0, "")
        text = "Executing %s took %.3f seconds"
        if count > 1:
            text += f", the slowest of {count} in a second"
        logging.getLogger("pyuvnet").warning(text, name, seconds)


class OverloadLog(Throttle):
    """Sockets of a server that were destroyed to stay within a write budget."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._limits: tuple[str, Any] = ("", None)

    def destroyed(self, count: int, scope: str, limit: int | None) -> None:
        """So many were destroyed. Logged only in a program that logs."""
        if "logging" in sys.modules:
            self._limits = (scope, limit)
            self._note(count)

    def _write(self, count: int) -> None:
        scope, limit = self._limits
        sys.modules["logging"].getLogger("pyuvnet").warning(
            "%s destroyed %d sockets with the longest queues to stay within the write budget of "
            "the %s, %s bytes", repr(self._server), count, scope, limit,
        )  # fmt: skip


class ExhaustedLog(Throttle):
    """A server cannot accept, since the process has no descriptor left: clients wait."""

    often = MINUTE

    def __init__(self, server: Any) -> None:
        self._server = server

    def waits(self) -> None:
        """It has tried without success. Logged only in a program that logs."""
        if "logging" in sys.modules:
            self._note()

    def close(self) -> None:
        """It waits no more."""
        self._count = 0
        super().close()

    def _write(self, count: int) -> None:
        sys.modules["logging"].getLogger("pyuvnet").warning(
            "%s accepts nothing while this process has no descriptor left; clients wait",
            repr(self._server),
        )
