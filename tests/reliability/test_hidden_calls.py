"""Code of the program that runs where no call shows it finds every object whole.

Python runs it when the last reference to an object with `__del__` is dropped, when the collector
comes by (on 3.11 at any allocation of ours, later between two steps of the interpreter), in an
event loop's `call_soon()`, and in an observer of events that the library itself emits. What went
wrong was mostly memory, so each program here is a process of its own.

hidden.py makes random programs of the same kind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pyuvnet._core import info

Child = Callable[..., Any]

debug_build = pytest.mark.skipif(
    "debug" not in info.build_flags().split(",")[0], reason="only the debug build has the hook"
)

# Peers are plain sockets of the same process, which the loop's turns serve.
PRELUDE = """
import asyncio, faulthandler, gc, os, socket as posix, sys, time
import pyuvnet, pyuvnet.errors, pyuvnet.loop
from pyuvnet import net, next_tick, run, set_exception_handler

loop = pyuvnet.current_loop()
faulthandler.dump_traceback_later(15, exit=True)

def turns(count=8):
    for _ in range(count):
        loop.turn()

def until(reached):
    # Bounded by the clock: a loop that spins, or waits for nothing, is a failure.
    end = time.monotonic() + 5
    while not reached():
        assert time.monotonic() < end, "what the program waits for never comes"
        loop.turn()

def pair(**options):
    # A connected socket of ours, and the plain one at its other end.
    with posix.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        sock = net.Socket(options).connect(listener.getsockname()[1], "127.0.0.1")
        until(lambda: not sock.connecting)
        peer = listener.accept()[0]
    peer.setblocking(False)
    return sock, peer

def receive(peer, size):
    got = b""
    def more():
        nonlocal got
        try:
            part = peer.recv(1 << 20)
        except BlockingIOError:
            return False
        got += part
        return not part or len(got) >= size
    until(more)
    return got

class Buf(bytes):
    # Acts when the core drops it.
    act = None
    def __del__(self):
        if self.act is not None:
            act, self.act = self.act, None
            act()

def buf(data, act):
    made = Buf(data)
    made.act = act
    return made

def in_callback(action):
    # Runs it inside a callback of libuv, where writes are collected.
    ran = []
    pyuvnet.set_timeout(lambda: (action(), ran.append(1)), 1)
    until(lambda: ran)

class Cycle:
    # Garbage that acts when it is collected, and makes the next.
    def __init__(self, act, left):
        self.act, self.left, self.me = act, left, self
    def __del__(self):
        if self.left and not sys.is_finalizing():
            self.act()
            Cycle(self.act, self.left - 1)

"""


@pytest.fixture
def program(run_child: Child) -> Callable[..., list[str]]:
    """program(code, *args) runs code in a child, which must end well; returns its lines."""

    def go(code: str, *args: str) -> list[str]:
        import textwrap

        child = run_child(PRELUDE + textwrap.dedent(code), *args, timeout=25)
        assert child.code == 0, child.err[-3000:]
        lines: list[str] = child.lines
        return lines

    return go


# ---- Chunks whose last reference the core drops --------------------------------------------------

WAYS = ["outside", "one", "several", "corked", "partly"]

WRITE = """
way = sys.argv[1]

def write(sock, last):
    # Writes such that the core drops `last()` on the path that is wanted.
    if way == "outside":
        sock.write(last())
    elif way == "one":
        in_callback(lambda: sock.write(last()))
    elif way == "several":
        in_callback(lambda: (sock.write(b"first"), sock.write(last())))
    elif way == "corked":
        sock.cork()
        sock.write(b"first")
        sock.write(last())
        sock.uncork()
    else:
        # The kernel takes the first chunks, and a part of a later one.
        in_callback(lambda: (sock.write(last()), sock.write(bytes(30_000)),
                             sock.write(bytes(20_000_000))))
"""


@pytest.mark.parametrize("way", WAYS)
def test_a_chunk_destroys_the_socket_when_it_is_dropped(program: Any, way: str) -> None:
    lines = program(
        WRITE
        + """
