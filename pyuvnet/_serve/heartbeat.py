"""The heartbeat: whether workers get ready, and whether their loops run afterwards.

The primary sends a beat to each worker that is ready, and the next one when that was replied to.
Time is what a timer of the primary's has counted, not what a clock says: after the machine, a
container or the primary was suspended, no worker is late that had no time to reply.
"""

from __future__ import annotations

from .._base import TYPE_CHECKING
from .._core.timer import set_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Protocol

    from .._core.timer import Timeout
    from .settings import Settings

    class Watched(Protocol):
        """A worker whose pulse is counted."""

        pulse: Pulse

        @property
        def leaving(self) -> bool: ...
        @property
        def worker(self) -> Any: ...


# How often time is counted; more often where a limit is short.
_STEP = 1000  # ms
_PARTS = 4


class Pulse:
    """What the heartbeat knows of one worker.

    Attributes:
        ready: bool, whether the worker is.
        replies: bool, whether it replies to beats at all.
        waited: float, ms: since its start; from when it is ready, since the last beat or its reply.
        asked: bool, whether a beat was not replied to yet.
        late: bool, whether that took too long: it did not get ready, or its loop does not run.
    """

    def __init__(self) -> None:
        self.ready = self.replies = self.asked = self.late = False
        self.waited = 0.0

    def is_ready(self, replies: bool) -> None:
        """It is ready, and watched from now on if it replies to beats."""
        self.ready, self.replies = True, replies
        self.waited, self.late = 0.0, False

    def beats(self) -> bool:
        """It has replied; returns whether it was late before."""
        was_late, self.late = self.late, False
        self.waited, self.asked = 0.0, False
        return was_late


class Heartbeat:
    """The heartbeat of all workers.

    Args:
        processes: the workers, by any key.
        unready: called once with a worker that is not ready in time.
        late: called once with a worker that does not reply for another interval.
        hung: called with a worker that has not replied for so long that it is to be replaced; again
            at each step.
    """

    def __init__(
        self,
        settings: Settings,
        processes: Mapping[Any, Watched],
        unready: Callable[[Any], object],
        late: Callable[[Any], object],
        hung: Callable[[Any], object],
    ) -> None:
        self._settings, self._processes = settings, processes
        self._unready, self._late, self._hung = unready, late, hung
        self._timer: Timeout | None = None
        limits = (settings.timeout_start, settings.heartbeat, settings.timeout_hung)
        self.step = min([_STEP, *(each / _PARTS for each in limits if each is not None)])

    def start(self) -> None:
        """Begin to count."""
        self._timer = set_interval(self.count, self.step).unref()

    def close(self) -> None:
        """Count no more."""
        if self._timer is not None:
            self._timer.close()
            self._timer = None

    def count(self) -> None:
        """A step of time has passed, in which the primary was there."""
        for process in list(self._processes.values()):
            pulse = process.pulse
            if process.leaving:
                continue
            pulse.waited += self.step
            if pulse.ready:
                self._count_ready(process, pulse)
            else:
                limit = self._settings.timeout_start
                if limit is not None and pulse.waited >= limit and not pulse.late:
                    pulse.late = True
                    self._unready(process)

    def _count_ready(self, process: Watched, pulse: Pulse) -> None:
        often, limit = self._settings.heartbeat, self._settings.timeout_hung
        if often is None or not pulse.replies or pulse.waited < often:
            return
        if not pulse.asked:
            pulse.asked, pulse.waited = True, 0.0
            process.worker.order(what="beat")
            return
        if not pulse.late:
            pulse.late = True
            self._late(process)
        if limit is not None and pulse.waited >= limit:
            self._hung(process)
