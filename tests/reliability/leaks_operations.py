"""A call of each public operation that leaves nothing open, for tests that count what it keeps.

`OPERATIONS` maps a name to a function, which uses that name and perhaps others; `NAMES` has them
all. `public()` lists what there is, and a test holds one against the other. `growth()` runs a
function in rounds and tells what each of them left behind. As a program it does that to all:

    python -m tests.reliability.leaks_operations [--times N] [NAME...]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import inspect
import itertools
import os
import signal
import socket as posix
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pyuvnet
from pyuvnet import (
    AbortController,
    AbortSignal,
    BoundSocket,
    Duplex,
    EventEmitter,
    Readable,
    Server,
    Socket,
    StateError,
    Writable,
    diagnostics,
    events,
    framing,
    loop,
    net,
    run,
    streams,
    testing,
    tls,
)
from tests.support.certificates import certificates
from tests.support.frames import FORMS

OPERATIONS: dict[str, Callable[[], Any]] = {}
NAMES: set[str] = set()


def operation(*names: str) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    def add(function: Callable[[], Any]) -> Callable[[], Any]:
        assert names[0] not in OPERATIONS
        OPERATIONS[names[0]] = function
        NAMES.update(names)
        return function

    return add


def nothing(*args: Any) -> None:
    pass


# ---- What there is -------------------------------------------------------------------------------

MODULES = {
    "": pyuvnet,
    "net": net,
    "promises": net.promises,
    "events": events,
    "streams": streams,
    "diagnostics": diagnostics,
    "loop": loop,
    "testing": testing,
    "tls": tls,
    "tls.promises": tls.promises,
}
# Constants, and what only a loop that drives ours calls (the operation "attach" does).
LEFT_OUT = {
    "__version__",
    "Loop.backend_fd",
    "Loop.backend_timeout",
    "Loop.interrupt_wait",
    "Loop.set_driver",
    "Loop.turn",
    "Loop.wait_for_io",
    "VirtualTime.adopt",
    "VirtualTime.wait",
    "events.error_monitor",
    "tls.DEFAULT_CIPHERS",
    "tls.DEFAULT_ECDH_CURVE",
    "tls.DEFAULT_MAX_VERSION",
    "tls.DEFAULT_MIN_VERSION",
}


def public() -> set[str]:
    """Names of public functions, classes and methods: "net.is_ip", "Socket", "Socket.write"."""
    found: set[str] = set()
    seen: set[int] = set()
    for module, contents in MODULES.items():
        for name in contents.__all__:
            thing = getattr(contents, name)
            if inspect.ismodule(thing) or id(thing) in seen:
                continue
            seen.add(id(thing))
            if not isinstance(thing, type):
                found.add(f"{module}.{name}" if module else name)
            elif not issubclass(thing, BaseException):
                # tls.Server is another than net's.
                label = f"tls.{name}" if contents is tls else name
                found.add(label)
                found |= {f"{label}.{method}" for method in methods(thing)}
    return found - LEFT_OUT


def methods(kind: type) -> Iterator[str]:
    """The methods of a class, by name, that stand in itself or in a base that is not public."""
    contents = dir if kind.__name__ in tls.__all__ else vars
    theirs = {
        name
        for base in kind.__mro__[1:]
        if base.__name__ in pyuvnet.__all__
        for name in contents(base)
    }
    for base in kind.__mro__:
        if not base.__module__.startswith("pyuvnet"):
            continue
        for name, value in vars(base).items():
            # Node's spelling is the same function once more.
            if name.startswith("_") or name != name.lower():
                continue
            if base is not kind and name in theirs:
                continue
            if callable(value) or isinstance(value, (staticmethod, classmethod)):
                yield name


def read_properties(thing: Any) -> None:
    """Read every property once."""
    for name in dir(type(thing)):
        if not name.startswith("_") and not callable(getattr(type(thing), name)):
            getattr(thing, name)


# ---- Connections ---------------------------------------------------------------------------------

_serving: list[Any] = []


def server() -> Server:
    """One that listens for all operations, and keeps no loop alive."""
    if not _serving:
        made = net.create_server(lambda socket: _serving.append(socket))
        made.listen(0, "127.0.0.1", callback=pyuvnet.stop)
        run()
        _serving.append(made.unref())
    found: Server = _serving[0]
    return found


def close_server() -> None:
    if _serving:
        _serving.pop().close()
        run()


def pair(**options: Any) -> tuple[Socket, Socket]:
    """A connected client, and the server's end of it."""
    where = server().address()
    client = net.connect(where["port"], where["address"], **options)
    while len(_serving) < 2 or client.connecting:
        pyuvnet.set_immediate(pyuvnet.stop)
        run()
    return client, _serving.pop()


def done(*sockets: Any) -> None:
    """Close them, with RST, so that no port rests."""
    for socket in sockets:
        if not socket.destroyed:
            socket.on("error", nothing)
            socket.reset_and_destroy()
    run()


class Source(Readable):
    def _read(self, size: int) -> None:
        self.push(b"data")
        self.push(None)


class Silent(Readable):
    def _read(self, size: int) -> None: ...


class Sink(Writable):
    def _write(self, chunk: Any, encoding: str, callback: Callable[..., None]) -> None:
        callback()


class Both(Duplex):
    def _read(self, size: int) -> None:
        self.push(None)

    def _write(self, chunk: Any, encoding: str, callback: Callable[..., None]) -> None:
        callback()


# ---- Emitters ------------------------------------------------------------------------------------


@operation(
    "EventEmitter", "EventEmitter.on", "EventEmitter.add_listener", "EventEmitter.once",
    "EventEmitter.prepend_listener", "EventEmitter.prepend_once_listener", "EventEmitter.emit",
)  # fmt: skip
def _emit() -> None:
    emitter = EventEmitter(capture_rejections=True)
    emitter.on("a", nothing).once("a", nothing).add_listener("b", nothing)
    emitter.prepend_listener("a", nothing).prepend_once_listener("new one", nothing)
    for name in ("a", "b", "new one", "c"):
        emitter.emit(name, 1, 2)
    with contextlib.suppress(ValueError):
        emitter.emit("error", ValueError("unheard"))


