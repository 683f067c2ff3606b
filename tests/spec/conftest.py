"""What the tests of the rules share: user streams that do as told, and connected sockets."""

from __future__ import annotations

import os
import socket as posix
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import pyuvnet
from pyuvnet import Duplex, Readable, Writable, net


class Source(Readable):
    """The test pushes; `asked` counts what the stream asked for."""

    def __init__(self, *chunks: Any, **options: Any) -> None:
        super().__init__(**options)
        self.asked = 0
        for chunk in chunks:
            self.push(chunk)

    def _read(self, size: int) -> None:
        self.asked += 1


class Sink(Writable):
    """Answers at once, or with hold=True when the test calls answer()."""

    def __init__(self, *, hold: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.hold = hold
        self.got: list[bytes] = []
        self.held: list[Callable[..., None]] = []

    def _write(self, chunk: Any, encoding: str, callback: Callable[..., None]) -> None:
        self.got.append(bytes(chunk))
        if self.hold:
            self.held.append(callback)
        else:
            callback()

    def answer(self, error: BaseException | None = None) -> None:
        self.held.pop(0)(error)


class Both(Duplex):
    """The test pushes into it; writes are answered at once, or when it calls answer()."""

    def __init__(self, *, hold: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.hold = hold
        self.got: list[bytes] = []
        self.held: list[Callable[..., None]] = []

    def _read(self, size: int) -> None:
        pass

    _write = Sink._write
    answer = Sink.answer


def over(*streams: Any) -> None:
    """Destroy streams, and let the loop run dry."""
    for stream in streams:
        stream.on("error", lambda error: None)
        stream.destroy()
    pyuvnet.run()


def code(error: BaseException | None) -> Any:
    """How traces show errors: by code, else by text."""
    return None if error is None else getattr(error, "code", None) or str(error)


@pytest.fixture
def fake() -> types.SimpleNamespace:
    """fake.Source, fake.Sink, fake.Both, and fake.over(*streams)."""
    return types.SimpleNamespace(Source=Source, Sink=Sink, Both=Both, over=over, code=code)


@pytest.fixture
def connect() -> Callable[..., net.Socket]:
    """connect(accepted=None, both=None, server=None, **options) returns a connecting client.

    Its server closes after this connection, which is `client.peer` then. `both(client, peer)` is
    called in an immediate when both ends stand.
    """

    def make(
        accepted: Callable[[net.Socket], object] | None = None,
        both: Callable[[net.Socket, net.Socket], object] | None = None,
        server: dict[str, Any] | None = None,
        **options: Any,
    ) -> net.Socket:
        standing: list[bool] = []

        def stands() -> None:
            standing.append(True)
            if len(standing) == 2 and both is not None:
                pyuvnet.set_immediate(both, client, client.peer)

        def connection(socket: net.Socket) -> object:
            listening.close()
            client.peer = socket  # type: ignore[attr-defined]
            stands()
            # What it returns, too: it may be a coroutine function.
            return None if accepted is None else accepted(socket)

        listening = net.create_server(server or {}, connection).listen(0)
        client = net.Socket(options)
        client.connect(listening.address()["port"], "127.0.0.1", stands)
        client.listening = listening  # type: ignore[attr-defined]
        return client

    return make


@pytest.fixture
def when() -> Callable[..., None]:
    """when(condition, then) calls `then()` in the first turn of the loop that finds it true."""

    def look(condition: Callable[[], object], then: Callable[[], object]) -> None:
        if condition():
            then()
        else:
            pyuvnet.set_immediate(look, condition, then)

    return look


def watch(trace: Any, stream: Any, name: str = "", *events: str) -> Any:
    """Note events as they come: the name of the event, with its arguments except the streams."""

    def heard(event: str) -> Callable[..., None]:
        def listener(*args: Any) -> None:
            shown = [
                code(arg) if isinstance(arg, BaseException) else arg
                for arg in args
                if not isinstance(arg, (Readable, Writable, dict))
            ]
            entry = f"{name} {event}".strip()
            trace(entry, *shown)

        return listener

    for event in events or ("end", "finish", "error", "close"):
        stream.on(event, heard(event))
    return stream


@pytest.fixture(name="watch")
def watch_fixture(trace: Any) -> Callable[..., Any]:
    """watch(stream, name='', *events) notes events in the trace, and returns the stream."""
    return lambda stream, name="", *events: watch(trace, stream, name, *events)


@pytest.fixture
def hook(loop: pyuvnet.Loop) -> list[BaseException]:
    """An exception hook is installed; the list of what it got."""
    caught: list[BaseException] = []
    pyuvnet.set_exception_handler(caught.append)
    return caught


@pytest.fixture
def note(trace: Any) -> Callable[[object], Callable[..., None]]:
    """note(name) is a completion callback that notes (name, code of the error or None)."""
    return lambda name: lambda error=None: trace(name, getattr(error, "code", None) or error)


@pytest.fixture
def accept_raw() -> Iterator[Callable[..., None]]:
    """accept_raw(accepted, **server): a peer of the standard library connects to a server.

    `accepted(socket, peer)` is called, and the loop is run to its end.
    """
    opened: list[posix.socket] = []

    def go(accepted: Callable[[net.Socket, posix.socket], object], **server: Any) -> None:
        def connection(socket: net.Socket) -> None:
            listening.close()
            accepted(socket, opened[0])

        def connect() -> None:
            port = listening.address()["port"]
            opened.append(posix.create_connection(("127.0.0.1", port)))

        listening = net.create_server(server, connection).listen(0, "127.0.0.1")
        listening.on("listening", connect)
        pyuvnet.run()

    yield go
    for peer in opened:
        peer.close()


@pytest.fixture
def descriptor_of() -> Callable[[net.Socket], int]:
    """descriptor_of(socket): the descriptor behind a connected TCP socket; Linux."""

    def find(socket: net.Socket) -> int:
        for name in os.listdir("/proc/self/fd"):
            try:
                with posix.socket(fileno=os.dup(int(name))) as copy:
                    found = (copy.getsockname()[1], copy.getpeername()[1])
            except (OSError, IndexError, TypeError):
                continue
            if found == (socket.local_port, socket.remote_port):
                return int(name)
        raise AssertionError("no such descriptor")

    return find