sock, peer = pair()
closes = []
sock.on("close", closes.append)
sock.on("error", lambda error: closes.append(error))
write(sock, lambda: buf(b"last", sock.destroy))
until(lambda: closes)
turns()
print(closes, sock.destroyed)
""",
        way,
    )
    assert lines == ["[False] True"]


@pytest.mark.parametrize("way", WAYS)
def test_a_chunk_writes_when_it_is_dropped(program: Any, way: str) -> None:
    """What it writes arrives after what was written before, once, and nothing else does."""
    lines = program(
        WRITE
        + """
sock, peer = pair(high_water_mark=1 << 30)
answers = []
def again():
    answers.append(sock.write(b"<" + b"n" * 500 + b">", lambda error=None: answers.append(error)))
write(sock, lambda: buf(b"last", again))
size = {"outside": 4, "one": 4, "several": 9, "corked": 9, "partly": 20_030_004}[way]
got = receive(peer, size + 502)
until(lambda: len(answers) == 2)
before = {"outside": b"last", "one": b"last", "partly": b"last" + bytes(20_030_000)}
before = before.get(way, b"firstlast")
print(len(got), sorted(got.split(b"<" + b"n" * 500 + b">")) == sorted([before, b""])
      or got.replace(b"<" + b"n" * 500 + b">", b"") == before, answers)
sock.destroy()
""",
        way,
    )
    assert lines[0].endswith("True [True, None]"), lines


@pytest.mark.parametrize("way", WAYS)
def test_a_chunk_ends_the_socket_when_it_is_dropped(program: Any, way: str) -> None:
    """The end comes after the data, and the loop does not spin."""
    lines = program(
        WRITE
        + """