@operation(
    "EventEmitter.off", "EventEmitter.remove_listener", "EventEmitter.remove_all_listeners",
    "EventEmitter.listeners", "EventEmitter.raw_listeners", "EventEmitter.listener_count",
    "EventEmitter.event_names", "EventEmitter.set_max_listeners",
    "EventEmitter.get_max_listeners",
)  # fmt: skip
def _listeners() -> None:
    emitter = EventEmitter()
    for name in "abcdef":
        emitter.on(name, nothing).once(name, nothing)
    emitter.set_max_listeners(emitter.get_max_listeners() + 1)
    emitter.listeners("a")
    emitter.raw_listeners("a")
    emitter.listener_count("a", nothing)
    emitter.event_names()
    emitter.off("a", nothing).remove_listener("a", nothing).remove_all_listeners("b")
    emitter.remove_all_listeners()
    read_properties(emitter)


@operation(
    "events.once", "events.on", "events.get_event_listeners", "events.get_max_listeners",
    "events.listener_count", "events.set_max_listeners",
)  # fmt: skip
def _events() -> None:
    async def main() -> None:
        emitter = EventEmitter()
        events.set_max_listeners(20, emitter)
        pyuvnet.set_immediate(emitter.emit, "a", 5)
        await events.once(emitter, "a")
        pyuvnet.set_immediate(emitter.emit, "error", ValueError("E"))
        with contextlib.suppress(ValueError):
            await events.once(emitter, "a")
        each: AsyncIterator[Any] = events.on(emitter, "a")
        emitter.emit("a", 6)
        async for _ in each:
            break
        await each.aclose()  # type: ignore[attr-defined]
        events.get_event_listeners(emitter, "a")
        events.listener_count(emitter, "a")
        events.get_max_listeners(emitter)

    run(main())


@operation(
    "AbortController", "AbortController.abort", "AbortSignal", "AbortSignal.on",
    "AbortSignal.add_listener", "AbortSignal.once", "AbortSignal.prepend_listener",
    "AbortSignal.prepend_once_listener", "AbortSignal.off", "AbortSignal.remove_listener",
    "AbortSignal.remove_all_listeners", "AbortSignal.throw_if_aborted", "AbortSignal.abort",
    "AbortSignal.timeout", "AbortSignal.any", "events.add_abort_listener",
)  # fmt: skip
def _abort() -> None:
    controller, other = AbortController(), AbortController()
    signal = controller.signal
    both = AbortSignal.any([signal, other.signal])
    signal.on("abort", nothing).once("abort", nothing).add_listener("abort", nothing)
    signal.prepend_listener("abort", nothing).prepend_once_listener("abort", nothing)
    signal.off("abort", nothing).remove_listener("abort", nothing)
    other.signal.on("abort", nothing).remove_all_listeners()
    with events.add_abort_listener(both, nothing):
        pass
    events.add_abort_listener(both, nothing)
    signal.throw_if_aborted()
    controller.abort()
    read_properties(both)
    for aborted in (both, AbortSignal.abort(), AbortSignal.abort(ValueError("E"))):
        with contextlib.suppress(pyuvnet.AbortError, ValueError):
            aborted.throw_if_aborted()
    soon = AbortSignal.timeout(0)
    pyuvnet.set_timeout(nothing, 2)
    run()
    assert soon.aborted


# ---- Addresses -----------------------------------------------------------------------------------


@operation("net.is_ip", "net.is_ipv4", "net.is_ipv6")
def _is_ip() -> None:
    for text in ("1.2.3.4", "::1", "fe80::1%eth0", "x", "1" * 99):
        net.is_ip(text)
        net.is_ipv4(text)
        net.is_ipv6(text)


@operation(
    "SocketAddress", "SocketAddress.parse", "SocketAddress.to_json",
    "SocketAddress.is_socket_address",
)  # fmt: skip
def _socket_address() -> None:
    address = net.SocketAddress(address="::1", family="ipv6", port=5, flowlabel=7)
    address.to_json()
    read_properties(address)
    net.SocketAddress.is_socket_address(address)
    net.SocketAddress.parse("1.2.3.4:5")
    net.SocketAddress.parse("nothing")
    hash(address)
    _ = address == net.SocketAddress(), repr(address)
    for wrong in ({"port": -1}, {"address": "x"}, {"family": "x"}):
        with contextlib.suppress(pyuvnet.Error):
            net.SocketAddress(wrong)


@operation(
    "BlockList", "BlockList.check", "BlockList.add_address", "BlockList.add_addresses",
    "BlockList.add_range", "BlockList.add_subnet", "BlockList.add_cidr", "BlockList.add_cidrs",
    "BlockList.remove_address", "BlockList.remove_range", "BlockList.remove_subnet",
    "BlockList.remove_cidr", "BlockList.clear", "BlockList.to_json", "BlockList.from_json",
    "BlockList.is_block_list", "BlockList.load",
)  # fmt: skip
def _block_list() -> None:
    rules = net.BlockList()
    rules.add_address("1.2.3.4")
    rules.add_address(net.SocketAddress(address="::5", family="ipv6"), "ipv6")
    rules.add_addresses(["1.2.3.5", "1.2.3.6"])
    rules.add_range("9.0.0.0", "9.0.0.9")
    rules.add_subnet("10.0.0.0", 8)
    rules.add_cidr("fc00::/7")
    rules.add_cidrs(["11.0.0.0/8", "12.0.0.0/8"])
    rules.check("10.1.1.1")
    rules.check("fc00::1", "ipv6")
    read_properties(rules)
    again = net.BlockList()
    again.from_json(rules.to_json())
    net.BlockList.is_block_list(again)
    rules.remove_address("1.2.3.4")
    rules.remove_range("9.0.0.0", "9.0.0.9")
    rules.remove_subnet("10.0.0.0", 8)
    rules.remove_cidr("fc00::/7")
    rules.clear()
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("1.2.3.4\n5.0.0.0/8\n")
        file.flush()
        net.BlockList.load(file.name)
    for wrong in ("x", "1.2.3.4/99", ""):
        with contextlib.suppress(pyuvnet.Error):
            rules.add_cidr(wrong)
        with contextlib.suppress(pyuvnet.Error):
            rules.from_json([wrong])


