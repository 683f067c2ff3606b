# pyright: strict
"""Mistakes that type checkers must find: each line marked so, and no other.

The mark has the code of mypy's first error, and the rule of pyright's that is among its own.
"""

from __future__ import annotations

from pyuvnet import Duplex, Readable, Server, Socket, Writable, events, net
from pyuvnet.typing import Event, TextSocket

LOGIN = Event[str, int]("login")
LOGOUT: Event[()] = Event("logout")


def no_argument() -> None: ...
def of_bytes(chunk: bytes) -> None: ...
def of_text(text: str) -> None: ...
def of_number(number: int) -> None: ...
def of_two(first: object, second: object) -> None: ...
async def coroutine_of_number(number: int) -> None: ...


def names(
    socket: Socket, server: Server, readable: Readable, writable: Writable, duplex: Duplex
) -> None:
    socket.on("dta", of_bytes)  # error: type-var, reportCallIssue
    socket.once("connected", no_argument)  # error: type-var, reportCallIssue
    socket.add_listener("dta", of_bytes)  # error: type-var, reportCallIssue
    socket.prepend_listener("ended", no_argument)  # error: type-var, reportCallIssue
    socket.prepend_once_listener("ended", no_argument)  # error: type-var, reportCallIssue
    socket.off("dta", of_bytes)  # error: arg-type, reportArgumentType
    socket.remove_listener("dta", of_bytes)  # error: arg-type, reportArgumentType
    socket.emit("dta", b"")  # error: call-overload, reportArgumentType
    socket.on("connection", no_argument)  # error: type-var, reportCallIssue
    server.on("conection", lambda socket: None)  # error: type-var, reportCallIssue
    server.on("data", of_bytes)  # error: type-var, reportCallIssue
    server.off("listen", no_argument)  # error: arg-type, reportArgumentType
    readable.on("drain", no_argument)  # error: type-var, reportCallIssue
    writable.on("data", of_bytes)  # error: type-var, reportCallIssue
    duplex.on("timeout", no_argument)  # error: type-var, reportCallIssue

    @socket.on("dta")  # error: type-var, reportCallIssue
    def received(chunk: bytes) -> None: ...

    received(b"")


def arity(socket: Socket, server: Server, duplex: Duplex) -> None:
    socket.on("data", no_argument)  # error: arg-type, reportCallIssue
    socket.on("data", lambda: None)  # error: arg-type, reportCallIssue
    socket.on("data", of_two)  # error: arg-type, reportCallIssue
    socket.on("close", no_argument)  # error: arg-type, reportCallIssue
    socket.on("end", of_bytes)  # error: arg-type, reportCallIssue
    socket.on("connect", lambda socket: None)  # error: arg-type, reportCallIssue
    socket.on("lookup", of_two)  # error: arg-type, reportCallIssue
    server.on("connection", no_argument)  # error: arg-type, reportCallIssue
    server.on("listening", of_number)  # error: arg-type, reportCallIssue
    duplex.on("close", of_number)  # error: arg-type, reportCallIssue
    net.create_server(allowHalfOpen=True)  # error: call-arg, reportCallIssue
    net.create_server(no_argument)  # error: arg-type, reportArgumentType
    socket.emit("close")  # error: call-overload, reportArgumentType
    socket.emit("end", b"")  # error: call-overload, reportArgumentType

    @socket.on("end")  # error: type-var, reportArgumentType
    def ended(reason: str) -> None: ...

    ended("")


def kinds(socket: Socket, server: Server, text: TextSocket) -> None:
    socket.on("data", of_number)  # error: arg-type, reportCallIssue
    socket.on("data", coroutine_of_number)  # error: arg-type, reportCallIssue
    socket.on("data", lambda chunk: chunk.no())  # error: arg-type, reportAttributeAccessIssue
    socket.on("error", of_number)  # error: arg-type, reportCallIssue
    socket.on("error", lambda error: error.cod)  # error: arg-type, reportAttributeAccessIssue
    socket.on("data", "print")  # error: arg-type, reportCallIssue
    text.on("data", of_bytes)  # error: arg-type, reportCallIssue
    server.on("connection", of_bytes)  # error: arg-type, reportCallIssue
    server.on("drop", of_number)  # error: arg-type, reportCallIssue
    server.on("drop", lambda info: info.nope)  # error: arg-type, reportAttributeAccessIssue
    socket.emit("data", 1)  # error: call-overload, reportArgumentType

    @socket.once("data")  # error: type-var, reportArgumentType
    def received(chunk: int) -> None: ...

    @server.on("connection")  # error: type-var, reportArgumentType
    async def connected(connection: Server) -> None: ...

    received(1)


class Session(Socket):
    """A class of the program's own, with the events above."""


def own(session: Session) -> None:
    session.on("login", of_two)  # error: type-var, reportCallIssue
    session.on(LOGIN, of_text)  # error: arg-type, reportCallIssue
    session.on(LOGIN, lambda name, one: name + one)  # error: operator, reportOperatorIssue
    session.emit(LOGIN, "ann", "ann")  # error: call-arg, reportArgumentType
    session.emit(LOGOUT, 1)  # error: misc, reportArgumentType


async def waiting(socket: Socket, server: Server) -> None:
    await events.once(socket, "dta")  # error: type-var, reportArgumentType
    await events.once(server, "listen")  # error: type-var, reportArgumentType
    async for chunk in socket:
        chunk.encode()  # error: attr-defined, reportAttributeAccessIssue
    async for line in socket.set_encoding("utf8"):
        line.decode()  # error: attr-defined, reportAttributeAccessIssue


def addresses(socket: Socket, server: Server) -> None:
    socket.address().port.upper()  # error: attr-defined, reportAttributeAccessIssue
    print(socket.address().prot)  # error: attr-defined, reportAttributeAccessIssue
    server.address().port.upper()  # error: union-attr, reportAttributeAccessIssue
    print(server.address().prot)  # error: union-attr, reportAttributeAccessIssue
