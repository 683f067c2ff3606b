"""A worker of serve(): its servers, and its orders from the primary.

A server listens, paused, before the program's function is called with it, and is resumed when the
function has returned and the primary says so: no client is accepted before there is a worker that
listens to 'connection', nor by a new primary that may still fail.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import sysconfig
import threading
from collections import deque
from functools import partial
from pathlib import Path

from .. import cluster, metrics, net
from .._aio.run import run
from .._base import TYPE_CHECKING
from .._core.accepting import listening_servers
from .._core.errors import make_os_error
from .._core.loop_registry import current_loop
from .._core.timer import MAX_TIMEOUT, set_interval, set_timeout
from .._server.named import named
from .._server.shutdown import when_seen_off
from ..cluster import _worker
from ..cluster._messages import START
from ..errors import Error, StateError
from . import target as targets
from .containment import Containment
from .log import LOG, set_up_logging
from .settings import wrong
from .signals import ignore, leave_to_the_primary

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping
    from typing import Any, NoReturn

    from .._core.timer import Timeout
    from ..cluster._worker import OwnWorker
    from ..server import Server
    from .target import Target

# What the primary gives to a worker, as JSON.
VARIABLE = _worker.SERVE_VARIABLE
# Between two looks at whether a coroutine that does not return waits for its server.
_LOOK = 0.01  # s
# Between two looks at which files the program has imported since.
_FILES = 1000  # ms
# Between two looks for room in the threads while a connection waits for one of them.
_RECOVERY = 20  # ms


def given() -> dict[str, Any] | None:
    """What the primary has given to this process; None if it is no worker of serve()."""
    text = os.environ.pop(VARIABLE, None)
    if not cluster.is_worker:
        # A program that a worker has started has the variable, and is another one.
        return None
    if text is None:
        raise StateError(
            "serve() starts workers of its own, and cannot be called in a worker",
            "ERR_INVALID_STATE",
        )
    try:
        return START(json.loads(text))
    except ValueError as error:
        raise StateError(
            f"This is a worker of serve(), and its primary has given it something wrong: {error}",
            "ERR_INVALID_STATE",
        ) from None


def work(app: str | Callable[..., Any] | Server, given: Mapping[str, Any]) -> NoReturn:
    """Be a worker until the primary, or a signal, ends it."""
    own = _worker.own
    assert own is not None
    leave_to_the_primary()
    set_up_logging(given["log_level"])
    try:
        target = targets.find(app)
        worker = ServeWorker(own, given, target)
        if given["reload"]:
            # A change may also replace one whose function does not return.
            worker.report_files()
            own._channel.flush()
        worker.run()
    except BaseException as error:
        if given["reload"]:
            own.report(what="files", files=source_files(error))
            own._channel.flush()
        raise
    # What follows serve() in the program is for the primary.
    ignore()
    sys.exit(0)


class Serving:
    """What serves in one thread, from listen() until the last connection has ended.

    Args:
        target: what serves.
        make: makes a server for the place with a number.
        places: keywords of listen(), for each server; with `handed`, the connections to a
            descriptor are accepted by the primary.
        on_ready, on_down: called once, in this thread, when all servers listen and the program's
            function has returned; and when all are down.
        contains: whether an exception of a listener ends no more than its connection.
    """

    def __init__(
        self,
        target: Target,
        make: Callable[[int], Server],
        places: list[dict[str, Any]],
        on_ready: Callable[[], object],
        on_down: Callable[[], object],
        contains: bool,
    ) -> None:
        self.loop = current_loop()
        self.containment = Containment(self._is_lost, self.fail) if contains else None
        self.target, self._make, self._places = target, make, places
        self._on_ready, self._on_down = on_ready, on_down
        self.servers: list[Server] = []
        self._ending: list[Server] = []
        self.is_ready = self.stopping = False
        self.failure: BaseException | None = None
        self._silent = self._running = 0
        self._over: asyncio.Event | None = None
        self._tasks: list[asyncio.Future[Any]] = []
        # What the function has returned for each server, if it has to be awaited.
        self._results: list[tuple[Server, Any]] = []
        self._needs_asyncio = False

    def run(self) -> None:
        """Serve. Raises: what has kept it from that."""
        if not self.target.coroutines:
            self._listen(self._set_up)
            run()
        if self.failure is None and (self.target.coroutines or self._needs_asyncio):
            run(self._main())
        if self.failure is not None:
            raise self.failure

    async def _main(self) -> None:
        import asyncio

        self._over = asyncio.Event()
        theirs = asyncio.get_running_loop()

        def go_on() -> None:
            self._tasks.append(theirs.create_task(self._wait_for_results()))

        def listening() -> None:
            if self._call():
                go_on()

        if self._needs_asyncio:
            go_on()
        else:
            self._listen(listening)
        await self._over.wait()

    def _listen(self, then: Callable[[], object]) -> None:
        self._silent = len(self._places)
        for number, place in enumerate(self._places):
            server = self._make(number)
            self.servers.append(server)
            server.pause()
            server.on("error", self.fail)
            server.once("listening", partial(self._listens, server, then))
            if "handed" in place:
                self._listen_without_accepting(server, place["fd"])
            else:
                server.listen(place)

    def _listen_without_accepting(self, server: Server, fd: int) -> None:
        status = server._listen_on(fd, False)
        if status:
            os.close(fd)
            self.fail(make_os_error(status, "listen", None, None, ""))
            return
        # Who waits in the kernel's queue is the primary's to accept, also at the end.
        server._leave = _nothing
        # The server has nothing to wait for, but its loop has: finish() stops it.
        set_interval(_nothing, MAX_TIMEOUT)

    def _listens(self, server: Server, then: Callable[[], object]) -> None:
        server.off("error", self.fail)
        self._silent -= 1
        if not self._silent and not self.stopping:
            then()

    def _set_up(self) -> None:
        """Call the function; then it is ready, unless what it has begun needs asyncio."""
        if not self._call():
            return
        listeners = [
            each
            for server in self.servers
            for event in ("connection", "secureConnection")
            for each in server.listeners(event)
        ]
        if self._results or any(targets.is_coroutine(each) for each in listeners):
            # No client was accepted yet, so that run() can go on with asyncio.
            self._needs_asyncio = True
            self.loop.stop()
        else:
            self._ready()

    def _call(self) -> bool:
        """Call the function for each server, and keep what has to be awaited; False: it failed."""
        function = self.target.function
        try:
            for server in self.servers:
                result = None if function is None else function(server)
                if hasattr(type(result), "__await__"):
                    self._results.append((server, result))
        except BaseException as error:
            self.fail(error)
            return False
        return True

    async def _wait_for_results(self) -> None:
        """Wait until the coroutines have returned; then it is ready.

        One that waits for its server, or for connections, does not return before the end, and is as
        ready as it can be.
        """
        import asyncio

        try:
            for server, result in self._results:
                task = asyncio.ensure_future(result)
                self._tasks.append(task)
                while not task.done() and not self._waits(server):
                    await asyncio.wait([task], timeout=_LOOK)
                failure = self._failure_of(task) if task.done() else None
                if failure is not None:
                    raise failure
                if not task.done():
                    task.add_done_callback(self._has_returned)
        except asyncio.CancelledError:
            # At the end of all; a coroutine of the program that was cancelled is a failure.
            raise
        except BaseException as error:
            self.fail(error)
        else:
            self._ready()

    def _waits(self, server: Server) -> bool:
        """Whether a coroutine waits for its server, or for one that the program has opened."""
        return any(each._awaited for each in (server, *listening_servers(self.loop)))

    def _failure_of(self, task: asyncio.Future[Any]) -> BaseException | None:
        if task.cancelled():
            text = f"the coroutine of {self.target.name} was cancelled"
            return StateError(text, "ERR_INVALID_STATE")
        return task.exception()

    def _has_returned(self, task: asyncio.Future[Any]) -> None:
        """A coroutine that has waited for its server, or for connections, has ended."""
        if self.stopping or self._over is None or self._over.is_set():
            return
        failure = self._failure_of(task)
        if failure is not None:
            self.fail(failure)
        else:
            self._warn_of_silence("")

    def _ready(self) -> None:
        if self.stopping or self.is_ready:
            return
        self.is_ready = True
        named = "; if its parameter is a connection, name it socket or connection"
        self._warn_of_silence("" if self.target.function is None else named)
        self._on_ready()

    def _warn_of_silence(self, hint: str) -> None:
        for server in self.servers:
            if not server.listener_count("connection") + server.listener_count("secureConnection"):
                LOG.warning(
                    "%s has no listener for 'connection', so clients get no response%s",
                    self.target.name,
                    hint,
                )

    def contain(self) -> None:
        """Contain exceptions from now on; in this thread.

        What fails before is a mistake of the new version, which must not replace the old one.
        """
        self.loop._contain(self.containment)

    def _is_lost(self) -> bool:
        """Whether a server has failed, or was closed, without which the worker is of no use."""
        return not self.stopping and not all(each.listening for each in self.servers)

    def serve(self) -> None:
        """Accept from now on; in this thread."""
        if not self.stopping:
            for server in self.servers:
                server.resume()

    def fail(self, error: BaseException | None) -> None:
        """Let run() raise an error; in this thread."""
        if self.failure is None:
            self.failure = error
        self.finish()

    def finish(self) -> None:
        """Let run() return; in this thread."""
        if self._over is not None:
            self._over.set()
        else:
            self.loop.stop()

    def shutdown(self, timeout: int, rest: bool) -> None:
        """Shut the servers down; again: earlier. In this thread.

        Args:
            rest: accept who waits in the kernel's queue, since no other worker does.
        """
        if self.stopping:
            for server in self._ending:
                server.shutdown(timeout)
            return
        self.stopping = True
        # And those that the program has opened itself.
        self._ending = list(dict.fromkeys((*self.servers, *listening_servers(self.loop))))
        self._running = len(self._ending)
        for server in self._ending:
            server._takes_rest = rest
            server.shutdown(timeout, callback=self._one_down)

    def _one_down(self, result: object) -> None:
        self._running -= 1
        if not self._running:
            when_seen_off(self._on_down)


class ServeWorker:
    """A worker: what serves in the main thread, and in others."""

    def __init__(self, own: OwnWorker, given: Mapping[str, Any], target: Target) -> None:
        self._own, self._given, self._target = own, given, target
        places = given["places"]
        if target.server is not None:
            one = target.server
            if len(places) > 1:
                raise wrong(f"{target.name} is a Server, and can listen on one address only")
            if given["tls"] is not None:
                raise wrong(f"{target.name} is a Server: pass the certificate to it in the program")
            if given["threads"] > 1:
                raise wrong(f"{target.name} is a Server, which works in one thread only")
            if one.name is None:
                one._name = target.name
                named.add(one)
        self._main = Serving(
            *(target, self._make, places, self._main_ready, self._one_down, given["contain"])
        )
        self._threads: list[_Thread] = []
        self._dealers: list[Dealer] = []
        self._starting = 0
        self._up = 1
        self._signalled = self._ready = False
        own.on_order = self._order

    def run(self) -> None:
        """Serve until it is over. Raises: what has kept it from that."""
        pid, loop = os.getpid(), self._main.loop

        def arrived(number: int, frame: object) -> None:
            # Also in the middle of a callback: nothing is done here.
            if os.getpid() == pid and not loop.closed:
                loop._push_call(self._sigterm, ())
            else:
                signal.signal(number, signal.SIG_DFL)
                signal.raise_signal(number)

        signal.signal(signal.SIGTERM, arrived)
        self._main.run()

    def _make(self, number: int) -> Server:
        target, tls, secure = self._target, self._given["tls"], self._given["secure"]
        if target.server is not None:
            return target.server
        options: dict[str, Any] = {"name": target.name}
        if self._given["guarded"]:
            options.update(net.GUARDED)
            most = options["max_connections"]
            if most is not None:
                # It is of the process, whose threads share its descriptors.
                options["max_connections"] = max(most // self._given["threads"], 1)
        if tls is None or (secure is not None and not secure[number]):
            return net.Server(options, target.listener)
        from ..tls import Server as TLSServer

        certificate, key = tls
        options["cert"], options["key"] = _pem(certificate, "certificate"), _pem(key, "private key")
        try:
            return TLSServer(options, target.listener)
        except (OSError, Error) as error:
            text = getattr(error, "message", error)
            raise wrong(f"{certificate} with the key in {key} cannot be used: {text}") from None

    # ---- The way up and down -------------------------------------------------------------------

    def _main_ready(self) -> None:
        self._starting = self._given["threads"]
        for number in range(1, self._starting):
            self._threads.append(_Thread(self, number))
        self._up = self._starting
        for thread in self._threads:
            thread.start()
        self._one_ready()

    def _one_ready(self) -> None:
        self._starting -= 1
        if not self._starting:
            # A listen() of the program's asks the primary in a tick.
            self._main.loop.set_immediate(self._report_ready)

    def _report_ready(self) -> None:
        if self._own._pending:
            # A server that the program opens itself is on its way, by the primary.
            set_timeout(self._report_ready, _LOOK * 1000)
            return
        if self._main.stopping:
            return
        self._ready = True
        self._main.contain()
        self._own.report(what="ready", beats=True)
        if self._given["reload"]:
            self.report_files()
            set_interval(self.report_files, _FILES).unref()

    def _one_down(self) -> None:
        self._up -= 1
        if not self._up:
            # What they have counted until the end.
            self._report_counts()
            self._own._channel.flush()
            self._main.finish()

    def _report_counts(self, **more: int) -> None:
        several = [self._main, *(each._serving for each in self._threads)]
        counts = [each.containment for each in several if each is not None]
        contained = sum(each.count for each in counts if each is not None)
        self._own.report(what="counts", names=metrics._sums(), exceptions=contained, **more)

    def report_files(self) -> None:
        """Let the primary look at the files of the program, if more were imported."""
        count = len(sys.modules)
        if count != getattr(self, "_modules", 0):
            self._modules = count
            self._own.report(what="files", files=source_files())

    # ---- Orders --------------------------------------------------------------------------------

    def _order(self, message: dict[str, Any]) -> None:
        what = message["what"]
        if what == "serve":
            for thread in self._threads:
                thread.serve()
            self._main.serve()
            self._deal()
        elif what == "shutdown":
            self._shutdown(message["timeout"], message["rest"])
        elif what == "counts":
            self._report_counts(seq=message["seq"])
        elif what == "beat":
            self._beat()

    def _deal(self) -> None:
        """Deal out to the threads what the primary accepts."""
        if not self._threads or self._main.stopping:
            return
        for number, server in enumerate(self._main.servers):
            if server in self._own.handed:
                dealer = Dealer(server, number, self._threads)
                self._dealers.append(dealer)
                self._own.takers[server] = dealer

    def _shutdown(self, timeout: int, rest: bool) -> None:
        # From now on the servers refuse what arrives, and the primary offers it to another worker.
        self._own.takers.clear()
        for dealer in self._dealers:
            dealer.stop()
        for thread in self._threads:
            thread.shutdown(timeout, rest)
        self._main.shutdown(timeout, rest)

    def _beat(self) -> None:
        """Show the primary that the loop runs, and those of all threads."""
        left = len(self._threads)
        if not left:
            self._own.report(what="beat")

        def one_runs() -> None:
            nonlocal left
            left -= 1
            if not left:
                self._own.report(what="beat")

        for thread in self._threads:
            thread.beat(one_runs)

    def _sigterm(self) -> None:
        """SIGTERM from outside: the primary has a successor started first."""
        if not self._ready:
            self._shutdown(0, False)
        elif self._signalled or not self._own.is_connected():
            self._shutdown(self._given["timeout"], False)
        else:
            self._signalled = True
            self._own.report(what="sigterm")


class _Thread(threading.Thread):
    """Another thread of a worker: the same target, on the descriptors of the first."""

    def __init__(self, worker: ServeWorker, number: int) -> None:
        super().__init__(name=f"pyuvnet serves {number}", daemon=True)
        self._worker, self._first = worker, worker._main
        self._serving: Serving | None = None
        self._places: list[dict[str, Any]] = []
        for server in self._first.servers:
            how = "handed" if server in worker._own.handed else "exclusive"
            self._places.append({"fd": os.dup(server.fileno()), how: True})
        self._lock = threading.Lock()
        self._due: tuple[int, bool] | None = None

    def run(self) -> None:
        worker, first = self._worker, self._first
        loop = current_loop()
        try:
            with self._lock:
                self._serving = Serving(
                    worker._target,
                    worker._make,
                    self._places,
                    self._ready,
                    self._down,
                    worker._given["contain"],
                )
                due = self._due
            if due is not None:
                loop._push_call(self._serving.shutdown, due)
            self._serving.run()
            first.loop._push_call(worker._one_down, ())
        except BaseException as error:
            first.loop._push_call(first.fail, (error,))
        finally:
            loop.close()

    def _ready(self) -> None:
        assert self._serving is not None
        self._serving.contain()
        self._first.loop._push_call(self._worker._one_ready, ())

    def _down(self) -> None:
        assert self._serving is not None
        self._serving.finish()

    def serve(self) -> None:
        """Let it accept; from the main thread, when it is ready."""
        serving = self._serving
        if serving is not None and not serving.loop.closed:
            serving.loop._push_call(serving.serve, ())

    def beat(self, runs: Callable[[], object]) -> None:
        """Call back, in the main thread, as soon as this thread's loop runs, or if it is over."""
        serving, first = self._serving, self._first.loop
        try:
            assert serving is not None
            serving.loop._push_call(first._push_call, (runs, ()))
        except StateError:
            # Its loop is closed. If too many calls wait for it, it does not run.
            if serving is None or serving.loop.closed:
                runs()

    def give(
        self, number: int, fd: int | None, reply: Callable[[_Thread, int | None, bool], object]
    ) -> None:
        """Offer a connection to a server of this thread, or only ask; from the main thread.

        Args:
            reply: called in the main thread with what was not taken, or None, and whether the
                server would take another one.
        """
        assert self._serving is not None
        self._serving.loop._push_call(self._take, (number, fd, reply))

    def _take(
        self, number: int, fd: int | None, reply: Callable[[_Thread, int | None, bool], object]
    ) -> None:
        assert self._serving is not None
        server = self._serving.servers[number]
        rest = fd
        try:
            if fd is not None and server._would_take():
                rest = None
                server._deliver(fd)
        finally:
            self._first.loop._push_call(reply, (self, rest, server._would_take()))

    def shutdown(self, timeout: int, rest: bool) -> None:
        """Shut its servers down; from the main thread."""
        with self._lock:
            self._due = (timeout, rest)
            serving = self._serving
        if serving is not None and not serving.loop.closed:
            serving.loop._push_call(serving.shutdown, (timeout, rest))