# ---- The loop ------------------------------------------------------------------------------------


@operation(
    "current_loop", "Loop.next_tick", "Loop.set_immediate", "Loop.call_soon_threadsafe",
    "Loop.continue_after_ticks", "Loop.run", "Loop.stop", "Loop.alive", "Loop.handle_count",
    "Loop.set_exception_handler", "next_tick", "set_immediate", "clear_immediate", "run", "stop",
    "set_exception_handler", "Immediate", "Immediate.ref", "Immediate.unref",
    "Immediate.has_ref", "Immediate.close",
)  # fmt: skip
def _loop() -> None:
    ours = pyuvnet.current_loop()
    ours.next_tick(nothing, 1)
    pyuvnet.next_tick(nothing, 1, 2)
    ours.call_soon_threadsafe(nothing, 3)
    ours.continue_after_ticks(nothing)
    immediate = ours.set_immediate(nothing)
    immediate.unref().ref().has_ref()
    pyuvnet.clear_immediate(pyuvnet.set_immediate(nothing))
    pyuvnet.set_immediate(nothing).close()
    ours.alive()
    ours.handle_count()
    read_properties(ours)
    ours.run()
    pyuvnet.set_exception_handler(nothing)
    pyuvnet.set_immediate(int, "x")
    run()
    ours.set_exception_handler(None)
    pyuvnet.next_tick(int, "x")
    with contextlib.suppress(ValueError):
        run()
    pyuvnet.set_immediate(pyuvnet.stop)
    pyuvnet.set_immediate(ours.stop)
    run()
    run()


@operation("Loop", "Loop.close")
def _own_loop() -> None:
    pyuvnet.Loop().close()
    pyuvnet.Loop()


@operation("set_timeout", "clear_timeout", "set_interval", "clear_interval")
def _timers() -> None:
    pyuvnet.set_timeout(nothing, 0, 1, 2)
    waiting = pyuvnet.set_timeout(nothing, 5000)
    waiting.refresh().unref().ref().has_ref()
    pyuvnet.clear_timeout(waiting)
    interval = pyuvnet.set_interval(lambda: pyuvnet.clear_interval(interval), 0)
    pyuvnet.set_timeout(nothing, 5000).close()
    run()


@operation("attach", "detach")
def _attach() -> None:
    async def main() -> None:
        pyuvnet.attach()
        done = asyncio.get_running_loop().create_future()
        pyuvnet.set_immediate(done.set_result, None)
        await done
        pyuvnet.detach()

    asyncio.run(main())


@operation("loop.handles", "HandleInfo")
def _handles() -> None:
    client, accepted = pair()
    client.set_timeout(5000)
    for each in loop.handles():
        read_properties(each)
        _ = repr(each), str(each), each == each
    done(client, accepted)


@operation(
    "testing.pair", "Pair", "FaultProxy", "FaultProxy.address", "FaultProxy.reset",
    "FaultProxy.stall", "FaultProxy.resume", "FaultProxy.close",
)  # fmt: skip
def _faults() -> None:
    for end in testing.pair():
        end.destroy()
    run()
    made = testing.pair(latency_ms=(1, 2), rate=1e6, chop=(1, 2), flip_every=2, seed=1)
    read_properties(made)
    made.server.resume()
    made.client.resume().end("hello")
    run()
    for faults in ({"reset_after": 1}, {"end_after": 1}, {"stall_after": 1}):
        client, there = testing.pair(**faults)
        for end in (client, there):
            end.on("error", nothing).resume().write("hello")
        pyuvnet.set_timeout(lambda client=client, there=there: (client.destroy(), there.destroy()))
        run()
    with testing.FaultProxy(server().address(), chop=1) as proxy:
        client = net.connect(proxy.address()).on("error", nothing).resume()
        while len(_serving) < 2 or client.connecting:
            pyuvnet.set_immediate(pyuvnet.stop)
            run()
        read_properties(proxy)
        proxy.stall()
        proxy.resume()
        proxy.reset()
        accepted = _serving.pop().on("error", nothing)
    done(client, accepted)


@operation("testing.virtual_time", "VirtualTime", "VirtualTime.advance")
def _virtual_time() -> None:
    async def main() -> None:
        await asyncio.sleep(1)
        await clock.advance(1000)

    with testing.virtual_time(jump=True) as clock:
        read_properties(clock)
        pyuvnet.set_timeout(nothing, 1000)
        clock.advance(500)
        run()
        run(main())


@operation("diagnostics.subscribe", "diagnostics.unsubscribe", "diagnostics.has_subscribers")
def _diagnostics() -> None:
    for name in ("net.client.socket", "net.server.socket", "tracing:net.server.listen:asyncEnd"):
        diagnostics.subscribe(name, nothing)
        diagnostics.has_subscribers(name)
    done(*pair())
    _listen()
    for name in ("net.client.socket", "net.server.socket", "tracing:net.server.listen:asyncEnd"):
        diagnostics.unsubscribe(name, nothing)


@operation(
    "get_default_high_water_mark", "set_default_high_water_mark",
    "net.get_default_auto_select_family", "net.set_default_auto_select_family",
    "net.get_default_auto_select_family_attempt_timeout",
    "net.set_default_auto_select_family_attempt_timeout",
)  # fmt: skip
def _defaults() -> None:
    pyuvnet.set_default_high_water_mark(False, pyuvnet.get_default_high_water_mark(False))
    net.set_default_auto_select_family(net.get_default_auto_select_family())
    milliseconds = net.get_default_auto_select_family_attempt_timeout()
    net.set_default_auto_select_family_attempt_timeout(milliseconds)


# ---- Streams -------------------------------------------------------------------------------------


