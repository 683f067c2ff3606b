"""serve_threads(): the same function, and a loop, in each of several threads."""

from __future__ import annotations

from types import CoroutineType

from .._base import TYPE_CHECKING
from .._base import validation as check
from .._base.errors import StateError
from .._core.loop_registry import current_loop
from .run import run

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Coroutine
    from typing import Any

# Seconds between two looks at signals: Windows interrupts no wait for Ctrl-C, and elsewhere it does
# not interrupt a wait that begins just after it has come.
_PATIENCE = 0.2


def serve_threads(function: Callable[[int], object], count: int) -> None:
    """Call a function in each of several new threads, then run() there, and wait for all of them.

    Each thread has its own loop. When the thread ends, the loop closes, with everything that is
    open in it. With a server in each thread, which all listen on one port with
    `listen(..., reuse_port=True)`, a Python without the GIL uses as many cores as there are
    threads; with the GIL they take turns.

    Args:
        function: callable(index), with index from 0 to count - 1; a coroutine function is run by
            run(function(index)).
        count: int >= 1, how many threads.

    An exception in a function, a listener or a callback stops all threads: each finishes its
    current callback. serve_threads() then raises that exception; further ones go to
    `threading.excepthook()`. In the main thread, Ctrl-C stops all threads too. A function that
    never returns cannot be stopped, so serve_threads() waits for it.

    Raises: what a thread raised; KeyboardInterrupt on Ctrl-C; ArgTypeError (ERR_INVALID_ARG_TYPE),
        RangeError (ERR_OUT_OF_RANGE).

    Node: none (a worker_threads.Worker for each)
    """
    check.validate_function(function, "function")
    count = check.validate_integer(count, "count", 1)
    group = _Group(function)
    try:
        group.start(count)
        group.wait()
    except BaseException:
        group.stop()
        group.wait()
        raise
    if group.error is not None:
        raise group.error


class _Group:
    """The threads of one call."""

    def __init__(self, function: Callable[[int], object]) -> None:
        import threading

        self.function = function
        self.error: BaseException | None = None
        self.stopping = False
        self.threads: list[threading.Thread] = []
        # How to stop each thread that runs, under the lock.
        self.stops: dict[int, Callable[[], object]] = {}
        self.lock = threading.Lock()
        # How many threads have begun to work, and whether no other may, under the lock.
        self.begun = 0
        self.abandoned = False
        self.running = 0
        # Released when all are over. An interrupted wait may leave it taken: `running` decides.
        self.all_over = threading.Lock()
        self.all_over.acquire()

    def start(self, count: int) -> None:
        import threading

        try:
            # Before the first of them can end.
            self.running = count
            for index in range(count):
                name = f"pyuvnet-{index}"
                self.threads.append(threading.Thread(target=self.work, args=(index,), name=name))
                self.threads[-1].start()
        except BaseException:
            # After Ctrl-C in the middle of a start nothing else says whether that thread runs.
            with self.lock:
                self.abandoned = True
                missing = count - self.begun
            self.some_over(missing)
            raise

    def wait(self) -> None:
        """Wait until all threads have ended; Ctrl-C comes out."""
        while self.running > 0:
            self.all_over.acquire(timeout=_PATIENCE)
        for thread in self.threads:
            # One that never started cannot be joined.
            if thread.is_alive():
                thread.join()

    def stop(self) -> None:
        """Stop what runs, and what is about to."""
        with self.lock:
            self.stopping = True
            stops = list(self.stops.values())
        for stop in stops:
            stop()

    def some_over(self, count: int) -> None:
        with self.lock:
            before = self.running
            self.running -= count
            last = before > 0 >= self.running
        if last:
            self.all_over.release()

    def work(self, index: int) -> None:
        with self.lock:
            if self.abandoned:
                return
            self.begun += 1
        try:
            try:
                self.serve(index)
            finally:
                with self.lock:
                    self.stops.pop(index, None)
        except BaseException as error:
            self.failed(error)
        finally:
            self.some_over(1)

    def serve(self, index: int) -> None:
        loop = current_loop()
        if not self.may_stop(index, lambda: _stop_loop(loop)):
            return
        result = self.function(index)
        if isinstance(result, CoroutineType):
            run(self.wait_for(index, result))
        elif not self.stopping:
            # Unless the function has run the loop until it was stopped.
            run()

    def may_stop(self, index: int, stop: Callable[[], object]) -> bool:
        """Say how to stop a thread; False: it has to end now."""
        with self.lock:
            self.stops[index] = stop
            return not self.stopping

    async def wait_for(self, index: int, coroutine: Coroutine[Any, Any, object]) -> None:
        import asyncio

        task = asyncio.current_task()
        theirs = asyncio.get_running_loop()
        assert task is not None
        try:
            if self.may_stop(index, lambda: _cancel(theirs, task)):
                await coroutine
        except asyncio.CancelledError:
            if not self.stopping:
                raise
        finally:
            coroutine.close()
            with self.lock:
                self.stops.pop(index, None)

    def failed(self, error: BaseException) -> None:
        with self.lock:
            first = self.error is None
            if first:
                self.error = error
        if first:
            self.stop()
        else:
            import threading

            arguments = (type(error), error, error.__traceback__, threading.current_thread())
            threading.excepthook(threading.ExceptHookArgs(arguments))


def _stop_loop(loop: Any) -> None:
    try:
        # However many calls wait there.
        loop._push_call(loop.stop, ())
    except StateError as error:
        # It is closed, or about to be.
        if error.code != "ERR_LOOP_CLOSED":
            raise


def _cancel(theirs: Any, task: Any) -> None:
    try:  # noqa: SIM105
        theirs.call_soon_threadsafe(task.cancel)
    except RuntimeError:
        pass  # It has ended.
