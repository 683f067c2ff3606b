# pyright: strict
"""What a type checker takes of listeners, errors and addresses, and knows of them."""

from __future__ import annotations

from typing import Any, Literal, assert_type

from pyuvnet import (
    BoundSocket,
    Duplex,
    EventEmitter,
    Readable,
    Server,
    Socket,
    SystemCallError,
    Writable,
    events,
    net,
)
from pyuvnet.typing import AddressInfo, DropInfo, Event, TextReadable, TextSocket

LOGIN = Event[str, int]("login")
LOGOUT: Event[()] = Event("logout")


def of_bytes(chunk: bytes) -> None: ...
def of_text(text: str) -> None: ...
def of_anything(*values: object) -> None: ...
def of_error(error: Exception) -> None: ...
def of_system_error(error: OSError) -> None: ...
async def coroutine(chunk: bytes) -> int:
    return len(chunk)


def listeners(socket: Socket, server: Server, readable: Readable, writable: Writable) -> None:
    socket.on("data", of_bytes).once("data", of_text).prepend_listener("data", of_anything)
    socket.on("data", coroutine).on("data", socket.write).on("data", print)
    socket.prepend_once_listener("close", lambda had_error: print(not had_error))
    socket.on("error", of_error).on("error", of_system_error).on("error", of_anything)
    socket.on(EventEmitter.error_monitor, of_error)
    socket.on("connectionAttempt", lambda address, port, family: print(address, port, family))
    socket.off("data", of_bytes).remove_listener("end", of_anything)
    socket.emit("data", b"chunk")
    socket.emit("error", ValueError())
    server.on("newListener", lambda event, listener: print(event, listener))
    readable.on("close", lambda: None)
    writable.on("finish", lambda: None)

    @socket.on("data")
    async def received(chunk: bytes) -> int:
        return len(chunk)

    @server.once("connection")
    def connected(connection: Socket) -> Socket:
        return connection

    assert_type(connected(socket), Socket)
    print(received)


def errors(socket: Socket, server: Server) -> None:
    @socket.on("error")
    def failed(error: SystemCallError) -> None:
        assert_type(error.code, str)
        assert_type(error.syscall, str | None)
        assert_type(error.address, str | None)
        assert_type(error.port, int | None)
        assert_type(error.errno, int | None)

    server.on("error", lambda error: print(error.code, error.syscall, error.address, error.message))
    server.on("error", failed)
    try:
        server.listen(0)
    except SystemCallError as error:
        assert_type(error.code, str)


def addresses(socket: Socket, server: Server) -> None:
    assert_type(socket.address(), AddressInfo)
    assert_type(socket.address().port, int)
    assert_type(socket.address().family, Literal["IPv4", "IPv6"])
    port: int = server.address().port
    print(port, server.address().address.upper())
    bound: int = BoundSocket(port=0).address().port
    print(bound)
    if isinstance(server.address(), str):
        print("over a path")

    @server.on("drop")
    def dropped(info: DropInfo) -> None:
        assert_type(info.remote_address, str | None)


async def waiting(socket: Socket, server: Server, duplex: Duplex, readable: Readable) -> None:
    async for chunk in socket:
        assert_type(chunk, bytes)
    async for text in socket.set_encoding("utf8"):
        assert_type(text, str)
    async for chunk in duplex.iterator(destroy_on_return=False):
        assert_type(chunk, bytes)
    assert_type(readable.set_encoding(), TextReadable)
    assert_type(await events.once(socket, "data"), list[bytes])
    assert_type(await events.once(socket, "close"), list[bool])
    assert_type(await events.once(socket.set_encoding("utf8"), "data"), list[str])
    assert_type(await events.once(server, "connection"), list[Socket])
    assert_type(await events.once(server, "error"), list[SystemCallError])
    assert_type(await events.once(socket, "drain"), list[Any])
    assert_type(await events.once(socket, LOGIN), list[Any])
    assert_type(await events.once(EventEmitter(), "anything"), list[Any])


def text(socket: Socket) -> TextSocket:
    text = socket.set_encoding("utf8")
    text.on("data", of_text).once("data", lambda text: print(text.upper()))
    return text


class Session(Socket):
    """A socket with events of its own."""

    def enter(self, name: str) -> None:
        self.emit(LOGIN, name, 1)
        self.emit(LOGOUT)


class Lobby(EventEmitter):
    """An emitter of the program's own, which takes any event."""


def own(session: Session, lobby: Lobby) -> None:
    assert_type(session.on(LOGIN, lambda name, number: print(name.upper(), number + 1)), Session)
    session.once(LOGOUT, lambda: None).on("end", lambda: None)
    session.off(LOGIN, print)
    lobby.on(LOGIN, lambda name, number: print(name.upper(), number + 1))
    lobby.on("anything", print).emit("anything", 1, 2)
    EventEmitter.on(session, "anything", print)

    @session.on(LOGIN)
    def entered(name: str, number: int) -> None: ...

    assert_type(net.create_server().on("listening", lambda: None), Server)
    entered("ann", 1)