@operation(
    "Readable", "Readable.pause", "Readable.resume", "Readable.is_paused", "Readable.read",
    "Readable.set_encoding", "Readable.unshift", "Readable.push", "Readable.destroy",
)  # fmt: skip
def _readable() -> None:
    source = Source(high_water_mark=10)
    source.pause().resume().is_paused()
    run()
    source = Source()
    source.on("readable", lambda: (source.read(2) and source.unshift(b"x")) or source.read())
    read_properties(source)
    run()
    source = Source(encoding="utf8")
    source.set_encoding("base64")
    source.on("data", nothing)
    run()
    source = Source()
    source.on("error", nothing)
    source.push("5f", "hex")
    source.destroy(ValueError("E"))
    run()


@operation("Readable.pipe", "Readable.unpipe")
def _pipe() -> None:
    Source().pipe(Sink())
    source, sink = Source(), Sink()
    source.pipe(sink)
    source.unpipe(sink)
    source.pipe(sink)
    source.unpipe()
    source.destroy()
    run()


@operation("Readable.iterator", "Readable.from_iterable", "streams.from_iterable")
def _iterate() -> None:
    async def items() -> AsyncIterator[bytes]:
        yield b"a"
        yield b"b"

    async def main() -> None:
        async for _ in Source():
            pass
        source = Source()
        async for _ in source.iterator(destroy_on_return=False):
            break
        source.destroy()
        async for _ in Readable.from_iterable([b"a", b"b"]):
            pass
        async for _ in streams.from_iterable(items()):
            break

    run(main())
    run()


@operation(
    "Writable", "Writable.write", "Writable.end", "Writable.cork", "Writable.uncork",
    "Writable.set_default_encoding", "Writable.drained", "Writable.destroy",
)  # fmt: skip
def _writable() -> None:
    sink = Sink(high_water_mark=1)
    sink.cork()
    sink.set_default_encoding("latin1")
    for chunk in (b"a", "b", bytearray(b"c"), memoryview(b"d")):
        sink.write(chunk, None, nothing)
    sink.uncork()
    read_properties(sink)
    sink.end("e", "utf8", nothing)
    sink.on("error", nothing)
    sink.write(b"late", nothing)
    run()

    async def main() -> None:
        slow = Sink(high_water_mark=1)
        slow.write(b"xx")
        await slow.drained()
        slow.on("error", nothing)
        slow.destroy(ValueError("E"))

    run(main())
    run()


@operation(
    "Duplex", "Duplex.write", "Duplex.end", "Duplex.cork", "Duplex.uncork",
    "Duplex.set_default_encoding", "Duplex.drained", "Duplex.destroy",
)  # fmt: skip
def _duplex() -> None:
    both = Both(allow_half_open=False)
    both.cork()
    both.set_default_encoding("hex")
    both.write("61", nothing)
    both.uncork()
    both.resume()
    read_properties(both)
    both.end(nothing)
    run()

    async def main() -> None:
        both = Both()
        await both.drained()
        both.destroy()

    run(main())
    run()


@operation(
    "Transform", "Transform.destroy", "Transform.set_framing",
    "PassThrough", "PassThrough.destroy", "PassThrough.set_framing",
)  # fmt: skip
def _transform() -> None:
    for kind in (streams.Transform, streams.PassThrough):
        transform = kind(
            transform=lambda chunk, encoding, callback: callback(None, chunk),
            flush=lambda callback: callback(None, b"x"),
            construct=lambda callback: callback(),
        )
        transform.write(b"ab", nothing)
        transform.resume()
        transform.end(nothing)
        kind().set_framing(framing.Fixed(2)).destroy()
        run()


@operation("streams.finished", "streams.pipeline")
def _pipeline() -> None:
    streams.pipeline(Source(), Sink(), nothing)
    run()
    stop = streams.finished(Source(), nothing)
    assert callable(stop)
    stop()

    async def main() -> None:
        await streams.pipeline(Source(), Both(), Sink())
        source = Source()
        source.resume()
        await streams.finished(source)
        controller = AbortController()
        pyuvnet.set_immediate(controller.abort)
        with contextlib.suppress(pyuvnet.AbortError):
            await streams.pipeline(Silent(), Sink(), signal=controller.signal)

    run(main())
    run()


# ---- Sockets and servers -------------------------------------------------------------------------


@operation(
    "Server", "Server.listen", "Server.close", "Server.address", "Server.get_connections",
    "Server.ref", "Server.unref", "net.create_server",
)  # fmt: skip
def _listen() -> None:
    server = net.create_server(nothing)
    server.listen(0, "127.0.0.1", nothing).unref().ref()
    server.get_connections(nothing)
    read_properties(server)
    server.address()
    _ = repr(server)
    server.close(nothing)
    server.close(nothing)
    run()
    controller = AbortController()
    again = Server(nothing, allow_half_open=True, keep_alive=True, no_delay=True)
    again.listen(port=0, host="127.0.0.1", signal=controller.signal)
    pyuvnet.set_immediate(controller.abort)
    run()


@operation("Server.listen (taken)")
def _taken() -> None:
    taken = Server().on("error", nothing)
    taken.listen(server().address()["port"], "127.0.0.1")
    run()
    with contextlib.suppress(pyuvnet.Error):
        taken.listen(-5)


@operation("Server.listen (path)", "Socket.connect (path)")
def _path() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "s")
        server = net.create_server(lambda socket: (socket.end(b"hi"), server.close()))
        server.listen(path, lambda: net.connect(path).resume())
        run()


@operation(
    "BoundSocket", "BoundSocket.address", "BoundSocket.fd", "BoundSocket.close",
    "BoundSocket.is_pipe",
)  # fmt: skip
def _bound() -> None:
    bound = BoundSocket(host="127.0.0.1")
    bound.address()
    bound.fd()
    read_properties(bound)
    bound.close()
    Server().listen(BoundSocket(host="127.0.0.1")).close()
    run()
    with contextlib.suppress(OSError):
        BoundSocket(host="127.0.0.1", port=server().address()["port"])