sock, peer = pair(high_water_mark=1 << 30)
told = []
sock.on("finish", lambda: told.append("finish"))
write(sock, lambda: buf(b"last", lambda: sock.end(b"bye")))
got = receive(peer, 1 << 40)
until(lambda: told)
print(len(got), got[-3:], told)
turns()
print(loop.backend_timeout())
sock.destroy()
turns()
assert not loop.alive()
""",
        way,
    )
    size = {"outside": 7, "one": 7, "several": 12, "corked": 12, "partly": 20_030_007}[way]
    assert lines == [f"{size} b'bye' ['finish']", "-1"]


def test_a_chunk_acts_after_end_when_it_is_dropped(program: Any) -> None:
    """A write after end() fails, as anywhere; the socket closes, and the loop ends."""
    lines = program(
        """
        server = net.create_server(lambda s: s.resume()).listen(0)
        sock = net.connect(server.address()["port"], "127.0.0.1")
        said = []
        def late():
            said.append(sock.write(b"late", lambda error: said.append(error.code)))
        def begin():
            sock.write(b"first")
            sock.end(buf(b"last", late))
            server.close()
        sock.on("ready", begin)
        sock.on("error", lambda error: said.append(error.code))
        sock.on("close", lambda had_error: said.append(had_error))
        run()
        print(said)
        """
    )
    assert lines == ["[False, 'ERR_STREAM_WRITE_AFTER_END', 'ERR_STREAM_WRITE_AFTER_END', True]"]


@pytest.mark.parametrize("act", ["destroy", "write", "end"])
def test_chunks_that_the_kernel_does_not_take_act_when_they_are_dropped(
    program: Any, act: str
) -> None:
    """Of a stream that is destroyed with a full queue, and of one that drains."""
    program(
        """
        act = sys.argv[1]
        for fate in "drain", "destroy":
            sock, peer = pair(high_water_mark=1 << 30)
            sock.on("error", lambda error: None)
            calls, told = [], []
            def go():
                calls.append(1)
                if act == "write":
                    sock.write(b"n" * 100, lambda error=None: told.append(error))
                else:
                    getattr(sock, act)()
            for index in range(40):
                sock.write(buf(bytes(300_000), go), lambda error=None: told.append(error))
            if fate == "destroy":
                sock.destroy()
            else:
                try:
                    receive(peer, 40 * 300_000)
                except ConnectionResetError:
                    pass
            until(lambda: len(calls) == 40)
            until(lambda: len(told) == (80 if act == "write" else 40))
            sock.destroy()
            turns()
            assert sock.closed
        """,
        act,
    )


# ---- Subclasses of bytes -------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["outside", "several", "corked", "queued", "end", "connecting"])
@pytest.mark.parametrize("lie", ["too large", "too small", "raising", "zero"])
def test_the_size_of_a_chunk_is_that_of_its_bytes(program: Any, lie: str, way: str) -> None:
    """Whatever a subclass of bytes answers to len()."""
    lines = program(
        """
        lie, way = sys.argv[1:]
        class Liar(bytes):
            def __len__(self):
                if lie == "raising":
                    raise RuntimeError("len")
                return {"too large": 5000, "too small": 1, "zero": 0}[lie]
        sock, peer = pair() if way != "connecting" else (None, None)
        data = Liar(b"0123456789")
        before = b""
        if way == "outside":
            sock.write(data)
        elif way == "several":
            in_callback(lambda: [sock.write(data) for _ in range(3)])
        elif way == "corked":
            sock.cork()
            for _ in range(3):
                sock.write(data)
            assert sock.writable_length == 30
            sock.uncork()
        elif way == "queued":
            before = bytes(20_000_000)
            sock.write(before)
            for _ in range(3):
                sock.write(data)
            assert 30 < sock.writable_length <= 20_000_030
        elif way == "end":
            sock.end(data)
        else:
            listener = posix.socket()
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            sock = net.connect(listener.getsockname()[1], "127.0.0.1")
            for _ in range(3):
                sock.write(data)
            until(lambda: not sock.connecting)
            peer = listener.accept()[0]
            peer.setblocking(False)
        wanted = before + b"0123456789" * (1 if way in ("outside", "end") else 3)
        got = receive(peer, len(wanted))
        turns()
        print(got == wanted, sock.bytes_written == len(wanted), sock.writable_length, sock.errored)
        sock.destroy()
        """,
        lie,
        way,
    )
    assert lines == ["True True 0 None"]


@pytest.mark.parametrize("act", ["write", "end"])
def test_a_stream_of_the_program_keeps_the_order_when_a_chunk_writes(
    program: Any, act: str
) -> None:
    """While its queue is handed over one by one."""
    lines = program(
        """
        from pyuvnet import streams
        act, got = sys.argv[1], []
        class Sink(streams.Writable):
            def _write(self, chunk, encoding, callback):
                got.append(bytes(chunk))
                callback()
        sink = Sink()
        sink.cork()
        sink.write(b"a")
        sink.write(buf(b"b", lambda: getattr(sink, act)(b"n")))
        sink.write(b"c")
        sink.write(b"d")
        sink.uncork()
        turns()
        print(got)
        """,
        act,
    )
    assert lines == ["[b'a', b'b', b'c', b'd', b'n']"]


# ---- Collections ---------------------------------------------------------------------------------


@pytest.mark.parametrize("act", ["destroy", "write", "end", "pause", "off", "set_timeout"])
def test_a_collection_at_any_allocation_of_a_write(program: Any, act: str) -> None:
    """On 3.11 a collection comes at any tracked allocation of the core, with a threshold of 1."""
    program(
        """
        act = sys.argv[1]
        set_exception_handler(lambda error: None)
        for left in range(1, 25):
            sock, peer = pair(high_water_mark=1 << 30)
            sent = []
            sock.on("error", lambda error: None)
            def go():
                if act == "write":
                    sent.append(b"n" * 10) if sock.write(b"n" * 10) else None
                elif act == "off":
                    sock.off("data", print).off("error", print)
                elif act == "set_timeout":
                    sock.set_timeout(5000)
                else:
                    getattr(sock, act)()
            gc.collect()
            gc.disable()
            gc.set_threshold(1)
            Cycle(go, left)
            def begin():
                gc.enable()
                for _ in range(4):
                    sock.write(b"w" * 10, lambda error=None: None)
                sock.cork()
                for _ in range(4):
                    sock.write(b"w" * 10)
                sock.uncork()
            in_callback(begin)
            if not sock.destroyed:
                sock.end()
            turns()
            gc.set_threshold(700)
            if act in ("write", "pause", "off", "set_timeout"):
                got = receive(peer, 1 << 40)
                assert got.count(b"w") == 80, got
                assert got.count(b"n") == 10 * len(sent), (got, sent)
            sock.destroy()
            turns()
            assert sock.closed
        """,
        act,
    )


@pytest.mark.parametrize("kind", ["tcp", "names", "unix"])
def test_a_collection_destroys_a_socket_that_begins_to_connect(program: Any, kind: str) -> None:
    """It gets no handle any more, which nobody would close."""
    program(
        """
        import tempfile
        kind = sys.argv[1]
        with tempfile.TemporaryDirectory() as folder:
            server = net.create_server(lambda sock: sock.resume())
            server.listen(folder + "/path" if kind == "unix" else 0)
            where = {"path": folder + "/path"}
            if kind != "unix":
                where = {"port": server.address()["port"], "host": "127.0.0.1"}
            if kind == "names":
                def lookup(host, options, callback):
                    callback(None, [{"address": "::1", "family": 6},
                                    {"address": "127.0.0.1", "family": 4}])
                where |= {"host": "name.invalid", "lookup": lookup}
            # A collection comes at each second allocation: one more takes the others' turn.
            for left, shift in [(left, shift) for left in [*range(1, 30), *range(30, 120, 7)]
                                for shift in (0, 1)]:
                sock = net.Socket()
                calls = []
                def go():
                    calls.append(1)
                    if len(calls) == left:
                        sock.destroy()
                gc.collect()
                gc.disable()
                gc.set_threshold(1, 50, 1000)
                Cycle(go, left)
                gc.enable()
                shifted = [[] for _ in range(shift)]
                sock.connect(where)
                turns(3)
                gc.set_threshold(700, 10, 10)
                sock.destroy()
                until(lambda: sock.closed)
            server.close()
            until(lambda: not loop.alive())
            assert not pyuvnet.loop.handles(), pyuvnet.loop.handles()
        """,
        kind,
    )


@pytest.mark.parametrize("act", ["listen", "close", "close and listen"])
@pytest.mark.parametrize("kind", ["tcp", "host", "unix"])
@debug_build
def test_a_finaliser_within_listen_leaves_one_handle_at_most(
    program: Any, kind: str, act: str
) -> None:
    """What listen() opened for nothing is closed."""
    program(
        """
        import itertools, tempfile
        from pyuvnet._core.hidden_calls import set_hidden_hook
        kind, act = sys.argv[1:]
        set_exception_handler(lambda error: None)
        sys.unraisablehook = lambda given: None
        number = itertools.count()
        with tempfile.TemporaryDirectory() as folder:
            for left in range(1, 12):
                server = net.Server()
                server.on("error", lambda error: None)
                calls = []
                def listen():
                    if kind == "unix":
                        server.listen(f"{folder}/{next(number)}")
                    else:
                        server.listen(0, *(["127.0.0.1"] if kind == "host" else []))
                def go():
                    calls.append(1)
                    if len(calls) == left:
                        if "close" in act:
                            server.close()
                        if "listen" in act:
                            listen()
                set_hidden_hook(lambda place: go())
                try:
                    listen()
                    turns(1)
                except pyuvnet.errors.StateError:
                    pass
                set_hidden_hook(None)
                turns(4)
                assert len(pyuvnet.loop.handles()) <= 1, pyuvnet.loop.handles()
                server.close()
                until(lambda: not loop.alive())
                assert not pyuvnet.loop.handles(), pyuvnet.loop.handles()
        """,
        kind,
        act,
    )


@pytest.mark.parametrize("attached", ["run", "asyncio"])
def test_a_collection_in_a_listener_destroys_the_socket(program: Any, attached: str) -> None:
    """Stock asyncio, and a cycle of the program's: from 3.12 on it is collected in call_soon()."""
    program(
        """
        async def main():
            pyuvnet.attach()
            for left in range(1, 12):
                sockets = []
                ended = asyncio.get_running_loop().create_future()
                def serve(sock):
                    sock.on("data", sock.write)
                    sock.on("error", lambda error: None)
                    sockets.append(sock)
                server = net.create_server(serve).listen(0)
                port = server.address()["port"]
                client = net.connect(port, "127.0.0.1")
                def data(chunk):
                    if left % 2:
                        client.set_timeout(1000 + left)
                    client.write(b"again")
                    client.write(b"and again", lambda error=None: None)
                def closed(had_error):
                    server.close()
                    if not ended.done():
                        ended.set_result(None)
                client.on("data", data).on("error", lambda error: None).on("close", closed)
                client.set_timeout(3000)
                def go():
                    for each in [client, *sockets]:
                        each.destroy()
                def begin():
                    gc.collect()
                    gc.set_threshold(1)
                    Cycle(go, left)
                    client.write(b"first")
                    client.write(b"second")
                client.on("ready", begin)
                await asyncio.wait_for(ended, 5)
                gc.set_threshold(700)
            pyuvnet.detach()
        if sys.argv[1] == "asyncio":
            asyncio.run(main())
        else:
            run(main())
        """,
        attached,
    )


