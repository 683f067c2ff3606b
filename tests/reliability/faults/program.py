"""The programs that run under the shim, in a process of their own, with which it is loaded.

Each line of the standard input is a JSON list [scenario, options]; the answer is a line with what
the scenario saw. Peers that must not be hit are plain sockets in other threads, which the shim
leaves alone.
"""

from __future__ import annotations

import contextlib
import errno
import faulthandler
import gc
import hashlib
import json
import os
import random
import socket as posix
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

import pyuvnet
from pyuvnet import net
from pyuvnet._core.handle import live_counts
from tests.reliability.faults.shim import Shim

loaded = Shim()
shim = loaded.library


def faults(rules: str) -> None:
    """Load rules instead of those before, behind one that counts how often the loop polls."""
    loaded.load("; ".join(["epoll_pwait", *filter(None, [rules])]))


def hits() -> list[int]:
    """How often each rule struck."""
    return loaded.hits()[1:]


def polls() -> int:
    """How often the loop asked the kernel since the rules were loaded."""
    return int(shim.faults_hits(0))


def code(error: BaseException | None) -> str | None:
    return None if error is None else str(getattr(error, "code", repr(error)))


class Watch:
    """What happened to a socket or server: names of events, errors with code and syscall."""

    def __init__(self, thing: Any) -> None:
        self.events: list[str] = []
        for name in ("connect", "end", "finish", "timeout", "listening"):
            thing.on(name, lambda *_, name=name: self.events.append(name))
        thing.on("error", lambda error: self.events.append(
            f"error {error.code} {getattr(error, 'syscall', None)}"))  # fmt: skip
        thing.on("close", lambda *args: self.events.append(
            f"close {args[0]}" if args else "close"))  # fmt: skip


class Bytes:
    """A stream of bytes that was made or came: its length and digest."""

    def __init__(self) -> None:
        self.size, self.sum = 0, hashlib.sha256()

    def add(self, data: bytes) -> bytes:
        self.size += len(data)
        self.sum.update(data)
        return data

    def told(self) -> list[Any]:
        return [self.size, self.sum.hexdigest()]


def place(kind: str) -> Any:
    """Where to listen."""
    if kind == "tcp":
        # Bytes are spliced only where reads fill the buffer, and the window that the kernel chooses
        # may stay below that.
        return {"port": 0, "host": "127.0.0.1", "receive_buffer": 200_000}
    # libuv removes it, and the folder is the test's.
    return {"path": tempfile.mktemp(dir=os.environ["FAULTS_FOLDER"])}


def target(server: net.Server) -> Any:
    address = server.address()
    if isinstance(address, str):
        return {"path": address}
    return {"port": address["port"], "host": "127.0.0.1"}


def plain_target(server: net.Server) -> Any:
    address = server.address()
    return address if isinstance(address, str) else (address["address"], address["port"])


def plain_socket(where: Any) -> posix.socket:
    made = posix.socket(posix.AF_UNIX if isinstance(where, str) else posix.AF_INET)
    made.settimeout(10)
    return made


