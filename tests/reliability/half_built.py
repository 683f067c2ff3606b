"""Every method of every type of ours, on objects that were never built: does one crash?

    python -m tests.reliability.half_built          # minutes; --small: seconds

The types are all that can be reached: those of the modules, their subclasses, and those of every
object that the collector knows while sockets, servers, timers, pipes and iterators are at work. An
object of each is made in every way that a program could find which runs no __init__, and also by
the ordinary call with wrong arguments; then each of its attributes is read, set and deleted, and
each method is called with all kinds of arguments. All of it happens in forked children, so that a
crash, or a call that never returns, is seen and named, and the sweep goes on behind it. Exits with
1 if there was any. Not for Windows, which does not fork.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import copy
import gc
import importlib
import inspect
import itertools
import json
import math
import mmap
import os
import pickle
import pkgutil
import platform
import random
import re
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pyuvnet
from pyuvnet import net
from tests.support.prod import Awkward, nothing

SECONDS = 10  # for one call; a sanitizer is slow, and the machine may be busy

# These wait for something that never comes, or act on the process: not for objects alone.
LEFT_OUT = {
    ("Loop", "wait_for_io"): "waits without an end for another thread",
    ("Loop", "waitForIo"): "the same",
}
NOT_CALLED = {
    "__init_subclass__",  # of classes, not of objects
    "__subclasshook__",
    "__class__",
    "__new__",
    "__doc__",
}


async def coroutine() -> None: ...


# ---- What there is -------------------------------------------------------------------------------


def specimens() -> list[Any]:
    """Objects at work: most types that nobody can make are in there, or behind what is."""
    signal_ = pyuvnet.AbortController().signal
    adopted, bound = (net.BoundSocket(port=0, host="127.0.0.1") for _ in range(2))
    port = adopted.address().port
    server = net.create_server(nothing).listen(adopted)
    client = net.connect(port, "127.0.0.1")
    client.set_timeout(100_000).on("data", nothing).once("data", nothing)
    client.write(b"x" * 10)
    other = net.Socket(signal=signal_)
    other.on("error", nothing)
    client.pipe(other)

    class Source(pyuvnet.Readable):
        def _read(self, size: int) -> None:
            self.push(b"chunk")

    class Sink(pyuvnet.Writable):
        def _write(self, chunk: Any, encoding: str, callback: Any) -> None:
            self.kept = callback

        def _destroy(self, error: Any, callback: Any) -> None:
            self.kept = callback

    source, sink = Source(), Sink()
    sink.write(b"chunk")
    blocked = net.BlockList()
    blocked.add_address("1.2.3.4")
    made = [
        server, bound, client, other, source, sink, signal_, blocked, pyuvnet.current_loop(),
        pyuvnet.set_timeout(nothing, 100_000), pyuvnet.set_interval(nothing, 100_000),
        pyuvnet.set_immediate(nothing), net.SocketAddress(), pyuvnet.Duplex(),
        pyuvnet.EventEmitter(), client.raw_listeners("data"), client.on("drain"), sink.kept,
    ]  # fmt: skip
    sink.destroy()
    made.append(sink.kept)
    return made


def at_work() -> list[type]:
    """The types of everything that the collector knows while all kinds of things are under way."""
    found: set[type] = set()

    def look() -> None:
        found.update(type(each) for each in gc.get_objects())

    async def work() -> None:
        made = specimens()
        server, client = made[0], made[2]
        listening = asyncio.ensure_future(pyuvnet.events.once(server, "listening"))
        read = client.iterator().__aiter__()
        step = read.__anext__()
        waiting = step.send(None)
        event = pyuvnet.events.on(client, "connect").__anext__()
        made += [server.iterator() if hasattr(server, "iterator") else None, waiting.__await__()]
        server.on("connection", lambda socket: (socket.write(b"x" * 2_000_000), look()))
        look()
        for _ in range(20):
            await asyncio.sleep(0)
        look()
        step.close()
        event.close()
        listening.cancel()
        for each in made[:6]:
            each.destroy() if hasattr(each, "destroy") else each.close()

    pyuvnet.set_exception_handler(nothing)
    pyuvnet.run(work())
    pyuvnet.current_loop().close()
    return list(found)


def ours(kind: type) -> bool:
    return str(getattr(kind, "__module__", "")).split(".")[0] == "pyuvnet"


def reachable() -> list[type]:
    """All types of this package, in a fixed order."""
    found: set[type] = set(at_work())
    for module in pkgutil.walk_packages(pyuvnet.__path__, "pyuvnet."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] == "pyuvnet":
            found.update(each for each in vars(module).values() if isinstance(each, type))
            found.update(type(each) for each in vars(module).values())
    found.update(each for each in gc.get_objects() if isinstance(each, type))
    # Those that C code keeps to itself are in no module, and compiled ones not in the collector.
    pending = [object]
    while pending:
        below = type.__subclasses__(pending.pop())
        pending += [each for each in below if each not in found]
        found.update(below)
    for kind in list(found):
        if ours(kind):
            found.update(type(each) for each in vars(kind).values())
    return sorted(filter(ours, found), key=lambda kind: (kind.__module__, kind.__qualname__))


# ---- How one is made -----------------------------------------------------------------------------


def ways(kind: type, live: list[Any]) -> Iterator[tuple[str, Callable[[], Any]]]:
    """What a program can try to get an object that nobody has built."""
    yield "T.__new__(T)", lambda: kind.__new__(kind)
    yield "object.__new__(T)", lambda: object.__new__(kind)
    for base in kind.__mro__[1:-1]:
        yield f"{base.__name__}.__new__(T)", lambda base=base: base.__new__(kind)

    def subclass() -> Any:
        return type("Half", (kind,), {"__init__": nothing, "__doc__": None})()

    yield "subclass", subclass
    yield "T()", kind
    yield "T(None)", lambda: kind(None)
    for each in live:
        if type(each) is kind:
            yield "copy.copy", lambda each=each: copy.copy(each)
            for protocol in (0, 2):
                yield (
                    f"pickle {protocol}",
                    lambda each=each, protocol=protocol: pickle.loads(pickle.dumps(each, protocol)),
                )
            # An object that works, and whose __init__ runs again.
            yield "made by the library", lambda each=each: each
            break


# ---- What is done to it --------------------------------------------------------------------------


def guesses(live: list[Any], everything: bool) -> dict[str, Any]:
    """Arguments by their names."""
    table: dict[str, Any] = {
        "None": None, "-1": -1, "'data'": "data", "b'x'": b"x", "nothing": nothing, "{}": {},
        "object": object(),
    }  # fmt: skip
    if everything:
        table |= {
            "True": True, "0": 0, "1": 1, "2**31": 2**31, "2**70": 2**70, "nan": math.nan,
            "''": "", "surrogate": "\ud800", "bytearray": bytearray(4), "[]": [], "[5]": [5],
            "()": (), "type": Awkward, "awkward": Awkward(), "error": RuntimeError("E"),
            "error type": RuntimeError, "memoryview": memoryview(b"xy"),
        }  # fmt: skip
    # One of each kind, for methods that take objects of ours.
    for each in live:
        if everything or isinstance(each, (net.Socket, net.Server, pyuvnet.Loop)):
            table.setdefault(type(each).__name__, each)
    return table


Step = tuple[str, Callable[[Any], Any]]


def attributes(kind: type) -> list[str]:
    return [
        name
        for name in dir(kind)
        if name not in NOT_CALLED
        and not any((base.__name__, name) in LEFT_OUT for base in kind.mro())
    ]


def finish(thing: Any) -> None:
    """Close what a call returned, or nobody would."""
    kind = type(thing)
    if inspect.iscoroutine(thing) or (hasattr(kind, "__next__") and hasattr(kind, "close")):
        thing.close()


def steps(kind: type, table: dict[str, Any], everything: bool) -> Iterator[Step]:
    """All that can be done to an object of a type, each with a name."""
    arguments: list[tuple[str, ...]] = [(), *((name,) for name in table)]
    if everything:
        few = ("None", "'data'", "b'x'", "nothing", "-1", "Socket")
        arguments += itertools.product(few, few)
        arguments += [("None",) * 3, ("nothing",) * 3, ("-1",) * 3, ("'data'",) * 4, ("-1",) * 5]
    else:
        arguments += [("None", "None"), ("'data'", "nothing"), ("None",) * 3]
    for name in attributes(kind):
        yield f"get {name}", lambda thing, name=name: getattr(thing, name)
        if not callable(getattr(kind, name, None)):
            for given in table:
                yield (
                    f"{name} = {given}",
                    lambda thing, name=name, given=given: setattr(thing, name, table[given]),
                )
            yield f"del {name}", lambda thing, name=name: delattr(thing, name)
            continue
        for names in arguments:
            yield (
                f"{name}({', '.join(names)})",
                lambda thing, name=name, names=names: finish(
                    getattr(thing, name)(*[table[each] for each in names])
                ),
            )
    yield "await", lambda thing: thing.__await__().send(None)
    yield "in turns", used


def used(thing: Any) -> None:
    """What the modules do with an object that a program may hand over."""
    pyuvnet.clear_timeout(thing)
    pyuvnet.clear_immediate(thing)
    for take in (net.connect, net.create_server, pyuvnet.next_tick, pyuvnet.set_timeout):
        with contextlib.suppress(Exception):
            take(thing)


Plan = tuple[str, Callable[[], Any], list[Step]]


def plans(kind: type, everything: bool) -> Iterator[Plan]:
    """The steps for each object: one by one, and some in a row, in a fixed order."""
    live = specimens()
    live += [each for each in gc.get_objects() if type(each) is kind][:1]
    table = guesses(live, everything)
    single = list(steps(kind, table, everything))
    for way, make in ways(kind, live):
        try:
            make()
        except BaseException:
            # It cannot be made so, which is the best answer.
            continue
        for step in single:
            yield way, make, [step]
        order = random.Random(f"{kind.__qualname__} {way}")
        for _ in range(500 if everything else 20):
            yield way, make, order.choices(single, k=8)


# ---- In children ---------------------------------------------------------------------------------


class Note:
    """What a child is doing, for its parent to read when it has crashed."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 8192)

    def put(self, **values: Any) -> None:
        text = json.dumps(values).encode()[:8000]
        self._memory.seek(0)
        self._memory.write(len(text).to_bytes(8, "little") + text)

    def get(self) -> dict[str, Any]:
        size = int.from_bytes(self._memory[:8], "little")
        read: dict[str, Any] = json.loads(self._memory[8 : 8 + size])
        return read


