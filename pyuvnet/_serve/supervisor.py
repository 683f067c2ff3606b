"""The primary of serve(): starts workers, replaces them, and ends them.

Owns: the listening sockets, and a slot for each worker that there is to be. A slot has at most one
worker that serves and one that is to take its place; workers that finish their connections belong
to no slot. What happens is decided in the loop: signals are calls that wait there.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time

from .. import cluster, handover, metrics
from .._aio.run import run
from .._base import TYPE_CHECKING, partial
from .._core.loop import in_main_thread
from .._core.loop_registry import current_loop
from .._core.timer import MAX_TIMEOUT, set_interval, set_timeout
from .._options.kernel import feature_unavailable
from .._server.named import keep
from .._server.systemd import notify
from ..cluster._primary import ARGUMENTS
from ..errors import StateError
from . import pid_file
from .heartbeat import Heartbeat, Pulse
from .log import LOG, lost_lines, set_up_logging
from .settings import has_gil, wrong
from .signals import ORDERS, held_in_children, release
from .sockets import METRICS, Listening, is_at, open_all, resolve
from .watch import Watch
from .worker import VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .._core.timer import Timeout
    from .._server.named import Counts
    from ..cluster._primary import PrimaryWorker
    from ..metrics import Family
    from .settings import Settings

# Before a worker that has died before it was ready is started again: doubled each time, and the
# first one again once a worker has been ready.
FIRST_DELAY = 100  # ms
LONGEST_DELAY = 30_000
# One that has served is replaced at once, but so long after it was started at the earliest: what
# ends each worker must not keep all cores busy with starting the next.
LEAST_BETWEEN = 500  # ms
# How much longer than timeout_graceful a worker may take before it is killed, and how long after a
# second signal.
PATIENCE = 3000
AT_ONCE = 1500
# A signal that comes so soon after another is the same order: a terminal sends SIGINT to the whole
# group, and a wrapper (a shell, `npm run`, the init of a container) passes it on once more.
SAME_ORDER = 0.2  # s
# Until a new primary has to be ready, at least: its workers may take timeout_start.
UPGRADE = 60_000
# After which a worker that is not ready is worth a line.
SLOW_START = 10_000
# How long connections that were accepted may wait for a worker at the end, and how often to look.
_HANDING_OUT = 5000
_LOOK = 5
# How long a worker may take to reply with its counters, for a scraper.
_COUNTING = 500
# How long a scraper may take to get its answer once the metrics are served no more.
_LAST_SCRAPE = 1000

STARTING = "starting"
READY = "ready"
LEAVING = "leaving"


class Backoff:
    """How long to wait before a worker is started again."""

    def __init__(self) -> None:
        self._next = FIRST_DELAY

    def after(self) -> int:
        """The delay in ms after another one that has died before it was ready."""
        delay = self._next
        self._next = min(delay * 2, LONGEST_DELAY)
        return delay

    def reset(self) -> None:
        """Begin with the first delay."""
        self._next = FIRST_DELAY


class Slot:
    """The place of one worker."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.current: Process | None = None
        self.coming: Process | None = None
        self.backoff = Backoff()
        self.timer: Timeout | None = None
        # Whether a worker of it has ever been ready; whether it is not wanted any more.
        self.served = self.removed = False

    def forget_timer(self) -> None:
        """Do not start a worker later."""
        if self.timer is not None:
            self.timer.close()
            self.timer = None


class Process:
    """One worker, from its start to its end.

    Attributes:
        generation: int, which rolling restart it belongs to.
        state: STARTING, READY or LEAVING.
        again: bool, whether it is to be replaced before it is ready.
        counts: what its servers have counted, by name.
        exceptions: int, how many it has contained.
        pulse: whether it is on time.
    """

    def __init__(self, slot: Slot, worker: PrimaryWorker, generation: int) -> None:
        self.slot, self.worker, self.generation = slot, worker, generation
        self.state = STARTING
        self.again = False
        self.started = time.monotonic()
        self.timers: list[Timeout] = []
        self.counts: dict[str, Counts] = {}
        self.exceptions = 0
        self.pulse = Pulse()

    @property
    def leaving(self) -> bool:
        """Whether it is to end."""
        return self.state == LEAVING

    @property
    def life(self) -> float:
        """Its age in ms."""
        return (time.monotonic() - self.started) * 1000

    def __str__(self) -> str:
        return f"worker {self.worker.id} (pid {self.worker.process.pid})"

    def forget_timers(self) -> None:
        """Nothing is to happen to it any more."""
        for timer in self.timers:
            timer.close()
        self.timers.clear()