def chunks(total: int, largest: int, seed: int = 1) -> list[bytes]:
    """Pieces of random bytes, of all sizes up to the largest, `total` bytes in all."""
    made, chance = [], random.Random(seed)
    while total:
        size = min(total, chance.choice([1, 7, 100, 1000, largest // 2, largest]))
        made.append(chance.randbytes(size))
        total -= size
    return made


# ---- Both ends here, faults that must not be seen ------------------------------------------------


def stream(
    rules: str, kind: str = "tcp", way: str = "echo", total: int = 2_000_000, largest: int = 200_000
) -> dict[str, Any]:
    """A client sends, and gets everything back by one of several ways; then both ends."""
    sent, back = Bytes(), Bytes()
    answered: list[int] = []
    watched: dict[str, Watch] = {}
    peers: list[Any] = []
    pieces = chunks(total, largest)
    refused = 0

    def serve(socket: Any) -> None:
        peers.append(socket)
        watched["server"] = Watch(socket)
        socket.on("close", lambda _: server.close())
        if way == "pipe":
            socket.pipe(socket)
        elif way == "proxy":
            upstream = net.create_connection(target(echo))
            peers.append(upstream)
            socket.pipe(upstream).pipe(socket)
            upstream.on("close", lambda _: echo.close())
        else:
            socket.on("data", socket.write)
            socket.on("end", socket.end)

    def send() -> None:
        nonlocal refused
        while pieces:
            piece = sent.add(pieces.pop(0))
            number = len(answered) + waiting[0]
            waiting[0] += 1
            if way == "cork" and waiting[0] % 8 == 1:
                client.cork()

            def told(error: Any = None, number: int = number) -> None:
                waiting[0] -= 1
                answered.append(-1 if error else number)

            more = client.write(piece, told)
            if way == "cork" and (not more or not pieces or waiting[0] % 8 == 0):
                while client.writable_corked:
                    client.uncork()
            if not more:
                refused += 1
                return
        client.end()

    waiting = [0]
    echo = net.create_server(lambda s: s.pipe(s), allow_half_open=True)
    server = net.create_server(serve, allow_half_open=True).listen(place(kind))
    if way == "proxy":
        echo.listen(place(kind))
    options: dict[str, Any] = {"allow_half_open": True}
    if way == "onread":
        room = bytearray(5000)
        options["onread"] = {
            "buffer": room,
            "callback": lambda n, b: back.add(bytes(b[:n])) and None,
        }
    client = net.Socket(options)
    watched["client"] = Watch(client)
    if way != "onread":
        client.on("data", back.add)
    client.on("drain", send)

    def begin() -> None:
        faults(rules)
        client.connect(target(server))
        # Written before it is connected.
        send()

    server.on("listening", begin)
    pyuvnet.run()
    told = {
        "hits": hits(),
        "sent": sent.told(),
        "back": back.told(),
        "answered": answered == list(range(len(answered))),
        "waiting": waiting[0],
        "refused": refused,
        "events": {name: watch.events for name, watch in watched.items()},
        "lengths": [client.writable_length, *(peer.writable_length for peer in peers)],
        "counts": [client.bytes_written, client.bytes_read],
        "kernel": [shim.faults_taken(), shim.faults_given()],
        "calls": shim.faults_calls(),
        "polls": polls(),
    }
    faults("")
    return told


def relay(rules: str, kind: str = "tcp") -> dict[str, Any]:
    """A client sends through a pipe to a sink; a call of the kernel in the middle fails."""
    sent, received = bytearray(), bytearray()
    errors: list[str] = []
    ends: dict[str, Any] = {}
    source = random.Random(2)
    left = [60]

    def serve(front: Any) -> None:
        back = net.create_connection(target(sink))
        ends.update(front=front, back=back)
        for name, end, other in (("front", front, back), ("back", back, front)):
            end.on("error", lambda e, name=name: errors.append(f"{name} {e.code} {e.syscall}"))
            end.on("close", lambda _, other=other: other.destroy_soon())
        front.pipe(back)
        front.on("close", lambda _: proxy.close())

    def receive(socket: Any) -> None:
        socket.on("data", received.extend)
        socket.on("error", lambda _: None)
        socket.on("close", lambda _: sink.close())

    def send() -> None:
        while left[0]:
            left[0] -= 1
            piece = source.randbytes(500_000)
            sent.extend(piece)
            if not client.write(piece):
                return
        client.end()

    sink = net.create_server(receive).listen(place(kind))
    proxy = net.create_server(serve)
    sink.on("listening", lambda: proxy.listen(place(kind)))
    client = net.Socket()
    client.on("error", lambda _: None)
    client.on("drain", send)

    def begin() -> None:
        faults(rules)
        client.connect(target(proxy), send)

    proxy.on("listening", begin)
    pyuvnet.run()
    told = {
        "hits": hits(),
        "errors": errors,
        "received": len(received),
        "prefix": sent.startswith(received),
        "counts": [ends["front"].bytes_read, ends["back"].bytes_written],
    }
    faults("")
    return told


# ---- One end here, faults that end the connection ------------------------------------------------


def fatal(
    rules: str, kind: str = "tcp", side: str = "client", way: str = "each", total: int = 3_000_000
) -> dict[str, Any]:
    """A connection that a fault ends; the peer is a plain socket that reads all there is.

    side: who of the two is ours; way: "each" writes a chunk per turn, "vector" corks eight,
    "queued" writes everything at once, "read" writes one chunk and reads what the peer sends.
    """
    sent: list[bytes] = []
    outcome: list[Any] = []
    got: dict[str, Any] = {}
    events: list[list[str]] = []
    returned: list[bool] = []

    def peer(socket: posix.socket) -> None:
        """Read to the end, first sending what there is to read."""
        data = bytearray()
        with socket:
            socket.settimeout(15)
            try:
                if way == "read":
                    for piece in chunks(total, 60_000):
                        socket.sendall(piece)
                    socket.shutdown(posix.SHUT_WR)
                while piece := socket.recv(1 << 18):
                    data += piece
                got["end"] = "end"
            except OSError as error:
                got["end"] = errno.errorcode.get(error.errno or 0, repr(error))
        got["data"] = bytes(data)

    def use(socket: Any) -> None:
        events.append(Watch(socket).events)
        socket.on("close", lambda _: again())
        before.append(shim.faults_taken())
        faults(rules)
        if way == "read":
            socket.on("data", read.extend)
            return
        socket.resume()
        pieces = chunks(total, 50_000)

        def write(piece: bytes) -> None:
            number = len(sent)
            sent.append(piece)
            outcome.append(None)

            def told(error: Any = None) -> None:
                assert outcome[number] is None, "answered twice"
                outcome[number] = code(error) if error is not None else True

            returned.append(socket.write(piece, told))

        def step() -> None:
            if socket.destroyed:
                return
            if not pieces:
                # The fault did not strike.
                socket.end()
                return
            if way == "vector":
                socket.cork()
            for _ in range(8 if way == "vector" else len(pieces) if way == "queued" else 1):
                if pieces:
                    write(pieces.pop(0))
            if way == "vector":
                socket.uncork()
            # At its peer's speed: each write stands alone.
            if socket.writable_need_drain:
                socket.once("drain", lambda: pyuvnet.set_immediate(step))
            else:
                pyuvnet.set_immediate(step)

        step()

    before: list[int] = []
    read = bytearray()
    told: dict[str, Any] = {}

    def again() -> None:
        """The fault is over: the same server serves another client."""
        told["hits"] = hits()
        told["polls"] = polls()
        told["calls"] = shim.faults_calls()
        told["taken"] = shim.faults_taken() - before[0]
        told["given"] = shim.faults_given()
        faults("")
        if side == "server":
            server.remove_all_listeners("connection")
            server.on("connection", lambda s: s.pipe(s))
        thread.join()
        other = net.create_connection(target(server) if side == "server" else where)
        other.end(b"once more")
        told["again"] = ""
        other.set_encoding("latin1")

        def data(text: str) -> None:
            told["again"] += text

        other.on("data", data)
        other.on("close", lambda _: server.close())

    server = net.create_server()
    listener = posix.socket(posix.AF_INET if kind == "tcp" else posix.AF_UNIX)
    thread: threading.Thread
    where: Any = None
    if side == "server":
        server.listen(place(kind))

        def connect(address: Any) -> None:
            socket = plain_socket(address)
            socket.connect(address)
            peer(socket)

        def begin() -> None:
            nonlocal thread
            thread = threading.Thread(target=connect, args=(plain_target(server),), daemon=True)
            thread.start()

        server.once("connection", use)
        server.on("listening", begin)
    else:
        server.close = lambda: None  # type: ignore[method-assign, assignment]
        if kind == "tcp":
            listener.bind(("127.0.0.1", 0))
            where = {"port": listener.getsockname()[1], "host": "127.0.0.1"}
        else:
            where = place(kind)
            listener.bind(where["path"])
        listener.listen()

        def accept() -> None:
            peer(listener.accept()[0])
            echo, _ = listener.accept()
            with echo:
                while piece := echo.recv(1000):
                    echo.sendall(piece)

        def join() -> None:
            # The first peer is over; the thread goes on with the second.
            while "data" not in got:
                time.sleep(0.001)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        real_join, thread.join = thread.join, lambda timeout=None: join()  # type: ignore[method-assign]
        client = net.create_connection(where)
        client.once("connect", lambda: use(client))
    pyuvnet.run()
    if side == "client":
        real_join(10)
    listener.close()
    whole = b"".join(sent)
    size = len(got["data"])
    ok = sum(len(piece) for piece, how in zip(sent, outcome, strict=True) if how is True)
    first = next((index for index, how in enumerate(outcome) if how is not True), None)
    return told | {
        "events": events[0],
        "prefix": got["data"] == whole[:size],
        "received": size,
        "ok": ok,
        "written": len(whole),
        "failed": sum(len(p) for p, how in zip(sent, outcome, strict=True) if how is not True),
        "in_doubt": len(sent[first]) if first is not None else 0,
        "in_order": first is None or all(how is not True for how in outcome[first:]),
        "codes": sorted({how for how in outcome if how is not True}, key=str),
        "peer": got["end"],
        "read": len(read),
        "read_prefix": b"".join(chunks(total, 60_000)).startswith(bytes(read)),
    }


def relaying(rules: str, total: int = 1_000_000) -> dict[str, Any]:
    """A pipe between two sockets in C, whose far end is a plain socket; then a second one."""
    told: dict[str, Any] = {"unpiped": 0}
    got: list[bytes] = []
    data = random.Random(3).randbytes(total)
    listener = posix.create_server(("127.0.0.1", 0))

    def read() -> None:
        for _ in range(2):
            with listener.accept()[0] as socket:
                whole = bytearray()
                while piece := socket.recv(1 << 18):
                    whole += piece
                got.append(bytes(whole))

    def feed(socket: posix.socket, bytes_: bytes) -> None:
        with socket, contextlib.suppress(OSError):
            socket.sendall(bytes_)
            socket.shutdown(posix.SHUT_WR)
            socket.recv(1)

    def serve(front: Any) -> None:
        back = net.create_connection(listener.getsockname()[1], "127.0.0.1")
        first = "back" not in told
        if first:
            told["back"] = Watch(back).events
            back.on("unpipe", lambda *_: told.update(unpiped=told["unpiped"] + 1))

        def connected() -> None:
            if first:
                faults(rules)
            front.pipe(back)

        def closed(_: bool) -> None:
            front.destroy()
            if first:
                told["hits"] = hits()
                faults("")
                start(b"once more")
            else:
                server.close()

        back.once("connect", connected)
        back.on("close", closed)

    def start(bytes_: bytes) -> None:
        socket = posix.create_connection(plain_target(server))
        feeders.append(threading.Thread(target=feed, args=(socket, bytes_), daemon=True))
        feeders[-1].start()

    feeders: list[threading.Thread] = []
    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    server = net.create_server(serve).listen(place("tcp"))
    server.on("listening", lambda: start(data))
    pyuvnet.run()
    for thread in (reader, *feeders):
        thread.join(10)
    listener.close()
    first, again = got
    return told | {"prefix": data.startswith(first), "again": again.decode()}


def ending(rules: str) -> dict[str, Any]:
    """end() under the fault; then another connection."""
    told: dict[str, Any] = {}
    received = b""

    def serve(socket: Any) -> None:
        nonlocal received

        def data(piece: bytes) -> None:
            nonlocal received
            received += piece
            if received == b"all of it":
                # The peer's FIN may never come.
                socket.end()

        socket.on("data", data)

    def begin() -> None:
        faults(rules)
        client = net.create_connection(target(server))
        told["events"] = Watch(client).events
        client.resume()
        client.end(b"all of it", lambda *args: told.update(callback=code(*args) if args else None))
        client.on("close", again)

    def again(_: bool) -> None:
        told["hits"] = hits()
        faults("")
        server.remove_all_listeners("connection")
        server.on("connection", lambda s: s.pipe(s))
        other = net.create_connection(target(server))
        other.end(b"once more")
        other.on("data", lambda data: told.update(again=data.decode()))
        other.on("close", lambda _: server.close())

    server = net.create_server(serve).listen(place("tcp"))
    server.on("listening", begin)
    pyuvnet.run()
    return told | {"received": received.decode()}


# ---- Accepting, listening, connecting ------------------------------------------------------------


def accepting(
    rules: str, kind: str = "tcp", peers: int = 6, strikes: int = 0, options: Any = None
) -> dict[str, Any]:
    """Peers come while accept4 fails, and after the fault is over others: those are served."""
    dropped: list[Any] = []
    served = 0
    told: dict[str, Any] = {}
    plain: list[posix.socket] = []
    watch: list[Watch] = []

    def serve(socket: Any) -> None:
        nonlocal served
        served += 1
        watch.append(Watch(socket))
        socket.pipe(socket)

    def begin() -> None:
        nonlocal turns, start
        faults(rules)
        where = plain_target(server)
        for number in range(peers):
            plain.append(plain_socket(where))
            plain[-1].connect(where)
            plain[-1].sendall(b"peer %d" % number)
        start, turns = time.monotonic(), 0
        # Another thing of the loop must go on meanwhile: so long the fault lasts.
        timer.append(pyuvnet.set_interval(tick, 10))

    def tick() -> None:
        nonlocal turns
        turns += 1
        if turns >= 30 and sum(hits()) >= strikes:
            look()

    def look() -> None:
        wall = time.monotonic() - start
        told.update(wall=wall, hits=hits(), polls=polls(), during=served, turns=turns)
        faults("")
        timer[0].close()
        threading.Thread(target=after, args=(plain_target(server),), daemon=True).start()

    def after(where: Any) -> None:
        """Of the first peers, who got an answer; then one more, who must."""
        answers = []
        for number, socket in enumerate(plain):
            with socket:
                try:
                    socket.shutdown(posix.SHUT_WR)
                    answer = socket.recv(100)
                    answers.append(answer == b"peer %d" % number)
                except OSError as error:
                    answers.append(errno.errorcode.get(error.errno or 0))
        told["answers"] = answers
        with plain_socket(where) as last:
            last.connect(where)
            last.sendall(b"last")
            last.shutdown(posix.SHUT_WR)
            told["last"] = last.recv(100).decode()
        loop.call_soon_threadsafe(server.close)

    loop = pyuvnet.current_loop()
    timer: list[Any] = []
    turns, start = 0, 0.0
    server = net.create_server(options or {}, serve).listen(place(kind))
    seen = Watch(server)
    server.on("drop", dropped.append)
    server.on("listening", begin)
    pyuvnet.run()
    return told | {
        "served": served,
        "dropped": dict(server.dropped),
        "drops": len(dropped),
        "events": seen.events,
        "closed": sum("close" in event for each in watch for event in each.events),
    }


def connecting(rules: str, kind: str = "tcp", addresses: Any = None) -> dict[str, Any]:
    """A connect() under the fault, and one after it."""
    told: dict[str, Any] = {}
    echo = net.create_server(lambda s: s.pipe(s)).listen(place(kind))
    attempts: list[str] = []

    def begin() -> None:
        faults(rules)
        where = target(echo)
        if addresses:
            where["host"] = "several.test"
            where["lookup"] = lambda host, options, answer: answer(None, addresses)
        client = net.Socket()
        told["events"] = Watch(client).events
        for name in ("connectionAttempt", "connectionAttemptFailed", "connectionAttemptTimeout"):
            client.on(name, lambda address, *_, name=name: attempts.append(
                f"{name.removeprefix('connectionAttempt') or 'try'} {address}"))  # fmt: skip
        client.on("error", lambda error: told.update(
            errors=[code(one) for one in getattr(error, "errors", [])]))  # fmt: skip
        client.on("close", again)
        client.connect(where)
        client.end(b"first")
        client.on("data", lambda data: told.update(first=data.decode()))

    def again(_: bool) -> None:
        told["hits"] = hits()
        faults("")
        other = net.create_connection(target(echo))
        other.end(b"again")
        other.on("data", lambda data: told.update(again=data.decode()))
        other.on("close", lambda _: echo.close())

    echo.on("listening", begin)
    pyuvnet.run()
    return told | {"attempts": attempts}


def listening(rules: str, kind: str = "tcp") -> dict[str, Any]:
    """A listen() under the fault, and one of the same server after it."""
    told: dict[str, Any] = {}
    server = net.create_server(lambda s: s.end(b"served"))
    events = Watch(server).events

    def failed(_: BaseException) -> None:
        told["hits"] = hits()
        told["listening"] = server.listening
        faults("")
        server.listen(place(kind))

    def begin() -> None:
        told.setdefault("hits", hits())
        faults("")
        client = net.create_connection(target(server))
        client.on("data", lambda data: told.update(again=data.decode()))
        client.on("close", lambda _: server.close())

    server.on("error", failed)
    server.on("listening", begin)
    faults(rules)
    where = place(kind)
    server.listen(where)
    pyuvnet.run()
    return told | {"events": events}


def options(rules: str) -> dict[str, Any]:
    """Every option of a socket is set, on both sides, while the kernel refuses."""
    told: dict[str, Any] = {}

    def serve(socket: Any) -> None:
        told["server"] = Watch(socket).events
        socket.set_no_delay(True).set_keep_alive(True, 1000)
        socket.pipe(socket)

    def attempt(name: str, call: Callable[[], Any]) -> None:
        try:
            call()
            told[name] = "set"
        except OSError as error:
            told[name] = code(error)

    def connected() -> None:
        attempt("no_delay", lambda: client.set_no_delay(False))
        attempt("keep_alive", lambda: client.set_keep_alive(True, 2000, 1000, 3))
        attempt("type_of_service", lambda: client.set_type_of_service(8))
        client.end(b"bytes")

    server = net.create_server({"no_delay": True, "keep_alive": True}, serve)
    server.listen(place("tcp"))
    client = net.Socket({"no_delay": True, "keep_alive": True, "keep_alive_initial_delay": 1000})
    told["client"] = Watch(client).events
    client.on("data", lambda data: told.update(data=data.decode()))
    client.on("connect", connected)
    client.on("close", lambda _: server.close())

    def begin() -> None:
        faults(rules)
        client.connect(target(server))

    server.on("listening", begin)
    pyuvnet.run()
    return told | {"hits": hits()}


def lookup(rules: str, stop: bool = False) -> dict[str, Any]:
    """Lookups of connect() and listen() under the fault, and one after it; stop: not waited for."""
    told: dict[str, Any] = {}
    client = net.Socket()
    told["client"] = Watch(client).events
    server = net.create_server()
    told["server"] = Watch(server).events
    client.on("lookup", lambda error, *_: told.update(lookup=code(error)))
    faults(rules)
    client.connect(9, "name.test")
    server.listen(0, "name.test")
    if stop:
        client.destroy()
        server.close()
    start = time.monotonic()
    pyuvnet.run()
    told |= {"hits": hits(), "polls": polls(), "wall": time.monotonic() - start}
    faults("")
    again = net.create_server().listen(0, "localhost")
    again.on("listening", lambda: (told.update(again=True), again.close()))
    pyuvnet.run()
    return told


def lookups(rules: str, count: int) -> dict[str, Any]:
    """Clients that ask for a name at the same time."""
    codes: list[Any] = []
    faults(rules)
    start = time.monotonic()
    for _ in range(count):
        client = net.Socket().on("error", lambda error: codes.append(error.code))
        client.connect(1, "name.test")
    pyuvnet.run()
    return {"hits": hits(), "wall": time.monotonic() - start, "codes": codes}


def closing(rules: str) -> dict[str, Any]:
    """A loop that is closed while a lookup is under way, and a thread that calls it meanwhile."""
    told: dict[str, Any] = {"ran": False}
    begun = threading.Event()

    class Dropped:
        def __del__(self) -> None:
            # Inside close(), which has dropped what waited, and waits for the lookup next.
            begun.set()

    def ran() -> None:
        told["ran"] = True

    def other_thread() -> None:
        begun.wait()
        try:
            loop.call_soon_threadsafe(ran)
            told["call"] = "taken"
        except pyuvnet.StateError as error:
            told["call"] = error.code

    loop = pyuvnet.current_loop()
    faults(rules)
    net.Socket().on("error", print).connect(1, "name.test")
    loop.turn()
    pyuvnet.set_immediate(lambda dropped: None, Dropped())
    thread = threading.Thread(target=other_thread)
    thread.start()
    loop.close()
    thread.join()
    return told


def loops(rules: str) -> dict[str, Any]:
    """A loop that cannot be made says so, leaves no descriptor, and can be made later."""
    told: dict[str, Any] = {"codes": []}

    def attempt() -> None:
        # Not the main thread's loop, but the shim knows the main thread only.
        for _ in range(3):
            try:
                pyuvnet.Loop().close()
                told["codes"].append("made")
            except OSError as error:
                told["codes"].append(code(error))

    count = len(os.listdir("/proc/self/fd"))
    faults(rules)
    attempt()
    told["hits"] = hits()
    faults("")
    attempt()
    told["more"] = len(os.listdir("/proc/self/fd")) - count
    return told


def run(scenario: str, options: dict[str, Any]) -> dict[str, Any]:
    """Play a scenario in a fresh loop, and look at what it left."""
    descriptors = len(os.listdir("/proc/self/fd"))
    before = live_counts()
    shim.faults_reset()
    faulthandler.dump_traceback_later(10, exit=True)
    told: dict[str, Any] = globals()[scenario](**options)
    faulthandler.cancel_dump_traceback_later()
    faults("")
    loop = pyuvnet.current_loop()
    told["alive"] = loop.alive() or loop.handle_count() != 0
    loop.close()
    gc.collect()
    told["live"] = live_counts() == before
    # Threads of peers may still be closing.
    deadline = time.monotonic() + 5
    while threading.active_count() > 1 and time.monotonic() < deadline:
        time.sleep(0.001)
    told["descriptors"] = len(os.listdir("/proc/self/fd")) - descriptors
    return told


def main() -> None:
    # What the first loop and the first lookup make for the process stays.
    lookup("")
    pyuvnet.current_loop().close()
    for line in sys.stdin:
        scenario, options = json.loads(line)
        print(json.dumps(run(scenario, options)), flush=True)


if __name__ == "__main__":
    main()