def test_a_collection_in_set_timeout_destroys_the_socket(program: Any) -> None:
    """No timeout comes after 'close'."""
    program(
        """
        for left in range(1, 20):
            sock, peer = pair()
            told, calls = [], []
            for name in "timeout", "close":
                sock.on(name, lambda *args, name=name: told.append(name))
            def go():
                calls.append(1)
                if len(calls) == left:
                    sock.destroy()
            gc.collect()
            gc.disable()
            gc.set_threshold(1, 50, 1000)
            Cycle(go, left)
            gc.enable()
            sock.set_timeout(1)
            gc.set_threshold(700, 10, 10)
            sock.destroy()
            until(lambda: sock.closed)
            waited = []
            pyuvnet.set_timeout(lambda: waited.append(1), 4)
            until(lambda: waited)
            assert told == ["close"], told
        """
    )


def test_a_collection_clears_timers_while_they_are_listed(program: Any) -> None:
    program(
        """
        for left in range(1, 40):
            timers = [pyuvnet.set_timeout(print, 60_000 + n) for n in range(50)]
            def go():
                for _ in range(20):
                    if timers:
                        timers.pop().close()
            gc.collect()
            gc.disable()
            gc.set_threshold(1)
            Cycle(go, left)
            gc.enable()
            pyuvnet.loop.handles()
            gc.set_threshold(700)
            while timers:
                timers.pop().close()
        assert not pyuvnet.loop.handles()
        """
    )


