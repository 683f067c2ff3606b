"""Peer: gevent's StreamServer, a greenlet for each connection.

python gevent_server.py MODE [PATH] [N]     MODE: echo, writes, lines, pipe, proxy, send, receive,
                                            broadcast, broadcast_text; N as in pyuvnet_net.py
"""

from __future__ import annotations

import codecs
import contextlib
import sys

import gevent
from gevent import socket
from gevent.server import StreamServer

BACKLOG = 4096
CHUNK = bytes((i * 31 + (i >> 8)) & 255 for i in range(65536))
SIZE = 65536

mode, path, count = (*sys.argv[1:], "", "")[:3]
pieces = int(count or 1)
clients: set[socket.socket] = set()


def copy(source: socket.socket, target: socket.socket) -> None:
    while data := source.recv(SIZE):
        target.sendall(data)


def echo(peer: socket.socket) -> None:
    copy(peer, peer)


def writes(peer: socket.socket) -> None:
    while data := peer.recv(SIZE):
        length = -(-len(data) // pieces)
        for at in range(0, len(data), length):
            peer.sendall(data[at : at + length])


def lines(peer: socket.socket) -> None:
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    rest = ""
    while data := peer.recv(SIZE):
        *whole, rest = (rest + decode(data)).split("\n")
        for line in whole:
            peer.sendall((line + "\n").encode())


def proxy(peer: socket.socket) -> None:
    def there() -> None:
        copy(peer, behind)
        behind.shutdown(socket.SHUT_WR)

    with socket.create_connection(("127.0.0.1", pieces)) as behind:
        behind.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        greenlet = gevent.spawn(there)
        copy(behind, peer)
        greenlet.join()


def send(peer: socket.socket) -> None:
    while True:
        peer.sendall(CHUNK)


def receive(peer: socket.socket) -> None:
    received = 0
    while data := peer.recv(SIZE):
        received += len(data)
    peer.sendall(b"%d\n" % received)


def broadcast(peer: socket.socket) -> None:
    clients.add(peer)
    while data := peer.recv(SIZE):
        for client in list(clients):
            client.sendall(data)
    clients.discard(peer)


def broadcast_text(peer: socket.socket) -> None:
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    clients.add(peer)
    while data := peer.recv(SIZE):
        encoded = decode(data).encode()
        for client in list(clients):
            client.sendall(encoded)
    clients.discard(peer)


MODES = {"pipe": echo} | {
    each.__name__: each
    for each in (echo, writes, lines, proxy, send, receive, broadcast, broadcast_text)
}


def serve(peer: socket.socket, address: object) -> None:
    if not path:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with contextlib.suppress(OSError):
        MODES[mode](peer)


listener = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
listener.bind(path or ("127.0.0.1", 0))
listener.listen(BACKLOG)
server = StreamServer(listener, serve)
server.start()
print(0 if path else listener.getsockname()[1], flush=True)
server.serve_forever()