@operation("Socket", "Socket.connect", "net.connect", "Socket.address", "Socket.destroy")
def _connect() -> None:
    client, accepted = pair()
    client.address()
    read_properties(client)
    _ = repr(client)
    accepted.resume()
    done(client, accepted)
    read_properties(client)
    Socket().destroy()
    # A name, an option each, and one that is refused.
    _connect_with(host="localhost", auto_select_family=True)
    _connect_with(keep_alive=True, no_delay=True, timeout=5000)
    _connect_with(lookup=lambda name, options, answer: answer(None, "127.0.0.1", 4), host="x")
    with posix.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        client = net.connect(nobody.getsockname()[1], "127.0.0.1").on("error", nothing)
        run()
    controller = AbortController()
    client = Socket(signal=controller.signal).on("error", nothing)
    controller.abort()
    run()
    for wrong in ((-1,), (None,), ({"port": 1, "host": 5},)):
        with contextlib.suppress(pyuvnet.Error):
            Socket().connect(*wrong)


def _connect_with(**options: Any) -> None:
    client = net.connect({"port": server().address()["port"], "host": "127.0.0.1"} | options)
    while len(_serving) < 2 or client.connecting:
        pyuvnet.set_immediate(pyuvnet.stop)
        run()
    done(client, _serving.pop())


@operation(
    "Socket.write", "Socket.end", "Socket.pause", "Socket.resume", "Socket.read",
    "Socket.set_timeout", "Socket.set_no_delay", "Socket.set_keep_alive",
    "Socket.set_type_of_service", "Socket.get_type_of_service", "Socket.ref", "Socket.unref",
)  # fmt: skip
def _traffic() -> None:
    client, accepted = pair()
    client.set_no_delay().set_keep_alive(True, 1000).set_timeout(5000, nothing)
    client.set_type_of_service(client.get_type_of_service())
    client.unref().ref()
    accepted.on("data", accepted.write)
    accepted.on("end", accepted.end)
    client.on("readable", lambda: client.read())
    client.write(b"one", nothing)
    client.write("two", "utf8")
    client.write(bytearray(b"three"), nothing)
    client.end(b"four", callback=nothing)
    run()
    client, accepted = pair()
    client.pause().resume()
    client.set_timeout(0)
    client.timeout = None
    accepted.end()
    run()
    done(client, accepted)


@operation("Socket.write (more than the kernel takes)", "Socket.destroy (in flight)")
def _large() -> None:
    client, accepted = pair()
    client.on("error", nothing)
    for _ in range(4):
        client.write(bytes(3_000_000), nothing)
    accepted.once("data", lambda chunk: accepted.pause())
    pyuvnet.set_immediate(pyuvnet.stop)
    run()
    client.cork()
    client.write(b"queued", nothing)
    done(client, accepted)


@operation("Socket.on (a coroutine function)")
def _coroutine_listener() -> None:
    async def serve(socket: Socket) -> None:
        async for chunk in socket:
            socket.write(chunk)
        socket.end()

    async def main() -> None:
        echo = net.create_server(serve).listen(0)
        await events.once(echo, "listening")
        async with await net.promises.connect(echo.address()["port"], "127.0.0.1") as client:
            for _ in range(3):
                client.write(b"x")
                await events.once(client, "data")
        echo.close()

    run(main())
    run()


@operation(
    "Readable.set_framing", "Duplex.set_framing", "Writable.set_framing", "Readable.framing",
    "Duplex.write_frame", "Writable.write_frame", "Readable (framing)", "Duplex (framing)",
)  # fmt: skip
def _framing() -> None:
    for each in FORMS:
        both = Both(framing=each)
        with contextlib.suppress(ValueError):
            both.write_frame(b"ab", nothing)
        both.on("data", nothing)
        both.on("oversize", nothing)
        both.on("error", nothing)
        for _ in range(3):
            both.push(b"\0\2ab\n--abcdef--")
        both.push(None)
        both.set_framing(None)
        run()
        sink = Sink().set_framing(each)
        with contextlib.suppress(ValueError):
            sink.write_frame("ab")
        sink.end()
        run()


@operation("Socket.set_framing", "Socket.write_frame", "Server (framing)", "Socket (framing)")
def _framing_of_sockets() -> None:
    client, accepted = pair()
    client.set_framing(framing.LengthPrefix(2))
    accepted.set_framing(framing.LengthPrefix(2)).on("data", accepted.write_frame)
    client.on("data", lambda frame: client.end())
    client.write_frame(b"x" * 1000)
    run()
    done(client, accepted)


def attempt(function: Callable[..., Any], *args: Any) -> None:
    """Call what raises."""
    try:
        function(*args)
    except (pyuvnet.Error, OSError):
        return
    raise AssertionError("nothing was raised")


@operation(
    "Socket.set_option", "Socket.get_option", "Socket.fileno", "Server.set_option",
    "Server.get_option", "Server.fileno", "BoundSocket.set_option", "BoundSocket.get_option",
    "Socket.connect (send_buffer)",
)  # fmt: skip
def _options_of_the_kernel() -> None:
    bound = BoundSocket(host="127.0.0.1")
    client, accepted = pair(send_buffer=20_000, linger=0)
    for one in (bound, client, accepted, server()):
        one.set_option(posix.SOL_SOCKET, posix.SO_KEEPALIVE, True)
        one.set_option(posix.SOL_SOCKET, posix.SO_LINGER, bytes(8))
        one.get_option(posix.SOL_SOCKET, posix.SO_LINGER, 8)
        attempt(one.get_option, posix.SOL_SOCKET, 9999)
        attempt(one.set_option, posix.SOL_SOCKET, posix.SO_KEEPALIVE, "x")
    for one in (client, server()):
        one.fileno()
    bound.close()
    done(client, accepted)


