"""Which files of the program have changed, by their times: for development."""

from __future__ import annotations

import os

from .._base import TYPE_CHECKING
from .._core.timer import set_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

OFTEN = 250  # ms


class Watch:
    """Looks at files, and calls back when one has changed, come or gone.

    Args:
        changed: callable(path).
    """

    def __init__(self, changed: Callable[[str], object]) -> None:
        self._changed = changed
        self._times: dict[str, int | None] = {}
        self._timer = set_interval(self._look, OFTEN)

    def add(self, files: Iterable[str]) -> None:
        """Look at these files too."""
        for file in files:
            self._times.setdefault(file, _time(file))

    def _look(self) -> None:
        found = [file for file, before in self._times.items() if _time(file) != before]
        for file in found:
            self._times[file] = _time(file)
        if found:
            self._changed(found[0])

    def close(self) -> None:
        """Look no more."""
        self._timer.close()


def _time(file: str) -> int | None:
    try:
        return os.stat(file).st_mtime_ns
    except (OSError, ValueError):
        return None
