"""The servers that have a name, which pyuvnet.metrics shows, and what those that are gone counted.

A counter of a name must not go backwards while the process lives: who reads it would take that for
a restart. So what a server has counted is kept when the server is collected.
"""

from __future__ import annotations

from _thread import RLock
from _weakref import ref

from .._base import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Protocol

    Counts = dict[str, Any]

    class Named(Protocol):
        """What pyuvnet.metrics reads of a server."""

        @property
        def name(self) -> str | None: ...
        @property
        def _dropped(self) -> dict[str, int]: ...
        def _counters(self) -> Counts: ...
        def _accept_queue(self) -> tuple[int, int] | None: ...


class _Named:
    """Servers of all threads, held weakly. Each of the three calls of the set's is atomic."""

    def __init__(self) -> None:
        self._refs: set[ref[Named]] = set()

    def add(self, server: Named) -> None:
        self._refs.add(ref(server, self._refs.discard))

    def __iter__(self) -> Iterator[Named]:
        servers = [each() for each in self._refs.copy()]
        return iter([server for server in servers if server is not None])

    def __len__(self) -> int:
        return len(list(iter(self)))


named = _Named()
# What is kept of a server, all of which only grows.
COUNTERS = ("accepted", "closed", "dropped", "errors", "bytes_read", "bytes_written")
_MANY = 100
# By name; and what is not added yet, since a server may be collected in any thread, at any time.
_totals: dict[str, Counts] = {}
_collected: list[tuple[str, Counts]] = []
_lock = RLock()


def keep(name: str, counts: Counts) -> None:
    """A server is collected: keep what it has counted."""
    # Connections that a closed loop has left open are over too.
    kept = {item: counts[item] for item in COUNTERS} | {"closed": counts["accepted"]}
    if any(kept.values()):
        _collected.append((name, kept))
        if len(_collected) > _MANY:
            _add_up()


def totals() -> dict[str, Counts]:
    """What servers that are gone have counted, by name."""
    _add_up()
    return {name: dict(counts) for name, counts in list(_totals.items())}


def forget() -> None:
    """Begin anew; for tests."""
    _collected.clear()
    _totals.clear()


def _add_up() -> None:
    with _lock:
        while _collected:
            name, counts = _collected.pop()
            _totals[name] = add(_totals.get(name, {}), counts)


def add(total: Counts, counts: Counts) -> Counts:
    """The sum of numbers, and of mappings of numbers; what is None, or in one of them, counts."""
    result = dict(total)
    for item, value in counts.items():
        if isinstance(value, dict):
            result[item] = add(result.get(item, {}), value)
        elif value is not None:
            result[item] = result.get(item, 0) + value
    return result