def member_of(step: str) -> str:
    """What a step is about, whatever its arguments are."""
    return re.split(r"[ (]", step.removeprefix("get ").removeprefix("del "))[0]


def sweep(kind: type, start: int, everything: bool, note: Note, crashed: set[str]) -> None:
    """Go through the plans from a number on, in a child; but what crashes once is known."""
    warnings.simplefilter("ignore")
    sys.unraisablehook = nothing
    pyuvnet.set_exception_handler(nothing)
    calls, wrong = 0, []
    for number, (way, make, planned) in enumerate(plans(kind, everything)):
        if number < start or any(member_of(name) in crashed for name, _ in planned):
            continue
        signal.alarm(SECONDS)
        try:
            thing = make()
        except BaseException:
            # It could be made before, which is what is wanted here.
            continue
        for index, (name, step) in enumerate(planned):
            before = [each for each, _ in planned[:index]]
            note.put(number=number, way=way, name=name, before=before, calls=calls, wrong=wrong)
            calls += 1
            try:
                step(thing)
            except SystemError as error:
                # The interpreter found C code that broke its rules.
                wrong.append(f"{way}: {'; '.join([*before, name])}: {error!r}")
            except BaseException:
                pass
        del thing
        if number % 100 == 99:
            turn()
    note.put(number=-1, way="", name="the end", before=[], calls=calls, wrong=wrong)
    turn()
    gc.collect()