def test_a_loop_in_a_cycle_through_a_tick_is_collected(program: Any) -> None:
    """With all its descriptors."""
    lines = program(
        """
        from pyuvnet._core.loop import Loop
        def descriptors():
            return len(os.listdir("/proc/self/fd"))
        def make(way):
            ours = Loop()
            if way == "argument":
                ours.next_tick(print, ours)
            elif way == "continuation":
                ours.continue_after_ticks(lambda: ours)
            else:
                ours.next_tick(lambda: ours)
        before = None
        for _ in range(20):
            for way in "closure", "argument", "continuation":
                make(way)
            gc.collect()
            if before is None:
                before = descriptors()
        print(descriptors() - before)
        """
    )
    assert lines == ["0"]


# ---- The loop that drives ours -------------------------------------------------------------------


@pytest.mark.parametrize("act", ["destroy", "flood", "end", "off"])
@pytest.mark.parametrize("place", ["read", "outside", "one", "several", "corked"])
@pytest.mark.parametrize("how", ["call_soon", "collector"])
def test_the_driving_loop_acts_when_an_operation_wakes_it(
    program: Any, how: str, place: str, act: str
) -> None:
    """An idle timeout that begins anew in the middle of a read or a write wants a turn.

    In `call_soon()` a debugging loop acts, or a signal handler; from 3.12 on also the collector,
    under the event loop that everybody has.
    """
    program(
        """
        how, place, act = sys.argv[1:]

        class Hidden(asyncio.SelectorEventLoop):
            hidden = None
            def call_soon(self, *args, **kwargs):
                if self.hidden is not None:
                    action, self.hidden = self.hidden, None
                    action()
                return super().call_soon(*args, **kwargs)

        async def main():
            theirs = asyncio.get_running_loop()
            pyuvnet.attach()
            for index in range(1, 20 if how == "collector" else 4):
                server = net.create_server(lambda sock: accepted.append(sock)).listen(0)
                accepted, peers, sockets = [], [], []
                for number in range(2):
                    sock = net.connect(server.address()["port"], "127.0.0.1")
                    while sock.connecting or len(accepted) <= number:
                        await asyncio.sleep(0)
                    sockets.append(sock)
                    accepted[number].resume().on("error", lambda error: None)
                    sock.on("error", lambda error: None)
                source, sink = sockets
                idle = source if place == "read" else sink
                fired = []
                idle.set_timeout(1, lambda: fired.append(1))
                while not fired:
                    await asyncio.sleep(0.001)

                def hidden():
                    for sock in sockets:
                        if act == "destroy":
                            sock.destroy()
                        elif act == "end":
                            sock.end()
                        elif act == "off":
                            sock.remove_all_listeners("data").remove_all_listeners("timeout")
                        else:
                            for _ in range(200):
                                sock.write(b"hidden")

                def arm():
                    if how == "call_soon":
                        theirs.hidden = hidden
                    else:
                        # At the index-th collection.
                        left = iter(range(index - 1, -1, -1))
                        gc.collect()
                        gc.set_threshold(1)
                        Cycle(lambda: next(left) or hidden(), index)

                def write():
                    chunks = [b"%d" % n * 7 for n in range(40)]
                    if place == "one":
                        del chunks[1:]
                    arm()
                    if place == "corked":
                        sink.cork()
                    for chunk in chunks:
                        sink.write(chunk, lambda error=None: None)
                    if place == "corked":
                        sink.uncork()

                if place == "read":
                    # The socket holds the only reference to its listener.
                    source.on("data", lambda chunk, own=[0] * 50: own.append(chunk))
                    arm()
                    accepted[0].write(b"data")
                elif place == "outside":
                    write()
                else:
                    source.on("data", lambda chunk: write())
                    accepted[0].write(b"data")
                for _ in range(5):
                    await asyncio.sleep(0.001)
                gc.set_threshold(700)
                server.close()
                for sock in [*sockets, *accepted]:
                    sock.destroy()
                while not all(sock.closed for sock in [*sockets, *accepted]):
                    await asyncio.sleep(0)
            pyuvnet.detach()

        with asyncio.Runner(loop_factory=Hidden if how == "call_soon" else None) as runner:
            runner.run(asyncio.wait_for(main(), 10))
        """,
        how,
        place,
        act,
    )


