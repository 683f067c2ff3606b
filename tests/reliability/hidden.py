"""Random programs whose own code also runs where no call shows it.

Each program drives sockets, servers, pipes, streams, timers and immediates, in one of the ways of
MODES. Besides its visible steps it acts at hidden points: where the debug build says so
(`set_hidden_hook()`), in finalisers of chunks, buffers, callbacks, listeners and errors, in garbage
that is collected at a threshold of 1 (on 3.11 at each tracked allocation of the core), in a signal
handler, in `warnings.showwarning()`, and in `call_soon()`, `call_at()` and `add_reader()` of the
event loop.
Whatever happens there:

* nothing crashes, hangs or spins;
* every write is a frame with a number of its own: each arrives once, whole, and after those that
  were written before; if both sides ended in peace, all have arrived but those that were answered
  with an error;
* each write and end callback is called once; 'close' comes once, and nothing after it;
* in the end the server counts no connection; no handle, request or descriptor is left.

Programs run in batches, each in a child process, so that a crash is a finding with a seed:

    python -m tests.reliability.hidden --steps 1000000
    python -m tests.reliability.hidden --mode hooked --seed 4711 --programs 1     # this one again
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import faulthandler
import gc
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
import weakref
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import pyuvnet
from pyuvnet import (
    current_loop,
    net,
    next_tick,
    run,
    set_exception_handler,
    set_immediate,
    streams,
    tls,
)
from pyuvnet import loop as loop_module
from pyuvnet._core import hidden_calls as core
from pyuvnet._core import info
from pyuvnet._core.handle import live_counts
from tests.support.installed import UVLOOP

MODES = ["run", "turn", "asyncio", "hooked"]
if UVLOOP:
    MODES.append("uvloop")
DEBUG = hasattr(core, "set_hidden_hook") and "debug" in info.build_flags().split(",")[0]
ROOT = Path(__file__).resolve().parents[2]
PEM = ROOT / "tests" / "localhost.pem"
STEPS = 30  # of a program, at most
DEPTH = 3  # of actions within actions
SECONDS = int(os.environ.get("HIDDEN_SECONDS", "25"))  # for one program
SIZES = [0, 0, 1, 5, 60, 1000, 20_000, 300_000]
LIVE = ("data", "end", "drain", "timeout")
HEAD = 13
PATTERN = bytes(range(251)) * 1300


class ActingError(Exception):
    """What fails on purpose, and acts when it is dropped."""

    act: Callable[[], None] | None = None

    def __del__(self) -> None:
        if self.act is not None:
            self.act()


class Chunk(bytes):
    """A chunk that acts when it is dropped, and lies about its length."""

    act: Callable[[], None] | None = None

    def __len__(self) -> int:
        return 7

    def __del__(self) -> None:
        if self.act is not None:
            self.act()


class Memory(bytearray):
    """A buffer that acts when the last view of it is gone."""

    act: Callable[[], None] | None = None

    def __del__(self) -> None:
        if self.act is not None:
            self.act()


class Called:
    """A callback or a listener that acts when it is dropped."""

    def __init__(self, call: Callable[..., None], act: Callable[[], None] | None) -> None:
        self.call = call
        self.act = act

    def __call__(self, *arguments: Any) -> None:
        self.call(*arguments)

    def __del__(self) -> None:
        if self.act is not None:
            self.act()


class Garbage:
    """A cycle that acts when it is collected, and makes the next one."""

    def __init__(self, act: Callable[[], None], left: int) -> None:
        self.act, self.left, self.me = act, left, self

    def __del__(self) -> None:
        self.act()
        if self.left and not sys.is_finalizing():
            Garbage(self.act, self.left - 1)


class Frame:
    """One write."""

    __slots__ = ("answers", "data", "failed", "number", "returned", "started", "sure")

    def __init__(self, number: int, data: bytes, started: int) -> None:
        self.number = number
        self.data = data
        self.started = started
        self.returned: int | None = None
        self.failed = False
        self.answers: int | None = None  # None: no callback was given
        self.sure = False  # it was certainly accepted


def frame_data(life: int, number: int, size: int) -> bytes:
    head = b"F" + life.to_bytes(4, "big") + number.to_bytes(4, "big") + size.to_bytes(4, "big")
    start = (life * 31 + number * 7) % 251
    return head + PATTERN[start : start + size]


class End:
    """One side of a connection: what it wrote, what it heard, what happened to it."""

    def __init__(self, program: Program, stream: Any, number: int) -> None:
        self.program = program
        self.held = stream
        self.ref = weakref.ref(stream)
        self.number = number
        self.numbers = count()
        self.frames: dict[int, Frame] = {}
        self.pending: dict[int, Frame] = {}  # written, and not arrived
        self.events: list[str] = []
        self.got = bytearray()
        self.trace_to = program.trace
        # An end that is accepted after its peer was piped to, too.
        self.loose = program.piped  # what arrives is not followed any more
        self.fed = False  # a pipe writes here
        self.interrupted = False  # a signal handler has done something with it
        self.acted = 0  # how often something was done with it
        self.undefined = False  # something was while it was about to connect: it may begin anew
        self.broken = False  # one of its listeners raised, so that later ones were not called
        self.sender: End | None = None
        self.ends: list[int] = []  # how often each end callback was called
        for name in ("connect", "data", "end", "drain", "finish", "error", "timeout", "close"):
            stream.on(name, self.listener(name))

    @property
    def stream(self) -> Any:
        return self.ref()

    def listener(self, name: str) -> Callable[..., None]:
        def heard(*arguments: Any) -> None:
            self.program.guarded(self.event, name, arguments)

        return heard

    def event(self, name: str, arguments: tuple[Any, ...]) -> None:
        program = self.program
        if self.undefined:
            return
        assert "close" not in self.events, f"{name!r} after 'close'"
        # A handshake that the peer ends destroys the socket in its first listener of 'end'.
        # The handler of a signal that comes during decryption runs as the listener begins.
        failing = isinstance(self.stream, tls.TLSSocket) and (name == "end" or self.interrupted)
        if name in LIVE and self.stream is not None and not program.storm and not failing:
            assert not self.stream.destroyed, f"{name!r} after destroy()"
        if name in ("end", "finish", "error", "connect"):
            assert name not in self.events, f"a second {name!r}"
        if name == "data":
            if "data" not in self.events:
                self.events.append(name)
            self.arrived(bytes(arguments[0]))
        else:
            self.events.append(name)
        program.seen[name] += 1
        if program.chance(0.3):
            self.act_in_listener(f"listener of {name}")

    def act_in_listener(self, place: str) -> None:
        try:
            self.program.act_inside(place, self)
        except BaseException:
            self.broken = True
            raise

    def arrived(self, data: bytes) -> None:
        if self.loose or self.undefined:
            return
        self.got += data
        while len(self.got) >= HEAD:
            life = int.from_bytes(self.got[1:5], "big")
            number = int.from_bytes(self.got[5:9], "big")
            size = int.from_bytes(self.got[9:13], "big")
            assert self.got[:1] == b"F", f"torn: {bytes(self.got[:40])!r}"
            if len(self.got) < HEAD + size:
                return
            if self.program.trace is not None:
                self.program.trace.append(f"          arrived {life}.{number} {size}")
            if self.sender is None:
                self.sender = self.program.ends.get(life)
            assert self.sender is not None, "a frame of nobody's"
            if self.sender.undefined:
                return
            assert self.sender.number == life, "a frame of another connection's"
            frame = self.sender.pending.pop(number, None)
            assert frame is not None, f"write {number} of {life} a second time, or never made"
            assert bytes(self.got[: HEAD + size]) == frame.data, "other bytes than were written"
            del self.got[: HEAD + size]
            self.program.seen["bytes"] += HEAD + size
            self.program.seen["frames"] += 1
            for other in list(self.sender.pending.values()):
                if other.returned is not None and other.returned < frame.started:
                    assert other.failed, f"write {other.number} is lost before {number}"

    def write(self, size: int, form: str, called: bool, end: bool = False) -> None:
        program, stream = self.program, self.stream
        if stream is None or self.fed:
            return
        number = next(self.numbers)
        frame = Frame(number, frame_data(self.number, number, size), program.clock())
        self.frames[number] = self.pending[number] = frame
        data: Any = frame.data
        if form == "chunk":
            data = Chunk(data)
            data.act = program.finaliser("chunk", self)
        elif form == "memory":
            data = Memory(data)
            data.act = program.finaliser("memory", self)
        elif form == "text":
            data = data.decode("latin1")
        if self.trace_to is not None:
            self.trace_to.append(f"     frame {self.number}.{number} {size} {form} {called} {end}")
        arguments = ["latin1"] if form == "text" else []
        open_before, acted = stream.writable, program.seen["actions"]
        if end:
            stream.end(data, *arguments)
        elif called:
            frame.answers = 0
            answered = Called(self.answer(frame), program.finaliser("callback", self))
            stream.write(data, *arguments, answered)
        else:
            stream.write(data, *arguments)
        frame.returned = program.clock()
        frame.sure = stream.writable or (open_before and acted == program.seen["actions"])

    def answer(self, frame: Frame) -> Callable[..., None]:
        def answered(error: Any = None) -> None:
            def check() -> None:
                assert frame.answers == 0, "a write callback is called twice"
                frame.answers = 1
                frame.failed = error is not None
                if self.program.chance(0.3):
                    self.program.act_inside("write callback", self)

            self.program.guarded(check)

        return answered

    def end(self) -> None:
        stream = self.stream
        if stream is None:
            return
        self.ends.append(0)
        at = len(self.ends) - 1

        def ended(error: Any = None) -> None:
            def check() -> None:
                assert not self.ends[at], "an end callback is called twice"
                self.ends[at] += 1
                if self.program.chance(0.3):
                    self.program.act_inside("end callback", self)

            self.program.guarded(check)

        stream.end(Called(ended, self.program.finaliser("end callback", self)))


_contexts: list[Any] = []


def contexts() -> list[Any]:
    """Of TLS, a server's and a client's."""
    if not _contexts:
        _contexts.append(tls.create_secure_context(key=PEM, cert=PEM))
        _contexts.append(tls.create_secure_context())
    return _contexts


class Sink(streams.Writable):
    """A stream of the program's own, which answers at once, in a tick, or later."""

    def __init__(self, program: Program) -> None:
        super().__init__(high_water_mark=program.random.choice([1, 1000, 65536]))
        self.program = program
        self.arrived: Callable[[bytes], None] | None = None

    def _write(self, chunk: Any, encoding: Any, callback: Any) -> None:
        if self.arrived is not None:
            self.program.guarded(self.arrived, bytes(chunk))
        how = self.program.random.randrange(3)
        if how == 0:
            callback()
        elif how == 1:
            next_tick(callback)
        else:
            set_immediate(callback)


