"""No data of one connection ever shows in another, though memory is used again."""

from __future__ import annotations

import ctypes
import random
from typing import Any

import pytest

from pyuvnet import run, set_immediate
from pyuvnet._core import info
from pyuvnet.net import Server, Socket

debug_build = pytest.mark.skipif(
    "debug" not in info.build_flags().split(",")[0], reason="only the debug build poisons memory"
)
POISON = b"\xdb"


def content(number: int, size: int) -> bytes:
    """What one connection sends: its number, over and over."""
    return (number.to_bytes(4, "big") * (size // 4 + 1))[:size]


def test_each_connection_sees_its_own_data_only(full: bool) -> None:
    """All ways to get at data, chunks that are kept or dropped, at sizes that are recycled."""
    choose = random.Random(1)
    kept: list[tuple[int, Any]] = []
    connections = 2000 if full else 60
    echoed = dict.fromkeys(range(connections), 0)
    sizes = {number: choose.choice([4, 1000, 65536, 200_000]) for number in echoed}

    def serve(sock: Socket) -> None:
        way = choose.randrange(3)
        if way == 0:
            sock.pipe(sock)
        elif way == 1:
            sock.on("data", lambda chunk: sock.write(chunk) and None)
        else:
            sock.on("readable", lambda: [sock.write(chunk) for chunk in iter(sock.read, None)])

    def begin(number: int) -> Socket:
        size, buffer = sizes[number], bytearray(5000)
        way = choose.randrange(4)
        options: dict[str, Any] = {}

        def got(chunk: Any) -> None:
            data = chunk.encode("latin1") if isinstance(chunk, str) else bytes(chunk)
            at = echoed[number] % 4
            assert data == content(number, at + len(data))[at:], "another connection's data"
            echoed[number] += len(data)
            if choose.random() < 0.3:
                kept.append((at, chunk))
                kept.append((number, chunk))
            if echoed[number] == size:
                client.destroy()
                if waiting:
                    begin(waiting.pop())
                elif sum(echoed.values()) == sum(sizes.values()):
                    server.close()

        if way == 0:
            options["onread"] = {
                "buffer": buffer,
                "callback": lambda count, _: got(bytes(buffer[:count])),
            }
        elif way == 1:
            options["encoding"] = "latin1"
        client = Socket(options)
        if way == 3:
            client.on("readable", lambda: [got(chunk) for chunk in iter(client.read, None)])
        elif way:
            client.on("data", got)
        client.connect(port, "127.0.0.1")
        client.write(content(number, size))
        return client

    server = Server(serve).listen(0)
    port = server.address().port
    waiting = list(echoed)
    for _ in range(16):
        begin(waiting.pop())
    run()
    assert echoed == sizes
    # What was kept is as it was, whatever came since.
    for (at, _), (number, chunk) in zip(kept[::2], kept[1::2], strict=True):
        data = chunk.encode("latin1") if isinstance(chunk, str) else chunk
        assert data == content(number, at + len(data))[at:]


@debug_build
def test_a_chunk_that_nobody_holds_is_poisoned() -> None:
    """Code that used its memory without a reference would see that in the debug build."""
    places: list[int] = []
    kept: list[bytes] = []
    size = 3000

    def serve(sock: Socket) -> None:
        def got(chunk: bytes) -> None:
            # Where its bytes are; the loop holds the chunk for the next read.
            places.append(id(chunk) + bytes.__basicsize__ - 1)
            if len(places) == 2:
                kept.append(chunk)
            assert ctypes.string_at(places[-1], size) == b"x" * size
            set_immediate(look)

        sock.on("data", got)

    def look() -> None:
        found.append(ctypes.string_at(places[-1], size))
        if len(found) < 2:
            client.write(b"x" * size)
        else:
            client.end()
            server.close()

    found: list[bytes] = []
    server = Server(serve).listen(0)
    client = Socket().connect(server.address().port, "127.0.0.1")
    client.resume().write(b"x" * size)
    run()
    assert found == [POISON * size, b"x" * size]
    assert kept == [b"x" * size]