# ---- destroy() cannot fail half way --------------------------------------------------------------

DEEP = """
# A parser that recurses as deep as its input says, and hangs up when that is too deep.
def parse(sock, depth):
    try:
        parse(sock, depth + 1)
    except RecursionError:
        sock.destroy()
        raise

def serve(sock):
    def data(chunk):
        if chunk == b"ping":
            sock.end(b"pong")
            return
        try:
            parse(sock, 0)
        except RecursionError:
            pass
    sock.on("data", data)
    sock.on("error", lambda error: None)

async def peers(server):
    port = server.address()["port"]
    for _ in range(6):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"[" * 51)
        assert await asyncio.wait_for(reader.read(), 5) == b"", "not hung up"
        writer.close()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"ping")
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    for _ in range(10):
        await asyncio.sleep(0)
    count = []
    server.get_connections(lambda error, number: count.append(number))
    while not count:
        await asyncio.sleep(0.001)
    print(answer, count)
    server.close()
"""


def test_peers_that_make_a_parser_recurse_are_hung_up_on_and_no_longer_counted(
    program: Any,
) -> None:
    lines = program(
        DEEP
        + """
async def main():
    pyuvnet.attach()
    server = net.create_server(serve).listen(0)
    server.max_connections = 3
    await peers(server)
    pyuvnet.detach()
asyncio.run(main())
"""
    )
    assert lines == ["b'pong' [0]"]


