"""Peer: pyuvnet, as its README writes servers.

python pyuvnet_net.py MODE [PATH] [N]     MODE: echo, writes, lines, read_lines, frames, pipe,
                                          proxy, timed_proxy, send, receive, broadcast,
                                          broadcast_text; N: pieces of an answer, or the port behind
"""

from __future__ import annotations

import sys

from pyuvnet import Server, Socket, framing, net, run

BACKLOG = 4096
LINES, FRAMES = framing.Lines(), framing.LengthPrefix(4)
CHUNK = bytes((i * 31 + (i >> 8)) & 255 for i in range(65536))

mode, path, count = (*sys.argv[1:], "", "")[:3]
pieces = int(count or 1)
clients: set[Socket] = set()


def ignore(error: Exception) -> None:
    pass


def echo(socket: Socket) -> None:
    socket.on("error", ignore)
    socket.on("data", lambda data: socket.write(data))


def writes(socket: Socket) -> None:
    def answer(data: bytes) -> None:
        length = -(-len(data) // pieces)
        for at in range(0, len(data), length):
            socket.write(data[at : at + length])

    socket.on("error", ignore)
    socket.on("data", answer)


def lines(socket: Socket) -> None:
    rest = ""

    def answer(text: str) -> None:
        nonlocal rest
        *whole, rest = (rest + text).split("\n")
        for line in whole:
            socket.write(line + "\n")

    socket.on("error", ignore)
    socket.set_encoding("utf8")
    socket.on("data", answer)


def read_lines(socket: Socket) -> None:
    socket.on("error", ignore)
    socket.set_framing(LINES).set_encoding("utf8")
    socket.on("data", lambda line: socket.write_frame(line))


def frames(socket: Socket) -> None:
    socket.on("error", ignore)
    socket.set_framing(FRAMES)
    socket.on("data", lambda frame: socket.write_frame(frame))


def pipe(socket: Socket) -> None:
    socket.on("error", ignore)
    socket.pipe(socket)


def proxy(socket: Socket) -> None:
    behind = net.connect(pieces, "127.0.0.1", no_delay=True)
    for one in (socket, behind):
        one.on("error", ignore)
    socket.pipe(behind)
    behind.pipe(socket)


def timed_proxy(socket: Socket) -> None:
    behind = net.connect(pieces, "127.0.0.1", no_delay=True)
    for one in (socket, behind):
        one.on("error", ignore)
        one.set_timeout(60_000, one.destroy)
    socket.pipe(behind)
    behind.pipe(socket)


def send(socket: Socket) -> None:
    def more() -> None:
        while socket.write(CHUNK):
            pass

    socket.on("error", ignore)
    socket.on("drain", more)
    socket.resume()
    more()


def receive(socket: Socket) -> None:
    received = 0

    def counted(data: bytes) -> None:
        nonlocal received
        received += len(data)

    socket.on("error", ignore)
    socket.on("data", counted)
    socket.on("end", lambda: socket.end(f"{received}\n"))


def broadcast(socket: Socket) -> None:
    def tell(data: bytes | str) -> None:
        for client in clients:
            client.write(data)

    clients.add(socket)
    socket.on("error", ignore)
    socket.on("data", tell)
    socket.on("close", lambda had_error: clients.discard(socket))


def broadcast_text(socket: Socket) -> None:
    broadcast(socket.set_encoding("utf8"))


MODES = {
    each.__name__: each
    for each in (
        *(echo, writes, lines, read_lines, frames),
        *(pipe, proxy, timed_proxy, send, receive, broadcast, broadcast_text),
    )
}


def listening() -> None:
    address = server.address()
    print(0 if address is None or isinstance(address, str) else address.port, flush=True)


options = {"no_delay": True, "allow_half_open": mode == "receive"}
server: Server = net.create_server(options, MODES[mode])
if path:
    server.listen({"path": path, "backlog": BACKLOG}, listening)
else:
    server.listen(0, "127.0.0.1", BACKLOG, listening)
run()
