"""A primary of pyuvnet.serve() in this process, whose workers a test plays."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

if sys.platform != "win32":
    from pyuvnet._serve import settings, supervisor


class FakeWorker:
    """A worker of which the test says what it does."""

    def __init__(self, number: int) -> None:
        self.id = number
        self.process = SimpleNamespace(pid=1000 + number)
        self.leaving = False
        # Whether its loop runs, so that it replies to beats.
        self.runs = True
        self.predecessor: FakeWorker | None = None
        self.orders: list[str] = []
        self.kills: list[str] = []
        self.on_report: Any = None
        self._exited: Any = None

    def on(self, event: str, listener: Any) -> None:
        assert event == "exit"
        self._exited = listener

    def order(self, *, what: str, **more: Any) -> None:
        self.orders.append(what)
        if what == "beat" and self.runs:
            self.reports("beat")

    def kill(self, name: str) -> None:
        self.kills.append(name)

    def reports(self, what: str, **more: Any) -> None:
        self.on_report({"what": what, **({"beats": True} if what == "ready" else {}), **more})

    def ends(self, code: int | None = None, name: str | None = None) -> None:
        self._exited(code, name)


class Driven:
    """A primary without processes or signals: the test calls what a real one would be told.

    Args:
        options: of serve().
    """

    def __init__(self, **options: Any) -> None:
        self.workers: list[FakeWorker] = []
        self.primary = supervisor.Supervisor(settings.Settings(app="app:app", **options))
        self.primary._fork = self._fork  # type: ignore[method-assign, assignment]
        for _ in range(self.primary.settings.workers):
            self.primary._add_slot()
        for slot in self.primary.slots:
            self.primary._start(slot)

    def _fork(self, env: dict[str, str]) -> FakeWorker:
        self.workers.append(FakeWorker(len(self.workers) + 1))
        return self.workers[-1]

    def all_ready(self) -> None:
        for each in self.workers:
            each.reports("ready")
        assert self.primary.up

    def close(self) -> None:
        self.primary._forget_what_is_due()
        for each in self.primary.processes.values():
            each.forget_timers()