def test_a_listener_that_hangs_up_at_any_depth_leaves_nothing(program: Any) -> None:
    """Each depth from where destroy() is refused to where it has all the room it wants."""
    lines = program(
        """
        sockets = []
        def deeper(left, action):
            if left:
                return deeper(left - 1, action)
            action()
        server = net.create_server(sockets.append).listen(0)
        set_exception_handler(lambda error: None)
        deepest = 0
        while True:
            try:
                deeper(deepest + 1, lambda: None)
            except RecursionError:
                break
            deepest += 1
        for depth in range(deepest - 30, deepest + 2):
            peer = posix.create_connection(("127.0.0.1", server.address()["port"]))
            until(lambda: sockets)
            sock = sockets.pop()
            closes = []
            sock.on("close", closes.append)
            try:
                deeper(depth, sock.destroy)
            except RecursionError:
                pass
            if not sock.destroyed:
                sock.destroy()
            until(lambda: closes)
            peer.settimeout(5)
            assert peer.recv(10) == b""
            peer.close()
        count = []
        server.get_connections(lambda error, number: count.append(number))
        until(lambda: count)
        print(count)
        server.close()
        """
    )
    assert lines == ["[0]"]


def test_a_failing_observer_of_the_signal_does_not_keep_the_connection(program: Any) -> None:
    """The signal option's listener is removed by destroy(), which emits 'removeListener'."""
    lines = program(
        """
        from pyuvnet.abort import AbortController
        raised = []
        set_exception_handler(lambda error: raised.append(type(error).__name__))
        signal = AbortController().signal
        def fail(*arguments):
            raise ValueError("observer")
        signal.on("removeListener", fail)
        signal.on("remove_listener", fail)
        sockets = []
        server = net.create_server(sockets.append).listen(0)
        client = net.Socket(signal=signal).connect(server.address()["port"], "127.0.0.1")
        told = []
        client.on("close", lambda had_error: told.append(had_error))
        until(lambda: sockets and not client.connecting)
        try:
            client.destroy()
        except ValueError:
            print("destroy() raised")
        sockets[0].resume()
        until(lambda: told and sockets[0].closed)
        server.close()
        turns()
        print(told, raised, loop.alive(), len(pyuvnet.loop.handles()))
        """
    )
    assert lines == ["[False] ['ValueError'] False 0"]


def test_a_subclass_of_the_server_that_fails_is_served_on(program: Any) -> None:
    """A subclass cannot come between a connection that ends and the server's count."""
    lines = program(
        """
        set_exception_handler(lambda error: None)
        class Failing(net.Server):
            def _connection_gone(self):
                raise ValueError("gone")
        server = Failing(lambda sock: sock.end(b"served"))
        server.max_connections = 2
        server.listen(0)
        for _ in range(6):
            peer = posix.create_connection(("127.0.0.1", server.address()["port"]))
            peer.setblocking(False)
            print(receive(peer, 6))
            peer.close()
            turns()
        server.close()
        """
    )
    assert lines == ["b'served'"] * 6


# ---- after_answer() ------------------------------------------------------------------------------


@pytest.mark.parametrize("acts", ["finaliser", "collection", "call_soon"])
def test_a_second_socket_that_writes_while_the_first_is_flushed_is_sent(
    program: Any, acts: str
) -> None:
    lines = program(
        """
        acts = sys.argv[1]
        async def main():
            theirs = asyncio.get_running_loop()
            if acts == "call_soon":
                pyuvnet.attach()
            first, peer1 = pair()
            second, peer2 = pair()
            def go():
                second.write(b"second")
            def answer(chunk):
                if acts == "finaliser":
                    first.write(buf(b"answer", go))
                elif acts == "collection":
                    first.write(b"answer")
                    gc.collect()
                    gc.disable()
                    gc.set_threshold(1)
                    Cycle(go, 1)
                    gc.enable()
                else:
                    first.set_timeout(10_000)
                    first.write(b"answer")
                    theirs.hidden = go
            first.on("data", answer)
            turns()
            peer1.send(b"ask")
            for _ in range(20):
                await asyncio.sleep(0.001)
            print(receive(peer1, 6), receive(peer2, 6), second.writable_length)
            gc.set_threshold(700)
            first.destroy()
            second.destroy()
            turns()
        class Hidden(asyncio.SelectorEventLoop):
            hidden = None
            def call_soon(self, *args, **kwargs):
                if self.hidden is not None:
                    act, self.hidden = self.hidden, None
                    act()
                return super().call_soon(*args, **kwargs)
        with asyncio.Runner(loop_factory=Hidden) as runner:
            runner.run(main())
        """,
        acts,
    )
    assert lines == ["b'answer' b'second' 0"]


