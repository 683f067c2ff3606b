"""Reads above 64 KiB: in whose memory they land, who gets them, and what stops them."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

import pyuvnet
from pyuvnet import framing, net

USUAL = 65536
DATA = random.Random(19).randbytes(4 * 1024 * 1024)


@pytest.fixture
def send() -> Callable[..., None]:
    """send(accepted) gives DATA to a socket that accepted() gets, and runs until both are gone."""

    def go(accepted: Callable[[net.Socket], Any], data: bytes = DATA) -> None:
        def serve(socket: net.Socket) -> None:
            server.close()
            accepted(socket)

        server = net.create_server(serve).listen(0)
        client = net.connect(server.address().port, "127.0.0.1")
        client.resume()
        client.end(data)
        pyuvnet.run()

    return go


def test_chunks_become_larger_while_data_flow(send) -> None:
    sizes: list[int] = []
    got = bytearray()

    def accepted(socket: net.Socket) -> None:
        def data(chunk: bytes) -> None:
            sizes.append(len(chunk))
            got.extend(chunk)

        socket.on("data", data)

    send(accepted)
    assert got == DATA
    assert max(sizes) > USUAL


def test_kept_chunks_keep_their_bytes(send) -> None:
    kept: list[bytes] = []
    hashes: list[int] = []

    def accepted(socket: net.Socket) -> None:
        def data(chunk: bytes) -> None:
            # Some are kept, some are not: the memory of the others serves again.
            start = sum(sizes)
            sizes.append(len(chunk))
            assert chunk == DATA[start : start + len(chunk)]
            assert hash(chunk) == hash(DATA[start : start + len(chunk)])
            if len(sizes) % 3 != 2:
                kept.append(chunk)
                hashes.append(start)

        sizes: list[int] = []
        socket.on("data", data)

    send(accepted)
    assert max(map(len, kept)) > USUAL
    for chunk, start in zip(kept, hashes, strict=True):
        assert chunk == DATA[start : start + len(chunk)]
        assert chunk + b"x" == DATA[start : start + len(chunk)] + b"x"


def test_an_echo_that_the_kernel_does_not_take_at_once_holds_its_chunks() -> None:
    got = bytearray()

    def data(chunk: bytes) -> None:
        got.extend(chunk)
        # So that the echo meets a full kernel from time to time.
        if len(got) % 5 == 0:
            client.pause()
            pyuvnet.set_immediate(client.resume)

    server = net.create_server(lambda socket: (server.close(), socket.on("data", socket.write)))
    server.listen(0)
    client = net.connect(server.address().port, "127.0.0.1")
    client.on("data", data)
    client.end(DATA)
    pyuvnet.run()
    assert got == DATA


@pytest.mark.parametrize("twice", [False, True])
def test_a_pipe_passes_on_what_large_reads_bring(twice: bool) -> None:
    got = bytearray()

    def accepted(socket: net.Socket) -> None:
        server.close()
        if twice:
            socket.on("data", lambda chunk: None)
        socket.pipe(socket)

    server = net.create_server(accepted).listen(0)
    client = net.connect(server.address().port, "127.0.0.1")
    client.on("data", got.extend)
    client.end(DATA)
    pyuvnet.run()
    assert got == DATA


def test_a_socket_that_stops_flowing_buffers_no_more_than_before(send) -> None:
    lengths: list[int] = []
    got = bytearray()

    def accepted(socket: net.Socket) -> None:
        def data(chunk: bytes) -> None:
            got.extend(chunk)
            if len(chunk) > USUAL and not lengths:
                socket.pause()
                pyuvnet.set_timeout(look, 20)

        def look() -> None:
            lengths.append(socket.readable_length)
            socket.resume()

        socket.on("data", data)

    send(accepted)
    assert got == DATA
    # One large read may be under way, and the mark is reached.
    assert lengths
    assert lengths[0] <= USUAL + 131072


def test_what_cuts_or_decodes_gets_the_same_bytes(send) -> None:
    lines = [b"%d" % number * 50 for number in range(20000)]
    got: list[bytes] = []

    def accepted(socket: net.Socket) -> None:
        def first(chunk: bytes) -> None:
            if len(chunk) > USUAL:
                socket.off("data", first)
                socket.unshift(b"\n" + chunk.rpartition(b"\n")[2])
                socket.set_framing(framing.Lines())
                socket.on("data", got.append)

        socket.on("data", first)

    send(accepted, b"\n".join(lines) + b"\n")
    assert got[0] == b""
    assert got[1:] == lines[len(lines) - len(got) + 1 :]
    assert len(got) > 100