class Dealer:
    """Deals the connections that the primary has accepted for a worker out to its threads.

    In turn, but a thread that is still busy with the last one is left out, and so is a server that
    is paused or full: if no worker has room the primary keeps the connection, since another worker,
    or the next one, may have. In the main thread.

    Args:
        server: of the main thread.
        number: which one of each thread's servers belongs to it.
    """

    def __init__(self, server: Server, number: int, threads: list[_Thread]) -> None:
        self._server, self._number = server, number
        # None is the main thread. Who is next is in front.
        self._turn: deque[_Thread | None] = deque([None, *threads])
        # Threads that have not replied yet, and those that have had no room when they did.
        self._busy: set[_Thread] = set()
        self._full: set[_Thread] = set()
        # What a thread has given back, and no other has taken since.
        self._waiting: deque[int] = deque()
        self._timer: Timeout | None = None
        self._stopped = False

    def _would_take(self) -> bool:
        # The primary asks again after a while.
        self._ask_full()
        return not self._waiting and self._find()

    def _deliver(self, fd: int) -> bool:
        self._waiting.append(fd)
        if self._stopped:
            self._finish()
        else:
            self._deal()
        return True

    def _ask_full(self) -> None:
        """Ask the threads that have had no room whether they have by now."""
        for one in self._full - self._busy:
            self._give(one, None)

    def _give(self, one: _Thread, fd: int | None) -> bool:
        """Offer a connection to a thread; False: it cannot be reached."""
        try:
            one.give(self._number, fd, self._replied)
        except StateError:
            # Its queue is full, or its loop is closed.
            self._full.add(one)
            return False
        self._busy.add(one)
        return True

    def _find(self) -> bool:
        """Bring who is free, and next in turn, to the front; False: none is."""
        for _ in range(len(self._turn)):
            one = self._turn[0]
            if one is None:
                free = self._server._would_take()
            else:
                free = one not in self._busy and one not in self._full
            if free:
                return True
            self._turn.rotate(-1)
        return False

    def _deal(self) -> None:
        while self._waiting and self._find():
            one = self._turn[0]
            self._turn.rotate(-1)
            fd = self._waiting.popleft()
            if one is None:
                self._server._deliver(fd)
            elif not self._give(one, fd):
                self._waiting.appendleft(fd)
        if self._waiting and self._timer is None and not self._stopped:
            self._timer = set_timeout(self._deal_again, _RECOVERY)

    def _deal_again(self) -> None:
        self._timer = None
        self._ask_full()
        self._deal()

    def _replied(self, thread: _Thread, fd: int | None, has_room: bool) -> None:
        """A thread has taken a connection, or gives it back."""
        self._busy.discard(thread)
        if has_room:
            self._full.discard(thread)
        else:
            self._full.add(thread)
        if fd is not None:
            self._waiting.appendleft(fd)
        if self._stopped:
            self._finish()
        else:
            self._deal()

    def stop(self) -> None:
        """Deal out no more: the servers are about to be shut down."""
        self._stopped = True
        if self._timer is not None:
            self._timer.close()
            self._timer = None
        self._finish()

    def _finish(self) -> None:
        """What no thread would take is for the main thread, if it still can."""
        while self._waiting:
            fd = self._waiting.popleft()
            if not self._server._deliver(fd):
                os.close(fd)


