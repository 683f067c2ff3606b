"""streams.md 3.5: async iteration over sockets; more in timelines/ and test_streams.py."""

from __future__ import annotations

import asyncio

import pytest

import pyuvnet
from pyuvnet import events, run


@pytest.fixture
def play(connect, watch, trace):
    """play(use, serve, listen=True, **options): `use(client)` is awaited, then all is closed."""

    def go(use, serve, listen=True, **options) -> None:
        async def main() -> None:
            client = connect(serve, **options)
            names = ("end", "finish", "error", "close") if listen else ("end", "finish", "close")
            watch(client, "", *names)
            await events.once(client, "ready")
            try:
                await use(client)
            except Exception as error:
                trace("raised", getattr(error, "code", None) or str(error))
            trace("left", client.destroyed)
            closing = events.once(client, "close") if not client.closed else None
            if client.destroyed is False:
                client.on("error", lambda error: None).destroy()
            if closing is not None:
                await asyncio.sleep(0)
                closing.cancel()
            client.peer.on("error", lambda error: None).destroy()

        run(main())
        run()

    return go


@pytest.mark.spec("S3.5-01")
def test_iterating_reads_by_readable(play, trace) -> None:
    async def use(client) -> None:
        chunks = 0
        async for chunk in client:
            chunks += 1
            # As with a 'readable' listener the flow stays off, although nothing is registered.
            assert client.readable_flowing is False
            client.resume()
            assert client.readable_flowing is False
            assert client.listener_count("readable") == client.listener_count("data") == 0
            trace(chunk)
        assert chunks

    play(use, lambda peer: peer.end(b"all"))
    assert trace[0] == b"all"


@pytest.mark.spec("S3.5-10", "S3.5-11")
@pytest.mark.parametrize("how", ["aclose", "collected"])
def test_an_iterator_that_is_left(play, trace, how) -> None:
    async def use(client) -> None:
        iterator = client.iterator()
        assert await anext(iterator) == b"x"
        if how == "aclose":
            await iterator.aclose()
        else:
            del iterator
        assert client.destroyed

    play(use, lambda peer: peer.write(b"x"))
    assert trace == [("left", True), ("error", "ABORT_ERR"), ("close", True)]


@pytest.mark.spec("S3.5-03", "O3.23-02")
def test_a_half_open_socket_answers_after_the_iteration(connect) -> None:
    async def main() -> bytes:
        async def serve(peer) -> None:
            got = b"".join([chunk async for chunk in peer])
            assert not peer.destroyed
            peer.end(got.upper())

        client = connect(serve, server={"allow_half_open": True})
        client.end(b"question")
        return b"".join([chunk async for chunk in client])

    assert run(main()) == b"QUESTION"
    pyuvnet.run()