@operation(
    "Server.pause", "Server.resume", "Server.stats", "Socket.info", "loop.stats", "loop.measure",
    "loop.on_slow", "loop.set_write_budget", "loop.set_max_threadsafe_calls",
    "Loop.set_max_threadsafe_calls", "ShutdownResult", "net.GUARDED",
)  # fmt: skip
def _seen_and_bounded() -> None:
    pyuvnet.loop.measure()
    pyuvnet.loop.on_slow(1000, nothing)
    pyuvnet.loop.set_write_budget(1 << 20)
    pyuvnet.loop.set_max_threadsafe_calls(100)
    client, accepted = pair()
    server().pause()
    server().resume()
    for one in (client, accepted):
        one.info()
    server().stats()
    pyuvnet.loop.stats()
    dict(net.GUARDED)
    net.ShutdownResult(1, 2, 3)
    done(client, accepted)
    pyuvnet.loop.set_max_threadsafe_calls(None)
    pyuvnet.loop.set_write_budget(None)
    pyuvnet.loop.on_slow(None)
    pyuvnet.loop.measure(False)


@operation("Socket.detach", "Socket.peer_credentials")
def _detach() -> None:
    client, accepted = pair()
    attempt(accepted.peer_credentials)
    client.cork()
    attempt(client.detach)
    os.close(accepted.detach())
    done(client, accepted)


@operation("Socket.transfer", "Server.transfer", "serve_threads")
def _transfer() -> None:
    loops: list[Any] = [None, None]
    both = threading.Barrier(2)
    coming = [2]

    def arrived(one: Any) -> None:
        if isinstance(one, Server):
            one.close()
        else:
            one.destroy()
        coming[0] -= 1
        if not coming[0]:
            loops[1].stop()

    def function(index: int) -> None:
        loops[index] = pyuvnet.current_loop()
        both.wait(10)
        if index:
            pyuvnet.set_interval(nothing, 60_000)
            return
        near, far = (Socket(fd=end.detach()) for end in posix.socketpair())
        attempt(far.transfer, None)
        far.transfer(loops[1], arrived)
        near.on("end", near.destroy).resume()
        server = net.create_server()

        def listening() -> None:
            attempt(server.transfer, None)
            server.transfer(loops[1], arrived)

        server.listen(0, "127.0.0.1", listening)

    pyuvnet.serve_threads(function, 2)


@operation("Socket.send_handle")
def _send_handle() -> None:
    near, far = (Socket(fd=end.detach(), handles=True) for end in posix.socketpair())
    far.on("handle", lambda handle, data: handle.close())
    server = net.create_server()

    def listening() -> None:
        attempt(near.send_handle, near)
        near.send_handle(server, b"first", nothing)
        near.send_handle(server)
        server.close()
        near.end()

    server.listen(0, listening)
    run()
    attempt(near.send_handle, server)


@operation("net.listen_fds", "notify")
def _service_manager() -> None:
    os.environ["LISTEN_PID"] = str(os.getpid())
    os.environ["LISTEN_FDS"] = "0"
    net.listen_fds()
    pyuvnet.notify("READY=1")
    attempt(pyuvnet.notify, "READY")


@operation("serve")
def _serve() -> None:
    # What it does with workers: tests/reliability/serving.py.
    attempt(pyuvnet.serve, 5)
    attempt(pyuvnet.serve, "app")


@operation("Server (proxy_protocol)", "Socket.connect (proxy_protocol)", "Socket.proxy")
def _proxy_header() -> None:
    def connection(socket: Socket) -> None:
        assert socket.proxy is not None
        socket.on("error", nothing).end()
        socket.resume()
        listener.close()

    listener = net.create_server(connection, proxy_protocol={"trusted": ["127.0.0.1"]}).listen(0)
    listener.on("drop", nothing)
    port = listener.address().port
    # One that is dropped, and one that still waits when the server closes.
    for wrong in (b"x", b"PROXY"):
        with posix.create_connection(("127.0.0.1", port)) as peer:
            peer.sendall(wrong)
            pyuvnet.set_immediate(pyuvnet.stop)
            run()
    options = {"tlvs": {"authority": "x"}, "checksum": True}
    net.connect(port, "127.0.0.1", proxy_protocol=options).on("error", nothing).resume()
    run()


class SilentDuplex(Duplex):
    """Everything comes by push()."""

    def _read(self, size: int) -> None:
        pass


@operation(
    "Readable.read_exactly", "Readable.read_until", "Readable.read_line", "Duplex.read_exactly",
    "Duplex.read_until", "Duplex.read_line", "Socket.read_exactly", "Socket.read_until",
    "Socket.read_line",
)  # fmt: skip
def _readers() -> None:
    async def main() -> None:
        both = SilentDuplex()
        task = asyncio.ensure_future(both.read_exactly(3))
        await asyncio.sleep(0)
        both.push(b"abcline\nuntil--left")
        await task
        await both.read_line()
        await both.read_until(b"--")
        with contextlib.suppress(StateError):
            await both.read_until(b"--", limit=2)
        task = asyncio.ensure_future(both.read_exactly(100))
        await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        both.push(None)
        with contextlib.suppress(EOFError):
            await both.read_exactly(100)
        both.destroy()

    run(main())
    run()


@operation("Server.serve_forever", "Server.wait_closed")
def _serve_forever() -> None:
    async def main() -> None:
        async with net.create_server().listen(0) as server:
            tasks = [asyncio.ensure_future(server.serve_forever())]
            tasks.append(asyncio.ensure_future(server.wait_closed()))
            await events.once(server, "listening")
            tasks[0].cancel()
            await asyncio.wait(tasks)

    run(main())
    run()


@operation("Server.shutdown", "Server.shutdown_on")
def _shutdown() -> None:
    async def wait() -> None:
        server = net.create_server(lambda s: s.on("error", nothing)).listen(0)
        server.shutdown_on("SIGUSR1", timeout=50)
        net.connect(server.address().port, "127.0.0.1").on("error", nothing).resume()
        while not server.sockets:
            await asyncio.sleep(0)
        signal.raise_signal(signal.SIGUSR1)
        await events.once(server, "shutdown")
        await server.shutdown()

    run(wait())
    run()


@operation("Socket.set_deadline")
def _set_deadline() -> None:
    Socket().set_deadline(1000).set_deadline(None)
    Socket().on("error", nothing).set_deadline(0, ValueError("E"))
    pyuvnet.set_timeout(nothing, 2)
    run()
    options = {"idle_timeout": 1000, "min_read_rate": (1, 1000), "max_lifetime": 1000}
    server = net.create_server(lambda s: s.on("error", nothing).end(), **options).listen(0)
    client = net.connect(server.address().port, "127.0.0.1", idle_timeout=1000)
    client.on("error", nothing).on("close", lambda _: server.close()).resume()
    run()


