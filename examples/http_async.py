"""HTTP/1.1 with keep-alive, in a coroutine for each connection.

Shows a protocol that reads a head up to a blank line, by read_until(), and then a body of a given
length, by read_exactly(). Limits hold for the time and for the size of each request.

    python examples/http_async.py --port 8080
    curl -i http://127.0.0.1:8080/world
    curl -d 'some text' http://127.0.0.1:8080/upper
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from http import HTTPStatus
from urllib.parse import unquote

from pyuvnet import FrameError, IncompleteReadError, Socket, events, net, run

LARGEST_HEAD = 8192  # bytes
LARGEST_BODY = 1 << 20
GOODBYE = 3  # s to take a refusal in, and to leave


class RefusedError(Exception):
    """A request that is answered with an error, and ends the connection."""


async def read_head(socket: Socket) -> bytes:
    """The bytes before the next blank line; b"" if the peer ended before a request."""
    try:
        return await socket.read_until(b"\r\n\r\n", limit=LARGEST_HEAD)
    except FrameError:
        raise RefusedError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE) from None
    except IncompleteReadError as error:
        if error.partial:
            raise RefusedError(HTTPStatus.BAD_REQUEST) from None
        return b""


async def read_body(socket: Socket, size: int) -> bytes:
    try:
        return await socket.read_exactly(size)
    except IncompleteReadError:
        raise RefusedError(HTTPStatus.BAD_REQUEST) from None


def respond(socket: Socket, status: HTTPStatus, text: str, last: bool, body: bool = True) -> None:
    content = text.encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(content)}\r\n"
        f"Connection: {'close' if last else 'keep-alive'}\r\n"
        "\r\n"
    )
    print(f"{socket.remote_address} {status.value}", flush=True)
    socket.write(head.encode() + (content if body else b""))


async def answer(socket: Socket, head: bytes) -> bool:
    """Answer one request; returns whether another one may follow."""
    request, *fields = head.decode("latin1").removesuffix("\r\n\r\n").split("\r\n")
    headers = {}
    for field in fields:
        name, colon, value = field.partition(":")
        if not colon or name != name.strip():
            raise RefusedError(HTTPStatus.BAD_REQUEST)
        headers[name.lower()] = value.strip()
    match request.split(" "):
        case [method, target, ("HTTP/1.0" | "HTTP/1.1") as version]:
            size = headers.get("content-length", "0")
        case _:
            raise RefusedError(HTTPStatus.BAD_REQUEST)
    if "transfer-encoding" in headers:
        raise RefusedError(HTTPStatus.NOT_IMPLEMENTED)
    if not (size.isascii() and size.isdecimal()):
        raise RefusedError(HTTPStatus.BAD_REQUEST)
    if len(size) > 8 or int(size) > LARGEST_BODY:
        raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    body = await read_body(socket, int(size))
    last = version == "HTTP/1.0" or headers.get("connection", "").lower() == "close"
    if method in ("GET", "HEAD"):
        name = unquote(target.partition("?")[0].strip("/")) or "stranger"
        respond(socket, HTTPStatus.OK, f"Hello, {name}!\n", last, method == "GET")
    elif method == "POST":
        respond(socket, HTTPStatus.OK, body.decode(errors="replace").upper(), last)
    else:
        respond(socket, HTTPStatus.METHOD_NOT_ALLOWED, "GET, HEAD and POST only\n", last)
    return not last


async def serve(socket: Socket, seconds: float) -> None:
    """All requests of one connection."""
    try:
        async with socket:
            try:
                going_on = True
                while going_on:
                    async with asyncio.timeout(seconds):
                        head = await read_head(socket)
                        going_on = bool(head) and await answer(socket, head)
                        # Who does not read the answers is not read from.
                        await socket.drained()
            except RefusedError as refused:
                status = refused.args[0]
                respond(socket, status, f"{status.phrase}\n", last=True)
                socket.end()
                # What follows is read and forgotten: unread, it would reset the connection.
                async with asyncio.timeout(GOODBYE):
                    async for _ in socket:
                        pass
    except (OSError, TimeoutError) as error:
        print(f"{socket.remote_address}: {str(error) or 'silent for too long'}", flush=True)


async def main(options: argparse.Namespace) -> None:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)

    async def connected(socket: Socket) -> None:
        await serve(socket, options.seconds)

    async with net.create_server(connected, no_delay=True) as server:
        server.listen(options.port, options.host)
        await events.once(server, "listening")
        print(f"listening on {server.address().address}:{server.address().port}", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Serve HTTP/1.1.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, default=8080, help="TCP port, 0 for a free one (8080)")
    parser.add_argument("--seconds", type=float, default=10, help="limit for a request (10)")
    try:
        run(main(parser.parse_args()))
    except asyncio.CancelledError:
        pass  # Ctrl-C
    except OSError as error:
        sys.exit(f"http_async: {error}")
