"""What a lambda's arguments are known to be; for pyright alone, since to mypy they are Any here."""

from typing import assert_type

from pyuvnet import Readable, Server, Socket, Writable


def of_streams(socket: Socket, readable: Readable, writable: Writable) -> None:
    socket.on("data", lambda chunk: assert_type(chunk, bytes))
    socket.on("close", lambda had_error: assert_type(had_error, bool))
    socket.on("error", lambda error: assert_type(error, BaseException))
    socket.once("timeout", lambda: print())
    socket.prependListener("end", lambda: print())
    socket.prepend_once_listener("lookup", lambda _, address, *__: assert_type(address, str | None))
    socket.add_listener("connectionAttemptTimeout", lambda ip, *_: assert_type(ip, str))
    socket.addListener("pipe", lambda source: assert_type(source, Readable))
    readable.on("data", lambda chunk: assert_type(chunk, bytes))
    writable.on("pipe", lambda source: assert_type(source, Readable))


def of_servers(server: Server) -> None:
    server.on("connection", lambda socket: assert_type(socket, Socket))
    server.once("error", lambda error: assert_type(error, BaseException))
