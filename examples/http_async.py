"""HTTP/1.1 with keep-alive, in one coroutine per connection.

Shows a protocol that announces at each step what comes next: a head, read with read_until() and
split into lines, then a body of a given length, read with read_exactly(). Ambiguous requests, whose
end two servers could see in different places, are rejected. Head, body and time are limited.

    python examples/http_async.py --port 8080
    curl -i http://127.0.0.1:8080/world
    curl -d 'some text' http://127.0.0.1:8080/upper
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
from http import HTTPStatus
from time import monotonic
from urllib.parse import unquote

from pyuvnet import FrameError, IncompleteReadError, Socket, events, net, run

LARGEST_HEAD = 8192  # bytes
LARGEST_BODY = 1 << 20
GOODBYE = 3  # s that a client has to read an error and disconnect

# The grammar of RFC 9112, without the leniencies that it permits: a line ends with CR LF and
# contains neither alone; there is no space before a colon; no field continues on the next line.
TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
REQUEST = re.compile(rb"(%b) ([!-~]+) HTTP/1\.([01])" % TOKEN)
FIELD = re.compile(rb"(%b):[ \t]*([\t -~\x80-\xff]*)" % TOKEN)
# A request with two of these could be interpreted in two ways.
ONCE = {b"host", b"content-length"}

# Built once, because the status lines never change.
STARTS = {status: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}

deadlines: dict[Socket, float] = {}


class RefusedError(Exception):
    """A request that gets an error response, which ends the connection."""


async def read_head(socket: Socket) -> list[bytes]:
    """Return the lines of the next head; an empty list if the peer ended instead of sending one."""
    try:
        head = await socket.read_until(b"\r\n\r\n", limit=LARGEST_HEAD)
    except FrameError:
        raise RefusedError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE) from None
    except IncompleteReadError as error:
        if error.partial:
            raise RefusedError(HTTPStatus.BAD_REQUEST) from None
        return []
    return head[:-4].split(b"\r\n")


def parse_fields(lines: list[bytes]) -> dict[bytes, bytes]:
    fields = {}
    for line in lines:
        found = FIELD.fullmatch(line)
        if found is None:
            raise RefusedError(HTTPStatus.BAD_REQUEST)
        name = found[1].lower()
        if name in fields and name in ONCE:
            raise RefusedError(HTTPStatus.BAD_REQUEST)
        fields[name] = found[2].rstrip()
    return fields


async def read_body(socket: Socket, fields: dict[bytes, bytes]) -> bytes:
    length = fields.get(b"content-length")
    if b"transfer-encoding" in fields:
        # With a length as well, servers could disagree about where the body ends.
        raise RefusedError(HTTPStatus.NOT_IMPLEMENTED if length is None else HTTPStatus.BAD_REQUEST)
    assert length is not None
    if not length.isdigit():
        raise RefusedError(HTTPStatus.BAD_REQUEST)
    if len(length) > 8 or int(length) > LARGEST_BODY:
        raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    if b"expect" in fields:
        socket.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    try:
        return await socket.read_exactly(int(length))
    except IncompleteReadError:
        raise RefusedError(HTTPStatus.BAD_REQUEST) from None


def respond(
    socket: Socket, status: HTTPStatus, text: str, connection: bytes, body: bool = True
) -> None:
    content = text.encode()
    socket.write(
        b"%bContent-Type: text/plain; charset=utf-8\r\n"
        b"Content-Length: %d\r\n"
        b"Connection: %b\r\n"
        b"\r\n%b" % (STARTS[status], len(content), connection, content if body else b"")
    )


async def answer(socket: Socket) -> bool:
    """Respond to one request; return whether another one may follow."""
    lines = await read_head(socket)
    if not lines:
        return False
    request = REQUEST.fullmatch(lines[0])
    if request is None:
        raise RefusedError(HTTPStatus.BAD_REQUEST)
    method, target, minor = request.groups()
    fields = parse_fields(lines[1:])
    if minor == b"1" and b"host" not in fields:
        raise RefusedError(HTTPStatus.BAD_REQUEST)
    if b"expect" in fields and fields[b"expect"].lower() != b"100-continue":
        raise RefusedError(HTTPStatus.EXPECTATION_FAILED)
    body = b""
    if b"content-length" in fields or b"transfer-encoding" in fields:
        body = await read_body(socket, fields)
    wishes = fields.get(b"connection", b"").lower()
    last = b"close" in wishes or (minor == b"0" and b"keep-alive" not in wishes)
    connection = b"close" if last else b"keep-alive"
    if method in (b"GET", b"HEAD"):
        name = unquote(target.partition(b"?")[0].strip(b"/").decode()) or "stranger"
        respond(socket, HTTPStatus.OK, f"Hello, {name}!\n", connection, method == b"GET")
    elif method == b"POST":
        respond(socket, HTTPStatus.OK, body.decode(errors="replace").upper(), connection)
    else:
        status = HTTPStatus.METHOD_NOT_ALLOWED
        respond(socket, status, "GET, HEAD and POST only\n", connection)
    return not last


async def serve(socket: Socket, seconds: float) -> None:
    """Serve all requests of one connection."""
    try:
        async with socket:
            try:
                going_on = True
                while going_on:
                    deadlines[socket] = monotonic() + seconds
                    going_on = await answer(socket)
                    # Stop reading from a peer that does not read its responses.
                    if socket.writable_need_drain:
                        await socket.drained()
            except RefusedError as refused:
                status = refused.args[0]
                respond(socket, status, f"{status.phrase}\n", b"close")
                socket.end()
                # Discard what follows: closing with unread data would reset the connection.
                deadlines[socket] = monotonic() + GOODBYE
                async for _ in socket:
                    pass
    except OSError as error:
        print(f"{socket.remote_address}: {error}", flush=True)
    finally:
        deadlines.pop(socket, None)


async def watch(pause: float) -> None:
    """Destroy sockets that take too long. One task costs less than a timer for each request."""
    while True:
        await asyncio.sleep(pause)
        now = monotonic()
        for socket, deadline in list(deadlines.items()):
            if now > deadline:
                socket.destroy(TimeoutError("silent for too long"))


async def main(options: argparse.Namespace) -> None:
    async def connected(socket: Socket) -> None:
        await serve(socket, options.seconds)

    async with net.create_server(connected, no_delay=True) as server:
        server.shutdown_on("SIGINT", "SIGTERM", timeout=2_000)
        server.listen(options.port, options.host)
        await events.once(server, "listening")
        print(f"listening on {server.address().address}:{server.address().port}", flush=True)
        watcher = asyncio.create_task(watch(min(options.seconds, GOODBYE) / 4))
        try:
            await server.serve_forever()
        finally:
            watcher.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Serve HTTP/1.1.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, default=8080, help="TCP port, 0 for a free one (8080)")
    parser.add_argument("--seconds", type=float, default=10, help="time limit for a request (10)")
    try:
        run(main(parser.parse_args()))
    except OSError as error:
        sys.exit(f"http_async: {error}")
