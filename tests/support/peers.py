"""Peers of one TCP connection at a time that act on request only, a step for each turn.

The player of a script asks at one point of each turn of its loop, over a pair of descriptors, and
waits for the answer. On loopback what the peer did has arrived by then, so that the same script
meets the same bytes, ends and resets in the same turn each time, in Node as here.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator

RESET = struct.pack("ii", 1, 0)
FLOOD = b"z" * 200_000
PIECE = 1 << 20

# What each does with a connection; "read" goes on for ever, "echo" as well, and both close at EOF.
KINDS = {
    "echo": ["echo"],
    "greet": ["hello", "echo"],
    "close": ["close"],
    "bye": ["hello", "close"],
    "reset": ["reset"],
    "hang": ["hang"],
    "flood": ["flood", "read"],
    "half": ["end", "read"],
    "hello_half": ["hello", "end", "read"],
    "answer": ["wait", "hello", "close"],
    "answer_half": ["wait", "hello", "end", "read"],
    "reset_answer": ["wait", "hello", "reset"],
    "reset_later": ["hello", "wait", "reset"],
    "refuse": [],
}


class Connection:
    """One connection of a peer of a kind."""

    def __init__(self, one: socket.socket, steps: list[str], late: int) -> None:
        one.setblocking(False)
        self.socket: socket.socket | None = one
        self.steps = list(steps)
        self.late = late
        self.left = b""  # not yet written

    def turn(self) -> bool:
        """Act as far as possible; gives whether anything was done."""
        if self.late:
            self.late -= 1
            return True
        acted = False
        with contextlib.suppress(BlockingIOError):
            while self.socket is not None and self.step(self.socket):
                acted = True
        return acted

    def step(self, one: socket.socket) -> bool:
        if self.left:
            self.left = self.left[self.write(one, self.left) :]
            return True
        step = self.steps[0]
        if step in ("read", "echo"):
            data = self.read(one)
            if not data:
                self.close()
            elif step == "echo":
                self.left = data
            return True
        if step == "hang":
            return False
        if step == "wait":
            self.read(one)
        elif step in ("hello", "flood"):
            self.left = b"hello" if step == "hello" else FLOOD
        elif step == "end":
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_WR)
        else:
            if step == "reset":
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self.close()
        self.steps.pop(0)
        return True

    def read(self, one: socket.socket) -> bytes:
        try:
            return one.recv(PIECE)
        except ConnectionError:
            return b""

    def write(self, one: socket.socket, data: bytes) -> int:
        try:
            return one.send(data)
        except ConnectionError:
            return len(data)

    def close(self) -> None:
        if self.socket is not None:
            self.socket.close()
            self.socket = None


class Peers:
    """Answers the questions of one player: "open KIND LATE" with a port, "turn" with 0 or 1."""

    def __init__(self) -> None:
        self.listener: socket.socket | None = None
        self.connections: list[Connection] = []
        self.steps: list[str] = []
        self.late = 0

    def open(self, kind: str, late: int) -> int:
        self.close()
        self.steps, self.late = KINDS[kind], late
        self.listener = socket.socket()
        # Little room, so that a peer that does not read is felt soon; much of it to write to.
        if kind == "hang":
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self.listener.setblocking(False)
        self.listener.bind(("127.0.0.1", 0))
        if self.steps:
            self.listener.listen()
        return int(self.listener.getsockname()[1])

    def turn(self) -> bool:
        acted = False
        if self.steps and self.listener is not None:
            with contextlib.suppress(BlockingIOError):
                while True:
                    one, _ = self.listener.accept()
                    self.connections.append(Connection(one, self.steps, self.late))
                    acted = True
        for connection in self.connections:
            acted |= connection.turn()
        return acted

    def close(self) -> None:
        for connection in self.connections:
            connection.close()
        self.connections.clear()
        if self.listener is not None:
            self.listener.close()
            self.listener = None

    def answer(self, question: str) -> int:
        word, *rest = question.split()
        if word == "open":
            return self.open(rest[0], int(rest[1]))
        return self.turn()

    def serve(self, one: socket.socket) -> None:
        with one, one.makefile("r") as questions:
            for question in questions:
                one.sendall(b"%d\n" % self.answer(question))
        self.close()


@contextlib.contextmanager
def peers_on_call() -> Iterator[int]:
    """Serve a player from a thread, until it closes the descriptor that this gives."""
    here, there = socket.socketpair()
    thread = threading.Thread(target=Peers().serve, args=[here], daemon=True)
    thread.start()
    yield there.detach()
    thread.join(5)