@operation("Server.destroy_sockets")
def _destroy_sockets() -> None:
    def connection(socket: Socket) -> None:
        socket.on("error", nothing)
        if len(server.sockets) == 2:
            server.close().destroy_sockets(ValueError("E"))

    server = net.create_server(connection).listen(0)
    for _ in range(2):
        net.connect(server.address().port, "127.0.0.1").on("error", nothing).resume()
    run()


@operation("Socket.destroy_soon", "Socket.reset_and_destroy", "Socket.pipe (to a socket)")
def _ends() -> None:
    client, accepted = pair()
    accepted.pipe(accepted)
    client.on("data", lambda chunk: client.destroy_soon())
    client.write(b"echo")
    run()
    client, accepted = pair()
    accepted.on("error", nothing).resume()
    client.reset_and_destroy()
    run()
    client, accepted = pair()
    client.on("error", nothing)
    client.destroy(ValueError("E"))
    accepted.on("error", nothing).resume()
    run()


@operation("Socket (onread)", "Socket (fd)")
def _onread() -> None:
    ends = posix.socketpair()
    with ends[0]:
        socket = Socket(fd=ends[1].detach(), onread={"buffer": bytearray(64), "callback": nothing})
        ends[0].sendall(b"data")
        ends[0].shutdown(posix.SHUT_WR)
        run()
    assert socket.destroyed
    with contextlib.suppress(OSError, pyuvnet.Error):
        Socket(fd=2**30)


def _visit(server: Server) -> None:
    """Connect to a server that lets nobody in, and close it then."""

    def listening() -> None:
        client = net.connect(server.address()["port"], "127.0.0.1")
        client.on("error", nothing).on("close", lambda had_error: server.close()).resume()

    server.listen(0, "127.0.0.1", listening)


@operation("Server (drops)")
def _drops() -> None:
    rules = net.BlockList()
    rules.add_subnet("127.0.0.0", 8)
    dropping = net.create_server(block_list=rules)
    full = net.create_server(nothing)
    full.max_connections = 0
    full.on("drop", lambda info: read_properties(full))
    for server in (dropping, full):
        _visit(server)
    run()


@operation("promises.connect", "promises.listen", "Server (async for)", "Socket (async with)")
def _promises() -> None:
    async def main() -> None:
        async with await net.promises.listen(0, "127.0.0.1") as listening:
            connections = aiter(listening)
            port = listening.address()["port"]
            async with await net.promises.connect(port, "127.0.0.1") as client:
                accepted = await anext(connections)
                accepted.end(b"bye")
                async for _ in client:
                    pass
            accepted.destroy()
        with contextlib.suppress(OSError):
            await net.promises.connect(os.path.join("nowhere", "at all"))
        with contextlib.suppress(pyuvnet.Error):
            await net.promises.listen(-1)

    run(main())
    run()


# ---- TLS -----------------------------------------------------------------------------------------

KEYS: dict[str, Any] = {}


def keys() -> dict[str, Any]:
    """Options of a server, and the authority that clients trust."""
    if not KEYS:
        folder = certificates()
        KEYS.update(key=folder / "server.key", cert=folder / "server.pem", ca=folder / "ca.pem")
    return KEYS


# Contexts are made once in most programs.
_contexts: list[Any] = []


def contexts() -> tuple[Any, Any]:
    """A server's, and a client's."""
    if not _contexts:
        given = keys()
        _contexts.append(tls.create_secure_context(key=given["key"], cert=given["cert"]))
        _contexts.append(tls.create_secure_context(ca=given["ca"]))
    return _contexts[0], _contexts[1]


def secured(
    accepted: Callable[[Any], object], connected: Callable[[Any], object], **options: Any
) -> None:
    """A server with TLS, and a client whose end closes it."""
    ours, theirs = contexts()
    server = tls.create_server({"secure_context": ours, **options}, accepted).listen(0)
    server.on("tlsClientError", nothing)
    port = server.address().port
    client = tls.connect(port=port, servername="localhost", secure_context=theirs)
    client.on("error", nothing).on("secureConnect", lambda: connected(client))
    client.on("close", lambda had_error: server.close()).resume()
    run()


@operation(
    "tls.create_secure_context", "tls.SecureContext", "tls.get_ciphers", "tls.get_ca_certificates",
    "tls.set_default_ca_certificates",
)  # fmt: skip
def _secure_context() -> None:
    given = keys()
    for form in (given["key"], given["key"].read_bytes(), given["key"].read_text()):
        tls.create_secure_context(key=form, cert=given["cert"])
    attempt(tls.create_secure_context, {"key": b"none", "cert": given["cert"]})
    tls.get_ciphers()
    tls.get_ca_certificates("extra")
    attempt(tls.set_default_ca_certificates, ["none"])


@operation(
    "tls.Server", "tls.Server.add_context", "tls.Server.set_secure_context",
    "tls.Server.get_ticket_keys", "tls.Server.set_ticket_keys", "tls.create_server",
    "tls.Server.emit",
)  # fmt: skip
def _secure_server() -> None:
    given = {name: keys()[name] for name in ("key", "cert")}
    server = tls.Server(given, max_handshakes=5)
    server.add_context("*.example", given)
    server.set_secure_context(given)
    attempt(server.set_secure_context, {"key": b"none", "cert": b"none"})
    attempt(server.get_ticket_keys)
    attempt(server.set_ticket_keys, b"")
    stream = net.Socket()
    server.on("tlsClientError", nothing).emit("connection", stream)
    stream.destroy()
    run()
    read_properties(server)