def turn() -> None:
    """Let what the calls began come to its end."""
    with contextlib.suppress(BaseException):
        pyuvnet.set_exception_handler(nothing)
        loop = pyuvnet.current_loop()
        if loop.running:
            loop.stop()
        for _ in range(3):
            loop.turn()


def swept(kind: type, everything: bool) -> tuple[int, list[str]]:
    """Sweep one type; how many calls that were, and what crashed or never returned."""
    start, calls, found = 0, 0, []
    crashed: set[str] = set()
    # Bounded, for a type where everything crashes.
    for _ in range(500):
        note = Note()
        said = os.open("said", os.O_CREAT | os.O_TRUNC | os.O_RDWR | os.O_APPEND)
        note.put(number=-2, way="", name="the beginning", before=[], calls=0, wrong=[])
        pid = os.fork()
        if not pid:
            code = 1
            try:
                quiet = os.open(os.devnull, os.O_RDWR)
                for fd, into in ((0, quiet), (1, quiet), (2, said)):
                    os.dup2(into, fd)
                sweep(kind, start, everything, note, crashed)
                code = 0
            except BaseException as error:
                note.put(number=-3, way="", name=repr(error), before=[], calls=0, wrong=[])
            finally:
                os._exit(code)
        status = os.waitpid(pid, 0)[1]
        size = os.fstat(said).st_size
        # Such as an assertion's text, or what a sanitizer found.
        last_words = os.pread(said, 4000, max(0, size - 4000)).decode(errors="replace")
        os.close(said)
        told = note.get()
        calls += told["calls"]
        found += told["wrong"]
        exit_code = os.waitstatus_to_exitcode(status)
        if exit_code == 0:
            return calls, found
        what = f"exit code {exit_code}"
        if os.WIFSIGNALED(status):
            what = signal.Signals(os.WTERMSIG(status)).name
            what = "never returned" if what == "SIGALRM" else what
        found.append(f"{told['way']}: {'; '.join([*told['before'], told['name']])}: {what}")
        print(last_words, file=sys.stderr)
        if told["number"] < 0:
            return calls, found
        if not told["before"]:
            crashed.add(member_of(told["name"]))
        start = told["number"] + 1
    return calls, found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.reliability.half_built")
    parser.add_argument("--small", action="store_true", help="fewer arguments: seconds")
    parser.add_argument("--only", default="", help="types whose names contain this")
    parser.add_argument("--list", action="store_true", help="only name the types")
    parser.add_argument("--verbose", action="store_true", help="tell of each type")
    arguments = parser.parse_args()
    kinds = [kind for kind in reachable() if arguments.only in kind.__qualname__]
    if arguments.list:
        for kind in kinds:
            print(f"{kind.__module__}.{kind.__qualname__}")
        return 0
    begun, calls, found = time.monotonic(), 0, []
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for kind in kinds:
            started = time.monotonic()
            done, crashes = swept(kind, not arguments.small)
            calls += done
            if arguments.verbose:
                seconds = time.monotonic() - started
                print(
                    f"{kind.__module__}.{kind.__qualname__}: {done:,} calls, {seconds:.0f} s",
                    flush=True,
                )
            found += [f"{kind.__module__}.{kind.__qualname__}: {each}" for each in crashes]
            for each in found[len(found) - len(crashes) :]:
                print(f"CRASH: {each}", file=sys.stderr, flush=True)
        os.chdir("/")
    print(
        f"CPython {platform.python_version()}: {len(kinds)} types, {calls:,} calls, "
        f"{len(found)} crashes, {time.monotonic() - begun:.0f} s"
    )
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