def _nothing() -> None:
    pass


def _pem(path: str, kind: str) -> bytes:
    """Read a PEM file, which is to have a certificate or a private key."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise wrong(f"{path}: {error.strerror}") from None
    name = kind.rpartition(" ")[2].upper().encode()
    if kind == "private key" and b"ENCRYPTED" in data:
        raise wrong(f"{path} has an encrypted key, but serve() takes no passphrase: decrypt it")
    if not re.search(rb"-----BEGIN [A-Z ]*%b-----" % name, data):
        raise wrong(f"{path} has no {kind} in PEM format")
    return data


# ---- What every worker does ----------------------------------------------------------------------


def source_files(error: BaseException | None = None) -> list[str]:
    """The files of the program, which are neither installed nor of Python itself."""
    found = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    while error is not None:
        if isinstance(error, SyntaxError):
            found.add(error.filename)
        frame = error.__traceback__
        while frame is not None:
            found.add(frame.tb_frame.f_code.co_filename)
            frame = frame.tb_next
        error = error.__context__
    ours = str(Path(__file__).parent.parent)
    apart = {ours, *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))}
    return sorted(
        os.path.abspath(each)
        for each in found
        if isinstance(each, str)
        and each.endswith(".py")
        and not each.startswith(tuple(folder + os.sep for folder in apart))
    )