@operation("tls.connect", "tls.TLSSocket", "tls.Session", "tls.check_server_identity")
def _secure_connection() -> None:
    kept: list[Any] = []

    def accepted(socket: Any) -> None:
        socket.on("error", nothing).end("hello")
        socket.resume()

    secured(accepted, lambda client: client.on("session", kept.append))
    tls.check_server_identity("localhost", {"subject": {"CN": "localhost"}})
    # One that the client refuses, one that nobody trusts, and what is no TLS at all.
    secured(accepted, lambda client: client.destroy(ValueError("E")))
    server = tls.create_server(secure_context=contexts()[0]).listen(0)
    server.on("tlsClientError", lambda *_: server.close())
    tls.connect(server.address().port).on("error", nothing)
    run()
    server = tls.create_server(secure_context=contexts()[0]).listen(0)
    server.on("tlsClientError", lambda *_: server.close())
    net.connect(server.address().port).on("error", nothing).end("GET / HTTP/1.1\r\n\r\n")
    run()


@operation(
    "tls.TLSSocket.get_certificate", "tls.TLSSocket.get_cipher", "tls.TLSSocket.get_protocol",
    "tls.TLSSocket.get_ephemeral_key_info", "tls.TLSSocket.get_finished",
    "tls.TLSSocket.get_peer_certificate", "tls.TLSSocket.get_peer_finished",
    "tls.TLSSocket.get_session", "tls.TLSSocket.is_session_reused", "tls.TLSSocket.renegotiate",
    "tls.TLSSocket.export_keying_material", "tls.TLSSocket.disable_renegotiation",
    "tls.TLSSocket.set_max_send_fragment", "tls.TLSSocket.write", "tls.TLSSocket.set_key_cert",
    "tls.TLSSocket.get_tls_ticket", "tls.TLSSocket.get_shared_sigalgs",
    "tls.TLSSocket.enable_trace", "tls.TLSSocket.get_x509_certificate",
    "tls.TLSSocket.get_peer_x509_certificate",
)  # fmt: skip
def _secure_answers() -> None:
    def look(client: Any) -> None:
        read_properties(client)
        _ = repr(client)
        client.set_max_send_fragment(1000)
        for name in ("certificate", "cipher", "protocol", "session"):
            getattr(client, f"get_{name}")()
        attempt(client.get_finished)
        attempt(client.get_peer_finished)
        client.get_peer_certificate(True)
        attempt(client.get_ephemeral_key_info)
        for name in ("tls_ticket", "shared_sigalgs", "x509_certificate", "peer_x509_certificate"):
            attempt(getattr(client, f"get_{name}"))
        attempt(client.enable_trace)
        attempt(client.set_key_cert, contexts()[1])
        attempt(client.export_keying_material, 10, "label")
        attempt(client.renegotiate)
        client.is_session_reused()
        client.disable_renegotiation()
        client.write(bytes(100_000))
        client.end()

    secured(lambda socket: socket.on("error", nothing).resume(), look)


@operation("tls.TLSSocket (of a plain one)", "tls.connect (socket)")
def _upgrade() -> None:
    ours, theirs = contexts()

    def accepted(plain: Socket) -> None:
        listening.close()
        secure = tls.TLSSocket(plain, is_server=True, secure_context=ours)
        secure.on("error", nothing).on("data", lambda data: secure.end(data))

    listening = net.create_server(accepted).listen(0)
    plain = net.connect(listening.address().port)
    client = tls.connect(socket=plain, servername="localhost", secure_context=theirs)
    client.on("error", nothing).resume().write("hello")
    run()


@operation("tls.promises.connect", "tls.promises.listen")
def _secure_promises() -> None:
    given = {name: keys()[name] for name in ("key", "cert")}
    ca = keys()["ca"]

    async def main() -> None:
        async with await tls.promises.listen(0, **given) as listening:
            connections = aiter(listening)
            port = listening.address()["port"]
            client = await tls.promises.connect(port=port, servername="localhost", ca=ca)
            async with client:
                accepted = await anext(connections)
                accepted.end(b"bye")
                async for _ in client:
                    pass
            accepted.destroy()

    run(main())
    run()


# ---- Counting ------------------------------------------------------------------------------------


def counter() -> Callable[[], int]:
    """What to count with: references where Python does (a debug build of it), or else blocks."""
    return getattr(sys, "gettotalrefcount", sys.getallocatedblocks)


def growth(function: Callable[[], Any], times: int) -> list[int]:
    """Call a function `times` times in each of some rounds; returns what the rounds left.

    It ends with the first round after which nothing is left in proportion to the calls: what leaks
    leaves something each time. References are counted exactly, one for each hundredth call is too
    much. Blocks are not, since asyncio alone fills caches of the interpreter for hundreds of calls.
    """
    count = counter()
    exact = hasattr(sys, "gettotalrefcount")
    left: list[int] = []
    gc.collect()
    frozen = gc.get_freeze_count()
    gc.freeze()  # so that what is there already is not looked through each time
    try:
        for turn in range(-1, 4 if exact else 40):
            gc.collect()
            before = count()
            for _ in itertools.repeat(None, times):
                function()
            gc.collect()
            after = count()
            if turn >= 0:
                left.append(after - before)
                if left[-1] * (100 if exact else 1) < times:
                    break
    finally:
        if not frozen:
            gc.unfreeze()
    return left


def leaks(left: list[int], times: int) -> bool:
    """Whether growth() ended without a round that left nothing."""
    return left[-1] * (100 if hasattr(sys, "gettotalrefcount") else 1) >= times


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.reliability.leaks_operations")
    parser.add_argument("--times", type=int, default=1000, help="calls in each round")
    parser.add_argument("names", nargs="*", help="operations; default: all")
    arguments = parser.parse_args()
    unit = "references" if hasattr(sys, "gettotalrefcount") else "blocks of memory"
    print(f"{unit} left by each round of {arguments.times} calls")
    found = []
    for name in arguments.names or OPERATIONS:
        left = growth(OPERATIONS[name], arguments.times)
        found += [name] if leaks(left, arguments.times) else []
        print(f"{name:42} {left}{'  LEAKS' if found[-1:] == [name] else ''}", flush=True)
    close_server()
    print(f"{len(OPERATIONS)} operations of {len(NAMES)} names, {len(found)} leak")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
