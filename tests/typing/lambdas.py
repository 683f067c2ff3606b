# pyright: strict
"""What a lambda's arguments are known to be; for pyright, since mypy first takes them for Any."""

from typing import assert_type

from pyuvnet import Readable, Server, Socket, Writable
from pyuvnet.errors import SystemCallError


def of_streams(socket: Socket, readable: Readable, writable: Writable) -> None:
    socket.on("data", lambda chunk: assert_type(chunk, bytes))
    socket.on("close", lambda had_error: assert_type(had_error, bool))
    socket.on("error", lambda error: assert_type(error, SystemCallError))
    socket.once("timeout", lambda: print())
    socket.prepend_listener("end", lambda: print())
    socket.prepend_once_listener(
        "lookup", lambda _, address, family, host: assert_type(address, str | None)
    )
    socket.add_listener("connectionAttemptTimeout", lambda ip, port, family: assert_type(ip, str))
    socket.add_listener("pipe", lambda source: assert_type(source, Readable))
    socket.set_encoding("utf8").on("data", lambda text: assert_type(text, str))
    readable.on("data", lambda chunk: assert_type(chunk, bytes))
    writable.on("pipe", lambda source: assert_type(source, Readable))


def of_servers(server: Server) -> None:
    server.on("connection", lambda socket: assert_type(socket, Socket))
    server.once("error", lambda error: assert_type(error, SystemCallError))
