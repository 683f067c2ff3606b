"""Random programs over real sockets, checked step by step against a plain model.

A program makes servers and clients over TCP and unix sockets, connects, writes, pauses, pipes,
ends, destroys, resets, closes and listens again, raises in listeners, drops references and collects
garbage, in any order and from inside any event. The model knows rules, not an implementation:

* what arrives is a prefix of what was written on the other side, and all of it if both sides ended
  in peace; no byte of another connection ever shows;
* one 'close' for each life of a socket, and nothing after it; at most one 'connect', 'end',
  'finish' and 'error'; nothing is delivered after destroy();
* each write callback is called once, in the order of the writes, never inside the call;
* when everything is closed the loop ends, no handle, request or descriptor is left.

Each life of a socket writes a stream of its own, so that one knows from its first bytes who sent
it. A long run, whose failures are shrunk and printed as programs:

    python -m tests.reliability.programs --steps 200000
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import shutil
import socket as system
import sys
import tempfile
import time
import weakref
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from pyuvnet import current_loop, next_tick, run, set_exception_handler, set_immediate
from pyuvnet._core.handle import live_counts
from pyuvnet.net import BlockList, Server, Socket
from tests.support.errors import BoomError
from tests.support.machines import machine_settings

STEPS = 50
PATTERN = random.Random(8).randbytes(1 << 16) * 2
EVENTS = ("connect", "ready", "data", "end", "drain", "finish", "error", "close", "readable")
EVENTS += ("timeout", "pause", "resume", "callback")
# Events that a destroyed socket does not emit.
LIVE = ("data", "end", "drain", "finish", "readable", "timeout")
ONCE = ("connect", "ready", "end", "finish", "error", "close")
RETRY = st.sampled_from(["close", "end", "error"])
SIZES = st.sampled_from([0, 1, 2, 7, 100, 1000, 5000, 65536, 300_000])


def stream_of(number: int, start: int, size: int) -> bytes:
    """A part of the bytes that one life of a socket sends: its number, then its own pattern."""
    head = b"<" + number.to_bytes(6, "big") + b">"
    made = head[start : start + size]
    at = (number * 7919 + max(start - len(head), 0)) % 65536
    left = size - len(made)
    while left > 0:
        piece = PATTERN[at : at + min(left, 65536)]
        made += piece
        left -= len(piece)
        at = (at + len(piece)) % 65536
    return made


class Life:
    """What one connection, or an attempt at one, is expected to do; reconnecting begins another."""

    count = 0

    def __init__(self, record: Record) -> None:
        Life.count += 1
        self.number = Life.count
        self.record = record
        self.sent = 0  # bytes that write() accepted
        self.received = 0
        self.sender: Life | None = None
        self.head = b""  # of what was received, until it is known who sent it
        self.lossy = False  # somebody may have let data go by
        self.fed = False  # a pipe writes here
        self.feeding = False  # and reads here
        self.events: list[str] = []
        self.waiting: list[int] = []
        self.refused: set[int] = set()
        self.writes = 0
        self.undefined = False  # connect() came where its effect is not defined

    def arrived(self, data: bytes) -> None:
        """Check data against what the other side has written."""
        if self.undefined:
            return
        if self.sender is None:
            self.head += data
            if len(self.head) < 8:
                return
            data, self.head = self.head, b""
            number = int.from_bytes(data[1:7], "big")
            assert data[:1] + data[7:8] == b"<>", "what arrives is nobody's stream"
            self.sender = LIVES.get(number)
            assert self.sender is not None, "data of a connection of another program"
            assert self.sender.record is not self.record or self.sender.fed, "our own data"
        if self.sender.fed or self.sender.undefined:
            return
        if self.lossy:
            whole = stream_of(self.sender.number, self.received, self.sender.sent - self.received)
            at = whole.find(data)
            assert at >= 0, "other bytes than were written"
            self.received += at + len(data)
            Programs.seen["bytes"] += len(data)
            return
        self.received += len(data)
        assert self.received <= self.sender.sent, "more than was written"
        start = self.received - len(data)
        assert data == stream_of(self.sender.number, start, len(data)), "other bytes"
        Programs.seen["bytes"] += len(data)

    def event(self, name: str, *arguments: Any) -> None:
        sock = self.record.socket
        seen = self.events
        if not self.undefined:
            assert "close" not in seen, f"{name!r} after 'close'"
            if name in ONCE:
                assert name not in seen, f"a second {name!r}"
            if name in LIVE and sock is not None:
                assert not sock.destroyed, f"{name!r} after destroy()"
            if name == "ready":
                assert "connect" in seen, "'ready' before 'connect'"
            elif name == "data":
                assert "end" not in seen, "'data' after 'end'"
            elif name == "finish":
                assert not self.waiting, "'finish' before a write callback"
            elif name == "close":
                assert arguments[0] is ("error" in seen), "'close' is wrong about an error"
        seen.append(name)
        Programs.seen[name] += 1
        if name == "end":
            self.ended()
        self.record.fire(name)

    def ended(self) -> None:
        """'end' came: all data must have, if the sender ended in peace and nobody lost any."""
        sender = self.sender
        if sender is None or self.undefined or self.lossy or sender.fed or sender.undefined:
            return
        if "finish" in sender.events:
            assert self.received == sender.sent, "'end' before the last data"

    def write_callback(self) -> Callable[..., None]:
        self.writes += 1
        number = self.writes
        sock = self.record.socket
        if sock.destroyed or sock.writable_ended:
            self.refused.add(number)
        else:
            self.waiting.append(number)

        def called(error: Any = None) -> None:
            assert not self.record.calling, "a callback inside the call"
            if number in self.refused:
                self.refused.remove(number)
                assert error is not None, "a refused write succeeded"
                return
            assert number in self.waiting, "a callback twice"
            if not self.undefined:
                assert self.waiting[0] == number, "callbacks out of order"
            self.waiting.remove(number)
            self.record.fire("callback")

        return called


LIVES: weakref.WeakValueDictionary[int, Life] = weakref.WeakValueDictionary()


class Record:
    """A socket of the program, and what it did. Listeners hold this, not the socket."""

    def __init__(self, machine: Programs, sock: Socket, fresh: bool) -> None:
        self.machine = machine
        self.held: Socket | None = sock
        self.ref = weakref.ref(sock)
        self.fresh = fresh  # never connected
        self.calling = 0
        self.plans: dict[str, Callable[[], None]] = {}
        self.lives: list[Life] = []
        self.begin()
        for name in EVENTS:
            if name not in ("data", "callback", "readable"):
                sock.on(name, self.listener(name))
        self.data_listener: Any = None

    @property
    def socket(self) -> Any:
        return self.ref()

    def begin(self) -> None:
        self.life = Life(self)
        self.lives.append(self.life)
        LIVES[self.life.number] = self.life

    def listener(self, name: str) -> Callable[..., None]:
        def called(*arguments: Any) -> None:
            self.life.event(name, *arguments)

        return called

    def listen_to_data(self) -> None:
        def on_data(chunk: Any) -> None:
            data = chunk.encode("latin1") if isinstance(chunk, str) else bytes(chunk)
            assert data, "an empty chunk"
            self.life.arrived(data)
            self.life.event("data")

        self.data_listener = on_data
        self.socket.on("data", on_data)

    def fire(self, name: str) -> None:
        """Do what was planned for the next of these, as a part of the program."""
        plan = self.plans.pop(name, None)
        if plan is not None:
            before, self.calling = self.calling, 0
            try:
                plan()
            finally:
                self.calling = before


class Programs(RuleBasedStateMachine):
    """One random program."""

    steps = 0
    seen: ClassVar[Counter[str]] = Counter()  # events, and bytes that were compared

    def __init__(self) -> None:
        super().__init__()
        self.sockets: list[Record] = []
        self.servers: list[Any] = []
        self.raised: list[BaseException] = []
        self.closes: dict[int, int] = {}
        self.folder = tempfile.mkdtemp(prefix="pyuvnet-")
        self.paths = 0
        Life.count = 0

    @initialize(kind=st.sampled_from(["tcp", "unix"]))
    def begin(self, kind: str) -> None:
        set_exception_handler(self.raised.append)
        open_what_stays()
        self.descriptors = len(os.listdir("/proc/self/fd"))
        self.counts = live_counts()
        # A port where nobody listens.
        with system.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            self.nobody = taken.getsockname()[1]
        self.serve(kind, False, False, None)
        self.connect(0, "plain", True, False, 65536)

    # ---- Servers -------------------------------------------------------------------------------

    @precondition(lambda self: len(self.servers) < 4)
    @rule(
        kind=st.sampled_from(["tcp", "unix"]),
        half=st.booleans(),
        paused=st.booleans(),
        most=st.sampled_from([None, None, None, 1, 0]),
    )
    def serve(self, kind: str, half: bool, paused: bool, most: int | None) -> None:
        server = Server(allow_half_open=half, pause_on_connect=paused, no_delay=half)
        server.max_connections = most
        server.kind = kind
        server.plan = None
        server.closes = 0
        ref = weakref.ref(server)

        def on_connection(sock: Socket) -> None:
            record = Record(self, sock, False)
            record.listen_to_data()
            self.sockets.append(record)
            server = ref()
            if server is not None and server.plan is not None:
                plan, server.plan = server.plan, None
                plan(record)

        server.on("connection", on_connection)
        server.on("error", lambda error: None)
        self.servers.append(server)
        self.listen_now(server)

    def listen_now(self, server: Any) -> None:
        if server.kind == "unix":
            self.paths += 1
            server.path = f"{self.folder}/{self.paths}"
            server.listen(server.path)
        else:
            server.listen(0)

    @rule(at=st.integers(0, 3))
    def listen_again(self, at: int) -> None:
        server = self.servers[at % len(self.servers)]
        if not server.listening:
            self.listen_now(server)

    @rule(at=st.integers(0, 3), again=st.booleans())
    def close_server(self, at: int, again: bool) -> None:
        server = self.servers[at % len(self.servers)]
        server.close(lambda error: None)
        if again:
            self.listen_now(server)

    @precondition(lambda self: len(self.servers) > 1)
    @rule(at=st.integers(0, 3))
    def forget_server(self, at: int) -> None:
        """Nobody holds it: a listening server lives by its handle, and is closed at the end."""
        server = self.servers.pop(at % len(self.servers))
        server.close()

    @rule(at=st.integers(0, 3), what=st.sampled_from(["raise", "destroy", "close", "reset", "end"]))
    def plan_connection(self, at: int, what: str) -> None:
        server = self.servers[at % len(self.servers)]
        ref = weakref.ref(server)

        def plan(record: Record) -> None:
            if what == "raise":
                raise BoomError("connection")
            if what == "close":
                owner = ref()
                if owner is not None:
                    owner.close()
            else:
                self.act(record, what)

        server.plan = plan

    # ---- Clients -------------------------------------------------------------------------------

    def address(self, at: int, how: str) -> dict[str, Any]:
        """Where to connect to."""
        server = self.servers[at % len(self.servers)]
        if how == "nobody":
            return {"port": self.nobody, "host": "127.0.0.1"}
        if not server.listening:
            self.listen_now(server)
        if server.kind == "unix":
            return {"path": server.path}
        there = {"port": server.address()["port"], "host": "127.0.0.1"}
        if how == "names":

            def lookup(host: str, options: Any, callback: Any) -> None:
                found = [{"address": a, "family": f} for a, f in (("::1", 6), ("127.0.0.1", 4))]
                next_tick(callback, None, found if options["all"] else "127.0.0.1", 4)

            there |= {"host": "name.invalid", "lookup": lookup}
        return there

    @precondition(lambda self: self.open_sockets() < 10)
    @rule(
        at=st.integers(0, 3),
        how=st.sampled_from(["plain", "plain", "plain", "names", "nobody", "blocked", "new"]),
        half=st.booleans(),
        text=st.booleans(),
        mark=st.sampled_from([0, 1, 16, 65536, 65536]),
    )
    def connect(self, at: int, how: str, half: bool, text: bool, mark: int) -> None:
        options: dict[str, Any] = {"allow_half_open": half, "high_water_mark": mark}
        if how == "blocked":
            options["block_list"] = BlockList()
            options["block_list"].add_address("127.0.0.1")
        if text:
            options["encoding"] = "latin1"
        sock = Socket(options)
        record = Record(self, sock, how == "new")
        record.listen_to_data()
        self.sockets.append(record)
        if how != "new":
            sock.connect(self.address(at, how))

    @precondition(lambda self: self.sockets)
    @rule(at=st.integers(0, 11), server=st.integers(0, 3), rash=st.booleans())
    def connect_again(self, at: int, server: int, rash: bool) -> None:
        """Reconnect after 'close', or, where the effect is not defined, at any other time."""
        record = self.pick(at)
        if record is not None:
            self.reconnect(record, server, rash)

    def reconnect(self, record: Record, server: int, rash: bool) -> None:
        sock = record.socket
        if record.fresh and not sock.destroyed and not sock.writable_ended:
            record.fresh = False
        elif "close" in record.life.events:
            if record.life.waiting and not record.life.undefined:
                return  # its last callbacks come right after 'close'
            old = record.life
            record.begin()
            record.life.undefined = old.undefined
            record.life.lossy = old.lossy
        elif rash:
            record.life.undefined = True
        else:
            return
        sock.connect(self.address(server, "plain"))

    def open_sockets(self) -> int:
        sockets = [record.socket for record in self.sockets]
        return sum(sock is not None and not sock.destroyed for sock in sockets)

    def pick(self, at: int) -> Record | None:
        live = [record for record in self.sockets if record.socket is not None]
        return live[at % len(live)] if live else None

    # ---- What programs do with sockets ---------------------------------------------------------

    @precondition(lambda self: self.sockets)
    @rule(
        at=st.integers(0, 11),
        size=SIZES,
        called=st.booleans(),
        form=st.sampled_from(["bytes", "bytes", "text", "view"]),
    )
    def write(self, at: int, size: int, called: bool, form: str) -> None:
        record = self.pick(at)
        if record is not None:
            self.write_to(record, size, called, form)

    def write_to(
        self, record: Record, size: int, called: bool, form: str, end: bool = False
    ) -> None:
        sock, life = record.socket, record.life
        if life.fed:
            return
        if record.fresh and not sock.destroyed:
            life.undefined = True  # it fails, and there is no connection to judge
        refused = sock.destroyed or sock.writable_ended
        data: Any = stream_of(life.number, life.sent, size)
        if not refused:
            life.sent += size
        encoding = None
        if form == "text":
            data, encoding = data.decode("latin1"), "latin1"
        elif form == "view":
            data = memoryview(bytearray(data))
        record.calling += 1
        try:
            if end:
                sock.end(data, encoding)
            elif called:
                sock.write(data, encoding, life.write_callback())
            else:
                sock.write(data, encoding)
        finally:
            record.calling -= 1

    ACTIONS = (
        "end", "end data", "destroy", "fail", "soon", "reset", "pause", "resume", "read", "read 3",
        "cork", "uncork", "timeout", "no timeout", "options", "unref", "ref", "write", "write much",
        "raise", "close servers", "collect", "drop", "deaf", "listen", "unpipe", "forget", "tick",
        "address", "soon and reset",
    )  # fmt: skip

    def act(self, record: Record, what: str) -> None:
        sock = record.socket
        if sock is None:
            return
        if what == "end":
            sock.end()
        elif what == "end data":
            self.write_to(record, 50, False, "bytes", end=True)
        elif what == "destroy":
            sock.destroy()
        elif what == "fail":
            sock.destroy(BoomError("destroy"))
        elif what == "soon":
            sock.destroy_soon()
        elif what == "soon and reset":
            sock.destroy_soon()
            self.act(record, "reset")
        elif what == "reset":
            with suppress(TypeError):  # of a unix socket
                sock.reset_and_destroy()
        elif what == "pause":
            sock.pause()
        elif what == "resume":
            sock.resume()
        elif what.startswith("read"):
            sock.read(*([3] if what == "read 3" else []))
        elif what in ("cork", "uncork", "ref", "unref"):
            getattr(sock, what)()
        elif what == "timeout":
            sock.set_timeout(1)
        elif what == "no timeout":
            sock.set_timeout(0)
        elif what == "options":
            sock.set_no_delay(True).set_keep_alive(True, 1000)
        elif what == "write":
            self.write_to(record, 60, True, "bytes")
        elif what == "write much":
            self.write_to(record, 200_000, True, "bytes")
        elif what == "raise":
            raise BoomError("listener")
        elif what == "close servers":
            for server in self.servers:
                server.close()
        elif what == "collect":
            gc.collect()
        elif what == "drop":
            record.held = None
        elif what == "deaf" and record.data_listener is not None:
            record.life.lossy = True
            sock.off("data", record.data_listener)
            record.data_listener = None
        elif what == "listen" and record.data_listener is None:
            record.listen_to_data()
        elif what == "unpipe":
            sock.unpipe()
        elif what == "forget":
            record.life.lossy = True
            sock.remove_all_listeners("data")
            record.data_listener = None
        elif what == "tick":
            next_tick(self.write_to, record, 10, True, "bytes")
        elif what == "address":
            repr(sock), sock.address(), sock.remote_address, sock.bytes_written, sock.ready_state

    @precondition(lambda self: self.sockets)
    @rule(at=st.integers(0, 11), what=st.sampled_from([w for w in ACTIONS if w != "raise"]))
    def action(self, at: int, what: str) -> None:
        record = self.pick(at)
        if record is not None:
            self.act(record, what)

    @precondition(lambda self: self.sockets)
    @rule(at=st.integers(0, 11), event=st.sampled_from(EVENTS), what=st.sampled_from(ACTIONS))
    def plan(self, at: int, event: str, what: str) -> None:
        """Do something inside the next emission of an event, or a write callback."""
        record = self.pick(at)
        if record is None:
            return
        if event == "readable":
            # Asking for it changes the mode, as the program's own business.
            if not record.socket.listener_count("readable"):
                record.socket.on("readable", record.listener("readable"))
                record.life.lossy = True
            if what in ("read", "read 3"):
                return
        record.plans[event] = lambda: self.act(record, what)

    @precondition(lambda self: self.sockets)
    @rule(
        at=st.integers(0, 11),
        to=st.integers(0, 3),
        event=st.sampled_from(["close", "end", "error"]),
    )
    def plan_reconnect(self, at: int, to: int, event: str) -> None:
        record = self.pick(at)
        if record is None:
            return

        def again() -> None:
            sock = record.socket
            if sock is not None and self.servers:
                self.reconnect(record, to, event != "close")

        record.plans[event] = again

    @precondition(lambda self: self.sockets)
    @rule(source=st.integers(0, 11), dest=st.integers(0, 11), echo=st.booleans(), end=st.booleans())
    def pipe(self, source: int, dest: int, echo: bool, end: bool) -> None:
        """Pipe one socket into another, or itself, where no circle can come of it."""
        first, second = self.pick(source), self.pick(dest)
        if first is None or second is None:
            return
        if echo:
            second = first
        if first.fresh or second.fresh:
            return
        others = [record.life for record in self.sockets]
        if any(life.fed for life in others if life not in (first.life, second.life)):
            return
        if second.life.fed or first.life.feeding:
            return
        first.life.feeding = second.life.fed = True
        first.socket.pipe(second.socket, end=end)
        Programs.seen["pipe"] += 1

    @rule(at=st.integers(0, 3), sizes=st.lists(SIZES, max_size=3), text=st.booleans())
    def exchange(self, at: int, sizes: list[int], text: bool) -> None:
        """What most programs do: connect, and let both sides write."""
        if self.open_sockets() < 10:
            known = len(self.sockets)
            self.connect(at, "plain", False, text, 65536)
            run_turns(4)
            for record in self.sockets[known:]:
                for size in sizes:
                    if record.socket is not None:
                        self.write_to(record, size, True, "bytes")
            run_turns(2)

    @rule()
    def collect(self) -> None:
        gc.collect(0)

    # ---- Time ----------------------------------------------------------------------------------

    @rule(turns=st.integers(1, 6))
    def turn(self, turns: int) -> None:
        run_turns(turns)

    @rule(turns=st.integers(2, 9))
    def turn_more(self, turns: int) -> None:
        run_turns(turns)

    @rule(turns=st.integers(1, 4))
    def wait(self, turns: int) -> None:
        """As turn(), in run(), which waits without the GIL."""

        def count(left: int) -> None:
            if left:
                set_immediate(count, left - 1)
            else:
                current_loop().stop()

        count(turns)
        run()

    def raise_findings(self) -> None:
        raised, self.raised = self.raised, []
        for error in raised:
            if not isinstance(error, (BoomError, OSError)) and not hasattr(error, "code"):
                raise error

    @invariant()
    def holds(self) -> None:
        Programs.steps += 1
        self.raise_findings()
        for record in self.sockets:
            sock, life = record.socket, record.life
            if sock is None or life.undefined:
                continue
            assert sock.closed or "close" not in life.events
            if "end" in life.events and not sock.connecting:
                assert sock.readable_ended
            if not sock.destroyed:
                assert sock.bytes_read >= life.received or life.lossy

    def teardown(self) -> None:
        try:
            if hasattr(self, "counts"):
                self.end_all()
        finally:
            set_exception_handler(None)
            self.sockets.clear()
            self.servers.clear()
            shutil.rmtree(self.folder, ignore_errors=True)
            if sys.exc_info()[0] is not None:
                # The next program must not inherit what this one left.
                current_loop().close()

    def end_all(self) -> None:
        for record in self.sockets:
            record.plans.clear()
        for server in self.servers:
            server.plan = None
            server.close()
        run_turns(3)
        for record in list(self.sockets):
            if record.socket is not None:
                record.socket.ref().destroy()
        run()
        self.raise_findings()
        for record in self.sockets:
            for life in record.lives:
                if not life.undefined and record.socket is not None:
                    assert life.events.count("close") == 1, f"{life.events}"
                assert not life.waiting, "a write callback never came"
                assert not life.refused, "a refused write was never told"
        assert not current_loop().alive(), "something keeps the loop alive"
        assert current_loop().handle_count() == 0, "handles are left"
        assert live_counts() == self.counts, f"{live_counts()} are left, not {self.counts}"
        assert len(os.listdir("/proc/self/fd")) == self.descriptors, "descriptors are left"


def open_what_stays() -> None:
    """Make one connection: the first opens what the loop keeps until it is closed."""
    server = Server(lambda sock: sock.end())
    server.listen(0)
    client = Socket().connect(server.address()["port"], "127.0.0.1")
    client.set_timeout(1000).resume().on("close", lambda error: server.close())
    run()


def run_turns(count: int) -> None:
    for _ in range(count):
        current_loop().turn()


def run_programs(examples: int, **options: Any) -> None:
    run_state_machine_as_test(Programs, settings=machine_settings(examples, STEPS, **options))


def main() -> None:
    parser = argparse.ArgumentParser(description="Random programs over real sockets.")
    parser.add_argument("--steps", type=int, default=200_000)
    wanted = parser.parse_args().steps
    examples = 0
    start = time.perf_counter()
    while Programs.steps < wanted:
        run_programs(200, database=None)
        examples += 200
    spent = time.perf_counter() - start
    print(f"{Programs.steps} steps, {examples} programs, {spent:.0f} s; events and bytes seen:")
    print(", ".join(f"{name} {count}" for name, count in sorted(Programs.seen.items())))
    current_loop().close()


if __name__ == "__main__":
    main()
