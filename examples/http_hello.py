"""HTTP/1.0 on net alone: a greeting that curl and browsers can read.

Shows how to read a request up to the blank line that ends its head, limits for its size and for
idle time, and a response that closes the connection, as in HTTP/1.0.

    python examples/http_hello.py --port 8080
    curl -i http://127.0.0.1:8080/world
"""

from __future__ import annotations

import argparse
import sys
from http import HTTPStatus
from urllib.parse import unquote

from pyuvnet import Socket, net, run, set_timeout

LARGEST_HEAD = 8192  # bytes
GOODBYE = 3000  # ms that a client has to read the response and disconnect


def respond(socket: Socket, status: HTTPStatus, text: str, with_body: bool = True) -> None:
    body = text.encode()
    head = (
        f"HTTP/1.0 {status.value} {status.phrase}\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Connection: close\r\n"
        "\r\n"
    )
    print(f"{socket.remote_address} {status.value}", flush=True)
    socket.end(head.encode("latin1") + (body if with_body else b""))
    set_timeout(socket.destroy, GOODBYE).unref()


def answer(socket: Socket, head: bytes) -> None:
    request, *_ = head.decode("latin1").split("\r\n")
    match request.split(" "):
        case ["GET" | "HEAD" as method, target, version] if version.startswith("HTTP/1."):
            name = unquote(target.partition("?")[0].strip("/")) or "stranger"
            respond(socket, HTTPStatus.OK, f"Hello, {name}!\n", method == "GET")
        case [_, _, version] if version.startswith("HTTP/"):
            respond(socket, HTTPStatus.NOT_IMPLEMENTED, "GET and HEAD only\n")
        case _:
            respond(socket, HTTPStatus.BAD_REQUEST, "that is not HTTP\n")


def main() -> None:
    parser = argparse.ArgumentParser(description="Say hello over HTTP.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, default=8080, help="TCP port, 0 for a free one (8080)")
    parser.add_argument("--timeout", type=int, default=10_000, help="idle timeout in ms (10000)")
    options = parser.parse_args()

    def connected(socket: Socket) -> None:
        received = b""

        def data(chunk: bytes) -> None:
            nonlocal received
            received += chunk
            head, end, _ = received.partition(b"\r\n\r\n")
            if end:
                answer(socket, head)
            elif len(received) > LARGEST_HEAD:
                respond(socket, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "too large\n")
            else:
                return
            # Discard what follows: closing with unread data would reset the connection.
            socket.off("data", data)

        def silent() -> None:
            if socket.writable:
                respond(socket, HTTPStatus.REQUEST_TIMEOUT, "no request received\n")
            else:
                socket.destroy()

        socket.on("data", data)
        socket.set_timeout(options.timeout)
        socket.on("timeout", silent)
        socket.on("error", lambda error: print(f"{socket.remote_address}: {error}", flush=True))

    server = net.create_server(connected, no_delay=True)
    server.on("error", lambda error: sys.exit(f"http_hello: {error}"))

    @server.on("listening")
    def listening() -> None:
        print(f"listening on {server.address().address}:{server.address().port}", flush=True)

    server.shutdown_on("SIGINT", "SIGTERM", timeout=2_000)
    server.listen(options.port, options.host)
    run()


if __name__ == "__main__":
    main()