class Program:
    """One random program."""

    def __init__(self, seed: int, steps: int, folder: str) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.steps = steps
        self.folder = folder
        self.ends: dict[int, End] = {}
        self.servers: list[Any] = []
        self.timers: list[Any] = []
        self.findings: list[str] = []
        self.seen: Counter[str] = Counter()
        self.depth = 0
        # What counts in one step, so that a signal handler cannot come between.
        self.numbers, self.paths, self.clock = count(1), count(1), count(1).__next__
        self.budget = steps * 12
        self.piped = False
        self.hidden = False  # hidden actions happen now
        self.interrupting = False  # a signal handler runs
        self.storm = False  # collections happen at each allocation
        self.rate = self.random.choice([0.02, 0.1, 0.3, 0.8])
        self.trace: list[str] | None = [] if os.environ.get("HIDDEN_TRACE") else None

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def guarded(self, check: Callable[..., None], *arguments: Any) -> None:
        """A check that fails is a finding, wherever the core would let it disappear."""
        try:
            check(*arguments)
        except AssertionError as error:
            self.findings.append(str(error))

    def raised(self, error: BaseException) -> None:
        expected = isinstance(error, (ActingError, OSError)) or hasattr(error, "code")
        if not expected:
            text = "".join(traceback.format_exception(error)[-3:])
            self.findings.append(f"{type(error).__name__}: {error}\n{text}")

    # ---- Hidden points -------------------------------------------------------------------------

    def point(self, place: str, mine: End | None = None) -> None:
        """Something of the program may run here: sometimes it does."""
        self.seen["points"] += 1
        if not self.hidden or self.depth >= DEPTH or self.budget <= 0:
            return
        if self.chance(self.rate):
            self.seen["hidden " + place.partition(" ")[0]] += 1
            self.seen["hidden"] += 1
            self.act_inside(place, mine)

    def hook(self, place: str) -> None:
        self.point(place)

    def finaliser(self, what: str, mine: End | None) -> Callable[[], None] | None:
        if not self.chance(0.5):
            return None
        return lambda: self.point("finaliser " + what, mine)

    def act_inside(self, place: str, mine: End | None) -> None:
        if self.depth >= DEPTH or self.budget <= 0 or not self.hidden:
            return
        self.budget -= 1
        self.depth += 1
        try:
            # Mostly on the object under way, where it hurts.
            self.action(mine if mine is not None and self.chance(0.6) else None, place)
        finally:
            self.depth -= 1

    # ---- Actions -------------------------------------------------------------------------------

    ACTIONS = (
        "destroy", "fail", "write", "write", "write", "write many", "end", "end data", "off", "on",
        "noise", "pause", "resume", "cork", "uncork", "uncork", "timeout", "no timeout", "close",
        "listen", "raise", "collect", "handles", "timer", "clear", "immediate", "tick", "read",
        "drop", "soon", "reset", "connect", "storm", "calm", "lengths", "state", "count",
    )  # fmt: skip
    RARE = ("destroy", "fail", "soon", "reset", "drop", "off", "close", "end", "end data")

    def action(self, mine: End | None, place: str) -> None:
        what = self.random.choice(self.ACTIONS)
        if what in self.RARE and self.chance(0.6):
            what = "write"
        alive = [end for end in list(self.ends.values()) if end.stream is not None]
        end = mine
        if end is None or end.stream is None:
            if not alive:
                what = "connect"
            else:
                end = self.random.choice(alive)
        if self.trace is not None:
            self.trace.append(f"{place}: {what} {end.number if end else ''}")
        self.seen["actions"] += 1
        self.act(end, what)

    def act(self, end: End, what: str) -> None:
        choose, stream = self.random, end.stream if end is not None else None
        if what == "connect":
            if len(self.ends) < 30:
                self.connect()
        elif what in ("close", "listen"):
            if self.servers:
                server = choose.choice(self.servers)
                if what == "close":
                    server.close(Called(lambda error=None: None, self.finaliser("server", None)))
                elif not server.listening:
                    self.listen(server)
        elif what == "raise":
            error = ActingError("planned")
            error.act = self.finaliser("error", end)
            raise error
        elif what == "collect":
            gc.collect(choose.choice([0, 0, 1]))
        elif what == "handles":
            loop_module.handles()
        elif what == "count":
            if self.servers:
                choose.choice(self.servers).get_connections(lambda error, number: None)
        elif what in ("timer", "immediate", "tick"):
            call = Called(lambda: self.act_inside(what, end), self.finaliser(what, end))
            if what == "timer":
                self.timers.append(pyuvnet.set_timeout(call, choose.choice([0, 1, 2, 60_000])))
            elif what == "immediate":
                self.timers.append(set_immediate(call))
            else:
                next_tick(call)
        elif what == "clear":
            with suppress(IndexError):
                # A collection may have cleared it meanwhile.
                self.timers.pop(choose.randrange(len(self.timers) + 1) - 1).close()
        elif what == "storm":
            self.storm = True
            gc.set_threshold(1, 50, 1000)
            Garbage(lambda: self.point("collection"), choose.randrange(1, 20))
        elif what == "calm":
            gc.set_threshold(700, 10, 10)
        elif stream is None:
            return
        else:
            end.acted += 1
            end.interrupted |= self.interrupting
            self.act_on_stream(end, stream, what)

    def act_on_stream(self, end: End, stream: Any, what: str) -> None:
        choose = self.random
        if what == "destroy":
            stream.destroy()
        elif what == "fail":
            error = ActingError("destroy")
            error.act = self.finaliser("error", end)
            stream.destroy(error)
        elif what.startswith("write"):
            forms = ["bytes", "chunk", "chunk", "memory", "text"]
            for _ in range(choose.choice([3, 20, 70]) if what == "write many" else 1):
                size = choose.choice(SIZES[:5] if what == "write many" else SIZES)
                end.write(size, choose.choice(forms), self.chance(0.5))
        elif what == "end":
            end.end()
        elif what == "end data":
            end.write(choose.choice(SIZES), "chunk", False, end=True)
        elif what == "off":
            if self.chance(0.3):
                end.loose = True
                stream.remove_all_listeners("data")
            else:
                stream.remove_all_listeners("noise").remove_all_listeners("drain")
        elif what in ("on", "noise"):
            name = choose.choice(["noise", "drain", "close", "error", "pause", "resume"])
            called = Called(lambda *args: end.act_in_listener("noise"), self.finaliser("l", end))
            (stream.on if self.chance(0.5) else stream.once)(name, called)
            if what == "noise":
                stream.emit("noise")
        elif isinstance(stream, net.Socket):
            self.act_on_socket(end, stream, what)

    def act_on_socket(self, end: End, stream: Any, what: str) -> None:
        if what in ("pause", "resume", "cork", "uncork"):
            getattr(stream, what)()
        elif what == "timeout":
            stream.set_timeout(self.random.choice([1, 2, 1000]))
        elif what == "no timeout":
            stream.set_timeout(0)
        elif what == "read":
            stream.read(*self.random.choice([[], [3]]))
        elif what == "soon":
            stream.destroy_soon()
        elif what == "reset":
            if stream.remote_address is not None:
                stream.reset_and_destroy()
        elif what == "drop":
            end.held = None
        elif what == "lengths":
            stream.writable_length, stream.bytes_written, stream.readable_length  # noqa: B018
        elif what == "state":
            repr(stream), stream.ready_state, stream.address()

    # ---- Steps ---------------------------------------------------------------------------------

    def add(self, stream: Any) -> End:
        # Even making the record may run the program.
        end = End(self, stream, self.seed % 100_000 * 1000 + next(self.numbers))
        self.ends[end.number] = end
        return end

    def serve(self) -> None:
        choose = self.random
        options = {
            "allow_half_open": choose.random() < 0.7,
            "high_water_mark": choose.choice([1, 65536]),
        }
        kind = choose.choice(["tcp", "unix", "tls"])
        server: Any
        if kind == "tls":
            server = tls.Server(options, secure_context=contexts()[0])
        else:
            server = net.Server(options)
        server.kind = kind
        server.max_connections = choose.choice([None, None, None, 3])
        server.max_listeners = 0

        def accepted(sock: Any) -> None:
            end = self.add(sock)
            if self.chance(0.3):
                self.act_inside("connection", end)

        server.on("secureConnection" if kind == "tls" else "connection", accepted)
        server.on("error", lambda error: None)
        self.servers.append(server)
        self.listen(server)

    def listen(self, server: Any) -> None:
        if server.kind == "unix":
            server.listen(f"{self.folder}/{next(self.paths)}")
        else:
            server.listen(0)

    def connect(self) -> None:
        listening = [server for server in self.servers if server.listening]
        if not listening:
            return
        server = self.random.choice(listening)
        address = server.address()
        if address is None:
            return
        options = {
            "allow_half_open": self.chance(0.7),
            "high_water_mark": self.random.choice([1, 65536]),
        }
        sock: Any
        if server.kind == "tls":
            self.seen["secure"] += 1
            sock = tls.TLSSocket(None, options, secure_context=contexts()[1],
                                 reject_unauthorized=False)  # fmt: skip
        else:
            sock = net.Socket(options)
        end = self.add(sock)
        if sock.destroyed or sock.writable_ended:
            return
        acted = end.acted
        try:
            if isinstance(address, str):
                sock.connect(address)
            else:
                sock.connect(address["port"], "127.0.0.1")
        finally:
            end.undefined = end.acted != acted

    def sink(self) -> None:
        sink = Sink(self)
        end = self.add(sink)
        receiver = End.__new__(End)
        receiver.program, receiver.got = self, bytearray()
        receiver.loose = receiver.undefined = False
        receiver.sender = end
        sink.arrived = receiver.arrived

    def pipe(self) -> None:
        sockets = [e for e in list(self.ends.values()) if isinstance(e.stream, net.Socket)]
        if len(sockets) < 2:
            return
        first, second = self.random.sample(sockets, 2)
        if first.fed or second.fed or any(end.fed for end in sockets):
            return
        second.fed = self.piped = True
        self.seen["pipes"] += 1
        for end in sockets:
            # Whose frames arrive where, and from which byte on, is nobody's business now.
            end.loose = True
        source, target = first.stream, second.stream
        # The collector may have taken one of them since.
        if source is not None and target is not None:
            source.pipe(target, end=self.chance(0.5))

    def step(self) -> None:
        self.seen["steps"] += 1
        choose = self.random.random()
        if not self.servers or (choose < 0.04 and len(self.servers) < 4):
            self.serve()
        elif len(self.ends) < 2 or (choose < 0.2 and len(self.ends) < 16):
            self.connect()
        elif choose < 0.22:
            self.sink()
        elif choose < 0.23:
            self.pipe()
        else:
            self.act_inside("step", None)

    def safe_step(self) -> None:
        try:
            self.step()
        except BaseException as error:
            if isinstance(error, AssertionError):
                self.findings.append(f"AssertionError: {error}")
            self.raised(error)

    def begin(self) -> None:
        self.hidden = True
        set_exception_handler(self.raised)
        if DEBUG:
            core.set_hidden_hook(self.hook)
        if self.chance(0.2):
            # In the middle of anything, as far as the interpreter lets it.
            signal.signal(signal.SIGALRM, lambda *ignored: self.interrupted())
            signal.setitimer(signal.ITIMER_REAL, 0.0007, 0.0007)
        for _ in range(2):
            self.safe_step()

    def interrupted(self) -> None:
        before, self.interrupting = self.interrupting, True
        try:
            with suppress(Exception):
                self.point("signal")
        finally:
            self.interrupting = before

    def calm(self) -> None:
        """Nothing hidden happens any more."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        self.hidden = False
        if DEBUG:
            core.set_hidden_hook(None)
        gc.set_threshold(700, 10, 10)
        gc.collect(0)

    def finish(self) -> None:
        """Close everything."""
        for timer in self.timers:
            timer.close()
        self.timers.clear()
        for server in self.servers:
            server.close()
            if server.kind == "tls":
                # Those whose handshake is not over.
                server.destroy_sockets()
        for end in list(self.ends.values()):
            if end.stream is not None:
                if isinstance(end.stream, net.Socket):
                    end.stream.ref()
                end.stream.destroy()

    def over(self) -> bool:
        return not any(server.sockets for server in self.servers) and all(
            end.stream is None or end.stream.closed for end in self.ends.values()
        )

    def check(self) -> None:
        """What holds once everything is closed."""
        for end in list(self.ends.values()):
            if end.undefined or (end.sender is not None and end.sender.undefined):
                continue
            if end.stream is not None and end.events.count("close") != 1:
                self.findings.append(f"{end.number}: 'close' {end.events.count('close')} times")
            for frame in end.frames.values():
                if frame.answers == 0 and not end.broken:
                    self.findings.append(f"write {frame.number} is never answered")
            if not all(end.ends) and not end.broken:
                self.findings.append(f"end callbacks were called {end.ends} times")
            sender = end.sender
            if sender is None or end.loose or "end" not in end.events:
                continue
            if "finish" in sender.events and "error" not in sender.events:
                lost = [n for n, f in sender.pending.items() if f.sure and not f.failed]
                if lost:
                    self.findings.append(f"{sender.number} finished, but {lost} never arrived")
        self.seen["connections"] += len(self.ends)

    def check_counts(self, counts: list[tuple[Any, int]]) -> None:
        for _, number in counts:
            if number:
                self.findings.append(f"a server still counts {number} connections")

    # ---- Ways to drive it ----------------------------------------------------------------------

    def drive(self) -> None:
        """In run(): each step in an immediate or a timer, and turns in between."""

        def next_step(left: int) -> None:
            self.safe_step()
            if left:
                if self.random.random() < 0.5:
                    set_immediate(next_step, left - 1)
                else:
                    pyuvnet.set_timeout(next_step, self.random.choice([0, 1]), left - 1)
            else:
                current_loop().stop()

        self.begin()
        set_immediate(next_step, self.steps)
        run()
        self.settle_by_turns()
        self.calm()
        self.finish()
        run()
        self.count_by_turns()

    def drive_by_turns(self) -> None:
        self.begin()
        for _ in range(self.steps):
            self.safe_step()
            for _ in range(self.random.randrange(4)):
                current_loop().turn()
        self.settle_by_turns()
        self.calm()
        self.finish()
        run()
        self.count_by_turns()

    def settle_by_turns(self) -> None:
        """With everything open the loop has nothing to do soon; what spins never gets there."""
        loop = current_loop()
        self.budget = min(self.budget, 50)
        for _ in range(20_000):
            loop.turn()
            if loop.backend_timeout() != 0 or not loop.alive():
                return
        self.findings.append("the loop spins")

    def count_by_turns(self) -> None:
        counts: list[tuple[Any, int]] = []
        for server in self.servers:
            server.get_connections(lambda error, number: counts.append((error, number)))
        run()
        assert len(counts) == len(self.servers)
        self.check_counts(counts)

    async def drive_attached(self) -> None:
        self.begin()
        for _ in range(self.steps):
            self.safe_step()
            for _ in range(self.random.randrange(4)):
                await asyncio.sleep(0 if self.chance(0.8) else 0.001)
        self.calm()
        self.finish()
        while not self.over():
            await asyncio.sleep(0)
        counts: list[tuple[Any, int]] = []
        for server in self.servers:
            server.get_connections(lambda error, number: counts.append((error, number)))
        while len(counts) < len(self.servers) or current_loop().alive():
            await asyncio.sleep(0)
        self.check_counts(counts)


class Hooked(asyncio.SelectorEventLoop):
    """An event loop in which the program runs when something is planned."""

    program: Program | None = None

    def _hidden(self, place: str) -> None:
        if self.program is not None:
            with suppress(Exception):
                self.program.point(place)

    def call_soon(self, *args: Any, **kwargs: Any) -> Any:
        self._hidden("call_soon")
        return super().call_soon(*args, **kwargs)

    def call_at(self, *args: Any, **kwargs: Any) -> Any:
        self._hidden("call_at")
        return super().call_at(*args, **kwargs)

    def add_reader(self, *args: Any) -> Any:
        self._hidden("add_reader")
        return super().add_reader(*args)


# ---- One process ---------------------------------------------------------------------------------


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0


def whole_pipes() -> int:
    """How many pipes of the kernel have both ends here."""
    if sys.platform != "linux":
        return 0
    ends = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            ends.append(os.readlink(f"/proc/self/fd/{name}"))
    return sum(ends.count(end) == 2 for end in {end for end in ends if end.startswith("pipe:")})


def open_what_stays() -> None:
    """The first connection opens what the loop keeps until it is closed."""
    server = net.Server(lambda sock: sock.end())
    server.listen(0)
    client = net.Socket().connect(server.address()["port"], "127.0.0.1")
    client.set_timeout(1000).resume().on("close", lambda error: server.close())
    run()


def event_loop(mode: str) -> Any:
    """What drives ours in a mode; None: nothing does."""
    if mode == "uvloop":
        import uvloop

        return uvloop.new_event_loop()
    if mode in ("run", "turn"):
        return None
    return Hooked() if mode == "hooked" else asyncio.new_event_loop()


def run_program(mode: str, seed: int, steps: int, folder: str) -> Program:
    """Run one program; its findings say what went wrong."""
    program = Program(seed, steps, folder)
    before, pipes = (live_counts(), descriptors()), whole_pipes()
    unraisable: list[Any] = []
    sys.unraisablehook = lambda given: unraisable.append(given.exc_value)
    warnings.showwarning = lambda *args, **kwargs: program.interrupted()  # type: ignore[assignment]
    theirs = event_loop(mode)

    async def attached() -> None:
        pyuvnet.attach()
        if isinstance(theirs, Hooked):
            theirs.program = program
        try:
            await program.drive_attached()
        finally:
            program.calm()
            if isinstance(theirs, Hooked):
                theirs.program = None
            pyuvnet.detach()

    try:
        if mode == "run":
            program.drive()
        elif mode == "turn":
            program.drive_by_turns()
        else:
            theirs.set_exception_handler(
                lambda loop, context: program.raised(context.get("exception", OSError()))
            )
            with asyncio.Runner(loop_factory=lambda: theirs) as runner:
                runner.run(attached())
    finally:
        program.calm()
        set_exception_handler(None)
    for error in unraisable:
        program.raised(error)
    unraisable.clear()
    program.check()
    loop = current_loop()
    if loop.alive() or loop.handle_count():
        program.findings.append(f"left alive: {loop_module.handles()}")
    after = (live_counts(), descriptors())
    if mode != "run" and mode != "turn":
        # A closed event loop has given its descriptors back; what it forgot is collected.
        gc.collect()
        after = (live_counts(), descriptors())
    # A loop that has spliced keeps its kernel pipe, and nothing else may stay.
    spliced = after == (before[0], before[1] + 2) and whole_pipes() == pipes + 1
    if after != before and not spliced:
        program.findings.append(f"handles, requests and descriptors were {before}, are {after}")
    return program


def run_batch(mode: str, seed: int, programs: int, steps: int) -> None:
    """Run programs in this process; prints their figures, or the first one's findings."""
    warnings.simplefilter("always")
    folder = tempfile.mkdtemp(prefix="pyuvnet-")
    total: Counter[str] = Counter()
    open_what_stays()
    if mode not in ("run", "turn"):
        with asyncio.Runner(loop_factory=lambda: event_loop(mode)) as runner:
            runner.run(asyncio.sleep(0))
    # What exists already is not looked through at each collection.
    gc.collect()
    gc.freeze()
    try:
        for at in range(seed, seed + programs):
            print(json.dumps({"seed": at}), flush=True)
            faulthandler.dump_traceback_later(SECONDS, exit=True)
            if os.environ.get("HIDDEN_CRASH") == str(at):
                os.abort()  # for a test of what follows
            program = run_program(mode, at, steps, folder)
            faulthandler.cancel_dump_traceback_later()
            total["programs"] += 1
            total.update(program.seen)
            if program.findings:
                if program.trace is not None:
                    print("\n".join(program.trace), file=sys.stderr)
                print(json.dumps({"findings": program.findings[:5]}), flush=True)
                sys.exit(3)
            program.ends.clear()
        print(json.dumps({"figures": total}), flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    current_loop().close()


# ---- Many processes ------------------------------------------------------------------------------


class Finding(Exception):
    """A program that went wrong, and how."""


def run_child(mode: str, seed: int, programs: int, steps: int) -> tuple[Counter[str], str]:
    """Run a batch in a process of its own; returns its figures, or what went wrong, and where."""
    command = [sys.executable, "-m", "tests.reliability.hidden", "--child", "--mode", mode]
    command += ["--seed", str(seed), "--programs", str(programs), "--length", str(steps)]
    environment = dict(os.environ, PYTHONFAULTHANDLER="1")
    environment.setdefault("PYTHONMALLOC", "debug")
    # One that crashes leaves its folder behind.
    with tempfile.TemporaryDirectory(prefix="pyuvnet-") as folder:
        child = subprocess.run(
            command,
            cwd=ROOT,
            env={**environment, "TMPDIR": folder},
            capture_output=True,
            text=True,
            timeout=SECONDS * (programs + 2),
            check=False,
        )
    lines = [json.loads(line) for line in child.stdout.splitlines() if line.startswith("{")]
    if child.returncode == 0:
        return Counter(lines[-1]["figures"]), ""
    at = [line["seed"] for line in lines if "seed" in line][-1]
    said = [line["findings"] for line in lines if "findings" in line]
    what = f"{said[0]}" if said else f"exit code {child.returncode}:\n{child.stderr[-4000:]}"
    return Counter(), f"--mode {mode} --seed {at} --programs 1 --length {steps}: {what}"


def shrink(mode: str, seed: int, steps: int) -> str:
    """The shortest program of a seed that still fails, if it does so again at all."""
    best = ""
    while steps >= 1:
        _, what = run_child(mode, seed, 1, steps)
        if not what:
            break
        best = what
        steps //= 2
    return best


def run_all(steps: int, seed: int, modes: list[str], batch: int = 40) -> Counter[str]:
    """Run programs in all modes until so many actions have happened; raises the first Finding."""
    total: Counter[str] = Counter()
    while total["actions"] < steps:
        for mode in modes:
            figures, what = run_child(mode, seed, batch, STEPS)
            if what:
                failed = int(what.split("--seed ")[1].split()[0])
                raise Finding(shrink(mode, failed, STEPS) or what)
            total.update(figures)
            seed += batch
            if total["actions"] >= steps:
                break
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description="Programs that act where no call shows it.")
    parser.add_argument("--steps", type=int, default=100_000, help="actions, hidden ones included")
    parser.add_argument("--mode", choices=MODES, action="append")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**9))
    parser.add_argument("--programs", type=int, help="run so many, of one mode, in this process")
    parser.add_argument("--length", type=int, default=STEPS, help="steps of a program")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--keep-on", action="store_true", help="count findings, stop at none")
    given = parser.parse_args()
    if given.programs is not None:
        run_batch((given.mode or ["run"])[0], given.seed, given.programs, given.length)
        return
    start, total, found, seed = time.perf_counter(), Counter[str](), 0, given.seed
    print(f"seed {seed}, {'debug' if DEBUG else 'release'} build", flush=True)
    shown = start
    while total["actions"] < given.steps:
        try:
            total.update(run_all(min(10_000, given.steps), seed, given.mode or MODES))
        except Finding as finding:
            found += 1
            print(f"FINDING {finding}", flush=True)
            if not given.keep_on:
                break
        seed += 100_000
        if time.perf_counter() - shown > 60:
            shown = time.perf_counter()
            print(f"{shown - start:.0f} s: {total['actions']} actions", flush=True)
    spent = time.perf_counter() - start
    print(f"{total['programs']} programs, {total['actions']} actions, {total['hidden']} of them "
          f"at {total['points']} hidden points, {total['connections']} sockets, "
          f"{total['bytes']} bytes compared, {found} findings, {spent:.0f} s")  # fmt: skip
    print(", ".join(f"{name} {count}" for name, count in sorted(total.items())))
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