# ---- Operations of a server in production --------------------------------------------------------

PRODUCTION = """
from pyuvnet import metrics
from pyuvnet._core.hidden_calls import set_hidden_hook
from pyuvnet._core.handle import live_counts

what, act = sys.argv[1:]
LINE = b"PROXY TCP4 1.2.3.4 5.6.7.8 5 9\\r\\n"

def once(nth):
    # One time that a server does it, with an act at the n-th hidden place; returns how many it has.
    places = 0
    sockets, peers, results = [], [], []
    def accepted(sock):
        sockets.append(sock)
        sock.on("error", lambda error: None)
        sock.on("data", lambda data: None)
    options = {"proxy_protocol": {"trusted": ["127.0.0.1"]}} if what == "proxy" else {}
    server = net.create_server(
        accepted, name="hidden", max_per_address=9, write_budget=100_000, max_connections=9,
        overflow="wait", on_exhausted="wait", idle_timeout=60_000, write_timeout=60_000,
        first_byte_timeout=60_000, min_read_rate=(1, 60_000), **options)
    server.on("overload", lambda info: None)
    server.listen(0)
    port = server.address().port
    def connect(data=b""):
        # The act may have closed the server.
        try:
            peer = posix.create_connection(("127.0.0.1", port))
            peers.append(peer)
            peer.send(data)
        except OSError:
            pass
    def hook(place):
        nonlocal places
        places += 1
        if places - 1 == nth:
            if act == "destroy":
                server.destroy_sockets()
            elif act == "close":
                if server.listening:
                    server.close()
            elif act == "deadline":
                for sock in server.sockets:
                    sock.set_deadline(None)
                    sock.set_deadline(60_000)
            else:
                server.shutdown(0)
    if what != "accept" and what != "proxy":
        connect()
        connect()
        until(lambda: len(sockets) == 2)
    set_hidden_hook(hook)
    try:
        if what == "accept":
            connect(b"x")
            connect(b"x")
            turns()
        elif what == "proxy":
            connect(LINE[:20])
            connect(LINE + b"data")
            turns()
            for peer in peers[:1]:
                try:
                    peer.send(LINE[20:])
                except OSError:
                    pass
            turns()
        elif what == "deadlines":
            for sock in list(sockets):
                if not sock.destroyed:
                    sock.set_deadline(0)
            turns()
        elif what == "limits":
            for sock in list(sockets):
                sock.write(bytes(10_000_000))
            pyuvnet.loop.set_write_budget(1000)
            turns()
            pyuvnet.loop.set_write_budget(None)
        elif what == "shutdown":
            if server.listening:
                connect()
            server.shutdown(50, idle_grace=0, callback=results.append)
            turns()
        elif what == "pause":
            server.pause()
            connect()
            turns()
            server.resume()
            turns()
        else:
            metrics.text()
            server.stats()
            pyuvnet.loop.stats()
            for sock in list(sockets):
                if not sock.destroyed:
                    sock.info()
    finally:
        set_hidden_hook(None)
    for peer in peers:
        peer.close()
    server.destroy_sockets()
    if server.listening:
        server.close()
    until(lambda: not server._running and not server._awaiting)
    turns()
    assert server._per_address == {}, (nth, server._per_address)
    assert server._write_budget == (100_000, 0), nth
    assert server.sockets == []
    assert what != "shutdown" or len(results) == 1, (nth, results)
    return places

set_exception_handler(print)
most = once(-1)
before = live_counts()
for nth in range(0, most + 1):
    once(nth)
gc.collect()
turns()
assert live_counts() == before, (before, live_counts())
print(most > 3)
"""


@pytest.mark.slow
@debug_build
@pytest.mark.parametrize("act", ["destroy", "close", "deadline", "shutdown"])
@pytest.mark.parametrize(
    "what", ["accept", "proxy", "deadlines", "limits", "shutdown", "pause", "metrics"]
)
def test_what_production_needs_meets_hidden_code_at_each_place(
    program: Any, what: str, act: str
) -> None:
    assert program(PRODUCTION, what, act) == ["True"]