class _Descriptor:
    """A listening socket as handover knows servers."""

    _running = False

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def fileno(self) -> int:
        return self._fd


def _workers(count: int) -> str:
    return "1 worker" if count == 1 else f"{count} workers"


class Supervisor:
    """The primary.

    Args:
        settings: of serve().

    Raises: what serve() raises.
    """

    def __init__(self, settings: Settings) -> None:
        if sys.platform == "win32":
            raise feature_unavailable("serve()")
        if not in_main_thread():
            raise StateError("serve() can only be called in the main thread", "ERR_WRONG_THREAD")
        self.settings = settings
        self.slots: list[Slot] = []
        self.processes: dict[int, Process] = {}
        self.generation = 0
        self.code = 0
        # Whether all workers have been ready once; whether a rolling restart is under way.
        self.up = self.rolling = False
        self.stopping = self.replaced = self.upgrading = self._is_over = False
        self._signals = 0
        self._ordered = 0.0
        self._listening: list[Listening] = []
        self._before: dict[int, Any] = {}
        self._ends = self._is_to_stop = False
        self._metrics: Any = None
        self._watch: Watch | None = None
        self._watchdog: Timeout | None = None
        self._starved = False
        self._ready_before = 0
        self._heartbeat = Heartbeat(
            *(settings, self.processes, self._is_unready, self._is_late, self._is_hung)
        )
        self._handover: Any = None
        self._timers: list[Timeout] = []
        self._numbers = self._count_requests = 0
        self._counting: dict[int, tuple[set[int], Callable[[], None]]] = {}
        # Of workers that have ended.
        self.crashes = self.exceptions = 0

    def run(self, ends: bool = False) -> int:
        """Serve until it is over; returns the exit status.

        Args:
            ends: the process ends then, too.
        """
        self._ends = ends
        set_up_logging(self.settings.log_level)
        names = {"reuse-port": "SCHED_REUSE_PORT", "shared": "SCHED_NONE", "rr": "SCHED_RR"}
        cluster.scheduling_policy = getattr(cluster, names[self.settings.policy])
        # The program runs again up to here, and needs what it may have taken out of sys.argv.
        cluster.settings.setdefault("args", list(ARGUMENTS))
        try:
            self._handle_signals()
            of_metrics = open_all(self.settings, self._listening)
            for each in self._listening:
                LOG.info("listening on %s", each.shown)
            if self.settings.threads > 1 and has_gil():
                LOG.warning("the threads of a worker share one core: this Python has a GIL")
            if self.settings.reload:
                self._watch = Watch(self._file_changed)
            if self.settings.metrics is not None:
                self._serve_metrics(*self.settings.metrics, of_metrics)
            for fd in of_metrics:
                # This version serves them elsewhere, or not at all.
                os.close(fd)
            for _ in range(self.settings.workers):
                self._add_slot()
            for slot in self.slots:
                self._start(slot)
            self._heartbeat.start()
            run()
        finally:
            self._close()
            if not current_loop()._turned:
                # It has failed before; what it had opened is closed by a turn.
                current_loop().turn()
        return self.code

    # ---- Signals -------------------------------------------------------------------------------

    def _handle_signals(self) -> None:
        loop, pid = current_loop(), os.getpid()

        def arrived(number: int, frame: object) -> None:
            # Also in the middle of a callback: nothing is done here.
            if os.getpid() == pid and not loop.closed:
                self._is_to_stop = self._is_to_stop or number in (signal.SIGTERM, signal.SIGINT)
                loop._push_call(self._signalled, (number,))

        for number in (signal.SIGTERM, signal.SIGINT, *ORDERS):
            self._before[number] = signal.signal(number, arrived)
        release()

    @property
    def _ending(self) -> bool:
        """Whether it stops, or has a signal to do so.

        If a signal was for the group, how its workers ended may be known before it is dealt with.
        """
        return self.stopping or self._is_to_stop

    def _signalled(self, number: int) -> None:
        name = signal.Signals(number).name
        if number in (signal.SIGTERM, signal.SIGINT):
            self._stop(name)
        elif self.stopping:
            LOG.info("%s ignored: already stopping", name)
        elif number == signal.SIGHUP:
            self.restart(name)
        elif number == signal.SIGUSR2:
            self.upgrade()
        elif number == signal.SIGTTIN and self.upgrading:
            # The new primary would not have the socket of that worker.
            LOG.warning("SIGTTIN ignored: an upgrade is in progress")
        elif number == signal.SIGTTIN:
            LOG.info("SIGTTIN: now %s", _workers(len(self.slots) + 1))
            self._start(self._add_slot())
        elif number == signal.SIGTTOU:
            self._remove_slot()

    # ---- Workers start -------------------------------------------------------------------------

    def _add_slot(self) -> Slot:
        self._numbers += 1
        slot = Slot(self._numbers)
        self.slots.append(slot)
        return slot

    def _start(self, slot: Slot) -> None:
        """Start a worker for a slot, next to the current one."""
        slot.forget_timer()
        if slot.removed or self._ending or slot.coming is not None:
            return
        given = {
            "places": [each.keywords for each in self._listening],
            "timeout": self.settings.timeout_graceful,
            "threads": self.settings.threads,
            "log_level": self.settings.log_level,
            "reload": self.settings.reload,
            "tls": None,
            "guarded": self.settings.guarded,
            "contain": self.settings.contain_exceptions,
        }
        if self.settings.tls_cert is not None:
            given["tls"] = [self.settings.tls_cert, self.settings.tls_key]
            if self.settings.tls_by_bind:
                given["secure"] = [each.tls for each in self._listening]
        try:
            worker = self._fork({VARIABLE: json.dumps(given)})
        except OSError as error:
            if not self.up:
                raise
            delay = slot.backoff.after()
            LOG.error("cannot start a worker: %s; retrying in %g s", error, delay / 1000)
            slot.timer = set_timeout(partial(self._start, slot), delay)
            return
        process = slot.coming = Process(slot, worker, self.generation)
        if slot.current is not None:
            worker.predecessor = slot.current.worker
        self.processes[worker.id] = process
        process.timers.append(set_timeout(partial(self._is_slow, process), SLOW_START).unref())
        worker.on_report = partial(self._reported, process)
        worker.on("exit", partial(self._exited, process))
        LOG.debug("%s starts", process)

    def _is_slow(self, process: Process) -> None:
        if process.state == STARTING and not self.stopping:
            LOG.warning(
                "%s is not ready after %g s: its function has neither returned nor started to wait "
                "for its server",
                process,
                SLOW_START / 1000,
            )

    def _is_unready(self, process: Process) -> None:
        """A start has a limit, also since the old worker may die meanwhile."""
        limit = self.settings.timeout_start or 0
        LOG.error("%s is not ready after %g s: killed", process, limit / 1000)
        process.worker.kill("SIGKILL")

    def _is_late(self, process: Process) -> None:
        """A worker's loop does not run: others get the connections."""
        LOG.warning("%s does not reply: its loop is blocked, or it was stopped", process)
        for each in self._listening:
            each.place.set_aside(process.worker)

    def _is_hung(self, process: Process) -> None:
        """A worker's loop has not run for so long that another worker takes its place.

        It is shut down then as any other, and so may still finish what it does.
        """
        slot = process.slot
        if self.stopping or self.upgrading or slot.coming is not None or slot.timer is not None:
            return
        limit = self.settings.timeout_hung or 0
        LOG.error("%s has not replied for %g s; starting its successor", process, limit / 1000)
        self._start(slot)

    def _beats(self, process: Process) -> None:
        if process.pulse.beats():
            LOG.info("%s replies again", process)
            for each in self._listening:
                each.place.take_back(process.worker)

    def _fork(self, env: dict[str, str]) -> PrimaryWorker:
        """Start a process, which takes no signal of its group before it can handle it."""
        with held_in_children():
            return cluster._primary.fork(env)

    def _reported(self, process: Process, report: dict[str, Any]) -> None:
        """A report of a worker's has arrived."""
        what = report["what"]
        if what == "ready":
            process.pulse.is_ready(report["beats"])
            self._is_ready(process)
        elif what == "beat":
            self._beats(process)
        elif what == "sigterm" and not self._ending:
            # SIGTERM for the worker alone.
            LOG.info("%s received SIGTERM; starting its successor first", process)
            process.generation = -1
            self._roll()
        elif what == "files" and self._watch is not None:
            self._watch.add(report["files"])
        elif what == "counts":
            process.counts = report["names"]
            process.exceptions = report["exceptions"]
            self._counted(process, report.get("seq"))

    def _is_ready(self, process: Process) -> None:
        slot = process.slot
        if process.state != STARTING or process.again or slot.removed or self.stopping:
            # What was killed may have reported before.
            return
        process.state = READY
        slot.served = True
        slot.backoff.reset()
        old, slot.current, slot.coming = slot.current, process, None
        LOG.info("%s is ready", process)
        if self.up:
            self._serve(process)
        else:
            self._look_whether_up()
        if old is not None:
            self._retire(old)
        self._roll()

    def _serve(self, process: Process) -> None:
        """Let a worker that is ready accept."""
        process.worker.order(what="serve")
        self._replace_later(process)

    def _look_whether_up(self) -> None:
        """Begin to serve, if every worker is ready for the first time.

        A new primary serves once it is sure to stay, and so do its workers.
        """
        if not self.up and all(each.current is not None for each in self.slots):
            for slot in self.slots:
                if slot.current is not None:
                    self._serve(slot.current)
            self._is_up()

    def _is_up(self) -> None:
        """All workers are ready for the first time."""
        self.up = True
        for each in self._listening:
            each.place.release()
        if self.settings.pid_file is not None:
            try:
                pid_file.write(self.settings.pid_file)
            except OSError as error:
                what = error.strerror or error
                LOG.error("the pid file %s cannot be written: %s", self.settings.pid_file, what)
        if self._metrics is not None:
            self._metrics.resume()
        LOG.info("ready, with %s", _workers(len(self.slots)))
        handover.ready()
        self._notify(f"READY=1\nMAINPID={os.getpid()}")
        usec = os.environ.get("WATCHDOG_USEC", "")
        if usec.isdigit() and int(usec):
            # One that is left out since no worker replied for a moment does not end the service.
            often = min(max(int(usec) / 4000, 1), MAX_TIMEOUT)
            self._watchdog = set_interval(self._feed_watchdog, often).unref()

    def _feed_watchdog(self) -> None:
        """Let the service manager know that all is well, while that is so.

        A worker that is being replaced counts as one that replies: its start has a limit.
        """
        well = sum(
            slot.coming is not None or (slot.current is not None and not slot.current.pulse.late)
            for slot in self.slots
        )
        starved = 2 * well < len(self.slots) and not self.stopping and not self.settings.reload
        if starved and not self._starved:
            LOG.error("no more WATCHDOG=1: %d of %s replies", well, _workers(len(self.slots)))
        self._starved = starved
        if not starved:
            self._notify("WATCHDOG=1")

    def _all(self, *states: str) -> list[Process]:
        return [each for each in self.processes.values() if each.state in states]

    # ---- Workers end ---------------------------------------------------------------------------

    def _exited(self, process: Process, code: int | None, name: str | None) -> None:
        how = f"signal {name}" if name is not None else f"exit status {code}"
        slot = process.slot
        del self.processes[process.worker.id]
        process.forget_timers()
        for names, counts in process.counts.items():
            keep(names, counts)
        self.exceptions += process.exceptions
        self._counted(process, None)
        if slot.coming is process:
            slot.coming = None
            self._has_not_begun(process, how)
        elif slot.current is process:
            slot.current = None
            self._has_crashed(process, how)
        else:
            LOG.info("%s has ended with %s", process, how)
        if self.stopping:
            self._look_whether_over()
        else:
            self._roll()

    def _has_crashed(self, process: Process, how: str) -> None:
        """A worker has ended that was to serve."""
        if self.stopping:
            LOG.info("%s has ended with %s", process, how)
            return
        self.crashes += 1
        if process.slot.coming is not None:
            LOG.error("%s has ended with %s; its successor is starting", process, how)
        else:
            self._start_later(process, how)

    def _start_later(self, process: Process, how: str) -> None:
        """Start another worker in place of one that has ended."""
        slot = process.slot
        if process.state == STARTING:
            delay = slot.backoff.after()
        else:
            delay = round(max(LEAST_BETWEEN - process.life, 0))
        when = f"in {delay / 1000:g} s" if delay else "at once"
        LOG.error("%s has ended with %s; restarting %s", process, how, when)
        slot.timer = set_timeout(partial(self._start, slot), delay)

    def _has_not_begun(self, process: Process, how: str) -> None:
        """A worker has ended before it was ready."""
        slot = process.slot
        if self._ending or slot.removed:
            LOG.info("%s has ended with %s", process, how)
        elif process.again:
            self._start(slot)
        elif self.settings.reload and slot.current is None:
            LOG.error("%s has failed with %s; waiting for a file to change", process, how)
        elif not self.up and not self.settings.reload:
            LOG.critical("%s has failed with %s before it was ready", process, how)
            self.code = 3
            self._stop_now()
        elif slot.current is not None and not slot.current.pulse.late:
            LOG.error("%s has failed with %s; the old workers stay", process, how)
            self._keep_old_workers()
        elif not slot.served:
            LOG.error("%s has failed with %s; no worker was added", process, how)
            self._forget_slot(slot)
        else:
            # The old worker is dead, or hangs. There is no other version than that of the files.
            self._keep_old_workers()
            self._start_later(process, how)

    def _keep_old_workers(self) -> None:
        """A new version has failed: replace no worker by it until there is another restart."""
        for each in self._all(READY):
            if each.generation < 0:
                # The timer that it had may have fired.
                each.forget_timers()
                self._replace_later(each)
            each.generation = self.generation
        self._end_rolling()

    def _retire(self, process: Process) -> None:
        """Let a worker finish its connections and end."""
        if process.state == LEAVING:
            return
        timeout = self.settings.timeout_graceful
        process.state = LEAVING
        process.forget_timers()
        process.worker.leaving = True
        process.worker.order(what="shutdown", timeout=timeout, rest=False)
        self._kill_later(process, timeout + PATIENCE)

    def _kill_later(self, process: Process, delay: float) -> None:
        due = set_timeout(partial(self._kill, process), min(delay, MAX_TIMEOUT))
        process.timers.append(due)

    def _kill(self, process: Process) -> None:
        LOG.warning("%s has not stopped in time: killed", process)
        process.worker.kill("SIGKILL")

    def _replace_later(self, process: Process) -> None:
        """Replace a worker at its age."""
        life = self.settings.max_lifetime
        if life is not None:
            # Not all of them at once.
            delay = min(life * random.uniform(0.9, 1.1), MAX_TIMEOUT)
            process.timers.append(set_timeout(partial(self._too_old, process), delay).unref())

    def _too_old(self, process: Process) -> None:
        LOG.info("%s has reached its maximum lifetime", process)
        process.generation = -1
        self._roll()

    # ---- Rolling restart -----------------------------------------------------------------------

    def restart(self, why: str) -> None:
        """Replace all workers, one after another."""
        LOG.info("%s: restarting the workers", why)
        self.generation += 1
        self._notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        self.rolling = True
        for slot in self.slots:
            slot.backoff.reset()
            if slot.coming is not None:
                # It has begun with what was there before.
                slot.coming.again = True
                slot.coming.worker.kill("SIGKILL")
            elif slot.current is None:
                self._start(slot)
        self._roll()

    def _file_changed(self, file: str) -> None:
        if not self.stopping:
            self.restart(f"{file} has changed")

    def _roll(self) -> None:
        """Start the next successor, unless one is on its way."""
        if self.stopping or self.upgrading or any(each.coming for each in self.slots):
            return
        for slot in self.slots:
            if slot.current is not None and slot.current.generation < self.generation:
                self._start(slot)
                return
        if self.rolling and self.up and all(each.current for each in self.slots):
            LOG.info("all workers are new")
            self._end_rolling()

    def _end_rolling(self) -> None:
        if self.rolling:
            self.rolling = False
            self._notify("READY=1")

    # ---- More and fewer workers ----------------------------------------------------------------

    def _remove_slot(self) -> None:
        if len(self.slots) == 1:
            LOG.info("SIGTTOU ignored: there is only one worker")
            return
        slot = self.slots[-1]
        LOG.info("SIGTTOU: now %s", _workers(len(self.slots) - 1))
        self._forget_slot(slot)
        if slot.current is not None:
            self._retire(slot.current)
            slot.current = None
        if slot.coming is not None:
            slot.coming.worker.kill("SIGKILL")
        # It may have been the only one that was not ready, or that a restart waited for.
        self._look_whether_up()
        self._roll()

    def _forget_slot(self, slot: Slot) -> None:
        slot.removed = True
        slot.forget_timer()
        self.slots.remove(slot)

    # ---- Hot upgrade ---------------------------------------------------------------------------

    def upgrade(self) -> None:
        """Start a new primary that takes the sockets over; when it is ready, end."""
        why = None
        if self.upgrading:
            why = "an upgrade is in progress"
        elif not self.up:
            why = "not ready yet"
        elif not all(slot.served for slot in self.slots):
            # It may open its socket after the others were handed over.
            why = "a worker is being added"
        if why is not None:
            LOG.warning("SIGUSR2 ignored: %s", why)
            return
        LOG.info("SIGUSR2: starting a new primary")
        named: dict[str, list[Any]] = {}
        for each in self._listening:
            several = named.setdefault(each.name, [])
            several += [_Descriptor(fd) for fd in each.descriptors()]
        if self._metrics is not None and self._metrics.listening:
            named[METRICS] = [_Descriptor(self._metrics.fileno())]
        words = [os.fsencode(word) for word in cluster._primary.command]
        start = self.settings.timeout_start
        limit = MAX_TIMEOUT if start is None else max(UPGRADE, start + PATIENCE)
        self.upgrading = True
        try:
            with held_in_children():
                self._handover = handover._begin(words, named, limit, self._upgraded)
        except (OSError, StateError) as error:
            self.upgrading = False
            LOG.error("cannot start a new primary: %s", error)

    def _upgraded(self, error: Exception | None, pid: int | None) -> None:
        self.upgrading = False
        self._handover = None
        if self.stopping:
            self._look_whether_over()
        elif error is not None:
            LOG.error("upgrade failed: %s; this primary continues", error)
            self._roll()
        else:
            LOG.info("the new primary (pid %s) is ready; this one shuts down", pid)
            self.replaced = True
            self._ready_before = len(self._all(READY))
            if self._metrics is not None:
                # The new one has the socket, and what waits in its queue.
                self._metrics.shutdown(_LAST_SCRAPE)
            self._begin_to_stop()

    # ---- The end -------------------------------------------------------------------------------

    def _stop(self, name: str) -> None:
        """SIGTERM or SIGINT: the first one shuts down, the second one ends everything."""
        now = time.monotonic()
        if self._signals and now - self._ordered < SAME_ORDER:
            LOG.info("%s ignored: it came together with the one before", name)
            return
        self._ordered = now
        self._signals += 1
        if self.stopping and self._signals > 1:
            LOG.warning("%s: stopping immediately", name)
            self._stop_now()
        elif self.stopping:
            LOG.info("%s ignored: already stopping", name)
        else:
            LOG.info("%s: shutting down", name)
            self._notify("STOPPING=1")
            self._begin_to_stop()

    def _begin_to_stop(self) -> None:
        """Shut all workers down, once they have what was accepted for them."""
        self.stopping = True
        self._forget_what_is_due()
        if self._handover is not None:
            self._handover._fail("is no longer needed")
        for each in self._all(STARTING):
            each.worker.leaving = True
            each.worker.order(what="shutdown", timeout=0, rest=False)
            # It may not hear of it yet.
            each.worker.kill("SIGTERM")
            self._kill_later(each, PATIENCE)
        for listening in self._listening:
            listening.drain(self._rest, keep_file=self.replaced)
        self._hand_out(time.monotonic() + _HANDING_OUT / 1000)

    @property
    def _rest(self) -> bool:
        """Whether those who wait in the kernel's queue are ours to serve: no other primary's."""
        return self.up and not self.replaced

    def _hand_out(self, limit: float) -> None:
        handed_out = all(each.place.idle for each in self._listening)
        if not handed_out and time.monotonic() < limit and self._all(READY):
            self._timers.append(set_timeout(self._hand_out, _LOOK, limit))
            return
        left = sum(each.place.hand_out_all() for each in self._listening)
        if left:
            LOG.warning("%d connections were closed: no worker was left to take them", left)
        # The workers have the only copies from now on: who comes late is refused, or taken by the
        # last of them.
        self._close_sockets()
        timeout = self.settings.timeout_graceful
        for each in self._all(READY):
            each.state = LEAVING
            each.forget_timers()
            each.worker.order(what="shutdown", timeout=timeout, rest=self._rest)
            self._kill_later(each, timeout + PATIENCE)
        self._look_whether_over()

    def _stop_now(self) -> None:
        """End all workers at once."""
        again = self.stopping and self._signals > 2
        self.stopping = True
        self._forget_what_is_due()
        self._close_sockets()
        for each in list(self.processes.values()):
            each.forget_timers()
            each.worker.leaving = True
            if again or each.state == STARTING:
                each.worker.kill("SIGKILL")
            else:
                each.state = LEAVING
                each.worker.order(what="shutdown", timeout=0, rest=False)
                self._kill_later(each, AT_ONCE)
        self._look_whether_over()

    def _forget_what_is_due(self) -> None:
        for slot in self.slots:
            slot.forget_timer()
        for timer in self._timers:
            timer.close()
        self._timers.clear()
        if self._watch is not None:
            self._watch.close()

    def _close_sockets(self) -> None:
        for each in self._listening:
            each.close(ours=self.up and not self.replaced)
        self._listening.clear()

    def _look_whether_over(self) -> None:
        if self.stopping and not self.processes and not self.upgrading:
            if self._watchdog is not None:
                self._watchdog.close()
            if self._metrics is None:
                self._over()
                return
            for each in [] if self.replaced else self._metrics.sockets:
                if not each.busy:
                    each.destroy()
            # Who has asked is answered.
            self._metrics.shutdown(_LAST_SCRAPE, callback=self._over)

    def _over(self, result: object = None) -> None:
        if not self._is_over:
            self._is_over = True
            # In the check phase, behind which is the closing one.
            current_loop().set_immediate(current_loop().stop)

    def _close(self) -> None:
        """Leave nothing behind."""
        self._forget_what_is_due()
        self._close_sockets()
        self._end_what_is_left()
        if self._metrics is not None:
            metrics._ask_workers = metrics._of_workers = metrics._of_primary = None
        for number, before in self._before.items():
            if self._ends:
                # What comes until the process has ended is too late.
                before = signal.SIG_IGN
            signal.signal(number, signal.SIG_DFL if before is None else before)
        if self.settings.pid_file is not None and self.up:
            pid_file.remove(self.settings.pid_file)
        if self.up:
            LOG.info("ended")

    def _end_what_is_left(self) -> None:
        """End the workers that there are if serve() raises: the program may go on without it."""
        self.stopping = True
        left = list(self.processes.values())
        for each in left:
            each.forget_timers()
            each.worker.kill("SIGKILL")
        for each in left:
            each.worker.abandon()
        self.processes.clear()
        self._heartbeat.close()
        if self._watchdog is not None:
            self._watchdog.close()
        if self._metrics is not None and self._metrics._running:
            self._metrics.close()

    def _notify(self, state: str) -> None:
        try:
            notify(state)
        except OSError as error:
            LOG.warning("the service manager cannot be reached: %s", error)

    # ---- Metrics -------------------------------------------------------------------------------

    def _serve_metrics(self, host: str, port: int, handed_over: list[int]) -> None:
        """Serve the metrics.

        Args:
            handed_over: the listener of an old primary, which is taken out if it is the one.
        """
        at = resolve(host)
        for each in self._listening:
            theirs = each.keywords.get("host")
            same = at is None or theirs in (None, "::", "0.0.0.0", at)
            if port and port == each.keywords.get("port") and same:
                shown = f"[{host}]" if ":" in host else host
                raise wrong(f"--metrics {shown}:{port} has the same address as --bind {each.shown}")
        metrics._of_workers = lambda: [each.counts for each in self.processes.values()]
        metrics._ask_workers = self._collect_counts
        metrics._of_primary = self._families
        place: dict[str, Any] = {"port": port, "host": at or "::"}
        if handed_over and is_at(handed_over[0], place["host"], port):
            place = {"fd": handed_over.pop()}
        self._metrics = metrics._serve(place)
        if "fd" in place:
            # The old one serves them until this one is ready, and goes on if it fails.
            self._metrics.pause()
        self._metrics.on("listening", self._metrics_listening)

    def _metrics_listening(self) -> None:
        address = self._metrics.address()
        host = f"[{address.address}]" if ":" in address.address else address.address
        LOG.info("metrics at http://%s:%s/metrics", host, address.port)

    def _collect_counts(self, then: Callable[[], object]) -> None:
        """Request the workers' counters; call back once all have replied, or after a while."""
        workers = self._all(READY, LEAVING)
        self._count_requests += 1
        seq = self._count_requests
        timer = set_timeout(lambda: done(), _COUNTING)

        def done() -> None:
            timer.close()
            if self._counting.pop(seq, None) is not None:
                then()

        self._counting[seq] = ({each.worker.id for each in workers}, done)
        for each in workers:
            each.worker.order(what="counts", seq=seq)
        if not workers:
            done()

    def _counted(self, process: Process, seq: int | None) -> None:
        """A worker has replied to a request; None: it has ended, and replies to none."""
        for number, (left, done) in list(self._counting.items()):
            if seq is None or seq == number:
                left.discard(process.worker.id)
                if not left:
                    done()

    def _families(self) -> list[Family]:
        # Scrapes that were under way when another primary took over see what was there then.
        ready = self._ready_before if self.replaced else len(self._all(READY))
        hung = sum(each.pulse.late for each in self._all(READY))
        exceptions = sum(each.exceptions for each in self.processes.values())
        return [
            ("pyuvnet_serve_workers", "gauge", "", "Workers that are ready.", [({}, ready)]),
            ("pyuvnet_serve_workers_wanted", "gauge", "", "Workers that should be running.",
             [({}, len(self.slots))]),
            ("pyuvnet_serve_workers_hung", "gauge", "", "Workers whose loop does not run.",
             [({}, hung)]),
            ("pyuvnet_serve_crashes", "counter", "", "Workers that ended unexpectedly.",
             [({}, self.crashes)]),
            ("pyuvnet_serve_lost_log_lines", "counter", "",
             "Lines of the primary's log that could not be written.", [({}, lost_lines())]),
            ("pyuvnet_serve_exceptions", "counter", "",
             "Exceptions that ended no more than their connection.",
             [({}, self.exceptions + exceptions)]),
        ]  # fmt: skip
